/**
 * Reads fields one after another from bytes that came from outside. Each read is bounds-checked:
 * past the end it throws CORRUPTION, never a RangeError. For messages and file headers; the record
 * loop has its own reader.
 */
import { SextantError } from '../errors.js';
import { getU48, getU64 } from './le.js';

const utf8 = new TextDecoder('utf-8', { fatal: true });

export class ByteReader {
  readonly bytes: Uint8Array;
  /** Where the next field starts. */
  at: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.bytes.length - this.at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  u48(): number {
    return getU48(this.#view, this.#take(6));
  }
  u64(): number {
    return getU64(this.#view, this.#take(8));
  }
  f64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** A view of the next `length` bytes. */
  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** A u32 length, then that many bytes: a view. */
  block(): Uint8Array {
    return this.raw(this.u32());
  }

  /** A u32 length, then that much UTF-8. */
  text(): string {
    try {
      return utf8.decode(this.block());
    } catch (cause) {
      if (cause instanceof SextantError) throw cause;
      throw new SextantError('CORRUPTION', 'text is not UTF-8', { cause });
    }
  }

  /** Throws CORRUPTION unless everything was read. */
  end(): void {
    if (this.remaining !== 0) {
      throw new SextantError('CORRUPTION', `${this.remaining} bytes too many`);
    }
  }

  #take(length: number): number {
    const at = this.at;
    if (at + length > this.bytes.length) {
      throw new SextantError('CORRUPTION', `cut short: ${length} bytes wanted at byte ${at}`);
    }
    this.at = at + length;
    return at;
  }
}
