/** Real clients against an engine in memory: psql and pgbench. Skipped, with the reason, where they are not installed. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasTool } from '#tests/process/tools.js';
import { TestServer } from './test-server.test-helper.js';

const run = promisify(execFile);

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server.close());

const psql = async (...statements: string[]): Promise<string> => {
  const commands = statements.flatMap((statement) => ['-c', statement]);
  const { stdout } = await run('psql', ['-X', '-A', '-t', server.url, ...commands]);
  return stdout.trim();
};

describe.skipIf(!hasTool('psql'))('psql', () => {
  it('runs statements, copies in and out, shows errors', async () => {
    expect(await psql('SELECT 1 + 1', 'SHOW server_version')).toBe('2\n15.8');
    await psql('CREATE TABLE p (id int PRIMARY KEY, v text)', "INSERT INTO p VALUES (1, 'ä')");
    expect(await psql('\\copy p TO STDOUT')).toBe('1\tä');
    await expect(psql('SELECT nothing')).rejects.toMatchObject({
      stderr: expect.stringContaining('column "nothing" does not exist'),
    });
  });
});

describe.skipIf(!hasTool('pgbench'))('pgbench', () => {
  const bench = async (...args: string[]): Promise<string> => {
    const { stdout } = await run('pgbench', [...args, server.url]);
    return stdout;
  };

  it('fills its tables from the client and runs in every mode, and the sums agree', async () => {
    await bench('-i', '-q', '-s', '1');
    for (const mode of ['simple', 'extended', 'prepared']) {
      const out = await bench('-n', '-M', mode, '-c', '8', '-t', '20');
      expect(out).toContain('number of transactions actually processed: 160/160');
    }
    const out = await bench('-n', '-S', '-M', 'prepared', '-c', '4', '-t', '50');
    expect(out).toContain('200/200');
    const { rows } = await sums();
    expect(rows).toBe('480');
  });

  it('fills its tables on the server', async () => {
    await bench('-i', '-q', '-s', '1', '-I', 'dtGvp');
    const out = await bench('-c', '2', '-t', '5');
    expect(out).toContain('10/10');
  });

  async function sums(): Promise<{ rows: string }> {
    const session = server.engine.connect({ user: 'postgres', database: 'postgres' });
    const portal = session.bind(
      '',
      session.prepare(
        '',
        `SELECT (SELECT count(*) FROM pgbench_history),
           (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history),
           (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)`,
        [],
      ),
      [],
    );
    const found: unknown[] = [];
    const sink = {
      row: (_: unknown, values: readonly unknown[]): boolean => found.push(...values) > 0,
      drained: (): Promise<void> => Promise.resolve(),
    };
    await session.perform(() => session.run(portal, 0, sink));
    server.engine.disconnect(session);
    expect(found.slice(1)).toEqual([true, true]);
    return { rows: String(found[0]) };
  }
});
