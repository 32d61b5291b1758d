/**
 * Index keys as bytes whose memcmp order is the order of the columns' values (C collation for text).
 *
 *     key    = column*                        no column's encoding is a prefix of another's
 *     column = 0x00                           NULL, NULLS FIRST
 *            | 0xff                           NULL, NULLS LAST
 *            | 0x80 value                     DESC: every byte of value inverted
 *
 * | type                               | value                                                                     |
 * |------------------------------------|---------------------------------------------------------------------------|
 * | bool                               | 00, 01                                                                    |
 * | int2, int4, int8, date, time, timestamps | big-endian, sign bit flipped                                        |
 * | oid and its like                   | big-endian u32                                                            |
 * | float4, float8                     | big-endian IEEE 754; negative: all bits flipped, else the sign; -0 is 0; NaN last |
 * | text, varchar, name, "char", enum  | UTF-8, 00 (text holds no zero byte)                                       |
 * | bpchar                             | the same without blanks at the end                                        |
 * | bytea                              | bytes with 00 as 00 ff, then 00 00                                        |
 * | uuid                               | 16 bytes                                                                  |
 * | interval                           | i128 of the microseconds it spans (30-day months), sign flipped           |
 * | numeric                            | class, then for finite non-zero ones exponent and digits; see numeric-key.ts |
 *
 * Invariants
 * - KEY-1 sign(memcmp(key(a), key(b))) = sign(compare(a, b)) for every ordered type that may be indexed.
 * - KEY-2 The key made of a tuple is the one made of its values.
 */
import { SqlError } from '../sql-error.js';
import * as b from '../types/bytes.js';
import { intervalSpan } from '../types/interval.js';
import type { Numeric } from '../types/numeric.js';
import { OID } from '../types/oids.js';
import type { SqlType } from '../types/sql-type.js';
import { trimBlanks } from '../types/strings.js';
import { dateToInt4, putUuid } from '../types/tuple.js';
import type { Interval, Value } from '../types/value.js';
import { putNumericKey } from './numeric-key.js';

export const NULL_FIRST = 0x00;
export const NULL_LAST = 0xff;
export const NOT_NULL = 0x80;

export interface KeyColumn {
  readonly type: SqlType;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

/** How a type's keys are made; `none`: it cannot be indexed. */
export type KeyForm =
  | 'bool'
  | 'int2'
  | 'int4'
  | 'uint4'
  | 'int8'
  | 'time'
  | 'date'
  | 'float4'
  | 'float8'
  | 'text'
  | 'bpchar'
  | 'bytes'
  | 'uuid'
  | 'interval'
  | 'numeric'
  | 'none';

export function keyForm(type: SqlType): KeyForm {
  if (!type.ordered || type.kind === 'p') return 'none';
  if (type.storage === 'generic') return 'none';
  if (type.oid === OID.bpchar) return 'bpchar';
  // An enum's order is that of its labels' declaration, jsonb's is structural: neither is its text's.
  if (type.kind === 'e' || type.oid === OID.jsonb) return 'none';
  return type.storage;
}

/** 42704, as CREATE INDEX says for a type without an operator class. */
export function requireKeyForm(type: SqlType): KeyForm {
  const form = keyForm(type);
  if (form === 'none') {
    throw new SqlError(
      '42704',
      `data type ${type.displayName} has no default operator class for access method "btree"`,
      {
        hint: 'You must specify an operator class for the index or define a default operator class for the data type.',
      },
    );
  }
  return form;
}

/** Writes one non-NULL value (without the marker byte) ascending; the caller made room (see `keyBytesMax`). */
export function putKeyValue(form: KeyForm, value: Value, target: Uint8Array, at: number): number {
  switch (form) {
    case 'int4':
      b.putInt4BE(target, at, (value as number) ^ 0x8000_0000);
      return at + 4;
    case 'int8':
      b.putInt8BE(target, at, value as bigint);
      target[at] = (target[at] as number) ^ 0x80;
      return at + 8;
    case 'text':
      at = b.writeText(value as string, target, at);
      target[at] = 0;
      return at + 1;
    case 'bpchar':
      at = b.writeText(trimBlanks(value as string), target, at);
      target[at] = 0;
      return at + 1;
    case 'bool':
      target[at] = value === true ? 1 : 0;
      return at + 1;
    case 'int2':
      b.putInt2BE(target, at, (value as number) ^ 0x8000);
      return at + 2;
    case 'uint4':
      b.putInt4BE(target, at, value as number);
      return at + 4;
    case 'date':
      b.putInt4BE(target, at, dateToInt4(value as number) ^ 0x8000_0000);
      return at + 4;
    case 'time':
      b.putInt8BE(target, at, BigInt(value as number));
      target[at] = (target[at] as number) ^ 0x80;
      return at + 8;
    case 'float4':
      b.putFloat4BE(target, at, normalFloat(value as number));
      orderFloat(target, at, 4);
      return at + 4;
    case 'float8':
      b.putFloat8BE(target, at, normalFloat(value as number));
      orderFloat(target, at, 8);
      return at + 8;
    case 'bytes':
      return putBytesKey(value as Uint8Array, target, at);
    case 'uuid':
      putUuid(value as string, target, at);
      return at + 16;
    case 'interval':
      return putSpanKey(intervalSpan(value as Interval), target, at);
    case 'numeric':
      return putNumericKey(value as Numeric, target, at);
    case 'none':
      throw new SqlError('0A000', 'a key of this type is not supported');
  }
}

/** An upper bound of the bytes that a value's key takes, marker included. */
export function keyBytesMax(form: KeyForm, value: Value): number {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (form) {
    case 'text':
    case 'bpchar':
      return 2 + b.textBytes(value as string);
    case 'bytes':
      return 3 + (value as Uint8Array).length * 2;
    case 'numeric':
      return 16 + (value as Numeric).unscaled.toString().length;
    default:
      return 17;
  }
}

/** Inverts bytes for DESC. */
export function invert(target: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i++) target[i] = ~(target[i] as number);
}

