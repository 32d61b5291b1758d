/**
 * A page index entry on disk: 28 bytes, in PAGES frames of the journal and in index snapshots.
 *
 *     0  u64  segment   volume * 2^32 + pg
 *     8  u32  pageNo
 *    12  u32  slot      where the page image lies in pages.data, in units of 8192 bytes
 *    16  u64  lsn       of the page image
 *    24  u32  crc32c    of the page image
 */
import { getU64, putU64 } from '#core/bytes/le.js';

export const PAGE_ENTRY_BYTES = 28;

export interface PageEntry {
  segment: number;
  pageNo: number;
  slot: number;
  lsn: number;
  crc: number;
}

export function writePageEntry(
  view: DataView,
  at: number,
  segment: number,
  pageNo: number,
  slot: number,
  lsn: number,
  crc: number,
): void {
  putU64(view, at, segment);
  view.setUint32(at + 8, pageNo, true);
  view.setUint32(at + 12, slot, true);
  putU64(view, at + 16, lsn);
  view.setUint32(at + 24, crc, true);
}

/** Reads into `entry`, which is used again and again. */
export function readPageEntry(view: DataView, at: number, entry: PageEntry): void {
  entry.segment = getU64(view, at);
  entry.pageNo = view.getUint32(at + 8, true);
  entry.slot = view.getUint32(at + 12, true);
  entry.lsn = getU64(view, at + 16);
  entry.crc = view.getUint32(at + 24, true);
}
