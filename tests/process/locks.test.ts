/**
 * Real lock servers and clerks as processes, with real signals and cut connections: what they saw is linearizable, no two
 * believed to hold conflicting locks, and bad input is an error of its sender alone.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import { realWorld } from '#core/world/real/real-world.js';
import { openClerk, type Clerk, type LockHandle } from '#lockservice/clerk/index.js';
import * as codec from '#lockservice/protocol/control-codec.js';
import { VectorWriter, groupOf } from '#lockservice/protocol/lock-vectors.js';
import {
  MessageType,
  PROTOCOL_VERSION,
  type LockServerStatus,
} from '#lockservice/protocol/messages.js';
import { checkLinearizable, explain, type Verdict } from '../linearizability/checker.js';
import { History, type Pending } from '../linearizability/history.js';
import { lockModel, overlap, type Interval, type LockOperation } from '../linearizability/locks.js';
import {
  registerModel,
  type RegisterInput,
  type RegisterOutput,
} from '../linearizability/register.js';
import { nodeModel, type NodeInput, type NodeOutput } from '../linearizability/versioned.js';
import { DroppingProxy } from './dropping-proxy.js';
import type { ClerkConfig, ClerkReport, StoreAnswer } from './lock-clerk.js';

const SERVER = new URL('../../dist/lockservice/server.js', import.meta.url).pathname;
const CLERK = new URL('../../dist/tests/process/lock-clerk.js', import.meta.url).pathname;
const CLUSTER = 'locks-test';
const SERVER_LEASE_MS = 2000;
const IDS = ['lock-1', 'lock-2', 'lock-3'];

const sleep = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));
const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  for (const endMs = nowMs() + 30_000; !(await condition()); await sleep(50)) {
    if (nowMs() > endMs) throw new Error(`not within 30 s: ${what}`);
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** Three lock servers; each hears the others, and clerks hear it, through proxies. */
class LockProcesses {
  readonly folder = mkdtempSync(join(tmpdir(), 'sextant-locks-'));
  readonly servers: (ChildProcess | undefined)[] = [undefined, undefined, undefined];
  /** From one server to another. */
  readonly #between = new Map<string, DroppingProxy>();
  readonly #toClerks: DroppingProxy[] = [];
  readonly #ports: number[] = [];

  async start(): Promise<void> {
    for (const id of IDS) {
      const port = await freePort();
      this.#ports.push(port);
      this.#toClerks.push(await DroppingProxy.listen(port));
      for (const from of IDS) {
        if (from !== id) this.#between.set(`${from}>${id}`, await DroppingProxy.listen(port));
      }
    }
    IDS.forEach((_, i) => this.run(i));
    await until('three lock servers serve all groups', () => this.isWhole());
  }

  get addresses(): string[] {
    return this.#toClerks.map(({ address }) => address);
  }

  configOf(index: number): Record<string, unknown> {
    const self = IDS[index] as string;
    const members = IDS.map((id, i) => {
      const proxy = id === self ? this.#toClerks[i] : this.#between.get(`${self}>${id}`);
      return { id, address: proxy?.address };
    });
    return {
      cluster: CLUSTER,
      id: self,
      listen: `127.0.0.1:${this.#ports[index]}`,
      dataFolder: join(this.folder, self),
      members,
      serverLeaseMs: SERVER_LEASE_MS,
      generation: 1,
      exitWithStdin: true,
      logLevel: 'silent',
    };
  }

  run(index: number): void {
    const args = [SERVER, JSON.stringify(this.configOf(index))];
    this.servers[index] = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  }

  kill(index: number): void {
    this.servers[index]?.kill('SIGKILL');
  }

  signal(index: number, name: NodeJS.Signals): void {
    this.servers[index]?.kill(name);
  }

