/**
 * Where a new lock service begins its tokens: a register on the storage nodes, so that one which is made anew over the same
 * storage can never give out a token that was given out before, and fenced.
 *
 * Key `lockservice/generation`, value JSON `{"generation": n, "taker": "<random>"}`. Its acceptors are the six nodes of sextant.json.
 */
import { SextantError } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import { stableMembership } from '#core/quorum/quorum-set.js';
import { jsonCodec, lsn, object, text } from '#core/rpc/shape.js';
import type { World } from '#core/world/world.js';
import { NodeLink } from '#engine/volume/node-link.js';
import { RegisterClient } from '#engine/volume/register-client.js';
import type { TokenFloor } from '#lockservice/server/options.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';

const KEY = 'lockservice/generation';
const ROUND_MS = 5000;

interface Generation {
  readonly generation: number;
  /** Which call made it: a change may run more than once. */
  readonly taker: string;
}

const generationCodec = jsonCodec(
  'token generation register',
  object<Generation>({ generation: lsn, taker: text }),
);

export class RegisterTokenFloor implements TokenFloor {
  readonly #world: World;
  readonly #cluster: string;
  readonly #nodes: readonly NodeAddress[];

  constructor(world: World, cluster: string, nodes: readonly NodeAddress[]) {
    this.#world = world;
    this.#cluster = cluster;
    this.#nodes = nodes;
  }

  /** Rejects with NO_QUORUM while too few storage nodes answer. */
  async takeGeneration(): Promise<number> {
    const nodes = this.#nodes;
    const links = nodes.map((node) => new NodeLink(this.#world, this.#cluster, node, nodes));
    try {
      const byId = new Map(links.map((link) => [link.id, link]));
      const register = new RegisterClient(this.#world, byId, KEY);
      const acceptors = stableMembership(nodes.map((node) => node.id as NodeId));
      const taker = Buffer.from(this.#world.random.bytes(8)).toString('hex');
      const decided = await register.change(acceptors, (current) => next(current, taker), ROUND_MS);
      if (decided === null) throw new SextantError('INTERNAL', `register ${KEY} is empty`);
      const { generation, taker: winner } = generationCodec.decode(decided);
      if (winner === taker) return generation;
      throw new SextantError('CONFLICT', `another took generation ${generation} at the same time`);
    } finally {
      for (const link of links) link.rpc.close();
    }
  }
}

function next(current: Uint8Array | null, taker: string): Uint8Array {
  const was = current === null ? { generation: 0, taker: '' } : generationCodec.decode(current);
  if (current !== null && was.taker === taker) return current;
  return generationCodec.encode({ generation: was.generation + 1, taker });
}
