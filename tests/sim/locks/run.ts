/** One seed of the lock service: options, safety phase, liveness phase. */
import type { LogLine } from '#core/world/simulated/sim-world.js';
import { LockCluster, type PlantedLockFaults } from './cluster.js';
import { LockNemesis } from './nemesis.js';
import { describeOptions, drawOptions, type LockSimOptions } from './options.js';

export interface LockRunResult {
  readonly seed: number;
  readonly options: string;
  /** Equal for equal runs. */
  readonly traceHash: number;
  readonly events: number;
  readonly virtualMs: number;
  /** Locks that clerks got. */
  readonly taken: number;
  readonly clerks: number;
  readonly terms: number;
  readonly story: readonly string[];
  readonly failure: Error | undefined;
}

export interface LockRunSettings {
  readonly planted?: PlantedLockFaults;
  readonly onLog?: (line: LogLine) => void;
  /** Before the run. */
  readonly onOptions?: (options: string) => void;
  readonly change?: Partial<LockSimOptions>;
}

export async function runSeed(
  seed: number,
  settings: LockRunSettings = {},
): Promise<LockRunResult> {
  const options = { ...drawOptions(seed), ...settings.change };
  settings.onOptions?.(describeOptions(options));
  const cluster = new LockCluster(options, settings.planted, settings.onLog);
  const nemesis = new LockNemesis(cluster);
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
    taken: cluster.taken,
    clerks: cluster.tokens.count,
    terms: cluster.highestTerm,
    story: nemesis.log,
    failure,
  };
}

/** What was done, in a few figures. */
export function summaryOf({ taken, clerks, terms }: LockRunResult): string {
  return `${taken} locks taken, ${clerks} clerks, ${terms} terms`;
}
