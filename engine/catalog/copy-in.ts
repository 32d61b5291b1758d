/**
 * COPY FROM STDIN.
 *
 * Hot: a row goes from its bytes to values and a tuple and into the store, without a plan. Tables with checks, foreign
 * keys or defaults to fill in take the way of an INSERT with one parameter per column instead.
 */
import { textContextOf } from '../functions/context.js';
import type { CopyInExecution } from '../sql/copy-interface.js';
import type { CompiledStatement, Execution, ExecutionContext } from '../sql/statement.js';
import { SqlError } from '../sql-error.js';
import type { RowWriteState, TableHandle, TableStore } from '../tables/table-store.js';
import { applyModifier } from '../types/modifier.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { SqlType, TextContext } from '../types/sql-type.js';
import type { Value } from '../types/value.js';
import {
  RowFinder,
  decodeUtf8,
  isEndOfData,
  splitCsv,
  trimReturn,
  unescapeText,
} from './copy-lines.js';
import type { CopyOptions } from './copy-options.js';
import type { ColumnDef, TableDef, TupleCodec } from './definitions.js';

const BACKSLASH = 92;
const INT4_DIGITS_MAX = 9;
/** Characters of the data that an error shows. */
const SHOWN_MAX = 100;

export class CopyIn implements CopyInExecution {
  readonly format: 'text' | 'csv';
  readonly columnCount: number;
  readonly row: Value[] = [];
  rowCount = 0;

  readonly #table: TableDef;
  readonly #columns: readonly number[];
  readonly #types: readonly SqlType[];
  readonly #options: CopyOptions;
  readonly #context: ExecutionContext;
  readonly #store: TableStore;
  readonly #text: TextContext;
  /** null: the fast way. */
  readonly #insert: CompiledStatement | null;
  #execution: Execution | null = null;

  readonly #finder: RowFinder;
  readonly #delimiter: number;
  readonly #nullBytes: Buffer;
  readonly #values: Value[];
  readonly #state: RowWriteState;
  readonly #quoted: boolean[] = [];
  #tuple = new Uint8Array(1024);
  #tupleLength = 0;
  /** Bytes not yet made into rows: #buffer[#at, #length). */
  #buffer = Buffer.alloc(0);
  #length = 0;
  #at = 0;
  /** A chunk was taken in and is being worked on: the same one comes again after a Suspend. */
  #resuming = false;
  /** A row stands in #values and #tuple and is on its way. */
  #writing = false;
  #line = 0;
  /** Of the row that was begun last, in #buffer. */
  #lineStart = 0;
  #lineEnd = 0;
  /** The field that is being read; column -1: none. */
  readonly #input = { column: -1, text: '' };
  #ended = false;

  constructor(
    table: TableDef,
    columns: readonly number[],
    options: CopyOptions,
    context: ExecutionContext,
    store: TableStore,
    insert: CompiledStatement | null,
  ) {
    this.format = options.format;
    this.columnCount = columns.length;
    this.#table = table;
    this.#columns = columns;
    this.#types = columns.map((c) => typeOf((table.columns[c] as ColumnDef).typeOid));
    this.#options = options;
    this.#context = context;
    this.#store = store;
    this.#text = textContextOf(context.session);
    this.#insert = insert;
    this.#finder = new RowFinder(options);
    this.#delimiter = options.delimiter.charCodeAt(0);
    this.#nullBytes = Buffer.from(options.null);
    this.#values = (insert === null ? table.columns : columns).map(() => null);
    this.#state = store.newWriteState();
  }

  get tag(): string {
    return `COPY ${this.rowCount}`;
  }

