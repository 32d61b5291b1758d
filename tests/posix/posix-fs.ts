/**
 * A file system as the suite sees it: system calls on paths below one root, as some user, in some process. Three
 * adapters give it: `SystemFs` (the kernel's own calls: a local directory or a mount), `PromisesFs` (anything with the
 * shape of `node:fs/promises`) and `VfsFs` (a raw Vfs).
 *
 * - Paths are relative to the root; a string is UTF-8, a Uint8Array any bytes.
 * - Every error has `code`, the name of its errno (EAGAIN and EOPNOTSUPP, never their other names).
 * - umask is 0 until `umask` is called.
 */
import { constants } from 'node:fs';

export type Path = string | Uint8Array;

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

export interface Stat {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  /** Of 512 bytes. */
  readonly blocks: number;
  /** Nanoseconds since 1970. */
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
}

export interface DirectoryItem {
  readonly name: Buffer;
  readonly ino: number;
  /** S_IFMT bits; 0 when the file system does not say. */
  readonly type: number;
}

export interface Statfs {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameBytesMax: number;
}

/** Nanoseconds since 1970, the time of the file system, or left as it is. */
export type TimeChange = bigint | 'now' | 'omit';

export type LockKind = 'posix' | 'ofd' | 'flock';
export type LockType = 'read' | 'write' | 'unlock';
/** `length` 0: to the end of the file, however it grows. */
export interface LockRange {
  readonly type: LockType;
  readonly start: number;
  readonly length: number;
}

export interface File {
  /** Fewer bytes than asked for only at the end. */
  read(offset: number, length: number): Promise<Buffer>;
  /** All of it, or an error. Of a file opened to append, `offset` is not looked at. */
  write(offset: number, data: Uint8Array): Promise<void>;
  stat(): Promise<Stat>;
  truncate(size: number): Promise<void>;
  sync(dataOnly: boolean): Promise<void>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  utimens(atime: TimeChange, mtime: TimeChange): Promise<void>;
  /** `mode`: bits of fallocate(2). */
  allocate(mode: number, offset: number, length: number): Promise<void>;
  seek(offset: number, what: 'data' | 'hole'): Promise<number>;
  copyTo(offset: number, target: File, targetOffset: number, length: number): Promise<number>;
  mapRead(offset: number, length: number): Promise<Buffer>;
  mapWrite(offset: number, data: Uint8Array): Promise<void>;
  /** Waits when `wait`; EAGAIN otherwise. flock has no ranges. */
  lock(kind: LockKind, range: LockRange, wait: boolean): Promise<void>;
  /** The lock in the way; undefined when there is none. */
  testLock(kind: 'posix' | 'ofd', range: LockRange): Promise<LockRange | undefined>;
  /** Of a directory: some more entries, `.` and `..` among them; none at the end. */
  readEntries(bytes: number): Promise<DirectoryItem[]>;
  close(): Promise<void>;
}

/** What an adapter may not have; a case that needs it is skipped, with the reason in the report. */
export const CAPABILITIES = [
  /** The caller is root. */
  'root',
  /** Calls as other users. */
  'users',
  /** Processes of their own. */
  'processes',
  /** mkfifo and mknod. */
  'nodes',
  'xattrs',
  'locks',
  'flock',
  'fallocate',
  /** FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE. */
  'shift',
  'holes',
  'copyRange',
  'mmap',
  'renameFlags',
  /** utimens with exact nanoseconds, 'now' and 'omit'. */
  'utimens',
  /** Names that are not UTF-8. */
  'bytes',
  /** `.` and `..` are listed, entries come in parts. */
  'readEntries',
  /** atime follows relatime. */
  'relatime',
  'umask',
  /** Calls reach the kernel as they are: PATH_MAX, negative sizes, fifos that open. */
  'kernel',
  'statfs',
  'access',
] as const;
export type Capability = (typeof CAPABILITIES)[number];

export interface PosixFs {
  readonly name: string;
  readonly can: ReadonlySet<Capability>;
  readonly user: User;
  /** The same process with other credentials, on its own open files. */
  as(user: User): PosixFs;
  /** Another process on the same files; `close` ends it. */
  process(): Promise<PosixFs>;

