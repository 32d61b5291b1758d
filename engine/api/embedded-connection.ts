/**
 * One connection of an embedded database: statements one after the other, each result only once it is durable
 * (rule 25), in PGlite's shape.
 */
import { SextantError } from '#core/errors.js';
import type { Engine } from '../engine.js';
import type { Portal } from '../session/portal.js';
import type { RowSink, Session } from '../session/session.js';
import { SimpleQuery } from '../session/simple-query.js';
import { toSqlError } from '../session/sql-errors.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { Value } from '../types/value.js';
import { fromJs, toJs } from './js-values.js';

export interface QueryOptions {
  /** `object` (the default): rows by column name; `array`: by position. */
  readonly rowMode?: 'object' | 'array';
  /** Types of the parameters, by OID, where they are not to be inferred. */
  readonly paramTypes?: readonly number[];
}

export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}

export interface Results<Row = Record<string, unknown>> {
  readonly rows: Row[];
  readonly fields: Field[];
  /** Rows that INSERT, UPDATE, DELETE or COPY touched; 0 for others. */
  readonly affectedRows: number;
}

/** What queries can be asked of: a database, a connection of it, a transaction. */
export interface Queryable {
  query<Row = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<Results<Row>>;
  exec(sql: string, options?: QueryOptions): Promise<Results[]>;
  sql<Row = Record<string, unknown>>(
    texts: TemplateStringsArray,
    ...params: readonly unknown[]
  ): Promise<Results<Row>>;
}

export interface Transaction extends Queryable {
  /** Ends it without its changes; nothing more can be asked of it. */
  rollback(): Promise<void>;
  readonly closed: boolean;
}

class Collector implements RowSink {
  readonly rows: unknown[] = [];
  readonly #session: Session;
  readonly #asArray: boolean;

  constructor(session: Session, options: QueryOptions) {
    this.#session = session;
    this.#asArray = options.rowMode === 'array';
  }

  row(portal: Portal, values: readonly Value[]): boolean {
    const columns = portal.columns ?? [];
    const context = this.#session.text;
    if (this.#asArray) {
      this.rows.push(columns.map((column, i) => toJs(column.typeOid, values[i], context)));
      return true;
    }
    const row: Record<string, unknown> = {};
    for (let i = 0; i < columns.length; i++) {
      row[columns[i].name] = toJs(columns[i].typeOid, values[i], context);
    }
    this.rows.push(row);
    return true;
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }
}

export class EmbeddedConnection implements Queryable {
  readonly session: Session;
  readonly #engine: Engine;
  /** The end of what was asked so far. */
  #tail: Promise<void> = Promise.resolve();
  #closed = false;
  readonly #listeners = new Map<string, Set<(payload: string) => void>>();

