/**
 * Window functions: rows are kept, sorted by (partition, order), and each function is computed for a whole partition.
 * Frames: ROWS with any bounds, RANGE with UNBOUNDED and CURRENT ROW (which takes in the row's peers).
 */
import type { AggregateRoutine } from '../bind/type-system.js';
import { SqlError } from '../../sql-error.js';
import type { Value } from '../../types/value.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';
import { loadSlots, saveSlots } from './keep.js';

export interface WindowOptions {
  readonly input: PlanNode;
  readonly slots: readonly number[];
  readonly keys: readonly Evaluator[];
  readonly compare: (a: readonly Value[], b: readonly Value[]) => number;
  readonly partitionKey: (row: readonly Value[]) => string;
  readonly partitionWidth: number;
  readonly isPeer: (a: readonly Value[], b: readonly Value[]) => boolean;
  readonly hasOrder: boolean;
  /** Bits of parsenodes.h. */
  readonly frame: number;
  readonly startOffset: Evaluator | null;
  readonly endOffset: Evaluator | null;
  readonly functions: readonly WindowFunction[];
}

interface WindowFunction {
  readonly name: string;
  readonly aggregate: AggregateRoutine | null;
  readonly args: readonly Evaluator[];
  readonly filter: Evaluator | null;
  readonly slot: number;
}

const ROWS = 0x4;
const START_UNBOUNDED_PRECEDING = 0x20;
const END_UNBOUNDED_FOLLOWING = 0x100;
const START_CURRENT_ROW = 0x200;
const END_CURRENT_ROW = 0x400;
const START_OFFSET_PRECEDING = 0x800;
const END_OFFSET_PRECEDING = 0x1000;

export class WindowPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly options: WindowOptions;

  constructor(options: WindowOptions) {
    this.options = options;
    this.rows = options.input.rows;
    this.cost = options.input.cost * 2;
  }

  open(frame: Frame): Operator {
    return new WindowOperator(this.options, frame);
  }

  explain(): Explanation {
    return { title: 'WindowAgg', children: [this.options.input] };
  }
}

interface Entry {
  readonly row: Value[];
  readonly keys: Value[];
  /** Arguments of each function; null: filtered out. */
  readonly args: (Value[] | null)[];
  readonly results: Value[];
}

class WindowOperator implements Operator {
  private readonly options: WindowOptions;
  private readonly frame: Frame;
  private readonly input: Operator;
  private entries: Entry[] = [];
  private filled = false;
  private pending = false;
  private at = 0;

  constructor(options: WindowOptions, frame: Frame) {
    this.options = options;
    this.frame = frame;
    this.input = frame.open(options.input);
  }

  next(): boolean {
    if (!this.filled) this.fill();
    const entry = this.entries[this.at];
    if (entry === undefined) return false;
    const { slots, functions } = this.options;
    loadSlots(this.frame, slots, entry.row);
    for (let i = 0; i < functions.length; i++)
      this.frame.values[(functions[i] as WindowFunction).slot] = entry.results[i] as Value;
    this.at++;
    return true;
  }

  private fill(): void {
    const { options, frame } = this;
    while (this.pending || this.input.next()) {
      this.pending = true;
      const keys = options.keys.map((k) => k(frame));
      const args = options.functions.map((f) =>
        f.filter !== null && f.filter(frame) !== true ? null : f.args.map((a) => a(frame)),
      );
      const row = saveSlots(frame, options.slots);
      frame.keep(row);
      this.entries.push({ row, keys, args, results: [] });
      this.pending = false;
    }
    this.entries.sort((a, b) => options.compare(a.keys, b.keys));
    const start =
      options.startOffset === null ? 0 : offsetOf(options.startOffset(frame), 'starting');
    const end = options.endOffset === null ? 0 : offsetOf(options.endOffset(frame), 'ending');
    let from = 0;
    while (from < this.entries.length) {
      const key = options.partitionKey((this.entries[from] as Entry).keys);
      let to = from + 1;
      while (
        to < this.entries.length &&
        options.partitionKey((this.entries[to] as Entry).keys) === key
      )
        to++;
      this.computePartition(this.entries.slice(from, to), start, end);
      from = to;
    }
    this.filled = true;
  }

  private computePartition(rows: readonly Entry[], start: number, end: number): void {
    const { options } = this;
    const firstPeer: number[] = [];
    for (let i = 0; i < rows.length; i++) {
      const before = rows[i - 1];
      const same = before !== undefined && options.isPeer(before.keys, (rows[i] as Entry).keys);
      firstPeer.push(same ? (firstPeer[i - 1] as number) : i);
    }
    const peerEnd: number[] = Array.from({ length: rows.length });
    for (let i = rows.length - 1; i >= 0; i--)
      peerEnd[i] = firstPeer[i + 1] === firstPeer[i] ? (peerEnd[i + 1] as number) : i + 1;
    const bounds = (i: number): [number, number] =>
      frameBounds(
        options.frame,
        i,
        rows.length,
        firstPeer[i] as number,
        peerEnd[i] as number,
        start,
        end,
      );
    options.functions.forEach((f, k) => {
      if (f.aggregate === null) rankPartition(f, k, rows, firstPeer, peerEnd, bounds);
      else aggregatePartition(f.aggregate, k, rows, bounds);
    });
  }

