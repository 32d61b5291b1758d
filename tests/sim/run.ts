/** One seed: options, safety phase, liveness phase. */
import type { LogLine } from '#core/world/simulated/sim-world.js';
import { Cluster, type MakeEngine, type PlantedFaults } from './cluster.js';
import { Nemesis } from './nemesis.js';
import { describeOptions, drawOptions, type SimOptions } from './options.js';
import { Violation } from './violation.js';

export interface RunResult {
  readonly seed: number;
  readonly options: string;
  /** Equal for equal runs. */
  readonly traceHash: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly commits: number;
  readonly reads: number;
  readonly answers: number;
  readonly epochs: number;
  /** Troubles, with their times. */
  readonly story: readonly string[];
  readonly failure: Error | undefined;
}

export interface RunSettings {
  readonly planted?: PlantedFaults;
  readonly onLog?: (line: LogLine) => void;
  /** Before the run. */
  readonly onOptions?: (options: string) => void;
  readonly change?: Partial<SimOptions>;
}

export async function runSeed(seed: number, settings: RunSettings = {}): Promise<RunResult> {
  const options = { ...drawOptions(seed), ...settings.change };
  settings.onOptions?.(describeOptions(options));
  const makeEngine = options.level === 'sql' ? await sqlEngines() : undefined;
  const cluster = new Cluster(options, settings.planted, settings.onLog, makeEngine);
  const nemesis = new Nemesis(cluster);
  let failure: Error | undefined;
  try {
    await cluster.start();
    await nemesis.run();
    await cluster.converge();
  } catch (error) {
    failure = cluster.violation ?? (error instanceof Error ? error : new Error(String(error)));
  }
  const { scheduler } = cluster.sim;
  return {
    seed,
    options: describeOptions(options),
    traceHash: scheduler.traceHash,
    events: scheduler.eventCount,
    virtualMs: scheduler.nowMs,
    commits: cluster.commits,
    reads: cluster.reads,
    answers: cluster.sql.answers,
    epochs: cluster.engine?.view?.epoch ?? 0,
    story: nemesis.log,
    failure,
  };
}

/** What was done, in a few figures. */
export function summaryOf({ commits, reads, answers, epochs }: RunResult): string {
  return `${commits} commits, ${reads} page reads, ${answers} answers, ${epochs} epochs`;
}

/** Which checker noticed, in one word. */
export function caughtBy(failure: Error | undefined): string {
  if (failure === undefined) return 'nobody';
  return failure instanceof Violation ? failure.checker : failure.name;
}

/** The grammar is WebAssembly that loads by real promises: before virtual time begins. */
async function sqlEngines(): Promise<MakeEngine> {
  const { loadParser } = await import('#engine/sql/parse/parser.js');
  const { SqlEngine } = await import('./sql-engine.js');
  await loadParser();
  return (...life) => new SqlEngine(...life);
}
