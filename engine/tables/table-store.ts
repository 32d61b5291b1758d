/**
 * Tables as the SQL executor sees them: multi-version rows by row id, secondary indexes, row locks.
 *
 * A table is a B+tree keyed by a hidden 48-bit row id, given out in ascending order; each cell holds the newest
 * version of a row and, inline, the one before it as a reverse byte delta; older ones hang off it in history pages
 * (rule 22). An index is a B+tree of (order-preserving key, row id); it may point to rows whose visible version has
 * another key, so every index read fetches the row and checks again. Rows too big for a page spill into overflow pages.
 *
 * Every method is synchronous. One that must wait throws `Suspend` before its first side effect or at a point from
 * which the same call goes on; call it again after `ready`.
 */
import type { Snapshot, Transaction } from '../txn/transaction.js';

/** How keys are made of a tuple; compiled once per index by the catalog. */
export interface KeyMaker {
  /**
   * Writes the order-preserving key of the tuple in bytes[start, end) into `target` from 0; returns its length.
   * `hasNull` afterwards says whether a key column was NULL (then unique does not apply).
   */
  make(bytes: Uint8Array, start: number, end: number, target: Uint8Array): number;
  hasNull: boolean;
}

export interface IndexHandle {
  readonly oid: number;
  readonly name: string;
  readonly rootPageNo: number;
  readonly unique: boolean;
  readonly primary: boolean;
  readonly keys: KeyMaker;
  /** For 23505: `(aid)=(1)` made of a tuple. */
  describeKey(bytes: Uint8Array, start: number, end: number): string;
}

export interface TableHandle {
  readonly oid: number;
  readonly schemaName: string;
  readonly name: string;
  readonly rootPageNo: number;
  readonly indexes: readonly IndexHandle[];
}

/**
 * A resumable scan of visible rows. After `next()` returned true the tuple is bytes[start, end), valid until the next
 * call into the engine or until the thread is given back.
 */
export interface RowCursor {
  next(): boolean;
  readonly rowId: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  close(): void;
}

/** Bounds of an index scan over encoded keys; null: open. A prefix bound covers all keys that start with it. */
export interface KeyRange {
  readonly lower: Uint8Array | null;
  readonly lowerInclusive: boolean;
  readonly upper: Uint8Array | null;
  readonly upperInclusive: boolean;
}

/**
 * `ok`: done. `changed`: another transaction committed a newer version since the snapshot (READ COMMITTED): the
 * newest one is in `store.newest`; check the statement's condition on it and call again with `store.newestSeen`.
 * `gone`: deleted meanwhile. `self`: this very command has written it already: skip. REPEATABLE READ throws 40001 instead of `changed` and `gone`.
 */
export type WriteOutcome = 'ok' | 'changed' | 'gone' | 'self';
export type RowLockMode = 'update' | 'no-key-update' | 'share' | 'key-share';
export type WaitPolicy = 'wait' | 'nowait' | 'skip';

export interface TableStore {
  /** Makes the empty tree of a new table or index inside the transaction; returns its root page number. */
  createTree(txn: Transaction): number;
  /** Frees all pages of a tree once no snapshot can need them (DROP, TRUNCATE; after commit). */
  dropTree(txn: Transaction, rootPageNo: number): void;

  scan(table: TableHandle, snapshot: Snapshot, reverse?: boolean): RowCursor;
  indexScan(
    table: TableHandle,
    index: IndexHandle,
    snapshot: Snapshot,
    range: KeyRange,
    reverse?: boolean,
  ): RowCursor;
  /** The visible version of one row: same shape as a cursor that is on it, or null. */
  fetch(table: TableHandle, snapshot: Snapshot, rowId: number): RowCursor | null;

  /**
   * Inserts a row and its index entries; 23505 on a unique key that a committed or own row has, waits (Suspend) for
   * one of a transaction in progress. `resume` is state of the caller's that makes the call repeatable: pass a fresh
   * `InsertState` per row. Returns the row id. With `onConflict` set, a conflict does not throw: returns -1 and the conflicting row is in `store.newest`.
   */
  insert(
    table: TableHandle,
    txn: Transaction,
    tuple: Uint8Array,
    start: number,
    end: number,
    state: RowWriteState,
    onConflict?: 'report',
  ): number;
  update(
    table: TableHandle,
    txn: Transaction,
    snapshot: Snapshot,
    rowId: number,
    tuple: Uint8Array,
    start: number,
    end: number,
    state: RowWriteState,
  ): WriteOutcome;
  delete(
    table: TableHandle,
    txn: Transaction,
    snapshot: Snapshot,
    rowId: number,
    state: RowWriteState,
  ): WriteOutcome;
  lock(
    table: TableHandle,
    txn: Transaction,
    snapshot: Snapshot,
    rowId: number,
    mode: RowLockMode,
    wait: WaitPolicy,
  ): WriteOutcome | 'skipped';

  /** After `changed` or a reported conflict: the newest committed version (or own one). */
  readonly newest: RowCursor;
  /** After `changed`: the snapshot that sees `newest`, for the write's second try. */
  readonly newestSeen: Snapshot | null;
  newWriteState(): RowWriteState;

  /** Fills a new index from the table's rows; 23505 when unique does not hold. A step of it: true when done. */
  buildIndex(
    table: TableHandle,
    index: IndexHandle,
    txn: Transaction,
    state: RowWriteState,
  ): boolean;
  /** A bounded step of removing versions and index entries that nobody can see; true when the table is clean. */
  vacuum(table: TableHandle, state: RowWriteState): boolean;
  /** Rough row count for planning. */
  estimateRows(table: TableHandle): number;
}

/** Where a row write that suspended goes on; `reset()` before each new row. */
export interface RowWriteState {
  reset(): void;
}
