/**
 * Giving pages back when cells are deleted.
 *
 * | node after the delete               | what happens to it                                               |
 * |-------------------------------------|------------------------------------------------------------------|
 * | at least a quarter full, or root    | stays                                                            |
 * | leaf without cells                  | taken out of the sibling chain and of its parent, freed          |
 * | below, a sibling has room           | its cells move to that sibling (same parent), freed              |
 * | below, neither sibling has room     | stays                                                            |
 * | only child of its parent            | stays, even when empty                                           |
 * | root with a single child            | takes the child's content, which is freed                        |
 *
 * When a node goes, so does a cell of the parent, which may then fall below a quarter itself. The bounds stay
 * right: whoever takes over keys below its own lower bound takes over the parent's cell with that bound too.
 */
import { assert } from '#core/assert.js';
import { PAGE_BYTES } from '#core/ids.js';
import type { Mtr } from '../pages/mtr.js';
import type { PageSpace } from '../pages/page-space.js';
import {
  CELL_HEADER_BYTES,
  COUNT_OFFSET,
  GARBAGE_OFFSET,
  HEAP_OFFSET,
  LEFT_OFFSET,
  LEVEL_OFFSET,
  NODE_BYTES,
  RIGHT_OFFSET,
  SLOTS_OFFSET,
  SLOT_BYTES,
  cellAt,
  cellBytes,
  childAt,
  freeBytes,
  insertCell,
  keyBytes,
  nodeCount,
  nodeLeft,
  nodeRight,
  removeCell,
  setChild,
} from './node.js';
import { DEPTH_MAX, PATH_UNKNOWN, type Place } from './place.js';

const STAY = 0;
const UNLINK = 1;
const INTO_LEFT = 2;
const INTO_RIGHT = 3;

/** A node with less than this in it looks for a sibling to join. */
export const UNDERFULL_BYTES = NODE_BYTES >>> 2;
/** Two nodes join only when this much or less is in the result: the next inserts must not split it again. */
const JOINED_BYTES_MAX = (NODE_BYTES * 3) >>> 2;

export class Merger {
  readonly #space: PageSpace;
  readonly #fates = new Uint8Array(DEPTH_MAX + 1);
  #collapse = false;

  constructor(space: PageSpace) {
    this.#space = space;
  }

