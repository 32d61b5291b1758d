/** Bound queries to plans: the pipeline of query.ts, one operator per clause that is there. */
import type { Expr, SlotExpr } from '../bind/expression.js';
import { childrenOf } from '../bind/expression.js';
import type {
  BoundAggregate,
  BoundCte,
  BoundQuery,
  BoundSelect,
  BoundSetOperation,
  BoundValues,
  SortKey,
} from '../bind/query.js';
import { AggregatePlan, SetPlan } from '../execute/aggregate.js';
import type { AggregatePart } from '../execute/aggregate.js';
import type { Evaluator, PlanNode } from '../execute/frame.js';
import { RecursivePlan, SortPlan } from '../execute/keep.js';
import { rowComparator, rowKey, slotsKey } from '../execute/keys.js';
import { LockPlan } from '../execute/lock-rows.js';
import { ValuesPlan } from '../execute/scan.js';
import { DistinctPlan, FilterPlan, LimitPlan, ProjectPlan } from '../execute/shape.js';
import type { Computation } from '../execute/shape.js';
import { planFrom } from './plan-from.js';
import { planWindow } from './plan-window.js';
import { planWrite } from './plan-write.js';
import type { Planner } from './planner.js';

/** `atMost`: the caller takes no more rows than this (EXISTS); null: unknown. */
export function planQuery(p: Planner, q: BoundQuery, atMost: number | null): PlanNode {
  planCtes(p, q.ctes);
  switch (q.kind) {
    case 'select':
      return planSelect(p, q, atMost);
    case 'values':
      return planValues(p, q);
    case 'set':
      return planSet(p, q);
    case 'insert':
    case 'update':
    case 'delete':
      return planWrite(p, q);
  }
}

function planCtes(p: Planner, ctes: readonly BoundCte[]): void {
  for (const cte of ctes) {
    const isWrite =
      cte.query.kind === 'insert' || cte.query.kind === 'update' || cte.query.kind === 'delete';
    const entry = {
      cte,
      plan: null as PlanNode | null,
      slots: cte.query.output.map((o) => o.slot),
      isWrite,
    };
    p.ctes.set(cte.id, entry);
    if (cte.recursive === null) {
      entry.plan = planQuery(p, cte.query, null);
      continue;
    }
    const base = planQuery(p, cte.query, null);
    p.working.add(cte.id);
    const step = planQuery(p, cte.recursive.step, null);
    p.working.delete(cte.id);
    const output = cte.columns.map(() => p.newSlot());
    const key = cte.recursive.all
      ? null
      : rowKey(
          p.types,
          cte.columns.map((c) => c.type),
        );
    entry.plan = new RecursivePlan(
      cte.id,
      base,
      entry.slots,
      step,
      cte.recursive.stepExprs.map((e) => p.compile(e)),
      output,
      key,
    );
    entry.slots = output;
  }
}

function planSelect(p: Planner, q: BoundSelect, atMost: number | null): PlanNode {
  const wanted = wantedOrder(q);
  let ordered = false;
  let node: PlanNode;
  if (q.from === null) {
    node = new ValuesPlan([[]], []);
    if (q.where !== null) node = new FilterPlan(node, p.compile(q.where));
  } else {
    const planned = planFrom(p, q.from, q.where, wanted);
    node = planned.node;
    ordered = planned.ordered && wanted !== null;
  }
  if (q.grouping !== null) {
    node = planGrouping(p, q, node, ordered);
    ordered = false;
  }
  if (q.having !== null) node = new FilterPlan(node, p.compile(q.having));
  const above = slotsAbove(q);
  for (const w of q.windows) {
    node = planWindow(p, w, node, above);
    ordered = false;
  }
  const computed: Computation[] = [];
  for (const t of q.targets)
    if (t.expr.op !== 'slot' || t.expr.slot !== t.slot)
      computed.push({ slot: t.slot, evaluate: p.compile(t.expr) });
  const locks = q.locks.map((l) => ({ ...l, scanned: null }));
  // With locking, a row that changed meanwhile is computed again: the projection comes with it.
  const lockPlan = (input: PlanNode): PlanNode =>
    locks.length === 0
      ? input
      : new LockPlan(input, q.locks, q.where === null ? null : p.compile(q.where), computed);
  const sortLater = !ordered && q.order.length > 0;
  if (!sortLater) node = lockPlan(node);
  if (computed.length > 0) node = new ProjectPlan(node, computed);
  return finishSelect(p, q, node, { ordered, atMost, lockPlan, sortLater, above });
}

