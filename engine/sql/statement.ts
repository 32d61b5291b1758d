/**
 * The seam between the SQL layer (parse, bind, plan) and whoever runs statements (session, protocol, embedded API).
 */
import type { Snapshot, Transaction } from '../txn/transaction.js';
import type { Value } from '../types/value.js';

export interface ResultColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** 0 when it is not a plain column of a table. */
  readonly tableOid: number;
  readonly columnNumber: number;
}

/**
 * What kind of care the session must take. `transaction`: BEGIN, COMMIT, SAVEPOINT, ... (handled by the session itself);
 * `session`: SET, SHOW, DISCARD, PREPARE, ...; `query`: SELECT, VALUES, SHOW-like with rows; `write`: INSERT, UPDATE, DELETE;
 * `ddl`; `copy-in`, `copy-out`; `utility`: VACUUM, ANALYZE, CHECKPOINT, LISTEN, ...; `empty`: no statement.
 */
export type StatementKind =
  | 'transaction'
  | 'session'
  | 'query'
  | 'write'
  | 'ddl'
  | 'copy-in'
  | 'copy-out'
  | 'utility'
  | 'empty';

export interface CompiledStatement {
  readonly kind: StatementKind;
  /** Inferred or declared, one per $n. */
  readonly parameterOids: readonly number[];
  /** null: returns no rows. */
  readonly columns: readonly ResultColumn[] | null;
  /** The parse tree's node, for kinds that the session handles itself. */
  readonly node: unknown;
  /** Still valid for this catalog version; otherwise compile again. */
  readonly catalogVersion: number;
  open(context: ExecutionContext): Execution;
}

/** One run of a statement; resumable. */
export interface Execution {
  /**
   * Runs until a row is ready (`row` holds it; the array is reused) or the statement is over. Throws `Suspend` when it must wait:
   * call again after `ready`, it goes on where it was. Throws `SqlError`.
   */
  step(): 'row' | 'done';
  readonly row: Value[];
  /** Rows returned or affected so far. */
  readonly rowCount: number;
  /** Command tag, as in `UPDATE 3`; valid when done. */
  readonly tag: string;
  close(): void;
}

/** Whose rows nobody has been told of yet: they may look otherwise than when the statement was compiled. */
export interface ColumnTaker {
  takeColumns(columns: readonly ResultColumn[] | null): void;
}

export interface ExecutionContext {
  readonly transaction: Transaction;
  readonly snapshot: Snapshot;
  readonly parameters: readonly Value[];
  readonly session: SessionView;
  /** Told when the plan had to be made again with other columns; without it that is 0A000. */
  readonly columnTaker?: ColumnTaker | undefined;
  /**
   * When given, long-running statements give the thread back about every 1,000 rows: `step()` throws
   * `Suspend('turn', yieldNow())`.
   */
  readonly yieldNow?: () => Promise<void>;
}

/** What SQL functions may see and change of a session. */
export interface SessionView {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  /** Statement and transaction start, microseconds since 2000-01-01. */
  readonly statementTime: bigint;
  readonly transactionTime: bigint;
  clockTime(): bigint;
  getSetting(name: string): string | undefined;
  setSetting(name: string, value: string, local: boolean): void;
  readonly searchPath: readonly string[];
  notice(severity: 'NOTICE' | 'WARNING' | 'INFO', code: string, message: string): void;
  /** currval/lastval state and other per-session memory of functions, by name. */
  readonly memory: Map<string, unknown>;
  random(): number;
}
