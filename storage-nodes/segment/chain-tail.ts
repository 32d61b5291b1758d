/**
 * LSN and CPL flag of the chain records above the journaled VDL: what a seal answers with (rule 9).
 * A ring, so that a record costs two stores when it comes and one when VDL passes it.
 */
const SLOTS_MIN = 1024;

export interface LsnRun {
  readonly from: number;
  readonly to: number;
  readonly cpls: number[];
}

export class ChainTail {
  /** LSN of the last record at or below the floor: the PG tail there. */
  floorLsn = 0;
  #lsns = new Float64Array(SLOTS_MIN);
  #cpls = new Uint8Array(SLOTS_MIN);
  #first = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  push(lsn: number, cpl: boolean): void {
    if (this.#count === this.#lsns.length) this.#grow();
    const slot = (this.#first + this.#count) & (this.#lsns.length - 1);
    this.#lsns[slot] = lsn;
    this.#cpls[slot] = cpl ? 1 : 0;
    this.#count++;
  }

  /** Forgets records at or below `vdl`; the last of them becomes the floor. */
  advance(vdl: number): void {
    const mask = this.#lsns.length - 1;
    while (this.#count > 0) {
      const lsn = this.#lsns[this.#first] as number;
      if (lsn > vdl) return;
      this.floorLsn = lsn;
      this.#first = (this.#first + 1) & mask;
      this.#count--;
    }
  }

  /** Drops records above `lsn`; returns the last that is left, or the floor. */
  truncate(lsn: number): number {
    const mask = this.#lsns.length - 1;
    while (this.#count > 0) {
      const last = this.#lsns[(this.#first + this.#count - 1) & mask] as number;
      if (last <= lsn) return last;
      this.#count--;
    }
    return this.floorLsn;
  }

  /** Starts over with an empty tail above `lsn`. */
  reset(lsn: number): void {
    this.#count = 0;
    this.floorLsn = lsn;
  }

  /** Ascending runs of consecutive LSNs. */
  runs(): LsnRun[] {
    const runs: { from: number; to: number; cpls: number[] }[] = [];
    const mask = this.#lsns.length - 1;
    for (let index = 0; index < this.#count; index++) {
      const slot = (this.#first + index) & mask;
      const lsn = this.#lsns[slot] as number;
      let run = runs.at(-1);
      if (run === undefined || run.to + 1 !== lsn) {
        run = { from: lsn, to: lsn, cpls: [] };
        runs.push(run);
      }
      run.to = lsn;
      if (this.#cpls[slot] === 1) run.cpls.push(lsn);
    }
    return runs;
  }

  #grow(): void {
    const old = this.#lsns.length;
    const lsns = new Float64Array(old * 2);
    const cpls = new Uint8Array(old * 2);
    for (let index = 0; index < this.#count; index++) {
      const slot = (this.#first + index) & (old - 1);
      lsns[index] = this.#lsns[slot] as number;
      cpls[index] = this.#cpls[slot] as number;
    }
    this.#lsns = lsns;
    this.#cpls = cpls;
    this.#first = 0;
  }
}
