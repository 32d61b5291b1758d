import { describe, expect, it } from 'vitest';
import type { SextantError } from '#core/errors.js';
import { Simulation } from '#core/world/simulated/simulation.js';
import { Barrier, DoubleBarrier } from './barriers.js';
import { Configuration } from './configuration.js';
import type { Coordination } from './coordination.js';
import { candidates, elect } from './election.js';
import { FakeGroup } from './fake-group.test-helper.js';
import { lockPath } from './shared-lock.js';

function setUp(seed = 1) {
  const sim = new Simulation(seed);
  const group = new FakeGroup(sim);
  const clients = (count: number, from = 1): Coordination[] =>
    Array.from({ length: count }, (_, i) => group.client(sim, from + i).coordination);
  const run = <T>(promise: Promise<T>, limitMs = 60_000): Promise<T> =>
    sim.runPromise(promise, limitMs);
  return { sim, group, clients, run };
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (error) {
    return (error as SextantError).code;
  }
  return 'done';
};

/** Settled by now, without waiting. */
function watchOver<T>(promise: Promise<T>): { value: T | undefined } {
  const box: { value: T | undefined } = { value: undefined };
  promise.then(
    (value) => (box.value = value),
    () => undefined,
  );
  return box;
}

describe('election', () => {
  it('elects the first, then the next when it resigns, and wakes nobody else', async () => {
    const { clients, run, sim, group } = setUp();
    const all = clients(10);
    const first = await run(elect(all[0] as Coordination, '/e', { data: 'zero' }));
    expect(first).toMatchObject({ path: '/e/n-0000000000', elected: true });
    const shown: string[] = [];
    const others = [];
    for (const [i, one] of all.slice(1).entries()) {
      const onWait = (node: { text: string } | null) => shown.push(node?.text ?? '-');
      others.push(watchOver(elect(one, '/e', { data: String(i + 1), onWait })));
      await sim.runFor(30);
    }
    expect(shown).toEqual(Array.from({ length: 9 }, () => 'zero'));
    await sim.runFor(50);
    group.pushes.length = 0;
    await run(first.resign());
    await sim.runFor(50);
    expect(others.map(({ value }) => value?.elected)).toEqual([true, ...Array(8).fill(undefined)]);
    // The one that goes hears of its own node.
    expect(group.pushes.filter((token) => token !== 1)).toHaveLength(1);
    expect(first.elected).toBe(false);
  });

  it('one that dies in the middle of the line lets nobody pass too early', async () => {
    const { clients, run, sim, group } = setUp();
    const [a, b, c] = clients(3) as [Coordination, Coordination, Coordination];
    const first = await run(elect(a, '/e'));
    const second = codeOf(elect(b, '/e'));
    await sim.runFor(30);
    const third = watchOver(elect(c, '/e'));
    await sim.runFor(30);
    group.expire(2);
    expect(await run(second)).toBe('LEASE_LOST');
    await sim.runFor(50);
    expect(third.value).toBeUndefined();
    await run(first.resign());
    await sim.runFor(50);
    expect(third.value?.elected).toBe(true);
  });

  it('tells the elected when its session ends or its node is deleted', async () => {
    const { clients, run, sim, group } = setUp();
    const [a, b] = clients(2) as [Coordination, Coordination];
    const first = await run(elect(a, '/e'));
    const second = watchOver(elect(b, '/e'));
    await sim.runFor(30);
    group.expire(1);
    expect(first.lost.aborted).toBe(true);
    expect((first.lost.reason as SextantError).code).toBe('LEASE_LOST');
    await sim.runFor(50);
    expect(second.value?.elected).toBe(true);
    const [c] = clients(1, 3) as [Coordination];
    await run(c.delete('/e/n-0000000001'));
    await sim.runFor(50);
    expect(second.value?.elected).toBe(false);
    await run(first.resign());
  });

  it('one that replaces another takes its place in the line at once', async () => {
    const { clients, run, sim } = setUp();
    const [a, b, c] = clients(3) as [Coordination, Coordination, Coordination];
    const replaces = (node: { text: string }): boolean => node.text.startsWith('x');
    expect(await run(candidates(a, '/e'))).toEqual([]);
    const first = await run(elect(a, '/e', { data: 'x1', replaces }));
    const second = watchOver(elect(b, '/e', { data: 'y' }));
    await sim.runFor(50);
    const third = await run(elect(c, '/e', { data: 'x2', replaces }));
    expect(third).toMatchObject({ path: first.path, elected: true });
    await sim.runFor(50);
    expect([first.elected, second.value]).toEqual([false, undefined]);
    const inLine = await run(candidates(a, '/e'));
    expect(inLine.map((node) => node.text)).toEqual(['x2', 'y']);
    await run(first.resign());
    await run(third.resign());
    await sim.runFor(50);
    expect(second.value?.elected).toBe(true);
  });

  it('a candidate that gives up leaves the line', async () => {
    const { clients, run, sim, group } = setUp();
    const [a, b] = clients(2) as [Coordination, Coordination];
    await run(elect(a, '/e'));
    const abort = new AbortController();
    const second = codeOf(elect(b, '/e', { signal: abort.signal }));
    await sim.runFor(30);
    abort.abort();
    expect(await run(second)).toBe('CANCELLED');
    expect(await run(codeOf(elect(b, '/e', { signal: abort.signal })))).toBe('CANCELLED');
    // While there is no leader nothing can be made; what is made later is deleted again.
    const late = new AbortController();
    group.leader = -1;
    const third = codeOf(elect(b, '/e', { signal: late.signal }));
    await sim.runFor(30);
    late.abort();
    expect(await run(third)).toBe('CANCELLED');
    group.leader = 0;
    await sim.runFor(2000);
    expect((await run(a.children('/e'))).names).toEqual(['n-0000000000']);
  });
});

