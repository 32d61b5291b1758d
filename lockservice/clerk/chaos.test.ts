import { describe, expect, test } from 'vitest';
import { CLERKS, Chaos } from './chaos.test-helper.js';

const SEEDS = [1, 2];

describe('chaos', () => {
  test.each(SEEDS)('seed %i: LOCK-1 holds, and all goes on afterwards', async (seed) => {
    const chaos = new Chaos(seed);
    await chaos.run(25);
    expect(chaos.violations).toEqual([]);
    expect(chaos.taken).toBeGreaterThan(100);
    await chaos.settle();
    expect(chaos.live.size).toBe(CLERKS);
    expect(chaos.violations).toEqual([]);
  });
});
