/**
 * The engine: everything between a volume of pages and the sessions of clients.
 *
 * ```
 *   Session ... Session        engine/session      statements, portals, settings, transaction blocks
 *      |  SqlCompiler          engine/sql          parse, bind, plan, execute
 *      |  Catalog              engine/catalog      names, definitions, DDL
 *      |  LocalTableStore      engine/tables       row versions, indexes
 *      |  TransactionManager   engine/txn          ids, snapshots, locks, commit marks
 *      |  PageSpace            engine/pages        cache, MTRs, page numbers
 *   Volume                     engine/volume       the log, and pages as of VDL
 * ```
 *
 * Opening reads the header page, the catalog and a few pages more: nothing that grows with the data.
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { Autovacuum } from './autovacuum.js';
import { Catalog } from './catalog/catalog.js';
import { CatalogStatements } from './catalog/catalog-statements.js';
import { PageSpace } from './pages/page-space.js';
import { Purger } from './purger.js';
import { AnswerGate } from './session/answer-gate.js';
import { CompilerSource } from './session/compiler-source.js';
import { NotificationHub } from './session/notifications.js';
import { Session, type SessionDirectory, type SessionOptions } from './session/session.js';
import { registerSessionFunctions } from './session/session-functions.js';
import { engineGone } from './session/sql-errors.js';
import { UtilityStatements } from './session/utility-statements.js';
import { SqlError } from './sql-error.js';
import { builtinTypes } from './sql/bind/builtin-types.js';
import { SqlCompiler } from './sql/compiler.js';
import { loadParser } from './sql/parse/parser.js';
import { LocalTableStore } from './tables/local-table-store.js';
import { NO_TXN_FAULTS, type TxnFaults } from './txn/faults.js';
import { LocalTransactionManager } from './txn/manager.js';
import type { Volume, VolumeStatus } from './volume/volume.js';

export interface EngineOptions {
  readonly volume: Volume;
  /** Of the page cache; default 256 MiB. */
  readonly bufferBytes?: number;
  readonly connectionsMax?: number;
  readonly faults?: TxnFaults;
  /** Without background cleaning, for tests that count. */
  readonly purge?: boolean;
  /** Pages of waste from which on a sweep of all tables pays. */
  readonly wasteMinPages?: number;
}

export interface EngineFigures {
  readonly sessions: number;
  readonly activeTransactions: number;
  readonly bufferBytes: number;
  readonly bufferUsedBytes: number;
  readonly volume: VolumeStatus;
}

const CONNECTIONS_MAX = 1000;
const PAGE_BYTES = 8192;
export const DATABASE = 'postgres';

export class Engine implements SessionDirectory {
  readonly world: World;
  readonly volume: Volume;
  readonly space: PageSpace;
  readonly transactions: LocalTransactionManager;
  readonly store: LocalTableStore;
  readonly catalog: Catalog;
  readonly compiler: SqlCompiler;
  readonly gate: AnswerGate;
  readonly notifications = new NotificationHub();
  readonly #source: CompilerSource;
  readonly #sessions = new Map<number, Session>();
  readonly #secrets = new Map<number, Uint8Array>();
  readonly #connectionsMax: number;
  readonly #purger: Purger | undefined;
  #lastId: number;
  #closed = false;

