/** The suite judged: on a local directory Linux itself must pass it, through the kernel's calls and through Node's. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { promises } from 'node:fs';
import { helperMissing } from './helper.js';
import { PromisesFs } from './promises-fs.js';
import { runSuite } from './suite.js';
import { lackingOf, SystemFs } from './system-fs.js';

const missing = helperMissing();
if (missing !== undefined) process.stderr.write(`skipped: ${missing}\n`);
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'sextant-posix-'));
  chmodSync(root, 0o755);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('the POSIX suite on a local directory', () => {
  it.skipIf(missing !== undefined)('through system calls', async () => {
    const fs = await SystemFs.open(root, { name: 'local', without: await lackingOf(root) });
    const only = process.env['POSIX_ONLY'];
    const report = await runSuite(fs, only === undefined ? undefined : new RegExp(only));
    await fs.close();
    process.stdout.write(`${fs.name}: ${report.assertions} assertions\n`);
    for (const line of report.skipped) process.stdout.write(`skipped: ${line}\n`);
    expect(report.failures).toEqual([]);
    expect(report.assertions).toBeGreaterThan(1500);
  });

  it('through node:fs/promises', async () => {
    const fs = new PromisesFs({ name: 'node:fs/promises', promises, root });
    const before = process.umask(0);
    const report = await runSuite(fs);
    process.umask(before);
    process.stdout.write(`${fs.name}: ${report.assertions} assertions\n`);
    expect(report.failures).toEqual([]);
    expect(report.assertions).toBeGreaterThan(1000);
  });
});
