/** INSERT, UPDATE, DELETE: targets, defaults, constraints, ON CONFLICT, RETURNING. */
import { ROW_EXCLUSIVE } from '../../catalog/relation-locks.js';
import type {
  DeleteStmt,
  InsertStmt,
  Node,
  OnConflictClause,
  RangeVar,
  ReturningClause,
  SelectStmt,
  UpdateStmt,
} from 'libpg-query';
import type { ColumnDef, TableDef } from '../../catalog/definitions.js';
import { SqlError } from '../../sql-error.js';
import { allowOnly, fields, locationOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { bindFromList, findTable, newTableRelation } from './bind-from.js';
import { bindQuery, bindWith } from './bind-query.js';
import { bindTargets, describeTarget, slotOf } from './bind-target.js';
import { coerceBoolean, tryCoerce, typeOf } from './coerce.js';
import type { Expr } from './expression.js';
import type {
  Assignment,
  BoundConflict,
  BoundConstraints,
  BoundDelete,
  BoundInsert,
  BoundQuery,
  BoundUpdate,
  BoundWrite,
  FromTree,
  OutputColumn,
  TableRelation,
} from './query.js';
import { Scope, tableItem } from './scope.js';

const INSERT = fields(
  'relation cols selectStmt onConflictClause returningClause withClause override',
);
const UPDATE = fields('relation targetList whereClause fromClause returningClause withClause');
const DELETE = fields('relation usingClause whereClause returningClause withClause');
const CONFLICT = fields('action infer targetList whereClause');
const INFER = fields('indexElems whereClause conname');

export function bindWrite(scope: Scope, node: Node): BoundWrite {
  if ('InsertStmt' in node) return bindInsert(scope, node.InsertStmt);
  if ('UpdateStmt' in node) return bindUpdate(scope, node.UpdateStmt);
  if ('DeleteStmt' in node) return bindDelete(scope, node.DeleteStmt);
  throw scope.context.refuse('statement', undefined);
}

function writeTarget(scope: Scope, v: RangeVar, verb: string): TableRelation {
  const context = scope.context;
  const table = findTable(scope, v);
  if (table.kind === 'view') {
    const act =
      verb === 'update'
        ? 'updating'
        : verb.replace('delete', 'deleting').replace('insert', 'inserting');
    throw context.refuse(`${act} view "${table.name}"`, v.location);
  }
  if (table.kind !== 'table' || table.handle === null || table.codec === null)
    throw context.error(
      table.kind === 'virtual' ? '42501' : '42809',
      table.kind === 'virtual'
        ? `permission denied: "${table.name}" is a system catalog`
        : `cannot change ${table.kind} "${table.name}"`,
      undefined,
    );
  const relation = newTableRelation(scope, table, v.alias?.aliasname ?? table.name);
  relation.needsRowId = true;
  context.noteLock(table.oid, ROW_EXCLUSIVE);
  return relation;
}

function findColumn(scope: Scope, table: TableDef, name: string, location?: number): number {
  const i = table.columns.findIndex((c) => c.name === name && !c.dropped);
  if (i >= 0) return i;
  throw scope.context.error(
    '42703',
    `column "${name}" of relation "${table.name}" does not exist`,
    location,
  );
}

/** Casts a value to its column's type; 42804 when an assignment cast does not exist. */
function assign(scope: Scope, e: Expr, c: ColumnDef, location: number): Expr {
  const context = scope.context;
  const result = tryCoerce(context, e, c.typeOid, c.typmod, 'assignment');
  if (result !== null) return result;
  throw context.error(
    '42804',
    `column "${c.name}" is of type ${context.types.typeName(c.typeOid, c.typmod)} but expression is of type ${context.types.typeName(typeOf(context, e))}`,
    location,
    { hint: 'You will need to rewrite or cast the expression.' },
  );
}

function defaultOf(scope: Scope, c: ColumnDef): Expr {
  const context = scope.context;
  const node = c.defaultNode;
  if (node === null)
    return { op: 'const', type: c.typeOid, typmod: c.typmod, value: null, location: -1 };
  return context.within(context.searchPath, () => {
    const inner = new Scope(context, null);
    inner.clause = 'default';
    return assign(inner, bindExpr(inner, node), c, -1);
  });
}

/** NOT NULL and CHECK over the new row in `slots`. */
function constraintsOf(
  scope: Scope,
  target: TableRelation,
  touched: ReadonlySet<number> | null,
): BoundConstraints {
  const context = scope.context;
  const table = target.table;
  const notNull = table.columns.filter(
    (c, i) => c.notNull && !c.dropped && (touched === null || touched.has(i)),
  );
  const checks = table.checks.map((check) => {
    const inner = new Scope(context, null);
    inner.clause = 'check';
    const item = tableItem(target, table.name, table.schema, []);
    inner.items = [item];
    inner.columns = [...item.columns];
    const expr = context.within(context.searchPath, () =>
      coerceBoolean(context, bindExpr(inner, check.expression), 'CHECK'),
    );
    return { name: check.name, expr };
  });
  return { notNull, checks };
}

function showTarget(scope: Scope, target: TableRelation): void {
  const item = tableItem(
    target,
    target.alias,
    target.alias === target.table.name ? target.table.schema : null,
    [],
  );
  scope.items.push(item);
  scope.columns.push(...item.columns);
}

function bindReturning(
  scope: Scope,
  r: ReturningClause | undefined,
): { returning: BoundInsert['returning']; output: OutputColumn[] } {
  if (r === undefined || (r.exprs?.length ?? 0) === 0) return { returning: null, output: [] };
  allowOnly(r, fields('exprs'), 'RETURNING', undefined);
  scope.clause = 'returning';
  const targets = bindTargets(scope, r.exprs ?? [], null);
  const slots = targets.map((t) => slotOf(scope, t.expr));
  return {
    returning: targets.map((t, i) => ({ expr: t.expr, slot: slots[i] as number })),
    output: targets.map((t, i) => describeTarget(scope, t.name, t.expr, slots[i] as number)),
  };
}

function bindInsert(scope: Scope, s: InsertStmt): BoundInsert {
  const context = scope.context;
  allowOnly(s, INSERT, 'INSERT', undefined);
  const ctes = bindWith(scope, s.withClause);
  const target = writeTarget(scope, s.relation as RangeVar, 'insert into');
  const table = target.table;
  const columns = insertColumns(scope, table, s.cols ?? []);
  const override = s.override ?? 'OVERRIDING_NOT_SET';
  if (override === 'OVERRIDING_USER_VALUE')
    throw context.refuse('OVERRIDING USER VALUE', undefined);
  const source = s.selectStmt;
  let valueRows: Assignment[][] | null = null;
  let query: BoundQuery | null = null;
  let assignments: Assignment[] = [];
  if (source === undefined) {
    valueRows = [fillDefaults(scope, table, new Map())];
  } else if ('SelectStmt' in source && isPlainValues(source.SelectStmt)) {
    valueRows = (source.SelectStmt.valuesLists ?? []).map((list) =>
      bindValueRow(
        scope,
        table,
        columns,
        'List' in list ? (list.List.items ?? []) : [],
        override,
        (s.cols?.length ?? 0) > 0,
      ),
    );
  } else {
    const wanted = columns.map((c) => (table.columns[c] as ColumnDef).typeOid);
    query = bindQuery(new Scope(context, scope), source, wanted);
    checkWidth(
      scope,
      query.output.length,
      columns.length,
      (s.cols?.length ?? 0) > 0,
      locationOf(source),
    );
    const given = new Map<number, Expr>();
    query.output.forEach((o, i) => {
      const at = columns[i] as number;
      const c = table.columns[at] as ColumnDef;
      refuseIdentity(c, override);
      given.set(at, assign(scope, context.computed(o.type, o.typmod, o.slot, o.name), c, -1));
    });
    assignments = fillDefaults(scope, table, given);
  }
  const constraints = constraintsOf(scope, target, null);
  showTarget(scope, target);
  const conflict =
    s.onConflictClause === undefined ? null : bindConflict(scope, target, s.onConflictClause);
  const { returning, output } = bindReturning(scope, s.returningClause);
  return {
    kind: 'insert',
    ctes,
    target,
    source: query,
    valueRows,
    assignments,
    constraints,
    conflict,
    returning,
    output,
    outer: scope.outer,
  };
}

function insertColumns(scope: Scope, table: TableDef, cols: readonly Node[]): number[] {
  if (cols.length === 0)
    return table.columns.map((_, i) => i).filter((i) => table.columns[i]?.dropped === false);
  const found: number[] = [];
  for (const node of cols) {
    if (!('ResTarget' in node)) continue;
    const t = node.ResTarget;
    allowOnly(t, fields('name'), 'column of INSERT', scope.context.at(t.location));
    const i = findColumn(scope, table, t.name ?? '', t.location);
    if (found.includes(i))
      throw scope.context.error('42701', `column "${t.name}" specified more than once`, t.location);
    found.push(i);
  }
  return found;
}

function isPlainValues(s: SelectStmt): boolean {
  return (
    (s.valuesLists?.length ?? 0) > 0 &&
    s.withClause === undefined &&
    s.sortClause === undefined &&
    s.limitCount === undefined &&
    s.limitOffset === undefined &&
    s.lockingClause === undefined
  );
}

function checkWidth(
  scope: Scope,
  have: number,
  want: number,
  named: boolean,
  location: number,
): void {
  if (have > want)
    throw scope.context.error('42601', 'INSERT has more expressions than target columns', location);
  if (have < want && named)
    throw scope.context.error('42601', 'INSERT has more target columns than expressions', location);
}

function refuseIdentity(c: ColumnDef, override: string): void {
  if (c.identity !== 'always' || override === 'OVERRIDING_SYSTEM_VALUE') return;
  throw new SqlError('428C9', `cannot insert a non-DEFAULT value into column "${c.name}"`, {
    detail: `Column "${c.name}" is an identity column defined as GENERATED ALWAYS.`,
    hint: 'Use OVERRIDING SYSTEM VALUE to override.',
  });
}

function bindValueRow(
  scope: Scope,
  table: TableDef,
  columns: readonly number[],
  items: readonly Node[],
  override: string,
  named: boolean,
): Assignment[] {
  const extra = items[columns.length];
  checkWidth(scope, items.length, columns.length, named, locationOf(extra ?? items[0]));
  const given = new Map<number, Expr>();
  const inner = new Scope(scope.context, scope);
  inner.clause = 'values';
  items.forEach((node, i) => {
    const at = columns[i] as number;
    const c = table.columns[at] as ColumnDef;
    if ('SetToDefault' in node) return;
    refuseIdentity(c, override);
    given.set(at, assign(inner, bindExpr(inner, node), c, locationOf(node)));
  });
  return fillDefaults(scope, table, given);
}

/** One assignment per column that is not dropped, in column order. */
function fillDefaults(
  scope: Scope,
  table: TableDef,
  given: ReadonlyMap<number, Expr>,
): Assignment[] {
  const all: Assignment[] = [];
  table.columns.forEach((c, column) => {
    if (c.dropped) return;
    const expr = given.get(column) ?? defaultOf(scope, c);
    if (expr.op === 'const' && expr.value === null) return;
    all.push({ column, expr });
  });
  return all;
}

function bindConflict(scope: Scope, target: TableRelation, c: OnConflictClause): BoundConflict {
  const context = scope.context;
  allowOnly(c, CONFLICT, 'ON CONFLICT', context.at(c.location));
  const indexOids =
    c.infer === undefined ? [] : inferIndexes(scope, target.table, c.infer, c.location);
  const excluded = newTableRelation(scope, target.table, 'excluded');
  if (c.action === 'ONCONFLICT_NOTHING') {
    return { action: 'nothing', indexOids, excluded, assignments: [], where: null };
  }
  if (indexOids.length === 0)
    throw context.error(
      '42601',
      'ON CONFLICT DO UPDATE requires inference specification or constraint name',
      c.location,
    );
  const inner = new Scope(context, scope);
  inner.items = [...scope.items, tableItem(excluded, 'excluded', null, [])];
  inner.columns = [...scope.columns];
  inner.clause = 'set';
  const assignments = bindAssignments(inner, target.table, c.targetList ?? []);
  inner.clause = 'where';
  const where =
    c.whereClause === undefined
      ? null
      : coerceBoolean(context, bindExpr(inner, c.whereClause), 'WHERE');
  for (const o of inner.outer) scope.outer.add(o);
  return { action: 'update', indexOids, excluded, assignments, where };
}

function inferIndexes(
  scope: Scope,
  table: TableDef,
  infer: NonNullable<OnConflictClause['infer']>,
  location?: number,
): number[] {
  const context = scope.context;
  allowOnly(infer, INFER, 'ON CONFLICT target', context.at(location));
  if (infer.whereClause !== undefined)
    throw context.refuse('partial index in ON CONFLICT', location);
  if (infer.conname !== undefined) {
    const index = table.indexes.find((i) => i.constraint === infer.conname && i.unique);
    if (index === undefined)
      throw context.error(
        '42704',
        `constraint "${infer.conname}" for table "${table.name}" does not exist`,
        location,
      );
    return [index.oid];
  }
  const wanted = new Set<number>();
  for (const node of infer.indexElems ?? []) {
    if (!('IndexElem' in node) || node.IndexElem.name === undefined)
      throw context.refuse('expression in ON CONFLICT', location);
    allowOnly(
      node.IndexElem,
      fields('name ordering nulls_ordering'),
      'ON CONFLICT column',
      context.at(location),
    );
    wanted.add(findColumn(scope, table, node.IndexElem.name, location));
  }
  const found = table.indexes.filter(
    (i) =>
      i.unique && i.columns.length === wanted.size && i.columns.every((c) => wanted.has(c.column)),
  );
  if (found.length === 0) {
    throw context.error(
      '42P10',
      'there is no unique or exclusion constraint matching the ON CONFLICT specification',
      undefined,
    );
  }
  return found.map((i) => i.oid);
}

/** SET items, ascending by column. */
function bindAssignments(scope: Scope, table: TableDef, nodes: readonly Node[]): Assignment[] {
  const all: Assignment[] = [];
  const rows = new Map<Node, readonly Node[]>();
  for (const node of nodes) {
    if (!('ResTarget' in node)) continue;
    const t = node.ResTarget;
    allowOnly(t, fields('name val'), 'SET', scope.context.at(t.location));
    const column = findColumn(scope, table, t.name ?? '', t.location);
    if (all.some((a) => a.column === column))
      throw scope.context.error(
        '42601',
        `multiple assignments to same column "${t.name}"`,
        t.location,
      );
    const c = table.columns[column] as ColumnDef;
    const value = multiSource(scope, t.val as Node, rows);
    if (c.identity === 'always' && !('SetToDefault' in value))
      throw scope.context.error(
        '428C9',
        `column "${c.name}" can only be updated to DEFAULT`,
        t.location,
      );
    const expr =
      'SetToDefault' in value
        ? defaultOf(scope, c)
        : assign(scope, bindExpr(scope, value), c, t.location ?? -1);
    all.push({ column, expr });
  }
  return all.sort((a, b) => a.column - b.column);
}

/** `(a, b) = (1, 2)` and `= ROW(..)`; a sub-query on the right is refused. */
function multiSource(scope: Scope, node: Node, rows: Map<Node, readonly Node[]>): Node {
  if (!('MultiAssignRef' in node)) return node;
  const m = node.MultiAssignRef;
  const source = m.source as Node;
  if (!('RowExpr' in source))
    throw scope.context.refuse('assignment of a sub-query to several columns', locationOf(source));
  const args = rows.get(source) ?? source.RowExpr.args ?? [];
  if (args.length !== (m.ncolumns ?? 0))
    throw scope.context.error(
      '42601',
      'number of columns does not match number of values',
      locationOf(source),
    );
  return args[(m.colno ?? 1) - 1] as Node;
}

function bindUpdate(scope: Scope, s: UpdateStmt): BoundUpdate {
  const context = scope.context;
  allowOnly(s, UPDATE, 'UPDATE', undefined);
  const ctes = bindWith(scope, s.withClause);
  const target = writeTarget(scope, s.relation as RangeVar, 'update');
  showTarget(scope, target);
  scope.clause = 'from';
  const from = joinWith(target, bindFromList(scope, s.fromClause ?? []));
  scope.clause = 'set';
  const assignments = bindAssignments(scope, target.table, s.targetList ?? []);
  const where = bindWhere(scope, s.whereClause);
  const constraints = constraintsOf(scope, target, new Set(assignments.map((a) => a.column)));
  const { returning, output } = bindReturning(scope, s.returningClause);
  if (context.parameters.length > 65535)
    throw context.refuse('more than 65535 parameters', undefined);
  return {
    kind: 'update',
    ctes,
    target,
    from,
    where,
    assignments,
    constraints,
    returning,
    output,
    outer: scope.outer,
  };
}

function bindDelete(scope: Scope, s: DeleteStmt): BoundDelete {
  allowOnly(s, DELETE, 'DELETE', undefined);
  const ctes = bindWith(scope, s.withClause);
  const target = writeTarget(scope, s.relation as RangeVar, 'delete from');
  showTarget(scope, target);
  scope.clause = 'from';
  const from = joinWith(target, bindFromList(scope, s.usingClause ?? []));
  const where = bindWhere(scope, s.whereClause);
  const { returning, output } = bindReturning(scope, s.returningClause);
  return { kind: 'delete', ctes, target, from, where, returning, output, outer: scope.outer };
}

function joinWith(target: TableRelation, other: FromTree | null): FromTree {
  const own: FromTree = { kind: 'relation', relation: target };
  return other === null ? own : { kind: 'join', type: 'inner', left: own, right: other, on: null };
}

function bindWhere(scope: Scope, node: Node | undefined): Expr | null {
  if (node === undefined) return null;
  scope.clause = 'where';
  if ('CurrentOfExpr' in node) throw scope.context.refuse('WHERE CURRENT OF', undefined);
  return coerceBoolean(scope.context, bindExpr(scope, node), 'WHERE');
}
