/**
 * Gives page numbers out and takes them back, inside MTRs. Free pages lie in a chain of trunk pages, which
 * are free pages themselves:
 *
 *      0  u64  lsn, u8 type 2
 *     12  u32  next trunk, 0 none
 *     16  u16  entries
 *     24  ...  entries of 12 bytes, used as a stack: u32 pageNo, u64 its last LSN
 *
 * ```
 *   take: top entry of the first trunk; of an empty one the trunk itself; without any, the high-water mark
 *   free: a new entry of the first trunk; without room there, the page becomes the first trunk
 * ```
 *
 * Rule 28: an entry keeps the page's last LSN, so that FORMAT names its predecessor without reading the page.
 * Nothing is taken that was not reserved while planning; nothing waits between first edit and commit (rule 1).
 */
import { assert } from '#core/assert.js';
import { getU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { pageLsn, pageType } from '#core/redo/page.js';
import type { Volume } from '../volume/volume.js';
import type { Mtr } from './mtr.js';
import type { PageCache } from './page-cache.js';
import { PAGE_TYPE_FREE_TRUNK } from './page-types.js';
import { Suspend } from './suspend.js';
import { HEADER_PAGE_NO, type VolumeHeader } from './volume-header.js';

const NEXT_OFFSET = 12;
const COUNT_OFFSET = 16;
const ENTRIES_OFFSET = 24;
const ENTRY_BYTES = 12;
export const TRUNK_ENTRIES_MAX = Math.floor((PAGE_BYTES - ENTRIES_OFFSET) / ENTRY_BYTES);
/** The volume grows when fewer pages than this are left above the high-water mark. */
const GROW_AHEAD_PAGES = 1024;

export class PageAllocator {
  /** Counts pages given back: what a tree remembers about a page number holds while this stands still. */
  frees = 0;

  readonly #volume: Volume;
  readonly #cache: PageCache;
  readonly #header: VolumeHeader;
  #serial = 0;
  #reserved = 0;
  #growing: Promise<void> | undefined = undefined;

  constructor(volume: Volume, cache: PageCache, header: VolumeHeader) {
    this.#volume = volume;
    this.#cache = cache;
    this.#header = header;
  }

  /** `count` pages more can be taken in this MTR. Throws Suspend; call it again from `begin`. */
  reserve(mtr: Mtr, count: number): void {
    if (count === 0) return;
    mtr.add(HEADER_PAGE_NO);
    const total = this.#reservedIn(mtr) + count;
    const fresh = this.#addTrunks(mtr, total);
    const left = this.#volume.pageCapacity - this.#header.highWater;
    if (left < fresh) throw new Suspend('grow', this.#grow());
    if (left < Math.min(GROW_AHEAD_PAGES, this.#volume.pageCapacity >>> 2)) void this.#grow();
    mtr.expect(count);
    this.#reserved = total;
  }

  /** Pages can be given back in this MTR: those that it has added. Throws Suspend. */
  reserveFree(mtr: Mtr): void {
    mtr.add(HEADER_PAGE_NO);
    const trunk = this.#header.freeTrunk;
    if (trunk !== 0) this.#addTrunk(mtr, trunk);
  }

  /** A page number, formatted as `type`; its frame is in the MTR. It was reserved. */
  take(mtr: Mtr, type: number): number {
    assert(this.#reservedIn(mtr) > 0, 'a page that is taken was reserved');
    this.#reserved--;
    const header = this.#header;
    const trunk = header.freeTrunk;
    if (trunk === 0) {
      const pageNo = header.highWater;
      assert(pageNo < this.#volume.pageCapacity, 'reserve looked at the capacity');
      header.setHighWater(mtr, pageNo + 1);
      mtr.format(pageNo, type, 0);
      return pageNo;
    }
    const view = this.#cache.view;
    const base = mtr.page(trunk);
    const count = view.getUint16(base + COUNT_OFFSET, true);
    if (count === 0) {
      header.setFree(mtr, view.getUint32(base + NEXT_OFFSET, true), header.freeCount - 1);
      mtr.format(trunk, type, pageLsn(view, base));
      return trunk;
    }
    const entry = base + ENTRIES_OFFSET + (count - 1) * ENTRY_BYTES;
    const pageNo = view.getUint32(entry, true);
    const lastLsn = getU64(view, entry + 4);
    mtr.u16(trunk, COUNT_OFFSET, count - 1);
    header.setFree(mtr, trunk, header.freeCount - 1);
    mtr.format(pageNo, type, lastLsn);
    return pageNo;
  }

  /** Gives back a page that the MTR has added or taken. */
  free(mtr: Mtr, pageNo: number): void {
    assert(pageNo !== HEADER_PAGE_NO, 'page 0 is never free');
    this.frees++;
    const header = this.#header;
    const trunk = header.freeTrunk;
    const view = this.#cache.view;
    if (trunk !== 0) {
      const count = view.getUint16(mtr.page(trunk) + COUNT_OFFSET, true);
      if (count < TRUNK_ENTRIES_MAX) {
        const offset = ENTRIES_OFFSET + count * ENTRY_BYTES;
        mtr.u32(trunk, offset, pageNo);
        mtr.u64(trunk, offset + 4, mtr.lsnAfter(pageNo));
        mtr.u16(trunk, COUNT_OFFSET, count + 1);
        header.setFree(mtr, trunk, header.freeCount + 1);
        return;
      }
    }
    mtr.format(pageNo, PAGE_TYPE_FREE_TRUNK, 0);
    mtr.u32(pageNo, NEXT_OFFSET, trunk);
    header.setFree(mtr, pageNo, header.freeCount + 1);
  }

  /** All page numbers in the free list, for checkers; throws Suspend on a miss and CORRUPTION on a loop. */
  freePages(): number[] {
    const found: number[] = [];
    const view = this.#cache.view;
    const limit = this.#header.freeCount;
    for (let trunk = this.#header.freeTrunk; trunk !== 0;) {
      const base = this.#trunkBase(trunk);
      found.push(trunk);
      const count = view.getUint16(base + COUNT_OFFSET, true);
      for (let i = 0; i < count; i++) {
        found.push(view.getUint32(base + ENTRIES_OFFSET + i * ENTRY_BYTES, true));
      }
      if (found.length > limit) throw new SextantError('CORRUPTION', 'the free list has a loop');
      trunk = view.getUint32(base + NEXT_OFFSET, true);
    }
    if (found.length !== limit) throw new SextantError('CORRUPTION', 'free pages were miscounted');
    return found;
  }

  #reservedIn(mtr: Mtr): number {
    if (this.#serial !== mtr.serial) {
      this.#serial = mtr.serial;
      this.#reserved = 0;
    }
    return this.#reserved;
  }

  /** Adds the trunks that hold the next `total` free pages; returns how many must come from above the mark. */
  #addTrunks(mtr: Mtr, total: number): number {
    let missing = total;
    let trunk = this.#header.freeTrunk;
    while (missing > 0 && trunk !== 0) {
      const base = this.#addTrunk(mtr, trunk);
      missing -= this.#cache.view.getUint16(base + COUNT_OFFSET, true) + 1;
      trunk = this.#cache.view.getUint32(base + NEXT_OFFSET, true);
    }
    // A trunk that empties makes its successor the first: pages freed in this MTR go there.
    if (missing === 0 && trunk !== 0) this.#addTrunk(mtr, trunk);
    return Math.max(0, missing);
  }

  #addTrunk(mtr: Mtr, pageNo: number): number {
    this.#trunkBase(pageNo);
    return mtr.add(pageNo);
  }

  #trunkBase(pageNo: number): number {
    const base = this.#cache.base(pageNo);
    if (pageType(this.#cache.bytes, base) !== PAGE_TYPE_FREE_TRUNK) {
      throw new SextantError('CORRUPTION', `page ${pageNo} is in the free list but no trunk`);
    }
    return base;
  }

  #grow(): Promise<void> {
    if (this.#growing !== undefined) return this.#growing;
    const growing = this.#volume.grow().finally(() => {
      this.#growing = undefined;
    });
    growing.catch(() => {});
    this.#growing = growing;
    return growing;
  }
}
