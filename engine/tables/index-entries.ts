/**
 * Entries of secondary indexes: key and row id, no value. Each is written in an MTR of its own after the row version
 * that needs it, and taken away before the last version that has its key.
 *
 * A unique key is looked up and its entry inserted in one turn, so that of two writers the second finds the first:
 *
 * | versions of the other row, newest first | then                                                              |
 * |------------------------------------------|-------------------------------------------------------------------|
 * | aborted                                  | look at the one before                                            |
 * | in progress, this or the settled one before has the key | wait for its transaction, look again               |
 * | committed or own, deleted or another key | no conflict                                                       |
 * | committed or own with the key            | conflict                                                          |
 */
import { KEY_BYTES_MAX, Place, SEEK_GE, type BTree } from '../btree/btree.js';
import { Cursor } from '../btree/cursor.js';
import {
  CELL_HEADER_BYTES,
  cellAt,
  keyBytes,
  nodeCount,
  nodeLeft,
  nodeRight,
} from '../btree/node.js';
import { compareKeys } from '../btree/search.js';
import { ABORTED, IN_PROGRESS } from '../txn/commit-log.js';
import type { LocalTransaction } from '../txn/local-transaction.js';
import type { LocalTransactionManager } from '../txn/manager.js';
import { loadVersions, tupleOf, type ReadContext, type Version } from './row-reader.js';
import { DELETED, ROW_KEY_BYTES, getRowKey, putRowKey } from './row-version.js';
import type { IndexHandle } from './table-store.js';
import type { TableTree, Trees } from './trees.js';

export const INDEX_KEY_MAX = KEY_BYTES_MAX - ROW_KEY_BYTES;
const EMPTY = new Uint8Array(0);

export class IndexEntries {
  readonly #context: ReadContext;
  readonly #manager: LocalTransactionManager;
  readonly #trees: Trees;
  readonly #place = new Place();
  readonly #rowPlace = new Place();
  readonly #entry = new Uint8Array(KEY_BYTES_MAX);
  /** The part of `#entry` that key makers may fill. */
  readonly #key = this.#entry.subarray(0, INDEX_KEY_MAX);
  readonly #other = new Uint8Array(INDEX_KEY_MAX);
  readonly #rowKey = new Uint8Array(ROW_KEY_BYTES);

  constructor(context: ReadContext, manager: LocalTransactionManager, trees: Trees) {
    this.#context = context;
    this.#manager = manager;
    this.#trees = trees;
  }

