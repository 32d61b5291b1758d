import { describe, expect, it } from 'vitest';
import { SextantError } from '#core/errors.js';
import { Simulation } from '#core/world/simulated/simulation.js';
import { type Coordination, WriteRefused } from './coordination.js';
import { FakeGroup } from './fake-group.test-helper.js';

function setUp(seed = 1) {
  const sim = new Simulation(seed);
  const group = new FakeGroup(sim);
  const client = (token: number): Coordination => group.client(sim, token).coordination;
  const run = <T>(promise: Promise<T>, limitMs = 60_000): Promise<T> =>
    sim.runPromise(promise, limitMs);
  return { sim, group, client, run };
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (error) {
    return (error as SextantError).code;
  }
  return 'done';
};

describe('coordination client', () => {
  it('creates, reads, sets, deletes', async () => {
    const { client, run } = setUp();
    const a = client(1);
    await run(
      (async () => {
        const made = await a.create('/a', 'one');
        expect(made).toMatchObject({ path: '/a', stat: { version: 0, dataBytes: 3 } });
        expect((await a.get('/a')).text).toBe('one');
        expect(await a.set('/a', new Uint8Array([255, 0]), { version: 0 })).toMatchObject({
          version: 1,
        });
        expect((await a.get('/a')).data).toEqual(new Uint8Array([255, 0]));
        await a.ensure('/x/y/z');
        await a.ensure('/x/y/z');
        expect((await a.children('/')).names).toEqual(['a', 'x']);
        const sequential = await a.create('/x/', '', { sequential: true, ephemeral: true });
        expect(sequential).toMatchObject({ path: '/x/0000000000', stat: { owner: 1 } });
        await a.delete('/a');
        expect((await a.exists('/a')).exists).toBe(false);
        await a.sync();
      })(),
    );
  });

  it('refuses with the code of the tree, and says which operation of a multi it was', async () => {
    const { client, run } = setUp();
    const a = client(1);
    await run(
      (async () => {
        await a.create('/a');
        expect(await codeOf(a.create('/a'))).toBe('EXISTS');
        expect(await codeOf(a.get('/b'))).toBe('NOT_FOUND');
        expect(await codeOf(a.children('/b'))).toBe('NOT_FOUND');
        expect(await codeOf(a.set('/a', '', { version: 4 }))).toBe('CONFLICT');
        await a.create('/a/b');
        expect(await codeOf(a.delete('/a'))).toBe('NOT_EMPTY');
        const refused = await a
          .multi([
            { op: 'check', path: '/a' },
            { op: 'delete', path: '/a/b' },
            { op: 'create', path: '/a' },
          ])
          .catch((error: unknown) => error);
        expect(refused).toBeInstanceOf(WriteRefused);
        expect(refused).toMatchObject({ code: 'EXISTS', failed: 2 });
        expect((await a.exists('/a/b')).exists).toBe(true);
      })(),
    );
  });

  it('refuses bad forms before anything is sent', async () => {
    const { client, run, group } = setUp();
    const a = client(1);
    const bad = [
      a.create('a'),
      a.create('/a/'),
      a.set('/a', '', { version: -1 }),
      a.multi([]),
      a.create('/a', new Uint8Array(1024 * 1024 + 1)),
      a.multi(Array.from({ length: 1001 }, () => ({ op: 'check', path: '/' }) as const)),
      a.multi(
        ['/a', '/b', '/c', '/d'].map(
          (path) => ({ op: 'create', path, data: new Uint8Array(1024 * 1024) }) as const,
        ),
      ),
      a.get('//'),
      a.create('/a', { data: 'x' } as unknown as string),
    ];
    expect(await run(Promise.all(bad.map(codeOf)))).toEqual([
      'PROTOCOL',
      'PROTOCOL',
      'PROTOCOL',
      'PROTOCOL',
      'OUT_OF_RANGE',
      'OUT_OF_RANGE',
      'OUT_OF_RANGE',
      'PROTOCOL',
      'CONFIG',
    ]);
    expect(group.requests).toBe(0);
  });

  it('a write that the leader refuses for its form does not stop those behind it', async () => {
    const { client, run, group } = setUp();
    const a = client(1);
    const { services } = group;
    const serve = services[0]?.write.bind(services[0]) as (typeof services)[0]['write'];
    let first = true;
    Object.assign(services[0] as object, {
      write: async (token: number, body: Uint8Array) => {
        if (first) {
          first = false;
          throw new SextantError('PROTOCOL', 'of another version');
        }
        return await serve(token, body);
      },
    });
    group.delayMs = 0;
    const one = codeOf(a.create('/one'));
    const two = codeOf(a.create('/two'));
    expect(await run(Promise.all([one, two]))).toEqual(['PROTOCOL', 'done']);
    expect((await run(a.children('/'))).names).toEqual(['two']);
  });

  it('pipelines: hundreds of writes are under way at once, in order', async () => {
    const { client, run, sim, group } = setUp();
    group.jitter = false;
    const a = client(1);
    const writes = Array.from({ length: 300 }, (_, i) =>
      a.create('/n-', String(i), { sequential: true }),
    );
    const made = await run(Promise.all(writes));
    expect(made.map(({ path }) => Number(path.slice(3)))).toEqual(writes.map((_, i) => i));
    // One at a time would take at least a millisecond each.
    expect(sim.nowMs).toBeLessThan(30);
  });

  it('thousands of reads at once go in turns', async () => {
    const { client, run, group } = setUp();
    const a = client(1);
    await run(a.create('/a', 'x'));
    group.requests = 0;
    let most = 0;
    const serve = group.serve.bind(group);
    let running = 0;
    group.serve = async (...args) => {
      most = Math.max(most, ++running);
      return serve(...args).finally(() => running--);
    };
    const abort = new AbortController();
    const reads = Array.from({ length: 2000 }, () => a.get('/a'));
    const cancelled = codeOf(a.get('/a', { signal: abort.signal }));
    abort.abort();
    expect(await run(cancelled)).toBe('CANCELLED');
    expect((await run(Promise.all(reads))).every((view) => view.text === 'x')).toBe(true);
    expect([most <= 256, most > 100, group.requests]).toEqual([true, true, 2000]);
  });

  it('a read sees the writes that were begun before it', async () => {
    const { client, run } = setUp();
    const a = client(1);
    void a.create('/a');
    const set = a.set('/a', 'new');
    expect((await run(a.get('/a'))).text).toBe('new');
    await run(set);
  });

  it('a cancelled write that was not sent has no effect', async () => {
    const { client, run } = setUp();
    const a = client(1);
    const abort = new AbortController();
    const others = Array.from({ length: 128 }, (_, i) => a.create(`/n${i}`));
    const cancelled = codeOf(a.create('/x', '', { signal: abort.signal }));
    const behind = a.create('/y');
    abort.abort();
    expect(await run(cancelled)).toBe('CANCELLED');
    await run(Promise.all([...others, behind]));
    expect((await run(a.exists('/x'))).exists).toBe(false);
    expect(await run(codeOf(a.get('/y', { signal: AbortSignal.abort() })))).toBe('CANCELLED');
  });

  it('everything fails with LEASE_LOST once the session has ended', async () => {
    const { client, run, group, sim } = setUp();
    const a = client(1);
    const b = client(2);
    await run(a.create('/mine', '', { ephemeral: true }));
    const seen = await run(b.exists('/mine'));
    const gone = seen.changed();
    const view = await run(a.get('/mine'));
    const waiting = codeOf(view.changed());
    await sim.runFor(10);
    group.leader = -1;
    const stuck = codeOf(a.create('/later'));
    const stuckRead = codeOf(a.get('/mine'));
    await sim.runFor(10);
    group.leader = 0;
    group.expire(1);
    expect(await run(Promise.all([waiting, stuck, stuckRead, codeOf(a.sync())]))).toEqual(
      Array.from({ length: 4 }, () => 'LEASE_LOST'),
    );
    expect(await run(gone)).toMatchObject({ kind: 'deleted', path: '/mine' });
  });
});

