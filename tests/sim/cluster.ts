/**
 * The whole cluster in one thread: six storage nodes in three zones, two places for engines, one network, and the
 * checkers that watch them. What goes wrong is up to the nemesis or to a scenario.
 *
 * ```ts
 * const cluster = new Cluster(drawOptions(42));
 * await cluster.start();                       // nodes up, nobody has opened yet
 * cluster.startEngine(0);
 * await cluster.until(() => cluster.commits > 10, 10_000, 'ten commits');   // throws the first Violation
 * await cluster.converge();                    // ends all faults; everything must come together
 * ```
 */
import { isSextantError } from '#core/errors.js';
import type { LogLine } from '#core/world/simulated/sim-world.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { Simulation, type SimProcess } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import type { TxnFaults } from '#engine/txn/faults.js';
import type { Faults as VolumeFaults } from '#engine/volume/faults.js';
import type { Faults as NodeFaults } from '#storage-nodes/node/faults.js';
import { StorageNode } from '#storage-nodes/node/storage-node.js';
import { NodeStore } from '#storage-nodes/store/node-store.js';
import { allCheckers } from './checkers/all.js';
import type { CheckContext, Checker, EngineView } from './checkers/checker.js';
import { SqlHistory } from './checkers/sql-history.js';
import { Model } from './model.js';
import type { SimOptions } from './options.js';
import { PageEngine } from './page-engine.js';
import { Running } from './running.js';
import { watchNode } from './watch.js';
import { Violation } from './violation.js';

export const NODE_IDS = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6'];
export const ADDRESSES = NODE_IDS.map((id, i) => ({
  id,
  zone: `zone-${i >> 1}`,
  address: `${id}:1`,
}));
/** In place of another, when a scenario wants it: see `addSpare`. */
export const SPARE = { id: 'node-7', zone: 'zone-2', address: 'node-7:1' };
const FOLDER = '/data';
const RESTART_MS = 20;

/** What opens the volume and works on it until it is fenced or killed. */
export interface SimEngine {
  /** Undefined until it has opened. */
  readonly view: EngineView | undefined;
  run(): Promise<void>;
  /** Begins nothing new. */
  stop(): void;
  /** What was begun is done, and everybody waits for it, after `stop`. */
  readonly settled: boolean;
}

export type MakeEngine = (cluster: Cluster, world: World, name: string) => SimEngine;

/** Rules taken away on purpose. */
export interface PlantedFaults {
  readonly txn?: TxnFaults;
  readonly node?: NodeFaults;
  readonly volume?: VolumeFaults;
}

/** One storage node over all its lives. */
export class NodeSlot {
  readonly id: string;
  readonly process: SimProcess;
  node: StorageNode | undefined;
  /** Tampered with, so what it promised is void until it is whole again. */
  wounded = false;
  /** Generation that it had when it was wounded. */
  woundedGeneration = 0;
  /** The folder is replaced at the next start: the disk has lied, or the node cannot read it. */
  loseAtCrash = false;
  /** Its disk has rotted after so many syncs; -1: it has not. */
  rottenSince = -1;

  constructor(id: string, process: SimProcess) {
    this.id = id;
    this.process = process;
  }

  get running(): boolean {
    return this.process.running;
  }

  get wholeAndUp(): boolean {
    const { node } = this;
    if (!this.running || node === undefined || node.state !== 'up') return false;
    for (const host of node.hosts.values()) if (!host.segment.whole) return false;
    return true;
  }
}

export class Cluster extends Running implements CheckContext {
  readonly options: SimOptions;
  readonly sim: Simulation;
  readonly random: SimRandom;
  readonly model = new Model();
  readonly checkers: readonly Checker[] = allCheckers();
  readonly nodes: NodeSlot[];
  readonly engineProcesses: SimProcess[];
  readonly planted: PlantedFaults;
  /** The engine that opened last. */
  engine: SimEngine | undefined;
  /** What SQL clients were told. */
  readonly sql = new SqlHistory();
  /** Engine processes whose main has ended. */
  readonly over = new Set<string>();
  commits = 0;
  reads = 0;
  opened = 0;
  readonly #makeEngine: MakeEngine;

  constructor(
    options: SimOptions,
    planted: PlantedFaults = {},
    onLog?: (line: LogLine) => void,
    makeEngine: MakeEngine = (...life) => new PageEngine(...life),
  ) {
    super();
    this.#makeEngine = makeEngine;
    this.options = options;
    this.planted = planted;
    this.random = new SimRandom(options.seed).fork('nemesis');
    this.sim = new Simulation(options.seed, {
      network: options.network,
      errorsEndRun: false,
      onLog: (line) => {
        onLog?.(line);
        this.#logged(line);
      },
    });
    const drift = this.random.fork('drift');
    const driftPpm = (): number => Math.round((drift.unit() * 2 - 1) * options.driftPpmMax) + 0;
    this.nodes = ADDRESSES.map(({ id }) => this.#slotOf(id, driftPpm(), drift.below(100_000)));
    this.engineProcesses = ['engine-1', 'engine-2'].map((name) =>
      this.sim.process(name, (world) => this.#engineMain(world, name), {
        driftPpm: driftPpm(),
        onExit: (error) => this.#engineFailed(name, error),
      }),
    );
  }

