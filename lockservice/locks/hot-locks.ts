/**
 * Which locks are waited for most: counts for contended locks alone, in a table of bounded size. A count halves every
 * minute, so that the list is of the last minutes; when the table is full, the coldest of eight leaves.
 */
const ENTRIES_MAX = 1024;
const HALF_LIFE_MS = 60_000;
const SAMPLE = 8;

export interface HotLock {
  readonly group: number;
  readonly table: number;
  readonly idHigh: number;
  readonly idLow: number;
  readonly aspect: number;
  /** Requests that had to wait, since the lock came into this table. */
  waits: number;
  /** The same, halved every minute. */
  heat: number;
  heatAtMs: number;
}

function keyOf(table: number, idHigh: number, idLow: number, aspect: number): string {
  return `${table}/${idHigh}/${idLow}/${aspect}`;
}

function heatAt(lock: HotLock, nowMs: number): number {
  return lock.heat * 2 ** ((lock.heatAtMs - nowMs) / HALF_LIFE_MS);
}

export class HotLocks {
  readonly #locks = new Map<string, HotLock>();

  get size(): number {
    return this.#locks.size;
  }

  waited(
    group: number,
    table: number,
    idHigh: number,
    idLow: number,
    aspect: number,
    nowMs: number,
  ): void {
    const key = keyOf(table, idHigh, idLow, aspect);
    const known = this.#locks.get(key);
    if (known !== undefined) {
      known.waits++;
      known.heat = heatAt(known, nowMs) + 1;
      known.heatAtMs = nowMs;
      return;
    }
    if (this.#locks.size >= ENTRIES_MAX) this.#evict(nowMs);
    this.#locks.set(key, {
      group,
      table,
      idHigh,
      idLow,
      aspect,
      waits: 1,
      heat: 1,
      heatAtMs: nowMs,
    });
  }

  waits(table: number, idHigh: number, idLow: number, aspect: number): number {
    return this.#locks.get(keyOf(table, idHigh, idLow, aspect))?.waits ?? 0;
  }

  /** Hottest first. */
  ranked(nowMs: number): HotLock[] {
    return [...this.#locks.values()].toSorted((a, b) => heatAt(b, nowMs) - heatAt(a, nowMs));
  }

  forgetGroup(group: number): void {
    for (const [key, lock] of this.#locks) if (lock.group === group) this.#locks.delete(key);
  }

  /** The oldest entries are looked at first; those that stay go to the end. */
  #evict(nowMs: number): void {
    const sample: [string, HotLock][] = [];
    for (const entry of this.#locks) {
      sample.push(entry);
      if (sample.length === SAMPLE) break;
    }
    let coldest = 0;
    for (let i = 1; i < sample.length; i++) {
      if (heatAt(sample[i][1], nowMs) < heatAt(sample[coldest][1], nowMs)) coldest = i;
    }
    for (let i = 0; i < sample.length; i++) {
      const [key, lock] = sample[i];
      this.#locks.delete(key);
      if (i !== coldest) this.#locks.set(key, lock);
    }
  }
}
