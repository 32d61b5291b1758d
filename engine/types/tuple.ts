/**
 * Rows as bytes. All numbers little-endian.
 *
 *     0  u16  column count n: the table's columns, dropped ones included, when the tuple was written
 *     2       null bitmap, ceil(n / 8) bytes; bit i % 8 of byte i / 8 set: column i is NULL
 *     .       fixed area: every column of fixed width, in column order, at the same place in every tuple of the table;
 *             zero when NULL or dropped
 *     .       variable area: every other column that is not NULL, in column order: length, then bytes
 *
 *     length  0xxxxxxx                    0..127
 *             10xxxxxx xxxxxxxx           ..16383, high bits first
 *             11xxxxxx and three more     ..2^30 - 1
 *
 * | storage      | bytes | value                                                                                   |
 * |--------------|-------|-----------------------------------------------------------------------------------------|
 * | bool         | 1     | 0, 1                                                                                    |
 * | int2         | 2     | i16                                                                                     |
 * | int4, uint4  | 4     | i32, u32                                                                                |
 * | date         | 4     | i32 days since 2000-01-01; the two extremes are -infinity and infinity                  |
 * | int8, time   | 8     | i64 (bigint, timestamps; time as microseconds)                                          |
 * | float4/8     | 4, 8  | IEEE 754                                                                                |
 * | interval     | 16    | i64 microseconds, i32 days, i32 months                                                  |
 * | uuid         | 16    | as sent                                                                                 |
 * | text         | var   | UTF-8                                                                                   |
 * | bytes        | var   | as is                                                                                   |
 * | numeric      | var   | numeric-codec.ts                                                                        |
 * | generic      | var   | the type's binary wire format (arrays, records)                                         |
 *
 * Why this shape: a fixed-width column is read without walking, an UPDATE of one leaves every other byte in its place
 * (the reverse delta of the version before stays small), and a column that is added later needs no rewrite: a tuple
 * with n columns reads any column from n on as that column's missing value.
 *
 * Invariants
 * - TUPLE-1 Columns are only ever appended; a dropped one keeps its place and its storage.
 * - TUPLE-2 Bytes of columns that a patch does not name are copied, never decoded.
 */
import { SextantError } from '#core/errors.js';
import * as b from './bytes.js';
import { numericBytesMax, putNumeric, readNumeric } from './numeric-codec.js';
import type { Numeric } from './numeric.js';
import type { SqlType, Storage } from './sql-type.js';
import type { Interval, Value } from './value.js';

export interface TupleColumn {
  readonly type: SqlType;
  /** Written as NULL and never asked for. */
  readonly dropped?: boolean;
  /** What tuples from before the column was added hold. */
  readonly missing?: Value;
}

const FIXED_BYTES: Record<Storage, number> = {
  bool: 1,
  int2: 2,
  int4: 4,
  uint4: 4,
  int8: 8,
  float4: 4,
  float8: 8,
  date: 4,
  time: 8,
  interval: 16,
  uuid: 16,
  text: 0,
  bytes: 0,
  numeric: 0,
  generic: 0,
};

const DATE_INFINITY = 0x7fff_ffff;
const DATE_NEGATIVE_INFINITY = -0x8000_0000;
const COLUMN_COUNT_MAX = 1600;

/** Bytes of a column in the fixed area; 0: it lies in the variable area. */
export const fixedBytes = (storage: Storage): number => FIXED_BYTES[storage];

/** The compiled codec of one table's columns; immutable, shared by all statements. */
export class TupleCodec {
  readonly columnCount: number;
  readonly types: readonly SqlType[];
  readonly storages: readonly Storage[];
  /** Of a fixed column within the fixed area; -1: variable. */
  readonly fixedOffsets: Int32Array;
  /** Indexed by a tuple's column count: bytes of its fixed area. */
  readonly fixedAreaBytes: Int32Array;
  readonly #variable: Int32Array;
  readonly #dropped: readonly boolean[];
  readonly #missing: readonly Value[];
  #scratch: Value[];

