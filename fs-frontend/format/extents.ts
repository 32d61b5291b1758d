/**
 * Which data blocks a file has: extents, ascending and apart, up to 15 in the inode's header, beyond that in a tree of
 * metadata blocks with up to 254 a leaf. What no extent covers is a hole.
 *
 * ```
 *   0  u48  first block of the file (of 4 KiB)
 *   6  u48  first data block
 *  12  u32  count; bit 31: unwritten, allocated but read as zeros
 * ```
 *
 * Extents that continue each other (in the file, on the disk, with the same flag) are joined when they meet in one node. The
 * count of the header's extents is in `extentsOrSeed`.
 */
import { getU48 } from '#core/bytes/le.js';
import { assert } from '#core/assert.js';
import type { Block, BlockSource } from './block.js';
import { Content, InodeField, addBlocks, contentOf, inoOf, inodeCorrupt } from './inode.js';
import {
  EXTENT_BYTES,
  LEAF_EXTENTS_MAX,
  NODE_COUNT_OFFSET,
  NODE_HEADER_BYTES,
  NodeType,
  newNode,
  nodeCount,
} from './node.js';
import type { Transaction } from './transaction.js';
import { TreePath, descend, hasTree, insertChild, newTree, shrink, type LeafKind } from './tree.js';

export const INLINE_EXTENTS_MAX = 15;
export const EXTENT_COUNT_MAX = 0x7fff_ffff;
const UNWRITTEN = 0x8000_0000;
/** Above every block of a file: 2^53 bytes. */
export const FILE_BLOCKS_MAX = 2 ** 41;

export interface Extent {
  /** In blocks of 4 KiB. */
  fileBlock: number;
  dataIndex: number;
  count: number;
  unwritten: boolean;
}

const LEAF: LeafKind = {
  type: NodeType.extentLeaf,
  used: (leaf) => nodeCount(leaf) * EXTENT_BYTES,
  join(tx, left, right) {
    const had = nodeCount(left);
    const more = nodeCount(right);
    const at = NODE_HEADER_BYTES + had * EXTENT_BYTES;
    tx.set(left, at, right.bytes, NODE_HEADER_BYTES, more * EXTENT_BYTES);
    tx.u16(left, NODE_COUNT_OFFSET, had + more);
  },
};

/** The node that holds a place in the map, the header included. One object, used again. */
class Place {
  block: Block | undefined = undefined;
  base = 0;
  count = 0;
  countMax = 0;
  /** The first extent that ends behind the block asked for; `count`: none in this node. */
  slot = 0;
  readonly path = new TreePath();

  get node(): Block {
    return this.block as Block;
  }

  offset(slot: number): number {
    return this.base + slot * EXTENT_BYTES;
  }

  start(slot: number): number {
    return getU48(this.node.view, this.offset(slot));
  }

  data(slot: number): number {
    return getU48(this.node.view, this.offset(slot) + 6);
  }

  size(slot: number): number {
    return this.node.view.getUint32(this.offset(slot) + 12, true) & EXTENT_COUNT_MAX;
  }

  unwritten(slot: number): boolean {
    return this.node.view.getUint32(this.offset(slot) + 12, true) >= UNWRITTEN;
  }

  end(slot: number): number {
    return this.start(slot) + this.size(slot);
  }
}

const place = new Place();

/** Finds the first extent that ends behind `fileBlock`, in the node where it would lie. */
function locate(source: BlockSource, header: Block, fileBlock: number): Place {
  const content = contentOf(header);
  if (content === Content.extents) {
    place.block = header;
    place.base = InodeField.extents;
    place.countMax = INLINE_EXTENTS_MAX;
    place.count = header.view.getUint32(InodeField.extentsOrSeed, true);
    if (place.count > INLINE_EXTENTS_MAX) throw inodeCorrupt(inoOf(header), 'count of extents');
  } else {
    if (content !== Content.extentTree) throw inodeCorrupt(inoOf(header), 'no extents');
    const leaf = descend(source, header, fileBlock, NodeType.extentLeaf, place.path);
    place.block = leaf;
    place.base = NODE_HEADER_BYTES;
    place.countMax = LEAF_EXTENTS_MAX;
    place.count = nodeCount(leaf);
  }
  let low = 0;
  let high = place.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (place.end(middle) <= fileBlock) low = middle + 1;
    else high = middle;
  }
  place.slot = low;
  return place;
}

