/** Functions and operators of text and bytea. */
import { SqlError } from '../sql-error.js';
import { parseEscape, parseHex, toHex } from '../types/binary.js';
import { readText, textBytes, toUtf8 } from '../types/bytes.js';
import { makeArray } from '../types/array.js';
import { charCount, charOffset } from '../types/modifier.js';
import { OID } from '../types/oids.js';
import { findType, typeOf } from '../types/registry.js';
import { trimBlanks } from '../types/strings.js';
import type { SessionView } from '../sql/statement.js';
import type { SqlArray, Value } from '../types/value.js';
import { textContextOf } from './context.js';
import { createHash } from 'node:crypto';
import {
  fn,
  op,
  registerFunctions,
  registerOperators,
  type Evaluate,
  type FunctionDef,
} from './function.js';

const { text, int4, bytea, bpchar } = OID;

/** Characters [from, from + length), 1-based; what lies before 1 counts towards the length. */
export function substring(value: string, from: number, length = Infinity): string {
  if (length < 0) throw new SqlError('22011', 'negative substring length not allowed');
  const end = from + length;
  const start = Math.max(from, 1);
  if (end <= start) return '';
  const ascii = charCount(value) === value.length;
  if (ascii) return value.slice(start - 1, end - 1);
  const first = charOffset(value, start - 1);
  return value.slice(first, charOffset(value, Math.min(end - 1, value.length)));
}

function trimSet(value: string, chars: string, left: boolean, right: boolean): string {
  const set = new Set(chars);
  const list = Array.from(value);
  let from = 0;
  let to = list.length;
  if (left) while (from < to && set.has(list[from] as string)) from++;
  if (right) while (to > from && set.has(list[to - 1] as string)) to--;
  return list.slice(from, to).join('');
}

function pad(value: string, length: number, fill: string, left: boolean): string {
  const chars = Array.from(value);
  const filling = Array.from(fill);
  if (length <= chars.length) return chars.slice(0, Math.max(length, 0)).join('');
  if (filling.length === 0) return value;
  let padding = '';
  for (let i = 0; i < length - chars.length; i++) padding += filling[i % filling.length];
  return left ? padding + value : value + padding;
}

function repeated(value: string, times: number): string {
  if (times <= 0) return '';
  if (value.length * times > 2 ** 28) throw new SqlError('54000', 'requested length too large');
  return value.repeat(times);
}

function splitPart(value: string, delimiter: string, field: number): string {
  if (field === 0) throw new SqlError('22023', 'field position must not be zero');
  const parts = delimiter === '' ? [value] : value.split(delimiter);
  return parts[field > 0 ? field - 1 : parts.length + field] ?? '';
}

const capitalize = (value: string): string =>
  value
    .toLowerCase()
    .replace(
      /(^|[^\p{L}\p{N}])(\p{L})/gu,
      (_, before: string, c: string) => before + c.toUpperCase(),
    );

function chr(code: number): string {
  if (code === 0) throw new SqlError('54000', 'null character not permitted');
  if (code < 0) throw new SqlError('54000', 'character number must be positive');
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
    throw new SqlError('54000', `requested character too large for encoding: ${code}`);
  }
  return String.fromCodePoint(code);
}

function translate(value: string, from: string, to: string): string {
  const source = Array.from(from);
  const target = Array.from(to);
  const map = new Map<string, string>();
  source.forEach((char, i) => {
    if (!map.has(char)) map.set(char, target[i] ?? '');
  });
  return Array.from(value)
    .map((char) => map.get(char) ?? char)
    .join('');
}

const RESERVED = new Set(
  'all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column concurrently constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references returning right select session_user similar some symmetric table tablesample then to trailing true union unique user using variadic verbose when where window with between bigint bit boolean char character coalesce dec decimal exists extract float greatest grouping inout int integer interval least national nchar none normalize nullif numeric out overlay position precision real row setof smallint substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable'.split(
    ' ',
  ),
);