interface Finish {
  readonly ordered: boolean;
  readonly atMost: number | null;
  readonly lockPlan: (input: PlanNode) => PlanNode;
  readonly sortLater: boolean;
  readonly above: readonly number[];
}

function finishSelect(p: Planner, q: BoundSelect, input: PlanNode, f: Finish): PlanNode {
  let node = input;
  const outputSlots = [...new Set(q.targets.map((t) => t.slot))];
  const outputTypes = q.output.map((o) => o.type);
  if (q.distinctOn !== null && q.distinctOn.length === 0)
    node = new DistinctPlan(
      node,
      slotsKey(
        p.types,
        q.output.map((o) => o.slot),
        outputTypes,
      ),
    );
  if (f.sortLater) {
    const kept = q.locks.length > 0 ? [...new Set([...outputSlots, ...f.above])] : outputSlots;
    const isOn = q.distinctOn !== null && q.distinctOn.length > 0;
    const top =
      q.limit !== null && !isOn && q.locks.length === 0 && !q.withTies
        ? topOf(p, q.limit, q.offset)
        : null;
    node = sortBy(p, node, kept, q.order, top);
    node = f.lockPlan(node);
  }
  if (q.distinctOn !== null && q.distinctOn.length > 0) {
    const on: readonly SlotExpr[] = q.distinctOn;
    node = new DistinctPlan(
      node,
      slotsKey(
        p.types,
        on.map((s) => s.slot),
        on.map((s) => s.type),
      ),
    );
  }
  return limited(p, node, q);
}

function limited(
  p: Planner,
  node: PlanNode,
  q: BoundQuery & { limit: Expr | null; offset: Expr | null; order: readonly SortKey[] },
): PlanNode {
  if (q.limit === null && q.offset === null) return node;
  const ties =
    q.kind === 'select' && q.withTies ? q.order.map((k) => (k.expr as SlotExpr).slot) : null;
  const compare =
    ties === null
      ? null
      : rowComparator(
          p.types,
          q.order,
          q.order.map((_, i) => i),
        );
  return new LimitPlan(
    node,
    q.limit === null ? null : p.compile(q.limit),
    q.offset === null ? null : p.compile(q.offset),
    ties,
    compare === null ? null : (a, b) => compare(a, b) === 0,
  );
}

/** LIMIT + OFFSET, for a sort that need keep no more. */
function topOf(p: Planner, limit: Expr, offset: Expr | null): Evaluator {
  const l = p.compile(limit);
  const o = offset === null ? null : p.compile(offset);
  return (f) => {
    const n = l(f);
    if (n === null) return null;
    const skip = o === null ? 0n : (o(f) as bigint | null);
    const total = BigInt(n as bigint) + BigInt(skip ?? 0n);
    return total > 1n << 40n ? null : total;
  };
}

export function sortBy(
  p: Planner,
  input: PlanNode,
  slots: readonly number[],
  order: readonly SortKey[],
  top: Evaluator | null,
): PlanNode {
  const at = order.map((k) => slots.indexOf((k.expr as SlotExpr).slot));
  const text = order
    .map((k) => `$${(k.expr as SlotExpr).slot}${k.descending ? ' DESC' : ''}`)
    .join(', ');
  return new SortPlan(input, slots, rowComparator(p.types, order, at), top, text);
}

/** The order that the scan should give: ORDER BY over plain columns, or what min/max wants. */
function wantedOrder(q: BoundSelect): SortKey[] | null {
  if (q.windows.length > 0) return null;
  if (q.grouping !== null) {
    const only = minMaxOf(q);
    if (only === null) return null;
    return [
      {
        expr: only.args[0] as Expr,
        descending: only.routine.name === 'max',
        nullsFirst: only.routine.name === 'max',
      },
    ];
  }
  if (q.order.length === 0 || q.distinctOn !== null)
    return q.order.length > 0 && q.distinctOn?.length !== 0 ? plainOrder(q) : null;
  return plainOrder(q);
}