  open(path: Path, flags: number, mode?: number): Promise<File>;
  stat(path: Path): Promise<Stat>;
  lstat(path: Path): Promise<Stat>;
  mkdir(path: Path, mode: number): Promise<void>;
  rmdir(path: Path): Promise<void>;
  unlink(path: Path): Promise<void>;
  /** `flags`: RENAME bits of renameat2(2). */
  rename(from: Path, to: Path, flags?: number): Promise<void>;
  link(from: Path, to: Path): Promise<void>;
  symlink(target: Path, path: Path): Promise<void>;
  readlink(path: Path): Promise<Buffer>;
  /** `mode` with the S_IFMT bits. */
  mknod(path: Path, mode: number, rdev: number): Promise<void>;
  chmod(path: Path, mode: number): Promise<void>;
  /** -1: as it is. */
  chown(path: Path, uid: number, gid: number): Promise<void>;
  lchown(path: Path, uid: number, gid: number): Promise<void>;
  utimens(path: Path, atime: TimeChange, mtime: TimeChange): Promise<void>;
  lutimens(path: Path, atime: TimeChange, mtime: TimeChange): Promise<void>;
  truncate(path: Path, size: number): Promise<void>;
  /** `mask`: R_OK 4, W_OK 2, X_OK 1, with the effective ids. */
  access(path: Path, mask: number): Promise<void>;
  /** Without `.` and `..`. */
  readdir(path: Path): Promise<DirectoryItem[]>;
  statfs(path: Path): Promise<Statfs>;
  getxattr(path: Path, name: string): Promise<Buffer>;
  setxattr(path: Path, name: string, value: Uint8Array, flags?: number): Promise<void>;
  listxattr(path: Path): Promise<string[]>;
  removexattr(path: Path, name: string): Promise<void>;
  /** Answers the old one. */
  umask(mask: number): Promise<number>;
  /** A signal to this process: a waiting call answers EINTR. */
  interrupt(): void;
  /** As kill -9: the kernel closes its files. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

export const O = {
  RDONLY: constants.O_RDONLY,
  WRONLY: constants.O_WRONLY,
  RDWR: constants.O_RDWR,
  CREAT: constants.O_CREAT,
  EXCL: constants.O_EXCL,
  TRUNC: constants.O_TRUNC,
  APPEND: constants.O_APPEND,
  DIRECTORY: constants.O_DIRECTORY,
  NOFOLLOW: constants.O_NOFOLLOW,
  NONBLOCK: constants.O_NONBLOCK,
  SYNC: constants.O_SYNC,
  DSYNC: constants.O_DSYNC,
  DIRECT: constants.O_DIRECT,
} as const;

export const S = {
  IFMT: 0o170000,
  IFREG: 0o100000,
  IFDIR: 0o040000,
  IFLNK: 0o120000,
  IFIFO: 0o010000,
  IFCHR: 0o020000,
  IFBLK: 0o060000,
  IFSOCK: 0o140000,
} as const;

/** The longest target. */
export const SYMLINK_BYTES_MAX = 4095;
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2 } as const;
export const XATTR = { CREATE: 1, REPLACE: 2 } as const;
export const FALLOC = {
  KEEP_SIZE: 1,
  PUNCH_HOLE: 2,
  COLLAPSE_RANGE: 8,
  ZERO_RANGE: 16,
  INSERT_RANGE: 32,
} as const;

/** An error of an adapter: `code` as in Node's errors. */
export class PosixError extends Error {
  readonly code: string;
  readonly call: string;

  constructor(code: string, call: string) {
    super(`${code}: ${call}`);
    this.name = 'PosixError';
    this.code = code;
    this.call = call;
  }
}

/** The errno of an error; an error without one is a bug and is thrown again. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) throw error;
  if (code === 'EWOULDBLOCK') return 'EAGAIN';
  if (code === 'ENOTSUP') return 'EOPNOTSUPP';
  return code;
}

export function bytesOf(path: Path): Buffer {
  return typeof path === 'string' ? Buffer.from(path) : Buffer.from(path);
}

/** `directory/name`, where `name` may be any bytes. */
export function below(directory: string, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), name]);
}

/** Everything below `path`, and `path` itself. */
export async function removeTree(fs: PosixFs, path: Path): Promise<void> {
  const stat = await fs.lstat(path);
  if ((stat.mode & S.IFMT) !== S.IFDIR) return fs.unlink(path);
  for (const item of await fs.readdir(path)) {
    await removeTree(fs, Buffer.concat([bytesOf(path), Buffer.from('/'), item.name]));
  }
  return fs.rmdir(path);
}

export async function writeFile(
  fs: PosixFs,
  path: Path,
  data: string | Uint8Array = '',
  mode = 0o644,
): Promise<void> {
  const file = await fs.open(path, O.WRONLY | O.CREAT | O.TRUNC, mode);
  try {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    if (bytes.length > 0) await file.write(0, bytes);
  } finally {
    await file.close();
  }
}

export async function readFile(fs: PosixFs, path: Path): Promise<Buffer> {
  const file = await fs.open(path, O.RDONLY);
  try {
    const parts: Buffer[] = [];
    for (let offset = 0; ;) {
      const part = await file.read(offset, 262_144);
      if (part.length === 0) return Buffer.concat(parts);
      parts.push(part);
      offset += part.length;
    }
  } finally {
    await file.close();
  }
}
