/** json and jsonb: reading members, building from values. */
import { normalizeJsonb, jsonbText, parseJson, type Json } from '../types/json.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { TextContext } from '../types/sql-type.js';
import type { SqlArray, Value } from '../types/value.js';
import { textContextOf } from './context.js';
import { fn, op, registerFunctions, registerOperators, setFn } from './function.js';
import type { SessionView } from '../sql/statement.js';

/** The JSON text of a SQL value (to_json). */
export function jsonOf(value: Value, oid: number, context: TextContext): string {
  if (value === null) return 'null';
  const type = typeOf(oid);
  if (type.elementOid !== 0) {
    const { elements } = value as SqlArray;
    return `[${elements.map((e) => jsonOf(e, type.elementOid, context)).join(',')}]`;
  }
  if (oid === OID.json || oid === OID.jsonb) return value as string;
  if (oid === OID.bool) return value === true ? 'true' : 'false';
  const text = type.toText(value, context);
  if (type.category === 'N' && /^-?\d/.test(text) && oid !== OID.regclass) return text;
  const isMoment = oid === OID.timestamp || oid === OID.timestamptz;
  if (!isMoment) return JSON.stringify(text);
  return JSON.stringify(text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'));
}

const isMap = (value: Json): value is ReadonlyMap<string, Json> => value instanceof Map;

function member(json: Json, key: string | number): Json | undefined {
  if (typeof key === 'string') return isMap(json) ? json.get(key) : undefined;
  if (!Array.isArray(json)) return undefined;
  return json[key < 0 ? json.length + key : key] as Json | undefined;
}

/** json prints as compact as it can; jsonb in its normal form. */
function asText(json: Json | undefined): string | null {
  if (json === undefined || json === null) return null;
  return typeof json === 'string' ? json : jsonbText(json);
}

const get = (text: string, key: string | number): string | null => {
  const found = member(parseJson(text), key);
  return found === undefined ? null : jsonbText(found);
};
const getText = (text: string, key: string | number): string | null =>
  asText(member(parseJson(text), key));

function walk(text: string, path: SqlArray): Json | undefined {
  let json: Json | undefined = parseJson(text);
  for (const step of path.elements) {
    if (json === undefined || step === null) return undefined;
    const key = step as string;
    json = member(json, Array.isArray(json) ? Number(key) : key);
  }
  return json;
}

function typeName(json: Json): string {
  if (json === null) return 'null';
  if (Array.isArray(json)) return 'array';
  if (isMap(json)) return 'object';
  return typeof json === 'object' ? 'number' : typeof json;
}

function contains(a: Json, b: Json, top: boolean): boolean {
  if (Array.isArray(a)) {
    if (!Array.isArray(b))
      return top && typeof b !== 'object' ? a.some((x) => contains(x as Json, b, false)) : false;
    return (b as Json[]).every((y) => (a as Json[]).some((x) => contains(x, y, false)));
  }
  if (isMap(a)) {
    if (!isMap(b)) return false;
    return [...b].every(([key, y]) => {
      const x = a.get(key);
      return x !== undefined && contains(x, y, false);
    });
  }
  return typeName(a) === typeName(b) && jsonbText(a) === jsonbText(b);
}

function concatenate(a: Json, b: Json): string {
  if (isMap(a) && isMap(b)) return normalizeJsonb(jsonbText(new Map([...a, ...b])));
  const list = (json: Json): readonly Json[] => (Array.isArray(json) ? json : [json]);
  return jsonbText([...list(a), ...list(b)]);
}

// A table of definitions.
// oxlint-disable-next-line max-lines-per-function
export function registerJson(): void {
  for (const oid of [OID.json, OID.jsonb]) {
    const prefix = oid === OID.json ? 'json' : 'jsonb';
    registerOperators([
      op('->', oid, OID.text, oid, get),
      op('->', oid, OID.int4, oid, get),
      op('->>', oid, OID.text, OID.text, getText),
      op('->>', oid, OID.int4, OID.text, getText),
      op('#>', oid, OID.textArray, oid, (text: string, path: SqlArray) => {
        const found = walk(text, path);
        return found === undefined ? null : jsonbText(found);
      }),
      op('#>>', oid, OID.textArray, OID.text, (text: string, path: SqlArray) =>
        asText(walk(text, path)),
      ),
    ]);
    registerFunctions([
      fn(`${prefix}_typeof`, [oid], OID.text, (text: string) => typeName(parseJson(text))),
      fn(`${prefix}_array_length`, [oid], OID.int4, (text: string) => {
        const json = parseJson(text);
        return Array.isArray(json) ? json.length : null;
      }),
      setFn(`${prefix}_array_elements`, [oid], oid, (text: string) => {
        const json = parseJson(text);
        return Array.isArray(json) ? (json as Json[]).map(jsonbText) : [];
      }),
      setFn(`${prefix}_array_elements_text`, [oid], OID.text, (text: string) => {
        const json = parseJson(text);
        return Array.isArray(json) ? (json as Json[]).map(asText) : [];
      }),
      setFn(`${prefix}_object_keys`, [oid], OID.text, (text: string) => {
        const json = parseJson(text);
        return isMap(json) ? [...json.keys()] : [];
      }),
      ...[`to_${prefix}`].map((name) =>
        fn(name, [OID.anyelement], oid, null, {
          session: true,
          bind: (argOids) => (session: SessionView, value: Value) => {
            const text = jsonOf(value, argOids[0] as number, textContextOf(session));
            return oid === OID.json ? text : normalizeJsonb(text);
          },
        }),
      ),
      fn(`${prefix}_build_object`, [OID.any], oid, null, {
        session: true,
        strict: false,
        variadic: true,
        bind:
          (argOids) =>
          (session: SessionView, ...values: Value[]) => {
            const context = textContextOf(session);
            const members: string[] = [];
            for (let i = 0; i + 1 < values.length; i += 2) {
              const key = typeOf(argOids[i] as number).toText(values[i] as Value, context);
              const item = jsonOf(values[i + 1] as Value, argOids[i + 1] as number, context);
              members.push(`${JSON.stringify(key)} : ${item}`);
            }
            const text = `{${members.join(', ')}}`;
            return oid === OID.json ? text : normalizeJsonb(text);
          },
      }),
      fn(`${prefix}_build_array`, [OID.any], oid, null, {
        session: true,
        strict: false,
        variadic: true,
        bind:
          (argOids) =>
          (session: SessionView, ...values: Value[]) => {
            const context = textContextOf(session);
            const items = values.map((value, i) => jsonOf(value, argOids[i] as number, context));
            const text = `[${items.join(', ')}]`;
            return oid === OID.json ? text : normalizeJsonb(text);
          },
      }),
    ]);
  }
  registerOperators([
    op('@>', OID.jsonb, OID.jsonb, OID.bool, (a: string, b: string) =>
      contains(parseJson(a), parseJson(b), true),
    ),
    op('<@', OID.jsonb, OID.jsonb, OID.bool, (a: string, b: string) =>
      contains(parseJson(b), parseJson(a), true),
    ),
    op('||', OID.jsonb, OID.jsonb, OID.jsonb, (a: string, b: string) =>
      concatenate(parseJson(a), parseJson(b)),
    ),
    op('?', OID.jsonb, OID.text, OID.bool, (text: string, key: string) => {
      const json = parseJson(text);
      return isMap(json) ? json.has(key) : Array.isArray(json) ? json.includes(key) : json === key;
    }),
  ]);
}
