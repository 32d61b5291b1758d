/**
 * A whole cluster in one thread, from one seed: processes with disks, clocks and a network, none of
 * them real.
 *
 * ```ts
 * const sim = new Simulation(42);
 * const node = sim.process('node-1', (world) => startNode(world, { address: 'node-1:1', folder: '/data' }));
 * node.start();                                      // runs main in an event of its own
 * await sim.runFor(100);                             // 100 virtual milliseconds
 * await sim.runUntil(() => condition, 5000, 'what'); // TIMEOUT when it does not come true
 * const answer = await sim.runPromise(client.call(...), 1000);
 * node.crash();                                      // power cut; `crash({ power: false })` is kill -9
 * node.start();                                      // main again, on what the disk has kept
 * node.pause(); node.resume();                       // SIGSTOP, SIGCONT
 * node.crashAtSync(3, 'after');                      // dies at its third sync from now
 * node.disk.faults.syncFails = 0.01;                 // also quotaBytes, lies, ioFails, syncMaxMs: see DiskFaults
 * node.disk.rot('/data'); node.disk.lose('/data');
 * sim.network.faults('*', 'node-1', { drop: 0.01 }); sim.network.partition(['node-1'], ['node-2']);
 * sim.scheduler.traceHash                            // equal for equal seeds, else something is not deterministic
 * ```
 *
 * What the code under simulation may rely on, and what it must not do:
 * - A process's `World` dies with it: timers and frames of an earlier life never reach the next one, and
 *   whatever code of it still runs finds a dead disk (CLOSED) and a network that swallows everything.
 * - An event (a frame, a timer, a turn) runs to its end, promises included, before the next one begins.
 * - Disk time is the process's own: a sync makes it busy, `clock` moves on, what it sends leaves when the
 *   sync is over, and what arrives meanwhile is handled together afterwards, before its next `turn`.
 * - No real I/O, no real timers, no Math.random, no Date: the outcome would depend on the machine.
 * - An exception that leaves an event ends the run with it. So does a `main` that rejects, unless `onExit`
 *   is given, and a log line of level `error` (rpc writes one for whatever a handler throws that is no
 *   `SextantError`, failed assertions above all), unless `errorsEndRun` is false.
 *
 * The test itself can take part: `sim.process('test')` is a process without a `main`; `start()` gives
 * its world at once.
 */
import { SextantError } from '../../errors.js';
import type { World } from '../world.js';
import { SimRandom } from './random.js';
import { SimScheduler } from './scheduler.js';
import { SimDisk, type DiskFaults } from './sim-disk.js';
import { SimNetwork, type LinkFaults } from './sim-network.js';
import { SimWorld, type LogLine } from './sim-world.js';

export type Main = (world: World) => unknown;

export interface SimulationOptions {
  readonly network?: Partial<LinkFaults>;
  /** Sees every log line as it is written; all are kept in `logLines` too. */
  readonly onLog?: (line: LogLine) => void;
  /** False: a line of level `error` does not end the run. */
  readonly errorsEndRun?: boolean;
}

export interface ProcessOptions {
  readonly disk?: Partial<DiskFaults>;
  /** The clock runs so much faster than the scheduler's, in parts per million. */
  readonly driftPpm?: number;
  /** The wall clock is off by this. */
  readonly wallSkewMs?: number;
  /** `main` returned a promise that rejected. Absent: the simulation's run ends with the error. */
  readonly onExit?: (error: unknown) => void;
}

export class Simulation {
  readonly seed: number;
  readonly random: SimRandom;
  readonly scheduler = new SimScheduler();
  readonly network: SimNetwork;
  readonly logLines: LogLine[] = [];
  readonly processes = new Map<string, SimProcess>();
  readonly #onLog: ((line: LogLine) => void) | undefined;
  readonly #errorsEndRun: boolean;

