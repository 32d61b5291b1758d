/** Extended attributes: `user.` by the file's permissions, `trusted.` for root, `security.` and ACLs as plain values. */
import { S_IFDIR, S_IFMT, S_IFREG } from '../format/inode.js';
import {
  getXattr as get,
  listXattrs as list,
  removeXattr as remove,
  setXattr as set,
} from '../format/xattrs.js';
import { FsError, type Attributes, type Caller, type Ino } from '../vfs/vfs.js';
import { attributesOf, editInode, stamp } from './changes.js';
import type { Operation } from './operation.js';
import { R_OK, S_ISVTX, W_OK, requireAccess } from './permissions.js';

const NAME_BYTES_MAX = 255;

function has(name: Uint8Array, prefix: string): boolean {
  if (name.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (name[i] !== prefix.charCodeAt(i)) return false;
  return true;
}

function requireName(name: Uint8Array): void {
  if (name.length === 0 || name.length > NAME_BYTES_MAX) throw new FsError('ERANGE');
  const known = ['user.', 'trusted.', 'security.', 'system.'].find((prefix) => has(name, prefix));
  if (known === undefined) throw new FsError('EOPNOTSUPP');
  if (name.length === known.length) throw new FsError('EINVAL');
}

function requireRight(
  name: Uint8Array,
  attributes: Attributes,
  write: boolean,
  caller: Caller,
): void {
  if (has(name, 'trusted.')) {
    if (caller.uid !== 0) throw new FsError(write ? 'EPERM' : 'ENODATA');
    return;
  }
  if (!has(name, 'user.')) {
    if (write && caller.uid !== 0 && caller.uid !== attributes.uid) throw new FsError('EPERM');
    return;
  }
  const type = attributes.mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFDIR) throw new FsError(write ? 'EPERM' : 'ENODATA');
  const sticky = type === S_IFDIR && (attributes.mode & S_ISVTX) !== 0;
  if (write && sticky && caller.uid !== 0 && caller.uid !== attributes.uid)
    throw new FsError('EPERM');
  requireAccess(attributes, write ? W_OK : R_OK, caller);
}

export function getXattr(op: Operation, ino: Ino, name: Uint8Array, caller: Caller): Uint8Array {
  requireName(name);
  op.lock(ino, false);
  const { core } = op;
  const header = core.header(ino);
  requireRight(name, attributesOf(core, header), false, caller);
  const value = get(core.cache, header, name);
  if (value === undefined) throw new FsError('ENODATA');
  return value;
}

export function listXattr(op: Operation, ino: Ino, caller: Caller): readonly Uint8Array[] {
  op.lock(ino, false);
  const { core } = op;
  const names = list(core.cache, core.header(ino));
  return caller.uid === 0 ? names : names.filter((name) => !has(name, 'trusted.'));
}

export function setXattr(
  op: Operation,
  ino: Ino,
  name: Uint8Array,
  value: Uint8Array,
  flags: number,
  caller: Caller,
): void {
  requireName(name);
  op.lock(ino, true);
  const { core } = op;
  const header = core.header(ino);
  const attributes = attributesOf(core, header);
  requireRight(name, attributes, true, caller);
  op.begin();
  set(core.tx, header, name, value, flags);
  editInode(op, header, { ctime: stamp(core, attributes) });
  op.commit();
}

export function removeXattr(op: Operation, ino: Ino, name: Uint8Array, caller: Caller): void {
  requireName(name);
  op.lock(ino, true);
  const { core } = op;
  const header = core.header(ino);
  const attributes = attributesOf(core, header);
  requireRight(name, attributes, true, caller);
  op.begin();
  remove(core.tx, header, name);
  editInode(op, header, { ctime: stamp(core, attributes) });
  op.commit();
}
