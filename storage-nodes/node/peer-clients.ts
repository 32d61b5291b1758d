/** Connections to the other nodes, made when first needed and kept. */
import { SextantError } from '#core/errors.js';
import type { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import type { NodeAddress } from '../protocol/messages.js';
import { connectToNode } from '../protocol/node-client.js';

export class PeerClients {
  readonly #world: World;
  readonly #cluster: string;
  readonly #self: string;
  #configured: ReadonlySet<string> = new Set();
  readonly #addresses = new Map<string, NodeAddress>();
  readonly #clients = new Map<string, RpcClient>();

  constructor(world: World, cluster: string, self: string, peers: readonly NodeAddress[]) {
    this.#world = world;
    this.#cluster = cluster;
    this.#self = self;
    this.learn(peers);
    this.#configured = new Set(peers.map((peer) => peer.id));
  }

  get ids(): string[] {
    return [...this.#addresses.keys()];
  }

  /** Adds peers, and replaces the address of one that moved; what was configured stands. */
  learn(peers: readonly NodeAddress[]): void {
    for (const peer of peers) {
      if (peer.id === this.#self || this.#configured.has(peer.id)) continue;
      const known = this.#addresses.get(peer.id);
      if (known?.address === peer.address) continue;
      this.#addresses.set(peer.id, peer);
      this.#clients.get(peer.id)?.close();
      this.#clients.delete(peer.id);
    }
  }

  /** Rejects with DISCONNECTED, TIMEOUT, NOT_FOUND (no such peer) or what the peer answered. */
  call(id: string, type: number, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const address = this.#addresses.get(id);
    if (address === undefined) {
      return Promise.reject(new SextantError('NOT_FOUND', `no address of node ${id}`));
    }
    let client = this.#clients.get(id);
    if (client === undefined) {
      client = connectToNode(this.#world, this.#cluster, address, { role: 'node' });
      this.#clients.set(id, client);
    }
    return client.call(type, body, { timeoutMs });
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
