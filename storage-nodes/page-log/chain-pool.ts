/**
 * Unfolded records, linked by page: 27 bytes a record in typed arrays. A chain runs from the oldest record
 * to the newest; `PageIndex` holds its ends. Where a record lies follows from its boxcar (`row`), so that a
 * boxcar that is copied to another journal file takes its records along. Its checksum, taken when the boxcar was whole, is
 * compared whenever the record is read again: the journal may rot before the record is folded.
 */
import { crc32c, crc32cRange, TABLE_BYTES_MAX } from '#core/bytes/crc32c.js';

export const NO_RECORD = 0;
/** Budget figure: what one record costs, growth of the arrays included. */
export const CHAIN_RECORD_BYTES = 36;

export const RECORD_FORMAT = 1;

/** Hot: short records by table, without making a view of the bytes. */
export function recordCrc(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < TABLE_BYTES_MAX) return crc32cRange(bytes, start, end);
  return crc32c(bytes.subarray(start, end));
}

export class ChainPool {
  count = 0;
  lsn: Float64Array;
  next: Uint32Array;
  row: Uint32Array;
  /** Of the record inside its boxcar. */
  offset: Uint32Array;
  length: Uint16Array;
  crc: Uint32Array;
  flags: Uint8Array;
  #end = 1;
  #free = NO_RECORD;

  constructor(capacity = 4096) {
    this.lsn = new Float64Array(capacity);
    this.next = new Uint32Array(capacity);
    this.row = new Uint32Array(capacity);
    this.offset = new Uint32Array(capacity);
    this.length = new Uint16Array(capacity);
    this.crc = new Uint32Array(capacity);
    this.flags = new Uint8Array(capacity);
  }

  add(
    lsn: number,
    row: number,
    offset: number,
    length: number,
    crc: number,
    flags: number,
  ): number {
    let record = this.#free;
    if (record !== NO_RECORD) this.#free = this.next[record];
    else {
      record = this.#end++;
      if (record >= this.flags.length) this.#grow();
    }
    this.lsn[record] = lsn;
    this.next[record] = NO_RECORD;
    this.row[record] = row;
    this.offset[record] = offset;
    this.length[record] = length;
    this.crc[record] = crc;
    this.flags[record] = flags;
    this.count++;
    return record;
  }

  remove(record: number): void {
    this.next[record] = this.#free;
    this.#free = record;
    this.count--;
  }

  #grow(): void {
    const bigger = new ChainPool(Math.ceil(this.flags.length * 1.5));
    bigger.lsn.set(this.lsn);
    bigger.next.set(this.next);
    bigger.row.set(this.row);
    bigger.offset.set(this.offset);
    bigger.length.set(this.length);
    bigger.crc.set(this.crc);
    bigger.flags.set(this.flags);
    this.lsn = bigger.lsn;
    this.next = bigger.next;
    this.row = bigger.row;
    this.offset = bigger.offset;
    this.length = bigger.length;
    this.crc = bigger.crc;
    this.flags = bigger.flags;
  }
}
