/**
 * Page 0: the volume header. Where everything else of the database is found. Always cached (pinned).
 *
 *      0  u64  lsn, u8 type 1
 *     10  u16  format version, 1
 *     12  u32  magic "SXTV"
 *     16  u32  high-water mark: the first page number that was never given out
 *     20  u32  free list: its first trunk page, 0 none
 *     24  u32  free pages in the list, trunk pages included
 *     32  u64  transaction ids: the mark below which ids may have been used (rule 23)
 *     40  ...  reserved, 0
 *     64  u32  roots: 64 page numbers, 0 none; slot numbers below
 *    320  ...  reserved, 0
 *
 * | root | what                                        |
 * |------|---------------------------------------------|
 * |    0 | catalog tables                              |
 * |    1 | transaction-status directory                |
 * |    2 | row history                                 |
 * |    3 | overflow                                    |
 * |    4 | sequences                                   |
 * | 5-15 | reserved to the engine                      |
 * | 16.. | roots that the catalog gives out at will    |
 */
import { getU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { pageType } from '#core/redo/page.js';
import type { Mtr } from './mtr.js';
import type { PageCache } from './page-cache.js';
import { PAGE_TYPE_VOLUME_HEADER } from './page-types.js';

export const HEADER_PAGE_NO = 0;
export const FORMAT_VERSION = 1;
export const ROOT_COUNT = 64;
export const ROOT_CATALOG = 0;
export const ROOT_TXN_STATUS = 1;
export const ROOT_HISTORY = 2;
export const ROOT_OVERFLOW = 3;
export const ROOT_SEQUENCES = 4;

const MAGIC = 0x5654_5853;
const VERSION_OFFSET = 10;
const MAGIC_OFFSET = 12;
const HIGH_WATER_OFFSET = 16;
const FREE_TRUNK_OFFSET = 20;
const FREE_COUNT_OFFSET = 24;
const TXN_MARK_OFFSET = 32;
const ROOTS_OFFSET = 64;

export class VolumeHeader {
  readonly #cache: PageCache;

  constructor(cache: PageCache) {
    this.#cache = cache;
  }

  /** First page number never given out. */
  get highWater(): number {
    return this.#u32(HIGH_WATER_OFFSET);
  }

  get freeTrunk(): number {
    return this.#u32(FREE_TRUNK_OFFSET);
  }

  get freeCount(): number {
    return this.#u32(FREE_COUNT_OFFSET);
  }

  /** Transaction ids at or above it were never used. */
  get txnMark(): number {
    return getU64(this.#cache.view, this.#base() + TXN_MARK_OFFSET);
  }

  /** Page number in a root slot; 0 none. */
  root(slot: number): number {
    return this.#u32(rootOffset(slot));
  }

  setHighWater(mtr: Mtr, value: number): void {
    mtr.u32(HEADER_PAGE_NO, HIGH_WATER_OFFSET, value);
  }

  setFree(mtr: Mtr, trunk: number, count: number): void {
    mtr.u32(HEADER_PAGE_NO, FREE_TRUNK_OFFSET, trunk);
    mtr.u32(HEADER_PAGE_NO, FREE_COUNT_OFFSET, count);
  }

  setTxnMark(mtr: Mtr, value: number): void {
    mtr.u64(HEADER_PAGE_NO, TXN_MARK_OFFSET, value);
  }

  /** The MTR has added page 0 (`HEADER_PAGE_NO`). */
  setRoot(mtr: Mtr, slot: number, pageNo: number): void {
    mtr.u32(HEADER_PAGE_NO, rootOffset(slot), pageNo);
  }

  /** Formats page 0 of an empty volume. */
  create(mtr: Mtr): void {
    mtr.format(HEADER_PAGE_NO, PAGE_TYPE_VOLUME_HEADER, 0);
    mtr.u16(HEADER_PAGE_NO, VERSION_OFFSET, FORMAT_VERSION);
    mtr.u32(HEADER_PAGE_NO, MAGIC_OFFSET, MAGIC);
    mtr.u32(HEADER_PAGE_NO, HIGH_WATER_OFFSET, HEADER_PAGE_NO + 1);
    mtr.u64(HEADER_PAGE_NO, TXN_MARK_OFFSET, 1);
  }

  /** Throws WRONG_CLUSTER unless page 0 is the header of a format that this program knows. */
  check(): void {
    const base = this.#base();
    const view = this.#cache.view;
    const type = pageType(this.#cache.bytes, base);
    if (type !== PAGE_TYPE_VOLUME_HEADER || view.getUint32(base + MAGIC_OFFSET, true) !== MAGIC) {
      throw new SextantError('WRONG_CLUSTER', 'the volume does not hold a Sextant database');
    }
    const version = view.getUint16(base + VERSION_OFFSET, true);
    if (version !== FORMAT_VERSION) {
      throw new SextantError(
        'WRONG_CLUSTER',
        `the volume has format version ${version}, this program knows ${FORMAT_VERSION}`,
      );
    }
  }

  #base(): number {
    return this.#cache.base(HEADER_PAGE_NO);
  }

  #u32(offset: number): number {
    return this.#cache.view.getUint32(this.#base() + offset, true);
  }
}

function rootOffset(slot: number): number {
  if (slot < 0 || slot >= ROOT_COUNT) {
    throw new SextantError('INTERNAL', `root slot ${slot} is outside the header`);
  }
  return ROOTS_OFFSET + slot * 4;
}
