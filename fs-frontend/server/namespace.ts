/**
 * Names: lookup, create, mkdir, mknod, symlink, link, unlink, rmdir. Rename has a file of its own.
 *
 * Each takes the locks of the directory and of what its name leads to, and decides on what it finds under them. A new inode
 * comes out of a segment that is held here, so it needs no lock of its own to be made (rule 8).
 */
import type { Block } from '../format/block.js';
import { insertEntry, isEmptyDirectory, lookupEntry, removeEntry } from '../format/directory.js';
import {
  InodeState as Stored,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  initInode,
  inoOf,
  parentOf,
  projectOf,
  stateOf,
} from '../format/inode.js';
import { readSmallWhole, writeSmall } from '../format/small-content.js';
import {
  FsError,
  LINK_MAX,
  SYMLINK_BYTES_MAX,
  type Attributes,
  type Caller,
  type Entry,
  type Ino,
} from '../vfs/vfs.js';
import { attributesOf, dropLink, dropped, editInode, stamp, touchDirectory } from './changes.js';
import type { Operation } from './operation.js';
import {
  S_ISGID,
  S_IXGRP,
  W_OK,
  X_OK,
  inGroup,
  isDirectory,
  isDot,
  isDotDot,
  requireAccess,
  requireDirectory,
  requireName,
  requireSticky,
} from './permissions.js';

/** The directory, locked, if the caller may look names up in it, or change them too. */
export function directory(op: Operation, ino: Ino, caller: Caller, change: boolean): Block {
  op.lock(ino, change);
  const { core } = op;
  const header = core.header(ino);
  const attributes = attributesOf(core, header);
  requireDirectory(attributes);
  requireAccess(attributes, change ? W_OK | X_OK : X_OK, caller);
  return header;
}

export function lookup(op: Operation, parent: Ino, name: Uint8Array, caller: Caller): Entry {
  const { core } = op;
  const header = directory(op, parent, caller, false);
  if (isDot(name)) return core.entry(parent);
  let child: Ino;
  if (isDotDot(name)) child = parentOf(header);
  else {
    requireName(name);
    const found = lookupEntry(core.cache, header, name);
    if (found === undefined) throw new FsError('ENOENT');
    child = found.ino;
  }
  op.lock(child, false);
  return core.entry(child);
}

/** For names that are to be made. */
function requireNew(name: Uint8Array): void {
  if (isDot(name) || isDotDot(name)) throw new FsError('EEXIST');
  requireName(name);
}

/** Makes an inode and its entry within the transaction under way; `made` after the commit. */
function makeInode(
  op: Operation,
  parent: Block,
  name: Uint8Array,
  mode: number,
  rdev: number,
  caller: Caller,
): Block {
  const { core } = op;
  const { tx } = core;
  const of = attributesOf(core, parent);
  const isDir = (mode & S_IFMT) === S_IFDIR;
  let gid = caller.gid;
  let full = mode;
  if ((of.mode & S_ISGID) !== 0) {
    gid = of.gid;
    if (isDir) full |= S_ISGID;
    else if ((mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)) {
      if (caller.uid !== 0 && !inGroup(caller, gid)) full &= ~S_ISGID;
    }
  }
  const ino = core.allocator.inode(of.ino);
  const generation = core.clerk.clock + 1;
  const header = initInode(tx, ino, {
    generation,
    mode: full,
    nlink: isDir ? 2 : 1,
    uid: caller.uid,
    gid,
    rdev,
    now: core.now(),
    project: projectOf(parent),
    parent: isDir ? of.ino : 0,
    seed: isDir ? (core.world.random.u32() | 1) >>> 0 : 0,
  });
  insertEntry(tx, parent, name, ino, generation, full);
  touchDirectory(op, parent, isDir ? 1 : 0);
  return header;
}

/** After the commit: the inode is in memory, its lock on the way. */
function made(op: Operation, header: Block): Ino {
  const ino = inoOf(header);
  op.core.newcomers.adopt(ino, header);
  return ino;
}

export function makeNode(
  op: Operation,
  parent: Ino,
  name: Uint8Array,
  mode: number,
  rdev: number,
  caller: Caller,
): Entry {
  requireNew(name);
  const { core } = op;
  const header = directory(op, parent, caller, true);
  requireAlive(header);
  requireAbsent(op, header, name);
  const type = mode & S_IFMT;
  if (type === S_IFDIR || type === S_IFLNK) throw new FsError('EINVAL');
  op.begin();
  const full = (type === 0 ? S_IFREG : type) | (mode & 0o7777);
  const inode = makeInode(op, header, name, full, rdev, caller);
  op.commit();
  return core.entry(made(op, inode));
}

export function makeDirectory(
  op: Operation,
  parent: Ino,
  name: Uint8Array,
  mode: number,
  caller: Caller,
): Entry {
  requireNew(name);
  const { core } = op;
  const header = directory(op, parent, caller, true);
  requireAlive(header);
  requireAbsent(op, header, name);
  if (attributesOf(core, header).nlink >= LINK_MAX) throw new FsError('EMLINK');
  op.begin();
  const inode = makeInode(op, header, name, S_IFDIR | (mode & 0o7777), 0, caller);
  op.commit();
  return core.entry(made(op, inode));
}

