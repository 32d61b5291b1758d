/** SQL in, rows out, over the fake store. Every script runs again with suspensions at random points: same result. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadParser } from './parse/parser.js';
import { FakeDatabase } from './testing/fake-catalog.js';

beforeAll(async () => loadParser());

function bank(): FakeDatabase {
  const db = new FakeDatabase();
  db.catalog.addTable({
    name: 'accounts',
    columns: ['aid int4 not null', 'bid int4', 'abalance int4', 'filler bpchar(8)'],
    primary: ['aid'],
    indexes: [{ name: 'accounts_bid', columns: ['bid', 'abalance desc'] }],
  });
  db.catalog.addTable({
    name: 'branches',
    columns: ['bid int4 not null', 'name varchar(20)', 'opened date'],
    primary: ['bid'],
  });
  db.run(
    "INSERT INTO branches VALUES (1, 'one', '2020-01-01'), (2, 'two', NULL), (3, 'three', '2021-05-05')",
  );
  db.run(
    'INSERT INTO accounts (aid, bid, abalance) SELECT i, i % 2 + 1, i * 10 FROM generate_series(1, 10) AS g(i)',
  );
  return db;
}

describe('statements by key', () => {
  let db: FakeDatabase;
  beforeEach(() => {
    db = bank();
  });

  it('reads, writes, updates and deletes one row', () => {
    expect(db.show('SELECT abalance FROM accounts WHERE aid = $1', [3])).toEqual(['30']);
    expect(db.run('UPDATE accounts SET abalance = abalance + $1 WHERE aid = $2', [5, 3]).tag).toBe(
      'UPDATE 1',
    );
    expect(db.show('SELECT abalance FROM accounts WHERE aid = 3')).toEqual(['35']);
    expect(db.run('DELETE FROM accounts WHERE aid = 3').tag).toBe('DELETE 1');
    expect(db.show('SELECT abalance FROM accounts WHERE aid = 3')).toEqual([]);
    expect(db.run("INSERT INTO accounts VALUES (3, 1, 0, 'x')").tag).toBe('INSERT 0 1');
    expect(db.show('SELECT * FROM accounts WHERE aid = 3')).toEqual(['3|1|0|x       ']);
  });

  it('serves int4 keys with declared bigint and varchar parameters', () => {
    const explain = db.run('EXPLAIN SELECT 1 FROM accounts WHERE aid = $1', [3n], [20]);
    expect(explain.rows[0]?.[0]).toMatch(/Index Scan using accounts_pkey/);
    expect(db.run('SELECT abalance FROM accounts WHERE aid = $1', [3n], [20]).rows).toEqual([[30]]);
    expect(
      db.run('SELECT abalance FROM accounts WHERE aid = $1', [99999999999n], [20]).rows,
    ).toEqual([]);
  });
});
