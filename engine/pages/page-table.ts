/**
 * The page table: page number -> frame, a hash of integers with linear probing in shared memory.
 *
 *     slot:  u32 pageNo + 1 (0: empty)   u32 frame
 *
 * It has at least four slots a frame, so a probe rarely takes a second step. A removal shifts back
 * what follows: there are no tombstones, and a miss ends at the first empty slot.
 */
import { assert } from '#core/assert.js';

/** Page numbers at or above this are not cached: 0 marks an empty slot. */
export const PAGE_NO_LIMIT = 0xffff_ffff;

export class PageTable {
  /** Shared, so that read workers can look pages up too (rule 29). */
  readonly slots: Uint32Array;
  size = 0;
  readonly #mask: number;
  readonly #shift: number;
  readonly #sizeMax: number;

  constructor(frameCount: number) {
    let bits = 4;
    while (1 << bits < frameCount * 4) bits++;
    this.slots = new Uint32Array(new SharedArrayBuffer((1 << bits) * 8));
    this.#mask = (1 << bits) - 1;
    this.#shift = 32 - bits;
    this.#sizeMax = frameCount;
  }

  /** The frame of a page, or -1. */
  find(pageNo: number): number {
    const slots = this.slots;
    const mask = this.#mask;
    // Hot: multiplicative hash; neighbouring pages land far apart, which keeps probes short.
    let slot = Math.imul(pageNo, 0x9e37_79b1) >>> this.#shift;
    for (;;) {
      const key = slots[slot * 2];
      if (key === pageNo + 1) return slots[slot * 2 + 1];
      if (key === 0) return -1;
      slot = (slot + 1) & mask;
    }
  }

  insert(pageNo: number, frame: number): void {
    assert(pageNo >= 0 && pageNo < PAGE_NO_LIMIT, 'a cached page number is below 2^32 - 1');
    assert(this.size < this.#sizeMax, 'the page table has no more pages than frames');
    let slot = this.#home(pageNo);
    while (this.slots[slot * 2] !== 0) {
      assert(this.slots[slot * 2] !== pageNo + 1, 'a page is in one frame only');
      slot = (slot + 1) & this.#mask;
    }
    this.slots[slot * 2] = pageNo + 1;
    this.slots[slot * 2 + 1] = frame;
    this.size++;
  }

  remove(pageNo: number): void {
    const slots = this.slots;
    let hole = this.#home(pageNo);
    while (slots[hole * 2] !== pageNo + 1) {
      assert(slots[hole * 2] !== 0, 'a page that is removed is in the table');
      hole = (hole + 1) & this.#mask;
    }
    let next = (hole + 1) & this.#mask;
    for (; slots[next * 2] !== 0; next = (next + 1) & this.#mask) {
      const home = this.#home(slots[next * 2] - 1);
      // An entry may move back into the hole unless its home lies behind it.
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue;
      slots[hole * 2] = slots[next * 2];
      slots[hole * 2 + 1] = slots[next * 2 + 1];
      hole = next;
    }
    slots[hole * 2] = 0;
    this.size--;
  }

  clear(): void {
    this.slots.fill(0);
    this.size = 0;
  }

  #home(pageNo: number): number {
    return Math.imul(pageNo, 0x9e37_79b1) >>> this.#shift;
  }
}
