/**
 * Content of files in memory: chunks of 64 KiB, aligned, so that what is written back is clustered as the disk's chunks are.
 *
 * ```
 *   a block of a chunk:  unknown --read, or written whole--> valid --write--> dirty --write-back--> flying --at quorum--> valid
 *                                                              ^                |                      |
 *                                                              |                +-------- failed ------+
 * ```
 *
 * - Bytes of a valid block behind the end of the file are zero.
 * - `unmapped`: dirty, and without a place on the disk yet (delayed allocation); one block is reserved for each.
 * - Only chunks without dirty or flying blocks are evicted, the ones unused longest first, over a bound in bytes.
 */
import { LRUCache } from 'lru-cache';
import { REGISTER_BYTES } from '../disk/disk.js';
import { bitCount } from '../format/bitmap.js';

export const CHUNK_BLOCKS = 16;
export const CHUNK_BYTES = CHUNK_BLOCKS * REGISTER_BYTES;
const OVERHEAD_BYTES = 300;

export class Chunk {
  readonly file: FileContent;
  readonly index: number;
  bytes: Uint8Array;
  /** Masks: bit n is block n of the chunk. */
  valid = 0;
  dirty = 0;
  flying = 0;
  unmapped = 0;
  /** Counted in the cache with so many bytes; 0: not in it. */
  counted = 0;

  constructor(file: FileContent, index: number, bytes: number) {
    this.file = file;
    this.index = index;
    this.bytes = new Uint8Array(roundUp(bytes));
  }

  /** Makes room for bytes up to `end`. */
  reach(end: number): void {
    if (end <= this.bytes.length) return;
    const grown = new Uint8Array(roundUp(end));
    grown.set(this.bytes);
    this.bytes = grown;
  }
}

function roundUp(bytes: number): number {
  let size = REGISTER_BYTES;
  while (size < bytes) size *= 2;
  return size;
}

export class FileContent {
  readonly chunks = new Map<number, Chunk>();
  readonly cache: ChunkCache;
  dropped = false;
  /** Blocks dirty, and blocks being written. */
  dirtyBlocks = 0;
  flyingBlocks = 0;
  /** Dirty blocks without a place on the disk. */
  reserved = 0;
  /** Small content that outgrew the inode: it is here, and still there until write-back. */
  leaving = false;
  /** Rises when blocks are cut off: what was being read before is void. */
  cuts = 0;
  /** The write-back under way. */
  writing: Promise<void> | undefined = undefined;
  /** Where the last read ended, for read-ahead. */
  readEnd = -1;
  readAheadTo = 0;
  readonly loads = new Map<number, Promise<void>>();

  constructor(cache: ChunkCache) {
    this.cache = cache;
  }

  get busy(): boolean {
    return (
      this.dirtyBlocks > 0 || this.flyingBlocks > 0 || this.leaving || this.writing !== undefined
    );
  }

  /** The chunk, made with room for `bytes`. */
  chunk(index: number, bytes: number): Chunk {
    let chunk = this.chunks.get(index);
    if (chunk === undefined) {
      chunk = new Chunk(this, index, bytes);
      this.chunks.set(index, chunk);
    } else chunk.reach(bytes);
    return chunk;
  }

  isValid(block: number): boolean {
    const chunk = this.chunks.get(Math.floor(block / CHUNK_BLOCKS));
    return chunk !== undefined && (chunk.valid & (1 << (block % CHUNK_BLOCKS))) !== 0;
  }

  isDirty(block: number): boolean {
    const chunk = this.chunks.get(Math.floor(block / CHUNK_BLOCKS));
    return chunk !== undefined && (chunk.dirty & (1 << (block % CHUNK_BLOCKS))) !== 0;
  }

  /** Writes a whole block's content that came from the disk, unless something newer is there. */
  fill(block: number, bytes: Uint8Array): void {
    const at = block % CHUNK_BLOCKS;
    const chunk = this.chunk((block - at) / CHUNK_BLOCKS, (at + 1) * REGISTER_BYTES);
    if ((chunk.valid & (1 << at)) !== 0) return;
    chunk.bytes.set(bytes, at * REGISTER_BYTES);
    chunk.valid |= 1 << at;
    this.cache.settle(chunk);
  }

  fillZeros(block: number): void {
    const at = block % CHUNK_BLOCKS;
    const chunk = this.chunk((block - at) / CHUNK_BLOCKS, (at + 1) * REGISTER_BYTES);
    if ((chunk.valid & (1 << at)) !== 0) return;
    chunk.bytes.fill(0, at * REGISTER_BYTES, (at + 1) * REGISTER_BYTES);
    chunk.valid |= 1 << at;
    this.cache.settle(chunk);
  }

