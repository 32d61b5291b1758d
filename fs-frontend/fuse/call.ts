/**
 * One request of the kernel: a frame's bytes and what the header says. Decoding makes no objects besides names: fields are read as words.
 *
 * A call and its buffer are reused as soon as the request is answered; one that must wait keeps its buffer (the
 * bytes of a WRITE stay where they are) and the reader goes on with another.
 */
import type { Caller } from '../vfs/vfs.js';
import { RequestCaller } from './caller.js';
import { FRAME_BYTES_MAX, REQUEST_HEADER_BYTES } from './protocol.js';

const TWO_32 = 4_294_967_296;

export class Call {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(FRAME_BYTES_MAX);
  readonly words: Uint32Array;
  readonly signed: Int32Array;
  length = 0;
  opcode = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  node = 0;
  uid = 0;
  gid = 0;
  pid = 0;
  /** What encoding the answer must know of the request: a size, flags, a handle. */
  detail = 0;
  detail2 = 0;
  /** Of a lock that may wait. */
  interrupt: AbortController | undefined = undefined;

  constructor() {
    const { buffer, byteOffset } = this.bytes;
    this.words = new Uint32Array(buffer, byteOffset, FRAME_BYTES_MAX >>> 2);
    this.signed = new Int32Array(buffer, byteOffset, FRAME_BYTES_MAX >>> 2);
  }

  /** Reads the header of a frame of `length` bytes; false: it is no request. */
  decode(length: number): boolean {
    const words = this.words;
    if (length < REQUEST_HEADER_BYTES || words[0] !== length) return false;
    this.length = length;
    this.opcode = words[1] ?? 0;
    this.uniqueLow = words[2] ?? 0;
    this.uniqueHigh = words[3] ?? 0;
    this.node = (words[4] ?? 0) + (words[5] ?? 0) * TWO_32;
    this.uid = words[6] ?? 0;
    this.gid = words[7] ?? 0;
    this.pid = words[8] ?? 0;
    this.detail = 0;
    this.detail2 = 0;
    this.interrupt = undefined;
    return true;
  }

  /** As a map key: the kernel counts requests up, so it stays below 2^53. */
  get unique(): number {
    return this.uniqueLow + this.uniqueHigh * TWO_32;
  }

  /** Field at byte `at` of the body. */
  u32(at: number): number {
    return this.words[(REQUEST_HEADER_BYTES + at) >>> 2] ?? 0;
  }

  u64(at: number): number {
    const word = (REQUEST_HEADER_BYTES + at) >>> 2;
    return (this.words[word] ?? 0) + (this.words[word + 1] ?? 0) * TWO_32;
  }

  i64(at: number): number {
    const word = (REQUEST_HEADER_BYTES + at) >>> 2;
    return (this.words[word] ?? 0) + (this.signed[word + 1] ?? 0) * TWO_32;
  }

  /** A 64-bit number that is only compared: a lock owner. */
  text64(at: number): string {
    const word = (REQUEST_HEADER_BYTES + at) >>> 2;
    return `${(this.words[word + 1] ?? 0).toString(16)}:${(this.words[word] ?? 0).toString(16)}`;
  }

  /** Bytes of the body, in place: valid until the call is answered. */
  slice(at: number, length: number): Buffer {
    const start = REQUEST_HEADER_BYTES + at;
    return this.bytes.subarray(start, Math.min(start + length, this.length));
  }

  /**
   * The name at byte `at`, which ends with NUL. A copy (0.1 us): the file system below may keep a name in its caches,
   * and a buffer that changes under it would show only on a mount.
   */
  name(at: number): Uint8Array {
    const start = REQUEST_HEADER_BYTES + at;
    const end = this.bytes.indexOf(0, start);
    return new Uint8Array(
      this.bytes.subarray(start, end < 0 || end > this.length ? this.length : end),
    );
  }

  /** Where the string behind the one at `at` begins. */
  behindName(at: number): number {
    const end = this.bytes.indexOf(0, REQUEST_HEADER_BYTES + at);
    return (end < 0 ? this.length : end + 1) - REQUEST_HEADER_BYTES;
  }

  caller(): Caller {
    return new RequestCaller(this.uid, this.gid, this.pid);
  }
}
