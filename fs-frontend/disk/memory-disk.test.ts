import { describe, expect, it } from 'vitest';
import { Simulation } from '#core/world/simulated/simulation.js';
import { Region } from './disk.js';
import { MemoryDiskStore } from './memory-disk.test-helper.js';

const page = (fill: number, bytes = 4096): Uint8Array => new Uint8Array(bytes).fill(fill);
const at = (index: number, clock: number, fill: number, token = 1) =>
  ({ region: Region.metadata, index, tag: { clock, token }, bytes: page(fill) }) as const;

describe('disk in memory', () => {
  it('reads zeros, then what was written, register by register', async () => {
    const disk = new MemoryDiskStore().open(1);
    const read = { region: Region.data, index: 7, count: 3 } as const;
    expect((await disk.read([read]))[0].tags[0]).toEqual({ clock: 0, token: 0 });
    const tag = { clock: 1, token: 1 };
    await disk.write([{ region: Region.data, index: 8, tag, bytes: page(9, 8192) }]);
    const [{ bytes, tags }] = await disk.read([read]);
    expect([bytes[4095], bytes[4096], bytes[12287]]).toEqual([0, 9, 9]);
    expect(tags.map((t) => t.clock)).toEqual([0, 1, 1]);
  });

  it('orders by clock, then token; the same tag again is fine', async () => {
    const store = new MemoryDiskStore();
    const disk = store.open(1);
    await disk.write([at(1, 5, 1)]);
    await disk.write([at(1, 5, 1)]);
    await disk.write([at(1, 5, 2, 2)]);
    const conflict = expect.objectContaining({ code: 'CONFLICT' });
    await expect(disk.write([at(1, 4, 3, 9)])).rejects.toEqual(conflict);
    expect(store.peek(Region.metadata, 1).bytes[0]).toBe(2);
  });

  it('fences a token and lists what it did not report complete', async () => {
    const store = new MemoryDiskStore();
    const [one, two] = [store.open(1), store.open(2)];
    await one.write([at(1, 5, 1)]);
    one.reportComplete(5);
    await one.write([at(2, 6, 1)]);
    const tag = { clock: 6, token: 1 };
    expect(await two.fence(1)).toEqual({
      fenceEpoch: 1,
      listed: [{ region: Region.metadata, index: 2, tag }],
      clock: 6,
    });
    const fenced = expect.objectContaining({ code: 'FENCED' });
    await expect(one.write([at(3, 7, 1)])).rejects.toEqual(fenced);
    await expect(one.read([{ region: 4, index: 1, count: 1 }])).rejects.toEqual(fenced);
    await two.write([at(2, 6, 1)]);
  });

  it('loses attempts and tries again, in virtual time', async () => {
    const sim = new Simulation(3);
    const world = sim.process('test').start();
    const store = new MemoryDiskStore({ world, seed: 3, delayMs: [1, 5], loses: 0.3 });
    const disk = store.open(1);
    const writes = Array.from({ length: 50 }, (_, i) => disk.write([at(i, i + 1, i)]));
    await sim.runPromise(Promise.all(writes), 1000);
    expect(store.counts.lost).toBeGreaterThan(5);
    expect(store.contents().size).toBe(49);
  });

  it('leaves a dead client half written, and silent', async () => {
    const sim = new Simulation(4);
    const world = sim.process('test').start();
    const store = new MemoryDiskStore({ world, seed: 4, delayMs: [1, 5] });
    let settled = false;
    const registers = Array.from({ length: 40 }, (_, i) => at(i, 1, 1));
    void store
      .open(1)
      .write(registers)
      .finally(() => (settled = true));
    store.crash(1);
    await sim.runFor(100);
    expect(settled).toBe(false);
    expect(store.contents().size).toBeGreaterThan(5);
    expect(store.contents().size).toBeLessThan(35);
  });

  it('notices bytes that change under a write', async () => {
    const disk = new MemoryDiskStore().open(1);
    const write = at(1, 1, 1);
    const done = disk.write([write]);
    write.bytes[0] = 2;
    await expect(done).rejects.toThrow('did not change');
  });

  it('keeps snapshots, takes chunks back, refuses when full', async () => {
    const store = new MemoryDiskStore();
    const disk = store.open(1);
    await disk.write([
      { region: Region.data, index: 16, tag: { clock: 1, token: 1 }, bytes: page(5) },
    ]);
    const id = await disk.snapshot('before');
    await disk.decommit(Region.data, 16, 16, { clock: 2, token: 1 });
    const read = [{ region: Region.data, index: 16, count: 1 }] as const;
    expect((await disk.read(read))[0].bytes[0]).toBe(0);
    expect((await store.openSnapshot(id).read(read))[0].bytes[0]).toBe(5);
    expect(await disk.statistics()).toMatchObject({ bytesUsed: 0 });
    store.full = true;
    const full = expect.objectContaining({ code: 'DISK_FULL' });
    await expect(disk.write([at(1, 3, 1)])).rejects.toEqual(full);
  });
});
