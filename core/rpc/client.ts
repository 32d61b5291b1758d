/**
 * One client of one server: multiplexed calls and pushes over a link that is made anew whenever it breaks.
 *
 * | state      | a call                     | a push | leaves it by                                        |
 * |------------|----------------------------|--------|-----------------------------------------------------|
 * | connecting | waits for `up`             | false  | link open and hello answered -> up; else -> pause    |
 * | up         | sent                       | sent   | link closed, peer silent for `deadAfterMs` -> pause  |
 * | pause      | fails DISCONNECTED at once | false  | back-off over -> connecting                          |
 * | closed     | fails CLOSED               | false  |                                                     |
 *
 * - RPC-5 Every call ends exactly once: its answer, its error, TIMEOUT, CANCELLED, DISCONNECTED or CLOSED.
 * - RPC-6 Request ids are not used again within a connection, and an answer that no call waits for is dropped.
 * - RPC-7 `hello` is the first frame of each connection, and nothing else is sent before its answer.
 */
import { SextantError } from '../errors.js';
import type { Link, LinkHandler, Timer, World } from '../world/world.js';
import { EMPTY_BODY, FrameKind, FrameReader, decodeErrorBody, encodeFrameHeader } from './frame.js';

export interface RpcClientOptions {
  /** Called for each connection. */
  readonly hello?: () => { type: number; body: Uint8Array };
  /** Sees the answer to hello; what it throws refuses the connection. */
  readonly onHello?: (answer: Uint8Array) => void;
  /** push() answers false, and call() fails OVERLOADED, when more is queued. */
  readonly maxQueuedBytes?: number;
  /** Of calls that name none. */
  readonly timeoutMs?: number;
  readonly pingEveryMs?: number;
  /** A connection on which nothing has come in for so long is dropped. */
  readonly deadAfterMs?: number;
  readonly backoffMinMs?: number;
  readonly backoffMaxMs?: number;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

type State = 'connecting' | 'up' | 'pause' | 'closed';

const PING_TYPE = 0;

class PendingCall {
  readonly type: number;
  readonly body: Uint8Array;
  readonly resolve: (answer: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
  timer: Timer | undefined;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  sent = false;

  constructor(
    type: number,
    body: Uint8Array,
    resolve: (answer: Uint8Array) => void,
    reject: (error: unknown) => void,
  ) {
    this.type = type;
    this.body = body;
    this.resolve = resolve;
    this.reject = reject;
  }

  settle(): void {
    this.timer?.cancel();
    if (this.onAbort !== undefined) this.signal?.removeEventListener('abort', this.onAbort);
  }
}

export class RpcClient {
  readonly address: string;
  /** Of pushes from the server; `body` may be reused after the call returns. */
  onPush: (type: number, body: Uint8Array) => void = () => undefined;
  onState: (state: 'up' | 'down') => void = () => undefined;
  /** Why the last connection ended or was refused. */
  lastError: Error | undefined;
  /** Round trip of the last ping or hello, smoothed (1/4 of each new one); 0 before the first. */
  rttMs = 0;
  readonly #world: World;
  readonly #options: RpcClientOptions;
  readonly #maxQueuedBytes: number;
  readonly #calls = new Map<number, PendingCall>();
  readonly #frame = new FrameReader();
  #state: State = 'connecting';
  #link: Link | undefined;
  #nextId = 1;
  #helloId = 0;
  #failures = 0;
  #lastReceivedMs = 0;
  #pingSentMs = 0;
  #pingId = 0;
  #timer: Timer | undefined;
  #pingTimer: Timer | undefined;

  constructor(world: World, address: string, options: RpcClientOptions = {}) {
    this.#world = world;
    this.address = address;
    this.#options = options;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 16 * 1024 * 1024;
    this.#connect();
  }

  get state(): 'up' | 'down' {
    return this.#state === 'up' ? 'up' : 'down';
  }

  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  /**
   * The answer's body, which is the caller's to keep. Rejects with what the server answered, or TIMEOUT,
   * CANCELLED, DISCONNECTED, OVERLOADED, CLOSED. `body` must not change until the promise settles.
   */
  call(type: number, body: Uint8Array, options?: CallOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(options?.signal);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      const id = this.#takeId();
      const call = new PendingCall(type, body, resolve, reject);
      const timeoutMs = options?.timeoutMs ?? this.#options.timeoutMs ?? 30_000;
      call.timer = this.#world.timers.after(timeoutMs, () =>
        this.#abandon(id, new SextantError('TIMEOUT', `no answer from ${this.address} in time`)),
      );
      if (options?.signal !== undefined) {
        call.signal = options.signal;
        call.onAbort = () => this.#abandon(id, new SextantError('CANCELLED', 'call cancelled'));
        call.signal.addEventListener('abort', call.onAbort);
      }
      this.#calls.set(id, call);
      if (this.#state === 'up') this.#sendCall(id, call);
    });
  }