  constructor(columns: readonly TupleColumn[]) {
    if (columns.length > COLUMN_COUNT_MAX) {
      throw new SextantError('INTERNAL', `a tuple of ${columns.length} columns`);
    }
    this.columnCount = columns.length;
    this.types = columns.map((column) => column.type);
    this.storages = columns.map((column) => column.type.storage);
    this.#dropped = columns.map((column) => column.dropped === true);
    this.#missing = columns.map((column) => column.missing ?? null);
    this.fixedOffsets = new Int32Array(columns.length);
    this.fixedAreaBytes = new Int32Array(columns.length + 1);
    const variable: number[] = [];
    let offset = 0;
    for (let i = 0; i < columns.length; i++) {
      const bytes = FIXED_BYTES[this.storages[i] as Storage];
      this.fixedOffsets[i] = bytes === 0 ? -1 : offset;
      if (bytes === 0) variable.push(i);
      offset += bytes;
      this.fixedAreaBytes[i + 1] = offset;
    }
    this.#variable = Int32Array.from(variable);
    this.#scratch = [];
  }

  /** Writes `values` (one per column) into target from 0. Returns the length, or -(bytes needed) when it may not fit. */
  encode(values: readonly Value[], target: Uint8Array): number {
    const count = this.columnCount;
    const fixedStart = 2 + ((count + 7) >> 3);
    let at = fixedStart + (this.fixedAreaBytes[count] as number);
    if (at > target.length) return -this.#bytesMax(values);
    b.putInt2(target, 0, count);
    target.fill(0, 2, at);
    for (let i = 0; i < count; i++) {
      const value = values[i] as Value;
      if (value === null || value === undefined || this.#dropped[i] === true) {
        const byte = 2 + (i >> 3);
        target[byte] = (target[byte] as number) | (1 << (i & 7));
        continue;
      }
      const offset = this.fixedOffsets[i] as number;
      if (offset >= 0) {
        putFixed(this.storages[i] as Storage, value, target, fixedStart + offset);
      } else {
        at = putVariable(this.types[i] as SqlType, value, target, at);
        if (at < 0) return -this.#bytesMax(values);
      }
    }
    return at;
  }

  /** Value of one column (0-based). */
  decode(bytes: Uint8Array, start: number, end: number, column: number): Value {
    const count = (bytes[start] as number) | ((bytes[start + 1] as number) << 8);
    if (column >= count) return this.#missing[column] as Value;
    if (((bytes[start + 2 + (column >> 3)] as number) >> (column & 7)) & 1) return null;
    const fixedStart = start + 2 + ((count + 7) >> 3);
    const offset = this.fixedOffsets[column] as number;
    if (offset >= 0) {
      return readFixed(this.storages[column] as Storage, bytes, fixedStart + offset);
    }
    const at = this.#seek(bytes, start, end, count, column);
    const from = lengthEnd(bytes, at);
    return readVariable(this.types[column] as SqlType, bytes, from, from + lengthAt(bytes, at));
  }

  /**
   * Where a column's bytes are, for raw comparison and copying: sets `rangeStart`, `rangeEnd` (of the value, without its
   * length) and returns true; false when it is NULL or newer than the tuple.
   */
  locate(bytes: Uint8Array, start: number, end: number, column: number): boolean {
    const count = (bytes[start] as number) | ((bytes[start + 1] as number) << 8);
    if (column >= count) return false;
    if (((bytes[start + 2 + (column >> 3)] as number) >> (column & 7)) & 1) return false;
    const offset = this.fixedOffsets[column] as number;
    if (offset >= 0) {
      this.rangeStart = start + 2 + ((count + 7) >> 3) + offset;
      this.rangeEnd = this.rangeStart + FIXED_BYTES[this.storages[column] as Storage];
      return true;
    }
    const at = this.#seek(bytes, start, end, count, column);
    this.rangeStart = lengthEnd(bytes, at);
    this.rangeEnd = this.rangeStart + lengthAt(bytes, at);
    return true;
  }
  rangeStart = 0;
  rangeEnd = 0;

  /** True when the column's missing value stands for it in this tuple. */
  isMissing(bytes: Uint8Array, start: number, column: number): boolean {
    return column >= ((bytes[start] as number) | ((bytes[start + 1] as number) << 8));
  }

  missingValue(column: number): Value {
    return this.#missing[column] ?? null;
  }

