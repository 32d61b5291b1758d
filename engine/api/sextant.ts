/**
 * The embedded database: an engine in this thread, six storage nodes in worker threads.
 *
 *     const db = await Sextant.open('./data');
 *     const { rows } = await db.query('SELECT $1::int + 1 AS n', [41]);
 *     await db.transaction(async (tx) => { await tx.sql`UPDATE t SET a = ${1}`; });
 *     await db.close();
 */
import { resolve } from 'node:path';
import { realWorld } from '#core/world/real/real-world.js';
import type { LogLevel } from '#core/world/real/log.js';
import { DATABASE, Engine } from '../engine.js';
import { openVolume } from '../volume/open-volume.js';
import { EmbeddedCluster } from './embedded-cluster.js';
import {
  EmbeddedConnection,
  type Queryable,
  type QueryOptions,
  type Results,
  type Transaction,
} from './embedded-connection.js';

export interface SextantOptions {
  /** Of the page cache; default 64 MiB. */
  readonly bufferBytes?: number;
  /** What is logged to standard error; default `warn`. */
  readonly logLevel?: LogLevel;
  /** Pages of 8 KiB in a protection group of a new database. */
  readonly pagesPerPg?: number;
}

const VOLUME = 1;
const BUFFER_BYTES = 64 * 1024 * 1024;
const USER = 'postgres';

export class Sextant implements Queryable {
  readonly engine: Engine;
  readonly #cluster: EmbeddedCluster;
  readonly #lock: { release(): void };
  readonly #connection: EmbeddedConnection;
  #closing: Promise<void> | undefined;

  private constructor(engine: Engine, cluster: EmbeddedCluster, lock: { release(): void }) {
    this.engine = engine;
    this.#cluster = cluster;
    this.#lock = lock;
    this.#connection = this.connect();
  }

  /**
   * Opens the database in a folder, or makes one there. Throws FOLDER_LOCKED while somebody else has it open,
   * FOLDER_FOREIGN when it is no embedded database of this format.
   */
  static async open(dataFolder: string, options: SextantOptions = {}): Promise<Sextant> {
    const folder = resolve(dataFolder);
    const logLevel = options.logLevel ?? 'warn';
    const bootstrap = realWorld({ log: logLevel });
    bootstrap.disk.makeFolder(folder);
    const lock = bootstrap.disk.lockFolder(folder);
    let cluster: EmbeddedCluster | undefined;
    try {
      cluster = new EmbeddedCluster(folder, logLevel);
      await cluster.start(bootstrap);
      const world = realWorld({ log: logLevel, threads: cluster.hub.join() });
      const volume = await openVolume(world, {
        clusterId: cluster.cluster,
        nodes: cluster.nodes,
        volume: VOLUME,
        create: true,
        // Whoever had it open held the folder's lock.
        previousWriterDead: true,
        ...(options.pagesPerPg === undefined ? {} : { pagesPerPg: options.pagesPerPg }),
      });
      const bufferBytes = options.bufferBytes ?? BUFFER_BYTES;
      return new Sextant(await Engine.open(world, { volume, bufferBytes }), cluster, lock);
    } catch (error) {
      await cluster?.close();
      lock.release();
      throw error;
    }
  }

  /** A connection of its own: statements of several run side by side, as those of several clients. */
  connect(): EmbeddedConnection {
    return new EmbeddedConnection(this.engine, USER, DATABASE);
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  query<Row = Record<string, unknown>>(
    sql: string,
    params: readonly unknown[] = [],
    options: QueryOptions = {},
  ): Promise<Results<Row>> {
    return this.#connection.query<Row>(sql, params, options);
  }

  exec(sql: string, options: QueryOptions = {}): Promise<Results[]> {
    return this.#connection.exec(sql, options);
  }

  sql<Row = Record<string, unknown>>(
    texts: TemplateStringsArray,
    ...params: readonly unknown[]
  ): Promise<Results<Row>> {
    return this.#connection.sql<Row>(texts, ...params);
  }

  transaction<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result> {
    return this.#connection.transaction(work);
  }

  listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>> {
    return this.#connection.listen(channel, callback);
  }

  unlisten(channel: string, callback?: (payload: string) => void): Promise<void> {
    return this.#connection.unlisten(channel, callback);
  }

  /** Waits for what was asked, then ends engine and nodes. Every acknowledged change is durable already. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#connection.close();
    await this.engine.close();
    await this.#cluster.close();
    this.#lock.release();
  }
}
