/** Aggregation: groups by hash, states per group, one row out per group. */
import type { AggregateRoutine, AggregateState } from '../bind/type-system.js';
import type { Value } from '../../types/value.js';
import { SqlError } from '../../sql-error.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';
import type { Computation } from './shape.js';

export interface AggregatePart {
  readonly routine: AggregateRoutine;
  readonly args: readonly Evaluator[];
  readonly filter: Evaluator | null;
  /** DISTINCT: the arguments' key. */
  readonly distinct: ((row: readonly Value[]) => string) | null;
  /** ORDER BY: sort values and how to compare [...args, ...sort values]. */
  readonly order: {
    readonly values: readonly Evaluator[];
    readonly compare: (a: readonly Value[], b: readonly Value[]) => number;
  } | null;
  readonly slot: number;
}

export interface AggregateOptions {
  readonly input: PlanNode;
  readonly keys: readonly Computation[];
  readonly carried: readonly Computation[];
  readonly parts: readonly AggregatePart[];
  readonly groupKey: ((row: readonly Value[]) => string) | null;
  /** min/max over rows in that order: the first argument that is not NULL is the answer. */
  readonly firstOnly: boolean;
}

export class AggregatePlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly options: AggregateOptions;

  constructor(options: AggregateOptions) {
    this.options = options;
    this.rows = options.groupKey === null ? 1 : Math.max(1, options.input.rows / 5);
    this.cost = options.firstOnly ? 3 : options.input.cost;
  }

  open(frame: Frame): Operator {
    return new AggregateOperator(this.options, frame);
  }

  explain(): Explanation {
    return {
      title: this.options.groupKey === null ? 'Aggregate' : 'HashAggregate',
      children: [this.options.input],
    };
  }
}

interface Group {
  readonly keys: Value[];
  readonly carried: Value[];
  readonly states: AggregateState[];
  readonly seen: (Set<string> | null)[];
  readonly kept: (Value[][] | null)[];
}

class AggregateOperator implements Operator {
  private readonly options: AggregateOptions;
  private readonly frame: Frame;
  private readonly input: Operator;
  private groups = new Map<string, Group>();
  private order: Group[] = [];
  private filled = false;
  private at = 0;
  /** The input's row in hand has not been added yet (its arguments may suspend). */
  private pending = false;

  constructor(options: AggregateOptions, frame: Frame) {
    this.options = options;
    this.frame = frame;
    this.input = frame.open(options.input);
  }

  next(): boolean {
    if (!this.filled) this.fill();
    const group = this.order[this.at];
    if (group === undefined) return false;
    this.at++;
    const { keys, carried, parts } = this.options;
    const { values } = this.frame;
    for (let i = 0; i < keys.length; i++)
      values[(keys[i] as Computation).slot] = group.keys[i] as Value;
    for (let i = 0; i < carried.length; i++)
      values[(carried[i] as Computation).slot] = group.carried[i] as Value;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as AggregatePart;
      const state = group.states[i] as AggregateState;
      const kept = group.kept[i];
      if (kept !== null && kept !== undefined && part.order !== null) {
        kept.sort(part.order.compare);
        for (const row of kept) state.add(row.slice(0, part.args.length));
        group.kept[i] = null;
      }
      values[part.slot] = state.result();
    }
    return true;
  }

  private fill(): void {
    const { options, frame } = this;
    if (options.groupKey === null && this.order.length === 0) this.newGroup([], []);
    while (this.pending || this.input.next()) {
      this.pending = true;
      const group = this.groupOf();
      // All arguments first: what suspends is evaluated again before anything is added.
      const rows = options.parts.map((p) => argumentsOf(p, frame));
      let satisfied = options.firstOnly;
      for (let i = 0; i < rows.length; i++) {
        const row = rows[i];
        if (row === null || row === undefined) {
          satisfied = false;
          continue;
        }
        this.add(group, i, row);
      }
      this.pending = false;
      if (satisfied) break;
    }
    this.filled = true;
  }

  private groupOf(): Group {
    const { keys, carried, groupKey } = this.options;
    const { frame } = this;
    if (groupKey === null) return this.order[0] as Group;
    const values: Value[] = [];
    for (let i = 0; i < keys.length; i++) values.push((keys[i] as Computation).evaluate(frame));
    const key = groupKey(values);
    const known = this.groups.get(key);
    if (known !== undefined) return known;
    const group = this.newGroup(
      values,
      carried.map((c) => c.evaluate(frame)),
    );
    frame.keep(values);
    this.groups.set(key, group);
    return group;
  }

  private newGroup(keys: Value[], carried: Value[]): Group {
    const { parts } = this.options;
    const group: Group = {
      keys,
      carried,
      states: parts.map((p) => p.routine.start()),
      seen: parts.map((p) => (p.distinct === null ? null : new Set<string>())),
      kept: parts.map((p) => (p.order === null ? null : [])),
    };
    this.order.push(group);
    return group;
  }

  private add(group: Group, i: number, row: Value[]): void {
    const part = this.options.parts[i] as AggregatePart;
    const seen = group.seen[i];
    if (seen !== null && seen !== undefined && part.distinct !== null) {
      const key = part.distinct(row);
      if (seen.has(key)) return;
      this.frame.keep([key]);
      seen.add(key);
    }
    const kept = group.kept[i];
    if (kept !== null && kept !== undefined) {
      this.frame.keep(row);
      kept.push(row);
    } else (group.states[i] as AggregateState).add(row);
  }

  reset(): void {
    this.groups = new Map();
    this.order = [];
    this.filled = false;
    this.at = 0;
    this.pending = false;
    this.input.reset();
  }

  close(): void {
    this.input.close();
  }
}

