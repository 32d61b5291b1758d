/**
 * Leader election (Hunt et al., section 2.4, as a lock that is held for long): each candidate has an ephemeral
 * sequential node, the lowest is elected, and each of the others watches only the one before it. One that goes wakes one.
 *
 * ```
 * path/n-0000000003   elected
 * path/n-0000000004   watches ...3
 * path/n-0000000007   watches ...4
 * ```
 */
import { childOf, parentOf } from '../../coordination/paths.js';
import type { Coordination, NodeData } from './coordination.js';
import { type OwnNode, giveUp, standInLine, waitForTurn } from './own-node.js';
import type { NodeView } from './views.js';

const PREFIX = 'n-';

export interface ElectOptions {
  /** What others see of the candidate; default empty. */
  readonly data?: NodeData;
  /** Gives the candidature up: CANCELLED. After the election it has no effect. */
  readonly signal?: AbortSignal;
  /** Somebody else is elected: called at first, and whenever another one is. */
  readonly onWait?: (elected: NodeView | null) => void;
}

export class Elected {
  readonly #node: OwnNode;

  constructor(node: OwnNode) {
    this.#node = node;
  }

  get path(): string {
    return this.#node.path;
  }

  /**
   * Aborted once it is no longer elected: it resigned, its node was deleted, its session ended. As far as this client
   * knows: nobody else is elected before the session's lease has ended, or the node was deleted on purpose.
   */
  get lost(): AbortSignal {
    return this.#node.lost;
  }

  get elected(): boolean {
    return !this.lost.aborted;
  }

  /** Lets the next one be elected. Does nothing when it is lost already. */
  async resign(): Promise<void> {
    if (this.elected) await this.#node.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resign();
  }
}

/**
 * Becomes a candidate below `path` (made when it is not there) and resolves once elected. Rejects with CANCELLED,
 * LEASE_LOST, and NOT_FOUND when somebody deleted the candidate's node.
 */
export async function elect(
  coordination: Coordination,
  path: string,
  options: ElectOptions = {},
): Promise<Elected> {
  const { data = '', signal, onWait } = options;
  await coordination.ensure(path, signal === undefined ? {} : { signal });
  const node = await standInLine(coordination, childOf(path, PREFIX), data, signal);
  return awaitElection(coordination, node, signal, onWait);
}

/** Of a candidate that stands in line: resolves once it is the first. */
async function awaitElection(
  coordination: Coordination,
  node: OwnNode,
  signal: AbortSignal | undefined,
  onWait: ElectOptions['onWait'],
): Promise<Elected> {
  const parent = parentOf(node.path);
  let shown: string | undefined;
  try {
    await waitForTurn(coordination, node, {
      signal,
      belongs: (name) => name.startsWith(PREFIX),
      blocks: () => true,
      onWait: async (first) => {
        if (onWait === undefined || first === shown) return;
        shown = first;
        const { nodes } = await coordination.readAll([childOf(parent, first)]);
        onWait(nodes[0] ?? null);
      },
    });
    return new Elected(node);
  } catch (error) {
    await giveUp(node);
    throw error;
  }
}