  /** values[slots[i]] = column columns[i]; `columns` ascending. One walk for all. */
  decodeInto(
    bytes: Uint8Array,
    start: number,
    end: number,
    columns: readonly number[],
    slots: readonly number[],
    values: Value[],
  ): void {
    const count = (bytes[start] as number) | ((bytes[start + 1] as number) << 8);
    const fixedStart = start + 2 + ((count + 7) >> 3);
    let at = -1;
    let next = 0;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i] as number;
      let value: Value = null;
      if (column >= count) {
        value = this.#missing[column] as Value;
      } else if (!((((bytes[start + 2 + (column >> 3)] as number) >> (column & 7)) & 1) === 1)) {
        const offset = this.fixedOffsets[column] as number;
        if (offset >= 0) {
          value = readFixed(this.storages[column] as Storage, bytes, fixedStart + offset);
        } else {
          if (at < 0) at = fixedStart + (this.fixedAreaBytes[count] as number);
          for (; (this.#variable[next] as number) < column; next++) {
            at = this.#skip(bytes, start, at, this.#variable[next] as number);
          }
          const from = lengthEnd(bytes, at);
          const to = from + lengthAt(bytes, at);
          if (to > end) throw new SextantError('CORRUPTION', 'a tuple ends within a column');
          value = readVariable(this.types[column] as SqlType, bytes, from, to);
        }
      }
      values[slots[i] as number] = value;
    }
  }

  decodeAll(bytes: Uint8Array, start: number, end: number): Value[] {
    const values: Value[] = [];
    for (let i = 0; i < this.columnCount; i++) values.push(this.decode(bytes, start, end, i));
    return values;
  }

  /**
   * A copy of the tuple with some columns (ascending) replaced by `values[i]`. Returns its length, or -(bytes needed).
   * `bytes` and `target` must not overlap.
   */
  patch(
    bytes: Uint8Array,
    start: number,
    end: number,
    columns: readonly number[],
    values: readonly Value[],
    target: Uint8Array,
  ): number {
    const count = this.columnCount;
    if (((bytes[start] as number) | ((bytes[start + 1] as number) << 8)) !== count) {
      return this.#patchOld(bytes, start, end, columns, values, target);
    }
    if (end - start > target.length) return -(end - start + this.#patchBytes(columns, values));
    const fixedStart = 2 + ((count + 7) >> 3);
    const fixedEnd = fixedStart + (this.fixedAreaBytes[count] as number);
    // The variable area changes only from the first variable column that is named.
    let first = 0;
    while (first < columns.length && (this.fixedOffsets[columns[first] as number] as number) >= 0) {
      first++;
    }
    if (first === columns.length) {
      copyBytes(bytes, start, end, target, 0);
      for (let i = 0; i < columns.length; i++) {
        this.#patchFixed(columns[i] as number, values[i] as Value, target, fixedStart);
      }
      return end - start;
    }
    copyBytes(bytes, start, start + fixedEnd, target, 0);
    let from = start + fixedEnd;
    let at = fixedEnd;
    let next = 0;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i] as number;
      const value = values[i] as Value;
      if ((this.fixedOffsets[column] as number) >= 0) {
        this.#patchFixed(column, value, target, fixedStart);
        continue;
      }
      const run = from;
      for (; (this.#variable[next] as number) < column; next++) {
        from = this.#skip(bytes, start, from, this.#variable[next] as number);
      }
      if (at + from - run > target.length)
        return -(end - start + this.#patchBytes(columns, values));
      copyBytes(bytes, run, from, target, at);
      at += from - run;
      from = this.#skip(bytes, start, from, column);
      next++;
      setNull(target, column, value === null);
      if (value !== null) at = putVariable(this.types[column] as SqlType, value, target, at);
      if (at < 0) return -(end - start + this.#patchBytes(columns, values));
    }
    if (at + end - from > target.length) return -(end - start + this.#patchBytes(columns, values));
    copyBytes(bytes, from, end, target, at);
    return at + end - from;
  }

  #patchFixed(column: number, value: Value, target: Uint8Array, fixedStart: number): void {
    const storage = this.storages[column] as Storage;
    const offset = fixedStart + (this.fixedOffsets[column] as number);
    setNull(target, column, value === null);
    if (value === null) target.fill(0, offset, offset + FIXED_BYTES[storage]);
    else putFixed(storage, value, target, offset);
  }

  /** A tuple from before a column was added gets all columns now. */
  #patchOld(
    bytes: Uint8Array,
    start: number,
    end: number,
    columns: readonly number[],
    values: readonly Value[],
    target: Uint8Array,
  ): number {
    const all = this.#scratch;
    for (let i = 0; i < this.columnCount; i++) {
      all[i] = this.#dropped[i] === true ? null : this.decode(bytes, start, end, i);
    }
    for (let i = 0; i < columns.length; i++) all[columns[i] as number] = values[i] as Value;
    const length = this.encode(all, target);
    this.#scratch = [];
    return length;
  }

  /** Offset of a variable column's length. */
  #seek(bytes: Uint8Array, start: number, end: number, count: number, column: number): number {
    let at = start + 2 + ((count + 7) >> 3) + (this.fixedAreaBytes[count] as number);
    for (let i = 0; (this.#variable[i] as number) < column; i++) {
      at = this.#skip(bytes, start, at, this.#variable[i] as number);
    }
    if (at >= end || lengthEnd(bytes, at) + lengthAt(bytes, at) > end) {
      throw new SextantError('CORRUPTION', 'a tuple ends within a column');
    }
    return at;
  }

  #skip(bytes: Uint8Array, start: number, at: number, column: number): number {
    if (((bytes[start + 2 + (column >> 3)] as number) >> (column & 7)) & 1) return at;
    return lengthEnd(bytes, at) + lengthAt(bytes, at);
  }

  #bytesMax(values: readonly Value[]): number {
    let bytes =
      2 + ((this.columnCount + 7) >> 3) + (this.fixedAreaBytes[this.columnCount] as number);
    for (let i = 0; i < this.#variable.length; i++) {
      const column = this.#variable[i] as number;
      const value = values[column] ?? null;
      if (value !== null) bytes += variableBytesMax(this.types[column] as SqlType, value);
    }
    return bytes;
  }

  #patchBytes(columns: readonly number[], values: readonly Value[]): number {
    let bytes = 0;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i] as number;
      const value = values[i] ?? null;
      if ((this.fixedOffsets[column] as number) < 0 && value !== null) {
        bytes += variableBytesMax(this.types[column] as SqlType, value);
      }
    }
    return bytes;
  }
}

