import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import * as codec from '../protocol/control-codec.js';
import { LockItem, rangeGroupOf } from '../protocol/lock-vectors.js';
import { Level, MessageType, RefuseCode } from '../protocol/messages.js';
import type * as M from '../protocol/messages.js';
import { CLUSTER, LockCluster } from './cluster.test-helper.js';
import { LockServer } from './lock-server.js';

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return isSextantError(error) ? error.code : String(error);
  }
  return 'nothing';
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('not there');
  return value;
}

describe('three lock servers', () => {
  it('elect a leader, share the groups and grant locks', async () => {
    const cluster = new LockCluster(1);
    await cluster.start();
    const clerk = cluster.clerk();
    const opened = await clerk.open();
    expect(opened).toMatchObject({ token: 2 ** 32 + 1, leaseMs: 10_000, slot: -1 });
    expect(opened.tables).toEqual([{ name: 't', table: 1 }]);
    const counts = new Map<string | null, number>();
    for (const { owner } of opened.map.groups) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    expect([...counts.values()].toSorted((a, b) => a - b)).toEqual([33, 33, 34]);
    for (let id = 0; id < 20; id++) {
      const { item } = await clerk.acquire(id, Level.exclusive);
      expect(item.level).toBe(Level.exclusive);
    }
  });

  it('pass a lock on, with the clock of who had it', async () => {
    const cluster = new LockCluster(2);
    await cluster.start();
    const [a, b] = [cluster.clerk(), cluster.clerk()];
    await a.open();
    await b.open();
    const { item } = await a.acquire(7, Level.exclusive);
    const request = await b.request(7, Level.exclusive);
    await cluster.sim.runUntil(() => a.revokes.length > 0, 1000, 'revoke');
    expect(must(a.revokes[0])).toMatchObject({ grant: item.grant, level: Level.none });
    await a.release(item, 55);
    await cluster.sim.runUntil(() => b.grants.length > 0, 1000, 'grant');
    expect(must(b.grants[0]).item.request).toBe(request);
    expect(must(b.grants[0]).clock).toBe(55);
  });

  it('let a lease end that is not renewed, and free the locks of a clerk without recovery', async () => {
    const cluster = new LockCluster(3);
    await cluster.start();
    const [a, b] = [cluster.clerk(), cluster.clerk()];
    await a.open({ leaseMs: 1000 });
    await b.open();
    await a.acquire(7, Level.exclusive);
    for (let i = 0; i < 4; i++) {
      await cluster.sim.runFor(500);
      expect(await a.renew()).toMatchObject({ leaseMs: 1000, recoveries: [] });
    }
    await b.request(7, Level.exclusive);
    await cluster.sim.runFor(800);
    expect(b.grants).toEqual([]);
    await cluster.sim.runUntil(() => b.grants.length > 0, 1000, 'grant');
    expect(await codeOf(a.renew())).toBe('FENCED');
  });

  it('count the lease of a clerk from its last OPEN, when the answer to the first was lost', async () => {
    const cluster = new LockCluster(31);
    await cluster.start();
    const [a, b] = [cluster.clerk(), cluster.clerk()];
    const { token } = await a.open({ leaseMs: 1000, nonce: 'once' });
    await b.open();
    await a.acquire(7, Level.exclusive);
    await b.request(7, Level.exclusive);
    await cluster.sim.runFor(900);
    expect((await a.open({ leaseMs: 1000, nonce: 'once' })).token).toBe(token);
    await cluster.sim.runFor(950);
    expect(b.grants).toEqual([]);
    await cluster.sim.runUntil(() => b.grants.length > 0, 1000, 'grant');
  });

  it('open no clerk anew that is expelled', async () => {
    const cluster = new LockCluster(32);
    await cluster.start();
    const a = cluster.clerk();
    const { token } = await a.open({ nonce: 'once' });
    must(cluster.leader).leader.expel({ server: 'lock-1', token, why: 'a test' });
    expect(await codeOf(a.open({ nonce: 'once' }))).toBe('FENCED');
  });

  it('count the lease of a new lock server from its last beat, when its first is still on its way', async () => {
    const serverLeaseMs = 2000;
    const cluster = new LockCluster(33, { serverLeaseMs });
    await cluster.start();
    const leads = must(cluster.leader);
    const id = must(cluster.members.find((member) => member.id !== leads.options.id)).id;
    cluster.crash(id);
    cluster.sim.network.faults('*', '*', { delayMs: 100 });
    const beat = { server: id, address: `${id}:1`, incarnation: 'anew' };
    const first = leads.leader.serverBeat(beat);
    // Its readIndex and its entry take a round each; the second beat comes before the entry is applied.
    await cluster.sim.runFor(250);
    const { clock } = leads.world;
    const sentMs = clock.monotonicMs();
    const second = leads.leader.serverBeat(beat);
    await cluster.sim.runPromise(Promise.all([first, second]), 2000);
    const endsMs =
      clock.monotonicMs() + must(leads.leader.serverLeases.leftMs(id, clock.monotonicMs()));
    expect(endsMs).toBeGreaterThanOrEqual(sentMs + serverLeaseMs);
  });

  it('keep the locks of a dead clerk with recovery until its demon is done', async () => {
    const cluster = new LockCluster(4);
    await cluster.start();
    const [a, b] = [cluster.clerk(), cluster.clerk()];
    const { token: dead } = await a.open({ leaseMs: 1000, recovery: true });
    const { token: demon } = await b.open({ recovery: true });
    await a.acquire(7, Level.exclusive);
    await b.request(7, Level.exclusive);
    await cluster.sim.runFor(2000);
    expect(b.grants).toEqual([]);
    const [task] = (await b.renew()).recoveries;
    expect(task).toMatchObject({ dead, slot: 0, attempt: 1, state: 'expired' });
    for (const step of ['fenced', 'recovered'] as const) {
      const body = codec.recoveryStepRequest.encode({ demon, dead, attempt: 1, step, clock: 900 });
      const answer = await b.leaderCall(MessageType.recoveryStep, body);
      expect(codec.recoveryStepAnswer.decode(answer)).toEqual({ fenceEpoch: 1 });
    }
    await cluster.sim.runUntil(() => b.grants.length > 0, 1000, 'grant');
    expect(must(b.grants[0])).toMatchObject({ clock: 900, fenceEpoch: 1 });
    const list = codec.fenceList.decode(await b.leaderCall(MessageType.fences, codec.EMPTY_JSON));
    expect(list).toEqual({ fenceEpoch: 1, tokens: [dead] });
  });

  it('rebuild the locks of a server that died from the clerks', async () => {
    const cluster = new LockCluster(5, {});
    await cluster.start();
    const [a, b] = [cluster.clerk(), cluster.clerk()];
    await a.open();
    await b.open();
    const { item } = await a.acquire(7, Level.exclusive);
    const { owner, group, epoch } = a.ownerOf(7);
    cluster.crash(owner);
    await cluster.untilServed(2);
    const now = a.ownerOf(7);
    expect(now.epoch).toBeGreaterThan(epoch);
    a.client(now.owner);
    b.client(now.owner);
    await b.request(7, Level.exclusive);
    const asked = (): boolean =>
      a.rebuilds.some((one) => one.groups.some((entry) => entry.group === group));
    await cluster.sim.runUntil(asked, 2000, 'rebuild');
    await cluster.sim.runFor(500);
    expect(b.grants).toEqual([]);
    await a.claim(group, now.epoch, [item], 70);
    await b.claim(group, now.epoch, []);
    await cluster.sim.runUntil(() => a.revokes.length > 0, 2000, 'revoke');
    expect(must(a.revokes[0]).grant).toBe(item.grant);
    item.epoch = now.epoch;
    await a.release(item, 71);
    await cluster.sim.runUntil(() => b.grants.length > 0, 2000, 'grant');
    expect(must(b.grants[0]).clock).toBe(71);
  });

  it('expel a clerk that claims what another holds, and nobody else notices', async () => {
    const cluster = new LockCluster(6);
    await cluster.start();
    const [a, b, c] = [cluster.clerk(), cluster.clerk(), cluster.clerk()];
    for (const clerk of [a, b, c]) await clerk.open({ leaseMs: 6000 });
    const { item } = await a.acquire(7, Level.exclusive);
    const { owner, group } = a.ownerOf(7);
    cluster.crash(owner);
    await cluster.untilServed(2);
    const { epoch } = a.ownerOf(7);
    for (const clerk of [a, b, c]) await clerk.renew();
    await a.claim(group, epoch, [item]);
    const forged = Object.assign(new LockItem(), item, { grant: item.grant - 1 });
    await b.claim(group, epoch, [forged]);
    await c.claim(group, epoch, []);
    await cluster.sim.runFor(300);
    expect(await codeOf(b.renew())).toBe('FENCED');
    for (let i = 0; i < 9; i++) {
      await cluster.sim.runFor(800);
      await a.renew();
      await c.renew();
    }
    const state = must(cluster.leader).state;
    expect([a, b, c].map((clerk) => state.isLive(clerk.token))).toEqual([true, false, true]);
  });

  it('elect another leader, which extends every lease by a full period', async () => {
    const cluster = new LockCluster(7);
    await cluster.start();
    const clerk = cluster.clerk();
    await clerk.open({ leaseMs: 1500 });
    cluster.crash(must(cluster.leader).options.id);
    await cluster.sim.runUntil(() => cluster.leader !== undefined, 5000, 'leader');
    await cluster.sim.runFor(1400);
    expect(must(cluster.leader).state.isLive(clerk.token)).toBe(true);
    expect((await clerk.renew()).leaseMs).toBe(1500);
    await cluster.sim.runFor(2000);
    expect(must(cluster.leader).state.isLive(clerk.token)).toBe(false);
  });

  it('do not give out a token twice when all of them are restarted', async () => {
    const cluster = new LockCluster(8);
    await cluster.start();
    const clerk = cluster.clerk();
    const { token } = await clerk.open();
    for (const id of ['lock-1', 'lock-2', 'lock-3']) cluster.crash(id);
    await cluster.start();
    expect(must(cluster.leader).state.isLive(token)).toBe(true);
    const second = cluster.clerk();
    expect((await second.open()).token).toBe(token + 1);
    expect(cluster.generations).toBe(1);
  });

  it('grant nothing when cut off from the others for longer than the lease', async () => {
    const cluster = new LockCluster(9);
    await cluster.start();
    const clerk = cluster.clerk();
    await clerk.open({ leaseMs: 60_000 });
    const follower = must(
      [...cluster.servers.values()].find((server) => server !== cluster.leader),
    );
    const mine = must([...follower.desk.serving.keys()][0]);
    let id = 0;
    while (clerk.ownerOf(id).group !== mine) id++;
    const others = [...cluster.servers.keys()].filter((name) => name !== follower.options.id);
    cluster.sim.network.partition([follower.options.id], others);
    await cluster.sim.runFor(2500);
    expect(follower.desk.mayServe()).toBe(false);
    expect(follower.desk.serving.has(mine)).toBe(true);
    const epoch = must(follower.desk.serving.get(mine));
    await clerk.request(id, Level.exclusive, epoch, follower.options.id);
    await cluster.sim.runUntil(() => clerk.refusals.length > 0, 1000, 'refusal');
    expect(must(clerk.refusals[0]).why).toBe(RefuseCode.notReady);
    expect(clerk.grants).toEqual([]);
  });
});

