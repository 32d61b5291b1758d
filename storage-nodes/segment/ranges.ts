/**
 * Truncation ranges, ascending by epoch. The register's list only grows, so an older list is a prefix
 * of a newer one, and "the list up to epoch k" names it.
 */
import { SextantError } from '#core/errors.js';
import type { TruncationRange } from '../protocol/messages.js';

/** Epoch of the newest range; 0 when there is none. */
export function newestEpoch(ranges: readonly TruncationRange[]): number {
  return ranges.at(-1)?.epoch ?? 0;
}

/** The range that annuls some LSN of [first, last] first, seen from `first` upwards. */
export function rangeIn(
  ranges: readonly TruncationRange[],
  first: number,
  last: number,
): TruncationRange | undefined {
  let found: TruncationRange | undefined;
  for (const range of ranges) {
    if (range.after >= last || range.through < first) continue;
    if (found === undefined || range.after < found.after) found = range;
  }
  return found;
}

/**
 * The ranges of `next` that `known` lacks. Throws PROTOCOL unless `next` ascends and either list is a
 * prefix of the other: two lists that differ were not decided in one register.
 */
export function newRanges(
  known: readonly TruncationRange[],
  next: readonly TruncationRange[],
): readonly TruncationRange[] {
  for (let index = 0; index < next.length; index++) {
    const range = next[index] as TruncationRange;
    const before = next[index - 1];
    if (range.after > range.through || (before !== undefined && before.epoch >= range.epoch)) {
      throw new SextantError('PROTOCOL', 'truncation ranges out of order');
    }
    const own = known[index];
    if (own === undefined) continue;
    const same =
      own.epoch === range.epoch && own.after === range.after && own.through === range.through;
    if (!same) throw new SextantError('PROTOCOL', `another range for epoch ${range.epoch}`);
  }
  return next.slice(known.length);
}
