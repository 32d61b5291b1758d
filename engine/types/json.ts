/**
 * json keeps its text; jsonb is normalised: keys by length then bytes, the last of equal keys wins, one blank after
 * `:` and `,`, numbers as numeric prints them.
 */
import { SqlError } from '../sql-error.js';
import { readText, textBytes, toUtf8 } from './bytes.js';
import {
  compareNumeric,
  numericHashKey,
  numericText,
  parseNumeric,
  type Numeric,
} from './numeric.js';
import { compareNumbers, compareText, invalidBinary, type TypeCodec } from './sql-type.js';

/** A number keeps its digits: JavaScript's would lose some. */
export type Json =
  | null
  | boolean
  | string
  | { readonly number: Numeric; readonly text: string }
  | readonly Json[]
  | ReadonlyMap<string, Json>;

const DEPTH_MAX = 5000;

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Json {
    const value = this.#value(0);
    this.#skip();
    if (this.#at < this.#text.length) throw this.#bad();
    return value;
  }

  #bad(): SqlError {
    const token = /^(?:[A-Za-z0-9_.+-]+|[^]?)/u.exec(this.#text.slice(this.#at))?.[0] ?? '';
    const detail =
      token === '' ? 'The input string ended unexpectedly.' : `Token "${token}" is invalid.`;
    return new SqlError('22P02', 'invalid input syntax for type json', { detail });
  }

  #skip(): void {
    while (/[ \t\n\r]/.test(this.#text.charAt(this.#at))) this.#at++;
  }

  #value(depth: number): Json {
    if (depth > DEPTH_MAX) throw new SqlError('54001', 'stack depth limit exceeded');
    this.#skip();
    const char = this.#text.charAt(this.#at);
    if (char === '{') return this.#object(depth);
    if (char === '[') return this.#array(depth);
    if (char === '"') return this.#string();
    const rest = this.#text.slice(this.#at, this.#at + 5);
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (
        rest.startsWith(word) &&
        !/[A-Za-z0-9_]/.test(this.#text.charAt(this.#at + word.length))
      ) {
        this.#at += word.length;
        return value;
      }
    }
    const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![A-Za-z0-9_.])/y;
    number.lastIndex = this.#at;
    const match = number.exec(this.#text);
    if (match === null) throw this.#bad();
    this.#at += match[0].length;
    return { number: parseNumeric(match[0]), text: match[0] };
  }

  #string(): string {
    // JSON forbids them in strings.
    // oxlint-disable-next-line no-control-regex
    const pattern = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) throw this.#bad();
    this.#at += match[0].length;
    const value: unknown = JSON.parse(match[0]);
    return String(value);
  }

  #object(depth: number): Json {
    const members = new Map<string, Json>();
    this.#at++;
    this.#skip();
    if (this.#text.charAt(this.#at) === '}') {
      this.#at++;
      return members;
    }
    for (;;) {
      this.#skip();
      if (this.#text.charAt(this.#at) !== '"') throw this.#bad();
      const key = this.#string();
      this.#skip();
      if (this.#text.charAt(this.#at) !== ':') throw this.#bad();
      this.#at++;
      members.delete(key);
      members.set(key, this.#value(depth + 1));
      if (this.#close('}')) return members;
    }
  }

  #array(depth: number): Json {
    const items: Json[] = [];
    this.#at++;
    this.#skip();
    if (this.#text.charAt(this.#at) === ']') {
      this.#at++;
      return items;
    }
    for (;;) {
      items.push(this.#value(depth + 1));
      if (this.#close(']')) return items;
    }
  }

  #close(end: string): boolean {
    this.#skip();
    const char = this.#text.charAt(this.#at);
    if (char !== end && char !== ',') throw this.#bad();
    this.#at++;
    return char === end;
  }
}

export const parseJson = (text: string): Json => new JsonReader(text).whole();

const isMap = (value: Json): value is ReadonlyMap<string, Json> => value instanceof Map;
const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

/** jsonb's order of keys: by length in bytes, then by bytes. */
function compareKeys(a: string, b: string): number {
  return compareNumbers(textBytes(a), textBytes(b)) || compareText(a, b);
}

export function sortedEntries(value: ReadonlyMap<string, Json>): [string, Json][] {
  return [...value].toSorted((a, b) => compareKeys(a[0], b[0]));
}

export function jsonbText(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(jsonbText).join(', ')}]`;
  if (isMap(value)) {
    const members = sortedEntries(value).map(
      ([key, item]) => `${JSON.stringify(key)}: ${jsonbText(item)}`,
    );
    return `{${members.join(', ')}}`;
  }
  return numericText(value.number);
}

/** Order of jsonb's kinds: Object > Array > Boolean > Number > String > Null; an empty array is below all. */
function rank(value: Json): number {
  if (value === null) return 0;
  if (typeof value === 'string') return 1;
  if (typeof value === 'boolean') return 3;
  if (isList(value)) return value.length === 0 ? -1 : 4;
  return isMap(value) ? 5 : 2;
}

export function compareJson(a: Json, b: Json): number {
  const kinds = compareNumbers(rank(a), rank(b));
  if (kinds !== 0 || a === null || b === null) return kinds;
  if (typeof a === 'string') return compareText(a, b as string);
  if (typeof a === 'boolean') return compareNumbers(Number(a), Number(b));
  if (isList(a)) {
    const other = b as readonly Json[];
    if (a.length !== other.length) return compareNumbers(a.length, other.length);
    return firstDifference(a.length, (i) => compareJson(a[i] as Json, other[i] as Json));
  }
  if (isMap(a)) {
    const other = b as ReadonlyMap<string, Json>;
    if (a.size !== other.size) return compareNumbers(a.size, other.size);
    const x = sortedEntries(a);
    const y = sortedEntries(other);
    return firstDifference(x.length, (i) => {
      const [keyA, valueA] = x[i] as [string, Json];
      const [keyB, valueB] = y[i] as [string, Json];
      return compareKeys(keyA, keyB) || compareJson(valueA, valueB);
    });
  }
  return compareNumeric(a.number, (b as { number: Numeric }).number);
}

function firstDifference(count: number, compareAt: (i: number) => number): number {
  for (let i = 0; i < count; i++) {
    const order = compareAt(i);
    if (order !== 0) return order;
  }
  return 0;
}

function jsonHashKey(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(jsonHashKey).join()}]`;
  if (isMap(value)) {
    return `{${sortedEntries(value)
      .map(([k, v]) => `${JSON.stringify(k)}:${jsonHashKey(v)}`)
      .join()}}`;
  }
  return numericHashKey(value.number);
}

