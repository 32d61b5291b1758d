/**
 * The lock service: three servers as processes, one clerk here and one in a process of its own, over loopback.
 *
 * | figure   | what is measured                                                                             |
 * |----------|----------------------------------------------------------------------------------------------|
 * | fresh    | acquire and release of a lock that nobody held, one after the other                           |
 * | sticky   | acquire and release of a lock that this clerk holds already, await included                   |
 * | rate     | fresh acquires of one server's locks, so many at a time on their way                          |
 * | passed   | acquire exclusively what the other process's clerk holds exclusively, unused                  |
 * | memory   | resident memory of one server, and its tables, with a million locks held                      |
 * | killed   | SIGKILL of a server under load: longest wait for locks that were its, and for all others       |
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { realWorld } from '#core/world/real/real-world.js';
import { openClerk, type Clerk } from '#lockservice/clerk/index.js';
import { groupOf } from '#lockservice/protocol/lock-vectors.js';
import { BENCH_CLUSTER, LockPeer, LockServerProcesses } from './lock-servers.js';
import { table } from './statistics.js';

const WARM_UP = 5000;

export interface Percentiles {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export interface KillFigures {
  readonly victim: 'follower' | 'leader';
  readonly acquires: number;
  /** Longest wait for a lock whose server was killed, and for one of another server. */
  readonly ownMaxMs: number;
  readonly othersMaxMs: number;
  /** 99.9% of the others wait no longer than this. */
  readonly othersP999Ms: number;
}

export interface LockFigures {
  readonly fresh: Percentiles;
  readonly sticky: Percentiles & { readonly meanUs: number };
  readonly cachedMeanUs: number;
  readonly freshPerSecond: number;
  readonly inFlight: number;
  readonly passed: Percentiles;
  readonly memory: {
    readonly locks: number;
    readonly serverBytes: number;
    readonly tableBytes: number;
    readonly clerkBytes: number;
  };
  readonly killed: KillFigures[];
}

export async function benchLocks(options: {
  acquires: number;
  inFlight: number;
  locks: number;
  kills: boolean;
}): Promise<LockFigures> {
  const world = realWorld({ log: 'error' });
  const servers = await LockServerProcesses.start(3);
  try {
    const clerk = await open(servers, options.locks);
    const peer = await LockPeer.start(servers.addresses);
    await servers.untilServed(world, 3);
    const ids = new Ids();
    await freshLatency(clerk, ids, WARM_UP);
    await peer.take(0);
    const fresh = await freshLatency(clerk, ids, options.acquires);
    const sticky = await stickyLatency(clerk, options.acquires * 20);
    const cachedMeanUs = cachedLatency(clerk, options.acquires * 20);
    const passed = await passLatency(clerk, peer, Math.min(options.acquires, 3000));
    const freshPerSecond = await freshRate(clerk, ids, 'lock-1', options);
    await clerk.close();
    await peer.stop();
    const memory = await memoryOf(servers, options.locks);
    const killed: KillFigures[] = [];
    if (options.kills) {
      for (const victim of ['follower', 'leader'] as const) {
        killed.push(await killOne(servers, victim));
      }
    }
    const { inFlight } = options;
    const figures = {
      fresh,
      sticky,
      cachedMeanUs,
      freshPerSecond,
      inFlight,
      passed,
      memory,
      killed,
    };
    print(figures);
    return figures;
  } finally {
    await servers.stop();
  }
}

function open(servers: LockServerProcesses, locksMax = 1_000_000): Promise<Clerk> {
  return openClerk({
    servers: servers.addresses,
    cluster: BENCH_CLUSTER,
    table: 'bench',
    locksMax: locksMax + 1000,
  });
}

/** Lock ids that were never used before; with a server's name, of groups that it owns. */
class Ids {
  #last = 1_000_000;

  next(): number {
    return ++this.#last;
  }

  nextOf(clerk: Clerk, server: string): number {
    for (;;) {
      const id = ++this.#last;
      const group = groupOf(clerk.table('bench').number, 0, id);
      if (clerk.core.groups.owner(group) === server) return id;
    }
  }
}

async function freshLatency(clerk: Clerk, ids: Ids, count: number): Promise<Percentiles> {
  const us = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const id = ids.next();
    const start = performance.now();
    const lock = await clerk.acquire(id, 'exclusive');
    lock.release();
    us[i] = (performance.now() - start) * 1000;
  }
  return percentiles(us);
}

async function stickyLatency(
  clerk: Clerk,
  count: number,
): Promise<Percentiles & { meanUs: number }> {
  for (let i = 0; i < count; i++) (await clerk.acquire(1, 'exclusive')).release();
  const us = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const lock = await clerk.acquire(1, 'exclusive');
    lock.release();
    us[i] = (performance.now() - start) * 1000;
  }
  const start = performance.now();
  for (let i = 0; i < count; i++) (await clerk.acquire(1, 'exclusive')).release();
  const meanUs = ((performance.now() - start) * 1000) / count;
  return { ...percentiles(us), meanUs };
}

function cachedLatency(clerk: Clerk, count: number): number {
  for (let i = 0; i < count; i++) clerk.tryAcquireCached(1, 'exclusive')?.release();
  const start = performance.now();
  for (let i = 0; i < count; i++) clerk.tryAcquireCached(1, 'exclusive')?.release();
  return ((performance.now() - start) * 1000) / count;
}

async function passLatency(clerk: Clerk, peer: LockPeer, count: number): Promise<Percentiles> {
  const us = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    await peer.take(2);
    const start = performance.now();
    const lock = await clerk.acquire(2, 'exclusive');
    us[i] = (performance.now() - start) * 1000;
    lock.release();
  }
  return percentiles(us);
}

