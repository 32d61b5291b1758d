/** The body of a SELECT: FROM, WHERE, GROUP BY, HAVING, windows, targets, DISTINCT, ORDER BY, LIMIT, locking. */
import type { LockingClause, Node, SelectStmt } from 'libpg-query';
import type { RowLockMode, WaitPolicy } from '../../tables/table-store.js';
import { allowOnly, fields, stringsOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { bindFromList } from './bind-from.js';
import { groupingOf, regroup } from './bind-group.js';
import { bindLimit, requireHashable } from './bind-query.js';
import { makeSortKey, sortByOf } from './bind-sort.js';
import { bindTargets, describeTarget, extractSetReturning, slotOf } from './bind-target.js';
import type { Target } from './bind-target.js';
import { coerceBoolean, resolveUnknown } from './coerce.js';
import type { Expr, SlotExpr } from './expression.js';
import { sameExpr } from './expression.js';
import type {
  BoundCte,
  BoundSelect,
  FromTree,
  LockRequest,
  OutputColumn,
  SortKey,
  TableRelation,
} from './query.js';
import type { Scope } from './scope.js';

export function bindSelectBody(
  scope: Scope,
  s: SelectStmt,
  ctes: readonly BoundCte[],
  wanted: readonly (number | undefined)[] | null,
): BoundSelect {
  const context = scope.context;
  scope.clause = 'from';
  let from = bindFromList(scope, s.fromClause ?? []);
  for (const w of s.windowClause ?? [])
    if ('WindowDef' in w) scope.namedWindows.set(w.WindowDef.name ?? '', w.WindowDef);
  scope.clause = 'where';
  const where =
    s.whereClause === undefined
      ? null
      : coerceBoolean(context, bindExpr(scope, s.whereClause), 'WHERE');
  scope.clause = 'select';
  const targets = bindTargets(scope, s.targetList ?? [], wanted);
  const visible = targets.length;
  scope.clause = 'group';
  const groups = (s.groupClause ?? []).map((n) => bindGroupItem(scope, n, targets));
  scope.clause = 'having';
  let having =
    s.havingClause === undefined
      ? null
      : coerceBoolean(context, bindExpr(scope, s.havingClause), 'HAVING');
  scope.clause = 'order';
  const sorts = (s.sortClause ?? []).map((n) => {
    const by = sortByOf(scope, n);
    return { by, at: findOrAdd(scope, by.node as Node, targets, 'ORDER BY') };
  });
  const distinctAt = distinctTargets(scope, s, targets);
  const isGrouped =
    groups.length > 0 ||
    scope.aggregates.length > 0 ||
    having !== null ||
    (s.groupClause?.length ?? 0) > 0;
  from = withSetReturning(scope, targets, from, isGrouped);
  const shaped = isGrouped
    ? regroupAll(scope, groups, targets, having)
    : { grouping: null, having, windows: scope.windows };
  having = shaped.having;
  const slots = targets.map((t) => slotOf(scope, t.expr));
  const order: SortKey[] = sorts.map(({ by, at }) =>
    makeSortKey(scope, targetSlot(scope, targets, slots, at), by),
  );
  const output = describeOutput(scope, targets, slots, visible);
  const distinctOn = distinctAt?.map((at) => targetSlot(scope, targets, slots, at)) ?? null;
  if (distinctOn !== null)
    checkDistinct(scope, distinctOn, order, output, targets.length > visible);
  const { limit, offset } = bindLimit(scope, s);
  return {
    kind: 'select',
    ctes,
    from,
    where,
    grouping: shaped.grouping,
    having,
    windows: shaped.windows,
    targets: targets.map((t, i) => ({ expr: t.expr, slot: slots[i] as number })),
    output,
    distinctOn,
    order,
    limit,
    offset,
    withTies: s.limitOption === 'LIMIT_OPTION_WITH_TIES',
    locks: bindLocks(scope, s, isGrouped || distinctOn !== null || scope.windows.length > 0, from),
    outer: scope.outer,
  };
}

function describeOutput(
  scope: Scope,
  targets: readonly Target[],
  slots: readonly number[],
  visible: number,
): OutputColumn[] {
  return targets
    .slice(0, visible)
    .map((t, i) => describeTarget(scope, t.name, t.expr, slots[i] as number));
}

/** FROM with the target list's set-returning functions joined to it. */
function withSetReturning(
  scope: Scope,
  targets: Target[],
  from: FromTree | null,
  isGrouped: boolean,
): FromTree | null {
  const relation = extractSetReturning(scope, targets);
  if (relation === null) return from;
  if (isGrouped || scope.windows.length > 0)
    throw scope.context.refuse('set-returning function in a grouped target list', undefined);
  const right: FromTree = { kind: 'relation', relation };
  return from === null ? right : { kind: 'join', type: 'inner', left: from, right, on: null };
}

/** Everything above GROUP BY in terms of groups; rewrites `targets` in place. */
function regroupAll(
  scope: Scope,
  groups: readonly Expr[],
  targets: readonly Target[],
  having: Expr | null,
): Pick<BoundSelect, 'grouping' | 'having' | 'windows'> {
  const g = groupingOf(scope, groups);
  const re = (e: Expr): Expr => regroup(scope, g, e);
  for (const t of targets) t.expr = re(t.expr);
  const windows = scope.windows.map((w) => ({
    ...w,
    partition: w.partition.map(re),
    order: w.order.map((k) => ({ ...k, expr: re(k.expr) })),
    functions: w.functions.map((f) => ({
      ...f,
      args: f.args.map(re),
      filter: f.filter === null ? null : re(f.filter),
    })),
  }));
  return {
    having: having === null ? null : re(having),
    windows,
    grouping: { keys: g.keys, carried: g.carried, aggregates: scope.aggregates },
  };
}

function targetSlot(
  scope: Scope,
  targets: readonly Target[],
  slots: readonly number[],
  at: number,
): SlotExpr {
  const e = (targets[at] as Target).expr;
  const type = e.op === 'param' ? (scope.context.parameters[e.index] as number) : e.type;
  return {
    op: 'slot',
    type,
    typmod: e.typmod,
    slot: slots[at] as number,
    relation: e.op === 'slot' ? e.relation : 0,
    name: '',
    location: -1,
  };
}

/** ORDER BY / DISTINCT ON item: an output name, an ordinal, or an expression that is (or joins) the targets. */
function findOrAdd(scope: Scope, node: Node, targets: Target[], clause: string): number {
  const context = scope.context;
  const visible = targets;
  if ('A_Const' in node && node.A_Const.ival !== undefined) {
    const n = node.A_Const.ival.ival ?? 0;
    if (n < 1 || n > visible.length)
      throw context.error(
        '42P10',
        `${clause} position ${n} is not in select list`,
        node.A_Const.location,
      );
    return n - 1;
  }
  if ('A_Const' in node)
    throw context.error('42601', `non-integer constant in ${clause}`, node.A_Const.location);
  if ('ColumnRef' in node && node.ColumnRef.fields?.length === 1) {
    const name = stringsOf(node.ColumnRef.fields)[0] as string;
    const matches = targets.map((t, i) => (t.name === name ? i : -1)).filter((i) => i >= 0);
    const first = matches[0];
    if (first !== undefined) {
      const a = targets[first] as Target;
      if (matches.some((m) => !sameExpr((targets[m] as Target).expr, a.expr)))
        throw context.error('42702', `${clause} "${name}" is ambiguous`, node.ColumnRef.location);
      return first;
    }
  }
  const expr = resolveUnknown(context, bindExpr(scope, node));
  const same = targets.findIndex((t) => sameExpr(t.expr, expr));
  if (same >= 0) return same;
  targets.push({ name: '', expr, node });
  return targets.length - 1;
}

function bindGroupItem(scope: Scope, node: Node, targets: readonly Target[]): Expr {
  const context = scope.context;
  if ('GroupingSet' in node)
    throw context.refuse('GROUPING SETS, CUBE or ROLLUP', node.GroupingSet.location);
  if ('A_Const' in node && node.A_Const.ival !== undefined) {
    const n = node.A_Const.ival.ival ?? 0;
    const target = targets[n - 1];
    if (target === undefined)
      throw context.error(
        '42P10',
        `GROUP BY position ${n} is not in select list`,
        node.A_Const.location,
      );
    return target.expr;
  }
  if ('ColumnRef' in node && node.ColumnRef.fields?.length === 1) {
    const name = stringsOf(node.ColumnRef.fields)[0] as string;
    const found = scope.columns.some((c) => c.name === name);
    const target = found ? undefined : targets.find((t) => t.name === name);
    if (target !== undefined) return target.expr;
  }
  return resolveUnknown(context, bindExpr(scope, node));
}

/** Indexes of the targets to be distinct; null: no DISTINCT. */
function distinctTargets(scope: Scope, s: SelectStmt, targets: Target[]): number[] | null {
  const clause = s.distinctClause;
  if (clause === undefined || clause.length === 0) return null;
  const on = clause.filter((n) => Object.keys(n).length > 0);
  if (on.length === 0) return [];
  return on.map((n) => findOrAdd(scope, n, targets, 'DISTINCT ON'));
}

function checkDistinct(
  scope: Scope,
  distinctOn: readonly SlotExpr[],
  order: readonly SortKey[],
  output: readonly OutputColumn[],
  hasJunk: boolean,
): void {
  if (distinctOn.length === 0) {
    requireHashable(scope, output);
    if (hasJunk)
      throw scope.context.error(
        '42P10',
        'for SELECT DISTINCT, ORDER BY expressions must appear in select list',
        undefined,
      );
    return;
  }
  const n = Math.min(distinctOn.length, order.length);
  for (let i = 0; i < n; i++) {
    const key = order[i]?.expr;
    if (
      key === undefined ||
      !distinctOn.some((d) => sameExpr(d, key) || (key.op === 'slot' && key.slot === d.slot))
    )
      throw scope.context.error(
        '42P10',
        'SELECT DISTINCT ON expressions must match initial ORDER BY expressions',
        undefined,
      );
  }
}

const LOCK = fields('lockedRels strength waitPolicy');
const STRENGTH: Record<string, RowLockMode> = {
  LCS_FORUPDATE: 'update',
  LCS_FORNOKEYUPDATE: 'no-key-update',
  LCS_FORSHARE: 'share',
  LCS_FORKEYSHARE: 'key-share',
};

function bindLocks(
  scope: Scope,
  s: SelectStmt,
  shaped: boolean,
  from: FromTree | null,
): LockRequest[] {
  const locks: LockRequest[] = [];
  for (const node of s.lockingClause ?? []) {
    if (!('LockingClause' in node)) continue;
    const clause: LockingClause = node.LockingClause;
    allowOnly(clause, LOCK, 'locking clause', undefined);
    if (shaped)
      throw scope.context.error(
        '0A000',
        'FOR UPDATE is not allowed with DISTINCT, GROUP BY, aggregate or window functions',
        undefined,
      );
    const mode = STRENGTH[clause.strength ?? ''] ?? 'update';
    const wait: WaitPolicy =
      clause.waitPolicy === 'LockWaitSkip'
        ? 'skip'
        : clause.waitPolicy === 'LockWaitError'
          ? 'nowait'
          : 'wait';
    const names = (clause.lockedRels ?? []).map((r) =>
      'RangeVar' in r ? (r.RangeVar.alias?.aliasname ?? r.RangeVar.relname ?? '') : '',
    );
    for (const relation of tablesIn(from)) {
      if (names.length > 0 && !names.includes(relation.alias)) continue;
      if (relation.table.kind !== 'table')
        throw scope.context.error(
          '42809',
          `cannot lock rows in ${relation.table.kind} "${relation.table.name}"`,
          undefined,
        );
      relation.needsRowId = true;
      locks.push({ relation, mode, wait });
    }
    for (const n of names) {
      if (!locks.some((l) => l.relation.alias === n))
        throw scope.context.error(
          '42P01',
          `relation "${n}" in FOR UPDATE clause not found in FROM clause`,
          undefined,
        );
    }
  }
  return locks;
}

function tablesIn(tree: FromTree | null): TableRelation[] {
  if (tree === null) return [];
  if (tree.kind === 'filter') return tablesIn(tree.input);
  if (tree.kind === 'join') return [...tablesIn(tree.left), ...tablesIn(tree.right)];
  return tree.relation.kind === 'table' ? [tree.relation] : [];
}
