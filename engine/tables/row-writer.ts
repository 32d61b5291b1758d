/**
 * Writes row versions: who may, what becomes of the versions below, and the one MTR that does it.
 *
 * | newest version                | writer                                                                        |
 * |-------------------------------|-------------------------------------------------------------------------------|
 * | own, by this command or later | `self`                                                                        |
 * | own, by an earlier command    | goes on top; what lies below stays, for the savepoint that may come back      |
 * | in progress                   | waits for its row lock, then looks again                                      |
 * | aborted                       | prunes the row, then looks again                                              |
 * | committed above the snapshot  | READ COMMITTED: `changed` or `gone`; REPEATABLE READ: 40001                   |
 * | committed at or below it      | goes on top; the newest stays inline, older ones as rule 22 says              |
 *
 * What is below the newest (N) when a version goes on top of it:
 *
 * ```
 *   N committed at or below the horizon     all that is older is dropped (by the pruner when it has index entries,
 *                                           history or overflow of its own)
 *   else                                    the inline version moves to a history page in the same MTR
 * ```
 */
import { assert } from '#core/assert.js';
import { Place } from '../btree/btree.js';
import { SqlError } from '../sql-error.js';
import { ABORTED, IN_PROGRESS } from '../txn/commit-log.js';
import type { LocalTransaction } from '../txn/local-transaction.js';
import {
  ROW_NO_KEY_UPDATE,
  ROW_UPDATE,
  rowLockKey,
  type LocalTransactionManager,
} from '../txn/manager.js';
import type { Snapshot } from '../txn/transaction.js';
import { RECORD_HEAD_BYTES } from './history.js';
import type { IndexEntries } from './index-entries.js';
import type { Pruner } from './pruner.js';
import type { ReadContext } from './row-reader.js';
import {
  DELETED,
  HEAD_BYTES,
  HISTORY,
  KEY_CHANGED,
  KEY_UPDATE,
  OVERFLOW,
  POINTER_BYTES,
  PREVIOUS,
  ROW_KEY_BYTES,
  RowCell,
  STUB_BYTES,
  TRAILER_BYTES,
  TUPLE_INLINE_MAX,
  VALUE_BYTES_MAX,
  copyRange,
  putHead,
  putPointer,
  putRowKey,
  putTrailer,
  putU32,
} from './row-version.js';
import type { RowWriteProgress } from './row-write-state.js';
import type { IndexHandle, TableHandle, WriteOutcome } from './table-store.js';
import type { TableTree } from './trees.js';

/** Bits of `changedKeys` beyond this stand for all later indexes. */
const CHANGED_BITS = 30;

/** The middle of an inline version comes in these steps, and may be this much too long. */
const MIDDLE_STEP = 8;
const MIDDLE_SLACK = 64;

export const changedBit = (index: number): number =>
  1 << (index < CHANGED_BITS ? index : CHANGED_BITS);

export class RowWriter {
  readonly #context: ReadContext;
  readonly #manager: LocalTransactionManager;
  readonly #entries: IndexEntries;
  readonly #pruner: Pruner;
  readonly #place = new Place();
  readonly #cell = new RowCell();
  readonly #rowKey = new Uint8Array(ROW_KEY_BYTES);
  readonly #head = new Uint8Array(HEAD_BYTES);
  /** Of the new cell: the tuple or stub (when it is not the caller's), its end, the whole. */
  readonly #stub = new Uint8Array(STUB_BYTES);
  readonly #tail = new Uint8Array(VALUE_BYTES_MAX + TRAILER_BYTES);
  readonly #value = new Uint8Array(VALUE_BYTES_MAX);
  readonly #older = new Uint8Array(VALUE_BYTES_MAX);
  readonly #dropPredecessor: boolean;
  /** Commit state of the newest version as claimed; 0: own. */
  #claimed = 0;
  /** Its whole tuple. */
  #oldBytes: Uint8Array;
  #oldStart = 0;
  #oldEnd = 0;
  #spilled = new Uint8Array(0);
  /** Common bytes of the newest and the new version's tuples or stubs. */
  #prefix = 0;
  #suffix = 0;
  /** Of the new tuple: the bytes to edit when it has the length of the old one. */
  #differsFrom = 0;
  #differing = 0;

