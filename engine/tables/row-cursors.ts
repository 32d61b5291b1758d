/**
 * Scans and index scans as `RowCursor`s. `next` may throw Suspend anywhere and goes on where it was when it is called
 * again: a cell whose version is still being looked for is looked up anew by its key.
 */
import { SEEK_GE, SEEK_LE, SEEK_LT, Place, type BTree } from '../btree/btree.js';
import { Cursor } from '../btree/cursor.js';
import { compareKeys } from '../btree/search.js';
import type { Snapshot } from '../txn/transaction.js';
import { RowReader, type ReadContext } from './row-reader.js';
import { KEY_CHANGED, ROW_KEY_BYTES, getRowKey } from './row-version.js';
import type { IndexHandle, KeyRange, RowCursor } from './table-store.js';

export class EmptyCursor implements RowCursor {
  readonly rowId = 0;
  readonly bytes = new Uint8Array(0);
  readonly start = 0;
  readonly end = 0;

  next(): boolean {
    return false;
  }

  close(): void {}
}

/** One row that was found otherwise; `next` says so once. */
export class FoundRow implements RowCursor {
  rowId = 0;
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  fresh = false;

  found(rowId: number, bytes: Uint8Array, start: number, end: number): void {
    this.rowId = rowId;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.fresh = true;
  }

  next(): boolean {
    const { fresh } = this;
    this.fresh = false;
    return fresh;
  }

  close(): void {
    this.fresh = false;
  }
}

const BEFORE = 0;
const BETWEEN = 1;
/** On a cell whose version is not yet known. */
const PENDING = 2;
const DONE = 3;

export class TableScan implements RowCursor {
  rowId = 0;
  bytes: Uint8Array;
  start = 0;
  end = 0;

  readonly #context: ReadContext;
  readonly #reader: RowReader;
  readonly #cursor: Cursor;
  readonly #reverse: boolean;
  #state = BEFORE;

  constructor(context: ReadContext, tree: BTree, snapshot: Snapshot, reverse: boolean) {
    this.#context = context;
    this.#reader = new RowReader(context);
    this.#reader.under(snapshot);
    this.#cursor = new Cursor(tree);
    this.#reverse = reverse;
    this.bytes = context.space.cache.bytes;
  }

  next(): boolean {
    const cursor = this.#cursor;
    const reader = this.#reader;
    while (this.#advance()) {
      if (!reader.read(cursor.valueStart, cursor.valueEnd)) {
        this.#state = BETWEEN;
        continue;
      }
      this.#state = BETWEEN;
      this.rowId = getRowKey(this.#context.space.cache.view, cursor.keyStart);
      this.bytes = reader.bytes;
      this.start = reader.start;
      this.end = reader.end;
      return true;
    }
    this.#state = DONE;
    return false;
  }

  close(): void {
    this.#state = DONE;
  }

  #advance(): boolean {
    const cursor = this.#cursor;
    const reverse = this.#reverse;
    let on: boolean;
    switch (this.#state) {
      case BETWEEN:
        on = reverse ? cursor.previous() : cursor.next();
        break;
      case BEFORE:
        on = reverse ? cursor.last() : cursor.first();
        break;
      case PENDING:
        on = cursor.seek(cursor.key, 0, cursor.keyLength, reverse ? SEEK_LE : SEEK_GE);
        break;
      default:
        return false;
    }
    this.#state = PENDING;
    return on;
  }
}

/** The lowest key above all that start with these bytes; null: there is none. */
export function successor(prefix: Uint8Array): Uint8Array | null {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] === 0xff) continue;
    const above = prefix.slice(0, i + 1);
    above[i] = prefix[i] + 1;
    return above;
  }
  return null;
}

/** An index scan; used again for other scans of the same store once it is closed. */
export class IndexScan implements RowCursor {
  rowId = 0;
  bytes: Uint8Array;
  start = 0;
  end = 0;

  readonly #context: ReadContext;
  readonly #reader: RowReader;
  readonly #place = new Place();
  readonly #rowKey = new Uint8Array(ROW_KEY_BYTES);
  readonly #key: Uint8Array;
  readonly #pool: IndexScan[];
  readonly #cursors = new Map<BTree, Cursor>();
  #cursor: Cursor;
  #table: BTree;
  #index: IndexHandle | null = null;
  #low: Uint8Array | null = null;
  #high: Uint8Array | null = null;
  #reverse = false;
  #state = DONE;
  #open = false;

