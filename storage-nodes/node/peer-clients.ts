/** Connections to the other nodes, made when first needed and kept. */
import { SextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { helloAnswer, helloRequest } from '../protocol/codec-json.js';
import { MessageType, PROTOCOL_VERSION } from '../protocol/messages.js';
import type { NodeAddress } from '../protocol/messages.js';

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
      client = new RpcClient(this.#world, address.address, {
        hello: () => ({ type: MessageType.hello, body: this.#hello(id) }),
        onHello: (answer) => this.#checkHello(id, answer),
      });
      this.#clients.set(id, client);
    }
    return client.call(type, body, { timeoutMs });
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #hello(id: string): Uint8Array {
    const protocol = PROTOCOL_VERSION;
    return helloRequest.encode({ protocol, cluster: this.#cluster, node: id, role: 'node' });
  }

  #checkHello(id: string, bytes: Uint8Array): void {
    const answer = helloAnswer.decode(bytes);
    if (answer.cluster !== this.#cluster || answer.node !== id) {
      throw new SextantError(
        'WRONG_CLUSTER',
        `${answer.node} of ${answer.cluster} instead of ${id}`,
      );
    }
  }
}
