/**
 * Links over TCP and, within a machine, over unix sockets (`unix:/path`): half the CPU of loopback TCP. The stream is frames, end to end, nothing between them.
 *
 *     send() --> parts of this turn --nextTick--> one write per link and turn --> socket
 *     socket --> chunk --> FrameSplitter --> onFrame, all frames of a chunk in the same turn
 *
 * - RPC-3 A link's queue is bounded: past `highWaterBytes` send() says false, past `hardBytes` the link
 *   closes with OVERLOADED. A stopped peer costs that much memory and nothing else.
 * - RPC-4 Nothing that a peer sends throws out of a socket callback; it closes that peer's link.
 *
 * This file is a driver: it may use node:net.
 */
import net from 'node:net';
import { SextantError, isSextantError } from '../errors.js';
import { readWith } from '../world/real/read-buffer.js';
import type { Link, LinkHandler, Listener, Network } from '../world/world.js';
import { FrameSplitter } from './frame-splitter.js';

export interface TcpOptions {
  /** send() answers false above this. */
  readonly highWaterBytes?: number;
  /** onDrain comes below this. */
  readonly lowWaterBytes?: number;
  /** The link closes with OVERLOADED above this. */
  readonly hardBytes?: number;
  readonly connectTimeoutMs?: number;
}

const HIGH_WATER_BYTES = 4 * 1024 * 1024;
const HARD_BYTES = 128 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 5000;
export const UNIX_PATH_BYTES_MAX = 107;
/** How long a closed link may take to send what it still holds. */
const LINGER_MS = 1000;
// Hot: below this, copying the parts of a turn into one buffer is cheaper than a writev of them.
const COPY_BYTES_MAX = 16_384;

export function parseTcpAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65535)) {
    throw new SextantError('CONFIG', `address must be host:port, not ${address}`);
  }
  return { host, port };
}

type SocketAddress = { host: string; port: number } | { path: string };

/** `host:port` or `unix:/path`. */
function parseSocketAddress(address: string): SocketAddress {
  if (!address.startsWith('unix:')) return parseTcpAddress(address);
  const path = address.slice('unix:'.length);
  // sun_path holds 108 bytes with the NUL; a longer one would be cut in silence.
  if (path === '' || Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
    throw new SextantError('CONFIG', `a unix socket's path is 1 to 107 bytes long: ${path}`);
  }
  return { path };
}

function formatTcpAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export class TcpNetwork implements Network {
  readonly #options: TcpOptions;

  constructor(options: TcpOptions = {}) {
    this.#options = options;
  }

  async listen(address: string, accept: (link: Link) => LinkHandler): Promise<Listener> {
    const where = parseSocketAddress(address);
    const links = new Set<TcpLink>();
    const server = net.createServer({ noDelay: true }, (socket) => {
      const link = new TcpLink(socket, this.#options, 'path' in where ? address : undefined);
      links.add(link);
      socket.once('close', () => links.delete(link));
      link.accept(accept);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(
          new SextantError('CONFIG', `cannot listen on ${address}: ${cause.message}`, { cause }),
        ),
      );
      server.listen({ ...where, backlog: 511 }, resolve);
    });
    // A failed accept (out of descriptors) must not end the process; the peer tries again.
    server.on('error', () => undefined);
    const bound = server.address();
    const realAddress =
      'host' in where && typeof bound === 'object' && bound !== null
        ? formatTcpAddress(where.host, bound.port)
        : address;
    return {
      address: realAddress,
      close: () =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          for (const link of links) link.close();
        }),
    };
  }

  connect(address: string, handler: LinkHandler): Link {
    const socket = net.connect({ ...parseSocketAddress(address), noDelay: true });
    const link = new TcpLink(socket, this.#options, address);
    link.start(handler);
    return link;
  }
}

class TcpLink implements Link {
  readonly remote: string;
  readonly #socket: net.Socket;
  readonly #highWaterBytes: number;
  readonly #lowWaterBytes: number;
  readonly #hardBytes: number;
  readonly #connectTimeoutMs: number;
  readonly #splitter: FrameSplitter;
  readonly #flush = (): void => this.#write();
  readonly #onChunk = (chunk: Uint8Array): void => this.#receive(chunk);
  #handler: LinkHandler | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #flushing = false;
  #full = false;
  #closed = false;
  #error: Error | undefined;

