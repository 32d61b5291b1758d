/**
 * The engine's connection to one storage node: an RpcClient that says who we are, and what is known of
 * the node's speed. Driver code.
 */
import type { NodeId } from '#core/ids.js';
import type { RpcClient } from '#core/rpc/client.js';
import { SmoothedLatency } from '#core/rpc/smoothed-latency.js';
import type { World } from '#core/world/world.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';
import { connectToNode } from '#storage-nodes/protocol/node-client.js';

/** Past it a node is a laggard: boxcars are held back until it has caught up (rule 5). */
const QUEUED_BYTES_MAX = 8 * 1024 * 1024;
const ESTIMATE_MS_FIRST = 1;

export class NodeLink {
  readonly id: NodeId;
  readonly address: NodeAddress;
  readonly rpc: RpcClient;
  sentBytes = 0;
  readsInFlight = 0;
  /** Of page reads. */
  readonly #latency = new SmoothedLatency();

  constructor(
    world: World,
    clusterId: string,
    address: NodeAddress,
    peers: readonly NodeAddress[],
  ) {
    this.id = address.id as NodeId;
    this.address = address;
    this.rpc = connectToNode(
      world,
      clusterId,
      address,
      { role: 'engine', peers },
      { maxQueuedBytes: QUEUED_BYTES_MAX },
    );
  }

  get up(): boolean {
    return this.rpc.state === 'up';
  }

  push(type: number, body: Uint8Array, crc?: number): boolean {
    if (!this.rpc.push(type, body, crc)) return false;
    this.sentBytes += body.length;
    return true;
  }

  call(type: number, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    this.sentBytes += body.length;
    return this.rpc.call(type, body, { timeoutMs });
  }

  /** How long a page read is expected to take, those under way included. */
  get readEstimateMs(): number {
    const once = this.#latency.ms > 0 ? this.#latency.ms : this.rpc.rttMs || ESTIMATE_MS_FIRST;
    return once * (1 + this.readsInFlight);
  }

  /** After so long a read is late: a second segment is asked. */
  get readLateMs(): number {
    return this.#latency.lateMs(this.readEstimateMs);
  }

  /** A read took `ms`, or failed after it, which counts twice. */
  measured(ms: number): void {
    this.#latency.add(ms);
  }
}
