/**
 * Thrown by whatever must wait (a block that is not cached, room in the log) in the middle of an operation. It is not an
 * error and has no stack. The one way to wait in this folder:
 *
 * ```ts
 * for (;;) {
 *   tx.begin();
 *   try { operation(tx); return tx.commit(log); }
 *   catch (error) {
 *     tx.abort();                                   // every block is as it was
 *     if (!(error instanceof Suspend)) throw error;
 *   }
 *   await error.ready;                              // then the whole operation again, its checks included
 * }
 * ```
 *
 * So nothing has to be planned ahead, and nothing is half done when an operation fails. `Suspend` also leaves
 * functions that only read; they are called again in the same way.
 */
export class Suspend {
  /** What it waits for, for people. */
  readonly reason: 'block' | 'log room' | 'lock' | 'space';
  readonly ready: Promise<unknown>;

  constructor(reason: Suspend['reason'], ready: Promise<unknown>) {
    this.reason = reason;
    this.ready = ready;
  }
}
