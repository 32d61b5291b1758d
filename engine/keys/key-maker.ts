/**
 * Keys made straight of tuples; see key.ts for the format.
 *
 * Hot: integers and text go from tuple bytes to key bytes without a JavaScript value in between.
 */
import { SqlError } from '../sql-error.js';
import type { KeyMaker } from '../tables/table-store.js';
import { copyBytes, type TupleCodec } from '../types/tuple.js';
import type { Value } from '../types/value.js';
import {
  invert,
  keyBytesMax,
  NOT_NULL,
  NULL_FIRST,
  NULL_LAST,
  putKeyValue,
  requireKeyForm,
  type KeyColumn,
  type KeyForm,
} from './key.js';

export interface TupleKeyColumn extends KeyColumn {
  /** 0-based index of the table's column. */
  readonly column: number;
}

/** 42704 when a column's type cannot be indexed. */
export function compileKeyMaker(codec: TupleCodec, columns: readonly TupleKeyColumn[]): KeyMaker {
  return new TupleKeyMaker(codec, columns);
}

class TupleKeyMaker implements KeyMaker {
  hasNull = false;
  readonly #codec: TupleCodec;
  readonly #columns: readonly TupleKeyColumn[];
  readonly #forms: readonly KeyForm[];

  constructor(codec: TupleCodec, columns: readonly TupleKeyColumn[]) {
    this.#codec = codec;
    this.#columns = columns;
    this.#forms = columns.map((column) => requireKeyForm(column.type));
  }

  /** 54000 when the key does not fit into target. */
  make(bytes: Uint8Array, start: number, end: number, target: Uint8Array): number {
    this.hasNull = false;
    const codec = this.#codec;
    let at = 0;
    for (let i = 0; i < this.#columns.length; i++) {
      const column = this.#columns[i] as TupleKeyColumn;
      const form = this.#forms[i] as KeyForm;
      const located = codec.locate(bytes, start, end, column.column);
      if (!located) {
        const value = codec.isMissing(bytes, start, column.column)
          ? codec.missingValue(column.column)
          : null;
        at = this.#putValue(column, form, value, target, at);
        continue;
      }
      const from = codec.rangeStart;
      const to = codec.rangeEnd;
      if (at + (to - from) * 2 + 18 > target.length) {
        at = this.#putValue(
          column,
          form,
          codec.decode(bytes, start, end, column.column),
          target,
          at,
        );
        continue;
      }
      target[at++] = NOT_NULL;
      const valueStart = at;
      at = this.#putRaw(form, bytes, start, end, column.column, target, at);
      if (column.descending) invert(target, valueStart, at);
    }
    return at;
  }

  /** The located range, as a key. */
  #putRaw(
    form: KeyForm,
    bytes: Uint8Array,
    start: number,
    end: number,
    column: number,
    target: Uint8Array,
    at: number,
  ): number {
    const from = this.#codec.rangeStart;
    let to = this.#codec.rangeEnd;
    // The default is meant for all the others.
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check
    switch (form) {
      case 'int4':
      case 'date':
        target[at] = (bytes[from + 3] as number) ^ 0x80;
        target[at + 1] = bytes[from + 2] as number;
        target[at + 2] = bytes[from + 1] as number;
        target[at + 3] = bytes[from] as number;
        return at + 4;
      case 'int8':
      case 'time':
        for (let i = 0; i < 8; i++) target[at + i] = bytes[from + 7 - i] as number;
        target[at] = (target[at] as number) ^ 0x80;
        return at + 8;
      case 'bpchar':
        while (to > from && bytes[to - 1] === 0x20) to--;
        copyBytes(bytes, from, to, target, at);
        at += to - from;
        target[at] = 0;
        return at + 1;
      case 'text':
        copyBytes(bytes, from, to, target, at);
        at += to - from;
        target[at] = 0;
        return at + 1;
      default:
        return putKeyValue(form, this.#codec.decode(bytes, start, end, column), target, at);
    }
  }

  #putValue(
    column: TupleKeyColumn,
    form: KeyForm,
    value: Value,
    target: Uint8Array,
    at: number,
  ): number {
    if (value === null) {
      if (at >= target.length) throw keyTooBig(at + 1, target.length);
      this.hasNull = true;
      target[at] = column.nullsFirst ? NULL_FIRST : NULL_LAST;
      return at + 1;
    }
    const needed = at + keyBytesMax(form, value);
    if (needed > target.length) throw keyTooBig(needed, target.length);
    target[at] = NOT_NULL;
    const next = putKeyValue(form, value, target, at + 1);
    if (column.descending) invert(target, at + 1, next);
    return next;
  }
}

function keyTooBig(bytes: number, bytesMax: number): SqlError {
  return new SqlError('54000', `index row requires ${bytes} bytes, maximum size is ${bytesMax}`);
}