  write(chunk: Uint8Array): void {
    if (this.#ended) return;
    if (!this.#resuming) this.#take(chunk);
    this.#resuming = true;
    try {
      this.#drain();
    } catch (thrown) {
      throw this.#located(thrown);
    }
    this.#resuming = false;
  }

  finish(): void {
    try {
      this.#last();
    } catch (thrown) {
      throw this.#located(thrown);
    }
  }

  /** What is left, with a last row that no newline ends. */
  #last(): void {
    this.#drain();
    if (this.#ended || this.#at >= this.#length) return;
    if (this.#finder.insideQuotes) {
      this.#line++;
      this.#lineStart = this.#at;
      this.#lineEnd = this.#length;
      throw new SqlError('22P04', 'unterminated CSV quoted field');
    }
    if (!this.#writing) this.#parse(this.#at, trimReturn(this.#buffer, this.#at, this.#length));
    if (this.#writing) this.#writeRow();
    this.#at = this.#length;
  }

  step(): 'done' {
    return 'done';
  }

  close(): void {
    this.#execution?.close();
    this.#execution = null;
    this.#ended = true;
  }

  #take(chunk: Uint8Array): void {
    const left = this.#length - this.#at;
    const needed = left + chunk.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed * 2, 0x1_0000));
      this.#buffer.copy(grown, 0, this.#at, this.#length);
      this.#buffer = grown;
    } else {
      this.#buffer.copyWithin(0, this.#at, this.#length);
    }
    this.#finder.moved(this.#at);
    this.#buffer.set(chunk, left);
    this.#at = 0;
    this.#length = needed;
  }

