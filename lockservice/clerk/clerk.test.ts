/** Clerks and real lock servers in the simulated world. */
import { afterEach, describe, expect, test } from 'vitest';
import type { SimProcess } from '#core/world/simulated/simulation.js';
import { CLUSTER, LockCluster } from '../server/cluster.test-helper.js';
import type { Clerk } from './clerk.js';
import { openClerk } from './open-clerk.js';
import type { ClerkOptions } from './options.js';

let cluster: LockCluster;
let clerks = 0;

async function start(seed: number): Promise<void> {
  clerks = 0;
  cluster = new LockCluster(seed);
  await cluster.start();
}

async function open(
  options: Partial<ClerkOptions> = {},
): Promise<{ clerk: Clerk; process: SimProcess }> {
  const process = cluster.sim.process(`c${++clerks}`);
  const world = process.start();
  const servers = cluster.members.map(({ address }) => address);
  const opening = openClerk({ servers, cluster: CLUSTER, world, table: 't', ...options });
  return { clerk: await cluster.sim.runPromise(opening, 20_000, 'open'), process };
}

const run = <T>(promise: Promise<T>, limitMs = 5000): Promise<T> =>
  cluster.sim.runPromise(promise, limitMs);

/** The code that it rejects with. */
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );
const failure = (promise: Promise<unknown>, limitMs?: number): Promise<string> =>
  run(codeOf(promise), limitMs);

afterEach(() => expect(cluster.failures).toEqual([]));

