/** The whole file system in one simulation: six storage nodes, a lock server, file servers that crash. */
import type { SimProcess } from '#core/world/simulated/simulation.js';
import type { World } from '#core/world/world.js';
import { checkFileSystem } from '#fs-frontend/check/check.js';
import { makeFileSystem } from '#fs-frontend/check/mkfs.js';
import {
  ADDRESSES,
  SimCluster,
  type SimClusterOptions,
} from '#fs-frontend/disk/cluster.test-helper.js';
import { openDisk } from '#fs-frontend/disk/open-disk.js';
import type { Bounds } from '#fs-frontend/server/bounds.js';
import { openFileServer, type FileServer } from '#fs-frontend/server/file-server.js';
import { RecoveryDemon } from '#fs-frontend/server/recovery.js';
import { openClerk, type Clerk } from '#lockservice/clerk/index.js';
import { LockServer } from '#lockservice/server/lock-server.js';

const CLUSTER = 'test';
const DISK = 'default';
const LOCKS = 'lock-1:1';
const LEASE_MS = 1500;

export class WholeStack {
  readonly storage: SimCluster;
  readonly locks: SimProcess;
  readonly processes = new Map<FileServer, SimProcess>();
  #generations = 0;
  #count = 0;

  constructor(seed: number, options: SimClusterOptions = {}) {
    this.storage = new SimCluster(seed, options);
    this.locks = this.storage.sim.process('lock-1', async (world) => {
      await LockServer.open(world, {
        cluster: CLUSTER,
        id: 'lock-1',
        listen: LOCKS,
        folder: '/locks',
        members: [{ id: 'lock-1', address: LOCKS }],
        tokenFloor: { takeGeneration: () => Promise.resolve(++this.#generations) },
      });
    });
  }

  get sim(): SimCluster['sim'] {
    return this.storage.sim;
  }

  run<T>(promise: T | Promise<T>, limitMs = 60_000): Promise<T> {
    return this.sim.runPromise(Promise.resolve(promise), limitMs, 'a file operation');
  }

  async start(): Promise<void> {
    await this.storage.start();
    this.locks.start();
    const { world, process } = this.storage.client('mkfs');
    const clerk = await this.#clerk(world, undefined);
    const nodes = ADDRESSES;
    const options = { cluster: CLUSTER, nodes, name: DISK, token: clerk.token, create: {} };
    const disk = await this.run(openDisk(world, options));
    const made = makeFileSystem(disk, {
      diskId: new Uint8Array(16).fill(3),
      nowMs: world.clock.wallMs(),
      seed: 7,
      segmentsMax: 16,
      takeClocks: (count) => {
        clerk.core.clock += count;
        return clerk.core.clock - count + 1;
      },
    });
    await this.run(made);
    await this.run(disk.close());
    await this.run(clerk.close());
    process.crash();
  }

  #clerk(world: World, recovery: RecoveryDemon | undefined): Promise<Clerk> {
    const opening = openClerk({
      servers: [LOCKS],
      cluster: CLUSTER,
      world,
      table: DISK,
      kind: 'files',
      leaseMs: LEASE_MS,
      ...(recovery === undefined ? {} : { recovery: true, onRecovery: recovery.onRecovery }),
    });
    return this.run(opening);
  }

  async open(bounds: Partial<Bounds> = {}): Promise<FileServer> {
    const { world, process } = this.storage.client(`files-${++this.#count}`);
    const recovery = new RecoveryDemon(world);
    const clerk = await this.#clerk(world, recovery);
    const options = { cluster: CLUSTER, nodes: ADDRESSES, name: DISK, token: clerk.token };
    const disk = await this.run(openDisk(world, options));
    const table = clerk.table(DISK);
    const server = await this.run(openFileServer(world, { disk, clerk, table, recovery, bounds }));
    this.processes.set(server, process);
    return server;
  }

  crash(server: FileServer): void {
    this.processes.get(server)?.crash();
  }

  /** FS-4, by a disk handle that only reads. */
  async check(): Promise<string[]> {
    const { world } = this.storage.client(`check-${++this.#count}`);
    const options = { cluster: CLUSTER, nodes: ADDRESSES, name: DISK, token: 0 };
    const disk = await this.run(openDisk(world, options));
    const report = await this.run(
      checkFileSystem(disk, { repair: false, takeClocks: () => 1, raiseClock: () => undefined }),
      600_000,
    );
    await this.run(disk.close());
    return report.findings
      .filter(({ kind }) => kind !== 'log-not-replayed')
      .map(({ kind, message }) => `${kind}: ${message}`);
  }
}
