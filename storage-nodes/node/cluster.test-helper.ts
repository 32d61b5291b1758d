/** Nodes of one cluster in this process, and a hand that plays the engine, for tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toNodeId } from '#core/ids.js';
import { stableMembership } from '#core/quorum/quorum-set.js';
import type { Membership } from '#core/quorum/quorum-set.js';
import { RpcClient } from '#core/rpc/client.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import { decodeScl, encodePoints, encodeReadPage } from '../protocol/codec-binary.js';
import * as json from '../protocol/codec-json.js';
import { MessageType, PROTOCOL_VERSION } from '../protocol/messages.js';
import type * as M from '../protocol/messages.js';
import { MemoryDisk, MemoryStore } from './memory-store.test-helper.js';
import { StorageNode } from './storage-node.js';
import type { NodeConfig } from './storage-node.js';
import type { UnreadStore } from './unread-store.js';

let clusters = 0;

export class TestCluster {
  readonly world: World = realWorld({ log: 'silent' });
  readonly root = mkdtempSync(join(tmpdir(), 'sextant-node-'));
  readonly name = `c${++clusters}`;
  readonly ids: string[];
  readonly addresses: M.NodeAddress[];
  readonly nodes = new Map<string, StorageNode>();
  readonly stores = new Map<string, MemoryStore>();
  readonly disks = new Map<string, MemoryDisk>();
  readonly clients: RpcClient[] = [];
  readonly membership: Membership;
  /** Makes stores; memory unless a test says otherwise. */
  openStore: ((world: World, folder: string) => UnreadStore) | undefined = undefined;

  constructor(count = 6) {
    this.ids = Array.from({ length: count }, (_, i) => `n${i + 1}`);
    this.addresses = this.ids.map((id, i) => ({
      id,
      zone: `z${i >> 1}`,
      address: `inproc:${this.name}-${id}`,
    }));
    this.membership = stableMembership(['n1', 'n2', 'n3', 'n4', 'n5', 'n6'].map(toNodeId));
  }

  async start(id: string, options: Partial<NodeConfig> = {}): Promise<StorageNode> {
    const self = this.addresses.find((address) => address.id === id);
    if (self === undefined) throw new Error(`no node ${id}`);
    const config: NodeConfig = {
      cluster: this.name,
      id,
      zone: self.zone,
      listen: self.address,
      dataFolder: join(this.root, id),
      peers: this.addresses.filter((address) => address.id !== id),
      ...options,
    };
    const node = await StorageNode.open(this.world, config, (world, folder) => {
      if (this.openStore !== undefined) return this.openStore(world, folder);
      const disk = this.disks.get(id) ?? new MemoryDisk();
      this.disks.set(id, disk);
      const store = new MemoryStore(disk);
      this.stores.set(id, store);
      return store;
    });
    this.nodes.set(id, node);
    return node;
  }

  async startAll(options: Partial<NodeConfig> = { initial: true }): Promise<void> {
    const nodes = await Promise.all(this.ids.map((id) => this.start(id, options)));
    await Promise.all(nodes.map((node) => node.ready()));
  }

  /** Everything that the node kept is gone. */
  lose(id: string): void {
    rmSync(join(this.root, id), { recursive: true, force: true });
    this.disks.delete(id);
  }

  engine(id: string): TestEngine {
    const client = new RpcClient(this.world, `inproc:${this.name}-${id}`, {
      hello: () => ({
        type: MessageType.hello,
        body: json.helloRequest.encode({
          protocol: PROTOCOL_VERSION,
          cluster: this.name,
          node: id,
          role: 'engine',
        }),
      }),
    });
    this.clients.push(client);
    return new TestEngine(client, this);
  }

  async close(): Promise<void> {
    for (const client of this.clients) client.close();
    for (const node of this.nodes.values()) await node.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

export class TestEngine {
  readonly client: RpcClient;
  readonly reports: M.SclReport[] = [];
  readonly #cluster: TestCluster;

  constructor(client: RpcClient, cluster: TestCluster) {
    this.client = client;
    this.#cluster = cluster;
    client.onPush = (type, body) => {
      if (type === MessageType.scl) this.reports.push(decodeScl(body));
    };
  }

  get last(): M.SclReport | undefined {
    return this.reports.at(-1);
  }

  address(epoch: number): M.SegmentAddress {
    return { volume: 1, pg: 0, volumeEpoch: epoch, membershipEpoch: 1 };
  }

  async seal(epoch: number, ranges: M.TruncationRange[]): Promise<M.SealAnswer> {
    const { membership, addresses: peers } = this.#cluster;
    const body = json.sealRequest.encode({ ...this.address(epoch), ranges, membership, peers });
    return json.sealAnswer.decode(await this.client.call(MessageType.seal, body));
  }

  async install(
    epoch: number,
    ranges: M.TruncationRange[],
    vdl = 0,
    pgTail = 0,
  ): Promise<M.InstallAnswer> {
    const { membership, addresses: peers } = this.#cluster;
    const request = { ...this.address(epoch), ranges, membership, peers, vdl, pgTail };
    const body = json.installRequest.encode(request);
    return json.installAnswer.decode(await this.client.call(MessageType.install, body));
  }

  boxcar(bytes: Uint8Array): void {
    if (!this.client.push(MessageType.boxcar, bytes)) throw new Error('push failed');
  }

  points(epoch: number, vdl: number, pgmrpl: number): void {
    this.client.push(MessageType.points, encodePoints({ ...this.address(epoch), vdl, pgmrpl }));
  }

  async read(
    epoch: number,
    pageNo: number,
    readPoint: number,
    pgTail: number,
  ): Promise<Uint8Array> {
    const request = encodeReadPage({ ...this.address(epoch), pageNo, readPoint, pgTail });
    return this.client.call(MessageType.readPage, request);
  }

  async strike(epoch: number, generation: number, pgcl: number): Promise<void> {
    const body = json.strikeRequest.encode({ ...this.address(epoch), generation, pgcl });
    await this.client.call(MessageType.strike, body);
  }

  async status(): Promise<M.NodeStatus> {
    return json.nodeStatus.decode(await this.client.call(MessageType.status, json.EMPTY_JSON));
  }

  /** The first one; rejects while there is none. */
  async segment(): Promise<M.SegmentStatus> {
    const segment = (await this.status()).segments[0];
    if (segment === undefined) throw new Error('no segment yet');
    return segment;
  }

  async acknowledged(scl: number): Promise<void> {
    await until(() => this.reports.some((report) => report.status === 0 && report.scl >= scl));
  }
}

export async function until(what: () => boolean | Promise<boolean>, ms = 3000): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    try {
      if (await what()) return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    if (performance.now() > end)
      throw new Error(`did not happen within ${ms} ms: ${what.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