  /** Whether taking that many bytes away leaves the leaf as it is: no path is needed then. */
  staysFull(base: number, removed: number): boolean {
    return NODE_BYTES - freeBytes(this.#space.cache.view, base) - removed >= UNDERFULL_BYTES;
  }

  /** Decides what becomes of the leaf of `place` and its ancestors, and adds the pages. Throws Suspend. */
  plan(mtr: Mtr, place: Place): void {
    assert(place.depth !== PATH_UNKNOWN, 'a merge is planned with a path');
    const { view } = this.#space.cache;
    this.#collapse = false;
    this.#fates.fill(STAY);
    let base = mtr.add(place.pageNo);
    let removed = cellBytes(view, cellAt(view, base, place.slot)) + SLOT_BYTES;
    let d = place.depth;
    for (; d > 0; d--) {
      const used = NODE_BYTES - freeBytes(view, base) - removed;
      const fate = used < UNDERFULL_BYTES ? this.#chooseFate(place, d, base, used) : STAY;
      this.#fates[d] = fate;
      if (fate === STAY) return;
      if (d === place.depth) this.#space.allocator.reserveFree(mtr);
      this.#addSiblings(mtr, base);
      base = mtr.add(place.pages[d - 1] as number);
      const gone = cellAt(view, base, this.#goneSlot(place, d));
      removed = cellBytes(view, gone) + SLOT_BYTES;
    }
    if (place.depth > 0 && nodeCount(view, base) === 2) {
      this.#collapse = true;
      mtr.add(childAt(view, base, 0));
      mtr.add(childAt(view, base, 1));
    }
  }

  /** After the cell went: carries the plan out. */
  apply(mtr: Mtr, place: Place): void {
    for (let d = place.depth; d > 0 && this.#fates[d] !== STAY; d--) this.#dissolve(mtr, place, d);
    if (this.#collapse) this.#pullUp(mtr, place.pages[0] as number);
  }

  #chooseFate(place: Place, depth: number, base: number, used: number): number {
    const { cache } = this.#space;
    const { view } = cache;
    const parent = cache.base(place.pages[depth - 1] as number);
    const slot = place.slots[depth - 1] as number;
    const count = nodeCount(view, parent);
    if (count < 2) return STAY;
    if (used === 0) return UNLINK;
    if (slot + 1 < count && this.#hasRoom(childAt(view, parent, slot + 1), used)) return INTO_RIGHT;
    if (slot > 0 && this.#hasRoom(childAt(view, parent, slot - 1), used)) return INTO_LEFT;
    assert(base >= 0, 'the node is cached');
    return STAY;
  }

  #hasRoom(pageNo: number, used: number): boolean {
    const { cache } = this.#space;
    return NODE_BYTES - freeBytes(cache.view, cache.base(pageNo)) + used <= JOINED_BYTES_MAX;
  }

  /** The slot of the parent's cell that goes when the node at `depth` does. */
  #goneSlot(place: Place, depth: number): number {
    const slot = place.slots[depth - 1] as number;
    const fate = this.#fates[depth];
    if (fate === INTO_RIGHT || (fate === UNLINK && slot === 0)) return slot + 1;
    return slot;
  }

  #addSiblings(mtr: Mtr, base: number): void {
    const { view } = this.#space.cache;
    const left = nodeLeft(view, base);
    const right = nodeRight(view, base);
    if (left !== 0) mtr.add(left);
    if (right !== 0) mtr.add(right);
  }

  #dissolve(mtr: Mtr, place: Place, depth: number): void {
    const { cache, allocator } = this.#space;
    const { view } = cache;
    const pageNo = place.pages[depth] as number;
    const parent = place.pages[depth - 1] as number;
    const slot = place.slots[depth - 1] as number;
    const fate = this.#fates[depth];
    const base = mtr.page(pageNo);
    const left = nodeLeft(view, base);
    const right = nodeRight(view, base);
    if (fate === INTO_LEFT) this.#moveCells(mtr, pageNo, left, nodeCount(view, mtr.page(left)));
    else if (fate === INTO_RIGHT) this.#moveCells(mtr, pageNo, right, 0);
    if (left !== 0) mtr.u32(left, RIGHT_OFFSET, right);
    if (right !== 0) mtr.u32(right, LEFT_OFFSET, left);
    const gone = this.#goneSlot(place, depth);
    // The right neighbour takes this node's lower bound over.
    if (gone !== slot) setChild(mtr, parent, slot, childAt(view, mtr.page(parent), gone));
    removeCell(mtr, parent, gone);
    allocator.free(mtr, pageNo);
  }

  #moveCells(mtr: Mtr, from: number, to: number, slot: number): void {
    const { bytes, view } = this.#space.cache;
    const base = mtr.page(from);
    const count = nodeCount(view, base);
    for (let i = 0; i < count; i++) {
      const cell = cellAt(view, base, i);
      const key = cell + CELL_HEADER_BYTES;
      const keyLength = keyBytes(view, cell);
      const value = key + keyLength;
      const valueLength = view.getUint16(cell + 2, true);
      insertCell(mtr, to, slot + i, bytes, key, keyLength, bytes, value, valueLength);
    }
  }

  #pullUp(mtr: Mtr, root: number): void {
    const { cache, allocator } = this.#space;
    const { bytes, view } = cache;
    const to = mtr.page(root);
    assert(nodeCount(view, to) === 1, 'the root has a single child');
    const child = childAt(view, to, 0);
    const from = mtr.page(child);
    mtr.rewrite(root);
    bytes.copyWithin(to + LEVEL_OFFSET, from + LEVEL_OFFSET, from + PAGE_BYTES);
    const slotsEnd = SLOTS_OFFSET + view.getUint16(to + COUNT_OFFSET, true) * SLOT_BYTES;
    const heap = view.getUint16(to + HEAP_OFFSET, true);
    bytes.fill(0, to + slotsEnd, to + heap);
    assert(view.getUint32(to + LEFT_OFFSET, true) === 0, 'an only child has no left sibling');
    assert(view.getUint32(to + RIGHT_OFFSET, true) === 0, 'an only child has no right sibling');
    assert(view.getUint16(to + GARBAGE_OFFSET, true) < NODE_BYTES, 'garbage lies in the heap');
    allocator.free(mtr, child);
  }
}
