/** An ephemeral sequential node as a place in a line: how a candidate or a request for a lock makes, watches and gives up its own. */
import { SextantError, isSextantError } from '#core/errors.js';
import { childOf, nameOf, parentOf, sequenceOf } from '../../coordination/paths.js';
import type { Coordination, NodeData } from './coordination.js';
import { cancelled, lostError, onAbort } from './transport.js';
import type { ExistenceView } from './views.js';

/** An ephemeral node of one's own, until it is deleted by its owner or by another, or the session ends. */
export class OwnNode {
  readonly path: string;
  readonly #coordination: Coordination;
  readonly #lost = new AbortController();
  readonly #stop = new AbortController();
  readonly #forget: () => void;

  constructor(coordination: Coordination, path: string) {
    this.#coordination = coordination;
    this.path = path;
    this.#forget = onAbort(coordination.lost, () => this.#lost.abort(lostError(coordination.lost)));
    if (coordination.lost.aborted) this.#lost.abort(lostError(coordination.lost));
  }

  /** Aborted when the node is gone, whoever deleted it, and when the session has ended; the reason is the error. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Watches the node from what `seen` shows on. */
  watch(seen: ExistenceView): void {
    const gone = (): void => this.#end(new SextantError('NOT_FOUND', `${this.path} was deleted`));
    // Of another owner: it was replaced.
    if (seen.stat?.owner !== this.#coordination.token) {
      gone();
      return;
    }
    seen.changed({ signal: this.#stop.signal }).then(gone, () => undefined);
  }

  /** Deletes it; resolves when it is gone. Rejects with LEASE_LOST: it then goes with the session. */
  async remove(): Promise<void> {
    this.#end(new SextantError('CLOSED', `${this.path} was given up`));
    try {
      await this.#coordination.delete(this.path);
    } catch (error) {
      if (!isSextantError(error, 'NOT_FOUND')) throw error;
    }
  }

  #end(error: SextantError): void {
    this.#forget();
    this.#stop.abort();
    this.#lost.abort(error);
  }
}

/** Makes it; as `unlessAborted`. */
export function standInLine(
  coordination: Coordination,
  prefix: string,
  data: NodeData,
  signal: AbortSignal | undefined,
): Promise<OwnNode> {
  if (signal?.aborted === true) return Promise.reject(cancelled());
  const creation = coordination.create(prefix, data, { ephemeral: true, sequential: true });
  return unlessAborted(
    creation.then(({ path }) => new OwnNode(coordination, path)),
    signal,
  );
}

/** When the signal aborts before the node is made, CANCELLED, and what is made later is deleted again. */
export async function unlessAborted(
  creation: Promise<OwnNode>,
  signal: AbortSignal | undefined,
): Promise<OwnNode> {
  const aborted = new Promise<'aborted'>((resolve) => {
    if (signal?.aborted === true) resolve('aborted');
    const forget = onAbort(signal, () => resolve('aborted'));
    creation.then(forget, forget);
  });
  const first = await Promise.race([aborted, creation]);
  if (first !== 'aborted') return first;
  void creation.then(giveUp, () => undefined);
  throw cancelled();
}

/** Best effort: with the session over, the node goes by itself. */
export async function giveUp(node: OwnNode): Promise<void> {
  await node.remove().catch(() => undefined);
}

/** Of a candidate's node in the line. */
export interface Place {
  readonly name: string;
  readonly counter: number;
}

/** Children that are candidates, first come first. Other nodes are left alone. */
export function line(names: readonly string[], belongs: (name: string) => boolean): Place[] {
  const places: Place[] = [];
  for (const name of names) {
    const counter = sequenceOf(name);
    if (counter !== undefined && belongs(name)) places.push({ name, counter });
  }
  return places.toSorted((a, b) => a.counter - b.counter);
}

export interface TurnRules {
  readonly signal: AbortSignal | undefined;
  /** Whether a node of the folder is one of the line. */
  readonly belongs: (name: string) => boolean;
  /** Whether one that is before must go first. */
  readonly blocks: (name: string) => boolean;
  /** With the first of the line, each time it looks. */
  readonly onWait?: (first: string) => Promise<void>;
}

/** Resolves once nobody before the node blocks it; watches one node at a time, the nearest that does. */
export async function waitForTurn(
  coordination: Coordination,
  node: OwnNode,
  rules: TurnRules,
): Promise<void> {
  const { signal, belongs, blocks } = rules;
  const waits = signal === undefined ? {} : { signal };
  const own = nameOf(node.path);
  const parent = parentOf(node.path);
  let children = coordination.children(parent, waits);
  // Asked for at the same time; its failure is met below.
  children.catch(() => undefined);
  node.watch(await coordination.exists(node.path, waits));
  for (;;) {
    const places = line((await children).names, belongs);
    const at = places.findIndex(({ name }) => name === own);
    if (at < 0 || node.lost.aborted) throw lostReason(node);
    const before = places.slice(0, at).findLast(({ name }) => blocks(name));
    if (before === undefined) return;
    await rules.onWait?.((places[0] as Place).name);
    const seen = await coordination.exists(childOf(parent, before.name), waits);
    if (seen.exists) await firstOf(seen, node, signal);
    children = coordination.children(parent, waits);
  }
}

/** The one before is gone, or this one is, or the caller has had enough. */
async function firstOf(
  seen: ExistenceView,
  node: OwnNode,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  const forgets = [onAbort(signal, end), onAbort(node.lost, end)];
  try {
    if (node.lost.aborted || signal?.aborted === true) end();
    await seen.changed({ signal: stop.signal });
  } catch (error) {
    throw node.lost.aborted ? lostReason(node) : error;
  } finally {
    for (const forget of forgets) forget();
  }
}

function lostReason(node: OwnNode): SextantError {
  const { reason } = node.lost as { reason: unknown };
  if (reason instanceof SextantError) return reason;
  return new SextantError('NOT_FOUND', `${node.path} was deleted`);
}
