/** The connection of a disk's client to one storage node, and what is known of the node's speed. Driver code. */
import { SextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { helloAnswer, helloRequest } from '#storage-nodes/protocol/codec-json.js';
import {
  MessageType,
  PROTOCOL_VERSION,
  type NodeAddress,
} from '#storage-nodes/protocol/messages.js';

/** Of calls without an answer: past it a node is a laggard, and left out until it has caught up. */
const PENDING_BYTES_MAX = 32 * 1024 * 1024;
const ESTIMATE_MS_FIRST = 1;
const LATE_MS_MIN = 2;

export class NodeLink {
  readonly address: NodeAddress;
  readonly #world: World;
  readonly #rpc: RpcClient;
  #pendingBytes = 0;
  #pending = 0;
  /** Smoothed duration of reads, and their mean deviation. */
  #ms = 0;
  #deviationMs = 0;

  constructor(
    world: World,
    clusterId: string,
    address: NodeAddress,
    peers: readonly NodeAddress[],
  ) {
    this.#world = world;
    this.address = address;
    const hello = helloRequest.encode({
      protocol: PROTOCOL_VERSION,
      cluster: clusterId,
      node: address.id,
      role: 'tool',
      peers,
    });
    this.#rpc = new RpcClient(world, address.address, {
      hello: () => ({ type: MessageType.hello, body: hello }),
      onHello: (answer) => {
        const { cluster, node } = helloAnswer.decode(answer);
        if (cluster === clusterId && node === address.id) return;
        throw new SextantError(
          'WRONG_CLUSTER',
          `${address.address} is node ${node} of cluster ${cluster}`,
        );
      },
      maxQueuedBytes: PENDING_BYTES_MAX,
      backoffMaxMs: 500,
    });
  }

  get up(): boolean {
    return this.#rpc.state === 'up';
  }

  /** How long a read is expected to take, those under way included. */
  get estimateMs(): number {
    const once = this.#ms > 0 ? this.#ms : this.#rpc.rttMs || ESTIMATE_MS_FIRST;
    return once * (1 + this.#pending / 4) + (this.up ? 0 : 1000);
  }

  /** After so long a read is late: another node is asked. */
  get lateMs(): number {
    return Math.max(LATE_MS_MIN, 3 * this.estimateMs, this.#ms + 4 * this.#deviationMs);
  }

  /** Rejects as RpcClient.call does. `body` must not change until it settles. */
  async call(type: number, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#pendingBytes > PENDING_BYTES_MAX) {
      throw new SextantError('OVERLOADED', `${this.address.id} lags behind`);
    }
    const startMs = this.#world.clock.monotonicMs();
    this.#pendingBytes += body.length;
    this.#pending++;
    try {
      const answer = await this.#rpc.call(type, body, { timeoutMs });
      if (type === MessageType.blockRead) this.#measured(startMs);
      return answer;
    } finally {
      this.#pendingBytes -= body.length;
      this.#pending--;
    }
  }

  #measured(startMs: number): void {
    const ms = this.#world.clock.monotonicMs() - startMs;
    if (this.#ms === 0) {
      this.#ms = ms;
      this.#deviationMs = ms / 2;
      return;
    }
    this.#deviationMs += (Math.abs(ms - this.#ms) - this.#deviationMs) / 8;
    this.#ms += (ms - this.#ms) / 8;
  }

  close(): void {
    this.#rpc.close();
  }
}
