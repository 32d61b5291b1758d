/**
 * The inode-based operations of a file system: what a file server offers, and what the kernel mount and the
 * `node:fs`-shaped API stand on. Names are bytes (any but NUL and `/`, 1 to 255 of them), inodes are numbers, paths do not exist here.
 *
 * ```
 *   fs/promises API: paths, descriptors          FUSE: the kernel's requests
 *                    \                          /
 *                     Vfs (this file): inodes, handles, POSIX semantics, errno
 *                                 |
 *                     file server: locks, cache, log, virtual disk
 * ```
 *
 * - An operation answers at once from memory when it can, and returns a promise only when it must wait (a lock, a block, the
 *   log): callers test `instanceof Promise` and stay synchronous otherwise (rule 26).
 * - Errors are `FsError` with the errno of POSIX. Nothing is half done when one is thrown.
 * - VFS checks permissions by `Caller` (owner, group, other, sticky, setuid/setgid clearing); root passes as in POSIX.
 */
import type { Errno } from './errno.js';

export type Maybe<T> = T | Promise<T>;

/** A file, as long as it exists; never used again for another one with the same `generation`. 1 is the root. */
export type Ino = number;
export const ROOT_INO: Ino = 1;
export const NAME_BYTES_MAX = 255;
export const LINK_MAX = 65_000;
export const SYMLINK_BYTES_MAX = 4095;

export class FsError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno, message?: string) {
    super(message ?? errno);
    this.name = 'FsError';
    this.errno = errno;
  }
}

export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly pid: number;
}

/** As in stat(2); times are whole seconds since 1970 (may be negative) and nanoseconds. */
export interface Attributes {
  readonly ino: Ino;
  readonly generation: number;
  /** Type and permissions, as st_mode. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  /** Of 512 bytes, allocated. */
  readonly blocks: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  readonly birthSec: number;
  readonly birthNsec: number;
}

/** Attributes with how long a kernel may keep them (rule 20): never past the lease's margin. */
export interface Entry {
  readonly attributes: Attributes;
  readonly attributesMs: number;
  readonly nameMs: number;
}

export interface AttributeChanges {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  /** 'now' is the server's time. */
  readonly atime?: 'now' | { readonly sec: number; readonly nsec: number };
  readonly mtime?: 'now' | { readonly sec: number; readonly nsec: number };
}

export const OpenFlag = {
  read: 1,
  write: 2,
  append: 4,
  truncate: 8,
  exclusive: 16,
  direct: 32,
  sync: 64,
  /** Only data, as O_DSYNC. */
  dataSync: 128,
} as const;

/** An open file or directory of this server. */
export type Handle = number;

export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly ino: Ino;
  /** S_IFMT bits of its mode. */
  readonly type: number;
  /** Where to go on behind it: stable while the directory changes. Never 0. */
  readonly cookie: number;
  /** Of readdir with attributes. */
  readonly entry?: Entry;
}

export interface FsStatistics {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameBytesMax: number;
}

/** `end` is exclusive; Number.MAX_SAFE_INTEGER: to the end of the file, however it grows. */
export interface FileLock {
  readonly type: 'read' | 'write' | 'unlock';
  readonly start: number;
  readonly end: number;
  readonly pid: number;
}
export type LockFamily = 'posix' | 'ofd' | 'flock';

export const XattrFlag = { either: 0, create: 1, replace: 2 } as const;
export const FallocateMode = {
  keepSize: 1,
  punchHole: 2,
  collapse: 8,
  zero: 16,
  insert: 32,
} as const;
export const RenameFlag = { none: 0, noReplace: 1, exchange: 2 } as const;

/** How a mount's kernel cache is told (rules 20 to 25); the API has none. */
export interface KernelCache {
  /** Drops pages and attributes of a file, writing dirty mapped pages back through `write` first; resolves when nothing is left. */
  invalidateInode(ino: Ino): Promise<void>;
  /** All names are looked up again. Returns at once. */
  invalidateNames(): void;
  /** A revoke missed its deadline: no request is answered from cache any more. */
  abort(reason: string): void;
}

