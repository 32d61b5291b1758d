/** What `npm start` shows once the cluster is up: that it takes transactions, and what they cost. */
import pg from 'pg';
import type { ClusterConfig } from './config.js';
import { collectStatus, renderStatus } from './status.js';

const COMMITS = 500;

export async function showThatItWorks(url: string, config: ClusterConfig): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const latenciesMs: number[] = [];
  try {
    await client.query(
      'CREATE TABLE IF NOT EXISTS sextant_hello (id SERIAL PRIMARY KEY, word TEXT NOT NULL)',
    );
    for (let i = 0; i < COMMITS; i++) {
      const start = performance.now();
      await client.query({
        name: 'hello',
        text: 'INSERT INTO sextant_hello (word) VALUES ($1)',
        values: ['hello'],
      });
      latenciesMs.push(performance.now() - start);
    }
    const count = await client.query<{ count: string }>('SELECT count(*) FROM sextant_hello');
    latenciesMs.sort((a, b) => a - b);
    const at = (share: number): string =>
      (latenciesMs[Math.floor(COMMITS * share)] ?? 0).toFixed(2);
    process.stdout.write(
      `\n${COMMITS} one-row inserts, each durable on four of six nodes: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms` +
        `\nsextant_hello now has ${count.rows[0]?.count ?? '?'} rows\n\n`,
    );
  } finally {
    await client.end();
  }
  process.stdout.write(`${renderStatus(await collectStatus(config))}\n`);
  process.stdout.write(
    `Connect with   psql ${url}\n` +
      `or             npx sextant sql -c 'SELECT count(*) FROM sextant_hello'\n` +
      `Kill any process of it: it comes back. Ctrl-C stops everything; the data stays.\n`,
  );
}
