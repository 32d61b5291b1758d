/** Who may do what: the permission rules of POSIX, by the caller's ids. Root passes, but executes only what somebody may. */
import { S_IFDIR, S_IFMT } from '../format/inode.js';
import { FsError, NAME_BYTES_MAX, type Attributes, type Caller } from '../vfs/vfs.js';

export const R_OK = 4;
export const W_OK = 2;
export const X_OK = 1;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IXGRP = 0o010;

export function inGroup(caller: Caller, gid: number): boolean {
  return caller.gid === gid || caller.groups.includes(gid);
}

export function isDirectory(attributes: Attributes): boolean {
  return (attributes.mode & S_IFMT) === S_IFDIR;
}

/** Has the caller all of `mask` (R_OK | W_OK | X_OK)? */
export function allows(attributes: Attributes, mask: number, caller: Caller): boolean {
  const { mode } = attributes;
  if (caller.uid === 0) {
    return (mask & X_OK) === 0 || (mode & 0o111) !== 0 || isDirectory(attributes);
  }
  let bits = mode;
  if (caller.uid === attributes.uid) bits = mode >> 6;
  else if (inGroup(caller, attributes.gid)) bits = mode >> 3;
  return (bits & mask) === mask;
}

export function requireAccess(attributes: Attributes, mask: number, caller: Caller): void {
  if (!allows(attributes, mask, caller)) throw new FsError('EACCES');
}

export function requireDirectory(attributes: Attributes): void {
  if (!isDirectory(attributes)) throw new FsError('ENOTDIR');
}

/** In a sticky directory only the owner of the entry, of the directory, and root remove or rename it. */
export function requireSticky(directory: Attributes, entry: Attributes, caller: Caller): void {
  if ((directory.mode & S_ISVTX) === 0 || caller.uid === 0) return;
  if (caller.uid !== directory.uid && caller.uid !== entry.uid) throw new FsError('EPERM');
}

/** Mode after somebody but root has changed the content: setuid goes, setgid too where the group may execute. */
export function withoutSetIds(mode: number): number {
  let kept = mode & ~S_ISUID;
  if ((mode & S_IXGRP) !== 0) kept &= ~S_ISGID;
  return kept;
}

/** Of an entry to be made, looked up or removed. Throws EINVAL, ENAMETOOLONG, ENOENT. */
export function requireName(name: Uint8Array): void {
  if (name.length === 0) throw new FsError('ENOENT');
  if (name.length > NAME_BYTES_MAX) throw new FsError('ENAMETOOLONG');
  for (let i = 0; i < name.length; i++) {
    if (name[i] === 0 || name[i] === 0x2f) throw new FsError('EINVAL');
  }
}

export function isDot(name: Uint8Array): boolean {
  return name.length === 1 && name[0] === 0x2e;
}

export function isDotDot(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === 0x2e && name[1] === 0x2e;
}
