/**
 * A block: one register of the virtual disk in memory. 512 bytes in the inodes region, 4 KiB elsewhere.
 *
 * ```
 *   unknown --fresh, commit--> dirty --in place at quorum--> clean --edit, commit--> dirty
 *      ^                        |  ^
 *      +------- abort ----------+  +-- edit, commit: still dirty since the first record
 * ```
 *
 * - `clock`, `token`: the tag of the bytes as they are, the ones of a transaction under way not counted.
 * - A block is dirty from the first record that changed it until its bytes are in place under a tag no older than the
 *   last one. It stays so when it is freed: a later record of the same block needs the earlier ones to be applied, so
 *   the log is not trimmed past `dirtyFrom` of any block (rule 16).
 * - `valid` false: the content on the disk is not known. Only `fresh` may use such a block.
 */
import { registerBytes, type Region } from '../disk/disk.js';
import type { Ino } from '../vfs/vfs.js';

export class Block {
  readonly region: Region;
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  clock = 0;
  token = 0;
  valid = true;
  /** Log positions of the oldest and newest record that are not in place; 0 when clean. */
  dirtyFrom = 0;
  dirtyTo = 0;
  /** While its bytes are being written in place: `dirtyFrom` as it was at the start. Edits meanwhile count anew. */
  writingFrom = 0;
  /** The inode under whose lock it is cached, or 0; kept by the cache. */
  owner: Ino = 0;
  /** Of the transaction under way, or -1. Only the transaction touches it. */
  slot = -1;
  /** Counts changes, aborts included: what was decoded under another count is void. */
  changes = 0;

  constructor(region: Region, index: number, bytes?: Uint8Array) {
    this.region = region;
    this.index = index;
    this.bytes = bytes ?? new Uint8Array(registerBytes(region));
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  get dirty(): boolean {
    return this.dirtyFrom !== 0;
  }

  /** Of the oldest record that is not in place, or 0: the log is not trimmed past it. */
  get neededFrom(): number {
    return this.writingFrom !== 0 ? this.writingFrom : this.dirtyFrom;
  }

  /** A copy of the bytes goes to the disk under the tag as it is now; one write at a time. */
  startWrite(): void {
    this.writingFrom = this.dirtyFrom;
    this.dirtyFrom = 0;
    this.dirtyTo = 0;
  }

  /** The write is at quorum, or has failed: then the block is as dirty as before. */
  endWrite(done: boolean): void {
    if (!done && this.writingFrom !== 0) {
      this.dirtyFrom = this.writingFrom;
      this.dirtyTo = Math.max(this.dirtyTo, this.writingFrom);
    }
    this.writingFrom = 0;
  }
}

/** The cache, as the code of this folder sees it. `owner` is the inode whose lock guards the block, 0 for bitmaps and such. */
export interface BlockSource {
  /** A valid block. Throws Suspend when it is not cached, CORRUPTION. */
  get(region: Region, index: number, owner: Ino): Block;
  /** The block to be overwritten whole: the cached one as it is, or a new one with `valid` false. Reads nothing. */
  fresh(region: Region, index: number, owner: Ino): Block;
  /** Called at commit for each block that was changed, after its tag and `dirtyFrom` are set. */
  edited(block: Block): void;
}

export interface Run {
  readonly start: number;
  readonly count: number;
}

/** Gives and takes blocks in the transaction under way. Throws FsError ENOSPC or EDQUOT; Suspend to get another segment. */
export interface Allocator {
  metadata(owner: Ino): number;
  freeMetadata(index: number, owner: Ino): void;
  /** Up to `countMax` adjacent data blocks, at `hint` if that is free (0: anywhere). */
  data(owner: Ino, hint: number, countMax: number): Run;
  freeData(start: number, count: number, owner: Ino): void;
}
