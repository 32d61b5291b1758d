/**
 * Locks in memory: who holds what, who waits in which order, and who waits for whom.
 *
 * ```
 *   LockActor    a session: what can wait for one thing at a time; never in conflict with itself
 *   LockScope    what lets go together: a transaction (back to a mark, too), or the session itself
 *   LockSpace    keys of one kind (rows, advisory keys, relations) with their conflict matrix
 *
 *   acquire -> held                    no conflict and nobody queues before it
 *           -> refused (false)         a conflict, and the caller does not wait
 *           -> queued, Suspend thrown  `ready` resolves when it was handed over: the caller, called again, has it
 *           -> 40P01                   the wait would close a cycle: the requester is the victim
 * ```
 *
 * - LOCKS-1 A lock is handed to the first in its queue by whoever lets go: nobody barges in between, and only those
 *   who can go on are woken.
 * - LOCKS-2 An actor that holds a lock already asks for more of it before all who hold none.
 * - LOCKS-3 Every edge of the waits-for graph appears with the wait of its requester, so a cycle is found at once.
 */
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';

/** One session, as the waits-for graph sees it. */
export class LockActor {
  /** What it waits for now. */
  waiting: LockWaiter | null = null;
  /** Mark of the graph walk that saw it last. */
  visited = 0;

  /** Takes it out of the queue; whoever awaits the Suspend gets `error` (57014, 55P03). False: it did not wait. */
  cancelWait(error: Error): boolean {
    const waiter = this.waiting;
    if (waiter === null) return false;
    waiter.lock.remove(waiter);
    waiter.fail(error);
    return true;
  }
}

interface HeldLock {
  readonly lock: Lock;
  readonly mode: number;
  readonly scope: LockScope;
  /** Of a transaction: the mark under which it was taken. */
  readonly stamp: number;
}

/** Locks that are let go together. */
export class LockScope {
  readonly actor: LockActor;
  /** Marks new locks: `releaseFrom(stamp)` lets go of those taken since. */
  stamp = 0;
  readonly held: HeldLock[] = [];

  constructor(actor: LockActor) {
    this.actor = actor;
  }

  releaseAll(): void {
    const held = this.held;
    while (held.length > 0) {
      const last = held.pop();
      if (last !== undefined) last.lock.letGo(last);
    }
  }

  /** Lets go of all that was taken at or after that stamp. */
  releaseFrom(stamp: number): void {
    const gone: HeldLock[] = [];
    let kept = 0;
    for (let i = 0; i < this.held.length; i++) {
      const entry = this.held[i];
      if (entry.stamp >= stamp) gone.push(entry);
      else this.held[kept++] = entry;
    }
    this.held.length = kept;
    for (let i = gone.length - 1; i >= 0; i--) gone[i].lock.letGo(gone[i]);
  }
}

class LockWaiter {
  readonly lock: Lock;
  readonly scope: LockScope;
  readonly mode: number;
  readonly ready: Promise<void>;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(lock: Lock, scope: LockScope, mode: number) {
    this.lock = lock;
    this.scope = scope;
    this.mode = mode;
    this.ready = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ready.catch(() => {});
  }

  grant(): void {
    this.scope.actor.waiting = null;
    this.#resolve();
  }

  fail(error: Error): void {
    this.scope.actor.waiting = null;
    this.#reject(error);
  }
}

/** One key's holders and queue; dropped from its space when it has neither. */
class Lock {
  readonly holders: HeldLock[] = [];
  readonly queue: LockWaiter[] = [];
  readonly conflicts: readonly number[];
  readonly drop: () => void;

  constructor(conflicts: readonly number[], drop: () => void) {
    this.conflicts = conflicts;
    this.drop = drop;
  }

  add(scope: LockScope, mode: number, stamp: number): void {
    const entry: HeldLock = { lock: this, mode, scope, stamp };
    this.holders.push(entry);
    scope.held.push(entry);
  }

  /** Whether another actor's holding stands against it. */
  heldAgainst(actor: LockActor, mode: number): boolean {
    const mask = this.conflicts[mode];
    for (let i = 0; i < this.holders.length; i++) {
      const holder = this.holders[i];
      if (holder.scope.actor !== actor && ((mask >>> holder.mode) & 1) === 1) return true;
    }
    return false;
  }

  holds(actor: LockActor): boolean {
    for (let i = 0; i < this.holders.length; i++) {
      if (this.holders[i].scope.actor === actor) return true;
    }
    return false;
  }

  letGo(entry: HeldLock): void {
    const at = this.holders.indexOf(entry);
    if (at >= 0) this.holders.splice(at, 1);
    this.#handOver();
  }

  remove(waiter: LockWaiter): void {
    const at = this.queue.indexOf(waiter);
    if (at >= 0) this.queue.splice(at, 1);
    this.#handOver();
  }

  /** LOCKS-1: grants from the front, up to the first that must go on waiting. */
  #handOver(): void {
    while (this.queue.length > 0) {
      const first = this.queue[0];
      if (this.heldAgainst(first.scope.actor, first.mode)) break;
      this.queue.shift();
      this.add(first.scope, first.mode, first.scope.stamp);
      first.grant();
    }
    if (this.holders.length === 0 && this.queue.length === 0) this.drop();
  }
}

let walks = 0;

