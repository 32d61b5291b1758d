/** FROM items: tables, views, sub-queries, functions, joins; what they show and how they nest. */
import { ACCESS_SHARE } from '../../catalog/relation-locks.js';
import type {
  Alias,
  JoinExpr,
  Node,
  RangeFunction,
  RangeSubselect,
  RangeVar,
  SelectStmt,
} from 'libpg-query';
import type { TableDef } from '../../catalog/definitions.js';
import { allowOnly, fields, stringOf, stringsOf, tagOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { bindEquality } from './bind-operator.js';
import { bindQuery } from './bind-query.js';
import { coerceBoolean, coerceCommon } from './coerce.js';
import type { Expr } from './expression.js';
import { hasSubquery, isVolatile } from './expression.js';
import type { BoundCte, BoundQuery, FromTree, JoinType, TableRelation } from './query.js';
import { Scope, tableItem } from './scope.js';
import type { NamespaceItem, VisibleColumn } from './scope.js';
import type { Routine } from './type-system.js';
import { BOOL, INT8, RECORD } from './type-system.js';

const RANGE_VAR = fields('catalogname schemaname relname inh relpersistence alias');
const SUBSELECT = fields('lateral subquery alias');
const FUNCTION = fields('lateral ordinality is_rowsfrom functions alias');
const JOIN = fields(
  'jointype isNatural larg rarg usingClause join_using_alias quals alias rtindex',
);

interface FromPart {
  readonly tree: FromTree;
  readonly items: NamespaceItem[];
  readonly columns: VisibleColumn[];
}

/** Binds the FROM list into the scope; null: no FROM. */
export function bindFromList(scope: Scope, nodes: readonly Node[]): FromTree | null {
  let all: FromPart | null = null;
  for (const node of nodes) {
    const part = bindFromItem(scope, node, all);
    checkAliases(scope, all?.items ?? [], part.items);
    all =
      all === null
        ? part
        : {
            tree: { kind: 'join', type: 'inner', left: all.tree, right: part.tree, on: null },
            items: [...all.items, ...part.items],
            columns: [...all.columns, ...part.columns],
          };
  }
  scope.items = [...scope.items, ...(all?.items ?? [])];
  scope.columns = [...scope.columns, ...(all?.columns ?? [])];
  return all?.tree ?? null;
}

function checkAliases(
  scope: Scope,
  left: readonly NamespaceItem[],
  right: readonly NamespaceItem[],
): void {
  for (const r of right) {
    if (
      left.some(
        (l) =>
          l.alias === r.alias &&
          l.alias !== '' &&
          (l.schema === r.schema || l.schema === null || r.schema === null),
      )
    )
      throw scope.context.error(
        '42712',
        `table name "${r.alias}" specified more than once`,
        undefined,
      );
  }
}

function bindFromItem(scope: Scope, node: Node, before: FromPart | null): FromPart {
  if ('RangeVar' in node) return bindRangeVar(scope, node.RangeVar);
  if ('RangeSubselect' in node) return bindSubselect(scope, node.RangeSubselect, before);
  if ('RangeFunction' in node) return bindFunction(scope, node.RangeFunction, before);
  if ('JoinExpr' in node) return bindJoin(scope, node.JoinExpr, before);
  throw scope.context.refuse(`${tagOf(node)} in FROM`, undefined);
}

/** The table of that name; 42P01 when there is none. */
export function findTable(scope: Scope, v: RangeVar): TableDef {
  const context = scope.context;
  const name = v.relname ?? '';
  const schema = v.schemaname ?? null;
  const table = context.catalog.findTable(schema, name, context.searchPath);
  if (table !== null) return table;
  const shown = schema === null ? name : `${schema}.${name}`;
  throw context.error('42P01', `relation "${shown}" does not exist`, v.location);
}

export function newTableRelation(scope: Scope, table: TableDef, alias: string): TableRelation {
  if (table.kind === 'table') scope.context.noteLock(table.oid, ACCESS_SHARE);
  return {
    kind: 'table',
    id: scope.context.newRelationId(),
    alias,
    table,
    slots: scope.context.newSlots(table.columns.length),
    used: new Set<number>(),
    rowIdSlot: scope.context.newSlot(),
    needsRowId: false,
  };
}

function bindRangeVar(scope: Scope, v: RangeVar): FromPart {
  const context = scope.context;
  allowOnly(v, RANGE_VAR, 'table', context.at(v.location));
  const names = stringsOf(v.alias?.colnames);
  if (v.schemaname === undefined) {
    const cte = scope.findCte(v.relname ?? '');
    if (cte !== null) return bindCteRef(scope, cte, v.alias?.aliasname ?? cte.name, names);
  }
  const table = findTable(scope, v);
  const alias = v.alias?.aliasname ?? table.name;
  if (table.kind === 'view' && table.view !== null) {
    const view = table.view;
    context.noteLock(table.oid, ACCESS_SHARE);
    const query = context.within(view.searchPath, () =>
      bindQuery(new Scope(context, null), view.query, null),
    );
    const columns = table.columns.map((c) => c.name);
    return derived(
      scope,
      query,
      alias,
      table.schema,
      [...names, ...columns.slice(names.length)],
      false,
    );
  }
  const relation = newTableRelation(scope, table, alias);
  const visible = table.columns.filter((c) => !c.dropped).length;
  tooMany(scope, alias, visible, names.length, v.location);
  const item = tableItem(relation, alias, v.alias === undefined ? table.schema : null, names);
  return { tree: { kind: 'relation', relation }, items: [item], columns: [...item.columns] };
}

function tooMany(
  scope: Scope,
  alias: string,
  have: number,
  named: number,
  location?: number,
): void {
  if (named <= have) return;
  throw scope.context.error(
    '42P10',
    `table "${alias}" has ${have} columns available but ${named} columns specified`,
    location,
  );
}

function bindCteRef(
  scope: Scope,
  cte: BoundCte,
  alias: string,
  names: readonly string[],
): FromPart {
  const id = scope.context.newRelationId();
  const slots = scope.context.newSlots(cte.columns.length);
  const columns = cte.columns.map((c, i) =>
    plainColumn(names[i] ?? c.name, c.type, c.typmod, slots[i] as number, id),
  );
  const item: NamespaceItem = { alias, schema: null, relation: null, columns, scalar: false };
  return {
    tree: { kind: 'relation', relation: { kind: 'cte', id, alias, cte, slots } },
    items: [item],
    columns: [...columns],
  };
}

function plainColumn(
  name: string,
  type: number,
  typmod: number,
  slot: number,
  relation: number,
): VisibleColumn {
  return {
    name,
    table: null,
    column: -1,
    expr: { op: 'slot', type, typmod, slot, relation, name, location: -1 },
  };
}

function lateralScope(scope: Scope, before: FromPart | null, lateral: boolean): Scope {
  const inner = new Scope(scope.context, scope);
  if (!lateral) return inner;
  const seen = new Scope(scope.context, scope);
  seen.items = before?.items ?? [];
  seen.columns = before?.columns ?? [];
  return new Scope(scope.context, seen);
}

function bindSubselect(scope: Scope, s: RangeSubselect, before: FromPart | null): FromPart {
  allowOnly(s, SUBSELECT, 'sub-select', undefined);
  const lateral = s.lateral === true;
  const query = bindQuery(lateralScope(scope, before, lateral), s.subquery as Node, null);
  const alias: Alias = s.alias ?? {};
  const names = stringsOf(alias.colnames);
  tooMany(scope, alias.aliasname ?? '', query.output.length, names.length);
  return derived(scope, query, alias.aliasname ?? '', null, names, lateral);
}

/** A query as a relation; a plain SELECT over joins melts into the query around it. */
function derived(
  scope: Scope,
  query: BoundQuery,
  alias: string,
  schema: string | null,
  names: readonly string[],
  lateral: boolean,
): FromPart {
  const id = scope.context.newRelationId();
  const melted = lateral ? null : meltable(query);
  const columns: VisibleColumn[] = query.output.map((c, i) => {
    const name = names[i] ?? c.name;
    const target = melted?.[i];
    if (target !== undefined) return { name, table: null, column: -1, expr: target };
    return plainColumn(name, c.type, c.typmod, c.slot, id);
  });
  const item: NamespaceItem = { alias, schema, relation: null, columns, scalar: false };
  let tree: FromTree;
  if (melted !== null && query.kind === 'select' && query.from !== null) {
    tree =
      query.where === null ? query.from : { kind: 'filter', input: query.from, where: query.where };
  } else {
    tree = { kind: 'relation', relation: { kind: 'query', id, alias, query, lateral } };
  }
  return { tree, items: [item], columns: [...columns] };
}

/** Output expressions of a query that is only joins, conditions and plain columns; null: it stays a unit. */
function meltable(q: BoundQuery): Expr[] | null {
  if (q.kind !== 'select' || q.from === null || q.ctes.length > 0) return null;
  if (q.grouping !== null || q.having !== null || q.windows.length > 0) return null;
  if (q.distinctOn !== null || q.order.length > 0 || q.limit !== null || q.offset !== null)
    return null;
  if (q.locks.length > 0 || q.outer.size > 0 || q.targets.length !== q.output.length) return null;
  if (q.where !== null && (hasSubquery(q.where) || isVolatile(q.where))) return null;
  if (q.targets.some((t) => t.expr.op !== 'slot')) return null;
  return q.targets.map((t) => t.expr);
}

function bindFunction(scope: Scope, f: RangeFunction, before: FromPart | null): FromPart {
  const context = scope.context;
  allowOnly(f, FUNCTION, 'function in FROM', undefined);
  // Functions may always look at what stands to their left.
  const inner = lateralScope(scope, before, true);
  inner.clause = 'from';
  const id = context.newRelationId();
  const alias = f.alias?.aliasname;
  const names = stringsOf(f.alias?.colnames);
  const columns: VisibleColumn[] = [];
  const functions: { expr: Expr; routine: Routine | null; slots: readonly number[] }[] = [];
  let first = '';
  const single = functionNodes(f).length === 1;
  for (const node of functionNodes(f)) {
    const expr = bindExpr(inner, node as Node);
    const routine = expr.op === 'call' && expr.routine.setReturning ? expr.routine : null;
    const name =
      node !== undefined && 'FuncCall' in node
        ? stringOf(node.FuncCall.funcname?.at(-1))
        : functionName(node);
    if (first === '') first = name;
    const made = expr.op === 'call' ? expr.routine.columns : null;
    if (made === null && expr.type === RECORD)
      throw context.error(
        '42601',
        'a column definition list is required for functions returning "record"',
        undefined,
      );
    const list = made ?? [
      {
        name: single && alias !== undefined ? alias : name,
        typeOid: expr.type,
      },
    ];
    const slots = context.newSlots(list.length);
    list.forEach((c, i) =>
      columns.push(
        plainColumn(names[columns.length] ?? c.name, c.typeOid, -1, slots[i] as number, id),
      ),
    );
    functions.push({ expr, routine, slots });
  }
  const ordinalitySlot = f.ordinality === true ? context.newSlot() : -1;
  if (ordinalitySlot >= 0)
    columns.push(plainColumn(names[columns.length] ?? 'ordinality', INT8, -1, ordinalitySlot, id));
  tooMany(scope, alias ?? first, columns.length, names.length);
  const relation = {
    kind: 'function' as const,
    id,
    alias: alias ?? first,
    functions,
    ordinalitySlot,
    lateral: inner.outer.size > 0,
  };
  const item: NamespaceItem = {
    alias: alias ?? first,
    schema: null,
    relation,
    columns,
    scalar: columns.length === 1,
  };
  return { tree: { kind: 'relation', relation }, items: [item], columns: [...columns] };
}

/** The calls of a FROM item; unnest of several arrays is several calls in lockstep. */
function functionNodes(f: RangeFunction): Node[] {
  const all: Node[] = [];
  for (const entry of f.functions ?? []) {
    const node = 'List' in entry ? (entry.List.items ?? [])[0] : entry;
    if (node === undefined) continue;
    const args = 'FuncCall' in node ? (node.FuncCall.args ?? []) : [];
    if (
      'FuncCall' in node &&
      args.length > 1 &&
      stringOf(node.FuncCall.funcname?.at(-1)) === 'unnest'
    )
      for (const arg of args) all.push({ FuncCall: { ...node.FuncCall, args: [arg] } });
    else all.push(node);
  }
  return all;
}

function functionName(node: Node | undefined): string {
  if (node !== undefined && 'SQLValueFunction' in node)
    return (node.SQLValueFunction.op ?? '').replace('SVFOP_', '').toLowerCase();
  if (node !== undefined && 'CoalesceExpr' in node) return 'coalesce';
  return 'function';
}

const JOIN_TYPES: Record<string, JoinType> = {
  JOIN_INNER: 'inner',
  JOIN_LEFT: 'left',
  JOIN_RIGHT: 'right',
  JOIN_FULL: 'full',
};

function bindJoin(scope: Scope, j: JoinExpr, before: FromPart | null): FromPart {
  const context = scope.context;
  allowOnly(j, JOIN, 'JOIN', undefined);
  const type = JOIN_TYPES[j.jointype ?? 'JOIN_INNER'];
  if (type === undefined) throw context.refuse(`join of type ${j.jointype}`, undefined);
  if (j.join_using_alias !== undefined) throw context.refuse('alias of USING', undefined);
  const left = bindFromItem(scope, j.larg as Node, before);
  const sofar: FromPart = {
    tree: left.tree,
    items: [...(before?.items ?? []), ...left.items],
    columns: [...(before?.columns ?? []), ...left.columns],
  };
  const right = bindFromItem(scope, j.rarg as Node, sofar);
  checkAliases(scope, left.items, right.items);
  const inner = new Scope(context, scope);
  inner.clause = 'on';
  inner.items = [...left.items, ...right.items];
  inner.columns = [...left.columns, ...right.columns];
  let names = stringsOf(j.usingClause);
  if (j.isNatural === true)
    names = left.columns.map((c) => c.name).filter((n) => right.columns.some((r) => r.name === n));
  const merged = mergeUsing(inner, left, right, names, type);
  let on: Expr | null = merged.on;
  if (j.quals !== undefined) on = coerceBoolean(context, bindExpr(inner, j.quals), 'JOIN/ON');
  for (const o of inner.outer) scope.outer.add(o);
  const tree: FromTree = { kind: 'join', type, left: left.tree, right: right.tree, on };
  if (j.alias === undefined) return { tree, items: inner.items, columns: merged.columns };
  const aliasNames = stringsOf(j.alias.colnames);
  const columns = merged.columns.map((c, i) => ({ ...c, name: aliasNames[i] ?? c.name }));
  const item: NamespaceItem = {
    alias: j.alias.aliasname ?? '',
    schema: null,
    relation: null,
    columns,
    scalar: false,
  };
  return { tree, items: [item], columns: [...columns] };
}

/** USING: each named column once, first; left's value, or whichever side has one in a FULL join. */
function mergeUsing(
  inner: Scope,
  left: FromPart,
  right: FromPart,
  names: readonly string[],
  type: JoinType,
): { on: Expr | null; columns: VisibleColumn[] } {
  const context = inner.context;
  const conditions: Expr[] = [];
  const merged: VisibleColumn[] = [];
  const find = (part: FromPart, name: string, side: string): VisibleColumn => {
    const matches = part.columns.filter((c) => c.name === name);
    if (matches.length > 1)
      throw context.error(
        '42702',
        `common column name "${name}" appears more than once in ${side} table`,
        undefined,
      );
    if (matches[0] === undefined)
      throw context.error(
        '42703',
        `column "${name}" specified in USING clause does not exist in ${side} table`,
        undefined,
      );
    return matches[0];
  };
  for (const name of names) {
    const l = find(left, name, 'left');
    const r = find(right, name, 'right');
    const le = inner.use(inner, l, undefined);
    const re = inner.use(inner, r, undefined);
    conditions.push(bindEquality(inner, le, re, undefined));
    if (type === 'full') {
      const common = coerceCommon(context, [le, re], 'JOIN/USING');
      const expr: Expr = { op: 'coalesce', type: common.type, typmod: -1, args: common.list };
      merged.push({ name, table: null, column: -1, expr });
    } else {
      merged.push(type === 'right' ? r : l);
    }
  }
  const rest = [...left.columns, ...right.columns].filter((c) => !names.includes(c.name));
  const on: Expr | null =
    conditions.length === 0
      ? null
      : conditions.length === 1
        ? (conditions[0] as Expr)
        : { op: 'and', type: BOOL, typmod: -1, args: conditions };
  return {
    on,
    columns: names.length === 0 ? [...left.columns, ...right.columns] : [...merged, ...rest],
  };
}

export function isSelect(node: Node): node is { SelectStmt: SelectStmt } {
  return 'SelectStmt' in node;
}
