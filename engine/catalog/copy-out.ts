/** COPY TO STDOUT: the rows of a query as text or csv, many to a chunk. */
import { textContextOf } from '../functions/context.js';
import type { CopyOutExecution } from '../sql/copy-interface.js';
import type { Execution, ExecutionContext, ResultColumn } from '../sql/statement.js';
import { typeOf } from '../types/registry.js';
import type { SqlType, TextContext } from '../types/sql-type.js';
import type { Value } from '../types/value.js';
import type { CopyOptions } from './copy-options.js';

const CHUNK_CHARS = 32_768;

const ESCAPED: Record<string, string> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

export class CopyOut implements CopyOutExecution {
  readonly format: 'text' | 'csv';
  readonly columnCount: number;
  readonly row: Value[] = [];
  rowCount = 0;
  chunk: Uint8Array = new Uint8Array(0);

  readonly #source: Execution;
  readonly #columns: readonly ResultColumn[];
  readonly #types: readonly SqlType[];
  readonly #options: CopyOptions;
  readonly #text: TextContext;
  readonly #escapes: RegExp;
  /** What is gathered for the next chunk. */
  #gathered = '';
  #done = false;

  constructor(
    source: Execution,
    columns: readonly ResultColumn[],
    options: CopyOptions,
    context: ExecutionContext,
  ) {
    this.#source = source;
    this.#columns = columns;
    this.#types = columns.map((column) => typeOf(column.typeOid));
    this.#options = options;
    this.format = options.format;
    this.columnCount = columns.length;
    this.#text = textContextOf(context.session);
    const delimiter = options.delimiter.replace(/[-\]\\^]/, '\\$&');
    this.#escapes = new RegExp(`[\\\\\\b\\f\\n\\r\\t\\v${delimiter}]`, 'g');
    if (options.header !== 'no') {
      const names = columns.map((column) => this.#field(column.name, column.name, false));
      this.#gathered = `${names.join(options.delimiter)}\n`;
    }
  }

  get tag(): string {
    return `COPY ${this.rowCount}`;
  }

  step(): 'row' | 'done' {
    while (!this.#done && this.#gathered.length < CHUNK_CHARS) {
      if (this.#source.step() === 'done') {
        this.#done = true;
        break;
      }
      this.#gathered += `${this.#line(this.#source.row)}\n`;
      this.rowCount++;
    }
    if (this.#gathered === '') return 'done';
    this.chunk = Buffer.from(this.#gathered, 'utf8');
    this.#gathered = '';
    return 'row';
  }

  close(): void {
    this.#done = true;
    this.#source.close();
  }

  #line(values: readonly Value[]): string {
    const { delimiter, null: nullText } = this.#options;
    let line = '';
    for (let i = 0; i < this.#columns.length; i++) {
      if (i > 0) line += delimiter;
      const value = values[i] as Value;
      if (value === null) {
        line += nullText;
        continue;
      }
      const column = this.#columns[i] as ResultColumn;
      const text = (this.#types[i] as SqlType).toText(value, this.#text);
      line += this.#field(text, column.name, this.#columns.length === 1);
    }
    return line;
  }

  #field(text: string, column: string, isOnly: boolean): string {
    const o = this.#options;
    if (o.format === 'text') {
      return text.replace(this.#escapes, (char) => ESCAPED[char] ?? `\\${char}`);
    }
    const forced = o.forceQuote === 'all' || o.forceQuote.includes(column);
    const needs =
      forced ||
      text === o.null ||
      (isOnly && text === '\\.') ||
      text.includes(o.delimiter) ||
      text.includes(o.quote) ||
      /[\r\n]/.test(text);
    if (!needs) return text;
    let inside = text;
    if (o.escape !== o.quote) inside = inside.replaceAll(o.escape, o.escape + o.escape);
    return o.quote + inside.replaceAll(o.quote, o.escape + o.quote) + o.quote;
  }
}
