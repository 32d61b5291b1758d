/** UTF-8 and number conversions over byte ranges, without DataViews or slices. Hosts are little-endian. */
import { assert } from '#core/assert.js';

const scratch8 = new Uint8Array(8);
const scratch32 = new Int32Array(scratch8.buffer);
const scratchF32 = new Float32Array(scratch8.buffer);
const scratch64 = new BigInt64Array(scratch8.buffer);
const scratchF64 = new Float64Array(scratch8.buffer);
scratch32[0] = 1;
assert(scratch8[0] === 1, 'host is little-endian');

/** What Node's Buffer methods do on any Uint8Array, shared memory included. */
interface NodeBytes {
  utf8Slice(this: Uint8Array, start: number, end: number): string;
  latin1Slice(this: Uint8Array, start: number, end: number): string;
  utf8Write(this: Uint8Array, text: string, offset: number, length: number): number;
}
const nodeBytes = Buffer.prototype as unknown as NodeBytes;
// Called with .call() only.
// oxlint-disable-next-line typescript/unbound-method
const utf8Slice = nodeBytes.utf8Slice;
// Called with .call() only.
// oxlint-disable-next-line typescript/unbound-method
const latin1Slice = nodeBytes.latin1Slice;
// Called with .call() only.
// oxlint-disable-next-line typescript/unbound-method
const utf8Write = nodeBytes.utf8Write;

/** Hot: below 24 bytes of ASCII a loop beats the call into C++ (about 20 ns against 90 ns). */
const SHORT_BYTES = 24;

export function readText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_BYTES) {
    let text = '';
    let i = start;
    for (; i < end; i++) {
      const byte = bytes[i] as number;
      if (byte >= 0x80) break;
      text += String.fromCharCode(byte);
    }
    if (i === end) return text;
  } else {
    let i = start;
    while (i < end && (bytes[i] as number) < 0x80) i++;
    if (i === end) return latin1Slice.call(bytes, start, end);
  }
  return utf8Slice.call(bytes, start, end);
}

/** Writes UTF-8, returns the new offset; the caller made room (3 bytes a UTF-16 unit are always enough). */
export function writeText(text: string, target: Uint8Array, offset: number): number {
  const length = text.length;
  if (length <= SHORT_BYTES) {
    let i = 0;
    for (; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) break;
      target[offset + i] = unit;
    }
    if (i === length) return offset + length;
  }
  return offset + utf8Write.call(target, text, offset, target.length - offset);
}

export const textBytes = (text: string): number => Buffer.byteLength(text, 'utf8');

export function toUtf8(text: string): Uint8Array {
  const bytes = new Uint8Array(textBytes(text));
  writeText(text, bytes, 0);
  return bytes;
}

// Little-endian: tuples.

export function readInt2(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) | ((bytes[at + 1] as number) << 8)) << 16) >> 16;
}

export function readInt4(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

export function readInt8(bytes: Uint8Array, at: number): bigint {
  scratch32[0] = readInt4(bytes, at);
  scratch32[1] = readInt4(bytes, at + 4);
  return scratch64[0] as bigint;
}

/** A signed 64-bit integer that is known to be safe. */
export function readSafeInt8(bytes: Uint8Array, at: number): number {
  return readInt4(bytes, at + 4) * 0x1_0000_0000 + (readInt4(bytes, at) >>> 0);
}

export function readFloat4(bytes: Uint8Array, at: number): number {
  scratch32[0] = readInt4(bytes, at);
  return scratchF32[0] as number;
}

export function readFloat8(bytes: Uint8Array, at: number): number {
  scratch32[0] = readInt4(bytes, at);
  scratch32[1] = readInt4(bytes, at + 4);
  return scratchF64[0] as number;
}

export function putInt2(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >> 8;
}

export function putInt4(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >> 8;
  target[at + 2] = value >> 16;
  target[at + 3] = value >> 24;
}

export function putInt8(target: Uint8Array, at: number, value: bigint): void {
  scratch64[0] = value;
  putInt4(target, at, scratch32[0] as number);
  putInt4(target, at + 4, scratch32[1] as number);
}

export function putSafeInt8(target: Uint8Array, at: number, value: number): void {
  putInt4(target, at, value | 0);
  putInt4(target, at + 4, Math.floor(value / 0x1_0000_0000));
}

export function putFloat4(target: Uint8Array, at: number, value: number): void {
  scratchF32[0] = value;
  putInt4(target, at, scratch32[0] as number);
}

export function putFloat8(target: Uint8Array, at: number, value: number): void {
  scratchF64[0] = value;
  putInt4(target, at, scratch32[0] as number);
  putInt4(target, at + 4, scratch32[1] as number);
}

// Big-endian: PostgreSQL's binary format and keys.

export function readInt2BE(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)) >> 16;
}

export function readInt4BE(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

export function readInt8BE(bytes: Uint8Array, at: number): bigint {
  scratch32[1] = readInt4BE(bytes, at);
  scratch32[0] = readInt4BE(bytes, at + 4);
  return scratch64[0] as bigint;
}

export function readFloat4BE(bytes: Uint8Array, at: number): number {
  scratch32[0] = readInt4BE(bytes, at);
  return scratchF32[0] as number;
}

export function readFloat8BE(bytes: Uint8Array, at: number): number {
  scratch32[1] = readInt4BE(bytes, at);
  scratch32[0] = readInt4BE(bytes, at + 4);
  return scratchF64[0] as number;
}

export function putInt2BE(target: Uint8Array, at: number, value: number): void {
  target[at] = value >> 8;
  target[at + 1] = value;
}

export function putInt4BE(target: Uint8Array, at: number, value: number): void {
  target[at] = value >> 24;
  target[at + 1] = value >> 16;
  target[at + 2] = value >> 8;
  target[at + 3] = value;
}

export function putInt8BE(target: Uint8Array, at: number, value: bigint): void {
  scratch64[0] = value;
  putInt4BE(target, at, scratch32[1] as number);
  putInt4BE(target, at + 4, scratch32[0] as number);
}

export function putFloat4BE(target: Uint8Array, at: number, value: number): void {
  scratchF32[0] = value;
  putInt4BE(target, at, scratch32[0] as number);
}

export function putFloat8BE(target: Uint8Array, at: number, value: number): void {
  scratchF64[0] = value;
  putInt4BE(target, at, scratch32[1] as number);
  putInt4BE(target, at + 4, scratch32[0] as number);
}
