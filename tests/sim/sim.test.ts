/** The seeds of every test run. More: `npm run sim -- --seeds N --start S`. */
import { describe, expect, it } from 'vitest';
import { type RunResult, runSeed } from './run.js';

const SEEDS = Number(process.env['SIM_SEEDS'] ?? 300);
const START = Number(process.env['SIM_START'] ?? 1);
const GROUP = 20;
/** One seed of so many is run a second time. */
const TWICE = 10;

function story({ seed, options, story, failure }: RunResult): string {
  return [
    options,
    ...story,
    failure?.stack ?? failure?.message,
    `repeat: npm run sim -- --seed ${seed} --verbose`,
  ].join('\n');
}

describe('the whole cluster under drawn faults', () => {
  const groups = Array.from({ length: Math.ceil(SEEDS / GROUP) }, (_, i) => START + i * GROUP);
  it.each(groups)('seeds from %i', { timeout: 120_000 }, async (first) => {
    for (let seed = first; seed < Math.min(first + GROUP, START + SEEDS); seed++) {
      const result = await runSeed(seed);
      if (result.failure !== undefined) expect.fail(story(result));
      expect(result.commits).toBeGreaterThan(10);
      if (seed % TWICE !== 0) continue;
      const again = await runSeed(seed);
      expect([again.events, again.traceHash]).toEqual([result.events, result.traceHash]);
    }
  });
});

/** Seeds that once failed, and for what. A change of the draws makes them ordinary ones. */
describe('seeds that found something', () => {
  it.each([
    [5144, 'a segment that was not whole in an idle group was never struck'],
    [173, 'rot in the journal was folded into a page'],
    [21551, 'a bad page of an idle group could not be repaired'],
  ])('seed %i: %s', async (seed) => {
    const result = await runSeed(seed);
    if (result.failure !== undefined) expect.fail(story(result));
  });
});
