/**
 * Thrown by whatever must wait (a page miss, a row lock, log room) before it has changed anything. It is not an
 * error and has no stack: the statement loop awaits `ready` and calls the same step again, which goes on where it
 * was (rule 24). Whoever throws one keeps its own state such that the same call can be repeated.
 */
export class Suspend {
  /** What it waits for, for `pg_stat_activity` and people. */
  readonly reason: 'page' | 'lock' | 'log room' | 'frames' | 'grow' | 'turn';
  readonly ready: Promise<void>;

  constructor(reason: Suspend['reason'], ready: Promise<void>) {
    this.reason = reason;
    this.ready = ready;
  }
}
