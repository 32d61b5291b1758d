/**
 * Codecs of the hot messages. Fixed size, little-endian, written into the caller's buffer.
 *
 * ```
 * every one    0 u32 volume   4 u32 pg   8 u32 volumeEpoch   12 u32 membershipEpoch
 * SCL          16 u32 status  20 u32 generation  24 u64 scl  32 u64 held  40 u64 resendAfter        48 bytes
 * READ_PAGE    16 u32 pageNo  20 u32 0           24 u64 readPoint         32 u64 pgTail             40 bytes
 * POINTS       16 u64 vdl     24 u64 pgmrpl                                                        32 bytes
 * ```
 *
 * A body of another length, or a number outside its range, is PROTOCOL: the sender speaks another version.
 */
import { SextantError } from '#core/errors.js';
import { SclStatus } from './messages.js';
import type { Points, ReadPageRequest, SclReport, SegmentAddress } from './messages.js';

export const SCL_BYTES = 48;
export const READ_PAGE_BYTES = 40;
export const POINTS_BYTES = 32;

const STATUS_MAX = Math.max(...Object.values(SclStatus));
const HIGH = 0x1_0000_0000;
/** Upper half of the largest safe integer. */
const HIGH_MAX = 0x1f_ffff;

function viewOf(bytes: Uint8Array, length: number, what: string): DataView {
  if (bytes.length !== length) {
    throw new SextantError('PROTOCOL', `${what}: ${bytes.length} bytes instead of ${length}`);
  }
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

function getLsn(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true);
  if (high > HIGH_MAX) throw new SextantError('PROTOCOL', 'LSN above 2^53');
  return high * HIGH + view.getUint32(offset, true);
}

function putLsn(view: DataView, offset: number, lsn: number): void {
  view.setUint32(offset, lsn % HIGH, true);
  view.setUint32(offset + 4, Math.floor(lsn / HIGH), true);
}

function putAddress(view: DataView, address: SegmentAddress): void {
  view.setUint32(0, address.volume, true);
  view.setUint32(4, address.pg, true);
  view.setUint32(8, address.volumeEpoch, true);
  view.setUint32(12, address.membershipEpoch, true);
}

/** Encodes into `target` (48 bytes from 0) or a new buffer, and returns it. */
export function encodeScl(report: SclReport, target = new Uint8Array(SCL_BYTES)): Uint8Array {
  const view = viewOf(target, SCL_BYTES, 'SCL');
  putAddress(view, report);
  view.setUint32(16, report.status, true);
  view.setUint32(20, report.generation, true);
  putLsn(view, 24, report.scl);
  putLsn(view, 32, report.held);
  putLsn(view, 40, report.resendAfter);
  return target;
}

export function decodeScl(bytes: Uint8Array): SclReport {
  const view = viewOf(bytes, SCL_BYTES, 'SCL');
  const status = view.getUint32(16, true);
  if (status > STATUS_MAX) throw new SextantError('PROTOCOL', `unknown SCL status ${status}`);
  return {
    volume: view.getUint32(0, true),
    pg: view.getUint32(4, true),
    volumeEpoch: view.getUint32(8, true),
    membershipEpoch: view.getUint32(12, true),
    status: status as SclStatus,
    generation: view.getUint32(20, true),
    scl: getLsn(view, 24),
    held: getLsn(view, 32),
    resendAfter: getLsn(view, 40),
  };
}

export function encodeReadPage(
  request: ReadPageRequest,
  target = new Uint8Array(READ_PAGE_BYTES),
): Uint8Array {
  const view = viewOf(target, READ_PAGE_BYTES, 'READ_PAGE');
  putAddress(view, request);
  view.setUint32(16, request.pageNo, true);
  view.setUint32(20, 0, true);
  putLsn(view, 24, request.readPoint);
  putLsn(view, 32, request.pgTail);
  return target;
}

export function decodeReadPage(bytes: Uint8Array): ReadPageRequest {
  const view = viewOf(bytes, READ_PAGE_BYTES, 'READ_PAGE');
  return {
    volume: view.getUint32(0, true),
    pg: view.getUint32(4, true),
    volumeEpoch: view.getUint32(8, true),
    membershipEpoch: view.getUint32(12, true),
    pageNo: view.getUint32(16, true),
    readPoint: getLsn(view, 24),
    pgTail: getLsn(view, 32),
  };
}

export function encodePoints(points: Points, target = new Uint8Array(POINTS_BYTES)): Uint8Array {
  const view = viewOf(target, POINTS_BYTES, 'POINTS');
  putAddress(view, points);
  putLsn(view, 16, points.vdl);
  putLsn(view, 24, points.pgmrpl);
  return target;
}

export function decodePoints(bytes: Uint8Array): Points {
  const view = viewOf(bytes, POINTS_BYTES, 'POINTS');
  return {
    volume: view.getUint32(0, true),
    pg: view.getUint32(4, true),
    volumeEpoch: view.getUint32(8, true),
    membershipEpoch: view.getUint32(12, true),
    vdl: getLsn(view, 16),
    pgmrpl: getLsn(view, 24),
  };
}