  #slotOf(id: string, driftPpm: number, wallSkewMs: number): NodeSlot {
    const process = this.sim.process(id, (world) => this.#nodeMain(slot, world), {
      driftPpm,
      wallSkewMs,
      onExit: (error) => this.#nodeFailed(slot, error),
    });
    const slot = new NodeSlot(id, process);
    return slot;
  }

  /** A seventh node, started, which holds nothing and belongs to no group yet. */
  addSpare(): NodeSlot {
    const slot = this.#slotOf(SPARE.id, 0, 0);
    this.startNode(slot);
    return slot;
  }

  slot(index: number): NodeSlot {
    return this.nodes[index] as NodeSlot;
  }

  // -- running ----------------------------------------------------------------------------------------

  async start(): Promise<void> {
    for (const slot of this.nodes) slot.process.start();
    await this.until(() => this.nodes.every((slot) => slot.wholeAndUp), 30_000, 'six nodes up');
  }

  /** Runs a check; what it throws ends the run. */
  check(run: (checker: Checker) => void): void {
    if (this.violation !== undefined) return;
    try {
      for (const checker of this.checkers) run(checker);
    } catch (error) {
      this.fail(error);
    }
  }

  // -- nodes ------------------------------------------------------------------------------------------

  async #nodeMain(slot: NodeSlot, world: World): Promise<void> {
    const { options, planted } = this;
    const self = ADDRESSES.find(({ id }) => id === slot.id) ?? SPARE;
    const config = {
      cluster: 'sim',
      id: self.id,
      zone: self.zone,
      listen: self.address,
      dataFolder: FOLDER,
      peers: ADDRESSES.filter(({ id }) => id !== self.id),
      // As an operator might leave it in the configuration: it must count at the very first start only.
      initial: true,
      ...(planted.node === undefined ? {} : { faults: planted.node }),
    };
    const store = {
      journalFileBytes: options.journalFileBytes,
      journalBytesMax: options.journalFileBytes * 3,
      ripeBytes: options.ripeBytes,
      scrubIntervalMs: 100,
    };
    const node = await StorageNode.open(world, config, (w, folder) => {
      return new NodeStore(w, folder, store);
    });
    slot.node = node;
    watchNode(this, slot, node);
    this.check((checker) => checker.recovered?.(slot, this));
  }

  /** A node's start ended with an error. Who tends it does what an operator would. */
  #nodeFailed(slot: NodeSlot, error: unknown): void {
    if (isSextantError(error, 'DISK_FULL')) return this.#restartSoon(slot);
    if (slot.wounded && isSextantError(error)) {
      slot.loseAtCrash = true;
      return this.#restartSoon(slot);
    }
    this.fail(error);
  }

  #restartSoon(slot: NodeSlot): void {
    slot.process.crash({ power: false });
    this.sim.after(RESTART_MS, `restart ${slot.id}`, () => this.startNode(slot));
  }

  startNode(slot: NodeSlot): void {
    if (slot.running) return;
    const { disk } = slot.process;
    // Rot of the very last frame looks like a torn tail: nobody could tell.
    const hidden = slot.rottenSince >= 0 && disk.syncCount < slot.rottenSince + 3;
    slot.rottenSince = -1;
    if (slot.loseAtCrash || hidden) {
      slot.loseAtCrash = false;
      slot.process.disk.faults.lies = false;
      slot.process.disk.lose(FOLDER);
    }
    slot.node = undefined;
    slot.process.start();
  }

  stopNode(slot: NodeSlot, power: boolean): void {
    slot.process.crash({ power });
  }

  /** The only wound at a time that the protocol promises to bear: see decision 0001. */
  get mayWound(): boolean {
    return this.nodes.every((slot) => !slot.wounded) && this.nodes.every((slot) => slot.wholeAndUp);
  }

  wound(slot: NodeSlot): void {
    slot.wounded = true;
    slot.woundedGeneration = slot.node?.identity.generation ?? 0;
  }

  loseFolder(slot: NodeSlot): void {
    this.wound(slot);
    slot.process.crash();
    slot.process.disk.lose(FOLDER);
  }

  /** Wounds that have closed: a newer folder generation, all of it whole. */
  tend(): void {
    for (const slot of this.nodes) {
      if (!slot.wounded || slot.loseAtCrash || !slot.wholeAndUp) continue;
      if ((slot.node?.identity.generation ?? 0) > slot.woundedGeneration) slot.wounded = false;
    }
  }

  #logged(line: LogLine): void {
    if (line.level !== 'error') return;
    const slot = this.nodes.find(({ id }) => id === line.process);
    const { error } = line.fields;
    // A node says so when it finds what was done to its disk.
    if (slot?.wounded === true && !(error instanceof Error)) return;
    const detail = error instanceof Error ? (error.stack ?? error.message) : '';
    const fields = JSON.stringify(line.fields);
    this.fail(new Violation('ERROR', `${line.process}: ${line.message} ${fields} ${detail}`));
  }

  // -- engines ----------------------------------------------------------------------------------------

  startEngine(index: number): void {
    this.engineProcesses[index]?.start();
  }

  /** Nobody serves: not running, or fenced and gone. */
  isOver(process: SimProcess): boolean {
    return !process.running || this.over.has(process.name);
  }

  async #engineMain(world: World, name: string): Promise<void> {
    this.over.delete(name);
    const life = `${name}/${++this.opened}`;
    const engine = this.#makeEngine(this, world, life);
    await engine.run();
    this.over.add(name);
  }

  #engineFailed(name: string, error: unknown): void {
    this.over.add(name);
    // One that is overtaken, or that cannot reach a quorum while it opens, ends; who tends it starts it again.
    if (isSextantError(error, 'FENCED') || isSextantError(error, 'NO_QUORUM')) return;
    this.fail(error);
  }

  // -- liveness ---------------------------------------------------------------------------------------

  /** Ends every fault, starts everything, and waits until all of it has come together. */
  async converge(limitMs = 240_000): Promise<void> {
    const { sim } = this;
    sim.network.heal();
    sim.network.clearFaults();
    sim.network.faults('*', '*', { drop: 0, duplicate: 0, reorder: 0, flipBit: 0, breakLink: 0 });
    for (const slot of this.nodes) {
      Object.assign(slot.process.disk.faults, QUIET_DISK);
      slot.process.resume();
      slot.process.crashAtSync(Infinity, 'before');
      if (slot.running && (slot.wounded || slot.node?.state === 'damaged')) slot.process.crash();
      this.startNode(slot);
    }
    for (const process of this.engineProcesses) process.crash();
    this.startEngine(0);
    const before = this.commits;
    await this.until(() => this.commits >= before + 10, limitMs, 'commits after all faults ended');
    this.engine?.stop();
    await this.until(() => this.#lacking() === '', limitMs, 'convergence').catch(
      (error: unknown) => {
        if (this.violation !== undefined) throw error;
        throw new Violation('LIVE', `not together after ${limitMs} ms: ${this.#lacking()}`);
      },
    );
    await this.#repaired();
    const { engine } = this;
    if (engine === undefined) throw new Violation('LIVE', 'no engine');
    const view = engine.view;
    if (view !== undefined) this.check((checker) => checker.converged?.(view, this));
    if (this.violation !== undefined) throw this.violation;
    this.engineProcesses[0]?.crash();
  }

  /** What is still missing, or ''. */
  #lacking(): string {
    this.tend();
    const core = this.engine?.view?.core;
    if (core === undefined) return 'an engine';
    if (this.engine?.settled !== true) return 'the end of what was begun';
    if (core.vdl < core.nextLsn - 1) return `VDL is ${core.vdl}, ${core.nextLsn - 1} was given out`;
    for (const { id, node, wholeAndUp } of this.nodes) {
      if (!wholeAndUp || node === undefined)
        return `${id} is ${node?.state ?? 'not there'}, or not whole`;
      for (const { pg } of core.pgs) {
        const host = [...node.hosts.values()].find(({ segment }) => segment.pg === pg);
        const tail = core.tailAtVdl(pg);
        if (host === undefined) return `${id} has no PG ${pg}`;
        const { scl, journaledVdl } = host.segment;
        if (Math.min(scl, host.admittedScl, journaledVdl) < tail) {
          return `${id} PG ${pg}: SCL ${scl}, VDL ${journaledVdl}, tail ${tail}`;
        }
      }
    }
    return '';
  }

  /** Pages that rotted are found by reading them and come back from peers. */
  async #repaired(): Promise<void> {
    for (const slot of this.nodes.filter(({ wounded }) => wounded)) {
      for (let round = 0; this.#badPages(slot) > 0; round++) {
        if (round > 100) throw new Violation('LIVE', `${slot.id} does not repair its pages`);
        await this.runFor(100);
      }
    }
  }

  #badPages(slot: NodeSlot): number {
    const { node } = slot;
    const vdl = this.engine?.view?.core.vdl ?? 0;
    const page = new Uint8Array(8192);
    for (const pageNo of this.model.pages()) {
      for (const host of node?.hosts.values() ?? []) {
        if (Math.floor(pageNo / this.options.pagesPerPg) !== host.segment.pg) continue;
        try {
          node?.store.readPage(host.key, pageNo, vdl, page, 0);
        } catch (error) {
          if (!isSextantError(error, 'CORRUPTION')) throw error;
          return 1;
        }
      }
    }
    return node?.store.stats.badPages.length ?? 0;
  }
}

export const QUIET_DISK = {
  quotaBytes: 2 ** 40,
  syncFails: 0,
  ioFails: 0,
  lies: false,
  syncMinMs: 0.05,
  syncMaxMs: 0.2,
} as const;
