/**
 * When an answer may leave the engine: rules 25 and 26 (TXN-2).
 *
 * ```
 *   vdl >= lsn                    nothing that it says can still be lost
 *   confirmed within the lease    no other engine can have written since
 * ```
 *
 * Without the second, an engine that was replaced and does not know it would serve its cache for ever.
 */
import type { Volume } from '../volume/volume.js';

/** Shorter than the lease that a successor waits for, by what two clocks may drift apart in it. */
const CONFIRMED_WITHIN_MS = 900;

export class AnswerGate {
  readonly #volume: Volume;

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  /** Whether an answer that rests on `lsn` may go out now. */
  isOpen(lsn: number): boolean {
    const volume = this.#volume;
    return lsn <= volume.vdl && volume.confirmedWithin(CONFIRMED_WITHIN_MS);
  }

  /** Calls `done` once: when the answer may go out, or with the error of which the volume died. */
  wait(lsn: number, done: (error?: Error) => void): void {
    const volume = this.#volume;
    if (lsn > volume.vdl) {
      volume.wait(lsn, (error) => {
        if (error === undefined) this.#confirm(done);
        else done(error);
      });
      return;
    }
    this.#confirm(done);
  }

  #confirm(done: (error?: Error) => void): void {
    const volume = this.#volume;
    if (volume.confirmedWithin(CONFIRMED_WITHIN_MS)) {
      done();
      return;
    }
    volume.confirm().then(
      () => this.#confirm(done),
      (error: Error) => {
        // Too few nodes for the moment: answers wait as long as it takes, or until the volume is dead.
        if (volume.failure === undefined) this.#confirm(done);
        else done(error);
      },
    );
  }
}
