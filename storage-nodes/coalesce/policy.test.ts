import { expect, test } from 'vitest';
import { FoldPolicy, HOLD_MS_MAX, holdMsAt, loadOf, type FoldSituation } from './policy.js';

const calm: FoldSituation = {
  ripePages: 0,
  batchPages: 64,
  indexBytes: 0,
  indexBytesMax: 1000,
  journalBytes: 0,
  journalBytesMax: 1000,
  pressure: 0,
  nowMs: 0,
};

test.each<[string, Partial<FoldSituation>, string]>([
  ['nothing ripe', {}, 'nothing'],
  ['a ripe page, foreground busy', { ripePages: 1 }, 'nothing'],
  ['a ripe page, foreground idle', { ripePages: 1, pressure: 1 }, 'ripe'],
  ['half a batch, foreground busy', { ripePages: 32 }, 'ripe'],
  ['index past 3/4', { indexBytes: 750 }, 'oldest'],
  ['journal past its size', { journalBytes: 1001 }, 'oldest'],
])('%s', (_name, some, choice) => {
  expect(new FoldPolicy().choose({ ...calm, ...some })).toBe(choice);
});

/** Share of time spent folding when there is always something to fold, each job taking 2 ms. */
function share(some: Partial<FoldSituation>): number {
  const policy = new FoldPolicy();
  let nowMs = 0;
  let busyMs = 0;
  while (nowMs < 10_000) {
    if (policy.choose({ ...calm, ...some, nowMs }) === 'nothing') {
      nowMs += 0.5;
      continue;
    }
    nowMs += 2;
    busyMs += 2;
    policy.ran({ ...calm, ...some, nowMs }, 2);
  }
  return busyMs / nowMs;
}

test('folding keeps to its share: a tenth while the foreground is busy, all of it when pressed hard', () => {
  expect(share({ ripePages: 64 })).toBeLessThanOrEqual(0.1);
  expect(share({ ripePages: 64 })).toBeGreaterThan(0.08);
  expect(share({ ripePages: 64, pressure: 1 })).toBe(1);
  expect(share({ journalBytes: 1100 })).toBeLessThanOrEqual(0.3);
  expect(share({ journalBytes: 1500 })).toBe(1);
  expect(share({ indexBytes: 1000 })).toBe(1);
});

test('a full disk makes it rest', () => {
  const policy = new FoldPolicy();
  policy.backOff(0);
  expect(policy.choose({ ...calm, ripePages: 64, nowMs: 999 })).toBe('nothing');
  expect(policy.choose({ ...calm, ripePages: 64, nowMs: 1000 })).toBe('ripe');
});

test('load is the worse of index and journal, of their hard limits', () => {
  expect(loadOf({ ...calm, indexBytes: 500, journalBytes: 1200 })).toBeCloseTo(0.8);
  expect(loadOf({ ...calm, indexBytes: 1500, journalBytes: 1200 })).toBeCloseTo(1.5);
});

test('the foreground is never held back below the hard limit, smoothly above, and refused at twice as much', () => {
  expect([0, 0.9, 1].map(holdMsAt)).toEqual([0, 0, 0]);
  let before = 0;
  for (let load = 1.02; load < 2; load += 0.02) {
    const holdMs = holdMsAt(load);
    expect(holdMs).toBeGreaterThan(before);
    // In steps that nobody sees as a cliff.
    expect(holdMs - before).toBeLessThan(HOLD_MS_MAX * 0.05);
    before = holdMs;
  }
  expect(before).toBeLessThanOrEqual(HOLD_MS_MAX);
  expect([2, 3].map(holdMsAt)).toEqual([Infinity, Infinity]);
});
