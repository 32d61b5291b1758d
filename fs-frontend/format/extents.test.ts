import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Block } from './block.js';
import {
  FILE_BLOCKS_MAX,
  extentsOf,
  insertExtent,
  markUnwritten,
  markWritten,
  punchExtents,
  seekData,
  seekHole,
} from './extents.js';
import { Content, blocksOf, contentOf, heightOf } from './inode.js';
import { Bench } from './memory-blocks.test-helper.js';
import { leaveSmall } from './small-content.js';

function makeFile(bench: Bench): Block {
  const header = bench.makeInode(5, false);
  bench.run(() => leaveSmall(bench.tx, header));
  return header;
}

/** Block of the file -> its data block, negative when unwritten. */
type Model = Map<number, number>;

function expand(bench: Bench, header: Block): Model {
  const model: Model = new Map();
  for (const extent of extentsOf(bench.source, header, 0, FILE_BLOCKS_MAX)) {
    for (let i = 0; i < extent.count; i++) {
      const index = extent.dataIndex + i;
      model.set(extent.fileBlock + i, extent.unwritten ? -index : index);
    }
  }
  return model;
}

/** Fills the holes of [from, to), as a writer does. */
function allocate(bench: Bench, header: Block, from: number, to: number, model: Model): void {
  for (let at = from; at < to; at++) {
    if (model.has(at)) continue;
    let end = at + 1;
    while (end < to && !model.has(end)) end++;
    const run = bench.allocator.data(5, 0, end - at);
    insertExtent(bench.tx, header, at, run.start, run.count, (at & 1) === 1);
    for (let i = 0; i < run.count; i++) {
      model.set(at + i, (at & 1) === 1 ? -(run.start + i) : run.start + i);
    }
  }
}

function punch(bench: Bench, header: Block, from: number, to: number, limit: number): void {
  for (let at = from; at < to;) at = bench.run(() => punchExtents(bench.tx, header, at, to, limit));
}

describe('extents', () => {
  it('are an array of blocks, whatever happens', () => {
    const step = fc.record({ kind: fc.nat(5), from: fc.nat(900), count: fc.nat(60) });
    const limits = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 20, maxLength: 300, size: 'max' }),
        limits,
        (steps, limit) => {
          const bench = new Bench();
          const header = makeFile(bench);
          const model: Model = new Map();
          // A comb first, so that there are many extents.
          for (let i = 0; i < 900; i += 2) {
            bench.run(() => allocate(bench, header, i, i + 1, model));
          }
          steps.forEach(({ kind, from, count }, i) => {
            const to = from + count;
            if (i % 5 === 0) {
              const keys = [...bench.source.blocks.keys()];
              bench.source.missing.add(keys[i % keys.length]);
            }
            if (kind <= 1) {
              const scratch = new Map(model);
              bench.run(() => {
                scratch.clear();
                for (const [block, index] of model) scratch.set(block, index);
                allocate(bench, header, from, to, scratch);
              });
              for (const [block, index] of scratch) model.set(block, index);
            } else if (kind <= 3) {
              punch(bench, header, from, to, limit);
              for (let at = from; at < to; at++) model.delete(at);
            } else {
              const mark = kind === 4 ? markWritten : markUnwritten;
              bench.run(() => mark(bench.tx, header, from, to));
              for (let at = from; at < to; at++) {
                const index = model.get(at);
                if (index !== undefined) {
                  model.set(at, kind === 4 ? Math.abs(index) : -Math.abs(index));
                }
              }
            }
            bench.source.missing.clear();
            const data = [...model].filter(([block, index]) => block >= from && index > 0);
            const first = data.reduce((least, [block]) => Math.min(least, block), Infinity);
            expect(seekData(bench.source, header, from)).toBe(first === Infinity ? -1 : first);
            let hole = from;
            while ((model.get(hole) ?? 0) > 0) hole++;
            expect(seekHole(bench.source, header, from)).toBe(hole);
          });
          expect(expand(bench, header)).toEqual(model);
          const free = bench.segments[0].free;
          expect(free[2]).toBe(524_287 - model.size);
          expect(blocksOf(header)).toBe(8 * (model.size + 32_767 - free[1]));
          punch(bench, header, 0, FILE_BLOCKS_MAX, limit);
          expect([blocksOf(header), free[1], free[2]]).toEqual([0, 32_767, 524_287]);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('join when they continue each other, so that a file written in order has one', () => {
    const bench = new Bench();
    const header = makeFile(bench);
    for (let i = 0; i < 1000; i++) {
      bench.run(() => {
        const run = bench.allocator.data(5, i === 0 ? 0 : i + 1, 1);
        insertExtent(bench.tx, header, i, run.start, 1, false);
      });
    }
    expect(extentsOf(bench.source, header, 0, FILE_BLOCKS_MAX).length).toBe(1);
    expect(contentOf(header)).toBe(Content.extents);
    bench.run(() => markUnwritten(bench.tx, header, 10, 20));
    expect(extentsOf(bench.source, header, 0, 1000).length).toBe(3);
    bench.run(() => markWritten(bench.tx, header, 0, 1000));
    expect(extentsOf(bench.source, header, 0, 1000).length).toBe(1);
  });

  it('reach to 2^53 bytes, and 100,000 of them make a tree of full leaves', () => {
    const bench = new Bench();
    const header = makeFile(bench);
    bench.log.keep = false;
    const step = 20_000_000;
    for (let i = 0; i < 100_000; i++) {
      bench.run(() => insertExtent(bench.tx, header, i * step, 2 * i + 1, 1, false));
    }
    expect(heightOf(header)).toBe(2);
    expect(bench.segments[0].free[1]).toBeGreaterThan(32_767 - 400);
    expect(extentsOf(bench.source, header, 99_999 * step, FILE_BLOCKS_MAX)).toEqual([
      { fileBlock: 99_999 * step, dataIndex: 199_999, count: 1, unwritten: false },
    ]);
    const last = FILE_BLOCKS_MAX - 1;
    bench.run(() => insertExtent(bench.tx, header, last, 7, 1, false));
    expect(seekData(bench.source, header, last)).toBe(last);
    expect(seekHole(bench.source, header, last)).toBe(FILE_BLOCKS_MAX);
  });

  it('refuse to overlap', () => {
    const bench = new Bench();
    const header = makeFile(bench);
    bench.run(() => insertExtent(bench.tx, header, 10, 100, 10, false));
    const again = () => insertExtent(bench.tx, header, 5, 200, 6, false);
    expect(() => bench.run(again)).toThrowError(expect.objectContaining({ code: 'CORRUPTION' }));
  });
});
