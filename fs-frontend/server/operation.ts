/**
 * One operation under way: the locks it uses and its transaction. The body of an operation is a synchronous function over
 * cached blocks; it names its locks as it goes, and is run again, whole, when something was missing.
 *
 * ```
 *   body: lock, read, check, edit, commit --> result                 nothing was missing: the common case, no promise
 *     | lock not held here --> undo; let all locks go; take what it had and what it missed, by id; again
 *     | block not cached   --> undo; keep the locks while it is read; again
 *     | no room, no space  --> undo; let all locks go; wait; again
 * ```
 *
 * - Locks are waited for only in `acquireMany`, all at once and in the one order, so operations never wait in a circle; what
 *   was looked up before is looked up again under the locks (the paper's phase 2).
 * - Between the first lock and `commit` nothing else runs, so an operation excludes every other one of this server.
 * - Memory (attributes not yet logged, handles, chunks) is changed after `commit` only: everything before may run again.
 */
import type { LockHandle, LockWanted } from '#lockservice/clerk/index.js';
import type { Block } from '../format/block.js';
import { Suspend } from '../format/suspend.js';
import type { Ino } from '../vfs/vfs.js';
import type { FsCore } from './core.js';
import type { InodeState } from './inode-table.js';

/** Thrown when a lock is not held here: `wanted` of the operation says which ones it needs. */
export const LOCKS_NEEDED = new Suspend('lock', Promise.resolve());

type Mode = 'shared' | 'exclusive' | 'destroy' | 'open';

interface Use {
  id: number | bigint;
  mode: Mode;
  /** Undefined: implied by a segment's lock, or served while it goes back (rule 22). */
  handle: LockHandle | undefined;
  /** In this attempt. */
  used: boolean;
}

const isContent = (mode: Mode): boolean => mode === 'shared' || mode === 'exclusive';
const isStrong = (mode: Mode): boolean => mode === 'exclusive' || mode === 'destroy';

export class Operation {
  readonly core: FsCore;
  readonly #uses: Use[] = [];
  #count = 0;
  /** What the attempt needs and does not hold. */
  #missing: LockWanted | undefined = undefined;
  #folded: InodeState[] = [];

  constructor(core: FsCore) {
    this.core = core;
  }

  /** The inode's lock, for reading or for changing it. Throws LOCKS_NEEDED. */
  lock(ino: Ino, exclusive: boolean): void {
    const state = this.core.inodes.peek(ino);
    const mode =
      exclusive || (state !== undefined && this.core.onlyExclusive(state)) ? 'exclusive' : 'shared';
    if (state !== undefined && (state.implied || (state.serving && !exclusive))) return;
    this.lockId(ino, mode);
  }

  /** As `lock`, also while the lock goes back and the kernel writes its dirty pages (rule 22). */
  lockForContent(ino: Ino): void {
    const state = this.core.inodes.peek(ino);
    if (state !== undefined && (state.implied || state.serving)) return;
    this.lockId(ino, 'exclusive');
  }

  lockId(id: number | bigint, mode: Mode): void {
    for (let i = 0; i < this.#count; i++) {
      const use = this.#uses[i] as Use;
      if (use.id !== id || isContent(use.mode) !== isContent(mode)) continue;
      use.used = true;
      if (isStrong(mode) && !isStrong(use.mode)) this.#need(id, mode);
      return;
    }
    const handle = this.core.table.tryAcquireCached(id, mode);
    if (handle === undefined) this.#need(id, mode);
    else this.#add(id, mode, handle, true);
  }

  /** The lock if it costs nothing; false otherwise. */
  tryLockId(id: number | bigint, mode: Mode): boolean {
    for (let i = 0; i < this.#count; i++) {
      const use = this.#uses[i] as Use;
      if (use.id !== id || isContent(use.mode) !== isContent(mode)) continue;
      if (isStrong(mode) && !isStrong(use.mode)) return false;
      use.used = true;
      return true;
    }
    const handle = this.core.table.tryAcquireCached(id, mode);
    if (handle === undefined) return false;
    this.#add(id, mode, handle, true);
    return true;
  }

  /** Takes a handle out of the operation, to be kept longer than it. */
  keep(id: number | bigint, mode: Mode): LockHandle | undefined {
    for (let i = 0; i < this.#count; i++) {
      const use = this.#uses[i] as Use;
      if (use.id !== id || use.mode !== mode) continue;
      const { handle } = use;
      use.handle = undefined;
      return handle;
    }
    return undefined;
  }

  /** Begins the transaction. Throws Suspend while this server may not change anything, or has too much to write back. */
  begin(): void {
    this.core.mayChange();
    this.core.tx.begin();
  }

  /** The overlay of this inode's attributes goes with the transaction, once. */
  fold(state: InodeState, header: Block): void {
    if (!state.hasOverlay || this.#folded.includes(state)) return;
    state.fold(this.core.tx, header);
    this.#folded.push(state);
  }

  /** What was edited is in the log, in memory and for good as far as this server is concerned. */
  commit(): void {
    const { core } = this;
    const position = core.tx.commit(core.log);
    if (position !== 0) core.committed();
    for (const state of this.#folded) state.clearOverlay();
    this.#folded.length = 0;
  }

  // For the runner ------------------------------------------------------------------------------

  /** Undoes the transaction, if there is one. */
  undo(): void {
    if (this.core.tx.open) this.core.tx.abort();
    this.#folded.length = 0;
  }

  /** Lets every lock go. */
  release(): void {
    for (let i = 0; i < this.#count; i++) {
      const use = this.#uses[i] as Use;
      use.handle?.release();
      use.handle = undefined;
    }
    this.#count = 0;
  }

  /** Everything that the attempt has used is used no more, until it names it again. */
  again(): void {
    for (let i = 0; i < this.#count; i++) (this.#uses[i] as Use).used = false;
  }

  /** Lets all locks go and takes those of the last attempt and the one that it missed. */
  async takeLocks(): Promise<void> {
    const wanted: LockWanted[] = [];
    const missing = this.#missing;
    this.#missing = undefined;
    for (let i = 0; i < this.#count; i++) {
      const { id, mode, used } = this.#uses[i] as Use;
      if (!used) continue;
      if (missing !== undefined && missing.id === id && sameAspect(missing.mode, mode)) continue;
      wanted.push({ id, mode });
    }
    if (missing !== undefined) wanted.push(missing);
    this.release();
    const handles = await this.core.table.acquireMany(wanted);
    for (let i = 0; i < handles.length; i++) {
      const { id, mode } = wanted[i] as LockWanted;
      this.#add(id, mode as Mode, handles[i], false);
    }
  }

  #need(id: number | bigint, mode: Mode): never {
    this.#missing = { id, mode };
    throw LOCKS_NEEDED;
  }

  #add(id: number | bigint, mode: Mode, handle: LockHandle | undefined, used: boolean): void {
    const at = this.#count++;
    const use = this.#uses[at];
    if (use === undefined) {
      this.#uses.push({ id, mode, handle, used });
      return;
    }
    use.id = id;
    use.mode = mode;
    use.handle = handle;
    use.used = used;
  }
}

function sameAspect(a: string, b: string): boolean {
  return isContent(a as Mode) === isContent(b as Mode);
}