function plainOrder(q: BoundSelect): SortKey[] | null {
  const keys: SortKey[] = [];
  for (const k of q.order) {
    const slot = (k.expr as SlotExpr).slot;
    const target = q.targets.find((t) => t.slot === slot);
    if (target === undefined || target.expr.op !== 'slot' || target.expr.relation === 0)
      return null;
    keys.push({ ...k, expr: target.expr });
  }
  return keys;
}

/** The one min() or max() of a column that is all a query asks for. */
function minMaxOf(q: BoundSelect): BoundAggregate | null {
  const g = q.grouping;
  if (g === null || g.keys.length > 0 || g.aggregates.length !== 1) return null;
  const a = g.aggregates[0] as BoundAggregate;
  if (a.routine.name !== 'min' && a.routine.name !== 'max') return null;
  if (a.args.length !== 1 || a.filter !== null || a.order.length > 0 || a.args[0]?.op !== 'slot')
    return null;
  return a;
}

function planGrouping(p: Planner, q: BoundSelect, input: PlanNode, ordered: boolean): PlanNode {
  const g = q.grouping as NonNullable<BoundSelect['grouping']>;
  const parts = g.aggregates.map((a) => aggregatePart(p, a));
  return new AggregatePlan({
    input,
    keys: g.keys.map((k) => ({ slot: k.slot, evaluate: p.compile(k.expr) })),
    carried: g.carried.map((c) => ({ slot: c.slot, evaluate: p.compile(c.expr) })),
    parts,
    groupKey:
      g.keys.length === 0
        ? null
        : rowKey(
            p.types,
            g.keys.map((k) => k.expr.type),
          ),
    firstOnly: ordered && minMaxOf(q) !== null,
  });
}

export function aggregatePart(p: Planner, a: BoundAggregate): AggregatePart {
  const width = a.args.length;
  return {
    routine: a.routine,
    args: a.args.map((e) => p.compile(e)),
    filter: a.filter === null ? null : p.compile(a.filter),
    distinct: a.distinct
      ? rowKey(
          p.types,
          a.args.map((e) => e.type),
        )
      : null,
    order:
      a.order.length === 0
        ? null
        : {
            values: a.order.map((k) => p.compile(k.expr)),
            compare: rowComparator(
              p.types,
              a.order,
              a.order.map((_, i) => width + i),
            ),
          },
    slot: a.slot,
  };
}

/** Slots that expressions above FROM and grouping read: what a window or a locking sort must keep. */
function slotsAbove(q: BoundSelect): number[] {
  const slots = new Set<number>();
  const visit = (e: Expr): void => {
    if (e.op === 'slot') slots.add(e.slot);
    if (e.op === 'subquery') for (const o of e.query.outer) slots.add(o.slot);
    for (const c of childrenOf(e)) visit(c);
  };
  for (const t of q.targets) visit(t.expr);
  if (q.where !== null && q.locks.length > 0) visit(q.where);
  for (const w of q.windows) {
    w.partition.forEach(visit);
    w.order.forEach((k) => visit(k.expr));
    for (const f of w.functions) {
      f.args.forEach(visit);
      if (f.filter !== null) visit(f.filter);
      slots.add(f.slot);
    }
  }
  for (const l of q.locks) {
    slots.add(l.relation.rowIdSlot);
    for (const c of l.relation.used) slots.add(l.relation.slots[c] as number);
  }
  return [...slots];
}

function planValues(p: Planner, q: BoundValues): PlanNode {
  const slots = q.output.map((o) => o.slot);
  let node: PlanNode = new ValuesPlan(
    q.rows.map((r) => r.map((e) => p.compile(e))),
    slots,
  );
  if (q.order.length > 0) node = sortBy(p, node, slots, q.order, null);
  return limited(p, node, q);
}

function planSet(p: Planner, q: BoundSetOperation): PlanNode {
  const slots = q.output.map((o) => o.slot);
  const types = q.output.map((o) => o.type);
  let node: PlanNode = new SetPlan({
    operation: q.operation,
    all: q.all,
    left: planQuery(p, q.left, null),
    right: planQuery(p, q.right, null),
    leftValues: q.leftExprs.map((e) => p.compile(e)),
    rightValues: q.rightExprs.map((e) => p.compile(e)),
    output: slots,
    key: q.operation === 'union' && q.all ? null : rowKey(p.types, types),
  });
  if (q.order.length > 0) node = sortBy(p, node, slots, q.order, null);
  return limited(p, node, q);
}
