/** Six storage nodes in the simulator, and disks over them, for tests. */
import type { LinkFaults } from '#core/world/simulated/sim-network.js';
import { Simulation, type SimProcess } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import type { Faults as NodeFaults } from '#storage-nodes/node/faults.js';
import { StorageNode } from '#storage-nodes/node/storage-node.js';
import { NodeStore } from '#storage-nodes/store/node-store.js';
import type { StoreOptions } from '#storage-nodes/store/store-core.js';
import type { DiskClient } from './disk-client.js';
import { openDisk, type OpenDiskOptions } from './open-disk.js';

export const NODE_IDS = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5', 'node-6'];
export const ADDRESSES = NODE_IDS.map((id, i) => ({
  id,
  zone: `zone-${i >> 1}`,
  address: `${id}:1`,
}));
const FOLDER = '/data';
const CLUSTER = 'test';

export interface SimClusterOptions {
  readonly network?: Partial<LinkFaults>;
  readonly nodeFaults?: NodeFaults;
  readonly store?: StoreOptions;
  readonly reserveBytes?: number;
}

export class SimCluster {
  readonly sim: Simulation;
  readonly nodes = new Map<string, SimProcess>();
  readonly running = new Map<string, StorageNode>();
  /** Nodes that started once: the next start of an empty folder is a loss. */
  readonly #started = new Set<string>();
  #clients = 0;

  constructor(seed: number, options: SimClusterOptions = {}) {
    this.sim = new Simulation(seed, {
      ...(options.network === undefined ? {} : { network: options.network }),
      errorsEndRun: false,
    });
    for (const self of ADDRESSES) {
      const process = this.sim.process(self.id, async (world) => {
        const node = await StorageNode.open(
          world,
          {
            cluster: CLUSTER,
            id: self.id,
            zone: self.zone,
            listen: self.address,
            dataFolder: FOLDER,
            peers: ADDRESSES.filter(({ id }) => id !== self.id),
            initial: !this.#started.has(self.id),
            faults: options.nodeFaults ?? {},
            reserveBytes: options.reserveBytes ?? 0,
          },
          (w, folder) =>
            new NodeStore(w, folder, {
              journalFileBytes: 256 * 1024,
              journalBytesMax: 1024 * 1024,
              ...options.store,
            }),
        );
        this.running.set(self.id, node);
        await node.ready();
        this.#started.add(self.id);
      });
      this.nodes.set(self.id, process);
    }
  }

  async start(): Promise<void> {
    for (const process of this.nodes.values()) process.start();
    await this.sim.runUntil(() => this.isUp(), 10_000, 'nodes are up');
  }

  isUp(ids: readonly string[] = NODE_IDS): boolean {
    return ids.every((id) => this.running.get(id)?.state === 'up');
  }

  node(id: string): SimProcess {
    const process = this.nodes.get(id);
    if (process === undefined) throw new Error(`no node ${id}`);
    return process;
  }

  crash(id: string, loses = false): void {
    this.running.delete(id);
    this.node(id).crash();
    if (loses) this.node(id).disk.lose(FOLDER);
  }

  async restart(id: string): Promise<void> {
    this.node(id).start();
    await this.sim.runUntil(() => this.isUp([id]), 20_000, `${id} is up again`);
  }

  /** A process of its own: `crash` of it is a file server's death. */
  client(name = `client-${++this.#clients}`): { world: World; process: SimProcess } {
    const process = this.sim.process(name);
    return { world: process.start(), process };
  }

  async open(
    token: number,
    options: Partial<OpenDiskOptions> = {},
    world: World = this.client().world,
  ): Promise<DiskClient> {
    return this.run(
      openDisk(world, { cluster: CLUSTER, nodes: ADDRESSES, name: 'fs', token, ...options }),
    );
  }

  run<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    return this.sim.runPromise(promise, limitMs);
  }
}
