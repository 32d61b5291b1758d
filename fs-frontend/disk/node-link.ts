/** The connection of a disk's client to one storage node, and what is known of the node's speed. Driver code. */
import { SextantError } from '#core/errors.js';
import type { RpcClient } from '#core/rpc/client.js';
import { SmoothedLatency } from '#core/rpc/smoothed-latency.js';
import type { World } from '#core/world/world.js';
import { MessageType, type NodeAddress } from '#storage-nodes/protocol/messages.js';
import { connectToNode } from '#storage-nodes/protocol/node-client.js';

/** Of calls without an answer: past it a node is a laggard, and left out until it has caught up. */
const PENDING_BYTES_MAX = 32 * 1024 * 1024;
const ESTIMATE_MS_FIRST = 1;

export class NodeLink {
  readonly address: NodeAddress;
  readonly #world: World;
  readonly #rpc: RpcClient;
  #pendingBytes = 0;
  #pending = 0;
  /** Of reads. */
  readonly #latency = new SmoothedLatency();

  constructor(
    world: World,
    clusterId: string,
    address: NodeAddress,
    peers: readonly NodeAddress[],
  ) {
    this.#world = world;
    this.address = address;
    this.#rpc = connectToNode(
      world,
      clusterId,
      address,
      { role: 'tool', peers },
      { maxQueuedBytes: PENDING_BYTES_MAX, backoffMaxMs: 500 },
    );
  }

  get up(): boolean {
    return this.#rpc.state === 'up';
  }

  /** How long a read is expected to take, those under way included. */
  get estimateMs(): number {
    const once = this.#latency.ms > 0 ? this.#latency.ms : this.#rpc.rttMs || ESTIMATE_MS_FIRST;
    return once * (1 + this.#pending / 4) + (this.up ? 0 : 1000);
  }

  /** After so long a read is late: another node is asked. */
  get lateMs(): number {
    return this.#latency.lateMs(this.estimateMs);
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
      if (type === MessageType.blockRead)
        this.#latency.add(this.#world.clock.monotonicMs() - startMs);
      return answer;
    } finally {
      this.#pendingBytes -= body.length;
      this.#pending--;
    }
  }

  close(): void {
    this.#rpc.close();
  }
}