  markDirty(chunk: Chunk, bit: number, unmapped: boolean): void {
    chunk.valid |= bit;
    if ((chunk.dirty & bit) === 0) {
      chunk.dirty |= bit;
      this.dirtyBlocks++;
      this.cache.dirtyBlocks++;
    }
    if (unmapped && (chunk.unmapped & bit) === 0) {
      chunk.unmapped |= bit;
      this.reserved++;
      this.cache.reserve(1);
    }
    this.cache.settle(chunk);
  }

  /** The block has a place now. */
  mapped(chunk: Chunk, bit: number): void {
    if ((chunk.unmapped & bit) === 0) return;
    chunk.unmapped &= ~bit;
    this.reserved--;
    this.cache.reserve(-1);
  }

  clean(chunk: Chunk, bit: number): void {
    if ((chunk.dirty & bit) === 0) return;
    chunk.dirty &= ~bit;
    this.dirtyBlocks--;
    this.cache.dirtyBlocks--;
  }

  fly(chunk: Chunk, bit: number): void {
    this.clean(chunk, bit);
    chunk.flying |= bit;
    this.flyingBlocks++;
  }

  land(chunk: Chunk, bit: number, ok: boolean): void {
    if ((chunk.flying & bit) === 0) return;
    chunk.flying &= ~bit;
    this.flyingBlocks--;
    if (!ok && this.chunks.get(chunk.index) === chunk) this.markDirty(chunk, bit, false);
    else this.cache.settle(chunk);
  }

  /** Blocks [from, to) hold nothing any more. */
  cut(from: number, to: number): void {
    this.cuts++;
    for (const chunk of this.chunks.values()) {
      const first = chunk.index * CHUNK_BLOCKS;
      if (first >= to || first + CHUNK_BLOCKS <= from) continue;
      let mask = 0;
      for (let i = 0; i < CHUNK_BLOCKS; i++) {
        if (first + i >= from && first + i < to) mask |= 1 << i;
      }
      this.#forget(chunk, mask);
      if (chunk.valid === 0 && chunk.flying === 0) this.#remove(chunk);
    }
  }

  #forget(chunk: Chunk, mask: number): void {
    const dirty = bitCount(chunk.dirty & mask);
    this.dirtyBlocks -= dirty;
    this.cache.dirtyBlocks -= dirty;
    const unmapped = bitCount(chunk.unmapped & mask);
    this.reserved -= unmapped;
    this.cache.reserve(-unmapped);
    chunk.valid &= ~mask;
    chunk.dirty &= ~mask;
    chunk.unmapped &= ~mask;
  }

  #remove(chunk: Chunk): void {
    this.cache.forget(chunk);
    this.chunks.delete(chunk.index);
  }

  /** The lock is gone, or the file. */
  drop(): void {
    this.dropped = true;
    for (const chunk of this.chunks.values()) {
      this.#forget(chunk, 0xffff);
      this.cache.forget(chunk);
    }
    this.chunks.clear();
    this.leaving = false;
  }
}

/** All chunks of a server, bounded in bytes. */
export class ChunkCache {
  /** In all files. */
  dirtyBlocks = 0;
  reserve: (count: number) => void = () => undefined;
  readonly #clean: LRUCache<Chunk, Chunk>;
  readonly #bytesMax: number;
  /** Never leaves: see BlockCache. */
  readonly #last = new Chunk(new FileContent(this), 0, 0);
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#clean = new LRUCache({ max: Math.max(16, Math.ceil(bytesMax / REGISTER_BYTES)) });
    this.#clean.set(this.#last, this.#last);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get dirtyBytes(): number {
    return this.dirtyBlocks * REGISTER_BYTES;
  }

  touch(chunk: Chunk): void {
    if (chunk.counted !== 0) this.#clean.get(chunk);
  }

  /** Puts the chunk where its state belongs: clean ones may be evicted. */
  settle(chunk: Chunk): void {
    const cost = chunk.dirty === 0 && chunk.flying === 0 ? chunk.bytes.length + OVERHEAD_BYTES : 0;
    if (cost === chunk.counted) return;
    if (chunk.counted !== 0 && cost === 0) this.#clean.delete(chunk);
    if (chunk.counted === 0 && cost !== 0) this.#clean.set(chunk, chunk);
    this.#bytes += cost - chunk.counted;
    chunk.counted = cost;
  }

  forget(chunk: Chunk): void {
    if (chunk.counted === 0) return;
    this.#clean.delete(chunk);
    this.#bytes -= chunk.counted;
    chunk.counted = 0;
  }

  /** Between operations: chunks over the bound go. */
  trim(): void {
    while (this.#bytes > this.#bytesMax && this.#clean.size > 1) {
      const oldest = this.#clean.pop();
      if (oldest === this.#last) this.#clean.set(oldest, oldest);
      if (oldest === undefined || oldest === this.#last) continue;
      this.#bytes -= oldest.counted;
      oldest.counted = 0;
      oldest.file.chunks.delete(oldest.index);
    }
  }
}
