/**
 * From the first byte of a connection to its session: encryption requests, cancel requests, startup packet, password.
 * `startup` and `password` each take the packet that the reader stands on and say what comes next.
 */
import { assert, unreachable } from '#core/assert.js';
import type { World } from '#core/world/world.js';
import type { AnswerGate } from '../session/answer-gate.js';
import type { Session, SessionOptions } from '../session/session.js';
import { SqlError } from '../sql-error.js';
import type { Authentication } from './authentication.js';
import { type MessageReader, protocolViolation } from './message-reader.js';
import {
  BackendMessage,
  FrontendMessage,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
} from './message-types.js';
import type { Output } from './output.js';
import { SCRAM_MECHANISM, type ScramServer } from './scram.js';
import { readOptions, readStartup, type StartupPacket } from './startup.js';
import type { Wire } from './wire.js';

/** What a connection needs of the engine; `connect` throws SqlError: 53300, 3D000, 57P03. */
export interface ConnectionHost {
  readonly world: World;
  readonly gate: AnswerGate;
  readonly authentication: Authentication;
  connect(options: Omit<SessionOptions, 'id'>): Session;
  disconnect(session: Session): void;
  /** The secret of a session, for CancelRequest. */
  secretOf(session: Session, bytes: number): Uint8Array;
  cancelBySecret(pid: number, secret: Uint8Array): void;
}

type Start = Extract<StartupPacket, { kind: 'start' }>;
export type HandshakeStep = 'startup' | 'password' | 'accepted' | 'over';

/** Codes of an Authentication message. */
const AUTH_SASL = 10;
const AUTH_SASL_CONTINUE = 11;
const AUTH_SASL_FINAL = 12;

export class Handshake {
  readonly #host: ConnectionHost;
  readonly #wire: Wire;
  readonly #reader: MessageReader;
  readonly #output: Output;
  #start: Start | null = null;
  #scram: ScramServer | null = null;
  #challenged = false;

  constructor(host: ConnectionHost, wire: Wire, reader: MessageReader, output: Output) {
    this.#host = host;
    this.#wire = wire;
    this.#reader = reader;
    this.#output = output;
  }

  /** Minor version of the protocol that the client asked for. */
  get minor(): number {
    return this.#start === null ? 0 : this.#start.minor;
  }

  startup(): HandshakeStep {
    const packet = readStartup(this.#reader);
    switch (packet.kind) {
      case 'encryption':
        // Bytes sent ahead of the answer would be taken for plain text later on.
        if (this.#reader.queuedBytes > 0) {
          throw protocolViolation('received unencrypted data after encryption request');
        }
        this.#output.u8('N'.charCodeAt(0));
        return 'startup';
      case 'cancel':
        this.#host.cancelBySecret(packet.pid, packet.secret);
        return 'over';
      case 'start':
        return this.#begin(packet);
      default:
        return unreachable(packet);
    }
  }

  #begin(packet: Start): HandshakeStep {
    const user = packet.parameters.get('user') ?? '';
    if (user === '') {
      throw new SqlError('28000', 'no PostgreSQL user name specified in startup packet');
    }
    const replication = packet.parameters.get('replication') ?? 'false';
    if (replication !== 'false' && replication !== 'off' && replication !== '0') {
      throw new SqlError('0A000', 'replication connections are not supported');
    }
    this.#start = packet;
    if (packet.minor > PROTOCOL_MINOR || packet.unknownOptions.length > 0) this.#negotiate(packet);
    this.#scram = this.#host.authentication.begin(user, this.#wire.isLoopback);
    if (this.#scram === null) return 'accepted';
    this.#output.begin(BackendMessage.authentication);
    this.#output.i32(AUTH_SASL);
    this.#output.cstring(SCRAM_MECHANISM);
    this.#output.u8(0);
    this.#output.end();
    return 'password';
  }

  #negotiate(packet: Start): void {
    const output = this.#output;
    output.begin(BackendMessage.negotiateProtocolVersion);
    output.i32((PROTOCOL_MAJOR << 16) | Math.min(packet.minor, PROTOCOL_MINOR));
    output.i32(packet.unknownOptions.length);
    for (const name of packet.unknownOptions) output.cstring(name);
    output.end();
  }

  password(): HandshakeStep {
    const reader = this.#reader;
    if (reader.type !== FrontendMessage.password) throw protocolViolation('expected SASL response');
    const scram = this.#scram;
    assert(scram !== null, 'a password was asked for');
    if (this.#challenged) {
      this.#sasl(AUTH_SASL_FINAL, scram.final(reader.rest().toString('utf8')));
      return 'accepted';
    }
    this.#challenged = true;
    if (reader.cstring() !== SCRAM_MECHANISM) {
      throw protocolViolation('client selected an invalid SASL authentication mechanism');
    }
    const length = reader.i32();
    const start = reader.skip(length);
    const message = reader.bytes.toString('utf8', start, start + length);
    this.#sasl(AUTH_SASL_CONTINUE, scram.first(message));
    return 'password';
  }

  #sasl(code: number, text: string): void {
    this.#output.begin(BackendMessage.authentication);
    this.#output.i32(code);
    this.#output.text(text);
    this.#output.end();
  }

  /** The session that was asked for, with its settings. Throws SqlError: the connection ends. */
  connect(): Session {
    const packet = this.#start;
    assert(packet !== null, 'a startup packet came first');
    const { parameters } = packet;
    const user = parameters.get('user') ?? '';
    const session = this.#host.connect({
      user,
      database: parameters.get('database') ?? user,
      remote: this.#wire.remote,
    });
    try {
      for (const [name, value] of parameters) {
        if (name === 'user' || name === 'database' || name === 'replication') continue;
        if (name !== 'options') session.settings.setAtStartup(name, value);
        else {
          for (const [key, text] of readOptions(value)) session.settings.setAtStartup(key, text);
        }
      }
    } catch (error) {
      this.#host.disconnect(session);
      throw error;
    }
    return session;
  }
}
