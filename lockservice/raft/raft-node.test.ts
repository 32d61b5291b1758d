/** Whole nodes in the simulator: what callers see. */
import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { RaftCluster } from './cluster.test-helper.js';
import { encodeRaftMessage } from './messages.js';
import { RaftNode, type RaftOptions } from './raft-node.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('one member', () => {
  it('leads at once, and has everything after a power cut', async () => {
    const cluster = new RaftCluster(1, { servers: 1 });
    cluster.start();
    const node = await cluster.elected(50);
    const first = await cluster.sim.runPromise(node.propose(bytes('a')), 50);
    expect(first).toEqual({ index: 2, result: 1 });
    expect(await cluster.sim.runPromise(node.readIndex(), 50)).toBe(2);
    cluster.crash('r1');
    cluster.start();
    const again = await cluster.elected(50);
    expect(await cluster.sim.runPromise(again.propose(bytes('b')), 50)).toEqual({
      index: 4,
      result: 2,
    });
    expect(again.term).toBe(2);
  });
});

describe('three members', () => {
  it('elect, replicate, and go on without the leader', async () => {
    const cluster = new RaftCluster(2);
    cluster.start();
    const leader = await cluster.elected();
    for (let i = 1; i <= 10; i++) {
      const { result } = await cluster.sim.runPromise(leader.propose(bytes(`c${i}`)), 1000);
      expect(result).toBe(i);
    }
    await cluster.level();
    cluster.crash(leader.id);
    const next = await cluster.elected();
    expect(next.id).not.toBe(leader.id);
    expect((await cluster.sim.runPromise(next.propose(bytes('d')), 1000)).result).toBe(11);
    expect(await cluster.sim.runPromise(next.readIndex(), 1000)).toBe(next.commitIndex);
    cluster.start();
    await cluster.level();
    expect(new Set([...cluster.machines.values()].map((m) => m.hash)).size).toBe(1);
    expect(cluster.failures).toEqual([]);
  });
});

async function failure(cluster: RaftCluster, promise: Promise<unknown>): Promise<string> {
  try {
    await cluster.sim.runPromise(promise, 20_000);
  } catch (error) {
    return isSextantError(error) ? error.code : String(error);
  }
  return 'nothing';
}

describe('callers are told', () => {
  it('NOT_LEADER with the leader, by a follower', async () => {
    const cluster = new RaftCluster(3);
    cluster.start();
    const leader = await cluster.elected();
    await cluster.level();
    const follower = [...cluster.nodes.values()].find((node) => node !== leader)!;
    for (const call of [follower.propose(bytes('x')), follower.readIndex()]) {
      await expect(call).rejects.toThrow(new RegExp(`leader=${leader.id}$`));
    }
    expect(await failure(cluster, follower.changeMembers({ remove: 'r1' }))).toBe('NOT_LEADER');
  });

  it('CONFLICT when leadership is lost, NOT_LEADER for a read; the cut off leader steps down', async () => {
    const cluster = new RaftCluster(4);
    cluster.start();
    const leader = await cluster.elected();
    const others = cluster.ids.filter((id) => id !== leader.id);
    const roles: string[] = [];
    leader.onRole = (role, term) => roles.push(`${role} ${term}`);
    cluster.sim.network.partition([leader.id], others);
    const write = leader.propose(bytes('lost'));
    const read = leader.readIndex();
    const change = leader.changeMembers({ remove: others[0]! });
    read.catch(() => undefined);
    change.catch(() => undefined);
    expect(await failure(cluster, write)).toBe('CONFLICT');
    expect(await failure(cluster, read)).toBe('NOT_LEADER');
    expect(await failure(cluster, change)).toBe('CONFLICT');
    expect(roles[0]).toBe(`follower ${leader.core.term}`);
    cluster.sim.network.heal();
    await cluster.elected();
    await cluster.level();
    expect([...cluster.machines.values()].map(({ count }) => count)).toEqual([0, 0, 0]);
  });

  it('OVERLOADED when too much waits, OUT_OF_RANGE for a giant, CLOSED after the end', async () => {
    const cluster = new RaftCluster(5, { servers: 1, raft: { waitingMax: 5 } });
    cluster.start();
    const node = await cluster.elected();
    const codes: string[] = [];
    for (let i = 0; i < 7; i++) {
      node.propose(bytes(`p${i}`)).then(
        () => codes.push('done'),
        (error: unknown) => codes.push(isSextantError(error) ? error.code : String(error)),
      );
    }
    await cluster.sim.runFor(50);
    expect(codes.filter((code) => code === 'OVERLOADED').length).toBeGreaterThan(1);
    expect(await failure(cluster, node.propose(new Uint8Array(5_000_000)))).toBe('OUT_OF_RANGE');
    node.close();
    expect(await failure(cluster, node.propose(bytes('x')))).toBe('CLOSED');
    expect(await failure(cluster, node.readIndex())).toBe('CLOSED');
  });

  it('PROTOCOL for a malformed message, which disturbs nobody', async () => {
    const cluster = new RaftCluster(6);
    cluster.start();
    const leader = await cluster.elected();
    const { term } = leader;
    expect(() => leader.receive('r2', Uint8Array.of(1, 99, 0, 0))).toThrow('raft message');
    expect(() => leader.receive('', new Uint8Array(0))).toThrow('raft message');
    const claim = {
      type: 'appendAnswer',
      term,
      round: 0,
      ok: true,
      index: 99,
      hintIndex: 0,
      hintTerm: 0,
    } as const;
    const other = cluster.ids.find((id) => id !== leader.id)!;
    expect(() => leader.receive(other, encodeRaftMessage(claim, ''))).toThrow('has entries that');
    const round = { ...claim, index: 1, round: 77 };
    expect(() => leader.receive(other, encodeRaftMessage(round, ''))).toThrow('never began');
    expect((await cluster.sim.runPromise(leader.propose(bytes('x')), 1000)).result).toBe(1);
    expect(leader.term).toBe(term);
  });
});

