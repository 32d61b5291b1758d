/**
 * The frame: what a journal file is made of, end to end, from offset 0. Little-endian, padded with zeros
 * to a multiple of 8.
 *
 *     0  u32  crc32c        of bytes 4 to 48 + bodyBytes
 *     4  u24  magic         'SXJ'
 *     7  u8   kind          see FrameKind
 *     8  u32  bodyBytes
 *    12  u32  fileSeq       sequence number of the file: what a recycled file held before cannot speak
 *    16  u32  offset        where the frame itself starts
 *    20  u32  syncedOffset  everything below it in this file was synced before this frame was written
 *    24  u32  previousCrc   crc32c of the frame before it in this file; 0 for the first
 *    28  u32  run           drawn at random each time the folder is opened
 *    32  u64  segment       volume * 2^32 + pg; 0 when the frame belongs to none
 *    40  u64  lsn           TRUNCATE, PAGES of a hydration: a point; otherwise 0
 *    48  ...  body
 *
 * | kind | name         | body                                                                    |
 * |------|--------------|-------------------------------------------------------------------------|
 * |   1  | FILE         | u32 version = 1, u32 previous file's sequence number (0: none), u32 where |
 * |      |              | that file ended, u32 0. First frame of each file                        |
 * |   2  | BOXCAR       | a boxcar (core/redo/boxcar)                                             |
 * |   3  | STATE        | u8 key bytes, key (ASCII), value; no value: the key is deleted          |
 * |   4  | SNAPSHOT_END | none: every state key stands between FILE and here                      |
 * |   5  | PAGES        | page index entries (page-log/page-entry)                                |
 * |   6  | TRUNCATE     | none: records of the segment above `lsn`, journaled so far, are annulled |
 * |   7  | DROP         | none: the segment's boxcars and pages so far are forgotten              |
 * |   8  | CLOSE        | none: a clean end, which names all before it as synced                  |
 * |   9  | BLOCKS       | tagged registers (blocks/block-frame)                                   |
 *
 * A frame is **whole** when magic, fileSeq and offset are right, the body lies in the file and the CRC
 * fits. It is **next** when it is whole and its previousCrc is the CRC of the frame that ends where it
 * starts. (Without that link, and the run that makes equal frames of two runs differ, a frame that was
 * cut with a torn commit could come back when a later run writes frames of the same lengths before it.)
 */
import { crc32c, crc32cRange, TABLE_BYTES_MAX } from '#core/bytes/crc32c.js';
import { putU64 } from '#core/bytes/le.js';

export const FRAME_HEADER_BYTES = 48;
export const JOURNAL_VERSION = 1;
/** 'SXJ' as the low three bytes of a u32. */
export const FRAME_MAGIC = 0x4a_5853;
export const FRAME_BODY_BYTES_MAX = 256 * 1024 * 1024;

export const FrameKind = {
  file: 1,
  boxcar: 2,
  state: 3,
  snapshotEnd: 4,
  pages: 5,
  truncate: 6,
  drop: 7,
  close: 8,
  blocks: 9,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];
export const FRAME_KIND_MAX = 9;

/** The whole length on disk of a frame with that body. */
export function frameBytes(bodyBytes: number): number {
  return (FRAME_HEADER_BYTES + bodyBytes + 7) & ~7;
}

/** Where a file's frames stand: what each header says beside its own kind, body and segment. */
export interface FramePlace {
  fileSeq: number;
  offset: number;
  syncedOffset: number;
  previousCrc: number;
  run: number;
}

/**
 * Writes the header before a body that already stands at `target[at + 48...]`, and the padding after it.
 * Returns the CRC.
 */
export function sealFrame(
  target: Uint8Array,
  view: DataView,
  at: number,
  kind: FrameKind,
  bodyBytes: number,
  place: FramePlace,
  segment: number,
  lsn: number,
): number {
  const end = at + FRAME_HEADER_BYTES + bodyBytes;
  view.setUint32(at + 4, (FRAME_MAGIC | (kind << 24)) >>> 0, true);
  view.setUint32(at + 8, bodyBytes, true);
  view.setUint32(at + 12, place.fileSeq, true);
  view.setUint32(at + 16, place.offset, true);
  view.setUint32(at + 20, place.syncedOffset, true);
  view.setUint32(at + 24, place.previousCrc, true);
  view.setUint32(at + 28, place.run, true);
  putU64(view, at + 32, segment);
  putU64(view, at + 40, lsn);
  const paddedEnd = at + frameBytes(bodyBytes);
  for (let i = end; i < paddedEnd; i++) target[i] = 0;
  const crc = frameCrc(target, at + 4, end);
  view.setUint32(at, crc, true);
  return crc;
}

/** Hot: short ranges by table, without making a view of the bytes. */
export function frameCrc(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < TABLE_BYTES_MAX) return crc32cRange(bytes, start, end);
  return crc32c(bytes.subarray(start, end));
}