describe('lock on a path', () => {
  it('is shared by readers, and fair', async () => {
    const { clients, run, sim } = setUp();
    const [a, b, c, d] = clients(4) as [Coordination, Coordination, Coordination, Coordination];
    const one = await run(lockPath(a, '/l', 'shared'));
    const two = await run(lockPath(b, '/l', 'shared'));
    const writer = watchOver(lockPath(c, '/l', 'exclusive'));
    await sim.runFor(30);
    const late = watchOver(lockPath(d, '/l', 'shared'));
    await sim.runFor(30);
    await run(one.release());
    await sim.runFor(30);
    expect([writer.value, late.value]).toEqual([undefined, undefined]);
    await run(two.release());
    await sim.runFor(30);
    expect([writer.value?.mode, late.value]).toEqual(['exclusive', undefined]);
    await run((writer.value as NonNullable<typeof writer.value>).release());
    await sim.runFor(30);
    expect(late.value?.mode).toBe('shared');
  });

  it('a release wakes one waiter', async () => {
    const { clients, run, sim, group } = setUp();
    const all = clients(12);
    const held = await run(lockPath(all[0] as Coordination, '/l', 'exclusive'));
    const waiting = [];
    for (const one of all.slice(1)) {
      waiting.push(watchOver(lockPath(one, '/l', 'exclusive')));
      await sim.runFor(20);
    }
    await sim.runFor(30);
    group.pushes.length = 0;
    await run(held.release());
    await sim.runFor(50);
    // The one that goes hears of its own node.
    expect(group.pushes.filter((token) => token !== 1)).toHaveLength(1);
    expect(waiting.filter(({ value }) => value !== undefined)).toHaveLength(1);
  });

  it('two never hold it at a time, with lost messages, changing leaders and clerks that die', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { clients, run, sim, group } = setUp(seed);
      group.loss = 0.1;
      const all = clients(5);
      let holders = 0;
      let turns = 0;
      const work = all.map(async (one, i) => {
        for (let n = 0; n < 4; n++) {
          const held = await lockPath(one, '/l', 'exclusive');
          holders++;
          turns++;
          expect(holders, `seed ${seed}`).toBe(1);
          if (i === 4) {
            // It dies while it holds; the others go on when its lease has ended.
            holders--;
            group.expire(one.token);
            return;
          }
          await group.world.timers.sleep(10);
          holders--;
          await held.release();
        }
      });
      const changes = (async () => {
        for (let i = 0; i < 4; i++) {
          await group.world.timers.sleep(400);
          await group.change(i % 3, 50);
        }
      })();
      await run(Promise.all([...work, changes]), 600_000);
      expect(turns).toBe(17);
      expect(sim.nowMs).toBeGreaterThan(0);
    }
  });
});

