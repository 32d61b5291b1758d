/**
 * A transaction of this engine.
 *
 * ```
 *   ids      101        102                 103         given out at the first write after each mark
 *   marks  0 ----- 1 ------------ 2 ------------->      `mark` and `savepoint` count them
 *                    ROLLBACK TO 1: 102 is never marked committed, nor are its versions ever visible
 * ```
 *
 * Ids, locks and actions carry the mark under which they came (`stamp`); going back to mark m undoes all with
 * stamp >= m. A mark with nothing since is given out again, so that ids are only spent on what can be undone alone.
 */
import { assert } from '#core/assert.js';
import { SqlError } from '../sql-error.js';
import { ABORTED } from './commit-log.js';
import { LockScope, LockActor } from './lock-space.js';
import type { LocalTransactionManager } from './manager.js';
import { SAME_AS } from './status-pages.js';
import type { Isolation, Snapshot, Transaction, TransactionOptions } from './transaction.js';

/** Commit marks on more pages than this go through the first one's. */
const COMMIT_PAGES_MAX = 16;

class LocalSnapshot implements Snapshot {
  readonly lsn: number;
  readonly txn: LocalTransaction;
  readonly command: number;

  constructor(lsn: number, txn: LocalTransaction, command: number) {
    this.lsn = lsn;
    this.txn = txn;
    this.command = command;
  }
}

interface StampedAction {
  readonly stamp: number;
  readonly commit: ((commitLsn: number) => void) | null;
  readonly abort: (() => void) | null;
}

interface Savepoint {
  readonly name: string;
  readonly mark: number;
}

export class LocalTransaction implements Transaction {
  readonly isolation: Isolation;
  readonly readOnly: boolean;
  readonly locks: LockScope;
  state: Transaction['state'] = 'active';
  id = 0;
  command = 1;
  coveredLsn = 0;

  /** Neighbours in the manager's list of snapshots, oldest first; `horizonLsn` 0 while it is not in it. */
  before: LocalTransaction | null = null;
  after: LocalTransaction | null = null;
  horizonLsn = 0;
  /** The lowest command of a snapshot that may still be used. */
  oldestCommand = 0;

  /** Rows written and not rolled back. */
  rowsWritten = 0;

  readonly #manager: LocalTransactionManager;
  /** Live ids, ascending, and their stamps. */
  readonly #ids: number[] = [];
  readonly #stamps: number[] = [];
  /** Rows written before each id was given out. */
  readonly #rowsBefore: number[] = [];
  #mark = 0;
  /** Whether anything has the current mark as its stamp. */
  #used = false;
  #snapshotLsn = 0;
  #savepoints: Savepoint[] = [];
  #actions: StampedAction[] = [];

  constructor(manager: LocalTransactionManager, options: TransactionOptions) {
    this.#manager = manager;
    this.isolation = options.isolation;
    this.readOnly = options.readOnly;
    this.locks = new LockScope(options.actor ?? new LockActor());
  }

