/**
 * Splitting nodes. A split needs a sibling page a level, and two at the root, whose page number never changes:
 * its content first moves down into a new child.
 *
 * ```
 *   leaf L full:    L | R    the upper cells go to R, separator = shortest key that tells R from L
 *   at the right edge, appending: L keeps everything, R starts with the new cell
 *   parent full:    splits likewise before it takes R
 * ```
 *
 * Planning reserves for the longest separator that can come up; it may add more pages than are then edited.
 */
import { assert } from '#core/assert.js';
import { PAGE_BYTES } from '#core/ids.js';
import type { Mtr } from '../pages/mtr.js';
import type { PageSpace } from '../pages/page-space.js';
import { PAGE_TYPE_NODE } from '../pages/page-types.js';
import {
  CELL_HEADER_BYTES,
  CHILD_BYTES,
  COUNT_OFFSET,
  GARBAGE_OFFSET,
  HEAP_OFFSET,
  KEY_BYTES_MAX,
  LEFT_OFFSET,
  LEVEL_OFFSET,
  NODE_BYTES,
  RIGHT_OFFSET,
  SLOTS_OFFSET,
  SLOT_BYTES,
  cellAt,
  cellBytes,
  copy,
  freeBytes,
  initNode,
  insertCell,
  keyBytes,
  longestKey,
  nodeCount,
  nodeLevel,
  nodeRight,
} from './node.js';
import { DEPTH_MAX, PATH_UNKNOWN, type Place } from './place.js';

const EMPTY = new Uint8Array(0);

/** The cell for which room is made: inserted before `slot`, or `slot` itself with a new size. */
class Pending {
  replace = false;
  slot = 0;
  /** Cell and slot, in bytes. */
  weight = 0;
  key: Uint8Array = EMPTY;
  keyStart = 0;
  keyLength = 0;
}

export class Splitter {
  /** After `split`: where the pending cell belongs. */
  pageNo = 0;
  slot = 0;

  readonly #space: PageSpace;
  readonly #pending: Pending[] = [];
  readonly #separators: Uint8Array[] = [];
  readonly #child = new Uint8Array(CHILD_BYTES);

  constructor(space: PageSpace) {
    this.#space = space;
    for (let d = 0; d <= DEPTH_MAX; d++) {
      this.#pending.push(new Pending());
      this.#separators.push(new Uint8Array(KEY_BYTES_MAX));
    }
  }

  /** Adds and reserves what splitting the leaf of `place` may need. Throws Suspend. */
  plan(mtr: Mtr, place: Place, keyLength: number): void {
    assert(place.depth !== PATH_UNKNOWN, 'a split is planned with a path');
    const { view } = this.#space.cache;
    let pages = 0;
    let longest = keyLength;
    for (let d = place.depth; d >= 0; d--) {
      const base = mtr.add(place.pages[d] as number);
      const need = longest + CELL_HEADER_BYTES + CHILD_BYTES + SLOT_BYTES;
      if (d < place.depth && freeBytes(view, base) >= need) break;
      const right = nodeRight(view, base);
      if (right !== 0) mtr.add(right);
      pages += d === 0 ? 2 : 1;
      longest = Math.max(longest, longestKey(view, base));
    }
    this.#space.allocator.reserve(mtr, pages);
  }

  /** Splits the leaf so that a cell of `size` bytes can be inserted at `place.slot`. */
  forInsert(
    mtr: Mtr,
    place: Place,
    size: number,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
  ): void {
    this.#split(mtr, place, place.depth, place.slot, size, key, keyStart, keyLength);
    place.depth = PATH_UNKNOWN;
  }

  /** Splits the leaf so that the cell at `place.slot` can grow to `size` bytes. */
  forGrowth(mtr: Mtr, place: Place, size: number): void {
    this.#split(mtr, place, place.depth, place.slot, size, null, 0, 0);
    place.depth = PATH_UNKNOWN;
  }

