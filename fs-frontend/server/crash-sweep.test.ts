/**
 * FS-4 under crashes anywhere: seeded work on two servers, one of which dies in the middle of whatever it writes. The disk is
 * slow and answers in any order, and registers that were on their way get there or not.
 */
import { expect, test } from 'vitest';
import { SimRandom } from '#core/world/simulated/random.js';
import { FsError, ROOT_INO, type Ino } from '../vfs/vfs.js';
import type { FileServer } from './file-server.js';
import { FilesCluster, ROOT, RW, bytes } from './files-cluster.test-helper.js';

const SEEDS = Number(process.env['FILES_SEEDS'] ?? 12);
const FIRST = Number(process.env['FILES_SEED'] ?? 1);

/** What is known to be durable: contents of files whose last change was synced before anything else touched them. */
interface Model {
  readonly synced: Map<string, Uint8Array>;
}

async function step(
  random: SimRandom,
  server: FileServer,
  dirs: Ino[],
  model: Model,
  owner: string,
): Promise<void> {
  const dir = dirs[random.below(dirs.length)] as Ino;
  const file = `${owner}${random.below(12)}`;
  const key = `${dir}/${file}`;
  const name = bytes(file);
  switch (random.below(9)) {
    case 0:
    case 1:
    case 2: {
      model.synced.delete(key);
      const { handle } = await server.create(dir, name, 0o644, RW, ROOT);
      const size = [10, 3000, 9000, 70_000, 300_000][random.below(5)] as number;
      const data = random.bytes(size);
      const at = random.below(3) === 0 ? random.below(100_000) : 0;
      await server.write(handle, at, data, ROOT);
      if (random.chance(0.6)) {
        await server.fsync(handle, false);
        const entry = await server.lookup(dir, name, ROOT);
        const parts: Uint8Array[] = [];
        for (let done = 0; done < entry.attributes.size; ) {
          const part = (await server.read(handle, done, 1 << 20)).slice();
          parts.push(part);
          done += part.length;
        }
        // Of a file with two names the other one may change it.
        if (entry.attributes.nlink === 1) model.synced.set(key, Buffer.concat(parts));
      }
      await server.release(handle);
      return;
    }
    case 3:
      model.synced.delete(key);
      await server.unlink(dir, name, ROOT);
      return;
    case 4: {
      const to = dirs[random.below(dirs.length)] as Ino;
      const other = `${owner}${random.below(12)}`;
      model.synced.delete(key);
      model.synced.delete(`${to}/${other}`);
      await server.rename(dir, name, to, bytes(other), 0, ROOT);
      return;
    }
    case 5: {
      const { ino } = (await server.lookup(dir, name, ROOT)).attributes;
      model.synced.delete(key);
      await server.setAttributes(ino, { size: random.below(80_000) }, ROOT);
      return;
    }
    case 6: {
      const sub = bytes(`${owner}d${random.below(4)}`);
      if (random.chance(0.5)) await server.makeDirectory(dir, sub, 0o755, ROOT);
      else await server.removeDirectory(dir, sub, ROOT);
      return;
    }
    case 7: {
      const { ino } = (await server.lookup(dir, name, ROOT)).attributes;
      const to = dirs[random.below(dirs.length)] as Ino;
      const other = `${owner}${random.below(12)}`;
      model.synced.delete(key);
      model.synced.delete(`${to}/${other}`);
      await server.link(ino, to, bytes(other), ROOT);
      return;
    }
    default: {
      const { ino } = (await server.lookup(dir, name, ROOT)).attributes;
      await server.setXattr(ino, bytes('user.x'), random.bytes(random.below(3000)), 0, ROOT);
    }
  }
}

async function work(
  random: SimRandom,
  server: FileServer,
  dirs: Ino[],
  model: Model,
  owner: string,
  steps: number,
): Promise<void> {
  for (let i = 0; i < steps; i++) {
    try {
      await step(random, server, dirs, model, owner);
    } catch (error) {
      const known = error instanceof FsError && EXPECTED.has(error.errno);
      if (!known) throw error;
    }
  }
}

const EXPECTED = new Set(['ENOENT', 'EEXIST', 'ENOTEMPTY', 'EISDIR', 'ENOTDIR', 'EMLINK']);

for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
  test(`seed ${seed}`, { timeout: 60_000 }, async () => {
    const random = new SimRandom(seed * 7919);
    const cluster = new FilesCluster(seed, { delayMs: [0.1, 3], loses: 0.02 });
    await cluster.start();
    const options = { leaseMs: 1000 };
    const bounds = { flushEveryMs: 20, writeBackEveryMs: 60 };
    const a = await cluster.open(bounds, options);
    const b = await cluster.open(bounds, options);
    const dirs: Ino[] = [ROOT_INO];
    for (const name of ['x', 'y']) {
      const made = await cluster.run(a.makeDirectory(ROOT_INO, bytes(name), 0o755, ROOT));
      dirs.push(made.attributes.ino);
      await cluster.walk(b, `/${name}`);
    }
    const mine: Model = { synced: new Map() };
    const others: Model = { synced: new Map() };
    const dying = work(random, a, dirs, mine, 'a', 1000).catch(() => undefined);
    const living = work(new SimRandom(seed), b, dirs, others, 'b', 120);
    await cluster.locks.sim.runFor(20 + random.below(400));
    cluster.crash(a);
    const durable = new Map(mine.synced);
    void dying;
    await cluster.run(living, 120_000);
    await cluster.run(b.sync());
    for (const [key, data] of [...durable, ...others.synced]) {
      const [dir, file] = key.split('/') as [string, string];
      const found = await cluster.errno(() => b.lookup(Number(dir), bytes(file), ROOT));
      expect(`${key}: ${found}`).toBe(`${key}: done`);
      const { ino } = (await cluster.run(b.lookup(Number(dir), bytes(file), ROOT))).attributes;
      const handle = await cluster.run(b.open(ino, RW, ROOT));
      const content = await cluster.readAll(b, handle);
      expect(`${key}: ${Buffer.compare(content, data)}`).toBe(`${key}: 0`);
      await cluster.run(b.release(handle));
    }
    await cluster.run(b.close(), 60_000);
    expect(await cluster.check()).toEqual([]);
  });
}
