/** Operators that keep rows: Sort, joins by hash, materialised WITH queries. Kept rows are slot values by list. */
import type { Value } from '../../types/value.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';

export function saveSlots(frame: Frame, slots: readonly number[]): Value[] {
  const row: Value[] = [];
  for (let i = 0; i < slots.length; i++) row.push(frame.values[slots[i] as number] as Value);
  return row;
}

export function loadSlots(frame: Frame, slots: readonly number[], row: readonly Value[]): void {
  for (let i = 0; i < slots.length; i++) frame.values[slots[i] as number] = row[i] as Value;
}

export class SortPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly input: PlanNode;
  private readonly slots: readonly number[];
  private readonly compare: (a: readonly Value[], b: readonly Value[]) => number;
  /** Only so many first rows are wanted (LIMIT + OFFSET); null: all. */
  private readonly top: Evaluator | null;
  private readonly text: string;

  constructor(
    input: PlanNode,
    slots: readonly number[],
    compare: (a: readonly Value[], b: readonly Value[]) => number,
    top: Evaluator | null,
    text: string,
  ) {
    this.input = input;
    this.slots = slots;
    this.compare = compare;
    this.top = top;
    this.text = text;
    this.rows = input.rows;
    this.cost = input.cost + input.rows * Math.log2(input.rows + 2) * 0.1;
  }

  open(frame: Frame): Operator {
    return new SortOperator(frame.open(this.input), this.slots, this.compare, this.top, frame);
  }

  explain(): Explanation {
    return { title: 'Sort', details: [`Sort Key: ${this.text}`], children: [this.input] };
  }
}

class SortOperator implements Operator {
  private readonly input: Operator;
  private readonly slots: readonly number[];
  private readonly compare: (a: readonly Value[], b: readonly Value[]) => number;
  private readonly top: Evaluator | null;
  private readonly frame: Frame;
  private rows: Value[][] = [];
  private sorted = false;
  private at = 0;
  private topCount = -1;

  constructor(
    input: Operator,
    slots: readonly number[],
    compare: (a: readonly Value[], b: readonly Value[]) => number,
    top: Evaluator | null,
    frame: Frame,
  ) {
    this.input = input;
    this.slots = slots;
    this.compare = compare;
    this.top = top;
    this.frame = frame;
  }

  next(): boolean {
    if (!this.sorted) this.fill();
    const row = this.rows[this.at];
    if (row === undefined) return false;
    loadSlots(this.frame, this.slots, row);
    this.at++;
    return true;
  }

  private fill(): void {
    const { frame } = this;
    if (this.topCount < 0) {
      const v = this.top === null ? null : this.top(frame);
      this.topCount = v === null ? Number.MAX_SAFE_INTEGER : Math.max(0, Number(v));
    }
    // Top-N: sort and cut whenever twice as many rows as wanted are kept.
    const cutAt = this.topCount < 100_000 ? Math.max(64, this.topCount * 2) : Infinity;
    while (this.input.next()) {
      const row = saveSlots(frame, this.slots);
      frame.keep(row);
      this.rows.push(row);
      if (this.rows.length < cutAt) continue;
      this.rows.sort(this.compare);
      frame.release(this.rows.splice(this.topCount));
    }
    this.rows.sort(this.compare);
    this.sorted = true;
  }

  reset(): void {
    this.close();
    this.sorted = false;
    this.at = 0;
    this.topCount = -1;
    this.input.reset();
  }

  close(): void {
    this.frame.release(this.rows);
    this.rows = [];
    this.input.close();
  }
}

/** State of a WITH query in one run: rows so far, filled on demand by whoever reads first. */
interface CteRun {
  operator: Operator | null;
  readonly rows: Value[][];
  done: boolean;
}

export class CteScanPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly id: number;
  private readonly name: string;
  /** Asked at run time: a recursive query's plan is made after its own reference's. */
  private readonly plan: () => PlanNode;
  private readonly from: () => readonly number[];
  private readonly to: readonly number[];
  private readonly filter: Evaluator | null;

  constructor(
    id: number,
    name: string,
    rows: number,
    plan: () => PlanNode,
    from: () => readonly number[],
    to: readonly number[],
    filter: Evaluator | null,
  ) {
    this.id = id;
    this.name = name;
    this.rows = rows;
    this.cost = rows;
    this.plan = plan;
    this.from = from;
    this.to = to;
    this.filter = filter;
  }

  open(frame: Frame): Operator {
    const { id, to, filter } = this;
    const plan = this.plan();
    const from = this.from();
    let at = 0;
    let pending = false;
    return {
      next(): boolean {
        for (;;) {
          if (!pending) {
            const run = cteRun(frame, id, plan);
            while (at >= run.rows.length) {
              if (!cteAdvance(frame, run, from)) return false;
            }
            frame.tick();
            loadSlots(frame, to, run.rows[at] as Value[]);
            at++;
            if (filter === null) return true;
            pending = true;
          }
          const accepted = (filter as Evaluator)(frame) === true;
          pending = false;
          if (accepted) return true;
        }
      },
      reset(): void {
        at = 0;
        pending = false;
      },
      close(): void {},
    };
  }

  explain(): Explanation {
    return { title: `CTE Scan on ${this.name}` };
  }
}

