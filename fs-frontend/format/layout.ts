/**
 * Where things lie on a virtual disk. Numbers of registers; bytes of a region: ../disk/disk.ts.
 *
 * ```
 *   region    register                 what                                              whose lock
 *   params    0                        superblock (params.ts)                            none: written by mkfs
 *             1                        how many allocation segments are in use           segments lock
 *             65536 + 256 s ...        orphan list of log slot s, up to 256 registers    slot s
 *   logs      16384 s ...              log of slot s, 0 to 255 (../log)                  slot s
 *   bitmaps   32 k                     inodes of segment k, one bit each                 segment k
 *             32 k + 1                 metadata blocks of segment k
 *             32 k + 2 ... 32 k + 17   data blocks of segment k
 *   inodes    16 n                     header of inode n                                 inode n
 *             16 n + 1 ... 16 n + 15   its small content
 *   metadata  1 ...                    nodes of directories and extent trees, xattrs     their inode
 *   data      1 ...                    file content                                      their inode
 * ```
 *
 * Segment k has inodes [32768 k, 32768 (k + 1)), as many metadata blocks, and data blocks [524288 k, 524288 (k + 1)): 2 GiB.
 * Number 0 of each kind is never given out (0 means none), nor is inode 1, the root.
 */
import type { Ino } from '../vfs/vfs.js';

export const FORMAT_VERSION = 1;

export const SUPERBLOCK_REGISTER = 0;
export const SEGMENTS_REGISTER = 1;

export const LOG_SLOTS = 256;
/** 64 MiB (rule 17). */
export const LOG_REGISTERS = 16_384;

export const ORPHANS_REGISTER = 65_536;
export const ORPHAN_REGISTERS = 256;

export const SEGMENT_BITMAP_REGISTERS = 32;
export const SEGMENT_INODES = 32_768;
export const SEGMENT_METADATA = 32_768;
export const SEGMENT_DATA = 524_288;
/** Bits in one bitmap register. */
export const BITMAP_BITS = 32_768;
export const SEGMENT_DATA_BITMAPS = SEGMENT_DATA / BITMAP_BITS;
/** So that every number of a block fits 48 bits. */
export const SEGMENTS_MAX = 2 ** 28;

export const INODE_REGISTERS = 16;
/** Of small content: registers 1 to 15. */
export const INLINE_BYTES_MAX = 15 * 512;

/** Lock ids; an inode's is its number. */
export const RENAME_LOCK = 2n ** 63n - 2n;
export const BARRIER_LOCK = 2n ** 63n - 3n;
export const SEGMENTS_LOCK = 2n ** 63n - 4n;
export const slotLock = (slot: number): bigint => 2n ** 63n - 1000n - BigInt(slot);
export const segmentLock = (segment: number): bigint => 2n ** 62n + BigInt(segment);

export const headerRegister = (ino: Ino): number => ino * INODE_REGISTERS;
export const segmentOfInode = (ino: Ino): number => Math.floor(ino / SEGMENT_INODES);
export const segmentOfMetadata = (index: number): number => Math.floor(index / SEGMENT_METADATA);
export const segmentOfData = (index: number): number => Math.floor(index / SEGMENT_DATA);
