import { describe, expect, it } from 'vitest';
import { DiskSim, type DiskSimOptions, type DiskSimResult } from './disk-sim.js';

async function run(seed: number, options?: DiskSimOptions): Promise<DiskSimResult> {
  try {
    return await new DiskSim(seed, options).run();
  } catch (error) {
    throw new Error(`seed ${seed}`, { cause: error });
  }
}

describe('virtual disk under the simulator', () => {
  it('keeps every promise', async () => {
    let writes = 0;
    let recoveries = 0;
    let snapshotsRead = 0;
    for (let seed = 1; seed <= Number(process.env['DISK_SEEDS'] ?? 8); seed++) {
      const result = await run(seed);
      expect(`seed ${seed}: ${result.violations.join('\n')}`).toBe(`seed ${seed}: `);
      writes += result.writes;
      recoveries += result.recoveries;
      snapshotsRead += result.snapshotsRead;
    }
    expect(writes).toBeGreaterThan(200);
    expect(recoveries).toBeGreaterThan(8);
    expect(snapshotsRead).toBeGreaterThan(8);
  });

  it('runs the same way twice', async () => {
    const [one, two] = [await run(3), await run(3)];
    expect(one.traceHash).toBe(two.traceHash);
  });

  const PLANTED: readonly (readonly [string, DiskSimOptions, RegExp])[] = [
    ['token-first', { nodes: { tokenFirst: true } }, /^(TagOrder|DISK-1|LOCK-2|FS-3)$/],
    ['fresh-tag', { clerks: { freshTag: true } }, /^(TagOrder|FS-3|DISK-1)$/],
    ['early-fence-ack', { nodes: { earlyFenceAck: true } }, /^(LOCK-2|DISK-1|TagOrder)$/],
    ['ack-one', { clerks: { ackOne: true } }, /^(DISK-1|LOCK-2)$/],
    ['read-one', { clerks: { readOne: true } }, /^(DISK-1|LOCK-2)$/],
  ];
  for (const [name, options, invariant] of PLANTED) {
    it(`notices ${name}`, async () => {
      for (let seed = 1; seed <= 12; seed++) {
        const [found] = (await run(seed, options)).violations;
        if (found === undefined) continue;
        expect(found.invariant).toMatch(invariant);
        return;
      }
      throw new Error(`nobody noticed ${name}`);
    });
  }
});
