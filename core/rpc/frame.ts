/**
 * The frame: the one unit that links carry between engine, storage nodes and tools. Little-endian.
 *
 * | offset | field     | what                                                                  |
 * |--------|-----------|-----------------------------------------------------------------------|
 * |  0 u32 | bodyBytes | length of the body; the frame is 20 bytes longer; at most 64 MiB       |
 * |  4 u8  | version   | 1                                                                     |
 * |  5 u8  | type      | message type (storage-nodes/protocol/messages); 0 for ping, pong, cancel |
 * |  6 u8  | kind      | 1 call, 2 answer, 3 error, 4 push, 5 cancel, 6 ping, 7 pong            |
 * |  7 u8  | 0         |                                                                       |
 * |  8 u32 | requestId | chosen by the caller, echoed by the answer; 0 for a push              |
 * | 12 u32 | bodyCrc   | CRC32C of the body                                                    |
 * | 16 u32 | headerCrc | CRC32C of bytes 0..16                                                 |
 * | 20     | body      | an error's body is JSON {code, message}                               |
 *
 * A frame that breaks this grammar closes its link: CORRUPTION for a checksum, PROTOCOL for the rest.
 *
 * - RPC-1 The length is trusted only after the header's own checksum: no bit flip makes a reader wait.
 * - RPC-2 A body reaches a handler only after its checksum matched.
 */
import { crc32c } from '../bytes/crc32c.js';
import { SextantError, type ErrorCode } from '../errors.js';

export const FRAME_HEADER_BYTES = 20;
export const FRAME_VERSION = 1;
export const FRAME_BODY_BYTES_MAX = 64 * 1024 * 1024;

export const FrameKind = {
  call: 1,
  answer: 2,
  error: 3,
  push: 4,
  cancel: 5,
  ping: 6,
  pong: 7,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export const EMPTY_BODY = new Uint8Array(0);

const CRC_TABLE = makeCrcTable();

function makeCrcTable(): Int32Array {
  const table = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0x82f63b78 : 0);
    table[i] = value;
  }
  return table;
}

// Hot: 16 bytes by table cost 20 ns; a call into the native checksum costs several times that.
function headerCrc(bytes: Uint8Array, start: number): number {
  let crc = -1;
  for (let i = start; i < start + 16; i++) {
    crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]) & 255];
  }
  return ~crc >>> 0;
}

function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** A new 20-byte header. `bodyCrc` is computed unless given. Throws PROTOCOL for a body over 64 MiB. */
export function encodeFrameHeader(
  kind: FrameKind,
  type: number,
  requestId: number,
  body: Uint8Array,
  bodyCrc?: number,
): Uint8Array {
  if (body.length > FRAME_BODY_BYTES_MAX) {
    throw new SextantError('PROTOCOL', `a frame of ${body.length} bytes is over 64 MiB`);
  }
  const head = new Uint8Array(FRAME_HEADER_BYTES);
  putU32(head, 0, body.length);
  head[4] = FRAME_VERSION;
  head[5] = type;
  head[6] = kind;
  putU32(head, 8, requestId);
  putU32(head, 12, bodyCrc ?? (body.length === 0 ? 0 : crc32c(body)));
  putU32(head, 16, headerCrc(head, 0));
  return head;
}

/** Length of the whole frame whose header starts at `start`. Throws CORRUPTION or PROTOCOL. */
export function checkedFrameBytes(bytes: Uint8Array, start: number): number {
  if (headerCrc(bytes, start) !== getU32(bytes, start + 16)) {
    throw new SextantError('CORRUPTION', 'frame header fails its checksum');
  }
  const bodyBytes = getU32(bytes, start);
  if (bodyBytes > FRAME_BODY_BYTES_MAX) {
    throw new SextantError('PROTOCOL', `a frame of ${bodyBytes} bytes is over 64 MiB`);
  }
  if (bytes[start + 4] !== FRAME_VERSION) {
    throw new SextantError('PROTOCOL', `frame version ${bytes[start + 4]}, expected 1`);
  }
  return FRAME_HEADER_BYTES + bodyBytes;
}

/** One reusable object; `read` rewrites its fields. `body` is a view into the frame. */
export class FrameReader {
  kind: FrameKind = FrameKind.push;
  type = 0;
  requestId = 0;
  bodyCrc = 0;
  body: Uint8Array = EMPTY_BODY;

  /** Checks both checksums and the grammar of one whole frame. Throws CORRUPTION or PROTOCOL. */
  read(frame: Uint8Array): void {
    if (frame.length < FRAME_HEADER_BYTES) {
      throw new SextantError('CORRUPTION', `a frame of ${frame.length} bytes has no header`);
    }
    if (checkedFrameBytes(frame, 0) !== frame.length) {
      throw new SextantError('CORRUPTION', 'frame length and header disagree');
    }
    const kind = frame[6];
    if (kind < FrameKind.call || kind > FrameKind.pong) {
      throw new SextantError('PROTOCOL', `frame kind ${kind} is unknown`);
    }
    this.kind = kind as FrameKind;
    this.type = frame[5];
    this.requestId = getU32(frame, 8);
    this.bodyCrc = getU32(frame, 12);
    this.body =
      frame.length === FRAME_HEADER_BYTES ? EMPTY_BODY : frame.subarray(FRAME_HEADER_BYTES);
    const crc = this.body.length === 0 ? 0 : crc32c(this.body);
    if (crc !== this.bodyCrc) {
      throw new SextantError('CORRUPTION', 'frame body fails its checksum');
    }
  }
}

// A record and not a list, so that the compiler proves it complete.
const ERROR_CODES: Record<ErrorCode, true> = {
  CORRUPTION: true,
  STALE_EPOCH: true,
  NEED_RANGES: true,
  WRONG_CLUSTER: true,
  FOLDER_LOCKED: true,
  FOLDER_FOREIGN: true,
  DISK_FULL: true,
  DISK_FAILED: true,
  NOT_READY: true,
  NOT_FOUND: true,
  OUT_OF_RANGE: true,
  CONFLICT: true,
  NO_QUORUM: true,
  FENCED: true,
  NOT_LEADER: true,
  LEASE_LOST: true,
  DEADLOCK: true,
  UNKNOWN_TABLE: true,
  EXISTS: true,
  NOT_EMPTY: true,
  TIMEOUT: true,
  CANCELLED: true,
  DISCONNECTED: true,
  OVERLOADED: true,
  PROTOCOL: true,
  CONFIG: true,
  CLOSED: true,
  INTERNAL: true,
};

/** The body of an error frame. What is no `SextantError` travels as INTERNAL with its message. */
export function encodeErrorBody(error: unknown): Uint8Array {
  const code: ErrorCode = error instanceof SextantError ? error.code : 'INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  return new TextEncoder().encode(JSON.stringify({ code, message }));
}

/** The error that an error frame carries; a body that is no such thing gives PROTOCOL. */
export function decodeErrorBody(body: Uint8Array): SextantError {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch (cause) {
    return new SextantError('PROTOCOL', 'error frame without JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || !('code' in value) || !('message' in value)) {
    return new SextantError('PROTOCOL', 'error frame without code and message');
  }
  const { code, message } = value;
  if (typeof code !== 'string' || typeof message !== 'string') {
    return new SextantError('PROTOCOL', 'error frame without code and message');
  }
  if (!Object.hasOwn(ERROR_CODES, code)) return new SextantError('INTERNAL', `${code}: ${message}`);
  return new SextantError(code as ErrorCode, message);
}
