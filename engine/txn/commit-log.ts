/**
 * What became of a transaction id, by a direct-mapped table in front of the status pages.
 *
 * ```
 *   > 0   committed at this LSN
 *     0   aborted: no mark and not active (rule 23)
 *    -1   in progress
 * ```
 *
 * Hot: a hit is two loads and a compare; ids given out since the start are in the table unless 64 Ki later ones
 * have pushed them out.
 */
import type { PageSpace } from '../pages/page-space.js';
import type { LocalTransaction } from './local-transaction.js';
import { SAME_AS, StatusPages } from './status-pages.js';

export const ABORTED = 0;
export const IN_PROGRESS = -1;

const SLOTS = 1 << 16;

export class CommitLog {
  readonly pages: StatusPages;
  readonly #ids = new Float64Array(SLOTS);
  readonly #states = new Float64Array(SLOTS);
  /** Live ids, sub-transactions included, and whose they are. */
  readonly #active = new Map<number, LocalTransaction>();

  constructor(space: PageSpace) {
    this.pages = new StatusPages(space);
  }

  /** Throws Suspend. */
  state(id: number): number {
    const slot = id % SLOTS;
    if (this.#ids[slot] === id) return this.#states[slot];
    return this.#look(id);
  }

  /** Of an id in progress: whose it is. */
  owner(id: number): LocalTransaction | undefined {
    return this.#active.get(id);
  }

  began(id: number, owner: LocalTransaction): void {
    this.#active.set(id, owner);
    this.#note(id, IN_PROGRESS);
  }

  ended(id: number, state: number): void {
    this.#active.delete(id);
    this.#note(id, state);
  }

  get oldestActive(): number {
    let oldest = Infinity;
    for (const id of this.#active.keys()) if (id < oldest) oldest = id;
    return oldest;
  }

  #look(id: number): number {
    if (this.#active.has(id)) return IN_PROGRESS;
    const mark = this.pages.read(id);
    const state = mark >= SAME_AS ? this.state(mark - SAME_AS) : mark;
    // A sub-transaction that points to one in progress has that one's fate, not yet its own.
    if (state !== IN_PROGRESS) this.#note(id, state);
    return state;
  }

  #note(id: number, state: number): void {
    const slot = id % SLOTS;
    this.#ids[slot] = id;
    this.#states[slot] = state;
  }
}
