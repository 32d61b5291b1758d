/** Two servers on one disk: what one did the other sees, and nothing is lost between them. */
import { describe, expect, test } from 'vitest';
import { OpenFlag, ROOT_INO } from '../vfs/vfs.js';
import { FilesCluster, ROOT, RW, bytes, text } from './files-cluster.test-helper.js';

async function pair(seed: number): Promise<{
  cluster: FilesCluster;
  a: Awaited<ReturnType<FilesCluster['open']>>;
  b: Awaited<ReturnType<FilesCluster['open']>>;
}> {
  const cluster = new FilesCluster(seed);
  await cluster.start();
  return { cluster, a: await cluster.open(), b: await cluster.open() };
}

describe('two servers', () => {
  test('see at once what the other wrote, renamed and removed', async () => {
    const { cluster, a, b } = await pair(1);
    await cluster.writeFile(a, '/one', 'from a');
    expect(text(await cluster.readFile(b, '/one'))).toBe('from a');
    await cluster.writeFile(b, '/one', 'from b');
    expect(text(await cluster.readFile(a, '/one'))).toBe('from b');
    await cluster.run(b.rename(ROOT_INO, bytes('one'), ROOT_INO, bytes('two'), 0, ROOT));
    expect(await cluster.errno(() => a.lookup(ROOT_INO, bytes('one'), ROOT))).toBe('ENOENT');
    expect(text(await cluster.readFile(a, '/two'))).toBe('from b');
    await cluster.run(a.unlink(ROOT_INO, bytes('two'), ROOT));
    expect(await cluster.list(b, '/')).toEqual([]);
    await cluster.run(a.close());
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('large files pass between them while they are written', async () => {
    const { cluster, a, b } = await pair(2);
    const size = 700_000;
    const data = Uint8Array.from({ length: size }, (_, i) => (i * 13 + (i >> 9)) & 0xff);
    await cluster.writeFile(a, '/f', data);
    const ino = await cluster.walk(b, '/f');
    const handle = await cluster.run(b.open(ino, RW, ROOT));
    expect(Buffer.compare(await cluster.readAll(b, handle), data)).toBe(0);
    for (let i = 0; i < 10; i++) {
      const server = i % 2 === 0 ? a : b;
      const h = await cluster.run(server.open(ino, RW, ROOT));
      data.fill(i, i * 65_000, i * 65_000 + 40_000);
      const part = data.slice(i * 65_000, i * 65_000 + 40_000);
      await cluster.run(server.write(h, i * 65_000, part, ROOT));
      await cluster.run(server.release(h));
      const other = i % 2 === 0 ? b : a;
      expect(Buffer.compare(await cluster.readFile(other, '/f'), data)).toBe(0);
    }
    await cluster.run(b.release(handle));
    await cluster.run(a.close());
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('appends from both lose nothing', async () => {
    const { cluster, a, b } = await pair(3);
    await cluster.writeFile(a, '/log', '');
    const ino = await cluster.walk(b, '/log');
    const flags = OpenFlag.write | OpenFlag.append;
    const lines = 60;
    const append = async (server: typeof a, name: string): Promise<void> => {
      const handle = await server.open(ino, flags, ROOT);
      for (let i = 0; i < lines; i++) {
        await server.write(handle, 0, bytes(`${name} ${i} ${'x'.repeat(100)}\n`), ROOT);
      }
      await server.release(handle);
    };
    await cluster.run(Promise.all([append(a, 'a'), append(b, 'b')]), 120_000);
    const found = text(await cluster.readFile(b, '/log'))
      .trimEnd()
      .split('\n');
    for (const name of ['a', 'b']) {
      const own = found.filter((line) => line.startsWith(`${name} `));
      expect(own.map((line) => Number(line.split(' ')[1]))).toEqual(
        Array.from({ length: lines }, (_, i) => i),
      );
    }
    await cluster.run(a.close());
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('both make, move and remove names in one directory', async () => {
    const { cluster, a, b } = await pair(4);
    await cluster.run(a.makeDirectory(ROOT_INO, bytes('d'), 0o755, ROOT));
    const d = await cluster.walk(b, '/d');
    const work = async (server: typeof a, name: string): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        const made = await server.create(d, bytes(`${name}${i}`), 0o644, RW, ROOT);
        await server.write(made.handle, 0, bytes(`${name}${i}`), ROOT);
        await server.release(made.handle);
        if (i % 3 === 1) await server.unlink(d, bytes(`${name}${i - 1}`), ROOT);
        if (i % 3 === 2) {
          await server.rename(d, bytes(`${name}${i}`), ROOT_INO, bytes(`${name}${i}`), 0, ROOT);
        }
      }
    };
    await cluster.run(Promise.all([work(a, 'a'), work(b, 'b')]), 120_000);
    const expected = (name: string, where: number[]): string[] => where.map((i) => `${name}${i}`);
    const numbers = Array.from({ length: 40 }, (_, i) => i);
    const stay = numbers.filter((i) => i % 3 === 1 || i === 39);
    const moved = numbers.filter((i) => i % 3 === 2);
    for (const server of [a, b]) {
      expect(await cluster.list(server, '/d')).toEqual(
        [...expected('a', stay), ...expected('b', stay)].sort(),
      );
      expect(await cluster.list(server, '/')).toEqual(
        ['d', ...expected('a', moved), ...expected('b', moved)].sort(),
      );
    }
    expect(text(await cluster.readFile(b, '/d/a1'))).toBe('a1');
    expect(text(await cluster.readFile(a, '/b5'))).toBe('b5');
    await cluster.run(a.close());
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('a file unlinked here and open there is freed when it is closed there', async () => {
    const { cluster, a, b } = await pair(5);
    await cluster.writeFile(a, '/f', 'still here');
    const ino = await cluster.walk(b, '/f');
    const handle = await cluster.run(b.open(ino, RW, ROOT));
    await cluster.run(a.unlink(ROOT_INO, bytes('f'), ROOT));
    await cluster.locks.sim.runFor(3000);
    expect(text(await cluster.readAll(b, handle))).toBe('still here');
    expect(a.status.orphans).toBe(1);
    await cluster.run(b.release(handle));
    await cluster.locks.sim.runFor(3000);
    expect(a.status.orphans).toBe(0);
    expect(await cluster.errno(() => b.getAttributes(ino))).toBe('ESTALE');
    await cluster.run(a.close());
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });
});
