/**
 * A tree node: a slotted page. Cells lie in a heap that grows down from the end of the page, a slot array in
 * key order grows up to meet it.
 *
 *      0  u64  lsn, u8 type 3
 *      9  u8   level, 0 leaf
 *     10  u16  slots
 *     12  u16  heap: lowest byte that a cell uses; 8192 when there is none
 *     14  u16  garbage: bytes of the heap that no cell uses
 *     16  u32  left sibling at this level, 0 none
 *     20  u32  right sibling
 *     24  ...  slots: u16 offset of a cell, in key order
 *     ...
 *     heap     cells: u16 keyBytes, u16 valueBytes, key, value
 *
 * The value of an inner cell is the u32 page number of a child, which holds the keys from the cell's key up to
 * the next cell's. The key of an inner node's first cell is the lower bound of the node itself, the same as in
 * its parent, and empty at the left edge of the tree.
 *
 * - free space = heap - (24 + 2 * slots) + garbage, of which the gap before the heap is contiguous
 * - garbage = 8192 - heap - the sum of the cells
 * - keys ascend strictly, compared as unsigned bytes (memcmp, the shorter first)
 */
import { assert } from '#core/assert.js';
import { PAGE_BYTES } from '#core/ids.js';
import type { Mtr } from '../pages/mtr.js';

export const LEVEL_OFFSET = 9;
export const COUNT_OFFSET = 10;
export const HEAP_OFFSET = 12;
export const GARBAGE_OFFSET = 14;
export const LEFT_OFFSET = 16;
export const RIGHT_OFFSET = 20;
export const SLOTS_OFFSET = 24;
/** What slots and cells share. */
export const NODE_BYTES = PAGE_BYTES - SLOTS_OFFSET;
export const SLOT_BYTES = 2;
export const CELL_HEADER_BYTES = 4;
export const CHILD_BYTES = 4;
/** Header, key and value of a cell. Four of them fit a page, so that two pages always suffice for a split. */
export const CELL_BYTES_MAX = 2040;
/** A key; what is larger is not indexable. */
export const KEY_BYTES_MAX = 2000;

export function nodeLevel(bytes: Uint8Array, base: number): number {
  return bytes[base + LEVEL_OFFSET] as number;
}

export function nodeCount(view: DataView, base: number): number {
  return view.getUint16(base + COUNT_OFFSET, true);
}

export function nodeLeft(view: DataView, base: number): number {
  return view.getUint32(base + LEFT_OFFSET, true);
}

export function nodeRight(view: DataView, base: number): number {
  return view.getUint32(base + RIGHT_OFFSET, true);
}

/** Where a cell starts, absolute. */
export function cellAt(view: DataView, base: number, slot: number): number {
  return base + view.getUint16(base + SLOTS_OFFSET + slot * SLOT_BYTES, true);
}

/** Header, key and value of the cell at absolute `cell`. */
export function cellBytes(view: DataView, cell: number): number {
  return CELL_HEADER_BYTES + view.getUint16(cell, true) + view.getUint16(cell + 2, true);
}

export function keyBytes(view: DataView, cell: number): number {
  return view.getUint16(cell, true);
}

export function childAt(view: DataView, base: number, slot: number): number {
  const cell = cellAt(view, base, slot);
  return view.getUint32(cell + CELL_HEADER_BYTES + view.getUint16(cell, true), true);
}

/** Contiguous bytes between slots and heap. */
export function gapBytes(view: DataView, base: number): number {
  return (
    view.getUint16(base + HEAP_OFFSET, true) -
    SLOTS_OFFSET -
    view.getUint16(base + COUNT_OFFSET, true) * SLOT_BYTES
  );
}

/** Bytes that cells and their slots may still take, after compaction if need be. */
export function freeBytes(view: DataView, base: number): number {
  return gapBytes(view, base) + view.getUint16(base + GARBAGE_OFFSET, true);
}

/** The longest key in a node. */
export function longestKey(view: DataView, base: number): number {
  let longest = 0;
  for (let slot = nodeCount(view, base) - 1; slot >= 0; slot--) {
    const length = keyBytes(view, cellAt(view, base, slot));
    if (length > longest) longest = length;
  }
  return longest;
}

/** An empty node of a page that was just formatted. */
export function initNode(mtr: Mtr, pageNo: number, level: number): number {
  const base = mtr.page(pageNo);
  mtr.cache.bytes[base + LEVEL_OFFSET] = level;
  mtr.cache.view.setUint16(base + HEAP_OFFSET, PAGE_BYTES, true);
  mtr.logged(pageNo, LEVEL_OFFSET, SLOTS_OFFSET - LEVEL_OFFSET);
  return base;
}

