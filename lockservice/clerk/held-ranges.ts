/**
 * The byte ranges that one clerk was granted, so that it can claim them from a server that has lost them. For each owner of a
 * file they are disjoint and sorted, as in fcntl(2): a new range replaces what it covers.
 */
import type { RangeRequest } from '../protocol/messages.js';
import { withRange, without, type OwnedRange } from '../ranges/range-list.js';

export type RangeFamily = RangeRequest['family'];

export interface RangeOwner {
  readonly table: number;
  readonly idHigh: number;
  readonly idLow: number;
  readonly family: RangeFamily;
  readonly owner: string;
}

interface Entry {
  readonly who: RangeOwner;
  ranges: OwnedRange[];
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
    const ranges =
      lock === 'unlock'
        ? without(entry.ranges, start, end)
        : withRange(entry.ranges, { start, end, type: lock, pid, sinceMs: 0 });
    entry.ranges = ranges;
    if (ranges.length === 0) this.#entries.delete(key);
    else this.#entries.set(key, entry);
  }

  releaseOwner(who: RangeOwner): void {
    this.#entries.delete(keyOf(who));
  }

  of(who: RangeOwner): readonly OwnedRange[] {
    return this.#entries.get(keyOf(who))?.ranges ?? [];
  }

  *inTable(table: number): Generator<readonly [RangeOwner, readonly OwnedRange[]]> {
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
