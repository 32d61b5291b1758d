/**
 * Extended attributes of an inode: one list, up to 96 bytes of it in the header, else in a chain of metadata blocks.
 *
 * ```
 *   list:  u8 bytes of the name, u24 bytes of the value, name, value; one after another
 *   block: header of node.ts (type 4; at 28 u32 bytes used), u64 next block or 0, then up to 4,056 bytes of the list
 * ```
 *
 * A value may have 65,536 bytes, the whole list 73,008 (18 blocks); more is ENOSPC.
 */
import { getU64 } from '#core/bytes/le.js';
import { FsError } from '../vfs/vfs.js';
import type { Block, BlockSource } from './block.js';
import { InodeField, inoOf, inodeCorrupt } from './inode.js';
import {
  NODE_BYTES,
  NODE_HEADER_BYTES,
  NodeType,
  dropNode,
  getNode,
  newNode,
  nodeCorrupt,
} from './node.js';
import type { Transaction } from './transaction.js';

export const INLINE_XATTR_BYTES = 96;
export const XATTR_VALUE_BYTES_MAX = 65_536;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
const USED_OFFSET = 28;
const NEXT_OFFSET = NODE_HEADER_BYTES;
const PAYLOAD_OFFSET = NODE_HEADER_BYTES + 8;
const PAYLOAD_BYTES = NODE_BYTES - 8;
export const XATTR_BLOCKS_MAX = 18;
const HEAD_BYTES = 4;

export interface Xattr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** All of them. Throws Suspend, CORRUPTION. */
export function readXattrs(source: BlockSource, header: Block): Xattr[] {
  return decode(readList(source, header), header);
}

/** Metadata blocks of the chain, in order. */
export function xattrBlocks(source: BlockSource, header: Block): Block[] {
  const blocks: Block[] = [];
  let index = getU64(header.view, InodeField.xattrBlock);
  while (index !== 0) {
    const block = getNode(source, index, header, NodeType.xattrs, 0);
    if (blocks.length === XATTR_BLOCKS_MAX) throw nodeCorrupt(block, 'chain of xattrs too long');
    blocks.push(block);
    index = getU64(block.view, NEXT_OFFSET);
  }
  return blocks;
}

function readList(source: BlockSource, header: Block): Uint8Array {
  const inHeader = header.view.getUint16(InodeField.xattrBytes, true);
  if (inHeader > INLINE_XATTR_BYTES) throw inodeCorrupt(inoOf(header), 'bytes of xattrs');
  if (inHeader > 0) {
    return header.bytes.subarray(InodeField.xattrs, InodeField.xattrs + inHeader);
  }
  const blocks = xattrBlocks(source, header);
  const list = new Uint8Array(blocks.length * PAYLOAD_BYTES);
  let end = 0;
  for (const block of blocks) {
    const used = block.view.getUint32(USED_OFFSET, true);
    if (used > PAYLOAD_BYTES) throw nodeCorrupt(block, 'bytes of xattrs');
    list.set(block.bytes.subarray(PAYLOAD_OFFSET, PAYLOAD_OFFSET + used), end);
    end += used;
  }
  return list.subarray(0, end);
}