describe('watches', () => {
  it('fire once for what is waited for, and at once for what is past', async () => {
    const { client, run, sim } = setUp();
    const a = client(1);
    const b = client(2);
    await run(a.create('/a', '0'));
    const view = await run(b.get('/a'));
    let calls = 0;
    view.onChange(() => calls++);
    const takenBack = view.onChange(() => (calls += 100));
    await sim.runFor(10);
    takenBack();
    await run(a.set('/a', '1'));
    await run(a.set('/a', '2'));
    await sim.runFor(10);
    expect(calls).toBe(1);
    expect(await run(view.changed())).toMatchObject({ kind: 'changed', path: '/a' });
    const absent = await run(b.exists('/b'));
    const created = absent.changed();
    const children = (await run(b.children('/'))).changed();
    await run(a.create('/b'));
    expect((await run(created)).kind).toBe('created');
    expect((await run(children)).kind).toBe('children');
  });

  it('fire before anything later can be read', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const { client, run, group } = setUp(seed);
      const a = client(1);
      const b = client(2);
      await run(a.create('/a', '0'));
      const view = await run(b.get('/a'));
      const order: string[] = [];
      const watch = view.changed().then(() => order.push('event'));
      await run(b.sync());
      group.loss = 0.3;
      const set = a.set('/a', '1');
      // The next leader knows nothing of the watch, and may be read before it was told.
      const change = seed % 2 === 0 ? group.change(1, 3) : undefined;
      for (let text = '0'; text === '0';) {
        ({ text } = await run(b.get('/a')));
        order.push(`read ${text}`);
      }
      await run(Promise.all([watch, set, change]));
      const later = order.indexOf('read 1');
      expect(order.indexOf('event'), `seed ${seed}: ${order.join()}`).toBeLessThan(later);
      expect(order.indexOf('event')).toBeGreaterThanOrEqual(0);
    }
  });

  it('survive a change of leader, and tell what happened meanwhile', async () => {
    const { client, run, group, sim } = setUp();
    const a = client(1);
    const b = client(2);
    await run(a.create('/a', '0'));
    const later = (await run(b.get('/a'))).changed();
    await run(b.sync());
    await run(group.change(1, 200));
    await sim.runFor(3000);
    await run(a.set('/a', '1'));
    expect((await run(later)).kind).toBe('changed');

    const missed = (await run(b.get('/a'))).changed();
    await run(b.sync());
    group.leader = -1;
    group.services[1]?.onLeadership(false);
    group.leader = 2;
    await run(a.set('/a', '2'));
    expect((await run(missed)).kind).toBe('changed');
  });

  it('can be cancelled', async () => {
    const { client, run, group, sim } = setUp();
    const a = client(1);
    const abort = new AbortController();
    const waiting = codeOf((await run(a.exists('/a'))).changed({ signal: abort.signal }));
    await sim.runFor(20);
    expect(group.services[0]?.watchCount).toBe(1);
    abort.abort();
    expect(await run(waiting)).toBe('CANCELLED');
    await sim.runFor(2000);
    expect(group.services[0]?.watchCount).toBe(0);
  });

  it('follow ends at the last state', async () => {
    const { client, run, sim } = setUp();
    const a = client(1);
    const seen: (string | null)[] = [];
    const abort = new AbortController();
    const following = codeOf(
      (async () => {
        for await (const node of client(2).follow('/a', { signal: abort.signal })) {
          seen.push(node?.text ?? null);
        }
      })(),
    );
    await sim.runFor(20);
    await run(a.create('/a', '1'));
    await sim.runFor(20);
    await run(a.set('/a', '2'));
    await run(a.set('/a', '3'));
    await sim.runFor(20);
    await run(a.delete('/a'));
    await sim.runFor(20);
    abort.abort();
    expect(await run(following)).toBe('CANCELLED');
    expect([seen[0], seen[1], seen.at(-2), seen.at(-1)]).toEqual([null, '1', '3', null]);
  });
});