/** Whether `actor`, through what it waits for, waits for `target`. */
function reaches(actor: LockActor, target: LockActor, walk: number): boolean {
  const waiter = actor.waiting;
  if (waiter === null) return false;
  const lock = waiter.lock;
  const mask = lock.conflicts[waiter.mode];
  for (let i = 0; i < lock.holders.length; i++) {
    const holder = lock.holders[i];
    if (((mask >>> holder.mode) & 1) === 1 && follow(actor, holder.scope.actor, target, walk)) {
      return true;
    }
  }
  // Whoever stands before it in the queue is let in first.
  for (let i = 0; i < lock.queue.length && lock.queue[i] !== waiter; i++) {
    if (follow(actor, lock.queue[i].scope.actor, target, walk)) return true;
  }
  return false;
}

function follow(from: LockActor, to: LockActor, target: LockActor, walk: number): boolean {
  if (to === from) return false;
  if (to === target) return true;
  if (to.visited === walk) return false;
  to.visited = walk;
  return reaches(to, target, walk);
}

export interface HeldLockInfo<Key> {
  readonly key: Key;
  readonly mode: number;
  readonly granted: boolean;
  readonly actor: LockActor;
}

export class LockSpace<Key> {
  readonly #conflicts: readonly number[];
  readonly #locks = new Map<Key, Lock>();
  readonly #idleMax: number;

  /**
   * `conflicts[mode]`: bits of the modes that it cannot be held with; at most 31 modes. `idleMax`: so many keys are
   * remembered although nobody holds them (relations, which are locked by every statement).
   */
  constructor(conflicts: readonly number[], idleMax = 0) {
    this.#conflicts = conflicts;
    this.#idleMax = idleMax;
  }

  /** Keys that are held or waited for, and idle ones. Hot: 0 means that nobody need look. */
  get size(): number {
    return this.#locks.size;
  }

  has(key: Key): boolean {
    return this.#locks.has(key);
  }

  /** Whether the actor can have it now without waiting. */
  isFree(key: Key, actor: LockActor, mode: number): boolean {
    const lock = this.#locks.get(key);
    if (lock === undefined || !lock.heldAgainst(actor, mode)) {
      return lock === undefined || lock.queue.length === 0 || lock.holds(actor);
    }
    return false;
  }

  /** Whether this scope's actor holds exactly this mode. */
  holds(key: Key, actor: LockActor, mode: number): boolean {
    const lock = this.#locks.get(key);
    if (lock === undefined) return false;
    for (let i = 0; i < lock.holders.length; i++) {
      const holder = lock.holders[i];
      if (holder.scope.actor === actor && holder.mode === mode) return true;
    }
    return false;
  }

  /** Notes what is held by other means (a row version in progress), so that others can queue behind it. */
  assume(key: Key, scope: LockScope, mode: number, stamp: number): void {
    if (!this.holds(key, scope.actor, mode)) this.#lock(key).add(scope, mode, stamp);
  }

  /**
   * Takes the lock for the scope; true when it is held. A mode that the actor holds already is not taken again.
   * `wait` false: returns false instead of queuing. Throws Suspend('lock'), or 40P01.
   */
  acquire(key: Key, scope: LockScope, mode: number, wait: boolean): boolean {
    if (this.holds(key, scope.actor, mode)) return true;
    return this.acquireAnother(key, scope, mode, wait);
  }

  /** As `acquire`, but counts: a mode that is held already is taken once more (session-level advisory locks). */
  acquireAnother(key: Key, scope: LockScope, mode: number, wait: boolean): boolean {
    const lock = this.#lock(key);
    const own = lock.holds(scope.actor);
    if (!lock.heldAgainst(scope.actor, mode) && (own || lock.queue.length === 0)) {
      lock.add(scope, mode, scope.stamp);
      return true;
    }
    if (!wait) {
      return false;
    }
    const waiter = new LockWaiter(lock, scope, mode);
    // LOCKS-2: behind the other holders that ask for more.
    let at = lock.queue.length;
    if (own) {
      at = 0;
      while (at < lock.queue.length && lock.holds(lock.queue[at].scope.actor)) at++;
    }
    lock.queue.splice(at, 0, waiter);
    scope.actor.waiting = waiter;
    if (reaches(scope.actor, scope.actor, ++walks)) {
      const error = new SqlError('40P01', 'deadlock detected');
      scope.actor.cancelWait(error);
      throw error;
    }
    throw new Suspend('lock', waiter.ready);
  }

  /** Lets go of one holding of that mode; false when there is none. */
  release(key: Key, scope: LockScope, mode: number): boolean {
    const lock = this.#locks.get(key);
    if (lock === undefined) return false;
    for (let i = scope.held.length - 1; i >= 0; i--) {
      const entry = scope.held[i];
      if (entry.lock !== lock || entry.mode !== mode) continue;
      scope.held.splice(i, 1);
      lock.letGo(entry);
      return true;
    }
    return false;
  }

  /** For pg_locks. */
  list(): HeldLockInfo<Key>[] {
    const found: HeldLockInfo<Key>[] = [];
    for (const [key, lock] of this.#locks) {
      for (const { scope, mode } of lock.holders) {
        found.push({ key, mode, granted: true, actor: scope.actor });
      }
      for (const { scope, mode } of lock.queue) {
        found.push({ key, mode, granted: false, actor: scope.actor });
      }
    }
    return found;
  }

  #lock(key: Key): Lock {
    let lock = this.#locks.get(key);
    if (lock === undefined) {
      lock = new Lock(this.#conflicts, () => {
        if (this.#locks.size > this.#idleMax) this.#locks.delete(key);
      });
      this.#locks.set(key, lock);
    }
    return lock;
  }
}
