/** INSERT, UPDATE and DELETE to plans. */
import type { IndexDef } from '../../catalog/definitions.js';
import type { Expr } from '../bind/expression.js';
import { conjuncts, isVolatile } from '../bind/expression.js';
import type {
  Assignment,
  BoundConstraints,
  BoundDelete,
  BoundInsert,
  BoundUpdate,
  BoundWrite,
  FromTree,
} from '../bind/query.js';
import type { PlanNode } from '../execute/frame.js';
import { InsertPlan } from '../execute/insert.js';
import type { RowRecipe } from '../execute/insert.js';
import type { ConstraintPlan } from '../execute/row-writer.js';
import { ScanPlan } from '../execute/scan.js';
import type { Computation } from '../execute/shape.js';
import { WritePlan } from '../execute/write.js';
import { compileAll, planFrom } from './plan-from.js';
import { planQuery } from './plan-query.js';
import type { Planner } from './planner.js';

export function planWrite(p: Planner, q: BoundWrite): PlanNode {
  return q.kind === 'insert' ? planInsert(p, q) : planChange(p, q);
}

function constraintPlan(p: Planner, c: BoundConstraints): ConstraintPlan {
  return {
    notNull: c.notNull,
    checks: c.checks.map((k) => ({ name: k.name, evaluate: p.compile(k.expr) })),
  };
}

function returningPlan(p: Planner, r: BoundWrite['returning']): Computation[] | null {
  if (r === null) return null;
  return r
    .filter((t) => t.expr.op !== 'slot' || t.expr.slot !== t.slot)
    .map((t) => ({ slot: t.slot, evaluate: p.compile(t.expr) }));
}

function recipeOf(p: Planner, list: readonly Assignment[]): RowRecipe {
  return { columns: list.map((a) => a.column), values: list.map((a) => p.compile(a.expr)) };
}

function planInsert(p: Planner, q: BoundInsert): PlanNode {
  const { target, conflict } = q;
  const input = q.source === null ? null : planQuery(p, q.source, null);
  const recipes =
    q.valueRows === null ? [recipeOf(p, q.assignments)] : q.valueRows.map((r) => recipeOf(p, r));
  const byOid = (oid: number): IndexDef[] => target.table.indexes.filter((i) => i.oid === oid);
  return new InsertPlan({
    target,
    input,
    recipes,
    constraints: constraintPlan(p, q.constraints),
    conflict:
      conflict === null
        ? null
        : {
            indexes: conflict.indexOids.flatMap(byOid),
            excluded: conflict.excluded,
            update: conflict.action === 'nothing' ? null : recipeOf(p, conflict.assignments),
            where: conflict.where === null ? null : p.compile(conflict.where),
          },
    returning: returningPlan(p, q.returning),
    makeState: p.makeState,
  });
}

function planChange(p: Planner, q: BoundUpdate | BoundDelete): PlanNode {
  const { target } = q;
  // The condition on joined rows too, for a version that came meanwhile.
  const all: Expr[] = conjuncts(q.where);
  joinConditions(q.from, all);
  const input = planFrom(p, q.from, q.where, null).node;
  const assignments = q.kind === 'update' ? q.assignments : null;
  const quiet =
    (assignments ?? []).every((a) => !isVolatile(a.expr)) && all.every((e) => !isVolatile(e));
  return new WritePlan({
    target,
    input,
    columns: assignments === null ? null : assignments.map((a) => a.column),
    values: (assignments ?? []).map((a) => p.compile(a.expr)),
    recheck: all.length === 0 ? null : compileAll(p, all),
    constraints:
      q.kind === 'update' ? constraintPlan(p, q.constraints) : { notNull: [], checks: [] },
    returning: returningPlan(p, q.returning),
    direct: quiet && input instanceof ScanPlan,
    makeState: p.makeState,
  });
}

function joinConditions(tree: FromTree, into: Expr[]): void {
  if (tree.kind === 'relation') return;
  if (tree.kind === 'filter') {
    conjuncts(tree.where, into);
    joinConditions(tree.input, into);
    return;
  }
  if (tree.type === 'inner') conjuncts(tree.on, into);
  joinConditions(tree.left, into);
  joinConditions(tree.right, into);
}