/** As `locate`, but goes on to the following leaf when the extent lies there. False: there is none. */
function locateNext(source: BlockSource, header: Block, fileBlock: number): boolean {
  if (contentOf(header) === Content.extentTree && !hasTree(header)) return false;
  for (let from = fileBlock; ;) {
    const { slot, count, path } = locate(source, header, from);
    if (slot < count) return true;
    const next = contentOf(header) === Content.extents ? -1 : path.nextBound();
    if (next < 0) return false;
    if (next <= from) throw inodeCorrupt(inoOf(header), 'extent tree out of order');
    from = next;
  }
}

/** Copies the first extent that ends behind `fileBlock` to `out`. False: there is none. Throws Suspend, CORRUPTION. */
export function findExtent(
  source: BlockSource,
  header: Block,
  fileBlock: number,
  out: Extent,
): boolean {
  if (!locateNext(source, header, fileBlock)) return false;
  const { slot } = place;
  out.fileBlock = place.start(slot);
  out.dataIndex = place.data(slot);
  out.count = place.size(slot);
  out.unwritten = place.unwritten(slot);
  return true;
}

/** The extents that meet blocks [from, to), cut to them, at most `limit`. */
export function extentsOf(
  source: BlockSource,
  header: Block,
  from: number,
  to: number,
  limit = Number.MAX_SAFE_INTEGER,
): Extent[] {
  const found: Extent[] = [];
  let at = from;
  while (at < to && found.length < limit) {
    const extent = { fileBlock: 0, dataIndex: 0, count: 0, unwritten: false };
    if (!findExtent(source, header, at, extent) || extent.fileBlock >= to) break;
    const skip = Math.max(0, at - extent.fileBlock);
    const end = Math.min(to, extent.fileBlock + extent.count);
    extent.fileBlock += skip;
    extent.dataIndex += skip;
    extent.count = end - extent.fileBlock;
    if (extent.count <= 0) throw inodeCorrupt(inoOf(header), 'an empty extent');
    found.push(extent);
    at = end;
  }
  return found;
}

/** Blocks [fileBlock, fileBlock + count), now a hole, are at `dataIndex`. `blocks` of the inode grows. */
export function insertExtent(
  tx: Transaction,
  header: Block,
  fileBlock: number,
  dataIndex: number,
  count: number,
  unwritten: boolean,
): void {
  assert(count > 0 && fileBlock + count <= FILE_BLOCKS_MAX, 'an extent lies inside a file');
  addBlocks(tx, header, count);
  insertEntry(tx, header, fileBlock, dataIndex, count, unwritten, true);
}

