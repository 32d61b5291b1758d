/**
 * Gives out transactions, their ids and snapshots, and knows the horizon.
 *
 * - Rule 23: ids come in chunks; the MTR that moves the mark in the volume header lies below every version that uses
 *   the chunk, and an engine starts at the mark. Opening reads a bounded number of pages.
 * - Rule 22: the horizon is the oldest LSN that a snapshot given out (here or by a holder, a replica say) may read at.
 * - TXN-1: a snapshot's LSN is the last one given out; whatever commits later has a higher one.
 */
import { assert } from '#core/assert.js';
import type { PageSpace } from '../pages/page-space.js';
import { HEADER_PAGE_NO } from '../pages/volume-header.js';
import { notSupported } from '../sql-error.js';
import { AdvisoryLocks } from './advisory-locks.js';
import { CommitLog } from './commit-log.js';
import { NO_TXN_FAULTS, type TxnFaults } from './faults.js';
import { LocalTransaction } from './local-transaction.js';
import { LockSpace } from './lock-space.js';
import { CHUNK_IDS } from './status-pages.js';
import type { TransactionManager, TransactionOptions } from './transaction.js';

/** Row lock modes, weakest first: bit i of an entry is a conflict with mode i. */
export const ROW_KEY_SHARE = 0;
export const ROW_SHARE = 1;
export const ROW_NO_KEY_UPDATE = 2;
export const ROW_UPDATE = 3;
const ROW_CONFLICTS = [0b1000, 0b1100, 0b1110, 0b1111];

/** Waiting for a transaction to end: it holds 0, the others ask for 1. */
const XID_HELD = 0;
const XID_WAIT = 1;
const XID_CONFLICTS = [0b10, 0b01];

export class LocalTransactionManager implements TransactionManager {
  readonly space: PageSpace;
  readonly log: CommitLog;
  readonly faults: TxnFaults;
  readonly ignoreCovered: boolean;
  readonly lockLeak: boolean;
  readonly noCommitMark: boolean;
  readonly advisory = new AdvisoryLocks();
  /** Rows that somebody locked or waits for; keys are `rowLockKey`s. */
  readonly rows = new LockSpace<number>(ROW_CONFLICTS);
  activeCount = 0;
  /** Rows written and taken back since the start: what an abort leaves behind for a sweep. */
  abortedRows = 0;

  readonly #xids = new LockSpace<number>(XID_CONFLICTS);
  /** Outside holders of the horizon: replicas, exports. */
  readonly #holds = new Map<object, number>();
  #first: LocalTransaction | null = null;
  #last: LocalTransaction | null = null;
  /** A sweep of all tables went through: no aborted version below `#sweptId`; all there had ended by `#sweptLsn`. */
  #sweptId = 0;
  #sweptLsn = 0;
  #nextId = 0;
  #mark = 0;

  constructor(space: PageSpace, faults: TxnFaults = NO_TXN_FAULTS) {
    this.space = space;
    this.faults = faults;
    this.ignoreCovered = faults.has('ignoreCovered');
    this.lockLeak = faults.has('lockLeak');
    this.noCommitMark = faults.has('noCommitMark');
    this.log = new CommitLog(space);
    const mark = space.header.txnMark;
    this.#mark = mark;
    this.#nextId = mark;
    if (faults.has('xidReuse') && mark > CHUNK_IDS) {
      this.#nextId = Math.floor(mark / CHUNK_IDS - 1) * CHUNK_IDS;
    }
  }

  /** 0A000 for SERIALIZABLE. */
  begin(options: TransactionOptions): LocalTransaction {
    if (options.isolation === 'serializable') {
      throw notSupported('transaction isolation level SERIALIZABLE');
    }
    this.activeCount++;
    return new LocalTransaction(this, options);
  }

  /** The last LSN given out: what a snapshot taken now sees. */
  get nowLsn(): number {
    return this.space.volume.nextLsn - 1;
  }

