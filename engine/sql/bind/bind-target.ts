/** Target lists (SELECT and RETURNING): stars, names, output slots. */
import type { ColumnRef, Node } from 'libpg-query';
import { allowOnly, fields, stringOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { finishTarget } from './bind-query.js';
import { tryCoerce, typeOf } from './coerce.js';
import { columnName } from './column-name.js';
import type { Expr, SlotExpr } from './expression.js';
import { rewrite, some } from './expression.js';
import type { OutputColumn, Relation } from './query.js';
import type { Scope, VisibleColumn } from './scope.js';
import { UNKNOWN } from './type-system.js';

const TARGET = fields('name val');

export interface Target {
  readonly name: string;
  expr: Expr;
  readonly node: Node | null;
}

export function bindTargets(
  scope: Scope,
  nodes: readonly Node[],
  wanted: readonly (number | undefined)[] | null,
): Target[] {
  const all: Target[] = [];
  for (const node of nodes) {
    if (!('ResTarget' in node)) throw scope.context.refuse('target', undefined);
    const t = node.ResTarget;
    allowOnly(t, TARGET, 'target', scope.context.at(t.location));
    const value = t.val as Node;
    if ('ColumnRef' in value && value.ColumnRef.fields?.some((f) => 'A_Star' in f) === true) {
      for (const c of expandStar(scope, value.ColumnRef))
        all.push({ name: c.name, expr: c.expr, node: null });
      continue;
    }
    let expr = bindExpr(scope, value);
    const want = wanted?.[all.length];
    if (want !== undefined && typeOf(scope.context, expr) === UNKNOWN)
      expr = tryCoerce(scope.context, expr, want, -1, 'assignment') ?? expr;
    all.push({ name: t.name ?? columnName(value), expr: finishTarget(scope, expr), node: value });
  }
  return all;
}

function expandStar(scope: Scope, ref: ColumnRef): { name: string; expr: Expr }[] {
  const names = (ref.fields ?? []).slice(0, -1).map(stringOf);
  const take = (owner: Scope, columns: readonly VisibleColumn[]): { name: string; expr: Expr }[] =>
    columns.map((c) => ({ name: c.name, expr: scope.use(owner, c, undefined) }));
  if (names.length === 0) {
    if (scope.columns.length === 0 && scope.items.length === 0)
      throw scope.context.error(
        '42601',
        'SELECT * with no tables specified is not valid',
        ref.location,
      );
    return take(scope, scope.columns);
  }
  const alias = names[names.length - 1] as string;
  const schema = names.length > 1 ? (names[names.length - 2] as string) : null;
  const found = scope.findItem(schema, alias, ref.location);
  if (found === null)
    throw scope.context.error(
      '42P01',
      `missing FROM-clause entry for table "${alias}"`,
      ref.location,
    );
  return take(found.scope, found.item.columns);
}

/** Plain columns keep their slot; everything else is computed into a new one. */
export function slotOf(scope: Scope, e: Expr): number {
  return e.op === 'slot' ? e.slot : scope.context.newSlot();
}

export function describeTarget(scope: Scope, name: string, expr: Expr, slot: number): OutputColumn {
  const type = typeOf(scope.context, expr);
  let tableOid = 0;
  let columnNumber = 0;
  if (expr.op === 'slot') {
    for (const item of scope.items) {
      const c = item.columns.find((x) => x.expr.op === 'slot' && x.expr.slot === expr.slot);
      if (c?.table === undefined || c.table === null) continue;
      tableOid = c.table.table.oid;
      columnNumber = c.column + 1;
      break;
    }
  }
  return {
    name,
    type,
    typmod: expr.op === 'param' ? -1 : expr.typmod,
    slot,
    tableOid,
    columnNumber,
  };
}

/**
 * Set-returning functions in a target list become one lateral relation of them all; null: there are none. Their calls
 * in `targets` are replaced by its slots.
 */
export function extractSetReturning(scope: Scope, targets: Target[]): Relation | null {
  const functions: { expr: Expr; routine: (Expr & { op: 'call' })['routine']; slots: number[] }[] =
    [];
  const id = scope.context.newRelationId();
  const isSet = (e: Expr): e is Expr & { op: 'call' } => e.op === 'call' && e.routine.setReturning;
  for (const target of targets) {
    if (!some(target.expr, isSet)) continue;
    target.expr = rewrite(target.expr, (e) => {
      if (!isSet(e)) return null;
      if (e.args.some((a) => some(a, isSet)))
        throw scope.context.refuse('nested set-returning functions', e.location);
      if (e.routine.columns !== null && e.routine.columns.length !== 1)
        throw scope.context.refuse('set of rows in a target list', e.location);
      const slot = scope.context.newSlot();
      functions.push({ expr: e, routine: e.routine, slots: [slot] });
      return {
        op: 'slot',
        type: e.type,
        typmod: e.typmod,
        slot,
        relation: id,
        name: e.routine.name,
        location: e.location,
      } satisfies SlotExpr;
    });
  }
  if (functions.length === 0) return null;
  return { kind: 'function', id, alias: '', functions, ordinalitySlot: -1, lateral: true };
}
