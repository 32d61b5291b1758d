/**
 * Register images of one size in slots of one file, written out of place (rule 13). What a slot holds is known from the
 * index alone, CRC included, so a lost, torn or misdirected write shows as a wrong CRC.
 *
 * A slot's life: free -> reserved -> written, synced -> named by the journal -> (something newer is named, durably) -> free.
 */
import { SextantError } from '#core/errors.js';
import type { DiskFile } from '#core/world/world.js';

/** Slot + 1 must stay below 2^32. */
const SLOTS_MAX = 0xffff_fffe;
const ALL_USED = 0xffff_ffff;

export class BlockFile {
  readonly file: DiskFile;
  readonly slotBytes: number;
  usedCount = 0;
  /** Written since the last sync. */
  unsynced = false;
  #used = new Uint32Array(1024);
  #slotCount = 0;
  #cursor = 0;

  constructor(file: DiskFile, slotBytes: number) {
    this.file = file;
    this.slotBytes = slotBytes;
  }

  get usedBytes(): number {
    return this.usedCount * this.slotBytes;
  }
  /** Of the file, in slots that nothing uses. */
  get freeBytes(): number {
    return (this.#slotCount - this.usedCount) * this.slotBytes;
  }

  isUsed(slot: number): boolean {
    return slot < this.#slotCount && (this.#used[slot >>> 5] & (1 << (slot & 31))) !== 0;
  }

  use(slot: number): void {
    if (this.isUsed(slot)) return;
    while (slot >>> 5 >= this.#used.length) {
      const grown = new Uint32Array(this.#used.length * 2);
      grown.set(this.#used);
      this.#used = grown;
    }
    if (slot >= this.#slotCount) this.#slotCount = slot + 1;
    this.#used[slot >>> 5] |= 1 << (slot & 31);
    this.usedCount++;
  }

  free(slot: number): void {
    if (!this.isUsed(slot)) return;
    this.#used[slot >>> 5] &= ~(1 << (slot & 31));
    this.usedCount--;
  }

  /** Reserves `count` slots, adjacent as far as there is room, into `into`. */
  reserve(count: number, into: number[]): void {
    for (let i = 0; i < count; i++) {
      const slot = this.#findFree();
      this.use(slot);
      this.#cursor = slot + 1;
      into.push(slot);
    }
  }

  /** Writes images to their slots, adjacent ones at once. Throws DISK_FULL, DISK_FAILED. */
  write(slots: readonly number[], source: Uint8Array, offset: number): void {
    const size = this.slotBytes;
    this.unsynced = true;
    for (let i = 0; i < slots.length;) {
      let end = i + 1;
      while (end < slots.length && slots[end] === slots[end - 1] + 1) end++;
      this.file.write(source, offset + i * size, (end - i) * size, slots[i] * size);
      i = end;
    }
  }

  /** Reads `count` adjacent slots; the rest of a short file reads as it was in `target`. */
  read(slot: number, count: number, target: Uint8Array, offset: number): void {
    this.file.read(target, offset, count * this.slotBytes, slot * this.slotBytes);
  }

  sync(): void {
    if (!this.unsynced) return;
    this.file.sync();
    this.unsynced = false;
  }

  #findFree(): number {
    const count = this.#slotCount;
    // Less than an eighth free: append, so that writes stay in runs.
    if (this.usedCount * 8 >= count * 7) {
      if (count >= SLOTS_MAX)
        throw new SextantError('DISK_FULL', 'the block file has no more slots');
      return count;
    }
    for (let pass = 0; pass < 2; pass++) {
      for (let slot = this.#cursor; slot < count;) {
        const word = this.#used[slot >>> 5];
        if (word === ALL_USED) slot = ((slot >>> 5) + 1) << 5;
        else if ((word & (1 << (slot & 31))) === 0) return slot;
        else slot++;
      }
      this.#cursor = 0;
    }
    return count;
  }
}