describe('locks', () => {
  test('a clock that is used up says so, and does not go back', async () => {
    await start(50);
    const { clerk } = await open();
    clerk.core.clock = 2 ** 52 - 1;
    expect(clerk.tick()).toBe(2 ** 52);
    expect(() => clerk.tick()).toThrow('the clock is used up');
    expect(clerk.clock).toBe(2 ** 52);
  });

  test('pass from clerk to clerk, after the owner has flushed', async () => {
    await start(1);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    expect(b.token).toBeGreaterThan(a.token);
    const flushed: string[] = [];
    a.table('t').onRevoke = async (locks) => {
      await a.world.timers.sleep(20);
      for (const { id, mode, keep, cause } of locks) {
        flushed.push(`${id} ${mode} ${keep} ${cause}`);
      }
    };
    const first = await run(a.acquire(1, 'exclusive'));
    expect(first.valid).toBe(true);
    expect(a.tryAcquireCached(1, 'shared')).toBeUndefined();
    first.release();
    expect(first.valid).toBe(false);
    expect(a.tryAcquireCached(1, 'shared')?.release()).toBeUndefined();
    const shared = await run(b.acquire(1, 'shared'));
    expect(flushed).toEqual(['1 exclusive shared revoked']);
    expect(a.table('t').held(1)).toBe('shared');
    shared.release();
    const exclusive = await run(b.acquire(1, 'exclusive'));
    expect(flushed).toEqual(['1 exclusive shared revoked', '1 shared undefined revoked']);
    expect(a.table('t').held(1)).toBeUndefined();
    expect(exclusive.mode).toBe('exclusive');
  });

  test('a holder that goes on is told, and is waited for', async () => {
    await start(2);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const mine = await run(a.acquire(5, 'exclusive'));
    let told = 0;
    mine.onRevoked(() => told++);
    expect(await failure(b.acquire(5, 'shared', { noWait: true }))).toBe('CONFLICT');
    expect(await failure(b.acquire(5, 'shared', { timeoutMs: 100 }))).toBe('TIMEOUT');
    const controller = new AbortController();
    const waiting = b.acquire(5, 'shared', { signal: controller.signal });
    await cluster.sim.runFor(1500);
    controller.abort();
    expect(await failure(waiting)).toBe('CANCELLED');
    expect(told).toBe(1);
    expect(mine.valid).toBe(true);
    const granted = b.acquire(5, 'exclusive');
    await cluster.sim.runFor(30_000);
    expect(a.lost.aborted).toBe(false);
    mine.release();
    expect((await run(granted)).valid).toBe(true);
  });

  test('upgrade: undisturbed, and interrupted when both want it', async () => {
    await start(3);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const mine = await run(a.acquire(5, 'shared'));
    expect((await run(mine.upgrade())).interrupted).toBe(false);
    mine.downgrade();
    const other = await run(b.acquire(5, 'shared'));
    const [one, two] = [mine.upgrade(), other.upgrade()];
    expect(mine.valid).toBe(false);
    const order: string[] = [];
    const done = [
      one.then((upgraded) => {
        order.push(`a ${upgraded.interrupted}`);
        upgraded.handle.release();
      }),
      two.then((upgraded) => {
        order.push(`b ${upgraded.interrupted}`);
        upgraded.handle.release();
      }),
    ];
    await run(Promise.all(done));
    expect(order.length).toBe(2);
    expect(order.filter((line) => line.endsWith('false')).length).toBe(1);
    expect(order[0]).toContain('false');
  });

  test('open and destroy: apart from content; destroy without waiting is refused', async () => {
    await start(4);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const opened = await run(a.acquire(5, 'open'));
    const content = await run(b.acquire(5, 'exclusive'));
    expect(content.valid && opened.valid).toBe(true);
    expect(await failure(b.acquire(5, 'destroy', { noWait: true }))).toBe('CONFLICT');
    opened.release();
    expect((await run(b.acquire(5, 'destroy', { noWait: true }))).mode).toBe('destroy');
  });

  test('acquireMany in opposite orders does not deadlock; all or none', async () => {
    await start(5);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const up = [1, 2, 3, 4].map((id) => ({ id, mode: 'exclusive' as const }));
    const down = [...up].reverse();
    for (let round = 0; round < 10; round++) {
      const both = [a.acquireMany(up), b.acquireMany(down)].map(async (many) => {
        const handles = await many;
        await a.world.timers.sleep(1);
        for (const handle of handles) {
          expect(handle.valid).toBe(true);
          handle.release();
        }
        return handles.map(({ id }) => id);
      });
      expect(await run(Promise.all(both))).toEqual([
        [1, 2, 3, 4],
        [4, 3, 2, 1],
      ]);
    }
    const three = await run(b.acquire(3, 'exclusive'));
    expect(await failure(a.acquireMany(up, { timeoutMs: 200 }))).toBe('TIMEOUT');
    expect(await failure(a.acquireMany(up, { noWait: true }))).toBe('CONFLICT');
    three.release();
    const all = await run(b.acquireMany(up));
    expect(all.every((handle) => handle.valid)).toBe(true);
    expect(await failure(a.acquireMany([...up, ...up]))).toBe('CONFIG');
  });

  test('cede: what lies below a lock goes back in the message that gives it back (rule 8)', async () => {
    await start(7);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const table = a.table('t');
    const flushed: string[] = [];
    table.onRevoke = (locks) => {
      flushed.push(locks.map(({ id, cause }) => `${id} ${cause}`).join(', '));
      if (locks.some(({ id }) => id === 1)) expect(table.cede([2, 3, 4, 5])).toBe(2);
    };
    const used = await run(a.acquire(4, 'exclusive'));
    for (const id of [1, 2, 3]) (await run(a.acquire(id, 'exclusive'))).release();
    await run(b.acquire(1, 'exclusive'));
    await cluster.sim.runFor(10);
    expect(flushed).toEqual(['1 revoked', '2 ceded, 3 ceded']);
    expect([1, 2, 3, 4].map((id) => table.held(id))).toEqual([
      undefined,
      undefined,
      undefined,
      'exclusive',
    ]);
    used.release();
    await run(
      b.acquireMany([2, 3].map((id) => ({ id, mode: 'exclusive' as const, noWait: true }))),
    );
    expect(flushed.length).toBe(2);
  });

  test('bounds: what is unused longest is flushed and goes back', async () => {
    await start(8);
    const { clerk: a } = await open({ locksMax: 2, idleMs: 60_000 });
    const flushed: string[] = [];
    a.table('t').onRevoke = (locks) => {
      flushed.push(locks.map(({ id, mode, cause }) => `${id} ${mode} ${cause}`).join(', '));
    };
    (await run(a.acquire(1, 'exclusive'))).release();
    (await run(a.acquire(2, 'shared'))).release();
    (await run(a.acquire(1, 'exclusive'))).release();
    (await run(a.acquire(3, 'exclusive'))).release();
    await cluster.sim.runFor(62_000);
    expect(flushed).toEqual(['2 shared evicted', '1 exclusive idle, 3 exclusive idle']);
    expect(a.stats.locks).toBe(0);
  });

  test('tables are apart; an upgrade that will not wait', async () => {
    await start(9);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const other = await run(a.openTable('other', true));
    expect(await run(b.openTable('other'))).toBe(b.table('other'));
    expect(b.table('other').number).toBe(other.number);
    await run(other.acquire(1, 'exclusive'));
    const mine = await run(b.acquire(1, 'shared'));
    const local = await run(b.acquire(1, 'shared'));
    expect(await failure(mine.upgrade({ noWait: true }))).toBe('CONFLICT');
    expect(mine.valid && mine.mode === 'shared').toBe(true);
    local.release();
    const theirs = await run(a.acquire(1, 'shared'));
    expect(await failure(mine.upgrade({ noWait: true }))).toBe('CONFLICT');
    expect(mine.valid && theirs.valid).toBe(true);
    theirs.release();
    expect((await run(mine.upgrade({ noWait: true }))).interrupted).toBe(false);
    {
      using second = await run(b.acquire(2, 'exclusive'));
      expect(second.valid).toBe(true);
    }
    expect(b.tryAcquireCached(2, 'exclusive')?.valid).toBe(true);
  });

  test.each([
    ['leads', true],
    ['follows', false],
  ])('a server that %s and is told to stop gives its groups up first', async (_, leads) => {
    await start(8);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    for (let id = 0; id < 60; id++) await run(a.acquire(id, 'exclusive'));
    const server = [...cluster.servers.values()].find((one) => one.isLeader === leads);
    expect(server?.desk.serving.size).toBeGreaterThan(30);
    // A leader is no longer new, and deals groups out at once.
    await cluster.sim.runFor(3000);
    await run(server?.stop() ?? Promise.reject(new Error('none')), 500);
    // Its lease was 2.5 s; what a clerk held it has claimed.
    const free = Array.from({ length: 300 }, (_none, id) => b.acquire(1000 + id, 'exclusive'));
    await run(Promise.all(free), 700);
    const held = Array.from({ length: 60 }, (_none, id) =>
      b.acquire(id, 'shared', { timeoutMs: 50 }),
    );
    expect(new Set(await run(Promise.all(held.map(codeOf))))).toEqual(new Set(['TIMEOUT']));
    expect(a.leaseLeftMs()).toBeGreaterThan(0);
  });

  test('bad input', async () => {
    await start(6);
    const { clerk: a } = await open();
    for (const id of [-1, 1.5, Number.NaN, 2 ** 53, -1n, 2n ** 64n]) {
      expect(await failure(a.acquire(id, 'shared'))).toBe('OUT_OF_RANGE');
    }
    expect(await failure(a.acquire(1, 'write' as 'shared'))).toBe('CONFIG');
    expect(await failure(a.acquire(1, 'shared', { table: 'none' }))).toBe('UNKNOWN_TABLE');
    expect(await failure(a.acquire(1, 'shared', { timeoutMs: Number.NaN }))).toBe('OUT_OF_RANGE');
    expect(() => a.table('none')).toThrow('no lock table none');
    expect(await failure(a.openTable('none'))).toBe('UNKNOWN_TABLE');
    const big = await run(a.acquire(2n ** 64n - 1n, 'exclusive'));
    expect(big.id).toBe(2n ** 64n - 1n);
    const world = a.world;
    for (const leaseMs of [0, -1, Number.NaN, 499, 600_001]) {
      const opening = openClerk({ servers: ['lock-1:1'], cluster: CLUSTER, world, leaseMs });
      expect(await failure(opening)).toBe('OUT_OF_RANGE');
    }
    for (const wrong of [[], ['nonsense'], ['host:70000'], ['a:1', 'unix:' + 'x'.repeat(108)]]) {
      expect(await failure(openClerk({ servers: wrong, cluster: CLUSTER, world }))).toBe('CONFIG');
    }
    const one = 'lock-1:1' as unknown as string[];
    expect(await failure(openClerk({ servers: one, cluster: CLUSTER, world }))).toBe('CONFIG');
    for (const table of ['', 'x'.repeat(257), 'a\nb']) {
      const options = { servers: ['lock-1:1'], cluster: CLUSTER, world, table };
      expect(await failure(openClerk(options))).toBe('CONFIG');
      expect(await failure(a.openTable(table, true))).toBe('CONFIG');
    }
    const servers = cluster.members.map(({ address }) => address);
    const strict = { servers, cluster: CLUSTER, world, tables: [{ name: 'x', create: false }] };
    expect(await failure(openClerk(strict))).toBe('UNKNOWN_TABLE');
    // As soon as every server has said so: it does not wait for what cannot come.
    expect(await failure(openClerk({ servers, cluster: 'other', world }), 1000)).toBe(
      'WRONG_CLUSTER',
    );
    const nowhere = openClerk({ servers: ['nobody:1'], cluster: 'c', world, openTimeoutMs: 1000 });
    expect(await failure(nowhere)).toBe('DISCONNECTED');
    await run(a.close());
    expect(big.valid).toBe(false);
    expect(await failure(a.acquire(1, 'shared'))).toBe('CLOSED');
    expect(() => a.tryAcquireCached(1, 'shared')).toThrow('closed');
  });
});

