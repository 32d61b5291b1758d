/**
 * The log in memory: what lies above the base (the last entry that a snapshot has replaced). Indexes count from 1;
 * index 0, term 0 is what every log begins with.
 */
import { assert } from '#core/assert.js';
import type { Entry } from './entry.js';

export class RaftLog {
  baseIndex: number;
  baseTerm: number;
  /** Of all data above the base. */
  bytes = 0;
  /** #entries[i] has index baseIndex + 1 + i. */
  #entries: Entry[] = [];

  constructor(baseIndex: number, baseTerm: number, entries: readonly Entry[]) {
    this.baseIndex = baseIndex;
    this.baseTerm = baseTerm;
    for (const entry of entries) this.append(entry);
  }

  get lastIndex(): number {
    return this.baseIndex + this.#entries.length;
  }

  get lastTerm(): number {
    const last = this.#entries.at(-1);
    return last === undefined ? this.baseTerm : last.term;
  }

  /** -1 below the base and above the end. */
  termAt(index: number): number {
    if (index === this.baseIndex) return this.baseTerm;
    return this.entryAt(index)?.term ?? -1;
  }

  entryAt(index: number): Entry | undefined {
    return this.#entries[index - this.baseIndex - 1];
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'entries follow one another');
    assert(entry.term >= this.lastTerm, 'terms never go back along a log');
    this.#entries.push(entry);
    this.bytes += entry.data.length;
  }

  truncateFrom(index: number): void {
    assert(index > this.baseIndex, 'a log is not cut below its base');
    while (this.lastIndex >= index) this.bytes -= this.#entries.pop()?.data.length ?? 0;
  }

  /** From `from` on: at most `countMax` and `bytesMax`, but at least one where there is one. */
  slice(from: number, countMax: number, bytesMax: number): Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; found.length < countMax; index++) {
      const entry = this.entryAt(index);
      if (entry === undefined) break;
      bytes += entry.data.length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(entry);
    }
    return found;
  }

  /** The highest index at or below `index` whose term is at most `term`; the base where there is none above it. */
  lastAtMost(index: number, term: number): number {
    let at = Math.min(index, this.lastIndex);
    while (at > this.baseIndex && this.termAt(at) > term) at--;
    return at;
  }

  compactTo(index: number): void {
    assert(index <= this.lastIndex, 'a log is compacted within its length');
    if (index <= this.baseIndex) return;
    const term = this.termAt(index);
    const gone = this.#entries.splice(0, index - this.baseIndex);
    for (const entry of gone) this.bytes -= entry.data.length;
    this.baseIndex = index;
    this.baseTerm = term;
  }

  reset(index: number, term: number): void {
    this.#entries = [];
    this.bytes = 0;
    this.baseIndex = index;
    this.baseTerm = term;
  }
}