/** An extent never reaches into the next leaf's range, or a search there would miss it: it is cut at the border. */
function insertEntry(
  tx: Transaction,
  header: Block,
  fileBlock: number,
  dataIndex: number,
  count: number,
  unwritten: boolean,
  join: boolean,
): void {
  if (contentOf(header) === Content.extentTree && !hasTree(header)) {
    newTree(tx, header, NodeType.extentLeaf);
  }
  let at = locate(tx.source, header, fileBlock);
  if (at.slot < at.count && at.start(at.slot) < fileBlock + count) {
    throw inodeCorrupt(inoOf(header), `extents overlap at block ${fileBlock}`);
  }
  const bound = at.block === header ? -1 : at.path.nextBound();
  if (bound >= 0 && fileBlock + count > bound) {
    const low = bound - fileBlock;
    insertEntry(tx, header, bound, dataIndex + low, count - low, unwritten, join);
    insertEntry(tx, header, fileBlock, dataIndex, low, unwritten, join);
    return;
  }
  const before = at.slot - 1;
  if (
    join &&
    before >= 0 &&
    at.end(before) === fileBlock &&
    at.data(before) + at.size(before) === dataIndex &&
    at.unwritten(before) === unwritten &&
    at.size(before) + count <= EXTENT_COUNT_MAX
  ) {
    tx.u32(at.node, at.offset(before) + 12, sizeWord(at.size(before) + count, unwritten));
    joinNext(tx, at, before, header);
    return;
  }
  if (at.count === at.countMax) {
    makeRoom(tx, header, at);
    at = locate(tx.source, header, fileBlock);
  }
  const offset = at.offset(at.slot);
  tx.move(at.node, offset + EXTENT_BYTES, offset, (at.count - at.slot) * EXTENT_BYTES);
  tx.u48(at.node, offset, fileBlock);
  tx.u48(at.node, offset + 6, dataIndex);
  tx.u32(at.node, offset + 12, sizeWord(count, unwritten));
  setCount(tx, at, at.count + 1, header);
  if (join) joinNext(tx, at, at.slot, header);
}

function sizeWord(count: number, unwritten: boolean): number {
  return unwritten ? count + UNWRITTEN : count;
}

function setCount(tx: Transaction, at: Place, count: number, header: Block): void {
  if (at.block === header) tx.u32(header, InodeField.extentsOrSeed, count);
  else tx.u16(at.node, NODE_COUNT_OFFSET, count);
  at.count = count;
}

/** Joins the extent at `slot` with the next one of the same node if that continues it. */
function joinNext(tx: Transaction, at: Place, slot: number, header: Block): boolean {
  const next = slot + 1;
  if (slot < 0 || next >= at.count) return false;
  const unwritten = at.unwritten(slot);
  const count = at.size(slot) + at.size(next);
  if (
    at.end(slot) !== at.start(next) ||
    at.data(slot) + at.size(slot) !== at.data(next) ||
    at.unwritten(next) !== unwritten ||
    count > EXTENT_COUNT_MAX
  ) {
    return false;
  }
  tx.u32(at.node, at.offset(slot) + 12, sizeWord(count, unwritten));
  removeEntry(tx, at, next, header);
  return true;
}

function removeEntry(tx: Transaction, at: Place, slot: number, header: Block): void {
  const offset = at.offset(slot);
  tx.move(at.node, offset, offset + EXTENT_BYTES, (at.count - slot - 1) * EXTENT_BYTES);
  setCount(tx, at, at.count - 1, header);
}

/** The node is full: from the header to a leaf, or a leaf into two. */
function makeRoom(tx: Transaction, header: Block, at: Place): void {
  if (at.block === header) {
    const leaf = newTree(tx, header, NodeType.extentLeaf);
    const bytes = at.count * EXTENT_BYTES;
    tx.set(leaf, NODE_HEADER_BYTES, header.bytes, InodeField.extents, bytes);
    tx.u16(leaf, NODE_COUNT_OFFSET, at.count);
    tx.fill(header, InodeField.extents, bytes, 0);
    tx.u32(header, InodeField.extentsOrSeed, 0);
    tx.u8(header, InodeField.content, Content.extentTree);
    return;
  }
  const left = at.node;
  const right = newNode(tx, header, NodeType.extentLeaf, 0);
  // A file that grows at its end leaves full leaves behind.
  const from = at.slot === at.count ? at.count - 1 : at.count >>> 1;
  const moved = at.count - from;
  tx.set(right, NODE_HEADER_BYTES, left.bytes, at.offset(from), moved * EXTENT_BYTES);
  tx.u16(right, NODE_COUNT_OFFSET, moved);
  tx.u16(left, NODE_COUNT_OFFSET, from);
  insertChild(tx, header, at.path, 1, getU48(right.view, NODE_HEADER_BYTES), right.index);
}