  constructor(
    context: ReadContext,
    manager: LocalTransactionManager,
    entries: IndexEntries,
    pruner: Pruner,
  ) {
    this.#context = context;
    this.#manager = manager;
    this.#entries = entries;
    this.#pruner = pruner;
    this.#oldBytes = context.space.cache.bytes;
    this.#dropPredecessor = manager.faults.has('dropPredecessor');
  }

  /** The first version of a new row. Throws Suspend. */
  insert(
    table: TableTree,
    txn: LocalTransaction,
    rowId: number,
    tuple: Uint8Array,
    start: number,
    end: number,
    progress: RowWriteProgress,
  ): void {
    const xid = txn.writeId();
    let stored = tuple;
    let from = start;
    let length = end - start;
    let flags = 0;
    if (length > TUPLE_INLINE_MAX) {
      this.#spill(tuple, start, end, progress);
      stored = this.#stub;
      from = 0;
      length = STUB_BYTES;
      flags = OVERFLOW;
    }
    const { mtr } = this.#context.space;
    const { tree } = table;
    const place = this.#place;
    const rowKey = this.#rowKey;
    const value = this.#value;
    const size = HEAD_BYTES + length;
    putRowKey(rowKey, 0, rowId);
    const found = tree.locate(place, rowKey, 0, ROW_KEY_BYTES);
    assert(!found, 'a row id is given out once');
    putHead(value, flags, xid, txn.command);
    copyRange(value, HEAD_BYTES, stored, from, length);
    mtr.begin();
    tree.planInsert(mtr, place, rowKey, 0, ROW_KEY_BYTES, size);
    tree.insert(mtr, place, rowKey, 0, ROW_KEY_BYTES, value, 0, size);
    mtr.commit();
  }

