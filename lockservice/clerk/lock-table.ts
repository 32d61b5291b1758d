/** The locks of one table, as their users see them. */
import { SextantError } from '#core/errors.js';
import { Level } from '../protocol/messages.js';
import type { Aspect, LockMode } from '../protocol/messages.js';
import type { CachedLock, RevokeCause } from './cached-lock.js';
import type { CachedTable } from './lock-cache.js';
import { LockHandle, type HandleHost } from './lock-handle.js';
import { aspectOf, idHighOf, idLowOf, levelOf, lockId, modeOf } from './lock-modes.js';
import { PendingAcquire, checkAcquireOptions, type AcquireOptions } from './pending-acquire.js';

/** A lock that is about to go back, or to fall to a lower mode. */
export interface RevokedLock {
  readonly id: number | bigint;
  /** What is held now. */
  readonly mode: LockMode;
  /** What stays: shared instead of exclusive, open instead of destroy, or nothing. */
  readonly keep: LockMode | undefined;
  /** `revoked`: another clerk waits. `idle`, `evicted`: nobody here has used it. `ceded`: `cede` was called. */
  readonly cause: RevokeCause;
}

/**
 * Called before locks go back, with all of one turn together, when nobody here uses them any more. Until it returns (or what
 * it returns resolves) the locks are still held, and cannot be acquired: flush what was changed under them, forget what was
 * read. When it fails the locks stay, and it is called again when the revoke comes again. After `deadlineMs` (of the world's
 * monotonic clock) the clerk no longer answers for an owner that has not ended: that costs it its lease.
 */
export type OnRevoke = (locks: readonly RevokedLock[], deadlineMs: number) => void | Promise<void>;

export interface LockWanted {
  readonly id: number | bigint;
  readonly mode: LockMode;
}

export class LockTable {
  readonly #host: HandleHost;
  readonly #cached: CachedTable;
  #onRevoke: OnRevoke | undefined = undefined;

  /** Made by the clerk. */
  constructor(host: HandleHost, cached: CachedTable) {
    this.#host = host;
    this.#cached = cached;
  }

  get name(): string {
    return this.#cached.name;
  }

  /** As the service numbers it. */
  get number(): number {
    return this.#cached.number;
  }

  get onRevoke(): OnRevoke | undefined {
    return this.#onRevoke;
  }

  set onRevoke(fn: OnRevoke | undefined) {
    this.#onRevoke = fn;
    this.#cached.flushes = fn !== undefined;
  }

