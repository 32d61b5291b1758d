/**
 * Links within one thread, address `inproc:name`. A frame is delivered in a later turn (never inside
 * send), all frames of one turn together and in order. The reader gets each frame
 * put together from head and body: the one copy that is made.
 */
import { SextantError } from '../errors.js';
import type { Link, LinkHandler, Listener, Network } from '../world/world.js';

const HIGH_WATER_BYTES = 4 * 1024 * 1024;
const HARD_BYTES = 128 * 1024 * 1024;

/** Each `InProcessNetwork` is a name space of its own; `realWorld()`s of one thread share one. */
export class InProcessNetwork implements Network {
  readonly #listeners = new Map<string, (link: Link) => LinkHandler>();
  readonly #links = new Map<string, Set<InProcessLink>>();
  readonly #defer: (fn: () => void) => void;

  /** `defer` runs a function in a later turn. */
  constructor(defer: (fn: () => void) => void = setImmediate) {
    this.#defer = defer;
  }

  listen(address: string, accept: (link: Link) => LinkHandler): Promise<Listener> {
    if (this.#listeners.has(address)) {
      return Promise.reject(new SextantError('CONFIG', `${address} is taken`));
    }
    this.#listeners.set(address, accept);
    this.#links.set(address, new Set());
    return Promise.resolve({
      address,
      close: () => {
        this.#listeners.delete(address);
        for (const link of this.#links.get(address) ?? []) link.close();
        this.#links.delete(address);
        return Promise.resolve();
      },
    });
  }

  connect(address: string, handler: LinkHandler): Link {
    const near = new InProcessLink(address, this.#defer);
    near.handler = handler;
    this.#defer(() => {
      const accept = this.#listeners.get(address);
      if (accept === undefined) {
        near.end(new SextantError('DISCONNECTED', `nobody listens on ${address}`));
        return;
      }
      if (near.closed) return;
      const far = new InProcessLink(`${address} (client)`, this.#defer);
      const links = this.#links.get(address);
      links?.add(far);
      far.onEnd = () => links?.delete(far);
      far.peer = near;
      far.handler = accept(far);
      far.handler.onOpen?.();
      near.peer = far;
      near.open();
    });
    return near;
  }
}

class InProcessLink implements Link {
  readonly remote: string;
  readonly #defer: (fn: () => void) => void;
  readonly #deliver = (): void => this.#run();
  handler: LinkHandler | undefined;
  peer: InProcessLink | undefined;
  onEnd: (() => void) | undefined;
  closed = false;
  queuedBytes = 0;
  #queue: Uint8Array[] = [];
  #scheduled = false;
  #full = false;

  constructor(remote: string, defer: (fn: () => void) => void) {
    this.remote = remote;
    this.#defer = defer;
  }

  open(): void {
    this.handler?.onOpen?.();
    if (this.#queue.length > 0) this.#schedule();
  }

  send(head: Uint8Array, body?: Uint8Array): boolean {
    if (this.closed) return false;
    const frame = new Uint8Array(head.length + (body?.length ?? 0));
    frame.set(head, 0);
    if (body !== undefined) frame.set(body, head.length);
    this.#queue.push(frame);
    this.queuedBytes += frame.length;
    if (this.peer !== undefined) this.#schedule();
    if (this.queuedBytes > HARD_BYTES) {
      this.end(new SextantError('OVERLOADED', `${this.queuedBytes} bytes queued`));
      return false;
    }
    if (this.queuedBytes > HIGH_WATER_BYTES) this.#full = true;
    return !this.#full;
  }

  /** What is queued still arrives; nothing is received any more. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onEnd?.();
    this.#defer(() => {
      this.#run();
      this.handler?.onClose();
      this.peer?.end(new SextantError('DISCONNECTED', `link to ${this.peer.remote} ended`));
    });
  }

  /** Ends both sides, each told in a later turn. */
  end(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    this.#queue = [];
    this.queuedBytes = 0;
    this.onEnd?.();
    const handler = this.handler;
    this.#defer(() => handler?.onClose(error));
    this.peer?.end(new SextantError('DISCONNECTED', `link to ${this.peer.remote} ended`));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#defer(this.#deliver);
  }

  #run(): void {
    this.#scheduled = false;
    const peer = this.peer;
    if (peer === undefined) return;
    const queue = this.#queue;
    this.#queue = [];
    this.queuedBytes = 0;
    for (const frame of queue) {
      if (peer.closed) return;
      try {
        peer.handler?.onFrame(frame);
      } catch (cause) {
        const message = `link to ${peer.remote}: ${String(cause)}`;
        peer.end(new SextantError('INTERNAL', message, { cause }));
      }
    }
    if (this.#full && !this.closed) {
      this.#full = false;
      this.handler?.onDrain?.();
    }
  }
}
