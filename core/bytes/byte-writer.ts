/** Writes fields one after another into a buffer that grows by doubling; ByteReader reads them back. */
import { assert } from '../assert.js';
import { putU48, putU64 } from './le.js';

const utf8 = new TextEncoder();

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  u8(value: number): this {
    assert(value >= 0 && value <= 0xff, 'a u8 is in [0, 255]');
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    assert(value >= 0 && value <= 0xffff, 'a u16 is in [0, 65535]');
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, true);
    return this;
  }
  u32(value: number): this {
    assert(value >= 0 && value <= 0xffff_ffff, 'a u32 is in [0, 2^32)');
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
    return this;
  }
  u48(value: number): this {
    const at = this.#reserve(6);
    putU48(this.#view, at, value);
    return this;
  }
  u64(value: number): this {
    const at = this.#reserve(8);
    putU64(this.#view, at, value);
    return this;
  }
  f64(value: number): this {
    const at = this.#reserve(8);
    this.#view.setFloat64(at, value, true);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** A u32 length, then the bytes. */
  block(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  /** A u32 length, then UTF-8. */
  text(text: string): this {
    return this.block(utf8.encode(text));
  }

  /** What was written, in memory of its own; the writer is empty again. */
  finish(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    return bytes;
  }

  /** May replace buffer and view: take the offset first, then name them. */
  #reserve(length: number): number {
    const at = this.#at;
    this.#at = at + length;
    if (this.#at > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}
