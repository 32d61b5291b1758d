/**
 * `npm run sim -- --system volume|locks --seeds N --start S`: runs each seed twice and compares the traces; exits 1 when
 * one fails, with the command that repeats it, and 2 when the arguments are wrong.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { LogLine } from '#core/world/simulated/sim-world.js';
import { runSeed as runLocks, summaryOf as summaryOfLocks } from './locks/run.js';
import { caughtBy, runSeed as runVolume, summaryOf as summaryOfVolume } from './run.js';

interface Arguments {
  readonly system: keyof typeof SYSTEMS;
  readonly seeds: number;
  readonly start: number;
  readonly seed?: number;
  readonly once?: boolean;
  readonly verbose?: boolean;
}

/** What every system tells of one seed. */
interface Told {
  readonly traceHash: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly story: readonly string[];
  readonly failure: Error | undefined;
  /** What was done, in a few figures. */
  readonly summary: string;
}

interface Settings {
  readonly onLog?: (line: LogLine) => void;
  readonly onOptions?: (options: string) => void;
}

const SYSTEMS = {
  volume: async (seed: number, settings: Settings): Promise<Told> => {
    const result = await runVolume(seed, settings);
    return { ...result, summary: summaryOfVolume(result) };
  },
  locks: async (seed: number, settings: Settings): Promise<Told> => {
    const result = await runLocks(seed, settings);
    return { ...result, summary: summaryOfLocks(result) };
  },
} as const;

const WRONG_ARGUMENTS = 2;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0 || text.trim() === '') {
    throw new InvalidArgumentError('not a number');
  }
  return value;
}

const logLine = ({ atMs, process: name, level, message, fields }: LogLine): void => {
  console.log(`${atMs.toFixed(2).padStart(10)} ${name} ${level} ${message}`, fields);
};

/** Runs a seed; says what went wrong, or undefined. */
async function tryOne(seed: number, args: Arguments): Promise<string | undefined> {
  const startMs = performance.now();
  const verbose = args.verbose === true;
  const run = SYSTEMS[args.system];
  // First of all what the seed has drawn: a run that hangs or dies has said it by then.
  const first = await run(seed, {
    onOptions: (options) => console.log(options),
    ...(verbose && { onLog: logLine }),
  });
  const ms = Math.round(performance.now() - startMs);
  let trouble: string | undefined;
  if (first.failure !== undefined) {
    trouble = `${caughtBy(first.failure)}\n${first.failure.stack ?? first.failure.message}`;
  } else if (args.once !== true) {
    const second = await run(seed, {});
    if (second.traceHash !== first.traceHash || second.events !== first.events) {
      trouble = `two runs differ: ${first.events} events, hash ${first.traceHash}; ${second.events} events, hash ${second.traceHash}`;
    }
  }
  if (verbose || trouble !== undefined) {
    console.log(first.story.map((line) => `  ${line}`).join('\n'));
  }
  console.log(
    `seed ${seed} ${trouble === undefined ? 'ok' : 'FAILED'} ${ms} ms: ` +
      `${first.events} events in ${Math.round(first.virtualMs)} virtual ms, ${first.summary}`,
  );
  return trouble;
}

function readArguments(): Arguments {
  const program = new Command('sim')
    .description('Runs a whole cluster in one thread, once (twice, to compare) for each seed.')
    .addOption(
      new Option('--system <name>', 'which cluster')
        .choices(Object.keys(SYSTEMS))
        .default('volume'),
    )
    .option('--seeds <count>', 'how many', wholeNumber, 100)
    .option('--start <seed>', 'the first one', wholeNumber, 1)
    .option('--seed <seed>', 'this one only', wholeNumber)
    .option('--once', 'do not run each seed a second time')
    .option('--verbose', 'print troubles and every log line')
    .allowExcessArguments(false)
    .exitOverride()
    .addHelpText('after', '\nExample:\n  npm run sim -- --system locks --seeds 1000 --start 1')
    .parse();
  return program.opts<Arguments>();
}

async function main(): Promise<void> {
  const args = readArguments();
  const first = args.seed ?? args.start;
  const count = args.seed === undefined ? args.seeds : 1;
  const system = args.system === 'volume' ? '' : `--system ${args.system} `;
  let failed = 0;
  for (let seed = first; seed < first + count; seed++) {
    const trouble = await tryOne(seed, args);
    if (trouble === undefined) continue;
    failed++;
    console.log(`${trouble}\nrepeat: npm run sim -- ${system}--seed ${seed} --verbose`);
  }
  console.log(`${count - failed} of ${count} seeds passed`);
  if (failed > 0) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  // Commander has said what is wrong.
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : WRONG_ARGUMENTS;
}