function decode(list: Uint8Array, header: Block): Xattr[] {
  const found: Xattr[] = [];
  let at = 0;
  while (at < list.length) {
    if (at + HEAD_BYTES > list.length) throw inodeCorrupt(inoOf(header), 'xattr cut short');
    const nameEnd = at + HEAD_BYTES + list[at];
    const bytes = list[at + 1] | (list[at + 2] << 8) | (list[at + 3] << 16);
    const end = nameEnd + bytes;
    if (list[at] === 0 || end > list.length) throw inodeCorrupt(inoOf(header), 'xattr cut short');
    found.push({ name: list.slice(at + HEAD_BYTES, nameEnd), value: list.slice(nameEnd, end) });
    at = end;
  }
  return found;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function getXattr(
  source: BlockSource,
  header: Block,
  name: Uint8Array,
): Uint8Array | undefined {
  return readXattrs(source, header).find((xattr) => same(xattr.name, name))?.value;
}

export function listXattrs(source: BlockSource, header: Block): Uint8Array[] {
  return readXattrs(source, header).map(({ name }) => name);
}

/** `flags` as XattrFlag. Throws FsError EEXIST, ENODATA, ERANGE (name), ENOSPC (too much), Suspend, CORRUPTION. */
export function setXattr(
  tx: Transaction,
  header: Block,
  name: Uint8Array,
  value: Uint8Array,
  flags: number,
): void {
  if (name.length === 0 || name.length > 255) throw new FsError('ERANGE', 'name of an xattr');
  if (value.length > XATTR_VALUE_BYTES_MAX) throw new FsError('ENOSPC', 'value of an xattr');
  const all = readXattrs(tx.source, header);
  const at = all.findIndex((xattr) => same(xattr.name, name));
  if (at >= 0 && flags === XATTR_CREATE) throw new FsError('EEXIST');
  if (at < 0 && flags === XATTR_REPLACE) throw new FsError('ENODATA');
  if (at >= 0) all[at] = { name, value };
  else all.push({ name, value });
  writeXattrs(tx, header, all);
}

/** Throws FsError ENODATA, Suspend, CORRUPTION. */
export function removeXattr(tx: Transaction, header: Block, name: Uint8Array): void {
  const all = readXattrs(tx.source, header);
  const left = all.filter((xattr) => !same(xattr.name, name));
  if (left.length === all.length) throw new FsError('ENODATA');
  writeXattrs(tx, header, left);
}

export function clearXattrs(tx: Transaction, header: Block): void {
  const { view } = header;
  const inHeader = view.getUint16(InodeField.xattrBytes, true);
  if (inHeader !== 0 || getU64(view, InodeField.xattrBlock) !== 0) writeXattrs(tx, header, []);
}

function writeXattrs(tx: Transaction, header: Block, all: readonly Xattr[]): void {
  const bytes = all.reduce(
    (sum, { name, value }) => sum + HEAD_BYTES + name.length + value.length,
    0,
  );
  if (bytes > XATTR_BLOCKS_MAX * PAYLOAD_BYTES) throw new FsError('ENOSPC', 'too many xattrs');
  const list = new Uint8Array(bytes);
  let at = 0;
  for (const { name, value } of all) {
    list[at] = name.length;
    list[at + 1] = value.length & 0xff;
    list[at + 2] = (value.length >>> 8) & 0xff;
    list[at + 3] = value.length >>> 16;
    list.set(name, at + HEAD_BYTES);
    list.set(value, at + HEAD_BYTES + name.length);
    at += HEAD_BYTES + name.length + value.length;
  }
  const inHeader = bytes <= INLINE_XATTR_BYTES ? bytes : 0;
  const blocks = xattrBlocks(tx.source, header);
  writeChain(tx, header, blocks, inHeader === bytes ? list.subarray(0, 0) : list);
  tx.u16(header, InodeField.xattrBytes, inHeader);
  tx.set(header, InodeField.xattrs, list, 0, inHeader);
}

/** Uses the blocks that are there, adds or drops some. */
function writeChain(tx: Transaction, header: Block, blocks: Block[], list: Uint8Array): void {
  const wanted = Math.ceil(list.length / PAYLOAD_BYTES);
  while (blocks.length < wanted) blocks.push(newNode(tx, header, NodeType.xattrs, 0));
  for (const block of blocks.splice(wanted)) dropNode(tx, header, block.index);
  const first = wanted === 0 ? 0 : blocks[0].index;
  if (getU64(header.view, InodeField.xattrBlock) !== first) {
    tx.u64(header, InodeField.xattrBlock, first);
  }
  for (let i = 0; i < wanted; i++) {
    const start = i * PAYLOAD_BYTES;
    const used = Math.min(PAYLOAD_BYTES, list.length - start);
    tx.u32(blocks[i], USED_OFFSET, used);
    tx.u64(blocks[i], NEXT_OFFSET, i + 1 < wanted ? blocks[i + 1].index : 0);
    tx.set(blocks[i], PAYLOAD_OFFSET, list, start, used);
  }
}
