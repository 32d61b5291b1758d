/**
 * Those who wait for VDL, by LSN; equal LSNs in the order of arrival. A new waiter mostly has the
 * highest LSN of all, so it is put in from the end.
 */
import { assert } from '#core/assert.js';

export type Done = (error?: Error) => void;

const COMPACT_AT = 1024;

export class Waiters {
  #lsns: number[] = [];
  #dones: Done[] = [];
  #sinceMs: number[] = [];
  #head = 0;

  get size(): number {
    return this.#lsns.length - this.#head;
  }

  /** LSN of the first one, or Infinity. */
  get first(): number {
    return this.#head < this.#lsns.length ? this.#lsns[this.#head] : Infinity;
  }

  /** Since when the first one waits. */
  get firstSinceMs(): number {
    return this.#sinceMs[this.#head];
  }

  add(lsn: number, sinceMs: number, done: Done): void {
    const lsns = this.#lsns;
    let at = lsns.length;
    lsns.push(lsn);
    this.#dones.push(done);
    this.#sinceMs.push(sinceMs);
    while (at > this.#head && lsns[at - 1] > lsn) {
      lsns[at] = lsns[at - 1];
      this.#dones[at] = this.#dones[at - 1];
      this.#sinceMs[at] = this.#sinceMs[at - 1];
      at--;
    }
    lsns[at] = lsn;
    this.#dones[at] = done;
    this.#sinceMs[at] = sinceMs;
  }

  /** Takes the first one out. Call its result only afterwards: it may add waiters. */
  take(): Done {
    assert(this.#head < this.#lsns.length, 'a waiter to take');
    const done = this.#dones[this.#head];
    this.#head++;
    if (this.#head === this.#lsns.length || this.#head >= COMPACT_AT) this.#compact();
    return done;
  }

  #compact(): void {
    this.#lsns.splice(0, this.#head);
    this.#dones.splice(0, this.#head);
    this.#sinceMs.splice(0, this.#head);
    this.#head = 0;
  }
}
