/**
 * Gathers redo records into a boxcar: the engine's volume writer from edits, a storage node's gossip
 * from records that it holds. One growing buffer, used again after each `finish`.
 *
 *     writer.append(lsn, flags, pageNo, prevPageLsn, edits, 0, editsEnd);   // ascending LSNs
 *     const boxcar = writer.finish({ volume, pg, volumeEpoch, ..., backLink });
 */
import { assert } from '../assert.js';
import { copyBytes } from '../bytes/copy.js';
import { BOXCAR_HEADER_BYTES, encodeBoxcarHeader, type BoxcarFields } from './boxcar.js';
import {
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  RECORD_LSN_DELTA_OFFSET,
  writeRecordHeader,
} from './record.js';

export class BoxcarWriter {
  recordCount = 0;
  firstLsn = 0;
  lastLsn = 0;

  #bytes: Uint8Array;
  #view: DataView;
  #at = BOXCAR_HEADER_BYTES;

  constructor(capacityBytes = 64 * 1024) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** What `finish` would return now, header included. */
  get byteLength(): number {
    return this.#at;
  }

  /** One record with edits[start, end), which are copied. LSNs ascend. */
  append(
    lsn: number,
    flags: number,
    pageNo: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): void {
    const recordBytes = RECORD_HEADER_BYTES + end - start;
    const at = this.#reserve(recordBytes);
    const lsnDelta = this.#advance(lsn);
    writeRecordHeader(this.#view, at, recordBytes, flags, lsnDelta, pageNo, prevPageLsn);
    copyBytes(this.#bytes, at + RECORD_HEADER_BYTES, edits, start, end - start);
  }

  /** One whole record, bytes[start, end) of another boxcar, which has `lsn` there. */
  appendRecord(lsn: number, bytes: Uint8Array, start: number, end: number): void {
    const at = this.#reserve(end - start);
    const lsnDelta = this.#advance(lsn);
    this.#bytes.set(bytes.subarray(start, end), at);
    this.#view.setUint32(at + RECORD_LSN_DELTA_OFFSET, lsnDelta, true);
  }

  /** The boxcar, in memory of its own; the writer is empty again. */
  finish(fields: BoxcarFields): Uint8Array {
    assert(this.recordCount > 0, 'a boxcar has a record');
    assert(fields.backLink < this.firstLsn, 'a back-link is below the first LSN');
    const boxcar = this.#bytes.slice(0, this.#at);
    encodeBoxcarHeader(boxcar, {
      volume: fields.volume,
      pg: fields.pg,
      volumeEpoch: fields.volumeEpoch,
      membershipEpoch: fields.membershipEpoch,
      backLink: fields.backLink,
      vdl: fields.vdl,
      pgmrpl: fields.pgmrpl,
      recordCount: this.recordCount,
      firstLsn: this.firstLsn,
      lastLsn: this.lastLsn,
      recordBytes: this.#at - BOXCAR_HEADER_BYTES,
    });
    this.clear();
    return boxcar;
  }

  /** Forgets what was appended. */
  clear(): void {
    this.#at = BOXCAR_HEADER_BYTES;
    this.recordCount = 0;
    this.firstLsn = 0;
    this.lastLsn = 0;
  }

  #advance(lsn: number): number {
    if (this.recordCount++ === 0) {
      assert(Number.isSafeInteger(lsn) && lsn > 0, 'an LSN is an integer in [1, 2^53)');
      this.firstLsn = lsn;
      this.lastLsn = lsn;
      return 0;
    }
    const lsnDelta = lsn - this.lastLsn;
    assert(lsnDelta > 0 && lsnDelta <= 0xffff_ffff, 'LSNs in a boxcar ascend within 32 bits');
    this.lastLsn = lsn;
    return lsnDelta;
  }

  #reserve(recordBytes: number): number {
    assert(
      recordBytes >= RECORD_HEADER_BYTES && recordBytes <= RECORD_BYTES_MAX,
      'a record has 20 to 65535 bytes',
    );
    const at = this.#at;
    this.#at = at + recordBytes;
    if (this.#at > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}
