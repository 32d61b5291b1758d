/**
 * Links between threads of one process, address `worker:name`. One thread, usually the main one, owns
 * the hub; each thread joins it by a port and may then listen and connect. The hub only introduces:
 * frames go from thread to thread over a MessagePort of their own.
 *
 *     const hub = new ThreadHub();
 *     new Worker(file, { workerData: { port }, transferList: [port] })      // port = hub.attach()
 *     realWorld({ threads: joinThreads(workerData.port) })                  // in the worker
 *     realWorld({ threads: hub.join() })                                    // in the hub's own thread
 *
 * | to the hub                | what the hub does                                           |
 * |---------------------------|-------------------------------------------------------------|
 * | listen address            | answers `listening`, `ok` false when the name is taken      |
 * | unlisten address          | forgets it                                                  |
 * | connect address, port     | sends it on to the listener; nobody there: closes the port  |
 *
 * | on a link's port          | what it is                                                  |
 * |---------------------------|-------------------------------------------------------------|
 * | 'open'                    | the accepting side is there                                 |
 * | Uint8Array                | all frames that were sent in one turn, end to end           |
 * | number                    | so many bytes were taken in: the sender's queue is shorter  |
 *
 * A thread that stops reading costs its peers a bounded queue (RPC-3); one that ends closes its ports.
 *
 * This file is a driver: it may use node:worker_threads.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { SextantError, isSextantError } from '../../errors.js';
import type { Link, LinkHandler, Listener, Network } from '../world.js';
import { FrameSplitter } from '../../rpc/frame-splitter.js';

type ToHub =
  | { readonly kind: 'listen' | 'unlisten'; readonly address: string }
  | { readonly kind: 'connect'; readonly address: string; readonly port: MessagePort };
type FromHub =
  | { readonly kind: 'listening'; readonly address: string; readonly ok: boolean }
  | { readonly kind: 'accept'; readonly address: string; readonly port: MessagePort };

const HIGH_WATER_BYTES = 4 * 1024 * 1024;
const HARD_BYTES = 128 * 1024 * 1024;
/** Taken-in bytes are reported in steps of this. */
const REPORT_BYTES = 256 * 1024;

export class ThreadHub {
  readonly #listeners = new Map<string, MessagePort>();
  readonly #ports = new Set<MessagePort>();

