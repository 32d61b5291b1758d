/**
 * The table store over the pages of one volume. What the executor calls; the work is in the files beside it:
 *
 * | file             | what                                                         |
 * |------------------|--------------------------------------------------------------|
 * | row-version.ts   | the cell: newest version and the one before                  |
 * | row-reader.ts    | which version a snapshot sees                                |
 * | row-cursors.ts   | scans                                                        |
 * | row-writer.ts    | versions on top of others, row locks                         |
 * | index-entries.ts | secondary indexes, unique keys                               |
 * | pruner.ts        | what nobody sees any more                                    |
 * | history.ts, overflow.ts | pages of older versions, pages of long tuples         |
 */
import { assert } from '#core/assert.js';
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';
import type { LocalTransaction } from '../txn/local-transaction.js';
import {
  ROW_KEY_SHARE,
  ROW_NO_KEY_UPDATE,
  ROW_SHARE,
  ROW_UPDATE,
  rowLockKey,
  type LocalTransactionManager,
} from '../txn/manager.js';
import type { Snapshot, Transaction } from '../txn/transaction.js';
import { BTree, KEY_BYTES_MAX, Place, SEEK_GT } from '../btree/btree.js';
import { Cursor } from '../btree/cursor.js';
import { History } from './history.js';
import { IndexEntries } from './index-entries.js';
import { Overflow } from './overflow.js';
import { Pruner } from './pruner.js';
import { FoundRow, IndexScan, TableScan } from './row-cursors.js';
import { ReadContext, RowReader, chainOf, loadVersions, tupleOf } from './row-reader.js';
import {
  DELETED,
  HISTORY,
  KEY_CHANGED,
  OVERFLOW,
  PREVIOUS,
  ROW_KEY_BYTES,
  getRowKey,
  putRowKey,
} from './row-version.js';
import { RowWriteProgress } from './row-write-state.js';
import { RowWriter, changedBit } from './row-writer.js';
import type {
  IndexHandle,
  KeyRange,
  RowCursor,
  RowLockMode,
  RowWriteState,
  TableHandle,
  TableStore,
  WaitPolicy,
  WriteOutcome,
} from './table-store.js';
import { Trees, type TableTree } from './trees.js';

const LOCK_MODES: Record<RowLockMode, number> = {
  'key-share': ROW_KEY_SHARE,
  share: ROW_SHARE,
  'no-key-update': ROW_NO_KEY_UPDATE,
  update: ROW_UPDATE,
};
/** Rows that one step of a build or of vacuum looks at. */
const STEP_ROWS = 256;
/** Rows that one step of purging visits. */
const PURGE_ROWS = 32;
/** A writer purges a row itself when this many wait. */
const STALE_MAX = 10_000;

interface DroppedTree {
  readonly rootPageNo: number;
  readonly lsn: number;
  cursor: Cursor | null;
  swept: boolean;
}

export class LocalTableStore implements TableStore {
  readonly newest = new FoundRow();
  newestSeen: Snapshot | null = null;

  readonly #manager: LocalTransactionManager;
  readonly #context: ReadContext;
  readonly #trees: Trees;
  readonly #entries: IndexEntries;
  readonly #pruner: Pruner;
  readonly #writer: RowWriter;
  readonly #reader: RowReader;
  readonly #newestReader: RowReader;
  readonly #fetched = new FoundRow();
  readonly #place = new Place();
  readonly #rowKey = new Uint8Array(ROW_KEY_BYTES);
  readonly #scans: IndexScan[] = [];
  readonly #scanKey = new Uint8Array(KEY_BYTES_MAX);
  /** Trees that nobody uses once the horizon has passed the LSN. */
  readonly #dropped: DroppedTree[] = [];

  constructor(manager: LocalTransactionManager) {
    const { space } = manager;
    this.#manager = manager;
    const history = new History(space);
    const overflow = new Overflow(space);
    this.#context = new ReadContext(space, manager.log, history, overflow);
    this.#trees = new Trees(space);
    this.#entries = new IndexEntries(this.#context, manager, this.#trees);
    this.#pruner = new Pruner(this.#context, manager, this.#entries);
    this.#writer = new RowWriter(this.#context, manager, this.#entries, this.#pruner);
    this.#reader = new RowReader(this.#context);
    this.#newestReader = new RowReader(this.#context);
  }

