/**
 * The barrier lock (rule 15): every server that changes anything holds it shared. Who takes it exclusively (for a snapshot)
 * has all others flush, write everything back and wait.
 */
import type { LockHandle } from '#lockservice/clerk/index.js';
import { BARRIER_LOCK } from '../format/layout.js';
import type { FsCore } from './core.js';
import type { WriteBack } from './write-back.js';

export class Barrier {
  readonly #core: FsCore;
  readonly #writeBack: WriteBack;
  #handle: LockHandle | undefined = undefined;

  constructor(core: FsCore, writeBack: WriteBack) {
    this.#core = core;
    this.#writeBack = writeBack;
  }

  /** Takes the lock; from now on things may be changed. */
  async enter(): Promise<void> {
    const core = this.#core;
    const handle = await core.table.acquire(BARRIER_LOCK, 'shared');
    this.#handle = handle;
    core.barred = undefined;
    handle.onRevoked(() => this.#leave());
  }

  /** Nothing begins any more; the clerk then calls `flushed` before the lock goes. */
  #leave(): void {
    const core = this.#core;
    const handle = this.#handle;
    this.#handle = undefined;
    if (core.dead !== undefined) return;
    let again: () => void = () => undefined;
    core.barred = new Promise((resolve) => (again = resolve));
    handle?.release();
    // Behind the revoke: waits until the snapshot is made.
    core.world.timers.turn(() => {
      this.enter().then(again, (error: unknown) => {
        core.errorOf(error);
        again();
      });
    });
  }

  /** Everything that was done is in place. */
  async flushed(): Promise<void> {
    const core = this.#core;
    while (core.dead === undefined) {
      await this.#writeBack.round();
      if (core.cache.dirty.size === 0 && core.touched.size === 0) return;
    }
  }

  /** Runs `work` while no server of the file system changes anything. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const core = this.#core;
    this.#leaveForOwn();
    try {
      const handle = await core.table.acquire(BARRIER_LOCK, 'exclusive');
      try {
        await this.flushed();
        return await work();
      } finally {
        handle.release();
      }
    } finally {
      const done = this.#ownBarred;
      await this.enter();
      done?.();
    }
  }

  #ownBarred: (() => void) | undefined = undefined;

  #leaveForOwn(): void {
    const handle = this.#handle;
    this.#handle = undefined;
    this.#core.barred = new Promise((resolve) => (this.#ownBarred = resolve));
    handle?.release();
  }

  release(): void {
    this.#handle?.release();
    this.#handle = undefined;
  }
}
