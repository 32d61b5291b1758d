/**
 * The content of a small file or a symlink: registers 1 to 15 of its inode, up to 7,680 bytes. Byte n lies in register
 * 1 + n / 512. Bytes behind the size are zero as far as the registers in use reach; a register behind them is made fresh, so a
 * file that was never read needs no read to grow.
 */
import { INODE_REGISTER_BYTES, Region } from '../disk/disk.js';
import type { Ino } from '../vfs/vfs.js';
import type { Block, BlockSource } from './block.js';
import {
  Content,
  InodeField,
  blocksOf,
  changeInode,
  inoOf,
  inodeCorrupt,
  sizeOf,
} from './inode.js';
import { INLINE_BYTES_MAX, headerRegister } from './layout.js';
import type { Transaction } from './transaction.js';

const registersFor = (bytes: number): number => Math.ceil(bytes / INODE_REGISTER_BYTES);

function checkedSize(header: Block): number {
  const size = sizeOf(header);
  if (size > INLINE_BYTES_MAX) throw inodeCorrupt(inoOf(header), `small content of ${size} bytes`);
  return size;
}

function register(source: BlockSource, ino: Ino, number: number): Block {
  return source.get(Region.inodes, headerRegister(ino) + number, ino);
}

/** Copies content[offset, offset + length) to `target`; the range lies below the size. Throws Suspend. */
export function readSmall(
  source: BlockSource,
  header: Block,
  offset: number,
  length: number,
  target: Uint8Array,
  targetStart: number,
): void {
  checkedSize(header);
  const ino = inoOf(header);
  let done = 0;
  while (done < length) {
    const at = offset + done;
    const inRegister = at % INODE_REGISTER_BYTES;
    const count = Math.min(length - done, INODE_REGISTER_BYTES - inRegister);
    const { bytes } = register(source, ino, 1 + Math.floor(at / INODE_REGISTER_BYTES));
    target.set(bytes.subarray(inRegister, inRegister + count), targetStart + done);
    done += count;
  }
}

/** All of it: a symlink's target, say. */
export function readSmallWhole(source: BlockSource, header: Block): Uint8Array {
  const bytes = new Uint8Array(checkedSize(header));
  readSmall(source, header, 0, bytes.length, bytes, 0);
  return bytes;
}

/** Writes source[start, start + length) at `offset`, the hole before it as zeros; sets size and blocks. At most 7,680 bytes. */
export function writeSmall(
  tx: Transaction,
  header: Block,
  offset: number,
  bytes: Uint8Array,
  start: number,
  length: number,
): void {
  const size = checkedSize(header);
  const ino = inoOf(header);
  const end = Math.max(size, offset + length);
  const used = registersFor(size);
  const first = Math.min(used + 1, 1 + Math.floor(offset / INODE_REGISTER_BYTES));
  for (let number = first; number <= registersFor(offset + length); number++) {
    const low = (number - 1) * INODE_REGISTER_BYTES;
    const from = Math.max(offset, low);
    const to = Math.min(offset + length, low + INODE_REGISTER_BYTES);
    const whole = from === low && to >= Math.min(low + INODE_REGISTER_BYTES, end);
    const isNew = number > used;
    const name = headerRegister(ino) + number;
    if (!isNew && from >= to) continue;
    const block =
      isNew || whole ? tx.fresh(Region.inodes, name, ino) : tx.get(Region.inodes, name, ino);
    if (from < to) tx.set(block, from - low, bytes, start + from - offset, to - from);
  }
  if (end !== size) setSmallSize(tx, header, end);
}

/** Sets the size, up to 7,680: what is cut off is gone, what is added is zeros. */
export function truncateSmall(tx: Transaction, header: Block, size: number): void {
  const before = checkedSize(header);
  const ino = inoOf(header);
  if (size < before && size % INODE_REGISTER_BYTES !== 0) {
    const block = register(tx.source, ino, registersFor(size));
    const from = size % INODE_REGISTER_BYTES;
    tx.fill(block, from, INODE_REGISTER_BYTES - from, 0);
  }
  for (let number = registersFor(before) + 1; number <= registersFor(size); number++) {
    tx.fresh(Region.inodes, headerRegister(ino) + number, ino);
  }
  if (size !== before) setSmallSize(tx, header, size);
}

function setSmallSize(tx: Transaction, header: Block, size: number): void {
  const grown = registersFor(size) - registersFor(sizeOf(header));
  changeInode(tx, header, { size, blocks: blocksOf(header) + grown });
}

/** The file outgrows its inode: no extents yet. The caller has read its bytes and puts them into data blocks. */
export function leaveSmall(tx: Transaction, header: Block): void {
  tx.u8(header, InodeField.content, Content.extents);
  tx.u8(header, InodeField.height, 0);
  tx.u32(header, InodeField.extentsOrSeed, 0);
  tx.u64(header, InodeField.root, 0);
  changeInode(tx, header, { blocks: blocksOf(header) - registersFor(sizeOf(header)) });
}
