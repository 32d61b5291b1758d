/** The segments that a store keeps, each with its page table, its log list and its limits. */
import { PageTable } from '../page-log/page-index.js';
import { RowList } from './boxcar-table.js';

export class StoredSegment {
  readonly key: number;
  /** Small number in place of the key inside tables. */
  readonly index: number;
  readonly pages = new PageTable();
  /** Admitted boxcars, ascending LSNs, above `logFloor`. */
  readonly log = new RowList();
  unfolded = 0;
  foldLimit = 0;
  pgmrpl = 0;
  /** Everything of the chain at or below is on this disk: folded, or still in the journal. Durable. */
  floor = 0;
  /** The log at or below is not whole any more. Durable. */
  logFloor = 0;
  /** Highest LSN admitted. */
  admitted = 0;

  constructor(key: number, index: number) {
    this.key = key;
    this.index = index;
  }

  /** Highest LSN that may be folded: PAGE-3 and rule 8. */
  get foldable(): number {
    return Math.min(this.foldLimit, this.pgmrpl);
  }
}

export class SegmentTable {
  readonly list: StoredSegment[] = [];
  readonly #byKey = new Map<number, StoredSegment>();

  /** The segment with that key, made if need be. */
  get(key: number): StoredSegment {
    let segment = this.#byKey.get(key);
    if (segment === undefined) {
      segment = new StoredSegment(key, this.list.length);
      this.list.push(segment);
      this.#byKey.set(key, segment);
    }
    return segment;
  }

  find(key: number): StoredSegment | undefined {
    return this.#byKey.get(key);
  }
}