/** Puts a cell at `slot`; it fits (`freeBytes`). Compacts if the gap is too small. */
export function insertCell(
  mtr: Mtr,
  pageNo: number,
  slot: number,
  key: Uint8Array,
  keyStart: number,
  keyLength: number,
  value: Uint8Array,
  valueStart: number,
  valueLength: number,
): void {
  const { bytes, view } = mtr.cache;
  const base = mtr.page(pageNo);
  const size = CELL_HEADER_BYTES + keyLength + valueLength;
  assert(size + SLOT_BYTES <= freeBytes(view, base), 'a cell that is inserted fits');
  if (gapBytes(view, base) < size + SLOT_BYTES) compact(mtr, pageNo);
  const count = nodeCount(view, base);
  const heap = view.getUint16(base + HEAP_OFFSET, true) - size;
  const cell = base + heap;
  view.setUint16(cell, keyLength, true);
  view.setUint16(cell + 2, valueLength, true);
  copy(bytes, cell + CELL_HEADER_BYTES, key, keyStart, keyLength);
  copy(bytes, cell + CELL_HEADER_BYTES + keyLength, value, valueStart, valueLength);
  mtr.logged(pageNo, heap, size);
  const at = SLOTS_OFFSET + slot * SLOT_BYTES;
  mtr.move(pageNo, at + SLOT_BYTES, at, (count - slot) * SLOT_BYTES);
  mtr.u16(pageNo, at, heap);
  view.setUint16(base + COUNT_OFFSET, count + 1, true);
  view.setUint16(base + HEAP_OFFSET, heap, true);
  mtr.logged(pageNo, COUNT_OFFSET, 4);
}

/** Takes the cell at `slot` away. */
export function removeCell(mtr: Mtr, pageNo: number, slot: number): void {
  const { view } = mtr.cache;
  const base = mtr.page(pageNo);
  const count = nodeCount(view, base);
  discard(view, base, cellAt(view, base, slot));
  const at = SLOTS_OFFSET + slot * SLOT_BYTES;
  mtr.move(pageNo, at, at + SLOT_BYTES, (count - slot - 1) * SLOT_BYTES);
  view.setUint16(base + COUNT_OFFSET, count - 1, true);
  mtr.logged(pageNo, COUNT_OFFSET, 6);
}

/** Points an inner cell to another child. */
export function setChild(mtr: Mtr, pageNo: number, slot: number, child: number): void {
  const { view } = mtr.cache;
  const base = mtr.page(pageNo);
  const cell = cellAt(view, base, slot);
  mtr.u32(pageNo, cell - base + CELL_HEADER_BYTES + keyBytes(view, cell), child);
}

/** Moves the cells to the end of the page, in the order in which they lie, so that all free space is the gap. */
export function compact(mtr: Mtr, pageNo: number): void {
  const { view } = mtr.cache;
  const base = mtr.page(pageNo);
  const count = nodeCount(view, base);
  for (let slot = 0; slot < count; slot++) {
    BY_OFFSET[slot] = (cellAt(view, base, slot) - base) * 4096 + slot;
  }
  BY_OFFSET.subarray(0, count).sort();
  let heap = PAGE_BYTES;
  let runStart = PAGE_BYTES;
  let runEnd = PAGE_BYTES;
  for (let i = count - 1; i >= 0; i--) {
    const entry = BY_OFFSET[i] as number;
    const offset = entry >>> 12;
    const size = cellBytes(view, base + offset);
    if (offset + size !== runStart) {
      // Neighbours move together; a run moves up, into bytes that no unmoved cell uses.
      mtr.move(pageNo, heap, runStart, runEnd - runStart);
      runEnd = offset + size;
    }
    runStart = offset;
    heap -= size;
    TARGETS[entry & 4095] = heap;
  }
  mtr.move(pageNo, heap, runStart, runEnd - runStart);
  for (let slot = 0; slot < count; slot++) {
    view.setUint16(base + SLOTS_OFFSET + slot * SLOT_BYTES, TARGETS[slot] as number, true);
  }
  view.setUint16(base + HEAP_OFFSET, heap, true);
  view.setUint16(base + GARBAGE_OFFSET, 0, true);
  mtr.logged(pageNo, COUNT_OFFSET, SLOTS_OFFSET - COUNT_OFFSET + count * SLOT_BYTES);
}

const BY_OFFSET = new Uint32Array(4096);
const TARGETS = new Uint16Array(4096);

/**
 * Replaces value[at, at + removed) of the cell at `slot` by source[start, start + added); the cell fits
 * afterwards (`freeBytes` >= growth). Redo is little more than what changed:
 *
 * | growth | how                                                                              |
 * |--------|----------------------------------------------------------------------------------|
 * | 0      | SET of the bytes that differ                                                     |
 * | < 0    | the tail moves left in its place                                                 |
 * | > 0    | the head moves left when the cell is the lowest; else both halves move into the  |
 * |        | gap when it takes the cell; else (compacted) all below it moves to make room     |
 */
