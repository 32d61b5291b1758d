/**
 * Opens the file system of a running cluster: a clerk of the lock service, the virtual disk under its token, a file server
 * on both. Used by the mount, the commands and the API; each of them is a file server of its own.
 *
 * ```
 *   lock servers --token, log slot, locks--> clerk --+
 *   storage nodes --registers--> disk ---------------+--> file server (Vfs) --> mount | API
 * ```
 */
import { SextantError, isSextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { openClerk, type Clerk, type ServerAddress } from '#lockservice/clerk/index.js';
import type { NodeAddress } from '#storage-nodes/protocol/messages.js';
import { makeFileSystem, readSuperblock } from './check/mkfs.js';
import type { DiskClient } from './disk/disk-client.js';
import { openDisk } from './disk/open-disk.js';
import { SEGMENTS_LOCK } from './format/layout.js';
import type { Bounds } from './server/bounds.js';
import { openFileServer, type FileServer } from './server/file-server.js';
import { RecoveryDemon } from './server/recovery.js';

/** Of `sextant dev` clusters: it is made when it is first used. */
export const DEFAULT_DISK = 'default';

export interface FilesCluster {
  readonly cluster: string;
  /** All storage nodes, in the order of the cluster's configuration. */
  readonly nodes: readonly NodeAddress[];
  readonly lockServers: readonly ServerAddress[];
  /** Name of the disk: 1 to 32 of a-z, 0-9 and -. */
  readonly disk: string;
}

export interface MakeFilesOptions {
  /** Copies of file content: 3, one a zone (the default), or 6. */
  readonly dataCopies?: 3 | 6;
  /** Of the root directory; default 0o755. */
  readonly mode?: number;
}

export interface OpenFilesOptions extends FilesCluster {
  /** The disk and its file system are made when they are not there. */
  readonly make?: MakeFilesOptions;
  /** For people, in listings of the lock service; default `files`. */
  readonly name?: string;
  readonly bounds?: Partial<Bounds>;
}

/** A disk's locks: never the table of that name of programs. */
export const tableOf = (disk: string): string => `files/${disk}`;

const MADE_APART = 2 ** 20;

/** Rejects with CONFIG, NOT_FOUND (no such disk, or no file system on it), NO_QUORUM, and as `openClerk` does. */
export async function openFiles(world: World, options: OpenFilesOptions): Promise<FileServer> {
  const { cluster, nodes, disk: name, make, bounds } = checked(options);
  if (!(await hasFiles(world, options))) {
    if (make === undefined) {
      throw new SextantError(
        'NOT_FOUND',
        `there is no file system on disk ${name}: make it with \`sextant fs mkfs --disk ${name}\``,
      );
    }
    await makeFiles(world, options, make).catch((error: unknown) => {
      // Somebody else was faster.
      if (!isSextantError(error, 'EXISTS')) throw error;
    });
  }
  const recovery = new RecoveryDemon(world);
  const { onRecovery } = recovery;
  const clerk = await openFilesClerk(world, options, { recovery: true, onRecovery });
  let disk: DiskClient | undefined;
  try {
    disk = await openDisk(world, { cluster, nodes, name, token: clerk.token });
    const table = clerk.table(tableOf(name));
    return await openFileServer(world, {
      disk,
      clerk,
      table,
      recovery,
      ...(bounds === undefined ? {} : { bounds }),
    });
  } catch (error) {
    await disk?.close();
    await clerk.close();
    throw error;
  }
}

/** Makes the disk, if need be, and a file system on it. Rejects with EXISTS when it has one. */
export async function makeFiles(
  world: World,
  options: FilesCluster,
  make: MakeFilesOptions = {},
): Promise<void> {
  const { cluster, nodes, disk: name } = checked(options);
  const clerk = await openFilesClerk(world, options, {});
  try {
    // Two that make it at the same time would each write half of it.
    const lock = await clerk.table(tableOf(name)).acquire(SEGMENTS_LOCK, 'exclusive');
    const { token } = clerk;
    const { dataCopies = 3, mode } = make;
    const disk = await openDisk(world, { cluster, nodes, name, token, create: { dataCopies } });
    try {
      await makeOn(world, disk, clerk, mode);
    } finally {
      await disk.close();
    }
    lock.release();
  } finally {
    // Its clock becomes the floor of everybody's.
    await clerk.close();
  }
}

async function makeOn(
  world: World,
  disk: DiskClient,
  clerk: Clerk,
  mode: number | undefined,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await makeFileSystem(disk, {
        diskId: world.random.bytes(16),
        nowMs: world.clock.wallMs(),
        seed: (world.random.bytes(4).reduce((all, byte) => all * 256 + byte, 0) | 1) >>> 0,
        takeClocks: (count) => {
          clerk.core.clock += count;
          return clerk.core.clock - count + 1;
        },
        ...(mode === undefined ? {} : { mode }),
      });
      return;
    } catch (error) {
      // One that died half way left blocks with clocks that nobody knows of.
      if (!isSextantError(error, 'CONFLICT') || attempt > 0) throw error;
      clerk.core.clock += MADE_APART;
    }
  }
}

async function hasFiles(world: World, options: FilesCluster): Promise<boolean> {
  const { cluster, nodes, disk: name } = options;
  try {
    const disk = await openDisk(world, { cluster, nodes, name, token: 0 });
    try {
      await readSuperblock(disk);
      return true;
    } finally {
      await disk.close();
    }
  } catch (error) {
    if (isSextantError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

/** A clerk on the disk's table of locks. */
export function openFilesClerk(
  world: World,
  options: FilesCluster & { readonly name?: string },
  more: Pick<Parameters<typeof openClerk>[0], 'recovery' | 'onRecovery'>,
): Promise<Clerk> {
  const { cluster, lockServers, disk, name = 'files' } = options;
  const table = tableOf(disk);
  return openClerk({ servers: lockServers, cluster, table, kind: table, name, world, ...more });
}

function checked<Options extends FilesCluster>(options: Options): Options {
  if (!/^[a-z0-9-]{1,32}$/.test(options.disk)) {
    throw new SextantError('CONFIG', `a disk's name is 1 to 32 of a-z, 0-9 and -`);
  }
  if (options.lockServers.length === 0) {
    throw new SextantError(
      'CONFIG',
      'a file system needs lock servers: name them in lockServers of sextant.json',
    );
  }
  return options;
}
