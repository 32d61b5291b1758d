/** What people point at a PostgreSQL server, pointed at `sextant dev`: psql, pgbench, sysbench, node-postgres. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevProcess } from '#bench/cluster.js';
import { hasTool } from './tools.js';

let folder: string;
let cluster: DevProcess;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(command: string, args: readonly string[], env = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { timeout: 50_000, env: { ...process.env, ...env } };
    const child = execFile(command, args, options, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, out, err });
    });
    child.stdin?.end();
  });
}

const connection = (): Record<string, string> => ({
  PGHOST: '127.0.0.1',
  PGPORT: String(cluster.port),
  PGUSER: 'postgres',
  PGDATABASE: 'postgres',
  PGPASSWORD: 'x',
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: cluster.url });
  // Whoever is killed says so here, too.
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('it did not come to hold');
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sextant-clients-'));
  cluster = await DevProcess.start({ folder: join(folder, 'data') });
}, 60_000);

afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

describe.skipIf(!hasTool('psql'))('psql', () => {
  const psql = (...args: string[]): Promise<Outcome> =>
    run('psql', ['-X', '-v', 'ON_ERROR_STOP=1', ...args], connection());

  it('runs statements one by one and in one text, and ends as they did', async () => {
    const made = await psql(
      '-c',
      'CREATE TABLE person (id serial PRIMARY KEY, name text NOT NULL, born date DEFAULT current_date)',
      '-c',
      "INSERT INTO person (name) VALUES ('Ada'), ('Grace'); SELECT count(*) FROM person",
    );
    expect(made).toMatchObject({ code: 0, err: '' });
    expect(made.out).toMatch(/CREATE TABLE\nINSERT 0 2\n count \n-+\n +2\n/);
    expect(await psql('-c', 'SELECT 1/0')).toMatchObject({
      code: 1,
      err: 'ERROR:  division by zero\n',
    });
    const half = await psql('-c', "INSERT INTO person (name) VALUES ('Half'); SELECT nothing");
    expect(half.code).toBe(1);
    expect(half.err).toMatch(/column "nothing" does not exist\nLINE 1: .*\n +\^/);
    expect((await psql('-Atc', 'SELECT count(*) FROM person')).out).toBe('2\n');
    const script = join(folder, 'script.sql');
    writeFileSync(script, 'SELECT 1;\nSELEC 2;\nSELECT 3;\n');
    expect(await psql('-Atf', script)).toMatchObject({ code: 3, out: '1\n' });
    const wrong = await run('psql', ['-X', '-c', 'SELECT 1', 'elsewhere'], connection());
    expect(wrong).toMatchObject({ code: 2 });
    expect(wrong.err).toContain('database "elsewhere" does not exist');
  });

  it('shows what there is: \\dt, \\d, \\di', async () => {
    await psql('-c', 'CREATE TABLE thing (id int PRIMARY KEY, v varchar(10))');
    await psql('-c', 'CREATE INDEX thing_v ON thing (v)');
    const tables = await psql('-c', '\\dt');
    expect(tables).toMatchObject({ code: 0, err: '' });
    expect(tables.out).toMatch(/public +\| thing +\| table +\| postgres/);
    const table = await psql('-c', '\\d thing');
    expect(table).toMatchObject({ code: 0, err: '' });
    expect(table.out).toMatch(/v +\| character varying\(10\)/);
    expect(table.out).toContain('"thing_pkey" PRIMARY KEY, btree (id)');
    expect(table.out).toContain('"thing_v" btree (v)');
    const indexes = await psql('-c', '\\di thing*');
    expect(indexes.out).toMatch(/thing_v +\| index +\| postgres +\| thing/);
    const none = await psql('-c', '\\d nothing');
    expect(none.err).toContain('Did not find any relation named "nothing"');
  });

  it('copies files in and out', async () => {
    await psql('-c', 'CREATE TABLE copied (a int PRIMARY KEY, b text)');
    const text = join(folder, 'in.txt');
    const csv = join(folder, 'out.csv');
    writeFileSync(text, '1\tone\n2\t\\N\n3\ta\\tb\n');
    const into = await psql('-c', `\\copy copied FROM '${text}'`);
    expect(into).toMatchObject({ code: 0, out: 'COPY 3\n' });
    const from = `\\copy (SELECT * FROM copied ORDER BY a) TO '${csv}' WITH (FORMAT csv, HEADER)`;
    expect(await psql('-c', from)).toMatchObject({ code: 0, out: 'COPY 3\n' });
    expect(readFileSync(csv, 'utf8')).toBe('a,b\n1,one\n2,\n3,a\tb\n');
    const twice = await psql('-c', `\\copy copied FROM '${text}'`);
    expect(twice.code).toBe(1);
    expect(twice.err).toContain('duplicate key value violates unique constraint "copied_pkey"');
    expect((await psql('-Atc', 'SELECT count(*) FROM copied')).out).toBe('3\n');
  });
});

describe.skipIf(!hasTool('pgbench'))('pgbench', () => {
  const pgbench = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run('pgbench', args, connection());
    expect(code, err).toBe(0);
    return out;
  };

  it.each(['dtgvp', 'dtGvp'])(
    'makes its tables with -I %s',
    async (steps) => {
      await pgbench('-i', '-q', '-s', '1', '-I', steps);
      const client = await connect();
      const { rows } = await client.query(
        `SELECT (SELECT count(*)::int FROM pgbench_accounts) AS accounts,
          (SELECT count(*)::int FROM pgbench_tellers) AS tellers`,
      );
      await client.end();
      expect(rows).toEqual([{ accounts: 100_000, tellers: 10 }]);
    },
    60_000,
  );

  it.each(
    ['simple', 'extended', 'prepared'].flatMap((mode) =>
      ['tpcb-like', 'simple-update', 'select-only'].map((script) => [mode, script]),
    ),
  )(
    'runs in mode %s its script %s and none fails',
    async (mode, script) => {
      const out = await pgbench('-n', '-M', mode, '-b', script, '-c', '8', '-T', '1');
      expect(out).toContain('number of failed transactions: 0 ');
      expect(Number(/actually processed: (\d+)/.exec(out)?.[1])).toBeGreaterThan(20);
    },
    30_000,
  );

  it('leaves balances that agree, and rows found by their index', async () => {
    const client = await connect();
    const { rows } = await client.query(
      `SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers) AS a,
        (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) AS b`,
    );
    expect(rows).toEqual([{ a: true, b: true }]);
    const plan = await client.query({
      text: 'EXPLAIN SELECT abalance FROM pgbench_accounts WHERE aid = 7',
      rowMode: 'array',
    });
    expect(plan.rows.join('\n')).toContain('Index Scan using pgbench_accounts_pkey');
    await client.end();
  });
});

describe.skipIf(!hasTool('sysbench'))('sysbench', () => {
  it.each([
    'oltp_insert',
    'oltp_point_select',
    'oltp_read_only',
    'oltp_read_write',
    'oltp_write_only',
  ])(
    '%s prepares, runs and cleans up',
    async (script) => {
      const args = [
        '--db-driver=pgsql',
        '--pgsql-host=127.0.0.1',
        `--pgsql-port=${cluster.port}`,
        '--pgsql-user=postgres',
        '--pgsql-password=x',
        '--pgsql-db=postgres',
        '--tables=2',
        '--table-size=2000',
      ];
      const stage = async (name: string, ...more: string[]): Promise<string> => {
        const { code, out } = await run('sysbench', [script, ...args, ...more, name]);
        expect(code, out).toBe(0);
        return out;
      };
      await stage('prepare');
      const out = await stage('run', '--threads=8', '--time=3');
      const figure = (name: string): number =>
        Number(new RegExp(`${name}: +(\\d+)`).exec(out)?.[1]);
      expect(figure('transactions')).toBeGreaterThan(30);
      expect(figure('reconnects')).toBe(0);
      // It tries again after a deadlock, and when a row that it deletes and inserts was somebody else's meanwhile.
      expect(figure('ignored errors')).toBeLessThan(figure('transactions'));
      if (!/write/.test(script)) expect(figure('ignored errors')).toBe(0);
      await stage('cleanup');
    },
    60_000,
  );
});

describe('node-postgres', () => {
  it('has prepared statements, types, errors with their place, and savepoints', async () => {
    const client = await connect();
    await client.query('CREATE TABLE np (id int PRIMARY KEY, v jsonb, t timestamptz, a int[])');
    const insert = {
      name: 'insert',
      text: 'INSERT INTO np VALUES ($1, $2, $3, $4) RETURNING id, v, t, a',
    };
    const t = new Date('2024-02-29T12:00:00Z');
    for (const id of [1, 2]) {
      const { rows } = await client.query({ ...insert, values: [id, { k: [id] }, t, [id, null]] });
      expect(rows).toEqual([{ id, v: { k: [id] }, t, a: [id, null] }]);
    }
    await client.query('BEGIN');
    await client.query('SAVEPOINT s');
    await expect(client.query({ ...insert, values: [2, null, null, null] })).rejects.toMatchObject({
      code: '23505',
      constraint: 'np_pkey',
      table: 'np',
    });
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK TO s');
    await client.query('UPDATE np SET a = NULL WHERE id = 1');
    await client.query('COMMIT');
    await expect(client.query('SELECT * FROM np WHERE idd = 1')).rejects.toMatchObject({
      code: '42703',
      position: '24',
    });
    const { rows } = await client.query('SELECT id, a FROM np ORDER BY id');
    expect(rows).toEqual([
      { id: 1, a: null },
      { id: 2, a: [2, null] },
    ]);
    await client.end();
  });

  it('reads a cursor piece by piece and leaves it early', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query('DECLARE c CURSOR FOR SELECT i FROM generate_series(1, 100000) i');
    expect((await client.query('FETCH 2 FROM c')).rows).toEqual([{ i: 1 }, { i: 2 }]);
    expect((await client.query('FETCH 1 FROM c')).rows).toEqual([{ i: 3 }]);
    await client.query('CLOSE c');
    await client.query('COMMIT');
    await client.end();
  });

  it('a statement is cancelled, and one that waits for a lock, too', async () => {
    const [a, b, other] = await Promise.all([connect(), connect(), connect()]);
    await a.query('CREATE TABLE held (id int PRIMARY KEY); INSERT INTO held VALUES (1)');
    const pid = (await b.query('SELECT pg_backend_pid() AS pid')).rows[0].pid as number;
    await a.query('BEGIN; UPDATE held SET id = 1');
    for (const text of ['SELECT pg_sleep(30)', 'DELETE FROM held', 'DROP TABLE held']) {
      const running = expect(b.query(text)).rejects.toMatchObject({ code: '57014' });
      await until(async () => {
        const { rows } = await other.query(
          `SELECT state = 'active' AS active FROM pg_stat_activity WHERE pid = ${pid}`,
        );
        return rows[0]?.active === true;
      });
      expect((await other.query(`SELECT pg_cancel_backend(${pid}) AS done`)).rows[0].done).toBe(
        true,
      );
      await running;
    }
    for (const [setting, code] of [
      ['lock_timeout', '55P03'],
      ['statement_timeout', '57014'],
    ]) {
      await b.query(`SET ${setting} = 100`);
      for (const text of ['DELETE FROM held', 'LOCK TABLE held', 'TRUNCATE held']) {
        await b.query('BEGIN');
        await expect(b.query(text), `${setting}, ${text}`).rejects.toMatchObject({ code });
        await b.query('ROLLBACK');
      }
      await b.query(`RESET ${setting}`);
    }
    await a.query('ROLLBACK');
    expect((await b.query('DELETE FROM held')).rowCount).toBe(1);
    await Promise.all([a.end(), b.end(), other.end()]);
  }, 20_000);

  it('whoever dies or idles in a transaction lets go of its locks', async () => {
    const [a, b] = await Promise.all([connect(), connect()]);
    await a.query('CREATE TABLE left_over (id int PRIMARY KEY, v int)');
    await a.query('INSERT INTO left_over VALUES (1, 1)');
    await a.query('BEGIN; UPDATE left_over SET v = 2');
    const waiting = b.query('UPDATE left_over SET v = v + 10 RETURNING v');
    await new Promise((wake) => setTimeout(wake, 50));
    // As a process that was killed: the socket ends without a word.
    (a as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    expect((await waiting).rows).toEqual([{ v: 11 }]);
    const idle = await connect();
    await idle.query('SET idle_in_transaction_session_timeout = 200');
    await idle.query('BEGIN; UPDATE left_over SET v = 2');
    expect((await b.query('UPDATE left_over SET v = v + 10 RETURNING v')).rows).toEqual([
      { v: 21 },
    ]);
    await expect(idle.query('SELECT 1')).rejects.toThrow();
    await b.end();
  }, 20_000);

  it('definitions change under prepared statements and beside open transactions', async () => {
    const [a, b] = await Promise.all([connect(), connect()]);
    await a.query('CREATE TABLE d (id int PRIMARY KEY, v int)');
    await a.query('INSERT INTO d SELECT i, i % 10 FROM generate_series(1, 5000) i');
    const some = { name: 'some', text: 'SELECT id FROM d WHERE v = $1 LIMIT 1', values: [3] };
    const star = { name: 'star', text: 'SELECT * FROM d WHERE id = $1', values: [3] };
    expect((await b.query(some)).rows).toEqual([{ id: 3 }]);
    expect((await b.query(star)).rows).toEqual([{ id: 3, v: 3 }]);
    await a.query('CREATE INDEX d_v ON d (v)');
    await a.query('ALTER TABLE d ADD COLUMN w int DEFAULT 5');
    expect((await b.query(some)).rows).toEqual([{ id: 3 }]);
    await expect(b.query(star)).rejects.toMatchObject({
      code: '0A000',
      message: 'cached plan must not change result type',
    });
    expect((await b.query('SELECT sum(w)::int AS w FROM d WHERE v = 3')).rows).toEqual([
      { w: 2500 },
    ]);
    await b.query('BEGIN');
    await b.query('SELECT 1 FROM d LIMIT 1');
    let dropped = false;
    const drop = a.query('DROP TABLE d').then(() => (dropped = true));
    await new Promise((wake) => setTimeout(wake, 100));
    expect(dropped).toBe(false);
    expect((await b.query('SELECT count(*)::int AS n FROM d')).rows).toEqual([{ n: 5000 }]);
    await b.query('COMMIT');
    await drop;
    await expect(b.query(some)).rejects.toMatchObject({ code: '42P01' });
    await a.query('CREATE TABLE d (id int); INSERT INTO d VALUES (1)');
    await a.query('BEGIN; TRUNCATE d; INSERT INTO d VALUES (2), (3)');
    expect((await a.query('SELECT count(*)::int AS n FROM d')).rows).toEqual([{ n: 2 }]);
    await a.query('ROLLBACK');
    expect((await b.query('SELECT * FROM d')).rows).toEqual([{ id: 1 }]);
    await Promise.all([a.end(), b.end()]);
  }, 20_000);

  it('three hundred at once, and as many again', async () => {
    for (let round = 0; round < 2; round++) {
      const clients = await Promise.all(Array.from({ length: 300 }, connect));
      const answers = await Promise.all(
        clients.map((client, i) => client.query(`SELECT ${i} AS i`)),
      );
      expect(answers.map(({ rows }) => rows[0].i)).toEqual(clients.map((_, i) => i));
      await Promise.all(clients.map((client) => client.end()));
    }
  }, 30_000);
});
