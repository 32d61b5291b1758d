/** A clerk's connections: one to each lock server, by id. */
import { SextantError, isSextantError } from '#core/errors.js';
import { RpcClient } from '#core/rpc/client.js';
import type { World } from '#core/world/world.js';
import { helloAnswer, helloRequest } from '../protocol/control-codec.js';
import { MessageType, PROTOCOL_VERSION } from '../protocol/messages.js';

export interface LinksOptions {
  readonly cluster: string;
  /** Absent before the clerk is open. */
  readonly token?: number;
  /** A connection on which nothing comes in for so long is made anew: some of them must fit into a lease. */
  readonly deadAfterMs: number;
  onPush(server: string, type: number, body: Uint8Array): void;
  onUp(server: string): void;
  onDown(server: string): void;
}

const QUEUED_BYTES_MAX = 64 * 1024 * 1024;
const BACKOFF_MS_MAX = 500;

export interface ServerLink {
  /** Undefined until a server that is known by its address alone has said its name. */
  id: string | undefined;
  readonly address: string;
  readonly rpc: RpcClient;
}

export class ServerLinks {
  readonly #world: World;
  readonly #options: LinksOptions;
  #links: ServerLink[] = [];
  /** Whom the servers take for the leader. */
  leader: string | undefined;

  constructor(world: World, options: LinksOptions) {
    this.#world = world;
    this.#options = options;
  }

  get all(): readonly ServerLink[] {
    return this.#links;
  }

  find(id: string): ServerLink | undefined {
    for (const link of this.#links) if (link.id === id) return link;
    return undefined;
  }

  isUp(id: string): boolean {
    return this.find(id)?.rpc.state === 'up';
  }

  /** Connects to those that are new, disconnects from those that went. */
  setServers(servers: readonly { id?: string; address: string }[]): void {
    const kept = this.#links.filter((link) =>
      servers.some(
        ({ id, address }) => address === link.address && (id === undefined || id === link.id),
      ),
    );
    for (const link of this.#links) if (!kept.includes(link)) link.rpc.close();
    for (const { id, address } of servers) {
      if (!kept.some((link) => link.address === address)) kept.push(this.#connect(id, address));
    }
    this.#links = kept;
  }

  /** Before the clerk is open: why every server refuses to talk, when each does, and waiting would not help. */
  refusal(): SextantError | undefined {
    let refusal: SextantError | undefined;
    if (this.#options.token !== undefined) return undefined;
    for (const { rpc } of this.#links) {
      const { lastError } = rpc;
      if (!isSextantError(lastError, 'WRONG_CLUSTER') && !isSextantError(lastError, 'PROTOCOL')) {
        return undefined;
      }
      refusal = lastError;
    }
    return refusal;
  }

  push(server: string, type: number, body: Uint8Array): boolean {
    return this.find(server)?.rpc.push(type, body) === true;
  }

  close(): void {
    for (const { rpc } of this.#links) rpc.close();
    this.#links = [];
  }

  #connect(id: string | undefined, address: string): ServerLink {
    const { cluster, token, deadAfterMs } = this.#options;
    const rpc = new RpcClient(this.#world, address, {
      hello: () => ({
        type: MessageType.hello,
        body: helloRequest.encode({
          protocol: PROTOCOL_VERSION,
          cluster,
          role: 'clerk',
          ...(link.id === undefined ? {} : { server: link.id }),
          ...(token === undefined ? {} : { token }),
        }),
      }),
      onHello: (answer) => this.#greeted(link, answer),
      maxQueuedBytes: QUEUED_BYTES_MAX,
      backoffMaxMs: BACKOFF_MS_MAX,
      deadAfterMs,
      pingEveryMs: deadAfterMs / 4,
    });
    const link: ServerLink = { id, address, rpc };
    rpc.onPush = (type, body) => {
      if (link.id !== undefined) this.#options.onPush(link.id, type, body);
    };
    rpc.onState = (state) => {
      if (link.id === undefined) return;
      if (state === 'up') this.#options.onUp(link.id);
      else this.#options.onDown(link.id);
    };
    return link;
  }

  #greeted(link: ServerLink, answer: Uint8Array): void {
    const { cluster, server, leader } = helloAnswer.decode(answer);
    if (cluster !== this.#options.cluster || (link.id !== undefined && server !== link.id)) {
      throw new SextantError(
        'WRONG_CLUSTER',
        `${link.address} is lock server ${server} of cluster ${cluster}`,
      );
    }
    link.id = server;
    this.leader ??= leader ?? undefined;
  }
}
