/**
 * The watches that the leader keeps for clerks: one-shot, and never replicated. A clerk sets them again at another
 * leader, saying what it saw last (see `messages.ts`).
 *
 * ```
 * set(token, watch, tree) ---- the tree has moved on since? ----> event at once
 *        |  no
 *        v
 *  by path: watch, watch ...  <---- fire(events of an applied write) ---> events of the streams
 *        |
 *        v
 *  stream of a token: events 5 6 7 not seen yet; each answer carries them; `seen` drops them
 * ```
 *
 * - WATCH-1 A watch fires once for the first change after `since`, and not without one.
 * - WATCH-2 Every answer after the change carries the event, or the clerk has said that it saw it.
 */
import { SextantError } from '#core/errors.js';
import type { CoordinationTree } from './coordination-tree.js';
import type { EventKind, WatchEvent, WatchEvents, WatchRequest, WatchState } from './messages.js';
import { WATCHES_MAX } from './messages.js';
import { parentOf } from './paths.js';
import type { TreeEvent } from './tree-nodes.js';

/** Of all clerks. */
const WATCHES_TOTAL_MAX = 1_000_000;
const NO_EVENTS: WatchEvents = { stream: 0, events: [] };

interface Watch {
  readonly stream: Stream;
  readonly request: WatchRequest;
}

interface Stream {
  readonly token: number;
  readonly id: number;
  /** Of the last event. */
  number: number;
  /** Not seen yet. */
  events: WatchEvent[];
  /** By watch id. */
  readonly watches: Map<number, Watch>;
}

export class WatchTable {
  readonly #nextStream: () => number;
  readonly #streams = new Map<number, Stream>();
  readonly #byPath = new Map<string, Set<Watch>>();
  #count = 0;

  /** `nextStream` gives a number that no stream had, here or at another leader: a random one from 1. */
  constructor(nextStream: () => number) {
    this.#nextStream = nextStream;
  }

  get count(): number {
    return this.#count;
  }

  /** Throws OVERLOADED. A watch of the same id is replaced. */
  set(token: number, request: WatchRequest, tree: CoordinationTree): void {
    const stream = this.#streamOf(token);
    this.#drop(stream, request.id);
    const missed = missedBy(request, tree);
    if (missed !== undefined) {
      append(stream, request.id, missed.kind, missed.index);
      return;
    }
    if (stream.watches.size >= WATCHES_MAX || this.#count >= WATCHES_TOTAL_MAX) {
      throw new SextantError('OVERLOADED', `${stream.watches.size} watches are set`);
    }
    const watch: Watch = { stream, request };
    stream.watches.set(request.id, watch);
    const atPath = this.#byPath.get(request.path);
    if (atPath === undefined) this.#byPath.set(request.path, new Set([watch]));
    else atPath.add(watch);
    this.#count++;
  }

  unset(token: number, id: number): void {
    const stream = this.#streams.get(token);
    if (stream !== undefined) this.#drop(stream, id);
  }

  /** The tokens for which something fired; each once. */
  fire(events: readonly TreeEvent[]): Set<number> {
    const touched = new Set<number>();
    for (const event of events) {
      const parent = event.kind === 'changed' || event.path === '/' ? '' : parentOf(event.path);
      this.#fireAt(event.path, event.kind, event.index, touched);
      if (parent !== '') this.#fireAt(parent, 'children', event.index, touched);
    }
    return touched;
  }

  /** What the clerk has not seen; what it has is dropped. */
  unseen(token: number, state: WatchState): WatchEvents {
    const stream = this.#streams.get(token);
    if (stream === undefined) return NO_EVENTS;
    if (state.stream === stream.id) {
      stream.events = stream.events.filter((event) => event.number > state.seen);
    }
    return { stream: stream.id, events: stream.events };
  }

  /** Those behind number `pushed`. */
  newest(token: number, pushed: number): WatchEvents {
    const stream = this.#streams.get(token);
    if (stream === undefined) return NO_EVENTS;
    const events = stream.events.filter((event) => event.number > pushed);
    return { stream: stream.id, events };
  }

  /** The clerk's connection or session is over. */
  forget(token: number): void {
    const stream = this.#streams.get(token);
    if (stream === undefined) return;
    for (const id of stream.watches.keys()) this.#drop(stream, id);
    this.#streams.delete(token);
  }

  clear(): void {
    this.#streams.clear();
    this.#byPath.clear();
    this.#count = 0;
  }

  #streamOf(token: number): Stream {
    let stream = this.#streams.get(token);
    if (stream === undefined) {
      stream = { token, id: this.#nextStream(), number: 0, events: [], watches: new Map() };
      this.#streams.set(token, stream);
    }
    return stream;
  }

  #fireAt(path: string, kind: EventKind, index: number, touched: Set<number>): void {
    const atPath = this.#byPath.get(path);
    if (atPath === undefined) return;
    for (const watch of atPath) {
      if (!concerns(watch.request, kind)) continue;
      const { stream, request } = watch;
      this.#drop(stream, request.id);
      append(stream, request.id, kind, index);
      touched.add(stream.token);
    }
  }

  #drop(stream: Stream, id: number): void {
    const watch = stream.watches.get(id);
    if (watch === undefined) return;
    stream.watches.delete(id);
    this.#count--;
    const { path } = watch.request;
    const atPath = this.#byPath.get(path);
    atPath?.delete(watch);
    if (atPath?.size === 0) this.#byPath.delete(path);
  }
}

function append(stream: Stream, watch: number, kind: EventKind, index: number): void {
  stream.number++;
  stream.events.push({ number: stream.number, watch, kind, index });
}

function concerns(request: WatchRequest, event: EventKind): boolean {
  switch (event) {
    case 'created':
    case 'deleted':
      return true;
    case 'changed':
      return request.kind === 'data';
    case 'children':
      return request.kind === 'children';
  }
}

/** What has happened since the clerk looked, if anything. */
function missedBy(
  request: WatchRequest,
  tree: CoordinationTree,
): { kind: EventKind; index: number } | undefined {
  const { kind, since, present } = request;
  const node = tree.stateOf(request.path);
  if (node === undefined)
    return present ? { kind: 'deleted', index: tree.changedIndex } : undefined;
  const { createdIndex, changedIndex, childrenIndex } = node;
  if (!present) return { kind: 'created', index: createdIndex };
  // Another node of the same name: the one that was seen is gone.
  if (createdIndex > since) return { kind: 'deleted', index: createdIndex };
  if (kind === 'data' && changedIndex > since) return { kind: 'changed', index: changedIndex };
  if (kind === 'children' && childrenIndex > since) {
    return { kind: 'children', index: childrenIndex };
  }
  return undefined;
}
