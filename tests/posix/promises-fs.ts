/**
 * Anything with the shape of `node:fs/promises`: Node's own on a local directory, or `sextant/fs`.
 * What only the latter has (`handle.extra`, other users, more instances) comes in by the options.
 */
import {
  below,
  bytesOf,
  CAPABILITIES,
  type Capability,
  type DirectoryItem,
  type File,
  type LockKind,
  type LockRange,
  type Path,
  PosixError,
  type PosixFs,
  S,
  type Stat,
  type Statfs,
  type TimeChange,
  type User,
} from './posix-fs.js';

export interface BigStats {
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly rdev: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}
interface Big {
  bigint: true;
}
export interface ByteDirent {
  readonly name: Buffer;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isCharacterDevice(): boolean;
  isBlockDevice(): boolean;
}

/** `handle.extra` of `sextant/fs`. */
export interface HandleExtra {
  lock(options: {
    type: 'read' | 'write';
    start?: number;
    end?: number;
    family: LockKind;
    wait: boolean;
    signal: AbortSignal;
  }): Promise<void>;
  unlock(options: { start?: number; end?: number; family: LockKind }): Promise<void>;
  testLock(options: {
    type: 'read' | 'write';
    start?: number;
    end?: number;
  }): Promise<{ type: 'read' | 'write' | 'unlock'; start: number; end: number } | undefined>;
  allocate(offset: number, length: number, mode: number): Promise<void>;
  seekData(offset: number): Promise<number>;
  seekHole(offset: number): Promise<number>;
}

export interface HandleLike {
  readonly extra?: HandleExtra;
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesWritten: number }>;
  stat(options: Big): Promise<BigStats>;
  truncate(size: number): Promise<void>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  utimes(atime: number, mtime: number): Promise<void>;
  close(): Promise<void>;
}

export interface PromisesLike {
  open(path: Buffer, flags: number, mode: number): Promise<HandleLike>;
  stat(path: Buffer, options: Big): Promise<BigStats>;
  lstat(path: Buffer, options: Big): Promise<BigStats>;
  mkdir(path: Buffer, options: { mode: number }): Promise<unknown>;
  rmdir(path: Buffer): Promise<void>;
  unlink(path: Buffer): Promise<void>;
  rename(from: Buffer, to: Buffer): Promise<void>;
  link(from: Buffer, to: Buffer): Promise<void>;
  symlink(target: Buffer, path: Buffer): Promise<void>;
  readlink(path: Buffer, encoding: 'buffer'): Promise<Buffer>;
  chmod(path: Buffer, mode: number): Promise<void>;
  chown(path: Buffer, uid: number, gid: number): Promise<void>;
  lchown(path: Buffer, uid: number, gid: number): Promise<void>;
  utimes(path: Buffer, atime: number, mtime: number): Promise<void>;
  lutimes(path: Buffer, atime: number, mtime: number): Promise<void>;
  truncate(path: Buffer, size: number): Promise<void>;
  access(path: Buffer, mask: number): Promise<void>;
  readdir(
    path: Buffer,
    options: { encoding: 'buffer'; withFileTypes: true },
  ): Promise<readonly unknown[]>;
  statfs(path: Buffer): Promise<{
    bsize: number;
    blocks: number;
    bfree: number;
    bavail: number;
    files: number;
    ffree: number;
  }>;
}

export interface PromisesFsOptions {
  readonly name: string;
  readonly promises: PromisesLike;
  /** Where to stand; '' when the object's own root is meant. */
  readonly root: string;
  readonly user?: User;
  /** The same files as another user; without it the suite tries no other users. */
  readonly as?: (user: User) => PromisesLike;
  /** Another instance over the same files: a process of its own to locks. */
  readonly process?: () => Promise<PromisesFsOptions>;
  /** Capabilities besides what every such object has: 'fallocate', 'holes', 'locks', 'flock' need `handle.extra`. */
  readonly has?: readonly Capability[];
  readonly without?: readonly Capability[];
}

const ALWAYS: readonly Capability[] = ['bytes', 'statfs', 'access', 'relatime'];

function big(stats: BigStats): Stat {
  return {
    ino: Number(stats.ino),
    mode: Number(stats.mode),
    nlink: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    rdev: Number(stats.rdev),
    size: Number(stats.size),
    blocks: Number(stats.blocks),
    atime: stats.atimeNs,
    mtime: stats.mtimeNs,
    ctime: stats.ctimeNs,
  };
}

function seconds(time: TimeChange): number {
  if (time === 'now') return Date.now() / 1000;
  if (time === 'omit') throw new Error('utimes leaves no time out');
  return Number(time) / 1e9;
}

