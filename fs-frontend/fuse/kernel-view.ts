/**
 * What the kernel knows of this mount and how it is made to forget (the `KernelCache` of a file server, rules 20 to 25): inodes with their
 * lookup counts, invalidations under way, READs that they hold back.
 */
import type { Ino, KernelCache } from '../vfs/vfs.js';
import { ROOT_INO } from '../vfs/vfs.js';
import type { Call } from './call.js';
import { Invalidation, TO_THE_END } from './invalidation.js';
import type { Notifier } from './notifier.js';

interface UnderWay {
  readonly core: Invalidation;
  readonly held: Call[];
  readonly done: Promise<void>;
}

export interface KernelViewOptions {
  readonly notifier: Notifier;
  /** Ends the connection: all requests fail from now on, nothing is answered from cache. */
  readonly abort: (reason: string) => void;
  /** Serves READs that were held. */
  readonly resume: (call: Call) => void;
  readonly log: (line: string) => void;
}

export class KernelView implements KernelCache {
  readonly #options: KernelViewOptions;
  readonly #lookups = new Map<Ino, number>();
  readonly #underWay = new Map<Ino, UnderWay>();
  /** The kernel can be told to look names up again; without it no name is kept (rule 23). */
  namesKept = false;

  constructor(options: KernelViewOptions) {
    this.#options = options;
  }

  /** An answer carried this inode: the kernel has it until it forgets it as often. */
  lookedUp(ino: Ino): void {
    this.#lookups.set(ino, (this.#lookups.get(ino) ?? 0) + 1);
  }

  forget(ino: Ino, count: number): void {
    const left = (this.#lookups.get(ino) ?? 0) - count;
    if (left > 0) this.#lookups.set(ino, left);
    else this.#lookups.delete(ino);
  }

  get inodeCount(): number {
    return this.#lookups.size;
  }

  invalidateInode(ino: Ino): Promise<void> {
    // All that the kernel got before this moment is gone when an invalidation that still runs is done (INV-3).
    const before = this.#underWay.get(ino);
    if (before !== undefined) return before.done;
    if (ino !== ROOT_INO && !this.#lookups.has(ino)) return Promise.resolve();
    const core = new Invalidation();
    const held: Call[] = [];
    const done = this.#tell(ino, core, held);
    this.#underWay.set(ino, { core, held, done });
    return done;
  }

  /** The kernel asks for the attributes again; its pages stay. */
  invalidateAttributes(ino: Ino): void {
    void this.#options.notifier.invalidate(ino, -1, TO_THE_END);
  }

  invalidateNames(): void {
    if (this.namesKept && !this.#options.notifier.incrementEpoch()) {
      this.#options.log('the kernel refused to drop names');
    }
  }

  abort(reason: string): void {
    this.#options.abort(reason);
  }

  /** Whether this READ waits until its file's invalidation is done; it is then given to `resume`. */
  holds(call: Call, start: number, length: number): boolean {
    const underWay = this.#underWay.get(call.node);
    if (underWay === undefined || underWay.core.read(start, start + length) === 'answer')
      return false;
    underWay.held.push(call);
    return true;
  }

  async #tell(ino: Ino, core: Invalidation, held: Call[]): Promise<void> {
    for (let range = core.underWay; range !== undefined; range = core.notified()) {
      const code = await this.#options.notifier.invalidate(ino, range.start, range.end);
      if (code === '' || code === 'ENOENT') continue;
      // A connection that is gone has no cache; anything else leaves a stale one behind.
      if (code !== 'ENODEV' && code !== 'ENOTCONN' && code !== 'ECONNABORTED') {
        this.abort(`the kernel refused to drop inode ${ino}: ${code}`);
      }
      break;
    }
    this.#underWay.delete(ino);
    // Behind whoever waits for the end: they are new requests and take the lock anew.
    if (held.length > 0) {
      setImmediate(() => {
        for (const call of held) this.#options.resume(call);
      });
    }
  }
}
