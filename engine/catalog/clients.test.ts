/** Real clients against the catalog: psql's `\d` family, pgbench and sysbench. Skipped where the tool is missing. */
import { execFile } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasTool } from '#tests/process/tools.js';
import { TestServer } from '../pgwire/test-server.test-helper.js';

let server: TestServer;

function run(
  tool: string,
  args: readonly string[],
  input = '',
): Promise<{ code: number; output: string }> {
  const env = {
    ...process.env,
    PGHOST: '127.0.0.1',
    PGPORT: String(server.port),
    PGUSER: 'postgres',
    PGDATABASE: 'postgres',
  };
  return new Promise((resolve) => {
    const child = execFile(tool, [...args], { env, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, output: stdout + stderr });
    });
    child.stdin?.end(input);
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

describe.skipIf(!hasTool('psql'))('psql', () => {
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

describe.skipIf(!hasTool('psql'))('COPY', () => {
  it('reads what it wrote', async () => {
    await psql(
      'create table t (a int, b text, c numeric, d timestamptz, e bytea, f bool, g int[])',
    );
    await psql(
      `insert into t values (1, E'tab\\tnewline\\nback\\\\slash', 1.50, '2020-01-01Z', '\\x00ff', true, '{1,null}'),
       (-2, '', null, null, null, null, null), (null, 'a,"b" é \\.', 'NaN', 'infinity', '', false, '{}')`,
    );
    for (const format of [
      'text',
      'csv',
      "text, delimiter ';', null 'nil'",
      "csv, header, quote '~', force_quote *",
    ]) {
      const out = await psql(`copy t to stdout (format ${format})`);
      expect(out.code).toBe(0);
      await psql('create table u as select * from t where false');
      const copied = await run(
        'psql',
        ['-X', '-c', `copy u from stdin (format ${format})`],
        out.output,
      );
      expect(copied).toEqual({ code: 0, output: 'COPY 3\n' });
      const same = await psql(
        '(select * from t except select * from u) union all (select * from u except select * from t)',
      );
      expect(same).toEqual({ code: 0, output: '' });
      await psql('drop table u');
    }
  });

  it('refuses rows that do not fit', async () => {
    await psql(
      'create table t (a int primary key, b text not null, c int default 7, check (c > 0))',
    );
    const copy = (data: string, columns = ''): Promise<{ code: number; output: string }> =>
      run('psql', ['-X', '-c', `copy t ${columns} from stdin`], data);
    expect((await copy('1\tx\n')).output).toContain('missing data for column "c"');
    expect((await copy('1\tx\t2\t3\n')).output).toContain('extra data after last expected column');
    expect((await copy('1\t\\N\t2\n')).output).toContain('violates not-null constraint');
    expect((await copy('x\tx\t2\n')).output).toContain('invalid input syntax for type integer');
    expect((await copy('1\tx\t-2\n')).output).toContain('violates check constraint');
    expect((await copy('1\tx\n1\ty\n', '(a, b)')).output).toContain('duplicate key');
    expect((await psql('select count(*) from t')).output).toBe('0\n');
    expect((await copy('1\tx\n2\ty\n\\.\n', '(a, b)')).output).toBe('COPY 2\n');
    expect((await psql('select * from t order by a')).output).toBe('1|x|7\n2|y|7\n');
  });

  it('says where an error is', async () => {
    await psql('create table w (a int primary key, b varchar(3), c int not null)');
    const context = async (data: string, options = ''): Promise<string | undefined> => {
      const { output } = await run('psql', ['-X', '-c', `copy w from stdin ${options}`], data);
      return /^CONTEXT: +(.*)$/m.exec(output)?.[1];
    };
    const long = 'x'.repeat(150);
    const ok = '1\ta\t1\n';
    expect(await context(`${ok}2\tb\tzwei\n`)).toBe('COPY w, line 2, column c: "zwei"');
    expect(await context(`${ok}2\tabcd\t1\n`)).toBe('COPY w, line 2, column b: "abcd"');
    expect(await context(`${ok}2\t${long}\t1\n`)).toBe(
      `COPY w, line 2, column b: "${'x'.repeat(100)}..."`,
    );
    expect(await context(`${ok}2\tb\n`)).toBe('COPY w, line 2: "2\tb"');
    expect(await context(`${ok}2\tb\t3\t4\n`)).toBe('COPY w, line 2: "2\tb\t3\t4"');
    expect(await context(`${ok}2\tb\t\\N\n`)).toBe('COPY w, line 2: "2\tb\t\\N"');
    expect(await context(`${ok}1\tb\t3\n`)).toBe('COPY w, line 2');
    expect(await context('a,b,c\n1,a,1\n2,"b', '(format csv, header)')).toMatch(
      /^COPY w, line 3: "2,"b/,
    );
    await psql('alter table w add check (c > 0)');
    expect(await context(`${ok}2\tb\t-1\n`)).toBe('COPY w, line 2: "2\tb\t-1"');
    expect((await psql('select 1 / 0')).output).not.toMatch(/CONTEXT/);
  });
});

describe.skipIf(!hasTool('pgbench'))('pgbench', () => {
  it('fills its tables and runs', async () => {
    const made = await run('pgbench', ['-i', '-s', '1', '-I', 'dtGvp']);
    expect(made.code).toBe(0);
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

describe.skipIf(!hasTool('sysbench'))('sysbench', () => {
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
