/** Inodes of the memory file system: attributes, kinds of content, permission rules. */
import {
  type Attributes,
  type Caller,
  type DirectoryEntry,
  FsError,
  type Ino,
} from '#fs-frontend/vfs/vfs.js';
import type { SparseBytes } from './sparse-bytes.js';

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
const S_IXGRP = 0o010;

export const READ = 4;
export const WRITE = 2;
export const EXECUTE = 1;

export interface Time {
  readonly sec: number;
  readonly nsec: number;
}

interface Name {
  readonly name: Uint8Array;
  readonly key: string;
  ino: Ino;
  readonly cookie: number;
  dead: boolean;
}

/** Names in the order they came; a cookie is a name's number in that order. */
export class MemoryDirectory {
  readonly #byKey = new Map<string, Name>();
  #order: Name[] = [];
  #cookie = 3;

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): Ino | undefined {
    return this.#byKey.get(key)?.ino;
  }

  set(key: string, ino: Ino): void {
    const before = this.#byKey.get(key);
    if (before !== undefined) {
      before.ino = ino;
      return;
    }
    const name: Name = {
      name: new Uint8Array(Buffer.from(key, 'latin1')),
      key,
      ino,
      cookie: this.#cookie++,
      dead: false,
    };
    this.#byKey.set(key, name);
    this.#order.push(name);
  }

  delete(key: string): void {
    const name = this.#byKey.get(key);
    if (name === undefined) return;
    this.#byKey.delete(key);
    name.dead = true;
    if (this.#order.length > 32 && this.#byKey.size * 2 < this.#order.length) {
      this.#order = this.#order.filter(({ dead }) => !dead);
    }
  }

  /** Names behind a cookie, until `bytesMax` bytes of names. */
  list(cookie: number, bytesMax: number): Pick<DirectoryEntry, 'name' | 'ino' | 'cookie'>[] {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#order[middle] as Name).cookie <= cookie) low = middle + 1;
      else high = middle;
    }
    const found: Name[] = [];
    for (let bytes = 0; low < this.#order.length && bytes < bytesMax; low++) {
      const name = this.#order[low] as Name;
      if (name.dead) continue;
      found.push(name);
      bytes += name.name.length;
    }
    return found;
  }
}

export interface MemoryNode {
  readonly ino: Ino;
  readonly generation: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  readonly rdev: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
  readonly birth: Time;
  /** Handles that are open. */
  opens: number;
  /** Of a directory. */
  parent: Ino;
  readonly bytes: SparseBytes;
  readonly names: MemoryDirectory;
  readonly target: Uint8Array;
  readonly xattrs: Map<string, Uint8Array>;
}

export function typeOf(node: MemoryNode): number {
  return node.mode & S_IFMT;
}
export function isDirectory(node: MemoryNode): boolean {
  return typeOf(node) === S_IFDIR;
}
export function isFile(node: MemoryNode): boolean {
  return typeOf(node) === S_IFREG;
}

export function attributesOf(node: MemoryNode): Attributes {
  const size = isFile(node) ? node.bytes.size : isDirectory(node) ? 4096 : node.target.length;
  return {
    ino: node.ino,
    generation: node.generation,
    mode: node.mode,
    nlink: node.nlink,
    uid: node.uid,
    gid: node.gid,
    rdev: node.rdev,
    size,
    blocks: isDirectory(node) ? 8 : node.bytes.blocks,
    atimeSec: node.atime.sec,
    atimeNsec: node.atime.nsec,
    mtimeSec: node.mtime.sec,
    mtimeNsec: node.mtime.nsec,
    ctimeSec: node.ctime.sec,
    ctimeNsec: node.ctime.nsec,
    birthSec: node.birth.sec,
    birthNsec: node.birth.nsec,
  };
}

export function inGroup(caller: Caller, gid: number): boolean {
  return caller.gid === gid || caller.groups.includes(gid);
}

/** Owner, else group, else other; root may everything but execute what nobody may execute. */
export function allows(node: MemoryNode, mask: number, caller: Caller): boolean {
  if (caller.uid === 0) {
    if ((mask & EXECUTE) === 0 || isDirectory(node)) return true;
    return (node.mode & 0o111) !== 0;
  }
  let bits = node.mode & 7;
  if (caller.uid === node.uid) bits = (node.mode >> 6) & 7;
  else if (inGroup(caller, node.gid)) bits = (node.mode >> 3) & 7;
  return (bits & mask) === mask;
}

export function demand(node: MemoryNode, mask: number, caller: Caller): void {
  if (!allows(node, mask, caller)) throw new FsError('EACCES');
}

/** Sticky directories: only the owner of the name's inode or of the directory takes a name away. */
export function demandSticky(parent: MemoryNode, node: MemoryNode, caller: Caller): void {
  if ((parent.mode & S_ISVTX) === 0 || caller.uid === 0) return;
  if (caller.uid !== node.uid && caller.uid !== parent.uid) throw new FsError('EPERM');
}

/** Content or owner changed: setuid goes, setgid too where it means a group (not mandatory locking), capabilities. */
export function killPrivileges(node: MemoryNode): void {
  if (!isFile(node)) return;
  node.mode &= ~S_ISUID;
  if ((node.mode & S_IXGRP) !== 0) node.mode &= ~S_ISGID;
  node.xattrs.delete('security.capability');
}

/** Mode and group of what is made in a directory (setgid directories hand their group down). */
export function inherited(
  parent: MemoryNode,
  mode: number,
  caller: Caller,
): { mode: number; gid: number } {
  if ((parent.mode & S_ISGID) === 0) return { mode, gid: caller.gid };
  const { gid } = parent;
  if ((mode & S_IFMT) === S_IFDIR) return { mode: mode | S_ISGID, gid };
  const stripped = (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
  if (stripped && caller.uid !== 0 && !inGroup(caller, gid)) return { mode: mode & ~S_ISGID, gid };
  return { mode, gid };
}
