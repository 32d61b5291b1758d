/**
 * A B+tree over the pages of the volume: byte keys in memcmp order, byte values, in slotted pages (node.ts).
 *
 * ```
 *   tree.locate(place, key)                        find                       may Suspend
 *   mtr.begin()
 *   tree.planInsert | planDelete | planSplice      adds and reserves pages    may Suspend, again from mtr.begin()
 *   ... plans of other trees, other pages ...
 *   tree.insert | delete | splice                  edits, cannot fail
 *   ... edits of the others ...
 *   mtr.commit()
 * ```
 *
 * All of it in one turn: a place holds until the thread is given back or its tree is edited. One planned edit
 * per tree and MTR, because a plan is made for the tree as it was found.
 *
 * - The root's page number never changes; the level of a node is one below its parent's.
 * - A split leaves the right page to the right sibling chain of each level before anybody can look (one turn).
 * - At the right edge a full leaf stays full and a new one begins: ascending inserts fill pages to `appendFill`.
 * - What a leaf remembers across turns is checked by page LSN (cursors) or by the allocator's count of freed pages (the hint).
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { pageType } from '#core/redo/page.js';
import type { Mtr } from '../pages/mtr.js';
import type { PageCache } from '../pages/page-cache.js';
import type { PageSpace } from '../pages/page-space.js';
import { PAGE_TYPE_NODE } from '../pages/page-types.js';
import { Merger } from './merge.js';
import {
  CELL_BYTES_MAX,
  CELL_HEADER_BYTES,
  COUNT_OFFSET,
  KEY_BYTES_MAX,
  NODE_BYTES,
  SLOT_BYTES,
  cellAt,
  cellBytes,
  childAt,
  freeBytes,
  initNode,
  insertCell,
  keyBytes,
  nodeCount,
  nodeLevel,
  nodeRight,
  removeCell,
  spliceCell,
} from './node.js';
import type { Place } from './place.js';
import { DEPTH_MAX, PATH_UNKNOWN } from './place.js';
import { compareKeys, search } from './search.js';
import { Splitter } from './split.js';

export { CELL_BYTES_MAX, KEY_BYTES_MAX } from './node.js';
export { Place } from './place.js';

/** Leaves that a scan asks for before it gets to them. */
const READ_AHEAD_PAGES = 8;

/** Which cell a seek is after. */
export const SEEK_GE = 0;
export const SEEK_GT = 1;
export const SEEK_LE = 2;
export const SEEK_LT = 3;

export class BTree {
  readonly space: PageSpace;
  readonly rootPageNo: number;
  /** Appending at the right edge starts a new leaf above this many bytes in the old one. */
  appendFillBytes = NODE_BYTES;

  readonly #cache: PageCache;
  readonly #splitter: Splitter;
  readonly #merger: Merger;
  /** The rightmost leaf, as long as no page was freed since. */
  #hint = 0;
  #hintFrees = 0;
  #plannedIn = -1;

  constructor(space: PageSpace, rootPageNo: number) {
    this.space = space;
    this.rootPageNo = rootPageNo;
    this.#cache = space.cache;
    this.#splitter = new Splitter(space);
    this.#merger = new Merger(space);
  }

  /** Reserves the page of a new tree. Throws Suspend. */
  static planCreate(space: PageSpace, mtr: Mtr): void {
    space.allocator.reserve(mtr, 1);
  }

  /** An empty tree; its root's page number, which is its name for ever. */
  static create(space: PageSpace, mtr: Mtr): number {
    const pageNo = space.allocator.take(mtr, PAGE_TYPE_NODE);
    initNode(mtr, pageNo, 0);
    return pageNo;
  }

