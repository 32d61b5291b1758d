/**
 * The read points of page reads under way. PGMRPL is the lowest of them (or VDL when there is none): no
 * segment drops a page version that a reader at or above it needs (PAGE-3). Read points are taken at
 * VDL, which never goes back, so they arrive in order and PGMRPL never goes back either.
 */
import { assert } from '#core/assert.js';

export class ReadPoints {
  #points: number[] = [];
  #counts: number[] = [];
  #head = 0;

  add(point: number): void {
    const last = this.#points.length - 1;
    assert(last < this.#head || this.#points[last] <= point, 'read points arrive in order');
    if (last >= this.#head && this.#points[last] === point) {
      this.#counts[last]++;
      return;
    }
    this.#points.push(point);
    this.#counts.push(1);
  }

  remove(point: number): void {
    let at = this.#points.length - 1;
    while (at >= this.#head && this.#points[at] !== point) at--;
    assert(at >= this.#head && this.#counts[at] > 0, 'a read point is removed once');
    this.#counts[at]--;
    while (this.#head < this.#points.length && this.#counts[this.#head] === 0) this.#head++;
    if (this.#head === this.#points.length || this.#head >= 1024) {
      this.#points.splice(0, this.#head);
      this.#counts.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** The lowest read point in use, or `vdl`. */
  lowest(vdl: number): number {
    return this.#head < this.#points.length ? this.#points[this.#head] : vdl;
  }
}
