/**
 * fcntl and flock. The kernel sends posix and open-file-description (OFD) locks alike, told apart only by the owner: a process's
 * posix locks go with FLUSH when it closes any descriptor, an OFD lock goes with the last close and has no FLUSH of its own.
 *
 * ```
 * 0 u64 handle  8 u64 owner  16 u64 start  24 u64 end (inclusive)  32 u32 type  36 u32 pid  40 u32 flags
 * ```
 */
import {
  type FileLock,
  FsError,
  type Handle,
  type LockFamily,
  type Maybe,
  type Vfs,
} from '../vfs/vfs.js';
import type { Call } from './call.js';
import { type Host, type Operation, nothing, operation } from './operation.js';
import { LOCK_FLOCK, LinuxLock, Opcode } from './protocol.js';

const EVERYTHING: FileLock = { type: 'unlock', start: 0, end: Number.MAX_SAFE_INTEGER, pid: 0 };
/** OFFSET_MAX as a word pair; as a number it is 2^63. */
const TO_THE_END = 2 ** 63;

/** Owners that locked through a handle and were not flushed since: at RELEASE what is left are OFD locks. */
export class LockOwners {
  readonly #owners = new Map<Handle, Set<string>>();

  has(handle: Handle): boolean {
    return this.#owners.has(handle);
  }

  locked(handle: Handle, owner: string): void {
    const owners = this.#owners.get(handle);
    if (owners === undefined) this.#owners.set(handle, new Set([owner]));
    else owners.add(owner);
  }

  flushed(handle: Handle, owner: string): void {
    if (this.#owners.size === 0) return;
    const owners = this.#owners.get(handle);
    if (owners?.delete(owner) === true && owners.size === 0) this.#owners.delete(handle);
  }

  /** Gives up what a closing handle still has. */
  released(vfs: Vfs, handle: Handle, flockOwner: string | undefined): Maybe<void>[] {
    const unlocked: Maybe<void>[] = [];
    for (const owner of this.#owners.get(handle) ?? []) {
      unlocked.push(vfs.setLock(handle, 'posix', owner, EVERYTHING, false));
    }
    this.#owners.delete(handle);
    if (flockOwner !== undefined) {
      unlocked.push(vfs.setLock(handle, 'flock', flockOwner, EVERYTHING, false));
    }
    return unlocked;
  }
}

function decodeLock(call: Call): FileLock {
  const type = call.u32(32);
  const end = call.u64(24);
  return {
    type: type === LinuxLock.read ? 'read' : type === LinuxLock.write ? 'write' : 'unlock',
    start: call.u64(16),
    end: end >= TO_THE_END - 1 ? Number.MAX_SAFE_INTEGER : end + 1,
    pid: call.u32(36),
  };
}

function setLock({ vfs, lockOwners }: Host, call: Call, wait: boolean): Maybe<void> {
  const handle = call.u64(0);
  const owner = call.text64(8);
  const flock = (call.u32(40) & LOCK_FLOCK) !== 0;
  const family: LockFamily = flock ? 'flock' : 'posix';
  const lock = decodeLock(call);
  if (!flock && lock.type !== 'unlock') lockOwners.locked(handle, owner);
  if (!wait) return vfs.setLock(handle, family, owner, lock, false);
  call.interrupt = new AbortController();
  return vfs.setLock(handle, family, owner, lock, true, call.interrupt.signal);
}

function typeNumber(type: FileLock['type']): number {
  if (type === 'read') return LinuxLock.read;
  return type === 'write' ? LinuxLock.write : LinuxLock.unlock;
}

export const LOCK_OPERATIONS: Record<number, Operation> = {
  [Opcode.getlk]: operation(
    ({ vfs }, call) => {
      if ((call.u32(40) & LOCK_FLOCK) !== 0) throw new FsError('EINVAL');
      return vfs.testLock(call.u64(0), call.text64(8), decodeLock(call));
    },
    (_host, answer, _call, lock) => {
      const found = lock ?? EVERYTHING;
      answer.u64(found.start);
      if (found.end === Number.MAX_SAFE_INTEGER) {
        answer.u32(0xffff_ffff);
        answer.u32(0x7fff_ffff);
      } else answer.u64(found.end - 1);
      answer.u32(typeNumber(found.type));
      answer.u32(found.pid);
    },
  ),
  [Opcode.setlk]: operation((host, call) => setLock(host, call, false), nothing),
  [Opcode.setlkw]: operation((host, call) => setLock(host, call, true), nothing),
};
