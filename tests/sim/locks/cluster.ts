/**
 * The whole lock service in one thread: lock servers, processes with clerks, what their locks protect, and the checkers
 * that watch all of it. What goes wrong is up to the nemesis or to a scenario.
 *
 * ```ts
 * const cluster = new LockCluster(drawOptions(42));
 * await cluster.start();                    // servers up, all groups owned
 * cluster.startClerks();
 * await cluster.until(() => cluster.taken > 10, 10_000, 'ten locks');   // throws the first Violation
 * await cluster.converge();                 // ends all faults; everybody must get what he wants
 * ```
 */
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { ProcessCrashed, Simulation, type SimProcess } from '#core/world/simulated/simulation.js';
import type { LogLine } from '#core/world/simulated/sim-world.js';
import type { World } from '#core/world/world.js';
import type { ClerkFaults } from '#lockservice/clerk/faults.js';
import {
  NO_COORDINATION_FAULTS,
  type CoordinationFaults,
} from '#lockservice/coordination/faults.js';
import type { LockFaults } from '#lockservice/locks/faults.js';
import { LOCK_GROUPS } from '#lockservice/protocol/messages.js';
import { RaftChecker } from '#lockservice/raft/raft-checker.test-helper.js';
import type { RaftFaults } from '#lockservice/raft/faults.js';
import type { ServerFaults } from '#lockservice/server/faults.js';
import { LockServer } from '#lockservice/server/lock-server.js';
import type { StateFaults } from '#lockservice/state/faults.js';
import { checkLinearizable, explain } from '../../linearizability/checker.js';
import { History } from '../../linearizability/history.js';
import {
  registerModel,
  type RegisterInput,
  type RegisterOutput,
} from '../../linearizability/register.js';
import { nodeModel, type NodeInput, type NodeOutput } from '../../linearizability/versioned.js';
import { Running } from '../running.js';
import { ELECTION_PATH } from './coordination-work.js';
import { Violation } from '../violation.js';
import { BlockStore } from './block-store.js';
import { Beliefs, Tokens } from './checkers/beliefs.js';
import { checkServing, Demons, type ServingView } from './checkers/serving.js';
import { ClerkLife, type ClerkSession } from './clerk-life.js';
import { Operator } from './operator.js';
import type { LockSimOptions } from './options.js';
import { watchServer } from './watch.js';

const FOLDER = '/data';
export const CLUSTER = 'sim';
export const TABLE = 'files';
const QUIET_DISK = { syncMinMs: 0.05, syncMaxMs: 0.2 } as const;

/** Rules taken away on purpose. */
export interface PlantedLockFaults {
  readonly server?: ServerFaults;
  readonly raft?: RaftFaults;
  readonly state?: StateFaults;
  readonly locks?: LockFaults;
  readonly coordination?: Partial<CoordinationFaults>;
  readonly clerk?: ClerkFaults;
}

/** One lock server over all its lives. */
export class ServerSlot {
  readonly id: string;
  readonly address: string;
  readonly process: SimProcess;
  server: LockServer | undefined;
  /** Not of the first members: it joins a group that is there. */
  readonly joins: boolean;
  /** Taken out of the group: it stays down. */
  removed = false;

  constructor(id: string, process: SimProcess, joins: boolean) {
    this.id = id;
    this.address = `${id}:1`;
    this.process = process;
    this.joins = joins;
  }

  get running(): boolean {
    return this.process.running;
  }
}

/** One process with a clerk, over all its lives. */
export class ClerkSlot {
  readonly name: string;
  readonly process: SimProcess;
  readonly recovery: boolean;
  life: ClerkLife | undefined;
  /** Its owner does not answer revokes. */
  deaf = false;

  constructor(name: string, process: SimProcess, recovery: boolean) {
    this.name = name;
    this.recovery = recovery;
    this.process = process;
  }
}

