/**
 * A leaf of a directory's tree: slots in key order grow up from the header, entries (directory-entry.ts) lie in a heap that
 * grows down from the end of the block.
 *
 * ```
 *   24  u16  heap: lowest byte that an entry uses; 4096 when there is none
 *   26  u16  garbage: bytes of the heap that no entry uses
 *   32  slots: u16 offset of an entry
 *   ... free ...
 *   heap  entries
 * ```
 *
 * - Free space is heap - 32 - 2 * count + garbage, of which the gap before the heap is contiguous.
 */
import { REGISTER_BYTES } from '../disk/disk.js';
import type { Block } from './block.js';
import { ENTRY_NAME_OFFSET, entryBytes, entryKey } from './directory-entry.js';
import {
  NODE_BYTES,
  NODE_COUNT_OFFSET,
  NODE_HEADER_BYTES,
  NodeType,
  nodeCorrupt,
  nodeCount,
} from './node.js';
import type { Transaction } from './transaction.js';
import type { LeafKind } from './tree.js';

const HEAP_OFFSET = 24;
const GARBAGE_OFFSET = 26;
const SLOT_BYTES = 2;
const scratch = new Uint8Array(REGISTER_BYTES);

const heapOf = (leaf: Block): number => leaf.view.getUint16(HEAP_OFFSET, true);
const garbageOf = (leaf: Block): number => leaf.view.getUint16(GARBAGE_OFFSET, true);
const slotOffset = (slot: number): number => NODE_HEADER_BYTES + slot * SLOT_BYTES;

/** Slots and entries. */
function usedBytes(leaf: Block): number {
  return nodeCount(leaf) * SLOT_BYTES + REGISTER_BYTES - heapOf(leaf) - garbageOf(leaf);
}

export const DIRECTORY_LEAF: LeafKind = {
  type: NodeType.directoryLeaf,
  used: usedBytes,
  join(tx, left, right) {
    compact(tx, left);
    const moved = nodeCount(right);
    const had = nodeCount(left);
    let heap = heapOf(left);
    for (let slot = 0; slot < moved; slot++) {
      const from = leafEntry(right, slot);
      const length = entryBytes(right, from);
      heap -= length;
      if (heap < slotOffset(had + moved)) throw nodeCorrupt(right, 'entries overlap');
      left.bytes.set(right.bytes.subarray(from, from + length), heap);
      left.view.setUint16(slotOffset(had + slot), heap, true);
    }
    putCounts(left, had + moved, heap, 0);
  },
};

/** In place, of a leaf that is being rewritten. */
function putCounts(leaf: Block, count: number, heap: number, garbage: number): void {
  leaf.view.setUint16(NODE_COUNT_OFFSET, count, true);
  leaf.view.setUint16(HEAP_OFFSET, heap, true);
  leaf.view.setUint16(GARBAGE_OFFSET, garbage, true);
}

export function initLeaf(tx: Transaction, leaf: Block): void {
  tx.u16(leaf, HEAP_OFFSET, REGISTER_BYTES);
}

/** Where the entry of a slot starts. Throws CORRUPTION when it does not lie in the heap. */
export function leafEntry(leaf: Block, slot: number): number {
  const at = leaf.view.getUint16(slotOffset(slot), true);
  if (
    at < NODE_HEADER_BYTES ||
    at + ENTRY_NAME_OFFSET >= REGISTER_BYTES ||
    at + entryBytes(leaf, at) > REGISTER_BYTES
  ) {
    throw nodeCorrupt(leaf, `entry ${slot} at byte ${at}`);
  }
  return at;
}

/** The first slot whose key is at least `key`. */
export function leafSearch(leaf: Block, key: number): number {
  let low = 0;
  let high = nodeCount(leaf);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entryKey(leaf, leafEntry(leaf, middle)) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Makes room for an entry of `bytes` at `slot` and returns where it goes; -1: the leaf is full. */
export function leafOpen(tx: Transaction, leaf: Block, slot: number, bytes: number): number {
  const count = nodeCount(leaf);
  if (usedBytes(leaf) + SLOT_BYTES + bytes > NODE_BYTES) return -1;
  if (heapOf(leaf) < slotOffset(count + 1) + bytes) compact(tx, leaf);
  const at = heapOf(leaf) - bytes;
  if (at < slotOffset(count + 1)) throw nodeCorrupt(leaf, 'heap');
  tx.move(leaf, slotOffset(slot + 1), slotOffset(slot), (count - slot) * SLOT_BYTES);
  tx.u16(leaf, slotOffset(slot), at);
  tx.u16(leaf, NODE_COUNT_OFFSET, count + 1);
  tx.u16(leaf, HEAP_OFFSET, at);
  return at;
}

export function leafRemove(tx: Transaction, leaf: Block, slot: number): void {
  const count = nodeCount(leaf);
  const at = leafEntry(leaf, slot);
  const bytes = entryBytes(leaf, at);
  tx.move(leaf, slotOffset(slot), slotOffset(slot + 1), (count - slot - 1) * SLOT_BYTES);
  tx.u16(leaf, NODE_COUNT_OFFSET, count - 1);
  if (at === heapOf(leaf)) tx.u16(leaf, HEAP_OFFSET, at + bytes);
  else tx.u16(leaf, GARBAGE_OFFSET, garbageOf(leaf) + bytes);
}

/** The upper half of the bytes goes to `right`, which is new. Returns the first key there. */
export function leafSplit(tx: Transaction, left: Block, right: Block): number {
  const count = nodeCount(left);
  const half = usedBytes(left) / 2;
  let from = 0;
  for (let used = 0; from < count - 1 && (used < half || from === 0); from++) {
    used += SLOT_BYTES + entryBytes(left, leafEntry(left, from));
  }
  tx.rewrite(right);
  let heap = REGISTER_BYTES;
  for (let slot = from; slot < count; slot++) {
    const at = leafEntry(left, slot);
    const length = entryBytes(left, at);
    heap -= length;
    if (heap < slotOffset(count - from)) throw nodeCorrupt(left, 'entries overlap');
    right.bytes.set(left.bytes.subarray(at, at + length), heap);
    right.view.setUint16(slotOffset(slot - from), heap, true);
  }
  putCounts(right, count - from, heap, 0);
  const moved = REGISTER_BYTES - heap;
  tx.u16(left, NODE_COUNT_OFFSET, from);
  tx.u16(left, GARBAGE_OFFSET, garbageOf(left) + moved);
  return entryKey(right, leafEntry(right, 0));
}

/** No garbage afterwards. */
function compact(tx: Transaction, leaf: Block): void {
  tx.rewrite(leaf);
  const count = nodeCount(leaf);
  const { bytes, view } = leaf;
  scratch.set(bytes);
  let heap = REGISTER_BYTES;
  for (let slot = 0; slot < count; slot++) {
    const at = view.getUint16(slotOffset(slot), true);
    const length = ENTRY_NAME_OFFSET + scratch[at + 19];
    heap -= length;
    if (!(at + length <= REGISTER_BYTES) || heap < slotOffset(count)) {
      throw nodeCorrupt(leaf, 'entries overlap');
    }
    bytes.set(scratch.subarray(at, at + length), heap);
    view.setUint16(slotOffset(slot), heap, true);
  }
  putCounts(leaf, count, heap, 0);
  bytes.fill(0, slotOffset(count), heap);
}