export function quoteIdent(name: string): string {
  if (/^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name)) return name;
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteLiteral(value: string): string {
  const quoted = `'${value.replaceAll("'", "''")}'`;
  return value.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

function encode(bytes: Uint8Array, format: string): string {
  switch (format.toLowerCase()) {
    case 'hex':
      return toHex(bytes);
    case 'base64':
      return Buffer.from(bytes)
        .toString('base64')
        .replace(/(.{76})(?=.)/g, '$1\n');
    case 'escape': {
      let escaped = '';
      for (const byte of bytes) {
        if (byte === 0x5c) escaped += '\\\\';
        else if (byte === 0 || byte >= 0x80) escaped += `\\${byte.toString(8).padStart(3, '0')}`;
        else escaped += String.fromCharCode(byte);
      }
      return escaped;
    }
    default:
      throw new SqlError('22023', `unrecognized encoding: "${format}"`);
  }
}

function decode(value: string, format: string): Uint8Array {
  switch (format.toLowerCase()) {
    case 'hex':
      return parseHex(value, 0);
    case 'base64': {
      const bad = /[^A-Za-z0-9+/=\s]/u.exec(value);
      if (bad !== null)
        throw new SqlError(
          '22023',
          `invalid symbol "${bad[0]}" found while decoding base64 sequence`,
        );
      return Uint8Array.from(Buffer.from(value, 'base64'));
    }
    case 'escape':
      return parseEscape(value);
    default:
      throw new SqlError('22023', `unrecognized encoding: "${format}"`);
  }
}

function digest(algorithm: string): Evaluate {
  return (value: Uint8Array) => Uint8Array.from(createHash(algorithm).update(value).digest());
}

/** Output functions of "any" arguments: concat, format, ||. Booleans are t and f, as in their text. */
function texts(
  session: SessionView,
  argOids: readonly number[],
  values: readonly Value[],
): (string | null)[] {
  const context = textContextOf(session);
  return values.map((value, i) =>
    value === null ? null : typeOf(argOids[i] as number).toText(value, context),
  );
}

function format(template: string, args: readonly (string | null)[]): string {
  let next = 0;
  return template.replace(
    /%(?:(%)|(?:(\d+)\$)?(-)?(\d+)?([sIL])|([^]?))/g,
    (_, percent, position, minus, width, kind, bad) => {
      if (percent !== undefined) return '%';
      if (bad !== undefined) {
        if (bad === '')
          throw new SqlError('22023', 'unterminated format() type specifier', {
            hint: 'For a single "%" use "%%".',
          });
        throw new SqlError('22023', `unrecognized format() type specifier "${bad}"`, {
          hint: 'For a single "%" use "%%".',
        });
      }
      if (position !== undefined) next = Number(position) - 1;
      if (next >= args.length) throw new SqlError('22023', 'too few arguments for format()');
      const value = args[next++] as string | null;
      let shown: string;
      if (kind === 'I') {
        if (value === null)
          throw new SqlError('22004', 'null values cannot be formatted as an SQL identifier');
        shown = quoteIdent(value);
      } else if (kind === 'L') {
        shown = value === null ? 'NULL' : quoteLiteral(value);
      } else {
        shown = value ?? '';
      }
      if (width === undefined) return shown;
      return minus === undefined ? shown.padStart(Number(width)) : shown.padEnd(Number(width));
    },
  );
}

const position = (value: string, part: string): number => {
  const at = value.indexOf(part);
  return at < 0 ? 0 : charCount(value.slice(0, at)) + 1;
};

/** Any stable 32-bit hash will do: nobody compares it with PostgreSQL's. FNV-1a. */
function hashText(value: string): number {
  let hash = 0x811c9dc5;
  for (const byte of toUtf8(value)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash | 0;
}

function variadicText(): FunctionDef[] {
  const options = { session: true, strict: false, variadic: true } as const;
  return [
    fn('concat', [OID.any], text, null, {
      ...options,
      bind:
        (argOids) =>
        (session: SessionView, ...values: Value[]) =>
          texts(session, argOids, values).join(''),
    }),
    fn('concat_ws', [text, OID.any], text, null, {
      ...options,
      bind:
        (argOids) =>
        (session: SessionView, separator: string | null, ...values: Value[]) =>
          separator === null
            ? null
            : texts(session, argOids.slice(1), values)
                .filter((part) => part !== null)
                .join(separator),
    }),
    fn(
      'format',
      [text],
      text,
      (template: string | null) => (template === null ? null : format(template, [])),
      { strict: false },
    ),
    fn('format', [text, OID.any], text, null, {
      ...options,
      bind:
        (argOids) =>
        (session: SessionView, template: string | null, ...values: Value[]) =>
          template === null ? null : format(template, texts(session, argOids.slice(1), values)),
    }),
    fn(
      'num_nulls',
      [OID.any],
      int4,
      (...values: unknown[]) => values.filter((v) => v === null).length,
      { strict: false, variadic: true },
    ),
    fn(
      'num_nonnulls',
      [OID.any],
      int4,
      (...values: unknown[]) => values.filter((v) => v !== null).length,
      { strict: false, variadic: true },
    ),
    fn('quote_literal', [OID.anyelement], text, null, {
      session: true,
      bind: (argOids) => (session: SessionView, value: Value) =>
        quoteLiteral(texts(session, argOids, [value])[0] as string),
    }),
    fn('quote_nullable', [OID.anyelement], text, null, {
      session: true,
      strict: false,
      bind: (argOids) => (session: SessionView, value: Value) =>
        value === null ? 'NULL' : quoteLiteral(texts(session, argOids, [value])[0] as string),
    }),
  ];
}

function byteFunctions(): FunctionDef[] {
  return [
    fn('length', [bytea], int4, (a: Uint8Array) => a.length),
    fn('octet_length', [bytea], int4, (a: Uint8Array) => a.length),
    fn('encode', [bytea, text], text, encode),
    fn('decode', [text, text], bytea, decode),
    fn('md5', [bytea], text, (a: Uint8Array) => createHash('md5').update(a).digest('hex')),
    fn('sha224', [bytea], bytea, digest('sha224')),
    fn('sha256', [bytea], bytea, digest('sha256')),
    fn('sha384', [bytea], bytea, digest('sha384')),
    fn('sha512', [bytea], bytea, digest('sha512')),
    fn('get_byte', [bytea, int4], int4, (a: Uint8Array, i: number) => {
      const byte = a[i];
      if (byte === undefined)
        throw new SqlError('2202E', `index ${i} out of valid range, 0..${a.length - 1}`);
      return byte;
    }),
    fn(
      'substring',
      [bytea, int4, int4],
      bytea,
      (a: Uint8Array, from: number, length?: number) =>
        a.slice(
          Math.max(from - 1, 0),
          length === undefined ? undefined : Math.max(from - 1 + length, 0),
        ),
      { optional: 1 },
    ),
    fn('convert_from', [bytea, OID.name], text, (a: Uint8Array) => readText(a, 0, a.length)),
    fn('convert_to', [text, OID.name], bytea, (a: string) => toUtf8(a)),
  ];
}

// A table of definitions.
// oxlint-disable-next-line max-lines-per-function
export function registerStrings(): void {
  const trims: FunctionDef[] = [];
  for (const [name, left, right] of [
    ['btrim', true, true],
    ['ltrim', true, false],
    ['rtrim', false, true],
  ] as const) {
    trims.push(
      fn(
        name,
        [text, text],
        text,
        (a: string, chars: string = ' ') => trimSet(a, chars, left, right),
        { optional: 1 },
      ),
    );
  }
  registerFunctions([
    ...trims,
    ...variadicText(),
    ...byteFunctions(),
    ...['length', 'char_length', 'character_length'].flatMap((name) => [
      fn(name, [text], int4, charCount),
      fn(name, [bpchar], int4, (a: string) => charCount(trimBlanks(a))),
    ]),
    fn('octet_length', [text], int4, textBytes),
    fn('octet_length', [bpchar], int4, textBytes),
    fn('bit_length', [text], int4, (a: string) => textBytes(a) * 8),
    fn('lower', [text], text, (a: string) => a.toLowerCase()),
    fn('upper', [text], text, (a: string) => a.toUpperCase()),
    fn('initcap', [text], text, capitalize),
    ...['substr', 'substring'].map((name) =>
      fn(name, [text, int4, int4], text, substring, { optional: 1 }),
    ),
    fn('position', [text, text], int4, position),
    fn('strpos', [text, text], int4, position),
    fn('replace', [text, text, text], text, (a: string, from: string, to: string) =>
      from === '' ? a : a.replaceAll(from, () => to),
    ),
    fn('translate', [text, text, text], text, translate),
    fn(
      'overlay',
      [text, text, int4, int4],
      text,
      (a: string, b: string, from: number, length: number = charCount(b)) =>
        substring(a, 1, from - 1) + b + substring(a, from + length),
      { optional: 1 },
    ),
    fn('split_part', [text, text, int4], text, splitPart),
    fn('left', [text, int4], text, (a: string, n: number) => {
      const chars = Array.from(a);
      return chars.slice(0, n < 0 ? Math.max(chars.length + n, 0) : n).join('');
    }),
    fn('right', [text, int4], text, (a: string, n: number) => {
      const chars = Array.from(a);
      return chars.slice(n < 0 ? -n : Math.max(chars.length - n, 0)).join('');
    }),
    fn(
      'lpad',
      [text, int4, text],
      text,
      (a: string, n: number, fill: string = ' ') => pad(a, n, fill, true),
      { optional: 1 },
    ),
    fn(
      'rpad',
      [text, int4, text],
      text,
      (a: string, n: number, fill: string = ' ') => pad(a, n, fill, false),
      { optional: 1 },
    ),
    fn('repeat', [text, int4], text, repeated),
    fn('reverse', [text], text, (a: string) => Array.from(a).toReversed().join('')),
    fn('md5', [text], text, (a: string) => createHash('md5').update(a).digest('hex')),
    fn('ascii', [text], int4, (a: string) => a.codePointAt(0) ?? 0),
    fn('chr', [int4], text, chr),
    fn('to_hex', [int4], text, (a: number) => (a >>> 0).toString(16)),
    fn('to_hex', [OID.int8], text, (a: bigint) => BigInt.asUintN(64, a).toString(16)),
    fn('quote_ident', [text], text, quoteIdent),
    fn('quote_literal', [text], text, quoteLiteral),
    fn('hashtext', [text], int4, hashText),
    fn(
      'string_to_array',
      [text, text, text],
      OID.textArray,
      (a: string | null, delimiter: string | null, nullText: string | null = null) => {
        if (a === null) return null;
        if (a === '') return makeArray(text, []);
        const parts =
          delimiter === null ? Array.from(a) : delimiter === '' ? [a] : a.split(delimiter);
        return makeArray(
          text,
          parts.map((part) => (part === nullText ? null : part)),
        );
      },
      { strict: false, optional: 1 },
    ),
    fn('array_to_string', [OID.anyarray, text, text], text, null, {
      session: true,
      strict: false,
      optional: 1,
      bind: (argOids) => {
        const element = typeOf(findType(argOids[0] as number)?.elementOid ?? text);
        return (
          session: SessionView,
          array: SqlArray | null,
          delimiter: string | null,
          nullText: string | null = null,
        ) => {
          if (array === null || delimiter === null) return null;
          const context = textContextOf(session);
          const parts: string[] = [];
          for (const item of array.elements) {
            if (item !== null) parts.push(element.toText(item, context));
            else if (nullText !== null) parts.push(nullText);
          }
          return parts.join(delimiter);
        };
      },
    }),
  ]);
  registerConcatenation();
}

function registerConcatenation(): void {
  const oneSide =
    (textFirst: boolean) =>
    (argOids: readonly number[]): Evaluate => {
      const other = typeOf(argOids[textFirst ? 1 : 0] as number);
      return (session: SessionView, a: Value, b: Value) => {
        const context = textContextOf(session);
        if (textFirst) return (a as string) + other.toText(b, context);
        return other.toText(a, context) + (b as string);
      };
    };
  registerOperators([
    op('||', text, text, text, (a: string, b: string) => a + b),
    op('||', text, OID.anynonarray, text, null, { session: true, bind: oneSide(true) }),
    op('||', OID.anynonarray, text, text, null, { session: true, bind: oneSide(false) }),
    op('||', bytea, bytea, bytea, (a: Uint8Array, b: Uint8Array) =>
      Uint8Array.from(Buffer.concat([a, b])),
    ),
  ]);
}
