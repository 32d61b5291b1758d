/** Rule 17 over random schedules, and again with each of its rules taken away. */
import { describe, expect, it } from 'vitest';
import { caughtBy } from '../run.js';
import { ChangingGroup, type MembershipFault } from './changing-group.js';

const STEPS = 100;

function run(seed: number, fault?: MembershipFault): ChangingGroup {
  const group = new ChangingGroup(seed, fault);
  group.run(STEPS);
  return group;
}

describe('members are replaced while engines come and go', () => {
  it('keeps what was acknowledged', () => {
    const sum = { finished: 0, reverted: 0, opened: 0 };
    for (let seed = 1; seed <= 250; seed++) {
      const { finished, reverted, opened } = run(seed);
      sum.finished += finished;
      sum.reverted += reverted;
      sum.opened += opened;
    }
    expect(sum.finished).toBeGreaterThan(100);
    expect(sum.reverted).toBeGreaterThan(100);
    expect(sum.opened).toBeGreaterThan(1000);
  });

  // Each search begins near the first seed that notices, which only saves time.
  it.each([
    ['readNewAtOnce', 1],
    ['writeNewOnly', 290],
    ['barrierAtVdl', 1300],
    ['repairAnyW', 100],
  ] as const)('%s is noticed', { timeout: 60_000 }, (fault, first) => {
    for (let seed = first; seed <= first + 3000; seed++) {
      try {
        run(seed, fault);
      } catch (error) {
        expect(caughtBy(error as Error)).toBe('LOG-1');
        return;
      }
    }
    expect.fail('no seed has noticed');
  });
});
