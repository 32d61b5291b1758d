/**
 * What the node knows of each page, in memory: where its folded version lies, and the chain of records that
 * follow it and are not folded yet. Typed arrays, one element a page: 38 bytes, with the page table 42, so
 * that 250,000 pages (2 GB) take about 10 MB. An id stands for a page as long as the page exists here.
 *
 * ```
 *   segment -> block of 1024 page numbers -> id -> slot, lsn, crc      the folded version (slot NO_SLOT: none)
 *                                                  head -> ... -> tail the chain, ascending LSNs (ChainPool)
 * ```
 *
 * PAGE-3: a page has one version, at or below PGMRPL; so no reader can need an older one.
 */
import { NO_SLOT } from './page-slots.js';

export const NO_ID = 0;
const BLOCK_PAGES = 1024;

/** Bits of `flags`. */
export const PAGE_BAD = 1;
export const PAGE_RIPE = 2;
export const PAGE_IN_JOB = 4;

export class PageIndex {
  /** Ids below are in use or free; 0 is nobody's. */
  idEnd = 1;
  count = 0;
  segment: Uint32Array;
  pageNo: Uint32Array;
  slot: Uint32Array;
  lsn: Float64Array;
  crc: Uint32Array;
  head: Uint32Array;
  tail: Uint32Array;
  chainBytes: Uint32Array;
  flags: Uint8Array;
  /** Free ids, linked through `head`. */
  #free = NO_ID;

  constructor(capacity = 1024) {
    this.segment = new Uint32Array(capacity);
    this.pageNo = new Uint32Array(capacity);
    this.slot = new Uint32Array(capacity);
    this.lsn = new Float64Array(capacity);
    this.crc = new Uint32Array(capacity);
    this.head = new Uint32Array(capacity);
    this.tail = new Uint32Array(capacity);
    this.chainBytes = new Uint32Array(capacity);
    this.flags = new Uint8Array(capacity);
  }

  /** A new id of segment index `segment`; the caller puts it into the segment's page table. */
  add(segment: number, pageNo: number): number {
    let id = this.#free;
    if (id !== NO_ID) this.#free = this.head[id];
    else {
      id = this.idEnd++;
      if (id >= this.flags.length) this.#grow();
    }
    this.segment[id] = segment + 1;
    this.pageNo[id] = pageNo;
    this.slot[id] = NO_SLOT;
    this.lsn[id] = 0;
    this.crc[id] = 0;
    this.head[id] = 0;
    this.tail[id] = 0;
    this.chainBytes[id] = 0;
    this.flags[id] = 0;
    this.count++;
    return id;
  }

  /** Is the id in use? */
  has(id: number): boolean {
    return this.segment[id] !== 0;
  }

  /** Index of the segment that the page belongs to. */
  segmentOf(id: number): number {
    return this.segment[id] - 1;
  }

  remove(id: number): void {
    this.segment[id] = 0;
    this.slot[id] = NO_SLOT;
    this.flags[id] = 0;
    this.head[id] = this.#free;
    this.#free = id;
    this.count--;
  }

  #grow(): void {
    const capacity = Math.ceil(this.flags.length * 1.5);
    const from = this.flags.length;
    const bigger = new PageIndex(capacity);
    bigger.segment.set(this.segment.subarray(0, from));
    bigger.pageNo.set(this.pageNo);
    bigger.slot.set(this.slot);
    bigger.lsn.set(this.lsn);
    bigger.crc.set(this.crc);
    bigger.head.set(this.head);
    bigger.tail.set(this.tail);
    bigger.chainBytes.set(this.chainBytes);
    bigger.flags.set(this.flags);
    this.segment = bigger.segment;
    this.pageNo = bigger.pageNo;
    this.slot = bigger.slot;
    this.lsn = bigger.lsn;
    this.crc = bigger.crc;
    this.head = bigger.head;
    this.tail = bigger.tail;
    this.chainBytes = bigger.chainBytes;
    this.flags = bigger.flags;
  }
}

/** Page numbers of one segment -> ids. Page numbers of a PG lie together, so blocks are dense. */
export class PageTable {
  count = 0;
  readonly #blocks = new Map<number, Uint32Array>();
  /** Hot: the block of the last look-up; neighbours come together. */
  #lastKey = -1;
  #last: Uint32Array | undefined;

  get(pageNo: number): number {
    const block = this.#block(pageNo >>> 10);
    return block === undefined ? NO_ID : block[pageNo & (BLOCK_PAGES - 1)];
  }

  set(pageNo: number, id: number): void {
    const key = pageNo >>> 10;
    let block = this.#block(key);
    if (block === undefined) {
      block = new Uint32Array(BLOCK_PAGES);
      this.#blocks.set(key, block);
      this.#lastKey = -1;
    }
    const i = pageNo & (BLOCK_PAGES - 1);
    this.count += (id === NO_ID ? 0 : 1) - (block[i] === NO_ID ? 0 : 1);
    block[i] = id;
  }

  /** Ids in page order, from `firstPage` on, until `visit` returns false. */
  forEach(firstPage: number, visit: (id: number) => boolean): void {
    const keys = [...this.#blocks.keys()].sort((a, b) => a - b);
    for (const key of keys) {
      if ((key + 1) * BLOCK_PAGES <= firstPage) continue;
      const block = this.#blocks.get(key);
      if (block === undefined) continue;
      const start = Math.max(0, firstPage - key * BLOCK_PAGES);
      for (let i = start; i < BLOCK_PAGES; i++) {
        if (block[i] !== NO_ID && !visit(block[i])) return;
      }
    }
  }

  clear(): void {
    this.#blocks.clear();
    this.#lastKey = -1;
    this.#last = undefined;
    this.count = 0;
  }

  #block(key: number): Uint32Array | undefined {
    if (key !== this.#lastKey) {
      this.#last = this.#blocks.get(key);
      this.#lastKey = key;
    }
    return this.#last;
  }
}