it('short leases of servers are renewed too, while a clerk has its locks', async () => {
  const options = { serverLeaseMs: 300, heartbeatMs: 20, electionMs: [80, 160] } as const;
  const cluster = new LockCluster(10, options);
  await cluster.start();
  const epochs = (): number[] =>
    must(cluster.leader).state.groups.groups.map((group) => group.epoch);
  const before = epochs();
  for (let i = 0; i < 30; i++) {
    await cluster.sim.runFor(100);
    for (const server of cluster.servers.values()) expect(server.desk.mayServe()).toBe(true);
  }
  expect(epochs()).toEqual(before);
});

describe('members', () => {
  it('a server joins and gets its share, another leaves and gives its own up', async () => {
    const cluster = new LockCluster(20);
    await cluster.start();
    cluster.members.push({ id: 'lock-4', address: 'lock-4:1' });
    cluster.add('lock-4', { join: true }).start();
    await cluster.untilServed(4);
    const clerk = cluster.clerk();
    const leaving = must([...cluster.servers.values()].find((one) => one !== cluster.leader));
    const body = codec.changeMembersRequest.encode({ remove: leaving.options.id });
    clerk.client(must(cluster.leader).options.id, { role: 'tool' });
    await clerk.leaderCall(MessageType.changeMembers, body, 20_000);
    expect(leaving.desk.serving.size).toBe(0);
    cluster.crash(leaving.options.id);
    await cluster.untilServed(3);
    const { groups } = must(cluster.leader).state;
    await cluster.sim.runUntil(() => !groups.servers.has(leaving.options.id), 5000, 'forgotten');
  });
});

