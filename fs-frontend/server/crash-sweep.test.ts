/**
 * FS-4 under crashes anywhere: seeded work on two servers, one of which dies in the middle of whatever it writes. The disk is
 * slow and answers in any order, and registers that were on their way get there or not.
 */
import { expect, test } from 'vitest';
import { SimRandom } from '#core/world/simulated/random.js';
import { ROOT_INO, type Ino } from '../vfs/vfs.js';
import { FilesCluster, ROOT, RW, bytes } from './files-cluster.test-helper.js';
import { work, type Model } from './workload.test-helper.js';

const SEEDS = Number(process.env['FILES_SEEDS'] ?? 12);
const FIRST = Number(process.env['FILES_SEED'] ?? 1);

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
