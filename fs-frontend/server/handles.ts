/** Open files and directories of this server. After the lease is lost every handle answers EIO (rule 1). */
import { FsError, OpenFlag, type Handle, type Ino } from '../vfs/vfs.js';
import type { FsCore } from './core.js';
import type { InodeState } from './inode-table.js';
import type { Operation } from './operation.js';
import type { Orphans } from './orphans.js';

export interface OpenFile {
  readonly handle: Handle;
  readonly ino: Ino;
  readonly flags: number;
  readonly isDirectory: boolean;
  /** Owners that hold byte ranges through it. */
  readonly owners: Set<string>;
}

export class Handles {
  readonly #core: FsCore;
  readonly #orphans: Orphans;
  readonly #files = new Map<Handle, OpenFile>();
  #next = 0;

  constructor(core: FsCore, orphans: Orphans) {
    this.#core = core;
    this.#orphans = orphans;
  }

  get count(): number {
    return this.#files.size;
  }

  get(handle: Handle): OpenFile {
    const file = this.#files.get(handle);
    if (file === undefined) throw new FsError('EBADF');
    return file;
  }

  file(handle: Handle): OpenFile {
    const file = this.get(handle);
    if (file.isDirectory) throw new FsError('EISDIR');
    return file;
  }

  directory(handle: Handle): OpenFile {
    const file = this.get(handle);
    if (!file.isDirectory) throw new FsError('ENOTDIR');
    return file;
  }

  readable(handle: Handle): OpenFile {
    const file = this.file(handle);
    if ((file.flags & OpenFlag.read) === 0) throw new FsError('EBADF');
    return file;
  }

  writable(handle: Handle): OpenFile {
    const file = this.file(handle);
    if ((file.flags & OpenFlag.write) === 0) throw new FsError('EBADF');
    return file;
  }

  /** Within the operation: the inode stays as long as it is open somewhere (rule 7). */
  open(op: Operation, ino: Ino, flags: number, isDirectory: boolean): Handle {
    const core = this.#core;
    if (this.#files.size >= core.bounds.handlesMax) throw new FsError('ENFILE');
    const state = core.inodes.get(ino);
    if (state.life === undefined && state.lifePending === undefined) {
      op.lockId(ino, 'open');
      state.life = op.keep(ino, 'open');
    }
    const handle = ++this.#next;
    this.#files.set(handle, { handle, ino, flags, isDirectory, owners: new Set() });
    state.opens++;
    if ((flags & OpenFlag.write) !== 0) state.writers++;
    return handle;
  }

  close(file: OpenFile): void {
    if (!this.#files.delete(file.handle)) return;
    const state = this.#core.inodes.peek(file.ino);
    if (state === undefined) return;
    state.opens--;
    if ((file.flags & OpenFlag.write) !== 0) state.writers--;
    if (state.opens > 0) return;
    this.#released(state);
  }

  #released(state: InodeState): void {
    const { life } = state;
    state.life = undefined;
    life?.release();
    this.#orphans.closed(state.ino);
  }

  [Symbol.iterator](): IterableIterator<OpenFile> {
    return this.#files.values();
  }
}