  /** Whether two tuples have different keys; 54000 when one has too long a key. */
  differ(
    index: IndexHandle,
    a: Uint8Array,
    aStart: number,
    aEnd: number,
    b: Uint8Array,
    bStart: number,
    bEnd: number,
  ): boolean {
    const length = index.keys.make(a, aStart, aEnd, this.#key);
    const other = index.keys.make(b, bStart, bEnd, this.#other);
    return compareKeys(this.#key, 0, length, this.#other, 0, other) !== 0;
  }

  /**
   * Adds the entry of a tuple. Returns -1, or the id of another row that has the unique key. Throws Suspend, also to
   * wait for the other row's transaction, and 40P01.
   */
  add(
    table: TableTree,
    index: IndexHandle,
    txn: LocalTransaction,
    rowId: number,
    tuple: Uint8Array,
    start: number,
    end: number,
  ): number {
    const length = index.keys.make(tuple, start, end, this.#key);
    const unique = index.unique && !index.keys.hasNull;
    const tree = this.#trees.index(index.rootPageNo);
    putRowKey(this.#entry, length, rowId);
    const place = this.#place;
    const present = tree.locate(place, this.#entry, 0, length + ROW_KEY_BYTES);
    if (unique && (present || this.#hasNeighbour(place, length))) {
      const row = this.#conflict(table, tree, index, txn, rowId, length);
      if (row >= 0) return row;
    }
    if (present) return -1;
    const { mtr } = this.#context.space;
    mtr.begin();
    tree.planInsert(mtr, place, this.#entry, 0, length + ROW_KEY_BYTES, 0);
    tree.insert(mtr, place, this.#entry, 0, length + ROW_KEY_BYTES, EMPTY, 0, 0);
    mtr.commit();
    return -1;
  }

  /** The id of a row that has the tuple's unique key, or -1. Throws as `add` does. */
  check(
    table: TableTree,
    index: IndexHandle,
    txn: LocalTransaction,
    tuple: Uint8Array,
    start: number,
    end: number,
  ): number {
    const length = index.keys.make(tuple, start, end, this.#key);
    if (!index.unique || index.keys.hasNull) return -1;
    const tree = this.#trees.index(index.rootPageNo);
    // No row has id 0: the place is before all entries of the key.
    putRowKey(this.#entry, length, 0);
    tree.locate(this.#place, this.#entry, 0, length + ROW_KEY_BYTES);
    if (!this.#hasNeighbour(this.#place, length)) return -1;
    return this.#conflict(table, tree, index, txn, -1, length);
  }

  /** Takes the entry of a tuple away; nothing happens when it is not there. Throws Suspend. */
  remove(index: IndexHandle, rowId: number, tuple: Uint8Array): void {
    const length = index.keys.make(tuple, 0, tuple.length, this.#key);
    const tree = this.#trees.index(index.rootPageNo);
    putRowKey(this.#entry, length, rowId);
    const place = this.#place;
    if (!tree.locate(place, this.#entry, 0, length + ROW_KEY_BYTES)) return;
    const { mtr } = this.#context.space;
    mtr.begin();
    tree.planDelete(mtr, place);
    tree.delete(mtr, place);
    mtr.commit();
  }

  /**
   * Hot: entries with the same key lie side by side, so that a place whose neighbours in its leaf have other keys
   * is proof enough.
   */
  #hasNeighbour(place: Place, length: number): boolean {
    const { view } = this.#context.space.cache;
    const { base, slot } = place;
    if (slot > 0) {
      if (this.#sharesKey(view, cellAt(view, base, slot - 1), length)) return true;
    } else if (nodeLeft(view, base) !== 0) return true;
    if (slot < nodeCount(view, base)) {
      return this.#sharesKey(view, cellAt(view, base, slot), length);
    }
    return nodeRight(view, base) !== 0;
  }

  #sharesKey(view: DataView, cell: number, length: number): boolean {
    if (keyBytes(view, cell) !== length + ROW_KEY_BYTES) return false;
    const { bytes } = this.#context.space.cache;
    return compareKeys(bytes, cell + CELL_HEADER_BYTES, length, this.#key, 0, length) === 0;
  }

  /** Another row than `rowId` that has the key in `#key`, or -1. */
  #conflict(
    table: TableTree,
    tree: BTree,
    index: IndexHandle,
    txn: LocalTransaction,
    rowId: number,
    length: number,
  ): number {
    const cursor = new Cursor(tree);
    const { view } = this.#context.space.cache;
    for (
      let on = cursor.seek(this.#key, 0, length, SEEK_GE);
      on && cursor.keyLength === length + ROW_KEY_BYTES;
      on = cursor.next()
    ) {
      if (compareKeys(cursor.key, 0, length, this.#key, 0, length) !== 0) break;
      const other = getRowKey(view, cursor.keyStart + length);
      if (other !== rowId && this.#holdsKey(table, index, txn, other, length)) return other;
    }
    return -1;
  }

  #holdsKey(
    table: TableTree,
    index: IndexHandle,
    txn: LocalTransaction,
    rowId: number,
    length: number,
  ): boolean {
    putRowKey(this.#rowKey, 0, rowId);
    const place = this.#rowPlace;
    if (!table.tree.locate(place, this.#rowKey, 0, ROW_KEY_BYTES)) return false;
    const versions = loadVersions(this.#context, place.valueStart, place.valueEnd);
    let pending = 0;
    for (const version of versions) {
      const own = txn.owns(version.xid);
      const state = own ? 0 : this.#context.log.state(version.xid);
      if (!own && state === ABORTED) continue;
      const has = this.#versionHasKey(index, version, length);
      if (!own && state === IN_PROGRESS) {
        if (pending === 0) pending = version.xid;
        if (has) break;
        continue;
      }
      if (!own) txn.cover(state);
      if (pending === 0) return has;
      if (!has) return false;
      break;
    }
    if (pending === 0) return false;
    this.#manager.awaitEnd(txn, pending);
    return this.#holdsKey(table, index, txn, rowId, length);
  }

  #versionHasKey(index: IndexHandle, version: Version, length: number): boolean {
    if ((version.flags & DELETED) !== 0) return false;
    const tuple = tupleOf(this.#context, version);
    const made = index.keys.make(tuple, 0, tuple.length, this.#other);
    return made === length && compareKeys(this.#other, 0, made, this.#key, 0, length) === 0;
  }
}