describe('lost messages and changing leaders', () => {
  for (const client of [true, false]) {
    it(
      client ? 'every write takes effect once, in order' : 'with many clients at once',
      async () => {
        const seeds = client ? 10 : 3;
        for (let seed = 1; seed <= seeds; seed++) await everyWriteOnce(seed, client ? 1 : 4);
      },
    );
  }
});

async function everyWriteOnce(seed: number, clients: number): Promise<void> {
  const { client, run, group, sim } = setUp(seed);
  const writers = Array.from({ length: clients }, (_, i) => client(i + 1));
  await run((writers[0] as Coordination).create('/log'));
  group.loss = 0.15;
  group.delayMs = 20;
  let over = false;
  const changes = (async () => {
    while (!over) {
      await group.world.timers.sleep(200);
      await group.change(group.world.random.below(3), 100);
    }
  })();
  const each = 40;
  await run(
    Promise.all(
      writers.map(async (writer, w) => {
        const writes: Promise<unknown>[] = [];
        for (let i = 0; i < each; i++) {
          writes.push(writer.create('/log/', `${w}:${i}`, { sequential: true }));
          if (i % 10 === 9) await Promise.all(writes);
        }
        await Promise.all(writes);
      }),
    ),
    600_000,
  );
  over = true;
  await run(changes);
  group.loss = 0;
  const reader = writers[0] as Coordination;
  const { names } = await run(reader.children('/log'));
  const { nodes } = await run(reader.readAll(names.map((name) => `/log/${name}`)));
  for (let w = 0; w < clients; w++) {
    const own = nodes.map((node) => node?.text ?? '').filter((text) => text.startsWith(`${w}:`));
    expect(own, `seed ${seed}`).toEqual(Array.from({ length: each }, (_, i) => `${w}:${i}`));
  }
  expect(sim.nowMs).toBeGreaterThan(0);
}
