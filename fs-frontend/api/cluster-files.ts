/** The file system of a running cluster, for a program: a file server within it. */
import { SextantError } from '#core/errors.js';
import { realWorld } from '#core/world/real/real-world.js';
import { addressesOf } from '#cli/find-cluster.js';
import { DEFAULT_DISK, openFiles } from '../open.js';
import type { FileServer } from '../server/file-server.js';

/** One of `data` and `config` is needed. */
export interface ClusterFilesOptions {
  /** Folder of a `sextant dev` cluster, which runs. Its disk `default` is made when it is first used. */
  readonly data?: string;
  /** sextant.json of a cluster. */
  readonly config?: string;
  /** Name of the virtual disk; default `default`. Others are made by `sextant fs mkfs`. */
  readonly disk?: string;
  /** For people, in listings of the lock service; default `program`. */
  readonly name?: string;
}

export function openClusterFiles(options: ClusterFilesOptions): Promise<FileServer> {
  const { data, config, disk = DEFAULT_DISK, name = 'program' } = options;
  if (Boolean(data) === Boolean(config)) {
    throw new SextantError(
      'CONFIG',
      'mount needs data (the folder of a sextant dev cluster) or config (a sextant.json), and not both',
    );
  }
  const isMade = config === undefined && disk === DEFAULT_DISK;
  return openFiles(realWorld({ log: 'warn' }), {
    ...addressesOf({ ...(data && { data }), ...(config && { config }) }),
    disk,
    name,
    ...(isMade ? { make: {} } : {}),
  });
}
