/**
 * The ranges that one owner has locked in one file: sorted, disjoint, and neighbours of one type are one range.
 *
 * ```
 *   held            rrrrrrrrrrrr            rrrr wwww
 *   set w           ....wwww....            ....wwww.         unlock  ....----....
 *   then            rrrrwwwwrrrr            rrr wwwwww                rrrr    rrrr
 * ```
 *
 * As fcntl(2) has it: a new lock replaces what the owner held of these bytes, up or down, and a hole splits a range.
 */
export type RangeType = 'read' | 'write';

export interface OwnedRange {
  readonly type: RangeType;
  /** First byte. */
  readonly start: bigint;
  /** After the last byte. */
  readonly end: bigint;
  readonly pid: number;
  readonly sinceMs: number;
}

/** To the end of the file, however long it becomes. */
export const RANGE_END = 2n ** 63n;

/** `list` without [start, end). */
export function without(list: readonly OwnedRange[], start: bigint, end: bigint): OwnedRange[] {
  const left: OwnedRange[] = [];
  for (const range of list) {
    if (range.end <= start || range.start >= end) {
      left.push(range);
      continue;
    }
    if (range.start < start) left.push({ ...range, end: start });
    if (range.end > end) left.push({ ...range, start: end });
  }
  return left;
}

/** `list` with `added` in place of what it had of these bytes. */
export function withRange(list: readonly OwnedRange[], added: OwnedRange): OwnedRange[] {
  let { start, end, sinceMs } = added;
  const result: OwnedRange[] = [];
  let at = 0;
  const others = without(list, start, end);
  for (; at < others.length && others[at].end <= start; at++) {
    const range = others[at];
    if (range.end === start && range.type === added.type) {
      start = range.start;
      sinceMs = Math.min(sinceMs, range.sinceMs);
    } else {
      result.push(range);
    }
  }
  const next = others[at];
  if (next !== undefined && next.start === end && next.type === added.type) {
    end = next.end;
    sinceMs = Math.min(sinceMs, next.sinceMs);
    at++;
  }
  result.push({ ...added, start, end, sinceMs });
  for (; at < others.length; at++) result.push(others[at]);
  return result;
}

/** The first range of `list` that a lock of [start, end) would conflict with. */
export function conflicting(
  list: readonly OwnedRange[],
  type: RangeType,
  start: bigint,
  end: bigint,
): OwnedRange | undefined {
  for (const range of list) {
    if (range.start >= end) return undefined;
    if (range.end > start && (type === 'write' || range.type === 'write')) return range;
  }
  return undefined;
}