describe('leases', () => {
  test('renewed for long; close passes the locks on at once', async () => {
    await start(11);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    await run(a.acquire(1, 'exclusive'));
    await cluster.sim.runFor(60_000);
    expect(a.leaseLeftMs()).toBeGreaterThan(5000);
    const waiting = b.acquire(1, 'exclusive');
    await cluster.sim.runFor(1000);
    const start0 = cluster.sim.nowMs;
    await run(a.close());
    expect((await run(waiting)).valid).toBe(true);
    expect(cluster.sim.nowMs - start0).toBeLessThan(500);
    expect(a.lost.aborted).toBe(true);
  });

  test('a clerk that was stopped knows at once that its lease is over, before it is told', async () => {
    await start(12);
    const { clerk: a, process } = await open({ leaseMs: 2000 });
    const { clerk: b } = await open();
    const mine = await run(a.acquire(1, 'exclusive'));
    const waiting = a.acquire(1, 'shared');
    const ended = codeOf(waiting);
    process.pause();
    const theirs = await run(b.acquire(1, 'exclusive'), 10_000);
    expect(theirs.valid).toBe(true);
    expect(mine.valid).toBe(false);
    expect(a.lost.aborted).toBe(true);
    process.resume();
    expect(await run(ended)).toBe('LEASE_LOST');
    expect(await failure(a.acquire(2, 'shared'))).toBe('LEASE_LOST');
    expect(() => mine.downgrade()).toThrow('lease');
  });

  test('cut off: the lease ends here before another gets the lock', async () => {
    await start(13);
    let lost = '';
    const { clerk: a } = await open({ leaseMs: 2000, onLost: (error) => (lost = error.code) });
    const { clerk: b } = await open();
    const mine = await run(a.acquire(1, 'exclusive'));
    let told = false;
    mine.onRevoked(() => (told = true));
    cluster.sim.network.partition(['c1'], ['lock-1', 'lock-2', 'lock-3']);
    const waiting = b.acquire(1, 'exclusive');
    let passed = false;
    const watch = waiting.then((handle) => {
      expect(mine.valid).toBe(false);
      passed = handle.valid;
    });
    await run(watch, 10_000);
    expect(passed).toBe(true);
    expect(told).toBe(true);
    expect(lost).toBe('LEASE_LOST');
  });

  test('an owner that never flushes costs the clerk its lease', async () => {
    await start(14);
    const { clerk: a } = await open({ leaseMs: 2000 });
    const { clerk: b } = await open();
    a.table('t').onRevoke = () => new Promise<void>(() => undefined);
    (await run(a.acquire(1, 'exclusive'))).release();
    const theirs = await run(b.acquire(1, 'exclusive'), 20_000);
    expect(theirs.valid).toBe(true);
    expect(a.lost.aborted).toBe(true);
  });
});

