/** RETURNING of one row after the other: its expressions, each evaluated once though one may suspend. */
import type { Frame } from './frame.js';
import type { Computation } from './shape.js';

export class Returning {
  private readonly list: readonly Computation[] | null;
  private at = 0;

  constructor(list: readonly Computation[] | null) {
    this.list = list;
  }

  /** For the next row. */
  restart(): void {
    this.at = 0;
  }

  /** Whether there is a row to give; its values are in the frame then. Throws Suspend: call it again. */
  finish(frame: Frame): boolean {
    const { list } = this;
    if (list === null) return false;
    for (; this.at < list.length; this.at++) {
      const c = list[this.at] as Computation;
      frame.values[c.slot] = c.evaluate(frame);
    }
    return true;
  }
}
