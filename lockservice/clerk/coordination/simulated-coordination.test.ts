/** Client, lock servers and Raft together, in the simulated world: leaders die, clerks die, the network loses frames. */
import { describe, expect, it } from 'vitest';
import type { World } from '#core/world/world.js';
import { LockCluster, CLUSTER } from '../../server/cluster.test-helper.js';
import type { Clerk } from '../clerk.js';
import { openClerk } from '../open-clerk.js';

class Clerks {
  readonly cluster: LockCluster;
  #count = 0;

  constructor(seed: number) {
    this.cluster = new LockCluster(seed);
  }

  run<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    return this.cluster.sim.runPromise(promise, limitMs);
  }

  open(leaseMs = 2000) {
    const process = this.cluster.sim.process(`user-${++this.#count}`);
    const world = process.start() as unknown as World;
    const { members } = this.cluster;
    const opening: Promise<Clerk> = openClerk({
      world,
      servers: members,
      cluster: CLUSTER,
      leaseMs,
    });
    return this.run(opening).then((clerk) => ({ clerk, process, tree: clerk.coordination }));
  }
}

describe('coordination over lock servers', () => {
  it('writes, reads, watches', async () => {
    const clerks = new Clerks(1);
    await clerks.cluster.start();
    const a = await clerks.open();
    const b = await clerks.open();
    await clerks.run(a.tree.create('/a', 'x'));
    const view = await clerks.run(b.tree.get('/a'));
    expect(view.text).toBe('x');
    const changed = view.changed();
    await clerks.run(b.tree.sync());
    await clerks.run(a.tree.set('/a', 'y'));
    expect(await clerks.run(changed)).toMatchObject({ kind: 'changed' });
  });

  it('an ephemeral node goes with a clerk that dies, and at once with one that closes', async () => {
    const clerks = new Clerks(2);
    await clerks.cluster.start();
    const dies = await clerks.open();
    const closes = await clerks.open();
    const watcher = await clerks.open();
    await clerks.run(dies.tree.create('/dies', '', { ephemeral: true }));
    await clerks.run(closes.tree.create('/closes', '', { ephemeral: true }));
    const views = await clerks.run(
      Promise.all(['/dies', '/closes'].map((path) => watcher.tree.exists(path))),
    );
    const gone = views.map((view) => view.changed());
    await clerks.run(watcher.tree.sync());
    await clerks.run(closes.clerk.close());
    expect((await clerks.run(gone[1] as Promise<unknown>, 200)) as object).toMatchObject({
      kind: 'deleted',
    });
    dies.process.crash();
    await clerks.run(gone[0] as Promise<unknown>, 4000);
    await expect(closes.tree.get('/')).rejects.toMatchObject({ code: 'CLOSED' });
  });

  for (let seed = 10; seed < 14; seed++) {
    it(`writes take effect once and in order while leaders die (${seed})`, async () => {
      const clerks = new Clerks(seed);
      const { cluster } = clerks;
      await cluster.start();
      const a = await clerks.open(10_000);
      const b = await clerks.open(10_000);
      await clerks.run(a.tree.create('/log'));
      const watched = (await clerks.run(b.tree.exists('/log/0000000099'))).changed();
      const writing = (async () => {
        for (let i = 0; i < 100; i += 10) {
          await Promise.all(
            Array.from({ length: 10 }, (_, k) =>
              a.tree.create('/log/', String(i + k), { sequential: true }),
            ),
          );
          await a.clerk.world.timers.sleep(100);
        }
      })();
      for (let round = 0; round < 2; round++) {
        await cluster.sim.runFor(250);
        const dead = cluster.leader?.options.id ?? 'lock-1';
        cluster.crash(dead);
        await cluster.sim.runFor(1500);
        cluster.processes.get(dead)?.start();
        await cluster.sim.runFor(500);
      }
      await clerks.run(writing);
      expect((await clerks.run(watched)).kind).toBe('created');
      const { names } = await clerks.run(b.tree.children('/log'));
      const { nodes } = await clerks.run(b.tree.readAll(names.map((name) => `/log/${name}`)));
      expect(nodes.map((node) => node?.text)).toEqual(
        Array.from({ length: 100 }, (_, i) => `${i}`),
      );
    });
  }

  it('a network that loses, repeats, reorders and damages frames changes nothing', async () => {
    for (let seed = 20; seed < 23; seed++) {
      const clerks = new Clerks(seed);
      const { cluster } = clerks;
      await cluster.start();
      const writer = await clerks.open(30_000);
      const reader = await clerks.open(30_000);
      await clerks.run(writer.tree.create('/n', '0'));
      cluster.sim.network.faults('*', '*', {
        drop: 0.01,
        duplicate: 0.02,
        reorder: 0.05,
        flipBit: 0.001,
        breakLink: 0.001,
      });
      const seen: number[] = [];
      const following = (async () => {
        for await (const node of reader.tree.follow('/n')) {
          seen.push(Number(node?.text));
          if (seen.at(-1) === 60) return;
        }
      })();
      const writes = Array.from({ length: 60 }, (_, i) =>
        writer.tree.set('/n', String(i + 1), { version: i }),
      );
      await clerks.run(Promise.all(writes), 300_000);
      await clerks.run(following, 300_000);
      expect(seen, `seed ${seed}`).toEqual(seen.toSorted((a, b) => a - b));
      expect((await clerks.run(writer.tree.get('/n'))).stat.version).toBe(60);
    }
  });
});
