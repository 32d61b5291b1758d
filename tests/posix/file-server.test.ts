/** The suite over a file server on a disk in memory, and over two servers at once. */
import { describe, expect, it } from 'vitest';
import { RealFiles } from '#fs-frontend/server/real-files.test-helper.js';
import { runSuite } from './suite.js';
import { VfsFs } from './vfs-fs.js';

const only = process.env['POSIX_ONLY'];

describe('the POSIX suite on a file server', () => {
  it('passes', { timeout: 120_000 }, async () => {
    const files = await RealFiles.open();
    const server = await files.server();
    const fs = new VfsFs({ name: 'file server', vfs: server, without: ['shift'] });
    const report = await runSuite(fs, only === undefined ? undefined : new RegExp(only));
    process.stdout.write(`${fs.name}: ${report.assertions} assertions\n`);
    for (const line of report.skipped) process.stdout.write(`skipped: ${line}\n`);
    await files.close();
    expect(report.failures).toEqual([]);
    if (only === undefined) expect(report.assertions).toBeGreaterThan(5000);
  });

  it('passes with every process on a server of its own', { timeout: 120_000 }, async () => {
    const files = await RealFiles.open();
    const servers = [await files.server(), await files.server(), await files.server()];
    let next = 0;
    const fs = new VfsFs({
      name: 'three file servers',
      vfs: servers[0]!,
      another: () => servers[++next % servers.length]!,
      without: ['shift'],
    });
    const report = await runSuite(fs, only === undefined ? undefined : new RegExp(only));
    process.stdout.write(`${fs.name}: ${report.assertions} assertions\n`);
    await files.close();
    expect(report.failures).toEqual([]);
  });
});
