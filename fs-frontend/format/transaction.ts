/**
 * A transaction: edits of blocks that appear together or not at all, in memory, in the log and after a crash. One object,
 * used again; synchronous from `begin` to `commit`.
 *
 * ```
 *   idle --begin--> open --commit--> idle     one log record; tags move on; the blocks are dirty
 *                    |
 *                    +-----abort---> idle     every block has its bytes back
 * ```
 *
 * Edits go to the cached block at once and are gathered per block; the first edit of a block keeps a copy of it, for
 * `abort`. `commit` may throw Suspend (no room in the log), nothing lost: abort and begin again. SETs that touch or overlap
 * the one before (or leave a gap of at most 5 bytes, the price of a header) are merged. When the edits of a block outgrow
 * it, its entry becomes FRESH plus the block as it is at commit.
 *
 * - FS-2 The record is made from the edits, so nothing reaches a block that the log does not have.
 * - FS-3 Each entry names the tag that its block had, and the one that it has afterwards: one clock more a block (rule 2).
 */
import {
  FILL_BYTES,
  MOVE_BYTES,
  SET_BYTES,
  encodeFill,
  encodeMove,
  encodeSet,
} from '#core/redo/edits.js';
import { assert } from '#core/assert.js';
import { REGISTER_BYTES, type Region } from '../disk/disk.js';
import type { Ino } from '../vfs/vfs.js';
import type { Allocator, Block, BlockSource } from './block.js';
import {
  EDITS_BYTES_MAX,
  ENTRY_HEADER_BYTES,
  FLAG_FRESH,
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  putEntryHeader,
  putRecordHeader,
} from './record.js';

/** Blocks that one transaction may edit. */
export const TRANSACTION_BLOCKS_MAX = 256;
const NONE = -1;
const TWO_32 = 0x1_0000_0000;
/** A gap between two SETs that costs no more than the header of another. */
const GAP_BYTES_MAX = SET_BYTES;
/** A run of zeros in an image that is worth another SET header. */
const ZERO_RUN_BYTES_MIN = 16;
/** Hot: below this a byte loop beats a view for `set` (core/bytes/copy.ts). */
const LOOP_BYTES_MAX = 40;

/** Where records go: the log. */
export interface CommitTarget {
  readonly token: number;
  /** Throws Suspend when a record of that many bytes has no room now. */
  reserve(bytes: number): void;
  /** Adds `count` to the clerk's clock and returns the first of the new values. */
  takeClocks(count: number): number;
  /** Copies the record; returns its position, larger than any before and never 0. */
  append(record: Uint8Array): number;
}

/** Told how the transaction ended; enlists itself in every transaction anew. */
export interface Participant {
  committed(position: number): void;
  aborted(): void;
}

class Slot {
  block: Block | undefined = undefined;
  readonly saved = new Uint8Array(REGISTER_BYTES);
  edits = new Uint8Array(256);
  end = 0;
  /** Where the last edit starts if it is a SET, or NONE. */
  lastSet = NONE;
  image = false;
  fresh = false;
  wasValid = true;
  /** Of `attach`: no block, only bytes. */
  region: Region = 0;
  index = 0;
  data: Uint8Array | undefined = undefined;
}

export class Transaction {
  readonly source: BlockSource;
  readonly allocator: Allocator;
  /** Counts `begin`s. */
  serial = 0;

  #open = false;
  #count = 0;
  readonly #slots: Slot[] = [];
  readonly #participants: Participant[] = [];
  #record = new Uint8Array(64 * 1024);
  #recordView = new DataView(this.#record.buffer);

  constructor(source: BlockSource, allocator: Allocator) {
    this.source = source;
    this.allocator = allocator;
  }

  /** Between `begin` and `commit` or `abort`. */
  get open(): boolean {
    return this.#open;
  }

  /** Blocks edited and data attached so far. */
  get count(): number {
    return this.#count;
  }