  constructor(socket: net.Socket, options: TcpOptions, address?: string) {
    this.#socket = socket;
    this.remote =
      address ?? formatTcpAddress(socket.remoteAddress ?? 'unknown', socket.remotePort ?? 0);
    this.#highWaterBytes = options.highWaterBytes ?? HIGH_WATER_BYTES;
    this.#lowWaterBytes = options.lowWaterBytes ?? this.#highWaterBytes / 4;
    this.#hardBytes = options.hardBytes ?? HARD_BYTES;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    this.#splitter = new FrameSplitter((frame) => {
      if (!this.#closed) this.#handler?.onFrame(frame);
    });
  }

  accept(accept: (link: Link) => LinkHandler): void {
    this.#guard(() => this.start(accept(this)));
  }

  start(handler: LinkHandler): void {
    this.#handler = handler;
    const socket = this.#socket;
    if (socket.connecting) {
      socket.setTimeout(this.#connectTimeoutMs, () =>
        this.#fail(new SextantError('TIMEOUT', `connecting to ${this.remote} took too long`)),
      );
      socket.once('connect', () => {
        socket.setTimeout(0);
        readWith(socket, this.#onChunk);
        if (!this.#closed) this.#guard(() => handler.onOpen?.());
      });
    } else {
      readWith(socket, this.#onChunk);
      this.#guard(() => handler.onOpen?.());
    }
    socket.on('drain', () => this.#drained());
    socket.on('error', (cause) => {
      const message = `link to ${this.remote}: ${cause.message}`;
      this.#error ??= new SextantError('DISCONNECTED', message, { cause });
    });
    socket.on('end', () => this.#finish());
    socket.on('close', () => this.#finish());
  }

  get queuedBytes(): number {
    return this.#partBytes + this.#socket.writableLength;
  }

  send(head: Uint8Array, body?: Uint8Array): boolean {
    if (this.#closed) return false;
    this.#parts.push(head);
    this.#partBytes += head.length;
    if (body !== undefined && body.length > 0) {
      this.#parts.push(body);
      this.#partBytes += body.length;
    }
    if (!this.#flushing) {
      this.#flushing = true;
      process.nextTick(this.#flush);
    }
    const queued = this.queuedBytes;
    if (queued <= this.#highWaterBytes) return true;
    this.#full = true;
    if (queued > this.#hardBytes) {
      this.#fail(new SextantError('OVERLOADED', `${queued} bytes are queued for ${this.remote}`));
    }
    return false;
  }

  close(): void {
    if (this.#closed) return;
    this.#write();
    this.#socket.destroySoon();
    // destroySoon waits for the peer to read; a stopped one never does.
    const socket = this.#socket;
    const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.once('close', () => clearTimeout(linger));
    this.#closed = true;
    this.#splitter.stop();
    process.nextTick(() => this.#tellClosed());
  }

  #write(): void {
    this.#flushing = false;
    if (this.#closed || this.#parts.length === 0) return;
    const parts = this.#parts;
    const bytes = this.#partBytes;
    this.#parts = [];
    this.#partBytes = 0;
    const socket = this.#socket;
    if (parts.length === 1) {
      socket.write(parts[0] ?? new Uint8Array(0));
    } else if (bytes <= COPY_BYTES_MAX) {
      const whole = Buffer.allocUnsafe(bytes);
      let at = 0;
      for (const part of parts) {
        whole.set(part, at);
        at += part.length;
      }
      socket.write(whole);
    } else {
      socket.cork();
      for (const part of parts) socket.write(part);
      socket.uncork();
    }
    if (this.#full) this.#drained();
  }

  #drained(): void {
    if (!this.#full || this.#closed || this.queuedBytes > this.#lowWaterBytes) return;
    this.#full = false;
    this.#guard(() => this.#handler?.onDrain?.());
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    try {
      this.#splitter.push(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  #guard(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#error = isSextantError(error)
      ? error
      : new SextantError('INTERNAL', `link to ${this.remote}: ${String(error)}`, { cause: error });
    this.#closed = true;
    this.#splitter.stop();
    this.#socket.destroy();
    process.nextTick(() => this.#tellClosed());
  }

  #finish(): void {
    if (!this.#closed) {
      this.#error ??= new SextantError('DISCONNECTED', `link to ${this.remote} ended`);
      this.#closed = true;
      this.#splitter.stop();
      this.#socket.destroy();
    }
    this.#tellClosed();
  }

  #tellClosed(): void {
    const handler = this.#handler;
    this.#handler = undefined;
    this.#parts = [];
    this.#partBytes = 0;
    handler?.onClose(this.#error);
  }
}
