import { describe, expect, it } from 'vitest';
import { MemoryVolume } from '../volume/memory-volume.js';
import { checkTree } from '../btree/check.js';
import { TestDatabase, tupleOf } from './test-helper.js';

const TINY = 40 * 8192;

async function checkAll(db: TestDatabase): Promise<void> {
  for (const root of [db.table.rootPageNo, ...db.table.indexes.map((i) => i.rootPageNo)]) {
    await checkTree(db.space, root);
  }
}

describe('table store', () => {
  it('inserts, finds, updates and deletes, and only after commit for others', async () => {
    const db = await TestDatabase.open(new MemoryVolume());
    const a = db.begin();
    const b = db.begin();
    await a.insert(1, 10);
    await a.insert(2, 20);
    expect(await b.rows()).toEqual([]);
    expect(await a.rows()).toHaveLength(2);
    await a.commit();
    expect((await b.rows()).map((row) => [row.key, row.value])).toEqual([
      [1, 10],
      [2, 20],
    ]);
    expect(await b.update(1, (row) => tupleOf(1, row.value + 1))).toBe(1);
    expect((await b.find(1))?.value).toBe(11);
    expect((await db.begin().find(1))?.value).toBe(10);
    expect(await b.delete(2)).toBe(1);
    await b.commit();
    expect(await db.begin().rows()).toMatchObject([{ key: 1, value: 11 }]);
    await checkAll(db);
  });

  it('fills thousands of rows through a tiny cache and keeps them across a reopening', async () => {
    const volume = new MemoryVolume();
    const db = await TestDatabase.open(volume, TINY);
    const txn = db.begin();
    for (let i = 0; i < 3000; i++) await txn.insert((i * 7919) % 3000, i, 60);
    await txn.commit();
    const other = db.begin();
    for (let i = 0; i < 3000; i += 3) {
      expect(await other.update(i, (row) => tupleOf(i, row.value + 100_000, 60))).toBe(1);
    }
    await other.commit();
    await checkAll(db);
    await db.durable();
    const again = await TestDatabase.open(volume, TINY);
    const rows = await again.begin().rows();
    expect(rows).toHaveLength(3000);
    expect(rows.every((row) => row.value >= 100_000 === (row.key % 3 === 0))).toBe(true);
  });

  it('keeps rows of any length, through every change of length', async () => {
    const db = await TestDatabase.open(new MemoryVolume(), TINY);
    const txn = db.begin();
    const lengths = [8, 1899, 1901, 30, 50_000, 1500, 1400, 9000, 8];
    await txn.insert(1, 0, 8);
    await txn.commit();
    const old = db.begin('repeatable read');
    const seen = old.statement();
    for (const length of lengths) {
      const writer = db.begin();
      expect(await writer.update(1, () => tupleOf(1, length, length))).toBe(1);
      expect((await writer.find(1))?.bytes).toBe(length);
      await writer.commit();
      expect(await db.begin().find(1)).toMatchObject({ value: length, bytes: length });
      expect(await old.find(1, seen)).toMatchObject({ value: 0, bytes: 8 });
    }
    await old.commit();
    await db.purge();
    await db.vacuum();
    expect(await db.begin().find(1)).toMatchObject({ value: 8, bytes: 8 });
    await checkAll(db);
  });
});
