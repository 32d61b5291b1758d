/** A client of bytes: sends what it is told, splits what comes into messages. For tests. */
import { connect, type Socket } from 'node:net';

export interface RawMessage {
  readonly type: string;
  readonly body: Buffer;
}

export class RawClient {
  readonly socket: Socket;
  readonly messages: RawMessage[] = [];
  closed = false;
  #buffer = Buffer.alloc(0);
  #wake: (() => void)[] = [];

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#split();
      this.#tell();
    });
    const over = (): void => {
      this.closed = true;
      this.#tell();
    };
    this.socket.on('end', over);
    this.socket.on('close', over);
    this.socket.on('error', over);
  }

  static async start(port: number, parameters: Record<string, string> = {}): Promise<RawClient> {
    const client = new RawClient(port);
    client.send(startup({ user: 'postgres', database: 'postgres', ...parameters }));
    await client.until('Z');
    return client;
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Everything up to and with the next message of that type; all of it is taken out. */
  async until(type: string, timeoutMs = 5000): Promise<RawMessage[]> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const at = this.messages.findIndex((message) => message.type === type);
      if (at >= 0) return this.messages.splice(0, at + 1);
      if (this.closed) throw new Error(`closed before ${type}: ${this.types()}`);
      if (Date.now() > deadline) throw new Error(`no ${type} in time: ${this.types()}`);
      await this.#more(deadline - Date.now());
    }
  }

  async untilClosed(timeoutMs = 5000): Promise<RawMessage[]> {
    const deadline = Date.now() + timeoutMs;
    while (!this.closed && Date.now() < deadline) await this.#more(deadline - Date.now());
    if (!this.closed) throw new Error('still open');
    return this.messages.splice(0);
  }

  types(): string {
    return this.messages.map((message) => message.type).join('');
  }

  close(): void {
    this.socket.destroy();
  }

  #more(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, ms));
      this.#wake.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  #split(): void {
    while (this.#buffer.length >= 5) {
      const length = this.#buffer.readInt32BE(1);
      if (this.#buffer.length < length + 1) return;
      this.messages.push({
        type: String.fromCharCode(this.#buffer[0]),
        body: this.#buffer.subarray(5, length + 1),
      });
      this.#buffer = this.#buffer.subarray(length + 1);
    }
  }
}

const i16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};
export const i32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const z = (text: string): Buffer => Buffer.from(`${text}\0`);

export function message(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), i32(body.length + 4), body]);
}

export function startup(parameters: Record<string, string>, version = 0x30000): Buffer {
  const pairs = Object.entries(parameters).flatMap(([key, value]) => [z(key), z(value)]);
  const body = Buffer.concat([i32(version), ...pairs, Buffer.alloc(1)]);
  return Buffer.concat([i32(body.length + 4), body]);
}

export const query = (text: string): Buffer => message('Q', z(text));
export const parse = (name: string, text: string, oids: readonly number[] = []): Buffer =>
  message('P', z(name), z(text), i16(oids.length), ...oids.map(i32));
export const execute = (portal = '', rows = 0): Buffer => message('E', z(portal), i32(rows));
export const describe = (what: 'S' | 'P', name = ''): Buffer =>
  message('D', Buffer.from(what), z(name));
export const close = (what: 'S' | 'P', name = ''): Buffer =>
  message('C', Buffer.from(what), z(name));
export const sync = (): Buffer => message('S');
export const flush = (): Buffer => message('H');

export function bind(
  portal: string,
  statement: string,
  parameters: readonly (string | Buffer | null)[] = [],
  formats: readonly number[] = [],
  resultFormats: readonly number[] = [],
): Buffer {
  const values = parameters.flatMap((value) => {
    if (value === null) return [i32(-1)];
    const bytes = Buffer.from(value as string);
    return [i32(bytes.length), bytes];
  });
  return message(
    'B',
    z(portal),
    z(statement),
    i16(formats.length),
    ...formats.map(i16),
    i16(parameters.length),
    ...values,
    i16(resultFormats.length),
    ...resultFormats.map(i16),
  );
}

/** Fields of an ErrorResponse or NoticeResponse by letter. */
export function errorFields(body: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let at = 0; at < body.length && body[at] !== 0;) {
    const end = body.indexOf(0, at + 1);
    fields[String.fromCharCode(body[at])] = body.toString('utf8', at + 1, end);
    at = end + 1;
  }
  return fields;
}

/** One line per message: `T a:23`, `D 1|NULL`, `C SELECT 1`, `E 42601`, `Z I`. */
export function show(messages: readonly RawMessage[]): string[] {
  return messages.map(({ type, body }) => {
    switch (type) {
      case 'C':
        return `C ${body.toString('utf8', 0, body.length - 1)}`;
      case 'Z':
        return `Z ${body.toString()}`;
      case 'E':
      case 'N':
        return `${type} ${errorFields(body)['C'] ?? ''}`;
      case 'D':
        return `D ${showRow(body)}`;
      case 'T':
        return `T ${showColumns(body)}`;
      case 'S':
        return `S ${body.toString().split('\0').slice(0, 2).join('=')}`;
      case 'A':
        return `A ${body.toString('utf8', 4).split('\0').slice(0, 2).join(' ')}`;
      case 't':
        return `t ${Array.from({ length: body.readInt16BE(0) }, (_, i) => body.readInt32BE(2 + i * 4)).join(',')}`;
      default:
        return type;
    }
  });
}

function showRow(body: Buffer): string {
  const fields: string[] = [];
  let at = 2;
  for (let i = body.readInt16BE(0); i > 0; i--) {
    const length = body.readInt32BE(at);
    at += 4;
    fields.push(length < 0 ? 'NULL' : body.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return fields.join('|');
}

function showColumns(body: Buffer): string {
  const columns: string[] = [];
  let at = 2;
  for (let i = body.readInt16BE(0); i > 0; i--) {
    const end = body.indexOf(0, at);
    columns.push(`${body.toString('utf8', at, end)}:${body.readInt32BE(end + 7)}`);
    at = end + 19;
  }
  return columns.join('|');
}