describe('servers that come and go', () => {
  test('locks are claimed when a server dies; others get what is free, wait for what is not', async () => {
    await start(21);
    const { clerk: a } = await open();
    const { clerk: b } = await open();
    const held = [];
    for (let id = 0; id < 200; id++) held.push(await run(a.acquire(id, 'exclusive')));
    for (let id = 0; id < 100; id++) held[id]!.release();
    const victim = cluster.leader!.options.id;
    cluster.crash(victim);
    const early = b.acquire(5, 'exclusive');
    const late = b.acquire(150, 'exclusive');
    const five = await run(early, 15_000);
    expect(five.valid).toBe(true);
    five.release();
    await cluster.untilServed(2);
    for (let id = 0; id < 100; id++) (await run(b.acquire(id, 'exclusive'))).release();
    expect(held[150]!.valid).toBe(true);
    held[150]!.release();
    expect((await run(late)).valid).toBe(true);
    cluster.processes.get(victim)!.start();
    await cluster.untilServed(3);
    for (let id = 100; id < 200; id++) {
      if (id !== 150)
        expect(await failure(b.acquire(id, 'shared', { noWait: true }))).toBe('CONFLICT');
    }
    expect(a.lost.aborted).toBe(false);
  });

  test('a network that loses, repeats and reorders', async () => {
    await start(22);
    const opened = [];
    for (let i = 0; i < 3; i++) opened.push((await open()).clerk);
    for (let i = 1; i <= 3; i++) {
      for (const [from, to] of [
        [`c${i}`, '*'],
        ['*', `c${i}`],
      ] as const) {
        cluster.sim.network.faults(from, to, { drop: 0.05, duplicate: 0.1, reorder: 0.2 });
      }
    }
    const users = new Map<number, number>();
    const work = opened.map(async (clerk, who) => {
      for (let round = 0; round < 60; round++) {
        const id = clerk.world.random.below(4);
        const handle = await clerk.acquire(id, 'exclusive', { timeoutMs: 20_000 });
        expect(users.get(id)).toBeUndefined();
        users.set(id, who);
        await clerk.world.timers.sleep(clerk.world.random.below(5));
        expect(handle.valid).toBe(true);
        users.delete(id);
        handle.release();
        await clerk.world.timers.sleep(clerk.world.random.below(5));
      }
    });
    await run(
      Promise.all(work).then(() => undefined),
      300_000,
    );
    cluster.sim.network.clearFaults();
  });

  test('recovery: a demon fences, recovers, and only then the lock passes on', async () => {
    await start(23);
    const steps: string[] = [];
    const onRecovery: ClerkOptions['onRecovery'] = async (task, progress) => {
      steps.push(`${task.dead} ${task.slot} ${task.state}`);
      if (task.attempt === 1 && steps.length === 1) throw new Error('fails the first time');
      expect(await progress.fenced(70)).toBeGreaterThan(0);
      await progress.recovered(80);
    };
    const options = { kind: 'fs', recovery: true, leaseMs: 2000, onRecovery };
    const { clerk: a, process } = await open(options);
    const { clerk: b } = await open(options);
    expect(new Set([a.slot, b.slot])).toEqual(new Set([0, 1]));
    await run(a.acquire(1, 'exclusive'));
    process.crash();
    const handle = await run(b.acquire(1, 'exclusive'), 20_000);
    expect(handle.valid).toBe(true);
    expect(steps).toEqual([`${a.token} ${a.slot} expired`, `${a.token} ${a.slot} expired`]);
    expect(b.clock).toBeGreaterThanOrEqual(80);
    expect(b.fenceEpoch).toBeGreaterThan(0);
    expect((await run(b.fences())).tokens).toContain(a.token);
  });
});

