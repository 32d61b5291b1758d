/** PGCL, VCL, VDL and PG tails of the writer core against the definitions, record by record. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { NODES, SIX, Script } from './writer-core.test-helper.js';

const PGS = 3;

class Naive {
  records: { lsn: number; pg: number; cpl: boolean }[] = [];
  scl = Array.from({ length: PGS }, () => Array.from({ length: 6 }, () => 0));
  vdl = 100;

  pgcl(pg: number): number {
    return this.scl[pg].toSorted((a, b) => b - a)[3];
  }

  vcl(): number {
    let vcl = 100;
    for (const { lsn, pg } of this.records) {
      if (this.pgcl(pg) < lsn) break;
      vcl = lsn;
    }
    return vcl;
  }

  advance(): void {
    const vcl = this.vcl();
    for (const { lsn, cpl } of this.records) if (cpl && lsn <= vcl) this.vdl = lsn;
  }

  tailAtVdl(pg: number): number {
    return this.records.findLast((one) => one.pg === pg && one.lsn <= this.vdl)?.lsn ?? 0;
  }
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant('mtr' as const),
    pages: fc.array(fc.nat(29), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant('ack' as const),
    node: fc.nat(5),
    pg: fc.nat(PGS - 1),
    part: fc.nat(100),
  }),
  fc.record({ kind: fc.constant('all' as const), nodes: fc.subarray([0, 1, 2, 3, 4, 5]) }),
  fc.record({ kind: fc.constant('turn' as const) }),
);

it('VDL is what the definitions say, after every acknowledgement', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 150 }), (steps) => {
      const pgs = Array.from({ length: PGS }, () => ({ membership: SIX, tail: 0 }));
      const script = new Script({ pgs, lal: 100_000 });
      const { core } = script;
      const naive = new Naive();
      const acknowledge = (node: number, pg: number, scl: number): void => {
        naive.scl[pg][node] = Math.max(naive.scl[pg][node], scl);
        script.ack(NODES[node], scl, { pg });
        naive.advance();
      };
      for (const one of steps) {
        if (one.kind === 'mtr') {
          one.pages.forEach((page, i) => {
            const cpl = i === one.pages.length - 1;
            const lsn = script.append(page, cpl);
            naive.records.push({ lsn, pg: Math.floor(page / 10), cpl });
          });
          script.wait(core.nextLsn - 1);
        } else if (one.kind === 'ack') {
          const sent = naive.records.filter(
            ({ pg, lsn }) => pg === one.pg && lsn <= core.pgs[pg].sentLast,
          );
          const scl = sent[Math.floor((sent.length * one.part) / 101)]?.lsn ?? 0;
          acknowledge(one.node, one.pg, scl);
        } else if (one.kind === 'all') {
          for (const node of one.nodes) {
            for (let pg = 0; pg < PGS; pg++) acknowledge(node, pg, core.pgs[pg].sentLast);
          }
        } else {
          script.turn();
        }
        expect([core.vcl, core.vdl]).toEqual([naive.vcl(), naive.vdl]);
        for (let pg = 0; pg < PGS; pg++) {
          expect(core.pgs[pg].pgcl).toBe(naive.pgcl(pg));
          expect(core.tailAtVdl(pg)).toBe(naive.tailAtVdl(pg));
        }
        const done = script.log.filter((line) => line.startsWith('done'));
        expect(done.every((line) => Number(line.slice(5)) <= naive.vdl)).toBe(true);
      }
      // Nothing is forgotten: once everybody acknowledges, everybody is answered.
      for (let i = 0; i < 3; i++) {
        script.turn();
        for (let node = 0; node < 6; node++) {
          for (let pg = 0; pg < PGS; pg++) acknowledge(node, pg, core.pgs[pg].sentLast);
        }
      }
      expect(core.vdl).toBe(core.nextLsn - 1);
      expect(core.inFlightBytes).toBe(0);
      const waits = steps.filter(({ kind }) => kind === 'mtr').length;
      expect(script.take('done').length).toBe(waits);
    }),
    { numRuns: 60 },
  );
});