it('the leader itself may leave', async () => {
  const cluster = new LockCluster(23);
  await cluster.start();
  const clerk = cluster.clerk();
  await clerk.open({ leaseMs: 60_000 });
  const { item } = await clerk.acquire(7, Level.exclusive);
  const leaving = must(cluster.leader).options.id;
  const body = codec.changeMembersRequest.encode({ remove: leaving });
  const tool = cluster.clerk();
  tool.client(leaving, { role: 'tool' });
  await tool.leaderCall(MessageType.changeMembers, body, 20_000);
  cluster.crash(leaving);
  await cluster.sim.runUntil(() => cluster.leader !== undefined, 5000, 'leader');
  await cluster.untilServed(2);
  expect(must(cluster.leader).options.id).not.toBe(leaving);
  expect(item.level).toBe(Level.exclusive);
  expect((await clerk.renew()).leaseMs).toBe(60_000);
});

it('options out of range, and a server that is not in its own list, are CONFIG', async () => {
  const cluster = new LockCluster(24);
  const world = must(cluster.processes.get('lock-1')).start() as unknown as World;
  const good = {
    cluster: CLUSTER,
    id: 'lock-1',
    listen: 'lock-1:9',
    folder: '/other',
    members: [...cluster.members],
    tokenFloor: { takeGeneration: () => Promise.resolve(1) },
  };
  for (const bad of [{ leaseMs: 0 }, { leaseMs: -1 }, { serverLeaseMs: 10 }, { id: 'lock-9' }]) {
    expect(await codeOf(LockServer.open(world, { ...good, ...bad }))).toBe('CONFIG');
  }
});

