/** Operators of one input that filter, compute and cut: Filter, Project, Limit, Distinct. */
import type { Value } from '../../types/value.js';
import { SqlError } from '../../sql-error.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';

export class FilterPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly input: PlanNode;
  private readonly filter: Evaluator;

  constructor(input: PlanNode, filter: Evaluator) {
    this.input = input;
    this.filter = filter;
    this.rows = Math.max(1, input.rows / 3);
    this.cost = input.cost;
  }

  open(frame: Frame): Operator {
    const input = frame.open(this.input);
    const filter = this.filter;
    let pending = false;
    return {
      next(): boolean {
        for (;;) {
          if (!pending && !input.next()) return false;
          pending = true;
          const accepted = filter(frame) === true;
          pending = false;
          if (accepted) return true;
        }
      },
      reset(): void {
        pending = false;
        input.reset();
      },
      close(): void {
        input.close();
      },
    };
  }

  explain(): Explanation {
    return { title: 'Filter', children: [this.input] };
  }
}

export interface Computation {
  readonly slot: number;
  readonly evaluate: Evaluator;
}

export class ProjectPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  readonly input: PlanNode;
  readonly list: readonly Computation[];

  constructor(input: PlanNode, list: readonly Computation[]) {
    this.input = input;
    this.list = list;
    this.rows = input.rows;
    this.cost = input.cost;
  }

  open(frame: Frame): Operator {
    return new ProjectOperator(frame.open(this.input), this.list, frame);
  }

  explain(): Explanation {
    return this.input.explain();
  }
}

class ProjectOperator implements Operator {
  private readonly input: Operator;
  private readonly list: readonly Computation[];
  private readonly frame: Frame;
  /** The next column of the row in hand to compute; 0: no row in hand. */
  private at = -1;

  constructor(input: Operator, list: readonly Computation[], frame: Frame) {
    this.input = input;
    this.list = list;
    this.frame = frame;
  }

  next(): boolean {
    if (this.at < 0) {
      if (!this.input.next()) return false;
      this.at = 0;
    }
    const { list, frame } = this;
    for (; this.at < list.length; this.at++) {
      const c = list[this.at] as Computation;
      frame.values[c.slot] = c.evaluate(frame);
    }
    this.at = -1;
    return true;
  }

  reset(): void {
    this.at = -1;
    this.input.reset();
  }

  close(): void {
    this.input.close();
  }
}

export class LimitPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly input: PlanNode;
  private readonly limit: Evaluator | null;
  private readonly offset: Evaluator | null;
  /** WITH TIES: slots that must be equal to the last row's. */
  private readonly ties: readonly number[] | null;
  private readonly same: ((a: readonly Value[], b: readonly Value[]) => boolean) | null;

  constructor(
    input: PlanNode,
    limit: Evaluator | null,
    offset: Evaluator | null,
    ties: readonly number[] | null,
    same: ((a: readonly Value[], b: readonly Value[]) => boolean) | null,
  ) {
    this.input = input;
    this.limit = limit;
    this.offset = offset;
    this.ties = ties;
    this.same = same;
    this.rows = limit === null ? input.rows : Math.min(input.rows, 10);
    this.cost = input.cost;
  }

  open(frame: Frame): Operator {
    return new LimitOperator(
      frame.open(this.input),
      this.limit,
      this.offset,
      this.ties,
      this.same,
      frame,
    );
  }

  explain(): Explanation {
    return { title: 'Limit', children: [this.input] };
  }
}

class LimitOperator implements Operator {
  private readonly input: Operator;
  private readonly limit: Evaluator | null;
  private readonly offset: Evaluator | null;
  private readonly ties: readonly number[] | null;
  private readonly same: ((a: readonly Value[], b: readonly Value[]) => boolean) | null;
  private readonly frame: Frame;
  private left = -1;
  private skip = -1;
  private last: Value[] | null = null;

  constructor(
    input: Operator,
    limit: Evaluator | null,
    offset: Evaluator | null,
    ties: readonly number[] | null,
    same: ((a: readonly Value[], b: readonly Value[]) => boolean) | null,
    frame: Frame,
  ) {
    this.input = input;
    this.limit = limit;
    this.offset = offset;
    this.ties = ties;
    this.same = same;
    this.frame = frame;
  }

  next(): boolean {
    if (this.left < 0) {
      const limit = countOf(this.limit, this.frame, 'LIMIT', '2201W');
      this.skip = countOf(this.offset, this.frame, 'OFFSET', '2201X') ?? 0;
      this.left = limit ?? Number.MAX_SAFE_INTEGER;
    }
    if (this.left === 0 && this.last === null) return false;
    while (this.skip > 0) {
      if (!this.input.next()) return false;
      this.skip--;
    }
    if (!this.input.next()) return false;
    if (this.left > 0) {
      this.left--;
      if (this.ties !== null && this.left === 0) this.last = this.tied();
      return true;
    }
    return this.last !== null && this.same?.(this.last, this.tied()) === true;
  }

  private tied(): Value[] {
    return (this.ties ?? []).map((s) => this.frame.values[s] as Value);
  }

  reset(): void {
    this.left = -1;
    this.last = null;
    this.input.reset();
  }

  close(): void {
    this.input.close();
  }
}

function countOf(e: Evaluator | null, frame: Frame, what: string, code: string): number | null {
  const v = e === null ? null : e(frame);
  if (v === null) return null;
  const n = Number(v);
  if (n < 0) throw new SqlError(code, `${what} must not be negative`);
  return n;
}

/** Rows whose key was not seen before; with `sorted` input only the last one is remembered (DISTINCT ON). */
export class DistinctPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly input: PlanNode;
  private readonly key: (values: readonly Value[]) => string;

  constructor(input: PlanNode, key: (values: readonly Value[]) => string) {
    this.input = input;
    this.key = key;
    this.rows = Math.max(1, input.rows / 2);
    this.cost = input.cost;
  }

  open(frame: Frame): Operator {
    const input = frame.open(this.input);
    const key = this.key;
    let seen = new Set<string>();
    return {
      next(): boolean {
        while (input.next()) {
          const k = key(frame.values);
          if (seen.has(k)) continue;
          frame.keep([k]);
          seen.add(k);
          return true;
        }
        return false;
      },
      reset(): void {
        seen = new Set();
        input.reset();
      },
      close(): void {
        input.close();
      },
    };
  }

  explain(): Explanation {
    return { title: 'HashAggregate (distinct)', children: [this.input] };
  }
}
