/**
 * An inode's header: register 0 of its 16 registers of 512 bytes.
 *
 * ```
 *     0  u32  0x4e495853 "SXIN"                  112  u32  flags, for chattr-like bits
 *     4  u16  version, 1                         116  u32  project: the quota tree it counts in, 0 none
 *     6  u8   state: 0 free, 1 live, 2 orphan    120  u64  parent directory (of a directory)
 *     7  u8   content: see below                 128  u64  entries (of a directory)
 *     8  u64  its own number                     136  u64  root of its tree in the metadata region, 0 none
 *    16  u64  generation                         144  u64  first xattr block, 0 none
 *    24  u32  mode, as st_mode                   152  u16  bytes of xattrs in the header
 *    28  u32  nlink                              154  u8   height of the tree; 0: the root is a leaf
 *    32  u32  uid                                155  u8   registers used by small directory content
 *    36  u32  gid                                156  u32  inline extents | seed of the directory's hashes
 *    40  u64  rdev                               160  u64  reserved, 0
 *    48  u64  size                               168  u64  reserved, 0
 *    56  u64  blocks of 512 bytes allocated      176  15 inline extents of 16 bytes
 *    64  i64  atime, mtime, ctime, birth: s      416  96 bytes of xattrs
 *    96  u32  the same four: ns                  512
 * ```
 *
 * Content: 0 none (fifo, socket, device), 1 bytes in registers 1 to 15 (a file up to 7,680 bytes, a symlink), 2 extents in the
 * header, 3 a tree of extents, 4 a directory in registers 1 to 7, 5 a directory in a tree.
 *
 * - An inode number has at most one live generation; a generation is the clock of the record that made it, so that it grows;
 *   below 2^48.
 * - Orphan: nlink is 0, somebody has it open; it is on the orphan list of the server that unlinked it.
 * - Bytes of small content behind `size` are zero, and registers wholly behind it are not read.
 */
