/** The seeds of every test run. More: `npm run sim -- --system locks --seeds N --start S`. */
import { describe, expect, it } from 'vitest';
import { type LockRunResult, runSeed } from './run.js';

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 100);
const START = Number(process.env['SIM_START'] ?? 1);
const GROUP = 10;
/** One seed of so many is run a second time. */
const TWICE = 10;

function story({ seed, options, story, failure }: LockRunResult): string {
  return [
    options,
    ...story,
    failure?.stack ?? failure?.message,
    `repeat: npm run sim -- --system locks --seed ${seed} --verbose`,
  ].join('\n');
}

describe('the lock service under drawn faults', () => {
  const groups = Array.from({ length: Math.ceil(SEEDS / GROUP) }, (_, i) => START + i * GROUP);
  it.each(groups)('seeds from %i', { timeout: 240_000 }, async (first) => {
    for (let seed = first; seed < Math.min(first + GROUP, START + SEEDS); seed++) {
      const result = await runSeed(seed);
      if (result.failure !== undefined) expect.fail(story(result));
      expect(result.taken).toBeGreaterThan(20);
      if (seed % TWICE !== 0) continue;
      const again = await runSeed(seed);
      expect([again.events, again.traceHash]).toEqual([result.events, result.traceHash]);
    }
  });
});
