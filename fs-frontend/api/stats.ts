/** What stat and statfs answer, in the shape of `fs.Stats`, `fs.BigIntStats` and `fs.StatFs`. */
import { constants } from 'node:fs';
import type { Attributes, FsStatistics } from '../vfs/vfs.js';

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } = constants;

/** Device number of every file here: no disk of the machine has it. */
export const DEVICE = 0x5e87;
/** The unit in which reading and writing is cheap. */
const BLOCK_BYTES = 4096;
/** "sext". */
const FILE_SYSTEM_TYPE = 0x73657874;

abstract class StatsBase<N extends number | bigint> {
  dev: N;
  mode: N;
  nlink: N;
  uid: N;
  gid: N;
  rdev: N;
  blksize: N;
  ino: N;
  size: N;
  blocks: N;

  constructor(attributes: Attributes, as: (value: number) => N) {
    this.dev = as(DEVICE);
    this.mode = as(attributes.mode);
    this.nlink = as(attributes.nlink);
    this.uid = as(attributes.uid);
    this.gid = as(attributes.gid);
    this.rdev = as(attributes.rdev);
    this.blksize = as(BLOCK_BYTES);
    this.ino = as(attributes.ino);
    this.size = as(attributes.size);
    this.blocks = as(attributes.blocks);
  }

  isDirectory(): boolean {
    return this.isType(S_IFDIR);
  }
  isFile(): boolean {
    return this.isType(S_IFREG);
  }
  isBlockDevice(): boolean {
    return this.isType(S_IFBLK);
  }
  isCharacterDevice(): boolean {
    return this.isType(S_IFCHR);
  }
  isSymbolicLink(): boolean {
    return this.isType(S_IFLNK);
  }
  isFIFO(): boolean {
    return this.isType(S_IFIFO);
  }
  isSocket(): boolean {
    return this.isType(S_IFSOCK);
  }

  private isType(type: number): boolean {
    return (Number(this.mode) & S_IFMT) === type;
  }
}

export class Stats extends StatsBase<number> {
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
  birthtimeMs: number;
  atime: Date;
  mtime: Date;
  ctime: Date;
  birthtime: Date;

  constructor(attributes: Attributes) {
    super(attributes, (value) => value);
    this.atimeMs = attributes.atimeSec * 1000 + attributes.atimeNsec / 1e6;
    this.mtimeMs = attributes.mtimeSec * 1000 + attributes.mtimeNsec / 1e6;
    this.ctimeMs = attributes.ctimeSec * 1000 + attributes.ctimeNsec / 1e6;
    this.birthtimeMs = attributes.birthSec * 1000 + attributes.birthNsec / 1e6;
    this.atime = new Date(Math.round(this.atimeMs));
    this.mtime = new Date(Math.round(this.mtimeMs));
    this.ctime = new Date(Math.round(this.ctimeMs));
    this.birthtime = new Date(Math.round(this.birthtimeMs));
  }
}

function nanoseconds(sec: number, nsec: number): bigint {
  return BigInt(sec) * 1_000_000_000n + BigInt(nsec);
}

export class BigIntStats extends StatsBase<bigint> {
  atimeMs: bigint;
  mtimeMs: bigint;
  ctimeMs: bigint;
  birthtimeMs: bigint;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  birthtimeNs: bigint;
  atime: Date;
  mtime: Date;
  ctime: Date;
  birthtime: Date;

  constructor(attributes: Attributes) {
    super(attributes, BigInt);
    this.atimeNs = nanoseconds(attributes.atimeSec, attributes.atimeNsec);
    this.mtimeNs = nanoseconds(attributes.mtimeSec, attributes.mtimeNsec);
    this.ctimeNs = nanoseconds(attributes.ctimeSec, attributes.ctimeNsec);
    this.birthtimeNs = nanoseconds(attributes.birthSec, attributes.birthNsec);
    this.atimeMs = this.atimeNs / 1_000_000n;
    this.mtimeMs = this.mtimeNs / 1_000_000n;
    this.ctimeMs = this.ctimeNs / 1_000_000n;
    this.birthtimeMs = this.birthtimeNs / 1_000_000n;
    this.atime = new Date(Number(this.atimeMs));
    this.mtime = new Date(Number(this.mtimeMs));
    this.ctime = new Date(Number(this.ctimeMs));
    this.birthtime = new Date(Number(this.birthtimeMs));
  }
}

export function statsOf(attributes: Attributes, bigint: boolean): Stats | BigIntStats {
  return bigint ? new BigIntStats(attributes) : new Stats(attributes);
}

export class StatFs<N extends number | bigint> {
  type: N;
  bsize: N;
  blocks: N;
  bfree: N;
  bavail: N;
  files: N;
  ffree: N;

  constructor(statistics: FsStatistics, as: (value: number) => N) {
    this.type = as(FILE_SYSTEM_TYPE);
    this.bsize = as(statistics.blockBytes);
    this.blocks = as(statistics.blocks);
    this.bfree = as(statistics.blocksFree);
    this.bavail = as(statistics.blocksAvailable);
    this.files = as(statistics.files);
    this.ffree = as(statistics.filesFree);
  }
}