describe('barrier', () => {
  it('holds everybody until it opens', async () => {
    const { clients, run, sim } = setUp();
    const [a, b] = clients(2) as [Coordination, Coordination];
    const barrier = new Barrier(a, '/b/x');
    await run(barrier.close());
    await run(barrier.close());
    const waits = watchOver(new Barrier(b, '/b/x').wait().then(() => 'through'));
    await sim.runFor(50);
    expect(waits.value).toBeUndefined();
    await run(barrier.open());
    await run(barrier.open());
    await sim.runFor(50);
    expect(waits.value).toBe('through');
    await run(new Barrier(b, '/b/x').wait());
  });

  it('a double one lets all in together and out together, again and again', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { clients, run, group } = setUp(seed);
      group.loss = seed > 2 ? 0.1 : 0;
      const inside = new Set<number>();
      const rounds: number[] = [];
      const work = clients(4).map(async (one, i) => {
        const barrier = new DoubleBarrier(one, '/d', `m${i}`, 4);
        for (let round = 0; round < 3; round++) {
          await barrier.enter();
          rounds.push(round);
          // Nobody is in a later round before all are through this one.
          expect(rounds.filter((r) => r === round - 1)).toHaveLength(round === 0 ? 0 : 4);
          inside.add(i);
          await group.world.timers.sleep(group.world.random.below(50));
          await barrier.leave();
          expect(rounds.filter((r) => r === round)).toHaveLength(4);
        }
      });
      await run(Promise.all(work), 600_000);
      expect(inside.size).toBe(4);
    }
  });

  it('a double one goes on when members die inside it', async () => {
    const { clients, run, sim, group } = setUp(3);
    const [a, b, c, d] = clients(4) as [Coordination, Coordination, Coordination, Coordination];
    const barriers = [a, b, c, d].map((one, i) => new DoubleBarrier(one, '/d', `m${i}`, 2));
    await run(Promise.all([barriers[0]?.enter(), barriers[1]?.enter()]));
    const waits = watchOver(
      Promise.all([barriers[2]?.enter(), barriers[3]?.enter()]).then(() => 'in'),
    );
    await sim.runFor(100);
    group.expire(1);
    await sim.runFor(100);
    expect(waits.value).toBeUndefined();
    group.expire(2);
    await sim.runFor(200);
    expect(waits.value).toBe('in');
    const abort = new AbortController();
    const stuck = codeOf(new DoubleBarrier(c, '/other', 'm', 2).enter({ signal: abort.signal }));
    await sim.runFor(100);
    abort.abort();
    expect(await run(stuck)).toBe('CANCELLED');
    await sim.runFor(100);
    expect((await run(c.children('/other/members'))).names).toEqual([]);
    expect(() => new DoubleBarrier(c, '/x', 'm', 0)).toThrow(/0 members/);
  });
});

