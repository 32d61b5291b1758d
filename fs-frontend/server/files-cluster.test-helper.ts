/** File servers over a disk in memory and lock servers in the simulated world. */
import type { SimProcess } from '#core/world/simulated/simulation.js';
import { openClerk } from '#lockservice/clerk/index.js';
import type { Clerk, ClerkOptions } from '#lockservice/clerk/index.js';
import { CLUSTER, LockCluster } from '#lockservice/server/cluster.test-helper.js';
import { checkFileSystem } from '../check/check.js';
import { makeFileSystem } from '../check/mkfs.js';
import { MemoryDiskStore, type MemoryDiskOptions } from '../disk/memory-disk.test-helper.js';
import {
  OpenFlag,
  ROOT_INO,
  type Caller,
  type Entry,
  type Handle,
  type Ino,
  type Maybe,
} from '../vfs/vfs.js';
import type { Bounds } from './bounds.js';
import { openFileServer, type FileServer } from './file-server.js';
import { RecoveryDemon } from './recovery.js';

export const ROOT: Caller = { uid: 0, gid: 0, groups: [], pid: 1 };
export const ALICE: Caller = { uid: 1000, gid: 1000, groups: [], pid: 2 };
export const BOB: Caller = { uid: 1001, gid: 1001, groups: [1000], pid: 3 };
export const RW = OpenFlag.read | OpenFlag.write;
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (of: Uint8Array): string => new TextDecoder().decode(of);
const TABLE = 'files';

export class FilesCluster {
  readonly locks: LockCluster;
  readonly store: MemoryDiskStore;
  readonly servers: FileServer[] = [];
  readonly processes = new Map<FileServer, SimProcess>();
  #count = 0;

  constructor(seed = 1, disk: MemoryDiskOptions = {}) {
    this.locks = new LockCluster(seed, {}, {}, 1);
    this.store = new MemoryDiskStore({ seed, ...disk });
  }

  /** Lock servers, and an empty file system that everybody may write to. */
  async start(segmentsMax = 16): Promise<void> {
    await this.locks.start();
    const { clerk } = await this.clerk({});
    const made = makeFileSystem(this.store.open(clerk.token), {
      diskId: new Uint8Array(16).fill(7),
      nowMs: clerk.world.clock.wallMs(),
      seed: 12_345,
      segmentsMax,
      mode: 0o1777,
      takeClocks: (count) => {
        clerk.core.clock += count;
        return clerk.core.clock - count + 1;
      },
    });
    await this.run(made);
    await this.run(clerk.close());
  }

  async clerk(
    options: Partial<ClerkOptions>,
    process = this.locks.sim.process(`f${++this.#count}`),
  ): Promise<{ clerk: Clerk; process: SimProcess }> {
    const world = process.start();
    const servers = this.locks.members.map(({ address }) => address);
    const opening = openClerk({ servers, cluster: CLUSTER, world, table: TABLE, ...options });
    return { clerk: await this.run(opening, 60_000), process };
  }

  async open(
    bounds: Partial<Bounds> = {},
    options: Partial<ClerkOptions> = {},
  ): Promise<FileServer> {
    const process = this.locks.sim.process(`f${++this.#count}`);
    const world = process.start();
    const recovery = new RecoveryDemon(world);
    const { onRecovery } = recovery;
    const servers = this.locks.members.map(({ address }) => address);
    const clerk = await this.run(
      openClerk({
        servers,
        cluster: CLUSTER,
        world,
        table: TABLE,
        kind: 'files',
        recovery: true,
        onRecovery,
        ...options,
      }),
      60_000,
    );
    const disk = this.store.open(clerk.token);
    const table = clerk.table(TABLE);
    const server = await this.run(
      openFileServer(world, { disk, clerk, table, recovery, bounds }),
      60_000,
    );
    this.servers.push(server);
    this.processes.set(server, process);
    return server;
  }

  /** Power is cut: what was on its way to the disk got there or not. */
  crash(server: FileServer): void {
    this.store.crash(server.core.disk.token);
    this.processes.get(server)?.crash();
  }

  /** FS-4: what is on the disk now, the logs replayed, is whole. Changes nothing. */
  async check(): Promise<string[]> {
    const { findings } = await checkFileSystem(this.store.open(2 ** 40), {
      repair: false,
      takeClocks: () => 1,
      raiseClock: () => undefined,
    });
    // A log that waits for its recovery is no damage: it was replayed in memory for this.
    const damage = findings.filter(({ kind }) => kind !== 'log-not-replayed');
    return damage.map(({ kind, message }) => `${kind}: ${message}`);
  }

  run<T>(promise: Maybe<T>, limitMs = 20_000): Promise<T> {
    return this.locks.sim.runPromise(Promise.resolve(promise), limitMs, 'an operation');
  }

  /** The errno that it throws or rejects with. */
  async errno(work: () => Maybe<unknown>): Promise<string> {
    try {
      await this.run(work());
      return 'done';
    } catch (error) {
      return (error as { errno?: string }).errno ?? String(error);
    }
  }

  // Paths, for tests ----------------------------------------------------------------------------

  async walk(server: FileServer, path: string): Promise<Ino> {
    let ino = ROOT_INO;
    for (const name of path.split('/').filter((part) => part !== '')) {
      ino = (await this.run(server.lookup(ino, bytes(name), ROOT))).attributes.ino;
    }
    return ino;
  }

  async writeFile(server: FileServer, path: string, data: Uint8Array | string): Promise<Entry> {
    const { parent, name } = await this.#split(server, path);
    const flags = RW | OpenFlag.truncate;
    const { entry, handle } = await this.run(server.create(parent, name, 0o644, flags, ROOT));
    const content = typeof data === 'string' ? bytes(data) : data;
    if (content.length > 0) await this.run(server.write(handle, 0, content, ROOT));
    await this.run(server.release(handle));
    return entry;
  }

  async readFile(server: FileServer, path: string): Promise<Uint8Array> {
    const ino = await this.walk(server, path);
    const handle = await this.run(server.open(ino, OpenFlag.read, ROOT));
    try {
      return await this.readAll(server, handle);
    } finally {
      await this.run(server.release(handle));
    }
  }

  async readAll(server: FileServer, handle: Handle): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let at = 0; ;) {
      const part = (await this.run(server.read(handle, at, 100_000))).slice();
      if (part.length === 0) return Buffer.concat(parts);
      parts.push(part);
      at += part.length;
    }
  }

  async list(server: FileServer, path: string): Promise<string[]> {
    const handle = await this.run(server.openDirectory(await this.walk(server, path), ROOT));
    const names: string[] = [];
    for (let cookie = 0; ;) {
      const entries = await this.run(server.readDirectory(handle, cookie, 4096, false));
      if (entries.length === 0) break;
      for (const entry of entries) {
        names.push(text(entry.name));
        cookie = entry.cookie;
      }
    }
    await this.run(server.release(handle));
    return names.filter((name) => name !== '.' && name !== '..').sort();
  }

  async #split(server: FileServer, path: string): Promise<{ parent: Ino; name: Uint8Array }> {
    const at = path.lastIndexOf('/');
    const parent = at <= 0 ? ROOT_INO : await this.walk(server, path.slice(0, at));
    return { parent, name: bytes(path.slice(at + 1)) };
  }
}
