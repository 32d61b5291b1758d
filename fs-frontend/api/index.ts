/**
 * `import { mount } from 'sextant/fs'`: a file system with the shape of `node:fs/promises`.
 */
import type { Vfs } from '../vfs/vfs.js';
import { type ClusterFilesOptions, openClusterFiles } from './cluster-files.js';
import type { FilesOptions } from './files.js';
import { filesOf, type SextantFs } from './files-of.js';

export interface VfsMountOptions extends FilesOptions {
  /** What stores the files, instead of a cluster. `unmount` closes it. */
  readonly vfs: Vfs;
}

export type ClusterMountOptions = FilesOptions & ClusterFilesOptions;
export type MountOptions = VfsMountOptions | ClusterMountOptions;

/**
 * Opens the file system of a running cluster, or of `vfs`. Call `unmount` when done: it writes back what is not yet on
 * disk. Rejects with CONFIG (an option), NOT_FOUND (no such disk), NO_QUORUM or DISCONNECTED (the cluster is not there).
 *
 * ```ts
 * await using fs = await mount({ data: './sextant-data' });
 * await fs.writeFile('/hello', 'world');
 * ```
 */
export async function mount(options: MountOptions): Promise<SextantFs> {
  if ('vfs' in options) return filesOf(options.vfs, options);
  return filesOf(await openClusterFiles(options), options);
}

export { filesOf, type SextantFileHandle, type SextantFs } from './files-of.js';
export type { ClusterFilesOptions } from './cluster-files.js';
export type { FilesOptions } from './files.js';
export type { Extra, SetXattrOptions, XattrOptions } from './extra.js';
export type { HandleExtra, LockOptions, LockRange } from './handle-extra.js';
export type { WatchEvent } from './watch.js';
export type { PathLike } from './paths.js';
export type { Vfs } from '../vfs/vfs.js';