  begin(): void {
    assert(!this.#open, 'a transaction ends before the next one begins');
    this.#open = true;
    this.#count = 0;
    this.serial++;
  }

  get(region: Region, index: number, owner: Ino): Block {
    return this.source.get(region, index, owner);
  }

  /** The block as all zeros, whatever it was; it need not be cached. */
  fresh(region: Region, index: number, owner: Ino): Block {
    const block = this.source.fresh(region, index, owner);
    const slot = this.#touch(block, true);
    block.bytes.fill(0);
    block.valid = true;
    slot.fresh = true;
    slot.image = false;
    slot.end = 0;
    slot.lastSet = NONE;
    return block;
  }

  u8(block: Block, offset: number, value: number): void {
    const slot = this.#touch(block, false);
    block.bytes[offset] = value;
    this.#log(slot, block, offset, 1);
  }

  u16(block: Block, offset: number, value: number): void {
    const slot = this.#touch(block, false);
    block.view.setUint16(offset, value, true);
    this.#log(slot, block, offset, 2);
  }

  u32(block: Block, offset: number, value: number): void {
    const slot = this.#touch(block, false);
    block.view.setUint32(offset, value, true);
    this.#log(slot, block, offset, 4);
  }

  /** In [0, 2^48). */
  u48(block: Block, offset: number, value: number): void {
    const slot = this.#touch(block, false);
    block.view.setUint32(offset, value >>> 0, true);
    block.view.setUint16(offset + 4, (value / TWO_32) >>> 0, true);
    this.#log(slot, block, offset, 6);
  }

  /** In (-2^53, 2^53): as i64 too. */
  u64(block: Block, offset: number, value: number): void {
    const slot = this.#touch(block, false);
    block.view.setUint32(offset, value >>> 0, true);
    block.view.setInt32(offset + 4, Math.floor(value / TWO_32), true);
    this.#log(slot, block, offset, 8);
  }

  set(block: Block, offset: number, source: Uint8Array, start: number, length: number): void {
    if (length === 0) return;
    const slot = this.#touch(block, false);
    const { bytes } = block;
    assert(offset >= 0 && offset + length <= bytes.length, 'an edit stays inside its block');
    if (length > LOOP_BYTES_MAX) bytes.set(source.subarray(start, start + length), offset);
    else for (let i = 0; i < length; i++) bytes[offset + i] = source[start + i];
    this.#log(slot, block, offset, length);
  }

  /** memmove inside the block. */
  move(block: Block, to: number, from: number, length: number): void {
    if (length === 0 || to === from) return;
    const slot = this.#touch(block, false);
    const size = block.bytes.length;
    assert(to >= 0 && from >= 0 && Math.max(to, from) + length <= size, 'a move stays inside');
    block.bytes.copyWithin(to, from, from + length);
    if (slot.image || !this.#fits(slot, block, MOVE_BYTES)) return;
    slot.end = encodeMove(slot.edits, slot.end, to, from, length);
    slot.lastSet = NONE;
  }

  fill(block: Block, offset: number, length: number, byte: number): void {
    if (length === 0) return;
    const slot = this.#touch(block, false);
    assert(offset >= 0 && offset + length <= block.bytes.length, 'an edit stays inside its block');
    block.bytes.fill(byte, offset, offset + length);
    if (slot.image || !this.#fits(slot, block, FILL_BYTES)) return;
    slot.end = encodeFill(slot.edits, slot.end, offset, length, byte);
    slot.lastSet = NONE;
  }

  /** The caller is about to change bytes of the block itself: call this first, `logged` after each change. */
  touch(block: Block): void {
    this.#touch(block, false);
  }

  logged(block: Block, offset: number, length: number): void {
    this.#log(this.#touch(block, false), block, offset, length);
  }

  /** The block is going to be rewritten by the caller in place: its entry is the block as it is at commit. */
  rewrite(block: Block): void {
    this.#touch(block, false).image = true;
  }

  /**
   * File data that rides in the record (rule 18): one register's bytes, not changed until `commit` returns. The register's
   * tag becomes the record's first clock (`commit` returns with it in `firstClock`) plus the returned number.
   */
  attach(region: Region, index: number, bytes: Uint8Array): number {
    const slot = this.#newSlot();
    slot.block = undefined;
    slot.data = bytes;
    slot.region = region;
    slot.index = index;
    return this.#count - 1;
  }

  enlist(participant: Participant): void {
    if (!this.#participants.includes(participant)) this.#participants.push(participant);
  }

  /** Of the last record. */
  firstClock = 0;

  /** Appends the record and returns its position; 0 when nothing was edited. Throws Suspend: then abort. */
  commit(target: CommitTarget): number {
    assert(this.#open, 'commit ends a transaction');
    const count = this.#count;
    if (count === 0) {
      this.#end();
      return 0;
    }
    const bytes = this.#measure();
    target.reserve(bytes);
    const clock = target.takeClocks(count);
    this.firstClock = clock;
    const position = target.append(this.#encode(bytes, clock, target.token));
    for (let i = 0; i < count; i++) {
      const { block } = this.#slots[i];
      if (block === undefined) continue;
      block.slot = NONE;
      block.clock = clock + i;
      block.token = target.token;
      block.dirtyTo = position;
      if (block.dirtyFrom === 0) block.dirtyFrom = position;
      this.source.edited(block);
    }
    for (const participant of this.#participants) participant.committed(position);
    this.#end();
    return position;
  }

  /** Gives every block its bytes back. Does nothing when no transaction is open. */
  abort(): void {
    if (!this.#open) return;
    for (let i = 0; i < this.#count; i++) {
      const { block, saved, wasValid } = this.#slots[i];
      if (block === undefined) continue;
      const size = block.bytes.length;
      block.bytes.set(size === saved.length ? saved : saved.subarray(0, size));
      block.valid = wasValid;
      block.slot = NONE;
      block.changes++;
    }
    for (const participant of this.#participants) participant.aborted();
    this.#end();
  }

  #end(): void {
    for (let i = 0; i < this.#count; i++) {
      this.#slots[i].block = undefined;
      this.#slots[i].data = undefined;
    }
    this.#open = false;
    this.#count = 0;
    this.#participants.length = 0;
  }

  #newSlot(): Slot {
    assert(this.#open, 'edits lie between begin and commit');
    const at = this.#count++;
    assert(
      at < TRANSACTION_BLOCKS_MAX,
      `a transaction edits at most ${TRANSACTION_BLOCKS_MAX} blocks`,
    );
    if (at === this.#slots.length) this.#slots.push(new Slot());
    return this.#slots[at];
  }

  #touch(block: Block, fresh: boolean): Slot {
    block.changes++;
    if (block.slot >= 0) return this.#slots[block.slot];
    assert(fresh || block.valid, 'a block is read before it is edited');
    const slot = this.#newSlot();
    block.slot = this.#count - 1;
    slot.block = block;
    slot.data = undefined;
    slot.saved.set(block.bytes);
    slot.wasValid = block.valid;
    slot.end = 0;
    slot.lastSet = NONE;
    slot.image = false;
    slot.fresh = false;
    return slot;
  }

  /** Whether the edits take that many bytes more; if not, the entry becomes an image. */
  #fits(slot: Slot, block: Block, length: number): boolean {
    const end = slot.end + length;
    if (end > block.bytes.length) {
      slot.image = true;
      return false;
    }
    if (end > slot.edits.length) {
      const grown = new Uint8Array(Math.min(EDITS_BYTES_MAX, Math.max(end, slot.edits.length * 4)));
      grown.set(slot.edits.subarray(0, slot.end));
      slot.edits = grown;
    }
    return true;
  }

  /** block[offset, offset + length) has changed: a SET of what is there now. */
  #log(slot: Slot, block: Block, offset: number, length: number): void {
    if (length === 0 || slot.image) return;
    assert(offset >= 0 && offset + length <= block.bytes.length, 'an edit stays inside its block');
    if (slot.lastSet >= 0 && this.#merge(slot, block, offset, length)) return;
    if (!this.#fits(slot, block, SET_BYTES + length)) return;
    const { end } = slot;
    slot.end = encodeSet(slot.edits, end, offset, block.bytes, offset, length);
    slot.lastSet = end;
  }

  /** Extends the last SET over the new range if that is no longer than another SET. */
  #merge(slot: Slot, block: Block, offset: number, length: number): boolean {
    const last = slot.lastSet;
    const low = slot.edits[last + 1] | (slot.edits[last + 2] << 8);
    const high = low + (slot.edits[last + 3] | (slot.edits[last + 4] << 8));
    if (offset < low || offset > high + GAP_BYTES_MAX) return false;
    const newHigh = Math.max(high, offset + length);
    if (!this.#fits(slot, block, newHigh - high)) return true;
    const { edits } = slot;
    const { bytes } = block;
    const from = offset < high ? offset : high;
    const to = last + SET_BYTES + from - low;
    const count = offset + length - from;
    if (count > LOOP_BYTES_MAX) edits.set(bytes.subarray(from, from + count), to);
    else for (let i = 0; i < count; i++) edits[to + i] = bytes[from + i];
    const newLength = newHigh - low;
    edits[last + 3] = newLength & 0xff;
    edits[last + 4] = newLength >>> 8;
    slot.end = last + SET_BYTES + newLength;
    return true;
  }

  /** Bytes of the record; turns images into edits. */
  #measure(): number {
    let bytes = RECORD_HEADER_BYTES;
    for (let i = 0; i < this.#count; i++) {
      const slot = this.#slots[i];
      if (slot.image && slot.block !== undefined) encodeImage(slot, slot.block.bytes);
      bytes += ENTRY_HEADER_BYTES;
      bytes += slot.data === undefined ? slot.end : SET_BYTES + slot.data.length;
    }
    assert(bytes <= RECORD_BYTES_MAX, 'a record has a bound');
    return bytes;
  }

  #encode(bytes: number, clock: number, token: number): Uint8Array {
    if (bytes > this.#record.length) {
      this.#record = new Uint8Array(bytes * 2);
      this.#recordView = new DataView(this.#record.buffer);
    }
    const view = this.#recordView;
    putRecordHeader(view, bytes, this.#count, clock, token);
    let at = RECORD_HEADER_BYTES;
    for (let i = 0; i < this.#count; i++) {
      const { block, edits, end, fresh, data, region, index } = this.#slots[i];
      const body = at + ENTRY_HEADER_BYTES;
      if (block === undefined) {
        const content = data ?? new Uint8Array(0);
        const length = SET_BYTES + content.length;
        putEntryHeader(view, at, region, FLAG_FRESH, length, index, 0, 0);
        at = encodeSet(this.#record, body, 0, content, 0, content.length);
      } else {
        const flags = fresh ? FLAG_FRESH : 0;
        const base = fresh ? 0 : 1;
        const { clock: previous, token: by } = block;
        putEntryHeader(view, at, block.region, flags, end, block.index, previous * base, by * base);
        if (end > LOOP_BYTES_MAX) this.#record.set(edits.subarray(0, end), body);
        else for (let k = 0; k < end; k++) this.#record[body + k] = edits[k];
        at = body + end;
      }
    }
    assert(at === bytes, 'a record is as long as measured');
    return this.#record.subarray(0, bytes);
  }
}

/** The block's bytes over zeros, long runs of zeros left out. */
function encodeImage(slot: Slot, bytes: Uint8Array): void {
  if (slot.edits.length < EDITS_BYTES_MAX) slot.edits = new Uint8Array(EDITS_BYTES_MAX);
  let end = 0;
  let start = 0;
  let zeros = 0;
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && bytes[at] === 0) {
      zeros++;
      continue;
    }
    if (zeros >= ZERO_RUN_BYTES_MIN || at === bytes.length) {
      const length = at - zeros - start;
      if (length > 0) end = encodeSet(slot.edits, end, start, bytes, start, length);
      start = at;
    }
    zeros = 0;
  }
  slot.end = end;
  slot.fresh = true;
}
