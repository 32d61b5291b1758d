/**
 * The answer to REBUILD: every lock that the clerk holds in a group (rule 5), in parts that fit a vector. Each answer is an
 * attempt of its own, so parts of two never mix. It may name locks that go back right after: a revoke of those is answered
 * with "not held".
 */
import { VECTOR_ITEMS_MAX, VectorWriter } from '../protocol/lock-vectors.js';
import { MessageType } from '../protocol/messages.js';
import type { ClaimItem } from '../protocol/messages.js';
import type { CachedLock } from './cached-lock.js';
import type { LockCache } from './lock-cache.js';

const ATTEMPTS = 0x1_0000;

export class Claims {
  readonly #token: number;
  readonly #forget: boolean;
  readonly #writer = new VectorWriter(MessageType.claim);
  #attempt = 0;

  /** `forget`: a planted fault leaves one lock out. */
  constructor(token: number, forget: boolean) {
    this.#token = token;
    this.#forget = forget;
  }

  /** Messages for the groups asked for (group -> epoch), in one pass over the cache. */
  answer(
    asked: ReadonlyMap<number, number>,
    cache: LockCache,
    clock: number,
    send: (group: number, body: Uint8Array) => void,
  ): void {
    const held = new Map<number, CachedLock[]>();
    for (const group of asked.keys()) held.set(group, []);
    cache.forEach((lock) => {
      if (lock.level > 0) held.get(lock.group)?.push(lock);
    });
    for (const [group, locks] of held) {
      if (this.#forget) locks.pop();
      this.#attempt = (this.#attempt + 1) % ATTEMPTS;
      this.#send(group, asked.get(group) ?? 0, locks, clock, send);
    }
  }

  #send(
    group: number,
    epoch: number,
    locks: CachedLock[],
    clock: number,
    send: (group: number, body: Uint8Array) => void,
  ): void {
    const writer = this.#writer;
    const header = { token: this.#token, group, epoch, clock, attempt: this.#attempt };
    for (let at = 0, part = 0; part === 0 || at < locks.length; part++) {
      writer.clear();
      const end = Math.min(locks.length, at + VECTOR_ITEMS_MAX);
      for (; at < end; at++) writer.addClaim(locks[at] as ClaimItem);
      send(group, writer.finishClaim({ ...header, part, last: at === locks.length }).slice());
    }
  }
}
