/** Real clients against the catalog: psql's `\d` family, pgbench and sysbench. Skipped where the tool is missing. */
import { execFile, spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestServer } from '../pgwire/test-server.test-helper.js';

let server: TestServer;

const has = (tool: string): boolean => spawnSync('which', [tool]).status === 0;

function run(tool: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  const env = {
    ...process.env,
    PGHOST: '127.0.0.1',
    PGPORT: String(server.port),
    PGUSER: 'postgres',
    PGDATABASE: 'postgres',
  };
  return new Promise((resolve) => {
    execFile(tool, [...args], { env, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, output: stdout + stderr });
    });
  });
}

const psql = (sql: string): Promise<{ code: number; output: string }> =>
  run('psql', ['-X', '-A', '-t', '-c', sql]);

beforeEach(async () => {
  server = await TestServer.start();
});

afterEach(async () => {
  await server.close();
});

describe.skipIf(!has('psql'))('psql', () => {
  it('shows what there is', async () => {
    await psql(
      "create table t (id serial primary key, v varchar(20) not null default 'x', check (id > 0))",
    );
    await psql('create view w as select id from t');
    for (const command of [
      '\\dt',
      '\\d',
      '\\di',
      '\\ds',
      '\\dv',
      '\\dn',
      '\\d t',
      '\\d t_pkey',
      '\\d w',
      '\\d+ t',
      '\\l',
      '\\du',
      '\\dT',
      '\\df pg_*',
    ]) {
      const { output } = await psql(command);
      expect(output).not.toMatch(/ERROR/);
    }
    expect((await psql('\\dt')).output).toBe('public|t|table|postgres\n');
  });
});

describe.skipIf(!has('pgbench'))('pgbench', () => {
  it('fills its tables either way and runs', async () => {
    for (const steps of ['dtgvp', 'dtGvp']) {
      const made = await run('pgbench', ['-i', '-s', '1', '-I', steps]);
      expect(made.code).toBe(0);
    }
    for (const mode of ['simple', 'extended', 'prepared']) {
      const ran = await run('pgbench', ['-M', mode, '-c', '4', '-t', '50']);
      expect(ran.code).toBe(0);
    }
    // A run begins by emptying the history: it holds the last run only.
    const sums = await psql(
      'select (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from pgbench_tellers), ' +
        '(select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers), ' +
        '(select count(*) from pgbench_history)',
    );
    expect(sums.output).toBe('t|t|200\n');
  }, 60_000);
});

describe.skipIf(!has('sysbench'))('sysbench', () => {
  it('prepares and runs', async () => {
    const common = [
      'oltp_read_write',
      '--db-driver=pgsql',
      '--pgsql-host=127.0.0.1',
      `--pgsql-port=${server.port}`,
      '--pgsql-user=postgres',
      '--pgsql-db=postgres',
      '--tables=2',
      '--table-size=500',
      '--events=50',
      '--time=10',
    ];
    for (const step of ['prepare', 'run', 'cleanup']) {
      const { code, output } = await run('sysbench', [...common, step]);
      expect(output).not.toMatch(/FATAL|ALERT/);
      expect(code).toBe(0);
    }
  }, 60_000);
});
