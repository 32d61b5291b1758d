/**
 * One client's session: its statements, portals, settings, transaction block and locks.
 *
 * ```
 *   driver (a connection, the embedded API)          session
 *     prepare, bind                                  compiles, keeps by name
 *     run(portal, maxRows, sink)      ------>        steps the execution, hands rows to the sink
 *        throws Suspend               <------        must wait: `suspended(suspend, wake)`, then the same call again
 *     sync()                          ------>        ends an implicit transaction
 *     fail(error)                     ------>        after any error: what must be undone is undone
 *     answers leave when the gate is open for `answerLsn` (rules 25, 26)
 * ```
 *
 * Everything is synchronous: from the socket's data to the written answer there is no promise unless something throws
 * Suspend. Every call that may throw it can be repeated and goes on where it was.
 */
import type { Node } from 'libpg-query';
import { assert } from '#core/assert.js';
import type { Timer, World } from '#core/world/world.js';
import type { CatalogReader } from '../catalog/definitions.js';
import { textContextOf } from '../functions/context.js';
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';
import type { CompileRequest } from '../sql/compiler.js';
import { tagOf } from '../sql/parse/ast.js';
import type { ParsedStatement } from '../sql/parse/parser.js';
import type {
  CompiledStatement,
  Execution,
  ExecutionContext,
  ResultColumn,
  SessionView,
} from '../sql/statement.js';
import type { AdvisoryLocks } from '../txn/advisory-locks.js';
import { LockActor, LockScope } from '../txn/lock-space.js';
import type { Transaction, TransactionManager } from '../txn/transaction.js';
import type { TextContext } from '../types/sql-type.js';
import type { Value } from '../types/value.js';
import { isTransactionExit, openCommand } from './commands.js';
import { type Notification, type NotificationHub, SessionChannels } from './notifications.js';
import { Portal, PreparedStatement } from './portal.js';
import { isSuperfluous, splitSearchPath } from './search-path.js';
import type { SettingDef } from './setting-definitions.js';
import { Settings } from './settings.js';
import type { CatalogAccess, StatementSource, StatementText } from './statement-source.js';
import {
  compileSessionStatement,
  EMPTY_STATEMENT,
  isSessionStatement,
  needsBlock,
  soleTagOf,
} from './session-statements.js';
import { TransactionBlock } from './transaction-block.js';

/** Microseconds between 1970 and 2000. */
const EPOCH_MICROS = 946_684_800_000_000n;

export interface SessionServices {
  readonly world: World;
  readonly transactions: TransactionManager;
  readonly catalog: CatalogAccess;
  readonly source: StatementSource;
  readonly notifications: NotificationHub;
  readonly advisory: AdvisoryLocks;
  /** Ends the wait of another session or the session itself: pg_cancel_backend, pg_terminate_backend. */
  readonly directory: SessionDirectory;
}

export interface SessionDirectory {
  find(id: number): Session | undefined;
  all(): Iterable<Session>;
}

export interface SessionOptions {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  /** `127.0.0.1:40312`, or empty for the embedded API. */
  readonly remote?: string;
}

/** Takes the rows of a portal as they come. */
export interface RowSink {
  /** `values` is reused. False: no more for now; the session suspends on `drained()`. */
  row(portal: Portal, values: readonly Value[]): boolean;
  drained(): Promise<void>;
}

export interface Notice {
  readonly severity: 'NOTICE' | 'WARNING' | 'INFO';
  readonly code: string;
  readonly message: string;
}

export type ActivityState =
  | 'active'
  | 'idle'
  | 'idle in transaction'
  | 'idle in transaction (aborted)';

interface Wait {
  readonly reason: Suspend['reason'];
  readonly wake: (error?: Error) => void;
  lockTimer: Timer | undefined;
}

export class Session implements SessionView {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  readonly remote: string;
  readonly settings = new Settings();
  readonly block: TransactionBlock;
  readonly channels: SessionChannels;
  readonly services: SessionServices;
  readonly memory = new Map<string, unknown>();
  /** Session-level advisory locks. */
  readonly locks: LockScope;
  readonly text: TextContext;
  readonly statements = new Map<string, PreparedStatement>();
  readonly portals = new Map<string, Portal>();
  searchPath: readonly string[] = [];
  closed = false;
  /** How long its client may be silent; 0: for ever. */
  idleInTransactionMs = 0;
  idleMs = 0;
  /** What runs or ran last, for pg_stat_activity. */
  queryText = '';
  readonly startedMs: number;

