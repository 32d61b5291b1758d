/** Sub-queries inside expressions, as evaluators that resume after a suspension. */
import type { Expr } from '../bind/expression.js';
import type { TypeSystem } from '../bind/type-system.js';
import { SqlError } from '../../sql-error.js';
import type { Value } from '../../types/value.js';
import { makeArray } from './evaluate.js';
import type { Evaluator, Frame, PlanNode, SubplanRun } from './frame.js';

/** `index`: this sub-plan's place in the frame. */
export interface Subplan {
  readonly index: number;
  readonly plan: PlanNode;
  readonly outputSlot: number;
  /** It reads outer slots: to be run again for each row. */
  readonly correlated: boolean;
}

function runOf(f: Frame, s: Subplan): SubplanRun {
  let run = f.subplans[s.index];
  if (run === undefined) {
    run = {
      operator: f.open(s.plan),
      running: false,
      done: false,
      value: null,
      count: 0,
      sawNull: false,
      set: null,
      list: [],
    };
    f.subplans[s.index] = run;
  }
  return run;
}

function begin(run: SubplanRun): void {
  if (run.running) return;
  run.operator.reset();
  run.count = 0;
  run.value = null;
  run.sawNull = false;
  run.list = [];
  run.running = true;
}

function finish(run: SubplanRun, s: Subplan, value: Value): Value {
  run.running = false;
  run.value = value;
  run.done = !s.correlated;
  return value;
}

export function scalarSubquery(s: Subplan): Evaluator {
  return (f) => {
    const run = runOf(f, s);
    if (run.done) return run.value;
    begin(run);
    while (run.operator.next()) {
      if (run.count === 1) {
        run.running = false;
        throw new SqlError(
          '21000',
          'more than one row returned by a subquery used as an expression',
        );
      }
      run.value = f.values[s.outputSlot] as Value;
      run.count = 1;
    }
    return finish(run, s, run.value);
  };
}

export function existsSubquery(s: Subplan): Evaluator {
  return (f) => {
    const run = runOf(f, s);
    if (run.done) return run.value;
    begin(run);
    return finish(run, s, run.operator.next());
  };
}

export function arraySubquery(s: Subplan, elementOid: number): Evaluator {
  return (f) => {
    const run = runOf(f, s);
    if (run.done) return run.value;
    begin(run);
    while (run.operator.next()) run.list.push(f.values[s.outputSlot] as Value);
    return finish(run, s, makeArray(elementOid, run.list));
  };
}

/** x op ANY/ALL (query), row by row. The result depends on x, so it is never kept. */
export function quantifiedSubquery(s: Subplan, test: Evaluator, all: boolean): Evaluator {
  return (f) => {
    const run = runOf(f, s);
    begin(run);
    for (;;) {
      // The row's test may suspend too: `count` says that a row is waiting for it.
      if (run.count === 0) {
        if (!run.operator.next()) break;
        run.count = 1;
      }
      const v = test(f);
      run.count = 0;
      if (v === !all) {
        run.running = false;
        return v;
      }
      if (v === null) run.sawNull = true;
    }
    run.running = false;
    return run.sawNull ? null : all;
  };
}

/** x = ANY (uncorrelated query): hashed once. */
export function hashedSubquery(
  s: Subplan,
  types: TypeSystem,
  left: Expr,
  x: Evaluator,
): Evaluator | null {
  const key = types.hashKey(left.type);
  if (key === null || s.correlated) return null;
  return (f) => {
    const run = runOf(f, s);
    if (!run.done) {
      begin(run);
      run.set ??= new Set();
      while (run.operator.next()) {
        const v = f.values[s.outputSlot] as Value;
        run.count++;
        if (v === null) run.sawNull = true;
        else {
          f.keep([v]);
          run.set.add(key(v));
        }
      }
      run.running = false;
      run.done = true;
    }
    if (run.count === 0) return false;
    const v = x(f);
    if (v === null) return null;
    if (run.set?.has(key(v)) === true) return true;
    return run.sawNull ? null : false;
  };
}
