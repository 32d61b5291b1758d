/** What the coordination client needs of the clerk that it belongs to. */
import { SextantError, isSextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';

export interface CoordinationTransport {
  readonly world: World;
  /** The session. */
  readonly token: number;
  /** Aborted once the lease is lost or the clerk is closed; the reason is the error. */
  readonly lost: AbortSignal;
  /**
   * One try at the leader, or at whom the clerk takes for it; after NOT_LEADER or DISCONNECTED the next try goes to
   * another one. Rejects like RpcClient.call, without trying again.
   */
  call(
    type: number,
    body: Uint8Array,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array>;
}

/** Of one try. A leader that is cut off from its group never answers. */
export const TRY_TIMEOUT_MS = 3000;
const BACKOFF_MIN_MS = 5;
const BACKOFF_MAX_MS = 500;

/** Pause before try number `failures` + 1; half of it is random, so that clerks do not come back in step. */
export function backoffMs(world: World, failures: number): number {
  const full = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures, 10));
  return full / 2 + (full / 2) * world.random.unit();
}

/** The session is over: nothing can be tried again. */
export function endsSession(error: unknown): boolean {
  return isSextantError(error, 'LEASE_LOST') || isSextantError(error, 'FENCED');
}

/** CLOSED is a connection that the clerk gave up for another; its own end is `lost`. */
export function mayRetry(error: unknown): boolean {
  return error instanceof SextantError && (error.remedy === 'retry' || error.code === 'CLOSED');
}

/** What a waiter gets when its session ended. */
export function lostError(lost: AbortSignal): SextantError {
  const { reason } = lost as { reason: unknown };
  if (reason instanceof SextantError) return reason;
  return new SextantError('LEASE_LOST', 'the session has ended', { cause: reason });
}

export function cancelled(): SextantError {
  return new SextantError('CANCELLED', 'cancelled by its signal');
}

/** Calls `fn` once if the signal aborts; the result takes that back. */
export function onAbort(signal: AbortSignal | undefined, fn: () => void): () => void {
  if (signal === undefined) return () => undefined;
  signal.addEventListener('abort', fn, { once: true });
  return () => signal.removeEventListener('abort', fn);
}