  onNotice: (notice: Notice) => void = () => {};
  onNotification: (notification: Notification) => void = () => {};
  /** A setting that clients are told of has changed. */
  onSetting: (def: SettingDef, value: string) => void = () => {};
  /** A cancel while the statement under way waits for its client (COPY). */
  onIdleCancel: (error: SqlError) => void = () => {};
  /** Asked for by another session: the driver ends the connection. */
  onTerminate: (error: SqlError) => void = () => {};

  readonly #yieldNow = (): Promise<void> =>
    new Promise((resolve) => this.services.world.timers.turn(resolve));
  #statementMs = 0;
  #transactionMs = 0;
  #statementTimer: Timer | undefined;
  #running = false;
  #wait: Wait | null = null;
  /** Asked for while nothing waited: given at the next chance. */
  #cancelled: SqlError | null = null;
  #openExecutions = 0;
  #statementTimeoutMs = 0;
  #lockTimeoutMs = 0;

  constructor(services: SessionServices, options: SessionOptions) {
    this.services = services;
    this.id = options.id;
    this.user = options.user;
    this.database = options.database;
    this.remote = options.remote ?? '';
    this.startedMs = services.world.clock.wallMs();
    const actor = new LockActor();
    this.locks = new LockScope(actor);
    this.block = new TransactionBlock(services.transactions, this.settings, actor);
    this.block.onEnd = (committed, lsn) => this.#blockEnded(committed, lsn);
    this.channels = new SessionChannels(services.notifications, this, this.id);
    this.settings.onChange = (def, value) => {
      this.#settingChanged(def.name, value);
      if (def.report === true) this.onSetting(def, value);
    };
    this.#settingChanged('search_path', this.settings.get('search_path'));
    this.text = textContextOf(this);
  }

  // What functions see

