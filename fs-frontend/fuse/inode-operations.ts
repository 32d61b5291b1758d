/** Requests about one inode: names looked up, attributes, symlinks, extended attributes, the file system's figures. */
import { type AttributeChanges, type Entry, FsError } from '../vfs/vfs.js';
import type { Answer } from './answer.js';
import type { Call } from './call.js';
import { type Host, type Operation, nothing, operation } from './operation.js';
import { GETATTR_HANDLE, Opcode, SetattrValid } from './protocol.js';

const STATX_BASIC_AND_BIRTH = 0xfff;
const BLOCK_BYTES = 4096;
/** Of a type and permissions, the permissions. */
const PERMISSIONS = 0o7777;

export function encodeEntry(host: Host, answer: Answer, _call: Call, entry: Entry): void {
  host.kernel.lookedUp(entry.attributes.ino);
  answer.entry(entry, host.kernel.namesKept);
}

function encodeAttributes(_host: Host, answer: Answer, _call: Call, entry: Entry): void {
  answer.attributesAnswer(entry);
}

function getAttributes(host: Host, call: Call): Entry | Promise<Entry> {
  // The handle may be of a file without a name.
  return (call.u32(0) & GETATTR_HANDLE) === 0
    ? host.vfs.getAttributes(call.node)
    : host.vfs.getAttributes(call.node, call.u64(8));
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function setAttributes(host: Host, call: Call): Entry | Promise<Entry> {
  const valid = call.u32(0);
  const changes: Mutable<AttributeChanges> = {};
  if ((valid & SetattrValid.mode) !== 0) changes.mode = call.u32(68) & PERMISSIONS;
  if ((valid & SetattrValid.uid) !== 0) changes.uid = call.u32(76);
  if ((valid & SetattrValid.gid) !== 0) changes.gid = call.u32(80);
  if ((valid & SetattrValid.size) !== 0) changes.size = call.u64(16);
  if ((valid & SetattrValid.atimeNow) !== 0) changes.atime = 'now';
  else if ((valid & SetattrValid.atime) !== 0) {
    changes.atime = { sec: call.i64(32), nsec: call.u32(56) };
  }
  if ((valid & SetattrValid.mtimeNow) !== 0) changes.mtime = 'now';
  else if ((valid & SetattrValid.mtime) !== 0) {
    changes.mtime = { sec: call.i64(40), nsec: call.u32(60) };
  }
  return (valid & SetattrValid.handle) === 0
    ? host.vfs.setAttributes(call.node, changes, call.caller())
    : host.vfs.setAttributes(call.node, changes, call.caller(), call.u64(8));
}

/** 288 bytes: validity (16), 16 spare, then struct fuse_statx (256) with the time of birth. */
function encodeStatx(_host: Host, answer: Answer, _call: Call, entry: Entry): void {
  const a = entry.attributes;
  const ms = Math.max(0, Math.floor(entry.attributesMs));
  answer.u64(Math.floor(ms / 1000));
  answer.u32((ms % 1000) * 1_000_000);
  answer.zeros(20);
  answer.u32(STATX_BASIC_AND_BIRTH);
  answer.u32(BLOCK_BYTES);
  answer.u64(0);
  answer.u32(a.nlink);
  answer.u32(a.uid);
  answer.u32(a.gid);
  answer.u32(a.mode);
  answer.u64(a.ino);
  answer.u64(a.size);
  answer.u64(a.blocks);
  answer.u64(0);
  time(answer, a.atimeSec, a.atimeNsec);
  time(answer, a.birthSec, a.birthNsec);
  time(answer, a.ctimeSec, a.ctimeNsec);
  time(answer, a.mtimeSec, a.mtimeNsec);
  answer.u32((a.rdev >>> 8) & 0xfff);
  answer.u32((a.rdev & 0xff) | ((a.rdev >>> 12) & 0xfff00));
  answer.zeros(8 + 112);
}

function time(answer: Answer, sec: number, nsec: number): void {
  answer.u64(sec);
  answer.u32(nsec);
  answer.u32(0);
}

/** Size asked for 0: how long it is. */
function encodeXattr(_host: Host, answer: Answer, call: Call, value: Uint8Array): void {
  if (call.detail === 0) {
    answer.u32(value.length);
    answer.u32(0);
    return;
  }
  if (value.length > call.detail) throw new FsError('ERANGE');
  answer.data(value);
}

function joined(names: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(names.reduce((sum, name) => sum + name.length + 1, 0));
  let at = 0;
  for (const name of names) {
    bytes.set(name, at);
    at += name.length + 1;
  }
  return bytes;
}

export const INODE_OPERATIONS: Record<number, Operation> = {
  [Opcode.lookup]: operation(
    ({ vfs }, call) => vfs.lookup(call.node, call.name(0), call.caller()),
    encodeEntry,
  ),
  [Opcode.getattr]: operation(getAttributes, encodeAttributes),
  [Opcode.statx]: operation(getAttributes, encodeStatx),
  [Opcode.setattr]: operation(setAttributes, encodeAttributes),
  [Opcode.access]: operation(
    ({ vfs }, call) => vfs.access(call.node, call.u32(0), call.caller()),
    nothing,
  ),
  [Opcode.readlink]: operation(
    ({ vfs }, call) => vfs.readLink(call.node),
    (_host, answer, _call, target) => answer.data(target),
  ),
  [Opcode.statfs]: operation(
    ({ vfs }) => vfs.statistics(),
    (_host, answer, _call, fs) => {
      answer.u64(fs.blocks);
      answer.u64(fs.blocksFree);
      answer.u64(fs.blocksAvailable);
      answer.u64(fs.files);
      answer.u64(fs.filesFree);
      answer.u32(fs.blockBytes);
      answer.u32(fs.nameBytesMax);
      answer.u32(fs.blockBytes);
      answer.zeros(28);
    },
  ),
  [Opcode.syncfs]: operation(({ vfs }) => vfs.sync(), nothing),
  [Opcode.getxattr]: operation(({ vfs }, call) => {
    call.detail = call.u32(0);
    return vfs.getXattr(call.node, call.name(8), call.caller());
  }, encodeXattr),
  [Opcode.setxattr]: operation(({ vfs }, call) => {
    const at = call.behindName(8);
    const value = new Uint8Array(call.slice(at, call.u32(0)));
    return vfs.setXattr(call.node, call.name(8), value, call.u32(4), call.caller());
  }, nothing),
  [Opcode.listxattr]: operation(
    ({ vfs }, call) => {
      call.detail = call.u32(0);
      return vfs.listXattr(call.node, call.caller());
    },
    (host, answer, call, names) => encodeXattr(host, answer, call, joined(names)),
  ),
  [Opcode.removexattr]: operation(
    ({ vfs }, call) => vfs.removeXattr(call.node, call.name(0), call.caller()),
    nothing,
  ),
};