  cutFromServers(index: number): () => void {
    const self = IDS[index] as string;
    const cut = [...this.#between].filter(([key]) => key.split('>').includes(self));
    for (const [, proxy] of cut) proxy.cut();
    return () => {
      for (const [i, [, proxy]] of cut.entries()) proxy.heal(i % 2 === 0);
    };
  }

  cutFromClerks(index: number): () => void {
    const proxy = this.#toClerks[index];
    proxy?.cut();
    return () => proxy?.heal(true);
  }

  /** By a connection of its own; undefined when it does not answer. */
  async status(index: number): Promise<LockServerStatus | undefined> {
    const client = toolOf(`127.0.0.1:${this.#ports[index]}`);
    try {
      const answer = await client.call(MessageType.status, codec.EMPTY_JSON, { timeoutMs: 1000 });
      return codec.lockServerStatus.decode(answer);
    } catch {
      return undefined;
    } finally {
      client.close();
    }
  }

  async isWhole(): Promise<boolean> {
    const all = await Promise.all(IDS.map((_, i) => this.status(i)));
    const groups = all.map((one) => (one?.rebuilding === 0 ? one.groups : 0));
    return groups.reduce((a, b) => a + b, 0) === 100 && groups.every((count) => count >= 33);
  }

  async leader(): Promise<number> {
    for (const [i] of IDS.entries()) {
      const status = await this.status(i);
      if (status?.state === 'leader') return i;
    }
    throw new Error('no leader');
  }

  stop(): void {
    for (const server of this.servers) {
      server?.kill('SIGCONT');
      server?.kill('SIGKILL');
    }
    for (const proxy of [...this.#between.values(), ...this.#toClerks]) proxy.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const world = realWorld({ log: 'silent' });

function toolOf(address: string, role: 'tool' | 'clerk' = 'tool', token?: number): RpcClient {
  return new RpcClient(world, address, {
    hello: () => ({
      type: MessageType.hello,
      body: codec.helloRequest.encode({
        protocol: PROTOCOL_VERSION,
        cluster: CLUSTER,
        role,
        ...(token !== undefined && { token }),
      }),
    }),
  });
}

/** Blocks, fences, and everything that clerk processes tell. */
class Observer {
  readonly blocks = new History<RegisterInput, RegisterOutput>(nowMs);
  readonly nodes = new History<NodeInput, NodeOutput>(nowMs);
  readonly locks: LockOperation[] = [];
  readonly intervals: Interval[] = [];
  readonly wrong: string[] = [];
  readonly tokens: number[] = [];
  readonly #stored = new Map<string, { clock: number; token: number; value: number }>();
  readonly #fenced = new Set<number>();
  readonly #asked = new Map<string, Pending<NodeOutput>>();
  readonly #held = new Map<string, Interval>();
  #values = 0;

  /** What is answered to a question. */
  heard(report: ClerkReport): StoreAnswer | undefined {
    switch (report.t) {
      case 'opened':
        this.tokens.push(report.token);
        return undefined;
      case 'took': {
        const { hold, client, key, mode, callMs, fromMs } = report;
        this.#held.set(hold, { client: hold, key, mode, fromMs, toMs: fromMs });
        const input = { op: 'acquire', mode } as const;
        const done = { output: { done: true }, callMs, endMs: fromMs };
        this.locks.push({ client: hold, key, input, ...done });
        void client;
        return undefined;
      }
      case 'holds': {
        const held = this.#held.get(report.hold);
        if (held !== undefined) this.#held.set(report.hold, { ...held, toMs: report.atMs });
        return undefined;
      }
      case 'gave': {
        const held = this.#held.get(report.hold) as Interval;
        this.#held.delete(report.hold);
        this.intervals.push(held);
        const { client, key, mode, toMs: callMs } = held;
        const input = { op: 'release', mode } as const;
        const { endMs } = report;
        this.locks.push({ client, key, input, output: { done: true }, callMs, endMs });
        return undefined;
      }
      case 'read':
        return this.#read(report);
      case 'write':
        return this.#write(report);
      case 'fence':
        this.#fenced.add(report.token);
        return {
          n: report.n,
          clock: Math.max(0, ...[...this.#stored.values()].map((b) => b.clock)),
        };
      case 'ask': {
        const { op, client, path, input, callMs } = report;
        this.#asked.set(op, this.nodes.begin(client, path, input, callMs));
        return undefined;
      }
      case 'told':
        this.#asked.get(report.op)?.answered(report.output);
        return undefined;
      case 'wrong':
        this.wrong.push(report.what);
        return undefined;
    }
  }

  #read({ n, token, key }: Extract<ClerkReport, { t: 'read' }>): StoreAnswer {
    if (this.#fenced.has(token)) return { n, result: 'fenced' };
    return { n, value: this.#stored.get(key)?.value ?? null };
  }

  #write(report: Extract<ClerkReport, { t: 'write' }>): StoreAnswer {
    const { n, client, token, clock, key, expected, callMs } = report;
    if (this.#fenced.has(token)) return { n, result: 'fenced' };
    const old = this.#stored.get(key) ?? { clock: 0, token: 0 };
    if (clock < old.clock || (clock === old.clock && token <= old.token)) {
      return { n, result: 'superseded' };
    }
    const value = ++this.#values;
    this.#stored.set(key, { clock, token, value });
    this.blocks
      .begin(client, key, { op: 'cas', expected, value }, callMs)
      .answered({ swapped: true });
    return { n, result: 'stored' };
  }

  /** What was not given back: its holder died, or lost its lease. */
  end(): void {
    for (const held of this.#held.values()) {
      this.intervals.push(held);
      const { client, key, toMs: callMs } = held;
      const times = { callMs, endMs: Infinity };
      this.locks.push({ client, key, input: { op: 'lapse' }, output: undefined, ...times });
    }
    this.#held.clear();
  }
}

/** A clerk process that is started again when it dies. */
class ClerkProcess {
  readonly #config: ClerkConfig;
  readonly #observer: Observer;
  #child: ChildProcess | undefined;
  #stopped = false;
  /** Blocks that it changed. */
  locks = 0;

  constructor(config: ClerkConfig, observer: Observer) {
    this.#config = config;
    this.#observer = observer;
    this.#start();
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** It closes its clerk: nothing is left to recover. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGCONT');
    child.send('stop', () => undefined);
    await Promise.race([gone, sleep(10_000)]);
    child.kill('SIGKILL');
  }

  #start(): void {
    const child = fork(CLERK, [JSON.stringify(this.#config)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
    });
    this.#child = child;
    child.on('message', (report: ClerkReport) => {
      if (report.t === 'took') this.locks++;
      const answer = this.#observer.heard(report);
      if (answer !== undefined && child.connected) child.send(answer, () => undefined);
    });
    child.on('exit', () => {
      if (!this.#stopped) this.#start();
    });
  }
}

function expectLinearizable<Input, Output>(verdict: Verdict<Input, Output>): void {
  expect(verdict.verdict, explain(verdict)).toBe('linearizable');
}

const locks = new LockProcesses();
beforeAll(() => locks.start(), 60_000);
afterAll(() => locks.stop());

/** Recovers what dead clerk processes left, so that nothing waits for them. */
async function recoverAll(): Promise<void> {
  const demon = await openClerk({
    cluster: CLUSTER,
    servers: locks.addresses,
    kind: 'fs',
    recovery: true,
    world,
    onRecovery: async ({ state }, steps) => {
      if (state === 'expired') await steps.fenced(0);
      await steps.recovered(0);
    },
  });
  await until('all dead clerks are recovered', async () => {
    const status = await locks.status(await locks.leader().catch(() => 0));
    return status?.clerks.length === 1;
  });
  await demon.close();
}

describe('histories of clerk processes', () => {
  afterAll(recoverAll, 60_000);

  it('are linearizable under SIGKILL, SIGSTOP and partitions', async () => {
    const observer = new Observer();
    const common = {
      cluster: CLUSTER,
      servers: locks.addresses,
      leaseMs: 1500,
      workers: 2,
      ids: 3,
    };
    const clerks = ['a', 'b', 'c'].map((name) => new ClerkProcess({ ...common, name }, observer));
    const all = (): number => clerks.reduce((sum, one) => sum + one.locks, 0);
    const progress = async (what: string): Promise<void> => {
      const before = clerks.map((one) => one.locks);
      await until(what, () => clerks.every((one, i) => one.locks > (before[i] ?? 0) + 3));
    };
    try {
      await progress('first locks');
      locks.kill(await locks.leader());
      clerks[0]?.signal('SIGSTOP');
      await sleep(2500);
      clerks[0]?.signal('SIGCONT');
      for (const [i, server] of locks.servers.entries()) if (server?.killed === true) locks.run(i);
      clerks[1]?.signal('SIGKILL');
      await progress('locks after a leader and a clerk were killed');
      const healServers = locks.cutFromServers(await locks.leader());
      await sleep(2500);
      healServers();
      const healClerks = locks.cutFromClerks(2);
      await sleep(2500);
      healClerks();
      await progress('locks after partitions');
      locks.signal(1, 'SIGSTOP');
      clerks[2]?.signal('SIGKILL');
      await sleep(3000);
      locks.signal(1, 'SIGCONT');
      await progress('locks after a server stood still');
      expect(all()).toBeGreaterThan(100);
    } finally {
      await Promise.all(clerks.map((clerk) => clerk.stop()));
    }
    observer.end();
    expect(observer.wrong).toEqual([]);
    expect(new Set(observer.tokens).size).toBe(observer.tokens.length);
    expect(overlap(observer.intervals)).toBeUndefined();
    expectLinearizable(checkLinearizable(lockModel, observer.locks));
    expectLinearizable(checkLinearizable(registerModel, observer.blocks.all()));
    const nodes = observer.nodes.all();
    expectLinearizable(checkLinearizable(nodeModel, nodes, { fifo: ({ op }) => op !== 'get' }));
    expect(observer.blocks.all().length).toBeGreaterThan(50);
    expect(observer.nodes.all().length).toBeGreaterThan(20);
  }, 120_000);
});

describe('one of three lock servers is killed', () => {
  it('no grant waits longer than its lease + 2 s, those of other servers do not wait', async () => {
    const clerk = await openClerk({
      cluster: CLUSTER,
      servers: locks.addresses,
      table: 'killed',
      world,
    });
    const leader = await locks.leader();
    const victim = (leader + 1) % 3;
    const ownerOf = await owners(victim === 0 ? 1 : 0);
    const table = clerk.table('killed').number;
    const slow: number[] = [];
    const others: number[] = [];
    const killedMs = nowMs();
    locks.kill(victim);
    for (let id = 1; nowMs() < killedMs + SERVER_LEASE_MS + 3000; id++) {
      const startMs = nowMs();
      const list = ownerOf(groupOf(table, 0, id)) === IDS[victim] ? slow : others;
      void clerk.acquire(id, 'exclusive').then((handle) => {
        list.push(nowMs() - startMs);
        handle.release();
      });
      await sleep(10);
    }
    const asked = (): number => clerk.stats.waiting;
    await until('all locks', () => asked() === 0);
    expect(slow.length).toBeGreaterThan(20);
    expect(Math.max(...slow)).toBeLessThan(SERVER_LEASE_MS + 2000);
    expect(others.length).toBeGreaterThan(50);
    // The bound is for a loaded machine: they take a fraction of a millisecond. Who waits for the lease waits for all of it.
    expect(Math.max(...others)).toBeLessThan(SERVER_LEASE_MS / 2);
    await clerk.close();
    locks.run(victim);
    await until('three lock servers again', () => locks.isWhole());
  }, 60_000);
});

/** Who serves which group now, as a server has it. */
async function owners(server: number): Promise<(group: number) => string | null> {
  const client = toolOf(locks.addresses[server] as string);
  const map = codec.groupMap.decode(await client.call(MessageType.groups, codec.EMPTY_JSON));
  client.close();
  return (group) => map.groups[group]?.owner ?? null;
}

describe('bad input is an error of its sender alone', () => {
  let witness: Clerk;
  let held: LockHandle;
  beforeAll(async () => {
    witness = await openClerk({ cluster: CLUSTER, servers: locks.addresses, table: 'bad', world });
    held = await witness.acquire(1, 'exclusive');
  });
  afterEach(async () => {
    expect(held.valid).toBe(true);
    const id = Math.floor(nowMs());
    (await witness.acquire(id, 'exclusive', { timeoutMs: 5000 })).release();
  });
  afterAll(() => witness.close());

  const leaderAddress = async (): Promise<string> =>
    locks.addresses[await locks.leader()] as string;
  const refusal = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'nothing',
      (error: unknown) => (isSextantError(error) ? error.code : String(error)),
    );

  it('an unknown table', async () => {
    const tables = [{ name: 'nowhere', create: false }];
    const opening = openClerk({ cluster: CLUSTER, servers: locks.addresses, tables, world });
    expect(await refusal(opening)).toBe('UNKNOWN_TABLE');
    expect(await refusal(witness.openTable('nowhere'))).toBe('UNKNOWN_TABLE');
  });

  it.each([0, -1000, 1.5, 2 ** 40])('a lease of %d ms', async (leaseMs) => {
    const opening = openClerk({ cluster: CLUSTER, servers: locks.addresses, leaseMs, world });
    expect(await refusal(opening)).toBe('OUT_OF_RANGE');
    const client = toolOf(await leaderAddress(), 'clerk');
    const request = { name: 'x', kind: 'x', recovery: false, leaseMs, tables: [], nonce: 'x' };
    const body = new TextEncoder().encode(JSON.stringify(request));
    expect(await refusal(client.call(MessageType.openClerk, body))).toBe('OUT_OF_RANGE');
    client.close();
  });

  it('a token that is over, and one that never was', async () => {
    const clerk = await openClerk({ cluster: CLUSTER, servers: locks.addresses, world });
    const { token } = clerk;
    await clerk.close();
    const address = await leaderAddress();
    for (const stale of [token, token + 1_000_000]) {
      const client = toolOf(address, 'clerk');
      const body = codec.renewRequest.encode({ token: stale, clock: 0 });
      expect(await refusal(client.call(MessageType.renew, body))).toBe('FENCED');
      client.close();
    }
    const client = toolOf(address, 'clerk', token);
    await until('the connection is refused', () => isSextantError(client.lastError, 'FENCED'));
    client.close();
  });

  it('bytes that are no frames', async () => {
    const [host, port] = (await leaderAddress()).split(':');
    const socket = net.connect(Number(port), host);
    const closed = new Promise((done) => socket.once('close', done));
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(64, 0xff));
    await closed;
  });

  it('messages that make no sense', async () => {
    const client = toolOf(await leaderAddress(), 'clerk', witness.token + 5);
    for (const type of [MessageType.renew, MessageType.openClerk, MessageType.range, 99]) {
      const text = new TextEncoder().encode('{"token":');
      expect(await refusal(client.call(type, text, { timeoutMs: 5000 }))).toBe('PROTOCOL');
    }
    client.push(MessageType.request, new Uint8Array(7));
    client.close();
  });

  it('a clerk that claims a lock which it was never granted', async () => {
    const liar = await openClerk({
      cluster: CLUSTER,
      servers: locks.addresses,
      table: 'bad',
      world,
    });
    const table = liar.table('bad').number;
    const group = groupOf(table, 0, 1);
    const writer = new VectorWriter(MessageType.claim);
    writer.addClaim({ table, idHigh: 0, idLow: 1, aspect: 0, level: 2, grant: 2 ** 32 + 1 });
    for (const [epoch, address] of [1, 2, 3].flatMap((n) =>
      locks.addresses.map((a) => [n, a] as const),
    )) {
      const header = { token: liar.token, group, epoch, clock: 0, attempt: 0, part: 0, last: true };
      const claim = writer.finishClaim(header).slice();
      // One connection a token: the clerk's own comes back and ends this one, perhaps before it has spoken.
      for (let pushed = false; !pushed;) {
        const client = toolOf(address, 'clerk', liar.token);
        pushed = await client.call(MessageType.groups, codec.EMPTY_JSON).then(
          () => client.push(MessageType.claim, claim),
          (error: unknown) => {
            if (isSextantError(error, 'DISCONNECTED')) return false;
            throw error;
          },
        );
        client.close();
      }
    }
    const taking = liar.acquire(1, 'exclusive', { noWait: true, timeoutMs: 5000 });
    expect(await refusal(taking)).toMatch(/CONFLICT|TIMEOUT/);
    await liar.close();
  });

  it('a second server on the same folder', async () => {
    const config = { ...locks.configOf(0), listen: '127.0.0.1:0', exitWithStdin: false };
    const second = spawn(process.execPath, [SERVER, JSON.stringify(config)]);
    let stderr = '';
    second.stderr.on('data', (text) => (stderr += text));
    const code = await new Promise((done) => second.once('exit', done));
    expect(code).toBe(1);
    expect(stderr).toContain('FOLDER_LOCKED');
  });
});
