/**
 * A mini-transaction: edits of up to 64 pages that appear together or not at all. One object, used again.
 *
 * ```
 *   idle --begin--> planning --first edit--> editing --commit--> idle
 *                    |  ^                       |
 *                    |  add, expect             +-- cancel, begin, an error in commit: poisoned
 *                    +-- cancel, begin, Suspend: idle, nothing happened
 * ```
 *
 * Planning may throw Suspend (page miss, no log room, no frames) and is then begun again from `begin`. From the
 * first edit to `commit` nothing waits and nothing may fail: edits go to the cached page at once and gather in a
 * buffer per page; `commit` appends one record per edited page, in the order of their first edit, the last one
 * with CPL. A page that was added but not edited gets no record. Half an MTR in the cache cannot be taken back:
 * an error between first edit and commit poisons the cache, and the engine must be opened again.
 *
 * SETs that touch or overlap the one before (or leave a gap of at most 5 bytes, the price of a header) are merged.
 * When the edits of a page outgrow a page, its record becomes FORMAT plus the page as it is at commit.
 *
 * Rule 1: one turn from `begin` to `commit`, LSNs are taken without suspending. PAGE-1: each record names the LSN
 * that its page had before the MTR. Rule 28: so does FORMAT.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import {
  FORMAT_BYTES,
  MOVE_BYTES,
  FILL_BYTES,
  SET_BYTES,
  putFill,
  putFormat,
  putMove,
  putSet,
} from '#core/redo/edits.js';
import { PAGE_BODY_OFFSET, PAGE_TYPE_OFFSET, pageLsn, setPageLsn } from '#core/redo/page.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import type { Volume } from '../volume/volume.js';
import type { PageCache } from './page-cache.js';
import { Suspend } from './suspend.js';

export const MTR_PAGES_MAX = 64;
/** Log room is asked for in these steps. */
const ROOM_RECORDS = 16;
const EDIT_BYTES_MAX = PAGE_BYTES + 64;
const NONE = -1;
/** A gap between two SETs that costs no more than the header of another. */
const GAP_BYTES_MAX = SET_BYTES;
/** A run of zeros in a page image that is worth another SET header. */
const ZERO_RUN_BYTES_MIN = 24;
const TWO_32 = 0x1_0000_0000;
/** Hot: below this a byte loop beats a view for `set`. */
const LOOP_BYTES_MAX = 48;

const IDLE = 0;
const PLANNING = 1;
const EDITING = 2;

export class Mtr {
  readonly cache: PageCache;
  /** Counts `begin`s: what was planned under another serial is void. */
  serial = 0;

  readonly #volume: Volume;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #state = IDLE;
  #count = 0;
  #expected = 0;
  #room = 0;
  #touched = 0;
  #last = 0;
  #frozen = false;
  readonly #pageNos = new Uint32Array(MTR_PAGES_MAX);
  readonly #bases = new Float64Array(MTR_PAGES_MAX);
  readonly #previousLsns = new Float64Array(MTR_PAGES_MAX);
  /** Order of first edit, or NONE. */
  readonly #ordinals = new Int8Array(MTR_PAGES_MAX);
  readonly #order = new Uint8Array(MTR_PAGES_MAX);
  readonly #flags = new Uint8Array(MTR_PAGES_MAX);
  readonly #ends = new Int32Array(MTR_PAGES_MAX);
  /** Where the last edit starts if it is a SET, or NONE. */
  readonly #lastSets = new Int32Array(MTR_PAGES_MAX);
  readonly #images = new Uint8Array(MTR_PAGES_MAX);
  readonly #edits: Uint8Array[] = [];

  constructor(volume: Volume, cache: PageCache) {
    this.#volume = volume;
    this.cache = cache;
    this.#bytes = cache.bytes;
    this.#view = cache.view;
  }

  /** Whether edits were made that are not yet committed. */
  get editing(): boolean {
    return this.#state === EDITING;
  }

  /** Starts to plan; a plan that was never edited is dropped. May throw Suspend. */
  begin(): void {
    this.cancel();
    if (this.cache.failure !== undefined) throw this.cache.failure;
    this.#count = 0;
    this.#expected = 0;
    this.#touched = 0;
    this.#room = 0;
    this.#last = 0;
    this.#frozen = false;
    this.serial++;
    this.#ensureRoom(1);
    this.cache.admit(0);
    this.#state = PLANNING;
  }

