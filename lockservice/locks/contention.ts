/** What a lock has beside its holders while somebody waits for it: the queue, and what was asked of the holders. */
import type { Level } from '../protocol/messages.js';
import type { ClerkEntry } from './clerk-table.js';

/** One clerk in the queue of one lock; a clerk is there at most once. */
export class Waiter {
  readonly clerk: ClerkEntry;
  request: number;
  level: Level;
  noWait: boolean;
  readonly sinceMs: number;
  next: Waiter | undefined = undefined;

  constructor(clerk: ClerkEntry, request: number, level: Level, noWait: boolean, sinceMs: number) {
    this.clerk = clerk;
    this.request = request;
    this.level = level;
    this.noWait = noWait;
    this.sinceMs = sinceMs;
  }
}

/** A revoke that has not been satisfied. */
export interface Revoke {
  readonly clerk: ClerkEntry;
  readonly grant: number;
  /** What the holder may keep. */
  level: Level;
  readonly firstAtMs: number;
  sentAtMs: number;
  /** When it last said that it is alive and works on it, or holds on. */
  answeredAtMs: number;
  keeps: boolean;
}

export class Contention {
  /** Index in the group's table. */
  lock: number;
  /** In order of arrival. */
  head: Waiter | undefined = undefined;
  tail: Waiter | undefined = undefined;
  readonly revokes: Revoke[] = [];

  constructor(lock: number) {
    this.lock = lock;
  }

  append(waiter: Waiter): void {
    if (this.tail === undefined) this.head = waiter;
    else this.tail.next = waiter;
    this.tail = waiter;
  }

  waiterOf(clerk: ClerkEntry): Waiter | undefined {
    let waiter = this.head;
    while (waiter !== undefined && waiter.clerk !== clerk) waiter = waiter.next;
    return waiter;
  }

  remove(waiter: Waiter): void {
    let before: Waiter | undefined;
    let at = this.head;
    while (at !== undefined && at !== waiter) {
      before = at;
      at = at.next;
    }
    if (at === undefined) return;
    if (before === undefined) this.head = waiter.next;
    else before.next = waiter.next;
    if (this.tail === waiter) this.tail = before;
    waiter.next = undefined;
  }

  revokeOf(clerk: ClerkEntry): Revoke | undefined {
    for (const revoke of this.revokes) if (revoke.clerk === clerk) return revoke;
    return undefined;
  }

  forgetRevoke(clerk: ClerkEntry): void {
    const at = this.revokes.findIndex((revoke) => revoke.clerk === clerk);
    if (at >= 0) this.revokes.splice(at, 1);
  }
}
