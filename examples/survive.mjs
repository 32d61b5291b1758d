// Moves money about while two storage nodes and then the engine are killed with SIGKILL, and counts it afterwards.
//
//   node examples/survive.mjs
import pg from 'pg';
import { startCluster } from './dev-cluster.mjs';

const ACCOUNTS = 10;
const TRANSFERS = 300;

const cluster = await startCluster();
let client = await connect();

/** A client; after the engine died it takes a moment until there is one to connect to. */
async function connect() {
  for (;;) {
    const fresh = new pg.Client({ connectionString: cluster.url });
    fresh.on('error', () => {});
    try {
      await fresh.connect();
      return fresh;
    } catch {
      await new Promise((wake) => setTimeout(wake, 50));
    }
  }
}

await client.query('CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL)');
await client.query('CREATE TABLE transfers (id int PRIMARY KEY)');
await client.query('INSERT INTO accounts SELECT g, 100 FROM generate_series(1, $1) g', [ACCOUNTS]);

async function transfer(id) {
  const from = 1 + (id % ACCOUNTS);
  const to = 1 + ((id * 7 + 3) % ACCOUNTS);
  await client.query('BEGIN');
  await client.query('INSERT INTO transfers VALUES ($1)', [id]);
  await client.query('UPDATE accounts SET balance = balance - 1 WHERE id = $1', [from]);
  await client.query('UPDATE accounts SET balance = balance + 1 WHERE id = $1', [to]);
  await client.query('COMMIT');
}

const kill = (what, pids) => {
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  console.log(`killed ${what}`);
};

let acknowledged = 0;
for (let id = 0; id < TRANSFERS; id++) {
  const { nodes, engine } = id === 100 || id === 200 ? cluster.status() : {};
  if (id === 100) kill('two nodes', [nodes[0].pid, nodes[3].pid]);
  if (id === 200) kill('the engine', [engine.pid]);
  try {
    await transfer(id);
    acknowledged++;
  } catch (error) {
    console.log(`transfer ${id}: ${error.message}; connecting again`);
    client = await connect();
  }
}

const { rows } = await client.query(
  'SELECT (SELECT count(*) FROM transfers) AS transfers, (SELECT sum(balance) FROM accounts) AS money',
);
const there = Number(rows[0].transfers);
const money = Number(rows[0].money);
console.log(
  `${acknowledged} acknowledged, ${there} there, ${money} of ${ACCOUNTS * 100} in the accounts`,
);

await client.end();
await cluster.stop();
// One that was under way when the engine died may be there without an answer.
if (there < acknowledged || money !== ACCOUNTS * 100) process.exitCode = 1;