  /** Finds a key: true when it is there, its cell then described by `place`. Throws Suspend. */
  locate(place: Place, key: Uint8Array, start: number, length: number): boolean {
    if (this.#hint !== 0 && this.#atHint(place, key, start, length)) return false;
    return this.#descend(place, key, start, length);
  }

  /**
   * Plans to insert the key of `place`, which was not found. Throws Suspend. Keys and cells respect
   * KEY_BYTES_MAX and CELL_BYTES_MAX.
   */
  planInsert(
    mtr: Mtr,
    place: Place,
    key: Uint8Array,
    start: number,
    length: number,
    valueLength: number,
  ): void {
    const size = CELL_HEADER_BYTES + length + valueLength;
    assert(!place.found, 'an insert has a new key');
    assert(length <= KEY_BYTES_MAX && size <= CELL_BYTES_MAX, 'the cell fits a quarter of a page');
    this.#plan(mtr);
    const base = mtr.add(place.pageNo);
    if (this.#takes(base, place.slot, size)) return;
    if (place.depth === PATH_UNKNOWN) this.#descend(place, key, start, length);
    this.#splitter.plan(mtr, place, length);
  }

  /** Inserts what was planned. Afterwards `place` names the new cell. */
  insert(
    mtr: Mtr,
    place: Place,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    value: Uint8Array,
    valueStart: number,
    valueLength: number,
  ): void {
    const size = CELL_HEADER_BYTES + keyLength + valueLength;
    if (!this.#takes(mtr.page(place.pageNo), place.slot, size)) {
      this.#splitter.forInsert(mtr, place, size, key, keyStart, keyLength);
      place.pageNo = this.#splitter.pageNo;
      place.slot = this.#splitter.slot;
    }
    const { pageNo, slot } = place;
    insertCell(mtr, pageNo, slot, key, keyStart, keyLength, value, valueStart, valueLength);
    const base = mtr.page(pageNo);
    if (nodeRight(this.#cache.view, base) === 0) {
      this.#hint = pageNo;
      this.#hintFrees = this.space.allocator.frees;
    }
    this.#describe(place, base);
  }

  /** Plans to delete the cell of `place`, which was found. Throws Suspend. */
  planDelete(mtr: Mtr, place: Place): void {
    assert(place.found, 'a delete has a cell');
    this.#plan(mtr);
    const base = mtr.add(place.pageNo);
    const { bytes, view } = this.#cache;
    const removed = cellBytes(view, cellAt(view, base, place.slot)) + SLOT_BYTES;
    if (this.#merger.staysFull(base, removed)) return;
    if (place.depth === PATH_UNKNOWN) {
      this.#descend(place, bytes, place.keyStart, place.keyEnd - place.keyStart);
    }
    this.#merger.plan(mtr, place);
  }

  /** Deletes what was planned. `place` is void afterwards. */
  delete(mtr: Mtr, place: Place): void {
    const { view } = this.#cache;
    const base = mtr.page(place.pageNo);
    const removed = cellBytes(view, cellAt(view, base, place.slot)) + SLOT_BYTES;
    const stays = this.#merger.staysFull(base, removed);
    removeCell(mtr, place.pageNo, place.slot);
    if (!stays) this.#merger.apply(mtr, place);
    place.found = false;
    place.depth = PATH_UNKNOWN;
  }

  /** Plans a change of the value of `place` to one of `valueLength` bytes. Throws Suspend. */
  planSplice(mtr: Mtr, place: Place, valueLength: number): void {
    assert(place.found, 'a splice has a cell');
    this.#plan(mtr);
    const base = mtr.add(place.pageNo);
    const { bytes, view } = this.#cache;
    const keyLength = place.keyEnd - place.keyStart;
    assert(
      CELL_HEADER_BYTES + keyLength + valueLength <= CELL_BYTES_MAX,
      'the cell fits a quarter of a page',
    );
    if (valueLength - (place.valueEnd - place.valueStart) <= freeBytes(view, base)) return;
    if (place.depth === PATH_UNKNOWN) this.#descend(place, bytes, place.keyStart, keyLength);
    this.#splitter.plan(mtr, place, keyLength);
  }

  /**
   * Replaces value[at, at + removed) by source[start, start + added), as planned: the new length is the planned
   * one. `source` must not be the cell's own page. Afterwards `place` names the cell.
   */
  splice(
    mtr: Mtr,
    place: Place,
    at: number,
    removed: number,
    source: Uint8Array,
    start: number,
    added: number,
  ): void {
    const { view } = this.#cache;
    const base = mtr.page(place.pageNo);
    const size = cellBytes(view, cellAt(view, base, place.slot)) + added - removed;
    if (added - removed > freeBytes(view, base)) {
      this.#splitter.forGrowth(mtr, place, size);
      place.pageNo = this.#splitter.pageNo;
      place.slot = this.#splitter.slot;
    }
    spliceCell(mtr, place.pageNo, place.slot, at, removed, source, start, added);
    this.#describe(place, mtr.page(place.pageNo));
  }

  /** The leaf slot that a seek ends at; -1 before the leaf's first, its count behind its last. Throws Suspend. */
  seek(place: Place, key: Uint8Array, start: number, length: number, mode: number): void {
    const found = this.#descend(place, key, start, length);
    if (mode === SEEK_LE && !found) place.slot--;
    else if (mode === SEEK_LT) place.slot--;
    else if (mode === SEEK_GT && found) place.slot++;
  }

  /** The leftmost (or rightmost) leaf; `slot` is its first (last) cell. Throws Suspend. */
  seekEdge(place: Place, last: boolean): void {
    const { view, bytes } = this.#cache;
    let pageNo = this.rootPageNo;
    let base = this.nodeBase(pageNo);
    let depth = 0;
    for (let level = nodeLevel(bytes, base); level > 0; level--) {
      const slot = last ? nodeCount(view, base) - 1 : 0;
      place.pages[depth] = pageNo;
      place.slots[depth++] = slot;
      pageNo = childAt(view, base, slot);
      base = this.#childBase(pageNo, level - 1);
    }
    place.pages[depth] = pageNo;
    place.depth = depth;
    place.pageNo = pageNo;
    place.base = base;
    place.slot = last ? nodeCount(view, base) - 1 : 0;
    place.found = false;
  }

  /**
   * One step of freeing the whole tree, an MTR of its own that it begins and commits; true when the root is
   * gone too. Nobody else may use the tree. Throws Suspend. After a crash it goes on where it was.
   */
  destroyStep(mtr: Mtr): boolean {
    const { view, bytes } = this.#cache;
    const { allocator } = this.space;
    mtr.begin();
    allocator.reserveFree(mtr);
    let parent = 0;
    let pageNo = this.rootPageNo;
    let base = this.nodeBase(pageNo);
    while (nodeLevel(bytes, base) > 0 && nodeCount(view, base) > 0) {
      parent = pageNo;
      pageNo = childAt(view, base, nodeCount(view, base) - 1);
      base = this.nodeBase(pageNo);
    }
    mtr.add(pageNo);
    if (parent !== 0) {
      const count = nodeCount(view, mtr.add(parent));
      mtr.u16(parent, COUNT_OFFSET, count - 1);
    }
    allocator.free(mtr, pageNo);
    mtr.commit();
    return parent === 0;
  }

  /** About how many cells there are: the fan-outs along the way to a leaf in the middle. Throws Suspend. */
  estimateCells(): number {
    const { view, bytes } = this.#cache;
    let base = this.nodeBase(this.rootPageNo);
    let cells = 1;
    for (let level = nodeLevel(bytes, base); level > 0; level--) {
      const count = nodeCount(view, base);
      cells *= count;
      base = this.#childBase(childAt(view, base, count >>> 1), level - 1);
    }
    return cells * nodeCount(view, base);
  }

  /**
   * Starts to read the leaves beside the one that holds a key: for scans. Never waits; does nothing when the
   * way down is not cached.
   */
  readAhead(key: Uint8Array, start: number, length: number, forward: boolean): void {
    const { bytes, view } = this.#cache;
    let pageNo = this.rootPageNo;
    for (let step = 0; step <= DEPTH_MAX; step++) {
      const base = this.#cache.peek(pageNo);
      if (base < 0 || pageType(bytes, base) !== PAGE_TYPE_NODE) return;
      const level = nodeLevel(bytes, base);
      if (level === 0) return;
      const slot = this.#childSlot(base, key, start, length);
      pageNo = childAt(view, base, slot);
      if (level > 1) continue;
      const count = nodeCount(view, base);
      for (let i = 1; i <= READ_AHEAD_PAGES; i++) {
        const next = forward ? slot + i : slot - i;
        if (next < 0 || next >= count) return;
        this.#cache.prefetch(childAt(view, base, next));
      }
      return;
    }
  }

  /** A cached node. Throws Suspend on a miss, CORRUPTION when the page is no node. */
  nodeBase(pageNo: number): number {
    const base = this.#cache.base(pageNo);
    if (pageType(this.#cache.bytes, base) !== PAGE_TYPE_NODE) {
      throw new SextantError(
        'CORRUPTION',
        `page ${pageNo} is not a node of tree ${this.rootPageNo}`,
      );
    }
    return base;
  }

  #plan(mtr: Mtr): void {
    assert(this.#plannedIn !== mtr.serial, 'a tree has one planned edit per MTR');
    this.#plannedIn = mtr.serial;
  }

  /** Whether a cell goes into the leaf as it is; a filled leaf at the right edge takes no more at its end. */
  #takes(base: number, slot: number, size: number): boolean {
    const { view } = this.#cache;
    const free = freeBytes(view, base);
    const need = size + SLOT_BYTES;
    if (need > free) return false;
    if (NODE_BYTES - free + need <= this.appendFillBytes) return true;
    const count = nodeCount(view, base);
    return slot < count || count === 0 || nodeRight(view, base) !== 0;
  }

  /** Hot: ascending keys go behind the last cell of the rightmost leaf, without a descent. */
  #atHint(place: Place, key: Uint8Array, start: number, length: number): boolean {
    const { bytes, view } = this.#cache;
    if (this.#hintFrees !== this.space.allocator.frees) return false;
    const base = this.#cache.peek(this.#hint);
    if (base < 0 || nodeLevel(bytes, base) !== 0 || nodeRight(view, base) !== 0) return false;
    const count = nodeCount(view, base);
    if (count === 0) return false;
    const cell = cellAt(view, base, count - 1);
    const last = cell + CELL_HEADER_BYTES;
    if (compareKeys(bytes, last, keyBytes(view, cell), key, start, length) >= 0) return false;
    place.found = false;
    place.pageNo = this.#hint;
    place.slot = count;
    place.base = base;
    place.depth = PATH_UNKNOWN;
    return true;
  }

  #descend(place: Place, key: Uint8Array, start: number, length: number): boolean {
    const { bytes, view } = this.#cache;
    let pageNo = this.rootPageNo;
    let base = this.nodeBase(pageNo);
    let level = nodeLevel(bytes, base);
    assert(level <= DEPTH_MAX, 'a tree is not that deep');
    let depth = 0;
    for (; level > 0; level--) {
      const slot = this.#childSlot(base, key, start, length);
      place.pages[depth] = pageNo;
      place.slots[depth++] = slot;
      pageNo = childAt(view, base, slot);
      base = this.#childBase(pageNo, level - 1);
    }
    const at = search(view, bytes, base, key, start, length);
    place.pages[depth] = pageNo;
    place.depth = depth;
    place.pageNo = pageNo;
    place.found = at >= 0;
    place.slot = at >= 0 ? at : ~at;
    place.base = base;
    if (place.found) this.#describe(place, base);
    return place.found;
  }

  /** The child of the last cell at or below the key; the first one also takes what is below all. */
  #childSlot(base: number, key: Uint8Array, start: number, length: number): number {
    const at = search(this.#cache.view, this.#cache.bytes, base, key, start, length);
    const slot = at >= 0 ? at : ~at - 1;
    return slot < 0 ? 0 : slot;
  }

  #childBase(pageNo: number, level: number): number {
    const base = this.nodeBase(pageNo);
    if (nodeLevel(this.#cache.bytes, base) !== level) {
      throw new SextantError(
        'CORRUPTION',
        `node ${pageNo} of tree ${this.rootPageNo} is not at level ${level}`,
      );
    }
    return base;
  }

  #describe(place: Place, base: number): void {
    const { view } = this.#cache;
    const cell = cellAt(view, base, place.slot);
    place.found = true;
    place.base = base;
    place.keyStart = cell + CELL_HEADER_BYTES;
    place.keyEnd = place.keyStart + keyBytes(view, cell);
    place.valueStart = place.keyEnd;
    place.valueEnd = place.keyEnd + view.getUint16(cell + 2, true);
  }
}
