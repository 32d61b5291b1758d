/**
 * What happens before a lock goes back (FS-2, rules 8, 22, 23): called by the clerk with all locks of one turn.
 *
 * ```
 *   kernel: names by epoch, at once; pages and attributes of each inode      the old grant still serves, with validity 0
 *   newcomers below have locks of their own
 *   content written back, overlay logged --> log flushed --> blocks in place  nothing changes any more
 *   forgotten (or, when shared is kept, all stays but what was dirty)
 * ```
 */
import type { RevokedLock } from '#lockservice/clerk/index.js';
import { S_IFDIR, S_IFMT, modeOf } from '../format/inode.js';
import { BARRIER_LOCK, SEGMENTS_LOCK, SEGMENTS_MAX, segmentLock } from '../format/layout.js';
import { FsError } from '../vfs/vfs.js';
import type { FsCore } from './core.js';
import type { InodeState } from './inode-table.js';
import type { Newcomers } from './newcomers.js';
import type { WriteBack } from './write-back.js';

/** The kernel is told again while reads were served meanwhile. */
const ROUNDS_MAX = 10;
/** Before the deadline, so that the mount is gone before the lease is (rule 22). */
const MARGIN_MS = 500;

export class Revoker {
  readonly #core: FsCore;
  readonly #writeBack: WriteBack;
  readonly #newcomers: Newcomers;
  /** Set by the barrier. */
  onBarrier: () => Promise<void> = () => Promise.resolve();

  constructor(core: FsCore, writeBack: WriteBack, newcomers: Newcomers) {
    this.#core = core;
    this.#writeBack = writeBack;
    this.#newcomers = newcomers;
  }

  /** The clerk's `onRevoke`. */
  async revoke(locks: readonly RevokedLock[], deadlineMs: number): Promise<void> {
    const core = this.#core;
    if (core.dead !== undefined) return;
    const states: InodeState[] = [];
    const kept = new Set<InodeState>();
    let everything = false;
    for (const { id, mode, keep } of locks) {
      if (mode === 'open' || mode === 'destroy') continue;
      if (typeof id === 'number') {
        const state = core.inodes.get(id);
        states.push(state);
        // Rule 24: what somebody here may write is never held shared below a kernel.
        if (keep === 'shared' && !core.onlyExclusive(state)) kept.add(state);
      } else if (id === BARRIER_LOCK) await this.onBarrier();
      else if (id === SEGMENTS_LOCK || isSegment(id)) everything = true;
    }
    if (states.length > 0) await this.#kernel(states, deadlineMs);
    if (this.#newcomers.count > 0) await this.#newcomers.settle();
    if (everything) await this.#segments(locks);
    await this.#inodes(states, kept);
  }

  async #segments(locks: readonly RevokedLock[]): Promise<void> {
    const core = this.#core;
    const { segments } = core;
    await this.#writeBack.round();
    await this.#writeBack.owner(0);
    // What was made or freed in it is in place before somebody else makes something of it (rule 3).
    await this.#writeBack.through(core.log.end);
    for (const { id } of locks) {
      if (typeof id !== 'bigint') continue;
      if (id === SEGMENTS_LOCK) segments.forgetCount();
      else if (isSegment(id)) segments.forget(Number(id - segmentLock(0)));
    }
  }

  /** Pages and attributes of each, until no read came between. */
  async #kernel(states: readonly InodeState[], deadlineMs: number): Promise<void> {
    const core = this.#core;
    const { kernel } = core;
    if (kernel === undefined) return;
    for (const state of states) state.serving = true;
    const leftMs = deadlineMs - core.world.clock.monotonicMs() - MARGIN_MS;
    const timer = core.world.timers.after(Math.max(1, leftMs), () => {
      kernel.abort('a revoke missed its deadline');
      core.die(new FsError('EIO', 'a revoke missed its deadline'));
    });
    try {
      if (states.some(isDirectory)) kernel.invalidateNames();
      await Promise.all(
        states.map(async (state) => {
          for (let round = 0; round < ROUNDS_MAX; round++) {
            const reads = state.servedReads;
            await kernel.invalidateInode(state.ino);
            if (state.servedReads === reads) break;
          }
        }),
      );
    } finally {
      timer.cancel();
      for (const state of states) state.serving = false;
    }
  }

  async #inodes(states: readonly InodeState[], kept: ReadonlySet<InodeState>): Promise<void> {
    const core = this.#core;
    await Promise.all(states.map((state) => this.#content(state)));
    if (core.dead !== undefined) throw core.dead;
    await core.log.flush();
    await Promise.all(states.map((state) => this.#writeBack.owner(state.ino)));
    for (const state of states) {
      if (kept.has(state)) continue;
      core.cache.dropOwner(state.ino);
      state.forget();
      core.touched.delete(state);
      if (state.opens === 0 && state.lifePending === undefined) core.inodes.remove(state);
    }
  }

  /** Content and overlay are in blocks and on the disk. Throws when that fails: the lock stays, and this comes again. */
  async #content(state: InodeState): Promise<void> {
    const core = this.#core;
    while (core.dead === undefined && (state.content?.busy === true || state.hasOverlay)) {
      await state.content?.writing;
      const before = state.error;
      await this.#writeBack.file(state);
      if (state.error !== undefined && state.error !== before) throw state.error;
    }
  }
}

function isSegment(id: bigint): boolean {
  return id >= segmentLock(0) && id < segmentLock(SEGMENTS_MAX);
}

function isDirectory(state: InodeState): boolean {
  const { header } = state;
  return header === undefined || (modeOf(header) & S_IFMT) === S_IFDIR;
}