  reset(): void {
    this.frame.release(this.entries.map((e) => e.row));
    this.entries = [];
    this.filled = false;
    this.pending = false;
    this.at = 0;
    this.input.reset();
  }

  close(): void {
    this.input.close();
  }
}

function offsetOf(v: Value, which: string): number {
  if (v === null) throw new SqlError('22004', `frame ${which} offset must not be null`);
  const n = Number(v);
  if (n < 0) throw new SqlError('22013', `frame ${which} offset must not be negative`);
  return n;
}

/** [from, to) of the frame of row i. */
function frameBounds(
  frame: number,
  i: number,
  count: number,
  firstPeer: number,
  peerEnd: number,
  start: number,
  end: number,
): [number, number] {
  const isRows = (frame & ROWS) !== 0;
  let from: number;
  if ((frame & START_UNBOUNDED_PRECEDING) !== 0) from = 0;
  else if ((frame & START_CURRENT_ROW) !== 0) from = isRows ? i : firstPeer;
  else if ((frame & START_OFFSET_PRECEDING) !== 0) from = i - start;
  else from = i + start;
  let to: number;
  if ((frame & END_UNBOUNDED_FOLLOWING) !== 0) to = count;
  else if ((frame & END_CURRENT_ROW) !== 0) to = isRows ? i + 1 : peerEnd;
  else if ((frame & END_OFFSET_PRECEDING) !== 0) to = i - end + 1;
  else to = i + end + 1;
  return [Math.max(0, from), Math.min(count, Math.max(0, to))];
}

function aggregatePartition(
  aggregate: AggregateRoutine,
  k: number,
  rows: readonly Entry[],
  bounds: (i: number) => [number, number],
): void {
  let state = aggregate.start();
  let from = 0;
  let to = 0;
  for (let i = 0; i < rows.length; i++) {
    const [start, end] = bounds(i);
    // A frame that only grows goes on with the same state; any other starts again.
    if (start !== from || end < to) {
      state = aggregate.start();
      from = start;
      to = start;
    }
    for (; to < end; to++) {
      const args = (rows[to] as Entry).args[k];
      if (args === null || args === undefined) continue;
      if (aggregate.strict && args.some((a) => a === null)) continue;
      state.add(args);
    }
    (rows[i] as Entry).results[k] = state.result();
  }
}

function rankPartition(
  f: WindowFunction,
  k: number,
  rows: readonly Entry[],
  firstPeer: readonly number[],
  peerEnd: readonly number[],
  bounds: (i: number) => [number, number],
): void {
  let dense = 0n;
  for (let i = 0; i < rows.length; i++) {
    const entry = rows[i] as Entry;
    const first = firstPeer[i] as number;
    if (first === i) dense++;
    entry.results[k] = ranked(f.name, rows, k, i, first, peerEnd[i] as number, dense, bounds);
  }
}

function ranked(
  name: string,
  rows: readonly Entry[],
  k: number,
  i: number,
  first: number,
  peerEnd: number,
  dense: bigint,
  bounds: (i: number) => [number, number],
): Value {
  const args = (rows[i] as Entry).args[k] ?? [];
  const valueAt = (at: number): Value => rows[at]?.args[k]?.[0] ?? null;
  switch (name) {
    case 'row_number':
      return BigInt(i + 1);
    case 'rank':
      return BigInt(first + 1);
    case 'dense_rank':
      return dense;
    case 'percent_rank':
      return rows.length === 1 ? 0 : first / (rows.length - 1);
    case 'cume_dist':
      return peerEnd / rows.length;
    case 'ntile': {
      const n = args[0] as number | null;
      if (n === null) return null;
      if (n <= 0) throw new SqlError('22014', 'argument of ntile must be greater than zero');
      const size = Math.floor(rows.length / n);
      const big = rows.length % n;
      const inBig = big * (size + 1);
      return i < inBig ? Math.floor(i / (size + 1)) + 1 : big + Math.floor((i - inBig) / size) + 1;
    }
    case 'lag':
    case 'lead': {
      const offset = args.length > 1 ? (args[1] as number | null) : 1;
      if (offset === null) return null;
      const at = name === 'lag' ? i - offset : i + offset;
      if (at < 0 || at >= rows.length) return args[2] ?? null;
      return valueAt(at);
    }
    case 'first_value':
    case 'last_value':
    case 'nth_value': {
      const [from, to] = bounds(i);
      if (from >= to) return null;
      if (name === 'first_value') return valueAt(from);
      if (name === 'last_value') return valueAt(to - 1);
      const n = args[1] as number | null;
      if (n === null) return null;
      if (n <= 0) throw new SqlError('22016', 'argument of nth_value must be greater than zero');
      return from + n - 1 < to ? valueAt(from + n - 1) : null;
    }
    default:
      throw new SqlError('0A000', `window function ${name} is not supported`);
  }
}
