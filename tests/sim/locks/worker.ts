/**
 * One thread of work with a clerk: takes locks, changes blocks under them, gives them back. What it does next is drawn.
 *
 * ```
 *   exclusive   | acquire | read block | ... | write block, +1 clock | ... | release |     one compare-and-set in the history
 *   shared      | acquire | read block ............................... | release |         one read
 * ```
 *
 * - TAG-1 While a clerk's handle is valid, a write of its is newer than what the block has (rules 2 and 3).
 * - Blocks under locks are linearizable: a read-change-write under an exclusive lock happens at one moment.
 */
import type { LockHandle } from '#lockservice/clerk/index.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import type { Pending } from '../../linearizability/history.js';
import type { LockMode } from '../../linearizability/locks.js';
import type { RegisterOutput } from '../../linearizability/register.js';
import { Violation } from '../violation.js';
import type { Belief } from './checkers/beliefs.js';
import type { ClerkLife, ClerkSession } from './clerk-life.js';
import { TABLE } from './cluster.js';
import { countingWork, electionWork } from './coordination-work.js';
import { rangeWork } from './range-work.js';
import { WORK, type WorkKind } from './options.js';

/** Ids that the `reuse` work takes: one says which of two others guards a block now. */
const ALLOCATION = 900;
const GUARDS = [901, 902] as const;
const ACQUIRE_MS = 20_000;

/** A lock in use, and what its user believes. */
interface Held {
  readonly handle: LockHandle;
  readonly belief: Belief;
  readonly callMs: number;
}

export class Worker {
  readonly #life: ClerkLife;
  readonly #session: ClerkSession;
  readonly #random: SimRandom;
  readonly #who: string;
  /** For people, when nothing moves. */
  doing = '';

  constructor(life: ClerkLife, session: ClerkSession, index: number) {
    this.#life = life;
    this.#session = session;
    this.#random = life.random.fork(`${session.name}/${index}`);
    this.#who = `${session.name}#${index}`;
  }

  /** Until the clerk is lost, or is to close. */
  async run(): Promise<void> {
    const { cluster, world } = this.#life;
    while (!this.#session.isLost && !this.#life.closes) {
      try {
        const kind = cluster.calm ? this.#calmWork() : this.#draw();
        this.doing = `${this.#who} ${kind} since ${cluster.nowMs.toFixed(1)}`;
        await this.#do(kind);
      } catch (error) {
        cluster.expected(error);
      }
      await world.timers.sleep(this.#random.unit() * cluster.options.restMsMax);
    }
  }

  #draw(): WorkKind {
    const { work } = this.#life.cluster.options;
    let at = this.#random.below(WORK.reduce((sum, kind) => sum + work[kind], 0));
    for (const kind of WORK) {
      at -= work[kind];
      if (at < 0) return kind;
    }
    return 'exclusive';
  }

  #calmWork(): WorkKind {
    const kinds: readonly WorkKind[] = ['exclusive', 'shared', 'vector'];
    return kinds[this.#random.below(kinds.length)] ?? 'exclusive';
  }

  #do(kind: WorkKind): Promise<void> {
    const id = this.#random.below(this.#life.cluster.options.ids) + 1;
    switch (kind) {
      case 'exclusive':
        return this.#with([id], 'exclusive', ([held]) => this.#change(held as Held, `${id}`));
      case 'shared':
        return this.#with([id], 'shared', ([held]) => this.#look(held as Held, `${id}`));
      case 'vector':
        return this.#vector();
      case 'upgrade':
        return this.#upgrade(id);
      case 'downgrade':
        return this.#downgrade(id);
      case 'tryLock':
        return this.#with([id], 'exclusive', ([held]) => this.#change(held as Held, `${id}`), true);
      case 'life':
        return this.#with([id], this.#random.chance(0.7) ? 'open' : 'destroy', () => this.#pause());
      case 'reuse':
        return this.#reuse();
      case 'range':
        return rangeWork(this.#life, this.#session, this.#random, this.#who, () => this.#pause());
      case 'counter':
        return countingWork(this.#life, this.#session, this.#random);
      case 'election':
        return electionWork(this.#life, this.#session, () => this.#pause());
    }
  }

  /** Acquires, uses, gives back. With several, all at once. */
  async #with(
    ids: readonly number[],
    mode: LockMode,
    use: (held: readonly Held[]) => Promise<unknown>,
    noWait = false,
  ): Promise<void> {
    const { clerk } = this.#session;
    const { cluster } = this.#life;
    const callMs = cluster.nowMs;
    const options = { table: TABLE, timeoutMs: ACQUIRE_MS, noWait };
    const handles =
      ids.length === 1
        ? [await clerk.acquire(ids[0] as number, mode, options)]
        : await clerk.acquireMany(
            ids.map((id) => ({ id, mode })),
            options,
          );
    const held = handles.map((handle, i) => this.#believe(handle, `${ids[i]}`, mode, callMs));
    try {
      await use(held);
    } finally {
      for (const one of held) this.#giveBack(one);
    }
  }

  #believe(handle: LockHandle, key: string, mode: LockMode, callMs: number): Held {
    const { cluster } = this.#life;
    const belief: Belief = {
      holder: this.#session,
      key,
      mode,
      isValid: () => handle.valid,
    };
    if (handle.valid) {
      this.#life.taken++;
      cluster.noteTaken(cluster.nowMs - callMs);
      cluster.guard(() => cluster.beliefs.take(belief));
    }
    return { handle, belief, callMs };
  }

  #giveBack({ handle, belief }: Held): void {
    this.#life.cluster.beliefs.giveBack(belief);
    handle.release();
  }