export class LockCluster extends Running {
  readonly options: LockSimOptions;
  readonly planted: PlantedLockFaults;
  readonly sim: Simulation;
  readonly random: SimRandom;
  readonly servers: ServerSlot[] = [];
  readonly clerks: ClerkSlot[];
  readonly store: BlockStore;
  readonly beliefs = new Beliefs();
  readonly tokens = new Tokens();
  readonly demons = new Demons();
  /** Blocks under locks. */
  readonly sessions = new Set<ClerkSession>();
  readonly operator: Operator;
  raft = new RaftChecker();
  readonly blocks: History<RegisterInput, RegisterOutput>;
  /** Nodes of the coordination tree. */
  readonly nodes: History<NodeInput, NodeOutput>;
  /** Locks that anybody got. */
  taken = 0;
  /** The longest that anybody waited for one, since it was last set to 0. */
  longestWaitMs = 0;
  /** Every value that is written is another. */
  lastValue = 0;
  /** Faults are over: workers do only what must always succeed. */
  calm = false;
  /** Of the register on the storage nodes. */
  #generation = 0;
  readonly #drift: SimRandom;

  constructor(
    options: LockSimOptions,
    planted: PlantedLockFaults = {},
    onLog?: (line: LogLine) => void,
  ) {
    super();
    this.options = options;
    this.planted = planted;
    this.random = new SimRandom(options.seed).fork('nemesis');
    this.#drift = this.random.fork('drift');
    this.sim = new Simulation(options.seed, {
      network: options.network,
      errorsEndRun: false,
      onLog: (line) => {
        onLog?.(line);
        this.#logged(line);
      },
    });
    this.store = new BlockStore(this.sim, this.random.fork('store'), options.lateWrites);
    this.blocks = new History(() => this.nowMs);
    this.nodes = new History(() => this.nowMs);
    for (let i = 1; i <= options.servers; i++) this.addServerSlot(false);
    this.operator = new Operator(this.sim.process('operator').start(), CLUSTER);
    this.clerks = Array.from({ length: options.clerks }, (_, i) => this.#clerkSlot(i));
  }

  /** The servers that clerks are told of: those of the beginning, and what joined later. */
  get addresses(): { id: string; address: string }[] {
    return this.servers
      .filter(({ removed }) => !removed)
      .map(({ id, address }) => ({ id, address }));
  }

  addServerSlot(joins: boolean): ServerSlot {
    const id = `lock-${this.servers.length + 1}`;
    const process = this.sim.process(id, (world) => this.#serverMain(slot, world), {
      driftPpm: this.#driftPpm(),
      onExit: (error) => this.#serverFailed(slot, error),
    });
    const slot = new ServerSlot(id, process, joins);
    this.servers.push(slot);
    return slot;
  }

  #clerkSlot(index: number): ClerkSlot {
    const name = `clerk-${index + 1}`;
    const recovery = index >= this.options.plainClerks;
    let lives = 0;
    const process = this.sim.process(
      name,
      (world) => {
        const life = new ClerkLife(this, slot, world, ++lives);
        slot.life = life;
        return life.run();
      },
      { driftPpm: this.#driftPpm(), onExit: (error) => this.fail(error) },
    );
    const slot = new ClerkSlot(name, process, recovery);
    return slot;
  }