  /** Takes an own new row back that nobody else can have seen. Its index entries are gone. Throws Suspend. */
  takeBack(table: TableTree, rowId: number): void {
    putRowKey(this.#rowKey, 0, rowId);
    if (!table.tree.locate(this.#place, this.#rowKey, 0, ROW_KEY_BYTES)) return;
    const { mtr } = this.#context.space;
    mtr.begin();
    table.tree.planDelete(mtr, this.#place);
    table.tree.delete(mtr, this.#place);
    mtr.commit();
  }

  /**
   * Puts a version on top of a row: the tuple bytes[start, end), or its deletion when `tuple` is null. Sets
   * `progress.changedKeys` when it returns `ok`. Throws Suspend, 40001, 40P01.
   */
  write(
    handle: TableHandle,
    table: TableTree,
    txn: LocalTransaction,
    snapshot: Snapshot,
    rowId: number,
    tuple: Uint8Array | null,
    start: number,
    end: number,
    progress: RowWriteProgress,
  ): WriteOutcome {
    const xid = txn.writeId();
    const weakest = tuple === null ? ROW_UPDATE : ROW_NO_KEY_UPDATE;
    for (;;) {
      const outcome = this.claim(table, txn, snapshot, rowId, weakest);
      if (outcome !== 'ok') {
        this.#context.overflow.drop(progress.chainLeft === 0 ? progress.chainPage : 0);
        progress.chainLeft = -1;
        return outcome;
      }
      const cell = this.#cell;
      this.#loadOld(cell);
      let mode = weakest;
      let changed = 0;
      if (tuple !== null) {
        changed = this.#changedKeys(handle.indexes, tuple, start, end);
        if (changed < 0) mode = ROW_UPDATE;
      }
      const { rows } = this.#manager;
      if (rows.size > 0) {
        const key = rowLockKey(handle.rootPageNo, rowId);
        if (rows.has(key)) rows.acquire(key, txn.locks, mode, true);
      }
      if (this.#isSpecial(cell) && this.#isSettled(cell)) {
        this.#pruner.prune(table, rowId);
        continue;
      }
      progress.changedKeys = changed & 0x7fff_ffff;
      this.#put(table, txn, xid, rowId, tuple, start, end, mode === ROW_UPDATE, progress);
      return 'ok';
    }
  }

  /**
   * Whether the transaction may write or lock the row now: `ok` with `#place` and `#cell` on it. Throws Suspend for a
   * version in progress whose lock stands against `mode`.
   */
  claim(
    table: TableTree,
    txn: LocalTransaction,
    snapshot: Snapshot,
    rowId: number,
    mode: number,
  ): WriteOutcome {
    const { view } = this.#context.space.cache;
    const place = this.#place;
    const cell = this.#cell;
    const rowKey = this.#rowKey;
    for (;;) {
      putRowKey(rowKey, 0, rowId);
      if (!table.tree.locate(place, rowKey, 0, ROW_KEY_BYTES)) return 'gone';
      cell.parse(view, place.valueStart, place.valueEnd);
      const deleted = (cell.flags & DELETED) !== 0;
      if (txn.owns(cell.xid)) {
        this.#claimed = 0;
        if (cell.command >= snapshot.command) return 'self';
        return deleted ? 'gone' : 'ok';
      }
      const state = this.#context.log.state(cell.xid);
      if (state === ABORTED) {
        this.#pruner.prune(table, rowId);
        continue;
      }
      if (state === IN_PROGRESS) {
        if (!this.#stands(cell, mode)) {
          this.#claimed = IN_PROGRESS;
          return 'ok';
        }
        this.#awaitRow(table, txn, rowId, mode, cell);
        continue;
      }
      this.#claimed = state;
      if (state > snapshot.lsn) {
        txn.cover(state);
        if (txn.isolation !== 'read committed') throw concurrent(deleted);
        return deleted ? 'gone' : 'changed';
      }
      txn.cover(state);
      return deleted ? 'gone' : 'ok';
    }
  }

  /** Whether a version in progress stands against a lock of that mode. */
  #stands(cell: RowCell, mode: number): boolean {
    return mode > 0 || (cell.flags & (KEY_UPDATE | DELETED)) !== 0;
  }

  #awaitRow(
    table: TableTree,
    txn: LocalTransaction,
    rowId: number,
    mode: number,
    cell: RowCell,
  ): void {
    const owner = this.#manager.log.owner(cell.xid);
    assert(owner !== undefined, 'what is in progress has an owner');
    const { rows } = this.#manager;
    const key = rowLockKey(table.tree.rootPageNo, rowId);
    const held = (cell.flags & (KEY_UPDATE | DELETED)) !== 0 ? ROW_UPDATE : ROW_NO_KEY_UPDATE;
    rows.assume(key, owner.locks, held, owner.stampOf(cell.xid));
    // A stronger mode that is held already says nothing about this one.
    rows.acquireAnother(key, txn.locks, mode, true);
    assert(false, 'a version in progress stands against the lock');
  }

  /** The holder of a version in progress as a holder of its row lock, for lock requests. */
  noteHolder(table: TableTree, rowId: number): void {
    const cell = this.#cell;
    if (this.#claimed !== IN_PROGRESS) return;
    const owner = this.#manager.log.owner(cell.xid);
    if (owner === undefined) return;
    const key = rowLockKey(table.tree.rootPageNo, rowId);
    const { rows } = this.#manager;
    rows.assume(key, owner.locks, ROW_NO_KEY_UPDATE, owner.stampOf(cell.xid));
  }

  /** Whether the newest version is in progress and stands against `mode`; for NOWAIT and SKIP LOCKED. Throws Suspend. */
  isBusy(table: TableTree, txn: LocalTransaction, rowId: number, mode: number): boolean {
    putRowKey(this.#rowKey, 0, rowId);
    if (!table.tree.locate(this.#place, this.#rowKey, 0, ROW_KEY_BYTES)) return false;
    this.#cell.parse(this.#context.space.cache.view, this.#place.valueStart, this.#place.valueEnd);
    if (txn.owns(this.#cell.xid)) return false;
    return (
      this.#context.log.state(this.#cell.xid) === IN_PROGRESS && this.#stands(this.#cell, mode)
    );
  }

  #loadOld(cell: RowCell): void {
    const { bytes, view } = this.#context.space.cache;
    if ((cell.flags & OVERFLOW) === 0) {
      this.#oldBytes = bytes;
      this.#oldStart = cell.tupleStart;
      this.#oldEnd = cell.tupleEnd;
      return;
    }
    const length = view.getUint32(cell.tupleStart, true);
    if (this.#spilled.length < length) this.#spilled = new Uint8Array(length);
    this.#context.overflow.read(view.getUint32(cell.tupleStart + 4, true), length, this.#spilled);
    this.#oldBytes = this.#spilled;
    this.#oldStart = 0;
    this.#oldEnd = length;
  }

  /** A bit for each index whose key changes; the sign bit when one of them is unique. */
  #changedKeys(
    indexes: readonly IndexHandle[],
    tuple: Uint8Array,
    start: number,
    end: number,
  ): number {
    let changed = 0;
    for (let i = 0; i < indexes.length; i++) {
      const index = indexes[i];
      const differs = this.#entries.differ(
        index,
        this.#oldBytes,
        this.#oldStart,
        this.#oldEnd,
        tuple,
        start,
        end,
      );
      if (!differs) continue;
      changed |= changedBit(i);
      if (index.unique) changed |= 0x8000_0000;
    }
    return changed;
  }

  /** What lies below the newest version has index entries, history or overflow: only the pruner drops that. */
  #isSpecial(cell: RowCell): boolean {
    if ((cell.flags & HISTORY) !== 0) return true;
    if ((cell.flags & PREVIOUS) === 0) return false;
    return (cell.flags & KEY_CHANGED) !== 0 || (cell.previousFlags & OVERFLOW) !== 0;
  }

  /** Whether every snapshot sees the newest version or a newer one, so that the older ones can go. */
  #isSettled(cell: RowCell): boolean {
    const { horizonLsn, pruneLsn } = this.#manager;
    return this.#claimed > 0 && this.#claimed <= (this.#isSpecial(cell) ? pruneLsn : horizonLsn);
  }

  #spill(tuple: Uint8Array, start: number, end: number, progress: RowWriteProgress): void {
    const page = this.#context.overflow.write(tuple, start, end, progress);
    putU32(this.#stub, 0, end - start);
    putU32(this.#stub, 4, page);
  }

  /** The newest version as claimed goes below the new one. Throws Suspend before the first edit of the row. */
  #put(
    table: TableTree,
    txn: LocalTransaction,
    xid: number,
    rowId: number,
    tuple: Uint8Array | null,
    start: number,
    end: number,
    keyUpdate: boolean,
    progress: RowWriteProgress,
  ): void {
    const cell = this.#cell;
    const { bytes } = this.#context.space.cache;
    let stored = tuple ?? bytes;
    let from = tuple === null ? cell.tupleStart : start;
    let length = tuple === null ? cell.tupleEnd - cell.tupleStart : end - start;
    let flags = tuple === null ? DELETED : 0;
    if (tuple !== null && length > TUPLE_INLINE_MAX) {
      this.#spill(tuple, start, end, progress);
      stored = this.#stub;
      from = 0;
      length = STUB_BYTES;
      flags = OVERFLOW;
    }
    if (keyUpdate) flags |= KEY_UPDATE;
    if (progress.changedKeys !== 0) flags |= KEY_CHANGED;
    const settled = this.#isSettled(cell);
    const alone = settled || (cell.flags & (PREVIOUS | HISTORY)) === 0;
    if (!alone || !settled) flags |= cell.flags & KEY_CHANGED;
    const pushOlder = !settled && cell.hasPrevious && !this.#ownInBetween(txn, xid, cell);
    this.#compare(cell, stored, from, length);
    this.#install(table, txn, xid, stored, from, length, flags, settled, pushOlder);
    if (flags !== 0 || pushOlder) table.visitLater(rowId, this.#manager.nowLsn);
  }

  /** The inline version is an own one that no own snapshot can see any more, and its keys are the newest's. */
  #ownInBetween(txn: LocalTransaction, xid: number, cell: RowCell): boolean {
    return (
      cell.xid === xid &&
      cell.previousXid === xid &&
      txn.oldestCommand > cell.command &&
      (cell.flags & KEY_CHANGED) === 0 &&
      (cell.previousFlags & OVERFLOW) === 0
    );
  }

  #compare(cell: RowCell, stored: Uint8Array, from: number, length: number): void {
    const { bytes } = this.#context.space.cache;
    const old = cell.tupleStart;
    const oldLength = cell.tupleEnd - old;
    const shared = length < oldLength ? length : oldLength;
    let prefix = 0;
    while (prefix < shared && bytes[old + prefix] === stored[from + prefix]) prefix++;
    let suffix = 0;
    const rest = shared - prefix;
    const oldLast = old + oldLength - 1;
    const newLast = from + length - 1;
    while (suffix < rest && bytes[oldLast - suffix] === stored[newLast - suffix]) suffix++;
    this.#prefix = prefix;
    this.#suffix = suffix;
    this.#differsFrom = prefix;
    this.#differing = length - prefix - suffix;
    if (length === oldLength) this.#widen(cell, oldLength);
  }

  /**
   * Keeps more of the version below than what differs, so that the cell keeps its length from one update to the next.
   * Hot: a cell that grows by a byte moves half of its page, 2 us and as much redo as ten updates.
   */
  #widen(cell: RowCell, oldLength: number): void {
    const needed = oldLength - this.#prefix - this.#suffix;
    let middle = (needed + MIDDLE_STEP - 1) & -MIDDLE_STEP;
    if (cell.middleBytes > middle && cell.middleBytes <= middle + MIDDLE_SLACK) {
      middle = cell.middleBytes;
    }
    if (middle > oldLength) middle = oldLength;
    let extra = middle - needed;
    if (extra <= 0) return;
    const fromSuffix = extra < this.#suffix ? extra : this.#suffix;
    this.#suffix -= fromSuffix;
    extra -= fromSuffix;
    this.#prefix -= extra;
  }

  #install(
    table: TableTree,
    txn: LocalTransaction,
    xid: number,
    stored: Uint8Array,
    from: number,
    length: number,
    flags: number,
    settled: boolean,
    pushOlder: boolean,
  ): void {
    const cell = this.#cell;
    const { space, history } = this.#context;
    const { mtr, cache } = space;
    const { bytes } = cache;
    const place = this.#place;
    const oldLength = cell.tupleEnd - cell.tupleStart;
    const middle = oldLength - this.#prefix - this.#suffix;
    const tail = this.#tail;
    let hasHistory = !settled && (cell.historyPage !== 0 || pushOlder);
    const pushNewest =
      HEAD_BYTES + length + middle + TRAILER_BYTES + POINTER_BYTES > VALUE_BYTES_MAX;
    if (pushNewest) hasHistory = true;
    const keepInline = !pushNewest && !(this.#dropPredecessor && settled);
    let pointerAt = 0;
    let tailBytes = 0;
    if (keepInline) {
      copyRange(tail, 0, bytes, cell.tupleStart + this.#prefix, middle);
      tailBytes = middle;
    }
    if (hasHistory) {
      pointerAt = tailBytes;
      tailBytes = putPointer(tail, tailBytes, cell.historyPage, cell.historyOffset);
      flags |= HISTORY;
    }
    if (keepInline) {
      const kept = cell.flags & OVERFLOW;
      tailBytes = putTrailer(
        tail,
        tailBytes,
        cell.xid,
        cell.command,
        kept,
        this.#prefix,
        this.#suffix,
        middle,
      );
      flags |= PREVIOUS;
    }
    const oldTail = place.valueEnd - cell.tupleEnd;
    const size = HEAD_BYTES + length + tailBytes;
    let pushed = pushNewest ? RECORD_HEAD_BYTES + oldLength : 0;
    if (pushOlder) pushed += RECORD_HEAD_BYTES + cell.previousBytes;
    mtr.begin();
    table.tree.planSplice(mtr, place, size);
    if (pushed > 0) history.plan(mtr, pushed);
    if (pushed > 0) this.#pushDown(cell, settled, pushOlder, pushNewest, pointerAt);
    putHead(this.#head, flags, xid, txn.command);
    if (length === oldLength) {
      this.#overlay(table, stored, from, length, oldTail, tailBytes);
    } else {
      const value = this.#value;
      copyRange(value, 0, this.#head, 0, HEAD_BYTES);
      copyRange(value, HEAD_BYTES, stored, from, length);
      copyRange(value, HEAD_BYTES + length, tail, 0, tailBytes);
      table.tree.splice(mtr, place, 0, place.valueEnd - place.valueStart, value, 0, size);
    }
    mtr.commit();
  }

  /** The inline version, and the newest when it is too big to stay inline, go to history; `#tail` points there. */
  #pushDown(
    cell: RowCell,
    settled: boolean,
    pushOlder: boolean,
    pushNewest: boolean,
    pointerAt: number,
  ): void {
    const { space, history } = this.#context;
    const { mtr, cache } = space;
    let page = settled ? 0 : cell.historyPage;
    let offset = settled ? 0 : cell.historyOffset;
    const older = this.#older;
    if (pushOlder) {
      const length = cell.copyPrevious(cache.bytes, older);
      const { previousXid, previousCommand, previousFlags } = cell;
      const kept = previousFlags & OVERFLOW;
      history.append(mtr, kept, previousXid, previousCommand, page, offset, older, length);
      page = history.page;
      offset = history.offset;
    }
    if (pushNewest) {
      const length = cell.tupleEnd - cell.tupleStart;
      copyRange(older, 0, cache.bytes, cell.tupleStart, length);
      const kept = cell.flags & OVERFLOW;
      history.append(mtr, kept, cell.xid, cell.command, page, offset, older, length);
      page = history.page;
      offset = history.offset;
    }
    putPointer(this.#tail, pointerAt, page, offset);
  }

  /** Hot: a tuple of the same length stays where it is; only its head, what differs and the cell's end are edited. */
  #overlay(
    table: TableTree,
    stored: Uint8Array,
    from: number,
    length: number,
    oldTail: number,
    tailBytes: number,
  ): void {
    const { mtr } = this.#context.space;
    const place = this.#place;
    if (oldTail !== tailBytes) {
      table.tree.splice(mtr, place, HEAD_BYTES + length, oldTail, this.#tail, 0, tailBytes);
    }
    const { pageNo } = place;
    const at = place.valueStart - place.base;
    mtr.set(pageNo, at, this.#head, 0, HEAD_BYTES);
    if (this.#differing > 0) {
      const first = this.#differsFrom;
      mtr.set(pageNo, at + HEAD_BYTES + first, stored, from + first, this.#differing);
    }
    if (oldTail === tailBytes && tailBytes > 0) {
      mtr.set(pageNo, at + HEAD_BYTES + length, this.#tail, 0, tailBytes);
    }
  }
}

function concurrent(deleted: boolean): SqlError {
  return new SqlError(
    '40001',
    `could not serialize access due to concurrent ${deleted ? 'delete' : 'update'}`,
  );
}