export function symlink(
  op: Operation,
  parent: Ino,
  name: Uint8Array,
  target: Uint8Array,
  caller: Caller,
): Entry {
  requireNew(name);
  if (target.length === 0) throw new FsError('ENOENT');
  if (target.length > SYMLINK_BYTES_MAX) throw new FsError('ENAMETOOLONG');
  const { core } = op;
  const header = directory(op, parent, caller, true);
  requireAlive(header);
  requireAbsent(op, header, name);
  op.begin();
  const inode = makeInode(op, header, name, S_IFLNK | 0o777, 0, caller);
  writeSmall(core.tx, inode, 0, target, 0, target.length);
  op.commit();
  return core.entry(made(op, inode));
}

export function readLink(op: Operation, ino: Ino): Uint8Array {
  op.lock(ino, false);
  const { core } = op;
  const header = core.header(ino);
  if ((attributesOf(core, header).mode & S_IFMT) !== S_IFLNK) throw new FsError('EINVAL');
  return readSmallWhole(core.cache, header);
}

/** A directory that was removed takes no new names. */
export function requireAlive(directoryHeader: Block): void {
  if (stateOf(directoryHeader) === Stored.orphan) throw new FsError('ENOENT');
}

function requireAbsent(op: Operation, parent: Block, name: Uint8Array): void {
  if (lookupEntry(op.core.cache, parent, name) !== undefined) throw new FsError('EEXIST');
}

export interface Opened {
  readonly ino: Ino;
  readonly isNew: boolean;
}

/** For O_CREAT: the inode of that name, made if there is none. */
export function createFile(
  op: Operation,
  parent: Ino,
  name: Uint8Array,
  mode: number,
  exclusive: boolean,
  caller: Caller,
): Opened {
  if (isDot(name) || isDotDot(name)) throw new FsError(exclusive ? 'EEXIST' : 'EISDIR');
  requireName(name);
  const { core } = op;
  op.lock(parent, true);
  const header = core.header(parent);
  const attributes = attributesOf(core, header);
  requireDirectory(attributes);
  requireAccess(attributes, X_OK, caller);
  const found = lookupEntry(core.cache, header, name);
  if (found !== undefined) {
    if (exclusive) throw new FsError('EEXIST');
    if (found.type === S_IFLNK) throw new FsError('ELOOP');
    return { ino: found.ino, isNew: false };
  }
  requireAlive(header);
  requireAccess(attributes, W_OK, caller);
  op.begin();
  const inode = makeInode(op, header, name, S_IFREG | (mode & 0o7777), 0, caller);
  op.commit();
  return { ino: made(op, inode), isNew: true };
}

export function link(
  op: Operation,
  ino: Ino,
  parent: Ino,
  name: Uint8Array,
  caller: Caller,
): Entry {
  requireNew(name);
  const { core } = op;
  const header = directory(op, parent, caller, true);
  requireAlive(header);
  requireAbsent(op, header, name);
  op.lock(ino, true);
  const inode = core.header(ino);
  const attributes = attributesOf(core, inode);
  if (isDirectory(attributes)) throw new FsError('EPERM');
  if (attributes.nlink === 0) throw new FsError('ENOENT');
  if (attributes.nlink >= LINK_MAX) throw new FsError('EMLINK');
  op.begin();
  insertEntry(core.tx, header, name, ino, attributes.generation, attributes.mode);
  editInode(op, inode, { nlink: attributes.nlink + 1, ctime: stamp(core, attributes) });
  touchDirectory(op, header, 0);
  op.commit();
  return core.entry(ino);
}

/** What a name leads to, locked to be changed. */
export function child(op: Operation, parent: Block, name: Uint8Array): Block {
  const { core } = op;
  const found = lookupEntry(core.cache, parent, name);
  if (found === undefined) throw new FsError('ENOENT');
  op.lock(found.ino, true);
  return core.header(found.ino);
}

export function unlink(op: Operation, parent: Ino, name: Uint8Array, caller: Caller): void {
  if (isDot(name) || isDotDot(name)) throw new FsError('EISDIR');
  requireName(name);
  const { core } = op;
  const header = directory(op, parent, caller, true);
  const inode = child(op, header, name);
  const attributes = attributesOf(core, inode);
  requireSticky(attributesOf(core, header), attributes, caller);
  if (isDirectory(attributes)) throw new FsError('EISDIR');
  op.begin();
  removeEntry(core.tx, header, name);
  touchDirectory(op, header, 0);
  const what = dropLink(op, inode);
  op.commit();
  dropped(op, inode, what);
}

export function removeDirectory(
  op: Operation,
  parent: Ino,
  name: Uint8Array,
  caller: Caller,
): void {
  if (isDot(name)) throw new FsError('EINVAL');
  if (isDotDot(name)) throw new FsError('ENOTEMPTY');
  requireName(name);
  const { core } = op;
  const header = directory(op, parent, caller, true);
  const inode = child(op, header, name);
  const attributes = attributesOf(core, inode);
  requireSticky(attributesOf(core, header), attributes, caller);
  requireEmptyDirectory(attributes, inode);
  op.begin();
  removeEntry(core.tx, header, name);
  touchDirectory(op, header, -1);
  const what = dropLink(op, inode);
  op.commit();
  dropped(op, inode, what);
}

export function requireEmptyDirectory(attributes: Attributes, header: Block): void {
  requireDirectory(attributes);
  if (!isEmptyDirectory(header)) throw new FsError('ENOTEMPTY');
}