/** Keeps `inFlight` acquires on their way; counts those of the second half. */
async function freshRate(
  clerk: Clerk,
  ids: Ids,
  server: string,
  options: { inFlight: number; locks: number },
): Promise<number> {
  const total = Math.min(options.locks, 400_000);
  const todo = Array.from({ length: total }, () => ids.nextOf(clerk, server));
  let next = 0;
  let done = 0;
  let halfAtMs = 0;
  const work = async (): Promise<void> => {
    while (next < total) {
      const lock = await clerk.acquire(todo[next++] as number, 'exclusive');
      lock.release();
      if (++done === total >> 1) halfAtMs = performance.now();
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, work));
  return ((total - (total >> 1)) * 1000) / (performance.now() - halfAtMs);
}

async function memoryOf(
  servers: LockServerProcesses,
  locks: number,
): Promise<LockFigures['memory']> {
  const world = realWorld({ log: 'error' });
  const clerk = await open(servers, locks);
  const ids = new Ids();
  const server = 'lock-2';
  const before = servers.residentBytes(server);
  const heapBefore = heapBytes();
  let left = locks;
  while (left > 0) {
    const batch = Math.min(left, 2000);
    const acquires = Array.from({ length: batch }, () =>
      clerk.acquire(ids.nextOf(clerk, server), 'exclusive'),
    );
    for (const lock of await Promise.all(acquires)) lock.release();
    left -= batch;
  }
  const clerkBytes = heapBytes() - heapBefore;
  const status = await servers.status(world, server);
  const serverBytes = servers.residentBytes(server);
  await clerk.close();
  process.stderr.write(`memory of the server before: ${(before / 1e6).toFixed(0)} MB\n`);
  return { locks: status.locks, serverBytes, tableBytes: status.lockBytes, clerkBytes };
}

/** After a full collection. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

const LOAD_EVERY_MS = 5;
const LOAD_BATCH = 10;

/** 2000 fresh acquires a second, in all groups; after two seconds one server is killed. */
async function killOne(
  servers: LockServerProcesses,
  victim: 'follower' | 'leader',
): Promise<KillFigures> {
  const world = realWorld({ log: 'error' });
  await servers.untilServed(world, 3);
  const clerk = await open(servers);
  const ids = new Ids();
  const states = await Promise.all(servers.members.map(({ id }) => servers.status(world, id)));
  const target = states.find(({ state }) => state === victim)?.id ?? '';
  const own: number[] = [];
  const others: number[] = [];
  const running: Promise<void>[] = [];
  const one = async (): Promise<void> => {
    const id = ids.next();
    const owner = clerk.core.groups.owner(groupOf(clerk.table('bench').number, 0, id));
    const start = performance.now();
    (await clerk.acquire(id, 'exclusive')).release();
    const list = owner === target || owner === null ? own : others;
    list.push(performance.now() - start);
  };
  const start = performance.now();
  let killed = false;
  while (performance.now() - start < 12_000) {
    for (let i = 0; i < LOAD_BATCH; i++) running.push(one());
    if (!killed && performance.now() - start > 2000) {
      servers.kill(target);
      killed = true;
    }
    await world.timers.sleep(LOAD_EVERY_MS);
  }
  await Promise.all(running);
  await clerk.close();
  await servers.startOne(target);
  await servers.untilServed(world, 3);
  others.sort((a, b) => a - b);
  return {
    victim,
    acquires: own.length + others.length,
    ownMaxMs: own.reduce((most, ms) => Math.max(most, ms), 0),
    othersMaxMs: others.at(-1) ?? Number.NaN,
    othersP999Ms: others[Math.floor(others.length * 0.999)] ?? Number.NaN,
  };
}

function percentiles(us: Float64Array): Percentiles {
  const sorted = us.toSorted();
  const at = (part: number): number => sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN;
  return { p50Us: at(0.5), p99Us: at(0.99), maxUs: at(1) };
}

function print(figures: LockFigures): void {
  const { fresh, sticky, passed, memory } = figures;
  const latency = (name: string, { p50Us, p99Us, maxUs }: Percentiles): (string | number)[] => [
    name,
    p50Us,
    p99Us,
    maxUs,
  ];
  const lines = [
    table(
      ['us', 'p50', 'p99', 'max'],
      [
        latency('fresh acquire + release', fresh),
        latency('sticky acquire + release', sticky),
        latency('exclusive lock passed between two clerks', passed),
      ],
    ),
    table(
      ['', ''],
      [
        ['sticky acquire + release, mean us', sticky.meanUs],
        ['the same, tryAcquireCached, mean us', figures.cachedMeanUs],
        [`fresh acquires/s of one server, ${figures.inFlight} in flight`, figures.freshPerSecond],
        ['locks held for the memory', memory.locks],
        ['resident memory of their server, MB', memory.serverBytes / 1e6],
        ['of that its tables, bytes a lock', memory.tableBytes / memory.locks],
        ['heap of the clerk, bytes a lock', memory.clerkBytes / memory.locks],
      ],
    ),
    table(
      ['killed', 'acquires', 'longest wait of its locks, ms', 'of other locks, ms', 'p99.9'],
      figures.killed.map((one) => [
        one.victim,
        one.acquires,
        one.ownMaxMs,
        one.othersMaxMs,
        one.othersP999Ms,
      ]),
    ),
  ];
  process.stdout.write(`${lines.join('\n\n')}\n`);
}
