/** Waste goes by itself: marks and rows of long ago, without VACUUM, and without harm to who still looks at them. */
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { untilReady } from './pages/page-space.js';
import { TestServer } from './pgwire/test-server.test-helper.js';
import { CHUNK_IDS } from './txn/status-pages.js';

let server: TestServer;
const clients: pg.Client[] = [];

async function start(wasteMinPages: number): Promise<pg.Client> {
  server = await TestServer.start({ engine: { wasteMinPages } });
  return connect();
}

async function connect(): Promise<pg.Client> {
  const client = new pg.Client(server.url);
  await client.connect();
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) await client.end();
  await server.close();
});

/** Uses up ids, each of a transaction of its own. */
async function spend(ids: number): Promise<void> {
  const { transactions } = server.engine;
  for (let i = 0; i < ids; i++) {
    const txn = transactions.begin({ isolation: 'read committed', readOnly: false });
    await untilReady(() => txn.writeId());
    await untilReady(() => txn.commit());
  }
  await new Promise<void>((done) => server.volume.wait(transactions.nowLsn, () => done()));
}

const usedPages = (): number => {
  const { highWater, freeCount } = server.engine.space.header;
  return highWater - freeCount;
};
const oldest = (): Promise<number> => untilReady(() => server.engine.transactions.log.pages.oldest);

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 8000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('it did not come to hold');
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

