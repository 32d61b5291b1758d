/**
 * The page images: `pages/pages.data`, slots of 8192 bytes, written out of place. What a slot holds is known
 * from the index alone, CRC included: a lost, torn or misdirected write shows as a wrong CRC.
 *
 * A slot's life: free -> reserved -> written, synced -> named by the index -> (a newer version is named and
 * that is durable) -> free. It is never written while any durable index names it.
 */
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import type { DiskFile } from '#core/world/world.js';

export const NO_SLOT = 0xffff_ffff;

export class PageSlots {
  readonly file: DiskFile;
  /** Slots in use or reserved. */
  usedCount = 0;
  /** One bit a slot. */
  #used = new Uint32Array(1024);
  /** Slots below are all known; the file need not be as long. */
  #slotCount = 0;
  #cursor = 0;

  constructor(file: DiskFile) {
    this.file = file;
  }

  get bytes(): number {
    return this.usedCount * PAGE_BYTES;
  }

  isUsed(slot: number): boolean {
    return slot < this.#slotCount && (this.#used[slot >>> 5] & (1 << (slot & 31))) !== 0;
  }

  /** Marks a slot as in use: at start, from the index. */
  use(slot: number): void {
    if (this.isUsed(slot)) return;
    while (slot >>> 5 >= this.#used.length) this.#grow();
    if (slot >= this.#slotCount) this.#slotCount = slot + 1;
    this.#used[slot >>> 5] |= 1 << (slot & 31);
    this.usedCount++;
  }

  /** A free slot, now reserved: the next one behind the last, so that one job's slots lie together. */
  reserve(): number {
    const slot = this.#findFree();
    this.use(slot);
    this.#cursor = slot + 1;
    return slot;
  }

  free(slot: number): void {
    if (!this.isUsed(slot)) return;
    this.#used[slot >>> 5] &= ~(1 << (slot & 31));
    this.usedCount--;
  }

  read(slot: number, target: Uint8Array, base: number): void {
    const got = this.file.read(target, base, PAGE_BYTES, slot * PAGE_BYTES);
    if (got !== PAGE_BYTES) throw new SextantError('CORRUPTION', `page slot ${slot} is cut short`);
  }

  write(slot: number, source: Uint8Array, base: number): void {
    this.file.write(source, base, PAGE_BYTES, slot * PAGE_BYTES);
  }

  #findFree(): number {
    const count = this.#slotCount;
    // Less than a quarter free: append, so that writes stay in runs.
    if (this.usedCount * 4 > count * 3) {
      const slot = count;
      if (slot >= NO_SLOT) throw new SextantError('DISK_FULL', 'the page log has no more slots');
      return slot;
    }
    for (let pass = 0; pass < 2; pass++) {
      for (let slot = this.#cursor; slot < count;) {
        const word = this.#used[slot >>> 5];
        if (word === -1 >>> 0) {
          slot = ((slot >>> 5) + 1) << 5;
          continue;
        }
        if ((word & (1 << (slot & 31))) === 0) return slot;
        slot++;
      }
      this.#cursor = 0;
    }
    return count;
  }

  #grow(): void {
    const grown = new Uint32Array(this.#used.length * 2);
    grown.set(this.#used);
    this.#used = grown;
  }
}
