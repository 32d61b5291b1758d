/**
 * What a process with a clerk does: opens one, lets workers fight about locks, and opens another when that one is lost.
 * Demons of its kind replay what dead clerks left: here that is to fence the token at the block store.
 */
import type { World } from '#core/world/world.js';
import { openClerk, type Clerk, type RecoverySteps } from '#lockservice/clerk/index.js';
import type { RecoveryTask } from '#lockservice/protocol/messages.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import type { Holder } from './checkers/beliefs.js';
import { CLUSTER, TABLE, type ClerkSlot, type LockCluster } from './cluster.js';
import { Worker } from './worker.js';

const REOPEN_MS = 50;

/** One clerk, from its opening to its end. */
export class ClerkSession implements Holder {
  readonly name: string;
  readonly clerk: Clerk;
  readonly recovery: boolean;

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
      await Promise.all(
        Array.from({ length: workers }, (_, i) => new Worker(this, session, i).run()),
      );
      this.session = undefined;
      this.cluster.sessionEnds(session);
      await session.clerk.close().catch((error: unknown) => this.cluster.expected(error));
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
      clerk.table(TABLE).onRevoke = () => this.#flush();
      cluster.guard(() => cluster.tokens.opened(clerk.token, before));
      cluster.sessions.add(session);
      return session;
    } catch (error) {
      cluster.expected(error);
      return undefined;
    }
  }

  /** What the owner of the locks does before they go back: nothing for ever, when it is deaf. */
  async #flush(): Promise<void> {
    const { slot, random, world } = this;
    if (random.chance(0.3)) await world.timers.sleep(random.unit() * 30);
    while (slot.deaf) await world.timers.sleep(100);
  }

  /** Rule 12 and 16, with one node that never fails: fence, replay (there is nothing), say the largest clock. */
  async #recover(task: RecoveryTask, steps: RecoverySteps): Promise<void> {
    const { cluster, world, random } = this;
    const { dead } = task;
    const clock = await cluster.store.fence(world, dead);
    if (task.state === 'expired') await steps.fenced(clock);
    await world.timers.sleep(random.unit() * 50);
    cluster.beliefs.recovered(dead);
    await steps.recovered(clock);
  }
}
