/**
 * What an operation costs in the server itself, on a disk in memory: each figure is microseconds an operation.
 *
 *   npx vitest bench --run fs-frontend/server
 */
import { bench, describe } from 'vitest';
import { OpenFlag, ROOT_INO, type Entry, type Handle } from '../vfs/vfs.js';
import { RealFiles } from './real-files.test-helper.js';

const ROOT = { uid: 0, gid: 0, groups: [], pid: 1 };
const RW = OpenFlag.read | OpenFlag.write;
const COUNT = 20_000;
const PAGE = new Uint8Array(4096).fill(65);
const BIG = new Uint8Array(128 * 1024).fill(66);

async function timed(what: string, count: number, work: (i: number) => unknown): Promise<void> {
  const start = performance.now();
  let waited = 0;
  for (let i = 0; i < count; i++) {
    const result = work(i);
    if (result instanceof Promise) {
      waited++;
      await result;
    }
    // As a mount does: the loop turns between requests.
    if (i % 16 === 15) await new Promise((resolve) => setImmediate(resolve));
  }
  const us = ((performance.now() - start) * 1000) / count;
  process.stdout.write(`${what.padEnd(28)} ${us.toFixed(1).padStart(7)} us  ${waited} waited\n`);
}

describe('file server', () => {
  bench(
    'the script of fsmark',
    async () => {
      const files = await RealFiles.open();
      const server = await files.server();
      const name = (i: number): Uint8Array => Buffer.from(`file-${i}`);
      const dir = ((await server.makeDirectory(ROOT_INO, Buffer.from('d'), 0o755, ROOT)) as Entry)
        .attributes.ino;
      await timed('create, write 4 KiB, release', COUNT, async (i) => {
        const made = await server.create(dir, name(i), 0o644, RW, ROOT);
        await server.write(made.handle, 0, PAGE, ROOT);
        await server.release(made.handle);
      });
      await timed('lookup', COUNT, (i) => server.lookup(dir, name(i), ROOT));
      const inos: number[] = [];
      for (let i = 0; i < COUNT; i++) {
        inos.push(((await server.lookup(dir, name(i), ROOT)) as Entry).attributes.ino);
      }
      await timed('getAttributes', COUNT, (i) => server.getAttributes(inos[i] as number));
      await timed('rename', COUNT, (i) =>
        server.rename(dir, name(i), dir, Buffer.from(`renamed-${i}`), 0, ROOT),
      );
      await timed('unlink', COUNT, (i) => server.unlink(dir, Buffer.from(`renamed-${i}`), ROOT));
      await timed('mkdir', COUNT, (i) => server.makeDirectory(dir, name(i), 0o755, ROOT));
      const made = await server.create(ROOT_INO, Buffer.from('big'), 0o644, RW, ROOT);
      const big: Handle = made.handle;
      await timed('write 128 KiB in sequence', 1024, (i) =>
        server.write(big, i * BIG.length, BIG, ROOT),
      );
      await timed('fsync of it', 1, () => server.fsync(big, false));
      await timed('read 128 KiB in sequence', 1024, (i) =>
        server.read(big, i * BIG.length, BIG.length),
      );
      await timed('write 4 KiB + fsync', 2000, async (i) => {
        await server.write(big, ((i * 7919) % 32_768) * 4096, PAGE, ROOT);
        await server.fsync(big, false);
      });
      await files.close();
    },
    { iterations: 1, warmupIterations: 0, time: 0, warmupTime: 0 },
  );
});
