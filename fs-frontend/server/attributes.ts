/** Attributes of inodes: stat, chmod, chown, utimens, access. Sizes are changed in content-size.ts. */
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type InodeChanges } from '../format/inode.js';
import {
  FsError,
  type AttributeChanges,
  type Attributes,
  type Caller,
  type Entry,
  type Ino,
} from '../vfs/vfs.js';
import { attributesOf, editInode, stamp } from './changes.js';
import { resize } from './content-size.js';
import type { Operation } from './operation.js';
import { S_ISGID, W_OK, inGroup, requireAccess, withoutSetIds } from './permissions.js';

export function getAttributes(op: Operation, ino: Ino): Entry {
  op.lock(ino, false);
  return op.core.entry(ino);
}

export function access(op: Operation, ino: Ino, mask: number, caller: Caller): void {
  op.lock(ino, false);
  const { core } = op;
  if (mask !== 0) requireAccess(attributesOf(core, core.header(ino)), mask, caller);
}

/** `open`: the size is changed through a handle that may write, so the mode is not asked. */
export function setAttributes(
  op: Operation,
  ino: Ino,
  changes: AttributeChanges,
  caller: Caller,
  open: boolean,
): Entry {
  const { core } = op;
  if (changes.size === undefined) op.lock(ino, true);
  else op.lockForContent(ino);
  const header = core.header(ino);
  const attributes = attributesOf(core, header);
  const inode: InodeChanges = {};
  changeMode(inode, attributes, changes, caller);
  changeOwner(inode, attributes, changes, caller);
  changeTimes(op, inode, attributes, changes, caller);
  if (changes.size !== undefined) {
    const type = attributes.mode & S_IFMT;
    if (type === S_IFDIR) throw new FsError('EISDIR');
    if (type !== S_IFREG) throw new FsError('EINVAL');
    if (!open) requireAccess(attributes, W_OK, caller);
    const before = inode.mode ?? attributes.mode;
    const mode = caller.uid === 0 ? before : withoutSetIds(before);
    if (mode !== attributes.mode) inode.mode = mode;
    resize(op, header, changes.size, inode);
  } else {
    inode.ctime = stamp(core, attributes);
    op.begin();
    editInode(op, header, inode);
    op.commit();
  }
  return core.entry(ino);
}

function changeMode(
  inode: InodeChanges,
  attributes: Attributes,
  { mode }: AttributeChanges,
  caller: Caller,
): void {
  if (mode === undefined) return;
  if (caller.uid !== 0 && caller.uid !== attributes.uid) throw new FsError('EPERM');
  if ((attributes.mode & S_IFMT) === S_IFLNK) throw new FsError('EOPNOTSUPP');
  let wanted = mode & 0o7777;
  if (caller.uid !== 0 && !inGroup(caller, attributes.gid)) wanted &= ~S_ISGID;
  inode.mode = (attributes.mode & S_IFMT) | wanted;
}

function changeOwner(
  inode: InodeChanges,
  attributes: Attributes,
  { uid, gid }: AttributeChanges,
  caller: Caller,
): void {
  if (uid === undefined && gid === undefined) return;
  const newUid = uid ?? attributes.uid;
  const newGid = gid ?? attributes.gid;
  if (caller.uid !== 0) {
    if (caller.uid !== attributes.uid || newUid !== attributes.uid) throw new FsError('EPERM');
    if (newGid !== attributes.gid && !inGroup(caller, newGid)) throw new FsError('EPERM');
  }
  inode.uid = newUid;
  inode.gid = newGid;
  const mode = inode.mode ?? attributes.mode;
  // As Linux does: for root too, but never for a directory.
  if ((mode & S_IFMT) !== S_IFDIR && inode.mode === undefined) {
    const kept = withoutSetIds(mode);
    if (kept !== mode) inode.mode = kept;
  }
}

function changeTimes(
  op: Operation,
  inode: InodeChanges,
  attributes: Attributes,
  { atime, mtime }: AttributeChanges,
  caller: Caller,
): void {
  if (atime === undefined && mtime === undefined) return;
  const explicit =
    (atime !== undefined && atime !== 'now') || (mtime !== undefined && mtime !== 'now');
  const owner = caller.uid === 0 || caller.uid === attributes.uid;
  if (!owner) {
    // Only "now" for both, and only with the right to write.
    if (explicit || atime === undefined || mtime === undefined) throw new FsError('EPERM');
    requireAccess(attributes, W_OK, caller);
  }
  const now = op.core.now();
  if (atime !== undefined) inode.atime = atime === 'now' ? now : checkedTime(atime);
  if (mtime !== undefined) inode.mtime = mtime === 'now' ? now : checkedTime(mtime);
}

function checkedTime(time: { readonly sec: number; readonly nsec: number }): {
  readonly sec: number;
  readonly nsec: number;
} {
  const { sec, nsec } = time;
  if (!Number.isSafeInteger(sec) || !Number.isInteger(nsec) || nsec < 0 || nsec > 999_999_999) {
    throw new FsError('EINVAL');
  }
  return time;
}