  #split(
    mtr: Mtr,
    place: Place,
    depth: number,
    slot: number,
    size: number,
    key: Uint8Array | null,
    keyStart: number,
    keyLength: number,
  ): void {
    if (depth === 0) {
      this.#pushDown(mtr, place);
      depth = 1;
    }
    // By level, not by depth: a root that is pushed down shifts the depths in the middle of a recursion.
    const level = nodeLevel(this.#space.cache.bytes, mtr.page(place.pages[depth] as number));
    const separator = this.#separators[level] as Uint8Array;
    const pending = this.#pending[level] as Pending;
    pending.replace = key === null;
    pending.slot = slot;
    pending.weight = size + SLOT_BYTES;
    pending.key = key ?? EMPTY;
    pending.keyStart = keyStart;
    pending.keyLength = keyLength;
    const pageNo = place.pages[depth] as number;
    const cut = this.#chooseCut(mtr.page(pageNo), pending);
    const separatorLength = this.#separate(mtr.page(pageNo), pending, cut, level);
    const insertedLeft = !pending.replace && cut > slot;
    const keep = insertedLeft ? cut - 1 : cut;
    const right = this.#moveUpper(mtr, pageNo, keep);
    this.#addToParent(mtr, place, depth, right, separator, separatorLength);
    const goesRight = slot >= cut;
    this.pageNo = goesRight ? right : pageNo;
    this.slot = goesRight ? slot - keep : slot;
  }

  /** The root's content goes to a new child; the root becomes its parent, one level higher. */
  #pushDown(mtr: Mtr, place: Place): void {
    const { cache, allocator } = this.#space;
    const { bytes, view } = cache;
    const root = place.pages[0] as number;
    const child = allocator.take(mtr, PAGE_TYPE_NODE);
    const from = mtr.page(root);
    const to = mtr.page(child);
    const heap = view.getUint16(from + HEAP_OFFSET, true);
    const slotsEnd = SLOTS_OFFSET + nodeCount(view, from) * SLOT_BYTES;
    bytes.copyWithin(to + LEVEL_OFFSET, from + LEVEL_OFFSET, from + slotsEnd);
    bytes.copyWithin(to + heap, from + heap, from + PAGE_BYTES);
    mtr.logged(child, LEVEL_OFFSET, slotsEnd - LEVEL_OFFSET);
    mtr.logged(child, heap, PAGE_BYTES - heap);
    const level = nodeLevel(bytes, from) + 1;
    mtr.format(root, PAGE_TYPE_NODE, 0);
    initNode(mtr, root, level);
    this.#insertChild(mtr, root, 0, EMPTY, 0, child);
    assert(place.depth < DEPTH_MAX, 'a tree is not that deep');
    place.pages.copyWithin(1, 0, place.depth + 1);
    place.slots.copyWithin(1, 0, place.depth + 1);
    place.pages[1] = child;
    place.slots[0] = 0;
    place.depth++;
  }

  /** How many cells stay left, the pending one counted: as even as can be, or all when appending at the edge. */
  #chooseCut(base: number, pending: Pending): number {
    const { view } = this.#space.cache;
    const count = nodeCount(view, base);
    if (!pending.replace && pending.slot === count && nodeRight(view, base) === 0) return count;
    const items = pending.replace ? count : count + 1;
    let total = 0;
    for (let item = 0; item < items; item++) total += this.#weight(base, pending, item);
    let best = 0;
    let bestSkew = Infinity;
    let left = 0;
    for (let cut = 1; cut < items; cut++) {
      left += this.#weight(base, pending, cut - 1);
      if (left > NODE_BYTES || total - left > NODE_BYTES) continue;
      const skew = Math.abs(total - 2 * left);
      if (skew < bestSkew) {
        best = cut;
        bestSkew = skew;
      }
    }
    assert(best > 0, 'four cells fit a page, so there is a cut');
    return best;
  }

  #weight(base: number, pending: Pending, item: number): number {
    if (item === pending.slot) return pending.weight;
    const { view } = this.#space.cache;
    const slot = !pending.replace && item > pending.slot ? item - 1 : item;
    return cellBytes(view, cellAt(view, base, slot)) + SLOT_BYTES;
  }

  /** Makes the separator of a cut in separators[level]; its length. */
  #separate(base: number, pending: Pending, cut: number, level: number): number {
    const { bytes, view } = this.#space.cache;
    const separator = this.#separators[level] as Uint8Array;
    const length = this.#readKey(base, pending, cut, separator);
    if (level > 0) return length;
    // A leaf: the shortest beginning of the right key that is above the left one.
    let left = pending.key;
    let leftStart = pending.keyStart;
    let leftLength = pending.keyLength;
    if (pending.replace || cut - 1 !== pending.slot) {
      const slot = !pending.replace && cut - 1 > pending.slot ? cut - 2 : cut - 1;
      const cell = cellAt(view, base, slot);
      left = bytes;
      leftStart = cell + CELL_HEADER_BYTES;
      leftLength = keyBytes(view, cell);
    }
    let shared = 0;
    while (shared < leftLength && left[leftStart + shared] === separator[shared]) shared++;
    assert(shared < length, 'keys ascend strictly');
    return shared + 1;
  }

  #readKey(base: number, pending: Pending, item: number, target: Uint8Array): number {
    if (!pending.replace && item === pending.slot) {
      copy(target, 0, pending.key, pending.keyStart, pending.keyLength);
      return pending.keyLength;
    }
    const { bytes, view } = this.#space.cache;
    const slot = !pending.replace && item > pending.slot ? item - 1 : item;
    const cell = cellAt(view, base, slot);
    const length = keyBytes(view, cell);
    copy(target, 0, bytes, cell + CELL_HEADER_BYTES, length);
    return length;
  }

  /** Moves the cells from `keep` on to a new right sibling; its page number. */
  #moveUpper(mtr: Mtr, pageNo: number, keep: number): number {
    const { cache, allocator } = this.#space;
    const { bytes, view } = cache;
    const right = allocator.take(mtr, PAGE_TYPE_NODE);
    const from = mtr.page(pageNo);
    const to = mtr.page(right);
    const count = nodeCount(view, from);
    let heap = PAGE_BYTES;
    for (let slot = keep; slot < count; slot++) {
      const cell = cellAt(view, from, slot);
      const size = cellBytes(view, cell);
      heap -= size;
      bytes.copyWithin(to + heap, cell, cell + size);
      view.setUint16(to + SLOTS_OFFSET + (slot - keep) * SLOT_BYTES, heap, true);
    }
    const moved = PAGE_BYTES - heap;
    const next = nodeRight(view, from);
    bytes[to + LEVEL_OFFSET] = nodeLevel(bytes, from);
    view.setUint16(to + COUNT_OFFSET, count - keep, true);
    view.setUint16(to + HEAP_OFFSET, heap, true);
    view.setUint32(to + LEFT_OFFSET, pageNo, true);
    view.setUint32(to + RIGHT_OFFSET, next, true);
    mtr.logged(right, LEVEL_OFFSET, SLOTS_OFFSET - LEVEL_OFFSET + (count - keep) * SLOT_BYTES);
    mtr.logged(right, heap, moved);
    view.setUint16(from + COUNT_OFFSET, keep, true);
    const garbage = view.getUint16(from + GARBAGE_OFFSET, true) + moved;
    view.setUint16(from + GARBAGE_OFFSET, garbage, true);
    view.setUint32(from + RIGHT_OFFSET, right, true);
    mtr.logged(pageNo, COUNT_OFFSET, SLOTS_OFFSET - COUNT_OFFSET);
    if (next !== 0) mtr.u32(next, LEFT_OFFSET, right);
    return right;
  }

  #addToParent(
    mtr: Mtr,
    place: Place,
    depth: number,
    child: number,
    separator: Uint8Array,
    length: number,
  ): void {
    const parent = place.pages[depth - 1] as number;
    const slot = (place.slots[depth - 1] as number) + 1;
    const size = CELL_HEADER_BYTES + length + CHILD_BYTES;
    if (freeBytes(this.#space.cache.view, mtr.page(parent)) >= size + SLOT_BYTES) {
      this.#insertChild(mtr, parent, slot, separator, length, child);
      return;
    }
    this.#split(mtr, place, depth - 1, slot, size, separator, 0, length);
    this.#insertChild(mtr, this.pageNo, this.slot, separator, length, child);
  }

  #insertChild(
    mtr: Mtr,
    pageNo: number,
    slot: number,
    key: Uint8Array,
    keyLength: number,
    child: number,
  ): void {
    const value = this.#child;
    value[0] = child & 0xff;
    value[1] = (child >>> 8) & 0xff;
    value[2] = (child >>> 16) & 0xff;
    value[3] = child >>> 24;
    insertCell(mtr, pageNo, slot, key, 0, keyLength, value, 0, CHILD_BYTES);
  }
}
