/**
 * The byte ranges that one clerk was granted, so that it can claim them from a server that has lost them. For each owner of a
 * file they are disjoint and sorted, as in fcntl(2): a new range replaces what it covers.
 */
import type { RangeRequest } from '../protocol/messages.js';

export type RangeFamily = RangeRequest['family'];

export interface HeldRange {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly type: 'read' | 'write';
  readonly pid: number;
}

export interface RangeOwner {
  readonly table: number;
  readonly idHigh: number;
  readonly idLow: number;
  readonly family: RangeFamily;
  readonly owner: string;
}

interface Entry {
  readonly who: RangeOwner;
  ranges: HeldRange[];
}

export class HeldRanges {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** What a granted `set` did: a lock, or none for `unlock`. */
  set(
    who: RangeOwner,
    start: bigint,
    end: bigint,
    lock: 'read' | 'write' | 'unlock',
    pid: number,
  ): void {
    const key = keyOf(who);
    const entry = this.#entries.get(key) ?? { who, ranges: [] };
    const ranges: HeldRange[] = [];
    for (const range of entry.ranges) {
      if (range.end <= start || range.start >= end) {
        ranges.push(range);
        continue;
      }
      if (range.start < start) ranges.push({ ...range, end: start });
      if (range.end > end) ranges.push({ ...range, start: end });
    }
    if (lock !== 'unlock') ranges.push({ start, end, type: lock, pid });
    ranges.sort((a, b) => (a.start < b.start ? -1 : 1));
    entry.ranges = ranges;
    if (ranges.length === 0) this.#entries.delete(key);
    else this.#entries.set(key, entry);
  }

  releaseOwner(who: RangeOwner): void {
    this.#entries.delete(keyOf(who));
  }

  of(who: RangeOwner): readonly HeldRange[] {
    return this.#entries.get(keyOf(who))?.ranges ?? [];
  }

  *inTable(table: number): Generator<readonly [RangeOwner, readonly HeldRange[]]> {
    for (const { who, ranges } of this.#entries.values()) {
      if (who.table === table) yield [who, ranges];
    }
  }

  /** Tables with at least one range. */
  tables(): Set<number> {
    const found = new Set<number>();
    for (const { who } of this.#entries.values()) found.add(who.table);
    return found;
  }

  clear(): void {
    this.#entries.clear();
  }
}

function keyOf(who: RangeOwner): string {
  return `${who.table}/${who.idHigh}/${who.idLow}/${who.family}/${who.owner}`;
}
