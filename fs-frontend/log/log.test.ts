import { describe, expect, it } from 'vitest';
import { Simulation } from '#core/world/simulated/simulation.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { REGISTER_BYTES, Region, type VirtualDisk } from '../disk/disk.js';
import { MemoryDiskStore } from '../disk/memory-disk.test-helper.js';
import {
  ENTRY_HEADER_BYTES,
  FLAG_FRESH,
  RECORD_HEADER_BYTES,
  putEntryHeader,
  putRecordHeader,
} from '../format/record.js';
import { Suspend } from '../format/suspend.js';
import { ringRegister } from './log-format.js';
import { openLog, type Log } from './log.js';
import { readLog } from './reader.js';

const code = (expected: string) => expect.objectContaining({ code: expected });

/** One FRESH entry that sets `size` bytes to `fill`. */
function record(
  clock: number,
  token: number,
  index: number,
  size: number,
  fill: number,
): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + ENTRY_HEADER_BYTES + 5 + size);
  const view = new DataView(bytes.buffer);
  putRecordHeader(view, bytes.length, 1, clock, token);
  putEntryHeader(view, RECORD_HEADER_BYTES, Region.metadata, FLAG_FRESH, 5 + size, index, 0, 0);
  const at = RECORD_HEADER_BYTES + ENTRY_HEADER_BYTES;
  bytes[at] = 1;
  view.setUint16(at + 3, size, true);
  bytes.fill(fill, at + 5);
  return bytes;
}

function clockFrom(start: number): (count: number) => number {
  let clock = start;
  return (count) => (clock += count) - count + 1;
}

async function open(disk: VirtualDisk, start = 0, ringRegisters?: number): Promise<Log> {
  const options = { disk, slot: 3, takeClocks: clockFrom(start) };
  return openLog(ringRegisters === undefined ? options : { ...options, ringRegisters });
}

