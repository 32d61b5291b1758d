import { describe, expect, it } from 'vitest';
import { Invalidation, merged, without } from './invalidation.js';

describe('an invalidation', () => {
  it('tells everything once when nobody reads', () => {
    const core = new Invalidation();
    expect(core.underWay).toEqual({ start: 0, end: Number.MAX_SAFE_INTEGER });
    expect(core.notified()).toBeUndefined();
  });

  it('answers what overlaps and tells it again (INV-1, INV-3)', () => {
    const core = new Invalidation();
    expect(core.read(0, 10)).toBe('answer');
    expect(core.read(5, 20)).toBe('answer');
    expect(core.read(100, 110)).toBe('answer');
    expect(core.notified()).toEqual({ start: 0, end: 20 });
    expect(core.notified()).toEqual({ start: 100, end: 110 });
    expect(core.notified()).toBeUndefined();
  });

  it('holds what does not overlap and never tells it (INV-2, INV-4)', () => {
    const core = new Invalidation();
    core.read(0, 10);
    core.read(100, 120);
    expect(core.notified()).toEqual({ start: 0, end: 10 });
    expect(core.read(105, 110)).toBe('hold');
    expect(core.read(500, 600)).toBe('hold');
    expect(core.notified()).toEqual({ start: 100, end: 105 });
    expect(core.notified()).toEqual({ start: 110, end: 120 });
    expect(core.notified()).toBeUndefined();
    expect(core.read(0, 1)).toBe('hold');
  });

  it('merges and cuts ranges', () => {
    const ranges = [
      { start: 5, end: 9 },
      { start: 0, end: 2 },
      { start: 2, end: 3 },
    ];
    expect(merged(ranges)).toEqual([
      { start: 0, end: 3 },
      { start: 5, end: 9 },
    ]);
    expect(
      without(
        [{ start: 0, end: 10 }],
        [
          { start: 0, end: 3 },
          { start: 9, end: 12 },
        ],
      ),
    ).toEqual([{ start: 3, end: 9 }]);
  });
});
