import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SealAnswer, TruncationRange } from '#storage-nodes/protocol/messages.js';
import { NO_FAULTS, type Fault } from './faults.js';
import { computeRecovery } from './opening-compute.js';

interface Rec {
  readonly lsn: number;
  readonly cpl: boolean;
}

/** What a segment with these chain records answers. */
function answer(records: readonly Rec[], journaledVdl: number): SealAnswer {
  const runs: { from: number; to: number; cpls: number[] }[] = [];
  let pgTail = 0;
  for (const { lsn, cpl } of records) {
    if (lsn <= journaledVdl) {
      pgTail = lsn;
      continue;
    }
    let run = runs.at(-1);
    if (run?.to !== lsn - 1) runs.push((run = { from: lsn, to: lsn, cpls: [] }));
    run.to = lsn;
    if (cpl) run.cpls.push(lsn);
  }
  const scl = records.at(-1)?.lsn ?? 0;
  return { node: 'n', generation: 1, scl, journaledVdl, pgTail, records: runs, whole: true };
}

const recs = (...lsns: number[]): Rec[] =>
  lsns.map((lsn) => ({ lsn: Math.abs(lsn), cpl: lsn > 0 }));
const compute = (
  answers: SealAnswer[][],
  ranges: TruncationRange[] = [],
  ...faults: Fault[]
): ReturnType<typeof computeRecovery> => computeRecovery(answers, ranges, new Set(faults));

describe('computeRecovery', () => {
  it('an empty volume starts at 0', () => {
    expect(compute([[answer([], 0)]])).toEqual({ vcl: 0, vdl: 0, tails: [0], highest: 0 });
  });

  it('takes the longest chain; the shortest would lose what was acknowledged', () => {
    const quorum = [[answer(recs(1), 0), answer(recs(1, 2, 3), 0), answer([], 0)]];
    expect(compute(quorum)).toMatchObject({ vdl: 3, tails: [3] });
    expect(compute(quorum, [], 'min')).toMatchObject({ vdl: 0 });
  });

  it('ends at a hole, whichever PG lost it, and at the last CPL before it', () => {
    const quorum = [[answer(recs(1, -3, 6), 0)], [answer(recs(2, -4), 0)]];
    expect(compute(quorum)).toEqual({ vcl: 4, vdl: 2, tails: [1, 2], highest: 6 });
  });

  it('never ends below a journaled VDL: of that a write quorum had everything', () => {
    const quorum = [[answer(recs(1, -2), 0), answer(recs(1), 1)], [answer([], 5)]];
    expect(compute(quorum)).toMatchObject({ vdl: 5, tails: [2, 0] });
  });

  it('starts at the end of the last range, which counts as a CPL', () => {
    const ranges = [{ epoch: 2, after: 1, through: 10 }];
    expect(compute([[answer(recs(1), 1)]], ranges)).toMatchObject({ vdl: 10, tails: [1] });
    expect(compute([[answer(recs(1, 11, -12), 1)]], ranges)).toMatchObject({ vcl: 12, vdl: 11 });
    // An opener that decided the range and crashed gave out nothing above it.
    expect(compute([[answer(recs(1), 1)]], ranges, 'runFromJournal')).toMatchObject({ vdl: 1 });
  });

  it('agrees with a walk over single LSNs', () => {
    const history = fc.record({
      records: fc.array(fc.record({ pg: fc.nat(2), cpl: fc.boolean() }), { maxLength: 40 }),
      kept: fc.array(fc.tuple(fc.nat(40), fc.nat(40)), { minLength: 9, maxLength: 9 }),
      base: fc.nat(20),
    });
    fc.assert(
      fc.property(history, ({ records, kept, base }) => {
        const ranges = base === 0 ? [] : [{ epoch: 1, after: 0, through: base }];
        const chain = (pg: number): Rec[] =>
          records
            .map(({ cpl, pg: of }, i) => ({ lsn: base + 1 + i, cpl, of }))
            .filter(({ of }) => of === pg);
        const vdlMax = base + records.findLastIndex(({ cpl }) => cpl) + 1;
        const answers = [0, 1, 2].map((pg) =>
          kept.slice(3 * pg, 3 * pg + 3).map(([count, vdl]) => {
            const own = chain(pg).slice(0, count);
            // A journaled VDL is a CPL that this segment's chain covers.
            const tail = own.at(-1)?.lsn ?? 0;
            const cpls = own.filter(({ cpl, lsn }) => cpl && lsn <= Math.min(base + vdl, tail));
            return answer(own, cpls.at(-1)?.lsn ?? 0);
          }),
        );
        const got = computeRecovery(answers, ranges, NO_FAULTS);
        const journaled = Math.max(...answers.flat().map((one) => one.journaledVdl));
        const present = new Set<number>();
        for (const pg of [0, 1, 2]) {
          const longest = Math.max(...kept.slice(3 * pg, 3 * pg + 3).map(([count]) => count));
          for (const { lsn } of chain(pg).slice(0, longest)) present.add(lsn);
        }
        let vcl = Math.max(base, journaled);
        let vdl = vcl;
        while (present.has(vcl + 1)) {
          vcl++;
          if (records[vcl - base - 1].cpl) vdl = vcl;
        }
        expect([got.vcl, got.vdl]).toEqual([vcl, vdl]);
        expect(got.vdl).toBeLessThanOrEqual(Math.max(vdlMax, base));
        for (const pg of [0, 1, 2]) {
          const below = chain(pg).filter(({ lsn }) => lsn <= vdl && present.has(lsn));
          expect(got.tails[pg]).toBe(below.at(-1)?.lsn ?? 0);
        }
      }),
      { numRuns: 400 },
    );
  });
});
