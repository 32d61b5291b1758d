/** A file's bytes in memory: 4 KiB pieces, absent where nothing was written. */
const PIECE_BYTES = 4096;

export class SparseBytes {
  readonly #pieces = new Map<number, Uint8Array>();
  size = 0;

  /** Units of 512 bytes. */
  get blocks(): number {
    return this.#pieces.size * (PIECE_BYTES / 512);
  }

  get allocatedBytes(): number {
    return this.#pieces.size * PIECE_BYTES;
  }

  read(offset: number, length: number): Uint8Array {
    const end = Math.min(offset + length, this.size);
    if (end <= offset) return new Uint8Array(0);
    const result = new Uint8Array(end - offset);
    for (let at = offset; at < end;) {
      const index = Math.floor(at / PIECE_BYTES);
      const from = at - index * PIECE_BYTES;
      const count = Math.min(PIECE_BYTES - from, end - at);
      const piece = this.#pieces.get(index);
      if (piece !== undefined) result.set(piece.subarray(from, from + count), at - offset);
      at += count;
    }
    return result;
  }

  /** Bytes that a write would newly allocate. */
  missingBytes(offset: number, length: number): number {
    let missing = 0;
    const last = Math.ceil((offset + length) / PIECE_BYTES);
    for (let i = Math.floor(offset / PIECE_BYTES); i < last; i++) {
      if (!this.#pieces.has(i)) missing += PIECE_BYTES;
    }
    return missing;
  }

  write(offset: number, data: Uint8Array): void {
    for (let at = 0; at < data.length;) {
      const index = Math.floor((offset + at) / PIECE_BYTES);
      const from = offset + at - index * PIECE_BYTES;
      const count = Math.min(PIECE_BYTES - from, data.length - at);
      this.#piece(index).set(data.subarray(at, at + count), from);
      at += count;
    }
    this.size = Math.max(this.size, offset + data.length);
  }

  truncate(size: number): void {
    if (size < this.size) this.punch(size, Math.ceil(this.size / PIECE_BYTES) * PIECE_BYTES);
    this.size = size;
  }

  /** Drops whole pieces, also those allocated behind the end. */
  dropBehind(size: number): void {
    for (const index of this.#pieces.keys()) {
      if (index * PIECE_BYTES >= size) this.#pieces.delete(index);
    }
  }

  allocate(start: number, end: number): void {
    const last = Math.ceil(end / PIECE_BYTES);
    for (let i = Math.floor(start / PIECE_BYTES); i < last; i++) this.#piece(i);
  }

  /** Zeros; whole pieces become holes. */
  punch(start: number, end: number): void {
    for (const [index, piece] of this.#pieces) {
      const base = index * PIECE_BYTES;
      const from = Math.max(start - base, 0);
      const to = Math.min(end - base, PIECE_BYTES);
      if (from >= to) continue;
      if (to - from === PIECE_BYTES) this.#pieces.delete(index);
      else piece.fill(0, from, to);
    }
  }

  /** Takes [start, end) out (shift < 0) or makes room at start (shift > 0); whole pieces. */
  shift(start: number, bytes: number): void {
    const pieces = bytes / PIECE_BYTES;
    const first = start / PIECE_BYTES;
    const moved: [number, Uint8Array][] = [];
    for (const [index, piece] of this.#pieces) {
      if (index < first) continue;
      this.#pieces.delete(index);
      if (bytes > 0 || index >= first - pieces) moved.push([index + pieces, piece]);
    }
    for (const [index, piece] of moved) this.#pieces.set(index, piece);
    this.size += bytes;
  }

  seekData(offset: number): number | undefined {
    let found = Number.POSITIVE_INFINITY;
    for (const index of this.#pieces.keys()) {
      const start = index * PIECE_BYTES;
      if (start + PIECE_BYTES > offset && start < this.size) {
        found = Math.min(found, Math.max(start, offset));
      }
    }
    return found === Number.POSITIVE_INFINITY ? undefined : found;
  }

  seekHole(offset: number): number {
    let index = Math.floor(offset / PIECE_BYTES);
    if (!this.#pieces.has(index)) return offset;
    while (this.#pieces.has(index)) index++;
    return Math.min(index * PIECE_BYTES, this.size);
  }

  #piece(index: number): Uint8Array {
    let piece = this.#pieces.get(index);
    if (piece === undefined) {
      piece = new Uint8Array(PIECE_BYTES);
      this.#pieces.set(index, piece);
    }
    return piece;
  }
}

export const SPARSE_PIECE_BYTES = PIECE_BYTES;
