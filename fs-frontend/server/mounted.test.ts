/** Two servers mounted on one machine: the kernel caches, and is told before a lock goes (rules 20 to 25). */
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { expect, test } from 'vitest';
import { mount } from '../fuse/mount.js';
import { RealFiles } from './real-files.test-helper.js';

function canMount(): boolean {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}

/** In a process of its own: this thread serves the mounts. */
function shell(script: string): Promise<string> {
  return new Promise((resolve) => {
    execFile(
      'bash',
      ['-c', script],
      { timeout: 20_000, killSignal: 'SIGKILL' },
      (error, out, err) => resolve(error === null ? out : `failed: ${out}${err}`),
    );
  });
}

test.skipIf(!canMount())(
  'what is done on one mount is seen on the other',
  { timeout: 60_000 },
  async () => {
    const files = await RealFiles.open();
    const [a, b] = [await files.server(), await files.server()];
    const at = ['a', 'b'].map((name) => mkdtempSync(join(tmpdir(), `sextant-mounted-${name}-`)));
    const mounts = [await mount(a, at[0]!), await mount(b, at[1]!)];
    const [x, y] = at as [string, string];
    try {
      expect(await shell(`echo one > ${x}/f && cat ${y}/f`)).toBe('one\n');
      expect(await shell(`echo two > ${y}/f && cat ${x}/f ${y}/f`)).toBe('two\ntwo\n');
      expect(await shell(`cat ${x}/f; mv ${y}/f ${y}/g; ls ${x}; cat ${x}/g`)).toBe(
        'two\ng\ntwo\n',
      );
      expect(
        await shell(
          `for i in 1 2 3 4 5; do echo a$i >> ${x}/l; echo b$i >> ${y}/l; done; wc -l < ${x}/l`,
        ),
      ).toBe('10\n');
      expect(
        await shell(
          `dd if=/dev/urandom of=${x}/big bs=1M count=8 status=none; sha1sum < ${x}/big > /tmp/$$; sha1sum < ${y}/big | cmp - /tmp/$$ && rm /tmp/$$; stat -c %s ${y}/big`,
        ),
      ).toBe(`${8 * 1024 * 1024}\n`);
      expect(
        await shell(
          `mkdir -p ${x}/d/e; cp /etc/passwd ${x}/d/e; diff -r ${x}/d ${y}/d && rm -r ${y}/d && ls ${x}`,
        ),
      ).toBe('big\ng\nl\n');
      expect(
        await shell(
          `touch ${x}/n; chmod 600 ${y}/n; stat -c %a ${x}/n; rm ${x}/n; ls ${y}/n 2>/dev/null; true`,
        ),
      ).toBe('600\n');
    } finally {
      for (const one of mounts) await one.close();
      for (const path of at) rmdirSync(path);
    }
    await files.close();
    expect(files.failure).toBeUndefined();
  },
);
