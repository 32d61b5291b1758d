/** DDL over the whole engine: golden scripts, rollback, reopening, locks, COPY. */
import { realWorld } from '#core/world/real/real-world.js';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Engine } from '../engine.js';
import { TestServer } from '../pgwire/test-server.test-helper.js';

let server: TestServer;
const clients: Client[] = [];

async function connect(): Promise<Client> {
  const client = new Client({ connectionString: server.url });
  await client.connect();
  clients.push(client);
  return client;
}

/** One line per row, or the tag, or the error's code. */
async function ask(client: Client, sql: string): Promise<string> {
  try {
    const found = await client.query({ text: sql, rowMode: 'array' });
    const results = Array.isArray(found) ? found : [found];
    const last = results[results.length - 1];
    if (last.fields.length === 0) return last.command;
    return last.rows.map((row: unknown[]) => row.map(String).join('|')).join('\n');
  } catch (error) {
    return (error as { code: string }).code;
  }
}

async function script(
  client: Client,
  lines: readonly (readonly [string, string])[],
): Promise<void> {
  const seen: [string, string][] = [];
  for (const [sql] of lines) seen.push([sql, await ask(client, sql)]);
  expect(seen).toEqual(lines);
}

beforeEach(async () => {
  server = await TestServer.start();
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.end();
  await server.close();
});

