/** Connections to the other lock servers, made when first needed and kept while they are at that address. */
import { SextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { helloAnswer, helloRequest } from '../protocol/control-codec.js';
import { MessageType, PROTOCOL_VERSION } from '../protocol/messages.js';
import type { ServerAddress } from '../protocol/messages.js';

/** A peer that was down is to hear of an election soon after it is back. */
const BACKOFF_MS_MAX = 500;
const PING_EVERY_MS = 2000;
const DEAD_AFTER_MS = 5000;

export class PeerClients {
  readonly #world: World;
  readonly #cluster: string;
  readonly #self: string;
  readonly #addressOf: (id: string) => string | undefined;
  readonly #clients = new Map<string, RpcClient>();

  constructor(
    world: World,
    cluster: string,
    self: string,
    addressOf: (id: string) => string | undefined,
  ) {
    this.#world = world;
    this.#cluster = cluster;
    this.#self = self;
    this.#addressOf = addressOf;
  }

  /** May be lost. `fallback`: an address when none is known better. */
  push(peer: ServerAddress, type: number, body: Uint8Array): void {
    this.#client(peer.id, peer.address)?.push(type, body);
  }

  /** Rejects with DISCONNECTED, TIMEOUT, NOT_FOUND (no such peer) or what the peer answered. */
  call(id: string, type: number, body: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const client = this.#client(id, undefined);
    if (client !== undefined) return client.call(type, body, { timeoutMs });
    return Promise.reject(new SextantError('NOT_FOUND', `no address of lock server ${id}`));
  }

  /** Ends the connections to servers that are not among `ids`. */
  keep(ids: ReadonlySet<string>): void {
    for (const [id, client] of this.#clients) {
      if (ids.has(id)) continue;
      client.close();
      this.#clients.delete(id);
    }
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #client(id: string, fallback: string | undefined): RpcClient | undefined {
    const address = this.#addressOf(id) ?? fallback;
    if (address === undefined) return undefined;
    const known = this.#clients.get(id);
    if (known?.address === address) return known;
    known?.close();
    const client = new RpcClient(this.#world, address, {
      hello: () => ({ type: MessageType.hello, body: this.#hello(id) }),
      onHello: (answer) => this.#checkHello(id, answer),
      backoffMaxMs: BACKOFF_MS_MAX,
      pingEveryMs: PING_EVERY_MS,
      deadAfterMs: DEAD_AFTER_MS,
    });
    this.#clients.set(id, client);
    return client;
  }

  #hello(id: string): Uint8Array {
    return helloRequest.encode({
      protocol: PROTOCOL_VERSION,
      cluster: this.#cluster,
      server: id,
      role: 'server',
      from: this.#self,
    });
  }

  #checkHello(id: string, bytes: Uint8Array): void {
    const answer = helloAnswer.decode(bytes);
    if (answer.cluster === this.#cluster && answer.server === id) return;
    const who = `${answer.server} of ${answer.cluster}`;
    throw new SextantError('WRONG_CLUSTER', `${who} instead of ${id}`);
  }
}
