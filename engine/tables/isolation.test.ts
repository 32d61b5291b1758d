import { describe, expect, it } from 'vitest';
import { MemoryVolume } from '../volume/memory-volume.js';
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';
import { RowWriteProgress } from './row-write-state.js';
import {
  exactly,
  rowOf,
  TestDatabase,
  tupleOf,
  type Row,
  type TestTransaction,
} from './test-helper.js';

async function bank(accounts = 4): Promise<TestDatabase> {
  const db = await TestDatabase.open(new MemoryVolume());
  const txn = db.begin();
  for (let i = 1; i <= accounts; i++) await txn.insert(i, 100);
  await txn.commit();
  return db;
}

const add = (amount: number) => (row: Row) => tupleOf(row.key, row.value + amount);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function value(db: TestDatabase, key: number): Promise<number | undefined> {
  const txn = db.begin();
  const row = await txn.find(key);
  txn.rollback();
  return row?.value;
}

/** 'waits' as long as the promise is pending. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  await turn();
  return Promise.race([promise.then(() => 'done'), Promise.resolve('waits')]);
}

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'ok',
    (error: unknown) => (error instanceof SqlError ? error.code : String(error)),
  );

describe('isolation', () => {
  it('G0 dirty write: the second writer waits for the first to end', async () => {
    const db = await bank();
    const [a, b] = [db.begin(), db.begin()];
    await a.update(1, () => tupleOf(1, 11));
    const second = b.update(1, () => tupleOf(1, 12));
    expect(await stateOf(second)).toBe('waits');
    await a.update(2, () => tupleOf(2, 21));
    await a.commit();
    expect(await second).toBe(1);
    await b.update(2, () => tupleOf(2, 22));
    await b.commit();
    expect([await value(db, 1), await value(db, 2)]).toEqual([12, 22]);
  });

  it('G1a aborted read, G1b intermediate read, G1c circular flow: none is seen', async () => {
    const db = await bank();
    const [a, b] = [db.begin(), db.begin()];
    await a.update(1, () => tupleOf(1, 101));
    expect((await b.find(1))?.value).toBe(100);
    await a.update(1, () => tupleOf(1, 11));
    await b.update(2, () => tupleOf(2, 22));
    expect((await a.find(2))?.value).toBe(100);
    expect((await b.find(1))?.value).toBe(100);
    a.rollback();
    expect((await b.find(1))?.value).toBe(100);
    await b.commit();
    expect([await value(db, 1), await value(db, 2)]).toEqual([100, 22]);
  });

  it('lost update: READ COMMITTED works on the newest version, REPEATABLE READ gives up', async () => {
    const db = await bank();
    const [a, b, c] = [db.begin(), db.begin(), db.begin('repeatable read')];
    await c.find(1);
    await a.update(1, add(10));
    const later = b.update(1, add(5));
    const refused = code(c.update(1, add(1)));
    expect(await stateOf(later)).toBe('waits');
    await a.commit();
    expect(await later).toBe(1);
    await b.commit();
    expect(await refused).toBe('40001');
    c.rollback();
    expect(await value(db, 1)).toBe(115);
  });

  it('a row deleted meanwhile is gone, one whose key moved away no longer qualifies', async () => {
    const db = await bank();
    const [a, b, c] = [db.begin(), db.begin(), db.begin()];
    await a.delete(1);
    await a.update(2, () => tupleOf(20, 1));
    const updates = [b.update(1, add(1)), c.update(2, add(1))];
    await turn();
    await a.commit();
    expect(await Promise.all(updates)).toEqual([0, 0]);
    expect(await value(db, 20)).toBe(1);
  });

  it('REPEATABLE READ sees one snapshot, whatever is updated, deleted, pruned and vacuumed', async () => {
    const db = await bank();
    const old = db.begin('repeatable read');
    const before = await old.rows();
    for (let i = 0; i < 40; i++) {
      const txn = db.begin();
      await txn.update(1, add(1));
      await txn.update(2, (row) => tupleOf(2, row.value + 1, 24 + i * 10));
      if (i === 20) await txn.delete(3);
      await txn.commit();
      await db.durable();
      if (i % 10 === 0) await db.purge();
    }
    await db.vacuum();
    expect(await old.rows()).toEqual(before);
    old.rollback();
    await db.purge();
    await db.vacuum();
    expect(await value(db, 1)).toBe(140);
    expect(await db.begin().rows()).toHaveLength(3);
  });

  it('a statement never sees its own writes, and no row twice', async () => {
    const db = await bank(50);
    const txn = db.begin();
    const snapshot = txn.statement();
    const { store, table } = db;
    const cursor = store.indexScan(table, table.indexes[1], snapshot, {
      lower: null,
      lowerInclusive: true,
      upper: null,
      upperInclusive: true,
    });
    let seen = 0;
    const state = new RowWriteProgress();
    while (cursor.next()) {
      seen++;
      const row = rowOf(cursor);
      const tuple = tupleOf(row.key, row.value + 1);
      state.reset();
      const outcome = store.update(table, txn.txn, snapshot, row.rowId, tuple, 0, 24, state);
      expect(outcome).toBe('ok');
      state.reset();
      const again = store.update(table, txn.txn, snapshot, row.rowId, tuple, 0, 24, state);
      expect(again).toBe('self');
    }
    expect(seen).toBe(50);
    await txn.commit();
    expect((await db.begin().rows()).every((row) => row.value === 101)).toBe(true);
  });

  it('an own row updated by an earlier command is seen by the next as that left it', async () => {
    const db = await bank();
    const txn = db.begin();
    await txn.update(1, add(1));
    await txn.update(1, add(1));
    const snapshot = txn.statement();
    const { store, table } = db;
    const row = rowOf(store.fetch(table, snapshot, 1)!);
    expect(row.value).toBe(102);
    const tuple = tupleOf(1, 999);
    store.update(table, txn.txn, snapshot, 1, tuple, 0, 24, new RowWriteProgress());
    // A self-join of the same statement reads what it was when the statement began.
    expect(rowOf(store.fetch(table, snapshot, 1)!).value).toBe(102);
    await txn.commit();
    expect(await value(db, 1)).toBe(999);
  });
});

describe('savepoints', () => {
  it('go back to each of them and forward again, with locks and actions', async () => {
    const db = await bank();
    const a = db.begin();
    const undone: string[] = [];
    await a.update(1, add(1));
    a.txn.savepoint('x');
    a.txn.onAbort(() => undone.push('x'));
    await a.update(1, add(10));
    a.txn.savepoint('y');
    await a.update(1, add(100));
    await a.update(2, add(1));
    const b = db.begin();
    const waiting = b.update(2, add(5));
    expect(await stateOf(waiting)).toBe('waits');
    a.txn.rollbackTo('y');
    expect(await waiting).toBe(1);
    expect((await a.find(1))?.value).toBe(111);
    await a.update(1, add(1000));
    a.txn.rollbackTo('x');
    expect(undone).toEqual(['x']);
    expect((await a.find(1))?.value).toBe(101);
    expect(() => a.txn.rollbackTo('y')).toThrow(/"y" does not exist/);
    a.txn.release('x');
    expect(() => a.txn.rollbackTo('x')).toThrow(/"x" does not exist/);
    await a.update(1, add(2));
    await a.commit();
    await b.commit();
    expect([await value(db, 1), await value(db, 2)]).toEqual([103, 105]);
  });

  it('commits thousands of sub-transactions at once, over more pages than an MTR takes', async () => {
    const volume = new MemoryVolume();
    const db = await TestDatabase.open(volume);
    const txn = db.begin();
    const other = db.begin();
    for (let i = 0; i < 60; i++) {
      txn.txn.savepoint('s');
      await txn.insert(i, i);
      if (i % 2 === 0) txn.txn.rollbackTo('s');
      // Other transactions' ids in between: each of its own lies on a page of its own.
      for (let k = 0; k < 700; k++) {
        other.txn.savepoint('s');
        other.txn.writeId();
      }
    }
    other.rollback();
    await txn.commit();
    expect(await db.begin().rows()).toHaveLength(30);
    await db.durable();
    const again = await TestDatabase.open(volume);
    expect((await again.begin().rows()).map((row) => row.key % 2)).toEqual(Array(30).fill(1));
  });
});

describe('unique keys', () => {
  it('refuses a committed key, and tells which', async () => {
    const db = await bank();
    const error = await db
      .begin()
      .insert(1, 5)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: '23505',
      message: 'duplicate key value violates unique constraint "t_key"',
      fields: { detail: 'Key (t_key)=(1) already exists.', table: 't', constraint: 't_key' },
    });
  });

  it('waits for the other inserter: refused when he commits, let in when he does not', async () => {
    const db = await bank();
    const [a, b, c] = [db.begin(), db.begin(), db.begin()];
    await a.insert(9, 1);
    const inserts = [code(b.insert(9, 2)), code(c.insert(9, 3))];
    expect(await stateOf(inserts[0]!)).toBe('waits');
    a.rollback();
    expect(await inserts[0]).toBe('ok');
    expect(await stateOf(inserts[1]!)).toBe('waits');
    await b.commit();
    expect(await inserts[1]).toBe('23505');
    expect(c.txn.coveredLsn).toBeGreaterThan(0);
    expect(await value(db, 9)).toBe(2);
  });

  it('waits for a deleter and takes his key over', async () => {
    const db = await bank();
    const [a, b] = [db.begin(), db.begin()];
    await a.delete(1);
    const insert = code(b.insert(1, 7));
    expect(await stateOf(insert)).toBe('waits');
    await a.commit();
    expect(await insert).toBe('ok');
    await b.commit();
    expect(await value(db, 1)).toBe(7);
  });

  it('reports a conflict instead of failing, with the row as it is', async () => {
    const db = await bank();
    const txn = db.begin();
    expect(await txn.insert(1, 5, 24, 'report')).toBe(-1);
    expect(rowOf(db.store.newest)).toMatchObject({ key: 1, value: 100 });
    expect(await txn.insert(9, 5, 24, 'report')).toBeGreaterThan(0);
    expect(await txn.insert(9, 6, 24, 'report')).toBe(-1);
    expect(rowOf(db.store.newest)).toMatchObject({ key: 9, value: 5 });
    await txn.commit();
    expect(await db.begin().rows()).toHaveLength(5);
  });
});

describe('row locks', () => {
  const lock = (
    txn: TestTransaction,
    key: number,
    mode: 'update' | 'no-key-update' | 'share' | 'key-share',
    wait: 'wait' | 'nowait' | 'skip',
  ): string => {
    const { store, table } = txn.db;
    const snapshot = txn.statement();
    const cursor = store.indexScan(table, table.indexes[0], snapshot, exactly(key));
    cursor.next();
    try {
      return store.lock(table, txn.txn, snapshot, cursor.rowId, mode, wait);
    } catch (thrown) {
      if (thrown instanceof SqlError) return thrown.code;
      if (thrown instanceof Suspend) {
        txn.txn.cancelWait(new SqlError('57014', 'cancelled'));
        return 'waits';
      }
      throw thrown;
    }
  };
  const MODES = ['key-share', 'share', 'no-key-update', 'update'] as const;

  it("has PostgreSQL's conflict matrix, against locks and against writers", async () => {
    const db = await bank();
    const conflicts = ['0001', '0011', '0111', '1111'];
    for (const [i, held] of MODES.entries()) {
      for (const [j, wanted] of MODES.entries()) {
        const [a, b] = [db.begin(), db.begin()];
        expect(lock(a, 1, held, 'wait')).toBe('ok');
        const free = conflicts[i]![j] === '0';
        expect(lock(b, 1, wanted, 'wait')).toBe(free ? 'ok' : 'waits');
        expect(lock(b, 1, wanted, 'nowait')).toBe(free ? 'ok' : '55P03');
        expect(lock(b, 1, wanted, 'skip')).toBe(free ? 'ok' : 'skipped');
        a.rollback();
        b.rollback();
      }
      const [a, b] = [db.begin(), db.begin()];
      await a.update(1, add(1));
      expect(lock(b, 1, held, 'nowait')).toBe(i === 0 ? 'ok' : '55P03');
      b.rollback();
      const c = db.begin();
      await a.update(1, () => tupleOf(77, 1));
      expect(lock(c, 1, held, 'skip')).toBe('skipped');
      a.rollback();
      c.rollback();
    }
    expect(db.manager.rows.size).toBe(0);
  });

  it('keeps writers out, and lets them in one by one in the order of their coming', async () => {
    const db = await bank();
    const holder = db.begin();
    expect(lock(holder, 1, 'share', 'wait')).toBe('ok');
    const order: number[] = [];
    const clients = Array.from({ length: 8 }, async (_, i) => {
      const txn = db.begin();
      await txn.update(1, add(1));
      order.push(i);
      await txn.commit();
    });
    await turn();
    expect(order).toEqual([]);
    holder.rollback();
    await Promise.all(clients);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await value(db, 1)).toBe(108);
    expect(db.manager.rows.size).toBe(0);
  });

  it('wakes only the next of many who wait for a hot row', async () => {
    const db = await bank();
    const holder = db.begin();
    await holder.update(1, add(1));
    const waiting = Array.from({ length: 10 }, () => db.begin());
    const done = waiting.map((txn) => txn.update(1, add(1)));
    await turn();
    await holder.commit();
    await turn();
    expect(waiting.filter((txn) => txn.txn.locks.actor.waiting === null)).toHaveLength(1);
    for (const [i, txn] of waiting.entries()) {
      expect(await done[i]).toBe(1);
      await txn.commit();
    }
    expect(await value(db, 1)).toBe(111);
  });

  it('lets a waiter be cancelled without disturbing the queue', async () => {
    const db = await bank();
    const [a, b, c] = [db.begin(), db.begin(), db.begin()];
    await a.update(1, add(1));
    const cancelled = code(b.update(1, add(10)));
    const later = c.update(1, add(100));
    await turn();
    expect(b.txn.cancelWait(new SqlError('57014', 'cancelled'))).toBe(true);
    expect(await cancelled).toBe('57014');
    b.rollback();
    await a.commit();
    expect(await later).toBe(1);
    await c.commit();
    expect(await value(db, 1)).toBe(201);
  });

  it('finds a deadlock at the wait that closes it: the requester gets 40P01', async () => {
    const db = await bank();
    const txns = [db.begin(), db.begin(), db.begin()];
    for (const [i, txn] of txns.entries()) await txn.update(i + 1, add(1));
    const first = txns[0]!.update(2, add(1));
    const second = txns[1]!.update(3, add(1));
    await turn();
    expect(await code(txns[2]!.update(1, add(1)))).toBe('40P01');
    txns[2]!.rollback();
    expect(await second).toBe(1);
    await txns[1]!.commit();
    expect(await first).toBe(1);
    await txns[0]!.commit();
    expect(await value(db, 2)).toBe(102);
  });

  it('finds deadlocks across rows, unique keys and advisory locks', async () => {
    const db = await bank();
    const [a, b] = [db.begin(), db.begin()];
    const { advisory } = db.manager;
    advisory.lockInTransaction(a.txn.locks, '1:5', false, true);
    await b.insert(9, 1);
    const waiting = a.insert(9, 2);
    await turn();
    expect(() => advisory.lockInTransaction(b.txn.locks, '1:5', true, true)).toThrow('deadlock');
    b.rollback();
    expect(await waiting).toBeGreaterThan(0);
  });

  it('finds the deadlock of two who upgrade a shared lock', async () => {
    const db = await bank();
    const [a, b] = [db.begin(), db.begin()];
    expect(lock(a, 1, 'share', 'wait')).toBe('ok');
    expect(lock(b, 1, 'share', 'wait')).toBe('ok');
    const first = a.update(1, add(1));
    await turn();
    expect(await code(b.update(1, add(1)))).toBe('40P01');
    b.rollback();
    expect(await first).toBe(1);
    expect(db.manager.rows.list()).toHaveLength(2);
    await a.commit();
    expect(db.manager.rows.size).toBe(0);
  });

  it('deletes under FOR KEY SHARE wait, updates of other columns do not', async () => {
    const db = await bank();
    const [a, b, c] = [db.begin(), db.begin(), db.begin()];
    expect(lock(a, 1, 'key-share', 'wait')).toBe('ok');
    expect(await b.update(1, add(1))).toBe(1);
    await b.commit();
    const deletion = c.delete(1);
    expect(await stateOf(deletion)).toBe('waits');
    a.rollback();
    expect(await deletion).toBe(1);
  });
});
