/**
 * The watches of one session, as its client keeps them: set at the leader, set again wherever they got lost, fired once.
 *
 * | what comes in                       | what the client does                                              |
 * |-------------------------------------|-------------------------------------------------------------------|
 * | event of an open watch              | fires it: from a push or an answer, whichever is first            |
 * | another stream than its watches are in | sets them again with what it saw last: what was missed fires    |
 * | nothing for a second                | asks: a lost event or another leader shows in the answer          |
 *
 * Every read carries the watches that are not set, and is repeated when its answer shows that some got lost: so no
 * read passes an event by (COORD-2), the first one at a new leader included.
 */
import { SextantError } from '#core/errors.js';
import type { Timer, World } from '#core/world/world.js';
import { WATCHES_MAX, watchEventsBody } from '../../coordination/messages.js';
import type {
  EventKind,
  WatchEvents,
  WatchKind,
  WatchRequest,
  WatchState,
} from '../../coordination/messages.js';
import { cancelled, lostError, onAbort } from './transport.js';

/** A missed push, or a new leader, is noticed so late at most. */
const POLL_MS = 1000;
/** In one request. */
const BATCH_MAX = 1000;

export interface NodeEvent {
  readonly kind: EventKind;
  readonly path: string;
  /** Raft index of the write. */
  readonly index: number;
}

interface Watch {
  readonly request: WatchRequest;
  /** In which it is set; 0: nowhere yet. */
  stream: number;
  readonly fire: (event: NodeEvent) => void;
  readonly fail: (error: SextantError) => void;
}

/** What a read takes along; `placed` is told which stream they are in now. */
export interface WatchBatch {
  readonly watches: readonly WatchRequest[];
  readonly unwatch: readonly number[];
  readonly placed: (stream: number) => void;
}

export class WatchRegistry {
  readonly #world: World;
  readonly #lost: AbortSignal;
  /** An empty read: again and again until a leader answers; rejects when the session ends. */
  readonly #ask: () => Promise<unknown>;
  readonly #watches = new Map<number, Watch>();
  /** Nobody waits for them any more; the leader may not know it. */
  readonly #unwatch = new Set<number>();
  #nextId = 1;
  #stream = 0;
  #seen = 0;
  #asking = false;
  #scheduled = false;
  #poll: Timer | undefined;

  constructor(world: World, lost: AbortSignal, ask: () => Promise<unknown>) {
    this.#world = world;
    this.#lost = lost;
    this.#ask = ask;
    onAbort(lost, () => this.#end(lostError(lost)));
  }

  get state(): WatchState {
    return { stream: this.#stream, seen: this.#seen };
  }

  get lastId(): number {
    return this.#nextId - 1;
  }

  batch(): WatchBatch {
    const missing = this.#missing();
    const unwatch = [...this.#unwatch].slice(0, BATCH_MAX);
    return {
      watches: missing.map((watch) => watch.request),
      unwatch,
      placed: (stream) => {
        for (const watch of missing) watch.stream = stream;
        for (const id of unwatch) this.#unwatch.delete(id);
      },
    };
  }

  /** One of the watches up to number `lastId` is set nowhere: its event may have been missed. */
  lacks(lastId: number): boolean {
    const [first] = this.#missing();
    return first !== undefined && first.request.id <= lastId;
  }

  /** The first change after `since`; rejects with CANCELLED or LEASE_LOST. */
  wait(
    what: { kind: WatchKind; path: string; present: boolean; since: number },
    signal?: AbortSignal,
  ): Promise<NodeEvent> {
    if (this.#lost.aborted) return Promise.reject(lostError(this.#lost));
    if (signal?.aborted === true) return Promise.reject(cancelled());
    if (this.#watches.size >= WATCHES_MAX) {
      return Promise.reject(new SextantError('OVERLOADED', `${WATCHES_MAX} watches are set`));
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId;
      this.#nextId++;
      const forget = onAbort(signal, () => {
        this.#watches.delete(id);
        this.#unwatch.add(id);
        if (this.#poll === undefined) this.#arm();
        reject(cancelled());
      });
      this.#watches.set(id, {
        request: { id, ...what },
        stream: 0,
        fire: (event) => {
          forget();
          resolve(event);
        },
        fail: (error) => {
          forget();
          reject(error);
        },
      });
      this.#schedule();
    });
  }

  /** A COORD_EVENT came in. */
  pushed(body: Uint8Array): void {
    const { stream, events } = watchEventsBody.decode(body);
    for (const event of events) {
      this.#fire(event.watch, event.kind, event.index);
      // Behind a gap there are events that the next answer will carry.
      if (stream === this.#stream && event.number === this.#seen + 1) this.#seen = event.number;
    }
  }

  /** An answer of the leader says: to be called before what it answers is passed on. */
  handle(watch: WatchEvents): void {
    if (watch.stream !== this.#stream) {
      this.#stream = watch.stream;
      this.#seen = 0;
    }
    for (const event of watch.events) {
      this.#seen = Math.max(this.#seen, event.number);
      this.#fire(event.watch, event.kind, event.index);
    }
    this.#schedule();
  }

  #fire(id: number, kind: EventKind, index: number): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    this.#watches.delete(id);
    watch.fire({ kind, path: watch.request.path, index });
  }

  #missing(): Watch[] {
    const missing: Watch[] = [];
    for (const watch of this.#watches.values()) {
      if (watch.stream === 0 || watch.stream !== this.#stream) missing.push(watch);
      if (missing.length >= BATCH_MAX) break;
    }
    return missing;
  }

  /** Sets what is not set, together with what comes in during the same turn. */
  #schedule(): void {
    if (this.#asking || this.#scheduled || this.#missing().length === 0) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => {
      this.#scheduled = false;
      if (!this.#asking) void this.#setAll();
    });
  }

  async #setAll(): Promise<void> {
    this.#asking = true;
    try {
      while (this.#missing().length > 0) await this.#ask();
    } catch {
      // The session is over: every watch has failed with it.
    } finally {
      this.#asking = false;
    }
    this.#arm();
  }

  #arm(): void {
    this.#poll?.cancel();
    this.#poll = undefined;
    if (this.#lost.aborted || this.#watches.size + this.#unwatch.size === 0) return;
    this.#poll = this.#world.timers.after(POLL_MS, () => void this.#pollOnce());
  }

  async #pollOnce(): Promise<void> {
    this.#poll = undefined;
    if (this.#asking) return;
    this.#asking = true;
    try {
      await this.#ask();
    } catch {
      return;
    } finally {
      this.#asking = false;
    }
    this.#schedule();
    if (!this.#scheduled) this.#arm();
  }

  #end(error: SextantError): void {
    this.#poll?.cancel();
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    this.#unwatch.clear();
    for (const watch of watches) watch.fail(error);
  }
}
