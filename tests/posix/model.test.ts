/** The random tests proved on a local directory: Linux itself must agree with the tree in memory and the array of bytes. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { runCoherence } from './coherence.js';
import { runFsx } from './fsx.js';
import { helperMissing } from './helper.js';
import { runModel } from './model.js';
import { O, type PosixFs } from './posix-fs.js';
import { runPrograms } from './programs.js';
import { lackingOf, SystemFs } from './system-fs.js';

const missing = helperMissing();
let root: string;
let one: PosixFs;
let two: PosixFs;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'sextant-model-'));
  chmodSync(root, 0o755);
  if (missing !== undefined) return;
  one = await SystemFs.open(root, { name: 'local', without: await lackingOf(root) });
  two = await one.process();
});
afterAll(async () => {
  await one?.close();
  await two?.close();
  rmSync(root, { recursive: true, force: true });
});

describe.skipIf(missing !== undefined)('two processes on a local directory', () => {
  it('see at once what the other did', async () => {
    const report = await runCoherence(one, two);
    expect(report.failures).toEqual([]);
    expect(report.assertions).toBeGreaterThan(250);
  });
});

describe('real programs on a local directory', () => {
  it('work', { timeout: 120_000 }, async () => {
    const report = await runPrograms(root, root);
    for (const line of report.skipped) process.stdout.write(`skipped: ${line}\n`);
    expect(report.failures).toEqual([]);
  });
});

describe.skipIf(missing !== undefined)('random calls on a local directory', () => {
  it('agree with the tree in memory, from two processes', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const report = await runModel({ seed, steps: 600, subjects: [[one, two]] });
      expect(report.difference).toBeUndefined();
    }
  });

  it('agree with an array of bytes', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      expect(await runFsx({ seed, steps: 250, instances: [one, two] })).toBeUndefined();
    }
  });

  it('find a file system that lies, and name the calls', async () => {
    const liar = new Proxy(one, {
      get(target, key) {
        if (key !== 'truncate') {
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        }
        return async (path: string, size: number) => {
          const file = await target.open(path, O.RDWR);
          await file.truncate(size + 1);
          await file.close();
        };
      },
    });
    let found: string | undefined;
    for (let seed = 1; seed <= 5 && found === undefined; seed++) {
      found = (await runModel({ seed, steps: 600, subjects: [[liar]] })).difference;
    }
    expect(found).toMatch(/seed \d+, step \d+/);
  });
});
