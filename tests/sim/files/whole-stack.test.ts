/** File servers over storage nodes and a lock server, all in the simulator: crashes of servers and nodes, FS-4 after each. */
import { expect, test } from 'vitest';
import { SimRandom } from '#core/world/simulated/random.js';
import { ROOT, RW, bytes } from '#fs-frontend/server/files-cluster.test-helper.js';
import { work, type Model } from '#fs-frontend/server/workload.test-helper.js';
import { ROOT_INO, type Ino } from '#fs-frontend/vfs/vfs.js';
import { WholeStack } from './whole-stack.js';

const SEEDS = Number(process.env['FILES_SEEDS'] ?? 2);
const FIRST = Number(process.env['FILES_SEED'] ?? 1);

for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
  test(`seed ${seed}`, { timeout: 120_000 }, async () => {
    const random = new SimRandom(seed * 104_729);
    const stack = new WholeStack(seed);
    await stack.start();
    const bounds = { flushEveryMs: 50, writeBackEveryMs: 150 };
    const a = await stack.open(bounds);
    const b = await stack.open(bounds);
    const dirs: Ino[] = [ROOT_INO];
    const made = await stack.run(a.makeDirectory(ROOT_INO, bytes('x'), 0o755, ROOT));
    dirs.push(made.attributes.ino);
    await stack.run(b.lookup(ROOT_INO, bytes('x'), ROOT));
    const mine: Model = { synced: new Map() };
    const others: Model = { synced: new Map() };
    const dying = work(random, a, dirs, mine, 'a', 300).catch(() => undefined);
    const living = work(new SimRandom(seed), b, dirs, others, 'b', 30);
    await stack.sim.runFor(50 + random.below(1000));
    if (seed % 2 === 0) stack.storage.crash('node-3');
    stack.crash(a);
    void dying;
    const durable = new Map(mine.synced);
    await stack.run(living, 300_000);
    if (seed % 2 === 0) await stack.storage.restart('node-3');
    for (const [key, data] of [...durable, ...others.synced]) {
      const [dir, file] = key.split('/') as [string, string];
      const entry = await stack.run(b.lookup(Number(dir), bytes(file), ROOT));
      const handle = await stack.run(b.open(entry.attributes.ino, RW, ROOT));
      const content = (await stack.run(b.read(handle, 0, 1 << 20))).slice();
      expect(`${key}: ${Buffer.compare(content, data)}`).toBe(`${key}: 0`);
      await stack.run(b.release(handle));
    }
    await stack.run(b.close());
    expect(await stack.check()).toEqual([]);
  });
}
