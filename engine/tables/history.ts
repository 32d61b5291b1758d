/**
 * History pages: versions that are neither a row's newest nor the one before it, but that a snapshot may still need.
 *
 *     page type 5
 *     10  u16  records in use
 *     12  u16  end of the records
 *     16  ...  records
 *
 *     record   0 u8 flags (OVERFLOW)  1 u48 transaction id  7 u32 command
 *             11 u32 page, 15 u16 offset of the next older version (0: none)  17 u16 bytes  19 tuple or stub
 *
 * Records are appended to one page after the other; a page is given back with its last record, and the page that is
 * being filled starts again. A record never moves.
 */
import { assert } from '#core/assert.js';
import { getU48 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { pageType } from '#core/redo/page.js';
import type { Mtr } from '../pages/mtr.js';
import type { PageSpace } from '../pages/page-space.js';
import { PAGE_TYPE_HISTORY } from '../pages/page-types.js';
import { copyRange, putId, putPointer, putU16, putU32 } from './row-version.js';

const COUNT_OFFSET = 10;
const END_OFFSET = 12;
const RECORDS_OFFSET = 16;
export const RECORD_HEAD_BYTES = 19;

export class History {
  /** The record that `read` found; tuple offsets are absolute in the cache's bytes. */
  flags = 0;
  xid = 0;
  command = 0;
  nextPage = 0;
  nextOffset = 0;
  tupleStart = 0;
  tupleEnd = 0;

  readonly #space: PageSpace;
  readonly #record = new Uint8Array(PAGE_BYTES);
  /** The page that is being filled; 0 none. */
  #filling = 0;
  #planned = 0;

  constructor(space: PageSpace) {
    this.#space = space;
  }

  /** Throws Suspend. */
  read(pageNo: number, offset: number): void {
    const { view } = this.#space.cache;
    const at = this.#base(pageNo) + offset;
    this.flags = view.getUint8(at);
    this.xid = getU48(view, at + 1);
    this.command = view.getUint32(at + 7, true);
    this.nextPage = view.getUint32(at + 11, true);
    this.nextOffset = view.getUint16(at + 15, true);
    this.tupleStart = at + RECORD_HEAD_BYTES;
    this.tupleEnd = this.tupleStart + view.getUint16(at + 17, true);
  }

  /** Makes sure that records of together `bytes` (heads included) fit one page. Throws Suspend. */
  plan(mtr: Mtr, bytes: number): void {
    const { allocator, cache } = this.#space;
    this.#planned = 0;
    if (this.#filling !== 0) {
      const base = mtr.add(this.#filling);
      if (cache.view.getUint16(base + END_OFFSET, true) + bytes <= PAGE_BYTES) {
        this.#planned = this.#filling;
        return;
      }
    }
    allocator.reserve(mtr, 1);
  }

  /** Appends what was planned; `page` and `offset` afterwards say where. */
  append(
    mtr: Mtr,
    flags: number,
    xid: number,
    command: number,
    nextPage: number,
    nextOffset: number,
    tuple: Uint8Array,
    length: number,
  ): void {
    if (this.#planned === 0) {
      this.#planned = this.#space.allocator.take(mtr, PAGE_TYPE_HISTORY);
      this.#filling = this.#planned;
      mtr.u16(this.#planned, END_OFFSET, RECORDS_OFFSET);
    }
    const pageNo = this.#planned;
    const { view } = this.#space.cache;
    const base = mtr.page(pageNo);
    const offset = view.getUint16(base + END_OFFSET, true);
    const record = this.#record;
    record[0] = flags;
    putId(record, 1, xid);
    putU32(record, 7, command);
    putPointer(record, 11, nextPage, nextOffset);
    putU16(record, 17, length);
    copyRange(record, RECORD_HEAD_BYTES, tuple, 0, length);
    mtr.set(pageNo, offset, record, 0, RECORD_HEAD_BYTES + length);
    mtr.u16(pageNo, COUNT_OFFSET, view.getUint16(base + COUNT_OFFSET, true) + 1);
    mtr.u16(pageNo, END_OFFSET, offset + RECORD_HEAD_BYTES + length);
    this.page = pageNo;
    this.offset = offset;
  }

  page = 0;
  offset = 0;

  /** Plans to take records of a page away. Throws Suspend. */
  planFree(mtr: Mtr, pageNo: number): void {
    this.#base(pageNo);
    mtr.add(pageNo);
    this.#space.allocator.reserveFree(mtr);
  }

  /** Takes one record of a planned page away; the page goes with its last one. */
  free(mtr: Mtr, pageNo: number): void {
    const { view } = this.#space.cache;
    const count = view.getUint16(mtr.page(pageNo) + COUNT_OFFSET, true);
    assert(count > 0, 'a history page has the record that is freed');
    if (count > 1) {
      mtr.u16(pageNo, COUNT_OFFSET, count - 1);
    } else if (pageNo === this.#filling) {
      mtr.u16(pageNo, COUNT_OFFSET, 0);
      mtr.u16(pageNo, END_OFFSET, RECORDS_OFFSET);
    } else {
      this.#space.allocator.free(mtr, pageNo);
    }
  }

  /** Cuts the list of older versions off behind the record at `offset` of a page of the MTR. */
  cutBehind(mtr: Mtr, pageNo: number, offset: number): void {
    mtr.fill(pageNo, offset + 11, 6, 0);
  }

  #base(pageNo: number): number {
    const base = this.#space.cache.base(pageNo);
    if (pageType(this.#space.cache.bytes, base) !== PAGE_TYPE_HISTORY) {
      throw new SextantError('CORRUPTION', `page ${pageNo} holds no row history`);
    }
    return base;
  }
}
