/**
 * Advisory locks: keys that mean what applications agree on. Held by a session (counted, until unlocked or the
 * session ends) or by a transaction (until it ends); in the same waits-for graph as rows.
 */
import { LockSpace, type HeldLockInfo, type LockActor, type LockScope } from './lock-space.js';

export const ADVISORY_SHARED = 0;
export const ADVISORY_EXCLUSIVE = 1;

const CONFLICTS = [1 << ADVISORY_EXCLUSIVE, (1 << ADVISORY_SHARED) | (1 << ADVISORY_EXCLUSIVE)];

/** `1:` and a bigint, or `2:` and two integers: the two key spaces never meet. */
export type AdvisoryKey = string;

export const advisoryKey = (key: bigint): AdvisoryKey => `1:${key}`;
export const advisoryKeyPair = (high: number, low: number): AdvisoryKey => `2:${high}:${low}`;

export class AdvisoryLocks {
  readonly #space = new LockSpace<AdvisoryKey>(CONFLICTS);

  /** Until the transaction ends. True when held; false only without `wait`. Throws Suspend or 40P01. */
  lockInTransaction(scope: LockScope, key: AdvisoryKey, shared: boolean, wait: boolean): boolean {
    return this.#space.acquire(key, scope, modeOf(shared), wait);
  }

  /**
   * Until unlocked as often as locked. `state.queued` makes the call repeatable after its Suspend: pass a fresh
   * state per call of the SQL function.
   */
  lockInSession(
    scope: LockScope,
    key: AdvisoryKey,
    shared: boolean,
    wait: boolean,
    state: AdvisoryLockState,
  ): boolean {
    if (state.queued) {
      state.queued = false;
      return true;
    }
    // Whoever is queued holds it when it is called again.
    state.queued = true;
    const held = this.#space.acquireAnother(key, scope, modeOf(shared), wait);
    state.queued = false;
    return held;
  }

  /** False when the session does not hold it. */
  unlock(scope: LockScope, key: AdvisoryKey, shared: boolean): boolean {
    return this.#space.release(key, scope, modeOf(shared));
  }

  unlockAll(scope: LockScope): void {
    scope.releaseAll();
  }

  list(): HeldLockInfo<AdvisoryKey>[] {
    return this.#space.list();
  }
}

export interface AdvisoryLockState {
  queued: boolean;
}

export interface AdvisorySession {
  readonly actor: LockActor;
  readonly scope: LockScope;
}

const modeOf = (shared: boolean): number => (shared ? ADVISORY_SHARED : ADVISORY_EXCLUSIVE);