export const jsonCodec: TypeCodec = {
  storage: 'text',
  ordered: false,
  fromText(text) {
    parseJson(text);
    return text;
  },
  toText: (value: string) => value,
  fromBinary(bytes, start, end) {
    const text = readText(bytes, start, end);
    parseJson(text);
    return text;
  },
  toBinary: (value: string) => toUtf8(value),
  compare: compareText,
  hashKey: (value: string) => value,
};

const JSONB_VERSION = 1;

export function normalizeJsonb(text: string): string {
  if (/\\u0000/.test(text) && /(?<!\\)(?:\\\\)*\\u0000/.test(text)) {
    throw new SqlError('22P05', 'unsupported Unicode escape sequence', {
      detail: '\\u0000 cannot be converted to text.',
    });
  }
  return jsonbText(parseJson(text));
}

export const jsonbCodec: TypeCodec = {
  storage: 'text',
  fromText: normalizeJsonb,
  toText: (value: string) => value,
  fromBinary(bytes, start, end) {
    if (end - start < 1 || bytes[start] !== JSONB_VERSION) {
      throw invalidBinary(`unsupported jsonb version number ${bytes[start] ?? 0}`);
    }
    return normalizeJsonb(readText(bytes, start + 1, end));
  },
  toBinary: (value: string) => toUtf8(`\u0001${value}`),
  compare: (a: string, b: string) => (a === b ? 0 : compareJson(parseJson(a), parseJson(b))),
  hashKey: (value: string) => jsonHashKey(parseJson(value)),
};
