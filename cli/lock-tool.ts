/** What the commands ask lock servers: a connection to each, and the leader wherever it is. */
import { SextantError, isSextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import * as codec from '#lockservice/protocol/control-codec.js';
import { MessageType, PROTOCOL_VERSION } from '#lockservice/protocol/messages.js';
import type {
  ChangeMembersRequest,
  ListLocksAnswer,
  ListLocksRequest,
  LockServerStatus,
} from '#lockservice/protocol/messages.js';
import type { ClusterConfig, LockServerConfig } from './config.js';

const TIMEOUT_MS = 2000;
const CHANGE_MS = 45_000;

export class LockTool {
  readonly #world: World;
  readonly #cluster: string;
  readonly servers: readonly LockServerConfig[];

  constructor(world: World, config: ClusterConfig) {
    this.#world = world;
    this.#cluster = config.cluster;
    this.servers = config.lockServers;
  }

  async status(server: LockServerConfig): Promise<LockServerStatus> {
    const answer = await this.#ask(server, MessageType.status, codec.EMPTY_JSON);
    return codec.lockServerStatus.decode(answer);
  }

  async list(server: LockServerConfig, request: ListLocksRequest): Promise<ListLocksAnswer> {
    const body = codec.listLocksRequest.encode(request);
    return codec.listLocksAnswer.decode(await this.#ask(server, MessageType.listLocks, body));
  }

  /** Asks one after the other until the leader has done it. */
  async changeMembers(request: ChangeMembersRequest): Promise<void> {
    const body = codec.changeMembersRequest.encode(request);
    let last: unknown = new SextantError('NOT_FOUND', 'there are no lock servers');
    for (const server of this.servers) {
      try {
        await this.#ask(server, MessageType.changeMembers, body, CHANGE_MS);
        return;
      } catch (error) {
        last = error;
        if (!isSextantError(error) || !['NOT_LEADER', 'DISCONNECTED'].includes(error.code)) break;
      }
    }
    throw last;
  }

  async #ask(
    server: LockServerConfig,
    type: number,
    body: Uint8Array,
    timeoutMs = TIMEOUT_MS,
  ): Promise<Uint8Array> {
    const hello = codec.helloRequest.encode({
      protocol: PROTOCOL_VERSION,
      cluster: this.#cluster,
      server: server.id,
      role: 'tool',
    });
    const client = new RpcClient(this.#world, server.address, {
      hello: () => ({ type: MessageType.hello, body: hello }),
    });
    try {
      return await client.call(type, body, { timeoutMs });
    } finally {
      client.close();
    }
  }
}

export type ListedClerk = LockServerStatus['clerks'][number];

/** What the leader knows of the clerks, or else whoever answers. Rejects with DISCONNECTED when nobody does. */
export async function collectClerks(
  world: World,
  config: ClusterConfig,
): Promise<readonly ListedClerk[]> {
  const tool = new LockTool(world, config);
  const answers = await Promise.allSettled(tool.servers.map((server) => tool.status(server)));
  const found = answers.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const best = found.find(({ state }) => state === 'leader') ?? found[0];
  if (best === undefined) throw new SextantError('DISCONNECTED', 'no lock server answers');
  return best.clerks;
}