import { getU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { Region } from '../disk/disk.js';
import { FsError, type Attributes, type Ino } from '../vfs/vfs.js';
import type { Block, BlockSource } from './block.js';
import { headerRegister } from './layout.js';
import type { Transaction } from './transaction.js';

const MAGIC = 0x4e49_5853;
const VERSION = 1;

export const InodeState = { free: 0, live: 1, orphan: 2 } as const;
export type InodeState = (typeof InodeState)[keyof typeof InodeState];

export const Content = {
  none: 0,
  bytes: 1,
  extents: 2,
  extentTree: 3,
  directory: 4,
  directoryTree: 5,
} as const;
export type Content = (typeof Content)[keyof typeof Content];

/** Byte offsets of the fields. */
export const InodeField = {
  state: 6,
  content: 7,
  ino: 8,
  generation: 16,
  mode: 24,
  nlink: 28,
  uid: 32,
  gid: 36,
  rdev: 40,
  size: 48,
  blocks: 56,
  atime: 64,
  mtime: 72,
  ctime: 80,
  birth: 88,
  atimeNsec: 96,
  mtimeNsec: 100,
  ctimeNsec: 104,
  birthNsec: 108,
  flags: 112,
  project: 116,
  parent: 120,
  entries: 128,
  root: 136,
  xattrBlock: 144,
  xattrBytes: 152,
  height: 154,
  registers: 155,
  extentsOrSeed: 156,
  extents: 176,
  xattrs: 416,
} as const;

export const S_IFMT = 0o170_000;
export const S_IFSOCK = 0o140_000;
export const S_IFLNK = 0o120_000;
export const S_IFREG = 0o100_000;
export const S_IFBLK = 0o060_000;
export const S_IFDIR = 0o040_000;
export const S_IFCHR = 0o020_000;
export const S_IFIFO = 0o010_000;

const TWO_32 = 0x1_0000_0000;

export interface Time {
  readonly sec: number;
  readonly nsec: number;
}

export interface InodeInit {
  readonly generation: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  /** All four times. */
  readonly now: Time;
  readonly project: number;
  /** Of a directory: its parent, and a random seed for its hashes. */
  readonly parent: Ino;
  readonly seed: number;
}

/** Any of these, to be written to a header. */
export interface InodeChanges {
  mode?: number;
  nlink?: number;
  uid?: number;
  gid?: number;
  size?: number;
  blocks?: number;
  flags?: number;
  project?: number;
  parent?: Ino;
  atime?: Time;
  mtime?: Time;
  ctime?: Time;
}

/**
 * The header of inode `ino`, checked. Throws Suspend, FsError ESTALE when the number is free, CORRUPTION.
 */
export function getInode(source: BlockSource, ino: Ino): Block {
  const header = source.get(Region.inodes, headerRegister(ino), ino);
  requireInode(header, ino);
  return header;
}

/** See `getInode`. */
export function requireInode(header: Block, ino: Ino): void {
  const { view } = header;
  const magic = view.getUint32(0, true);
  if (magic === 0 || (magic === MAGIC && header.bytes[InodeField.state] === InodeState.free)) {
    throw new FsError('ESTALE', `inode ${ino} is free`);
  }
  if (magic !== MAGIC) throw inodeCorrupt(ino, 'magic');
  if (view.getUint16(4, true) !== VERSION) throw inodeCorrupt(ino, 'version');
  if (getU64(view, InodeField.ino) !== ino) throw inodeCorrupt(ino, 'number');
  // Directory entries have 48 bits for it.
  if (view.getUint32(InodeField.generation + 4, true) > 0xffff) {
    throw inodeCorrupt(ino, 'generation');
  }
  if (header.bytes[InodeField.state] > InodeState.orphan) throw inodeCorrupt(ino, 'state');
  const content = header.bytes[InodeField.content];
  const type = view.getUint32(InodeField.mode, true) & S_IFMT;
  if (!contentFits(type, content)) throw inodeCorrupt(ino, `content ${content} of type ${type}`);
}

function contentFits(type: number, content: number): boolean {
  switch (type) {
    case S_IFREG:
      return content >= Content.bytes && content <= Content.extentTree;
    case S_IFDIR:
      return content === Content.directory || content === Content.directoryTree;
    case S_IFLNK:
      return content === Content.bytes;
    case S_IFBLK:
    case S_IFCHR:
    case S_IFIFO:
    case S_IFSOCK:
      return content === Content.none;
    default:
      return false;
  }
}

export function inodeCorrupt(ino: Ino, what: string): SextantError {
  return new SextantError('CORRUPTION', `inode ${ino}: ${what}`);
}

/** As stored, in case only its being there matters. */
export function isInUse(header: Block): boolean {
  return (
    header.view.getUint32(0, true) === MAGIC && header.bytes[InodeField.state] !== InodeState.free
  );
}

export const inoOf = (header: Block): Ino => getU64(header.view, InodeField.ino);
export const generationOf = (header: Block): number => getU64(header.view, InodeField.generation);
export const modeOf = (header: Block): number => header.view.getUint32(InodeField.mode, true);
export const typeOf = (header: Block): number => modeOf(header) & S_IFMT;
export const nlinkOf = (header: Block): number => header.view.getUint32(InodeField.nlink, true);
export const sizeOf = (header: Block): number => getU64(header.view, InodeField.size);
export const blocksOf = (header: Block): number => getU64(header.view, InodeField.blocks);
export const parentOf = (header: Block): Ino => getU64(header.view, InodeField.parent);
export const entriesOf = (header: Block): number => getU64(header.view, InodeField.entries);
export const projectOf = (header: Block): number => header.view.getUint32(InodeField.project, true);
export const flagsOf = (header: Block): number => header.view.getUint32(InodeField.flags, true);
export const contentOf = (header: Block): Content => header.bytes[InodeField.content] as Content;
export const stateOf = (header: Block): InodeState => header.bytes[InodeField.state] as InodeState;
export const rootOf = (header: Block): number => getU64(header.view, InodeField.root);
export const heightOf = (header: Block): number => header.bytes[InodeField.height];

function getI64(view: DataView, offset: number): number {
  return view.getInt32(offset + 4, true) * TWO_32 + view.getUint32(offset, true);
}

/** The attributes of a checked header. */
export function readAttributes(header: Block): Attributes {
  const { view } = header;
  return {
    ino: inoOf(header),
    generation: generationOf(header),
    mode: modeOf(header),
    nlink: nlinkOf(header),
    uid: view.getUint32(InodeField.uid, true),
    gid: view.getUint32(InodeField.gid, true),
    rdev: getU64(view, InodeField.rdev),
    size: sizeOf(header),
    blocks: blocksOf(header),
    atimeSec: getI64(view, InodeField.atime),
    atimeNsec: view.getUint32(InodeField.atimeNsec, true),
    mtimeSec: getI64(view, InodeField.mtime),
    mtimeNsec: view.getUint32(InodeField.mtimeNsec, true),
    ctimeSec: getI64(view, InodeField.ctime),
    ctimeNsec: view.getUint32(InodeField.ctimeNsec, true),
    birthSec: getI64(view, InodeField.birth),
    birthNsec: view.getUint32(InodeField.birthNsec, true),
  };
}

function firstContent(type: number): Content {
  if (type === S_IFDIR) return Content.directory;
  return type === S_IFREG || type === S_IFLNK ? Content.bytes : Content.none;
}

/** Makes a live inode of size 0 without reading what the number held before. */
export function initInode(tx: Transaction, ino: Ino, init: InodeInit): Block {
  const header = tx.fresh(Region.inodes, headerRegister(ino), ino);
  const { bytes, view } = header;
  // Written in place and logged as one range: a dozen calls less.
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, VERSION, true);
  bytes[InodeField.state] = InodeState.live;
  bytes[InodeField.content] = firstContent(init.mode & S_IFMT);
  putI64(view, InodeField.ino, ino);
  putI64(view, InodeField.generation, init.generation);
  view.setUint32(InodeField.mode, init.mode, true);
  view.setUint32(InodeField.nlink, init.nlink, true);
  view.setUint32(InodeField.uid, init.uid, true);
  view.setUint32(InodeField.gid, init.gid, true);
  putI64(view, InodeField.rdev, init.rdev);
  for (let i = 0; i < 4; i++) {
    putI64(view, InodeField.atime + 8 * i, init.now.sec);
    view.setUint32(InodeField.atimeNsec + 4 * i, init.now.nsec, true);
  }
  view.setUint32(InodeField.project, init.project, true);
  putI64(view, InodeField.parent, init.parent);
  tx.logged(header, 0, InodeField.entries);
  if (init.seed !== 0) tx.u32(header, InodeField.extentsOrSeed, init.seed);
  return header;
}

