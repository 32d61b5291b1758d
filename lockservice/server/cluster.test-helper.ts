/** Lock servers in the simulated world, and a clerk that speaks the bare protocol. */
import { RpcClient } from '#core/rpc/client.js';
import { Simulation } from '#core/world/simulated/simulation.js';
import type { SimProcess, SimulationOptions } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import * as codec from '../protocol/control-codec.js';
import { LockItem, VectorReader, VectorWriter, groupOf } from '../protocol/lock-vectors.js';
import { MessageType, PROTOCOL_VERSION } from '../protocol/messages.js';
import type * as M from '../protocol/messages.js';
import { LockServer } from './lock-server.js';
import type { LockServerOptions } from './options.js';

export const CLUSTER = 'test';

export class LockCluster {
  readonly sim: Simulation;
  readonly servers = new Map<string, LockServer>();
  readonly processes = new Map<string, SimProcess>();
  readonly members: M.ServerAddress[];
  readonly failures: unknown[] = [];
  generations = 0;
  readonly #options: Partial<LockServerOptions>;
  #clerks = 0;

  constructor(
    seed: number,
    options: Partial<LockServerOptions> = {},
    simulation: SimulationOptions = {},
    count = 3,
  ) {
    this.sim = new Simulation(seed, simulation);
    this.#options = options;
    const ids = Array.from({ length: count }, (_, i) => `lock-${i + 1}`);
    this.members = ids.map((id) => ({ id, address: `${id}:1` }));
    for (const id of ids) this.add(id);
  }

  add(id: string, more: Partial<LockServerOptions> = {}, process = id): SimProcess {
    const made = this.sim.process(
      process,
      async (world) => {
        const server = await LockServer.open(world, {
          cluster: CLUSTER,
          id,
          listen: `${process}:1`,
          folder: '/data',
          members: [...this.members],
          tokenFloor: { takeGeneration: () => Promise.resolve(++this.generations) },
          ...this.#options,
          ...more,
        });
        this.servers.set(id, server);
      },
      { onExit: (error) => this.failures.push(error) },
    );
    this.processes.set(id, made);
    return made;
  }

  server(id: string): LockServer {
    const server = this.servers.get(id);
    if (server === undefined) throw new Error(`${id} is not running`);
    return server;
  }

  /** A running one that leads. */
  get leader(): LockServer | undefined {
    for (const [id, server] of this.servers) {
      if (this.processes.get(id)?.running === true && server.isLeader) return server;
    }
    return undefined;
  }

  crash(id: string): void {
    this.processes.get(id)?.crash();
    this.servers.delete(id);
  }

  /** Starts all, and waits until all groups are served evenly. */
  async start(): Promise<void> {
    for (const process of this.processes.values()) process.start();
    await this.untilServed(this.members.length);
  }

  async untilServed(count: number): Promise<void> {
    const even = Math.ceil(100 / count);
    await this.sim.runUntil(
      () => {
        const live = [...this.servers.values()].filter((server) => !server.closed);
        const served = live.map((server) =>
          server.desk.mayServe() ? server.desk.serving.size : 0,
        );
        const total = served.reduce((sum, one) => sum + one, 0);
        return live.length === count && total === 100 && Math.max(...served) <= even;
      },
      20_000,
      'groups served',
    );
  }

  clerk(): TestClerk {
    const process = this.sim.process(`clerk-${++this.#clerks}`);
    return new TestClerk(this, process.start() as unknown as World, process);
  }
}

interface Grant {
  readonly item: LockItem;
  readonly clock: number;
  readonly fenceEpoch: number;
}

/** Keeps no rules: it does what the test tells it. */
export class TestClerk {
  readonly grants: Grant[] = [];
  readonly revokes: LockItem[] = [];
  readonly refusals: LockItem[] = [];
  readonly rebuilds: M.RebuildRequest[] = [];
  token = 0;
  opened: M.OpenClerkAnswer | undefined;
  readonly process: SimProcess;
  readonly #cluster: LockCluster;
  readonly #world: World;
  readonly #clients = new Map<string, RpcClient>();
  readonly #reader = new VectorReader();
  #requests = 0;

  constructor(cluster: LockCluster, world: World, process: SimProcess) {
    this.#cluster = cluster;
    this.#world = world;
    this.process = process;
  }