  constructor(seed: number, options: SimulationOptions = {}) {
    this.seed = seed;
    this.random = new SimRandom(seed);
    this.network = new SimNetwork(this.scheduler, this.random.fork('network'), options.network);
    this.#onLog = options.onLog;
    this.#errorsEndRun = options.errorsEndRun !== false;
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  /** A new process, not started. */
  process(name: string, main?: Main, options?: ProcessOptions): SimProcess {
    if (this.processes.has(name)) throw new Error(`process ${name} exists`);
    const made = new SimProcess(this, name, main, options ?? {});
    this.processes.set(name, made);
    return made;
  }

  runFor(ms: number): Promise<void> {
    return this.scheduler.runFor(ms);
  }

  runUntil(condition: () => boolean, limitMs: number, what?: string): Promise<void> {
    return this.scheduler.runUntil(condition, limitMs, what);
  }

  runPromise<T>(promise: Promise<T>, limitMs: number, what?: string): Promise<T> {
    return this.scheduler.runPromise(promise, limitMs, what);
  }

  /** Does something to the cluster at a virtual time from now. */
  after(ms: number, label: string, fn: () => void): void {
    this.scheduler.at(this.nowMs + ms, label, undefined, fn);
  }

  log(line: LogLine): void {
    this.logLines.push(line);
    this.#onLog?.(line);
    if (line.level !== 'error' || !this.#errorsEndRun) return;
    const { error } = line.fields;
    this.after(0, 'error logged', () =>
      raise(error instanceof Error ? error : new Error(`${line.process}: ${line.message}`)),
    );
  }
}

/** A process over all its lives: the disk stays, the world is new each time. */
export class SimProcess {
  readonly name: string;
  readonly disk: SimDisk;
  readonly options: ProcessOptions;
  readonly #simulation: Simulation;
  readonly #main: Main | undefined;
  #world: SimWorld | undefined;
  #lives = 0;
  #crashPlan: { left: number; moment: 'before' | 'after'; power: boolean } | undefined;

  constructor(
    simulation: Simulation,
    name: string,
    main: Main | undefined,
    options: ProcessOptions,
  ) {
    this.#simulation = simulation;
    this.name = name;
    this.options = options;
    this.#main = main;
    this.disk = new SimDisk(simulation.random.fork(`${name}/disk`), options.disk);
  }

  get running(): boolean {
    return this.#world !== undefined;
  }

  get paused(): boolean {
    return this.#world?.paused === true;
  }

  /** Starts a life; `main` runs in an event of its own. */
  start(): World {
    if (this.#world !== undefined) throw new Error(`${this.name} is running`);
    this.#lives++;
    const world = new SimWorld(this.#simulation, this, this.#lives);
    this.#world = world;
    const main = this.#main;
    if (main !== undefined) world.later(0, 'main', () => this.#runMain(main, world));
    return world;
  }

  /**
   * Ends this life now. `power` (the default) is a power cut: the disk loses what was not synced and the
   * peers hear nothing; without it a kill: the kernel keeps what was written and closes the links.
   */
  crash(options?: { readonly power?: boolean }): void {
    const world = this.#world;
    if (world === undefined) return;
    const power = options?.power !== false;
    this.#world = undefined;
    this.#crashPlan = undefined;
    this.#simulation.network.forget(world, !power);
    world.end();
    this.disk.locks.clear();
    if (power) this.disk.powerCut();
  }

  /** From now, its `count`th sync of a file or folder kills it, before or after it took effect. */
  crashAtSync(count: number, moment: 'before' | 'after', options?: { power?: boolean }): void {
    this.#crashPlan = { left: count, moment, power: options?.power !== false };
  }

  /** Called by the disk view: carries `crashAtSync` out. */
  syncing(moment: 'before' | 'after'): void {
    const plan = this.#crashPlan;
    if (plan === undefined || plan.moment !== moment) return;
    plan.left--;
    if (plan.left > 0) return;
    this.crash({ power: plan.power });
    throw new ProcessCrashed(this.name);
  }

  pause(): void {
    this.#world?.pause();
  }

  resume(): void {
    this.#world?.resume();
  }

  #runMain(main: Main, world: SimWorld): void {
    const result = main(world);
    if (!(result instanceof Promise)) return;
    result.catch((error: unknown) => {
      if (!world.alive) return;
      if (this.options.onExit !== undefined) this.options.onExit(error);
      else this.#simulation.after(0, `${this.name} failed`, () => raise(error));
    });
  }
}

/** Unwinds the stack of a process that `crashAtSync` killed. */
export class ProcessCrashed extends SextantError {
  constructor(name: string) {
    super('CLOSED', `${name} crashed here, as planned`);
    this.name = 'ProcessCrashed';
  }
}

function raise(error: unknown): never {
  throw error instanceof Error ? error : new Error(String(error));
}