function putI64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setInt32(offset + 4, Math.floor(value / TWO_32), true);
}

export function changeInode(tx: Transaction, header: Block, changes: InodeChanges): void {
  if (changes.mode !== undefined) tx.u32(header, InodeField.mode, changes.mode);
  if (changes.nlink !== undefined) tx.u32(header, InodeField.nlink, changes.nlink);
  if (changes.uid !== undefined) tx.u32(header, InodeField.uid, changes.uid);
  if (changes.gid !== undefined) tx.u32(header, InodeField.gid, changes.gid);
  if (changes.size !== undefined) tx.u64(header, InodeField.size, changes.size);
  if (changes.blocks !== undefined) tx.u64(header, InodeField.blocks, changes.blocks);
  if (changes.atime !== undefined) setTime(tx, header, 0, changes.atime);
  if (changes.mtime !== undefined) setTime(tx, header, 1, changes.mtime);
  if (changes.ctime !== undefined) setTime(tx, header, 2, changes.ctime);
  if (changes.flags !== undefined) tx.u32(header, InodeField.flags, changes.flags);
  if (changes.project !== undefined) tx.u32(header, InodeField.project, changes.project);
  if (changes.parent !== undefined) tx.u64(header, InodeField.parent, changes.parent);
}

function setTime(tx: Transaction, header: Block, which: number, time: Time): void {
  tx.u64(header, InodeField.atime + 8 * which, time.sec);
  tx.u32(header, InodeField.atimeNsec + 4 * which, time.nsec);
}

/** nlink 0 and somebody has it open: goes with an entry in an orphan list. */
export function setOrphan(tx: Transaction, header: Block): void {
  tx.u8(header, InodeField.state, InodeState.orphan);
}

/** The number is free again; its content was freed before. The bit in its segment is the caller's. */
export function eraseInode(tx: Transaction, header: Block): void {
  tx.u8(header, InodeField.state, InodeState.free);
}

/** `blocks` grows by that many registers of 4 KiB, or shrinks. */
export function addBlocks(tx: Transaction, header: Block, registers: number): void {
  if (registers !== 0) tx.u64(header, InodeField.blocks, blocksOf(header) + 8 * registers);
}
