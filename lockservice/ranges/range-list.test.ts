import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { conflicting, RANGE_END, withRange, without } from './range-list.js';
import type { OwnedRange, RangeType } from './range-list.js';

const BYTES = 40;
const MARKS = { read: 'r', write: 'w' } as const;

function drawn(list: readonly OwnedRange[]): string {
  const bytes = Array.from({ length: BYTES }, () => '.');
  for (const { start, end, type } of list) bytes.fill(MARKS[type], Number(start), Number(end));
  return bytes.join('');
}

const span = fc
  .tuple(fc.nat(BYTES - 1), fc.nat(BYTES - 1))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b) + 1] as const);
const type = fc.constantFrom<RangeType | 'unlock'>('read', 'write', 'unlock');

describe('ranges of one owner', () => {
  it('are what a lock for each byte would be, sorted and merged', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(type, span)), fc.tuple(type, span), (sets, probe) => {
        let list: OwnedRange[] = [];
        const bytes = Array.from({ length: BYTES }, () => '.');
        for (const [kind, [start, end]] of sets) {
          const [from, to] = [BigInt(start), BigInt(end)];
          if (kind === 'unlock') list = without(list, from, to);
          else list = withRange(list, { type: kind, start: from, end: to, pid: 1, sinceMs: 0 });
          bytes.fill(kind === 'unlock' ? '.' : MARKS[kind], start, end);
        }
        expect(drawn(list)).toBe(bytes.join(''));
        list.forEach((range, i) => {
          const next = list[i + 1];
          expect(range.start < range.end).toBe(true);
          if (next === undefined) return;
          const apart = range.end < next.start;
          expect(apart || (range.end === next.start && range.type !== next.type)).toBe(true);
        });
        const [kind, [start, end]] = probe;
        if (kind === 'unlock') return;
        const met = bytes.slice(start, end).join('');
        const expected = kind === 'write' ? /[rw]/.test(met) : met.includes('w');
        const found = conflicting(list, kind, BigInt(start), BigInt(end));
        expect(found !== undefined).toBe(expected);
      }),
    );
  });

  it('reach to the end of the file, and remember since when', () => {
    const lock = (start: bigint, end: bigint, sinceMs: number): OwnedRange => ({
      type: 'read',
      start,
      end,
      pid: 1,
      sinceMs,
    });
    const list = withRange([lock(0n, 10n, 5)], lock(10n, RANGE_END, 9));
    expect(list).toEqual([lock(0n, RANGE_END, 5)]);
    expect(without(list, 2n ** 62n, 2n ** 62n + 1n)).toHaveLength(2);
  });
});
