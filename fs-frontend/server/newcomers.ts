/**
 * Inodes that this server has just made. Their locks are implied by the lock of their segment (rule 8) and are asked for
 * behind the scenes, all of a turn in one message; until they are granted nobody else can know the inodes, because their
 * directory is locked here. A directory goes back only when no newcomer is left (`settle`).
 */
import type { LockHandle } from '#lockservice/clerk/index.js';
import type { Block } from '../format/block.js';
import type { Ino } from '../vfs/vfs.js';
import type { CachedBlock } from './cached-block.js';
import type { FsCore } from './core.js';
import type { InodeState } from './inode-table.js';

export class Newcomers {
  readonly #core: FsCore;
  readonly #pending = new Set<InodeState>();
  #settled: Promise<void> | undefined = undefined;
  #wake: (() => void) | undefined = undefined;

  constructor(core: FsCore) {
    this.#core = core;
  }

  get count(): number {
    return this.#pending.size;
  }

  adopt(ino: Ino, header: Block): void {
    const core = this.#core;
    const { table } = core;
    const state = core.inodes.get(ino);
    const { implied } = state;
    state.forget();
    state.header = header as CachedBlock;
    state.implied = implied;
    if (implied) return;
    // A number that was used before comes with its locks.
    const content = table.held(ino) === 'exclusive';
    const life = table.held(ino, 1) === 'destroy';
    if (content && life) return;
    state.implied = !content;
    this.#pending.add(state);
    const waits: Promise<void>[] = [];
    if (!content)
      waits.push(table.acquire(ino, 'exclusive').then((handle) => this.#granted(state, handle)));
    if (!life) {
      state.lifePending = table
        .acquire(ino, 'destroy')
        .then((handle) => this.#alive(state, handle));
      waits.push(state.lifePending);
    }
    Promise.all(waits).then(
      () => this.#done(state),
      (error: unknown) => {
        // Only the end of the lease, or of the clerk's patience: the inode is given up like any other.
        this.#done(state);
        core.errorOf(error);
      },
    );
  }

  #granted(state: InodeState, handle: LockHandle): void {
    state.implied = false;
    handle.release();
  }

  #alive(state: InodeState, handle: LockHandle): void {
    state.lifePending = undefined;
    if (state.opens > 0 && state.life === undefined) {
      handle.downgrade();
      state.life = handle;
    } else handle.release();
  }

  #done(state: InodeState): void {
    state.lifePending = undefined;
    this.#pending.delete(state);
    if (this.#pending.size > 0) return;
    this.#wake?.();
    this.#wake = undefined;
    this.#settled = undefined;
  }

  /** Resolves when those there are now have locks of their own. */
  async settle(): Promise<void> {
    if (this.#pending.size === 0) return;
    this.#settled ??= new Promise((resolve) => (this.#wake = resolve));
    await this.#settled;
  }
}