  newWriteState(): RowWriteState {
    return new RowWriteProgress();
  }

  createTree(txn: Transaction): number {
    const { space } = this.#manager;
    assert(txn.state === 'active', 'trees are made in active transactions');
    space.mtr.begin();
    BTree.planCreate(space, space.mtr);
    const rootPageNo = BTree.create(space, space.mtr);
    space.mtr.commit();
    txn.onAbort(() => this.#drop(rootPageNo));
    return rootPageNo;
  }

  dropTree(txn: Transaction, rootPageNo: number): void {
    txn.onCommit(() => this.#drop(rootPageNo));
  }

  scan(table: TableHandle, snapshot: Snapshot, reverse = false): RowCursor {
    return new TableScan(this.#context, this.#trees.table(table).tree, snapshot, reverse);
  }

  indexScan(
    table: TableHandle,
    index: IndexHandle,
    snapshot: Snapshot,
    range: KeyRange,
    reverse = false,
  ): RowCursor {
    const rows = this.#trees.table(table).tree;
    const entries = this.#trees.index(index.rootPageNo);
    const scan =
      this.#scans.pop() ?? new IndexScan(this.#context, this.#scans, this.#scanKey, entries);
    scan.reopen(rows, entries, index, snapshot, range, reverse);
    return scan;
  }

  fetch(table: TableHandle, snapshot: Snapshot, rowId: number): RowCursor | null {
    putRowKey(this.#rowKey, 0, rowId);
    const place = this.#place;
    if (!this.#trees.table(table).tree.locate(place, this.#rowKey, 0, ROW_KEY_BYTES)) return null;
    const reader = this.#reader;
    reader.under(snapshot);
    if (!reader.read(place.valueStart, place.valueEnd)) return null;
    this.#fetched.found(rowId, reader.bytes, reader.start, reader.end);
    return this.#fetched;
  }

  insert(
    handle: TableHandle,
    txn: Transaction,
    tuple: Uint8Array,
    start: number,
    end: number,
    state: RowWriteState,
    onConflict?: 'report',
  ): number {
    const progress = state as RowWriteProgress;
    const own = txn as LocalTransaction;
    const table = this.#writable(handle);
    const { indexes } = handle;
    if (progress.stage === 0) {
      own.writeId();
      if (onConflict === 'report') {
        for (const index of indexes) {
          const row = this.#entries.check(table, index, own, tuple, start, end);
          if (row >= 0 && this.#loadNewest(handle, own, row)) return -1;
        }
      }
      if (progress.rowId < 0) progress.rowId = this.#trees.giveRowId(table);
      this.#writer.insert(table, own, progress.rowId, tuple, start, end, progress);
      own.rowsWritten++;
      progress.stage = 1;
    }
    for (; !progress.undoing && progress.index < indexes.length; progress.index++) {
      const index = indexes[progress.index];
      const row = this.#entries.add(table, index, own, progress.rowId, tuple, start, end);
      if (row < 0) continue;
      if (onConflict !== 'report') {
        table.visitLater(progress.rowId, this.#manager.nowLsn);
        throw duplicate(handle, index, tuple, start, end);
      }
      progress.undoing = true;
      progress.conflictRow = row;
    }
    if (!progress.undoing) return progress.rowId;
    return this.#undoInsert(handle, table, own, tuple, start, end, progress);
  }

  update(
    handle: TableHandle,
    txn: Transaction,
    snapshot: Snapshot,
    rowId: number,
    tuple: Uint8Array,
    start: number,
    end: number,
    state: RowWriteState,
  ): WriteOutcome {
    const progress = state as RowWriteProgress;
    const own = txn as LocalTransaction;
    const table = this.#writable(handle);
    if (progress.stage === 0) {
      const outcome = this.#writer.write(
        handle,
        table,
        own,
        snapshot,
        rowId,
        tuple,
        start,
        end,
        progress,
      );
      if (outcome !== 'ok') return this.#explain(handle, own, rowId, outcome);
      own.rowsWritten++;
      progress.stage = 1;
    }
    const changed = progress.changedKeys;
    if (changed === 0) return 'ok';
    const { indexes } = handle;
    for (; progress.index < indexes.length; progress.index++) {
      if ((changed & changedBit(progress.index)) === 0) continue;
      const index = indexes[progress.index];
      const row = this.#entries.add(table, index, own, rowId, tuple, start, end);
      if (row >= 0) throw duplicate(handle, index, tuple, start, end);
    }
    return 'ok';
  }

  delete(
    handle: TableHandle,
    txn: Transaction,
    snapshot: Snapshot,
    rowId: number,
    state: RowWriteState,
  ): WriteOutcome {
    const progress = state as RowWriteProgress;
    const own = txn as LocalTransaction;
    const table = this.#writable(handle);
    const outcome = this.#writer.write(handle, table, own, snapshot, rowId, null, 0, 0, progress);
    if (outcome !== 'ok') return this.#explain(handle, own, rowId, outcome);
    own.rowsWritten++;
    return outcome;
  }

  lock(
    handle: TableHandle,
    txn: Transaction,
    snapshot: Snapshot,
    rowId: number,
    mode: RowLockMode,
    wait: WaitPolicy,
  ): WriteOutcome | 'skipped' {
    const own = txn as LocalTransaction;
    const table = this.#trees.table(handle);
    const wanted = LOCK_MODES[mode];
    const { rows } = this.#manager;
    const key = rowLockKey(handle.rootPageNo, rowId);
    if (wait !== 'wait') {
      const busy = this.#writer.isBusy(table, own, rowId, wanted);
      if (busy || !rows.isFree(key, own.locks.actor, wanted)) return refuse(handle, wait);
    }
    const outcome = this.#writer.claim(table, own, snapshot, rowId, wanted);
    if (outcome !== 'ok') return this.#explain(handle, own, rowId, outcome);
    this.#writer.noteHolder(table, rowId);
    return rows.acquire(key, own.locks, wanted, wait === 'wait') ? 'ok' : refuse(handle, wait);
  }

  buildIndex(
    handle: TableHandle,
    index: IndexHandle,
    txn: Transaction,
    state: RowWriteState,
  ): boolean {
    const progress = state as RowWriteProgress;
    const own = txn as LocalTransaction;
    const table = this.#trees.table(handle);
    if (!table.building.includes(index)) table.building.push(index);
    const cursor = new Cursor(table.tree);
    const { view } = this.#context.space.cache;
    let on = this.#seekBehind(cursor, progress.rowId);
    for (let i = 0; on && i < STEP_ROWS; i++) {
      const rowId = getRowKey(view, cursor.keyStart);
      this.#indexRow(handle, table, index, own, rowId, cursor.valueStart, cursor.valueEnd);
      progress.rowId = rowId;
      on = cursor.next();
    }
    if (on) return false;
    table.building = table.building.filter((other) => other !== index);
    // Not those of `handle`: whoever builds another at the same time knows nothing of this one.
    table.handle = { ...handle, indexes: [...without(table.handle.indexes, index), index] };
    return true;
  }

  vacuum(handle: TableHandle, state: RowWriteState): boolean {
    const progress = state as RowWriteProgress;
    // Its indexes as the last writer knew them, should there have been one: he may have made some of them.
    const table = this.#trees.table(handle);
    const cursor = new Cursor(table.tree);
    const { view } = this.#context.space.cache;
    let on = this.#seekBehind(cursor, progress.rowId);
    for (let i = 0; on && i < STEP_ROWS; i++) {
      const rowId = getRowKey(view, cursor.keyStart);
      if (this.#pruner.needsPruning(cursor.valueStart, cursor.valueEnd)) {
        if (this.#pruner.prune(table, rowId)) table.stale.delete(rowId);
        else table.stale.set(rowId, this.#manager.nowLsn);
      }
      progress.rowId = rowId;
      on = cursor.next();
    }
    return !on;
  }

  /**
   * A bounded step of background work: rows whose old versions the horizon has passed, dropped trees, overflow
   * chains. True when there is nothing to do until the horizon moves. Throws Suspend.
   */
  purgeStep(): boolean {
    const horizon = this.#manager.pruneLsn;
    let visits = PURGE_ROWS;
    for (const table of this.#trees.tables()) {
      for (const [rowId, lsn] of table.stale) {
        // In order of time: whoever stands behind is younger.
        if (lsn >= horizon) break;
        if (--visits < 0) return false;
        const done = this.#pruner.prune(table, rowId);
        table.stale.delete(rowId);
        if (!done) table.stale.set(rowId, this.#manager.nowLsn);
      }
    }
    if (!this.#context.overflow.freeStep()) return false;
    return this.#destroyStep(horizon);
  }

  estimateRows(handle: TableHandle): number {
    const table = this.#trees.table(handle);
    try {
      table.estimate = table.tree.estimateCells();
    } catch (thrown) {
      if (!(thrown instanceof Suspend)) throw thrown;
    }
    return table.estimate;
  }

  #writable(handle: TableHandle): TableTree {
    const table = this.#trees.table(handle);
    table.handle = handle;
    if (table.stale.size > STALE_MAX) this.#purgeOne(table);
    return table;
  }

  /** Writers that outrun the background clean up behind themselves. */
  #purgeOne(table: TableTree): void {
    const horizon = this.#manager.pruneLsn;
    for (const [rowId, lsn] of table.stale) {
      if (lsn >= horizon) return;
      const done = this.#pruner.prune(table, rowId);
      table.stale.delete(rowId);
      if (!done) table.stale.set(rowId, this.#manager.nowLsn);
      return;
    }
  }

  /** An insert that met a conflict after its row was written: entries and row go again. */
  #undoInsert(
    handle: TableHandle,
    table: TableTree,
    txn: LocalTransaction,
    tuple: Uint8Array,
    start: number,
    end: number,
    progress: RowWriteProgress,
  ): number {
    const bytes = tuple.subarray(start, end);
    for (; progress.index > 0; progress.index--) {
      this.#entries.remove(handle.indexes[progress.index - 1], progress.rowId, bytes);
    }
    this.#writer.takeBack(table, progress.rowId);
    if (this.#loadNewest(handle, txn, progress.conflictRow)) return -1;
    // The other row went meanwhile: begin again.
    progress.reset();
    return this.insert(handle, txn, tuple, start, end, progress, 'report');
  }

  /** Puts what is now the newest version into `newest`; false: the row is gone. */
  #loadNewest(handle: TableHandle, txn: LocalTransaction, rowId: number): boolean {
    const table = this.#trees.table(handle);
    putRowKey(this.#rowKey, 0, rowId);
    const place = this.#place;
    if (!table.tree.locate(place, this.#rowKey, 0, ROW_KEY_BYTES)) return false;
    const seen = txn.newestSnapshot();
    const reader = this.#newestReader;
    reader.under({ lsn: seen.lsn, txn, command: txn.command + 1 });
    if (!reader.read(place.valueStart, place.valueEnd)) return false;
    this.newestSeen = seen;
    this.newest.found(rowId, reader.bytes, reader.start, reader.end);
    return true;
  }

  #explain(
    handle: TableHandle,
    txn: LocalTransaction,
    rowId: number,
    outcome: WriteOutcome,
  ): WriteOutcome {
    if (outcome !== 'changed') return outcome;
    return this.#loadNewest(handle, txn, rowId) ? 'changed' : 'gone';
  }

  #seekBehind(cursor: Cursor, rowId: number): boolean {
    if (rowId < 0) return cursor.first();
    putRowKey(this.#rowKey, 0, rowId);
    return cursor.seek(this.#rowKey, 0, ROW_KEY_BYTES, SEEK_GT);
  }

  /** Entries of all versions that some snapshot may see; a row whose versions differ is marked. */
  #indexRow(
    handle: TableHandle,
    table: TableTree,
    index: IndexHandle,
    txn: LocalTransaction,
    rowId: number,
    start: number,
    end: number,
  ): void {
    const versions = loadVersions(this.#context, start, end);
    let first: Uint8Array | null = null;
    let differ = false;
    let newest = true;
    for (const version of versions) {
      const own = txn.owns(version.xid);
      const state = own ? 1 : this.#manager.log.state(version.xid);
      if (state === 0) continue;
      if (!own && state > 0) txn.cover(state);
      if ((version.flags & DELETED) !== 0 && version === versions[0]) {
        newest = false;
        continue;
      }
      const tuple = tupleOf(this.#context, version);
      if (first === null) first = tuple;
      else {
        differ ||= this.#entries.differ(index, first, 0, first.length, tuple, 0, tuple.length);
      }
      const unique = newest ? index : notUnique(index);
      const row = this.#entries.add(table, unique, txn, rowId, tuple, 0, tuple.length);
      if (row >= 0) throw cannotBuild(handle, index, tuple);
      newest = false;
    }
    if (differ) this.#markChanged(table, rowId);
  }

  #markChanged(table: TableTree, rowId: number): void {
    putRowKey(this.#rowKey, 0, rowId);
    const place = this.#place;
    if (!table.tree.locate(place, this.#rowKey, 0, ROW_KEY_BYTES)) return;
    const { mtr, cache } = this.#context.space;
    const flags = cache.bytes[place.valueStart];
    if ((flags & KEY_CHANGED) !== 0) return;
    mtr.begin();
    table.tree.planSplice(mtr, place, place.valueEnd - place.valueStart);
    mtr.u8(place.pageNo, place.valueStart - place.base, flags | KEY_CHANGED);
    mtr.commit();
    table.visitLater(rowId, this.#manager.nowLsn);
  }

  #drop(rootPageNo: number): void {
    this.#trees.drop(rootPageNo);
    this.#dropped.push({ rootPageNo, lsn: this.#manager.nowLsn, cursor: null, swept: false });
  }

  /** Gives up what rows of a dropped table have outside of its tree; index entries have no value. */
  #sweepDropped(dropped: DroppedTree): void {
    const { mtr, cache } = this.#manager.space;
    const cursor = dropped.cursor ?? new Cursor(new BTree(this.#manager.space, dropped.rootPageNo));
    let on = dropped.cursor === null ? cursor.first() : cursor.next();
    dropped.cursor = cursor;
    for (let i = 0; on && i < STEP_ROWS; i++) {
      if (
        cursor.valueEnd > cursor.valueStart &&
        (cache.bytes[cursor.valueStart] & (OVERFLOW | HISTORY | PREVIOUS)) !== 0
      ) {
        const versions = loadVersions(this.#context, cursor.valueStart, cursor.valueEnd);
        for (const version of versions) {
          this.#context.overflow.drop(chainOf(version));
          if (version.page === 0) continue;
          mtr.begin();
          this.#context.history.planFree(mtr, version.page);
          this.#context.history.free(mtr, version.page);
          mtr.commit();
        }
      }
      on = cursor.next();
    }
    dropped.swept = !on;
  }

  #destroyStep(horizon: number): boolean {
    const next = this.#dropped[0];
    if (next === undefined || next.lsn > horizon) return true;
    const { space } = this.#manager;
    if (!next.swept) {
      this.#sweepDropped(next);
      return false;
    }
    const tree = new BTree(space, next.rootPageNo);
    this.#trees.forget(next.rootPageNo);
    if (tree.destroyStep(space.mtr)) this.#dropped.shift();
    return false;
  }
}

function duplicate(
  table: TableHandle,
  index: IndexHandle,
  tuple: Uint8Array,
  start: number,
  end: number,
): SqlError {
  return new SqlError('23505', `duplicate key value violates unique constraint "${index.name}"`, {
    detail: `Key ${index.describeKey(tuple, start, end)} already exists.`,
    schema: table.schemaName,
    table: table.name,
    constraint: index.name,
  });
}

function cannotBuild(table: TableHandle, index: IndexHandle, tuple: Uint8Array): SqlError {
  return new SqlError('23505', `could not create unique index "${index.name}"`, {
    detail: `Key ${index.describeKey(tuple, 0, tuple.length)} is duplicated.`,
    schema: table.schemaName,
    table: table.name,
    constraint: index.name,
  });
}

function refuse(table: TableHandle, wait: WaitPolicy): 'skipped' {
  if (wait === 'skip') return 'skipped';
  throw new SqlError('55P03', `could not obtain lock on row in relation "${table.name}"`);
}

function notUnique(index: IndexHandle): IndexHandle {
  return {
    oid: index.oid,
    name: index.name,
    rootPageNo: index.rootPageNo,
    unique: false,
    primary: index.primary,
    keys: index.keys,
    describeKey: (bytes, start, end) => index.describeKey(bytes, start, end),
  };
}

function without(indexes: readonly IndexHandle[], gone: IndexHandle): IndexHandle[] {
  return indexes.filter((index) => index.rootPageNo !== gone.rootPageNo);
}
