/**
 * Virtual time: a heap of events ordered by (time, order of scheduling). One event runs at a time, and
 * everything that it set going in promises has settled before the next one is looked at.
 *
 * How promises are drained: each event runs in a `setImmediate` callback of its own, and Node empties
 * the microtask and nextTick queues after each callback. The immediates are queued 128 at a time, which
 * saves a poll of the operating system per event. So code under simulation may use promises freely, but
 * no real I/O and no real timers.
 *
 * - SIM-1 Same seed, same code: same events in the same order; `traceHash` sums them up.
 * - SIM-2 An event whose owner is gone (its incarnation ended) never runs.
 */
import { SextantError } from '../../errors.js';

/** What an event belongs to: it may hold events back or drop them. */
export interface EventOwner {
  readonly name: string;
  /** False: the event is dropped. */
  readonly alive: boolean;
  /** The event waits until then; Infinity: until the owner calls `release`. */
  readonly blockedUntilMs: number;
}

export class SimEvent {
  atMs: number;
  readonly order: number;
  readonly owner: EventOwner | undefined;
  readonly label: string;
  fn: (() => void) | undefined;

  constructor(
    atMs: number,
    order: number,
    owner: EventOwner | undefined,
    label: string,
    fn: () => void,
  ) {
    this.atMs = atMs;
    this.order = order;
    this.owner = owner;
    this.label = label;
    this.fn = fn;
  }

  cancel(): void {
    this.fn = undefined;
  }
}

const BATCH = 128;

export class SimScheduler {
  nowMs = 0;
  /** Events that have run. */
  eventCount = 0;
  /** FNV-1a over time, owner and label of every event that has run. */
  traceHash = 0x811c9dc5;
  /** Called before each event, to write a trace. */
  onEvent: ((event: SimEvent) => void) | undefined;
  readonly #heap: SimEvent[] = [];
  readonly #held = new Map<EventOwner, SimEvent[]>();
  #order = 0;
  #running = false;

  /** Runs `fn` at a time, not before now. */
  at(atMs: number, label: string, owner: EventOwner | undefined, fn: () => void): SimEvent {
    const event = new SimEvent(Math.max(atMs, this.nowMs), this.#order++, owner, label, fn);
    this.#add(event);
    return event;
  }

  /** Events held back while the owner's `blockedUntilMs` was Infinity come back, in their order. */
  release(owner: EventOwner): void {
    for (const event of this.#held.get(owner) ?? []) {
      event.atMs = Math.max(event.atMs, this.nowMs);
      this.#add(event);
    }
    this.#held.delete(owner);
  }

  forget(owner: EventOwner): void {
    this.#held.delete(owner);
  }

  /** Runs everything up to now + `ms`; time stands there afterwards. */
  async runFor(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    await this.#run(end, () => false);
    this.nowMs = end;
  }

  /**
   * Runs until `condition` holds, which is looked at after each event. Throws TIMEOUT when it does not
   * within `limitMs` of virtual time, or when nothing is left to happen.
   */
  async runUntil(condition: () => boolean, limitMs: number, what = 'condition'): Promise<void> {
    const end = this.nowMs + limitMs;
    if (await this.#run(end, condition)) return;
    throw new SextantError('TIMEOUT', `simulation: ${what} not met by ${end} ms`);
  }

  /** Runs until `promise` settles; gives its value. */
  async runPromise<T>(promise: Promise<T>, limitMs: number, what = 'promise'): Promise<T> {
    const state = { settled: false };
    const note = (): void => {
      state.settled = true;
    };
    promise.then(note, note);
    await this.runUntil(() => state.settled, limitMs, what);
    return promise;
  }

  #run(endMs: number, condition: () => boolean): Promise<boolean> {
    if (this.#running) throw new Error('the simulation is running already');
    this.#running = true;
    return new Promise<boolean>((resolve, reject) => {
      let over = false;
      const finish = (met: boolean): void => {
        over = true;
        this.#running = false;
        resolve(met);
      };
      const step = (): void => {
        if (over) return;
        try {
          if (condition()) finish(true);
          else if (!this.#runNext(endMs)) finish(false);
        } catch (error) {
          over = true;
          this.#running = false;
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const batch = (): void => {
        if (over) return;
        for (let i = 0; i < BATCH; i++) setImmediate(step);
        setImmediate(batch);
      };
      batch();
    });
  }

  /** Runs the next event at or before `endMs`; false when there is none. */
  #runNext(endMs: number): boolean {
    for (;;) {
      const event = this.#heap[0];
      if (event === undefined || event.atMs > endMs) return false;
      this.#take();
      const { fn, owner } = event;
      if (fn === undefined) continue;
      if (owner !== undefined) {
        if (!owner.alive) continue;
        if (owner.blockedUntilMs > event.atMs) {
          this.#holdBack(event, owner);
          continue;
        }
      }
      this.nowMs = event.atMs;
      this.eventCount++;
      this.#trace(event);
      event.fn = undefined;
      try {
        fn();
      } catch (error) {
        // What the code of a process does after its planned crash is of no account.
        if (owner === undefined || owner.alive) throw error;
      }
      return true;
    }
  }

  #holdBack(event: SimEvent, owner: EventOwner): void {
    if (owner.blockedUntilMs !== Infinity) {
      // It keeps its order: what arrived first while the owner was busy is still first.
      event.atMs = owner.blockedUntilMs;
      this.#add(event);
      return;
    }
    const held = this.#held.get(owner);
    if (held === undefined) this.#held.set(owner, [event]);
    else held.push(event);
  }

  #trace(event: SimEvent): void {
    this.onEvent?.(event);
    const line = `${event.atMs} ${event.owner?.name ?? ''} ${event.label}`;
    let hash = this.traceHash;
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    this.traceHash = hash >>> 0;
  }

  #add(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = event;
  }

  #take(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