export function spliceCell(
  mtr: Mtr,
  pageNo: number,
  slot: number,
  at: number,
  removed: number,
  source: Uint8Array,
  start: number,
  added: number,
): void {
  const { bytes, view } = mtr.cache;
  const base = mtr.page(pageNo);
  const growth = added - removed;
  if (growth === 0) return overwrite(mtr, pageNo, slot, at, source, start, added);
  assert(growth <= freeBytes(view, base), 'a cell that grows fits');
  const size = cellBytes(view, cellAt(view, base, slot)) + growth;
  const moveAway = !isLowest(view, base, slot) && gapBytes(view, base) >= size;
  if (growth > 0 && !moveAway && gapBytes(view, base) < growth) compact(mtr, pageNo);
  let cell = cellAt(view, base, slot) - base;
  const headBytes = CELL_HEADER_BYTES + keyBytes(view, base + cell) + at;
  const tailBytes = size - growth - headBytes - removed;
  const valueBytes = view.getUint16(base + cell + 2, true) + growth;
  if (growth < 0) {
    mtr.move(pageNo, cell + headBytes + added, cell + headBytes + removed, tailBytes);
    addGarbage(view, base, -growth);
    mtr.logged(pageNo, GARBAGE_OFFSET, 2);
  } else if (moveAway) {
    const to = view.getUint16(base + HEAP_OFFSET, true) - size;
    mtr.move(pageNo, to, cell, headBytes);
    mtr.move(pageNo, to + headBytes + added, cell + headBytes + removed, tailBytes);
    addGarbage(view, base, size - growth);
    view.setUint16(base + HEAP_OFFSET, to, true);
    mtr.logged(pageNo, HEAP_OFFSET, 4);
    mtr.u16(pageNo, SLOTS_OFFSET + slot * SLOT_BYTES, to);
    cell = to;
  } else {
    cell = openUp(mtr, pageNo, cell, headBytes, growth);
  }
  mtr.u16(pageNo, cell + 2, valueBytes);
  copy(bytes, base + cell + headBytes, source, start, added);
  mtr.logged(pageNo, cell + headBytes, added);
}

/** Moves all from the heap's start to the end of the cell's head down by `growth`; the cell's new offset. */
function openUp(mtr: Mtr, pageNo: number, cell: number, headBytes: number, growth: number): number {
  const { view } = mtr.cache;
  const base = mtr.page(pageNo);
  const heap = view.getUint16(base + HEAP_OFFSET, true);
  mtr.move(pageNo, heap - growth, heap, cell + headBytes - heap);
  const count = nodeCount(view, base);
  for (let slot = 0; slot < count; slot++) {
    const offset = SLOTS_OFFSET + slot * SLOT_BYTES;
    const other = view.getUint16(base + offset, true);
    if (other <= cell) mtr.u16(pageNo, offset, other - growth);
  }
  mtr.u16(pageNo, HEAP_OFFSET, heap - growth);
  return cell - growth;
}

/** Same length: only what differs, from the first to the last such byte. */
function overwrite(
  mtr: Mtr,
  pageNo: number,
  slot: number,
  at: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  const { bytes, view } = mtr.cache;
  const base = mtr.page(pageNo);
  const cell = cellAt(view, base, slot);
  const target = cell + CELL_HEADER_BYTES + keyBytes(view, cell) + at;
  let first = 0;
  while (first < length && bytes[target + first] === source[start + first]) first++;
  if (first === length) return;
  let last = length - 1;
  while (bytes[target + last] === source[start + last]) last--;
  mtr.set(pageNo, target - base + first, source, start + first, last - first + 1);
}

function isLowest(view: DataView, base: number, slot: number): boolean {
  return cellAt(view, base, slot) === base + view.getUint16(base + HEAP_OFFSET, true);
}

function addGarbage(view: DataView, base: number, count: number): void {
  const garbage = view.getUint16(base + GARBAGE_OFFSET, true) + count;
  view.setUint16(base + GARBAGE_OFFSET, garbage, true);
}

function discard(view: DataView, base: number, cell: number): void {
  const size = cellBytes(view, cell);
  const heap = view.getUint16(base + HEAP_OFFSET, true);
  if (cell === base + heap) view.setUint16(base + HEAP_OFFSET, heap + size, true);
  else addGarbage(view, base, size);
}

/** Hot: a loop for the usual short keys and values, a view above that. */
export function copy(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  if (length > 48) target.set(source.subarray(start, start + length), at);
  else for (let i = 0; i < length; i++) target[at + i] = source[start + i] as number;
}
