/**
 * One bitmap register: 32,768 bits, bit n is bit n % 8 of byte n / 8; set: in use. `held` are bits that are free on the disk
 * but not to be given out yet (rule 18), as words of the same order.
 */
import { REGISTER_BYTES } from '../disk/disk.js';
import type { Block } from './block.js';
import { BITMAP_BITS } from './layout.js';
import type { Transaction } from './transaction.js';

export type HeldBits = Uint32Array<ArrayBuffer>;
export const BITMAP_WORDS = REGISTER_BYTES / 4;

export function newHeldBits(): HeldBits {
  return new Uint32Array(BITMAP_WORDS);
}

export function isSet(block: Block, bit: number): boolean {
  return (block.bytes[bit >>> 3] & (1 << (bit & 7))) !== 0;
}

/** The first bit at or after `from` that is neither set nor held, or -1. */
export function nextFree(block: Block, held: HeldBits | undefined, from: number): number {
  const { view } = block;
  let mask = (0xffff_ffff << (from & 31)) >>> 0;
  for (let word = from >>> 5; word < BITMAP_WORDS; word++) {
    let used = view.getUint32(word * 4, true);
    if (held !== undefined) used |= held[word];
    const free = ~used & mask;
    if (free !== 0) return word * 32 + 31 - Math.clz32(free & -free);
    mask = 0xffff_ffff;
  }
  return -1;
}

/** How many bits from `start` on are neither set nor held, up to `countMax`. */
export function freeRun(
  block: Block,
  held: HeldBits | undefined,
  start: number,
  countMax: number,
): number {
  const { view } = block;
  const end = Math.min(BITMAP_BITS, start + countMax);
  let bit = start;
  while (bit < end) {
    const word = bit >>> 5;
    let used = view.getUint32(word * 4, true);
    if (held !== undefined) used |= held[word];
    const above = used >>> (bit & 31);
    if (above !== 0) {
      bit += 31 - Math.clz32(above & -above);
      break;
    }
    bit = (word + 1) * 32;
  }
  return Math.min(bit, end) - start;
}

/** Sets or clears bits [start, start + count). Returns how many changed. */
export function putBits(
  tx: Transaction,
  block: Block,
  start: number,
  count: number,
  value: boolean,
): number {
  const { bytes } = block;
  const firstByte = start >>> 3;
  const lastByte = (start + count - 1) >>> 3;
  tx.touch(block);
  let changed = 0;
  for (let at = firstByte; at <= lastByte; at++) {
    const low = at === firstByte ? start & 7 : 0;
    const high = at === lastByte ? ((start + count - 1) & 7) + 1 : 8;
    const mask = ((1 << high) - 1) & ~((1 << low) - 1);
    const before = bytes[at];
    const after = value ? before | mask : before & ~mask;
    changed += bitCount(before ^ after);
    bytes[at] = after;
  }
  const length = lastByte - firstByte + 1;
  if (length <= 32) tx.logged(block, firstByte, length);
  else {
    tx.logged(block, firstByte, 1);
    tx.fill(block, firstByte + 1, length - 2, value ? 0xff : 0);
    tx.logged(block, lastByte, 1);
  }
  return changed;
}

export function bitCount(word: number): number {
  let bits = word - ((word >>> 1) & 0x5555_5555);
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

export function countFree(block: Block): number {
  let used = 0;
  for (let word = 0; word < BITMAP_WORDS; word++)
    used += bitCount(block.view.getUint32(word * 4, true));
  return BITMAP_BITS - used;
}

export function holdBits(held: HeldBits, start: number, count: number, value: boolean): void {
  for (let bit = start; bit < start + count; bit++) {
    if (value) held[bit >>> 5] |= 1 << (bit & 31);
    else held[bit >>> 5] &= ~(1 << (bit & 31));
  }
}
