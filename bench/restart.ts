/**
 * Time from the death of the engine (SIGKILL under load) to the first answered query of its successor, which a
 * supervisor starts at once: process start, opening of the volume, first query. It must not depend on the size of the database.
 */
import pg from 'pg';
import { join } from 'node:path';
import { collectStatus } from '#cli/status.js';
import { readClusterConfig } from '#cli/config.js';
import { DevProcess } from './cluster.js';
import { pgbenchInit, pgbenchRun } from './pgbench.js';
import { median, table } from './statistics.js';

export interface RestartLine {
  readonly scale: number;
  readonly dataMB: number;
  readonly firstQueryMs: number[];
}

export async function benchRestart(options: {
  scales: readonly number[];
  rounds: number;
}): Promise<RestartLine[]> {
  const lines: RestartLine[] = [];
  for (const scale of options.scales) {
    const sextant = await DevProcess.start();
    try {
      process.stderr.write(`loading pgbench at scale ${scale}\n`);
      await pgbenchInit(sextant.port, scale);
      const line: RestartLine = { scale, dataMB: await databaseMB(sextant), firstQueryMs: [] };
      for (let round = 0; round < options.rounds; round++)
        line.firstQueryMs.push(await killOnce(sextant));
      lines.push(line);
    } finally {
      await sextant.stop();
    }
  }
  process.stdout.write(
    `${table(
      ['pgbench scale', 'database MB', 'first query, median ms', 'max ms'],
      lines.map((line) => [
        line.scale,
        line.dataMB,
        median(line.firstQueryMs),
        Math.max(...line.firstQueryMs),
      ]),
    )}\n`,
  );
  return lines;
}

async function databaseMB(sextant: DevProcess): Promise<number> {
  const client = new pg.Client({ connectionString: sextant.url });
  await client.connect();
  const { rows } = await client.query<{ bytes: string }>(
    "SELECT pg_database_size('postgres') AS bytes",
  );
  await client.end();
  return Number(rows[0]?.bytes ?? 0) / 1e6;
}

async function killOnce(sextant: DevProcess): Promise<number> {
  const load = pgbenchRun(sextant.port, { clients: 16, seconds: 20 }).catch(() => null);
  await new Promise((wake) => setTimeout(wake, 3000));
  const { engine } = await collectStatus(readClusterConfig(join(sextant.folder, 'sextant.json')));
  const start = performance.now();
  process.kill(engine.pid ?? 0, 'SIGKILL');
  for (;;) {
    const client = new pg.Client({ connectionString: sextant.url });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('SELECT abalance FROM pgbench_accounts WHERE aid = 1');
      const tookMs = performance.now() - start;
      await client.end();
      await load;
      return tookMs;
    } catch {
      await client.end().catch(() => undefined);
      await new Promise((wake) => setTimeout(wake, 2));
    }
  }
}
