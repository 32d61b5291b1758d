import { describe, expect, test } from 'vitest';
import { assert } from '../../assert.js';
import { isSextantError } from '../../errors.js';
import { RpcClient } from '../../rpc/client.js';
import { RpcServer, type RpcPeer } from '../../rpc/server.js';
import type { LinkHandler, World } from '../world.js';
import { SimRandom } from './random.js';
import { Simulation } from './simulation.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const untext = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isSextantError(error)) return error.code;
    throw error;
  }
  return 'none';
}

/** Counts calls durably in a file; answers with the count. */
async function counter(world: World): Promise<void> {
  world.disk.makeFolder('/data');
  world.disk.syncFolder('/');
  world.disk.lockFolder('/data');
  const file = world.disk.open('/data/count', { create: true });
  world.disk.syncFolder('/data');
  let count = file.size();
  world.log.info('up', { count });
  const byte = new Uint8Array([1]);
  await RpcServer.listen(world, 'counter:1', {
    call() {
      file.write(byte, 0, 1, count);
      file.sync();
      count++;
      return text(`${count}`);
    },
    push() {},
  });
  await world.timers.sleep(1);
}

describe('random', () => {
  test('same seed, same numbers; forks depend on the name and not on what was drawn', () => {
    const a = new SimRandom(7);
    const b = new SimRandom(7);
    const fork = a.fork('x').u32();
    const numbers = Array.from({ length: 100 }, () => a.u32());
    expect(numbers).toEqual(Array.from({ length: 100 }, () => b.u32()));
    expect(b.fork('x').u32()).toBe(fork);
    expect(b.fork('y').u32()).not.toBe(fork);
    expect(new SimRandom(8).u32()).not.toBe(numbers[0]);
    let ones = 0;
    for (let i = 0; i < 10_000; i++) if (a.chance(0.3)) ones++;
    expect(ones).toBeGreaterThan(2700);
    expect(ones).toBeLessThan(3300);
    const counts = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < 16_000; i++) counts[a.below(16)]++;
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(200);
  });
});

