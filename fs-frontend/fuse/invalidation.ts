/**
 * How the pages of one file leave the kernel's cache while programs go on reading it (rule 22). A core: it decides which READs are answered and which
 * wait, and which ranges are told to the kernel; it sends nothing.
 *
 * A notification waits in the kernel for READs in flight of its range, and a READ that is answered behind its cursor brings pages back.
 *
 * ```
 * notification          [0 ............................ end)      returned: tell the ranges of `again` next,
 * READ arrives               [a)  answered under the old grant      except where a READ is held
 *                            `-> again = [a)
 *
 * notification                    [a)
 * READ arrives          [b) held: its pages are locked and empty, nothing stale is in them
 *
 * no range left: done; the lock may be released, then the held READs are run as new requests
 * ```
 *
 * - INV-1 A READ that overlaps the notification under way is answered: otherwise both wait for each other.
 * - INV-2 No notification covers a held READ.
 * - INV-3 When it is done, every page that was brought in before or meanwhile has been told.
 * - INV-4 A READ is told again at most as often as it is answered; others are held: it ends even under a busy reader.
 */
export interface Range {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

export const TO_THE_END = Number.MAX_SAFE_INTEGER;

export class Invalidation {
  #underWay: Range | undefined = { start: 0, end: TO_THE_END };
  #todo: Range[] = [];
  readonly #held: Range[] = [];

  /** The range that the kernel is being told, undefined when done. */
  get underWay(): Range | undefined {
    return this.#underWay;
  }

  /** A READ came: may it be answered (under the old grant), or must it be held until the end? */
  read(start: number, end: number): 'answer' | 'hold' {
    const now = this.#underWay;
    if (now !== undefined && start < now.end && now.start < end) {
      this.#todo.push({ start, end });
      return 'answer';
    }
    this.#held.push({ start, end });
    return 'hold';
  }

  /** The notification returned. What the kernel is told next; undefined: nothing is left. */
  notified(): Range | undefined {
    this.#todo = without(merged(this.#todo), this.#held);
    this.#underWay = this.#todo.shift();
    return this.#underWay;
  }
}

/** Sorted, without overlaps. */
export function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const range of ranges.toSorted((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last !== undefined && range.start <= last.end) {
      result[result.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    } else result.push(range);
  }
  return result;
}

/** What of `ranges` is in none of `holes`. */
export function without(ranges: readonly Range[], holes: readonly Range[]): Range[] {
  let left = [...ranges];
  for (const hole of holes) {
    const next: Range[] = [];
    for (const range of left) {
      if (hole.end <= range.start || range.end <= hole.start) {
        next.push(range);
        continue;
      }
      if (range.start < hole.start) next.push({ start: range.start, end: hole.start });
      if (hole.end < range.end) next.push({ start: hole.end, end: range.end });
    }
    left = next;
  }
  return left;
}
