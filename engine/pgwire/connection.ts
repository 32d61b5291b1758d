/**
 * One client over protocol 3: from its bytes to its answers.
 *
 * ```
 *   startup --StartupMessage--> password --proof--> ready --Terminate, FATAL, socket closed--> closed
 *        \___________ trust _______________________/
 *
 *   ready:  message --> operation --throws Suspend--> waiting --woken--> the same operation again
 *                           | error: ErrorResponse; extended protocol: messages are skipped up to Sync
 * ```
 *
 * The pump takes messages one after the other until one must wait, the client's socket is full or there are no more;
 * then everything that was answered leaves in one write (or is held back, see answers.ts).
 *
 * - WIRE-1 Whatever a client sends, only its own connection suffers.
 * - WIRE-2 A Suspend never reaches the socket's event: the operation under way is kept and repeated.
 * - TXN-2 Nothing but handshakes and last words leaves before the gate is open for the session's `answerLsn`.
 */
import { assert, unreachable } from '#core/assert.js';
import type { Timer } from '#core/world/world.js';
import { Suspend } from '../pages/suspend.js';
import { SqlError } from '../sql-error.js';
import type { CopyInExecution, CopyOutExecution } from '../sql/copy-interface.js';
import type { Value } from '../types/value.js';
import type { Notification } from '../session/notifications.js';
import type { Portal, PreparedStatement } from '../session/portal.js';
import type { RowSink, Session } from '../session/session.js';
import { reportedSettings } from '../session/setting-definitions.js';
import { SimpleQuery } from '../session/simple-query.js';
import { engineGone, isFatal, isInternal, toSqlError } from '../session/sql-errors.js';
import { Answers, BATCH_BYTES } from './answers.js';
import {
  putCopyResponse,
  putEmpty,
  putError,
  putNotice,
  putParameterDescription,
  putReady,
  putRowDescription,
  putStrings,
} from './backend.js';
import { fieldCodes, putField, readParameter } from './field-encoder.js';
import { type ConnectionHost, Handshake } from './handshake.js';
import { MESSAGE_BYTES_MAX, MessageReader, protocolViolation } from './message-reader.js';
import { BackendMessage, FrontendMessage } from './message-types.js';
import type { Output } from './output.js';
import type { Wire } from './wire.js';

type Phase = 'startup' | 'password' | 'ready' | 'closed';
type Operation = 'none' | 'describe' | 'execute' | 'sync' | 'query' | 'copy-data' | 'copy-done';

const AUTHENTICATION_MS = 60_000;
/** While an operation waits, no more than this is read ahead. */
const READ_AHEAD_BYTES = 1024 * 1024;
const NO_CHUNK = Buffer.alloc(0);

export class Connection implements RowSink {
  readonly #host: ConnectionHost;
  readonly #wire: Wire;
  readonly #reader = new MessageReader();
  readonly #answers: Answers;
  readonly #output: Output;
  /** Told when the connection is over. */
  readonly #onEnd: () => void;
  #phase: Phase = 'startup';
  #session: Session | null = null;
  readonly #handshake: Handshake;
  #timer: Timer | undefined;

  #operation: Operation = 'none';
  #portal: Portal | null = null;
  #maxRows = 0;
  #query: SimpleQuery | null = null;
  /** Of the current portal: its row description is out. */
  #described = false;
  #copy: CopyInExecution | null = null;
  #copyChunk: Buffer = NO_CHUNK;
  #waiting = false;
  #paused = false;
  #pumping = false;
  /** After an error in the extended protocol. */
  #skipping = false;
  /** What is gathered holds a whole answer. */
  #answered = false;
  #notifications: Notification[] = [];
  #drained: (() => void)[] = [];

