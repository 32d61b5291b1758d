/** File servers in real time: a lock server within this thread, a disk in memory. For suites, benchmarks and mounts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import { openClerk, type Clerk } from '#lockservice/clerk/index.js';
import { LockServer } from '#lockservice/server/lock-server.js';
import { makeFileSystem } from '../check/mkfs.js';
import { MemoryDiskStore } from '../disk/memory-disk.test-helper.js';
import type { Bounds } from './bounds.js';
import { openFileServer, type FileServer } from './file-server.js';
import { RecoveryDemon } from './recovery.js';

const TABLE = 'files';
let instances = 0;

export class RealFiles {
  readonly world: World;
  readonly store: MemoryDiskStore;
  readonly #folder: string;
  readonly #locks: LockServer;
  readonly #address: string;
  readonly #servers: FileServer[] = [];

  #failure: string | undefined = undefined;

  private constructor(world: World, folder: string, locks: LockServer, address: string) {
    this.world = world;
    this.store = new MemoryDiskStore({ seed: 1 });
    this.#folder = folder;
    this.#locks = locks;
    this.#address = address;
  }

  static async open(mode = 0o755): Promise<RealFiles> {
    const world = realWorld({ log: 'error' });
    const folder = mkdtempSync(join(tmpdir(), 'sextant-files-'));
    const address = `127.0.0.1:${23_000 + ((process.pid * 7 + ++instances) % 20_000)}`;
    const locks = await LockServer.open(world, {
      cluster: 'test',
      id: 'lock-1',
      listen: address,
      folder,
      members: [{ id: 'lock-1', address }],
      tokenFloor: { takeGeneration: () => Promise.resolve(1) },
    });
    const files = new RealFiles(world, folder, locks, address);
    const clerk = await files.#clerk(undefined);
    await makeFileSystem(files.store.open(clerk.token), {
      diskId: new Uint8Array(16).fill(1),
      nowMs: world.clock.wallMs(),
      seed: 99,
      mode,
      takeClocks: (count) => {
        clerk.core.clock += count;
        return clerk.core.clock - count + 1;
      },
    });
    await clerk.close();
    return files;
  }

  #clerk(recovery: RecoveryDemon | undefined): Promise<Clerk> {
    return openClerk({
      servers: [this.#address],
      cluster: 'test',
      table: TABLE,
      kind: 'files',
      world: this.world,
      ...(recovery === undefined ? {} : { recovery: true, onRecovery: recovery.onRecovery }),
    });
  }

  async server(bounds: Partial<Bounds> = {}): Promise<FileServer> {
    const recovery = new RecoveryDemon(this.world);
    const clerk = await this.#clerk(recovery);
    const disk = this.store.open(clerk.token);
    const table = clerk.table(TABLE);
    const server = await openFileServer(this.world, { disk, clerk, table, recovery, bounds });
    this.#servers.push(server);
    return server;
  }

  /** Why a server is over that should not be. */
  get failure(): string | undefined {
    return this.#failure;
  }

  async close(): Promise<void> {
    this.#failure = this.#servers.find(({ core }) => core.dead !== undefined)?.core.dead?.message;
    for (const server of this.#servers) await server.close();
    await this.#locks.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
