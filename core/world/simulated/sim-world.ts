/** The world of one life of a simulated process. How to use it: simulation.ts. */
import { SextantError } from '../../errors.js';
import type { Clock, Disk, Log, Network, Random, Timer, Timers, World } from '../world.js';
import type { SimEvent } from './scheduler.js';
import { SimDiskView, type DiskUser } from './sim-disk-view.js';
import type { NetworkUser } from './sim-network.js';
import type { SimProcess, Simulation } from './simulation.js';

export interface LogLine {
  readonly atMs: number;
  readonly process: string;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

/** 2026-01-01, so that dates look like dates. */
const WALL_EPOCH_MS = 1_767_225_600_000;

export class SimWorld implements World, NetworkUser, DiskUser {
  readonly name: string;
  readonly pid: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly log: Log;
  alive = true;
  paused = false;
  readonly #simulation: Simulation;
  readonly #process: SimProcess;
  /** Ratio of this clock's milliseconds to the scheduler's. */
  readonly #rate: number;
  #busyUntilMs = 0;

  constructor(simulation: Simulation, process: SimProcess, life: number) {
    this.#simulation = simulation;
    this.#process = process;
    this.name = process.name;
    this.pid = 1000 + life;
    const { driftPpm = 0, wallSkewMs = 0 } = process.options;
    this.#rate = 1 + driftPpm / 1e6;
    this.clock = {
      monotonicMs: () => this.localNowMs * this.#rate,
      wallMs: () => Math.floor(WALL_EPOCH_MS + wallSkewMs + this.localNowMs * this.#rate),
    };
    this.timers = {
      after: (ms, fn) => this.#after(ms, fn),
      turn: (fn) => {
        this.later(0, 'turn', fn);
      },
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
    this.random = simulation.random.fork(`${process.name}/${life}`);
    this.disk = new SimDiskView(process.disk, this);
    this.network = simulation.network.endpoint(this);
    this.log = new SimLog(this, simulation, {});
  }

  get blockedUntilMs(): number {
    return this.paused ? Infinity : this.#busyUntilMs;
  }

  get localNowMs(): number {
    return Math.max(this.#simulation.nowMs, this.#busyUntilMs);
  }

  /** An event of this life. */
  later(ms: number, label: string, fn: () => void): SimEvent {
    return this.#simulation.scheduler.at(this.localNowMs + ms, label, this, fn);
  }

  charge(ms: number): void {
    this.#busyUntilMs = this.localNowMs + ms;
  }

  syncing(moment: 'before' | 'after'): void {
    this.#process.syncing(moment);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#simulation.scheduler.release(this);
  }

  end(): void {
    this.alive = false;
    this.#simulation.scheduler.forget(this);
  }

  #after(ms: number, fn: () => void): Timer {
    return this.later(Math.max(0, ms) / this.#rate, 'timer', fn);
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelled = (): void => reject(new SextantError('CANCELLED', 'sleep cancelled'));
      if (signal?.aborted === true) {
        cancelled();
        return;
      }
      const onAbort = (): void => {
        timer.cancel();
        cancelled();
      };
      const timer = this.#after(ms, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

class SimLog implements Log {
  readonly #world: SimWorld;
  readonly #simulation: Simulation;
  readonly #fields: Record<string, unknown>;

  constructor(world: SimWorld, simulation: Simulation, fields: Record<string, unknown>) {
    this.#world = world;
    this.#simulation = simulation;
    this.#fields = fields;
  }

  debug(message: string, fields?: Record<string, unknown>): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: Record<string, unknown>): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: Record<string, unknown>): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: Record<string, unknown>): void {
    this.#write('error', message, fields);
  }

  child(fields: Record<string, unknown>): Log {
    return new SimLog(this.#world, this.#simulation, { ...this.#fields, ...fields });
  }

  #write(
    level: LogLine['level'],
    message: string,
    fields: Record<string, unknown> | undefined,
  ): void {
    const world = this.#world;
    if (!world.alive) return;
    this.#simulation.log({
      atMs: world.localNowMs,
      process: world.name,
      level,
      message,
      fields: { ...this.#fields, ...fields },
    });
  }
}
