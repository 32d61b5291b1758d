/** Rules 22 to 25 of the volume protocol, each with the counter-example that it answers. */
import { describe, expect, it } from 'vitest';
import { checkTree } from '../btree/check.js';
import { untilReady } from '../pages/page-space.js';
import { PAGE_TYPE_HISTORY, PAGE_TYPE_OVERFLOW } from '../pages/page-types.js';
import { CHUNK_IDS } from '../txn/status-pages.js';
import { CrashingVolume } from './crashing-volume.test-helper.js';
import { RowWriteProgress } from './row-write-state.js';
import { TestDatabase, tupleOf, type Row } from './test-helper.js';

const add = (amount: number) => (row: Row) => tupleOf(row.key, row.value + amount, row.bytes);

async function start(): Promise<TestDatabase> {
  const volume = new CrashingVolume();
  const db = await TestDatabase.open(volume);
  const txn = db.begin();
  for (let i = 1; i <= 3; i++) await txn.insert(i, 100);
  await txn.commit();
  volume.advance();
  return db;
}

async function reopen(db: TestDatabase): Promise<TestDatabase> {
  return TestDatabase.open((db.volume as CrashingVolume).crash());
}

async function values(db: TestDatabase): Promise<Record<number, number>> {
  const txn = db.begin();
  const rows = await txn.rows();
  txn.rollback();
  return Object.fromEntries(rows.map((row) => [row.key, row.value]));
}

/** Pages of a type among all that were ever given out and are not free. */
async function pagesOf(db: TestDatabase, type: number): Promise<number> {
  const free = new Set(await untilReady(() => db.space.allocator.freePages()));
  let count = 0;
  for (let pageNo = 1; pageNo < db.space.header.highWater; pageNo++) {
    const base = await untilReady(() => db.space.cache.base(pageNo));
    if (db.space.cache.bytes[base + 8] === type && !free.has(pageNo)) count++;
  }
  return count;
}

describe('rule 22: versions', () => {
  it('keeps the committed predecessor of a version whose transaction dies in a crash', async () => {
    const db = await start();
    const txn = db.begin();
    for (let i = 0; i < 5; i++) await txn.update(1, add(1));
    db.volume.advance();
    const again = await reopen(db);
    expect(await values(again)).toEqual({ 1: 100, 2: 100, 3: 100 });
  });

  it('keeps the committed predecessor when the newest of three commits is lost with the tail', async () => {
    const db = await start();
    const first = db.begin();
    await first.update(1, add(1));
    await first.commit();
    db.volume.advance();
    for (let i = 0; i < 3; i++) {
      const txn = db.begin();
      await txn.update(1, add(10));
      await txn.commit();
    }
    const again = await reopen(db);
    expect(await values(again)).toEqual({ 1: 101, 2: 100, 3: 100 });
  });

  it('an aborted version supersedes nothing: the next writer builds on what it hid', async () => {
    const db = await start();
    const dead = db.begin();
    await dead.update(1, () => tupleOf(1, 1, 1500));
    dead.txn.savepoint('s');
    await dead.update(1, () => tupleOf(50, 2, 5000));
    dead.rollback();
    const txn = db.begin();
    await txn.update(1, add(7));
    await txn.commit();
    expect(await values(db)).toEqual({ 1: 107, 2: 100, 3: 100 });
  });

  it('going back to a savepoint finds the version that an own update was put upon', async () => {
    const db = await start();
    const txn = db.begin();
    await txn.update(1, add(1));
    txn.txn.savepoint('s');
    await txn.update(1, add(10));
    await txn.update(1, add(100));
    txn.txn.rollbackTo('s');
    await txn.commit();
    db.volume.advance();
    expect(await values(await reopen(db))).toEqual({ 1: 101, 2: 100, 3: 100 });
  });

  it('gives history and overflow pages back when nobody can see what is in them', async () => {
    const db = await start();
    const old = db.begin('repeatable read');
    await old.find(1);
    for (let i = 0; i < 30; i++) {
      const txn = db.begin();
      await txn.update(1, () => tupleOf(1, i, 400));
      await txn.update(2, () => tupleOf(2, i, 9000));
      await txn.commit();
    }
    expect(await pagesOf(db, PAGE_TYPE_HISTORY)).toBeGreaterThan(1);
    expect(await pagesOf(db, PAGE_TYPE_OVERFLOW)).toBe(60);
    old.rollback();
    db.volume.advance();
    await db.purge();
    // The page that is being filled stays.
    expect(await pagesOf(db, PAGE_TYPE_HISTORY)).toBe(1);
    expect(await pagesOf(db, PAGE_TYPE_OVERFLOW)).toBe(2);
    expect(await values(db)).toEqual({ 1: 29, 2: 29, 3: 100 });
  });

  it('a dropped table gives back all its pages, history and overflow included', async () => {
    const db = await start();
    const old = db.begin('repeatable read');
    await old.find(1);
    const txn = db.begin();
    for (let i = 0; i < 3; i++) await txn.update(1, () => tupleOf(1, i, 9000));
    for (const tree of [db.table, ...db.table.indexes]) {
      db.store.dropTree(txn.txn, tree.rootPageNo);
    }
    await txn.commit();
    expect(await pagesOf(db, PAGE_TYPE_OVERFLOW)).toBe(6);
    await db.purge();
    expect(await pagesOf(db, PAGE_TYPE_OVERFLOW)).toBe(6);
    old.rollback();
    db.volume.advance();
    await db.purge();
    expect(await pagesOf(db, PAGE_TYPE_OVERFLOW)).toBe(0);
    expect(await pagesOf(db, 3)).toBe(0);
  });
});

