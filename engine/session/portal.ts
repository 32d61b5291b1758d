/** Prepared statements and portals: what Parse and Bind (or PREPARE and DECLARE) leave in a session. */
import { assert } from '#core/assert.js';
import type { ColumnTaker, CompiledStatement, Execution, ResultColumn } from '../sql/statement.js';
import type { Value } from '../types/value.js';
import type { StatementText } from './statement-source.js';

export class PreparedStatement {
  readonly name: string;
  /** null: an empty statement. */
  readonly source: StatementText | null;
  /** As declared at Parse; 0 where the type was left open. */
  readonly declaredOids: readonly number[];
  compiled: CompiledStatement;
  /** Under which its names were resolved. */
  searchPath: readonly string[];
  /** By SQL PREPARE rather than by a Parse message. */
  readonly fromSql: boolean;
  /** Result field codes of the last Bind, reused when its formats are the same. Opaque to the session. */
  fieldCodes: Uint8Array | null = null;
  fieldFormat = 0;
  /** What its rows look like was told: it stays so. */
  described = false;

  constructor(
    name: string,
    source: StatementText | null,
    declaredOids: readonly number[],
    compiled: CompiledStatement,
    searchPath: readonly string[],
    fromSql: boolean,
  ) {
    this.name = name;
    this.source = source;
    this.declaredOids = declaredOids;
    this.compiled = compiled;
    this.searchPath = searchPath;
    this.fromSql = fromSql;
  }

  get text(): string {
    return this.source === null ? '' : this.source.text;
  }
}

export class Portal implements ColumnTaker {
  readonly name: string;
  readonly statement: PreparedStatement;
  readonly compiled: CompiledStatement;
  readonly parameters: readonly Value[];
  /** What its rows look like; differs from the statement's for EXECUTE and FETCH. */
  columns: readonly ResultColumn[] | null;
  /** Per column, for whoever writes the rows; null also when the columns have changed. */
  fieldCodes: Uint8Array | null = null;
  /** Result formats as Bind gave them. */
  formats: readonly number[] = [];
  /** Open after the first step. */
  execution: Execution | null = null;
  done = false;
  /** Rows handed out by the Execute under way: it may stop in the middle and go on. */
  fetched = 0;
  /** By DECLARE CURSOR. */
  readonly cursor: boolean;

  constructor(
    name: string,
    statement: PreparedStatement,
    parameters: readonly Value[],
    cursor = false,
  ) {
    this.name = name;
    this.statement = statement;
    this.compiled = statement.compiled;
    this.parameters = parameters;
    this.columns = statement.compiled.columns;
    this.cursor = cursor;
  }

  takeColumns(columns: readonly ResultColumn[] | null): void {
    this.columns = columns;
    this.fieldCodes = null;
  }

  get tag(): string {
    assert(this.execution !== null, 'a portal has a tag once it has run');
    return this.execution.tag;
  }

  close(): void {
    this.execution?.close();
    this.done = true;
  }
}

/** Rows that are known beforehand, as those of SHOW. */
export class RowsExecution implements Execution {
  row: Value[] = [];
  rowCount = 0;
  readonly tag: string;
  readonly #rows: readonly Value[][];

  constructor(tag: string, rows: readonly Value[][] = []) {
    this.tag = tag;
    this.#rows = rows;
  }

  step(): 'row' | 'done' {
    if (this.rowCount >= this.#rows.length) return 'done';
    this.row = this.#rows[this.rowCount++];
    return 'row';
  }

  close(): void {}
}
