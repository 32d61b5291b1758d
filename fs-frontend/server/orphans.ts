/**
 * Orphans: inodes whose last link this server removed while somebody had them open, or that were too big to be freed at once.
 *
 * ```
 *   unlink --record: nlink 0, on the list--> waits for our own handles, then for `destroy` (rule 7) --> freed piece by piece
 * ```
 *
 * The list is on the disk, in the registers of the log slot; what a dead server had on it is taken over by whoever recovers it.
 */
import type { Block } from '../format/block.js';
import { clearDirectory } from '../format/directory.js';
import { FILE_BLOCKS_MAX, punchExtents } from '../format/extents.js';
import {
  Content,
  InodeState as Stored,
  contentOf,
  generationOf,
  stateOf,
} from '../format/inode.js';
import { OrphanList } from '../format/orphans.js';
import { Suspend } from '../format/suspend.js';
import { FsError, type Ino } from '../vfs/vfs.js';
import { freeInode } from './changes.js';
import type { FsCore } from './core.js';
import type { Operation } from './operation.js';

const WORKERS_MAX = 8;
const RETRY_MS = 1000;
/** Extents freed in one transaction. */
const EXTENTS_AT_ONCE = 32;

interface Task {
  readonly ino: Ino;
  readonly generation: number;
}

export class Orphans {
  readonly list: OrphanList;
  readonly #core: FsCore;
  readonly #queue: Task[] = [];
  /** Waiting for handles of this server. */
  readonly #open = new Map<Ino, Task>();
  #workers = 0;
  /** Waiting for handles of other servers. */
  #waiting = 0;
  #idle: (() => void)[] = [];

  constructor(core: FsCore, slot: number) {
    this.#core = core;
    this.list = new OrphanList(slot);
  }

  get count(): number {
    return this.#queue.length + this.#open.size + this.#workers + this.#waiting;
  }

  enqueue(ino: Ino, generation: number): void {
    const task = { ino, generation };
    if ((this.#core.inodes.peek(ino)?.opens ?? 0) > 0) this.#open.set(ino, task);
    else void this.#wait(task);
  }

  /** The last handle of this server was closed. */
  closed(ino: Ino): void {
    const task = this.#open.get(ino);
    if (task === undefined) return;
    this.#open.delete(ino);
    void this.#wait(task);
  }

  /** Resolves when nothing is being freed; orphans that others have open are waited for no longer than `ms`. */
  async drain(ms: number): Promise<void> {
    if (this.#workers === 0 && this.#queue.length === 0) return;
    await Promise.race([
      new Promise<void>((resolve) => this.#idle.push(resolve)),
      this.#core.world.timers.sleep(ms),
    ]);
  }

  /**
   * Until no server has it open. The lock stays with the clerk: it is not kept in use while the content's lock is waited for,
   * because who opens a file takes them in the other order.
   */
  async #wait(task: Task): Promise<void> {
    const core = this.#core;
    this.#waiting++;
    try {
      await core.inodes.peek(task.ino)?.lifePending;
      const handle = await core.table.acquire(task.ino, 'destroy');
      handle.release();
      if (core.dead === undefined) this.#start(task);
    } catch (error) {
      core.errorOf(error);
    } finally {
      this.#waiting--;
    }
  }

  #start(task: Task): void {
    this.#queue.push(task);
    if (this.#workers >= WORKERS_MAX) return;
    this.#workers++;
    // Not within the operation that found it.
    this.#core.world.timers.turn(() => void this.#work());
  }

  async #work(): Promise<void> {
    const core = this.#core;
    try {
      for (;;) {
        const task = this.#queue.shift();
        if (task === undefined || core.dead !== undefined) break;
        try {
          await this.#destroy(task);
        } catch (error) {
          if (core.dead !== undefined) break;
          if (error instanceof FsError && error.errno === 'ESTALE') continue;
          core.world.log.warn('an orphan is not freed yet', {
            ino: task.ino,
            error: String(error),
          });
          core.world.timers.after(RETRY_MS, () => this.enqueue(task.ino, task.generation));
        }
      }
    } finally {
      this.#workers--;
      if (this.#workers === 0) for (const wake of this.#idle.splice(0)) wake();
    }
  }

  async #destroy(task: Task): Promise<void> {
    const core = this.#core;
    const state = core.inodes.peek(task.ino);
    await state?.content?.writing;
    const freed = await core.run((op) => this.#free(op, task));
    if (!freed) void this.#wait(task);
  }

  /** False: somebody has opened it meanwhile. */
  #free(op: Operation, { ino, generation }: Task): boolean {
    const core = this.#core;
    const { tx } = core;
    op.lock(ino, true);
    if (!op.tryLockId(ino, 'destroy')) return false;
    const header = core.header(ino);
    if (stateOf(header) !== Stored.orphan || generationOf(header) !== generation) {
      op.begin();
      this.list.remove(tx, ino, generation);
      op.commit();
      return true;
    }
    op.begin();
    const more = this.#piece(header);
    if (!more) {
      freeInode(core, header);
      this.list.remove(tx, ino, generation);
    }
    op.commit();
    if (more) throw new Suspend('block', Promise.resolve());
    core.inodes.peek(ino)?.forget();
    return true;
  }

  /** Frees a part of what it has. True: there is more. */
  #piece(header: Block): boolean {
    const { tx } = this.#core;
    const content = contentOf(header);
    if (content === Content.directoryTree) return !clearDirectory(tx, header);
    if (content !== Content.extents && content !== Content.extentTree) return false;
    return punchExtents(tx, header, 0, FILE_BLOCKS_MAX, EXTENTS_AT_ONCE) !== FILE_BLOCKS_MAX;
  }

  /** Of another slot, found by recovery or at the start: they become ours. */
  takeOver(list: OrphanList): Promise<void> {
    const core = this.#core;
    return core.transact(() => {
      const found = list.entries(core.cache);
      for (const { ino, generation } of found) {
        if (list.slot !== this.list.slot) {
          list.remove(core.tx, ino, generation);
          this.list.add(core.tx, ino, generation);
        }
      }
      core.tx.commit(core.log);
      for (const { ino, generation } of found) this.enqueue(ino, generation);
    });
  }
}
