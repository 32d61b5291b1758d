/**
 * The FROM tree and WHERE to joined scans.
 *
 * Inner joins are flattened into units and conditions, ordered greedily: the unit with the fewest rows first, then the
 * cheapest to add (by index from what is there, by hash, or by loop). Outer joins stay as units, their sides planned in
 * place; conditions go down to where they may.
 */
import { SqlError, notSupported } from '../../sql-error.js';
import type { Expr } from '../bind/expression.js';
import { conjuncts, hasSubquery } from '../bind/expression.js';
import type { FromTree, JoinType, Relation, SortKey, TableRelation } from '../bind/query.js';
import { compileAnd } from '../execute/evaluate.js';
import type { Evaluator, Frame, PlanNode } from '../execute/frame.js';
import { HashJoinPlan, NestedLoopPlan } from '../execute/join.js';
import { CteScanPlan, WorkScanPlan } from '../execute/keep.js';
import { hashCompatible, hashKeyOf } from '../execute/keys.js';
import { FunctionPlan, ScanPlan, VirtualPlan, scanColumns } from '../execute/scan.js';
import type { FunctionPart } from '../execute/scan.js';
import { FilterPlan } from '../execute/shape.js';
import type { Value } from '../../types/value.js';
import { chooseAccess, conditionsOf } from './access.js';
import { planQuery } from './plan-query.js';
import { relationsOf, treeRelations } from './planner.js';
import type { Planner } from './planner.js';

interface Unit {
  readonly relations: ReadonlySet<number>;
  /** Relations that must be there first (LATERAL). */
  readonly needs: ReadonlySet<number>;
  readonly slots: readonly number[];
  /** Plans it with these conditions, given what is already joined. */
  plan(
    where: readonly Expr[],
    present: ReadonlySet<number>,
    order: readonly SortKey[] | null,
  ): Planned;
}

export interface Planned {
  readonly node: PlanNode;
  /** Rows come in the order that was asked for. */
  readonly ordered: boolean;
}

/** Plans FROM with WHERE; `own`: ids of this level's relations (others are outer: always ready). */
export function planFrom(
  p: Planner,
  tree: FromTree,
  where: Expr | null,
  order: readonly SortKey[] | null,
): Planned {
  const own = treeRelations(tree);
  return planTree(p, tree, conjuncts(where), own, order, new Set());
}

function planTree(
  p: Planner,
  tree: FromTree,
  where: readonly Expr[],
  own: ReadonlySet<number>,
  order: readonly SortKey[] | null,
  before: ReadonlySet<number>,
): Planned {
  const units: Unit[] = [];
  const conditions = [...where];
  flatten(p, tree, units, conditions, own);
  return joinUnits(p, units, conditions, own, order, before);
}

function flatten(
  p: Planner,
  tree: FromTree,
  units: Unit[],
  conditions: Expr[],
  own: ReadonlySet<number>,
): void {
  if (tree.kind === 'filter') {
    conjuncts(tree.where, conditions);
    flatten(p, tree.input, units, conditions, own);
  } else if (tree.kind === 'join' && tree.type === 'inner') {
    flatten(p, tree.left, units, conditions, own);
    flatten(p, tree.right, units, conditions, own);
    conjuncts(tree.on, conditions);
  } else if (tree.kind === 'join') {
    units.push(outerUnit(p, tree, own));
  } else {
    units.push(relationUnit(p, tree.relation, own));
  }
}

function ready(e: Expr, present: ReadonlySet<number>, own: ReadonlySet<number>): boolean {
  for (const id of relationsOf(e)) if (own.has(id) && !present.has(id)) return false;
  return true;
}

function joinUnits(
  p: Planner,
  units: readonly Unit[],
  conditions: readonly Expr[],
  own: ReadonlySet<number>,
  order: readonly SortKey[] | null,
  before: ReadonlySet<number>,
): Planned {
  const present = new Set(before);
  const left = [...units];
  let rest = [...conditions];
  let joined: Planned | null = null;
  let slots: number[] = [];
  while (left.length > 0) {
    let best: { unit: Unit; planned: Planned; cost: number; used: Expr[] } | null = null;
    for (const unit of left) {
      if ([...unit.needs].some((n) => own.has(n) && !present.has(n))) continue;
      const after = new Set([...present, ...unit.relations]);
      const used = rest.filter((e) => ready(e, after, own));
      const candidate: Planned =
        joined === null
          ? unit.plan(used, present, order)
          : joinOne(p, joined, slots, unit, used, present, own);
      const cost: number =
        candidate.node.cost +
        candidate.node.rows * 0.1 +
        (joined !== null && used.length === 0 ? 1e6 : 0);
      if (best === null || cost < best.cost) best = { unit, planned: candidate, cost, used };
      if (left.length > 8) break;
    }
    if (best === null) throw new SqlError('XX000', 'no order of lateral joins');
    joined = best.planned;
    slots = [...slots, ...best.unit.slots];
    for (const id of best.unit.relations) present.add(id);
    const { used, unit } = best;
    rest = rest.filter((e) => !used.includes(e));
    left.splice(left.indexOf(unit), 1);
  }
  if (joined === null) throw new SqlError('XX000', 'an empty FROM');
  return rest.length === 0
    ? joined
    : { node: new FilterPlan(joined.node, compileAll(p, rest)), ordered: joined.ordered };
}

