/**
 * What the locks protect: blocks with tags, as a storage quorum would keep them, in one place. Not part of the lock
 * service, and free of faults but for time: writes arrive late, after their sender has died even.
 *
 * A block changes only to a newer tag = (clock, token), clock first (rule 3); a fenced token changes nothing (rule 12).
 */
import type { Simulation } from '#core/world/simulated/simulation.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import type { World } from '#core/world/world.js';

export interface Tag {
  readonly clock: number;
  readonly token: number;
}
export interface Block {
  readonly tag: Tag;
  readonly value: number | null;
}
export type WriteResult = 'stored' | 'superseded' | 'fenced';

const BLANK: Block = { tag: { clock: 0, token: 0 }, value: null };
const LATE_MS = 3000;

export function isOlder(a: Tag, b: Tag): boolean {
  return a.clock < b.clock || (a.clock === b.clock && a.token < b.token);
}

export class BlockStore {
  readonly blocks = new Map<string, Block>();
  readonly fenced = new Set<number>();
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #lateWrites: number;

  constructor(simulation: Simulation, random: SimRandom, lateWrites: number) {
    this.#simulation = simulation;
    this.#random = random;
    this.#lateWrites = lateWrites;
  }

  read(world: World, token: number, key: string): Promise<Block | 'fenced'> {
    return this.#answer(world, 'read', false, () =>
      this.fenced.has(token) ? 'fenced' : (this.blocks.get(key) ?? BLANK),
    );
  }

  write(world: World, key: string, block: Block): Promise<WriteResult> {
    return this.#answer(world, 'write', true, () => {
      if (this.fenced.has(block.tag.token)) return 'fenced';
      const stored = this.blocks.get(key) ?? BLANK;
      if (!isOlder(stored.tag, block.tag)) return 'superseded';
      this.blocks.set(key, block);
      return 'stored';
    });
  }

  /** Answers with the largest clock that is stored (rule 2). */
  fence(world: World, token: number): Promise<number> {
    return this.#answer(world, 'fence', false, () => {
      this.fenced.add(token);
      let clock = 0;
      for (const { tag } of this.blocks.values()) clock = Math.max(clock, tag.clock);
      return clock;
    });
  }

  /** What was sent arrives, whoever is still there; the answer waits for who is paused and is lost to the dead. */
  #answer<T>(world: World, what: string, mayBeLate: boolean, act: () => T): Promise<T> {
    const random = this.#random;
    const late = mayBeLate && random.chance(this.#lateWrites);
    const thereMs = late ? random.unit() * LATE_MS : 0.2 + random.unit() * 2;
    const backMs = 0.2 + random.unit();
    return new Promise((resolve) => {
      this.#simulation.after(thereMs, `block ${what}`, () => {
        const result = act();
        world.timers.after(backMs, () => resolve(result));
      });
    });
  }
}
