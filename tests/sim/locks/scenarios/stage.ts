/**
 * The lock service in quiet conditions, for a script: what goes wrong is what the script does. Clerks act when the script
 * says so; what they believe and write is checked as in any run.
 */
import type { SimProcess } from '#core/world/simulated/simulation.js';
import type { LogLine } from '#core/world/simulated/sim-world.js';
import type { World } from '#core/world/world.js';
import { openClerk, type Clerk, type LockHandle } from '#lockservice/clerk/index.js';
import type { RecoveryTask } from '#lockservice/protocol/messages.js';
import { groupOf } from '#lockservice/protocol/lock-vectors.js';
import type { LockMode } from '../../../linearizability/locks.js';
import { Violation } from '../../violation.js';
import type { Belief, Holder } from '../checkers/beliefs.js';
import {
  CLUSTER,
  LockCluster,
  TABLE,
  type PlantedLockFaults,
  type ServerSlot,
} from '../cluster.js';
import { drawOptions, TROUBLES, type LockSimOptions, WORK } from '../options.js';

const none = <K extends string>(kinds: readonly K[]): Record<K, number> =>
  Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<K, number>;

export const QUIET: LockSimOptions = {
  ...drawOptions(1),
  servers: 3,
  clerks: 0,
  clerkLeaseMs: 2000,
  serverLeaseMs: 800,
  heartbeatMs: 50,
  electionMs: 250,
  snapshotEntries: 1000,
  revokeResendMs: 200,
  lateWrites: 0,
  replayMsMax: 50,
  writeBehind: 0,
  network: {},
  driftPpmMax: 0,
  trouble: none(TROUBLES),
  work: none(WORK),
};

export interface Scenario {
  readonly rule: number;
  readonly name: string;
  readonly change?: Partial<LockSimOptions>;
  run(stage: LockStage): Promise<void>;
  /** With it the script must fail, by this checker. */
  readonly needs?: readonly {
    readonly name: string;
    readonly planted: PlantedLockFaults;
    readonly caughtBy: string;
  }[];
}

export interface Held {
  readonly handle: LockHandle;
  readonly belief: Belief;
}

/** A process with a clerk. */
export class Actor implements Holder {
  readonly name: string;
  readonly recovery: boolean;
  readonly process: SimProcess;
  readonly world: World;
  readonly clerk: Clerk;
  readonly #stage: LockStage;

  constructor(
    stage: LockStage,
    process: SimProcess,
    world: World,
    clerk: Clerk,
    recovery: boolean,
  ) {
    this.#stage = stage;
    this.name = process.name;
    this.process = process;
    this.world = world;
    this.clerk = clerk;
    this.recovery = recovery;
  }

  get token(): number {
    return this.clerk.token;
  }

  get isLost(): boolean {
    return this.clerk.lost.aborted;
  }

  /** Takes a lock, and believes in it. The script may look at the promise much later. */
  take(id: number, mode: LockMode): Promise<Held> {
    const taken = this.clerk.acquire(id, mode).then((handle) => this.believe(handle));
    taken.catch(() => undefined);
    return taken;
  }

  believe(handle: LockHandle): Held {
    const { cluster } = this.#stage;
    const belief: Belief = {
      holder: this,
      key: String(handle.id),
      mode: handle.mode,
      isValid: () => handle.valid,
    };
    if (handle.valid) cluster.guard(() => cluster.beliefs.take(belief));
    return { handle, belief };
  }

  give({ handle, belief }: Held): void {
    this.#stage.cluster.beliefs.giveBack(belief);
    handle.release();
  }

  /** One block write under a lock that is held: TAG-1. */
  async write(held: Held, key: string): Promise<void> {
    const { cluster } = this.#stage;
    const tag = { clock: this.clerk.tick(), token: this.token };
    const value = ++cluster.lastValue;
    const result = await cluster.store.write(this.world, key, { tag, value });
    if (result !== 'stored' && held.handle.valid) {
      const stored = JSON.stringify(cluster.store.blocks.get(key));
      throw new Violation(
        'TAG-1',
        `${this.name} wrote ${JSON.stringify(tag)}: the block has ${stored}`,
      );
    }
  }

  kill(): void {
    this.process.crash();
    this.#stage.cluster.beliefs.died(this);
  }
}

export class LockStage {
  readonly cluster: LockCluster;

  constructor(
    planted: PlantedLockFaults = {},
    change: Partial<LockSimOptions> = {},
    onLog?: (line: LogLine) => void,
  ) {
    this.cluster = new LockCluster({ ...QUIET, ...change }, planted, onLog);
  }

  start(): Promise<void> {
    return this.cluster.start();
  }

  /** After a restart of everything: until all groups are served again. */
  restarted(): Promise<void> {
    return this.cluster.whole(30_000);
  }

  /** A clerk in a process of its own. `onRecovery`: what it does as a demon; by default all at once. */
  async actor(
    name: string,
    options: { recovery?: boolean; leaseMs?: number; demon?: boolean } = {},
  ): Promise<Actor> {
    const { cluster } = this;
    const { recovery = false, demon = true } = options;
    const process = cluster.sim.processes.get(name) ?? cluster.sim.process(name);
    const world = process.start();
    const before = cluster.tokens.begin();
    const clerk = await this.run(
      openClerk({
        servers: cluster.addresses,
        cluster: CLUSTER,
        name,
        kind: recovery ? 'fs' : 'plain',
        recovery,
        table: TABLE,
        world,
        ...(options.leaseMs !== undefined && { leaseMs: options.leaseMs }),
        ...(cluster.planted.clerk !== undefined && { faults: cluster.planted.clerk }),
        onRecovery: async ({ dead, state }: RecoveryTask, steps) => {
          if (!demon) return;
          const clock = await cluster.store.fence(world, dead);
          if (state === 'expired') await steps.fenced(clock);
          cluster.beliefs.recovered(dead);
          await steps.recovered(clock);
        },
      }),
      `${name} opens`,
    );
    cluster.guard(() => cluster.tokens.opened(clerk.token, before));
    return new Actor(this, process, world, clerk, recovery);
  }

  /** Lets time pass until the promise is settled; LIVE when it is not in time. */
  async run<T>(promise: Promise<T>, what: string, limitMs = 20_000): Promise<T> {
    const state = { settled: false };
    const note = (): void => {
      state.settled = true;
    };
    promise.then(note, note);
    await this.cluster.until(() => state.settled, limitMs, what);
    return promise;
  }

  async pass(ms: number): Promise<void> {
    await this.cluster.runFor(ms);
  }

  /** The server that serves a lock of the stage's table, as the leader has it. */
  servedBy(id: number): ServerSlot | undefined {
    const { servers, leader } = this.cluster;
    const group = leader?.server?.state.groups.groups[groupOf(1, 0, id)];
    return servers.find((slot) => slot.id === group?.owner);
  }

  serverOf(id: number): ServerSlot {
    const found = this.servedBy(id);
    if (found === undefined) throw new Error(`nobody serves lock ${id}`);
    return found;
  }

  /** An id of a lock that this server serves, or that it does not; the first from `from` on. */
  idOf(serves: (slot: ServerSlot) => boolean, from = 1): number {
    for (let id = from; ; id++) if (serves(this.serverOf(id))) return id;
  }

  expect(condition: boolean, what: string): void {
    if (!condition) throw new Violation('SCRIPT', what);
  }
}