  client(id: string, hello: Partial<M.HelloRequest> = {}): RpcClient {
    let client = this.#clients.get(id);
    if (client !== undefined) return client;
    const address = this.#cluster.members.find((one) => one.id === id)?.address ?? `${id}:1`;
    client = new RpcClient(this.#world, address, {
      hello: () => ({
        type: MessageType.hello,
        body: codec.helloRequest.encode({
          protocol: PROTOCOL_VERSION,
          cluster: CLUSTER,
          server: id,
          role: 'clerk',
          ...(this.token === 0 ? {} : { token: this.token }),
          ...hello,
        }),
      }),
    });
    client.onPush = (type, body) => this.#pushed(type, body);
    this.#clients.set(id, client);
    return client;
  }

  /** Drops the connections; the next ones say the token. */
  disconnect(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  call(id: string, type: number, body: Uint8Array, limitMs = 5000): Promise<Uint8Array> {
    return this.#cluster.sim.runPromise(this.client(id).call(type, body), limitMs);
  }

  leaderCall(type: number, body: Uint8Array, limitMs = 5000): Promise<Uint8Array> {
    const id = this.#cluster.leader?.options.id ?? '';
    return this.call(id, type, body, limitMs);
  }

  async open(request: Partial<M.OpenClerkRequest> = {}): Promise<M.OpenClerkAnswer> {
    const body = codec.openClerkRequest.encode({
      name: this.process.name,
      kind: 'test',
      recovery: false,
      tables: [{ name: 't', create: true }],
      nonce: `${this.process.name}/${this.#world.random.u32()}`,
      ...request,
    });
    const answer = codec.openClerkAnswer.decode(await this.leaderCall(MessageType.openClerk, body));
    this.opened = answer;
    this.token = answer.token;
    this.disconnect();
    return answer;
  }

  async renew(limitMs?: number): Promise<M.RenewAnswer> {
    const body = codec.renewRequest.encode({ token: this.token, clock: 0 });
    return codec.renewAnswer.decode(await this.leaderCall(MessageType.renew, body, limitMs));
  }

  async close(clock = 0): Promise<void> {
    const body = codec.closeClerkRequest.encode({ token: this.token, clock });
    await this.leaderCall(MessageType.closeClerk, body);
  }

  /** Owner and epoch as a running server knows them now. */
  ownerOf(id: number, table = 1): { owner: string; epoch: number; group: number } {
    const group = groupOf(table, 0, id);
    for (const server of this.#cluster.servers.values()) {
      const epoch = server.desk.serving.get(group);
      if (epoch !== undefined) return { owner: server.options.id, epoch, group };
    }
    throw new Error(`nobody serves group ${group}`);
  }

  async #up(id: string): Promise<RpcClient> {
    const client = this.client(id);
    await this.#cluster.sim.runUntil(() => client.state === 'up', 5000, `link to ${id}`);
    return client;
  }

  /** Sends a request for a lock to its owner; answers the request's number. */
  async request(id: number, level: M.Level, epoch?: number, to?: string): Promise<number> {
    const owner = this.ownerOf(id);
    const request = ++this.#requests;
    const writer = new VectorWriter(MessageType.request);
    const name = { table: 1, idHigh: 0, idLow: id, aspect: 0 } as const;
    writer.addRequest({ ...name, level, epoch: epoch ?? owner.epoch, request, noWait: false });
    const body = writer.finish({ token: this.token, clock: 0, fenceEpoch: 0 });
    (await this.#up(to ?? owner.owner)).push(MessageType.request, body.slice());
    return request;
  }

  async release(grant: LockItem, clock: number, keeps = false): Promise<void> {
    const writer = new VectorWriter(MessageType.release);
    const level = keeps ? grant.level : 0;
    writer.addRelease(Object.assign(new LockItem(), grant, { level, keeps }));
    const body = writer.finish({ token: this.token, clock, fenceEpoch: 0 });
    const { owner } = this.ownerOf(grant.idLow);
    (await this.#up(owner)).push(MessageType.release, body.slice());
  }

  /** Answers a rebuild of a group with these locks. */
  async claim(group: number, epoch: number, locks: readonly LockItem[], clock = 0): Promise<void> {
    const writer = new VectorWriter(MessageType.claim);
    for (const lock of locks) writer.addClaim(lock);
    const body = writer.finishClaim({
      token: this.token,
      group,
      epoch,
      clock,
      attempt: 1,
      part: 0,
      last: true,
    });
    const id = [...this.#cluster.servers.values()].find(
      (server) => server.desk.serving.get(group) === epoch,
    )?.options.id;
    (await this.#up(id ?? '')).push(MessageType.claim, body.slice());
  }

  async acquire(id: number, level: M.Level): Promise<Grant> {
    const request = await this.request(id, level);
    const granted = (): Grant | undefined =>
      this.grants.find((one) => one.item.request === request);
    await this.#cluster.sim.runUntil(() => granted() !== undefined, 5000, `grant of ${id}`);
    return granted() as Grant;
  }

  #pushed(type: number, body: Uint8Array): void {
    if (type === MessageType.rebuild) {
      this.rebuilds.push(codec.rebuildRequest.decode(body));
      return;
    }
    const reader = this.#reader;
    reader.open(type as typeof MessageType.grant, body);
    while (reader.next()) {
      const item = Object.assign(new LockItem(), reader.item);
      const { clock, fenceEpoch } = reader;
      if (type === MessageType.grant) this.grants.push({ item, clock, fenceEpoch });
      if (type === MessageType.revoke) this.revokes.push(item);
      if (type === MessageType.refuse) this.refusals.push(item);
    }
  }
}
