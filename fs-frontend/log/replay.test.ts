import { describe, expect, it } from 'vitest';
import { SimRandom } from '#core/world/simulated/random.js';
import { DiskBlocks } from '../check/disk-blocks.js';
import { Region, type RegisterWrite } from '../disk/disk.js';
import { MemoryDiskStore } from '../disk/memory-disk.test-helper.js';
import type { Block } from '../format/block.js';
import { decodeRecord } from '../format/record.js';
import { Transaction } from '../format/transaction.js';
import { openLog, type Log } from './log.js';
import { readLog } from './reader.js';
import { replayEntry, replayLog } from './replay.js';

const SLOT = 2;
const BLOCKS = 12;
const code = (expected: string) => expect.objectContaining({ code: expected });

class Clock {
  now: number;

  constructor(now: number) {
    this.now = now;
  }

  take = (count: number): number => (this.now += count) - count + 1;
  raise = (to: number): void => {
    this.now = Math.max(this.now, to);
  };
}

/** A server in small: transactions over a few blocks, write-back of some of them now and then, trims. */
class Server {
  readonly store: MemoryDiskStore;
  readonly blocks: DiskBlocks;
  readonly tx: Transaction;
  readonly dirty = new Set<Block>();
  readonly log: Log;
  readonly #random: SimRandom;

  constructor(store: MemoryDiskStore, blocks: DiskBlocks, log: Log, random: SimRandom) {
    this.store = store;
    this.blocks = blocks;
    this.log = log;
    this.#random = random;
    const source = {
      get: (region: Region, index: number) => blocks.get(region, index, 0),
      fresh: (region: Region, index: number) => blocks.fresh(region, index, 0),
      edited: (block: Block) => void this.dirty.add(block),
    };
    this.tx = new Transaction(source, blocks.allocator);
  }

  /** What every block holds, by all transactions so far. */
  state(): string[] {
    return Array.from({ length: BLOCKS }, (_, i) => {
      const { bytes } = this.blocks.get(i % 2 === 0 ? Region.metadata : Region.inodes, i, 0);
      return Buffer.from(bytes).toString('latin1');
    });
  }

  transaction(): void {
    const random = this.#random;
    this.tx.begin();
    const count = 1 + random.below(4);
    for (let k = 0; k < count; k++) {
      const i = random.below(BLOCKS);
      const region = i % 2 === 0 ? Region.metadata : Region.inodes;
      const block = random.chance(0.15) ? this.tx.fresh(region, i, 0) : this.tx.get(region, i, 0);
      const size = block.bytes.length;
      for (let edit = random.below(random.chance(0.1) ? 300 : 5); edit >= 0; edit--) {
        const length = random.below(size / 4);
        const from = random.below(size - length);
        const kind = random.below(4);
        if (kind === 0) this.tx.fill(block, from, length, random.below(256));
        else if (kind === 1) this.tx.move(block, random.below(size - length), from, length);
        else if (kind === 2) this.tx.u32(block, random.below(size - 4), random.u32());
        else this.tx.set(block, from, random.bytes(length), 0, length);
      }
    }
    if (random.chance(0.2)) this.tx.abort();
    else this.tx.commit(this.log);
  }