describe('an empty folder', () => {
  it('is no founder when another knows the server as a member, or runs without it', async () => {
    const cluster = new LockCluster(21);
    await cluster.start();
    cluster.crash('lock-1');
    must(cluster.processes.get('lock-1')).disk.lose('/data');
    must(cluster.processes.get('lock-1')).start();
    await cluster.sim.runUntil(() => cluster.failures.length > 0, 5000, 'refusal');
    expect(cluster.failures).toMatchObject([{ code: 'FOLDER_FOREIGN' }]);
    cluster.members.push({ id: 'lock-4', address: 'lock-4:1' });
    cluster.add('lock-4').start();
    await cluster.sim.runUntil(() => cluster.failures.length > 1, 5000, 'refusal');
    expect(cluster.failures[1]).toMatchObject({ code: 'CONFIG' });
    const clerk = cluster.clerk();
    await cluster.sim.runUntil(() => cluster.leader !== undefined, 5000, 'leader');
    await clerk.open();
  });

  it('waits for all founders, once', async () => {
    const cluster = new LockCluster(22);
    for (const id of ['lock-1', 'lock-2']) must(cluster.processes.get(id)).start();
    await cluster.sim.runFor(3000);
    expect(cluster.leader).toBeUndefined();
    must(cluster.processes.get('lock-3')).start();
    await cluster.untilServed(3);
    for (const id of ['lock-1', 'lock-2', 'lock-3']) cluster.crash(id);
    for (const id of ['lock-1', 'lock-2']) must(cluster.processes.get(id)).start();
    await cluster.untilServed(2);
  });
});

