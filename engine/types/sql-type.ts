/**
 * What the engine knows of a SQL type: pg_type's row of it and the functions on its values (value.ts has their shapes).
 *
 * Text is PostgreSQL's own with DateStyle ISO, binary its send/recv format (big-endian). `fromText` throws `SqlError`
 * with PostgreSQL's code and message. NULL never gets here: callers deal with it.
 */
import { SqlError } from '../sql-error.js';
import { OID } from './oids.js';
import type { Value } from './value.js';

/** How a value lies in a tuple; see tuple.ts. The first group has a fixed width. */
export type Storage =
  | 'bool'
  | 'int2'
  | 'int4'
  | 'uint4'
  | 'int8'
  | 'float4'
  | 'float8'
  | 'date'
  | 'time'
  | 'interval'
  | 'uuid'
  | 'text'
  | 'bytes'
  | 'numeric'
  | 'generic';

/** What text conversion may need of a session: its time zone, its clock and the names of catalog objects. */
export interface TextContext {
  /** As in the TimeZone setting: `UTC`, `Europe/Paris`, `-03`, ... */
  readonly timeZone: string;
  /** Transaction start, microseconds since 2000-01-01 UTC; what `now`, `today`, ... mean. */
  readonly now: bigint;
  /** Resolves the text of a regclass, regtype, ... by the catalog; throws 42P01, 42704, ... */
  readonly lookUp?: (kind: RegKind, name: string) => number;
  /** The name of an object, qualified when the search path asks for it; undefined: there is none. */
  readonly nameOf?: (kind: RegKind, oid: number) => string | undefined;
}

export type RegKind =
  | 'regclass'
  | 'regtype'
  | 'regproc'
  | 'regprocedure'
  | 'regnamespace'
  | 'regrole';

export const UTC_CONTEXT: TextContext = { timeZone: 'UTC', now: 0n };

export interface SqlType {
  readonly oid: number;
  /** pg_type.typname: `int4`. */
  readonly name: string;
  /** What format_type says: `integer`. */
  readonly displayName: string;
  /** pg_type.typcategory, one letter. */
  readonly category: string;
  readonly preferred: boolean;
  /** pg_type.typtype: base, enum, pseudo, composite, domain. */
  readonly kind: 'b' | 'e' | 'p' | 'c' | 'd';
  /** 0: none. */
  readonly arrayOid: number;
  /** For arrays and vectors; 0: not one. */
  readonly elementOid: number;
  /** pg_type.typlen: bytes, -1 variable, -2 C string. */
  readonly length: number;
  readonly byValue: boolean;
  readonly align: 'c' | 's' | 'i' | 'd';
  readonly storage: Storage;
  /** False: no order (json, void, ...): ORDER BY, DISTINCT and indexes are refused with 42883. */
  readonly ordered: boolean;
  fromText(text: string, context?: TextContext): Value;
  toText(value: Value, context?: TextContext): string;
  fromBinary(bytes: Uint8Array, start: number, end: number): Value;
  toBinary(value: Value): Uint8Array;
  /** <0, 0, >0; total. */
  compare(a: Value, b: Value): number;
  equal(a: Value, b: Value): boolean;
  /** A primitive that is the same (by SameValueZero) exactly for equal values. */
  hashKey(value: Value): HashKey;
}

export type HashKey = string | number | bigint | boolean;

/** The functions of a type, without its row in pg_type. Method syntax: each type narrows `Value` to its own shape. */
export interface TypeCodec {
  readonly storage: Storage;
  readonly ordered?: boolean;
  fromText(text: string, context: TextContext): Value;
  toText(value: Value, context: TextContext): string;
  fromBinary(bytes: Uint8Array, start: number, end: number): Value;
  toBinary(value: Value): Uint8Array;
  compare(a: Value, b: Value): number;
  equal?(a: Value, b: Value): boolean;
  hashKey(value: Value): HashKey;
}

export interface TypeRow {
  readonly oid: number;
  readonly name: string;
  readonly displayName: string;
  readonly category: string;
  readonly preferred: boolean;
  readonly kind: 'b' | 'e' | 'p' | 'c' | 'd';
  readonly arrayOid: number;
  readonly elementOid: number;
  readonly length: number;
  readonly byValue: boolean;
  readonly align: 'c' | 's' | 'i' | 'd';
}

export function makeType(row: TypeRow, codec: TypeCodec): SqlType {
  return {
    oid: row.oid,
    name: row.name,
    displayName: row.displayName,
    category: row.category,
    preferred: row.preferred,
    kind: row.kind,
    arrayOid: row.arrayOid,
    elementOid: row.elementOid,
    length: row.length,
    byValue: row.byValue,
    align: row.align,
    storage: codec.storage,
    ordered: codec.ordered ?? true,
    fromText: (text, context = UTC_CONTEXT) => codec.fromText(text, context),
    toText: (value, context = UTC_CONTEXT) => codec.toText(value, context),
    fromBinary: (bytes, start, end) => codec.fromBinary(bytes, start, end),
    toBinary: (value) => codec.toBinary(value),
    compare: (a, b) => codec.compare(a, b),
    equal: (a, b) => (codec.equal === undefined ? codec.compare(a, b) === 0 : codec.equal(a, b)),
    hashKey: (value) => codec.hashKey(value),
  };
}

/** 22P02, in PostgreSQL's words. */
export function invalidText(typeName: string, text: string): SqlError {
  return new SqlError('22P02', `invalid input syntax for type ${typeName}: "${text}"`);
}

export function outOfRange(typeName: string): SqlError {
  return new SqlError('22003', `${typeName} out of range`);
}

/** 22P03 for a binary parameter of the wrong length or grammar. */
export function invalidBinary(what = 'incorrect binary data format'): SqlError {
  return new SqlError('22P03', what);
}

export function expectBytes(start: number, end: number, bytes: number): void {
  if (end - start !== bytes) throw invalidBinary();
}

export function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function compareBigints(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Order of UTF-8 bytes (C collation): by code point, which UTF-16 units alone do not give above U+FFFF. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = a.length < b.length ? a.length : b.length;
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x !== y) {
      // Surrogates (0xD800..0xDFFF) stand for code points above all of the 16-bit plane.
      if (x >= 0xd800 && y >= 0xd800) {
        x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
        y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
      }
      return x - y;
    }
  }
  return a.length - b.length;
}

export const isStringOid = (oid: number): boolean =>
  oid === OID.text || oid === OID.varchar || oid === OID.bpchar || oid === OID.name;
