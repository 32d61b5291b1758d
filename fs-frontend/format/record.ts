/**
 * A log record: what one transaction changed, all of it or nothing.
 *
 * ```
 *    0  u32  bytes of the whole record
 *    4  u16  0x5452 "RT"
 *    6  u16  entries, at least 1
 *    8  u64  first clock: entry i's new tag is (first clock + i, token)
 *   16  u64  token of the server whose log it is
 *   24  entries, one after another:
 *        0  u8   region
 *        1  u8   flags: 1 FRESH
 *        2  u16  bytes of edits
 *        4  u64  index of the register
 *       12  u64  clock of the previous tag
 *       20  u64  token of the previous tag
 *       28  edits (edits.ts)
 * ```
 *
 * FRESH: the edits start from a block of zeros, so they need no base; the previous tag is (0, 0) and is not looked at. New
 * blocks are written so without having been read, file data in the log always, and a block whose edits outgrew it.
 */
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { REGISTER_BYTES, Region, registerBytes } from '../disk/disk.js';
import { checkEdits } from './edits.js';

export const RECORD_MAGIC = 0x5452;
export const RECORD_HEADER_BYTES = 24;
export const ENTRY_HEADER_BYTES = 28;
export const FLAG_FRESH = 1;
export const RECORD_BYTES_MAX = 1_179_648;

export interface RecordEntry {
  readonly region: Region;
  readonly index: number;
  readonly fresh: boolean;
  readonly previousClock: number;
  readonly previousToken: number;
  readonly clock: number;
  readonly token: number;
  /** Edits are bytes[start, end) of the record's buffer. */
  readonly start: number;
  readonly end: number;
}

export interface LogRecord {
  readonly bytes: Uint8Array;
  readonly entries: readonly RecordEntry[];
}

export function putRecordHeader(
  view: DataView,
  bytes: number,
  entries: number,
  firstClock: number,
  token: number,
): void {
  view.setUint32(0, bytes, true);
  view.setUint16(4, RECORD_MAGIC, true);
  view.setUint16(6, entries, true);
  putU64(view, 8, firstClock);
  putU64(view, 16, token);
}

export function putEntryHeader(
  view: DataView,
  at: number,
  region: Region,
  flags: number,
  editBytes: number,
  index: number,
  previousClock: number,
  previousToken: number,
): void {
  view.setUint8(at, region);
  view.setUint8(at + 1, flags);
  view.setUint16(at + 2, editBytes, true);
  putU64(view, at + 4, index);
  putU64(view, at + 12, previousClock);
  putU64(view, at + 20, previousToken);
}

/** Decodes one record and checks all of it; `token` is the log's owner. Throws CORRUPTION. */
export function decodeRecord(bytes: Uint8Array, token: number): LogRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (
    bytes.length < RECORD_HEADER_BYTES ||
    view.getUint32(0, true) !== bytes.length ||
    view.getUint16(4, true) !== RECORD_MAGIC
  ) {
    throw corrupt('header');
  }
  const count = view.getUint16(6, true);
  const firstClock = getU64(view, 8);
  if (getU64(view, 16) !== token) throw corrupt('token');
  const entries: RecordEntry[] = [];
  let at = RECORD_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const entry = decodeEntry(bytes, view, at, firstClock + i, token);
    entries.push(entry);
    at = entry.end;
  }
  if (at !== bytes.length || count === 0) throw corrupt('entries');
  return { bytes, entries };
}

function decodeEntry(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  clock: number,
  token: number,
): RecordEntry {
  if (at + ENTRY_HEADER_BYTES > bytes.length) throw corrupt('entry cut short');
  const region = view.getUint8(at);
  if (region > Region.data || region === Region.logs) throw corrupt(`region ${region}`);
  const flags = view.getUint8(at + 1);
  if ((flags & ~FLAG_FRESH) !== 0) throw corrupt(`flags ${flags}`);
  const start = at + ENTRY_HEADER_BYTES;
  const end = start + view.getUint16(at + 2, true);
  if (end > bytes.length) throw corrupt('edits cut short');
  checkEdits(bytes, start, end, registerBytes(region as Region));
  return {
    region: region as Region,
    index: getU64(view, at + 4),
    fresh: (flags & FLAG_FRESH) !== 0,
    previousClock: getU64(view, at + 12),
    previousToken: getU64(view, at + 20),
    clock,
    token,
    start,
    end,
  };
}

function corrupt(what: string): SextantError {
  return new SextantError('CORRUPTION', `log record: ${what}`);
}

/** Edits of one entry never take more: a block whose edits grow past this is written as FRESH. */
export const EDITS_BYTES_MAX = REGISTER_BYTES + 64;