// One bit pattern for the two zeros and for all NaNs.
function normalFloat(value: number): number {
  return value === 0 ? 0 : Number.isNaN(value) ? Number.NaN : value;
}

function orderFloat(target: Uint8Array, at: number, width: number): void {
  if ((target[at] as number) & 0x80) invert(target, at, at + width);
  else target[at] = (target[at] as number) | 0x80;
}

function putBytesKey(value: Uint8Array, target: Uint8Array, at: number): number {
  for (let i = 0; i < value.length; i++) {
    const byte = value[i] as number;
    target[at++] = byte;
    if (byte === 0) target[at++] = 0xff;
  }
  target[at] = 0;
  target[at + 1] = 0;
  return at + 2;
}

function putSpanKey(span: bigint, target: Uint8Array, at: number): number {
  b.putInt8BE(target, at, BigInt.asIntN(64, span >> 64n));
  b.putInt8BE(target, at + 8, BigInt.asIntN(64, span));
  target[at] = (target[at] as number) ^ 0x80;
  return at + 16;
}

/**
 * Key of the first `count` columns, for range bounds and probes. Values have exactly the columns' types. Writes into
 * target from 0; returns the length, or -(bytes needed).
 */
export function encodeKeyValues(
  values: readonly Value[],
  columns: readonly KeyColumn[],
  count: number,
  target: Uint8Array,
): number {
  let at = 0;
  for (let i = 0; i < count; i++) {
    const column = columns[i] as KeyColumn;
    const value = values[i] as Value;
    if (at + 17 > target.length || (value !== null && column.type.storage !== 'int4')) {
      const needed = neededBytes(values, columns, count);
      if (needed > target.length) return -needed;
    }
    if (value === null) {
      target[at++] = column.nullsFirst ? NULL_FIRST : NULL_LAST;
      continue;
    }
    target[at++] = NOT_NULL;
    const from = at;
    at = putKeyValue(keyForm(column.type), value, target, at);
    if (column.descending) invert(target, from, at);
  }
  return at;
}

function neededBytes(
  values: readonly Value[],
  columns: readonly KeyColumn[],
  count: number,
): number {
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const value = values[i] as Value;
    bytes += value === null ? 1 : keyBytesMax(keyForm((columns[i] as KeyColumn).type), value);
  }
  return bytes;
}
