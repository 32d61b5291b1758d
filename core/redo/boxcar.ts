/**
 * A boxcar: a run of redo records of one protection group, as it goes over the wire and into the
 * journal, unchanged. Little-endian, a header of 72 bytes, then the records (record.ts).
 *
 *     0  u8   version = 1
 *     1  u8   flags = 0       none known
 *     2  u16  0
 *     4  u32  volume
 *     8  u32  pg
 *    12  u32  volumeEpoch
 *    16  u32  membershipEpoch
 *    20  u32  recordCount     at least 1
 *    24  u64  firstLsn        LSN of the first record, at least 1
 *    32  u64  lastLsn         LSN of the last record
 *    40  u64  backLink        LSN of the PG's record before the first; 0: none
 *    48  u64  vdl             the writer's VDL when it was made
 *    56  u64  pgmrpl          the writer's lowest read point when it was made
 *    64  u32  recordBytes     of all records
 *    68  u32  crc32c          of bytes 0 to 67, then of the records
 *
 * Valid when: the length is 72 + recordBytes, the CRC fits, version 1, unknown bits 0,
 * backLink < firstLsn <= lastLsn, exactly recordCount records fill the rest, and their lsnDeltas (0
 * first, > 0 after) end at lastLsn. Inside a boxcar each record's link is the record before it; the
 * first one's is backLink. So a reader walks the PG's chain over boxcars by
 * `boxcar.backLink === scl` and knows each record's LSN and link without their being stored.
 */
import { SextantError } from '../errors.js';
import { crc32c, crc32cRange } from '../bytes/crc32c.js';
import { getU64, putU64 } from '../bytes/le.js';
import { RECORD_HEADER_BYTES, RECORD_LSN_DELTA_OFFSET } from './record.js';

export const BOXCAR_HEADER_BYTES = 72;
export const BOXCAR_VERSION = 1;

const CRC_OFFSET = 68;

/** What the maker of a boxcar says; the rest of the header follows from the records. */
export interface BoxcarFields {
  readonly volume: number;
  readonly pg: number;
  readonly volumeEpoch: number;
  readonly membershipEpoch: number;
  readonly backLink: number;
  readonly vdl: number;
  readonly pgmrpl: number;
}

