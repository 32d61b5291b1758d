import { describe, expect, it } from 'vitest';
import type { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import * as locks from '#lockservice/clerk/index.js';
import { CLUSTER, LockCluster } from '#lockservice/server/cluster.test-helper.js';
import { WriterSeat, type Writer } from './writer-seat.js';

class Engines {
  readonly cluster: LockCluster;
  #count = 0;

  constructor(seed: number) {
    this.cluster = new LockCluster(seed);
  }

  get sim() {
    return this.cluster.sim;
  }

  engine(name: string, previousWriterDead = false) {
    const process = this.sim.process(`engine-${++this.#count}`);
    const world = process.start() as unknown as World;
    const standby: (string | undefined)[] = [];
    const seat = new WriterSeat(world, () => Promise.resolve(locks), {
      cluster: CLUSTER,
      lockServers: this.cluster.members,
      volume: 1,
      name,
      pid: this.#count,
      listen: 'db:5433',
      previousWriterDead,
      onStandby: (writer: Writer | null) => standby.push(writer?.name),
    });
    const startMs = this.sim.nowMs;
    const taken: { how?: { stoodBy: boolean } | string; afterMs: number } = { afterMs: 0 };
    const done = seat.take().then(
      (how) => (taken.how = how),
      (error: SextantError) => (taken.how = error.code),
    );
    void done.then(() => (taken.afterMs = this.sim.nowMs - startMs));
    return { seat, process, taken, standby, done };
  }

  until(condition: () => boolean, limitMs: number): Promise<void> {
    return this.sim.runUntil(condition, limitMs);
  }
}

describe("the writer's seat", () => {
  it('is the first engine’s; one of another name stands by until it is closed', async () => {
    const engines = new Engines(1);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.taken.how !== undefined, 1000);
    expect(a.taken.how).toEqual({ stoodBy: false });
    expect(a.seat.state).toBe('elected');
    const b = engines.engine('b');
    await engines.sim.runFor(30_000);
    expect([b.taken.how, b.seat.state, b.standby]).toEqual([undefined, 'standby', ['a']]);
    expect(b.seat.writer).toEqual({ name: 'a', pid: 1, listen: 'db:5433' });
    await engines.sim.runPromise(a.seat.close(), 1000);
    await engines.until(() => b.taken.how !== undefined, 500);
    expect([b.taken.how, b.seat.state, b.seat.writer]).toEqual([
      { stoodBy: true },
      'elected',
      null,
    ]);
  });

  it('costs little', async () => {
    const engines = new Engines(2);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.taken.how !== undefined, 1000);
    await engines.sim.runPromise(a.seat.close(), 1000);
    const b = engines.engine('a');
    await engines.until(() => b.taken.how !== undefined, 1000);
    expect(b.taken.afterMs).toBeLessThan(30);
  });

  it('passes to a standby when the writer dies, once its lease has ended', async () => {
    const engines = new Engines(3);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.seat.state === 'elected', 1000);
    const b = engines.engine('b');
    await engines.until(() => b.seat.state === 'standby', 1000);
    a.process.crash();
    await engines.sim.runFor(5000);
    expect(b.seat.state).toBe('standby');
    await engines.until(() => b.seat.state === 'elected', 8000);
  });

  it('is taken at once by an engine of the same name, past a standby', async () => {
    const engines = new Engines(4);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.seat.state === 'elected', 1000);
    const b = engines.engine('b');
    await engines.until(() => b.seat.state === 'standby', 1000);
    a.process.crash();
    const again = engines.engine('a');
    await engines.until(() => again.taken.how !== undefined, 300);
    expect([again.taken.how, again.seat.state]).toEqual([{ stoodBy: false }, 'elected']);
    await engines.sim.runFor(15_000);
    expect([again.seat.state, b.seat.state]).toEqual(['elected', 'standby']);
  });

  it('is taken behind its start by an engine whose predecessor is known to be dead', async () => {
    const engines = new Engines(10);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.seat.state === 'elected', 1000);
    const b = engines.engine('b');
    await engines.until(() => b.seat.state === 'standby', 1000);
    a.process.crash();
    const again = engines.engine('a', true);
    await engines.sim.runFor(1);
    expect([again.taken.how, again.seat.state]).toEqual([{ stoodBy: false }, 'none']);
    await engines.until(() => again.seat.state === 'elected', 1500);
    await engines.sim.runFor(15_000);
    expect([again.seat.state, b.seat.state]).toEqual(['elected', 'standby']);
  });

  it('that was taken by one of the same name is not taken back', async () => {
    const engines = new Engines(5);
    await engines.cluster.start();
    const first = engines.engine('a');
    await engines.until(() => first.seat.state === 'elected', 1000);
    const second = engines.engine('a');
    await engines.until(() => second.seat.state === 'elected', 1000);
    await engines.sim.runFor(20_000);
    expect([first.seat.state, second.seat.state]).toEqual(['none', 'elected']);
  });

  it('is not waited for when no lock service answers', async () => {
    const engines = new Engines(6);
    const a = engines.engine('a');
    const b = engines.engine('b', true);
    await engines.sim.runFor(2000);
    expect([a.taken.how, b.taken.how]).toEqual([{ stoodBy: false }, { stoodBy: false }]);
    expect([a.taken.afterMs, b.taken.afterMs]).toEqual([1000, 0]);
    // It comes later: they stand in line, and both run on.
    await engines.cluster.start();
    await engines.until(() => a.seat.state === 'elected' || b.seat.state === 'elected', 20_000);
  });

  it('is found again after a pause that was longer than the lease', async () => {
    const engines = new Engines(7);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.seat.state === 'elected', 1000);
    a.process.pause();
    await engines.sim.runFor(15_000);
    a.process.resume();
    await engines.sim.runFor(5000);
    const lost = engines.sim.logLines.filter(({ message }) => message.includes('any more'));
    expect(lost).toHaveLength(1);
    expect(a.seat.state).toBe('elected');
  });

  it('a standby stays one while the lock service is away', async () => {
    const engines = new Engines(8);
    const { cluster } = engines;
    await cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.seat.state === 'elected', 1000);
    const b = engines.engine('b');
    await engines.until(() => b.seat.state === 'standby', 1000);
    const ids = cluster.members.map(({ id }) => id);
    for (const id of ids) cluster.crash(id);
    await engines.sim.runFor(30_000);
    expect([b.taken.how, b.seat.state]).toEqual([undefined, 'standby']);
    for (const id of ids) cluster.processes.get(id)?.start();
    await engines.until(() => a.seat.state === 'elected' || b.seat.state === 'elected', 30_000);
  });

  it('closing ends the wait', async () => {
    const engines = new Engines(9);
    await engines.cluster.start();
    const a = engines.engine('a');
    await engines.until(() => a.seat.state === 'elected', 1000);
    const b = engines.engine('b');
    await engines.until(() => b.seat.state === 'standby', 1000);
    await engines.sim.runPromise(b.seat.close(), 1000);
    await engines.sim.runPromise(b.done, 100);
    expect(b.taken.how).toBe('CANCELLED');
    await engines.sim.runPromise(a.seat.close(), 1000);
  });
});
