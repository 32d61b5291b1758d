/** Which disk of which cluster a command of the file system means. */
import { Option } from 'commander';
import { DEFAULT_DISK, type FilesCluster, type MakeFilesOptions } from '#fs-frontend/open.js';
import { type ClusterOptions, addressesOf } from './find-cluster.js';

export interface FilesOptions extends ClusterOptions {
  readonly disk: string;
}

export const diskOption = (): Option =>
  new Option('--disk <name>', 'which virtual disk').default(DEFAULT_DISK);

/** The default disk of a `sextant dev` cluster is made when it is first used; others by `sextant fs mkfs`. */
export function filesClusterOf(
  options: FilesOptions,
): FilesCluster & { readonly make?: MakeFilesOptions } {
  const { disk } = options;
  const isMade = options.config === undefined && disk === DEFAULT_DISK;
  return { ...addressesOf(options), disk, ...(isMade ? { make: {} } : {}) };
}