describe('rule 23: transaction ids', () => {
  it('an id used by a transaction of before the crash is never given out again', async () => {
    const db = await start();
    const lost = db.begin();
    await lost.update(1, add(1));
    const { id } = lost.txn;
    db.volume.advance();
    const again = await reopen(db);
    const txn = again.begin();
    await txn.update(2, add(1));
    expect(txn.txn.id).toBeGreaterThan(id);
    await txn.commit();
    expect(await values(again)).toEqual({ 1: 100, 2: 101, 3: 100 });
  });

  it('opens with a bounded number of page reads, whatever lies there', async () => {
    const db = await start();
    const txn = db.begin();
    for (let i = 10; i < 2000; i++) await txn.insert(i, i);
    db.volume.advance();
    const volume = (db.volume as CrashingVolume).crash();
    await TestDatabase.open(volume);
    expect(volume.pageReads).toBeLessThan(4);
  });

  it('forgets marks only up to what a sweep has cleaned; older versions stay visible, aborted ones gone', async () => {
    const db = await start();
    const aborted = db.begin();
    await aborted.update(1, add(1));
    await aborted.insert(70, 1);
    aborted.rollback();
    for (let i = 0; i < 3 * CHUNK_IDS; i++) {
      const txn = db.begin();
      txn.txn.writeId();
      await txn.commit();
    }
    db.volume.advance();
    const limit = db.manager.oldestId;
    await db.vacuum();
    let steps = 0;
    while (!(await untilReady(() => db.manager.forgetStep(limit)))) steps++;
    expect(steps).toBeGreaterThan(2);
    db.volume.advance();
    const again = await reopen(db);
    expect(await values(again)).toEqual({ 1: 100, 2: 100, 3: 100 });
    expect(await untilReady(() => again.manager.log.pages.oldest)).toBeGreaterThan(CHUNK_IDS);
    for (const index of again.table.indexes) {
      expect((await checkTree(again.space, index.rootPageNo)).cells).toBe(3);
    }
  });
});

describe('rule 25: answers rest on commits', () => {
  const committed = async (db: TestDatabase, key: number | null): Promise<number> => {
    const txn = db.begin();
    if (key === null) await txn.insert(9, 1);
    else await txn.delete(key);
    return txn.commit();
  };

  it('covers a row found, a deletion, and a duplicate key, before they are durable', async () => {
    const db = await start();
    const deleted = await committed(db, 1);
    const inserted = await committed(db, null);
    const reader = db.begin();
    expect(await reader.find(1)).toBeUndefined();
    expect(reader.txn.coveredLsn).toBe(deleted);
    expect(await reader.find(9)).toBeDefined();
    expect(reader.txn.coveredLsn).toBe(inserted);
    const writer = db.begin();
    await expect(writer.insert(9, 2)).rejects.toMatchObject({ code: '23505' });
    expect(writer.txn.coveredLsn).toBe(inserted);
    expect(inserted).toBeGreaterThan(db.volume.vdl);
  });

  it('an absence is covered as long as the deletion can be lost, pruned or not', async () => {
    const db = await start();
    const deleted = await committed(db, 1);
    await db.purge();
    await db.vacuum();
    const reader = db.begin();
    expect(await reader.find(1)).toBeUndefined();
    expect(reader.txn.coveredLsn).toBe(deleted);
    reader.rollback();
    expect(await values(await reopen(db))).toEqual({ 1: 100, 2: 100, 3: 100 });
  });

  it('locks go when the commit has its LSN: the next writer does not wait for VDL, and is lost too', async () => {
    const db = await start();
    const [a, b] = [db.begin(), db.begin()];
    await a.update(1, add(1));
    const next = b.update(1, add(10));
    await a.commit();
    expect(await next).toBe(1);
    const lsn = await b.commit();
    expect(db.volume.vdl).toBeLessThan(lsn);
    expect(await values(await reopen(db))).toEqual({ 1: 100, 2: 100, 3: 100 });
  });

  it('0 when nothing was written', async () => {
    const db = await start();
    const txn = db.begin();
    await txn.find(1);
    expect(await txn.commit()).toBe(0);
  });
});

