/** Range locks of clerks, with real lock servers in the simulated world. */
import { afterEach, expect, test } from 'vitest';
import type { SimProcess } from '#core/world/simulated/simulation.js';
import { rangeGroupOf } from '../protocol/lock-vectors.js';
import { CLUSTER, LockCluster } from '../server/cluster.test-helper.js';
import type { Clerk } from './clerk.js';
import { HeldRanges } from './held-ranges.js';
import { openClerk } from './open-clerk.js';
import type { RangeSet } from './range-client.js';

let cluster: LockCluster;
let clerks = 0;

async function start(seed: number): Promise<void> {
  clerks = 0;
  cluster = new LockCluster(seed);
  await cluster.start();
}

async function open(leaseMs = 10_000): Promise<{ clerk: Clerk; process: SimProcess }> {
  const process = cluster.sim.process(`c${++clerks}`);
  const world = process.start();
  const servers = cluster.members.map(({ address }) => address);
  const opening = openClerk({ servers, cluster: CLUSTER, world, table: 't', leaseMs });
  return { clerk: await cluster.sim.runPromise(opening, 20_000, 'open'), process };
}

const run = <T>(promise: Promise<T>, limitMs = 10_000): Promise<T> =>
  cluster.sim.runPromise(promise, limitMs);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );

function range(type: RangeSet['type'], from = 0, to = 100, more: Partial<RangeSet> = {}): RangeSet {
  const owner = { table: 't', id: 9, family: 'posix', owner: 'p' } as const;
  return { ...owner, type, start: BigInt(from), end: BigInt(to), ...more };
}

const ownerOfRanges = (clerk: Clerk): string =>
  clerk.core.groups.owner(rangeGroupOf(clerk.table('t').number)) ?? '';

afterEach(() => expect(cluster.failures).toEqual([]));

test('set, test, unlock between two clerks', async () => {
  await start(1);
  const { clerk: a } = await open();
  const { clerk: b } = await open();
  expect(await run(a.ranges.set(range('write', 0, 100, { pid: 77 })))).toEqual({
    granted: true,
    blocker: undefined,
  });
  const refused = await run(b.ranges.set(range('read', 50, 60)));
  expect(refused.granted).toBe(false);
  expect(refused.blocker).toMatchObject({ token: a.token, pid: 77, type: 'write', start: '0' });
  expect(await run(b.ranges.test(range('read', 100, 200)))).toBeUndefined();
  expect((await run(b.ranges.test(range('read', 99, 200))))?.pid).toBe(77);
  const waiting = b.ranges.set(range('read', 40, 60), { wait: true });
  await cluster.sim.runFor(45_000);
  await run(a.ranges.set(range('unlock', 30, 70)));
  expect((await run(waiting)).granted).toBe(true);
  expect((await run(b.ranges.set(range('write', 0, 10)))).granted).toBe(false);
  await run(a.ranges.releaseOwner(range('unlock')));
  expect((await run(b.ranges.set(range('write', 0, 10)))).granted).toBe(true);
});

test('a wait ends by its signal, and by a deadlock', async () => {
  await start(2);
  const { clerk: a } = await open();
  const { clerk: b } = await open();
  await run(a.ranges.set(range('write', 0, 10)));
  await run(b.ranges.set(range('write', 10, 20)));
  const controller = new AbortController();
  const waiting = codeOf(
    b.ranges.set(range('write', 0, 10), { wait: true, signal: controller.signal }),
  );
  await cluster.sim.runFor(100);
  expect(await run(codeOf(a.ranges.set(range('write', 10, 20), { wait: true })))).toBe('DEADLOCK');
  controller.abort();
  expect(await run(waiting)).toBe('CANCELLED');
  const second = a.ranges.set(range('write', 10, 20), { wait: true });
  await run(b.ranges.releaseOwner(range('unlock')));
  expect((await run(second)).granted).toBe(true);
});

test('ranges outlive the server that had them; who waits goes on waiting', async () => {
  await start(3);
  const { clerk: a } = await open();
  const { clerk: b } = await open();
  await run(a.ranges.set(range('write', 0, 100)));
  await run(a.ranges.set(range('unlock', 40, 60)));
  const waiting = b.ranges.set(range('write', 0, 10), { wait: true });
  for (let round = 0; round < 3; round++) {
    const victim = ownerOfRanges(a);
    cluster.crash(victim);
    await cluster.untilServed(2);
    expect((await run(b.ranges.set(range('write', 39, 41)))).granted).toBe(false);
    expect((await run(b.ranges.set(range('write', 59, 61)))).granted).toBe(false);
    expect((await run(b.ranges.set(range('write', 40, 60)))).granted).toBe(true);
    await run(b.ranges.set(range('unlock', 40, 60)));
    cluster.processes.get(victim)!.start();
    await cluster.untilServed(3);
  }
  await run(a.ranges.set(range('unlock')));
  expect((await run(waiting)).granted).toBe(true);
});

test('flock: the other type is asked for with nothing in hand', async () => {
  await start(4);
  const { clerk: a } = await open();
  const { clerk: b } = await open();
  const whole = (type: RangeSet['type']): RangeSet => {
    const { start: _start, end: _end, ...rest } = range(type, 0, 1, { family: 'flock' });
    return rest;
  };
  await run(a.ranges.set(whole('read')));
  await run(b.ranges.set(whole('read')));
  expect((await run(a.ranges.set(whole('write')))).granted).toBe(false);
  expect(a.ranges.owners).toBe(0);
  expect((await run(b.ranges.set(whole('write')))).granted).toBe(true);
});

test('bad input, and the end of the lease', async () => {
  await start(5);
  const { clerk: a, process } = await open(2000);
  const { clerk: b } = await open();
  for (const bad of [range('read', 5, 5), range('read', -1, 5), range('read', 0, 5, { id: -1 })]) {
    expect(await run(codeOf(a.ranges.set(bad)))).toBe('OUT_OF_RANGE');
  }
  const nowhere = range('read', 0, 5, { table: 'none' });
  expect(await run(codeOf(a.ranges.set(nowhere)))).toBe('UNKNOWN_TABLE');
  expect(await run(codeOf(a.ranges.set(range('read', 0, 5, { owner: '' }))))).toBe('OUT_OF_RANGE');
  await run(b.ranges.set(range('read', 0, 5)));
  await run(a.ranges.set(range('write', 50, 60)));
  const other = range('write', 0, 5, { owner: 'q' });
  const waiting = codeOf(a.ranges.set(other, { wait: true }));
  await cluster.sim.runFor(100);
  process.pause();
  expect((await run(b.ranges.set(range('write', 50, 60), { wait: true }))).granted).toBe(true);
  process.resume();
  expect(await run(waiting)).toBe('LEASE_LOST');
  expect(await run(codeOf(a.ranges.test(range('write', 0, 5))))).toBe('LEASE_LOST');
});

test('held ranges: a new one replaces what it covers', () => {
  const held = new HeldRanges();
  const who = { table: 1, idHigh: 0, idLow: 9, family: 'posix', owner: 'p' } as const;
  const shown = (): string[] => held.of(who).map((r) => `${r.start}-${r.end} ${r.type}`);
  held.set(who, 0n, 100n, 'read', 1);
  held.set(who, 40n, 60n, 'write', 1);
  expect(shown()).toEqual(['0-40 read', '40-60 write', '60-100 read']);
  held.set(who, 50n, 80n, 'unlock', 1);
  expect(shown()).toEqual(['0-40 read', '40-50 write', '80-100 read']);
  held.releaseOwner(who);
  expect(held.size).toBe(0);
});
