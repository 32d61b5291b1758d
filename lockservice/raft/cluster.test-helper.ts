/** Raft nodes in the simulator, on links of their own, with a state machine that keeps a list; one checker watches all. */
import { crc32c } from '#core/bytes/crc32c.js';
import { Simulation, type SimProcess } from '#core/world/simulated/simulation.js';
import type { Link, LinkHandler, World } from '#core/world/world.js';
import type { RaftMember } from './entry.js';
import { RaftChecker } from './raft-checker.test-helper.js';
import { RaftNode, type RaftOptions, type RaftTransport, type StateMachine } from './raft-node.js';

/** State: how many commands, and a hash over all of them. */
export class HashMachine implements StateMachine {
  readonly #checker: RaftChecker;
  readonly #id: string;
  count = 0;
  hash = 0;
  index = 0;
  members: readonly RaftMember[] = [];

  constructor(checker: RaftChecker, id: string) {
    this.#checker = checker;
    this.#id = id;
  }

  apply(index: number, command: Uint8Array): number {
    this.count++;
    this.hash = crc32c(command, this.hash);
    this.index = index;
    this.#checker.applied(this.#id, index, this.hash);
    return this.count;
  }

  snapshot(): Uint8Array {
    const bytes = new Uint8Array(2000);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, this.count, true);
    view.setUint32(4, this.hash, true);
    view.setUint32(8, this.index, true);
    return bytes;
  }

  restore(snapshot: Uint8Array): void {
    const view = new DataView(snapshot.buffer, snapshot.byteOffset);
    this.count = view.getUint32(0, true);
    this.hash = view.getUint32(4, true);
    this.index = view.getUint32(8, true);
    this.#checker.applied(this.#id, this.index, this.hash, true);
  }

  onConfig(members: readonly RaftMember[]): void {
    this.members = members;
  }
}

/** Frames: u8 length of the sender's id, id, message. A link is made when something is to be sent. */
class LinkTransport implements RaftTransport {
  readonly #world: World;
  readonly #id: string;
  readonly #links = new Map<string, Link>();

  constructor(world: World, id: string) {
    this.#world = world;
    this.#id = id;
  }

  send(to: RaftMember, message: Uint8Array): void {
    let link = this.#links.get(to.address);
    if (link === undefined) {
      const gone = (): void => {
        this.#links.delete(to.address);
      };
      const handler: LinkHandler = { onFrame: () => undefined, onClose: gone };
      link = this.#world.network.connect(to.address, handler);
      this.#links.set(to.address, link);
    }
    const id = new TextEncoder().encode(this.#id);
    const head = new Uint8Array(1 + id.length);
    head[0] = id.length;
    head.set(id, 1);
    link.send(head, message);
  }

  /** A link that hangs is given up. */
  reset(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }
}

export interface ClusterOptions {
  readonly servers?: number;
  readonly founders?: number;
  readonly raft?: Partial<RaftOptions>;
}

export class RaftCluster {
  readonly sim: Simulation;
  readonly checker = new RaftChecker();
  readonly nodes = new Map<string, RaftNode>();
  readonly machines = new Map<string, HashMachine>();
  readonly ids: string[];
  readonly founders: RaftMember[];
  /** Errors that ended nodes. */
  readonly failures: Error[] = [];
  readonly #raft: Partial<RaftOptions>;

  constructor(seed: number, options: ClusterOptions = {}) {
    const { servers = 3, raft = {} } = options;
    this.#raft = raft;
    this.sim = new Simulation(seed, { errorsEndRun: false });
    this.ids = Array.from({ length: servers }, (_, i) => `r${i + 1}`);
    this.founders = this.ids.slice(0, options.founders ?? servers).map((id) => this.member(id));
    for (const id of this.ids) this.sim.process(id, (world) => this.#main(world, id));
    this.sim.scheduler.onEvent = () => this.#observe();
  }

  member(id: string): RaftMember {
    return { id, address: `${id}:7` };
  }

  process(id: string): SimProcess {
    const found = this.sim.processes.get(id);
    if (found === undefined) throw new Error(`no process ${id}`);
    return found;
  }

  start(...ids: string[]): void {
    for (const id of ids.length > 0 ? ids : this.ids) {
      if (!this.process(id).running) this.process(id).start();
    }
  }

  crash(id: string, power = true): void {
    this.process(id).crash({ power });
    this.nodes.delete(id);
  }

  node(id: string): RaftNode {
    const found = this.nodes.get(id);
    if (found === undefined) throw new Error(`${id} is down`);
    return found;
  }

  /** Of the highest term among those that run. */
  get leader(): RaftNode | undefined {
    let best: RaftNode | undefined;
    for (const node of this.nodes.values()) {
      if (node.failure !== undefined || node.role !== 'leader') continue;
      if (!this.process(node.id).paused && node.term >= (best?.term ?? 0)) best = node;
    }
    return best;
  }

  async elected(limitMs = 5000): Promise<RaftNode> {
    const led = (): boolean => this.leader?.core.leadership?.ownTermCommitted === true;
    await this.sim.runUntil(led, limitMs, 'a leader');
    return this.leader as RaftNode;
  }

  /** Everything committed is applied by all members that run. */
  async level(limitMs = 5000): Promise<void> {
    const level = (): boolean => {
      const { leader } = this;
      if (leader === undefined) return false;
      return leader.members.every(({ id }) => {
        const node = this.nodes.get(id);
        const up = this.process(id).running;
        return !up || node?.appliedIndex === leader.core.log.lastIndex;
      });
    };
    await this.sim.runUntil(level, limitMs, 'all level');
  }

  #observe(): void {
    for (const [id, node] of this.nodes) {
      if (!this.process(id).running) this.nodes.delete(id);
      else if (node.failure === undefined) this.checker.observe(node.core);
    }
  }

  async #main(world: World, id: string): Promise<void> {
    const machine = new HashMachine(this.checker, id);
    const transport = new LinkTransport(world, id);
    this.checker.restarted(id);
    const founder = this.founders.some((member) => member.id === id);
    const options: RaftOptions = {
      id,
      folder: '/data/raft',
      initialMembers: founder ? this.founders : [],
      ...this.#raft,
    };
    const node = RaftNode.open(world, options, machine, transport);
    node.onFailed = (error) => this.failures.push(error);
    this.nodes.set(id, node);
    this.machines.set(id, machine);
    const resets = (): void => {
      transport.reset();
      world.timers.after(2000, resets);
    };
    world.timers.after(2000, resets);
    await world.network.listen(this.member(id).address, () => ({
      onFrame: (frame) => {
        const length = frame[0] ?? 0;
        const from = new TextDecoder().decode(frame.subarray(1, 1 + length));
        node.receive(from, frame.subarray(1 + length));
      },
      onClose: () => undefined,
    }));
  }
}
