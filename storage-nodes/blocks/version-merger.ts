/**
 * Gives versions back that no snapshot tells apart any more (rule 15): of two neighbours in a chain of rows with no live
 * snapshot between their epochs, the older one goes up into the newer.
 *
 * ```
 *   snapshots      2           5
 *   rows      1         3  4        6      3 and 4 are one to every reader: 4 takes in what only 3 has
 * ```
 *
 * One bounded piece a call, over and over, from row to row.
 */
import { NO_ROW, PLACE_BAD, PLACE_NONE, ROW_REGISTERS } from './block-index.js';
import type { BlockStore } from './block-store.js';

const ROWS_A_LOOK = 2048;
const MERGES_A_PIECE = 64;

export class VersionMerger {
  readonly #store: BlockStore;
  #row = 1;
  /** Rows left to look at before all were seen since the last change. */
  #left = 0;

  constructor(store: BlockStore) {
    this.#store = store;
  }

  /** Some disk's list of snapshots has changed: look at every row again. */
  restart(): void {
    this.#left = this.#store.index.rowEnd;
  }

  /** What it appends is committed by the caller. False: nothing to do. Throws DISK_FULL. */
  piece(): boolean {
    const { index } = this.#store;
    let merged = 0;
    for (let looked = 0; this.#left > 0 && looked < ROWS_A_LOOK; looked++) {
      if (this.#row >= index.rowEnd) this.#row = 1;
      const row = this.#row;
      if (index.isUsed(row) && index.rowOlder[row] !== NO_ROW && this.#store.mayMerge(row)) {
        merged += this.#merge(row, index.rowOlder[row]);
        if (merged >= MERGES_A_PIECE) return true;
        // The next older one may be as superfluous.
        if (index.rowOlder[row] !== NO_ROW && this.#store.mayMerge(row)) continue;
      }
      this.#row++;
      this.#left--;
    }
    return this.#left > 0 || merged > 0;
  }

  #merge(newer: number, older: number): number {
    const { index } = this.#store;
    let merged = 0;
    for (let i = 0; i < ROW_REGISTERS; i++) {
      const entry = older * ROW_REGISTERS + i;
      const place = index.place[entry];
      if (place === PLACE_NONE) continue;
      // An unreadable one is of use to nobody: what others have is written back.
      if (place === PLACE_BAD) this.#store.clear(entry);
      else this.#store.mergeUp(entry, newer);
      merged++;
    }
    return merged;
  }
}
