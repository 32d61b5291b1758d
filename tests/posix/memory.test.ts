/** The suite over the Vfs in memory: the adapter of a raw Vfs and the Vfs that others are compared with. */
import { describe, expect, it } from 'vitest';

import { MemoryVfs } from '../vfs/memory-vfs.js';
import { runCoherence } from './coherence.js';
import { runFsx } from './fsx.js';
import { runModel } from './model.js';
import { runSuite } from './suite.js';
import { VfsFs } from './vfs-fs.js';

/** Where the Vfs in memory is known to differ from Linux. */
const KNOWN: readonly RegExp[] = [
  /^xattrs: limits: an empty name/,
  // Vfs.testLock names no family: an owner's own OFD lock is taken for another's.
  /^locks: OFD, who excludes whom: .*(getlk|its length)/,
];

describe('the POSIX suite on a Vfs in memory', () => {
  it('passes', async () => {
    const fs = new VfsFs({ name: 'memory', vfs: new MemoryVfs() });
    const report = await runSuite(fs);
    process.stdout.write(`${fs.name}: ${report.assertions} assertions\n`);
    for (const line of report.skipped) process.stdout.write(`skipped: ${line}\n`);
    expect(report.failures.filter((line) => !KNOWN.some((known) => known.test(line)))).toEqual([]);
    expect(report.assertions).toBeGreaterThan(1500);
  });

  it('agrees with the tree in memory and the array of bytes', async () => {
    const fs = new VfsFs({ name: 'memory', vfs: new MemoryVfs() });
    const other = await fs.process();
    for (let seed = 1; seed <= 5; seed++) {
      const report = await runModel({ seed, steps: 400, subjects: [[fs, other]] });
      expect(report.difference).toBeUndefined();
      expect(await runFsx({ seed, steps: 200, instances: [fs, other] })).toBeUndefined();
    }
    expect((await runCoherence(fs, other)).failures).toEqual([]);
  });
});