export interface Vfs {
  attachKernel(cache: KernelCache): void;

  lookup(parent: Ino, name: Uint8Array, caller: Caller): Maybe<Entry>;
  getAttributes(ino: Ino, handle?: Handle): Maybe<Entry>;
  setAttributes(ino: Ino, changes: AttributeChanges, caller: Caller, handle?: Handle): Maybe<Entry>;
  access(ino: Ino, mask: number, caller: Caller): Maybe<void>;
  readLink(ino: Ino): Maybe<Uint8Array>;
  makeNode(parent: Ino, name: Uint8Array, mode: number, rdev: number, caller: Caller): Maybe<Entry>;
  makeDirectory(parent: Ino, name: Uint8Array, mode: number, caller: Caller): Maybe<Entry>;
  symlink(parent: Ino, name: Uint8Array, target: Uint8Array, caller: Caller): Maybe<Entry>;
  link(ino: Ino, parent: Ino, name: Uint8Array, caller: Caller): Maybe<Entry>;
  unlink(parent: Ino, name: Uint8Array, caller: Caller): Maybe<void>;
  removeDirectory(parent: Ino, name: Uint8Array, caller: Caller): Maybe<void>;
  rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    flags: number,
    caller: Caller,
  ): Maybe<void>;

  open(ino: Ino, flags: number, caller: Caller): Maybe<Handle>;
  create(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    flags: number,
    caller: Caller,
  ): Maybe<{ entry: Entry; handle: Handle }>;
  /** Fewer bytes only at the end of the file. The bytes are valid until the next call. */
  read(handle: Handle, offset: number, length: number): Maybe<Uint8Array>;
  /** All of them, or an error. With the append flag `offset` is ignored (rule 25). `data` is copied. */
  write(handle: Handle, offset: number, data: Uint8Array, caller: Caller): Maybe<number>;
  /** A descriptor was closed: releases the owner's posix locks; errors of write-back show here. */
  flush(handle: Handle, owner: string): Maybe<void>;
  fsync(handle: Handle, dataOnly: boolean): Maybe<void>;
  release(handle: Handle): Maybe<void>;
  allocate(handle: Handle, mode: number, offset: number, length: number): Maybe<void>;
  seek(handle: Handle, offset: number, what: 'data' | 'hole'): Maybe<number>;
  copyRange(
    from: Handle,
    fromOffset: number,
    to: Handle,
    toOffset: number,
    length: number,
    caller: Caller,
  ): Maybe<number>;

  openDirectory(ino: Ino, caller: Caller): Maybe<Handle>;
  /** From behind `cookie` (0: the start), about `bytesMax` bytes of names; `.` and `..` included; empty at the end. */
  readDirectory(
    handle: Handle,
    cookie: number,
    bytesMax: number,
    withAttributes: boolean,
  ): Maybe<readonly DirectoryEntry[]>;

  statistics(): Maybe<FsStatistics>;
  getXattr(ino: Ino, name: Uint8Array, caller: Caller): Maybe<Uint8Array>;
  setXattr(
    ino: Ino,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
    caller: Caller,
  ): Maybe<void>;
  listXattr(ino: Ino, caller: Caller): Maybe<readonly Uint8Array[]>;
  removeXattr(ino: Ino, name: Uint8Array, caller: Caller): Maybe<void>;

  /** The lock in the way, or undefined. */
  testLock(handle: Handle, owner: string, lock: FileLock): Maybe<FileLock | undefined>;
  /** Throws EAGAIN when it would have to wait and `wait` is false, EDEADLK, EINTR when `signal` aborts. */
  setLock(
    handle: Handle,
    family: LockFamily,
    owner: string,
    lock: FileLock,
    wait: boolean,
    signal?: AbortSignal,
  ): Maybe<void>;

  /** Everything that was done so far is durable. */
  sync(): Promise<void>;
  /** Writes back, releases locks, ends. */
  close(): Promise<void>;
}
