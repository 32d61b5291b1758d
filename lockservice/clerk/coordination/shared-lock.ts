/**
 * A fair lock on a path, shared or exclusive, without herd effect (Hunt et al., section 2.4): requests stand in one line; an
 * exclusive one waits for the request before it, a shared one for the exclusive request before it. Whoever goes wakes those
 * that waited for it and nobody else.
 *
 * For few, long-held locks: each costs several rounds through Raft. The lock tables of a clerk are the fast ones.
 */
import { childOf } from '../../coordination/paths.js';
import type { Coordination, NodeData } from './coordination.js';
import { type OwnNode, giveUp, standInLine, waitForTurn } from './own-node.js';

const SHARED = 'shared-';
const EXCLUSIVE = 'exclusive-';

export interface LockPathOptions {
  readonly data?: NodeData;
  readonly signal?: AbortSignal;
}

export class HeldPath {
  readonly mode: 'shared' | 'exclusive';
  readonly #node: OwnNode;

  constructor(node: OwnNode, mode: 'shared' | 'exclusive') {
    this.#node = node;
    this.mode = mode;
  }

  get path(): string {
    return this.#node.path;
  }

  /** Aborted once it is not held any more: released, its node deleted by another, its session ended. */
  get lost(): AbortSignal {
    return this.#node.lost;
  }

  async release(): Promise<void> {
    if (!this.lost.aborted) await this.#node.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Resolves once held. Rejects with CANCELLED, LEASE_LOST, and NOT_FOUND when somebody deleted the request's node. */
export async function lockPath(
  coordination: Coordination,
  path: string,
  mode: 'shared' | 'exclusive',
  options: LockPathOptions = {},
): Promise<HeldPath> {
  const { data = '', signal } = options;
  await coordination.ensure(path, signal === undefined ? {} : { signal });
  const prefix = childOf(path, mode === 'shared' ? SHARED : EXCLUSIVE);
  const node = await standInLine(coordination, prefix, data, signal);
  try {
    await waitForTurn(coordination, node, {
      signal,
      belongs: (name) => name.startsWith(SHARED) || name.startsWith(EXCLUSIVE),
      blocks: (name) => mode === 'exclusive' || name.startsWith(EXCLUSIVE),
    });
    return new HeldPath(node, mode);
  } catch (error) {
    await giveUp(node);
    throw error;
  }
}
