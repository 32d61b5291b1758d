/**
 * `npm run sim -- --seeds N --start S`: runs each seed twice and compares the traces; exits 1 when one fails, with
 * the command that repeats it.
 */
import { Command, InvalidArgumentError } from 'commander';
import { caughtBy, runSeed, type RunResult } from './run.js';

interface Arguments {
  readonly seeds: number;
  readonly start: number;
  readonly seed?: number;
  readonly once?: boolean;
  readonly verbose?: boolean;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('not a number');
  return value;
}

async function runOnce(seed: number, verbose: boolean): Promise<RunResult> {
  return runSeed(seed, {
    ...(verbose && {
      onLog: ({ atMs, process: name, level, message, fields }) => {
        console.log(`${atMs.toFixed(2).padStart(10)} ${name} ${level} ${message}`, fields);
      },
    }),
    onOptions: (options) => {
      if (verbose) console.log(options);
    },
  });
}

/** Runs a seed; says what went wrong, or undefined. */
async function tryOne(seed: number, args: Arguments): Promise<string | undefined> {
  const startMs = performance.now();
  const first = await runOnce(seed, args.verbose === true);
  const ms = Math.round(performance.now() - startMs);
  let trouble: string | undefined;
  if (first.failure !== undefined) {
    trouble = `${caughtBy(first.failure)}\n${first.failure.stack ?? first.failure.message}`;
  } else if (args.once !== true) {
    const second = await runOnce(seed, false);
    if (second.traceHash !== first.traceHash || second.events !== first.events) {
      trouble = `two runs differ: ${first.events} events, hash ${first.traceHash}; ${second.events} events, hash ${second.traceHash}`;
    }
  }
  const { events, virtualMs, commits, reads, answers, epochs } = first;
  if (args.verbose === true || trouble !== undefined) {
    if (trouble !== undefined && args.verbose !== true) console.log(first.options);
    console.log(first.story.map((line) => `  ${line}`).join('\n'));
  }
  console.log(
    `seed ${seed} ${trouble === undefined ? 'ok' : 'FAILED'} ${ms} ms: ${events} events in ${Math.round(virtualMs)} virtual ms, ` +
      `${commits} commits, ${reads} page reads, ${answers} answers, ${epochs} epochs`,
  );
  return trouble;
}

async function main(): Promise<void> {
  const program = new Command('sim')
    .description('Runs the whole cluster in one thread, once (twice, to compare) for each seed.')
    .option('--seeds <count>', 'how many', wholeNumber, 100)
    .option('--start <seed>', 'the first one', wholeNumber, 1)
    .option('--seed <seed>', 'this one only', wholeNumber)
    .option('--once', 'do not run each seed a second time')
    .option('--verbose', 'print options, troubles and every log line')
    .addHelpText('after', '\nExample:\n  npm run sim -- --seeds 1000 --start 1')
    .parse();
  const args = program.opts<Arguments>();
  const first = args.seed ?? args.start;
  const count = args.seed === undefined ? args.seeds : 1;
  let failed = 0;
  for (let seed = first; seed < first + count; seed++) {
    const trouble = await tryOne(seed, args);
    if (trouble === undefined) continue;
    failed++;
    console.log(`${trouble}\nrepeat: npm run sim -- --seed ${seed} --verbose`);
  }
  console.log(`${count - failed} of ${count} seeds passed`);
  if (failed > 0) process.exitCode = 1;
}

await main();