  constructor(host: ConnectionHost, wire: Wire, onEnd: () => void) {
    this.#host = host;
    this.#wire = wire;
    this.#onEnd = onEnd;
    this.#answers = new Answers(host.gate, wire);
    this.#output = this.#answers.output;
    this.#handshake = new Handshake(host, wire, this.#reader, this.#output);
    this.#answers.onDrained = () => this.#roomAgain();
    this.#answers.onLost = (error) => this.terminate(engineGone(error));
    this.#timer = host.world.timers.after(AUTHENTICATION_MS, () =>
      this.terminate(new SqlError('08006', 'canceling authentication due to timeout')),
    );
  }

  // What the socket tells

  data(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#reader.push(chunk);
    if (this.#waiting || this.#pumping) {
      if (this.#reader.queuedBytes > READ_AHEAD_BYTES && !this.#paused) {
        this.#paused = true;
        this.#wire.pause();
      }
      return;
    }
    this.#pump(undefined);
  }

  socketDrained(): void {
    this.#answers.drained();
  }

  /** The socket is gone: everything of the session goes with it. */
  closed(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#timer?.cancel();
    this.#answers.abandon();
    const session = this.#session;
    if (session !== null) {
      this.#session = null;
      this.#host.disconnect(session);
    }
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#onEnd();
  }

  /** Last words, then the end: FATAL. */
  terminate(error: SqlError): void {
    if (this.#phase === 'closed') return;
    this.#answers.abandon();
    putError(this.#output, 'FATAL', error);
    this.#lastWords();
  }

  // RowSink

  row(portal: Portal, values: readonly Value[]): boolean {
    const output = this.#output;
    if (portal.compiled.kind === 'copy-out') {
      output.begin(BackendMessage.copyData);
      output.raw((portal.execution as CopyOutExecution).chunk);
      output.end();
    } else {
      this.#putRow(portal, values);
    }
    if (output.length < BATCH_BYTES) return true;
    this.#flush();
    return !this.#answers.isFull;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #putRow(portal: Portal, values: readonly Value[]): void {
    const output = this.#output;
    const { columns } = portal;
    const codes = portal.fieldCodes;
    assert(columns !== null && codes !== null, 'rows have columns');
    const context = this.#live.text;
    output.begin(BackendMessage.dataRow);
    output.i16(codes.length);
    try {
      for (let i = 0; i < codes.length; i++) {
        putField(output, codes[i], columns[i].typeOid, values[i], context);
      }
    } catch (error) {
      output.cancel();
      throw error;
    }
    output.end();
  }

  // The pump

  get #live(): Session {
    assert(this.#session !== null, 'there is a session');
    return this.#session;
  }

  /** Goes on: first with the operation under way, which `error` ends, then with the next messages. */
  #pump(error: Error | undefined): void {
    this.#pumping = true;
    let injected = error;
    try {
      while (this.#phase !== 'closed') {
        try {
          if (injected !== undefined) {
            const thrown = injected;
            injected = undefined;
            throw thrown;
          }
          if (this.#operation !== 'none') this.#run();
          else if (this.#answers.isFull || !this.#nextMessage()) break;
        } catch (thrown) {
          if (thrown instanceof Suspend) {
            this.#wait(thrown);
            break;
          }
          this.#failed(thrown);
        }
      }
    } finally {
      this.#pumping = false;
    }
    if (this.#phase === 'closed') return;
    // Hot: half an answer to a statement that waits leaves with its other half.
    if (!this.#waiting || this.#answered) this.#flush();
    if (this.#paused && !this.#waiting) {
      this.#paused = false;
      this.#wire.resume();
    }
  }

  #wait(suspend: Suspend): void {
    this.#waiting = true;
    this.#live.suspended(suspend, (error) => {
      this.#waiting = false;
      if (this.#phase !== 'closed') this.#pump(error);
    });
  }

  #roomAgain(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
    if (!this.#waiting && !this.#pumping && this.#phase !== 'closed') this.#pump(undefined);
  }

  #flush(): void {
    this.#answered = false;
    const session = this.#session;
    if (session === null) this.#answers.flushNow();
    else this.#answers.flush(session.answerLsn);
  }

  #failed(thrown: unknown): void {
    const error = toSqlError(thrown);
    if (isInternal(error)) {
      this.#host.world.log.error('a statement failed', { error: error.cause ?? error });
    }
    if (this.#phase !== 'ready' || error === this.#framing || isFatal(error)) {
      this.#framing = null;
      putError(this.#output, 'FATAL', error);
      this.#lastWords();
      return;
    }
    const session = this.#live;
    const operation = this.#operation;
    // A query message that could not even be read counts, too.
    const unread = operation === 'none' && this.#reader.type === FrontendMessage.query;
    const inQuery = this.#query !== null || unread;
    this.#operation = 'none';
    this.#portal = null;
    this.#query = null;
    this.#copy = null;
    this.#copyChunk = NO_CHUNK;
    session.fail();
    putError(this.#output, 'ERROR', error);
    if (inQuery || operation === 'sync') this.#ready();
    else this.#skipping = true;
  }

  /** Errors after which the bytes that follow mean nothing. */
  #framing: SqlError | null = null;

  /** What was held back is dropped: who is told FATAL asks again elsewhere. */
  #lastWords(): void {
    this.#answers.flushNow();
    this.#wire.end();
    this.closed();
  }

  #nextMessage(): boolean {
    const reader = this.#reader;
    try {
      if (this.#phase === 'startup' ? !reader.nextStartup() : !reader.next()) return false;
    } catch (thrown) {
      this.#framing = toSqlError(thrown);
      throw this.#framing;
    }
    if (this.#phase === 'ready') this.#message();
    else this.#shakeHands();
    return true;
  }

  #shakeHands(): void {
    const handshake = this.#handshake;
    const next = this.#phase === 'startup' ? handshake.startup() : handshake.password();
    switch (next) {
      case 'startup':
      case 'password':
        this.#phase = next;
        return;
      case 'over':
        this.#wire.end();
        this.closed();
        return;
      case 'accepted':
        this.#accept(handshake.connect(), handshake.minor);
        return;
      default:
        unreachable(next);
    }
  }

  #accept(session: Session, minor: number): void {
    this.#session = session;
    this.#timer?.cancel();
    this.#phase = 'ready';
    this.#reader.bytesMax = MESSAGE_BYTES_MAX;
    this.#listen(session);
    this.#greet(session, minor);
  }

  #listen(session: Session): void {
    session.onNotice = ({ severity, code, message }) =>
      putNotice(this.#output, severity, code, message);
    session.onTerminate = (error) => this.terminate(error);
    session.onSetting = (def, value) =>
      putStrings(this.#output, BackendMessage.parameterStatus, def.name, value);
    session.onNotification = (notification) => {
      this.#notifications.push(notification);
      if (this.#operation !== 'none' || this.#pumping || session.block.state !== 'none') return;
      this.#sendNotifications();
      this.#flush();
    };
    session.onIdleCancel = (error) => {
      if (this.#copy === null || this.#waiting) return;
      this.#pump(error);
    };
  }

  #greet(session: Session, minor: number): void {
    const output = this.#output;
    output.begin(BackendMessage.authentication);
    output.i32(0);
    output.end();
    for (const def of reportedSettings()) {
      putStrings(output, BackendMessage.parameterStatus, def.name, session.settings.get(def.name));
    }
    putStrings(output, BackendMessage.parameterStatus, 'session_authorization', session.user);
    output.begin(BackendMessage.backendKeyData);
    output.i32(session.id);
    // Version 3.2 made room for secrets that cannot be guessed.
    output.raw(this.#host.secretOf(session, minor >= 2 ? 32 : 4));
    output.end();
    this.#ready();
  }

  // Messages

  #message(): void {
    const reader = this.#reader;
    const { type } = reader;
    this.#timer?.cancel();
    if (type === FrontendMessage.terminate) {
      this.#wire.end();
      this.closed();
      return;
    }
    if (this.#skipping && type !== FrontendMessage.sync) return;
    if (this.#copy !== null) {
      this.#copyMessage();
      return;
    }
    switch (type) {
      case FrontendMessage.bind:
        return this.#bind();
      case FrontendMessage.execute:
        return this.#execute();
      case FrontendMessage.sync:
        reader.finish();
        this.#skipping = false;
        this.#operation = 'sync';
        return;
      case FrontendMessage.query:
        return this.#simple();
      case FrontendMessage.parse:
        return this.#parse();
      case FrontendMessage.describe:
        return this.#describe();
      case FrontendMessage.close:
        return this.#close();
      case FrontendMessage.flush:
        this.#flush();
        return;
      case FrontendMessage.functionCall:
        throw new SqlError('0A000', 'the fast-path function call protocol is not supported');
      case FrontendMessage.copyData:
      case FrontendMessage.copyDone:
      case FrontendMessage.copyFail:
        // Sent before the client saw that its COPY has failed.
        return;
      default:
        throw protocolViolation(`unexpected message type ${String.fromCharCode(type)}`);
    }
  }

  #parse(): void {
    const reader = this.#reader;
    const name = reader.cstring();
    const text = reader.cstring();
    const count = reader.u16();
    const oids: number[] = [];
    for (let i = 0; i < count; i++) oids.push(reader.i32() >>> 0);
    reader.finish();
    const session = this.#live;
    session.queryText = text;
    if (name === '') session.statements.delete('');
    session.prepare(name, text, oids);
    putEmpty(this.#output, BackendMessage.parseComplete);
  }

  #bind(): void {
    const reader = this.#reader;
    const session = this.#live;
    const portalName = reader.cstring();
    const statement = session.statement(reader.cstring());
    session.checkBlock(statement);
    session.fresh(statement);
    const formats = this.#formats();
    const parameters = this.#parameters(statement, formats);
    const resultFormats = this.#formats();
    reader.finish();
    if (statement.text !== '') session.queryText = statement.text;
    const portal = session.bindFresh(portalName, statement, parameters);
    portal.formats = resultFormats;
    portal.fieldCodes = codesOf(portal, statement, resultFormats);
    putEmpty(this.#output, BackendMessage.bindComplete);
  }

  #formats(): readonly number[] {
    const reader = this.#reader;
    const count = reader.u16();
    if (count === 0) return NO_FORMATS;
    const formats: number[] = [];
    for (let i = 0; i < count; i++) formats.push(reader.i16());
    return formats;
  }

  #parameters(statement: PreparedStatement, formats: readonly number[]): Value[] {
    const reader = this.#reader;
    const oids = statement.compiled.parameterOids;
    const count = reader.u16();
    if (count !== oids.length) {
      throw protocolViolation(
        `bind message supplies ${count} parameters, but prepared statement "${statement.name}" requires ${oids.length}`,
      );
    }
    if (formats.length > 1 && formats.length !== count) {
      throw protocolViolation(
        `bind message has ${formats.length} parameter formats but ${count} parameters`,
      );
    }
    const values: Value[] = [];
    const context = this.#live.text;
    for (let i = 0; i < count; i++) {
      const length = reader.i32();
      if (length === -1) {
        values.push(null);
        continue;
      }
      const start = reader.skip(length);
      const format = formats.length === 0 ? 0 : formats[formats.length === 1 ? 0 : i];
      if (format !== 0 && format !== 1) {
        throw new SqlError('22023', `unsupported format code: ${format}`);
      }
      values.push(readParameter(reader.bytes, start, start + length, oids[i], format, context));
    }
    return values;
  }

  #describe(): void {
    const reader = this.#reader;
    const what = String.fromCharCode(reader.u8());
    const name = reader.cstring();
    reader.finish();
    const session = this.#live;
    if (what === 'S') {
      const statement = session.fresh(session.statement(name));
      session.checkBlock(statement);
      statement.described = true;
      putParameterDescription(this.#output, statement.compiled.parameterOids);
      this.#putColumns(session.describe(statement), null);
    } else if (what === 'P') {
      this.#portal = session.portal(name);
      this.#operation = 'describe';
    } else {
      throw protocolViolation(`invalid DESCRIBE message subtype ${what}`);
    }
  }

  #putColumns(columns: Portal['columns'], codes: Uint8Array | null): void {
    if (columns === null) putEmpty(this.#output, BackendMessage.noData);
    else putRowDescription(this.#output, columns, codes);
  }

  #close(): void {
    const reader = this.#reader;
    const what = String.fromCharCode(reader.u8());
    const name = reader.cstring();
    reader.finish();
    if (what === 'S') this.#live.statements.delete(name);
    else if (what === 'P') this.#live.closePortal(name);
    else throw protocolViolation(`invalid CLOSE message subtype ${what}`);
    putEmpty(this.#output, BackendMessage.closeComplete);
  }

  #execute(): void {
    const reader = this.#reader;
    this.#portal = this.#live.portal(reader.cstring());
    this.#maxRows = Math.max(0, reader.i32());
    reader.finish();
    this.#described = true;
    this.#operation = 'execute';
  }

  #simple(): void {
    const reader = this.#reader;
    const text = reader.cstring();
    reader.finish();
    const session = this.#live;
    session.queryText = text;
    session.closePortal('');
    session.statements.delete('');
    this.#query = new SimpleQuery(session, text);
    this.#operation = 'query';
  }

  #copyMessage(): void {
    const reader = this.#reader;
    switch (reader.type) {
      case FrontendMessage.copyData:
        this.#copyChunk = reader.rest();
        this.#operation = 'copy-data';
        return;
      case FrontendMessage.copyDone:
        this.#operation = 'copy-done';
        return;
      case FrontendMessage.copyFail:
        throw new SqlError('57014', `COPY from stdin failed: ${reader.cstring()}`);
      case FrontendMessage.flush:
      case FrontendMessage.sync:
        return;
      default:
        throw protocolViolation(
          `unexpected message type ${String.fromCharCode(reader.type)} during COPY from stdin`,
        );
    }
  }

  // Operations: each may throw Suspend and is called again

  #run(): void {
    switch (this.#operation) {
      case 'describe':
        return this.#runDescribe();
      case 'execute':
        return this.#runExecute();
      case 'sync':
        this.#live.sync();
        this.#operation = 'none';
        this.#ready();
        return;
      case 'query':
        return this.#runQuery();
      case 'copy-data':
        assert(this.#copy !== null, 'data is part of a COPY');
        this.#copy.write(this.#copyChunk);
        this.#copyChunk = NO_CHUNK;
        this.#operation = 'none';
        return;
      case 'copy-done':
        return this.#runCopyDone();
      case 'none':
        return;
      default:
        unreachable(this.#operation);
    }
  }

  /** Opens what may have to wait for an ALTER, and look otherwise then, before it says how it looks. */
  #runDescribe(): void {
    const portal = this.#portal;
    assert(portal !== null, 'Describe names a portal');
    if (this.#live.mayChange(portal)) {
      this.#live.open(portal);
      this.#settleCodes(portal);
    }
    this.#operation = 'none';
    this.#portal = null;
    this.#putColumns(portal.columns, portal.fieldCodes);
  }

  /** EXECUTE, FETCH and what waited for an ALTER know their columns once they are open. */
  #settleCodes(portal: Portal): void {
    if (portal.columns === null || portal.fieldCodes?.length === portal.columns.length) return;
    portal.fieldCodes = fieldCodes(portal.columns, portal.formats);
  }

  #runExecute(): void {
    const portal = this.#portal;
    assert(portal !== null, 'Execute names a portal');
    if (portal.compiled.kind === 'empty') {
      this.#portal = null;
      this.#operation = 'none';
      putEmpty(this.#output, BackendMessage.emptyQueryResponse);
      return;
    }
    const done = this.#runPortal(portal, this.#maxRows);
    if (done === 'copy') return;
    this.#operation = 'none';
    this.#portal = null;
    if (done) this.#complete(portal);
    else putEmpty(this.#output, BackendMessage.portalSuspended);
  }

  /** True: over; false: row limit; 'copy': the client's data comes first. */
  #runPortal(portal: Portal, maxRows: number): boolean | 'copy' {
    const session = this.#live;
    const { kind } = portal.compiled;
    if (portal.execution === null) {
      const execution = session.open(portal);
      if (kind === 'copy-in') {
        this.#copy = execution as CopyInExecution;
        this.#putCopyResponse(BackendMessage.copyInResponse, this.#copy);
        this.#operation = 'none';
        this.#flush();
        return 'copy';
      }
      if (kind === 'copy-out') {
        this.#putCopyResponse(BackendMessage.copyOutResponse, execution as CopyOutExecution);
      }
      this.#settleCodes(portal);
    }
    if (!this.#described) {
      this.#described = true;
      if (portal.columns !== null && kind !== 'copy-out') {
        putRowDescription(this.#output, portal.columns, portal.fieldCodes);
      }
    }
    return session.run(portal, maxRows, this);
  }

  #putCopyResponse(type: number, copy: CopyInExecution | CopyOutExecution): void {
    putCopyResponse(this.#output, type, copy.columnCount, copy.format === 'binary');
  }

  #complete(portal: Portal): void {
    if (portal.compiled.kind === 'copy-out') putEmpty(this.#output, BackendMessage.copyDone);
    putStrings(this.#output, BackendMessage.commandComplete, portal.tag);
  }

  #runQuery(): void {
    const query = this.#query;
    const session = this.#live;
    assert(query !== null, 'a query message is under way');
    for (;;) {
      if (this.#portal === null) {
        this.#portal = query.next();
        if (this.#portal === null) {
          putEmpty(this.#output, BackendMessage.emptyQueryResponse);
          break;
        }
        this.#described = false;
      }
      const portal = this.#portal;
      if (portal.compiled.kind === 'empty') {
        putEmpty(this.#output, BackendMessage.emptyQueryResponse);
        break;
      }
      if (this.#runPortal(portal, 0) === 'copy') return;
      if (this.#endQueryStatement(query, portal)) break;
    }
    session.sync();
    this.#endQuery();
  }

  /** True: it was the last. Its transaction is committed before its success is told. */
  #endQueryStatement(query: SimpleQuery, portal: Portal): boolean {
    const last = query.isLast;
    if (last) this.#live.sync();
    this.#complete(portal);
    this.#portal = null;
    return last;
  }

  #endQuery(): void {
    this.#portal = null;
    this.#query = null;
    this.#operation = 'none';
    this.#ready();
  }

  /** The rest goes as for a portal that has no more rows. */
  #runCopyDone(): void {
    const copy = this.#copy;
    const portal = this.#portal;
    assert(copy !== null && portal !== null, 'a COPY is under way');
    copy.finish();
    this.#live.finishPortal(portal);
    this.#copy = null;
    this.#operation = this.#query === null ? 'execute' : 'query';
  }

  #ready(): void {
    const session = this.#live;
    const { block } = session;
    if (block.state === 'none') this.#sendNotifications();
    putReady(this.#output, block.statusLetter);
    this.#answered = true;
    this.#idleTimer(session);
  }

  #sendNotifications(): void {
    if (this.#notifications.length === 0) return;
    const output = this.#output;
    for (const { channel, payload, pid, lsn } of this.#notifications) {
      this.#live.block.restOn(lsn);
      output.begin(BackendMessage.notificationResponse);
      output.i32(pid);
      output.cstring(channel);
      output.cstring(payload);
      output.end();
    }
    this.#notifications = [];
  }

  #idleTimer(session: Session): void {
    const inBlock = session.block.state !== 'none';
    const ms = inBlock ? session.idleInTransactionMs : session.idleMs;
    if (ms === 0) return;
    const error = inBlock
      ? new SqlError('25P03', 'terminating connection due to idle-in-transaction timeout')
      : new SqlError('57P05', 'terminating connection due to idle-session timeout');
    this.#timer = this.#host.world.timers.after(ms, () => this.terminate(error));
  }
}

const NO_FORMATS: readonly number[] = [];

/** Hot: the same statement bound with the same single format keeps its codes. */
function codesOf(
  portal: Portal,
  statement: PreparedStatement,
  formats: readonly number[],
): Uint8Array | null {
  const { columns } = portal;
  if (columns === null) return null;
  if (formats.length > 1 || columns !== statement.compiled.columns) {
    return fieldCodes(columns, formats);
  }
  const format = formats.length === 0 ? 0 : formats[0];
  if (statement.fieldCodes === null || statement.fieldFormat !== format) {
    statement.fieldCodes = fieldCodes(columns, formats);
    statement.fieldFormat = format;
  }
  return statement.fieldCodes;
}
