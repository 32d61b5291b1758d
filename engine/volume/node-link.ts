/**
 * The engine's connection to one storage node: an RpcClient that says who we are, and what is known of
 * the node's speed. Driver code.
 */
import { SextantError } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { helloAnswer, helloRequest } from '#storage-nodes/protocol/codec-json.js';
import {
  MessageType,
  PROTOCOL_VERSION,
  type NodeAddress,
} from '#storage-nodes/protocol/messages.js';

/** Past it a node is a laggard: boxcars are held back until it has caught up (rule 5). */
const QUEUED_BYTES_MAX = 8 * 1024 * 1024;
const ESTIMATE_MS_FIRST = 1;

export class NodeLink {
  readonly id: NodeId;
  readonly address: NodeAddress;
  readonly rpc: RpcClient;
  sentBytes = 0;
  readsInFlight = 0;
  /** Smoothed duration of page reads, and their mean deviation. */
  readMs = 0;
  readDeviationMs = 0;

  constructor(
    world: World,
    clusterId: string,
    address: NodeAddress,
    peers: readonly NodeAddress[],
  ) {
    this.id = address.id as NodeId;
    this.address = address;
    const hello = helloRequest.encode({
      protocol: PROTOCOL_VERSION,
      cluster: clusterId,
      node: address.id,
      role: 'engine',
      peers,
    });
    this.rpc = new RpcClient(world, address.address, {
      hello: () => ({ type: MessageType.hello, body: hello }),
      onHello: (answer) => {
        const { cluster, node } = helloAnswer.decode(answer);
        if (cluster === clusterId && node === address.id) return;
        throw new SextantError(
          'WRONG_CLUSTER',
          `${address.address} is node ${node} of cluster ${cluster}`,
        );
      },
      maxQueuedBytes: QUEUED_BYTES_MAX,
    });
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
    const once = this.readMs > 0 ? this.readMs : this.rpc.rttMs || ESTIMATE_MS_FIRST;
    return once * (1 + this.readsInFlight);
  }

  /** After so long a read is late: a second segment is asked. */
  get readLateMs(): number {
    return Math.max(2, 3 * this.readEstimateMs, this.readMs + 4 * this.readDeviationMs);
  }

  /** A read took `ms`, or failed after it, which counts twice. */
  measured(ms: number): void {
    if (this.readMs === 0) {
      this.readMs = ms;
      this.readDeviationMs = ms / 2;
      return;
    }
    this.readDeviationMs += (Math.abs(ms - this.readMs) - this.readDeviationMs) / 8;
    this.readMs += (ms - this.readMs) / 8;
  }
}
