/** `sextant mount`: a file server and the kernel's door to it, until told to stop. */
import { hostname } from 'node:os';
import { SextantError } from '#core/errors.js';
import type { LogLevel } from '#core/world/real/log.js';
import { realWorld } from '#core/world/real/real-world.js';
import { MountError, mount, type Mount } from '#fs-frontend/fuse/mount.js';
import { openFiles } from '#fs-frontend/open.js';
import { type FilesOptions, filesClusterOf } from './files-options.js';

export interface MountCommand extends FilesOptions {
  readonly logLevel: LogLevel;
}

export async function runMount(mountPoint: string, options: MountCommand): Promise<void> {
  const world = realWorld({ log: options.logLevel });
  const told = new Promise<'told'>((wake) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => wake('told'));
    }
  });
  const name = `mount ${hostname()}:${mountPoint}`.slice(0, 256);
  const server = await openFiles(world, { ...filesClusterOf(options), name });
  let mounted: Mount | undefined;
  try {
    mounted = await mount(server, mountPoint);
    const { slot } = server.status;
    process.stdout.write(`mounted ${options.disk} on ${mounted.mountPoint} (log slot ${slot})\n`);
    const why = await Promise.race([told, mounted.ended]);
    const { dead } = server.core;
    if (dead !== undefined)
      throw new SextantError('LEASE_LOST', over(mounted.mountPoint, dead.message));
    if (why !== 'told' && why !== 'unmounted' && why !== 'closed') {
      throw new SextantError('DISCONNECTED', over(mounted.mountPoint, why));
    }
  } catch (error) {
    if (error instanceof MountError) throw new SextantError('CONFIG', error.message);
    throw error;
  } finally {
    await mounted?.close();
    await server.close();
  }
}

/** It is not taken away: programs would write into the folder below. */
const over = (mountPoint: string, why: string): string =>
  `${mountPoint} answers errors from now on (${why}): mount it again, or umount it`;
