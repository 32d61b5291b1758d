import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupOf } from '../protocol/lock-vectors.js';
import { LockTable, NONE } from './lock-table.js';

/** Ids of one group, as a table meets them. */
const IDS = Array.from({ length: 200_000 }, (_, i) => i).filter((id) => groupOf(1, 0, id) === 7);

describe('LockTable', () => {
  it('is a map from names to holders, whatever comes and goes', () => {
    const op = fc.record({
      id: fc.nat(300),
      aspect: fc.constantFrom(0, 1),
      clerk: fc.nat(3),
      add: fc.boolean(),
      shrink: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 600 }), (ops) => {
        let table = new LockTable();
        const model = new Map<string, Map<number, number>>();
        ops.forEach(({ id, aspect, clerk, add, shrink }, number) => {
          const key = `${id}/${aspect}`;
          const holders = model.get(key) ?? new Map<number, number>();
          if (add) {
            const lock = table.findOrAdd(1, 0, IDS[id]!, aspect);
            const holder = table.holderOf(lock, clerk);
            table.grant[holder === NONE ? table.addHolder(lock, clerk) : holder] = number;
            model.set(key, holders.set(clerk, number));
          } else {
            const lock = table.find(1, 0, IDS[id]!, aspect);
            expect(lock === NONE).toBe(!model.has(key));
            const holder = lock === NONE ? NONE : table.holderOf(lock, clerk);
            expect(holder === NONE).toBe(!holders.has(clerk));
            if (holder !== NONE) {
              expect(table.grant[holder]).toBe(holders.get(clerk));
              table.removeHolder(lock, holder);
              table.removeIfUnused(lock);
              holders.delete(clerk);
              if (holders.size === 0) model.delete(key);
            }
          }
          if (shrink === 0) table = table.shrink(() => undefined);
        });
        expect(table.size).toBe(model.size);
        expect(table.holders).toBe([...model.values()].reduce((sum, one) => sum + one.size, 0));
        for (const [key, holders] of model) {
          const [id, aspect] = key.split('/').map(Number) as [number, number];
          const lock = table.find(1, 0, IDS[id]!, aspect);
          for (const [clerk, grant] of holders) {
            expect(table.grant[table.holderOf(lock, clerk)]).toBe(grant);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps a contended lock that nobody holds, and says where it went', () => {
    let table = new LockTable();
    for (let i = 0; i < 100; i++) table.addHolder(table.findOrAdd(1, 0, IDS[i]!, 0), 1);
    const wanted = table.findOrAdd(1, 0, IDS[100]!, 1);
    table.setContended(wanted, true);
    table.removeIfUnused(wanted);
    expect(table.find(1, 0, IDS[100]!, 1)).toBe(wanted);
    for (let i = 0; i < 100; i++) {
      const lock = table.find(1, 0, IDS[i]!, 0);
      table.removeHolder(lock, table.holderOf(lock, 1));
      table.removeIfUnused(lock);
    }
    expect(table.wasteful).toBe(true);
    const moves: [number, number][] = [];
    table = table.shrink((from, to) => moves.push([from, to]));
    expect(moves).toEqual([[wanted, table.find(1, 0, IDS[100]!, 1)]]);
    expect(table.wasteful).toBe(false);
    expect(table.size).toBe(1);
  });

  it('takes at most 100 bytes a lock', () => {
    const table = new LockTable();
    IDS.forEach((id, i) => {
      table.addHolder(table.findOrAdd(1, 0, id, 0), 1);
      if (i > 500) expect(table.bytes / (i + 1)).toBeLessThan(100);
    });
    expect(table.size).toBe(IDS.length);
  });
});
