/**
 * What a read of the coordination tree shows: the state as of one index, and how to wait for the next one.
 *
 * ```ts
 * let settings = await coordination.get('/settings');
 * for (;;) {
 *   use(settings.text);
 *   await settings.changed({ signal });       // also when it changed before this call
 *   settings = await coordination.get('/settings');
 * }
 * ```
 */
import type { NodeStat, WatchKind } from '../../coordination/messages.js';
import type { NodeEvent } from './watch-registry.js';

export interface WaitOptions {
  readonly signal?: AbortSignal;
}

/** Waits for the first event after what a view shows. */
export type WaitFor = (
  what: { kind: WatchKind; path: string; present: boolean; since: number },
  signal?: AbortSignal,
) => Promise<NodeEvent>;

abstract class View {
  readonly path: string;
  /** Raft index of the last write that it shows. */
  readonly index: number;
  readonly #kind: WatchKind;
  readonly #present: boolean;
  readonly #wait: WaitFor;

  constructor(path: string, index: number, kind: WatchKind, present: boolean, wait: WaitFor) {
    this.path = path;
    this.index = index;
    this.#kind = kind;
    this.#present = present;
    this.#wait = wait;
  }

  /**
   * Resolves with the first change of it after what this view shows, at once when that has happened already. Rejects
   * with CANCELLED, LEASE_LOST, OVERLOADED (10,000 are waited for).
   */
  changed(options: WaitOptions = {}): Promise<NodeEvent> {
    const what = { kind: this.#kind, path: this.path, present: this.#present, since: this.index };
    return this.#wait(what, options.signal);
  }

  /**
   * The same as a callback, called at most once; the result takes it back. It is not called when the session ends: for
   * that there is `coordination.lost`.
   */
  onChange(listener: (event: NodeEvent) => void): () => void {
    const abort = new AbortController();
    this.changed({ signal: abort.signal }).then(listener, () => undefined);
    return () => abort.abort();
  }
}

/** `changed` waits for another data, or the deletion. */
export class NodeView extends View {
  readonly data: Uint8Array;
  readonly stat: NodeStat;

  constructor(path: string, index: number, stat: NodeStat, data: Uint8Array, wait: WaitFor) {
    super(path, index, 'data', true, wait);
    this.stat = stat;
    this.data = data;
  }

  /** The data as UTF-8. */
  get text(): string {
    return new TextDecoder().decode(this.data);
  }
}

/** `changed` waits for the creation of a node that is not there, and for the deletion of one that is. */
export class ExistenceView extends View {
  readonly stat: NodeStat | null;

  constructor(path: string, index: number, stat: NodeStat | null, wait: WaitFor) {
    super(path, index, 'existence', stat !== null, wait);
    this.stat = stat;
  }

  get exists(): boolean {
    return this.stat !== null;
  }
}

/** `changed` waits for a child that comes or goes, or the node's own deletion. */
export class ChildrenView extends View {
  /** Sorted. */
  readonly names: readonly string[];
  readonly stat: NodeStat;

  constructor(
    path: string,
    index: number,
    stat: NodeStat,
    names: readonly string[],
    wait: WaitFor,
  ) {
    super(path, index, 'children', true, wait);
    this.stat = stat;
    this.names = names;
  }
}
