/**
 * The answer under construction: one buffer for all of them, since each is written to the device before the next begins. Every
 * byte of a body is written, so nothing of an earlier answer shows.
 */
import type { Attributes, Entry } from '../vfs/vfs.js';
import {
  ANSWER_HEADER_BYTES,
  ATTRIBUTES_BYTES,
  DIRENT_BYTES,
  ENTRY_BYTES,
  FRAME_BYTES_MAX,
} from './protocol.js';

const TWO_32 = 4_294_967_296;
/** Longer data go to the device from where they are, without a copy into the answer. */
const COPY_BYTES_MAX = 16_384;
const BLOCK_BYTES = 4096;

export class Answer {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(FRAME_BYTES_MAX);
  readonly #words: Uint32Array;
  /** End of what is written. */
  length = ANSWER_HEADER_BYTES;
  /** Data that follow behind `length`. */
  tail: Uint8Array | undefined = undefined;

  constructor() {
    this.#words = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, FRAME_BYTES_MAX >>> 2);
  }

  begin(): void {
    this.length = ANSWER_HEADER_BYTES;
    this.tail = undefined;
  }

  /** Writes the header; the answer is ready to be sent. */
  end(uniqueLow: number, uniqueHigh: number, error: number): void {
    const words = this.#words;
    if (error !== 0) this.begin();
    words[0] = this.length + (this.tail === undefined ? 0 : this.tail.length);
    words[1] = -error;
    words[2] = uniqueLow;
    words[3] = uniqueHigh;
  }

  u32(value: number): void {
    this.#words[this.length >>> 2] = value;
    this.length += 4;
  }

  /** Also negative numbers, as two's complement. */
  u64(value: number): void {
    const word = this.length >>> 2;
    this.#words[word] = value;
    this.#words[word + 1] = Math.floor(value / TWO_32);
    this.length += 8;
  }

  zeros(bytes: number): void {
    this.bytes.fill(0, this.length, this.length + bytes);
    this.length += bytes;
  }

  data(data: Uint8Array): void {
    if (data.length > COPY_BYTES_MAX) {
      this.tail = data;
      return;
    }
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  attributes(a: Attributes): void {
    const words = this.#words;
    this.u64(a.ino);
    this.u64(a.size);
    this.u64(a.blocks);
    this.u64(a.atimeSec);
    this.u64(a.mtimeSec);
    this.u64(a.ctimeSec);
    const at = this.length >>> 2;
    words[at] = a.atimeNsec;
    words[at + 1] = a.mtimeNsec;
    words[at + 2] = a.ctimeNsec;
    words[at + 3] = a.mode;
    words[at + 4] = a.nlink;
    words[at + 5] = a.uid;
    words[at + 6] = a.gid;
    words[at + 7] = a.rdev;
    words[at + 8] = BLOCK_BYTES;
    words[at + 9] = 0;
    this.length += ATTRIBUTES_BYTES - 48;
  }

  /** The answer to GETATTR and SETATTR. */
  attributesAnswer(entry: Entry): void {
    const ms = validity(entry.attributesMs);
    this.u64(Math.floor(ms / 1000));
    this.u32((ms % 1000) * 1_000_000);
    this.u32(0);
    this.attributes(entry.attributes);
  }

  /** `namesKept`: the kernel can be told to forget names (rule 23). */
  entry(entry: Entry, namesKept: boolean): void {
    const { attributes } = entry;
    const nameMs = namesKept ? validity(entry.nameMs) : 0;
    const attributesMs = validity(entry.attributesMs);
    this.u64(attributes.ino);
    this.u64(attributes.generation);
    this.u64(Math.floor(nameMs / 1000));
    this.u64(Math.floor(attributesMs / 1000));
    this.u32((nameMs % 1000) * 1_000_000);
    this.u32((attributesMs % 1000) * 1_000_000);
    this.attributes(attributes);
  }

  /** False, and nothing written: it does not fit into a body of `bytesMax`. */
  directoryEntry(
    name: Uint8Array,
    ino: number,
    type: number,
    cookie: number,
    bytesMax: number,
  ): boolean {
    const end = this.length + ((DIRENT_BYTES + name.length + 7) & ~7);
    if (end - ANSWER_HEADER_BYTES > bytesMax) return false;
    this.u64(ino);
    this.u64(cookie);
    this.u32(name.length);
    this.u32(type >>> 12);
    this.bytes.set(name, this.length);
    this.bytes.fill(0, this.length + name.length, end);
    this.length = end;
    return true;
  }

  fits(nameBytes: number, bytesMax: number): boolean {
    const bytes = ENTRY_BYTES + ((DIRENT_BYTES + nameBytes + 7) & ~7);
    return this.length - ANSWER_HEADER_BYTES + bytes <= bytesMax;
  }
}

/** Whole milliseconds, never longer than given (rule 20). */
function validity(ms: number): number {
  return ms > 0 ? Math.floor(ms) : 0;
}