describe('bad input', () => {
  it('is a typed error each, and another clerk does not notice', async () => {
    const cluster = new LockCluster(30);
    await cluster.start();
    const [good, bad] = [cluster.clerk(), cluster.clerk()];
    await good.open();
    const leader = must(cluster.leader);
    const open = { name: 'x', kind: 'k', recovery: false, nonce: 'n' };
    const unknown = codec.openClerkRequest.encode({
      ...open,
      tables: [{ name: 'nope', create: false }],
    });
    expect(await codeOf(bad.leaderCall(MessageType.openClerk, unknown))).toBe('UNKNOWN_TABLE');
    const zero = new TextEncoder().encode(JSON.stringify({ ...open, tables: [], leaseMs: 0 }));
    expect(await codeOf(bad.leaderCall(MessageType.openClerk, zero))).toBe('OUT_OF_RANGE');
    const garbage = new Uint8Array([1, 2, 3]);
    expect(await codeOf(bad.leaderCall(MessageType.renew, garbage))).toBe('PROTOCOL');
    bad.token = 12345;
    expect(await codeOf(bad.renew())).toBe('FENCED');
    expect(await codeOf(bad.leaderCall(99, garbage))).toBe('PROTOCOL');
    bad.token = 0;
    const follower = must([...cluster.servers.values()].find((one) => one !== leader));
    const body = codec.renewRequest.encode({ token: good.token, clock: 0 });
    expect(await codeOf(bad.call(follower.options.id, MessageType.renew, body))).toBe('NOT_LEADER');
    expect(await codeOf(bad.call(follower.options.id, MessageType.hello, garbage))).toBe(
      'PROTOCOL',
    );
    expect((await good.renew()).leaseMs).toBe(10_000);
    const close = codec.closeClerkRequest.encode({ token: good.token, clock: 0 });
    expect(await codeOf(bad.leaderCall(MessageType.closeClerk, close))).toBe('FENCED');
    expect((await good.renew()).leaseMs).toBe(10_000);
  });

  it('a second connection of a clerk ends the first, which then comes back', async () => {
    const cluster = new LockCluster(33);
    await cluster.start();
    const [clerk, same] = [cluster.clerk(), cluster.clerk()];
    await clerk.open();
    await clerk.acquire(7, Level.exclusive);
    const { owner } = clerk.ownerOf(7);
    const client = clerk.client(owner);
    let downs = 0;
    const { onState } = client;
    client.onState = (state) => {
      if (state === 'down') downs++;
      onState(state);
    };
    same.token = clerk.token;
    const second = same.client(owner);
    await cluster.sim.runUntil(() => downs === 1, 1000, 'the first ends');
    second.close();
    await cluster.sim.runUntil(() => client.state === 'up', 2000, 'it comes back');
  });

  it('a clock that nobody can have, in a close or a recovery step, is OUT_OF_RANGE and changes nothing', async () => {
    const cluster = new LockCluster(34);
    await cluster.start();
    const [a, b] = [cluster.clerk(), cluster.clerk()];
    await a.open({ leaseMs: 1000, recovery: true });
    const { token: demon } = await b.open({ recovery: true });
    for (const clock of [2 ** 53 - 1, 2 ** 52 + 1, 2 ** 48 + 1]) {
      expect(await codeOf(a.close(clock))).toBe('OUT_OF_RANGE');
    }
    await cluster.sim.runFor(2000);
    const { dead } = must((await b.renew()).recoveries[0]);
    const step = (clock: number): Promise<Uint8Array> => {
      const request = { demon, dead, attempt: 1, step: 'fenced', clock } as const;
      return b.leaderCall(MessageType.recoveryStep, codec.recoveryStepRequest.encode(request));
    };
    expect(await codeOf(step(2 ** 48 + 1))).toBe('OUT_OF_RANGE');
    const { state } = must(cluster.leader);
    expect([state.clockFloor, state.clerks.fenced]).toEqual([0, []]);
    await step(2 ** 48);
    expect([state.clockFloor, state.clerks.fenced]).toEqual([2 ** 48, [dead]]);
    // What was far beyond is now in reach.
    await b.close(2 ** 48 + 2);
    expect(state.clockFloor).toBe(2 ** 48 + 2);
  });

  it('a malformed vector ends its connection alone; a stale token is refused', async () => {
    const cluster = new LockCluster(31);
    await cluster.start();
    const [good, bad, late] = [cluster.clerk(), cluster.clerk(), cluster.clerk()];
    for (const clerk of [good, bad, late]) await clerk.open({ leaseMs: 60_000 });
    await good.acquire(7, Level.exclusive);
    const { owner } = good.ownerOf(7);
    const client = bad.client(owner);
    await cluster.sim.runUntil(() => client.state === 'up', 1000, 'link');
    client.push(MessageType.request, new Uint8Array([1, 2, 3]));
    await cluster.sim.runUntil(() => client.state === 'down', 1000, 'link closed');
    await late.acquire(8, Level.shared);
    await late.close();
    await cluster.sim.runFor(200);
    await late.request(8, Level.shared);
    await cluster.sim.runUntil(() => late.refusals.length > 0, 1000, 'refusal');
    expect(must(late.refusals[0]).why).toBe(RefuseCode.fenced);
    const again = good.ownerOf(9).owner;
    expect(again).toBeDefined();
    await good.acquire(9, Level.exclusive);
  });

  it('a second server on the same folder is refused, and the first does not notice', async () => {
    const cluster = new LockCluster(32);
    await cluster.start();
    const second = cluster.server('lock-1');
    const open = LockServer.open(second.world, { ...second.options, listen: 'lock-1:2' });
    expect(await codeOf(cluster.sim.runPromise(open, 1000))).toBe('FOLDER_LOCKED');
    const clerk = cluster.clerk();
    await clerk.open();
    await clerk.acquire(1, Level.exclusive);
  });

  it('another cluster or server is refused with WRONG_CLUSTER', async () => {
    const cluster = new LockCluster(33);
    await cluster.start();
    const clerk = cluster.clerk();
    const client = clerk.client('lock-1', { cluster: 'other' });
    await cluster.sim.runUntil(() => client.lastError !== undefined, 2000, 'refusal');
    expect(client.lastError).toMatchObject({ code: 'WRONG_CLUSTER' });
  });
});

