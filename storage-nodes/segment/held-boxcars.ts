/**
 * Boxcars that came before their predecessors. They wait in memory only: nothing in them is
 * acknowledged, so a crash may lose them, and the journal stays in chain order. Bounded; when full,
 * the newest go first, because gossip and resending fill a hole from below.
 */
import type { BoxcarHeader } from '#core/redo/boxcar.js';

export interface HeldBoxcar {
  readonly header: BoxcarHeader;
  readonly bytes: Uint8Array;
}

const COMPACT_AT = 64;

export class HeldBoxcars {
  readonly #bytesMax: number;
  #boxcars: HeldBoxcar[] = [];
  /** Those before it were taken out. */
  #head = 0;
  #bytes = 0;
  #lastLsn = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Highest LSN held; 0 when nothing is. */
  get lastLsn(): number {
    return this.#lastLsn;
  }

  get count(): number {
    return this.#boxcars.length - this.#head;
  }

  /** Copies `bytes`. False: something had to be dropped to stay within bounds. */
  add(header: BoxcarHeader, bytes: Uint8Array): boolean {
    let at = this.#boxcars.length;
    while (
      at > this.#head &&
      (this.#boxcars[at - 1] as HeldBoxcar).header.firstLsn > header.firstLsn
    )
      at--;
    const before = at > this.#head ? this.#boxcars[at - 1] : undefined;
    const repeated =
      before !== undefined &&
      before.header.firstLsn === header.firstLsn &&
      before.header.lastLsn >= header.lastLsn;
    if (repeated) return true;
    this.#boxcars.splice(at, 0, { header, bytes: bytes.slice() });
    this.#bytes += bytes.length;
    this.#lastLsn = Math.max(this.#lastLsn, header.lastLsn);
    if (this.#bytes <= this.#bytesMax) return true;
    while (this.#bytes > this.#bytesMax) {
      this.#bytes -= this.#boxcars.pop()?.bytes.length ?? 0;
    }
    this.#lastLsn = 0;
    for (let i = this.#head; i < this.#boxcars.length; i++) {
      this.#lastLsn = Math.max(this.#lastLsn, (this.#boxcars[i] as HeldBoxcar).header.lastLsn);
    }
    return false;
  }

  /** Takes out the first one that reaches above `scl` and starts at or below the record after it. */
  takeReaching(scl: number): HeldBoxcar | undefined {
    while (this.#head < this.#boxcars.length) {
      const first = this.#boxcars[this.#head] as HeldBoxcar;
      if (first.header.lastLsn > scl && first.header.backLink > scl) return undefined;
      this.#head++;
      this.#bytes -= first.bytes.length;
      if (this.#head === this.#boxcars.length) this.clear();
      else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#boxcars.length) {
        this.#boxcars = this.#boxcars.slice(this.#head);
        this.#head = 0;
      }
      if (first.header.lastLsn > scl) return first;
    }
    return undefined;
  }

  clear(): void {
    this.#boxcars = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#lastLsn = 0;
  }
}
