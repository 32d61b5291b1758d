/**
 * The bytes of one simulated file, with what a power cut may still undo.
 *
 *     data      what the program reads (the page cache)
 *     changes   every write and truncation since the last sync, with the bytes it replaced, so that
 *               sync costs nothing and a power cut can roll all of it back
 *
 * At a power cut all changes are undone, then done again in order: a synced one whole, an unsynced one
 * sector by sector (512 bytes, aligned in the file), each sector kept or lost by seed. A sector that was
 * lost beyond the old end may leave zeros (the size was written, the data was not) or no trace.
 *
 * A failed sync leaves its changes readable but never durable for sure, whatever later syncs say, as
 * Linux does: `doomed`.
 */
import type { SimRandom } from './random.js';

export const SECTOR_BYTES = 512;

class Change {
  readonly position: number;
  /** What lay there, as far as the file reached. */
  readonly replaced: Uint8Array;
  readonly sizeBefore: number;
  /** Bytes written; -1 for a truncation. */
  readonly length: number;
  readonly sizeAfter: number;
  written: Uint8Array | undefined;
  synced = false;
  doomed = false;

  constructor(
    position: number,
    replaced: Uint8Array,
    sizeBefore: number,
    length: number,
    sizeAfter: number,
  ) {
    this.position = position;
    this.replaced = replaced;
    this.sizeBefore = sizeBefore;
    this.length = length;
    this.sizeAfter = sizeAfter;
  }
}

export class SimInode {
  size = 0;
  #data = new Uint8Array(0);
  #changes: Change[] = [];

  read(target: Uint8Array, offset: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.size - position));
    target.set(this.#data.subarray(position, position + count), offset);
    return count;
  }

  write(source: Uint8Array, offset: number, length: number, position: number): void {
    const end = position + length;
    const sizeAfter = Math.max(this.size, end);
    const replaced = this.#data.slice(Math.min(position, this.size), Math.min(end, this.size));
    this.#changes.push(new Change(position, replaced, this.size, length, sizeAfter));
    this.#resize(sizeAfter);
    this.#data.set(source.subarray(offset, offset + length), position);
  }

  truncate(size: number): void {
    const replaced = this.#data.slice(Math.min(size, this.size), this.size);
    this.#changes.push(new Change(size, replaced, this.size, -1, size));
    this.#resize(size);
  }

  sync(): void {
    if (this.#changes.some((change) => change.doomed)) {
      for (const change of this.#changes) if (!change.doomed) change.synced = true;
    } else {
      this.#changes.length = 0;
    }
  }

  failSync(): void {
    for (const change of this.#changes) if (!change.synced) change.doomed = true;
  }

  /** `keep`: probability that an unsynced sector survives. */
  powerCut(random: SimRandom, keep: number): void {
    const changes = this.#changes;
    for (let i = changes.length - 1; i >= 0; i--) this.#undo(changes[i]);
    for (const change of changes) {
      if (change.synced) this.#redo(change, random, 1);
      else this.#redo(change, random, keep);
    }
    this.#changes = [];
  }

  flipBit(bit: number): void {
    this.#data[bit >> 3] ^= 1 << (bit & 7);
  }

  #undo(change: Change): void {
    if (change.length >= 0) {
      change.written = this.#data.slice(change.position, change.position + change.length);
    }
    this.#resize(change.sizeBefore);
    this.#data.set(change.replaced, Math.min(change.position, change.sizeBefore));
  }

  #redo(change: Change, random: SimRandom, keep: number): void {
    const { written, position } = change;
    if (written === undefined) {
      if (random.chance(keep)) this.#resize(change.sizeAfter);
      return;
    }
    const end = position + written.length;
    let at = position;
    while (at < end) {
      const next = Math.min(end, at - (at % SECTOR_BYTES) + SECTOR_BYTES);
      if (random.chance(keep)) {
        if (next > this.size) this.#resize(next);
        this.#data.set(written.subarray(at - position, next - position), at);
      } else if (next > this.size && random.chance(keep / 2)) {
        this.#resize(next);
      }
      at = next;
    }
  }

  #resize(size: number): void {
    if (size > this.#data.length) {
      const grown = new Uint8Array(Math.max(size, this.#data.length * 2, 4096));
      grown.set(this.#data.subarray(0, this.size), 0);
      this.#data = grown;
    } else if (size < this.size) {
      this.#data.fill(0, size, this.size);
    }
    this.size = size;
  }
}