/** Arguments (then sort values) of one aggregate for the row in hand; null: the row does not count. */
function argumentsOf(part: AggregatePart, frame: Frame): Value[] | null {
  if (part.filter !== null && part.filter(frame) !== true) return null;
  const row: Value[] = [];
  for (let i = 0; i < part.args.length; i++) {
    const v = (part.args[i] as Evaluator)(frame);
    if (v === null && part.routine.strict) return null;
    row.push(v);
  }
  if (part.order !== null) for (const e of part.order.values) row.push(e(frame));
  return row;
}

/** UNION, INTERSECT, EXCEPT. */
export interface SetOptions {
  readonly operation: 'union' | 'intersect' | 'except';
  readonly all: boolean;
  readonly left: PlanNode;
  readonly right: PlanNode;
  readonly leftValues: readonly Evaluator[];
  readonly rightValues: readonly Evaluator[];
  readonly output: readonly number[];
  readonly key: ((row: readonly Value[]) => string) | null;
}

export class SetPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly options: SetOptions;

  constructor(options: SetOptions) {
    this.options = options;
    this.rows = options.left.rows + options.right.rows;
    this.cost = options.left.cost + options.right.cost;
  }

  open(frame: Frame): Operator {
    return this.options.operation === 'union'
      ? new UnionOperator(this.options, frame)
      : new CountedOperator(this.options, frame);
  }

  explain(): Explanation {
    const { operation, all, left, right } = this.options;
    const name = `${operation[0]?.toUpperCase()}${operation.slice(1)}`;
    return {
      title: operation === 'union' && all ? 'Append' : `HashSetOp ${name}${all ? ' All' : ''}`,
      children: [left, right],
    };
  }
}

function put(frame: Frame, slots: readonly number[], row: readonly Value[]): void {
  for (let i = 0; i < slots.length; i++) frame.values[slots[i] as number] = row[i] as Value;
}

class UnionOperator implements Operator {
  private readonly options: SetOptions;
  private readonly frame: Frame;
  private readonly left: Operator;
  private readonly right: Operator;
  private inLeft = true;
  private seen = new Set<string>();

  constructor(options: SetOptions, frame: Frame) {
    this.options = options;
    this.frame = frame;
    this.left = frame.open(options.left);
    this.right = frame.open(options.right);
  }

  next(): boolean {
    const { options, frame } = this;
    for (;;) {
      const side = this.inLeft ? this.left : this.right;
      if (!side.next()) {
        if (!this.inLeft) return false;
        this.inLeft = false;
        continue;
      }
      const row = (this.inLeft ? options.leftValues : options.rightValues).map((e) => e(frame));
      if (options.key !== null && !options.all) {
        const key = options.key(row);
        if (this.seen.has(key)) continue;
        frame.keep([key]);
        this.seen.add(key);
      }
      put(frame, options.output, row);
      return true;
    }
  }

  reset(): void {
    this.inLeft = true;
    this.seen = new Set();
    this.left.reset();
    this.right.reset();
  }

  close(): void {
    this.left.close();
    this.right.close();
  }
}

/** INTERSECT and EXCEPT: the right side is counted first, then the left one passes through. */
class CountedOperator implements Operator {
  private readonly options: SetOptions;
  private readonly frame: Frame;
  private readonly left: Operator;
  private readonly right: Operator;
  private counts = new Map<string, number>();
  private shown = new Set<string>();
  private counted = false;

  constructor(options: SetOptions, frame: Frame) {
    this.options = options;
    this.frame = frame;
    this.left = frame.open(options.left);
    this.right = frame.open(options.right);
  }

  next(): boolean {
    const { options, frame, counts } = this;
    const { key } = options;
    if (key === null) throw new SqlError('XX000', 'a set operation has no key');
    if (!this.counted) {
      while (this.right.next()) {
        const k = key(options.rightValues.map((e) => e(frame)));
        frame.keep([k]);
        counts.set(k, (counts.get(k) ?? 0) + 1);
      }
      this.counted = true;
    }
    while (this.left.next()) {
      const row = options.leftValues.map((e) => e(frame));
      const k = key(row);
      const n = counts.get(k) ?? 0;
      if (options.all) {
        if (n > 0) counts.set(k, n - 1);
      } else {
        if (this.shown.has(k)) continue;
        this.shown.add(k);
      }
      if (n > 0 !== (options.operation === 'intersect')) continue;
      put(frame, options.output, row);
      return true;
    }
    return false;
  }

  reset(): void {
    this.counts = new Map();
    this.shown = new Set();
    this.counted = false;
    this.left.reset();
    this.right.reset();
  }

  close(): void {
    this.left.close();
    this.right.close();
  }
}