export function compileAll(p: Planner, list: readonly Expr[]): Evaluator {
  return compileAnd(list.map((e) => p.compile(e)));
}

/** Adds one unit to what is joined: by loop with the conditions pushed into it, or by hash. */
function joinOne(
  p: Planner,
  joined: Planned,
  slots: readonly number[],
  unit: Unit,
  conditions: readonly Expr[],
  present: ReadonlySet<number>,
  own: ReadonlySet<number>,
): Planned {
  const loop = unit.plan(conditions, present, null);
  const loopNode = new NestedLoopPlan(
    'inner',
    joined.node,
    loop.node,
    null,
    unit.slots,
    Math.max(1, joined.node.rows * loop.node.rows),
  );
  if (unit.needs.size > 0) return { node: loopNode, ordered: joined.ordered };
  const keys = hashKeys(p, conditions, unit, present, own);
  if (keys === null) return { node: loopNode, ordered: joined.ordered };
  const local = conditions.filter((e) =>
    [...relationsOf(e)].every((id) => unit.relations.has(id) || !own.has(id)),
  );
  const inner = unit.plan(local, NO_RELATIONS, null).node;
  const extra = conditions.filter((e) => !local.includes(e) && !keys.used.includes(e));
  const hash = new HashJoinPlan({
    type: 'inner',
    outer: joined.node,
    inner,
    outerKey: keys.outer,
    innerKey: keys.inner,
    on: extra.length === 0 ? null : compileAll(p, extra),
    outerSlots: slots,
    innerSlots: unit.slots,
    rows: Math.max(joined.node.rows, loopNode.rows * 0.1),
  });
  return hash.cost < loopNode.cost
    ? { node: hash, ordered: joined.ordered }
    : { node: loopNode, ordered: joined.ordered };
}

const NO_RELATIONS: ReadonlySet<number> = new Set();

interface HashKeys {
  readonly outer: (f: Frame) => string | null;
  readonly inner: (f: Frame) => string | null;
  readonly used: readonly Expr[];
}

/** Equalities between the unit and what is present, as hash keys; null: none. */
function hashKeys(
  p: Planner,
  conditions: readonly Expr[],
  unit: { readonly relations: ReadonlySet<number> },
  present: ReadonlySet<number>,
  own: ReadonlySet<number>,
): HashKeys | null {
  const outer: Expr[] = [];
  const inner: Expr[] = [];
  const used: Expr[] = [];
  const side = (e: Expr): 'unit' | 'present' | 'mixed' => {
    const ids = [...relationsOf(e)].filter((id) => own.has(id));
    if (ids.length === 0) return 'mixed';
    if (ids.every((id) => unit.relations.has(id))) return 'unit';
    return ids.every((id) => present.has(id)) ? 'present' : 'mixed';
  };
  for (const e of conditions) {
    if (e.op !== 'call' || e.operator !== '=' || e.args.length !== 2 || hasSubquery(e)) continue;
    const [a, b] = e.args as [Expr, Expr];
    if (!hashCompatible(p.types, a.type, b.type)) continue;
    const sa = side(a);
    const sb = side(b);
    if (sa === 'present' && sb === 'unit') {
      outer.push(a);
      inner.push(b);
    } else if (sa === 'unit' && sb === 'present') {
      outer.push(b);
      inner.push(a);
    } else continue;
    used.push(e);
  }
  if (used.length === 0) return null;
  return { outer: keyMaker(p, outer), inner: keyMaker(p, inner), used };
}

/** The row's key as text; null when a part is NULL (equal to nothing). */
function keyMaker(p: Planner, list: readonly Expr[]): (f: Frame) => string | null {
  const parts = list.map((e) => ({ evaluate: p.compile(e), key: hashKeyOf(p.types, e.type) }));
  return (f) => {
    let text = '';
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as (typeof parts)[number];
      const v: Value = part.evaluate(f);
      if (v === null) return null;
      const k = String(part.key(v));
      text += `${k.length}:${k};`;
    }
    return text;
  };
}