  #driftPpm(): number {
    return Math.round((this.#drift.unit() * 2 - 1) * this.options.driftPpmMax) + 0;
  }

  // -- running ----------------------------------------------------------------------------------------

  async start(): Promise<void> {
    for (const slot of this.servers) slot.process.start();
    await this.whole(30_000);
  }

  /** Waits until all groups are served, and evenly. */
  async whole(limitMs: number): Promise<void> {
    await this.until(() => this.#lacking() === '', limitMs, 'all groups served').catch(
      (error: unknown) => {
        if (this.violation !== undefined) throw error;
        throw new Violation('LIVE', `after ${limitMs} ms: ${this.#lacking()}`);
      },
    );
  }

  startClerks(): void {
    for (const { process } of this.clerks) if (!process.running) process.start();
  }

  startServer(slot: ServerSlot): void {
    if (slot.running || slot.removed) return;
    slot.server = undefined;
    slot.process.start();
  }

  /** Stops it cleanly; what is returned starts it again, as soon as it has ended. */
  stopServer(slot: ServerSlot, server: LockServer): () => void {
    let again = false;
    server.stop().then(
      () => {
        // It may have died on the way, and be another process now.
        if (slot.server !== server || !slot.running) return;
        slot.process.crash({ power: false });
        if (again) this.startServer(slot);
      },
      (error: unknown) => this.fail(error),
    );
    return () => {
      again = true;
      this.startServer(slot);
    };
  }

  /** The session is about to close: what it held is no belief any more. */
  sessionEnds(session: ClerkSession): void {
    this.sessions.delete(session);
    session.dirty.drop();
  }

  /** Takes a member out, and stops it when that is done. */
  removeServer(slot: ServerSlot): void {
    const addresses = (): string[] => this.addresses.map(({ address }) => address);
    const done = this.operator.changeMembers(addresses, { remove: slot.id }, 20);
    done.then(
      (removed) => {
        if (!removed) return;
        slot.removed = true;
        slot.process.crash({ power: false });
      },
      (error: unknown) => this.fail(error),
    );
  }

  /** Every server loses its disk: what begins then is another Raft group. */
  loseAll(): void {
    for (const slot of this.servers) {
      slot.process.crash();
      slot.process.disk.lose(FOLDER);
    }
    this.raft = new RaftChecker();
  }

  killClerk(slot: ClerkSlot): void {
    const session = slot.life?.session;
    slot.process.crash();
    slot.life = undefined;
    if (session === undefined) return;
    this.sessionEnds(session);
    this.beliefs.died(session);
  }

  /** Runs a check; what it throws ends the run. */
  guard(check: () => void): void {
    if (this.violation !== undefined) return;
    try {
      check();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Errors that clients of a lock service in trouble must expect; any other ends the run. */
  expected(error: unknown): void {
    if (isSextantError(error) && EXPECTED.has(error.code)) return;
    this.fail(error);
  }

  noteTaken(waitedMs: number): void {
    this.taken++;
    this.longestWaitMs = Math.max(this.longestWaitMs, waitedMs);
  }

  get highestTerm(): number {
    return Math.max(0, ...this.raft.leaders.keys());
  }

  // -- servers ----------------------------------------------------------------------------------------

  get leader(): ServerSlot | undefined {
    return this.servers.find(({ running, server }) => running && server?.isLeader === true);
  }

  async #serverMain(slot: ServerSlot, world: World): Promise<void> {
    const { options, planted } = this;
    const { raft, state, locks, coordination, server: faults } = planted;
    const server = await LockServer.open(world, {
      cluster: CLUSTER,
      id: slot.id,
      listen: slot.address,
      folder: FOLDER,
      members: slot.joins
        ? this.addresses
        : this.servers.filter(({ joins }) => !joins).map(({ id, address }) => ({ id, address })),
      join: slot.joins,
      tokenFloor: { takeGeneration: async () => ++this.#generation },
      leaseMs: options.clerkLeaseMs,
      serverLeaseMs: options.serverLeaseMs,
      heartbeatMs: options.heartbeatMs,
      electionMs: [options.electionMs, options.electionMs * 2],
      snapshotEntries: options.snapshotEntries,
      revokeResendMs: options.revokeResendMs,
      faults: {
        ...faults,
        ...(raft !== undefined && { raft }),
        ...(state !== undefined && { state }),
        ...(locks !== undefined && { locks }),
        ...(coordination !== undefined && {
          coordination: { ...NO_COORDINATION_FAULTS, ...coordination },
        }),
      },
    });
    slot.server = server;
    server.onFailed = (error) => this.#serverFailed(slot, error);
    watchServer(
      this.raft,
      server,
      (check) => this.guard(check),
      () => this.guard(() => this.#checkServing()),
    );
  }

  #checkServing(): void {
    const views: ServingView[] = [];
    for (const { id, server, running } of this.servers) {
      if (!running || server === undefined) continue;
      views.push({ id, mayServe: server.desk.mayServe(), serving: server.desk.serving });
    }
    checkServing(views);
  }

  /** No disk fails here: a server that ends by itself is wrong, unless it dies at a sync as planned. */
  #serverFailed(slot: ServerSlot, error: unknown): void {
    if (!(error instanceof ProcessCrashed) && slot.running) this.fail(error);
  }

  #logged(line: LogLine): void {
    if (line.level !== 'error') return;
    const { error } = line.fields;
    const detail = error instanceof Error ? (error.stack ?? error.message) : '';
    const fields = JSON.stringify(line.fields);
    this.fail(new Violation('ERROR', `${line.process}: ${line.message} ${fields} ${detail}`));
  }

  // -- liveness ---------------------------------------------------------------------------------------

  /** Ends every fault, starts everything, and waits until everybody gets what he wants. */
  async converge(limitMs = 60_000): Promise<void> {
    const { network } = this.sim;
    network.heal();
    network.clearFaults();
    network.faults('*', '*', { drop: 0, duplicate: 0, reorder: 0, flipBit: 0, breakLink: 0 });
    this.calm = true;
    for (const slot of this.servers) {
      Object.assign(slot.process.disk.faults, QUIET_DISK);
      slot.process.resume();
      slot.process.crashAtSync(Infinity, 'before');
      this.startServer(slot);
    }
    for (const slot of this.clerks) {
      slot.deaf = false;
      slot.process.resume();
      if (!slot.process.running) slot.process.start();
    }
    await this.whole(limitMs);
    const before = this.clerks.map(({ life }) => life?.taken ?? 0);
    const enough = (slot: ClerkSlot, i: number): boolean =>
      (slot.life?.taken ?? 0) >= (before[i] ?? 0) + 20;
    await this.until(() => this.clerks.every(enough), limitMs, 'locks for every clerk').catch(
      (error: unknown) => {
        if (this.violation !== undefined) throw error;
        const late = this.clerks.filter((slot, i) => !enough(slot, i));
        const doing = late.flatMap(({ name, life }) =>
          life?.session === undefined ? [`${name} opens`] : life.workers.map((one) => one.doing),
        );
        throw new Violation('LIVE', `no locks within ${limitMs} ms: ${doing.join('; ')}`);
      },
    );
    // What waited through the faults is over: from now on nobody waits long.
    this.longestWaitMs = 0;
    await this.runFor(2000);
    this.checkHistories();
    this.#checkEphemerals();
  }

  /** TREE-3: what lives as long as its session is gone with it. */
  #checkEphemerals(): void {
    const state = this.leader?.server?.state;
    if (state === undefined) return;
    const [leader] = state.tree.read([{ op: 'stat', path: ELECTION_PATH }]);
    const owner = leader?.stat?.owner ?? 0;
    if (owner !== 0 && !state.isLive(owner)) {
      throw new Violation('TREE-3', `${ELECTION_PATH} is there without its clerk ${owner}`);
    }
  }

