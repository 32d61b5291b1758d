import { describe, expect, it } from 'vitest';
import { runSeed } from './run.js';

const SEEDS = Number(process.env.SIM_SEEDS ?? 10);
const START = Number(process.env.SIM_START ?? 1);

describe('the cluster', () => {
  it.each(Array.from({ length: SEEDS }, (_, i) => START + i))('seed %i', async (seed) => {
    const t = performance.now();
    const result = await runSeed(seed);
    const { failure, ...rest } = result;
    console.log(
      seed,
      (performance.now() - t).toFixed(0),
      'ms',
      rest.events,
      rest.virtualMs.toFixed(0),
      rest.commits,
      rest.reads,
      rest.epochs,
      failure ? `${rest.options}\n${rest.story.join('; ')}\n${failure.stack}` : '',
    );
    expect(failure).toBeUndefined();
  });
});