describe('time', () => {
  test('events run in order of time, then of scheduling, promises settled between them', async () => {
    const sim = new Simulation(1);
    const seen: string[] = [];
    const note = (name: string) => async (): Promise<void> => {
      seen.push(name);
      for (let i = 0; i < 20; i++) await Promise.resolve();
      seen.push(`${name}'`);
    };
    sim.after(5, 'c', () => void note('c')());
    sim.after(1, 'a', () => void note('a')());
    sim.after(1, 'b', () => void note('b')());
    await sim.runFor(4);
    expect(sim.nowMs).toBe(4);
    await sim.runFor(2);
    expect(seen).toEqual(['a', "a'", 'b', "b'", 'c', "c'"]);
    await expect(sim.runUntil(() => false, 10)).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  test('clocks drift, timers with them', async () => {
    const sim = new Simulation(1);
    const fast = sim.process('fast', undefined, { driftPpm: 100_000, wallSkewMs: 5000 }).start();
    const straight = sim.process('straight').start();
    const seen: string[] = [];
    straight.timers.after(95, () => seen.push('straight'));
    fast.timers.after(100, () => seen.push('fast'));
    await sim.runFor(100);
    expect(seen).toEqual(['fast', 'straight'].toSorted((a) => (a === 'fast' ? -1 : 1)));
    expect(fast.clock.monotonicMs()).toBeCloseTo(110);
    expect(fast.clock.wallMs() - straight.clock.wallMs()).toBe(5010);
  });

  test('an exception in an event and a rejected main end the run', async () => {
    const sim = new Simulation(1);
    sim.process('bad', () => Promise.reject(new Error('main failed'))).start();
    await expect(sim.runFor(10)).rejects.toThrow('main failed');
    sim
      .process('worse', (world) =>
        world.timers.after(1, () => {
          throw new Error('timer failed');
        }),
      )
      .start();
    await expect(sim.runFor(10)).rejects.toThrow('timer failed');
    await sim.runFor(10);
  });

  test('so does an assertion that fails in an rpc handler', async () => {
    const sim = new Simulation(1);
    const main = async (world: World): Promise<void> => {
      await RpcServer.listen(world, 'bad:1', {
        call() {
          assert(false, 'one is two');
        },
        push() {
          assert(false, 'two is three');
        },
      });
    };
    sim.process('bad', main).start();
    const rpc = new RpcClient(sim.process('test').start(), 'bad:1');
    await sim.runUntil(() => rpc.state === 'up', 1000);
    const call = code(rpc.call(1, text('')));
    await expect(sim.runFor(100)).rejects.toThrow('one is two');
    expect(await sim.runPromise(call, 100)).toBe('INTERNAL');
    rpc.push(1, text(''));
    await expect(sim.runFor(100)).rejects.toThrow('two is three');
  });
});

describe('processes', () => {
  test('a crash ends timers, links and locks; the next life finds what was synced', async () => {
    const sim = new Simulation(3);
    const node = sim.process('counter', counter);
    node.start();
    const rpc = new RpcClient(sim.process('test').start(), 'counter:1', {
      deadAfterMs: 50,
      pingEveryMs: 10,
    });
    await sim.runUntil(() => rpc.state === 'up', 1000);
    for (let i = 1; i <= 5; i++) {
      expect(untext(await sim.runPromise(rpc.call(1, text('')), 100))).toBe(`${i}`);
    }
    for (let life = 0; life < 10; life++) {
      node.crash({ power: life % 2 === 0 });
      expect(await sim.runPromise(code(rpc.call(1, text(''))), 1000)).toBe('DISCONNECTED');
      node.start();
      await sim.runUntil(() => rpc.state === 'up', 5000);
      expect(untext(await sim.runPromise(rpc.call(1, text('')), 100))).toBe(`${6 + life}`);
    }
    expect(
      sim.logLines.filter((line) => line.message === 'up').map((line) => line.fields['count']),
    ).toEqual([0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
  });

  test('nothing of an earlier life runs on (SIM-2)', async () => {
    const sim = new Simulation(8);
    const seen: string[] = [];
    const node = sim.process('node', (world) => {
      world.timers.after(10, () => seen.push('timer'));
      void world.timers.sleep(10).then(() => seen.push('sleep'));
      world.network.connect('other:1', {
        onFrame() {},
        onClose: () => seen.push('closed'),
      });
    });
    const first = node.start();
    await sim.runFor(0.001);
    node.crash();
    await sim.runFor(100);
    expect(seen).toEqual([]);
    expect(() => first.disk.list('/')).toThrow('dead');
    await expect(
      first.network.listen('x:1', () => ({ onFrame() {}, onClose() {} })),
    ).rejects.toThrow('dead');
    node.start();
    await sim.runFor(100);
    expect(seen.toSorted()).toEqual(['closed', 'sleep', 'timer']);
  });

  test('a planned crash at a sync: before it nothing is sure, after it all is', async () => {
    for (const moment of ['before', 'after'] as const) {
      const sim = new Simulation(4);
      const node = sim.process('counter', counter, { disk: { keepUnsynced: 0 } });
      node.start();
      const rpc = new RpcClient(sim.process('test').start(), 'counter:1', {
        deadAfterMs: 50,
        pingEveryMs: 10,
      });
      await sim.runUntil(() => rpc.state === 'up', 1000);
      node.crashAtSync(2, moment);
      expect(untext(await sim.runPromise(rpc.call(1, text('')), 100))).toBe('1');
      expect(await sim.runPromise(code(rpc.call(1, text(''))), 1000)).toBe('DISCONNECTED');
      expect(node.running).toBe(false);
      node.start();
      await sim.runUntil(() => rpc.state === 'up', 5000);
      const next = untext(await sim.runPromise(rpc.call(1, text('')), 100));
      expect(next).toBe(moment === 'before' ? '2' : '3');
    }
  });

  test('a paused process does nothing, then catches up', async () => {
    const sim = new Simulation(5);
    const node = sim.process('counter', counter);
    node.start();
    const rpc = new RpcClient(sim.process('test').start(), 'counter:1');
    await sim.runUntil(() => rpc.state === 'up', 1000);
    node.pause();
    const answer = rpc.call(1, text(''), { timeoutMs: 3000 });
    await sim.runFor(1000);
    expect(node.disk.file('data/count')!.size).toBe(0);
    node.resume();
    expect(untext(await sim.runPromise(answer, 5))).toBe('1');
  });

  test('a slow disk holds its process up, and what arrived meanwhile is handled together', async () => {
    const sim = new Simulation(6);
    const turns: number[] = [];
    let batch = 0;
    const main = async (world: World): Promise<void> => {
      const file = world.disk.open('/journal', { create: true });
      await RpcServer.listen(world, 'node:1', {
        call: (_peer, _type, body) => body.slice(),
        push() {
          batch++;
          if (batch > 1) return;
          world.timers.turn(() => {
            turns.push(batch);
            batch = 0;
            const before = world.clock.monotonicMs();
            file.write(text('x'), 0, 1, 0);
            file.sync();
            expect(world.clock.monotonicMs() - before).toBeGreaterThan(10);
          });
        },
      });
    };
    sim.process('node', main, { disk: { syncMinMs: 10, syncMaxMs: 10 } }).start();
    const client = sim.process('test').start();
    const rpc = new RpcClient(client, 'node:1');
    await sim.runUntil(() => rpc.state === 'up', 1000);
    for (let i = 0; i < 40; i++) {
      rpc.push(10, text('push'));
      await sim.runFor(1);
    }
    await sim.runFor(50);
    expect(turns.reduce((sum, count) => sum + count, 0)).toBe(40);
    expect(turns.length).toBeLessThan(8);
    expect(Math.max(...turns)).toBeGreaterThan(5);
  });
});

describe('backlog', () => {
  test('a long one is handled in order of arrival, turns and timers in their place', async () => {
    const sim = new Simulation(9);
    const seen: string[] = [];
    const main = async (world: World): Promise<void> => {
      const file = world.disk.open('/journal', { create: true });
      await RpcServer.listen(world, 'node:1', {
        call: (_peer, _type, body) => body.slice(),
        push(_peer, _type, body) {
          const name = untext(body);
          seen.push(name);
          if (name !== '0') return;
          world.timers.turn(() => seen.push('turn'));
          world.timers.after(5, () => seen.push('timer'));
          file.write(text('x'), 0, 1, 0);
          file.sync();
        },
      });
    };
    const node = sim.process('node', main, { disk: { syncMinMs: 10, syncMaxMs: 10 } });
    node.start();
    const rpc = new RpcClient(sim.process('test').start(), 'node:1');
    await sim.runUntil(() => rpc.state === 'up', 1000);
    const all = Array.from({ length: 5000 }, (_, i) => `${i}`);
    for (const name of all) rpc.push(10, text(name));
    await sim.runFor(2);
    expect(seen.length).toBeLessThan(100);
    await sim.runFor(3);
    node.pause();
    await sim.runFor(20);
    expect(seen.length).toBeLessThan(100);
    node.resume();
    await sim.runFor(10);
    expect(seen.filter((name) => /^\d/.test(name))).toEqual(all);
    expect(seen.indexOf('turn')).toBeGreaterThan(0);
    expect(seen.indexOf('timer')).toBeGreaterThan(seen.indexOf('turn'));
  });
});

describe('network', () => {
  async function pair(seed: number): Promise<{
    sim: Simulation;
    rpc: RpcClient;
    got: string[];
    peers: RpcPeer[];
  }> {
    const sim = new Simulation(seed);
    const got: string[] = [];
    const peers: RpcPeer[] = [];
    const server = async (world: World): Promise<void> => {
      await RpcServer.listen(world, 'b:1', {
        onOpen: (peer) => peers.push(peer),
        call: (_peer, _type, body) => body.slice(),
        push: (_peer, _type, body) => got.push(untext(body)),
      });
    };
    sim.process('b', server).start();
    const rpc = new RpcClient(sim.process('a').start(), 'b:1', {
      deadAfterMs: 200,
      pingEveryMs: 20,
      backoffMaxMs: 50,
    });
    await sim.runUntil(() => rpc.state === 'up', 1000);
    return { sim, rpc, got, peers };
  }
  const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

  test('frames arrive in order by default; drop, duplicate, reorder do what they say', async () => {
    const { sim, rpc, got } = await pair(1);
    const all = numbers(200);
    const send = async (): Promise<string[]> => {
      got.length = 0;
      for (const value of all) expect(rpc.push(10, text(value))).toBe(true);
      await sim.runFor(10);
      return got.slice();
    };
    expect(await send()).toEqual(all);
    sim.network.faults('a', 'b', { drop: 0.1 });
    const dropped = await send();
    expect(dropped.length).toBeLessThan(200);
    expect(dropped.length).toBeGreaterThan(100);
    expect(dropped).toEqual(all.filter((value) => dropped.includes(value)));
    sim.network.faults('a', 'b', { drop: 0, duplicate: 0.1 });
    const duplicated = await send();
    expect(duplicated.length).toBeGreaterThan(200);
    expect([...new Set(duplicated)].toSorted()).toEqual(all.toSorted());
    sim.network.faults('a', 'b', { duplicate: 0, reorder: 0.2 });
    const reordered = await send();
    expect(reordered).not.toEqual(all);
    expect(reordered.toSorted()).toEqual(all.toSorted());
  });

  test('flipped bits never reach a handler: the link is closed and made again', async () => {
    const { sim, rpc, got } = await pair(2);
    sim.network.faults('a', 'b', { flipBit: 0.05 });
    let downs = 0;
    rpc.onState = (state) => {
      if (state === 'down') downs++;
    };
    for (let i = 0; i < 500; i++) {
      rpc.push(10, text('payload'));
      await sim.runFor(1);
    }
    expect(downs).toBeGreaterThan(3);
    expect(got.length).toBeGreaterThan(100);
    expect(new Set(got)).toEqual(new Set(['payload']));
  });

  test('a frame that a handler keeps a view of is scribbled over', async () => {
    const sim = new Simulation(2);
    const kept: Uint8Array[] = [];
    const accept = (): LinkHandler => ({ onFrame: (frame) => kept.push(frame), onClose() {} });
    await sim.process('b').start().network.listen('b:1', accept);
    const link = sim
      .process('a')
      .start()
      .network.connect('b:1', { onFrame() {}, onClose() {} });
    const sent = text('sent');
    link.send(sent, text('body'));
    await sim.runFor(10);
    expect([...kept[0]]).toEqual(Array.from({ length: 8 }, () => 0xdd));
    expect(untext(sent)).toBe('sent');
  });

  test('a cancelled call is not answered', async () => {
    const sim = new Simulation(2);
    const release: (() => void)[] = [];
    const main = (world: World): unknown =>
      RpcServer.listen(world, 'b:1', {
        call: () => new Promise((resolve) => release.push(() => resolve(text('late')))),
        push() {},
      });
    sim.process('b', main).start();
    const rpc = new RpcClient(sim.process('a').start(), 'b:1', { pingEveryMs: 10_000 });
    const abort = new AbortController();
    const answers = [
      code(rpc.call(1, text(''), { signal: abort.signal })),
      code(rpc.call(1, text(''))),
    ];
    await sim.runUntil(() => release.length === 2, 1000);
    abort.abort();
    await sim.runFor(10);
    const before = sim.network.sentCount;
    for (const one of release) one();
    await sim.runFor(10);
    expect(sim.network.sentCount - before).toBe(1);
    expect(await Promise.all(answers)).toEqual(['CANCELLED', 'none']);
  });

  test('partitions, both ways and one way, and healing', async () => {
    const { sim, rpc, got, peers } = await pair(3);
    const back: string[] = [];
    rpc.onPush = (_type, body) => back.push(untext(body));
    sim.network.partition(['b'], ['a'], { oneWay: true });
    rpc.push(10, text('there'));
    peers[0]!.push(10, text('back'));
    await sim.runFor(10);
    expect(got).toEqual(['there']);
    expect(back).toEqual([]);
    await sim.runUntil(() => rpc.state === 'down', 1000);
    await sim.runFor(500);
    expect(rpc.state).toBe('down');
    sim.network.heal();
    await sim.runUntil(() => rpc.state === 'up', 1000);
    sim.network.partition(['a'], ['b']);
    expect(await sim.runPromise(code(rpc.call(1, text(''))), 1000)).toBe('DISCONNECTED');
    sim.network.heal();
    await sim.runUntil(() => rpc.state === 'up', 1000);
    expect(untext(await sim.runPromise(rpc.call(1, text('again')), 10))).toBe('again');
  });

  test('broken links fail calls at once; nobody listening is refused', async () => {
    const { sim, rpc } = await pair(4);
    const pending = code(rpc.call(1, text('')));
    sim.network.breakLinks('a', 'b');
    const before = sim.nowMs;
    expect(await sim.runPromise(pending, 1000)).toBe('DISCONNECTED');
    expect(sim.nowMs - before).toBeLessThan(2);
    const none = new RpcClient(sim.process('c').start(), 'nobody:1');
    expect(await sim.runPromise(code(none.call(1, text(''))), 1000)).toBe('DISCONNECTED');
  });

  test('a peer that does not read is a bounded queue', async () => {
    const { sim, rpc } = await pair(5);
    sim.processes.get('b')!.pause();
    const body = new Uint8Array(1_000_000);
    let accepted = 0;
    while (rpc.push(10, body)) accepted++;
    expect(accepted).toBe(16);
    await sim.runUntil(() => rpc.state === 'down', 1000);
  });
});

describe('determinism (SIM-1)', () => {
  async function run(seed: number): Promise<string> {
    const sim = new Simulation(seed, {
      network: { drop: 0.01, reorder: 0.05, flipBit: 0.002, breakLink: 0.001 },
    });
    const node = sim.process('counter', counter, {
      disk: { syncFails: 0.001 },
      onExit: () => undefined,
    });
    node.start();
    const results: string[] = [];
    for (const name of ['x', 'y', 'z']) {
      const world = sim.process(name).start();
      const rpc = new RpcClient(world, 'counter:1', {
        timeoutMs: 20,
        deadAfterMs: 60,
        pingEveryMs: 10,
      });
      const loop = async (): Promise<void> => {
        for (;;) {
          try {
            results.push(`${name} ${untext(await rpc.call(1, text('')))}`);
          } catch (error) {
            results.push(`${name} ${isSextantError(error) ? error.code : 'unknown'}`);
            await world.timers.sleep(world.random.below(20));
          }
        }
      };
      void loop();
    }
    for (let i = 0; i < 20; i++) {
      sim.after(i * 20 + sim.random.below(10), 'crash', () => node.crash({ power: i % 3 > 0 }));
      sim.after(i * 20 + 12, 'start', () => {
        if (!node.running) node.start();
      });
    }
    await sim.runFor(500);
    return `${sim.scheduler.traceHash} ${sim.scheduler.eventCount} ${results.join(',')}`;
  }

  test('the same seed gives the same events and results, another seed others', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 5; seed++) {
      const first = await run(seed);
      expect(await run(seed)).toBe(first);
      expect(first).toContain('DISCONNECTED');
      expect(first.length).toBeGreaterThan(2000);
      seen.add(first);
    }
    expect(seen.size).toBe(5);
  });
});