  constructor(engine: Engine, user: string, database: string) {
    this.#engine = engine;
    this.session = engine.connect({ user, database });
    this.session.onNotification = ({ channel, payload, lsn }) =>
      engine.gate.wait(lsn, (error) => {
        if (error !== undefined) return;
        for (const listener of this.#listeners.get(channel) ?? []) listener(payload);
      });
  }

  get closed(): boolean {
    return this.#closed;
  }

  query<Row = Record<string, unknown>>(
    sql: string,
    params: readonly unknown[] = [],
    options: QueryOptions = {},
  ): Promise<Results<Row>> {
    return this.#serial(() => this.#query<Row>(sql, params, options));
  }

  exec(sql: string, options: QueryOptions = {}): Promise<Results[]> {
    return this.#serial(() => this.#exec(sql, options));
  }

  sql<Row = Record<string, unknown>>(
    texts: TemplateStringsArray,
    ...params: readonly unknown[]
  ): Promise<Results<Row>> {
    return this.query<Row>(fromTemplate(texts), params);
  }

  /** BEGIN, the callback, COMMIT; ROLLBACK when it throws. Others wait meanwhile. */
  transaction<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result> {
    return this.#serial(async () => {
      await this.#exec('BEGIN', {});
      const state = { closed: false };
      const tx = this.#transactionObject(state);
      let result: Result;
      try {
        result = await work(tx);
      } catch (error) {
        if (!state.closed) {
          state.closed = true;
          await this.#exec('ROLLBACK', {});
        }
        throw error;
      }
      if (state.closed) return result;
      state.closed = true;
      const failed = this.session.block.state === 'failed';
      await this.#exec('COMMIT', {});
      if (failed) {
        throw new SqlError('40000', 'the transaction was rolled back, as a statement in it failed');
      }
      return result;
    });
  }

  /** Calls back for each notification; the result ends that. */
  async listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>> {
    const set = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, set);
    set.add(callback);
    if (set.size === 1) await this.exec(`LISTEN ${quoteName(channel)}`);
    return () => this.unlisten(channel, callback);
  }

  async unlisten(channel: string, callback?: (payload: string) => void): Promise<void> {
    const set = this.#listeners.get(channel);
    if (set === undefined) return;
    if (callback === undefined) set.clear();
    else set.delete(callback);
    if (set.size > 0) return;
    this.#listeners.delete(channel);
    await this.exec(`UNLISTEN ${quoteName(channel)}`);
  }

  /** After what was asked so far. An open transaction is rolled back. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#tail;
    this.#engine.disconnect(this.session);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #transactionObject(state: { closed: boolean }): Transaction {
    const open = <Result>(work: () => Promise<Result>): Promise<Result> => {
      if (state.closed) return Promise.reject(new SextantError('CLOSED', 'transaction is closed'));
      return work();
    };
    // Its own order: statements of one transaction one after the other, too.
    let tail: Promise<unknown> = Promise.resolve();
    const serial = <Result>(work: () => Promise<Result>): Promise<Result> => {
      const result = tail.then(() => open(work));
      tail = result.catch(() => undefined);
      return result;
    };
    const query = <Row>(
      sql: string,
      params: readonly unknown[] = [],
      options: QueryOptions = {},
    ): Promise<Results<Row>> => serial(() => this.#query<Row>(sql, params, options));
    return {
      get closed() {
        return state.closed;
      },
      query,
      exec: (sql, options = {}) => serial(() => this.#exec(sql, options)),
      sql: (texts, ...params) => query(fromTemplate(texts), params),
      rollback: () =>
        serial(async () => {
          state.closed = true;
          await this.#exec('ROLLBACK', {});
        }),
    };
  }

  #serial<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#closed) {
      return Promise.reject(new SextantError('CLOSED', 'the connection is closed'));
    }
    const result = this.#tail.then(work);
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  async #query<Row>(
    sql: string,
    params: readonly unknown[],
    options: QueryOptions,
  ): Promise<Results<Row>> {
    const { session } = this;
    return this.#answered(async () => {
      session.queryText = sql;
      session.statements.delete('');
      const statement = session.prepare('', sql, options.paramTypes ?? []);
      const oids = statement.compiled.parameterOids;
      if (params.length !== oids.length) {
        throw new SqlError(
          '08P01',
          `the statement has ${oids.length} parameters, but ${params.length} values are given`,
        );
      }
      const values = params.map((param, i) => fromJs(oids[i], param, session.text));
      const portal = session.bind('', statement, values);
      const results = await this.#run(portal, options);
      await session.perform(() => session.sync());
      return results as unknown as Results<Row>;
    });
  }

  async #exec(sql: string, options: QueryOptions): Promise<Results[]> {
    const { session } = this;
    return this.#answered(async () => {
      session.queryText = sql;
      const all: Results[] = [];
      const query = new SimpleQuery(session, sql);
      for (let portal = query.next(); portal !== null; portal = query.next()) {
        if (portal.compiled.kind === 'empty') break;
        all.push(await this.#run(portal, options));
        if (query.isLast) break;
      }
      await session.perform(() => session.sync());
      return all;
    });
  }

  async #run(portal: Portal, options: QueryOptions): Promise<Results> {
    const { session } = this;
    const { kind } = portal.compiled;
    if (kind === 'copy-in' || kind === 'copy-out') throw notSupported('COPY through this API');
    const collector = new Collector(session, options);
    if (kind !== 'empty') await session.perform(() => session.run(portal, 0, collector));
    const fields = (portal.columns ?? []).map((column) => ({
      name: column.name,
      dataTypeID: column.typeOid,
    }));
    return {
      rows: collector.rows as Record<string, unknown>[],
      fields,
      affectedRows: kind === 'write' ? (portal.execution?.rowCount ?? 0) : 0,
    };
  }

  /** Undoes what failed, and lets nothing out before it is durable (rule 25). */
  async #answered<Result>(work: () => Promise<Result>): Promise<Result> {
    const { session } = this;
    let result: Result;
    try {
      result = await work();
    } catch (thrown) {
      const error = toSqlError(thrown);
      session.fail();
      await this.#durable();
      throw error;
    }
    await this.#durable();
    return result;
  }

  #durable(): Promise<void> {
    const { gate } = this.#engine;
    const lsn = this.session.answerLsn;
    if (gate.isOpen(lsn)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      gate.wait(lsn, (error) => (error === undefined ? resolve() : reject(toSqlError(error))));
    });
  }
}

function fromTemplate(texts: TemplateStringsArray): string {
  return texts.reduce((sql, text, i) => (i === 0 ? text : `${sql}$${i}${text}`), '');
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
