/**
 * Sweeps all tables when enough waste has come together: rows that aborted transactions left, row versions that an
 * earlier engine did not get round to, commit marks.
 *
 * ```
 *   wait until due --> sweep table after table --> horizon passes the sweep's beginning --> free pages of commit marks
 *        ^                                                                                            |
 *        +--------------------------------------------------------------------------------------------+
 *
 *   waste in pages = ids given out / marks of a page  +  rows taken back / rows of a page
 *   due            = waste of at least `wasteMinPages` and 1/16 of the pages in use
 * ```
 *
 * A sweep reads every page, so it waits for waste in proportion: that is what bounds its cost per transaction, and the
 * waste. What a running engine's own updates and deletes leave, the store's purge finds by itself.
 *
 * - VAC-1 A step takes no lock and holds none. A table is looked up anew for each step and left alone while somebody
 *   holds what VACUUM would wait for, so a step meets no tree that is about to go, and no index half made.
 * - VAC-2 Marks go only behind a sweep that saw all tables, the catalog's own included (rule 23).
 */
import type { Catalog } from './catalog/catalog.js';
import { SHARE_UPDATE_EXCLUSIVE } from './catalog/relation-locks.js';
import { SYSTEM_TABLE_OID, systemTable } from './catalog/system-table.js';
import type { RowWriteState, TableHandle } from './tables/table-store.js';
import { CHUNK_IDS } from './txn/status-pages.js';

const WASTE_MIN_PAGES = 32;
const WASTE_FRACTION = 1 / 16;
const ROWS_PER_PAGE = 64;

export class Autovacuum {
  readonly #catalog: Catalog;
  readonly #wasteMinPages: number;
  /** What was used up when the last sweep began; -1: as the volume says. */
  #baseId = -1;
  #baseRows = 0;
  /** Tables still to be swept; null: no sweep is under way. */
  #tables: number[] | null = null;
  #table = 0;
  #state: RowWriteState | null = null;
  #beganId = 0;
  #beganLsn = 0;
  /** Sweeps that went through. */
  sweeps = 0;

  constructor(catalog: Catalog, wasteMinPages = WASTE_MIN_PAGES) {
    this.#catalog = catalog;
    this.#wasteMinPages = wasteMinPages;
  }

  /** One bounded step; true: nothing to do for now. Throws Suspend. */
  step(): boolean {
    const { transactions } = this.#catalog;
    if (!transactions.forgetSwept()) return false;
    if (this.#tables === null) {
      if (!this.#isDue()) return true;
      this.#begin();
    }
    return this.#sweep();
  }

  #isDue(): boolean {
    const { transactions } = this.#catalog;
    if (this.#baseId < 0) this.#baseId = transactions.log.pages.oldest;
    const marks = (transactions.nextId - this.#baseId) / CHUNK_IDS;
    const rows = (transactions.abortedRows - this.#baseRows) / ROWS_PER_PAGE;
    const { highWater, freeCount } = transactions.space.header;
    const used = highWater - freeCount;
    return marks + rows >= Math.max(this.#wasteMinPages, used * WASTE_FRACTION);
  }

  #begin(): void {
    const { transactions } = this.#catalog;
    this.#baseId = transactions.nextId;
    this.#baseRows = transactions.abortedRows;
    this.#beganId = transactions.oldestId;
    this.#beganLsn = transactions.nowLsn;
    this.#tables = [SYSTEM_TABLE_OID];
    this.#state = null;
    for (const record of this.#catalog.reader(null).records()) {
      if (record.kind === 'table') this.#tables.push(record.oid);
    }
  }

  #sweep(): boolean {
    const { transactions, store } = this.#catalog;
    const tables = this.#tables ?? [];
    if (this.#state === null) {
      const next = tables.pop();
      if (next === undefined) {
        this.#tables = null;
        this.sweeps++;
        transactions.swept(this.#beganId, this.#beganLsn);
        return false;
      }
      this.#table = next;
      this.#state = store.newWriteState();
    }
    const handle = this.#lookUp(this.#table);
    if (handle !== null) {
      if (this.#isLocked(this.#table)) return true;
      if (!store.vacuum(handle, this.#state)) return false;
    }
    this.#state = null;
    return false;
  }

  /** null: it has gone, or somebody has put another one in its place since, whose rows are younger than the sweep. */
  #lookUp(oid: number): TableHandle | null {
    if (oid === SYSTEM_TABLE_OID) return systemTable(this.#catalog.transactions.space);
    return this.#catalog.reader(null).tableByOid(oid)?.handle ?? null;
  }

  #isLocked(oid: number): boolean {
    for (const lock of this.#catalog.locks.list()) {
      if (lock.key === oid && lock.mode >= SHARE_UPDATE_EXCLUSIVE) return true;
    }
    return false;
  }
}
