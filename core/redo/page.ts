/**
 * What every page has in common. The rest belongs to the page's owner.
 *
 *     0  u64  lsn   of the last record applied; 0: never formatted
 *     8  u8   type  set by FORMAT only
 *     9  ...  the owner's, to 8192
 */
import { assert } from '../assert.js';
import { SextantError } from '../errors.js';
import { PAGE_BYTES } from '../ids.js';

export const PAGE_TYPE_OFFSET = 8;
/** First byte that an edit may touch. */
export const PAGE_BODY_OFFSET = 9;

export { PAGE_BYTES };

const TWO_32 = 0x1_0000_0000;

/** The LSN of the page at byte `base` of `view`. Throws CORRUPTION above 2^53. */
export function pageLsn(view: DataView, base: number): number {
  const high = view.getUint32(base + 4, true);
  if (high > 0x1f_ffff) throw new SextantError('CORRUPTION', 'page LSN above 2^53');
  return high * TWO_32 + view.getUint32(base, true);
}

export function setPageLsn(view: DataView, base: number, lsn: number): void {
  assert(Number.isSafeInteger(lsn) && lsn >= 0, 'an LSN is an integer in [0, 2^53)');
  view.setUint32(base, lsn >>> 0, true);
  view.setUint32(base + 4, (lsn / TWO_32) >>> 0, true);
}

export function pageType(bytes: Uint8Array, base: number): number {
  return bytes[base + PAGE_TYPE_OFFSET];
}