describe('planted faults break LOCK-1', () => {
  test.each(['noMargin', 'keepAfterLoss'])('%s: two clerks hold one lock', async (fault) => {
    await start(31);
    const { clerk: a, process } = await open({ leaseMs: 2000, faults: { [fault]: true } });
    const { clerk: b } = await open();
    const mine = await run(a.acquire(1, 'exclusive'));
    process.pause();
    const theirs = await run(b.acquire(1, 'exclusive'), 10_000);
    expect(mine.valid && theirs.valid).toBe(true);
    process.resume();
    await cluster.sim.runFor(5000);
    expect(mine.valid).toBe(fault === 'keepAfterLoss');
  });

  test('forgetClaim: a lock is given to another after its server died', async () => {
    await start(32);
    const { clerk: a } = await open({ faults: { forgetClaim: true } });
    const { clerk: b } = await open();
    const mine = await run(a.acquire(1, 'exclusive'));
    cluster.crash(a.core.groups.owner(mine.lock.group) ?? '');
    const theirs = await run(b.acquire(1, 'exclusive'), 10_000);
    expect(mine.valid && theirs.valid).toBe(true);
  });

  test('releaseBeforeFlush: another has the lock while its last owner still flushes', async () => {
    await start(33);
    const { clerk: a } = await open({ faults: { releaseBeforeFlush: true } });
    const { clerk: b } = await open();
    let flushing = false;
    a.table('t').onRevoke = async () => {
      flushing = true;
      await a.world.timers.sleep(100);
      flushing = false;
    };
    (await run(a.acquire(1, 'exclusive'))).release();
    await run(b.acquire(1, 'exclusive'));
    expect(flushing).toBe(true);
  });
});
