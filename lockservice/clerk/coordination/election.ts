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
import { isSextantError } from '#core/errors.js';
import { childOf, parentOf } from '../../coordination/paths.js';
import type { Coordination, NodeData } from './coordination.js';
import { OwnNode, giveUp, line, standInLine, unlessAborted, waitForTurn } from './own-node.js';
import type { NodeView, WaitOptions } from './views.js';

const PREFIX = 'n-';
/** So many are looked at. */
const CANDIDATES_MAX = 1000;
const isCandidate = (name: string): boolean => name.startsWith(PREFIX);

export interface ElectOptions {
  /** What others see of the candidate; default empty. */
  readonly data?: NodeData;
  /** Gives the candidature up: CANCELLED. After the election it has no effect. */
  readonly signal?: AbortSignal;
  /**
   * A candidate that this one follows, as a process follows its own earlier life: it takes over that one's node, place in
   * the line included, and other candidates for which this is true are removed. The one replaced loses its election.
   */
  readonly replaces?: (candidate: NodeView) => boolean;
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
  const { data = '', signal, onWait, replaces } = options;
  const node =
    (replaces && (await takeOver(coordination, path, data, replaces, signal))) ??
    (await enter(coordination, path, data, signal));
  return awaitElection(coordination, node, signal, onWait);
}

/** The line below `path`, the elected one first; empty when there is no such path. */
export async function candidates(
  coordination: Coordination,
  path: string,
  options: WaitOptions = {},
): Promise<NodeView[]> {
  let names: readonly string[];
  try {
    ({ names } = await coordination.children(path, options));
  } catch (error) {
    if (isSextantError(error, 'NOT_FOUND')) return [];
    throw error;
  }
  const places = line(names, isCandidate).slice(0, CANDIDATES_MAX);
  const paths = places.map(({ name }) => childOf(path, name));
  const { nodes } = await coordination.readAll(paths, options);
  return nodes.filter((node) => node !== null);
}

async function enter(
  coordination: Coordination,
  path: string,
  data: NodeData,
  signal: AbortSignal | undefined,
): Promise<OwnNode> {
  const prefix = childOf(path, PREFIX);
  try {
    return await standInLine(coordination, prefix, data, signal);
  } catch (error) {
    if (!isSextantError(error, 'NOT_FOUND')) throw error;
  }
  await coordination.ensure(path, signal === undefined ? {} : { signal });
  return standInLine(coordination, prefix, data, signal);
}

/** undefined: there is nobody to follow. */
async function takeOver(
  coordination: Coordination,
  path: string,
  data: NodeData,
  replaces: (candidate: NodeView) => boolean,
  signal: AbortSignal | undefined,
): Promise<OwnNode | undefined> {
  for (;;) {
    const waits = signal === undefined ? {} : { signal };
    const [seat, ...others] = (await candidates(coordination, path, waits)).filter(replaces);
    if (seat === undefined) return undefined;
    try {
      const made = coordination.multi([
        ...[seat, ...others].map((node) => ({ op: 'delete', path: node.path }) as const),
        { op: 'create', path: seat.path, data, ephemeral: true },
      ]);
      const node = made.then(() => new OwnNode(coordination, seat.path));
      return await unlessAborted(node, signal);
    } catch (error) {
      // One of them went meanwhile: look again.
      if (!isSextantError(error, 'NOT_FOUND')) throw error;
    }
  }
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
      belongs: isCandidate,
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
