/**
 * Two rings over the LSNs in flight, both growing as needed and never shrinking.
 *
 * `LsnQueue` holds ascending LSNs (the CPLs above VDL). `LsnRuns` remembers to which protection group
 * each LSN above VDL went, as runs of consecutive LSNs of one PG:
 *
 * ```
 *        LSN   101 102 103 | 104 | 105 106 | ...
 *        PG         0      |  2  |    0    |         one entry a run: its last LSN and its PG
 *             head ^ (VDL is in it)  ^ cursor (VCL is in it)
 * ```
 *
 * With a single PG there is one run, however many records are in flight.
 */
import { assert } from '#core/assert.js';

const CAPACITY = 256;

export class LsnQueue {
  #lsns = new Float64Array(CAPACITY);
  #head = 0;
  #tail = 0;

  get size(): number {
    return this.#tail - this.#head;
  }

  /** The lowest, or Infinity. */
  get first(): number {
    return this.#head === this.#tail ? Infinity : this.#lsns[this.#head & (this.#lsns.length - 1)];
  }

  push(lsn: number): void {
    if (this.#tail - this.#head === this.#lsns.length) this.#grow();
    this.#lsns[this.#tail & (this.#lsns.length - 1)] = lsn;
    this.#tail++;
  }

  /** Drops all at or below `limit`; returns the highest of them, or 0. */
  dropThrough(limit: number): number {
    const lsns = this.#lsns;
    const mask = lsns.length - 1;
    let last = 0;
    while (this.#head < this.#tail && lsns[this.#head & mask] <= limit) {
      last = lsns[this.#head & mask];
      this.#head++;
    }
    return last;
  }

  #grow(): void {
    const mask = this.#lsns.length - 1;
    const grown = new Float64Array(this.#lsns.length * 2);
    for (let i = this.#head; i < this.#tail; i++) grown[i - this.#head] = this.#lsns[i & mask];
    this.#tail -= this.#head;
    this.#head = 0;
    this.#lsns = grown;
  }
}

export class LsnRuns {
  #last = new Float64Array(CAPACITY);
  #pg = new Uint32Array(CAPACITY);
  #head = 0;
  #cursor = 0;
  #tail = 0;
  /** Last LSN before the run at `head`. */
  #before: number;
  #next: number;

  /** `after`: the first LSN to come is the one that follows it. */
  constructor(after: number) {
    this.#before = after;
    this.#next = after + 1;
  }

  get size(): number {
    return this.#tail - this.#head;
  }

  append(lsn: number, pg: number): void {
    assert(lsn === this.#next, 'LSNs are dense');
    this.#next++;
    const mask = this.#last.length - 1;
    const open = (this.#tail - 1) & mask;
    if (this.#tail > this.#head && this.#pg[open] === pg) {
      this.#last[open] = lsn;
      // VCL may have passed the run before it grew.
      if (this.#cursor === this.#tail) this.#cursor--;
      return;
    }
    if (this.#tail - this.#head === this.#last.length) this.#grow();
    const at = this.#tail & (this.#last.length - 1);
    this.#last[at] = lsn;
    this.#pg[at] = pg;
    this.#tail++;
  }

  /** VCL, given where it was and PGCL by PG: past every record whose PG's PGCL has passed it (rule 6). */
  advance(vcl: number, pgcl: Float64Array): number {
    const mask = this.#last.length - 1;
    let point = vcl;
    while (this.#cursor < this.#tail) {
      const at = this.#cursor & mask;
      const complete = pgcl[this.#pg[at]];
      if (complete < this.#last[at]) {
        // Within the run all LSNs are of this PG, so PGCL is one of them or lies before the run.
        return complete > point ? complete : point;
      }
      point = this.#last[at];
      this.#cursor++;
    }
    return point;
  }

  /** Forgets the LSNs at or below `vdl` (which is at most VCL); `tails[pg]` becomes the PG's last LSN among them. */
  dropThrough(vdl: number, tails: Float64Array): void {
    const mask = this.#last.length - 1;
    while (this.#head < this.#cursor && this.#last[this.#head & mask] <= vdl) {
      const at = this.#head & mask;
      tails[this.#pg[at]] = this.#last[at];
      this.#before = this.#last[at];
      this.#head++;
    }
    if (this.#head < this.#tail && vdl > this.#before) tails[this.#pg[this.#head & mask]] = vdl;
  }

  #grow(): void {
    const mask = this.#last.length - 1;
    const last = new Float64Array(this.#last.length * 2);
    const pg = new Uint32Array(this.#last.length * 2);
    for (let i = this.#head; i < this.#tail; i++) {
      last[i - this.#head] = this.#last[i & mask];
      pg[i - this.#head] = this.#pg[i & mask];
    }
    this.#tail -= this.#head;
    this.#cursor -= this.#head;
    this.#head = 0;
    this.#last = last;
    this.#pg = pg;
  }
}
