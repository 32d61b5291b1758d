/** What SQL asks for that this engine has not, or not there: refused by its code, never taken and forgotten. */
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TestServer } from '../pgwire/test-server.test-helper.js';

let server: TestServer;
let client: Client;

/** One line per row, the tag, or the error's code. */
async function ask(sql: string): Promise<string> {
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

async function script(...lines: readonly (readonly [string, string])[]): Promise<void> {
  const seen: [string, string][] = [];
  for (const [sql] of lines) seen.push([sql, await ask(sql)]);
  expect(seen).toEqual(lines);
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
  await client.query('drop table if exists t, p');
  await client.query('drop sequence if exists s');
  await client.end();
});

describe('owners', () => {
  it('only the one there is', async () => {
    await script(
      ['create table t (a int)', 'CREATE'],
      ['create sequence s', 'CREATE'],
      ['alter table t owner to postgres', 'ALTER'],
      ['alter table t owner to current_user', 'ALTER'],
      ['alter table t owner to session_user', 'ALTER'],
      ['alter table t owner to somebody', '42704'],
      ['alter sequence s owner to somebody', '42704'],
      ['alter sequence s owner to postgres', 'ALTER'],
      ['alter schema public owner to postgres', 'ALTER'],
      ['alter schema public owner to somebody', '42704'],
      ['alter schema nowhere owner to postgres', '3F000'],
    );
  });
});

describe('constraints', () => {
  it('NOT VALID is refused, for what is there would have to be remembered as unchecked', async () => {
    await script(
      ['create table p (id int primary key)', 'CREATE'],
      ['create table t (a int)', 'CREATE'],
      ['insert into t values (1)', 'INSERT'],
      ['alter table t add constraint c check (a > 5) not valid', '0A000'],
      ['alter table t add constraint f foreign key (a) references p not valid', '0A000'],
      ["select count(*) from pg_constraint where conrelid = 't'::regclass", '0'],
    );
  });
});

describe('sequences', () => {
  it('CACHE above one is refused', async () => {
    await script(
      ['create sequence s cache 1', 'CREATE'],
      ['alter sequence s cache 10', '0A000'],
      ['alter sequence s cache 0', '22023'],
      ['drop sequence s', 'DROP'],
      ['create sequence s cache 20', '0A000'],
      ['create table t (a int generated always as identity (cache 5))', '0A000'],
    );
  });
});

describe('LOCK TABLE', () => {
  it('needs a transaction block', async () => {
    await script(
      ['create table t (a int)', 'CREATE'],
      ['lock table t', '25P01'],
      ['begin', 'BEGIN'],
      ['lock table t in share mode', 'LOCK'],
      ['commit', 'COMMIT'],
      ['lock table t; select 1', '1'],
    );
  });
});