  /** Every whole row in the buffer. */
  #drain(): void {
    for (;;) {
      if (this.#ended) {
        this.#at = this.#length;
        return;
      }
      const end = this.#finder.end(this.#buffer, this.#at, this.#length);
      if (end < 0) return;
      if (!this.#writing) this.#parse(this.#at, trimReturn(this.#buffer, this.#at, end));
      if (this.#writing) this.#writeRow();
      this.#at = end + 1;
    }
  }

  #parse(start: number, end: number): void {
    this.#line++;
    this.#lineStart = start;
    this.#lineEnd = end;
    if (isEndOfData(this.#buffer, start, end)) {
      this.#ended = true;
      return;
    }
    if (this.#line === 1 && this.#options.header !== 'no') {
      this.#header(decodeUtf8(this.#buffer, start, end));
      return;
    }
    if (this.format === 'csv') this.#parseCsv(start, end);
    else this.#parseText(start, end);
    if (this.#insert === null) this.#encode();
    this.#state.reset();
    this.#writing = true;
  }

  /** Hot. */
  #parseText(start: number, end: number): void {
    const bytes = this.#buffer;
    const count = this.columnCount;
    let from = start;
    let column = 0;
    let escaped = false;
    for (let i = start; i <= end; i++) {
      const byte = i === end ? this.#delimiter : (bytes[i] as number);
      if (byte === BACKSLASH && i < end) {
        escaped = true;
        i++;
        if (i === end) i--;
        continue;
      }
      if (byte !== this.#delimiter) continue;
      if (column >= count) {
        if (count === 0 && start === end) return;
        throw new SqlError('22P04', 'extra data after last expected column');
      }
      this.#set(column, this.#field(column, from, i, escaped));
      column++;
      from = i + 1;
      escaped = false;
    }
    if (column < count) this.#missing(column);
  }

  #field(column: number, start: number, end: number, escaped: boolean): Value {
    const bytes = this.#buffer;
    const nulls = this.#nullBytes;
    if (end - start === nulls.length && this.#isNull(start, end)) return null;
    const type = this.#types[column] as SqlType;
    if (escaped) return this.#read(column, unescapeText(bytes, start, end));
    if (type.oid === OID.int4 && end - start <= INT4_DIGITS_MAX) {
      const number = smallInteger(bytes, start, end);
      if (number >= 0) return number;
    }
    return this.#read(column, decodeUtf8(bytes, start, end));
  }

  #isNull(start: number, end: number): boolean {
    const nulls = this.#nullBytes;
    for (let i = start; i < end; i++) if (this.#buffer[i] !== nulls[i - start]) return false;
    return true;
  }

  #read(column: number, text: string): Value {
    const input = this.#input;
    input.column = column;
    input.text = text;
    const type = this.#types[column] as SqlType;
    const def = this.#table.columns[this.#columns[column] as number] as ColumnDef;
    const read = type.fromText(text, this.#text);
    const value = def.typmod < 0 ? read : applyModifier(def.typeOid, read, def.typmod, false);
    input.column = -1;
    return value;
  }

  #parseCsv(start: number, end: number): void {
    const o = this.#options;
    const quoted = this.#quoted;
    const fields = splitCsv(decodeUtf8(this.#buffer, start, end), o, quoted);
    if (fields.length > this.columnCount) {
      throw new SqlError('22P04', 'extra data after last expected column');
    }
    if (fields.length < this.columnCount) this.#missing(fields.length);
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i] as string;
      const isNull =
        field === o.null &&
        (quoted[i] === true ? this.#named(o.forceNull, i) : !this.#named(o.forceNotNull, i));
      this.#set(i, isNull ? null : this.#read(i, field));
    }
  }

  #named(names: readonly string[] | 'all', column: number): boolean {
    return names === 'all' || names.includes(this.#name(column));
  }

  #name(column: number): string {
    return (this.#table.columns[this.#columns[column] as number] as ColumnDef).name;
  }

  #missing(column: number): void {
    throw new SqlError('22P04', `missing data for column "${this.#name(column)}"`);
  }

  #header(line: string): void {
    if (this.#options.header !== 'match') return;
    const names =
      this.format === 'csv'
        ? splitCsv(line, this.#options, [])
        : line.split(this.#options.delimiter);
    const wanted = this.#columns.map((_, i) => this.#name(i));
    if (names.length === wanted.length && wanted.every((name, i) => name === names[i])) return;
    throw new SqlError('22P04', 'column names in the header line do not match');
  }

  #set(column: number, value: Value): void {
    if (this.#insert === null) this.#values[this.#columns[column] as number] = value;
    else this.#values[column] = value;
  }

  #encode(): void {
    const codec = this.#table.codec as TupleCodec;
    const { columns } = this.#table;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i] as ColumnDef;
      if (!column.notNull || this.#values[i] !== null) continue;
      throw new SqlError(
        '23502',
        `null value in column "${column.name}" of relation "${this.#table.name}" violates not-null constraint`,
        { schema: this.#table.schema, table: this.#table.name, column: column.name },
      );
    }
    this.#tupleLength = codec.encode(this.#values, this.#tuple);
    if (this.#tupleLength >= 0) return;
    this.#tuple = new Uint8Array(-this.#tupleLength);
    this.#tupleLength = codec.encode(this.#values, this.#tuple);
  }

  /** The row into the store. Throws Suspend: call it again. */
  #writeRow(): void {
    if (this.#insert === null) {
      this.#store.insert(
        this.#table.handle as TableHandle,
        this.#context.transaction,
        this.#tuple,
        0,
        this.#tupleLength,
        this.#state,
      );
    } else {
      this.#execution ??= this.#insert.open({
        ...this.#context,
        parameters: [...this.#values],
      });
      while (this.#execution.step() === 'row');
      this.#execution.close();
      this.#execution = null;
    }
    this.#writing = false;
    this.rowCount++;
  }

  /** An error of the row under way says which it was, as PostgreSQL's do. */
  #located(thrown: unknown): unknown {
    if (!(thrown instanceof SqlError) || thrown.fields.where !== undefined) return thrown;
    const where = `COPY ${this.#table.name}, line ${this.#line}${this.#place()}`;
    return new SqlError(thrown.code, thrown.message, { ...thrown.fields, where, cause: thrown });
  }

  /** The field that could not be read, or the line that has not the right ones. */
  #place(): string {
    // Of a row that is whole and goes into the store, the number is enough.
    if (this.#writing && this.#insert === null) return '';
    const { column, text } = this.#input;
    if (column >= 0) return `, column ${this.#name(column)}: "${shortened(text)}"`;
    // What is not UTF-8 is not shown.
    const line = this.#buffer.toString('utf8', this.#lineStart, this.#lineEnd);
    return line.includes('\ufffd') ? '' : `: "${shortened(line)}"`;
  }
}

function shortened(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

/** An unsigned integer of at most nine digits; -1: something else. */
function smallInteger(bytes: Buffer, start: number, end: number): number {
  if (start === end) return -1;
  let number = 0;
  for (let i = start; i < end; i++) {
    const digit = (bytes[i] as number) - 48;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}