  private constructor(world: World, space: PageSpace, parts: EngineParts, options: EngineOptions) {
    this.world = world;
    this.volume = space.volume;
    this.space = space;
    this.transactions = parts.transactions;
    this.store = parts.store;
    this.catalog = parts.catalog;
    this.gate = new AnswerGate(space.volume);
    this.#connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
    // Ids serve as process ids: those of an earlier engine's clients should not hit a session of this one.
    this.#lastId = world.random.below(0x3fff_ffff);
    const statements = new CatalogStatements(this.catalog);
    this.compiler = new SqlCompiler({
      store: this.store,
      types: builtinTypes,
      utility: new UtilityStatements(statements),
      lockTables: (transaction, locks) => this.catalog.lockTables(transaction, locks),
    });
    statements.useCompiler(this.compiler);
    this.catalog.activity = () =>
      [...this.#sessions.values()].map((session) => ({
        pid: session.id,
        user: session.user,
        state: session.activityState,
        query: session.queryText,
        waitsFor: session.waitReason,
      }));
    this.#source = new CompilerSource(this.compiler);
    if (options.purge !== false) {
      const autovacuum = new Autovacuum(this.catalog, options.wasteMinPages);
      this.#purger = new Purger(
        world,
        () => this.store.purgeStep() && autovacuum.step(),
        () => this.volume.failure !== undefined,
      );
    }
  }

  /** Opens the database of a volume, or makes it in an empty one. */
  static async open(world: World, options: EngineOptions): Promise<Engine> {
    await loadParser();
    registerSessionFunctions();
    const { volume, bufferBytes } = options;
    const space = await PageSpace.open(volume, bufferBytes === undefined ? {} : { bufferBytes });
    const transactions = new LocalTransactionManager(space, options.faults ?? NO_TXN_FAULTS);
    const store = new LocalTableStore(transactions);
    const catalog = await Catalog.open({ transactions, store });
    return new Engine(world, space, { transactions, store, catalog }, options);
  }

  /** Throws 53300 (too many), 3D000 (no such database), 57P01 (the engine's time is over). */
  connect(options: Omit<SessionOptions, 'id'>): Session {
    const { failure } = this.volume;
    if (this.#closed || failure !== undefined) {
      throw engineGone(failure ?? new SextantError('CLOSED', 'the engine is closed'));
    }
    if (this.#sessions.size >= this.#connectionsMax) {
      throw new SqlError('53300', 'sorry, too many clients already');
    }
    if (options.database !== DATABASE) {
      throw new SqlError('3D000', `database "${options.database}" does not exist`, {
        hint: `There is one database, ${DATABASE}.`,
      });
    }
    const session = new Session(
      {
        world: this.world,
        transactions: this.transactions,
        catalog: this.catalog,
        source: this.#source,
        notifications: this.notifications,
        advisory: this.transactions.advisory,
        directory: this,
      },
      { ...options, id: this.#nextId() },
    );
    this.#sessions.set(session.id, session);
    return session;
  }

  disconnect(session: Session): void {
    session.close();
    this.#sessions.delete(session.id);
    this.#secrets.delete(session.id);
  }

  find(id: number): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** What a client shows to have a statement of this session cancelled. */
  secretOf(session: Session, bytes: number): Uint8Array {
    const secret = this.world.random.bytes(bytes);
    this.#secrets.set(session.id, secret);
    return secret;
  }

  cancelBySecret(id: number, secret: Uint8Array): void {
    const expected = this.#secrets.get(id);
    if (expected === undefined || expected.length !== secret.length) return;
    let difference = 0;
    for (let i = 0; i < expected.length; i++) difference |= expected[i] ^ secret[i];
    if (difference === 0) this.#sessions.get(id)?.cancel();
  }

  figures(): EngineFigures {
    const cache = this.space.cache.status();
    return {
      sessions: this.#sessions.size,
      activeTransactions: this.transactions.activeCount,
      bufferBytes: cache.frames * PAGE_BYTES,
      bufferUsedBytes: (cache.frames - cache.freeFrames) * PAGE_BYTES,
      volume: this.volume.status(),
    };
  }

  /** Ends all sessions and the volume. What was acknowledged is durable already. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#purger?.stop();
    for (const session of this.#sessions.values()) this.disconnect(session);
    await this.volume.close();
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) & 0x3fff_ffff;
    while (this.#lastId === 0 || this.#sessions.has(this.#lastId));
    return this.#lastId;
  }
}

interface EngineParts {
  readonly transactions: LocalTransactionManager;
  readonly store: LocalTableStore;
  readonly catalog: Catalog;
}