function typeOf(entry: ByteDirent): number {
  if (entry.isFile()) return S.IFREG;
  if (entry.isDirectory()) return S.IFDIR;
  if (entry.isSymbolicLink()) return S.IFLNK;
  if (entry.isFIFO()) return S.IFIFO;
  if (entry.isSocket()) return S.IFSOCK;
  if (entry.isCharacterDevice()) return S.IFCHR;
  return entry.isBlockDevice() ? S.IFBLK : 0;
}

function unsupported(call: string): Promise<never> {
  return Promise.reject(new PosixError('ENOSYS', call));
}

/** Open files and waiting locks of one process. */
class ProcessState {
  readonly open = new Set<PromisesFile>();
  waiting = new AbortController();
}

class PromisesFile implements File {
  readonly #handle: HandleLike;
  readonly #process: ProcessState;

  constructor(handle: HandleLike, process: ProcessState) {
    this.#handle = handle;
    this.#process = process;
    process.open.add(this);
  }

  get #extra(): HandleExtra {
    if (this.#handle.extra === undefined) throw new PosixError('ENOSYS', 'extra');
    return this.#handle.extra;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await this.#handle.read(buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  }
  async write(offset: number, data: Uint8Array): Promise<void> {
    const { bytesWritten } = await this.#handle.write(data, 0, data.length, offset);
    if (bytesWritten !== data.length) {
      throw new Error(`wrote ${bytesWritten} of ${data.length} bytes`);
    }
  }
  async stat(): Promise<Stat> {
    return big(await this.#handle.stat({ bigint: true }));
  }
  truncate(size: number): Promise<void> {
    return this.#handle.truncate(size);
  }
  sync(dataOnly: boolean): Promise<void> {
    return dataOnly ? this.#handle.datasync() : this.#handle.sync();
  }
  chmod(mode: number): Promise<void> {
    return this.#handle.chmod(mode);
  }
  chown(uid: number, gid: number): Promise<void> {
    return this.#handle.chown(uid, gid);
  }
  utimens(atime: TimeChange, mtime: TimeChange): Promise<void> {
    return this.#handle.utimes(seconds(atime), seconds(mtime));
  }
  allocate(mode: number, offset: number, length: number): Promise<void> {
    return this.#extra.allocate(offset, length, mode);
  }
  seek(offset: number, what: 'data' | 'hole'): Promise<number> {
    return what === 'data' ? this.#extra.seekData(offset) : this.#extra.seekHole(offset);
  }
  copyTo(): Promise<number> {
    return unsupported('copy_file_range');
  }
  mapRead(): Promise<Buffer> {
    return unsupported('mmap');
  }
  mapWrite(): Promise<void> {
    return unsupported('mmap');
  }
  async lock(kind: LockKind, range: LockRange, wait: boolean): Promise<void> {
    const bytes =
      kind === 'flock'
        ? {}
        : {
            start: range.start,
            ...(range.length === 0 ? {} : { end: range.start + range.length }),
          };
    if (range.type === 'unlock') return this.#extra.unlock({ ...bytes, family: kind });
    const signal = this.#process.waiting.signal;
    return this.#extra.lock({ ...bytes, type: range.type, family: kind, wait, signal });
  }
  async testLock(_kind: 'posix' | 'ofd', range: LockRange): Promise<LockRange | undefined> {
    const end = range.length === 0 ? {} : { end: range.start + range.length };
    const found = await this.#extra.testLock({
      type: range.type as 'read' | 'write',
      start: range.start,
      ...end,
    });
    if (found === undefined) return undefined;
    const length = found.end === Number.MAX_SAFE_INTEGER ? 0 : found.end - found.start;
    return { type: found.type, start: found.start, length };
  }
  readEntries(): Promise<DirectoryItem[]> {
    return unsupported('getdents');
  }
  async close(): Promise<void> {
    this.#process.open.delete(this);
    await this.#handle.close();
  }
}

export class PromisesFs implements PosixFs {
  readonly name: string;
  readonly can: ReadonlySet<Capability>;
  readonly user: User;
  readonly #options: PromisesFsOptions;
  readonly #fs: PromisesLike;
  readonly #process: ProcessState;

  constructor(options: PromisesFsOptions, user?: User, process?: ProcessState) {
    this.name = options.name;
    this.#options = options;
    this.#process = process ?? new ProcessState();
    this.user = user ??
      options.user ?? {
        uid: globalThis.process.geteuid?.() ?? 0,
        gid: globalThis.process.getegid?.() ?? 0,
      };
    this.#fs = user === undefined || options.as === undefined ? options.promises : options.as(user);
    const can = new Set<Capability>([...ALWAYS, ...(options.has ?? [])]);
    if (this.user.uid === 0 || user !== undefined) can.add('root');
    if (options.as !== undefined) can.add('users');
    if (options.process !== undefined) can.add('processes');
    for (const capability of options.without ?? []) can.delete(capability);
    this.can = new Set(CAPABILITIES.filter((capability) => can.has(capability)));
  }