  /** FS-2: the log first, then some dirty blocks in place, then the log may be trimmed. */
  async writeBack(): Promise<void> {
    await this.log.flush();
    const writes: RegisterWrite[] = [];
    const some = [...this.dirty].filter(() => this.#random.chance(0.6));
    for (const block of some) {
      const { region, index, clock, token } = block;
      writes.push({ region, index, tag: { clock, token }, bytes: block.bytes.slice() });
      block.startWrite();
    }
    if (writes.length > 0) await this.blocks.disk.write(writes);
    for (const block of some) {
      block.endWrite(true);
      this.dirty.delete(block);
    }
    let least = this.log.end;
    for (const { neededFrom } of this.dirty) least = Math.min(least, neededFrom);
    if (this.#random.chance(0.5)) this.log.trim(least);
  }
}

async function start(seed: number): Promise<Server> {
  const random = new SimRandom(seed);
  const store = new MemoryDiskStore({ seed });
  const disk = store.open(10);
  const clock = new Clock(100);
  const log = await openLog({ disk, slot: SLOT, takeClocks: clock.take, ringRegisters: 600 });
  const blocks = new DiskBlocks(disk, clock.take);
  await blocks.load([
    { region: Region.metadata, index: 0, count: BLOCKS },
    { region: Region.inodes, index: 0, count: BLOCKS },
  ]);
  return new Server(store, blocks, log, random);
}

async function stored(store: MemoryDiskStore): Promise<string[]> {
  return Array.from({ length: BLOCKS }, (_, i) => {
    const { bytes } = store.peek(i % 2 === 0 ? Region.metadata : Region.inodes, i);
    return Buffer.from(bytes).toString('latin1');
  });
}

function demon(store: MemoryDiskStore, token: number) {
  const clock = new Clock(1);
  const disk = store.open(token);
  return { disk, slot: SLOT, takeClocks: clock.take, raiseClock: clock.raise };
}

describe('replay', () => {
  it('FS-3: any crash point, replayed by demons that die and by two at once, gives the flushed prefix', async () => {
    let applied = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const server = await start(seed);
      const random = new SimRandom(seed + 1000);
      const states = [server.state()];
      const positions = [0];
      const acknowledged = () => positions.findLastIndex((at) => at < server.log.durable);
      for (let i = random.below(120); i >= 0; i--) {
        const before = server.log.counts.records;
        server.transaction();
        if (server.log.counts.records > before) {
          states.push(server.state());
          positions.push(server.log.end - 1);
        }
        if (random.chance(0.2)) await server.log.flush();
        if (random.chance(0.15)) await server.writeBack();
      }
      // Dies with a group, or blocks, or nothing on the way.
      const safe = acknowledged();
      if (random.chance(0.7)) void server.log.flush();
      else if (random.chance(0.5)) void server.writeBack();
      server.store.crash(10);
      await new Promise((resolve) => setImmediate(resolve));

      const { store } = server;
      await store.open(20).fence(10);
      const first = demon(store, 20);
      if (random.chance(0.5)) {
        void replayLog(first);
        for (let turns = random.below(6); turns > 0; turns--) await Promise.resolve();
        store.crash(20);
        await new Promise((resolve) => setImmediate(resolve));
        await store.open(21).fence(20);
      }
      const both = await Promise.all([replayLog(demon(store, 21)), replayLog(demon(store, 22))]);
      applied += both[0].applied;
      const result = await stored(store);
      const which = states.findLastIndex((state) => state.every((bytes, i) => bytes === result[i]));
      expect(which, `seed ${seed}`).toBeGreaterThanOrEqual(safe);
      const again = await replayLog(demon(store, 23));
      expect([again.records, again.applied]).toEqual([0, 0]);
      expect(await stored(store)).toEqual(result);
      const next = new Clock(both[0].clockMax + 10);
      await openLog({ disk: store.open(24), slot: SLOT, takeClocks: next.take });
    }
    expect(applied).toBeGreaterThan(500);
  });

  it('frees the log only at the end: what was replayed by half is replayed again', async () => {
    const server = await start(5);
    for (let i = 0; i < 30; i++) server.transaction();
    await server.log.flush();
    const expected = server.state();
    const { store } = server;
    const before = await readLog(store.open(20), SLOT);
    expect(before.records.length).toBeGreaterThan(10);
    void replayLog(demon(store, 20));
    store.crash(20);
    await new Promise((resolve) => setImmediate(resolve));
    expect((await readLog(store.open(21), SLOT)).records.length).toBe(before.records.length);
    await replayLog(demon(store, 21));
    expect(await stored(store)).toEqual(expected);
  });

  it('skips what is newer, applies to what it names, and stops at anything else', async () => {
    const server = await start(9);
    server.tx.begin();
    server.tx.u32(server.tx.get(Region.metadata, 2, 0), 8, 0xabcd);
    server.tx.commit(server.log);
    await server.log.flush();
    const [{ bytes, entries }] = (await readLog(server.store.open(20), SLOT)).records;
    const block = (clock: number, token: number) => ({
      region: Region.metadata,
      index: 2,
      bytes: new Uint8Array(4096),
      clock,
      token,
      changed: false,
    });
    const [entry] = entries;
    const good = block(0, 0);
    expect(replayEntry(good, entry, bytes)).toBe(true);
    expect([good.bytes[8], good.clock, good.token]).toEqual([0xcd, entry.clock, 10]);
    expect(replayEntry(good, entry, bytes)).toBe(false);
    expect(replayEntry(block(entry.clock, 11), entry, bytes)).toBe(false);
    expect(replayEntry(block(entry.clock + 1, 1), entry, bytes)).toBe(false);
    const stray = block(entry.clock - 1, 3);
    expect(() => replayEntry(stray, entry, bytes)).toThrowError(code('CORRUPTION'));
    expect(() => replayEntry(block(entry.clock, 9), entry, bytes)).toThrowError(code('CORRUPTION'));
    const tag = { clock: entry.clock - 1, token: 3 };
    const register = new Uint8Array(4096);
    const other = server.store.open(3);
    await other.write([{ region: Region.metadata, index: 2, tag, bytes: register }]);
    await expect(replayLog(demon(server.store, 20))).rejects.toEqual(code('CORRUPTION'));
  });

  it('never crashes on a damaged record', async () => {
    const server = await start(4);
    for (let i = 0; i < 5; i++) server.transaction();
    await server.log.flush();
    const { records } = await readLog(server.store.open(20), SLOT);
    const random = new SimRandom(1);
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      const bytes = records[i % records.length].bytes.slice();
      bytes[random.below(Math.min(bytes.length, 200))] ^= 1 << random.below(8);
      try {
        for (const entry of decodeRecord(bytes, 10).entries) {
          const size = entry.region === Region.inodes ? 512 : 4096;
          const block = { region: entry.region, index: 0, bytes: new Uint8Array(size) };
          replayEntry({ ...block, clock: 0, token: 0, changed: false }, entry, bytes);
        }
      } catch (error) {
        expect(error).toEqual(code('CORRUPTION'));
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
  });

  it('carries file data as whole registers', async () => {
    const server = await start(6);
    const data = new Uint8Array(4096).fill(9);
    server.tx.begin();
    server.tx.u8(server.tx.get(Region.inodes, 1, 0), 0, 1);
    const at = server.tx.attach(Region.data, 77, data);
    server.tx.commit(server.log);
    data.fill(0);
    await server.log.flush();
    await replayLog(demon(server.store, 20));
    const { tag, bytes } = server.store.peek(Region.data, 77);
    expect([tag.clock, bytes[0], bytes[4095]]).toEqual([server.tx.firstClock + at, 9, 9]);
  });
});
