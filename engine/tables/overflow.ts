/**
 * Tuples too long for a leaf, in chains of overflow pages.
 *
 *     page type 6
 *     12  u32  next page, 0 none
 *     16  u16  bytes here
 *     18  ...  bytes
 *
 * A chain is written from its end in MTRs before the one that refers to it, and freed in MTRs after the one that
 * drops the last reference. A crash in between leaks the pages of that chain; nothing refers to them.
 */
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { pageType } from '#core/redo/page.js';
import type { PageSpace } from '../pages/page-space.js';
import { PAGE_TYPE_OVERFLOW } from '../pages/page-types.js';
import { SqlError } from '../sql-error.js';

const NEXT_OFFSET = 12;
const LENGTH_OFFSET = 16;
const BYTES_OFFSET = 18;
const PAGE_TUPLE_BYTES = PAGE_BYTES - BYTES_OFFSET;
const MTR_PAGES = 16;
export const TUPLE_BYTES_MAX = 1 << 28;

/** How far a chain is written; the caller keeps it across Suspend. */
export interface ChainProgress {
  /** Bytes not yet written, from the start; -1: not begun. */
  chainLeft: number;
  /** The first page so far. */
  chainPage: number;
}

export class Overflow {
  readonly #space: PageSpace;
  /** Chains that nobody refers to any more. */
  readonly #dropped: number[] = [];

  constructor(space: PageSpace) {
    this.#space = space;
  }

  /** Writes bytes[start, end) as a chain; its first page. Throws Suspend and goes on with the same progress. */
  write(bytes: Uint8Array, start: number, end: number, progress: ChainProgress): number {
    const length = end - start;
    if (length > TUPLE_BYTES_MAX) {
      throw new SqlError(
        '54000',
        `row is too big: size ${length}, maximum size ${TUPLE_BYTES_MAX}`,
      );
    }
    if (progress.chainLeft < 0) {
      progress.chainLeft = length;
      progress.chainPage = 0;
    }
    const { mtr, allocator } = this.#space;
    while (progress.chainLeft > 0) {
      const pages = Math.min(MTR_PAGES, Math.ceil(progress.chainLeft / PAGE_TUPLE_BYTES));
      mtr.begin();
      allocator.reserve(mtr, pages);
      for (let i = 0; i < pages; i++) {
        const take = progress.chainLeft % PAGE_TUPLE_BYTES || PAGE_TUPLE_BYTES;
        const pageNo = allocator.take(mtr, PAGE_TYPE_OVERFLOW);
        mtr.u32(pageNo, NEXT_OFFSET, progress.chainPage);
        mtr.u16(pageNo, LENGTH_OFFSET, take);
        mtr.set(pageNo, BYTES_OFFSET, bytes, start + progress.chainLeft - take, take);
        progress.chainLeft -= take;
        progress.chainPage = pageNo;
      }
      mtr.commit();
    }
    return progress.chainPage;
  }

  /** Copies a chain into target from 0, which takes `length` bytes. Throws Suspend. */
  read(first: number, length: number, target: Uint8Array): void {
    const { bytes, view } = this.#space.cache;
    let at = 0;
    for (let pageNo = first; pageNo !== 0 && at < length;) {
      const base = this.#base(pageNo);
      const count = view.getUint16(base + LENGTH_OFFSET, true);
      target.set(bytes.subarray(base + BYTES_OFFSET, base + BYTES_OFFSET + count), at);
      at += count;
      pageNo = view.getUint32(base + NEXT_OFFSET, true);
      if (pageNo !== 0) this.#space.cache.prefetch(pageNo);
    }
    if (at !== length) {
      throw new SextantError('CORRUPTION', `overflow chain ${first} has ${at} of ${length} bytes`);
    }
  }

  /** The chain will be freed by `freeStep`. */
  drop(first: number): void {
    if (first !== 0) this.#dropped.push(first);
  }

  /** Frees some pages of dropped chains; true when there are none left. Throws Suspend. */
  freeStep(): boolean {
    const { mtr, allocator, cache } = this.#space;
    const at = this.#dropped.length - 1;
    if (at < 0) return true;
    mtr.begin();
    allocator.reserveFree(mtr);
    const pages: number[] = [];
    let pageNo = this.#dropped[at];
    while (pageNo !== 0 && pages.length < MTR_PAGES) {
      this.#base(pageNo);
      const base = mtr.add(pageNo);
      pages.push(pageNo);
      pageNo = cache.view.getUint32(base + NEXT_OFFSET, true);
    }
    for (const page of pages) allocator.free(mtr, page);
    mtr.commit();
    if (pageNo === 0) this.#dropped.length = at;
    else this.#dropped[at] = pageNo;
    return this.#dropped.length === 0;
  }

  #base(pageNo: number): number {
    const base = this.#space.cache.base(pageNo);
    if (pageType(this.#space.cache.bytes, base) !== PAGE_TYPE_OVERFLOW) {
      throw new SextantError('CORRUPTION', `page ${pageNo} is no overflow page`);
    }
    return base;
  }
}