describe('log', () => {
  it('keeps records over registers and groups, in order', async () => {
    const disk = new MemoryDiskStore().open(7);
    const log = await open(disk);
    const sizes = [10, 4000, 4096, 3, 4048, 4096, 1, 900];
    for (let i = 0; i < sizes.length * 20; i++) {
      log.append(record(i + 1, 7, i, sizes[i % sizes.length], i));
      if (i % 7 === 3) await log.flush();
    }
    await log.flush();
    expect(log.flush()).toBeUndefined();
    const content = await readLog(disk, 3);
    expect(content.records.length).toBe(sizes.length * 20);
    expect(content.records.map(({ entries }) => entries[0].index)).toEqual(
      Array.from({ length: sizes.length * 20 }, (_, i) => i),
    );
    expect(content.clockMax).toBeGreaterThanOrEqual(sizes.length * 20);
    content.records.forEach(({ bytes }, i) => expect(bytes.at(-1)).toBe(i % 256));
  });

  it('writes one group while the next one fills', async () => {
    const sim = new Simulation(1);
    const world = sim.process('test').start();
    const store = new MemoryDiskStore({ world, seed: 1, delayMs: [1, 1] });
    const disk = store.open(7);
    const log = await sim.runPromise(open(disk), 1000);
    const flushes: Promise<void>[] = [];
    for (let i = 0; i < 40; i++) {
      flushes.push(log.flush(log.append(record(i + 1, 7, i, 50, 1))) ?? Promise.reject());
    }
    await sim.runPromise(Promise.all(flushes), 1000);
    expect(log.counts).toMatchObject({ records: 40, groups: 2, registers: 3 });
  });

  it('comes round its ring many times, reading only what is not in place', async () => {
    const disk = new MemoryDiskStore().open(7);
    const log = await open(disk, 0, 40);
    const positions: number[] = [];
    for (let i = 0; i < 500; i++) {
      for (;;) {
        try {
          log.reserve(1100);
          break;
        } catch (error) {
          if (!(error instanceof Suspend)) throw error;
          await log.flush();
          log.trim(positions[i - 3]);
          await error.ready;
        }
      }
      positions.push(log.append(record(i + 1, 7, i, 1000, i)));
    }
    await log.flush();
    log.trim(positions[490]);
    await log.flush(log.append(record(501, 7, 500, 10, 0)));
    const { records } = await readLog(disk, 3);
    const [first] = records;
    expect(first.entries[0].index).toBeGreaterThan(485);
    expect(first.entries[0].index).toBeLessThanOrEqual(490);
    expect(records.at(-1)?.entries[0].index).toBe(500);
  });

  it('goes round the real ring, over its border', async () => {
    const disk = new MemoryDiskStore().open(7);
    const log = await open(disk);
    let last = 0;
    for (let i = 0; i < 600; i++) {
      log.reserve(150_000);
      for (let k = 0; k < 36; k++) last = log.append(record(i * 36 + k + 1, 7, i, 4000, i));
      await log.flush();
      log.trim(last);
    }
    const { records } = await readLog(disk, 3);
    expect(records.at(-1)?.entries[0].index).toBe(599);
    expect(log.counts.registers).toBeGreaterThan(20_000);
  });

  it('refuses a slot that was not recovered, and takes one that was left clean', async () => {
    const store = new MemoryDiskStore();
    const one = await open(store.open(7));
    await one.flush(one.append(record(1, 7, 1, 10, 1)));
    await one.close();
    await expect(open(store.open(8), 100)).rejects.toEqual(code('CONFLICT'));
    const content = await readLog(store.open(9), 3);
    expect([content.token, content.records.length, content.clean]).toEqual([7, 1, false]);

    const clean = await openLog({ disk: store.open(7), slot: 4, takeClocks: clockFrom(200) });
    await clean.flush(clean.append(record(1, 7, 1, 10, 1)));
    clean.trim(clean.end);
    await clean.close();
    expect(() => clean.append(record(1, 7, 1, 10, 1))).toThrowError(code('CLOSED'));
    const next = await openLog({ disk: store.open(8), slot: 4, takeClocks: clockFrom(300) });
    await next.flush(next.append(record(9, 8, 2, 10, 1)));
    const after = await readLog(store.open(9), 4);
    expect([after.token, after.records.length]).toEqual([8, 1]);
    expect((await readLog(store.open(9), 5)).clean).toBe(true);
  });

  it('fails for good when the disk refuses', async () => {
    const store = new MemoryDiskStore();
    const log = await open(store.open(7));
    await store.open(8).fence(7);
    const flush = log.flush(log.append(record(1, 7, 1, 10, 1)));
    await expect(flush).rejects.toEqual(code('FENCED'));
    expect(() => log.append(record(1, 7, 1, 10, 1))).toThrowError(code('FENCED'));
    await expect(log.flush()).rejects.toEqual(code('FENCED'));
  });

  it('ends at a torn group, and notices a register lost in the middle', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new SimRandom(seed);
      const store = new MemoryDiskStore({ seed });
      const log = await open(store.open(7));
      let count = 0;
      for (let group = 0; group < 5; group++) {
        for (let k = 0; k < 1 + random.below(30); k++) {
          log.append(record(count + 1, 7, count++, 1 + random.below(4000), 1));
        }
        await log.flush();
      }
      for (let k = 0; k < 20; k++) log.append(record(count + 1, 7, count + k, 3000, 1));
      void log.flush();
      store.crash(7);
      await new Promise((resolve) => setImmediate(resolve));
      const { records, end } = await readLog(store.open(8), 3);
      expect(records.length).toBeGreaterThanOrEqual(count);
      records.forEach(({ entries }, i) => expect(entries[0].index).toBe(i));

      // Any register of an earlier group overwritten: never a shorter log, except in the last whole group.
      const lost = 1 + random.below(Math.max(1, end - 40));
      const bytes = new Uint8Array(REGISTER_BYTES).fill(5);
      const tag = { clock: 1e6, token: 8 };
      await store
        .open(8)
        .write([{ region: Region.logs, index: ringRegister(3, lost), tag, bytes }]);
      await expect(readLog(store.open(8), 3)).rejects.toEqual(code('CORRUPTION'));
    }
  });
});
