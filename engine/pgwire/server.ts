/**
 * Protocol 3 over node:net: one Connection per socket.
 *
 * This file is a driver: it may use node:net.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { SextantError } from '#core/errors.js';
import { readWith } from '#core/world/real/read-buffer.js';
import { SqlError } from '../sql-error.js';
import { Connection } from './connection.js';
import type { ConnectionHost } from './handshake.js';
import type { Wire } from './wire.js';

const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/;

const LINGER_MS = 1000;

class SocketWire implements Wire {
  readonly remote: string;
  readonly isLoopback: boolean;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.remote = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
    this.isLoopback = LOOPBACK.test(socket.remoteAddress ?? '');
  }

  write(bytes: Buffer): boolean {
    this.#socket.write(bytes);
    // libuv tries to write at once; nothing queued means that the kernel has it all.
    return this.#socket.writableLength === 0;
  }

  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Splits `host:port`, `[::1]:port`. */
export function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  const port = Number(address.slice(at + 1));
  if (at <= 0 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new SextantError('CONFIG', `${address} is not host:port`);
  }
  return { host: address.slice(0, at).replaceAll(/^\[|\]$/g, ''), port };
}

export class PgServer {
  readonly #host: ConnectionHost;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  /** Those of connections that are over, too, until the other side has closed. */
  readonly #sockets = new Set<Socket>();

  private constructor(host: ConnectionHost) {
    this.#host = host;
    this.#server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) =>
      this.#accept(socket),
    );
  }

  /** Rejects with CONFIG when the address is taken or not ours. */
  static async listen(host: ConnectionHost, address: string): Promise<PgServer> {
    const server = new PgServer(host);
    const target = splitAddress(address);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', (error) =>
        reject(
          new SextantError('CONFIG', `cannot listen on ${address}: ${error.message}`, {
            cause: error,
          }),
        ),
      );
      server.#server.listen({ ...target, backlog: 1024 }, resolve);
    });
    return server;
  }

  /** `host:port` with the real port. */
  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  #accept(socket: Socket): void {
    const connection = new Connection(this.#host, new SocketWire(socket), () => {
      this.#connections.delete(connection);
      // A client that does not close its side is not waited for.
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    });
    this.#connections.add(connection);
    this.#sockets.add(socket);
    // Hot: a small copy from a buffer that is used again; what a connection keeps is its own.
    readWith(socket, (chunk) => connection.data(Buffer.from(chunk)));
    socket.on('drain', () => connection.socketDrained());
    socket.on('error', () => connection.closed());
    socket.on('end', () => connection.closed());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      connection.closed();
    });
  }

  /** Refuses newcomers and ends every connection with 57P01. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const error = new SqlError('57P01', 'terminating connection due to administrator command');
    for (const connection of this.#connections) connection.terminate(error);
    const grace = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, LINGER_MS);
    await closed;
    clearTimeout(grace);
  }
}