export interface BoxcarHeader extends BoxcarFields {
  readonly recordCount: number;
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly recordBytes: number;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function corrupt(what: string): SextantError {
  return new SextantError('CORRUPTION', `boxcar: ${what}`);
}

function checksum(bytes: Uint8Array, length: number): number {
  const ofHeader = crc32cRange(bytes, 0, CRC_OFFSET);
  return crc32c(bytes.subarray(BOXCAR_HEADER_BYTES, length), ofHeader);
}

/** Writes the header before the records, which must already stand at `target[72...]`, and the CRC. */
export function encodeBoxcarHeader(target: Uint8Array, header: BoxcarHeader): void {
  const view = viewOf(target);
  view.setUint32(0, BOXCAR_VERSION, true);
  view.setUint32(4, header.volume, true);
  view.setUint32(8, header.pg, true);
  view.setUint32(12, header.volumeEpoch, true);
  view.setUint32(16, header.membershipEpoch, true);
  view.setUint32(20, header.recordCount, true);
  putU64(view, 24, header.firstLsn);
  putU64(view, 32, header.lastLsn);
  putU64(view, 40, header.backLink);
  putU64(view, 48, header.vdl);
  putU64(view, 56, header.pgmrpl);
  view.setUint32(64, header.recordBytes, true);
  view.setUint32(CRC_OFFSET, checksum(target, BOXCAR_HEADER_BYTES + header.recordBytes), true);
}

/**
 * The length of the boxcar that starts at `offset` of a longer run of them, from its header alone.
 * Throws CORRUPTION when the run ends before it does; `decodeBoxcar` checks the rest.
 */
export function boxcarBytesAt(bytes: Uint8Array, offset: number): number {
  if (offset + BOXCAR_HEADER_BYTES > bytes.length) throw corrupt('header cut short');
  const length = BOXCAR_HEADER_BYTES + viewOf(bytes).getUint32(offset + 64, true);
  if (offset + length > bytes.length) throw corrupt('records cut short');
  return length;
}

/**
 * Reads and checks a boxcar that fills `bytes`: CRC, counts and LSNs. The edits of the records are
 * checked when a RecordReader comes to them. Throws CORRUPTION.
 */
export function decodeBoxcar(bytes: Uint8Array): BoxcarHeader {
  if (bytes.length < BOXCAR_HEADER_BYTES) throw corrupt('header cut short');
  const view = viewOf(bytes);
  const recordBytes = view.getUint32(64, true);
  if (bytes.length !== BOXCAR_HEADER_BYTES + recordBytes) throw corrupt('length');
  if (view.getUint32(CRC_OFFSET, true) !== checksum(bytes, bytes.length)) throw corrupt('CRC');
  if (view.getUint32(0, true) !== BOXCAR_VERSION) throw corrupt('version or flags');
  const header: BoxcarHeader = {
    volume: view.getUint32(4, true),
    pg: view.getUint32(8, true),
    volumeEpoch: view.getUint32(12, true),
    membershipEpoch: view.getUint32(16, true),
    backLink: getU64(view, 40),
    vdl: getU64(view, 48),
    pgmrpl: getU64(view, 56),
    recordCount: view.getUint32(20, true),
    firstLsn: getU64(view, 24),
    lastLsn: getU64(view, 32),
    recordBytes,
  };
  if (header.backLink >= header.firstLsn) throw corrupt('back-link not below the first LSN');
  checkRecords(view, header);
  return header;
}

/** Lengths and LSN deltas add up to what the header says. */
function checkRecords(view: DataView, header: BoxcarHeader): void {
  let at = BOXCAR_HEADER_BYTES;
  let lsn = header.firstLsn;
  let count = 0;
  const end = view.byteLength;
  while (at < end) {
    if (at + RECORD_HEADER_BYTES > end) throw corrupt('record header cut short');
    const recordBytes = view.getUint16(at, true);
    if (recordBytes < RECORD_HEADER_BYTES || at + recordBytes > end) throw corrupt('record length');
    const lsnDelta = view.getUint32(at + RECORD_LSN_DELTA_OFFSET, true);
    if (count === 0 ? lsnDelta !== 0 : lsnDelta === 0) throw corrupt('LSN out of order');
    lsn += lsnDelta;
    count++;
    at += recordBytes;
  }
  if (count === 0 || count !== header.recordCount) throw corrupt('record count');
  if (lsn !== header.lastLsn) throw corrupt('last LSN');
}

/**
 * A boxcar of those records of a valid boxcar that lie in (fromLsnExclusive, toLsnInclusive], linked to
 * the record before them. `bytes` itself when that is all of them; of length 0 when it is none.
 */
export function sliceBoxcar(
  bytes: Uint8Array,
  fromLsnExclusive: number,
  toLsnInclusive: number,
): Uint8Array {
  const header = decodeBoxcar(bytes);
  if (fromLsnExclusive < header.firstLsn && toLsnInclusive >= header.lastLsn) return bytes;
  const view = viewOf(bytes);
  let at = BOXCAR_HEADER_BYTES;
  let lsn = header.firstLsn;
  let backLink = header.backLink;
  while (at < bytes.length) {
    if (at > BOXCAR_HEADER_BYTES) lsn += view.getUint32(at + RECORD_LSN_DELTA_OFFSET, true);
    if (lsn > fromLsnExclusive) break;
    backLink = lsn;
    at += view.getUint16(at, true);
  }
  const start = at;
  const firstLsn = lsn;
  let lastLsn = 0;
  let recordCount = 0;
  while (at < bytes.length) {
    if (at > start) lsn += view.getUint32(at + RECORD_LSN_DELTA_OFFSET, true);
    if (lsn > toLsnInclusive) break;
    lastLsn = lsn;
    recordCount++;
    at += view.getUint16(at, true);
  }
  if (recordCount === 0) return new Uint8Array(0);
  const recordBytes = at - start;
  const slice = new Uint8Array(BOXCAR_HEADER_BYTES + recordBytes);
  slice.set(bytes.subarray(start, at), BOXCAR_HEADER_BYTES);
  viewOf(slice).setUint32(BOXCAR_HEADER_BYTES + RECORD_LSN_DELTA_OFFSET, 0, true);
  encodeBoxcarHeader(slice, { ...header, backLink, firstLsn, lastLsn, recordCount, recordBytes });
  return slice;
}
