/** A lock in use: what an acquire gives, until it is released. */
import { SextantError } from '#core/errors.js';
import { Level } from '../protocol/messages.js';
import type { LockMode } from '../protocol/messages.js';
import { Waiter, type CachedLock } from './cached-lock.js';
import type { ClerkCore } from './clerk-core.js';
import { modeOf } from './lock-modes.js';
import { PendingAcquire } from './pending-acquire.js';
import type { AcquireOptions } from './pending-acquire.js';

/** What handles need of their clerk. */
export interface HandleHost {
  readonly core: ClerkCore;
  /** Looks at the watch: the lease still runs. */
  alive(): boolean;
  /** Throws LEASE_LOST or CLOSED. */
  check(): void;
  readonly timers: { after(ms: number, fn: () => void): { cancel(): void } };
  listen(handle: LockHandle): void;
  unlisten(handle: LockHandle): void;
}

export interface Upgraded {
  readonly handle: LockHandle;
  /**
   * The shared lock was given up while waiting, so others may have changed what it covered: look again before relying on
   * anything read under it (rule 7).
   */
  readonly interrupted: boolean;
}

type State = 'held' | 'upgrading' | 'released';

/**
 * One use of a lock. The lock itself stays with the clerk when the handle is released, until another clerk wants it or nobody
 * has used it for long.
 *
 * ```ts
 * using lock = await clerk.acquire(7, 'exclusive');
 * if (!lock.valid) throw ...      // before anything is done that nobody else may be doing
 * ```
 */
export class LockHandle {
  readonly #host: HandleHost;
  readonly #lock: CachedLock;
  #level: Level;
  #state: State = 'held';
  #onRevoked: (() => void) | undefined = undefined;

  /** Made by the clerk. */
  constructor(host: HandleHost, lock: CachedLock, level: Level) {
    this.#host = host;
    this.#lock = lock;
    this.#level = level;
  }

  get mode(): LockMode {
    return modeOf(this.#lock.aspect, this.#level);
  }

  /** A number up to 2^53 - 1, a bigint above. */
  get id(): number | bigint {
    return this.#lock.id;
  }

  get table(): string {
    return this.#lock.home.name;
  }

  /**
   * True while nobody else can hold a conflicting lock: not released, and the lease runs by this machine's clock, read at this
   * very moment. What is done on the strength of it must be done within the lease's margin (see `Clerk.leaseLeftMs`), or be
   * fenced by the clerk's token.
   */
  get valid(): boolean {
    return this.#state === 'held' && this.#host.alive();
  }

  /** Another clerk waits for this lock: release it soon. */
  get revoked(): boolean {
    const { revocation } = this.#lock;
    return this.#state === 'held' && revocation !== undefined && revocation.keep < this.#level;
  }

  /** Calls `fn` once, when another clerk begins to wait for the lock or the lease is lost; at once when that is so already. */
  onRevoked(fn: () => void): void {
    if (this.#state === 'released' || this.revoked || !this.#host.alive()) {
      fn();
      return;
    }
    this.#onRevoked = fn;
    this.#host.listen(this);
  }

  /** From exclusive to shared, destroy to open: others here may share it at once, other clerks when they ask. Throws LEASE_LOST. */
  downgrade(): void {
    this.#host.check();
    this.#mustHold();
    if (this.#level !== Level.exclusive) return;
    this.#level = Level.shared;
    this.#host.core.downgrade(this.#lock);
  }

  /**
   * From shared to exclusive, open to destroy. Not atomic: while it waits the handle is not valid, and when another clerk or
   * user is let in before, the answer is `interrupted`. On an error `valid` tells whether the shared lock is still held.
   * Errors as of `acquire`.
   */
  async upgrade(options: AcquireOptions = {}): Promise<Upgraded> {
    this.#host.check();
    this.#mustHold();
    if (this.#level === Level.exclusive) return { handle: this, interrupted: false };
    const { core } = this.#host;
    this.#state = 'upgrading';
    let waiter: PendingAcquire | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        waiter = new PendingAcquire(this.#lock, Level.exclusive, options, true, resolve, reject);
        waiter.arm(core, this.#host.timers, options);
        core.upgrade(waiter);
      });
    } catch (error) {
      this.#state = waiter?.resumed === true ? 'held' : 'released';
      throw error;
    }
    this.#state = 'held';
    this.#level = Level.exclusive;
    return { handle: this, interrupted: waiter instanceof Waiter && waiter.interrupted };
  }

  /** Repeated calls do nothing. */
  release(): void {
    if (this.#state === 'upgrading') {
      throw new SextantError('CONFLICT', 'the handle waits for its upgrade: abort that first');
    }
    if (this.#state === 'released') return;
    this.#state = 'released';
    if (this.#onRevoked !== undefined) this.#host.unlisten(this);
    this.#host.core.done(this.#lock, this.#level);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** For the clerk: the lock that it is a handle of. */
  get lock(): CachedLock {
    return this.#lock;
  }

  /** For the clerk: tells who asked by `onRevoked`; true when that is done. */
  tellRevoked(lost: boolean): boolean {
    if (!lost && !this.revoked) return false;
    const fn = this.#onRevoked;
    this.#onRevoked = undefined;
    fn?.();
    return true;
  }

  #mustHold(): void {
    if (this.#state === 'held') return;
    throw new SextantError('CONFLICT', `a handle that is ${this.#state} holds nothing`);
  }
}
