/**
 * Every lock that a clerk knows, by table, and two orders among them: free locks by last use, oldest first (what is idle
 * or over the bound goes back from there), and requests by when they were sent (what gets no answer is sent again).
 */
import { groupOf } from '../protocol/lock-vectors.js';
import type { Aspect } from '../protocol/messages.js';
import { CachedLock, Listed, idOf } from './cached-lock.js';

/** The locks of one table. Ids above 2^53 are bigint keys beside the numbers. */
export class CachedTable {
  readonly name: string;
  readonly number: number;
  /** When this clerk opened it. */
  readonly sinceMs: number;
  /** Its owner wants to flush before a lock goes back. */
  flushes = false;
  readonly #content = new Map<number | bigint, CachedLock>();
  readonly #life = new Map<number | bigint, CachedLock>();

  constructor(name: string, number: number, sinceMs: number) {
    this.name = name;
    this.number = number;
    this.sinceMs = sinceMs;
  }

  get size(): number {
    return this.#content.size + this.#life.size;
  }

  find(id: number | bigint, aspect: Aspect): CachedLock | undefined {
    return (aspect === 0 ? this.#content : this.#life).get(id);
  }

  add(lock: CachedLock): void {
    (lock.aspect === 0 ? this.#content : this.#life).set(lock.id, lock);
  }

  remove(lock: CachedLock): void {
    (lock.aspect === 0 ? this.#content : this.#life).delete(lock.id);
  }

  forEach(visit: (lock: CachedLock) => void): void {
    for (const lock of this.#content.values()) visit(lock);
    for (const lock of this.#life.values()) visit(lock);
  }

  clear(): void {
    this.#content.clear();
    this.#life.clear();
  }
}

/** Doubly linked through the locks themselves. */
export class LockList {
  readonly kind: Listed;
  first: CachedLock | undefined = undefined;
  last: CachedLock | undefined = undefined;
  count = 0;

  constructor(kind: Listed) {
    this.kind = kind;
  }

  append(lock: CachedLock): void {
    lock.listed = this.kind;
    lock.before = this.last;
    lock.after = undefined;
    if (this.last === undefined) this.first = lock;
    else this.last.after = lock;
    this.last = lock;
    this.count++;
  }

  remove(lock: CachedLock): void {
    if (lock.before === undefined) this.first = lock.after;
    else lock.before.after = lock.after;
    if (lock.after === undefined) this.last = lock.before;
    else lock.after.before = lock.before;
    lock.before = undefined;
    lock.after = undefined;
    lock.listed = Listed.none;
    this.count--;
  }

  clear(): void {
    this.first = undefined;
    this.last = undefined;
    this.count = 0;
  }
}

export class LockCache {
  readonly tables = new Map<number, CachedTable>();
  readonly free = new LockList(Listed.free);
  readonly requesting = new LockList(Listed.requesting);
  /** Locks in all tables, held or asked for. */
  count = 0;

  find(table: number, idHigh: number, idLow: number, aspect: Aspect): CachedLock | undefined {
    return this.tables.get(table)?.find(idOf(idHigh, idLow), aspect);
  }

  add(home: CachedTable, idHigh: number, idLow: number, aspect: Aspect): CachedLock {
    const group = groupOf(home.number, idHigh, idLow);
    const lock = new CachedLock(home, idHigh, idLow, aspect, group);
    home.add(lock);
    this.count++;
    return lock;
  }

  /** Puts the lock into the list that its state asks for, or forgets it. */
  place(lock: CachedLock, nowMs: number): void {
    const { free, requesting } = this;
    if (lock.pending !== undefined) {
      if (lock.listed === Listed.free) free.remove(lock);
      if (lock.listed === Listed.none) requesting.append(lock);
      return;
    }
    if (lock.listed === Listed.requesting) requesting.remove(lock);
    const busy = lock.used || lock.firstWaiter !== undefined || lock.revocation !== undefined;
    if (busy) {
      if (lock.listed === Listed.free) free.remove(lock);
    } else if (lock.level === 0) {
      if (lock.listed === Listed.free) free.remove(lock);
      lock.home.remove(lock);
      this.count--;
    } else if (lock.listed === Listed.none) {
      lock.usedS = Math.floor(nowMs / 1000);
      free.append(lock);
    }
  }

  forEach(visit: (lock: CachedLock) => void): void {
    for (const table of this.tables.values()) table.forEach(visit);
  }

  clear(): void {
    for (const table of this.tables.values()) table.clear();
    this.free.clear();
    this.requesting.clear();
    this.count = 0;
  }
}
