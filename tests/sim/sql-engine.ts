/**
 * The whole engine: SQL clients that transfer money, append to lists, count, take unique keys, roll back to
 * savepoints, and auditors that read all of it in one snapshot. What clients are told goes to `SqlHistory`.
 */
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import type { World } from '#core/world/world.js';
import { EmbeddedConnection } from '#engine/api/embedded-connection.js';
import { DATABASE, Engine } from '#engine/engine.js';
import { SqlError } from '#engine/sql-error.js';
import type { QuorumVolume } from '#engine/volume/quorum-volume.js';
import type { EngineView } from './checkers/checker.js';
import type { Cluster, SimEngine } from './cluster.js';
import { openSimVolume } from './open.js';
import { Violation } from './violation.js';
import { watchVolume } from './watch.js';

const ACCOUNTS = 6;
const LISTS = 3;
const COUNTERS = 2;
const KEYS = 60;
const BALANCE = 100;
const BUFFER_BYTES = 256 * 1024;
/** What a successor waits for; the answer gate's own bound is shorter. */
const LEASE_MS = 1000;

const SCHEMA = `
  CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
  CREATE TABLE ledger (id int, account int, amount int, PRIMARY KEY (id, account));
  CREATE TABLE lists (id int PRIMARY KEY, items text NOT NULL);
  CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL);
  CREATE TABLE keys (k int PRIMARY KEY);
  INSERT INTO accounts SELECT i, ${BALANCE} FROM generate_series(1, ${ACCOUNTS}) i;
  INSERT INTO lists SELECT i, '' FROM generate_series(1, ${LISTS}) i;
  INSERT INTO counters SELECT i, 0 FROM generate_series(1, ${COUNTERS}) i;
`;

/** SQLSTATEs that a client answers by trying again. */
const RETRY = new Set(['40001', '40P01', '58030', '53100', '55P03']);

export class SqlEngine implements SimEngine {
  readonly name: string;
  view: EngineView | undefined;
  /** The last read of everything, after `stop`. */
  settled = false;
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #random: SimRandom;
  #volume: QuorumVolume | undefined;
  #engine: Engine | undefined;
  #stopped = false;

  constructor(cluster: Cluster, world: World, name: string) {
    this.#cluster = cluster;
    this.#world = world;
    this.name = name;
    this.#random = new SimRandom(cluster.options.seed).fork(name);
  }

  stop(): void {
    this.#stopped = true;
  }

