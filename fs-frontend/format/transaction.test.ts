import { describe, expect, it } from 'vitest';
import { SimRandom } from '#core/world/simulated/random.js';
import { Region, registerBytes } from '../disk/disk.js';
import { replayEntry } from '../log/replay.js';
import { MemoryBlocks, MemoryLog } from './memory-blocks.test-helper.js';
import { decodeRecord } from './record.js';
import { Suspend } from './suspend.js';
import { Transaction } from './transaction.js';
import type { Allocator } from './block.js';

const none: Allocator = {
  metadata: () => 0,
  freeMetadata: () => undefined,
  data: () => ({ start: 0, count: 0 }),
  freeData: () => undefined,
};

function make(log = new MemoryLog(4)) {
  const source = new MemoryBlocks();
  return { source, log, tx: new Transaction(source, none) };
}

/** Random edits of a few blocks. */
function edit(tx: Transaction, random: SimRandom): void {
  for (let count = 1 + random.below(60); count > 0; count--) {
    const region = random.chance(0.5) ? Region.metadata : Region.inodes;
    const index = random.below(4);
    const isFresh = random.chance(0.03);
    const block = isFresh ? tx.fresh(region, index, 0) : tx.get(region, index, 0);
    const size = block.bytes.length;
    const length = random.below(random.chance(0.1) ? size - 8 : 60);
    const at = random.below(size - length - 8);
    switch (random.below(8)) {
      case 0:
        tx.set(block, at, random.bytes(length), 0, length);
        break;
      case 1:
        tx.move(block, random.below(size - length), at, length);
        break;
      case 2:
        tx.fill(block, at, length, random.below(256));
        break;
      case 3:
        tx.u48(block, at, random.u32() * 1000);
        break;
      case 4:
        tx.u64(block, at, -random.u32() * 100);
        break;
      case 5:
        if (random.chance(0.2)) tx.rewrite(block);
        tx.touch(block);
        block.bytes[at] = 77;
        tx.logged(block, at, 1);
        break;
      case 6:
        tx.u16(block, at, random.below(65_536));
        break;
      default:
        tx.u8(block, at, random.below(256));
    }
  }
}

describe('transaction', () => {
  it('FS-3: its record makes the same of the blocks before it; abort makes nothing of them', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = new SimRandom(seed);
      const { source, log, tx } = make();
      for (let round = 0; round < 5; round++) {
        const before = new Map(
          [...source.blocks].map(([key, block]) => [
            key,
            { clock: block.clock, token: block.token, bytes: block.bytes.slice() },
          ]),
        );
        const image = source.snapshot();
        tx.begin();
        edit(tx, random);
        if (random.chance(0.4)) {
          const tags = [...source.blocks.values()].map(({ clock }) => clock);
          tx.abort();
          expect(source.snapshot()).toEqual(image);
          expect([...source.blocks.values()].map(({ clock }) => clock)).toEqual(tags);
          continue;
        }
        const position = tx.commit(log);
        const record = decodeRecord(log.records[log.records.length - 1], 4);
        for (const entry of record.entries) {
          const key = MemoryBlocks.key(entry.region, entry.index);
          const known = before.get(key);
          const { region, index } = entry;
          const bytes = known?.bytes ?? new Uint8Array(registerBytes(region));
          const tag = { clock: known?.clock ?? 0, token: known?.token ?? 0 };
          const block = { region, index, bytes, ...tag, changed: false };
          expect(replayEntry(block, entry, record.bytes)).toBe(true);
          const now = source.blocks.get(key);
          expect(Buffer.compare(block.bytes, now?.bytes ?? block.bytes)).toBe(0);
          expect([now?.clock, now?.token, now?.dirtyTo]).toEqual([entry.clock, 4, position]);
        }
      }
    }
  });

  it('keeps where a block is dirty from, over writes in place', () => {
    const { source, log, tx } = make();
    const block = source.get(Region.metadata, 1, 0);
    const change = (): number => {
      tx.begin();
      tx.u8(block, 0, 1);
      return tx.commit(log);
    };
    const first = change();
    change();
    expect([block.dirty, block.neededFrom]).toEqual([true, first]);
    block.startWrite();
    const third = change();
    expect(block.neededFrom).toBe(first);
    block.endWrite(true);
    expect(block.neededFrom).toBe(third);
    block.startWrite();
    block.endWrite(false);
    expect([block.dirty, block.neededFrom]).toEqual([true, third]);
    block.startWrite();
    block.endWrite(true);
    expect([block.dirty, block.neededFrom]).toEqual([false, 0]);
  });

  it('is taken back when the log has no room', () => {
    const full = new (class extends MemoryLog {
      override reserve(): void {
        throw new Suspend('log room', Promise.resolve());
      }
    })();
    const { source, tx } = make(full);
    const fresh = (): void => void tx.fresh(Region.metadata, 9, 0);
    tx.begin();
    fresh();
    tx.u8(source.get(Region.metadata, 1, 0), 5, 5);
    expect(() => tx.commit(full)).toThrow(Suspend);
    tx.abort();
    expect(source.snapshot().size).toBe(0);
    expect(source.blocks.get(MemoryBlocks.key(Region.metadata, 9))?.valid).toBe(false);
    expect(full.clock).toBe(0);
  });

  it('costs few bytes: neighbouring edits are merged, an outgrown block is its image', () => {
    const { source, log, tx } = make();
    const block = source.get(Region.metadata, 1, 0);
    tx.begin();
    for (let i = 0; i < 50; i++) tx.u8(block, 100 + i, i);
    tx.commit(log);
    expect(log.bytes).toBe(24 + 28 + 5 + 50);
    tx.begin();
    for (let i = 0; i < 4000; i++) tx.u8(block, (i * 61) % 4096, 1);
    tx.commit(log);
    expect(log.records[1].length).toBeLessThan(24 + 28 + 4096 + 20);
    expect(decodeRecord(log.records[1], 4).entries[0].fresh).toBe(true);
  });

  it('refuses blocks that nobody read, and edits outside', () => {
    const { source, tx } = make();
    const block = source.fresh(Region.inodes, 1, 0);
    expect(() => tx.u8(source.get(Region.metadata, 1, 0), 0, 1)).toThrowError('between begin');
    tx.begin();
    expect(() => tx.u8(block, 0, 1)).toThrowError('is read before');
    const good = source.get(Region.inodes, 2, 0);
    expect(() => tx.set(good, 510, new Uint8Array(3), 0, 3)).toThrowError('stays inside');
    expect(() => tx.fill(good, -1, 1, 0)).toThrowError('stays inside');
    tx.abort();
  });
});
