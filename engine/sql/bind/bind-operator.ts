/** A_Expr: operators, IN, BETWEEN, LIKE, ANY/ALL over arrays, IS DISTINCT FROM, NULLIF, row comparisons. */
import type { A_Expr, Node } from 'libpg-query';
import { allowOnly, fields, stringOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { tryCoerce, typeOf } from './coerce.js';
import type { Expr } from './expression.js';
import type { Scope } from './scope.js';
import type { Routine } from './type-system.js';
import { BOOL, TEXT, UNKNOWN } from './type-system.js';

const HANDLED = fields('kind name lexpr rexpr rexpr_list_start rexpr_list_end');

export function bindOperatorNode(scope: Scope, a: A_Expr): Expr {
  const context = scope.context;
  allowOnly(a, HANDLED, 'operator', context.at(a.location));
  const names = a.name ?? [];
  const name = stringOf(names[names.length - 1]);
  if (names.length > 1 && stringOf(names[0]) !== 'pg_catalog')
    throw context.error(
      '42883',
      `operator does not exist: ${names.map(stringOf).join('.')}`,
      a.location,
    );
  const side = (n: Node | undefined): Expr => bindExpr(scope, n as Node);
  const kind: string = a.kind ?? '';
  switch (kind) {
    case 'AEXPR_OP': {
      if (a.lexpr === undefined) return bindOperator(scope, name, null, side(a.rexpr), a.location);
      return bindOperator(scope, name, side(a.lexpr), side(a.rexpr), a.location);
    }
    case 'AEXPR_IN':
      return bindIn(scope, a, name);
    case 'AEXPR_LIKE':
    case 'AEXPR_ILIKE':
      return bindOperator(scope, name, side(a.lexpr), side(a.rexpr), a.location);
    case 'AEXPR_SIMILAR':
      return bindOperator(scope, name, side(a.lexpr), side(a.rexpr), a.location);
    case 'AEXPR_BETWEEN':
    case 'AEXPR_NOT_BETWEEN':
    case 'AEXPR_BETWEEN_SYM':
    case 'AEXPR_NOT_BETWEEN_SYM':
      return bindBetween(scope, a);
    case 'AEXPR_OP_ANY':
    case 'AEXPR_OP_ALL':
      return bindArrayOp(scope, a, name);
    case 'AEXPR_DISTINCT':
    case 'AEXPR_NOT_DISTINCT':
      return bindDistinct(
        scope,
        side(a.lexpr),
        side(a.rexpr),
        a.kind === 'AEXPR_NOT_DISTINCT',
        a.location,
      );
    case 'AEXPR_NULLIF': {
      const left = side(a.lexpr);
      const right = side(a.rexpr);
      const e = bindOperator(scope, '=', left, right, a.location);
      if (e.op !== 'call') throw context.refuse('NULLIF of rows', a.location);
      const [x, y] = e.args as [Expr, Expr];
      const value = typeOf(context, left) === UNKNOWN ? x : left;
      return {
        op: 'nullif',
        type: typeOf(context, value),
        typmod: -1,
        equal: e.routine,
        args: [x, y],
        value,
      };
    }
    default:
      throw context.refuse(`operator of kind ${a.kind}`, a.location);
  }
}

const NEGATION: Record<string, string> = { '<>': '=', '!=': '=' };

/** Resolves an operator and casts its operands; left null: prefix. 42883 when there is none. */
export function bindOperator(
  scope: Scope,
  name: string,
  left: Expr | null,
  right: Expr,
  location: number | undefined,
): Expr {
  const context = scope.context;
  if (left !== null && left.op === 'row' && right.op === 'row')
    return rowComparison(scope, name, left.args, right.args, location);
  const types = context.types;
  const l = left === null ? 0 : typeOf(context, left);
  const r = typeOf(context, right);
  const routine = types.operator(name, l, r);
  if (routine === null || routine === 'ambiguous') {
    const shown =
      left === null
        ? `${name} ${types.typeName(r)}`
        : `${types.typeName(l)} ${name} ${types.typeName(r)}`;
    throw routine === null
      ? context.error('42883', `operator does not exist: ${shown}`, location, {
          hint: 'No operator matches the given name and argument types. You might need to add explicit type casts.',
        })
      : context.error('42725', `operator is not unique: ${shown}`, location, {
          hint: 'Could not choose a best candidate operator. You might need to add explicit type casts.',
        });
  }
  const args = castArgs(scope, routine, left === null ? [right] : [left, right], location);
  return {
    op: 'call',
    type: routine.resultOid,
    typmod: -1,
    routine,
    args,
    operator: name,
    location: location ?? 0,
  };
}

export function castArgs(
  scope: Scope,
  routine: Routine | { argOids: readonly number[]; name: string },
  args: readonly Expr[],
  location: number | undefined,
): Expr[] {
  const context = scope.context;
  return args.map((a, i) => {
    const target = routine.argOids[i] as number;
    const result = tryCoerce(context, a, target, -1, 'implicit');
    if (result !== null) return result;
    throw context.error(
      '42846',
      `cannot cast type ${context.types.typeName(typeOf(context, a))} to ${context.types.typeName(target)}`,
      location,
    );
  });
}

export function bindEquality(
  scope: Scope,
  left: Expr,
  right: Expr,
  location: number | undefined,
): Expr {
  return bindOperator(scope, '=', left, right, location);
}

function logic(op: 'and' | 'or' | 'not', args: readonly Expr[]): Expr {
  return args.length === 1 && op !== 'not'
    ? (args[0] as Expr)
    : { op, type: BOOL, typmod: -1, args };
}

/** (a, b) < (c, d) is a < c OR (a = c AND b < d). */
function rowComparison(
  scope: Scope,
  name: string,
  left: readonly Expr[],
  right: readonly Expr[],
  location: number | undefined,
): Expr {
  if (left.length !== right.length)
    throw scope.context.error('42601', 'unequal number of entries in row expressions', location);
  if (left.length === 0) throw scope.context.refuse('comparison of rows of zero length', location);
  const at = (op: string, i: number): Expr =>
    bindOperator(scope, op, left[i] as Expr, right[i] as Expr, location);
  if (name === '=')
    return logic(
      'and',
      left.map((_, i) => at('=', i)),
    );
  if (name in NEGATION)
    return logic(
      'or',
      left.map((_, i) => at('<>', i)),
    );
  if (!['<', '<=', '>', '>='].includes(name))
    throw scope.context.refuse(`row comparison with ${name}`, location);
  const strict = name.slice(0, 1);
  const last = left.length - 1;
  let result = at(name, last);
  for (let i = last - 1; i >= 0; i--)
    result = logic('or', [at(strict, i), logic('and', [at('=', i), result])]);
  return result;
}

function bindIn(scope: Scope, a: A_Expr, name: string): Expr {
  const context = scope.context;
  const negated = name === '<>';
  const left = bindExpr(scope, a.lexpr as Node);
  const nodes = a.rexpr !== undefined && 'List' in a.rexpr ? (a.rexpr.List.items ?? []) : [];
  const items = nodes.map((n) => bindExpr(scope, n));
  const known = left.op === 'row' ? null : commonItems(scope, left, items);
  if (known !== null) {
    const routine = context.types.operator('=', typeOf(context, left), known);
    if (routine !== null && routine !== 'ambiguous') {
      const [l] = castArgs(scope, routine, [left], a.location) as [Expr];
      const target = { argOids: items.map(() => routine.argOids[1] as number), name };
      const list = castArgs(scope, target, items, a.location);
      return { op: 'in', type: BOOL, typmod: -1, routine, negated, left: l, items: list };
    }
  }
  const parts = items.map((item) =>
    bindOperator(scope, negated ? '<>' : '=', left, item, a.location),
  );
  return logic(negated ? 'and' : 'or', parts);
}

/** The one type that all items share; an untyped left side takes it too. */
function commonItems(scope: Scope, left: Expr, items: readonly Expr[]): number | null {
  const oids = items.map((e) => typeOf(scope.context, e));
  const l = typeOf(scope.context, left);
  const common = scope.context.types.commonType(oids);
  if (common === null || items.some((i) => i.op === 'row')) return null;
  if (common !== UNKNOWN) return common;
  return l === UNKNOWN ? TEXT : UNKNOWN;
}

function bindBetween(scope: Scope, a: A_Expr): Expr {
  const bounds = a.rexpr !== undefined && 'List' in a.rexpr ? (a.rexpr.List.items ?? []) : [];
  const x = bindExpr(scope, a.lexpr as Node);
  const low = bindExpr(scope, bounds[0] as Node);
  const high = bindExpr(scope, bounds[1] as Node);
  const cmp = (op: string, l: Expr, r: Expr): Expr => bindOperator(scope, op, l, r, a.location);
  const kind: string = a.kind ?? '';
  switch (kind) {
    case 'AEXPR_BETWEEN':
      return logic('and', [cmp('>=', x, low), cmp('<=', x, high)]);
    case 'AEXPR_NOT_BETWEEN':
      return logic('or', [cmp('<', x, low), cmp('>', x, high)]);
    case 'AEXPR_BETWEEN_SYM':
      return logic('or', [
        logic('and', [cmp('>=', x, low), cmp('<=', x, high)]),
        logic('and', [cmp('>=', x, high), cmp('<=', x, low)]),
      ]);
    default:
      return logic('and', [
        logic('or', [cmp('<', x, low), cmp('>', x, high)]),
        logic('or', [cmp('<', x, high), cmp('>', x, low)]),
      ]);
  }
}

function bindArrayOp(scope: Scope, a: A_Expr, name: string): Expr {
  const context = scope.context;
  const types = context.types;
  const left = bindExpr(scope, a.lexpr as Node);
  let array = bindExpr(scope, a.rexpr as Node);
  const l = typeOf(context, left);
  if (typeOf(context, array) === UNKNOWN) {
    const target = types.arrayOf(l === UNKNOWN ? TEXT : l);
    array = tryCoerce(context, array, target, -1, 'implicit') ?? array;
  }
  const element = types.elementOf(typeOf(context, array));
  if (element === 0)
    throw context.error('42809', `op ANY/ALL (array) requires array on right side`, a.location);
  const routine = types.operator(name, l, element);
  if (routine === null || routine === 'ambiguous') {
    throw context.error(
      '42883',
      `operator does not exist: ${types.typeName(l)} ${name} ${types.typeName(element)}`,
      a.location,
    );
  }
  const [x] = castArgs(scope, routine, [left], a.location) as [Expr];
  const wanted = routine.argOids[1] as number;
  if (wanted !== element) {
    const cast = tryCoerce(context, array, types.arrayOf(wanted), -1, 'implicit');
    if (cast === null) throw context.refuse('ANY/ALL with a cast of the array', a.location);
    array = cast;
  }
  return {
    op: 'array-op',
    type: BOOL,
    typmod: -1,
    routine,
    operator: name,
    all: a.kind === 'AEXPR_OP_ALL',
    left: x,
    array,
  };
}

export function bindDistinct(
  scope: Scope,
  left: Expr,
  right: Expr,
  negated: boolean,
  location: number | undefined,
): Expr {
  if (left.op === 'row' && right.op === 'row') {
    if (left.args.length !== right.args.length)
      throw scope.context.error('42601', 'unequal number of entries in row expressions', location);
    const parts = left.args.map((l, i) =>
      bindDistinct(scope, l, right.args[i] as Expr, negated, location),
    );
    return logic(negated ? 'and' : 'or', parts);
  }
  const e = bindOperator(scope, '=', left, right, location);
  if (e.op !== 'call') throw scope.context.refuse('IS DISTINCT FROM here', location);
  return {
    op: 'distinct',
    type: BOOL,
    typmod: -1,
    negated,
    equal: e.routine,
    args: [e.args[0] as Expr, e.args[1] as Expr],
  };
}
