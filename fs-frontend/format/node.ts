/**
 * What all blocks of the metadata region begin with, and inner nodes.
 *
 * ```
 *    0  u32  0x424d5853 "SXMB"
 *    4  u8   type: 1 directory leaf, 2 extent leaf, 3 inner node, 4 xattrs
 *    5  u8   level: 0 leaf
 *    6  u16  count of entries
 *    8  u64  inode that it belongs to
 *   16  u64  generation of that inode
 *   24  u16  heap, u16 garbage    of a directory leaf
 *   28  u32  bytes used           of an xattr block
 *   32  entries
 * ```
 *
 * An inner node has up to 338 entries of 12 bytes, ascending: u48 key, u48 metadata block of a child, which holds the keys from
 * its own up to the next one's. The first key is the lower bound of the node itself, the same as in its parent; 0 at the left edge.
 */
import { getU48, getU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { REGISTER_BYTES, Region } from '../disk/disk.js';
import type { Block, BlockSource } from './block.js';
import { addBlocks, generationOf, inoOf } from './inode.js';
import type { Transaction } from './transaction.js';

const MAGIC = 0x424d_5853;
export const NodeType = { directoryLeaf: 1, extentLeaf: 2, inner: 3, xattrs: 4 } as const;
export type NodeType = (typeof NodeType)[keyof typeof NodeType];

export const NODE_TYPE_OFFSET = 4;
export const NODE_LEVEL_OFFSET = 5;
export const NODE_COUNT_OFFSET = 6;
export const NODE_OWNER_OFFSET = 8;
export const NODE_GENERATION_OFFSET = 16;
export const NODE_HEADER_BYTES = 32;
export const NODE_BYTES = REGISTER_BYTES - NODE_HEADER_BYTES;

export const INNER_ENTRY_BYTES = 12;
export const INNER_ENTRIES_MAX = Math.floor(NODE_BYTES / INNER_ENTRY_BYTES);
export const EXTENT_BYTES = 16;
export const LEAF_EXTENTS_MAX = NODE_BYTES / EXTENT_BYTES;
/** 2^48 - 1: above every key. */
export const KEY_MAX = 2 ** 48 - 1;

export function nodeCorrupt(block: Block, what: string): SextantError {
  return new SextantError('CORRUPTION', `metadata block ${block.index}: ${what}`);
}

export const nodeCount = (block: Block): number => block.view.getUint16(NODE_COUNT_OFFSET, true);

/** A node of that inode, checked. Throws Suspend, CORRUPTION. */
export function getNode(
  source: BlockSource,
  index: number,
  header: Block,
  type: NodeType,
  level: number,
): Block {
  const ino = inoOf(header);
  if (index === 0) throw new SextantError('CORRUPTION', `inode ${ino}: a link to block 0`);
  const block = source.get(Region.metadata, index, ino);
  const { view, bytes } = block;
  if (view.getUint32(0, true) !== MAGIC) throw nodeCorrupt(block, 'magic');
  if (bytes[NODE_TYPE_OFFSET] !== type) throw nodeCorrupt(block, `type, wanted ${type}`);
  if (bytes[NODE_LEVEL_OFFSET] !== level) throw nodeCorrupt(block, `level, wanted ${level}`);
  if (getU64(view, NODE_OWNER_OFFSET) !== ino) throw nodeCorrupt(block, `not of inode ${ino}`);
  if (getU64(view, NODE_GENERATION_OFFSET) !== generationOf(header)) {
    throw nodeCorrupt(block, `not of this generation of inode ${ino}`);
  }
  if (nodeCount(block) > countMax(type)) throw nodeCorrupt(block, 'count');
  return block;
}

function countMax(type: NodeType): number {
  if (type === NodeType.inner) return INNER_ENTRIES_MAX;
  if (type === NodeType.extentLeaf) return LEAF_EXTENTS_MAX;
  return NODE_BYTES / 2;
}

/** An empty node in a new block, which counts in the inode's blocks. Throws ENOSPC, EDQUOT, Suspend. */
export function newNode(tx: Transaction, header: Block, type: NodeType, level: number): Block {
  const ino = inoOf(header);
  const block = tx.fresh(Region.metadata, tx.allocator.metadata(ino), ino);
  tx.u32(block, 0, MAGIC);
  tx.u8(block, NODE_TYPE_OFFSET, type);
  if (level !== 0) tx.u8(block, NODE_LEVEL_OFFSET, level);
  tx.u64(block, NODE_OWNER_OFFSET, ino);
  tx.u64(block, NODE_GENERATION_OFFSET, generationOf(header));
  addBlocks(tx, header, 1);
  return block;
}

export function dropNode(tx: Transaction, header: Block, index: number): void {
  tx.allocator.freeMetadata(index, inoOf(header));
  addBlocks(tx, header, -1);
}

// -- inner nodes --------------------------------------------------------------------------------------

const entryOffset = (slot: number): number => NODE_HEADER_BYTES + slot * INNER_ENTRY_BYTES;

export const innerKey = (block: Block, slot: number): number =>
  getU48(block.view, entryOffset(slot));
export const innerChild = (block: Block, slot: number): number =>
  getU48(block.view, entryOffset(slot) + 6);

/** The last entry whose key is at most `key`; the first one when there is none. */
export function innerSearch(block: Block, key: number): number {
  let low = 1;
  let high = nodeCount(block);
  if (high === 0) throw nodeCorrupt(block, 'an inner node without children');
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (innerKey(block, middle) <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** There is room. */
export function innerInsert(
  tx: Transaction,
  block: Block,
  slot: number,
  key: number,
  child: number,
): void {
  const count = nodeCount(block);
  const at = entryOffset(slot);
  tx.move(block, at + INNER_ENTRY_BYTES, at, (count - slot) * INNER_ENTRY_BYTES);
  tx.u48(block, at, key);
  tx.u48(block, at + 6, child);
  tx.u16(block, NODE_COUNT_OFFSET, count + 1);
}

/** The lower bound of the node stays, so when the first entry goes the next one takes its key. */
export function innerRemove(tx: Transaction, block: Block, slot: number): void {
  const count = nodeCount(block);
  const at = entryOffset(slot);
  const bound = innerKey(block, 0);
  tx.move(block, at, at + INNER_ENTRY_BYTES, (count - slot - 1) * INNER_ENTRY_BYTES);
  if (slot === 0 && count > 1) tx.u48(block, at, bound);
  tx.u16(block, NODE_COUNT_OFFSET, count - 1);
}

/** Entries [from, count) of `left` go to the end of `right`. */
export function innerMove(tx: Transaction, left: Block, from: number, right: Block): void {
  const count = nodeCount(left);
  const had = nodeCount(right);
  const length = (count - from) * INNER_ENTRY_BYTES;
  tx.set(right, entryOffset(had), left.bytes, entryOffset(from), length);
  tx.u16(right, NODE_COUNT_OFFSET, had + count - from);
  tx.u16(left, NODE_COUNT_OFFSET, from);
}
