/**
 * One commit for everything that arrived in a turn of the event loop (rule 4, LOG-2):
 *
 * ```
 *   appends ... -> store.commit() -> answers and acknowledgements -> admit what was appended
 * ```
 *
 * Admission only indexes what is durable already, so the acknowledgement does not wait for it: links write when the
 * turn's callbacks are over, and the microtask that admits comes right behind.
 *
 * DISK_FULL keeps all of it queued and tries again; any other failure is final.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import type { Timer, World } from '#core/world/world.js';
import type { Location, SegmentKey, Store } from '../store/store.js';
import type { Faults } from './faults.js';

const FULL_RETRY_MS = 100;

interface Admission {
  readonly segment: SegmentKey;
  readonly location: Location;
  readonly bytes: Uint8Array;
}

export interface TurnOptions {
  readonly world: World;
  readonly store: Store;
  readonly faults: Faults;
  /** Just before the write: last chance to add small state. */
  readonly beforeCommit: () => void;
  /** SCLs are durable now. */
  readonly afterCommit: () => void;
  /** What was committed is indexed too. */
  readonly afterAdmit: () => void;
  readonly onFull: (full: boolean) => void;
  readonly onFailed: (error: unknown) => void;
}

export class Turn {
  readonly #options: TurnOptions;
  readonly #admissions: Admission[] = [];
  /** How many of them are durable. */
  #committed = 0;
  #waiting: ((error?: unknown) => void)[] = [];
  #scheduled = false;
  #retry: Timer | undefined;
  #full = false;
  /** Why nothing is committed any more. */
  #ended: { readonly error: unknown } | undefined;

  constructor(options: TurnOptions) {
    this.#options = options;
  }

  get full(): boolean {
    return this.#full;
  }

  /** Boxcars were appended and not yet admitted. */
  get pending(): boolean {
    return this.#admissions.length > 0;
  }

  /** Appends now, admits after the commit; `bytes` is copied. */
  append(segment: SegmentKey, bytes: Uint8Array): void {
    const location = this.#options.store.appendBoxcar(segment, bytes);
    this.#admissions.push({ segment, location, bytes: bytes.slice() });
    this.schedule();
  }

  /** Resolves with `value` when all that was appended so far is durable; rejects when nothing will be any more. */
  durable<T>(value: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => {
        if (error !== undefined) {
          reject(
            error instanceof Error
              ? error
              : new SextantError('INTERNAL', 'commit failed', { cause: error }),
          );
          return;
        }
        resolve(value());
      };
      if (this.#ended !== undefined) {
        settle(this.#ended.error);
        return;
      }
      this.#waiting.push(settle);
      this.schedule();
    });
  }

  schedule(): void {
    if (this.#scheduled || this.#full) return;
    this.#scheduled = true;
    this.#options.world.timers.turn(() => {
      this.#scheduled = false;
      if (this.#commit() && this.pending) queueMicrotask(() => this.#admit());
    });
  }

  /** Commits and admits now; false when the disk is full or the node has failed. */
  flush(): boolean {
    if (!this.#commit()) return false;
    this.#admit();
    return true;
  }

  #admit(): void {
    if (this.#committed === 0) return;
    const { store, afterAdmit } = this.#options;
    for (const { segment, location, bytes } of this.#admissions.splice(0, this.#committed)) {
      store.admit(segment, location, bytes);
    }
    this.#committed = 0;
    afterAdmit();
  }

  #commit(): boolean {
    if (this.#ended !== undefined) return false;
    this.#admit();
    const { store, faults, beforeCommit, afterCommit } = this.#options;
    try {
      beforeCommit();
      if (faults.ackBeforeSync === true) afterCommit();
      if (store.dirty) store.commit();
    } catch (error) {
      this.#failed(error);
      return false;
    }
    if (this.#full) {
      this.#full = false;
      this.#options.onFull(false);
    }
    this.#committed = this.#admissions.length;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const done of waiting) done();
    afterCommit();
    if (this.#committed === 0) this.#options.afterAdmit();
    return true;
  }

  /** Nothing is committed or answered any more. */
  end(error: unknown): void {
    this.#ended ??= { error };
    this.#retry?.cancel();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const done of waiting) done(error);
  }

  #failed(error: unknown): void {
    if (!isSextantError(error, 'DISK_FULL')) {
      this.end(error);
      this.#options.onFailed(error);
      return;
    }
    if (!this.#full) {
      this.#full = true;
      this.#options.onFull(true);
    }
    // Reads flush too while the disk is full: still one retry at a time.
    this.#retry?.cancel();
    this.#retry = this.#options.world.timers.after(FULL_RETRY_MS, () => this.flush());
  }
}
