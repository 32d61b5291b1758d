/** What a session's functions and statements make of the catalog. */
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TestServer } from '../pgwire/test-server.test-helper.js';

let server: TestServer;
let client: Client;

/** Rows of one query, as text. */
async function rows(sql: string): Promise<string[]> {
  const { rows: found } = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
  return found.map((row) => row.map(String).join('|'));
}

beforeAll(async () => {
  server = await TestServer.start();
});

afterAll(async () => {
  await server.close();
});

beforeEach(async () => {
  client = new Client({ connectionString: server.url });
  await client.connect();
});

afterEach(async () => {
  await client.query('drop schema if exists postgres, other');
  await client.query('drop table if exists t, u, v');
  await client.end();
});

describe('current_schema', () => {
  const both = 'select current_schema(), current_schemas(false)::text, current_schemas(true)::text';

  it('is the first schema of the path that exists', async () => {
    expect(await rows(both)).toEqual(['public|{public}|{pg_catalog,public}']);
    await client.query('create schema postgres');
    expect(await rows(both)).toEqual(['postgres|{postgres,public}|{pg_catalog,postgres,public}']);
    await client.query('create schema other');
    await client.query('set search_path = nowhere, other, other, pg_catalog');
    expect(await rows(both)).toEqual(['other|{other,pg_catalog}|{other,pg_catalog}']);
    await client.query('set search_path = nowhere');
    expect(await rows(both)).toEqual(['null|{}|{pg_catalog}']);
  });
});

describe('tables made of queries', () => {
  it('take literals of every kind', async () => {
    await client.query('SELECT 1 AS a INTO w');
    expect(await rows('select * from w')).toEqual(['1']);
    await client.query('drop table w');
    await client.query("SELECT 1 AS a, 'x' AS b, 2.5 AS c, NULL AS d, 3000000000 AS e INTO t");
    expect(await rows('select * from t')).toEqual(['1|x|2.5|null|3000000000']);
    expect(
      await rows(
        'select pg_typeof(a), pg_typeof(b), pg_typeof(c), pg_typeof(d), pg_typeof(e) from t',
      ),
    ).toEqual(['integer|text|numeric|text|bigint']);
    await client.query("CREATE TABLE u AS SELECT 1 AS a, 'x' AS b WHERE 1 = 1");
    expect(await rows('select * from u')).toEqual(['1|x']);
    await client.query("CREATE TABLE v (p, q) AS VALUES (1, 'x'), (2, NULL)");
    expect(await rows('select * from v order by p')).toEqual(['1|x', '2|null']);
    await client.query("SELECT a + 1 AS a, 'y' AS b INTO w FROM t WHERE a = 1");
    expect(await rows('select * from w')).toEqual(['2|y']);
    await client.query('drop table w');
  });
});

describe('sizes', () => {
  it('of the database, by name, by oid', async () => {
    expect(await rows('select pg_database_size(current_database()) > 0')).toEqual(['true']);
    expect(
      await rows('select pg_database_size(oid) = pg_database_size(datname) from pg_database'),
    ).toEqual(['true']);
    await expect(rows("select pg_database_size('nothing')")).rejects.toMatchObject({
      code: '3D000',
    });
  });
});
