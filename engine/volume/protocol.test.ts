/** The protocol as a whole, explored at random; and each rule taken away, to see that this is noticed. */
import { describe, expect, it } from 'vitest';
import { beginReplace, joinReplace, stableMembership } from '#core/quorum/quorum-set.js';
import { toLsn, type NodeId } from '#core/ids.js';
import { Explorer, Violation, type ExplorerOptions } from './explorer.test-helper.js';

function explore(
  runs: number,
  options: Omit<ExplorerOptions, 'seed'>,
): { opened: number; acknowledged: number } {
  const sum = { opened: 0, acknowledged: 0 };
  for (let seed = 1; seed <= runs; seed++) {
    const explorer = new Explorer({ ...options, seed });
    explorer.run();
    explorer.check();
    sum.opened += explorer.opened;
    sum.acknowledged += explorer.acknowledged;
  }
  return sum;
}

/** The first violation within `runs` seeds, by its name. */
function broken(runs: number, options: Omit<ExplorerOptions, 'seed'>): string {
  try {
    explore(runs, options);
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  }
  return 'not noticed';
}

const six = ['a', 'b', 'c', 'd', 'e', 'f'] as NodeId[];

describe('the protocol', () => {
  it('keeps what was acknowledged, over crashes, races and lost messages', () => {
    const { opened, acknowledged } = explore(120, { steps: 700 });
    expect(opened).toBeGreaterThan(60);
    expect(acknowledged).toBeGreaterThan(200);
  });

  it('keeps it when folders are lost, one at a time', () => {
    const { opened } = explore(80, { steps: 900, losses: 3, openers: 5 });
    expect(opened).toBeGreaterThan(40);
  });

  it('keeps it while a member is being replaced', () => {
    const both = beginReplace(stableMembership(six), 'f' as NodeId, 'g' as NodeId);
    const { opened } = explore(60, { steps: 900, membership: both });
    expect(opened).toBeGreaterThan(20);
    explore(40, { steps: 900, membership: joinReplace(both, toLsn(1)) });
  });
});

describe('without a rule', () => {
  const classic = { steps: 700, pgs: 1 };
  it.each([
    ['writeQuorum3', classic],
    ['ignoreHoles', { ...classic, gossip: false }],
    ['min', classic],
    ['noRepair', classic],
    ['smallerLal', classic],
    ['reuse', classic],
    ['runFromJournal', { steps: 900, pgs: 2, openers: 6 }],
    ['vdlAtVcl', { steps: 900, pgs: 2 }],
  ] as const)('%s is noticed', (fault, options) => {
    expect(broken(1500, { ...options, faults: [fault] })).not.toBe('not noticed');
  });
});