  get statementTime(): bigint {
    return toMicros(this.#statementMs);
  }

  get transactionTime(): bigint {
    return toMicros(this.#transactionMs);
  }

  clockTime(): bigint {
    return toMicros(this.services.world.clock.wallMs());
  }

  getSetting(name: string): string | undefined {
    return this.settings.find(name) === undefined ? undefined : this.settings.show(name);
  }

  setSetting(name: string, value: string, local: boolean): void {
    this.settings.set(name, value, local);
  }

  notice(severity: Notice['severity'], code: string, message: string): void {
    const least = this.settings.get('client_min_messages');
    if (isSuperfluous(severity, least)) return;
    this.onNotice({ severity, code, message });
  }

  random(): number {
    return this.services.world.random.unit();
  }

  // Statements

  get catalog(): CatalogReader {
    return this.services.catalog.reader(this.block.transaction);
  }

  /** Parse: one statement, kept under its name. `parameterOids`: 0 where open. */
  prepare(name: string, text: string, parameterOids: readonly number[]): PreparedStatement {
    if (name !== '' && this.statements.has(name)) {
      throw new SqlError('42P05', `prepared statement "${name}" already exists`);
    }
    if (this.block.state === 'failed') this.#checkText(text);
    const compiled = this.services.source.prepare(text, this.compileRequest(parameterOids));
    if (compiled.length > 1) {
      throw new SqlError('42601', 'cannot insert multiple commands into a prepared statement');
    }
    const statement = new PreparedStatement(
      name,
      compiled.length === 0 ? null : { text, parsed: null },
      parameterOids,
      compiled[0] ?? EMPTY_STATEMENT,
      this.searchPath,
      false,
    );
    this.statements.set(name, statement);
    return statement;
  }

  compileRequest(parameterOids: readonly number[]): CompileRequest {
    return { parameterOids, searchPath: this.searchPath, catalog: this.catalog };
  }

  /** A statement inside of another one: PREPARE, DECLARE. */
  compileSource(
    name: string,
    parsed: ParsedStatement,
    parameterOids: readonly number[],
  ): PreparedStatement {
    const compiled = this.services.source.compile(parsed, this.compileRequest(parameterOids));
    const source = { text: parsed.text, parsed };
    return new PreparedStatement(name, source, parameterOids, compiled, this.searchPath, true);
  }

  /** 26000 when there is none. */
  statement(name: string): PreparedStatement {
    const statement = this.statements.get(name);
    if (statement !== undefined) return statement;
    const what = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`;
    throw new SqlError('26000', `${what} does not exist`);
  }

  /** Bind. The unnamed portal replaces the one before it. */
  bind(name: string, statement: PreparedStatement, parameters: readonly Value[]): Portal {
    this.#refresh(statement);
    return this.bindFresh(name, statement, parameters);
  }

  /** As `bind` for a statement that was compiled just now. */
  bindFresh(
    name: string,
    statement: PreparedStatement,
    parameters: readonly Value[],
    cursor = false,
  ): Portal {
    const old = this.portals.get(name);
    if (old !== undefined) {
      if (name !== '') throw new SqlError('42P03', `cursor "${name}" already exists`);
      this.closePortal(name);
    }
    const portal = new Portal(name, statement, parameters, cursor);
    if (statement.compiled.kind === 'session') portal.columns = this.describe(statement);
    this.portals.set(name, portal);
    return portal;
  }

  /** 34000 when there is none. */
  portal(name: string): Portal {
    const portal = this.portals.get(name);
    if (portal === undefined) {
      throw new SqlError('34000', `portal "${name}" does not exist`);
    }
    return portal;
  }

  closePortal(name: string): void {
    const portal = this.portals.get(name);
    if (portal === undefined) return;
    this.portals.delete(name);
    this.#finish(portal);
  }

  /**
   * Runs a portal until it is over (true) or `maxRows` more rows were handed out (false; 0: no limit). Throws Suspend:
   * call it again; and SqlError: call `fail`.
   */
  run(portal: Portal, maxRows: number, sink: RowSink): boolean {
    if (portal.done) return true;
    const execution = portal.execution ?? this.open(portal);
    for (;;) {
      if (execution.step() === 'done') break;
      if (this.#cancelled !== null) this.#giveUp();
      const more = sink.row(portal, execution.row);
      portal.fetched++;
      if (maxRows > 0 && portal.fetched >= maxRows) {
        portal.fetched = 0;
        this.#stopTimer();
        return false;
      }
      if (!more) throw new Suspend('turn', sink.drained());
    }
    this.#finish(portal);
    return true;
  }

  /** Begins to execute a portal; `run` does so by itself. Throws Suspend: call it again. */
  open(portal: Portal): Execution {
    if (portal.execution !== null) return portal.execution;
    this.#begin(portal);
    const { compiled } = portal;
    const { kind } = compiled;
    let execution: Execution;
    if (kind === 'transaction' || kind === 'session') execution = openCommand(this, portal);
    else if (kind === 'empty') execution = compiled.open(NO_CONTEXT);
    else execution = compiled.open(this.#context(portal));
    portal.execution = execution;
    if (kind !== 'transaction') this.#openExecutions++;
    return execution;
  }

  /** Whether its rows may still turn out to look otherwise: of unnamed statements that nobody has described. */
  mayChange(portal: Portal): boolean {
    const { name, described, compiled } = portal.statement;
    if (name !== '' || described || portal.execution !== null) return false;
    return compiled.kind === 'query' || compiled.kind === 'write';
  }

  /** A statement inside of another (EXECUTE): its execution is closed by whoever opened it. */
  openInner(portal: Portal): Execution {
    const { kind } = portal.compiled;
    if (kind === 'transaction' || kind === 'session') return openCommand(this, portal);
    if (kind === 'empty') return portal.compiled.open(NO_CONTEXT);
    return portal.compiled.open(this.#context(portal));
  }

  /** A cursor has no more rows, a COPY no more data. */
  finishPortal(portal: Portal): void {
    this.#finish(portal);
  }

  /** What rows of a statement look like if it ran now: known for EXECUTE and FETCH only by looking them up. */
  describe(statement: PreparedStatement): readonly ResultColumn[] | null {
    const node = statement.compiled.node as Node | null;
    if (statement.compiled.kind !== 'session' || node === null) return statement.compiled.columns;
    if ('ExecuteStmt' in node) {
      const target = this.statements.get(node.ExecuteStmt.name ?? '');
      return target === undefined ? null : target.compiled.columns;
    }
    if ('FetchStmt' in node && node.FetchStmt.ismove !== true) {
      return this.portals.get(node.FetchStmt.portalname ?? '')?.columns ?? null;
    }
    return statement.compiled.columns;
  }

  /** Compiled for the catalog as it is now. */
  fresh(statement: PreparedStatement): PreparedStatement {
    this.#refresh(statement);
    return statement;
  }

  /** Sync, or the end of a query message: commits an implicit transaction. Throws Suspend: call it again. */
  sync(): void {
    if (this.block.state === 'implicit') {
      this.#running = true;
      this.block.commit();
    }
    this.#idle();
  }

  /** Any error of a statement: undoes what must be undone. */
  fail(): void {
    const inBlock = this.block.state !== 'none';
    for (const portal of this.portals.values()) {
      if (portal.execution !== null) this.#finish(portal);
    }
    this.block.fail();
    if (inBlock) this.portals.clear();
    this.#idle();
  }

  /** A text of several statements: whether this one may run now. 25P02 in a failed block. */
  checkBlock(statement: PreparedStatement): void {
    if (this.block.state !== 'failed') return;
    if (statement.compiled.kind === 'empty') return;
    if (isTransactionExit(statement.compiled)) return;
    throw inFailedBlock();
  }

  // Waiting

  /** The driver met a Suspend; `wake` runs once, with an error that takes the statement's place. */
  suspended(suspend: Suspend, wake: (error?: Error) => void): void {
    assert(this.#wait === null, 'one wait at a time');
    const wait: Wait = { reason: suspend.reason, wake, lockTimer: undefined };
    this.#wait = wait;
    if (suspend.reason === 'lock' && this.#lockTimeoutMs > 0) {
      wait.lockTimer = this.services.world.timers.after(this.#lockTimeoutMs, () =>
        this.#interrupt(new SqlError('55P03', 'canceling statement due to lock timeout')),
      );
    }
    suspend.ready.then(
      () => this.#woken(wait),
      (error: Error) => this.#woken(wait, error),
    );
    const cancelled = this.#cancelled;
    if (cancelled !== null) {
      this.#cancelled = null;
      this.#interrupt(cancelled);
    }
  }

  /** For drivers without a turn of their own: runs a repeatable step to its end. */
  async perform<Result>(step: () => Result): Promise<Result> {
    for (;;) {
      try {
        return step();
      } catch (thrown) {
        if (!(thrown instanceof Suspend)) throw thrown;
        await new Promise<void>((resolve, reject) => {
          this.suspended(thrown, (error) => (error === undefined ? resolve() : reject(error)));
        });
      }
    }
  }

  /** A statement under way ends with `error`; without one nothing happens. */
  cancel(error: SqlError = canceledByUser()): boolean {
    if (!this.#running) return false;
    if (this.#wait !== null) {
      this.#interrupt(error);
      return true;
    }
    this.#cancelled = error;
    this.onIdleCancel(error);
    return true;
  }

  // Other sessions and the engine

  notify(notification: Notification): void {
    this.onNotification(notification);
  }

  get activityState(): ActivityState {
    if (this.#running) return 'active';
    const { state } = this.block;
    if (state === 'failed') return 'idle in transaction (aborted)';
    return state === 'explicit' ? 'idle in transaction' : 'idle';
  }

  get waitReason(): Suspend['reason'] | null {
    return this.#wait === null ? null : this.#wait.reason;
  }

  /** What its answers so far rest on (rule 25). */
  get answerLsn(): number {
    return this.block.answerLsn;
  }

  /** Rolls back, lets go of every lock, forgets everything. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#wait?.lockTimer?.cancel();
    this.#wait = null;
    this.locks.actor.cancelWait(canceledByUser());
    for (const portal of this.portals.values()) this.#finish(portal);
    this.portals.clear();
    this.statements.clear();
    if (this.block.state !== 'none') this.block.rollback();
    this.locks.releaseAll();
    this.channels.close();
    this.memory.clear();
    this.#stopTimer();
  }

  /** DISCARD ALL, but for the transaction, which there is none of. */
  discardAll(): void {
    for (const name of this.portals.keys()) this.closePortal(name);
    this.statements.clear();
    this.settings.resetAll();
    this.channels.close();
    this.locks.releaseAll();
    this.memory.clear();
  }

  // Inside

  /** 25P02 unless the text ends a block: in a failed one nothing is looked up in the catalog. */
  #checkText(text: string): void {
    const parsed = this.services.source.parse(text);
    if (parsed.length === 0) return;
    const { node } = parsed[0];
    if (isSessionStatement(tagOf(node)) && isTransactionExit(compileSessionStatement(node))) return;
    throw inFailedBlock();
  }

  /** Compiles again what a change of the catalog made stale. */
  #refresh(statement: PreparedStatement): void {
    const { compiled, source } = statement;
    if (source === null || compiled.kind === 'transaction' || compiled.kind === 'session') return;
    const samePath = statement.searchPath === this.searchPath;
    if (samePath && compiled.catalogVersion === this.catalog.version) return;
    const fresh = this.#compileAgain(source, statement.declaredOids);
    const isOpen = statement.name === '' && !statement.described;
    if (!isOpen && !sameColumns(compiled, fresh)) {
      throw new SqlError('0A000', 'cached plan must not change result type');
    }
    statement.compiled = fresh;
    statement.searchPath = this.searchPath;
    statement.fieldCodes = null;
  }

  #compileAgain(source: StatementText, parameterOids: readonly number[]): CompiledStatement {
    const request = this.compileRequest(parameterOids);
    if (source.parsed !== null) return this.services.source.compile(source.parsed, request);
    return this.services.source.prepare(source.text, request)[0];
  }

  /** What comes before a statement's first step. */
  #begin(portal: Portal): void {
    this.checkBlock(portal.statement);
    const { block } = this;
    if (!this.#running) this.#started();
    if (this.#statementTimeoutMs > 0 && this.#statementTimer === undefined) this.#startTimer();
    if (block.state === 'none') this.#transactionMs = this.#statementMs;
    const { kind } = portal.compiled;
    if (kind === 'ddl' || kind === 'utility') {
      block.refuseIfUnderWay(soleTagOf(portal.compiled));
      // A text of several statements is a block, too.
      const isAlone = portal.statement.source?.parsed === null;
      if (isAlone && needsBlock(portal.compiled)) block.requireBlock('LOCK TABLE');
    }
    if (kind !== 'transaction' && kind !== 'session' && kind !== 'empty') block.enter();
  }

  #started(): void {
    this.#running = true;
    this.#statementMs = this.services.world.clock.wallMs();
  }

  /** Runs until the session is idle again, over the statements of one message. */
  #startTimer(): void {
    this.#statementTimer = this.services.world.timers.after(this.#statementTimeoutMs, () =>
      this.cancel(new SqlError('57014', 'canceling statement due to statement timeout')),
    );
  }

  #context(portal: Portal): ExecutionContext {
    const transaction = this.block.enter();
    transaction.command++;
    return {
      transaction,
      snapshot: transaction.snapshot(),
      parameters: portal.parameters,
      session: this,
      columnTaker: this.mayChange(portal) ? portal : undefined,
      yieldNow: this.#yieldNow,
    };
  }

  get transaction(): Transaction {
    return this.block.enter();
  }

  #finish(portal: Portal): void {
    if (portal.execution === null) {
      portal.done = true;
      return;
    }
    if (!portal.done) {
      portal.close();
      if (portal.compiled.kind === 'transaction') return;
      this.#openExecutions--;
      if (this.#openExecutions === 0) this.block.transaction?.forgetSnapshots();
    }
  }

  #idle(): void {
    this.#running = false;
    this.#cancelled = null;
    this.#stopTimer();
  }

  #blockEnded(committed: boolean, lsn: number): void {
    for (const [name, portal] of this.portals) {
      this.#finish(portal);
      this.portals.delete(name);
    }
    this.#openExecutions = 0;
    if (!this.channels.hasPending) return;
    if (committed) this.channels.committed(Math.max(lsn, this.block.answerLsn));
    else this.channels.rolledBack();
  }

  #woken(wait: Wait, error?: Error): void {
    if (this.#wait !== wait) return;
    this.#wait = null;
    wait.lockTimer?.cancel();
    wait.wake(error);
  }

  #interrupt(error: SqlError): void {
    const wait = this.#wait;
    if (wait === null) return;
    this.locks.actor.cancelWait(error);
    this.#woken(wait, error);
  }

  #giveUp(): never {
    const error = this.#cancelled ?? canceledByUser();
    this.#cancelled = null;
    throw error;
  }

  #stopTimer(): void {
    this.#statementTimer?.cancel();
    this.#statementTimer = undefined;
  }

  #settingChanged(name: string, value: string): void {
    switch (name) {
      case 'search_path':
        this.searchPath = splitSearchPath(value, this.user);
        return;
      case 'statement_timeout':
        this.#statementTimeoutMs = Number(value);
        return;
      case 'lock_timeout':
        this.#lockTimeoutMs = Number(value);
        return;
      case 'idle_in_transaction_session_timeout':
        this.idleInTransactionMs = Number(value);
        return;
      case 'idle_session_timeout':
        this.idleMs = Number(value);
        return;
      default:
    }
  }
}

/** `empty` statements need nothing. */
const NO_CONTEXT = {} as ExecutionContext;

function toMicros(wallMs: number): bigint {
  return BigInt(Math.round(wallMs * 1000)) - EPOCH_MICROS;
}

export function inFailedBlock(): SqlError {
  return new SqlError(
    '25P02',
    'current transaction is aborted, commands ignored until end of transaction block',
  );
}

function canceledByUser(): SqlError {
  return new SqlError('57014', 'canceling statement due to user request');
}

function sameColumns(a: CompiledStatement, b: CompiledStatement): boolean {
  if (a.columns === null || b.columns === null) return a.columns === b.columns;
  if (a.columns.length !== b.columns.length) return false;
  return a.columns.every((column, i) => {
    const other = b.columns?.[i];
    return column.name === other?.name && column.typeOid === other.typeOid;
  });
}
