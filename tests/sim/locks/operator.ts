/** An operator's machine in the simulation: asks servers for their status and changes the group's members. */
import {
  EMPTY_JSON,
  changeMembersRequest,
  helloRequest,
  lockServerStatus,
} from '#lockservice/protocol/control-codec.js';
import {
  MessageType,
  PROTOCOL_VERSION,
  type ChangeMembersRequest,
  type LockServerStatus,
} from '#lockservice/protocol/messages.js';
import { isSextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';

const TIMEOUT_MS = 5000;
const RETRY_MS = 300;

export class Operator {
  readonly #world: World;
  readonly #cluster: string;
  readonly #clients = new Map<string, RpcClient>();

  constructor(world: World, cluster: string) {
    this.#world = world;
    this.#cluster = cluster;
  }

  async status(address: string): Promise<LockServerStatus> {
    const answer = await this.#client(address).call(MessageType.status, EMPTY_JSON, {
      timeoutMs: TIMEOUT_MS,
    });
    return lockServerStatus.decode(answer);
  }

  /** Asks one after the other until the leader has done it; false when it stays refused. */
  async changeMembers(
    addresses: () => readonly string[],
    request: ChangeMembersRequest,
    attempts: number,
  ): Promise<boolean> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      for (const address of addresses()) {
        try {
          const body = changeMembersRequest.encode(request);
          const options = { timeoutMs: 40_000 };
          await this.#client(address).call(MessageType.changeMembers, body, options);
          return true;
        } catch (error) {
          // Done by an earlier attempt whose answer was lost.
          if (isSextantError(error, 'NOT_FOUND')) return request.remove !== undefined;
          if (!isSextantError(error)) throw error;
        }
      }
      await this.#world.timers.sleep(RETRY_MS);
    }
    return false;
  }

  #client(address: string): RpcClient {
    let client = this.#clients.get(address);
    if (client === undefined) {
      client = new RpcClient(this.#world, address, {
        hello: () => ({
          type: MessageType.hello,
          body: helloRequest.encode({
            protocol: PROTOCOL_VERSION,
            cluster: this.#cluster,
            role: 'tool',
          }),
        }),
        backoffMaxMs: 500,
      });
      this.#clients.set(address, client);
    }
    return client;
  }
}