  #pause(): Promise<void> {
    const { holdMsMax } = this.#life.cluster.options;
    return this.#life.world.timers.sleep(this.#random.unit() * holdMsMax);
  }

  /** Read, change, write: a compare-and-set between the call of the acquire and the answer of the write. */
  async #change(held: Held, key: string, mayWait = true): Promise<number | null> {
    const { cluster } = this.#life;
    const before = await this.#see(key);
    if (before === undefined || !held.handle.valid) return null;
    await this.#pause();
    if (!held.handle.valid) return null;
    const value = ++cluster.lastValue;
    if (!this.#session.recovery) return value;
    const input = { op: 'cas', expected: before, value } as const;
    const change = cluster.blocks.begin(this.#who, key, input, held.callMs);
    const { dirty } = this.#session;
    const waits = mayWait && this.#random.chance(cluster.options.writeBehind);
    if (waits || dirty.value(key) !== undefined) dirty.change(key, value, change);
    else await this.#write(held, key, value, change);
    return value;
  }

  async #write(
    held: Held,
    key: string,
    value: number,
    change: Pending<RegisterOutput>,
  ): Promise<void> {
    const { cluster, world } = this.#life;
    const tag = { clock: this.#session.clerk.tick(), token: this.#session.token };
    const result = await cluster.store.write(world, key, { tag, value });
    // Refused by the store: it did not happen, and its sender has lost the lock.
    if (result === 'stored') change.answered({ swapped: true });
    else change.never();
    if (result === 'superseded' && held.handle.valid) {
      const stored = JSON.stringify(cluster.store.blocks.get(key));
      throw new Violation(
        'TAG-1',
        `${this.#who} wrote ${key} with ${JSON.stringify(tag)} under a valid lock; the block has ${stored}`,
      );
    }
  }

  /** What is dirty may still be lost: seeing it is no part of the history. */
  async #look(held: Held, key: string): Promise<number | null | undefined> {
    const { cluster } = this.#life;
    const isDirty = this.#session.dirty.value(key) !== undefined;
    const look = cluster.blocks.begin(this.#who, key, { op: 'read' }, held.callMs);
    const value = await this.#see(key);
    if (value === undefined || isDirty || !held.handle.valid) look.never();
    else look.answered({ value });
    if (value === undefined || !held.handle.valid) return undefined;
    await this.#pause();
    return value;
  }

  /** As the clerk sees it: its own change, or what is stored; undefined when it is fenced. */
  async #see(key: string): Promise<number | null | undefined> {
    const { cluster, world } = this.#life;
    // Looked up before: its write may arrive meanwhile, and the read have passed it.
    const own = this.#session.dirty.value(key);
    const block = await cluster.store.read(world, this.#session.token, key);
    return block === 'fenced' ? undefined : (own ?? block.value);
  }

  async #vector(): Promise<void> {
    const { ids } = this.#life.cluster.options;
    const chosen = Array.from({ length: ids }, (_, i) => i + 1).filter(() =>
      this.#random.chance(0.6),
    );
    if (chosen.length === 0) chosen.push(1);
    const mode = this.#random.chance(0.5) ? 'exclusive' : 'shared';
    await this.#with(chosen, mode, async (all) => {
      for (const held of all) {
        if (mode === 'exclusive') await this.#change(held, held.belief.key);
        else await this.#look(held, held.belief.key);
      }
    });
  }

  async #downgrade(id: number): Promise<void> {
    await this.#with([id], 'exclusive', async ([held]) => {
      const { handle, belief } = held as Held;
      const wrote = await this.#change(held as Held, belief.key);
      if (wrote === null || !handle.valid) return;
      handle.downgrade();
      belief.mode = 'shared';
      const seen = await this.#look(held as Held, belief.key);
      if (this.#session.recovery && seen !== undefined && seen !== wrote) {
        throw new Violation('LOCK-1', `${this.#who} wrote ${wrote}, downgraded, and reads ${seen}`);
      }
    });
  }

  /** Rule 7: what was read before counts only when nobody came between. */
  async #upgrade(id: number): Promise<void> {
    await this.#with([id], 'shared', async ([held]) => {
      const one = held as Held;
      const { handle, belief } = one;
      const before = await this.#look(one, belief.key);
      if (before === undefined || !handle.valid) return;
      const { cluster } = this.#life;
      const callMs = cluster.nowMs;
      const { interrupted } = await handle.upgrade({ timeoutMs: ACQUIRE_MS });
      cluster.beliefs.giveBack(belief);
      belief.mode = 'exclusive';
      if (!handle.valid) return;
      cluster.guard(() => cluster.beliefs.take(belief));
      const after = await this.#see(belief.key);
      if (after === undefined || !handle.valid) return;
      if (!interrupted && after !== before) {
        throw new Violation(
          'LOCK-1',
          `${this.#who} read ${before} of ${belief.key}, upgraded without interruption, and reads ${after}`,
        );
      }
      await this.#change({ ...one, callMs }, belief.key);
    });
  }

  /**
   * A block that lies under another lock now and then: `ALLOCATION` says which, and is held while it is used. Its tags must
   * grow all the same (rule 3).
   */
  async #reuse(): Promise<void> {
    const moves = this.#random.chance(0.3);
    await this.#with([ALLOCATION], moves ? 'exclusive' : 'shared', async ([allocation]) => {
      const guard = await this.#see('guard');
      if (guard === undefined || allocation?.handle.valid !== true) return;
      if (moves) return void (await this.#change(allocation, 'guard', false));
      const id = GUARDS[(guard ?? 0) % 2] as number;
      await this.#with([id], 'exclusive', ([held]) => this.#change(held as Held, 'reused', false));
    });
  }
}
