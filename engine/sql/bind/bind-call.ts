/** Function calls: plain ones, aggregates, window functions. */
import type { FuncCall, Node, WindowDef } from 'libpg-query';
import { allowOnly, fields, locationOf, stringsOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { castArgs } from './bind-operator.js';
import { bindSortKeys } from './bind-sort.js';
import { coerceBoolean, tryCoerce, typeOf } from './coerce.js';
import type { Expr } from './expression.js';
import { sameExpr, some } from './expression.js';
import type { BoundWindow } from './query.js';
import type { Clause, Scope } from './scope.js';
import type { AggregateRoutine } from './type-system.js';
import { FLOAT8, INT4, INT8 } from './type-system.js';

const HANDLED = fields(
  'funcname args agg_order agg_filter over agg_star agg_distinct funcformat func_variadic',
);
const WINDOW_HANDLED = fields(
  'name refname partitionClause orderClause frameOptions startOffset endOffset',
);

/** Ranking functions; the executor computes them from positions in the partition. */
const WINDOW_ONLY: Record<string, { type: number; args: number }> = {
  row_number: { type: INT8, args: 0 },
  rank: { type: INT8, args: 0 },
  dense_rank: { type: INT8, args: 0 },
  percent_rank: { type: FLOAT8, args: 0 },
  cume_dist: { type: FLOAT8, args: 0 },
  ntile: { type: INT4, args: 1 },
  lag: { type: 0, args: 3 },
  lead: { type: 0, args: 3 },
  first_value: { type: 0, args: 1 },
  last_value: { type: 0, args: 1 },
  nth_value: { type: 0, args: 2 },
};

export function bindCall(scope: Scope, call: FuncCall): Expr {
  const context = scope.context;
  allowOnly(call, HANDLED, 'function call', context.at(call.location));
  const names = stringsOf(call.funcname);
  const name = names[names.length - 1] as string;
  const schema = names.length > 1 ? (names[0] as string) : null;
  if (call.func_variadic === true) throw context.refuse('VARIADIC call', call.location);
  if (call.over !== undefined) return bindWindowCall(scope, call, schema, name);
  const star = call.agg_star === true;
  const wasInside = scope.insideAggregate;
  // Arguments first, so that their types are known; an aggregate's may not hold another.
  const before = scope.aggregates.length;
  const args = (call.args ?? []).map((a) => bindArgument(scope, a));
  const oids = args.map((a) => typeOf(context, a));
  const aggregate = context.types.aggregate(schema, name, oids, star);
  if (aggregate === 'ambiguous') throw notUnique(scope, name, oids, call.location);
  if (aggregate !== null) {
    if (wasInside || scope.aggregates.length !== before)
      throw context.error('42803', 'aggregate function calls cannot be nested', call.location);
    return bindAggregate(scope, call, aggregate, args);
  }
  if (
    star ||
    call.agg_distinct === true ||
    call.agg_filter !== undefined ||
    (call.agg_order?.length ?? 0) > 0
  ) {
    const exists = context.types.func(schema, name, oids) !== null;
    throw exists
      ? context.error(
          '42809',
          `${star ? `${name}(*)` : 'DISTINCT, ORDER BY or FILTER'} specified, but ${name} is not an aggregate function`,
          call.location,
        )
      : noFunction(scope, names.join('.'), star ? [] : oids, call.location);
  }
  if (name in WINDOW_ONLY && schema !== 'public') {
    throw context.error('42809', `window function ${name} requires an OVER clause`, call.location);
  }
  const routine = context.types.func(schema, name, oids);
  if (routine === 'ambiguous') throw notUnique(scope, name, oids, call.location);
  if (routine === null) {
    const target = oids.length === 1 ? context.types.findType(schema, name) : null;
    const cast =
      target === null ? null : tryCoerce(context, args[0] as Expr, target, -1, 'explicit');
    if (cast !== null) return cast;
    throw noFunction(scope, names.join('.'), oids, call.location);
  }
  return {
    op: 'call',
    type: routine.resultOid,
    typmod: -1,
    routine,
    args: castArgs(scope, routine, args, call.location),
    operator: null,
    location: call.location ?? 0,
  };
}

function bindArgument(scope: Scope, node: Node): Expr {
  if ('NamedArgExpr' in node)
    throw scope.context.refuse('named argument', node.NamedArgExpr.location);
  return bindExpr(scope, node);
}

function noFunction(scope: Scope, name: string, oids: readonly number[], location?: number): Error {
  const shown = oids.map((o) => scope.context.types.typeName(o)).join(', ');
  return scope.context.error('42883', `function ${name}(${shown}) does not exist`, location, {
    hint: 'No function matches the given name and argument types. You might need to add explicit type casts.',
  });
}

function notUnique(scope: Scope, name: string, oids: readonly number[], location?: number): Error {
  const shown = oids.map((o) => scope.context.types.typeName(o)).join(', ');
  return scope.context.error('42725', `function ${name}(${shown}) is not unique`, location, {
    hint: 'Could not choose a best candidate function. You might need to add explicit type casts.',
  });
}

const NO_AGGREGATES: Partial<Record<Clause, string>> = {
  where: 'WHERE',
  on: 'JOIN conditions',
  group: 'GROUP BY',
  limit: 'LIMIT',
  values: 'VALUES',
  from: 'functions in FROM',
  returning: 'RETURNING',
  set: 'UPDATE',
  default: 'DEFAULT expressions',
  check: 'check constraints',
};

function bindAggregate(
  scope: Scope,
  call: FuncCall,
  aggregate: AggregateRoutine,
  args: readonly Expr[],
): Expr {
  const context = scope.context;
  const forbidden = NO_AGGREGATES[scope.clause];
  if (forbidden !== undefined)
    throw context.error(
      '42803',
      `aggregate functions are not allowed in ${forbidden}`,
      call.location,
    );
  const own = (e: Expr): boolean =>
    some(e, (x) => x.op === 'slot' && ![...scope.outer].some((o) => o.slot === x.slot));
  if (
    args.length > 0 &&
    scope.parent !== null &&
    !args.some(own) &&
    args.some((a) => some(a, (x) => x.op === 'slot'))
  )
    throw context.refuse('aggregate of an outer query', call.location);
  scope.insideAggregate = true;
  const cast = castArgs(scope, aggregate, args, call.location);
  const order = bindSortKeys(scope, call.agg_order ?? []);
  const filter =
    call.agg_filter === undefined
      ? null
      : coerceBoolean(context, bindExpr(scope, call.agg_filter), 'FILTER');
  scope.insideAggregate = false;
  const distinct = call.agg_distinct === true;
  for (const a of scope.aggregates) {
    const same =
      a.routine.name === aggregate.name &&
      a.routine.resultOid === aggregate.resultOid &&
      a.distinct === distinct &&
      a.order.length === 0 &&
      order.length === 0 &&
      a.filter === null &&
      filter === null &&
      a.args.length === cast.length &&
      a.args.every((x, i) => sameExpr(x, cast[i] as Expr));
    if (same) return context.computed(aggregate.resultOid, -1, a.slot, aggregate.name);
  }
  const slot = context.newSlot();
  scope.aggregates.push({ routine: aggregate, args: cast, distinct, filter, order, slot });
  return context.computed(aggregate.resultOid, -1, slot, aggregate.name);
}

/** A named window, possibly refined, with its base merged in. */
function windowOf(scope: Scope, def: WindowDef): WindowDef {
  allowOnly(def, WINDOW_HANDLED, 'window', scope.context.at(def.location));
  // `OVER w` comes as name, `OVER (w ...)` as refname.
  const base =
    def.refname ??
    (def.partitionClause === undefined && def.orderClause === undefined ? def.name : undefined);
  if (base === undefined || base === '') return def;
  const found = scope.namedWindows.get(base);
  if (found === undefined || found === def)
    throw scope.context.error('42704', `window "${base}" does not exist`, def.location);
  const resolved = windowOf(scope, found);
  return {
    ...resolved,
    ...((def.orderClause?.length ?? 0) > 0 ? { orderClause: def.orderClause as Node[] } : {}),
    ...(def.refname !== undefined && def.frameOptions !== undefined
      ? { frameOptions: def.frameOptions }
      : {}),
  };
}

function bindWindowCall(scope: Scope, call: FuncCall, schema: string | null, name: string): Expr {
  const context = scope.context;
  if (scope.clause !== 'select' && scope.clause !== 'order')
    throw context.error(
      '42P20',
      `window functions are not allowed in ${scope.clause.toUpperCase()}`,
      call.location,
    );
  if (call.agg_distinct === true || (call.agg_order?.length ?? 0) > 0)
    throw context.refuse('DISTINCT or ORDER BY in a window function', call.location);
  const def = windowOf(scope, call.over as WindowDef);
  let args = (call.args ?? []).map((a) => bindExpr(scope, a));
  const special = WINDOW_ONLY[name];
  let type: number;
  let aggregate: AggregateRoutine | null = null;
  if (special !== undefined) {
    if (args.length > special.args || (special.args > 0 && args.length === 0))
      throw noFunction(
        scope,
        name,
        args.map((a) => typeOf(context, a)),
        call.location,
      );
    if (name === 'ntile' || name === 'lag' || name === 'lead' || name === 'nth_value') {
      const at = name === 'ntile' ? 0 : 1;
      args = args.map((a, i) =>
        i === at ? (tryCoerce(context, a, INT4, -1, 'implicit') ?? a) : a,
      );
    }
    type = special.type === 0 ? typeOf(context, args[0] as Expr) : special.type;
    if (args[2] !== undefined)
      args[2] = tryCoerce(context, args[2], type, -1, 'implicit') ?? args[2];
  } else {
    const found = context.types.aggregate(
      schema,
      name,
      args.map((a) => typeOf(context, a)),
      call.agg_star === true,
    );
    if (found === null || found === 'ambiguous')
      throw noFunction(
        scope,
        name,
        args.map((a) => typeOf(context, a)),
        call.location,
      );
    aggregate = found;
    args = castArgs(scope, found, args, call.location);
    type = found.resultOid;
  }
  const filter =
    call.agg_filter === undefined
      ? null
      : coerceBoolean(context, bindExpr(scope, call.agg_filter), 'FILTER');
  const slot = context.newSlot();
  const window = findWindow(scope, def, call.location);
  window.functions.push({ name, aggregate, args, filter, slot });
  return context.computed(type, -1, slot, name);
}

/** Frame bits of parsenodes.h that the executor knows. */
export const FRAME_RANGE = 0x2;
export const FRAME_ROWS = 0x4;
const FRAME_GROUPS = 0x8;
const FRAME_EXCLUSION = 0x8000 | 0x10000 | 0x20000;

function findWindow(scope: Scope, def: WindowDef, location?: number): BoundWindow {
  const context = scope.context;
  const frame = def.frameOptions ?? 0x422; // RANGE UNBOUNDED PRECEDING .. CURRENT ROW
  if ((frame & (FRAME_GROUPS | FRAME_EXCLUSION)) !== 0)
    throw context.refuse('GROUPS frame or EXCLUDE in a window', location);
  const offset = (n: Node | undefined): Expr | null => {
    if (n === undefined) return null;
    if ((frame & FRAME_ROWS) === 0)
      throw context.refuse('RANGE frame with an offset', locationOf(n));
    return tryCoerce(context, bindExpr(scope, n), INT8, -1, 'implicit');
  };
  const partition = (def.partitionClause ?? []).map((n) => bindExpr(scope, n));
  const order = bindSortKeys(scope, def.orderClause ?? []);
  const startOffset = offset(def.startOffset);
  const endOffset = offset(def.endOffset);
  for (const w of scope.windows) {
    const same =
      w.frame === frame &&
      w.startOffset === null &&
      w.endOffset === null &&
      startOffset === null &&
      endOffset === null &&
      w.partition.length === partition.length &&
      w.order.length === order.length &&
      w.partition.every((p, i) => sameExpr(p, partition[i] as Expr)) &&
      w.order.every((o, i) => {
        const x = order[i];
        return (
          x !== undefined &&
          sameExpr(o.expr, x.expr) &&
          o.descending === x.descending &&
          o.nullsFirst === x.nullsFirst
        );
      });
    if (same) return w;
  }
  const window: BoundWindow = { partition, order, frame, startOffset, endOffset, functions: [] };
  scope.windows.push(window);
  return window;
}
