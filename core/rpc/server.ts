/**
 * The server side: any number of peers on one address, each with its own link.
 *
 *     call  -> handler.call -> answer (same turn when it returns bytes) | error {code, message}
 *     push  -> handler.push; an error in it closes the link, as nothing else could tell the peer
 *     cancel -> the answer, when it comes, is dropped
 *     ping  -> pong
 *
 * - RPC-8 What one peer sends, or does not read, has no effect on the others.
 * - RPC-9 At most `maxCallsPerPeer` calls of a peer run at a time; more are answered OVERLOADED.
 */
import { SextantError } from '../errors.js';
import type { Link, LinkHandler, Listener, Timer, World } from '../world/world.js';
import { EMPTY_BODY, FrameKind, FrameReader, encodeErrorBody, encodeFrameHeader } from './frame.js';

export interface RpcPeer {
  /** False when nothing was sent: the link is gone or more than `maxQueuedBytes` would be queued. */
  push(type: number, body: Uint8Array, bodyCrc?: number): boolean;
  readonly remote: string;
  readonly queuedBytes: number;
  close(): void;
  /** The handler's own. */
  attachment: unknown;
}

/** `body` may be a view that is reused after the call returns: copy what you keep. */
export interface RpcHandler {
  onOpen?(peer: RpcPeer): void;
  onClose?(peer: RpcPeer): void;
  /** Bytes returned at once are answered in the same turn. The answer must not change until it was sent. */
  call(peer: RpcPeer, type: number, body: Uint8Array): Uint8Array | Promise<Uint8Array>;
  push(peer: RpcPeer, type: number, body: Uint8Array): void;
}

export interface RpcServerOptions {
  readonly maxCallsPerPeer?: number;
  readonly maxQueuedBytes?: number;
  /** A peer that has sent nothing, not even a ping, for so long is dropped. */
  readonly silentAfterMs?: number;
}

export class RpcServer {
  readonly #world: World;
  readonly #peers = new Set<Peer>();
  readonly #silentAfterMs: number;
  #listener: Listener | undefined;
  #sweep: Timer | undefined;
  #closed = false;

  static async listen(
    world: World,
    address: string,
    handler: RpcHandler,
    options: RpcServerOptions = {},
  ): Promise<RpcServer> {
    const server = new RpcServer(world, options);
    server.#listener = await world.network.listen(address, (link) => {
      const peer = new Peer(world, link, handler, options, (gone) => server.#peers.delete(gone));
      if (server.#closed) link.close();
      else server.#peers.add(peer);
      return peer;
    });
    server.#sweepLater();
    return server;
  }

  private constructor(world: World, options: RpcServerOptions) {
    this.#world = world;
    this.#silentAfterMs = options.silentAfterMs ?? 30_000;
  }

  /** With the real port. */
  get address(): string {
    return this.#listener?.address ?? '';
  }

  get peers(): Iterable<RpcPeer> {
    return this.#peers;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#sweep?.cancel();
    for (const peer of this.#peers) peer.close();
    await this.#listener?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #sweepLater(): void {
    this.#sweep = this.#world.timers.after(this.#silentAfterMs / 4, () => {
      const limit = this.#world.clock.monotonicMs() - this.#silentAfterMs;
      for (const peer of this.#peers) if (peer.lastReceivedMs < limit) peer.close();
      this.#sweepLater();
    });
  }
}

class Peer implements RpcPeer, LinkHandler {
  attachment: unknown = undefined;
  lastReceivedMs: number;
  readonly #world: World;
  readonly #link: Link;
  readonly #handler: RpcHandler;
  readonly #onGone: (peer: Peer) => void;
  readonly #maxCalls: number;
  readonly #maxQueuedBytes: number;
  readonly #frame = new FrameReader();
  /** Ids of calls whose promise is not settled yet; cancelled ones leave at once but count as running. */
  readonly #waiting = new Set<number>();
  #running = 0;
  #open = true;

  constructor(
    world: World,
    link: Link,
    handler: RpcHandler,
    options: RpcServerOptions,
    onGone: (peer: Peer) => void,
  ) {
    this.#world = world;
    this.#link = link;
    this.#handler = handler;
    this.#onGone = onGone;
    this.#maxCalls = options.maxCallsPerPeer ?? 1024;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 16 * 1024 * 1024;
    this.lastReceivedMs = world.clock.monotonicMs();
  }

  get remote(): string {
    return this.#link.remote;
  }

  get queuedBytes(): number {
    return this.#link.queuedBytes;
  }

  push(type: number, body: Uint8Array, bodyCrc?: number): boolean {
    const link = this.#link;
    if (!this.#open || link.queuedBytes + body.length > this.#maxQueuedBytes) return false;
    link.send(encodeFrameHeader(FrameKind.push, type, 0, body, bodyCrc), body);
    return true;
  }

  close(): void {
    this.#link.close();
  }

  onOpen(): void {
    this.#handler.onOpen?.(this);
  }

  onClose(): void {
    this.#open = false;
    this.#waiting.clear();
    this.#onGone(this);
    this.#handler.onClose?.(this);
  }

  onFrame(bytes: Uint8Array): void {
    const frame = this.#frame;
    try {
      frame.read(bytes);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.lastReceivedMs = this.#world.clock.monotonicMs();
    const id = frame.requestId;
    switch (frame.kind) {
      case FrameKind.push:
        this.#pushed(frame.type, frame.body);
        return;
      case FrameKind.call:
        this.#call(id, frame.type, frame.body);
        return;
      case FrameKind.cancel:
        this.#waiting.delete(id);
        return;
      case FrameKind.ping:
        this.#send(FrameKind.pong, 0, id, EMPTY_BODY);
        return;
      case FrameKind.pong:
        return;
      case FrameKind.answer:
      case FrameKind.error:
        this.#refuse(new SextantError('PROTOCOL', 'a client answered without being asked'));
    }
  }

  #pushed(type: number, body: Uint8Array): void {
    try {
      this.#handler.push(this, type, body);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #call(id: number, type: number, body: Uint8Array): void {
    if (this.#running >= this.#maxCalls) {
      const message = `${this.#running} calls of ${this.remote} are running`;
      this.#sendError(type, id, new SextantError('OVERLOADED', message));
      return;
    }
    let result: Uint8Array | Promise<Uint8Array>;
    try {
      result = this.#handler.call(this, type, body);
    } catch (error) {
      this.#sendError(type, id, error);
      return;
    }
    if (result instanceof Uint8Array) {
      this.#send(FrameKind.answer, type, id, result);
      return;
    }
    this.#running++;
    this.#waiting.add(id);
    result.then(
      (answer) => {
        this.#running--;
        if (this.#waiting.delete(id)) this.#send(FrameKind.answer, type, id, answer);
      },
      (error: unknown) => {
        this.#running--;
        if (this.#waiting.delete(id)) this.#sendError(type, id, error);
      },
    );
  }

  #sendError(type: number, id: number, error: unknown): void {
    if (!(error instanceof SextantError)) {
      this.#world.log.error('call handler failed', { peer: this.remote, type, error });
    }
    this.#send(FrameKind.error, type, id, encodeErrorBody(error));
  }

  #send(kind: FrameKind, type: number, id: number, body: Uint8Array): void {
    if (this.#open) this.#link.send(encodeFrameHeader(kind, type, id, body), body);
  }

  #refuse(error: unknown): void {
    if (error instanceof SextantError) {
      this.#world.log.warn('link closed', { peer: this.remote, error: error.message });
    } else {
      this.#world.log.error('push handler failed', { peer: this.remote, error });
    }
    this.#link.close();
  }
}
