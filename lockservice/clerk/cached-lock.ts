/**
 * One lock as a clerk knows it: what it was granted, what it asked for, who in this process uses it, who
 * waits. Intrusive lists, no closures: there may be a million of them.
 */
import { Level } from '../protocol/messages.js';
import type { Aspect, LockName } from '../protocol/messages.js';
import type { SextantError } from '#core/errors.js';
import type { CachedTable } from './lock-cache.js';

/** A REQUEST that was not answered yet. */
export class PendingRequest {
  /** A new one whenever the last may have been answered. */
  request: number;
  readonly level: Level;
  readonly noWait: boolean;
  /** When it was queued last, and how often it has come due since. */
  sentMs: number;
  dueCount = 0;
  /** Nobody wants it any more; a grant that crosses the CANCEL stays, as a free lock. */
  cancelledMs = 0;
  /** It lies in the queue to a server, and has been on its way to one. */
  queued = false;
  sent = false;

  constructor(request: number, level: Level, noWait: boolean, nowMs: number) {
    this.request = request;
    this.level = level;
    this.noWait = noWait;
    this.sentMs = nowMs;
  }
}

/** Why a lock is given back. */
export type RevokeCause = 'revoked' | 'idle' | 'evicted' | 'ceded';

/** The way of a lock back to its server. */
export class Revocation {
  /** What may stay; only falls. */
  keep: Level;
  /** The grant that is given back. */
  grant: number;
  readonly cause: RevokeCause;
  readonly sinceMs: number;
  /** The owner was told to flush for this `keep`, and has not answered yet. */
  flushing = false;
  told: Level = Level.exclusive;
  /** When it was told first; 0 before. */
  flushMs = 0;
  /** The owner has failed to flush: tried again when the revoke comes again. */
  failed = false;
  /** A revoke came in and is to be answered at the end of this turn. */
  unanswered = false;

  constructor(keep: Level, grant: number, cause: RevokeCause, nowMs: number) {
    this.keep = keep;
    this.grant = grant;
    this.cause = cause;
    this.sinceMs = nowMs;
  }
}

/** Somebody in this process who waits for a lock; `settle` is called exactly once. */
export abstract class Waiter {
  readonly lock: CachedLock;
  readonly level: Level;
  readonly noWait: boolean;
  /** Holds the lock shared while it waits, until a revoke or another's exclusive use ends that. */
  readonly upgrade: boolean;
  /** Of an upgrade: the shared lock was given up meanwhile, so what was read under it may have changed. */
  interrupted = false;
  /** Of an upgrade that failed: it holds the lock shared again. */
  resumed = false;
  queued = false;
  previous: Waiter | undefined = undefined;
  next: Waiter | undefined = undefined;

  constructor(lock: CachedLock, level: Level, noWait: boolean, upgrade: boolean) {
    this.lock = lock;
    this.level = level;
    this.noWait = noWait;
    this.upgrade = upgrade;
  }

  /** Without an error the lock is in use for the waiter. */
  abstract settle(error: SextantError | undefined): void;
}

/** In which list of the cache a lock is. */
export const Listed = { none: 0, free: 1, requesting: 2 } as const;
export type Listed = (typeof Listed)[keyof typeof Listed];

export class CachedLock implements LockName {
  readonly home: CachedTable;
  readonly idHigh: number;
  readonly idLow: number;
  readonly aspect: Aspect;
  readonly group: number;
  level: Level = Level.none;
  /** Number of the grant that gave the level. */
  grant = 0;
  sharedUsers = 0;
  exclusiveUsed = false;
  listed: Listed = Listed.none;
  /** Whole seconds of the clerk's clock. */
  usedS = 0;
  pending: PendingRequest | undefined = undefined;
  revocation: Revocation | undefined = undefined;
  firstWaiter: Waiter | undefined = undefined;
  lastWaiter: Waiter | undefined = undefined;
  before: CachedLock | undefined = undefined;
  after: CachedLock | undefined = undefined;

  constructor(home: CachedTable, idHigh: number, idLow: number, aspect: Aspect, group: number) {
    this.home = home;
    this.idHigh = idHigh;
    this.idLow = idLow;
    this.aspect = aspect;
    this.group = group;
  }

  get table(): number {
    return this.home.number;
  }

  /** As people write it; a bigint above 2^53. */
  get id(): number | bigint {
    return idOf(this.idHigh, this.idLow);
  }

  get used(): boolean {
    return this.sharedUsers > 0 || this.exclusiveUsed;
  }

  /** May a user have it at `level` now, the queue apart? */
  admits(level: Level): boolean {
    if (level > this.level) return false;
    if (this.revocation !== undefined && level > this.revocation.keep) return false;
    return level === Level.shared
      ? !this.exclusiveUsed
      : !this.exclusiveUsed && this.sharedUsers === 0;
  }

  enqueue(waiter: Waiter): void {
    waiter.queued = true;
    waiter.previous = this.lastWaiter;
    if (this.lastWaiter === undefined) this.firstWaiter = waiter;
    else this.lastWaiter.next = waiter;
    this.lastWaiter = waiter;
  }

  dequeue(waiter: Waiter): void {
    if (waiter.previous === undefined) this.firstWaiter = waiter.next;
    else waiter.previous.next = waiter.next;
    if (waiter.next === undefined) this.lastWaiter = waiter.previous;
    else waiter.next.previous = waiter.previous;
    waiter.previous = undefined;
    waiter.next = undefined;
    waiter.queued = false;
  }

  /** Upgrades that wait have lost the shared lock which they went on from. */
  interruptUpgrades(): void {
    for (let waiter = this.firstWaiter; waiter !== undefined; waiter = waiter.next) {
      if (waiter.upgrade) waiter.interrupted = true;
    }
  }
}

const TWO_32 = 0x1_0000_0000;
const SAFE_HIGH_MAX = 0x1f_ffff;

/** A number where it is exact, else a bigint. */
export function idOf(idHigh: number, idLow: number): number | bigint {
  if (idHigh <= SAFE_HIGH_MAX) return idHigh * TWO_32 + idLow;
  return (BigInt(idHigh) << 32n) | BigInt(idLow);
}