  /** A port for one more thread: transfer it there and `joinThreads` it. */
  attach(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#ports.add(port1);
    port1.on('message', (message: ToHub) => this.#receive(port1, message));
    port1.on('close', () => {
      this.#ports.delete(port1);
      for (const [address, port] of this.#listeners) {
        if (port === port1) this.#listeners.delete(address);
      }
    });
    port1.unref();
    return port2;
  }

  /** The network of the hub's own thread. */
  join(): Network {
    return joinThreads(this.attach());
  }

  /** Nobody can listen or connect any more; links that stand are left alone. */
  close(): void {
    for (const port of this.#ports) port.close();
    this.#listeners.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #receive(from: MessagePort, message: ToHub): void {
    switch (message.kind) {
      case 'listen': {
        const ok = !this.#listeners.has(message.address);
        if (ok) this.#listeners.set(message.address, from);
        tell(from, { kind: 'listening', address: message.address, ok });
        return;
      }
      case 'unlisten':
        if (this.#listeners.get(message.address) === from) this.#listeners.delete(message.address);
        return;
      case 'connect': {
        const { address, port } = message;
        const listener = this.#listeners.get(address);
        if (listener === undefined) port.close();
        else tell(listener, { kind: 'accept', address, port }, [port]);
      }
    }
  }
}

function tell(port: MessagePort, message: FromHub | ToHub, transfer: MessagePort[] = []): void {
  port.postMessage(message, transfer);
}

/** The `worker:` network of a thread that was given `port` by `ThreadHub.attach`. */
export function joinThreads(port: MessagePort): Network {
  return new ThreadNetwork(port);
}

interface Listening {
  readonly accept: (link: Link) => LinkHandler;
  readonly links: Set<ThreadLink>;
}

class ThreadNetwork implements Network {
  readonly #hub: MessagePort;
  readonly #listening = new Map<string, Listening>();
  readonly #asked = new Map<string, (ok: boolean) => void>();
  #links = 0;

  constructor(hub: MessagePort) {
    this.#hub = hub;
    hub.on('message', (message: FromHub) => this.#receive(message));
    hub.unref();
  }

  async listen(address: string, accept: (link: Link) => LinkHandler): Promise<Listener> {
    const taken = new SextantError('CONFIG', `${address} is taken`);
    if (this.#listening.has(address) || this.#asked.has(address)) throw taken;
    const listening: Listening = { accept, links: new Set() };
    this.#hub.ref();
    const answer = new Promise<boolean>((resolve) => this.#asked.set(address, resolve));
    tell(this.#hub, { kind: 'listen', address });
    this.#listening.set(address, listening);
    const ok = await answer;
    if (!ok) {
      this.#listening.delete(address);
      this.#idle();
      throw taken;
    }
    return {
      address,
      close: () => {
        tell(this.#hub, { kind: 'unlisten', address });
        this.#listening.delete(address);
        for (const link of listening.links) link.close();
        this.#idle();
        return Promise.resolve();
      },
    };
  }

  connect(address: string, handler: LinkHandler): Link {
    const { port1, port2 } = new MessageChannel();
    const link = new ThreadLink(port1, address, false, () => undefined);
    link.start(handler);
    tell(this.#hub, { kind: 'connect', address, port: port2 }, [port2]);
    return link;
  }

  #receive(message: FromHub): void {
    const { address } = message;
    if (message.kind === 'listening') {
      this.#asked.get(address)?.(message.ok);
      this.#asked.delete(address);
      return;
    }
    const listening = this.#listening.get(address);
    if (listening === undefined) {
      message.port.close();
      return;
    }
    const name = `${address} (client ${++this.#links})`;
    const link = new ThreadLink(message.port, name, true, () => listening.links.delete(link));
    listening.links.add(link);
    link.start(listening.accept(link));
  }

  /** A thread that listens is kept alive by it, as by a TCP listener. */
  #idle(): void {
    if (this.#listening.size === 0) this.#hub.unref();
  }
}

class ThreadLink implements Link {
  readonly remote: string;
  readonly #port: MessagePort;
  readonly #accepted: boolean;
  readonly #onEnd: () => void;
  readonly #splitter: FrameSplitter;
  readonly #flush = (): void => this.#write();
  #handler: LinkHandler | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #flushing = false;
  #unreported = 0;
  #sentBytes = 0;
  #full = false;
  #closed = false;
  #told = false;
  #error: Error | undefined;

  constructor(port: MessagePort, remote: string, accepted: boolean, onEnd: () => void) {
    this.#port = port;
    this.remote = remote;
    this.#accepted = accepted;
    this.#onEnd = onEnd;
    this.#splitter = new FrameSplitter((frame) => this.#handler?.onFrame(frame));
  }

  /** Bytes that the peer has not reported as taken in; exact to 256 KiB. */
  get queuedBytes(): number {
    return this.#partBytes + this.#sentBytes;
  }

  start(handler: LinkHandler): void {
    this.#handler = handler;
    const port = this.#port;
    port.on('message', (message: unknown) => this.#receive(message));
    port.on('close', () => {
      if (!this.#closed) this.#error ??= new SextantError('DISCONNECTED', `${this.remote} ended`);
      this.#end();
    });
    if (!this.#accepted) return;
    port.postMessage('open');
    handler.onOpen?.();
  }

  send(head: Uint8Array, body?: Uint8Array): boolean {
    if (this.#closed) return false;
    this.#parts.push(head);
    this.#partBytes += head.length;
    if (body !== undefined) {
      this.#parts.push(body);
      this.#partBytes += body.length;
    }
    if (!this.#flushing) {
      this.#flushing = true;
      process.nextTick(this.#flush);
    }
    const queued = this.queuedBytes;
    if (queued <= HIGH_WATER_BYTES) return true;
    this.#full = true;
    if (queued > HARD_BYTES) {
      this.#fail(new SextantError('OVERLOADED', `${queued} bytes are queued for ${this.remote}`));
    }
    return false;
  }

  close(): void {
    if (this.#closed) return;
    this.#write();
    this.#stop();
  }

  #write(): void {
    this.#flushing = false;
    if (this.#closed || this.#partBytes === 0) return;
    const bytes = new Uint8Array(this.#partBytes);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#partBytes = 0;
    this.#sentBytes += bytes.length;
    this.#port.postMessage(bytes, [bytes.buffer]);
  }

  #receive(message: unknown): void {
    if (this.#closed) return;
    try {
      if (message instanceof Uint8Array) {
        this.#report(message.length);
        this.#splitter.push(message);
      } else if (message === 'open') {
        this.#handler?.onOpen?.();
      } else if (typeof message === 'number') {
        this.#taken(message);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #report(bytes: number): void {
    this.#unreported += bytes;
    if (this.#unreported < REPORT_BYTES) return;
    this.#port.postMessage(this.#unreported);
    this.#unreported = 0;
  }

  #taken(bytes: number): void {
    this.#sentBytes -= bytes;
    if (!this.#full || this.queuedBytes > HIGH_WATER_BYTES / 4) return;
    this.#full = false;
    this.#handler?.onDrain?.();
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#error = isSextantError(error)
      ? error
      : new SextantError('INTERNAL', `link to ${this.remote}: ${String(error)}`, { cause: error });
    this.#stop();
  }

  #stop(): void {
    this.#closed = true;
    this.#splitter.stop();
    this.#port.close();
    process.nextTick(() => this.#end());
  }

  #end(): void {
    this.#closed = true;
    this.#splitter.stop();
    this.#parts = [];
    this.#partBytes = 0;
    if (this.#told) return;
    this.#told = true;
    this.#onEnd();
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.onClose(this.#error);
  }
}
