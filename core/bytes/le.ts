/**
 * Little-endian integers wider than 32 bits, as two u32 halves: a bigint in a loop costs an allocation
 * each. A number holds integers exactly up to 2^53 - 1; whatever is larger on a wire or a disk was not
 * written by us and is CORRUPTION.
 */
import { assert } from '../assert.js';
import { SextantError } from '../errors.js';

const TWO_32 = 0x1_0000_0000;
/** The high half of 2^53 - 1. */
const HIGH_MAX = 0x1f_ffff;

/** A u64 at `offset`. Throws CORRUPTION above 2^53 - 1. */
export function getU64(view: DataView, offset: number): number {
  const high = view.getUint32(offset + 4, true);
  if (high > HIGH_MAX) throw new SextantError('CORRUPTION', `u64 above 2^53 at byte ${offset}`);
  return high * TWO_32 + view.getUint32(offset, true);
}

/** Writes an integer in [0, 2^53) as a u64. */
export function putU64(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a u64 is an integer in [0, 2^53)');
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, (value / TWO_32) >>> 0, true);
}

/** A u48 at `offset`: six bytes. */
export function getU48(view: DataView, offset: number): number {
  return view.getUint16(offset + 4, true) * TWO_32 + view.getUint32(offset, true);
}

/** Writes an integer in [0, 2^48) as six bytes. */
export function putU48(view: DataView, offset: number, value: number): void {
  assert(Number.isInteger(value) && value >= 0 && value < 2 ** 48, 'a u48 is in [0, 2^48)');
  view.setUint32(offset, value >>> 0, true);
  view.setUint16(offset + 4, (value / TWO_32) >>> 0, true);
}