  /**
   * Sends without an answer. False: not up, or more than `maxQueuedBytes` would be queued; nothing was
   * sent then. The body must not change until it has been sent; `bodyCrc` is its CRC32C when known.
   */
  push(type: number, body: Uint8Array, bodyCrc?: number): boolean {
    const link = this.#link;
    if (this.#state !== 'up' || link === undefined) return false;
    if (link.queuedBytes + body.length > this.#maxQueuedBytes) return false;
    link.send(encodeFrameHeader(FrameKind.push, type, 0, body, bodyCrc), body);
    return true;
  }

  close(): void {
    if (this.#state === 'closed') return;
    const link = this.#link;
    this.#down(new SextantError('CLOSED', `client of ${this.address} is closed`), 'closed');
    link?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #refusal(signal: AbortSignal | undefined): SextantError | undefined {
    if (this.#state === 'closed') return new SextantError('CLOSED', 'client is closed');
    if (signal?.aborted === true) return new SextantError('CANCELLED', 'call cancelled');
    if (this.#state === 'pause') {
      const why = this.lastError === undefined ? '' : `: ${this.lastError.message}`;
      return new SextantError('DISCONNECTED', `${this.address} is not connected${why}`);
    }
    if (this.queuedBytes > this.#maxQueuedBytes) {
      return new SextantError('OVERLOADED', `${this.queuedBytes} bytes wait for ${this.address}`);
    }
    return undefined;
  }

  #connect(): void {
    this.#state = 'connecting';
    const world = this.#world;
    const own: { link: Link | undefined } = { link: undefined };
    // A handler belongs to one connection: what comes late from an older one is not looked at.
    const handler: LinkHandler = {
      onOpen: () => {
        const { link } = own;
        if (link !== undefined && link === this.#link) this.#opened(link);
      },
      onFrame: (frame) => {
        if (own.link !== undefined && own.link === this.#link) this.#receive(frame);
      },
      onClose: (error) => {
        if (own.link === undefined || own.link === this.#link) {
          this.#lost(error ?? new SextantError('DISCONNECTED', `link to ${this.address} ended`));
        }
      },
    };
    const deadAfterMs = this.#options.deadAfterMs ?? 5000;
    this.#timer = world.timers.after(deadAfterMs, () =>
      this.#lost(new SextantError('TIMEOUT', `${this.address} did not answer hello in time`)),
    );
    own.link = world.network.connect(this.address, handler);
    if (this.#state === 'connecting') this.#link = own.link;
  }

  #opened(link: Link): void {
    this.#lastReceivedMs = this.#world.clock.monotonicMs();
    const hello = this.#options.hello?.();
    if (hello === undefined) {
      this.#up();
      return;
    }
    this.#helloId = this.#takeId();
    this.#pingSentMs = this.#lastReceivedMs;
    link.send(encodeFrameHeader(FrameKind.call, hello.type, this.#helloId, hello.body), hello.body);
  }

  #up(): void {
    this.#timer?.cancel();
    this.#state = 'up';
    this.#failures = 0;
    this.lastError = undefined;
    this.#ping();
    for (const [id, call] of this.#calls) this.#sendCall(id, call);
    this.onState('up');
  }

  /** This connection is over: make the next one after a pause. */
  #lost(error: Error): void {
    if (this.#state === 'closed' || this.#state === 'pause') return;
    const link = this.#link;
    this.#down(error, 'pause');
    link?.close();
  }

  #down(error: Error, next: 'pause' | 'closed'): void {
    const wasUp = this.#state === 'up';
    this.#state = next;
    this.#link = undefined;
    this.#helloId = 0;
    this.#pingId = 0;
    this.lastError = error;
    this.#timer?.cancel();
    this.#pingTimer?.cancel();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    const code = next === 'closed' ? 'CLOSED' : 'DISCONNECTED';
    const message = `${this.address}: ${error.message}`;
    for (const call of calls) {
      call.settle();
      call.reject(new SextantError(code, message, { cause: error }));
    }
    if (next === 'pause') {
      this.#timer = this.#world.timers.after(this.#backoffMs(), () => this.#connect());
    }
    if (wasUp) this.onState('down');
  }

  /** Doubles with each failure; half of it is random, so that peers do not come back in step. */
  #backoffMs(): number {
    const min = this.#options.backoffMinMs ?? 20;
    const max = this.#options.backoffMaxMs ?? 2000;
    const full = Math.min(max, min * 2 ** Math.min(this.#failures, 20));
    this.#failures++;
    return full / 2 + (full / 2) * this.#world.random.unit();
  }

  #takeId(): number {
    const id = this.#nextId;
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    return id;
  }

  #sendCall(id: number, call: PendingCall): void {
    call.sent = true;
    const head = encodeFrameHeader(FrameKind.call, call.type, id, call.body);
    this.#link?.send(head, call.body);
  }

  #abandon(id: number, error: SextantError): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    this.#calls.delete(id);
    call.settle();
    if (call.sent) this.#sendEmpty(FrameKind.cancel, id);
    call.reject(error);
  }

  #sendEmpty(kind: FrameKind, id: number): void {
    const link = this.#link;
    if (link === undefined || link.queuedBytes > this.#maxQueuedBytes) return;
    link.send(encodeFrameHeader(kind, PING_TYPE, id, EMPTY_BODY));
  }

  #ping(): void {
    const everyMs = this.#options.pingEveryMs ?? 1000;
    const now = this.#world.clock.monotonicMs();
    if (now - this.#lastReceivedMs >= (this.#options.deadAfterMs ?? 5000)) {
      this.#lost(new SextantError('DISCONNECTED', `${this.address} is silent`));
      return;
    }
    if (this.#pingId === 0) {
      this.#pingId = this.#takeId();
      this.#pingSentMs = now;
      this.#sendEmpty(FrameKind.ping, this.#pingId);
    }
    this.#pingTimer = this.#world.timers.after(everyMs, () => this.#ping());
  }

  #measured(now: number): void {
    const rtt = now - this.#pingSentMs;
    this.rttMs = this.rttMs === 0 ? rtt : this.rttMs + (rtt - this.rttMs) / 4;
  }

  #receive(bytes: Uint8Array): void {
    const frame = this.#frame;
    try {
      frame.read(bytes);
    } catch (error) {
      this.#world.log.warn('bad frame', { peer: this.address, error: String(error) });
      this.#lost(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#lastReceivedMs = this.#world.clock.monotonicMs();
    const id = frame.requestId;
    switch (frame.kind) {
      case FrameKind.push:
        this.#pushed(frame.type, frame.body);
        return;
      case FrameKind.answer:
      case FrameKind.error:
        if (id === this.#helloId && id !== 0) this.#helloAnswered(frame);
        else this.#answered(id, frame);
        return;
      case FrameKind.ping:
        this.#sendEmpty(FrameKind.pong, id);
        return;
      case FrameKind.pong:
        if (id !== this.#pingId) return;
        this.#pingId = 0;
        this.#measured(this.#lastReceivedMs);
        return;
      case FrameKind.call:
      case FrameKind.cancel:
        this.#lost(new SextantError('PROTOCOL', `${this.address} sent a call to its client`));
    }
  }

  #pushed(type: number, body: Uint8Array): void {
    try {
      this.onPush(type, body);
    } catch (error) {
      const { log } = this.#world;
      if (error instanceof SextantError) {
        log.warn('push refused', { peer: this.address, type, error: error.message });
      } else {
        log.error('push handler failed', { peer: this.address, type, error });
      }
      this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #answered(id: number, frame: FrameReader): void {
    const call = this.#calls.get(id);
    if (call === undefined || !call.sent) return;
    this.#calls.delete(id);
    call.settle();
    if (frame.kind === FrameKind.error) call.reject(decodeErrorBody(frame.body));
    else call.resolve(frame.body.slice());
  }

  #helloAnswered(frame: FrameReader): void {
    this.#helloId = 0;
    this.#measured(this.#lastReceivedMs);
    try {
      if (frame.kind === FrameKind.error) throw decodeErrorBody(frame.body);
      this.#options.onHello?.(frame.body.slice());
    } catch (error) {
      this.#lost(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#up();
  }
}
