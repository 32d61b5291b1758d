/**
 * Locks of one memory file system: posix (owner: a process), OFD (owner: an open file), flock (whole file, owner: an open
 * file). Posix and OFD locks conflict with each other, flock only with flock. Only waiting posix owners are searched for a cycle, as in Linux.
 */
import { type FileLock, FsError, type LockFamily } from '#fs-frontend/vfs/vfs.js';

interface Held extends FileLock {
  readonly owner: string;
  readonly handle: number;
  readonly family: LockFamily;
}
interface Waiter {
  readonly ino: number;
  readonly lock: Held;
  settle(error?: FsError): void;
}

const isFlock = (family: LockFamily): boolean => family === 'flock';

function conflicts(a: Held, b: Held): boolean {
  if (isFlock(a.family) !== isFlock(b.family)) return false;
  if (a.owner === b.owner && a.family === b.family) return false;
  if (a.type === 'read' && b.type === 'read') return false;
  return a.start < b.end && b.start < a.end;
}

export class MemoryLocks {
  readonly #held = new Map<number, Held[]>();
  #waiters: Waiter[] = [];

  test(ino: number, owner: string, lock: FileLock): FileLock | undefined {
    const asked: Held = { ...lock, owner, handle: 0, family: 'posix' };
    const found = this.#inTheWay(ino, asked);
    if (found === undefined) return undefined;
    return { type: found.type, start: found.start, end: found.end, pid: found.pid };
  }

  set(
    ino: number,
    handle: number,
    family: LockFamily,
    owner: string,
    lock: FileLock,
    wait: boolean,
    signal?: AbortSignal,
  ): void | Promise<void> {
    const asked: Held = isFlock(family)
      ? { ...lock, start: 0, end: Number.MAX_SAFE_INTEGER, owner, handle, family }
      : { ...lock, owner, handle, family };
    if (lock.type === 'unlock') {
      this.#put(ino, asked);
      this.#wake();
      return undefined;
    }
    // Converting a flock gives the old one up first, whatever comes of it.
    if (isFlock(family)) this.#put(ino, { ...asked, type: 'unlock' });
    if (this.#inTheWay(ino, asked) === undefined) {
      this.#put(ino, asked);
      this.#wake();
      return undefined;
    }
    if (isFlock(family)) this.#wake();
    if (!wait) throw new FsError('EAGAIN');
    if (family === 'posix' && this.#cycle(ino, asked)) throw new FsError('EDEADLK');
    return this.#wait(ino, asked, signal);
  }

  dropOwner(ino: number, family: LockFamily, owner: string): void {
    this.#drop(ino, (held) => held.family === family && held.owner === owner);
  }

  /** The handle is gone: with it flock and OFD locks. */
  dropHandle(ino: number, handle: number): void {
    this.#drop(ino, (held) => held.family !== 'posix' && held.handle === handle);
  }

  #wait(ino: number, lock: Held, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((done, fail) => {
      const abort = (): void => waiter.settle(new FsError('EINTR'));
      const waiter: Waiter = {
        ino,
        lock,
        settle: (error) => {
          this.#waiters = this.#waiters.filter((other) => other !== waiter);
          signal?.removeEventListener('abort', abort);
          if (error === undefined) done();
          else fail(error);
        },
      };
      this.#waiters.push(waiter);
      if (signal?.aborted === true) abort();
      else signal?.addEventListener('abort', abort);
    });
  }

  #inTheWay(ino: number, lock: Held): Held | undefined {
    return this.#held.get(ino)?.find((held) => conflicts(held, lock));
  }

  /** Whoever is in the way waits, directly or not, for this owner. */
  #cycle(ino: number, lock: Held): boolean {
    const seen = new Set<string>();
    const blocked = [{ ino, lock }];
    for (let next = blocked.pop(); next !== undefined; next = blocked.pop()) {
      const current = next;
      for (const held of this.#held.get(current.ino) ?? []) {
        if (!conflicts(held, current.lock) || held.family !== 'posix') continue;
        if (held.owner === lock.owner) return true;
        if (seen.has(held.owner)) continue;
        seen.add(held.owner);
        for (const waiter of this.#waiters) {
          if (waiter.lock.owner === held.owner && waiter.lock.family === 'posix') {
            blocked.push(waiter);
          }
        }
      }
    }
    return false;
  }

  /** Replaces what the owner has in the range; neighbours of the same type grow together. */
  #put(ino: number, lock: Held): void {
    let { start, end } = lock;
    const result: Held[] = [];
    for (const held of this.#held.get(ino) ?? []) {
      const own = held.owner === lock.owner && held.family === lock.family;
      if (!own || held.end < start || end < held.start) {
        result.push(held);
      } else if (held.type === lock.type) {
        start = Math.min(start, held.start);
        end = Math.max(end, held.end);
      } else {
        if (held.start < lock.start) result.push({ ...held, end: Math.min(held.end, lock.start) });
        if (lock.end < held.end) result.push({ ...held, start: Math.max(held.start, lock.end) });
      }
    }
    if (lock.type !== 'unlock') result.push({ ...lock, start, end });
    if (result.length === 0) this.#held.delete(ino);
    else this.#held.set(ino, result);
  }

  #drop(ino: number, which: (held: Held) => boolean): void {
    const held = this.#held.get(ino);
    if (held === undefined) return;
    const left = held.filter((lock) => !which(lock));
    if (left.length === held.length) return;
    if (left.length === 0) this.#held.delete(ino);
    else this.#held.set(ino, left);
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters) {
      if (this.#inTheWay(waiter.ino, waiter.lock) !== undefined) continue;
      this.#put(waiter.ino, waiter.lock);
      waiter.settle();
    }
  }
}