  async run(): Promise<void> {
    const cluster = this.#cluster;
    const { planted } = cluster;
    const volume = await openSimVolume(cluster, this.#world, { leaseMs: LEASE_MS });
    this.#volume = volume;
    this.view = watchVolume(cluster, this.name, volume);
    cluster.engine = this;
    try {
      this.#engine = await Engine.open(this.#world, {
        volume,
        bufferBytes: BUFFER_BYTES,
        ...(planted.txn === undefined ? {} : { faults: planted.txn }),
      });
      await this.#serve();
    } catch (error) {
      if (error instanceof Violation || volume.failure === undefined) throw error;
    }
  }

  async #serve(): Promise<void> {
    await this.#setUp(this.#connect());
    const work: Promise<void>[] = [];
    const { clients, readers } = this.#cluster.options;
    for (let i = 0; i < clients + 1; i++) work.push(this.#client(this.#connect()));
    for (let i = 0; i < readers + 1; i++) work.push(this.#auditor(this.#connect()));
    await Promise.all(work);
    await this.#audit(this.#connect());
    this.settled = true;
    // Nobody waits for what background cleaning writes: it must come together all the same.
    const volume = this.#volume as QuorumVolume;
    while (volume.failure === undefined) {
      await new Promise<void>((resolve) => volume.wait(volume.nextLsn - 1, () => resolve()));
      await this.#world.timers.sleep(50);
    }
  }

  #connect(): EmbeddedConnection {
    const engine = this.#engine as Engine;
    return new EmbeddedConnection(engine, 'postgres', DATABASE);
  }

  /** An answer has come: it may rest only on what no other engine can have changed (rule 26). */
  #answered(): void {
    const cluster = this.#cluster;
    const view = this.view as EngineView;
    cluster.sql.answers++;
    cluster.check((checker) => checker.answered?.(view, cluster));
  }

  async #rows(
    db: EmbeddedConnection,
    sql: string,
    params: readonly unknown[] = [],
  ): Promise<readonly (readonly unknown[])[]> {
    const result = await db.query(sql, params, { rowMode: 'array' });
    this.#answered();
    return result.rows as unknown as readonly (readonly unknown[])[];
  }

  async #setUp(db: EmbeddedConnection): Promise<void> {
    const { sql } = this.#cluster;
    try {
      await this.#rows(db, 'SELECT id FROM accounts');
      sql.isSetUp = true;
      return;
    } catch (error) {
      if (!(error instanceof SqlError) || error.code !== '42P01') throw error;
    }
    if (sql.isSetUp) throw new Violation('LOG-1', 'the tables were made and are gone');
    await db.exec(`BEGIN; ${SCHEMA} COMMIT`);
    this.#answered();
    sql.isSetUp = true;
  }

  #pause(meanMs: number): Promise<void> {
    return this.#world.timers.sleep(this.#random.unit() * 2 * meanMs);
  }

  /** Runs a transaction; false when it was refused for now, and is rolled back then. */
  async #attempt(db: EmbeddedConnection, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (error instanceof Violation) throw error;
      if (this.#volume?.failure !== undefined) throw error;
      const code = error instanceof SqlError || isSextantError(error) ? error.code : '';
      if (!RETRY.has(code)) throw error;
      await db.exec('ROLLBACK');
      return false;
    }
  }

  async #client(db: EmbeddedConnection): Promise<void> {
    while (!this.#stopped) {
      const kind = this.#random.below(8);
      if (kind < 3) await this.#transfer(db);
      else if (kind < 5) await this.#append(db);
      else if (kind < 6) await this.#count(db);
      else await this.#takeKey(db);
      this.#cluster.commits++;
      if (this.#random.chance(0.5)) await this.#pause(4);
    }
  }

  /** Moves money; sometimes all of it, or a part behind a savepoint, is taken back. */
  async #transfer(db: EmbeddedConnection): Promise<void> {
    const random = this.#random;
    const { sql } = this.#cluster;
    const id = sql.freshId();
    const from = 1 + random.below(ACCOUNTS);
    const to = 1 + ((from + random.below(ACCOUNTS - 1)) % ACCOUNTS);
    const amount = 1 + random.below(20);
    const move = async (number: number): Promise<void> => {
      await this.#rows(db, 'UPDATE accounts SET balance = balance - $1 WHERE id = $2', [
        amount,
        from,
      ]);
      await this.#rows(db, 'UPDATE accounts SET balance = balance + $1 WHERE id = $2', [
        amount,
        to,
      ]);
      await this.#rows(db, 'INSERT INTO ledger VALUES ($1, $2, $3), ($1, $4, $5)', [
        number,
        from,
        -amount,
        to,
        amount,
      ]);
    };
    const givesUp = random.chance(0.15);
    const done = await this.#attempt(db, async () => {
      await db.exec('BEGIN');
      await move(id);
      if (random.chance(0.25)) {
        const undone = sql.freshId();
        sql.rolledBack(undone);
        await db.exec('SAVEPOINT s');
        await move(undone);
        await db.exec('ROLLBACK TO s');
      }
      if (random.chance(0.2)) await this.#pause(3);
      if (givesUp) {
        sql.rolledBack(id);
        await db.exec('ROLLBACK');
        return;
      }
      await db.exec('COMMIT');
      this.#answered();
      sql.committed(id);
    });
    if (!done) sql.rolledBack(id);
  }

  async #append(db: EmbeddedConnection): Promise<void> {
    const { sql } = this.#cluster;
    const list = 1 + this.#random.below(LISTS);
    const item = sql.freshId();
    const since = sql.mark();
    const undone = this.#random.chance(0.1);
    const done = await this.#attempt(db, async () => {
      await db.exec('BEGIN');
      const text = 'UPDATE lists SET items = items || $1 WHERE id = $2 RETURNING items';
      const [row] = await this.#rows(db, text, [`,${item}`, list]);
      if (undone) {
        sql.rolledBack(item);
        await db.exec('ROLLBACK');
        return;
      }
      await db.exec('COMMIT');
      this.#answered();
      sql.answeredList(list, parseItems(row?.[0]), since);
    });
    if (!done) sql.rolledBack(item);
  }

  async #count(db: EmbeddedConnection): Promise<void> {
    const { sql } = this.#cluster;
    const id = 1 + this.#random.below(COUNTERS);
    const since = sql.counterMark(id);
    await this.#attempt(db, async () => {
      const text = 'UPDATE counters SET n = n + 1 WHERE id = $1 RETURNING n';
      const [row] = await this.#rows(db, text, [id]);
      sql.answeredCount(id, Number(row?.[0]), since);
    });
  }

  async #takeKey(db: EmbeddedConnection): Promise<void> {
    const { sql } = this.#cluster;
    const key = this.#random.below(KEYS);
    await this.#attempt(db, async () => {
      try {
        await this.#rows(db, 'INSERT INTO keys VALUES ($1)', [key]);
      } catch (error) {
        if (!(error instanceof SqlError) || error.code !== '23505') throw error;
        this.#answered();
      }
      sql.answeredKey(key);
    });
  }

  async #auditor(db: EmbeddedConnection): Promise<void> {
    while (!this.#stopped) {
      if (this.#random.chance(0.4)) await this.#audit(db);
      else await this.#readLists(db);
      await this.#pause(12);
    }
  }

  async #readLists(db: EmbeddedConnection): Promise<void> {
    const { sql } = this.#cluster;
    await this.#attempt(db, async () => {
      const since = sql.mark();
      const rows = await this.#rows(db, 'SELECT id, items FROM lists');
      for (const [id, items] of rows) sql.answeredList(Number(id), parseItems(items), since);
    });
  }

  /** Everything in one snapshot, the lists twice. */
  async #audit(db: EmbeddedConnection): Promise<void> {
    const { sql } = this.#cluster;
    await this.#attempt(db, async () => {
      const since = sql.mark();
      const due = sql.acknowledged();
      const keysDue = sql.keyMark();
      await db.exec('BEGIN ISOLATION LEVEL REPEATABLE READ');
      const lists = await this.#rows(db, 'SELECT id, items FROM lists ORDER BY id');
      const accounts = await this.#rows(db, 'SELECT id, balance FROM accounts');
      if (this.#random.chance(0.5)) await this.#pause(5);
      const ledger = await this.#rows(db, 'SELECT id, account, amount FROM ledger');
      const keys = await this.#rows(db, 'SELECT k FROM keys ORDER BY k');
      const again = await this.#rows(db, 'SELECT id, items FROM lists ORDER BY id');
      await db.exec('COMMIT');
      if (JSON.stringify(lists) !== JSON.stringify(again)) {
        throw new Violation('TXN-1', 'two reads of one snapshot differ');
      }
      for (const [id, items] of lists) sql.answeredList(Number(id), parseItems(items), since);
      const moved = new Map<number, number>();
      for (const [, account, amount] of ledger) {
        moved.set(Number(account), (moved.get(Number(account)) ?? 0) + Number(amount));
      }
      const balances = new Map(accounts.map(([id, balance]) => [Number(id), Number(balance)]));
      sql.answeredBalances(balances, moved, BALANCE);
      sql.answeredLedger(new Set(ledger.map(([id]) => Number(id))), due);
      sql.answeredKeys(
        keys.map(([k]) => Number(k)),
        keysDue,
      );
    });
  }
}

function parseItems(items: unknown): number[] {
  return String(items).split(',').slice(1).map(Number);
}
