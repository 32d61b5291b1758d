/**
 * A connection's answers on their way out, in order, each batch held back until the gate is open for it (rules 25, 26).
 *
 * ```
 *   output --flush(lsn)--> gate open, nothing held: socket
 *                          else: held [bytes, lsn] ... --gate--> socket
 * ```
 *
 * Bounded by its user: while `isFull` no more is asked of it; `onDrained` follows.
 */
import type { AnswerGate } from '../session/answer-gate.js';
import { Output } from './output.js';
import type { Wire } from './wire.js';

/** Answers gathered past this leave in the middle of a result. */
export const BATCH_BYTES = 64 * 1024;
const HIGH_WATER_BYTES = 1024 * 1024;

interface Held {
  readonly bytes: Buffer;
  readonly lsn: number;
}

export class Answers {
  readonly output = new Output();
  /** There is room again after `isFull`. */
  onDrained: () => void = () => {};
  /** The volume died: nothing that is held will ever go out. */
  onLost: (error: Error) => void = () => {};

  readonly #gate: AnswerGate;
  readonly #wire: Wire;
  #held: Held[] = [];
  #heldBytes = 0;
  #waiting = false;
  #wasFull = false;
  #ending = false;
  #lost = false;

  constructor(gate: AnswerGate, wire: Wire) {
    this.#gate = gate;
    this.#wire = wire;
  }

  get isFull(): boolean {
    const full = this.#heldBytes + this.#wire.queuedBytes > HIGH_WATER_BYTES;
    if (full) this.#wasFull = true;
    return full;
  }

  /** Sends what is gathered once nothing at or below `lsn` can be lost any more. */
  flush(lsn: number): void {
    const { output } = this;
    if (output.length === 0 || this.#lost) return;
    if (this.#held.length === 0 && this.#gate.isOpen(lsn)) {
      // Hot: the kernel nearly always takes all of it at once, and the buffer is used again.
      if (this.#wire.write(output.bytes.subarray(0, output.length))) output.reset();
      else output.take();
      return;
    }
    const bytes = output.take();
    const last = this.#held.at(-1);
    this.#held.push({ bytes, lsn: last !== undefined && last.lsn > lsn ? last.lsn : lsn });
    this.#heldBytes += bytes.length;
    this.#wait();
  }

  /** Errors before there is a session, and the last words: they say nothing about data. */
  flushNow(): void {
    const { output } = this;
    if (output.length === 0) return;
    this.#wire.write(output.take());
  }

  /** Drops what is held and only sends last words from now on. */
  abandon(): void {
    this.#lost = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.output.reset();
  }

  /** Closes the socket after the last held answer. */
  end(): void {
    this.#ending = true;
    if (this.#held.length === 0) this.#wire.end();
  }

  /** The socket has room again. */
  drained(): void {
    this.#room();
  }

  #wait(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#gate.wait(this.#held[0].lsn, (error) => {
      this.#waiting = false;
      if (this.#lost) return;
      if (error === undefined) this.#release();
      else this.onLost(error);
    });
  }

  #release(): void {
    let count = 0;
    while (count < this.#held.length && this.#gate.isOpen(this.#held[count].lsn)) {
      const { bytes } = this.#held[count++];
      this.#heldBytes -= bytes.length;
      this.#wire.write(bytes);
    }
    this.#held.splice(0, count);
    if (this.#held.length > 0) this.#wait();
    else if (this.#ending) this.#wire.end();
    this.#room();
  }

  #room(): void {
    if (!this.#wasFull || this.isFull) return;
    this.#wasFull = false;
    this.onDrained();
  }
}