describe('configuration', () => {
  const many = (text: string, count: number): [string, string][] =>
    Array.from({ length: count }, (_, i) => [`k${i}`, text]);

  it('is replaced whole', async () => {
    const { clients, run } = setUp();
    const [a, b] = clients(2) as [Coordination, Coordination];
    const config = new Configuration(a, '/c');
    expect(
      await run(
        config.publish([
          ['x', '1'],
          ['y', '2'],
        ]),
      ),
    ).toBe(1);
    const view = await run(new Configuration(b, '/c').read());
    expect([view.version, view.text('x'), view.text('y'), view.text('z')]).toEqual([
      1,
      '1',
      '2',
      undefined,
    ]);
    await run(
      config.publish([
        ['y', '3'],
        ['z', '4'],
      ]),
    );
    await run(view.changed());
    const next = await run(new Configuration(b, '/c').read());
    expect([...next.entries.keys()]).toEqual(['y', 'z']);
  });

  it('no reader sees half of a change that takes many steps', async () => {
    const { clients, run, sim, group } = setUp(5);
    const [a, b] = clients(2) as [Coordination, Coordination];
    const config = new Configuration(a, '/c');
    const versions: number[] = [];
    const abort = new AbortController();
    const reading = codeOf(
      (async () => {
        for await (const view of new Configuration(b, '/c').follow({ signal: abort.signal })) {
          const texts = new Set(Array.from(view.entries.keys(), (name) => view.text(name)));
          expect([texts.size, view.entries.size]).toEqual([1, 1200]);
          versions.push(view.version);
        }
      })(),
    );
    group.loss = 0.02;
    for (let round = 0; round < 4; round++) {
      await run(config.publish(many(`round ${round}`, 1200)), 600_000);
    }
    await sim.runFor(10_000);
    abort.abort();
    expect(await run(reading)).toBe('CANCELLED');
    expect(versions.at(-1)).toBe(12);
  });

  it('a publisher that dies half way leaves readers waiting for the next one', async () => {
    const { clients, run, sim, group } = setUp(6);
    const [a, b, c] = clients(3) as [Coordination, Coordination, Coordination];
    await run(new Configuration(a, '/c').publish(many('old', 1200)));
    const dying = codeOf(new Configuration(a, '/c').publish(many('half', 1200)));
    const textOf = (name: string): string => {
      const [found] = group.tree.read([{ op: 'get', path: `/c/entries/${name}` }]);
      return Buffer.from(found?.data ?? '', 'base64').toString();
    };
    await sim.runUntil(() => textOf('k0') === 'half' && textOf('k1199') === 'old', 10_000);
    group.expire(1);
    expect(await run(dying)).toBe('LEASE_LOST');
    const reading = watchOver(new Configuration(b, '/c').read());
    await sim.runFor(500);
    expect(reading.value).toBeUndefined();
    await run(new Configuration(c, '/c').publish(many('new', 3)));
    await sim.runFor(500);
    expect([reading.value?.text('k0'), reading.value?.entries.size]).toEqual(['new', 3]);
  });

  it('of two publishers at a time one is told', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { clients, run } = setUp(seed);
      const [a, b] = clients(2) as [Coordination, Coordination];
      await run(new Configuration(a, '/c').publish(many('old', 3)));
      const both = [
        codeOf(new Configuration(a, '/c').publish(many('a', 1200))),
        codeOf(new Configuration(b, '/c').publish(many('b', 1200))),
      ];
      const outcomes = await run(Promise.all(both));
      expect(outcomes.toSorted(), `seed ${seed}`).toEqual(['CONFLICT', 'done']);
      const { entries } = await run(new Configuration(a, '/c').read());
      expect(entries.size).toBe(1200);
    }
  });

  it('entries of more data than one answer holds are read in parts', async () => {
    const { clients, run } = setUp();
    const [a] = clients(1) as [Coordination];
    const config = new Configuration(a, '/c');
    const entries = Array.from(
      { length: 14 },
      (_, i) => [`k${i}`, new Uint8Array(1024 * 1024)] as const,
    );
    await run(config.publish(entries));
    expect((await run(config.read())).entries.size).toBe(14);
  });
});
