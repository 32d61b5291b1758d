/**
 * The superblock (params register 0) and the count of segments in use (params register 1).
 *
 * ```
 *   superblock                                             segments
 *    0  6 bytes "SEXTFS"                                    0  u32  0x47455353 "SSEG"
 *    6  u16  format version, 1                              8  u64  segments in use: all below this may hold something
 *    8  16 bytes disk id, random
 *   24  u64  when it was made, ms since 1970
 *   32  u32  segments at most
 *   36  u16  log slots, u16 0
 *   40  u32  registers of a log
 *   44  u32  registers of an inode
 *   48  u32  inodes, u32 metadata blocks, u32 data blocks of a segment
 *   60  u32  flags: what else a reader must understand; none defined
 *   64  u32  CRC32C of bytes 0 to 63
 * ```
 *
 * A reader refuses another version, geometry or flag with WRONG_CLUSTER, and says which.
 */
import { crc32cRange } from '#core/bytes/crc32c.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { REGISTER_BYTES, Region } from '../disk/disk.js';
import type { Block } from './block.js';
import {
  FORMAT_VERSION,
  INODE_REGISTERS,
  LOG_REGISTERS,
  LOG_SLOTS,
  SEGMENTS_MAX,
  SEGMENTS_REGISTER,
  SEGMENT_DATA,
  SEGMENT_INODES,
  SEGMENT_METADATA,
} from './layout.js';
import type { Transaction } from './transaction.js';

const MAGIC = 'SEXTFS';
const CRC_OFFSET = 64;
const SEGMENTS_MAGIC = 0x4745_5353;

export interface Superblock {
  readonly version: number;
  /** 16 bytes. */
  readonly diskId: Uint8Array;
  readonly madeMs: number;
  readonly segmentsMax: number;
}

export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const bytes = new Uint8Array(REGISTER_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  view.setUint16(6, superblock.version, true);
  bytes.set(superblock.diskId, 8);
  putU64(view, 24, superblock.madeMs);
  view.setUint32(32, superblock.segmentsMax, true);
  GEOMETRY.forEach((value, i) => view.setUint32(36 + 4 * i, value, true));
  view.setUint32(CRC_OFFSET, crc32cRange(bytes, 0, CRC_OFFSET), true);
  return bytes;
}

const GEOMETRY = [
  LOG_SLOTS,
  LOG_REGISTERS,
  INODE_REGISTERS,
  SEGMENT_INODES,
  SEGMENT_METADATA,
  SEGMENT_DATA,
  0,
];

/** Throws NOT_FOUND (no file system here), WRONG_CLUSTER (another version), CORRUPTION. */
export function decodeSuperblock(bytes: Uint8Array): Superblock {
  if (bytes.every((byte) => byte === 0)) {
    throw new SextantError('NOT_FOUND', 'the disk has no file system: make one with mkfs');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < MAGIC.length; i++) {
    if (bytes[i] !== MAGIC.charCodeAt(i)) {
      throw new SextantError('CORRUPTION', 'superblock: not a Sextant file system');
    }
  }
  const version = view.getUint16(6, true);
  if (version !== FORMAT_VERSION) {
    throw new SextantError(
      'WRONG_CLUSTER',
      `file system of format ${version}; this program knows ${FORMAT_VERSION}`,
    );
  }
  if (view.getUint32(CRC_OFFSET, true) !== crc32cRange(bytes, 0, CRC_OFFSET)) {
    throw new SextantError('CORRUPTION', 'superblock: checksum');
  }
  GEOMETRY.forEach((value, i) => {
    const found = view.getUint32(36 + 4 * i, true);
    if (found === value) return;
    throw new SextantError('WRONG_CLUSTER', `superblock: field ${i} is ${found}, not ${value}`);
  });
  const segmentsMax = view.getUint32(32, true);
  if (segmentsMax < 1 || segmentsMax > SEGMENTS_MAX) {
    throw new SextantError('CORRUPTION', `superblock: ${segmentsMax} segments`);
  }
  return { version, diskId: bytes.slice(8, 24), madeMs: getU64(view, 24), segmentsMax };
}

/** How many segments may hold something. Throws CORRUPTION. */
export function segmentsInUse(block: Block): number {
  if (block.view.getUint32(0, true) !== SEGMENTS_MAGIC) {
    throw new SextantError('CORRUPTION', 'register of segments: magic');
  }
  return getU64(block.view, 8);
}

/** Under the segments lock, before anything of a segment at or above the count is given out. */
export function raiseSegmentsInUse(tx: Transaction, count: number): void {
  const block = tx.get(Region.params, SEGMENTS_REGISTER, 0);
  if (segmentsInUse(block) < count) tx.u64(block, 8, count);
}

export function formatSegmentsInUse(tx: Transaction, count: number): void {
  const block = tx.fresh(Region.params, SEGMENTS_REGISTER, 0);
  tx.u32(block, 0, SEGMENTS_MAGIC);
  tx.u64(block, 8, count);
}