  snapshot(): Snapshot {
    const now = this.#manager.nowLsn;
    if (this.horizonLsn === 0) {
      this.#manager.enlist(this, now);
      this.oldestCommand = this.command;
    }
    if (this.isolation === 'read committed') return new LocalSnapshot(now, this, this.command);
    if (this.#snapshotLsn === 0) this.#snapshotLsn = now;
    return new LocalSnapshot(this.#snapshotLsn, this, this.command);
  }

  forgetSnapshots(): void {
    this.oldestCommand = Infinity;
    if (this.isolation === 'read committed' && this.horizonLsn !== 0) this.#manager.unlist(this);
    else this.oldestCommand = this.command;
  }

  /** The newest that there is, for rows that were found changed under READ COMMITTED. */
  newestSnapshot(): Snapshot {
    return new LocalSnapshot(this.#manager.nowLsn, this, this.command);
  }

  /** Hot. Whether a version of this id is its own and not rolled back. */
  owns(xid: number): boolean {
    if (xid === this.id) return true;
    if (this.id === 0 || xid < this.id) return false;
    const ids = this.#ids;
    let low = 0;
    let high = ids.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (ids[middle] === xid) return true;
      if (ids[middle] < xid) low = middle + 1;
      else high = middle - 1;
    }
    return false;
  }

  /** Of a live id: the mark under which it was given out. */
  stampOf(xid: number): number {
    return this.#stamps[this.#ids.indexOf(xid)] ?? 0;
  }

  cover(lsn: number): void {
    if (lsn > this.coveredLsn && !this.#manager.ignoreCovered) this.coveredLsn = lsn;
  }

  /** The id for what is written now. 25006 in a read-only transaction. Throws Suspend before its side effect. */
  writeId(): number {
    const last = this.#ids.length - 1;
    if (last >= 0 && this.#stamps[last] === this.#mark) return this.#ids[last];
    assert(this.state === 'active', 'only an active transaction writes');
    if (this.readOnly) {
      throw new SqlError('25006', 'cannot write in a read-only transaction');
    }
    const id = this.#manager.giveId(this);
    this.#ids.push(id);
    this.#stamps.push(this.#mark);
    this.#rowsBefore.push(this.rowsWritten);
    this.#used = true;
    if (last < 0) this.id = id;
    return id;
  }

  savepoint(name: string): void {
    this.#newMark();
    this.#savepoints.push({ name, mark: this.#mark });
  }

  rollbackTo(name: string): void {
    const at = this.#findSavepoint(name);
    const { mark } = this.#savepoints[at];
    this.#savepoints.length = at + 1;
    this.rollbackToMark(mark);
    this.#savepoints.length = at + 1;
  }

  release(name: string): void {
    this.#savepoints.length = this.#findSavepoint(name);
  }

  mark(): number {
    if (this.#used || this.locks.held.length > 0) this.#newMark();
    return this.#mark;
  }

  rollbackToMark(mark: number): void {
    assert(this.state === 'active' || this.state === 'failed', 'it has not ended');
    while (this.#ids.length > 0 && this.#stamps[this.#stamps.length - 1] >= mark) {
      this.#stamps.pop();
      const id = this.#ids.pop();
      if (id !== undefined) this.#manager.log.ended(id, ABORTED);
      const kept = this.#rowsBefore.pop() ?? 0;
      this.#manager.abortedRows += this.rowsWritten - kept;
      this.rowsWritten = kept;
    }
    if (this.#ids.length === 0) this.id = 0;
    while ((this.#savepoints[this.#savepoints.length - 1]?.mark ?? -1) > mark) {
      this.#savepoints.pop();
    }
    this.locks.releaseFrom(mark);
    this.#newMark();
    this.state = 'active';
    this.#undoActions(mark);
  }

  onCommit(action: (commitLsn: number) => void): void {
    this.#actions.push({ stamp: this.#mark, commit: action, abort: null });
    this.#used = true;
  }

  onAbort(action: () => void): void {
    this.#actions.push({ stamp: this.#mark, commit: null, abort: action });
    this.#used = true;
  }

  fail(): void {
    if (this.state === 'active') this.state = 'failed';
  }

  commit(): number {
    assert(this.state === 'active', 'only an active transaction commits');
    const lsn = this.#ids.length === 0 ? 0 : this.#writeMarks();
    this.state = 'committed';
    for (let i = 0; i < this.#ids.length; i++) this.#manager.log.ended(this.#ids[i], lsn);
    this.#end();
    const actions = this.#actions;
    if (actions.length > 0) {
      this.#actions = [];
      for (const action of actions) action.commit?.(lsn);
    }
    return lsn;
  }

  rollback(): void {
    if (this.state === 'committed' || this.state === 'aborted') return;
    if (this.locks.actor.waiting?.scope === this.locks) {
      this.cancelWait(new SqlError('57014', 'the transaction ended'));
    }
    this.state = 'aborted';
    for (let i = 0; i < this.#ids.length; i++) this.#manager.log.ended(this.#ids[i], ABORTED);
    this.#manager.abortedRows += this.rowsWritten;
    this.#end();
    this.#undoActions(0);
  }

  cancelWait(error: Error): boolean {
    return this.locks.actor.cancelWait(error);
  }

  /**
   * Rule 25: the locks go here, where the commit record has its LSN. One MTR marks all live ids, each with the LSN
   * of the record that its mark is in; readers see all or none, because nobody looks in the middle of a turn.
   */
  #writeMarks(): number {
    const manager = this.#manager;
    const { mtr } = manager.space;
    const { pages } = manager.log;
    if (manager.noCommitMark) return manager.nowLsn;
    let marked = this.#ids.length;
    if (marked > 1 && !this.#fewPages()) {
      this.#pointToFirst();
      marked = 1;
    }
    mtr.begin();
    for (let i = 0; i < marked; i++) mtr.add(pages.leafOf(this.#ids[i]));
    for (let i = 0; i < marked; i++) {
      const leaf = pages.leafOf(this.#ids[i]);
      pages.write(mtr, leaf, this.#ids[i], mtr.lsnOf(leaf));
    }
    return mtr.commit();
  }

  #fewPages(): boolean {
    const leaves = new Set<number>();
    for (const id of this.#ids) leaves.add(this.#manager.log.pages.leafOf(id));
    return leaves.size <= COMMIT_PAGES_MAX;
  }

  /** Gives each sub-transaction's mark the meaning "as the first one", which is still in progress: no effect yet. */
  #pointToFirst(): void {
    const { mtr } = this.#manager.space;
    const { pages } = this.#manager.log;
    for (let i = 1; i < this.#ids.length; i++) {
      const id = this.#ids[i];
      const leaf = pages.leafOf(id);
      if (pages.read(id) !== 0) continue;
      mtr.begin();
      mtr.add(leaf);
      pages.write(mtr, leaf, id, SAME_AS + this.#ids[0]);
      mtr.commit();
    }
  }

  #end(): void {
    if (this.horizonLsn !== 0) this.#manager.unlist(this);
    this.#manager.ended();
    if (!this.#manager.lockLeak && this.locks.held.length > 0) this.locks.releaseAll();
    this.#savepoints = [];
  }

  #newMark(): void {
    this.#mark++;
    this.#used = false;
    this.locks.stamp = this.#mark;
  }

  #undoActions(stamp: number): void {
    while ((this.#actions[this.#actions.length - 1]?.stamp ?? -1) >= stamp) {
      this.#actions.pop()?.abort?.();
    }
  }

  #findSavepoint(name: string): number {
    for (let at = this.#savepoints.length - 1; at >= 0; at--) {
      if (this.#savepoints[at].name === name) return at;
    }
    throw new SqlError('3B001', `savepoint "${name}" does not exist`);
  }
}