function relationSlots(r: Relation): number[] {
  switch (r.kind) {
    case 'table': {
      const c = scanColumns(r);
      return c.rowIdSlot >= 0 ? [...c.slots, c.rowIdSlot] : [...c.slots];
    }
    case 'query':
      return r.query.output.map((o) => o.slot);
    case 'function': {
      const slots = r.functions.flatMap((f) => f.slots);
      return r.ordinalitySlot >= 0 ? [...slots, r.ordinalitySlot] : slots;
    }
    case 'cte':
      return [...r.slots];
  }
}

function relationUnit(p: Planner, r: Relation, own: ReadonlySet<number>): Unit {
  const needs = new Set<number>();
  if (r.kind === 'query' && r.lateral) for (const o of r.query.outer) needs.add(o.relation);
  if (r.kind === 'function')
    for (const f of r.functions) for (const id of relationsOf(f.expr)) needs.add(id);
  return {
    relations: new Set([r.id]),
    needs,
    slots: relationSlots(r),
    plan: (where, present, order) => planRelation(p, r, where, present, own, order),
  };
}

function planRelation(
  p: Planner,
  r: Relation,
  where: readonly Expr[],
  present: ReadonlySet<number>,
  own: ReadonlySet<number>,
  order: readonly SortKey[] | null,
): Planned {
  const filter = where.length === 0 ? null : compileAll(p, where);
  switch (r.kind) {
    case 'table':
      if (r.table.kind !== 'table') return { node: new VirtualPlan(r, filter), ordered: false };
      return planTable(p, r, where, filter, present, own, order);
    case 'query': {
      const node = planQuery(p, r.query, null);
      return { node: filter === null ? node : new FilterPlan(node, filter), ordered: false };
    }
    case 'function':
      return {
        node: new FunctionPlan(
          r.functions.map((f) => functionPart(p, f)),
          r.ordinalitySlot,
          filter,
          r.alias,
        ),
        ordered: false,
      };
    case 'cte': {
      if (p.working.has(r.cte.id))
        return { node: new WorkScanPlan(r.cte.id, r.slots, filter), ordered: false };
      const made = p.ctes.get(r.cte.id);
      if (made === undefined)
        throw new SqlError('XX000', `WITH query "${r.cte.name}" is not planned`);
      const node = new CteScanPlan(
        r.cte.id,
        r.cte.name,
        made.plan?.rows ?? 100,
        () => made.plan as PlanNode,
        () => made.slots,
        r.slots,
        filter,
      );
      return { node, ordered: false };
    }
  }
}

function functionPart(
  p: Planner,
  f: {
    readonly expr: Expr;
    readonly routine: FunctionRoutine | null;
    readonly slots: readonly number[];
  },
): FunctionPart {
  const { expr, routine } = f;
  if (routine !== null && expr.op === 'call') {
    return {
      set: true,
      args: expr.args.map((a) => p.compile(a)),
      call: routine.call as unknown as FunctionPart['call'],
      needsContext: routine.needsContext,
      strict: routine.strict,
      slots: f.slots,
    };
  }
  return {
    set: false,
    args: [p.compile(expr)],
    call: () => null,
    needsContext: false,
    strict: false,
    slots: f.slots,
  };
}
type FunctionRoutine = (Expr & { op: 'call' })['routine'];

function planTable(
  p: Planner,
  r: TableRelation,
  where: readonly Expr[],
  filter: Evaluator | null,
  present: ReadonlySet<number>,
  own: ReadonlySet<number>,
  order: readonly SortKey[] | null,
): Planned {
  const conditions = conditionsOf(
    r,
    where,
    (e) => !relationsOf(e).has(r.id) && ready(e, present, own),
  );
  const handle = r.table.handle;
  const tableRows = handle === null ? 0 : p.store.estimateRows(handle);
  if (handle !== null) p.tables.set(handle, tableRows);
  const access = chooseAccess(p.types, r, conditions, tableRows, order, (e) => p.compile(e));
  const node = new ScanPlan({
    relation: r,
    index: access.index,
    probe: access.probe,
    reverse: access.reverse,
    filter,
    rows: access.rows,
    cost: access.cost,
    text: filter === null ? access.text : [...access.text, 'Filter: (...)'],
  });
  return { node, ordered: access.ordered };
}