  checkHistories(): void {
    const blocks = checkLinearizable(registerModel, this.blocks.all());
    if (blocks.verdict !== 'linearizable') throw new Violation('LOCK-1', explain(blocks));
    const nodes = checkLinearizable(nodeModel, this.nodes.all(), {
      // A write comes before whatever its session asks for later; a read may see later writes too.
      fifo: ({ op }) => op !== 'get',
    });
    if (nodes.verdict !== 'linearizable') throw new Violation('COORD-1', explain(nodes));
  }

  /** What is missing until the service is whole, or ''. */
  #lacking(): string {
    const { leader } = this;
    if (leader?.server === undefined) return 'a leader';
    const { groups } = leader.server.state.groups;
    const owned = new Map<string, number>();
    for (const [number, { owner, from }] of groups.entries()) {
      if (owner === null || from !== null) return `group ${number} has no owner`;
      owned.set(owner, (owned.get(owner) ?? 0) + 1);
    }
    const members = this.servers.filter(({ removed }) => !removed);
    for (const { id, server, running } of members) {
      const count = owned.get(id) ?? 0;
      if (!running || server === undefined) return `${id} is not running`;
      if (Math.abs(count - LOCK_GROUPS / members.length) >= 1) return `${id} owns ${count} groups`;
      const { groups: serves, rebuilding } = server.status();
      if (serves !== count || rebuilding > 0) {
        return `${id} serves ${serves} of ${count} groups, ${rebuilding} are rebuilding`;
      }
    }
    return '';
  }
}

const EXPECTED: ReadonlySet<string> = new Set([
  'LEASE_LOST',
  'FENCED',
  'TIMEOUT',
  'CONFLICT',
  'CANCELLED',
  'NOT_LEADER',
  'NOT_READY',
  'DISCONNECTED',
  'NO_QUORUM',
  'OVERLOADED',
  'CLOSED',
]);
