/**
 * Makes a file system on an empty virtual disk: superblock, count of segments, the bitmaps of segment 0, the root directory.
 * The superblock is written last, so that a disk is either whole or has none.
 */
import { SextantError } from '#core/errors.js';
import { Region, type VirtualDisk } from '../disk/disk.js';
import { S_IFDIR, initInode } from '../format/inode.js';
import { FORMAT_VERSION, SUPERBLOCK_REGISTER } from '../format/layout.js';
import {
  decodeSuperblock,
  encodeSuperblock,
  formatSegmentsInUse,
  type Superblock,
} from '../format/params.js';
import { ROOT_INO } from '../vfs/vfs.js';
import { DiskBlocks } from './disk-blocks.js';

export interface MakeOptions {
  /** 16 random bytes. */
  readonly diskId: Uint8Array;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** A random u32, not 0: of the root directory's hashes. */
  readonly seed: number;
  readonly takeClocks: (count: number) => number;
  /** Of 2 GiB of data each; default 2^20, or 2 PiB. */
  readonly segmentsMax?: number;
  /** Of the root directory; default 0, 0, 0o755. */
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
}

/** Rejects with EXISTS when the disk has a file system, or something else in its superblock; DISK_FULL, NO_QUORUM, FENCED. */
export async function makeFileSystem(disk: VirtualDisk, options: MakeOptions): Promise<Superblock> {
  const [found] = await disk.read([
    { region: Region.params, index: SUPERBLOCK_REGISTER, count: 1 },
  ]);
  if (found.bytes.some((byte) => byte !== 0)) {
    throw new SextantError('EXISTS', 'the disk has a file system already');
  }
  const blocks = new DiskBlocks(disk, options.takeClocks);
  const segment = blocks.segment(0);
  await blocks.change(() => {
    for (const kind of ['inode', 'metadata', 'data'] as const) segment.claim(blocks.tx, kind, 0);
    segment.claim(blocks.tx, 'inode', ROOT_INO);
    formatSegmentsInUse(blocks.tx, 1);
    const sec = Math.floor(options.nowMs / 1000);
    initInode(blocks.tx, ROOT_INO, {
      generation: 1,
      mode: S_IFDIR | (options.mode ?? 0o755),
      nlink: 2,
      uid: options.uid ?? 0,
      gid: options.gid ?? 0,
      rdev: 0,
      now: { sec, nsec: Math.floor((options.nowMs - sec * 1000) * 1e6) },
      project: 0,
      parent: ROOT_INO,
      seed: options.seed,
    });
  });
  await blocks.writeBack();
  const superblock = {
    version: FORMAT_VERSION,
    diskId: options.diskId,
    madeMs: Math.floor(options.nowMs),
    segmentsMax: options.segmentsMax ?? 2 ** 20,
  };
  const tag = { clock: options.takeClocks(1), token: disk.token };
  const bytes = encodeSuperblock(superblock);
  await disk.write([{ region: Region.params, index: SUPERBLOCK_REGISTER, tag, bytes }]);
  return superblock;
}

/** Throws NOT_FOUND, WRONG_CLUSTER (another version), CORRUPTION. */
export async function readSuperblock(disk: VirtualDisk): Promise<Superblock> {
  const read = { region: Region.params, index: SUPERBLOCK_REGISTER, count: 1 };
  const [{ bytes }] = await disk.read([read]);
  return decodeSuperblock(bytes);
}
