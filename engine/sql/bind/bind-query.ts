/** A query: SELECT, VALUES, set operations, data-modifying WITH; its WITH list and what all kinds share. */
import type { CommonTableExpr, Node, SelectStmt, WithClause } from 'libpg-query';
import { allowOnly, fields, stringsOf, tagOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { bindSelectBody } from './bind-select.js';
import { makeSortKey, sortByOf } from './bind-sort.js';
import { bindWrite } from './bind-write.js';
import { coerce, coerceCommon, resolveUnknown, tryCoerce, typeOf } from './coerce.js';
import type { Expr } from './expression.js';
import type {
  BoundCte,
  BoundQuery,
  BoundSetOperation,
  BoundValues,
  OutputColumn,
  SortKey,
} from './query.js';
import { Scope } from './scope.js';
import { INT8, UNKNOWN } from './type-system.js';

const SELECT = fields(
  'distinctClause targetList fromClause whereClause groupClause havingClause windowClause valuesLists sortClause limitOffset limitCount limitOption lockingClause withClause op all larg rarg',
);
const CTE = fields('ctename aliascolnames ctematerialized ctequery');

/**
 * Binds a query in its own scope. `wanted`: types of the table's columns that an INSERT's source fills; untyped
 * literals and parameters become those.
 */
export function bindQuery(
  scope: Scope,
  node: Node,
  wanted: readonly (number | undefined)[] | null,
): BoundQuery {
  if ('SelectStmt' in node) return bindSelectStmt(scope, node.SelectStmt, wanted);
  if ('InsertStmt' in node || 'UpdateStmt' in node || 'DeleteStmt' in node)
    return bindWrite(scope, node);
  throw scope.context.refuse(`${tagOf(node)} as a query`, undefined);
}

export function bindSelectStmt(
  scope: Scope,
  s: SelectStmt,
  wanted: readonly (number | undefined)[] | null,
): BoundQuery {
  const context = scope.context;
  if (s.intoClause !== undefined) throw context.refuse('SELECT INTO here', undefined);
  allowOnly(s, SELECT, 'SELECT', undefined);
  if (s.limitOption === 'LIMIT_OPTION_WITH_TIES' && (s.sortClause?.length ?? 0) === 0)
    throw context.error(
      '42601',
      'WITH TIES cannot be specified without ORDER BY clause',
      undefined,
    );
  const ctes = bindWith(scope, s.withClause);
  if (s.op !== undefined && s.op !== 'SETOP_NONE') return bindSetOperation(scope, s, ctes);
  if ((s.valuesLists?.length ?? 0) > 0) return bindValues(scope, s, ctes, wanted);
  return bindSelectBody(scope, s, ctes, wanted);
}

export function bindWith(scope: Scope, w: WithClause | undefined): BoundCte[] {
  const all: BoundCte[] = [];
  for (const node of w?.ctes ?? []) {
    if (!('CommonTableExpr' in node)) throw scope.context.refuse('WITH item', w?.location);
    const c = node.CommonTableExpr;
    allowOnly(c, CTE, 'WITH', scope.context.at(c.location));
    const name = c.ctename ?? '';
    if (scope.ctes.has(name))
      throw scope.context.error(
        '42712',
        `WITH query name "${name}" specified more than once`,
        c.location,
      );
    const cte =
      w?.recursive === true && isSelfUnion(c) ? bindRecursive(scope, c) : bindPlainCte(scope, c);
    scope.ctes.set(name, cte);
    all.push(cte);
  }
  return all;
}

function cteColumns(
  scope: Scope,
  c: CommonTableExpr,
  output: readonly OutputColumn[],
): BoundCte['columns'] {
  const names = stringsOf(c.aliascolnames);
  if (names.length > output.length) {
    throw scope.context.error(
      '42P10',
      `WITH query "${c.ctename}" has ${output.length} columns available but ${names.length} columns specified`,
      c.location,
    );
  }
  return output.map((o, i) => ({ name: names[i] ?? o.name, type: o.type, typmod: o.typmod }));
}

function bindPlainCte(scope: Scope, c: CommonTableExpr): BoundCte {
  const query = bindQuery(new Scope(scope.context, scope), c.ctequery as Node, null);
  const columns = cteColumns(scope, c, query.output);
  return {
    id: scope.context.newRelationId(),
    name: c.ctename ?? '',
    query,
    columns,
    recursive: null,
  };
}

/** Whether a WITH RECURSIVE query may refer to itself: a UNION. */
function isSelfUnion(c: CommonTableExpr): boolean {
  const q = c.ctequery;
  if (q === undefined || !('SelectStmt' in q) || q.SelectStmt.op !== 'SETOP_UNION') return false;
  return JSON.stringify(q.SelectStmt.rarg ?? {}).includes(
    `"relname":${JSON.stringify(c.ctename ?? '')}`,
  );
}

function bindRecursive(scope: Scope, c: CommonTableExpr): BoundCte {
  const context = scope.context;
  const union = (c.ctequery as { SelectStmt: SelectStmt }).SelectStmt;
  allowOnly(
    union,
    fields('op all larg rarg limitOption'),
    'recursive WITH',
    context.at(c.location),
  );
  const base = bindSelectStmt(new Scope(context, scope), union.larg as SelectStmt, null);
  const cte: BoundCte = {
    id: context.newRelationId(),
    name: c.ctename ?? '',
    query: base,
    columns: cteColumns(scope, c, base.output),
    recursive: null,
  };
  const inner = new Scope(context, scope);
  inner.ctes.set(cte.name, cte);
  const step = bindSelectStmt(inner, union.rarg as SelectStmt, null);
  if (step.output.length !== base.output.length)
    throw context.error(
      '42601',
      'each UNION query must have the same number of columns',
      c.location,
    );
  const stepExprs = step.output.map((o, i) => {
    const column = cte.columns[i] as BoundCte['columns'][number];
    const e: Expr = context.computed(o.type, o.typmod, o.slot, o.name);
    return coerce(context, e, column.type, 'implicit', () =>
      context.error(
        '42804',
        `recursive query "${cte.name}" column ${i + 1} has type ${context.types.typeName(column.type)} in non-recursive term but type ${context.types.typeName(o.type)} overall`,
        c.location,
      ),
    );
  });
  cte.recursive = { step, stepExprs, all: union.all === true };
  return cte;
}

function bindValues(
  scope: Scope,
  s: SelectStmt,
  ctes: readonly BoundCte[],
  wanted: readonly (number | undefined)[] | null,
): BoundValues {
  const context = scope.context;
  scope.clause = 'values';
  const rows: Expr[][] = [];
  for (const list of s.valuesLists ?? []) {
    const items = 'List' in list ? (list.List.items ?? []) : [];
    if (rows[0] !== undefined && items.length !== rows[0].length)
      throw context.error('42601', 'VALUES lists must all be the same length', undefined);
    rows.push(
      items.map((n, i) => {
        const e = bindExpr(scope, n);
        const want = wanted?.[i];
        if (want === undefined || typeOf(context, e) !== UNKNOWN) return e;
        return tryCoerce(context, e, want, -1, 'assignment') ?? e;
      }),
    );
  }
  const width = rows[0]?.length ?? 0;
  const output: OutputColumn[] = [];
  for (let i = 0; i < width; i++) {
    const common = coerceCommon(
      context,
      rows.map((r) => r[i] as Expr),
      'VALUES',
    );
    common.list.forEach((e, k) => ((rows[k] as Expr[])[i] = e));
    output.push(outputColumn(context.newSlot(), `column${i + 1}`, common.type, -1));
  }
  const { order, limit, offset } = bindTail(scope, s, output);
  return { kind: 'values', ctes, rows, output, order, limit, offset, outer: scope.outer };
}

export function outputColumn(
  slot: number,
  name: string,
  type: number,
  typmod: number,
): OutputColumn {
  return { name, type, typmod, slot, tableOid: 0, columnNumber: 0 };
}

/** ORDER BY over output columns only (VALUES, UNION), LIMIT and OFFSET. */
function bindTail(
  scope: Scope,
  s: SelectStmt,
  output: readonly OutputColumn[],
): { order: SortKey[]; limit: Expr | null; offset: Expr | null } {
  const context = scope.context;
  const order = (s.sortClause ?? []).map((node) => {
    const by = sortByOf(scope, node);
    const n = by.node as Node;
    let column: OutputColumn | undefined;
    if ('A_Const' in n && n.A_Const.ival !== undefined) {
      const at = n.A_Const.ival.ival ?? 0;
      column = output[at - 1];
      if (column === undefined)
        throw context.error(
          '42P10',
          `ORDER BY position ${at} is not in select list`,
          n.A_Const.location,
        );
    } else if ('ColumnRef' in n && n.ColumnRef.fields?.length === 1) {
      const name = stringsOf(n.ColumnRef.fields)[0];
      column = output.find((o) => o.name === name);
      if (column === undefined)
        throw context.error('42703', `column "${name}" does not exist`, n.ColumnRef.location);
    }
    if (column === undefined) {
      throw context.error('0A000', 'invalid UNION/INTERSECT/EXCEPT ORDER BY clause', by.location, {
        detail: 'Only result column names can be used, not expressions or functions.',
      });
    }
    return makeSortKey(
      scope,
      context.computed(column.type, column.typmod, column.slot, column.name),
      by,
    );
  });
  return { order, ...bindLimit(scope, s) };
}

export function bindLimit(
  scope: Scope,
  s: SelectStmt,
): { limit: Expr | null; offset: Expr | null } {
  const one = (node: Node | undefined, what: string): Expr | null => {
    if (node === undefined) return null;
    const saved = scope.clause;
    scope.clause = 'limit';
    const inner = new Scope(scope.context, scope.parent);
    inner.clause = 'limit';
    const e = bindExpr(inner, node);
    scope.clause = saved;
    for (const o of inner.outer) scope.outer.add(o);
    if (e.op === 'const' && e.value === null) return null;
    return coerce(scope.context, e, INT8, 'assignment', () =>
      scope.context.error('42804', `argument of ${what} must be type bigint`, undefined),
    );
  };
  return { limit: one(s.limitCount, 'LIMIT'), offset: one(s.limitOffset, 'OFFSET') };
}

const OPERATIONS = {
  SETOP_UNION: 'union',
  SETOP_INTERSECT: 'intersect',
  SETOP_EXCEPT: 'except',
} as const;

function bindSetOperation(
  scope: Scope,
  s: SelectStmt,
  ctes: readonly BoundCte[],
): BoundSetOperation {
  const context = scope.context;
  if ((s.lockingClause?.length ?? 0) > 0)
    throw context.error(
      '0A000',
      'FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT',
      undefined,
    );
  const name = (s.op ?? '').replace('SETOP_', '');
  const side = (stmt: SelectStmt): { query: BoundQuery; outer: Scope } => {
    const inner = new Scope(context, scope);
    return { query: bindSelectStmt(inner, stmt, null), outer: inner };
  };
  const left = side(s.larg as SelectStmt).query;
  const right = side(s.rarg as SelectStmt).query;
  if (left.output.length !== right.output.length)
    throw context.error(
      '42601',
      `each ${name} query must have the same number of columns`,
      undefined,
    );
  const leftExprs: Expr[] = [];
  const rightExprs: Expr[] = [];
  const output = left.output.map((l, i) => {
    const r = right.output[i] as OutputColumn;
    const common = coerceCommon(
      context,
      [sideColumn(scope, left, i), sideColumn(scope, right, i)],
      name,
    );
    leftExprs.push(common.list[0] as Expr);
    rightExprs.push(common.list[1] as Expr);
    const typmod = l.typmod === r.typmod ? l.typmod : -1;
    return outputColumn(context.newSlot(), l.name, common.type, typmod);
  });
  if (s.all !== true || s.op !== 'SETOP_UNION') requireHashable(scope, output);
  const { order, limit, offset } = bindTail(scope, s, output);
  const operation = OPERATIONS[s.op as keyof typeof OPERATIONS];
  return {
    kind: 'set',
    ctes,
    operation,
    all: s.all === true,
    left,
    right,
    leftExprs,
    rightExprs,
    output,
    order,
    limit,
    offset,
    outer: scope.outer,
  };
}

/** An untyped NULL on one side takes the other side's type. */
function sideColumn(scope: Scope, q: BoundQuery, i: number): Expr {
  const o = q.output[i] as OutputColumn;
  if (q.kind === 'select') {
    const target = q.targets[i]?.expr;
    if (target?.op === 'const' && target.value === null && target.location === -2)
      return { ...target, type: UNKNOWN };
  }
  return scope.context.computed(o.type, o.typmod, o.slot, o.name);
}

export function requireHashable(scope: Scope, output: readonly OutputColumn[]): void {
  for (const o of output) {
    if (scope.context.types.hashKey(o.type) !== null) continue;
    throw scope.context.error(
      '42883',
      `could not identify an equality operator for type ${scope.context.types.typeName(o.type)}`,
      undefined,
    );
  }
}

/** Output targets: unknown becomes text; an untyped NULL stays recognisable for UNION (location -2). */
export function finishTarget(scope: Scope, e: Expr): Expr {
  if (e.op === 'const' && e.value === null && typeOf(scope.context, e) === UNKNOWN)
    return { ...(resolveUnknown(scope.context, e) as typeof e), location: -2 };
  return resolveUnknown(scope.context, e);
}
