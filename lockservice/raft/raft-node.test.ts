/** Whole nodes in the simulator: what callers see. */
import { describe, expect, it } from 'vitest';
import { RaftCluster } from './cluster.test-helper.js';

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
    expect(await cluster.sim.runPromise(again.propose(bytes('b')), 50)).toEqual({ index: 4, result: 2 });
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
