/**
 * Takes socket chunks apart into frontend messages.
 *
 *     startup packet:  i32 length (itself included), body
 *     message:         u8 type, i32 length (itself included, not the type), body
 *
 * A message that lies in one chunk is read in place; one that spans chunks is put together once, when all of it is
 * there. `bytes[at, end)` is what is left of the current message's body; the getters below take it apart and throw
 * 08P01 when it is shorter than they need.
 */
import { SqlError } from '../sql-error.js';
import { isFrontendMessage } from './message-types.js';

/** What PostgreSQL grants before authentication. */
export const STARTUP_BYTES_MAX = 10_000;
export const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;
const NO_BYTES = Buffer.alloc(0);

export class MessageReader {
  /** Of the current message; 0 for a startup packet. */
  type = 0;
  bytes: Buffer = NO_BYTES;
  at = 0;
  end = 0;
  /** Largest length that is believed; raised after authentication. */
  bytesMax = STARTUP_BYTES_MAX;
  /** Bytes pushed and not consumed. */
  queuedBytes = 0;

  #chunks: Buffer[] = [];
  #head = 0;

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.queuedBytes += chunk.length;
  }

  /** Steps onto the next packet without type byte; false: not all of it is here. */
  nextStartup(): boolean {
    this.type = 0;
    return this.#next(0);
  }

  /** Steps onto the next message; false: not all of it is here. Throws 08P01 on one that cannot be. */
  next(): boolean {
    if (this.queuedBytes === 0) return false;
    const type = this.#chunks[0][this.#head];
    if (!isFrontendMessage(type)) {
      throw protocolViolation(`invalid frontend message type ${type}`);
    }
    this.type = type;
    return this.#next(1);
  }

  u8(): number {
    if (this.at >= this.end) throw tooShort();
    return this.bytes[this.at++];
  }

  i16(): number {
    if (this.at + 2 > this.end) throw tooShort();
    const value = this.bytes.readInt16BE(this.at);
    this.at += 2;
    return value;
  }

  u16(): number {
    return this.i16() & 0xffff;
  }

  i32(): number {
    if (this.at + 4 > this.end) throw tooShort();
    const bytes = this.bytes;
    const at = this.at;
    this.at += 4;
    return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }

  cstring(): string {
    const start = this.at;
    const bytes = this.bytes;
    let at = start;
    while (at < this.end && bytes[at] !== 0) at++;
    if (at >= this.end) throw protocolViolation('invalid string in message');
    this.at = at + 1;
    return at === start ? '' : decodeText(bytes, start, at);
  }

  /** Start of a run of bytes that is stepped over. */
  skip(count: number): number {
    if (count < 0 || this.at + count > this.end) throw tooShort();
    const start = this.at;
    this.at += count;
    return start;
  }

  rest(): Buffer {
    const rest = this.bytes.subarray(this.at, this.end);
    this.at = this.end;
    return rest;
  }

  /** 08P01 when the message has more than was asked of it. */
  finish(): void {
    if (this.at !== this.end) throw protocolViolation('invalid message format');
  }

  #next(typeBytes: number): boolean {
    const head = typeBytes + 4;
    if (this.queuedBytes < head) return false;
    const length = this.#peekI32(typeBytes);
    if (length < 4 || length > this.bytesMax) throw protocolViolation('invalid message length');
    const total = typeBytes + length;
    if (this.queuedBytes < total) return false;
    if (this.#chunks[0].length - this.#head < total) this.#gather(total);
    const chunk = this.#chunks[0];
    this.bytes = chunk;
    this.at = this.#head + head;
    this.end = this.#head + total;
    this.queuedBytes -= total;
    this.#head = this.end;
    if (this.#head === chunk.length) {
      this.#chunks.shift();
      this.#head = 0;
    }
    return true;
  }

  /** Makes one chunk of as many as hold `total` bytes. */
  #gather(total: number): void {
    let bytes = -this.#head;
    let count = 0;
    while (bytes < total) bytes += this.#chunks[count++].length;
    const parts = this.#chunks.splice(0, count);
    parts[0] = parts[0].subarray(this.#head);
    this.#head = 0;
    this.#chunks.unshift(Buffer.concat(parts, bytes));
  }

  #peekI32(offset: number): number {
    const chunk = this.#chunks[0];
    if (chunk.length - this.#head >= offset + 4) return chunk.readInt32BE(this.#head + offset);
    const bytes = Buffer.alloc(4);
    let skipped = this.#head + offset;
    let filled = 0;
    for (let i = 0; i < this.#chunks.length && filled < 4; i++) {
      const part = this.#chunks[i];
      for (; skipped < part.length && filled < 4; skipped++) bytes[filled++] = part[skipped];
      skipped -= part.length;
    }
    return bytes.readInt32BE(0);
  }
}

export function protocolViolation(message: string): SqlError {
  return new SqlError('08P01', message);
}

function tooShort(): SqlError {
  return protocolViolation('insufficient data left in message');
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** UTF-8 to text; 22021 on anything else. */
export function decodeText(bytes: Buffer, start: number, end: number): string {
  // Hot: most are a few ASCII characters; latin1 is the same then, and twice as fast.
  let ascii = 0;
  for (let i = start; i < end; i++) ascii |= bytes[i];
  if (ascii < 0x80) return bytes.toString('latin1', start, end);
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    throw new SqlError('22021', 'invalid byte sequence for encoding "UTF8"');
  }
}