describe('autovacuum', () => {
  it('frees the pages of commit marks, however many transactions there were', async () => {
    const client = await start(4);
    await client.query('CREATE TABLE t (id int PRIMARY KEY, v int)');
    await client.query('INSERT INTO t VALUES (1, 1)');
    let most = 0;
    for (let round = 1; round <= 6; round++) {
      const end = server.engine.transactions.nextId + 6 * CHUNK_IDS;
      await spend(6 * CHUNK_IDS);
      await client.query('UPDATE t SET v = v + 1');
      await until(async () => (await oldest()) >= end - 2 * CHUNK_IDS);
      if (round <= 2) most = Math.max(most, usedPages());
    }
    expect(usedPages()).toBeLessThanOrEqual(most + 2);
    expect((await client.query('SELECT * FROM t')).rows).toEqual([{ id: 1, v: 7 }]);
  }, 20_000);

  it('takes away what a rolled back transaction and a failed statement wrote', async () => {
    const client = await start(4);
    await client.query('CREATE TABLE t (id int PRIMARY KEY, v text)');
    await client.query("INSERT INTO t SELECT i, 'kept' FROM generate_series(1, 10) i");
    const before = usedPages();
    const fill = "INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1000, 4000) i";
    await client.query('BEGIN');
    await client.query(fill);
    await client.query('SAVEPOINT s');
    await client.query(fill.replace('1000, 4000', '5000, 6000'));
    await client.query('ROLLBACK TO s');
    expect(usedPages()).toBeGreaterThan(before + 30);
    await client.query('ROLLBACK');
    await until(() => usedPages() <= before + 8);
    await expect(client.query(fill.replace('SELECT i', 'SELECT 5000 - i'))).resolves.toBeDefined();
    await client.query('DELETE FROM t WHERE id > 10');
    await expect(client.query(fill.replace('SELECT i', 'SELECT i % 2500'))).rejects.toMatchObject({
      code: '23505',
    });
    await until(() => usedPages() <= before + 8);
    const { rows } = await client.query('SELECT count(*)::int AS n FROM t');
    expect(rows).toEqual([{ n: 10 }]);
  }, 20_000);

  it('forgets no mark that a snapshot still has to be judged by', async () => {
    const client = await start(2);
    await client.query('CREATE TABLE t (id int PRIMARY KEY, v int)');
    await client.query('INSERT INTO t VALUES (1, 1)');
    const reader = await connect();
    await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await reader.query('SELECT * FROM t');
    const from = await oldest();
    await client.query('UPDATE t SET v = 2');
    // The table in memory of what became of ids has 64 Ki slots.
    await spend(66_000);
    await new Promise((wake) => setTimeout(wake, 700));
    expect(await oldest()).toBe(from);
    expect((await reader.query('SELECT v FROM t')).rows).toEqual([{ v: 1 }]);
    await reader.query('COMMIT');
    await spend(3 * CHUNK_IDS);
    await until(async () => (await oldest()) > 60_000);
    expect((await reader.query('SELECT v FROM t')).rows).toEqual([{ v: 2 }]);
  }, 30_000);

  it('waits while somebody holds a table', async () => {
    const client = await start(2);
    await client.query('CREATE TABLE t (id int PRIMARY KEY, v int)');
    await client.query('BEGIN');
    await client.query('LOCK TABLE t');
    const from = await oldest();
    await spend(4 * CHUNK_IDS);
    await new Promise((wake) => setTimeout(wake, 700));
    expect(await oldest()).toBe(from);
    await client.query('COMMIT');
    await until(async () => (await oldest()) > from);
  }, 20_000);

  it('VACUUM of everything allows the marks to go, that of a table does not, and neither runs in a block', async () => {
    const client = await start(1e9);
    await client.query('CREATE TABLE t (id int PRIMARY KEY, v int)');
    await spend(4 * CHUNK_IDS);
    await client.query('VACUUM t');
    await new Promise((wake) => setTimeout(wake, 500));
    expect(await oldest()).toBe(0);
    await client.query('BEGIN');
    const refused = { code: '25001', message: 'VACUUM cannot run inside a transaction block' };
    await expect(client.query('VACUUM')).rejects.toMatchObject(refused);
    await client.query('ROLLBACK');
    await expect(client.query('SELECT 1; VACUUM')).rejects.toMatchObject(refused);
    await client.query('BEGIN');
    await client.query('ANALYZE t');
    await expect(client.query('CREATE INDEX CONCURRENTLY i ON t (v)')).rejects.toMatchObject({
      code: '25001',
    });
    await client.query('ROLLBACK');
    await client.query('VACUUM ANALYZE');
    await until(async () => (await oldest()) >= 4 * CHUNK_IDS);
  }, 20_000);

  it('hot rows and marks keep their number of pages under a long run of transfers', async () => {
    const client = await start(4);
    await client.query('CREATE TABLE branch (id int PRIMARY KEY, v int, filler char(80))');
    await client.query('CREATE TABLE teller (id int PRIMARY KEY, v int, filler char(80))');
    await client.query('INSERT INTO branch SELECT i, 0 FROM generate_series(1, 2) i');
    await client.query('INSERT INTO teller SELECT i, 0 FROM generate_series(1, 20) i');
    const others = await Promise.all([connect(), connect(), connect(), connect()]);
    const transfers = async (count: number): Promise<void> => {
      await Promise.all(
        others.map(async (own, k) => {
          for (let i = 0; i < count; i++) {
            await own.query(
              `BEGIN; UPDATE teller SET v = v + 1 WHERE id = ${((i * 7 + k) % 20) + 1};
               UPDATE branch SET v = v + 1 WHERE id = ${(i % 2) + 1}; ${i % 8 === 0 ? 'ROLLBACK' : 'COMMIT'}`,
            );
          }
        }),
      );
      await spend(4 * CHUNK_IDS);
      const end = server.engine.transactions.nextId;
      await until(async () => (await oldest()) >= end - 5 * CHUNK_IDS);
    };
    await transfers(100);
    const before = usedPages();
    for (let round = 0; round < 2; round++) await transfers(300);
    expect(usedPages()).toBeLessThanOrEqual(before + 6);
    const { rows } = await client.query(
      'SELECT (SELECT sum(v) FROM branch)::int AS a, (SELECT sum(v) FROM teller)::int AS b',
    );
    const kept = 4 * (100 - 13 + 2 * (300 - 38));
    expect(rows).toEqual([{ a: kept, b: kept }]);
  }, 30_000);
});
