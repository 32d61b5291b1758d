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

export class HeldBoxcars {
  readonly #bytesMax: number;
  readonly #boxcars: HeldBoxcar[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Highest LSN held; 0 when nothing is. */
  get lastLsn(): number {
    return this.#boxcars.reduce((highest, held) => Math.max(highest, held.header.lastLsn), 0);
  }

  get count(): number {
    return this.#boxcars.length;
  }

  /** Copies `bytes`. False: something had to be dropped to stay within bounds. */
  add(header: BoxcarHeader, bytes: Uint8Array): boolean {
    let at = this.#boxcars.length;
    while (at > 0 && (this.#boxcars[at - 1] as HeldBoxcar).header.firstLsn > header.firstLsn) at--;
    const before = this.#boxcars[at - 1];
    const repeated =
      before !== undefined &&
      before.header.firstLsn === header.firstLsn &&
      before.header.lastLsn >= header.lastLsn;
    if (repeated) return true;
    this.#boxcars.splice(at, 0, { header, bytes: bytes.slice() });
    this.#bytes += bytes.length;
    let kept = true;
    while (this.#bytes > this.#bytesMax) {
      const dropped = this.#boxcars.pop();
      this.#bytes -= dropped?.bytes.length ?? 0;
      kept = false;
    }
    return kept;
  }

  /** Takes out the first one that reaches above `scl` and starts at or below the record after it. */
  takeReaching(scl: number): HeldBoxcar | undefined {
    while (this.#boxcars.length > 0) {
      const first = this.#boxcars[0] as HeldBoxcar;
      if (first.header.lastLsn > scl && first.header.backLink > scl) return undefined;
      this.#boxcars.shift();
      this.#bytes -= first.bytes.length;
      if (first.header.lastLsn > scl) return first;
    }
    return undefined;
  }

  clear(): void {
    this.#boxcars.length = 0;
    this.#bytes = 0;
  }
}