  get horizonLsn(): number {
    let horizon = this.#first === null ? this.nowLsn : this.#first.horizonLsn;
    if (this.#holds.size > 0) {
      for (const lsn of this.#holds.values()) if (lsn < horizon) horizon = lsn;
    }
    return horizon;
  }

  /**
   * Deletions and key changes above it leave their traces: who finds nothing must still find the commit that his
   * answer rests on, as long as that can be lost (rule 25).
   */
  get pruneLsn(): number {
    return Math.min(this.horizonLsn, this.space.volume.vdl);
  }

  /** Keeps the horizon at or below `lsn` on behalf of `holder`, until called again with Infinity. */
  hold(holder: object, lsn: number): void {
    if (lsn === Infinity) this.#holds.delete(holder);
    else this.#holds.set(holder, lsn);
  }

  /** Ids below it have ended, and none will begin there. */
  get oldestId(): number {
    return Math.min(this.log.oldestActive, this.#nextId);
  }

  /**
   * One step of forgetting the marks of ids below `limit`: `oldestId` as it was when a vacuum of ALL tables began that
   * has since gone through (rule 23). True when done. Throws Suspend.
   */
  forgetStep(limit: number): boolean {
    return this.log.pages.forgetStep(this.space.mtr, limit);
  }

  /** The id to be given out next. */
  get nextId(): number {
    return this.#nextId;
  }

  /** A sweep of ALL tables has gone through; both are what `oldestId` and `nowLsn` were when it began. */
  swept(oldestId: number, nowLsn: number): void {
    if (oldestId <= this.#sweptId) return;
    this.#sweptId = oldestId;
    this.#sweptLsn = nowLsn;
  }

  /**
   * One step of forgetting what the last sweep allows. True: nothing to do until there is another, or until the horizon
   * has passed its beginning: a mark that is gone reads as committed, durable and visible to all. Throws Suspend.
   */
  forgetSwept(): boolean {
    if (this.#sweptLsn > this.pruneLsn) return true;
    return this.forgetStep(this.#sweptId);
  }

  /** A new id, noted as in progress. Throws Suspend before its side effect. */
  giveId(owner: LocalTransaction): number {
    if (this.#nextId >= this.#mark) this.#takeChunk();
    const id = this.#nextId++;
    this.log.began(id, owner);
    return id;
  }

  /**
   * Waits until the (sub-)transaction `xid` of another has ended: throws Suspend, or 40P01; returns when it has.
   */
  awaitEnd(txn: LocalTransaction, xid: number): void {
    const owner = this.log.owner(xid);
    if (owner === undefined) return;
    assert(owner !== txn, 'nobody waits for himself');
    this.#xids.assume(xid, owner.locks, XID_HELD, owner.stampOf(xid));
    this.#xids.acquire(xid, txn.locks, XID_WAIT, true);
  }

  ended(): void {
    this.activeCount--;
  }

  /** The transaction may read at `lsn` from now on. Called with rising LSNs, so the list is in order. */
  enlist(txn: LocalTransaction, lsn: number): void {
    txn.horizonLsn = Math.max(lsn, 1);
    txn.before = this.#last;
    txn.after = null;
    if (this.#last === null) this.#first = txn;
    else this.#last.after = txn;
    this.#last = txn;
  }

  unlist(txn: LocalTransaction): void {
    if (txn.before === null) this.#first = txn.after;
    else txn.before.after = txn.after;
    if (txn.after === null) this.#last = txn.before;
    else txn.after.before = txn.before;
    txn.before = null;
    txn.after = null;
    txn.horizonLsn = 0;
  }

  /** The leaf of marks for the next ids and the mark in the header, in one MTR (rule 23). */
  #takeChunk(): void {
    const { mtr, header } = this.space;
    const { pages } = this.log;
    const chunk = Math.ceil(this.#nextId / CHUNK_IDS);
    mtr.begin();
    mtr.add(HEADER_PAGE_NO);
    pages.planChunk(mtr, chunk);
    pages.addChunk(mtr, chunk);
    header.setTxnMark(mtr, (chunk + 1) * CHUNK_IDS);
    mtr.commit();
    this.#mark = (chunk + 1) * CHUNK_IDS;
    this.#nextId = chunk * CHUNK_IDS;
  }
}

/** Rows that share a key share a lock: more than asked for, never less. */
export function rowLockKey(rootPageNo: number, rowId: number): number {
  return (rootPageNo % 0x20_0000) * 0x1_0000_0000 + (rowId % 0x1_0000_0000);
}
