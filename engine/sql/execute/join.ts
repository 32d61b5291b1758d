/** Joins: nested loops (the inner side is opened anew per outer row, by index when it can) and hash joins. */
import type { JoinType } from '../bind/query.js';
import type { Value } from '../../types/value.js';
import { loadSlots, saveSlots } from './keep.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';

export class NestedLoopPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly type: 'inner' | 'left';
  private readonly outer: PlanNode;
  private readonly inner: PlanNode;
  private readonly on: Evaluator | null;
  /** Slots of the inner side: NULL when a left join finds no match. */
  private readonly innerSlots: readonly number[];

  constructor(
    type: 'inner' | 'left',
    outer: PlanNode,
    inner: PlanNode,
    on: Evaluator | null,
    innerSlots: readonly number[],
    rows: number,
  ) {
    this.type = type;
    this.outer = outer;
    this.inner = inner;
    this.on = on;
    this.innerSlots = innerSlots;
    this.rows = rows;
    this.cost = outer.cost + outer.rows * inner.cost;
  }

  open(frame: Frame): Operator {
    return new NestedLoopOperator(
      frame,
      frame.open(this.outer),
      frame.open(this.inner),
      this.on,
      this.type === 'left',
      this.innerSlots,
    );
  }

  explain(): Explanation {
    return {
      title: this.type === 'left' ? 'Nested Loop Left Join' : 'Nested Loop',
      children: [this.outer, this.inner],
    };
  }
}

class NestedLoopOperator implements Operator {
  private readonly frame: Frame;
  private readonly outer: Operator;
  private readonly inner: Operator;
  private readonly on: Evaluator | null;
  private readonly isLeft: boolean;
  private readonly innerSlots: readonly number[];
  private hasOuter = false;
  private matched = false;
  private pending = false;

  constructor(
    frame: Frame,
    outer: Operator,
    inner: Operator,
    on: Evaluator | null,
    isLeft: boolean,
    innerSlots: readonly number[],
  ) {
    this.frame = frame;
    this.outer = outer;
    this.inner = inner;
    this.on = on;
    this.isLeft = isLeft;
    this.innerSlots = innerSlots;
  }

  next(): boolean {
    const { frame, on } = this;
    for (;;) {
      if (!this.hasOuter) {
        if (!this.outer.next()) return false;
        this.inner.reset();
        this.hasOuter = true;
        this.matched = false;
      }
      if (this.pending || this.inner.next()) {
        this.pending = true;
        const accepted = on === null || on(frame) === true;
        this.pending = false;
        if (!accepted) continue;
        this.matched = true;
        return true;
      }
      this.hasOuter = false;
      if (this.isLeft && !this.matched) {
        nullSlots(frame, this.innerSlots);
        return true;
      }
    }
  }

  reset(): void {
    this.hasOuter = false;
    this.pending = false;
    this.outer.reset();
  }

  close(): void {
    this.outer.close();
    this.inner.close();
  }
}

function nullSlots(frame: Frame, slots: readonly number[]): void {
  for (let i = 0; i < slots.length; i++) frame.values[slots[i] as number] = null;
}

export interface HashJoinOptions {
  readonly type: JoinType;
  /** The probing side; for a full join the left one. */
  readonly outer: PlanNode;
  /** Built into the hash. */
  readonly inner: PlanNode;
  readonly outerKey: (frame: Frame) => string | null;
  readonly innerKey: (frame: Frame) => string | null;
  /** Conditions beyond the keys. */
  readonly on: Evaluator | null;
  readonly outerSlots: readonly number[];
  readonly innerSlots: readonly number[];
  readonly rows: number;
}

export class HashJoinPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  readonly options: HashJoinOptions;

  constructor(options: HashJoinOptions) {
    this.options = options;
    this.rows = options.rows;
    this.cost = options.outer.cost + options.inner.cost + options.inner.rows;
  }

  open(frame: Frame): Operator {
    return new HashJoinOperator(this.options, frame);
  }

  explain(): Explanation {
    const { type, outer, inner } = this.options;
    const title =
      type === 'inner' ? 'Hash Join' : `Hash ${type[0]?.toUpperCase()}${type.slice(1)} Join`;
    return { title, children: [outer, inner] };
  }
}

interface Bucketed {
  readonly row: Value[];
  matched: boolean;
}

class HashJoinOperator implements Operator {
  private readonly options: HashJoinOptions;
  private readonly frame: Frame;
  private readonly outer: Operator;
  private readonly inner: Operator;
  private table: Map<string, Bucketed[]> | null = null;
  private building = new Map<string, Bucketed[]>();
  /** Inner rows with a NULL key: only a full join shows them. */
  private readonly loose: Bucketed[] = [];
  private bucket: readonly Bucketed[] | null = null;
  private at = 0;
  private matched = false;
  private left: Iterator<Bucketed> | null = null;

  constructor(options: HashJoinOptions, frame: Frame) {
    this.options = options;
    this.frame = frame;
    this.outer = frame.open(options.outer);
    this.inner = frame.open(options.inner);
  }

  next(): boolean {
    const { options, frame } = this;
    this.table ??= this.build();
    const keepsOuter = options.type === 'left' || options.type === 'full';
    for (;;) {
      if (this.left !== null) return this.nextUnmatched(this.left);
      if (this.bucket === null) {
        if (!this.outer.next()) {
          if (options.type !== 'full') return false;
          this.left = this.unmatched();
          continue;
        }
        const key = options.outerKey(frame);
        this.bucket = key === null ? NONE : (this.table.get(key) ?? NONE);
        this.at = 0;
        this.matched = false;
      }
      const entry = this.bucket[this.at];
      if (entry !== undefined) {
        loadSlots(frame, options.innerSlots, entry.row);
        const accepted = options.on === null || options.on(frame) === true;
        this.at++;
        if (!accepted) continue;
        this.matched = true;
        entry.matched = true;
        return true;
      }
      this.bucket = null;
      if (keepsOuter && !this.matched) {
        nullSlots(frame, options.innerSlots);
        return true;
      }
    }
  }

  private build(): Map<string, Bucketed[]> {
    const { options, frame } = this;
    while (this.inner.next()) {
      const key = options.innerKey(frame);
      if (key === null && options.type !== 'full') continue;
      const row = saveSlots(frame, options.innerSlots);
      frame.keep(row);
      const entry = { row, matched: false };
      if (key === null) {
        this.loose.push(entry);
        continue;
      }
      const bucket = this.building.get(key);
      if (bucket === undefined) this.building.set(key, [entry]);
      else bucket.push(entry);
    }
    return this.building;
  }

  private *unmatched(): Generator<Bucketed> {
    for (const bucket of this.table?.values() ?? [])
      for (const entry of bucket) if (!entry.matched) yield entry;
    yield* this.loose;
  }

  private nextUnmatched(left: Iterator<Bucketed>): boolean {
    const step = left.next();
    if (step.done === true) return false;
    nullSlots(this.frame, this.options.outerSlots);
    loadSlots(this.frame, this.options.innerSlots, step.value.row);
    return true;
  }

  reset(): void {
    for (const bucket of this.building.values()) this.frame.release(bucket.map((b) => b.row));
    this.table = null;
    this.building = new Map();
    this.loose.length = 0;
    this.bucket = null;
    this.left = null;
    this.outer.reset();
    this.inner.reset();
  }

  close(): void {
    this.outer.close();
    this.inner.close();
    this.building = new Map();
  }
}

const NONE: readonly Bucketed[] = [];
