/** An acquire that waits: a promise, and what may end it early. */
import { SextantError } from '#core/errors.js';
import type { Level } from '../protocol/messages.js';
import { Waiter, type CachedLock } from './cached-lock.js';
import type { ClerkCore } from './clerk-core.js';

export interface AcquireOptions {
  /** Ends the wait with CANCELLED. */
  readonly signal?: AbortSignal;
  /** CONFLICT instead of waiting for somebody who holds on to the lock. */
  readonly noWait?: boolean;
  /** Ends the wait with TIMEOUT. */
  readonly timeoutMs?: number;
}

export class PendingAcquire extends Waiter {
  readonly #resolve: () => void;
  readonly #reject: (error: SextantError) => void;
  #disarm: (() => void) | undefined = undefined;

  constructor(
    lock: CachedLock,
    level: Level,
    options: AcquireOptions | undefined,
    upgrade: boolean,
    resolve: () => void,
    reject: (error: SextantError) => void,
  ) {
    super(lock, level, options?.noWait === true, upgrade);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Watches signal and clock. Call it before the wait begins. */
  arm(
    core: ClerkCore,
    timers: { after(ms: number, fn: () => void): { cancel(): void } },
    options: AcquireOptions | undefined,
  ): void {
    if (options === undefined) return;
    const { signal, timeoutMs } = options;
    if (signal === undefined && timeoutMs === undefined) return;
    const onAbort = (): void =>
      core.cancel(this, new SextantError('CANCELLED', 'the acquire was cancelled'));
    signal?.addEventListener('abort', onAbort);
    const timer =
      timeoutMs === undefined
        ? undefined
        : timers.after(timeoutMs, () =>
            core.cancel(this, new SextantError('TIMEOUT', `no lock within ${timeoutMs} ms`)),
          );
    this.#disarm = () => {
      signal?.removeEventListener('abort', onAbort);
      timer?.cancel();
    };
  }

  settle(error: SextantError | undefined): void {
    this.#disarm?.();
    if (error === undefined) this.#resolve();
    else this.#reject(error);
  }
}

/** Throws CANCELLED or CONFIG. */
export function checkAcquireOptions(options: AcquireOptions): void {
  if (options.signal?.aborted === true) {
    throw new SextantError('CANCELLED', 'the acquire was cancelled');
  }
  const { timeoutMs } = options;
  if (timeoutMs !== undefined && !(timeoutMs >= 0 && timeoutMs <= 0x7fff_ffff)) {
    throw new SextantError('OUT_OF_RANGE', `timeoutMs is 0 to 2^31-1, not ${timeoutMs}`);
  }
}
