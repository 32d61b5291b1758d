/**
 * `import { mount } from 'sextant/fs'`: a file system with the shape of `node:fs/promises`.
 */
import type { Vfs } from '../vfs/vfs.js';
import { SextantError } from '#core/errors.js';
import type { FilesOptions } from './files.js';
import { filesOf, type SextantFs } from './files-of.js';

export interface MountOptions extends FilesOptions {
  /** What stores the files. `unmount` closes it. */
  readonly vfs: Vfs;
}

/** Opens a file system. Call `unmount` when done: it writes back what is not yet on disk. */
export async function mount(options: MountOptions): Promise<SextantFs> {
  if ((options as Partial<MountOptions>).vfs === undefined) {
    throw new SextantError('CONFIG', 'mount needs a vfs');
  }
  return filesOf(options.vfs, options);
}

export { filesOf, type SextantFileHandle, type SextantFs } from './files-of.js';
export type { FilesOptions } from './files.js';
export type { Extra, SetXattrOptions, XattrOptions } from './extra.js';
export type { HandleExtra, LockOptions, LockRange } from './handle-extra.js';
export type { WatchEvent } from './watch.js';
export type { PathLike } from './paths.js';
export type { Vfs } from '../vfs/vfs.js';
