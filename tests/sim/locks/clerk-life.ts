/**
 * What a process with a clerk does: opens one, lets workers fight about locks, and opens another when that one is lost.
 * Demons of its kind replay what dead clerks left: here that is to fence the token at the block store.
 */
import type { World } from '#core/world/world.js';
import { openClerk, type Clerk, type RecoverySteps } from '#lockservice/clerk/index.js';
import type { RecoveryTask } from '#lockservice/protocol/messages.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import type { Holder } from './checkers/beliefs.js';
import { DirtyBlocks } from './dirty-blocks.js';
import { CLUSTER, TABLE, type ClerkSlot, type LockCluster } from './cluster.js';
import { Violation } from '../violation.js';
import { Worker } from './worker.js';

const REOPEN_MS = 50;

/** One clerk, from its opening to its end. */
export class ClerkSession implements Holder {
  readonly name: string;
  readonly clerk: Clerk;
  readonly recovery: boolean;
  readonly dirty = new DirtyBlocks();

  constructor(name: string, clerk: Clerk, recovery: boolean) {
    this.name = name;
    this.clerk = clerk;
    this.recovery = recovery;
  }

  get token(): number {
    return this.clerk.token;
  }

  get isLost(): boolean {
    return this.clerk.lost.aborted;
  }
}

/** One life of the process. */
export class ClerkLife {
  readonly cluster: LockCluster;
  readonly slot: ClerkSlot;
  readonly world: World;
  readonly random: SimRandom;
  session: ClerkSession | undefined;
  workers: readonly Worker[] = [];
  /** Locks that it got since it was born. */
  taken = 0;
  /** The session is to be closed, as on a clean exit, and another opened. */
  closes = false;

  constructor(cluster: LockCluster, slot: ClerkSlot, world: World, life: number) {
    this.cluster = cluster;
    this.slot = slot;
    this.world = world;
    this.random = cluster.random.fork(`${slot.name}/${life}`);
  }

  /** The process still runs. */
  get isCurrent(): boolean {
    return this.slot.life === this;
  }

  async run(): Promise<void> {
    for (let count = 1; ; count++) {
      const session = await this.#open(`${this.slot.name}/${count}`);
      if (session === undefined) {
        await this.world.timers.sleep(REOPEN_MS);
        continue;
      }
      this.session = session;
      this.closes = false;
      const { workers } = this.cluster.options;
      this.workers = Array.from({ length: workers }, (_, i) => new Worker(this, session, i));
      await Promise.all(this.workers.map((worker) => worker.run()));
      this.session = undefined;
      if (!session.isLost) await this.#flush(session, session.dirty.keys());
      this.cluster.sessionEnds(session);
      // Its demons stop at once, and the service names others as soon as it knows.
      if (!session.isLost) this.cluster.demons.ended(session.token);
      await session.clerk.close();
    }
  }

  async #open(name: string): Promise<ClerkSession | undefined> {
    const { cluster, slot, world } = this;
    const before = cluster.tokens.begin();
    const { recovery } = slot;
    try {
      const clerk = await openClerk({
        servers: cluster.addresses,
        cluster: CLUSTER,
        name,
        kind: recovery ? 'fs' : 'plain',
        recovery,
        tables: [{ name: TABLE, create: true }],
        leaseMs: cluster.options.clerkLeaseMs,
        world,
        ...(cluster.planted.clerk !== undefined && { faults: cluster.planted.clerk }),
        onRecovery: (task, steps) => this.#recover(task, steps),
      });
      const session = new ClerkSession(name, clerk, recovery);
      clerk.table(TABLE).onRevoke = (locks) =>
        this.#revoked(
          session,
          locks.map(({ id }) => String(id)),
        );
      cluster.guard(() => cluster.tokens.opened(clerk.token, before));
      cluster.sessions.add(session);
      return session;
    } catch (error) {
      cluster.expected(error);
      return undefined;
    }
  }

  /** What the owner of the locks does before they go back: nothing for ever, when it is deaf. */
  async #revoked(session: ClerkSession, keys: readonly string[]): Promise<void> {
    const { slot, random, world } = this;
    if (random.chance(0.3)) await world.timers.sleep(random.unit() * 30);
    while (slot.deaf) await world.timers.sleep(100);
    await this.#flush(session, keys);
  }

  /** FS-2: what was changed under these locks is written before they go back. TAG-1. */
  async #flush(session: ClerkSession, keys: readonly string[]): Promise<void> {
    const { store } = this.cluster;
    for (const key of keys) {
      if (session.dirty.value(key) === undefined || session.isLost) continue;
      const tag = { clock: session.clerk.tick(), token: session.token };
      const result = await session.dirty.flush(this.world, store, key, tag);
      if (result !== 'superseded' || session.isLost || session.clerk.leaseLeftMs() === 0) continue;
      const stored = JSON.stringify(store.blocks.get(key));
      this.cluster.fail(
        new Violation(
          'TAG-1',
          `${session.name} flushed ${key} with ${JSON.stringify(tag)}: the block has ${stored}`,
        ),
      );
    }
  }

  /** Rule 12 and 16, with one node that never fails: fence, replay (there is nothing), say the largest clock. */
  async #recover(task: RecoveryTask, steps: RecoverySteps): Promise<void> {
    const { cluster, world, random } = this;
    const { dead } = task;
    const { session } = this;
    if (session !== undefined) cluster.guard(() => cluster.demons.begins(session.token, dead));
    const clock = await cluster.store.fence(world, dead);
    // The service may name others for what this one was to recover before it answers here.
    cluster.demons.ended(dead);
    if (task.state === 'expired') await steps.fenced(clock);
    await world.timers.sleep(random.unit() * cluster.options.replayMsMax);
    cluster.beliefs.recovered(dead);
    await steps.recovered(clock);
  }
}