export function cteRun(frame: Frame, id: number, plan: PlanNode): CteRun {
  let run = frame.ctes.get(id) as CteRun | undefined;
  if (run === undefined) {
    run = { operator: null, rows: [], done: false };
    frame.ctes.set(id, run);
    run.operator = frame.open(plan);
  }
  return run;
}

/** One more row of the WITH query; false: it is complete. */
export function cteAdvance(frame: Frame, run: CteRun, from: readonly number[]): boolean {
  if (run.done || run.operator === null) return false;
  if (!run.operator.next()) {
    run.done = true;
    return false;
  }
  const row = saveSlots(frame, from);
  frame.keep(row);
  run.rows.push(row);
  return true;
}

/**
 * WITH RECURSIVE: base rows, then the step over the rows of the round before until a round brings nothing new. The
 * step's self-reference reads `work` of the frame's run.
 */
export class RecursivePlan implements PlanNode {
  readonly rows = 1000;
  readonly cost = 1000;
  private readonly id: number;
  private readonly base: PlanNode;
  private readonly baseSlots: readonly number[];
  private readonly step: PlanNode;
  private readonly stepValues: readonly Evaluator[];
  private readonly output: readonly number[];
  private readonly key: ((row: readonly Value[]) => string) | null;

  constructor(
    id: number,
    base: PlanNode,
    baseSlots: readonly number[],
    step: PlanNode,
    stepValues: readonly Evaluator[],
    output: readonly number[],
    key: ((row: readonly Value[]) => string) | null,
  ) {
    this.id = id;
    this.base = base;
    this.baseSlots = baseSlots;
    this.step = step;
    this.stepValues = stepValues;
    this.output = output;
    this.key = key;
  }

  open(frame: Frame): Operator {
    const { id, baseSlots, stepValues, output, key } = this;
    const base = frame.open(this.base);
    const step = frame.open(this.step);
    const seen = new Set<string>();
    const work: WorkTable = { rows: [] };
    frame.ctes.set(-id, work);
    let next: Value[][] = [];
    let inBase = true;
    const fresh = (row: Value[]): boolean => {
      if (key === null) return true;
      const k = key(row);
      if (seen.has(k)) return false;
      seen.add(k);
      return true;
    };
    return {
      next(): boolean {
        for (;;) {
          const found = inBase ? base.next() : step.next();
          if (found) {
            const row = inBase ? saveSlots(frame, baseSlots) : stepValues.map((e) => e(frame));
            if (!fresh(row)) continue;
            frame.keep(row);
            next.push(row);
            loadSlots(frame, output, row);
            return true;
          }
          if (next.length === 0) return false;
          work.rows = next;
          next = [];
          inBase = false;
          step.reset();
        }
      },
      reset(): void {
        seen.clear();
        next = [];
        inBase = true;
        base.reset();
      },
      close(): void {
        base.close();
        step.close();
      },
    };
  }

  explain(): Explanation {
    return { title: 'Recursive Union', children: [this.base, this.step] };
  }
}

interface WorkTable {
  rows: Value[][];
}

/** A recursive query's reference to itself. */
export class WorkScanPlan implements PlanNode {
  readonly rows = 10;
  readonly cost = 10;
  private readonly id: number;
  private readonly to: readonly number[];
  private readonly filter: Evaluator | null;

  constructor(id: number, to: readonly number[], filter: Evaluator | null) {
    this.id = id;
    this.to = to;
    this.filter = filter;
  }

  open(frame: Frame): Operator {
    const { id, to, filter } = this;
    let at = 0;
    let pending = false;
    return {
      next(): boolean {
        const work = frame.ctes.get(-id) as WorkTable;
        for (;;) {
          if (!pending) {
            const row = work.rows[at];
            if (row === undefined) return false;
            frame.tick();
            loadSlots(frame, to, row);
            at++;
            if (filter === null) return true;
            pending = true;
          }
          const accepted = (filter as Evaluator)(frame) === true;
          pending = false;
          if (accepted) return true;
        }
      },
      reset(): void {
        at = 0;
        pending = false;
      },
      close(): void {},
    };
  }

  explain(): Explanation {
    return { title: 'WorkTable Scan' };
  }
}