describe('building an index', () => {
  it('has every version that a snapshot may see, and refuses duplicates', async () => {
    const db = await start();
    const old = db.begin('repeatable read');
    await old.find(1);
    const change = db.begin();
    await change.update(1, () => tupleOf(1, 555));
    await change.commit();
    const full = db.table;
    const [keys] = full.indexes;
    const txn = db.begin();
    const root = await untilReady(() => db.store.createTree(txn.txn));
    const index = { ...full.indexes[1]!, rootPageNo: root, name: 'again' };
    const state = new RowWriteProgress();
    while (!(await untilReady(() => db.store.buildIndex(full, index, txn.txn, state))));
    await txn.commit();
    db.table = { ...full, indexes: [keys!, index] };
    expect((await old.rows()).map((row) => row.value)).toEqual([100, 100, 100]);
    expect(await values(db)).toEqual({ 1: 555, 2: 100, 3: 100 });
    old.rollback();
    db.volume.advance();
    await db.vacuum();
    expect((await checkTree(db.space, root)).cells).toBe(3);
    const again = db.begin();
    const other = await untilReady(() => db.store.createTree(again.txn));
    const unique = { ...index, rootPageNo: other, unique: true };
    expect(() => db.store.buildIndex(full, unique, again.txn, new RowWriteProgress())).toThrow(
      'could not create unique index "again"',
    );
    again.rollback();
    await db.purge();
  });

  it.each(['rolled back', 'rolled back to a savepoint'])(
    'that takes the place of another, %s: the other one goes on losing entries of rows that go',
    async (how) => {
      const db = await start();
      const full = db.table;
      const [, values2] = full.indexes;
      const change = db.begin();
      await change.delete(1);
      await change.commit();
      const txn = db.begin();
      txn.txn.savepoint('s');
      const root = await untilReady(() => db.store.createTree(txn.txn));
      const index = { ...values2!, rootPageNo: root };
      const state = new RowWriteProgress();
      while (!(await untilReady(() => db.store.buildIndex(full, index, txn.txn, state))));
      if (how !== 'rolled back') txn.txn.rollbackTo('s');
      txn.rollback();
      db.volume.advance();
      await db.purge();
      for (const { rootPageNo } of full.indexes) {
        expect((await checkTree(db.space, rootPageNo)).cells).toBe(2);
      }
    },
  );

  it('at the same time as another: both lose entries of rows that go', async () => {
    const db = await start();
    const full = db.table;
    const change = db.begin();
    await change.delete(1);
    await change.commit();
    const old = db.begin('repeatable read');
    await old.find(2);
    const txn = db.begin();
    const roots: number[] = [];
    for (const name of ['a', 'b']) {
      const root = await untilReady(() => db.store.createTree(txn.txn));
      roots.push(root);
      const index = { ...full.indexes[1]!, rootPageNo: root, name };
      const state = new RowWriteProgress();
      // Neither knows of the other.
      while (!(await untilReady(() => db.store.buildIndex(full, index, txn.txn, state))));
      const cells = (await checkTree(db.space, root)).cells;
      expect(cells).toBe(3);
    }
    await txn.commit();
    old.rollback();
    db.volume.advance();
    await db.purge();
    for (const root of roots) expect((await checkTree(db.space, root)).cells).toBe(2);
  });
});

describe('row ids', () => {
  it('are never given out twice, though the end of the table was emptied before a restart', async () => {
    const db = await start();
    const txn = db.begin();
    for (let i = 10; i < 3000; i++) await txn.insert(i, i, 500);
    await txn.commit();
    const remover = db.begin();
    for (let i = 2999; i >= 1500; i--) await remover.delete(i);
    await remover.commit();
    db.volume.advance();
    await db.vacuum();
    db.volume.advance();
    const again = await reopen(db);
    const writer = again.begin();
    for (let i = 5000; i < 5100; i++) await writer.insert(i, i);
    await writer.commit();
    expect(await again.begin().rows()).toHaveLength(3 + 1490 + 100);
  });
});
