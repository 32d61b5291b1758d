/**
 * Requests about open files. The kernel has checked permissions (default_permissions) and decides when setuid bits go
 * (HANDLE_KILLPRIV_V2), so a write that keeps them is made in the name of root.
 */
import { type Caller, FsError, type Handle, type Maybe, OpenFlag } from '../vfs/vfs.js';
import type { Answer } from './answer.js';
import type { Call } from './call.js';
import { SERVER } from './caller.js';
import { encodeEntry } from './inode-operations.js';
import { type Host, type Operation, nothing, operation } from './operation.js';
import {
  FSYNC_DATA_ONLY,
  LinuxOpen,
  Opcode,
  OpenAnswer,
  RELEASE_FLOCK_UNLOCK,
  SEEK_DATA,
  SEEK_HOLE,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
} from './protocol.js';

const WRITE_HEADER_BYTES = 40;
const COPY_BYTES_MAX = 0x7fff_f000;
const NOBODY = 65_534;

/** Flags of open(2) as the file system knows them. O_DIRECT is the kernel's own affair. */
export function openFlags(linux: number): number {
  const mode = linux & LinuxOpen.accessMode;
  let flags = mode === LinuxOpen.writeOnly ? OpenFlag.write : OpenFlag.read;
  if (mode > LinuxOpen.writeOnly) flags |= OpenFlag.write;
  if ((linux & LinuxOpen.append) !== 0) flags |= OpenFlag.append;
  if ((linux & LinuxOpen.truncate) !== 0) flags |= OpenFlag.truncate;
  if ((linux & LinuxOpen.exclusive) !== 0) flags |= OpenFlag.exclusive;
  if ((linux & LinuxOpen.sync) === LinuxOpen.sync) flags |= OpenFlag.sync;
  else if ((linux & LinuxOpen.dataSync) !== 0) flags |= OpenFlag.dataSync;
  return flags;
}

/** Appending goes around the page cache (rule 25); other pages stay from one open to the next, until they are invalidated. */
function encodeOpen(answer: Answer, handle: Handle, linuxFlags: number): void {
  answer.u64(handle);
  answer.u32((linuxFlags & LinuxOpen.append) === 0 ? OpenAnswer.keepCache : OpenAnswer.directIo);
  answer.u32(0);
}

/** For write and copy: in whose name, so that setuid bits go exactly when the kernel says so. */
function writer(host: Host, call: Call, writeFlags: number): Caller {
  if ((writeFlags & WRITE_CACHE) !== 0) return SERVER;
  if (!host.killPrivV2) return call.caller();
  if ((writeFlags & WRITE_KILL_SUIDGID) === 0) return SERVER;
  // Root without CAP_FSETID is no root here.
  if (call.uid === 0) return { uid: NOBODY, gid: call.gid, groups: [], pid: call.pid };
  return call.caller();
}

function write(host: Host, call: Call): Maybe<number> {
  const size = call.u32(16);
  const data = call.slice(WRITE_HEADER_BYTES, size);
  if (data.length !== size) throw new FsError('EINVAL');
  call.detail = size;
  return host.vfs.write(call.u64(0), call.u64(8), data, writer(host, call, call.u32(20)));
}

function encodeWrite(host: Host, answer: Answer, call: Call): void {
  const appended = (call.u32(32) & LinuxOpen.append) !== 0;
  if (appended) tellAppended(host, call);
  answer.u32(call.detail);
  answer.u32(0);
}

/** The kernel puts the end of the file where it believes that it wrote; when that was elsewhere, it must ask (rule 25). */
function tellAppended(host: Host, call: Call): void {
  const end = call.u64(8) + call.detail;
  const entry = host.vfs.getAttributes(call.node, call.u64(0));
  if (entry instanceof Promise) entry.catch(() => undefined);
  else if (entry.attributes.size === end) return;
  host.kernel.invalidateAttributes(call.node);
}

async function release(host: Host, call: Call): Promise<void> {
  const handle = call.u64(0);
  const locks = host.lockOwners.released(
    host.vfs,
    handle,
    (call.u32(12) & RELEASE_FLOCK_UNLOCK) === 0 ? undefined : call.text64(16),
  );
  for (const unlocked of locks) if (unlocked instanceof Promise) await unlocked;
  await host.vfs.release(handle);
}

function releaseNow(host: Host, call: Call): Maybe<void> {
  const flock = (call.u32(12) & RELEASE_FLOCK_UNLOCK) !== 0;
  if (flock || host.lockOwners.has(call.u64(0))) return release(host, call);
  return host.vfs.release(call.u64(0));
}

function copyRange(host: Host, call: Call): Maybe<number> {
  const length = Math.min(call.u64(40), COPY_BYTES_MAX);
  return host.vfs.copyRange(
    call.u64(0),
    call.u64(8),
    call.u64(24),
    call.u64(32),
    length,
    call.caller(),
  );
}

function seek({ vfs }: Host, call: Call): Maybe<number> {
  const whence = call.u32(16);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new FsError('EINVAL');
  return vfs.seek(call.u64(0), call.i64(8), whence === SEEK_DATA ? 'data' : 'hole');
}

export const FILE_OPERATIONS: Record<number, Operation> = {
  [Opcode.open]: operation(
    ({ vfs }, call) => {
      const flags = call.u32(0);
      call.detail = flags;
      // A program is opened for reading by who may only execute it: the kernel has checked that.
      const caller = (flags & LinuxOpen.exec) === 0 ? call.caller() : SERVER;
      return vfs.open(call.node, openFlags(flags), caller);
    },
    (_host, answer, call, handle) => encodeOpen(answer, handle, call.detail),
  ),
  [Opcode.create]: operation(
    ({ vfs }, call) => {
      const flags = call.u32(0);
      call.detail = flags;
      const mode = call.u32(4) & ~call.u32(8);
      return vfs.create(call.node, call.name(16), mode, openFlags(flags), call.caller());
    },
    (host, answer, call, { entry, handle }) => {
      encodeEntry(host, answer, call, entry);
      encodeOpen(answer, handle, call.detail);
    },
  ),
  [Opcode.read]: operation(
    ({ vfs }, call) => vfs.read(call.u64(0), call.u64(8), call.u32(16)),
    (_host, answer, _call, data) => answer.data(data),
  ),
  [Opcode.write]: operation(write, encodeWrite),
  [Opcode.flush]: operation((host, call) => {
    const owner = call.text64(16);
    host.lockOwners.flushed(call.u64(0), owner);
    return host.vfs.flush(call.u64(0), owner);
  }, nothing),
  [Opcode.fsync]: operation(
    ({ vfs }, call) => vfs.fsync(call.u64(0), (call.u32(8) & FSYNC_DATA_ONLY) !== 0),
    nothing,
  ),
  [Opcode.release]: operation(releaseNow, nothing),
  [Opcode.fallocate]: operation(
    ({ vfs }, call) => vfs.allocate(call.u64(0), call.u32(24), call.u64(8), call.u64(16)),
    nothing,
  ),
  [Opcode.lseek]: operation(seek, (_host, answer, _call, offset) => answer.u64(offset)),
  [Opcode.copyFileRange]: operation(copyRange, (_host, answer, _call, copied) => {
    answer.u32(copied);
    answer.u32(0);
  }),
  [Opcode.copyFileRange64]: operation(copyRange, (_host, answer, _call, copied) =>
    answer.u64(copied),
  ),
};