function setNull(target: Uint8Array, column: number, isNull: boolean): void {
  const byte = 2 + (column >> 3);
  const bit = 1 << (column & 7);
  target[byte] = isNull ? (target[byte] as number) | bit : (target[byte] as number) & ~bit;
}

/** Hot: a loop beats `set(subarray())` below about 48 bytes. */
export function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): void {
  if (end - start > 48) {
    target.set(source.subarray(start, end), at);
    return;
  }
  for (let i = start; i < end; i++) target[at++] = source[i] as number;
}

export function lengthAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  if (first < 0x80) return first;
  if (first < 0xc0) return ((first & 0x3f) << 8) | (bytes[at + 1] as number);
  return (
    ((first & 0x3f) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

export function lengthEnd(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number;
  return at + (first < 0x80 ? 1 : first < 0xc0 ? 2 : 4);
}

const lengthBytes = (length: number): number => (length < 0x80 ? 1 : length < 0x4000 ? 2 : 4);

function putLength(target: Uint8Array, at: number, length: number): number {
  if (length < 0x80) {
    target[at] = length;
    return at + 1;
  }
  if (length < 0x4000) {
    target[at] = 0x80 | (length >> 8);
    target[at + 1] = length;
    return at + 2;
  }
  b.putInt4BE(target, at, length);
  target[at] = (target[at] as number) | 0xc0;
  return at + 4;
}

function readFixed(storage: Storage, bytes: Uint8Array, at: number): Value {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (storage) {
    case 'int4':
      return b.readInt4(bytes, at);
    case 'int8':
      return b.readInt8(bytes, at);
    case 'bool':
      return bytes[at] !== 0;
    case 'int2':
      return b.readInt2(bytes, at);
    case 'uint4':
      return b.readInt4(bytes, at) >>> 0;
    case 'float4':
      return b.readFloat4(bytes, at);
    case 'float8':
      return b.readFloat8(bytes, at);
    case 'date':
      return dateFromInt4(b.readInt4(bytes, at));
    case 'time':
      return b.readSafeInt8(bytes, at);
    case 'interval':
      return {
        months: b.readInt4(bytes, at + 12),
        days: b.readInt4(bytes, at + 8),
        micros: b.readInt8(bytes, at),
      };
    case 'uuid':
      return readUuid(bytes, at);
    default:
      throw new SextantError('INTERNAL', `${storage} is not of fixed width`);
  }
}

function putFixed(storage: Storage, value: Value, target: Uint8Array, at: number): void {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (storage) {
    case 'int4':
    case 'uint4':
      b.putInt4(target, at, value as number);
      return;
    case 'int8':
      b.putInt8(target, at, value as bigint);
      return;
    case 'bool':
      target[at] = value === true ? 1 : 0;
      return;
    case 'int2':
      b.putInt2(target, at, value as number);
      return;
    case 'float4':
      b.putFloat4(target, at, value as number);
      return;
    case 'float8':
      b.putFloat8(target, at, value as number);
      return;
    case 'date':
      b.putInt4(target, at, dateToInt4(value as number));
      return;
    case 'time':
      b.putSafeInt8(target, at, value as number);
      return;
    case 'interval': {
      const interval = value as Interval;
      b.putInt8(target, at, interval.micros);
      b.putInt4(target, at + 8, interval.days);
      b.putInt4(target, at + 12, interval.months);
      return;
    }
    case 'uuid':
      putUuid(value as string, target, at);
      return;
    default:
      throw new SextantError('INTERNAL', `${storage} is not of fixed width`);
  }
}

function readVariable(type: SqlType, bytes: Uint8Array, start: number, end: number): Value {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (type.storage) {
    case 'text':
      return b.readText(bytes, start, end);
    case 'bytes':
      // Buffer's own slice would be a view of a page that changes.
      return Uint8Array.prototype.slice.call(bytes, start, end);
    case 'numeric':
      return readNumeric(bytes, start, end);
    default:
      return type.fromBinary(bytes, start, end);
  }
}

/** Returns the new offset, or -1 when it may not fit. */
function putVariable(type: SqlType, value: Value, target: Uint8Array, at: number): number {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (type.storage) {
    case 'text':
      return putText(value as string, target, at);
    case 'numeric': {
      if (at + 1 + numericBytesMax(value as Numeric) > target.length) return -1;
      const end = putNumeric(value as Numeric, target, at + 1);
      const length = end - at - 1;
      if (length < 0x80) {
        target[at] = length;
        return end;
      }
      const prefix = lengthBytes(length);
      if (end + prefix - 1 > target.length) return -1;
      target.copyWithin(at + prefix, at + 1, end);
      putLength(target, at, length);
      return end + prefix - 1;
    }
    default: {
      const bytes = type.storage === 'bytes' ? (value as Uint8Array) : type.toBinary(value);
      if (at + 4 + bytes.length > target.length) return -1;
      at = putLength(target, at, bytes.length);
      target.set(bytes, at);
      return at + bytes.length;
    }
  }
}

function putText(text: string, target: Uint8Array, at: number): number {
  // Hot: up to 42 UTF-16 units always fit a one-byte length, so the bytes are written once and counted by that.
  if (text.length <= 42) {
    if (at + 1 + text.length * 3 > target.length) {
      const exact = b.textBytes(text);
      if (at + 1 + exact > target.length) return -1;
    }
    const end = b.writeText(text, target, at + 1);
    target[at] = end - at - 1;
    return end;
  }
  const length = b.textBytes(text);
  if (at + 4 + length > target.length) return -1;
  return b.writeText(text, target, putLength(target, at, length));
}

function variableBytesMax(type: SqlType, value: Value): number {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (type.storage) {
    case 'text':
      return 4 + b.textBytes(value as string);
    case 'bytes':
      return 4 + (value as Uint8Array).length;
    case 'numeric':
      return 8 + numericBytesMax(value as Numeric);
    default:
      return 4 + type.toBinary(value).length;
  }
}

export function dateFromInt4(days: number): number {
  if (days === DATE_INFINITY) return Infinity;
  return days === DATE_NEGATIVE_INFINITY ? -Infinity : days;
}

export function dateToInt4(days: number): number {
  if (days === Infinity) return DATE_INFINITY;
  return days === -Infinity ? DATE_NEGATIVE_INFINITY : days;
}

const HEX: string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

export function readUuid(bytes: Uint8Array, at: number): string {
  let text = '';
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
    text += HEX[bytes[at + i] as number];
  }
  return text;
}

export function putUuid(text: string, target: Uint8Array, at: number): void {
  let from = 0;
  for (let i = 0; i < 16; i++) {
    if (text.charCodeAt(from) === 0x2d) from++;
    target[at + i] = Number.parseInt(text.slice(from, from + 2), 16);
    from += 2;
  }
}