  /**
   * Waits for the lock. No message is sent when the clerk has it already and nobody here is before: then the promise is
   * resolved when it is returned. Users of one process exclude one another as clerks do, first come first served.
   *
   * Rejects with CONFLICT (`noWait`), CANCELLED, TIMEOUT, LEASE_LOST, CLOSED, OVERLOADED (too many locks or waits),
   * OUT_OF_RANGE (no 64-bit id), CONFIG (no such mode), UNKNOWN_TABLE.
   */
  acquire(id: number | bigint, mode: LockMode, options?: AcquireOptions): Promise<LockHandle> {
    try {
      if (options !== undefined) checkAcquireOptions(options);
      this.#host.check();
      const level = levelOf(mode);
      const lock = this.#lockOf(lockId(id), aspectOf(mode));
      if (this.#host.core.take(lock, level)) {
        return Promise.resolve(new LockHandle(this.#host, lock, level));
      }
      return this.#wait(lock, level, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** The lock, when it is held already and nobody here is in the way; never sends anything. Throws as `acquire` rejects. */
  tryAcquireCached(id: number | bigint, mode: LockMode): LockHandle | undefined {
    this.#host.check();
    const level = levelOf(mode);
    const lock = this.#cached.find(lockId(id), aspectOf(mode));
    if (lock === undefined || !this.#host.core.take(lock, level)) return undefined;
    return new LockHandle(this.#host, lock, level);
  }

  /**
   * Several locks, asked for in one message and taken in the one order in which every clerk takes them, so that such acquires
   * never wait for one another in a circle. All or none; handles are in the order of `wanted`. A lock named twice is CONFIG;
   * other errors as of `acquire`.
   */
  async acquireMany(
    wanted: readonly LockWanted[],
    options: AcquireOptions = {},
  ): Promise<LockHandle[]> {
    checkAcquireOptions(options);
    this.#host.check();
    const { core } = this.#host;
    const order = sorted(wanted);
    const handles: LockHandle[] = [];
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    options.signal?.addEventListener('abort', abort);
    let late = false;
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : this.#host.timers.after(options.timeoutMs, () => {
            late = true;
            abort();
          });
    const noWait = options.noWait === true;
    try {
      for (const { id, mode } of order) {
        const lock = this.#lockOf(id, aspectOf(mode));
        core.prefetch(lock, levelOf(mode), noWait);
      }
      for (const { id, mode, at } of order) {
        handles[at] = await this.acquire(id, mode, { signal: controller.signal, noWait });
      }
      return handles;
    } catch (error) {
      for (const handle of handles) handle?.release();
      for (const { id, mode } of order) {
        const lock = this.#cached.find(id, aspectOf(mode));
        if (lock !== undefined) core.unwanted(lock);
      }
      throw late ? new SextantError('TIMEOUT', `no locks within ${options.timeoutMs} ms`) : error;
    } finally {
      timer?.cancel();
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /** What the clerk holds of a lock, in use or not. */
  held(id: number | bigint, aspect: Aspect = 0): LockMode | undefined {
    const lock = this.#host.alive() ? this.#cached.find(lockId(id), aspect) : undefined;
    return lock === undefined || lock.level === Level.none ? undefined : modeOf(aspect, lock.level);
  }

  /**
   * Gives locks back that nobody here uses, without being asked: those below a directory that is revoked, say, in the message
   * that gives the directory back (rule 8). `onRevoke` is called for them too. Returns how many it began with.
   */
  cede(ids: Iterable<number | bigint>): number {
    this.#host.check();
    let count = 0;
    for (const id of ids) {
      for (const aspect of [0, 1] as const) {
        const lock = this.#cached.find(lockId(id), aspect);
        if (lock !== undefined && this.#host.core.cede(lock)) count++;
      }
    }
    return count;
  }

  #lockOf(id: number | bigint, aspect: Aspect): CachedLock {
    const { core } = this.#host;
    return (
      this.#cached.find(id, aspect) ?? core.lockOf(this.#cached, idHighOf(id), idLowOf(id), aspect)
    );
  }

  #wait(lock: CachedLock, level: Level, options: AcquireOptions | undefined): Promise<LockHandle> {
    const host = this.#host;
    return new Promise((resolve, reject) => {
      const granted = (): void => resolve(new LockHandle(host, lock, level));
      const waiter = new PendingAcquire(lock, level, options, false, granted, reject);
      waiter.arm(host.core, host.timers, options);
      host.core.wait(waiter);
    });
  }
}

interface Ordered {
  readonly id: number | bigint;
  readonly mode: LockMode;
  readonly at: number;
}

/** By id, then aspect: the same order everywhere. */
function sorted(wanted: readonly LockWanted[]): Ordered[] {
  const order = wanted.map(({ id, mode }, at) => ({ id: lockId(id), mode, at }));
  for (const { mode } of order) levelOf(mode);
  order.sort((a, b) =>
    a.id === b.id ? aspectOf(a.mode) - aspectOf(b.mode) : a.id < b.id ? -1 : 1,
  );
  for (let i = 1; i < order.length; i++) {
    const [a, b] = [order[i - 1], order[i]];
    if (
      a !== undefined &&
      b !== undefined &&
      a.id === b.id &&
      aspectOf(a.mode) === aspectOf(b.mode)
    ) {
      throw new SextantError('CONFIG', `lock ${String(a.id)} is named twice`);
    }
  }
  return order;
}
