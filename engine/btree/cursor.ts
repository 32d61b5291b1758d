/**
 * Walks a tree in key order, either way, while others edit it.
 *
 * A cursor keeps a copy of its key and the LSN that its leaf had. When the leaf still has it, a step is a step
 * in the slot array; when it does not (edited, split, freed, used anew), the cursor descends again to its key:
 * the next cell is the first above it, whether or not the key itself is still there.
 *
 * Every move may throw Suspend; nothing has changed then, and the same call goes on. What `keyStart` and the
 * others describe holds until the thread is given back or the tree is edited.
 */
import { PAGE_BYTES } from '#core/ids.js';
import { pageLsn } from '#core/redo/page.js';
import { SEEK_GT, SEEK_LT, type BTree } from './btree.js';
import {
  CELL_HEADER_BYTES,
  KEY_BYTES_MAX,
  cellAt,
  copy,
  keyBytes,
  nodeCount,
  nodeLeft,
  nodeRight,
} from './node.js';
import { Place } from './place.js';

const KEY_BYTES_START = 64;

export class Cursor {
  readonly tree: BTree;
  /** Whether it is on a cell (or was, should that have been deleted since). */
  valid = false;
  /** Offsets in the cache's bytes. */
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;

  readonly #place = new Place();
  #pageNo = 0;
  #slot = 0;
  #lsn = 0;
  #key = new Uint8Array(KEY_BYTES_START);
  #keyLength = 0;

  constructor(tree: BTree) {
    this.tree = tree;
  }

  /** The key it is on, a copy that outlives the turn: bytes[0, keyLength). */
  get key(): Uint8Array {
    return this.#key;
  }

  get keyLength(): number {
    return this.#keyLength;
  }

  /** To the nearest cell by SEEK_GE, SEEK_GT, SEEK_LE or SEEK_LT; false when there is none. */
  seek(key: Uint8Array, start: number, length: number, mode: number): boolean {
    this.tree.seek(this.#place, key, start, length, mode);
    return this.#settle(this.#place.pageNo, this.#place.base, this.#place.slot, mode < 2);
  }

  first(): boolean {
    this.tree.seekEdge(this.#place, false);
    return this.#settle(this.#place.pageNo, this.#place.base, this.#place.slot, true);
  }

  last(): boolean {
    this.tree.seekEdge(this.#place, true);
    return this.#settle(this.#place.pageNo, this.#place.base, this.#place.slot, false);
  }

  /** To the next cell; false at the end, where the cursor then is no longer valid. */
  next(): boolean {
    if (!this.valid) return false;
    const { cache } = this.tree.space;
    // Hot: while the leaf is as it was a step costs 45 ns, a descent 600.
    const base = cache.base(this.#pageNo);
    if (pageLsn(cache.view, base) !== this.#lsn) {
      return this.seek(this.#key, 0, this.#keyLength, SEEK_GT);
    }
    return this.#settle(this.#pageNo, base, this.#slot + 1, true);
  }

  previous(): boolean {
    if (!this.valid) return false;
    const { cache } = this.tree.space;
    const base = cache.base(this.#pageNo);
    if (pageLsn(cache.view, base) !== this.#lsn) {
      return this.seek(this.#key, 0, this.#keyLength, SEEK_LT);
    }
    return this.#settle(this.#pageNo, base, this.#slot - 1, false);
  }

  /** Onto the cell at `slot`, or the nearest one in other leaves when it is outside this one. */
  #settle(pageNo: number, base: number, slot: number, forward: boolean): boolean {
    const { cache } = this.tree.space;
    const { view } = cache;
    while (slot < 0 || slot >= nodeCount(view, base)) {
      const sibling = forward ? nodeRight(view, base) : nodeLeft(view, base);
      if (sibling === 0) {
        this.valid = false;
        return false;
      }
      this.#readAhead(base, forward);
      pageNo = sibling;
      base = this.tree.nodeBase(pageNo);
      slot = forward ? 0 : nodeCount(view, base) - 1;
      this.#readAhead(base, forward);
    }
    this.#pageNo = pageNo;
    this.#slot = slot;
    this.#lsn = pageLsn(view, base);
    const cell = cellAt(view, base, slot);
    const keyLength = keyBytes(view, cell);
    this.keyStart = cell + CELL_HEADER_BYTES;
    this.keyEnd = this.keyStart + keyLength;
    this.valueStart = this.keyEnd;
    this.valueEnd = this.keyEnd + view.getUint16(cell + 2, true);
    if (keyLength > this.#key.length) this.#key = new Uint8Array(KEY_BYTES_MAX);
    copy(this.#key, 0, cache.bytes, this.keyStart, keyLength);
    this.#keyLength = keyLength;
    this.valid = true;
    return true;
  }

  /** A scan that comes to the edge of what is cached asks for several leaves at once. */
  #readAhead(base: number, forward: boolean): void {
    const { cache } = this.tree.space;
    const { bytes, view } = cache;
    const ahead = forward ? nodeRight(view, base) : nodeLeft(view, base);
    if (ahead === 0 || cache.peek(ahead) >= 0) return;
    if (nodeCount(view, base) === 0) {
      cache.prefetch(ahead);
      return;
    }
    const cell = cellAt(view, base, 0);
    this.tree.readAhead(bytes, cell + CELL_HEADER_BYTES, keyBytes(view, cell), forward);
  }

  /** The leaf that it is on and its slot there, as of its last move: for who edits what it found in the same turn. */
  get pageNo(): number {
    return this.#pageNo;
  }

  get slot(): number {
    return this.#slot;
  }

  /** Bytes of the page that it is on, from its base. */
  get base(): number {
    return this.keyStart - (this.keyStart % PAGE_BYTES);
  }
}