describe('DDL', () => {
  it('constraints hold, and keep their names', async () => {
    await script(await connect(), [
      ['create table p (id int primary key, u text unique)', 'CREATE'],
      [
        'create table c (id serial primary key, p int references p on delete cascade, check (p < 9))',
        'CREATE',
      ],
      ["insert into p values (1, 'a'), (2, 'b')", 'INSERT'],
      ['insert into c (p) values (1), (1), (2)', 'INSERT'],
      ['insert into c (p) values (3)', '23503'],
      ['insert into c (p) values (9)', '23514'],
      ["insert into p values (3, 'a')", '23505'],
      ['delete from p where id = 1', 'DELETE'],
      ['select id, p from c', '3|2'],
      ['drop table p', '2BP01'],
      ['truncate p', '0A000'],
      ['truncate p, c restart identity', 'TRUNCATE'],
      ["insert into p values (7, 'x')", 'INSERT'],
      ['insert into c (p) values (7) returning id', '1'],
      [
        'select conname, contype from pg_constraint order by conname',
        'c_p_check|c\nc_p_fkey|f\nc_pkey|p\np_pkey|p\np_u_key|u',
      ],
      ['drop table p cascade', 'DROP'],
      ['insert into c (p) values (8) returning p', '8'],
    ]);
  });

  it('ALTER TABLE changes what is there', async () => {
    await script(await connect(), [
      ['create table t (a int, b text)', 'CREATE'],
      ["insert into t values (1, '10'), (2, '20')", 'INSERT'],
      ['alter table t add column c int not null default 5', 'ALTER'],
      ['select * from t order by a', '1|10|5\n2|20|5'],
      ['alter table t add primary key (a)', 'ALTER'],
      ['insert into t values (1)', '23505'],
      ['alter table t alter column b type int using b::int', 'ALTER'],
      ['select sum(b) from t', '30'],
      ['select a from t where a = 2', '2'],
      ['alter table t drop column c', 'ALTER'],
      ['select * from t order by a', '1|10\n2|20'],
      ['alter table t rename column b to bb', 'ALTER'],
      ['alter table t add check (bb > 10)', '23514'],
      ['alter table t add check (bb > 9)', 'ALTER'],
      ['alter table t rename to tt', 'ALTER'],
      ['insert into tt values (3, 1)', '23514'],
      ['alter table tt drop constraint tt_pkey', '42704'],
      ['alter table tt drop constraint t_pkey', 'ALTER'],
      ['insert into tt values (1, 11)', 'INSERT'],
      ['alter table tt add column s serial', 'ALTER'],
      ['select count(distinct s) from tt', '3'],
      ['create unique index on tt (a)', '23505'],
      ['create index on tt (a desc)', 'CREATE'],
      ['create index on tt ((a + 1))', '0A000'],
      ['create temp table x (a int)', '0A000'],
    ]);
  });

  it('rolls back, also to a savepoint', async () => {
    const a = await connect();
    await script(a, [
      ['create table keep (a int)', 'CREATE'],
      ['begin', 'BEGIN'],
      ['create table one (a int primary key)', 'CREATE'],
      ['insert into one values (1)', 'INSERT'],
      ['savepoint s', 'SAVEPOINT'],
      ['create table two (a int)', 'CREATE'],
      ['drop table one', 'DROP'],
      ['alter table keep add column b int', 'ALTER'],
      ['rollback to s', 'ROLLBACK'],
      ['select * from two', '42P01'],
      ['rollback to s', 'ROLLBACK'],
      ['select a from one', '1'],
      ['truncate one', 'TRUNCATE'],
      ['rollback', 'ROLLBACK'],
      ['select * from one', '42P01'],
      ['insert into keep values (1) returning *', '1'],
      ['begin; truncate keep; rollback; select * from keep', '1'],
    ]);
  });

  it('survives a new engine on the same volume', async () => {
    const a = await connect();
    await ask(
      a,
      'create table t (id serial primary key, v numeric(6,2) default 1.5); insert into t (v) values (2), (default)',
    );
    await ask(a, 'begin; create table gone (a int)');
    await a.query('select 1');
    const engine = await Engine.open(realWorld({ log: 'silent' }), {
      volume: server.volume,
      purge: false,
    });
    expect(engine.catalog.reader(null).findTable(null, 'gone', ['public'])).toBeNull();
    const table = engine.catalog.reader(null).findTable(null, 't', ['public']);
    expect(table?.columns.map((column) => column.name)).toEqual(['id', 'v']);
    expect(table?.primaryKey?.name).toBe('t_pkey');
    const sequence = engine.catalog.reader(null).findTable(null, 't_id_seq', ['public']);
    const [row] = [...(sequence?.rows?.({} as never) ?? [])];
    // Beyond every value that was given out.
    expect(row[0]).toBe(32n);
  });

  it('waits for those who use the table, and they for it', async () => {
    const a = await connect();
    const b = await connect();
    await ask(a, 'create table t (a int); insert into t values (1)');
    await ask(a, 'begin');
    await ask(a, 'insert into t values (2)');
    const order: string[] = [];
    const altering = ask(b, 'alter table t add column b int default 7').then(() =>
      order.push('altered'),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    order.push('commit');
    await ask(a, 'commit');
    await altering;
    expect(order).toEqual(['commit', 'altered']);
    await ask(b, 'begin');
    await ask(b, 'lock table t in access exclusive mode');
    expect(await ask(a, "set lock_timeout = '30ms'; select * from t")).toBe('55P03');
    await ask(b, 'drop table t; commit');
    expect(await ask(a, 'select * from t')).toBe('42P01');
  });

  it('schemas, views, sequences, comments, tables made of queries', async () => {
    await script(await connect(), [
      ['create schema s', 'CREATE'],
      ['create schema s', '42P06'],
      ['create sequence s.q increment 5 maxvalue 11', 'CREATE'],
      ["select nextval('s.q'), nextval('s.q'), currval('s.q')", '1|6|6'],
      ["select nextval('s.q')", '11'],
      ["select nextval('s.q')", '2200H'],
      ["select setval('s.q', 6, false), nextval('s.q')", '6|6'],
      ['begin; alter sequence s.q restart with 2; rollback', 'ROLLBACK'],
      ["select nextval('s.q')", '11'],
      ['create table s.t as select g as a from generate_series(1, 3) g', 'SELECT'],
      ['create view s.v as select sum(a) as total from s.t', 'CREATE'],
      ['select total from s.v', '6'],
      ['drop table s.t', '2BP01'],
      ["comment on column s.t.a is 'first'", 'COMMENT'],
      ["select col_description('s.t'::regclass, 1)", 'first'],
      ["select pg_get_viewdef('s.v'::regclass)", 'select sum(a) as total from s.t'],
      ['drop schema s', '2BP01'],
      ['drop schema s cascade', 'DROP'],
      ["select to_regclass('s.t') is null", 'true'],
      ['select state, usename from pg_stat_activity', 'active|postgres'],
    ]);
  });

  it('of two who make the same table, the second waits and then sees it', async () => {
    const a = await connect();
    const b = await connect();
    await ask(a, 'begin');
    await ask(a, 'create table t (a int)');
    const second = ask(b, 'create table t (b int)');
    const third = ask(b, 'create table if not exists t (b int)');
    await ask(a, 'commit');
    expect(await second).toBe('42P07');
    expect(await third).toBe('CREATE');
    expect(await ask(b, 'select a from t')).toBe('');
  });
});
