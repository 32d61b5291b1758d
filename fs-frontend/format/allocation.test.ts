import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BITMAP_BITS, SEGMENT_DATA } from './layout.js';
import { freeRun, nextFree, newHeldBits, putBits } from './bitmap.js';
import { Bench } from './memory-blocks.test-helper.js';
import { Region } from '../disk/disk.js';

describe('bitmap', () => {
  it('is a set of numbers', () => {
    const near = fc.oneof(fc.nat(200), fc.nat(BITMAP_BITS - 1));
    const step = fc.record({
      start: near,
      count: fc.integer({ min: 1, max: 400 }),
      on: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.array(near, { maxLength: 5 }),
        (steps, held) => {
          const bench = new Bench();
          const block = bench.source.get(Region.bitmaps, 900, 0);
          const model = new Set<number>();
          const mask = newHeldBits();
          for (const bit of held) mask[bit >>> 5] |= 1 << (bit & 31);
          for (const { start, count, on } of steps) {
            const end = Math.min(BITMAP_BITS, start + count);
            const before = model.size;
            for (let bit = start; bit < end; bit++) {
              if (on) model.add(bit);
              else model.delete(bit);
            }
            const changed = bench.run(() => putBits(bench.tx, block, start, end - start, on));
            expect(changed).toBe(Math.abs(model.size - before));
            const used = (bit: number): boolean => model.has(bit) || held.includes(bit);
            let free = start;
            while (free < BITMAP_BITS && used(free)) free++;
            expect(nextFree(block, mask, start)).toBe(free === BITMAP_BITS ? -1 : free);
            let run = 0;
            while (run < 70 && free + run < BITMAP_BITS && !used(free + run)) run++;
            if (free < BITMAP_BITS) expect(freeRun(block, mask, free, 70)).toBe(run);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('allocation segment', () => {
  it('gives each number once, and takes it back', () => {
    const bench = new Bench();
    const seen = new Set<number>();
    for (let i = 0; i < 32_766; i++) seen.add(bench.run(() => bench.allocator.inode(1)));
    expect(seen.size).toBe(32_766);
    const full = () => bench.run(() => bench.allocator.inode(1));
    expect(full).toThrowError(expect.objectContaining({ errno: 'ENOSPC' }));
    bench.run(() => bench.allocator.freeInode(777));
    expect(full()).toBe(777);
  });

  it('rule 18: what was freed is given out again only when its record is at quorum', () => {
    const { tx, log, segments, allocator } = new Bench();
    const [segment] = segments;
    const act = (operation: () => void): number => {
      tx.begin();
      operation();
      return tx.commit(log);
    };
    act(() => segment.allocateData(tx, 0, SEGMENT_DATA));
    while (segment.free[2] > 0) act(() => segment.allocateData(tx, 0, SEGMENT_DATA));
    const first = act(() => segment.freeData(tx, 1000, 50));
    act(() => segment.freeData(tx, 2000, 50));
    expect(segment.free[2]).toBe(0);
    expect(segment.allocateData(tx, 1000, 10)).toBeUndefined();
    segment.release(first);
    expect(segment.free[2]).toBe(0);
    segment.release(first + 1);
    expect(segment.free[2]).toBe(50);
    let got: unknown;
    act(() => (got = segment.allocateData(tx, 1000, 100)));
    expect(got).toEqual({ start: 1000, count: 50 });
    expect(segment.holds).toBe(true);
    expect(() => act(() => allocator.data(1, 0, 1))).toThrowError('no space');
    tx.abort();
  });

  it('forgets what an aborted transaction took and freed', () => {
    const { tx, log, segments } = new Bench();
    const [segment] = segments;
    const free = [...segment.free];
    tx.begin();
    const ino = segment.allocateInode(tx);
    const run = segment.allocateData(tx, 0, 300);
    tx.commit(log);
    const taken = [...segment.free];
    expect(taken).toEqual([free[0] - 1, free[1], free[2] - 300]);
    tx.begin();
    segment.allocateMetadata(tx);
    segment.freeInode(tx, ino);
    segment.freeData(tx, run?.start ?? 0, 300);
    tx.abort();
    expect(segment.free).toEqual(taken);
    expect(segment.holds).toBe(false);
    tx.begin();
    segment.freeData(tx, run?.start ?? 0, 300);
    expect(() => segment.freeData(tx, run?.start ?? 0, 1)).toThrowError(
      expect.objectContaining({ code: 'CORRUPTION' }),
    );
    tx.abort();
  });

  it('prefers a long run, and the hint', () => {
    const bench = new Bench();
    const [segment] = bench.segments;
    bench.run(() => {
      for (let i = 0; i < 5; i++) segment.claim(bench.tx, 'data', 10 * i + 5);
    });
    expect(bench.run(() => bench.allocator.data(1, 0, 64))).toEqual({ start: 46, count: 64 });
    expect(bench.run(() => bench.allocator.data(1, 17, 64))).toEqual({ start: 17, count: 8 });
    const far = 40_000;
    expect(bench.run(() => bench.allocator.data(1, far, 5))).toEqual({ start: far, count: 5 });
  });
});
