/** Rules 22 to 27: what transactions, restarts, answers and the cache owe to the volume. */
import { EmbeddedConnection } from '#engine/api/embedded-connection.js';
import { DATABASE, Engine } from '#engine/engine.js';
import { Violation } from '../violation.js';
import { watchVolume } from '../watch.js';
import { need, type Scenario, type Stage } from './stage.js';

interface Database {
  readonly name: string;
  readonly db: EmbeddedConnection;
  readonly engine: Engine;
  crash(): void;
}

async function openSql(stage: Stage, bufferBytes = 1024 * 1024): Promise<Database> {
  const { process, name, opened } = stage.opening({ pagesPerPg: 60, lal: 1000 });
  const volume = await stage.run(opened);
  watchVolume(stage.cluster, name, volume);
  const world = stage.worldOf(process);
  const { txn } = stage.cluster.planted;
  const options = { volume, bufferBytes, ...(txn === undefined ? {} : { faults: txn }) };
  const engine = await stage.run(Engine.open(world, options));
  const db = new EmbeddedConnection(engine, 'postgres', DATABASE);
  return { name, db, engine, crash: () => process.crash() };
}

const connect = ({ engine }: Database): EmbeddedConnection =>
  new EmbeddedConnection(engine, 'postgres', DATABASE);

async function values(stage: Stage, db: EmbeddedConnection, sql: string): Promise<string> {
  const { rows } = await stage.run(db.query<unknown[]>(sql, [], { rowMode: 'array' }));
  return rows.map((row) => row.join(':')).join(' ');
}

function same(checker: string, found: string, expected: string, what: string): void {
  if (found !== expected) throw new Violation(checker, `${what}: ${found}, not ${expected}`);
}

export const ENGINE: readonly Scenario[] = [
  {
    rule: 22,
    name: 'an update that never commits leaves the version before it',
    needs: [need('txn', 'dropPredecessor', 'TXN-1')],
    async run(stage) {
      const first = await openSql(stage);
      await stage.run(first.db.exec('CREATE TABLE t (id int PRIMARY KEY, v int)'));
      await stage.run(first.db.exec('INSERT INTO t VALUES (1, 10), (2, 20)'));
      const other = connect(first);
      await stage.run(other.exec('BEGIN; UPDATE t SET v = v + 1; UPDATE t SET v = v + 1'));
      same('TXN-1', await values(stage, first.db, 'SELECT * FROM t'), '1:10 2:20', 'before');
      // A commit of somebody else makes the open transaction's log durable.
      await stage.run(first.db.exec('CREATE TABLE u (id int)'));
      first.crash();
      const second = await openSql(stage);
      same('TXN-1', await values(stage, second.db, 'SELECT * FROM t'), '1:10 2:20', 'after');
      second.crash();
    },
  },
  {
    rule: 23,
    name: 'no transaction id of a lost transaction is used again',
    needs: [need('txn', 'xidReuse', 'TXN-1')],
    async run(stage) {
      const first = await openSql(stage);
      await stage.run(first.db.exec('CREATE TABLE t (id int PRIMARY KEY)'));
      const lost = Array.from({ length: 4 }, () => connect(first));
      for (const [i, db] of lost.entries()) {
        await stage.run(db.exec(`BEGIN; INSERT INTO t VALUES (${100 + i})`));
      }
      await stage.run(first.db.exec('INSERT INTO t VALUES (1)'));
      first.crash();
      const second = await openSql(stage);
      // Enough commits to come by the ids of the lost ones, were they given out again.
      for (let i = 2; i < 30; i++) await stage.run(second.db.exec(`INSERT INTO t VALUES (${i})`));
      const found = await values(stage, second.db, 'SELECT count(*)::int FROM t WHERE id >= 100');
      same('TXN-1', found, '0', 'rows of transactions that never committed');
      second.crash();
    },
  },
  {
    rule: 24,
    name: 'a statement that waits for pages goes on where it was',
    async run(stage) {
      const first = await openSql(stage);
      await stage.run(first.db.exec('CREATE TABLE t (id int PRIMARY KEY, v int, s text)'));
      await stage.run(
        first.db.exec(`INSERT INTO t SELECT i, 0, repeat('x', 900) FROM generate_series(1, 600) i`),
      );
      first.crash();
      // A cache that does not hold the table: nearly every row is waited for.
      const second = await openSql(stage, 256 * 1024);
      await stage.run(second.db.exec('UPDATE t SET v = v + 1'));
      const text = 'SELECT min(v), max(v), count(*)::int FROM t';
      same('TXN-1', await values(stage, second.db, text), '1:1:600', 'each row once');
      second.crash();
    },
  },
  {
    rule: 25,
    name: 'locks go early, answers do not: nobody is told of a commit that is lost',
    needs: [need('txn', 'ignoreCovered', 'TXN-2')],
    async run(stage) {
      const first = await openSql(stage);
      await stage.run(first.db.exec('CREATE TABLE t (id int PRIMARY KEY, v int)'));
      await stage.run(first.db.exec('INSERT INTO t VALUES (1, 10)'));
      const reader = connect(first);
      same('TXN-2', await values(stage, reader, 'SELECT v FROM t'), '10', 'at first');
      await stage.for(100);
      // From now nothing becomes durable, and nobody knows it yet.
      stage.reach(first);
      const lost = first.db.exec('UPDATE t SET v = 11 WHERE id = 1');
      lost.catch(() => undefined);
      await stage.for(1);
      const told: string[] = [];
      void reader.query<unknown[]>('SELECT v FROM t', [], { rowMode: 'array' }).then(
        ({ rows }) => told.push(rows.join()),
        () => undefined,
      );
      await stage.for(500);
      first.crash();
      stage.heal();
      const second = await openSql(stage);
      const found = await values(stage, second.db, 'SELECT v FROM t');
      same('TXN-2', told.join(), told.length === 0 ? '' : found, 'what the reader was told');
      second.crash();
    },
  },
  {
    rule: 27,
    name: 'pages that are not durable fill the cache: writers wait, and nothing is evicted',
    async run(stage) {
      const first = await openSql(stage, 256 * 1024);
      await stage.run(first.db.exec('CREATE TABLE t (id int PRIMARY KEY, s text)'));
      stage.reach(first, 0, 1, 2);
      const insert = first.db.exec(
        `INSERT INTO t SELECT i, repeat('y', 900) FROM generate_series(1, 500) i`,
      );
      insert.catch(() => undefined);
      await stage.for(2000);
      stage.heal();
      await stage.run(insert);
      const text = 'SELECT count(*)::int, min(length(s)) FROM t';
      same('TXN-1', await values(stage, first.db, text), '500:900', 'all rows');
      first.crash();
      const second = await openSql(stage, 256 * 1024);
      same('TXN-1', await values(stage, second.db, text), '500:900', 'after a crash');
      second.crash();
    },
  },
];
