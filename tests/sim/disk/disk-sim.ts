/**
 * Several file servers on six storage nodes, with everything going wrong: nodes crash, lose folders, are cut off; servers
 * die, stand still past the end of their lease, and come back as zombies that write on.
 */
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import type { SimProcess } from '#core/world/simulated/simulation.js';
import { Region } from '#fs-frontend/disk/disk.js';
import type { Faults as DiskFaults } from '#fs-frontend/disk/faults.js';
import { NODE_IDS, SimCluster } from '#fs-frontend/disk/cluster.test-helper.js';
import type { Faults as NodeFaults } from '#storage-nodes/node/faults.js';
import { Oracle, type DiskViolation, type Lockable } from './oracle.js';
import { SimClerk, type ClerkFaults } from './sim-clerk.js';

export interface DiskSimOptions {
  readonly nodes?: NodeFaults;
  readonly clerks?: ClerkFaults & DiskFaults;
  readonly rounds?: number;
}

export interface DiskSimResult {
  readonly violations: readonly DiskViolation[];
  readonly writes: number;
  readonly reads: number;
  readonly recoveries: number;
  readonly snapshotsRead: number;
  readonly log: readonly string[];
  readonly traceHash: number | string;
}

const CLERKS = 3;
const SETTLE_MS = 60_000;

function locks(): Lockable[] {
  const metadata = (index: number) => ({ region: Region.metadata, index });
  const data = (index: number) => ({ region: Region.data, index });
  const inode = (index: number) => ({ region: Region.inodes, index });
  return [
    { id: 0, registers: [metadata(3), metadata(4)], logged: false },
    { id: 1, registers: [data(3), data(20)], logged: false },
    { id: 2, registers: [inode(8), data(40)], logged: false },
    { id: 3, registers: [metadata(100), inode(16)], logged: true },
  ];
}

interface RunningClerk {
  readonly process: SimProcess;
  readonly token: number;
}

export class DiskSim {
  readonly cluster: SimCluster;
  readonly oracle = new Oracle(locks());
  readonly log: string[] = [];
  readonly #random: SimRandom;
  readonly #options: DiskSimOptions;
  readonly #clerks: RunningClerk[] = [];
  #made = 0;
  #isOver = false;
  #failure: unknown;

  constructor(seed: number, options: DiskSimOptions = {}) {
    this.#options = options;
    this.#random = new SimRandom(seed).fork('disk');
    this.cluster = new SimCluster(seed, {
      network: { drop: 0.01, duplicate: 0.01, delayMs: 0.1, jitterMs: 0.4 },
      nodeFaults: options.nodes ?? {},
    });
  }

