// An ordinary PostgreSQL driver against a running server.
//
//   node examples/pg-client.mjs [URL]            without URL: against a `sextant dev` of its own
import pg from 'pg';
import { startCluster } from './dev-cluster.mjs';

const cluster = process.argv[2] === undefined ? await startCluster() : undefined;
const client = new pg.Client({ connectionString: process.argv[2] ?? cluster.url });
await client.connect();

await client.query('DROP TABLE IF EXISTS words');
await client.query(
  'CREATE TABLE words (id SERIAL PRIMARY KEY, word TEXT UNIQUE, seen INT DEFAULT 1)',
);

const text = 'the log is the database and the pages are a cache of the log';
for (const word of text.split(' ')) {
  await client.query({
    name: 'count-word', // prepared once, by name
    text: 'INSERT INTO words (word) VALUES ($1) ON CONFLICT (word) DO UPDATE SET seen = words.seen + 1',
    values: [word],
  });
}

const { rows } = await client.query(
  'SELECT word, seen FROM words WHERE seen > 1 ORDER BY seen DESC, word',
);
for (const { word, seen } of rows) console.log(word, seen);

try {
  await client.query("INSERT INTO words (word) VALUES ('log')");
} catch (error) {
  console.log(error.code, error.message);
}

await client.end();
await cluster?.stop();