type OuterTree = FromTree & { kind: 'join' };

function outerUnit(p: Planner, tree: OuterTree, own: ReadonlySet<number>): Unit {
  const swapped: OuterTree =
    tree.type === 'right' ? { ...tree, type: 'left', left: tree.right, right: tree.left } : tree;
  const leftIds = treeRelations(swapped.left);
  const rightIds = treeRelations(swapped.right);
  const all = new Set([...leftIds, ...rightIds]);
  const leftSlots = treeSlots(swapped.left);
  const rightSlots = treeSlots(swapped.right);
  return {
    relations: all,
    needs: outerNeeds(tree, all),
    slots: [...leftSlots, ...rightSlots],
    plan: (where, present) => {
      // Conditions on the kept side alone may go down; the rest are asked of the joined row.
      const down =
        swapped.type === 'left'
          ? where.filter(
              (e) => [...relationsOf(e)].every((id) => !rightIds.has(id)) && !hasSubquery(e),
            )
          : [];
      const above = where.filter((e) => !down.includes(e));
      const left = planTree(p, swapped.left, down, own, null, present);
      const node = planOuter(
        p,
        swapped.type,
        left.node,
        swapped,
        { leftIds, rightIds, leftSlots, rightSlots },
        own,
        present,
      );
      return {
        node: above.length === 0 ? node : new FilterPlan(node, compileAll(p, above)),
        ordered: false,
      };
    },
  };
}

function outerNeeds(
  tree: FromTree,
  inside: ReadonlySet<number>,
  into: Set<number> = new Set(),
): Set<number> {
  if (tree.kind === 'relation') {
    const r = tree.relation;
    if (r.kind === 'query' && r.lateral)
      for (const o of r.query.outer) if (!inside.has(o.relation)) into.add(o.relation);
    if (r.kind === 'function')
      for (const f of r.functions)
        for (const id of relationsOf(f.expr)) if (!inside.has(id)) into.add(id);
  } else if (tree.kind === 'filter') outerNeeds(tree.input, inside, into);
  else {
    outerNeeds(tree.left, inside, into);
    outerNeeds(tree.right, inside, into);
  }
  return into;
}

function treeSlots(tree: FromTree): number[] {
  if (tree.kind === 'relation') return relationSlots(tree.relation);
  if (tree.kind === 'filter') return treeSlots(tree.input);
  return [...treeSlots(tree.left), ...treeSlots(tree.right)];
}

interface Sides {
  readonly leftIds: ReadonlySet<number>;
  readonly rightIds: ReadonlySet<number>;
  readonly leftSlots: readonly number[];
  readonly rightSlots: readonly number[];
}

function planOuter(
  p: Planner,
  type: JoinType,
  left: PlanNode,
  tree: OuterTree,
  sides: Sides,
  own: ReadonlySet<number>,
  present: ReadonlySet<number>,
): PlanNode {
  const on = conjuncts(tree.on);
  const known = new Set([...present, ...sides.leftIds]);
  const keys = hashKeys(p, on, { relations: sides.rightIds }, sides.leftIds, own);
  if (type === 'full' && keys === null) {
    if (on.length > 0) throw notSupported('FULL JOIN without an equality of both sides');
  }
  const onlyRight = on.filter((e) => [...relationsOf(e)].every((id) => !sides.leftIds.has(id)));
  const lateral = outerNeeds(tree.right, sides.rightIds).size > 0;
  const rows = (right: PlanNode): number => Math.max(left.rows, left.rows * right.rows * 0.1);
  let loop: NestedLoopPlan | null = null;
  if (type === 'left') {
    const inner = planTree(p, tree.right, on, own, null, known).node;
    loop = new NestedLoopPlan(
      'left',
      left,
      inner,
      null,
      sides.rightSlots,
      Math.max(left.rows, left.rows * inner.rows),
    );
    if (keys === null || lateral) return loop;
  }
  const pushed = type === 'left' ? onlyRight : [];
  const right = planTree(p, tree.right, pushed, own, null, present).node;
  const extra = on.filter((e) => !pushed.includes(e) && keys?.used.includes(e) !== true);
  const hash = new HashJoinPlan({
    type,
    outer: left,
    inner: right,
    outerKey: keys?.outer ?? (() => ''),
    innerKey: keys?.inner ?? (() => ''),
    on: extra.length === 0 ? null : compileAll(p, extra),
    outerSlots: sides.leftSlots,
    innerSlots: sides.rightSlots,
    rows: rows(right),
  });
  return loop !== null && loop.cost < hash.cost ? loop : hash;
}