it('status and listings say who holds what', async () => {
  const cluster = new LockCluster(40);
  await cluster.start();
  const clerk = cluster.clerk();
  await clerk.open();
  await clerk.acquire(7, Level.exclusive);
  const { owner } = clerk.ownerOf(7);
  const status = codec.lockServerStatus.decode(
    await clerk.call(owner, MessageType.status, codec.EMPTY_JSON),
  );
  expect(status).toMatchObject({ id: owner, rebuilding: 0, locks: 1, waiting: 0 });
  expect(status.members.length).toBe(3);
  expect(status.clerks).toMatchObject([{ token: clerk.token, state: 'live' }]);
  const ask = codec.listLocksRequest.encode({ table: 't', hot: false, limit: 10 });
  const list = codec.listLocksAnswer.decode(await clerk.call(owner, MessageType.listLocks, ask));
  expect(list.total).toBe(1);
  expect(list.locks[0]).toMatchObject({ table: 't', id: '7', aspect: 'content', waiters: [] });
  expect(list.locks[0]?.holders[0]).toMatchObject({ token: clerk.token, mode: 'exclusive' });
  const nope = codec.listLocksRequest.encode({ table: 'nope', hot: false, limit: 10 });
  expect(await codeOf(clerk.call(owner, MessageType.listLocks, nope))).toBe('UNKNOWN_TABLE');
});

it('byte ranges wait for one another, and go with their clerk', async () => {
  const cluster = new LockCluster(41);
  await cluster.start();
  const [a, b] = [cluster.clerk(), cluster.clerk()];
  await a.open();
  await b.open();
  const group = rangeGroupOf(1);
  const server = must([...cluster.servers.values()].find((one) => one.desk.serving.has(group)));
  const epoch = must(server.desk.serving.get(group));
  const ask = (token: number, wait: boolean, start: string): Uint8Array =>
    codec.rangeRequest.encode({
      token,
      table: 1,
      idHigh: 0,
      idLow: 5,
      epoch,
      op: 'set',
      family: 'posix',
      owner: 'p',
      type: 'write',
      start,
      end: '100',
      wait,
      request: wait ? 2 : 1,
      pid: 1,
    });
  const answerOf = async (work: Promise<Uint8Array>): Promise<M.RangeAnswer> =>
    codec.rangeAnswer.decode(await work);
  const { id } = server.options;
  const first = await answerOf(a.call(id, MessageType.range, ask(a.token, false, '0')));
  expect(first).toEqual({ outcome: 'granted' });
  const blocked = await answerOf(b.call(id, MessageType.range, ask(b.token, false, '50')));
  expect(blocked).toMatchObject({ outcome: 'would-block', blocker: { token: a.token } });
  const waiting = b.client(id).call(MessageType.range, ask(b.token, true, '50'));
  await cluster.sim.runFor(100);
  expect(server.status().waiting).toBe(1);
  await a.close();
  expect(await answerOf(cluster.sim.runPromise(waiting, 2000))).toEqual({ outcome: 'granted' });
  const foreign = b.call(id, MessageType.range, ask(a.token, false, '0'));
  expect(await codeOf(foreign)).toBe('FENCED');
});

it('equal seeds run equally', async () => {
  const run = async (): Promise<number | string | bigint> => {
    const cluster = new LockCluster(50);
    await cluster.start();
    const clerk = cluster.clerk();
    await clerk.open();
    await clerk.acquire(7, Level.exclusive);
    return cluster.sim.scheduler.traceHash as number;
  };
  expect(await run()).toBe(await run());
});
