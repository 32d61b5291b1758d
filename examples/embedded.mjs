// A database inside this process: an engine, six storage nodes in worker threads, six folders.
//
//   node examples/embedded.mjs [FOLDER]          without FOLDER: a temporary one, removed at the end
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Sextant } from 'sextant';

const folder = process.argv[2] ?? mkdtempSync(join(tmpdir(), 'sextant-example-'));

const db = await Sextant.open(folder);

await db.exec(`
  CREATE TABLE IF NOT EXISTS accounts (id int PRIMARY KEY, owner text NOT NULL, balance int NOT NULL);
  DELETE FROM accounts;
  INSERT INTO accounts VALUES (1, 'Ada', 100), (2, 'Grace', 100);
`);

// Everything or nothing: durable on four of the six folders when the promise resolves.
await db.transaction(async (tx) => {
  await tx.query('UPDATE accounts SET balance = balance - $1 WHERE id = $2', [30, 1]);
  await tx.query('UPDATE accounts SET balance = balance + $1 WHERE id = $2', [30, 2]);
});

// A transaction that throws leaves nothing behind.
await db
  .transaction(async (tx) => {
    await tx.sql`UPDATE accounts SET balance = 0`;
    throw new Error('changed my mind');
  })
  .catch((error) => console.log(`rolled back: ${error.message}`));

const rich = 110;
const { rows } = await db.sql`SELECT owner, balance FROM accounts WHERE balance > ${rich}`;
console.log('richer than', rich, rows);

const total = await db.query('SELECT sum(balance) AS total FROM accounts');
console.log('total', total.rows[0].total);

await db.close();
if (process.argv[2] === undefined) rmSync(folder, { recursive: true });