describe('members', () => {
  it('join by snapshot, in chunks, and leave', async () => {
    const raft = { snapshotEntries: 20, trailingEntries: 2, limits: { chunkBytes: 300 } };
    const cluster = new RaftCluster(7, { servers: 4, founders: 3, raft });
    cluster.start('r1', 'r2', 'r3');
    const leader = await cluster.elected();
    for (let i = 0; i < 100; i++) {
      await cluster.sim.runPromise(leader.propose(bytes(`c${i}`)), 1000);
    }
    cluster.start('r4');
    await cluster.sim.runFor(10);
    const added = leader.changeMembers({ add: cluster.member('r4') });
    expect(await failure(cluster, leader.changeMembers({ remove: 'r1' }))).toBe('CONFLICT');
    await cluster.sim.runPromise(added, 5000);
    await cluster.level();
    expect(cluster.machines.get('r4')!.hash).toBe(cluster.machines.get(leader.id)!.hash);
    expect(cluster.machines.get('r4')!.members.length).toBe(4);
    expect(cluster.node('r4').core.snapshot.index).toBeGreaterThan(0);
    await cluster.sim.runPromise(leader.changeMembers({ remove: leader.id }), 5000);
    const next = await cluster.elected();
    expect(next.id).not.toBe(leader.id);
    expect(leader.role).toBe('follower');
    cluster.crash(leader.id);
    cluster.start(leader.id);
    await cluster.sim.runFor(5000);
    // It does not know that its removal is committed and asks for votes, to no effect.
    expect(cluster.node(leader.id).role).not.toBe('leader');
    expect(cluster.leader).toBe(next);
    expect((await cluster.sim.runPromise(next.propose(bytes('z')), 1000)).result).toBe(101);
  });

  it('hand over when the leader closes: no election timeout passes', async () => {
    const cluster = new RaftCluster(8);
    cluster.start();
    const leader = await cluster.elected();
    await cluster.sim.runPromise(leader.propose(bytes('x')), 1000);
    await cluster.level();
    const before = cluster.sim.nowMs;
    leader.close();
    cluster.nodes.delete(leader.id);
    await cluster.elected();
    expect(cluster.sim.nowMs - before).toBeLessThan(20);
  });
});

describe('the disk', () => {
  it('full: the leader gives way, and is back when there is room', async () => {
    const cluster = new RaftCluster(9);
    cluster.start();
    const leader = await cluster.elected();
    const { disk } = cluster.process(leader.id);
    disk.faults.quotaBytes = disk.usedBytes;
    const big = leader.propose(new Uint8Array(400_000));
    expect(['CONFLICT', 'nothing']).toContain(await failure(cluster, big));
    await cluster.sim.runFor(3000);
    expect(cluster.leader).toBeDefined();
    disk.faults.quotaBytes = 2 ** 40;
    await cluster.level();
    expect(leader.failure).toBeUndefined();
    // Once each, not at every try: the log may lie on the same disk.
    const said = (text: string): number =>
      cluster.sim.logLines.filter(({ message }) => message === text).length;
    expect(said('raft: the disk is full')).toBe(1);
    expect(said('raft: the disk has room again')).toBe(1);
  });

  it('failed: the node ends, the others go on', async () => {
    const cluster = new RaftCluster(10);
    cluster.start();
    const leader = await cluster.elected();
    const { disk } = cluster.process(leader.id);
    disk.faults.syncFails = 1;
    expect(await failure(cluster, leader.propose(bytes('x')))).toBe('DISK_FAILED');
    expect(cluster.failures.length).toBe(1);
    const next = await cluster.elected();
    expect(next.id).not.toBe(leader.id);
    expect(await failure(cluster, next.propose(bytes('y')))).toBe('nothing');
  });

  it('is written once for all proposals of a turn', async () => {
    const cluster = new RaftCluster(11, { servers: 1 });
    cluster.start();
    const node = await cluster.elected();
    const { disk } = cluster.process('r1');
    const before = disk.syncCount;
    const all = Array.from({ length: 100 }, (_, i) => node.propose(bytes(`${i}`)));
    const done = await cluster.sim.runPromise(Promise.all(all), 1000);
    expect(done.at(-1)!.result).toBe(100);
    expect(disk.syncCount - before).toBe(1);
  });
});

it('options that make no sense are CONFIG', () => {
  const world = new RaftCluster(12).process('r1').start();
  const machine = { apply: () => 0, snapshot: () => bytes(''), restore: () => undefined };
  const open = (options: Partial<RaftOptions>): RaftNode =>
    RaftNode.open(
      world,
      { id: 'a', folder: '/x', initialMembers: [{ id: 'a', address: 'a:1' }], ...options },
      machine,
      { send: () => undefined },
    );
  for (const options of [
    { id: '' },
    { initialMembers: [{ id: 'b', address: 'b:1' }] },
    {
      initialMembers: [
        { id: 'a', address: 'a:1' },
        { id: 'a', address: 'b:1' },
      ],
    },
    { heartbeatMs: 0 },
    { electionMs: [200, 400] as const },
    { electionMs: [500, 500] as const },
    { snapshotEntries: 0 },
  ]) {
    expect(() => open(options), JSON.stringify(options)).toThrowError(
      expect.objectContaining({ code: 'CONFIG' }),
    );
  }
});