  #path(path: Path): Buffer {
    return below(this.#options.root, bytesOf(path));
  }

  as(user: User): PromisesFs {
    return new PromisesFs(this.#options, user, this.#process);
  }
  async process(): Promise<PosixFs> {
    if (this.#options.process === undefined) return unsupported('process');
    return new PromisesFs(await this.#options.process());
  }

  async open(path: Path, flags: number, mode = 0o644): Promise<File> {
    return new PromisesFile(await this.#fs.open(this.#path(path), flags, mode), this.#process);
  }
  async stat(path: Path): Promise<Stat> {
    return big(await this.#fs.stat(this.#path(path), { bigint: true }));
  }
  async lstat(path: Path): Promise<Stat> {
    return big(await this.#fs.lstat(this.#path(path), { bigint: true }));
  }
  async mkdir(path: Path, mode: number): Promise<void> {
    await this.#fs.mkdir(this.#path(path), { mode });
  }
  rmdir(path: Path): Promise<void> {
    return this.#fs.rmdir(this.#path(path));
  }
  unlink(path: Path): Promise<void> {
    return this.#fs.unlink(this.#path(path));
  }
  rename(from: Path, to: Path, flags = 0): Promise<void> {
    if (flags !== 0) return unsupported('renameat2');
    return this.#fs.rename(this.#path(from), this.#path(to));
  }
  link(from: Path, to: Path): Promise<void> {
    return this.#fs.link(this.#path(from), this.#path(to));
  }
  symlink(target: Path, path: Path): Promise<void> {
    return this.#fs.symlink(bytesOf(target), this.#path(path));
  }
  readlink(path: Path): Promise<Buffer> {
    return this.#fs.readlink(this.#path(path), 'buffer');
  }
  mknod(): Promise<void> {
    return unsupported('mknod');
  }
  chmod(path: Path, mode: number): Promise<void> {
    return this.#fs.chmod(this.#path(path), mode);
  }
  chown(path: Path, uid: number, gid: number): Promise<void> {
    return this.#fs.chown(this.#path(path), uid, gid);
  }
  lchown(path: Path, uid: number, gid: number): Promise<void> {
    return this.#fs.lchown(this.#path(path), uid, gid);
  }
  utimens(path: Path, atime: TimeChange, mtime: TimeChange): Promise<void> {
    return this.#fs.utimes(this.#path(path), seconds(atime), seconds(mtime));
  }
  lutimens(path: Path, atime: TimeChange, mtime: TimeChange): Promise<void> {
    return this.#fs.lutimes(this.#path(path), seconds(atime), seconds(mtime));
  }
  truncate(path: Path, size: number): Promise<void> {
    return this.#fs.truncate(this.#path(path), size);
  }
  access(path: Path, mask: number): Promise<void> {
    return this.#fs.access(this.#path(path), mask);
  }
  async readdir(path: Path): Promise<DirectoryItem[]> {
    const options = { encoding: 'buffer', withFileTypes: true } as const;
    const entries = (await this.#fs.readdir(this.#path(path), options)) as readonly ByteDirent[];
    return entries.map((entry) => ({
      name: Buffer.from(entry.name),
      ino: 0,
      type: typeOf(entry),
    }));
  }
  async statfs(path: Path): Promise<Statfs> {
    const found = await this.#fs.statfs(this.#path(path));
    return {
      blockBytes: found.bsize,
      blocks: found.blocks,
      blocksFree: found.bfree,
      blocksAvailable: found.bavail,
      files: found.files,
      filesFree: found.ffree,
      nameBytesMax: 0,
    };
  }
  getxattr(): Promise<Buffer> {
    return unsupported('getxattr');
  }
  setxattr(): Promise<void> {
    return unsupported('setxattr');
  }
  listxattr(): Promise<string[]> {
    return unsupported('listxattr');
  }
  removexattr(): Promise<void> {
    return unsupported('removexattr');
  }
  umask(): Promise<number> {
    return unsupported('umask');
  }
  interrupt(): void {
    this.#process.waiting.abort();
    this.#process.waiting = new AbortController();
  }
  kill(): Promise<void> {
    return this.close();
  }
  async close(): Promise<void> {
    for (const file of this.#process.open) await file.close();
  }
}
