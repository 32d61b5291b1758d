/**
 * Rename, with all its cases. Locks: both directories, what moves, what is replaced; and when a directory changes its parent,
 * the one global rename lock and every directory above the new place, so that no two moves make a circle (rule 9).
 */
import type { Block } from '../format/block.js';
import { insertEntry, lookupEntry, removeEntry, replaceEntry } from '../format/directory.js';
import { inoOf, parentOf } from '../format/inode.js';
import { RENAME_LOCK } from '../format/layout.js';
import {
  FsError,
  LINK_MAX,
  ROOT_INO,
  RenameFlag,
  type Attributes,
  type Caller,
  type Ino,
} from '../vfs/vfs.js';
import { attributesOf, dropLink, dropped, editInode, stamp, type Dropped } from './changes.js';
import { child, directory, requireAlive, requireEmptyDirectory } from './namespace.js';
import type { Operation } from './operation.js';
import {
  W_OK,
  isDirectory,
  isDot,
  isDotDot,
  requireAccess,
  requireName,
  requireSticky,
} from './permissions.js';

/** Directories above one another, at most: the walk up ends. */
const DEPTH_MAX = 100_000;

export function rename(
  op: Operation,
  parent: Ino,
  name: Uint8Array,
  newParent: Ino,
  newName: Uint8Array,
  flags: number,
  caller: Caller,
): void {
  if (
    flags !== RenameFlag.none &&
    flags !== RenameFlag.noReplace &&
    flags !== RenameFlag.exchange
  ) {
    throw new FsError('EINVAL');
  }
  for (const one of [name, newName]) {
    if (isDot(one) || isDotDot(one)) throw new FsError('EBUSY');
    requireName(one);
  }
  const { core } = op;
  const from = directory(op, parent, caller, true);
  const to = newParent === parent ? from : directory(op, newParent, caller, true);
  const source = child(op, from, name);
  const moved = attributesOf(core, source);
  requireSticky(attributesOf(core, from), moved, caller);
  const found = lookupEntry(core.cache, to, newName);
  if (found === undefined && flags === RenameFlag.exchange) throw new FsError('ENOENT');
  if (found !== undefined && flags === RenameFlag.noReplace) throw new FsError('EEXIST');
  if (found?.ino === moved.ino) return;
  const target = found === undefined ? undefined : child(op, to, newName);
  const replaced = target === undefined ? undefined : attributesOf(core, target);
  if (replaced !== undefined) requireSticky(attributesOf(core, to), replaced, caller);
  if (parent !== newParent) {
    moveAllowed(op, source, moved, newParent, caller);
    if (flags === RenameFlag.exchange && target !== undefined && replaced !== undefined) {
      moveAllowed(op, target, replaced, parent, caller);
    }
  }
  requireAlive(to);
  if (flags === RenameFlag.exchange && target !== undefined && replaced !== undefined) {
    exchange(op, { from, to, name, newName }, source, moved, target, replaced);
    return;
  }
  if (target !== undefined && replaced !== undefined) requireReplaceable(moved, replaced, target);
  move(op, { from, to, name, newName }, source, moved, target, replaced);
}

function requireReplaceable(moved: Attributes, replaced: Attributes, target: Block): void {
  if (isDirectory(moved)) requireEmptyDirectory(replaced, target);
  else if (isDirectory(replaced)) throw new FsError('EISDIR');
}

/** A directory that moves elsewhere: its `..` changes, and it must not end below itself. */
function moveAllowed(
  op: Operation,
  source: Block,
  moved: Attributes,
  newParent: Ino,
  caller: Caller,
): void {
  if (!isDirectory(moved)) return;
  requireAccess(moved, W_OK, caller);
  const { core } = op;
  op.lockId(RENAME_LOCK, 'exclusive');
  const ino = inoOf(source);
  let at = newParent;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    if (at === ino) throw new FsError('EINVAL');
    if (at === ROOT_INO) return;
    op.lock(at, false);
    at = parentOf(core.header(at));
  }
  throw new FsError('ELOOP');
}

interface Places {
  readonly from: Block;
  readonly to: Block;
  readonly name: Uint8Array;
  readonly newName: Uint8Array;
}

function move(
  op: Operation,
  { from, to, name, newName }: Places,
  source: Block,
  moved: Attributes,
  target: Block | undefined,
  replaced: Attributes | undefined,
): void {
  const { core } = op;
  const { tx } = core;
  const isDir = isDirectory(moved);
  const crosses = from !== to;
  if (isDir && crosses && replaced === undefined) {
    if (attributesOf(core, to).nlink >= LINK_MAX) throw new FsError('EMLINK');
  }
  op.begin();
  let what: Dropped = 'kept';
  removeEntry(tx, from, name);
  if (target === undefined) insertEntry(tx, to, newName, moved.ino, moved.generation, moved.mode);
  else {
    replaceEntry(tx, to, newName, moved.ino, moved.generation, moved.mode);
    what = dropLink(op, target);
  }
  const lost = isDir ? 1 : 0;
  const gained = isDir && replaced === undefined ? 1 : 0;
  changeParent(op, from, crosses ? -lost : gained - lost);
  if (crosses) changeParent(op, to, gained);
  editInode(op, source, {
    ctime: stamp(core, moved),
    ...(isDir && crosses ? { parent: inoOf(to) } : {}),
  });
  op.commit();
  if (target !== undefined) dropped(op, target, what);
}

function exchange(
  op: Operation,
  { from, to, name, newName }: Places,
  source: Block,
  moved: Attributes,
  target: Block,
  other: Attributes,
): void {
  const { core } = op;
  const { tx } = core;
  const crosses = from !== to;
  op.begin();
  replaceEntry(tx, to, newName, moved.ino, moved.generation, moved.mode);
  replaceEntry(tx, from, name, other.ino, other.generation, other.mode);
  const links = (isDirectory(other) ? 1 : 0) - (isDirectory(moved) ? 1 : 0);
  changeParent(op, from, crosses ? links : 0);
  if (crosses) changeParent(op, to, -links);
  editInode(op, source, {
    ctime: stamp(core, moved),
    ...(isDirectory(moved) && crosses ? { parent: inoOf(to) } : {}),
  });
  editInode(op, target, {
    ctime: stamp(core, other),
    ...(isDirectory(other) && crosses ? { parent: inoOf(from) } : {}),
  });
  op.commit();
}

function changeParent(op: Operation, header: Block, links: number): void {
  const { core } = op;
  const attributes = attributesOf(core, header);
  const now = stamp(core, attributes);
  editInode(op, header, { mtime: now, ctime: now, nlink: attributes.nlink + links });
}
