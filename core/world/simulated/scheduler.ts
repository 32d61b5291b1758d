/**
 * Virtual time: a heap of events ordered by (time, order of scheduling). One event runs at a time, and
 * everything that it set going in promises has settled before the next one is looked at.
 *
 * How promises are drained: each event runs in a `setImmediate` callback of its own, and Node empties
 * the microtask and nextTick queues after each callback. The immediates are queued 64 at a time, which
 * saves a poll of the operating system per event. So code under simulation may use promises freely, but
 * no real I/O and no real timers.
 *
 * - SIM-1 Same seed, same code: same events in the same order; `traceHash` sums them up.
 * - SIM-2 An event whose owner is gone (its incarnation ended) never runs.
 */
import { SextantError } from '../../errors.js';
import { laterTurn } from '../real/turn.js';

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

const NOTHING = (): void => undefined;

/** The line of events that wait for an owner. */
class Held {
  readonly events: SimEvent[];
  wake: SimEvent;
  #head = 0;

  constructor(first: SimEvent) {
    this.events = [first];
    this.wake = new SimEvent(0, 0, undefined, '', NOTHING);
  }

  get isEmpty(): boolean {
    return this.#head === this.events.length;
  }

  /** The next one that was not cancelled. */
  take(): SimEvent | undefined {
    while (this.#head < this.events.length) {
      const event = this.events[this.#head++];
      if (this.#head > 1024 && this.#head * 2 > this.events.length) {
        this.events.splice(0, this.#head);
        this.#head = 0;
      }
      if (event.fn !== undefined) return event;
    }
    return undefined;
  }
}

const BATCH = 64;

export class SimScheduler {
  nowMs = 0;
  /** Events that have run. */
  eventCount = 0;
  /** FNV-1a over time, owner and label of every event that has run. */
  traceHash = 0x811c9dc5;
  /** Called before each event, to write a trace. */
  onEvent: ((event: SimEvent) => void) | undefined;
  readonly #heap: SimEvent[] = [];
  readonly #held = new Map<EventOwner, Held>();
  #order = 0;
  #running = false;

  /** Runs `fn` at a time, not before now. */
  at(atMs: number, label: string, owner: EventOwner | undefined, fn: () => void): SimEvent {
    const event = new SimEvent(Math.max(atMs, this.nowMs), this.#order++, owner, label, fn);
    this.#add(event);
    return event;
  }

  /** The owner is no longer blocked for good: what was held back runs now, in its order. */
  release(owner: EventOwner): void {
    const held = this.#held.get(owner);
    if (held !== undefined) this.#wake(owner, held, this.nowMs);
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
        for (let i = 0; i < BATCH; i++) laterTurn(step);
        laterTurn(batch);
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
      const { owner } = event;
      if (event.fn === undefined) continue;
      if (owner === undefined) {
        this.#runEvent(event, event.atMs);
        return true;
      }
      if (!owner.alive) continue;
      const held = this.#held.get(owner);
      if (held !== undefined && event === held.wake && owner.blockedUntilMs <= event.atMs) {
        if (this.#runHeld(owner, held, event.atMs)) return true;
        continue;
      }
      if (held !== undefined || owner.blockedUntilMs > event.atMs) {
        this.#holdBack(event, owner, held);
        continue;
      }
      this.#runEvent(event, event.atMs);
      return true;
    }
  }

  /**
   * An owner's held events stand in line, in order of arrival; whatever arrives meanwhile goes to its end.
   * One event in the heap stands for the whole line, so that a long one costs nothing per event and turn.
   */
  #holdBack(event: SimEvent, owner: EventOwner, held: Held | undefined): void {
    if (held === undefined) {
      const line = new Held(event);
      this.#held.set(owner, line);
      this.#wake(owner, line, owner.blockedUntilMs);
    } else if (event === held.wake) {
      this.#wake(owner, held, Math.max(event.atMs, owner.blockedUntilMs));
    } else {
      held.events.push(event);
    }
  }

  /** Runs the first of the line; false when all of it was cancelled. */
  #runHeld(owner: EventOwner, held: Held, atMs: number): boolean {
    const event = held.take();
    if (held.isEmpty) this.#held.delete(owner);
    else this.#wake(owner, held, atMs);
    if (event === undefined) return false;
    this.#runEvent(event, atMs);
    return true;
  }

  #wake(owner: EventOwner, held: Held, atMs: number): void {
    held.wake.cancel();
    if (atMs === Infinity) return;
    held.wake = this.at(atMs, '', owner, NOTHING);
  }

  #runEvent(event: SimEvent, atMs: number): void {
    const { fn, owner } = event;
    if (fn === undefined) return;
    this.nowMs = atMs;
    this.eventCount++;
    event.atMs = atMs;
    this.#trace(event);
    event.fn = undefined;
    try {
      fn();
    } catch (error) {
      // What the code of a process does after its planned crash is of no account.
      if (owner === undefined || owner.alive) throw error;
    }
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