  constructor(context: ReadContext, pool: IndexScan[], scratch: Uint8Array, tree: BTree) {
    this.#context = context;
    this.#reader = new RowReader(context);
    this.#pool = pool;
    this.#key = scratch;
    this.#table = tree;
    this.#cursor = new Cursor(tree);
    this.bytes = context.space.cache.bytes;
  }

  reopen(
    table: BTree,
    tree: BTree,
    index: IndexHandle,
    snapshot: Snapshot,
    range: KeyRange,
    reverse: boolean,
  ): void {
    this.#table = table;
    this.#index = index;
    this.#cursor = this.#cursorOf(tree);
    this.#reader.under(snapshot);
    this.#reverse = reverse;
    this.#open = true;
    this.#state = BEFORE;
    this.#low = range.lower;
    if (range.lower !== null && !range.lowerInclusive) {
      this.#low = successor(range.lower);
      if (this.#low === null) this.#state = DONE;
    }
    this.#high = range.upper;
    if (range.upper !== null && range.upperInclusive) this.#high = successor(range.upper);
  }

  next(): boolean {
    const { cache } = this.#context.space;
    const reader = this.#reader;
    const table = this.#table;
    while (this.#advance()) {
      const cursor = this.#cursor;
      const length = cursor.keyLength;
      const key = cursor.key;
      for (let i = 0; i < ROW_KEY_BYTES; i++) {
        this.#rowKey[i] = key[length - ROW_KEY_BYTES + i];
      }
      const place = this.#place;
      if (
        !table.locate(place, this.#rowKey, 0, ROW_KEY_BYTES) ||
        !reader.read(place.valueStart, place.valueEnd) ||
        !this.#isKeyOf(place.valueStart, key, length - ROW_KEY_BYTES)
      ) {
        this.#state = BETWEEN;
        continue;
      }
      this.#state = BETWEEN;
      this.rowId = getRowKey(cache.view, place.keyStart);
      this.bytes = reader.bytes;
      this.start = reader.start;
      this.end = reader.end;
      return true;
    }
    this.#state = DONE;
    return false;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#state = DONE;
    this.#index = null;
    if (this.#pool.length < 64) this.#pool.push(this);
  }

  /** Whether the visible version has the entry's key. Hot: only rows whose keys ever changed need the key made. */
  #isKeyOf(cell: number, key: Uint8Array, length: number): boolean {
    const { bytes } = this.#context.space.cache;
    if ((bytes[cell] & KEY_CHANGED) === 0) return true;
    const index = this.#index;
    if (index === null) return false;
    const reader = this.#reader;
    const made = index.keys.make(reader.bytes, reader.start, reader.end, this.#key);
    return made === length && compareKeys(this.#key, 0, made, key, 0, length) === 0;
  }

  #advance(): boolean {
    const cursor = this.#cursor;
    const reverse = this.#reverse;
    let on: boolean;
    switch (this.#state) {
      case BETWEEN:
        on = reverse ? cursor.previous() : cursor.next();
        break;
      case BEFORE:
        on = reverse ? this.#seekHigh() : this.#seekLow();
        break;
      case PENDING:
        on = cursor.seek(cursor.key, 0, cursor.keyLength, reverse ? SEEK_LE : SEEK_GE);
        break;
      default:
        return false;
    }
    if (!on) return false;
    const bound = reverse ? this.#low : this.#high;
    if (bound !== null) {
      const order = compareKeys(cursor.key, 0, cursor.keyLength, bound, 0, bound.length);
      if (reverse ? order < 0 : order >= 0) return false;
    }
    this.#state = PENDING;
    return true;
  }

  #seekLow(): boolean {
    const low = this.#low;
    return low === null ? this.#cursor.first() : this.#cursor.seek(low, 0, low.length, SEEK_GE);
  }

  #seekHigh(): boolean {
    const high = this.#high;
    return high === null ? this.#cursor.last() : this.#cursor.seek(high, 0, high.length, SEEK_LT);
  }

  #cursorOf(tree: BTree): Cursor {
    if (this.#cursor.tree === tree) return this.#cursor;
    let cursor = this.#cursors.get(tree);
    if (cursor === undefined) {
      if (this.#cursors.size >= 16) this.#cursors.clear();
      cursor = new Cursor(tree);
      this.#cursors.set(tree, cursor);
    }
    return cursor;
  }
}