/** Makes `fileBlock` a border between extents, if it lies inside one. */
function splitAt(tx: Transaction, header: Block, fileBlock: number): void {
  if (!locateNext(tx.source, header, fileBlock)) return;
  const { slot } = place;
  const start = place.start(slot);
  if (start >= fileBlock) return;
  const keep = fileBlock - start;
  const rest = place.size(slot) - keep;
  const dataIndex = place.data(slot) + keep;
  const unwritten = place.unwritten(slot);
  tx.u32(place.node, place.offset(slot) + 12, sizeWord(keep, unwritten));
  insertEntry(tx, header, fileBlock, dataIndex, rest, unwritten, false);
}

/**
 * Makes blocks [from, to) a hole and frees their data, at most `limit` extents of it. Returns where to go on: `to` when done.
 * `to` may be FILE_BLOCKS_MAX: everything from `from` on.
 */
export function punchExtents(
  tx: Transaction,
  header: Block,
  from: number,
  to: number,
  limit = 64,
): number {
  splitAt(tx, header, from);
  if (to < FILE_BLOCKS_MAX) splitAt(tx, header, to);
  let at = from;
  for (let i = 0; i < limit; i++) {
    if (!locateNext(tx.source, header, at)) return to;
    const { slot, node } = place;
    if (place.start(slot) >= to) return to;
    const count = place.size(slot);
    const dataIndex = place.data(slot);
    at = place.end(slot);
    removeEntry(tx, place, slot, header);
    if (node !== header) shrink(tx, header, place.path, 0, LEAF);
    tx.allocator.freeData(dataIndex, count, inoOf(header));
    addBlocks(tx, header, -count);
  }
  return locateNext(tx.source, header, at) && place.start(place.slot) < to ? at : to;
}

/** What is unwritten of blocks [from, to) counts as written from now on: its data is at quorum (rule 18). */
export function markWritten(tx: Transaction, header: Block, from: number, to: number): void {
  markExtents(tx, header, from, to, false);
}

/** Reads as zeros from now on, its data blocks kept: fallocate's zero range. */
export function markUnwritten(tx: Transaction, header: Block, from: number, to: number): void {
  markExtents(tx, header, from, to, true);
}

function markExtents(
  tx: Transaction,
  header: Block,
  from: number,
  to: number,
  unwritten: boolean,
): void {
  let at = from;
  while (at < to && locateNext(tx.source, header, at)) {
    const start = place.start(place.slot);
    if (start >= to) return;
    const end = Math.min(to, place.end(place.slot));
    if (place.unwritten(place.slot) !== unwritten) {
      splitAt(tx, header, Math.max(at, start));
      splitAt(tx, header, end);
      locateNext(tx.source, header, Math.max(at, start));
      const { slot } = place;
      tx.u32(place.node, place.offset(slot) + 12, sizeWord(place.size(slot), unwritten));
      joinNext(tx, place, slot, header);
      joinNext(tx, place, slot - 1, header);
    }
    at = end;
  }
}

/** The first block at or after `from` that has data (written), or -1: for SEEK_DATA. */
export function seekData(source: BlockSource, header: Block, from: number): number {
  let at = from;
  const extent = { fileBlock: 0, dataIndex: 0, count: 0, unwritten: false };
  while (findExtent(source, header, at, extent)) {
    if (!extent.unwritten) return Math.max(at, extent.fileBlock);
    at = extent.fileBlock + extent.count;
  }
  return -1;
}

/** The first block at or after `from` that is a hole or unwritten: for SEEK_HOLE. */
export function seekHole(source: BlockSource, header: Block, from: number): number {
  let at = from;
  const extent = { fileBlock: 0, dataIndex: 0, count: 0, unwritten: false };
  while (findExtent(source, header, at, extent)) {
    if (extent.fileBlock > at || extent.unwritten) return at;
    at = extent.fileBlock + extent.count;
  }
  return at;
}
