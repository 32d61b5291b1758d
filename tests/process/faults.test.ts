/**
 * A real cluster under a real load, with real signals: what a client sees when nodes die, a zone stops, the engine is
 * killed, and a zone plus one node is lost (LOG-1, TXN-2).
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevProcess } from '#bench/cluster.js';
import { pgbenchInit, pgbenchRun } from '#bench/pgbench.js';
import { collectStatus, type ClusterStatus } from '#cli/status.js';
import { readClusterConfig } from '#cli/config.js';
import { hasTool } from './tools.js';

const LIVE_MS = 20_000;
let cluster: DevProcess;

const sleep = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));
const status = (): Promise<ClusterStatus> =>
  collectStatus(readClusterConfig(`${cluster.folder}/sextant.json`));

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + LIVE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${LIVE_MS} ms: ${what}`);
    await sleep(50);
  }
}

const allUp = (): Promise<void> =>
  until('all nodes up and level', async () =>
    (await status()).nodes.every((node) => node.state === 'up' && node.sclLag === 0),
  );

async function pids(ids: string[]): Promise<number[]> {
  const { nodes } = await status();
  return ids.map((id) => nodes.find((node) => node.id === id)?.pid ?? 0);
}

const signal = (list: number[], name: NodeJS.Signals): void =>
  list.forEach((pid) => process.kill(pid, name));

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: cluster.url });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

beforeAll(async () => {
  cluster = await DevProcess.start();
}, 60_000);

afterAll(async () => {
  expect(await cluster.stop()).toBe(0);
}, 30_000);

describe('pgbench goes on without an error', () => {
  const pgbench = hasTool('pgbench');
  beforeAll(async () => {
    if (pgbench) await pgbenchInit(cluster.port, 1);
  }, 60_000);

  it.skipIf(!pgbench)(
    'while two nodes are killed',
    async () => {
      await allUp();
      const before = await pids(['node-2', 'node-5']);
      const load = pgbenchRun(cluster.port, { clients: 8, seconds: 6 });
      await sleep(2000);
      signal(before, 'SIGKILL');
      const result = await load;
      expect(result.failed).toBe(0);
      expect(result.tps).toBeGreaterThan(0);
      await allUp();
      const after = await pids(['node-2', 'node-5']);
      expect(after.every((pid, index) => pid > 0 && pid !== before[index])).toBe(true);
    },
    60_000,
  );

  it.skipIf(!pgbench)(
    'while a zone is stopped',
    async () => {
      await allUp();
      const zone = await pids(['node-3', 'node-4']);
      const load = pgbenchRun(cluster.port, { clients: 8, seconds: 6 });
      await sleep(1500);
      signal(zone, 'SIGSTOP');
      await sleep(3000);
      signal(zone, 'SIGCONT');
      const result = await load;
      expect(result.failed).toBe(0);
      await allUp();
    },
    60_000,
  );

  it.skipIf(!pgbench)(
    'and its balances agree',
    async () => {
      const client = await connect();
      const { rows } = await client.query(
        `SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS a, (SELECT sum(bbalance) FROM pgbench_branches) AS b,
                (SELECT sum(tbalance) FROM pgbench_tellers) AS t, (SELECT sum(delta) FROM pgbench_history) AS h`,
      );
      const [row] = rows;
      expect([row.b, row.t, row.h]).toEqual([row.a, row.a, row.a]);
      await client.end();
    },
    30_000,
  );
});

describe('the engine is killed', () => {
  it('and every acknowledged transaction is there after the restart, none half', async () => {
    const setup = await connect();
    await setup.query(
      'CREATE TABLE pair (worker int, n int, half int, PRIMARY KEY (worker, n, half))',
    );
    await setup.end();
    const acknowledged: number[] = [];
    const workers = Array.from({ length: 6 }, async (_, worker) => {
      const client = await connect();
      acknowledged[worker] = 0;
      try {
        for (let n = 1; ; n++) {
          await client.query('BEGIN');
          await client.query('INSERT INTO pair VALUES ($1, $2, 1)', [worker, n]);
          await client.query('INSERT INTO pair VALUES ($1, $2, 2)', [worker, n]);
          await client.query('COMMIT');
          acknowledged[worker] = n;
        }
      } catch {
        // The engine died under it.
      }
    });
    await sleep(1500);
    const ready = cluster.nextReady();
    const killedAt = performance.now();
    signal([(await status()).engine.pid ?? 0], 'SIGKILL');
    await Promise.all(workers);
    await ready;
    expect(performance.now() - killedAt).toBeLessThan(5000);
    const client = await connect();
    for (const [worker, last] of acknowledged.entries()) {
      expect(last).toBeGreaterThan(0);
      const { rows } = await client.query(
        'SELECT n, count(*)::int AS halves FROM pair WHERE worker = $1 GROUP BY n ORDER BY n',
        [worker],
      );
      expect(rows.length).toBeGreaterThanOrEqual(last);
      // At most the one transaction whose answer never came may be there besides.
      expect(rows.length).toBeLessThanOrEqual(last + 1);
      expect(rows.every((row, index) => row.n === index + 1 && row.halves === 2)).toBe(true);
    }
    await client.query('DROP TABLE pair');
    await client.end();
  }, 60_000);
});

describe('a zone and one node are lost', () => {
  it('reads go on, writes wait and then resume', async () => {
    await allUp();
    const client = await connect();
    const writer = await connect();
    await client.query('CREATE TABLE lost (id int PRIMARY KEY, v int)');
    await client.query('INSERT INTO lost SELECT g, g FROM generate_series(1, 1000) g');
    const gone = await pids(['node-1', 'node-2', 'node-3']);
    signal(gone, 'SIGSTOP');
    try {
      let written = false;
      const write = writer
        .query('UPDATE lost SET v = -1 WHERE id = 7')
        .then(() => (written = true));
      const deadline = Date.now() + 3000;
      while (Date.now() < deadline) {
        const { rows } = await client.query('SELECT v FROM lost WHERE id = 9');
        expect(rows[0].v).toBe(9);
        await sleep(20);
      }
      expect(written).toBe(false);
      signal(gone, 'SIGCONT');
      await write;
      expect((await client.query('SELECT v FROM lost WHERE id = 7')).rows[0].v).toBe(-1);
    } finally {
      signal(gone, 'SIGCONT');
    }
    await client.query('DROP TABLE lost');
    await Promise.all([client.end(), writer.end()]);
    await allUp();
  }, 60_000);
});
