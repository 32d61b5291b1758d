/**
 * What a transaction is to the rest of the engine.
 *
 * A transaction gets an id at its first write. Its commit mark is an entry in a transaction-status page: commit LSN of
 * that very record. A version is visible to a snapshot when its transaction committed at or below `snapshot.lsn`, or
 * is the snapshot's own and was written by an earlier command (TXN-1). No commit mark and not active = aborted (rule 23).
 */
import type { LockActor, LockScope } from './lock-space.js';

export type Isolation = 'read committed' | 'repeatable read' | 'serializable';

export interface Snapshot {
  /** Sees transactions whose commit LSN is at or below this. */
  readonly lsn: number;
  readonly txn: Transaction | null;
  /** Own versions of commands below this are visible. */
  readonly command: number;
}

export interface Transaction {
  readonly isolation: Isolation;
  readonly readOnly: boolean;
  readonly state: 'active' | 'failed' | 'committed' | 'aborted';
  /** 0 until the first write. */
  readonly id: number;
  /** What its locks are held in; its actor is the session's place in the waits-for graph. */
  readonly locks: LockScope;
  /** Ordinal of the current command; the session adds one before each statement. */
  command: number;
  /** A snapshot for the statement that begins: fresh under READ COMMITTED, the transaction's otherwise. */
  snapshot(): Snapshot;
  /**
   * None of the snapshots given out so far is used any more (READ COMMITTED, at the end of a statement without open
   * portals): lets the horizon move during a long transaction. Without effect under the other isolation levels.
   */
  forgetSnapshots(): void;
  /** Highest commit LSN of the versions examined so far: answers wait until VDL covers it (rule 25, TXN-2). */
  coveredLsn: number;

  savepoint(name: string): void;
  /** 3B001 when there is none of that name. */
  rollbackTo(name: string): void;
  release(name: string): void;
  /**
   * Implicit savepoints for sub-blocks that go on after an error. A statement whose error ends the transaction needs
   * none. Costs a transaction id when something is written after it.
   */
  mark(): number;
  rollbackToMark(mark: number): void;

  /** Runs after the commit record has its LSN, in order (catalog publication, dropped trees, NOTIFY). */
  onCommit(action: (commitLsn: number) => void): void;
  /** Runs when what was done since is rolled back, to a mark or altogether; the last first. */
  onAbort(action: () => void): void;
  /** A statement failed and no mark was returned to: only `rollback` and `rollbackTo` make sense from now on. */
  fail(): void;

  /**
   * Writes the commit mark, releases the locks, and returns its LSN; 0 when nothing was written. The answer to the
   * client waits for VDL >= max(commit LSN, coveredLsn). May throw Suspend before its side effect.
   */
  commit(): number;
  rollback(): void;
  /** Takes it out of whatever it waits for; the Suspend's promise rejects with `error`. False: it did not wait. */
  cancelWait(error: Error): boolean;
}

export interface TransactionOptions {
  readonly isolation: Isolation;
  readonly readOnly: boolean;
  /** The session's; without one the transaction waits on its own account. */
  readonly actor?: LockActor;
}

export interface TransactionManager {
  begin(options: TransactionOptions): Transaction;
  /** Transaction- or session-level advisory locks share the waits-for graph with row locks (40P01). */
  readonly activeCount: number;
  /** No snapshot, now or later, sees anything older than this LSN that has a newer committed version (rule 22). */
  readonly horizonLsn: number;
}
