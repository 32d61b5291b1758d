/**
 * The boxcars of the journal, in memory: one row each, 42 bytes in typed arrays. Rows are numbered from 1
 * and reused; each journal file has the list of its rows in order.
 *
 * ```
 *   appended -> admitted                      part of its segment's chain, in the segment's log list
 *            -> gone (discarded, annulled)
 *   a row goes when its journal file is freed; one that is still live is copied forward and keeps its number
 * ```
 */
export const NO_ROW = 0;

/** Values of `state`. */
export const ROW_FREE = 0;
export const ROW_WAITING = 1;
export const ROW_ADMITTED = 2;

export class RowList {
  rows = new Uint32Array(64);
  count = 0;
  /** Rows before were dealt with: the cursor of draining, or the head of a log list. */
  start = 0;

  push(row: number): void {
    if (this.count === this.rows.length) {
      // Half of it dead: move down; otherwise grow.
      if (this.start > this.count / 2) this.compact();
      else {
        const grown = new Uint32Array(this.rows.length * 2);
        grown.set(this.rows);
        this.rows = grown;
      }
    }
    this.rows[this.count++] = row;
  }

  compact(): void {
    this.rows.copyWithin(0, this.start, this.count);
    this.count -= this.start;
    this.start = 0;
  }
}

export class BoxcarTable {
  count = 0;
  reuse = true;
  firstLsn = new Float64Array(1024);
  /** Effective: records above are annulled. */
  lastLsn = new Float64Array(1024);
  /** Where its first byte lies. */
  file = new Uint32Array(1024);
  offset = new Uint32Array(1024);
  bytes = new Uint32Array(1024);
  /** Index of its segment. */
  segment = new Uint32Array(1024);
  /** Records of it in chains. */
  unfolded = new Uint32Array(1024);
  state = new Uint8Array(1024);
  /** 1: `lastLsn` is below what its header says. */
  clipped = new Uint8Array(1024);
  readonly byFile = new Map<number, RowList>();
  #end = 1;
  #free = NO_ROW;

  /** Numbers of rows are below. */
  get end(): number {
    return this.#end;
  }

  add(
    segment: number,
    file: number,
    offset: number,
    bytes: number,
    firstLsn: number,
    lastLsn: number,
  ): number {
    let row = this.#free;
    if (row !== NO_ROW) this.#free = this.unfolded[row];
    else {
      row = this.#end++;
      if (row >= this.state.length) this.#grow();
    }
    this.firstLsn[row] = firstLsn;
    this.lastLsn[row] = lastLsn;
    this.bytes[row] = bytes;
    this.segment[row] = segment;
    this.unfolded[row] = 0;
    this.state[row] = ROW_WAITING;
    this.clipped[row] = 0;
    this.place(row, file, offset);
    this.count++;
    return row;
  }

  /** The row lies there from now on. */
  place(row: number, file: number, offset: number): void {
    this.file[row] = file;
    this.offset[row] = offset;
    let list = this.byFile.get(file);
    if (list === undefined) {
      list = new RowList();
      this.byFile.set(file, list);
    }
    list.push(row);
  }

  /**
   * The row is gone. Its number is used again, though its file's list still names it (whoever walks a list
   * looks at `state` and `file`); not during recovery, which walks the lists in order.
   */
  remove(row: number): void {
    this.state[row] = ROW_FREE;
    this.count--;
    if (!this.reuse) return;
    this.unfolded[row] = this.#free;
    this.#free = row;
  }

  #grow(): void {
    const capacity = Math.ceil(this.state.length * 1.5);
    this.firstLsn = grownFloat(this.firstLsn, capacity);
    this.lastLsn = grownFloat(this.lastLsn, capacity);
    this.file = grown32(this.file, capacity);
    this.offset = grown32(this.offset, capacity);
    this.bytes = grown32(this.bytes, capacity);
    this.segment = grown32(this.segment, capacity);
    this.unfolded = grown32(this.unfolded, capacity);
    this.state = grown8(this.state, capacity);
    this.clipped = grown8(this.clipped, capacity);
  }
}

function grownFloat(from: Float64Array, capacity: number): Float64Array<ArrayBuffer> {
  const to = new Float64Array(capacity);
  to.set(from);
  return to;
}
function grown32(from: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
  const to = new Uint32Array(capacity);
  to.set(from);
  return to;
}
function grown8(from: Uint8Array, capacity: number): Uint8Array<ArrayBuffer> {
  const to = new Uint8Array(capacity);
  to.set(from);
  return to;
}