  async run(): Promise<DiskSimResult> {
    await this.cluster.start();
    for (let i = 0; i < CLERKS; i++) this.#startClerk();
    await this.cluster.sim.runUntil(() => this.oracle.writes > 5, SETTLE_MS, 'first writes');
    const rounds = this.#options.rounds ?? 12;
    for (let i = 0; i < rounds && this.oracle.violations.length === 0; i++) {
      const ends = [this.#trouble(), this.#random.chance(0.5) ? this.#trouble() : undefined];
      await this.cluster.sim.runFor(20 + this.#random.below(200));
      for (const end of ends) end?.();
      this.#tend();
      await this.cluster.sim.runFor(this.#random.below(150));
      this.#check();
    }
    if (this.oracle.violations.length === 0) await this.#settle();
    return {
      violations: this.oracle.violations,
      writes: this.oracle.writes,
      reads: this.oracle.reads,
      recoveries: this.oracle.recoveries,
      snapshotsRead: this.oracle.snapshotsRead,
      log: this.log,
      traceHash: this.cluster.sim.scheduler.traceHash,
    };
  }

  #check(): void {
    if (this.#failure === undefined) return;
    throw new Error('a clerk failed', { cause: this.#failure });
  }

  /** All is well again: everybody gets on, and every register reads as it should. */
  async #settle(): Promise<void> {
    this.cluster.sim.network.heal();
    this.#tend();
    for (const { process } of this.#clerks) if (process.paused) process.resume();
    const { oracle } = this;
    const isWell = (): boolean => oracle.unrecovered.length === 0 && this.cluster.isUp();
    await this.cluster.sim.runUntil(
      () => {
        this.#tend();
        return oracle.violations.length > 0 || isWell();
      },
      SETTLE_MS,
      'everybody dead is recovered',
    );
    const before = oracle.reads;
    await this.cluster.sim.runUntil(
      () => {
        this.#tend();
        return oracle.violations.length > 0 || oracle.reads > before + 40;
      },
      SETTLE_MS,
      'reads at the end',
    );
    this.#isOver = true;
    this.#check();
    for (const id of oracle.snapshotIds.slice(-3)) await this.#readSnapshot(id);
  }

  async #readSnapshot(id: number): Promise<void> {
    const disk = await this.cluster.open(0, { snapshot: id });
    for (const lock of this.oracle.locks) {
      // What is in a log only is not on the disk yet.
      if (lock.logged) continue;
      const reads = lock.registers.map(({ region, index }) => ({ region, index, count: 1 }));
      try {
        const found = await this.cluster.run(disk.read(reads, { deadlineMs: 2000 }));
        found.forEach((content, i) => {
          this.oracle.inSnapshot(id, lock, i, SimClerk.valueIn(content));
        });
        this.oracle.snapshotsRead++;
      } catch (error) {
        // One node did not hear of it in time and another lost its folder since: refused, and never wrong.
        if (!isSextantError(error, 'NO_QUORUM')) throw error;
      }
    }
    await disk.close();
  }

  #startClerk(): void {
    const { sim } = this.cluster;
    const token = this.oracle.newClerk();
    const random = this.#random.fork(`clerk-${++this.#made}`);
    const process = sim.process(`clerk-${this.#made}`, async (world) => {
      const clerk = new SimClerk(world, this.oracle, token, random, this.#options.clerks);
      try {
        await clerk.run(() => this.#isOver);
      } catch (error) {
        if (!isSextantError(error)) this.#failure ??= error;
      }
    });
    process.start();
    this.#clerks.push({ process, token });
  }

  /** What a supervisor does. */
  #tend(): void {
    for (const id of NODE_IDS) if (!this.cluster.node(id).running) this.cluster.node(id).start();
    for (let live = this.oracle.live.length; live < CLERKS; live++) this.#startClerk();
  }

  #trouble(): (() => void) | undefined {
    const { sim } = this.cluster;
    const id = NODE_IDS[this.#random.below(NODE_IDS.length)];
    const live = this.#clerks.filter(
      ({ token, process }) => this.oracle.isLive(token) && process.running,
    );
    const victim = live[this.#random.below(Math.max(1, live.length))];
    const note = (what: string): void => void this.log.push(`${sim.nowMs.toFixed(1)} ${what}`);
    switch (this.#random.below(10)) {
      case 0:
        note(`crash ${id}`);
        this.cluster.crash(id);
        return undefined;
      case 1:
        if (!this.#isWhole()) return undefined;
        note(`lose ${id}`);
        this.cluster.crash(id, true);
        return undefined;
      case 2:
        note(`isolate ${id}`);
        sim.network.partition(
          [id],
          [...sim.processes.keys()].filter((name) => name !== id),
        );
        return () => sim.network.heal();
      case 3:
        if (victim === undefined) return undefined;
        note(`kill clerk ${victim.token}`);
        victim.process.crash();
        sim.after(20, 'lease ends', () => this.oracle.expire(victim.token));
        return undefined;
      case 4:
        if (victim === undefined) return undefined;
        note(`pause clerk ${victim.token}`);
        victim.process.pause();
        sim.after(10, 'lease ends', () => this.oracle.expire(victim.token));
        sim.after(10 + this.#random.below(400), 'wakes', () => victim.process.resume());
        return undefined;
      case 5:
        if (victim === undefined) return undefined;
        return this.#cutOff(victim, note);
      case 6:
        if (victim === undefined) return undefined;
        note(`expire clerk ${victim.token}`);
        this.oracle.expire(victim.token);
        return undefined;
      case 7:
      case 8:
        return victim === undefined ? undefined : this.#split(victim, note);
      default:
        return this.#mute(id, note);
    }
  }

  /** A clerk reaches one or two nodes only, and its lease ends. */
  #cutOff({ token, process }: RunningClerk, note: (what: string) => void): () => void {
    const { network } = this.cluster.sim;
    const reached = 1 + this.#random.below(2);
    const start = this.#random.below(NODE_IDS.length);
    const cut = NODE_IDS.filter((_, i) => (i - start + 6) % 6 >= reached);
    note(`cut clerk ${token} off from ${cut.join(' ')}`);
    network.partition([process.name], cut);
    this.cluster.sim.after(15, 'lease ends', () => this.oracle.expire(token));
    return () => network.heal();
  }

  /** A clerk and one or two nodes on one side, everybody else on the other: those nodes learn of its end late. */
  #split({ token, process }: RunningClerk, note: (what: string) => void): () => void {
    const { sim } = this.cluster;
    const start = this.#random.below(NODE_IDS.length);
    const near = NODE_IDS.filter((_, i) => (i - start + 6) % 6 < 1 + (start % 2));
    const far = [...sim.processes.keys()].filter(
      (name) => name !== process.name && !near.includes(name),
    );
    note(`clerk ${token} is alone with ${near.join(' ')}`);
    sim.network.partition([process.name, ...near], far);
    sim.after(15, 'lease ends', () => this.oracle.expire(token));
    return () => sim.network.heal();
  }

  /** A node hears half of what it is sent. */
  #mute(id: string, note: (what: string) => void): () => void {
    note(`bad links of ${id}`);
    const { network } = this.cluster.sim;
    network.faults('*', id, { drop: 0.4 });
    return () => network.faults('*', id, { drop: 0.01 });
  }

  #isWhole(): boolean {
    return NODE_IDS.every((id) => {
      const node = this.cluster.running.get(id);
      if (node?.state !== 'up') return false;
      return [...(node.blocks?.disks.values() ?? [])].every((hosted) => hosted.whole);
    });
  }
}
