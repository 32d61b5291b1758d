/** At most so many at a time; the others wait in order. */
import { cancelled, onAbort } from './transport.js';

export class InFlight {
  readonly #max: number;
  #count = 0;
  readonly #waiting = new Set<() => void>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Runs `work` in its turn. Rejects as it does, and with CANCELLED when the signal aborts before its turn. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#count >= this.#max) await this.#turn(signal);
    else this.#count++;
    try {
      return await work();
    } finally {
      this.#pass();
    }
  }

  /** Resolves with the place of one that has ended. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(cancelled());
        return;
      }
      const enter = (): void => {
        forget();
        resolve();
      };
      const forget = onAbort(signal, () => {
        this.#waiting.delete(enter);
        reject(cancelled());
      });
      this.#waiting.add(enter);
    });
  }

  #pass(): void {
    for (const enter of this.#waiting) {
      this.#waiting.delete(enter);
      enter();
      return;
    }
    this.#count--;
  }
}