  /** Another page that may be edited; twice is once. Throws Suspend when it is not cached. */
  add(pageNo: number): number {
    assert(this.#state === PLANNING, 'pages are added while planning');
    const slot = this.#find(pageNo);
    if (slot >= 0) return this.#bases[slot];
    const base = this.cache.base(pageNo);
    if (this.#count + this.#expected + 1 > this.#room) {
      this.#ensureRoom(this.#count + this.#expected + 1);
    }
    this.#enlist(pageNo, base, pageLsn(this.#view, base));
    return base;
  }

  /** Room for that many pages more, to be formatted in this MTR. May throw Suspend. */
  expect(pages: number): void {
    assert(this.#state === PLANNING, 'pages are expected while planning');
    if (pages === 0) return;
    const expected = this.#expected + pages;
    if (this.#count + expected > this.#room) this.#ensureRoom(this.#count + expected);
    this.cache.admit(expected);
    this.#expected = expected;
  }

  has(pageNo: number): boolean {
    return this.#find(pageNo) >= 0;
  }

  /** Byte offset of a page of this MTR. */
  page(pageNo: number): number {
    return this.#bases[this.#slot(pageNo)];
  }

  set(pageNo: number, offset: number, source: Uint8Array, start: number, length: number): void {
    const slot = this.#touch(pageNo);
    const at = this.#bases[slot] + offset;
    if (length > LOOP_BYTES_MAX) this.#bytes.set(source.subarray(start, start + length), at);
    else for (let i = 0; i < length; i++) this.#bytes[at + i] = source[start + i];
    this.#log(slot, offset, length);
  }

  u8(pageNo: number, offset: number, value: number): void {
    const slot = this.#touch(pageNo);
    this.#bytes[this.#bases[slot] + offset] = value;
    this.#log(slot, offset, 1);
  }

  u16(pageNo: number, offset: number, value: number): void {
    const slot = this.#touch(pageNo);
    this.#view.setUint16(this.#bases[slot] + offset, value, true);
    this.#log(slot, offset, 2);
  }

  u32(pageNo: number, offset: number, value: number): void {
    const slot = this.#touch(pageNo);
    this.#view.setUint32(this.#bases[slot] + offset, value, true);
    this.#log(slot, offset, 4);
  }

  u48(pageNo: number, offset: number, value: number): void {
    const slot = this.#touch(pageNo);
    const at = this.#bases[slot] + offset;
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setUint16(at + 4, (value / TWO_32) >>> 0, true);
    this.#log(slot, offset, 6);
  }

  u64(pageNo: number, offset: number, value: number): void {
    const slot = this.#touch(pageNo);
    const at = this.#bases[slot] + offset;
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setUint32(at + 4, (value / TWO_32) >>> 0, true);
    this.#log(slot, offset, 8);
  }

  /** memmove inside the page. */
  move(pageNo: number, to: number, from: number, length: number): void {
    if (length === 0 || to === from) return;
    const slot = this.#touch(pageNo);
    const base = this.#bases[slot];
    this.#bytes.copyWithin(base + to, base + from, base + from + length);
    if (this.#images[slot] === 1 || !this.#fits(slot, MOVE_BYTES)) return;
    this.#ends[slot] = putMove(this.#buffer(slot), this.#ends[slot], to, from, length);
    this.#lastSets[slot] = NONE;
  }

  fill(pageNo: number, offset: number, length: number, byte: number): void {
    if (length === 0) return;
    const slot = this.#touch(pageNo);
    const at = this.#bases[slot] + offset;
    this.#bytes.fill(byte, at, at + length);
    if (this.#images[slot] === 1 || !this.#fits(slot, FILL_BYTES)) return;
    const end = this.#ends[slot];
    this.#ends[slot] = putFill(this.#buffer(slot), end, offset, length, byte);
    this.#lastSets[slot] = NONE;
  }

  /**
   * The caller changes page[offset, offset + length) itself, at `page(pageNo)`, before or after this call but
   * before the next one: then calls `logged` with the range. `touch` first, so that a forgotten commit is seen.
   */
  logged(pageNo: number, offset: number, length: number): void {
    this.#log(this.#touch(pageNo), offset, length);
  }

  /** The page will be rewritten by the caller in place: its record is the whole page as it is at commit. */
  rewrite(pageNo: number): number {
    const slot = this.#touch(pageNo);
    this.#images[slot] = 1;
    return this.#bases[slot];
  }

  /**
   * Formats a page: all zero, of that type. It need not be cached; `lastLsn` is the LSN that the free list kept
   * (0: never used), named as predecessor. Room for it was asked for with `expect`, or it was added.
   */
  format(pageNo: number, type: number, lastLsn: number): number {
    let slot = this.#find(pageNo);
    if (slot < 0) {
      let base = this.cache.peek(pageNo);
      if (base < 0) base = this.cache.install(pageNo);
      else assert(pageLsn(this.#view, base) === lastLsn, 'the free list knows the last LSN');
      assert(this.#expected > 0, 'a page that is formatted was expected');
      this.#expected--;
      slot = this.#enlist(pageNo, base, lastLsn);
    }
    this.#touch(pageNo);
    const base = this.#bases[slot];
    this.#bytes.fill(0, base + PAGE_TYPE_OFFSET, base + PAGE_BYTES);
    this.#bytes[base + PAGE_TYPE_OFFSET] = type;
    this.#ends[slot] = putFormat(this.#buffer(slot), 0, type);
    this.#flags[slot] = FLAG_FORMAT;
    this.#images[slot] = 0;
    this.#lastSets[slot] = NONE;
    return base;
  }

  /**
   * The LSN that this page's record will get; the page counts as edited from now on. Known at once, because
   * records are written in the order of first edits: a commit mark can so contain its own LSN.
   */
  lsnOf(pageNo: number): number {
    const slot = this.#touch(pageNo);
    return this.#volume.nextLsn + this.#ordinals[slot];
  }

  /** The LSN that `commit` will return. From now on no page may be edited that was not edited before. */
  get lastLsn(): number {
    assert(this.#touched > 0, 'an MTR without edits has no LSN');
    this.#frozen = true;
    return this.#volume.nextLsn + this.#touched - 1;
  }

  /** The page's LSN as its next record must name it: this MTR's, if the page was edited in it. */
  lsnAfter(pageNo: number): number {
    const slot = this.#slot(pageNo);
    const ordinal = this.#ordinals[slot];
    if (ordinal < 0) return this.#previousLsns[slot];
    return this.#volume.nextLsn + ordinal;
  }

  /** Appends the records; returns the LSN of the last one, or 0 when nothing was edited. Never suspends. */
  commit(): number {
    const touched = this.#touched;
    if (touched === 0) {
      this.#state = IDLE;
      return 0;
    }
    assert(this.#state === EDITING, 'commit ends an MTR');
    let lsn = 0;
    try {
      for (let i = 0; i < touched; i++) {
        lsn = this.#emit(this.#order[i], i === touched - 1 ? FLAG_CPL : 0);
      }
    } catch (error) {
      this.#poison(error);
      throw error;
    }
    this.#state = IDLE;
    return lsn;
  }

  /**
   * Drops a plan. After an edit it is too late for that: poisons the cache. Call it whenever an error or a
   * Suspend leaves the code between `begin` and `commit`; `begin` does so too.
   */
  cancel(): void {
    if (this.#state === EDITING) this.#poison(undefined);
    this.#state = IDLE;
    this.#touched = 0;
    this.#count = 0;
  }

  #poison(cause: unknown): void {
    this.#state = IDLE;
    const error =
      this.#volume.failure ??
      new SextantError('INTERNAL', 'an error inside a mini-transaction: open the database again', {
        cause,
      });
    this.cache.poison(error);
  }

  #ensureRoom(records: number): void {
    const steps = Math.ceil(records / ROOM_RECORDS);
    assert(records <= MTR_PAGES_MAX, `an MTR edits at most ${MTR_PAGES_MAX} pages`);
    const room = steps * ROOM_RECORDS;
    if (!this.#volume.hasRoom(room, room * PAGE_BYTES)) {
      throw new Suspend('log room', this.#volume.whenRoom());
    }
    this.#room = room;
  }

  #enlist(pageNo: number, base: number, lsn: number): number {
    const slot = this.#count++;
    assert(slot < MTR_PAGES_MAX, `an MTR edits at most ${MTR_PAGES_MAX} pages`);
    this.#pageNos[slot] = pageNo;
    this.#bases[slot] = base;
    this.#previousLsns[slot] = lsn;
    this.#ordinals[slot] = NONE;
    this.#flags[slot] = 0;
    this.#ends[slot] = 0;
    this.#lastSets[slot] = NONE;
    this.#images[slot] = 0;
    return slot;
  }

  #find(pageNo: number): number {
    const count = this.#count;
    const last = this.#last;
    if (last < count && this.#pageNos[last] === pageNo) return last;
    for (let slot = 0; slot < count; slot++) {
      if (this.#pageNos[slot] === pageNo) {
        this.#last = slot;
        return slot;
      }
    }
    return NONE;
  }

  #slot(pageNo: number): number {
    const slot = this.#find(pageNo);
    assert(slot >= 0, 'the page belongs to the MTR');
    return slot;
  }

  #touch(pageNo: number): number {
    const slot = this.#slot(pageNo);
    if (this.#ordinals[slot] < 0) {
      assert(this.#state !== IDLE && !this.#frozen, 'edits lie between begin and commit');
      this.#ordinals[slot] = this.#touched;
      this.#order[this.#touched++] = slot;
      this.#state = EDITING;
    }
    return slot;
  }

  #buffer(slot: number): Uint8Array {
    const buffer = this.#edits[slot];
    if (buffer !== undefined) return buffer;
    while (this.#edits.length <= slot) this.#edits.push(new Uint8Array(EDIT_BYTES_MAX));
    return this.#edits[slot];
  }

  /** Whether the edits of the page take that many bytes more; if not, its record becomes an image. */
  #fits(slot: number, length: number): boolean {
    if (this.#ends[slot] + length <= EDIT_BYTES_MAX) return true;
    this.#images[slot] = 1;
    return false;
  }

  /** page[offset, offset + length) has changed: a SET of what is there now. */
  #log(slot: number, offset: number, length: number): void {
    if (length === 0 || this.#images[slot] === 1) return;
    assert(offset >= PAGE_BODY_OFFSET && offset + length <= PAGE_BYTES, 'an edit is in the body');
    const last = this.#lastSets[slot];
    if (last >= 0 && this.#merge(slot, last, offset, length)) return;
    if (!this.#fits(slot, SET_BYTES + length)) return;
    const end = this.#ends[slot];
    const from = this.#bases[slot] + offset;
    this.#ends[slot] = putSet(this.#buffer(slot), end, offset, this.#bytes, from, length);
    this.#lastSets[slot] = end;
  }

  /** Extends the last SET over the new range if that is no longer than another SET. */
  #merge(slot: number, last: number, offset: number, length: number): boolean {
    const edits = this.#buffer(slot);
    const low = edits[last + 1] | (edits[last + 2] << 8);
    const setLength = edits[last + 3] | (edits[last + 4] << 8);
    const high = low + setLength;
    if (offset < low || offset > high + GAP_BYTES_MAX) return false;
    const newHigh = Math.max(high, offset + length);
    if (!this.#fits(slot, newHigh - high)) return true;
    const base = this.#bases[slot];
    const from = offset < high ? offset : high;
    const to = last + SET_BYTES + from - low;
    const count = (offset < high ? offset + length : newHigh) - from;
    if (count > LOOP_BYTES_MAX) {
      edits.set(this.#bytes.subarray(base + from, base + from + count), to);
    } else {
      for (let i = 0; i < count; i++) edits[to + i] = this.#bytes[base + from + i];
    }
    const newLength = newHigh - low;
    edits[last + 3] = newLength & 0xff;
    edits[last + 4] = newLength >>> 8;
    this.#ends[slot] = last + SET_BYTES + newLength;
    return true;
  }

  #emit(slot: number, cpl: number): number {
    const edits = this.#buffer(slot);
    const base = this.#bases[slot];
    if (this.#images[slot] === 1) this.#encodeImage(slot, base, edits);
    const lsn = this.#volume.append(
      this.#pageNos[slot],
      this.#flags[slot] | cpl,
      this.#previousLsns[slot],
      edits,
      0,
      this.#ends[slot],
    );
    setPageLsn(this.#view, base, lsn);
    this.cache.edited(base);
    return lsn;
  }

  /** FORMAT and the page's bytes, long runs of zeros left out. Never longer than a page. */
  #encodeImage(slot: number, base: number, edits: Uint8Array): void {
    const bytes = this.#bytes;
    let end = putFormat(edits, 0, bytes[base + PAGE_TYPE_OFFSET]);
    assert(end === FORMAT_BYTES, 'FORMAT comes first');
    let start = PAGE_BODY_OFFSET;
    let zeros = 0;
    for (let at = PAGE_BODY_OFFSET; at <= PAGE_BYTES; at++) {
      if (at < PAGE_BYTES && bytes[base + at] === 0) {
        zeros++;
        continue;
      }
      if (zeros >= ZERO_RUN_BYTES_MIN || at === PAGE_BYTES) {
        const length = at - zeros - start;
        if (length > 0) end = putSet(edits, end, start, bytes, base + start, length);
        start = at;
      }
      zeros = 0;
    }
    this.#ends[slot] = end;
    this.#flags[slot] = FLAG_FORMAT;
  }
}
