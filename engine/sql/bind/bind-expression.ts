/** Expression nodes to bound expressions. Each node kind is here or refused with 0A000 at its position. */
import type {
  A_Const,
  A_Indirection,
  BooleanTest,
  CaseExpr,
  ColumnRef,
  MinMaxExpr,
  Node,
  SQLValueFunction,
  TypeCast,
} from 'libpg-query';
import { allowOnly, bodyOf, fields, locationOf, stringOf, tagOf } from '../parse/ast.js';
import { bindCall } from './bind-call.js';
import { bindOperatorNode, bindEquality } from './bind-operator.js';
import { bindSubLink } from './bind-subquery.js';
import { bindTypeName } from './bind-type.js';
import { coerceBoolean, coerceCommon, locationOfExpr, tryCoerce, typeOf } from './coerce.js';
import type { Expr, TestExpr } from './expression.js';
import { rewrite } from './expression.js';
import type { Scope } from './scope.js';
import { BIT, BOOL, INT4, INT8, NUMERIC, RECORD, TEXT, UNKNOWN } from './type-system.js';

const HANDLED: Record<string, ReadonlySet<string>> = {
  TypeCast: fields('arg typeName'),
  BoolExpr: fields('boolop args'),
  NullTest: fields('arg nulltesttype'),
  BooleanTest: fields('arg booltesttype'),
  CaseExpr: fields('arg args defresult'),
  CaseWhen: fields('expr result'),
  CoalesceExpr: fields('args'),
  MinMaxExpr: fields('op args'),
  SQLValueFunction: fields('op typmod'),
  A_ArrayExpr: fields('elements list_start list_end'),
  RowExpr: fields('args row_format'),
  CollateClause: fields('arg collname'),
  A_Indirection: fields('arg indirection'),
};

export function bindExpr(scope: Scope, node: Node): Expr {
  const tag = tagOf(node);
  const handled = HANDLED[tag];
  if (handled !== undefined)
    allowOnly(bodyOf(node), handled, tag, scope.context.at(locationOf(node)));
  if ('ColumnRef' in node) return bindColumnRef(scope, node.ColumnRef);
  if ('A_Const' in node) return bindConst(scope, node.A_Const);
  if ('ParamRef' in node)
    return bindParam(scope, node.ParamRef.number ?? 0, node.ParamRef.location);
  if ('A_Expr' in node) return bindOperatorNode(scope, node.A_Expr);
  if ('BoolExpr' in node) {
    const op = node.BoolExpr.boolop;
    const kind = op === 'AND_EXPR' ? 'and' : op === 'OR_EXPR' ? 'or' : 'not';
    const args = (node.BoolExpr.args ?? []).map((a) =>
      coerceBoolean(scope.context, bindExpr(scope, a), kind.toUpperCase()),
    );
    return { op: kind, type: BOOL, typmod: -1, args };
  }
  if ('TypeCast' in node) return bindTypeCast(scope, node.TypeCast);
  if ('FuncCall' in node) return bindCall(scope, node.FuncCall);
  if ('NullTest' in node) {
    const arg = bindExpr(scope, node.NullTest.arg as Node);
    if (arg.op === 'row') return rowNullTest(arg.args, node.NullTest.nulltesttype === 'IS_NULL');
    return test(node.NullTest.nulltesttype === 'IS_NULL' ? 'null' : 'not null', arg);
  }
  if ('BooleanTest' in node) return bindBooleanTest(scope, node.BooleanTest);
  if ('CaseExpr' in node) return bindCase(scope, node.CaseExpr);
  if ('CoalesceExpr' in node) {
    const args = (node.CoalesceExpr.args ?? []).map((a) => bindExpr(scope, a));
    const common = coerceCommon(scope.context, args, 'COALESCE');
    return { op: 'coalesce', type: common.type, typmod: -1, args: common.list };
  }
  if ('MinMaxExpr' in node) return bindMinMax(scope, node.MinMaxExpr);
  if ('SubLink' in node) return bindSubLink(scope, node.SubLink);
  if ('SQLValueFunction' in node) return bindValueFunction(scope, node.SQLValueFunction);
  if ('A_ArrayExpr' in node)
    return bindArray(scope, node.A_ArrayExpr.elements ?? [], null, node.A_ArrayExpr.location);
  if ('RowExpr' in node) {
    const args = (node.RowExpr.args ?? []).map((a) => bindExpr(scope, a));
    return { op: 'row', type: RECORD, typmod: -1, args };
  }
  if ('CollateClause' in node) {
    const name = stringOf(node.CollateClause.collname?.at(-1));
    if (name !== 'default' && name !== 'C' && name !== 'POSIX')
      throw scope.context.refuse(`collation "${name}"`, node.CollateClause.location);
    return bindExpr(scope, node.CollateClause.arg as Node);
  }
  if ('A_Indirection' in node) return bindIndirection(scope, node.A_Indirection);
  if ('SetToDefault' in node)
    throw scope.context.error(
      '42601',
      'DEFAULT is not allowed in this context',
      node.SetToDefault.location,
    );
  throw scope.context.refuse(`expression ${tag}`, locationOf(node));
}

function test(kind: TestExpr['test'], arg: Expr): Expr {
  return { op: 'test', type: BOOL, typmod: -1, test: kind, arg };
}

function rowNullTest(args: readonly Expr[], isNull: boolean): Expr {
  return {
    op: 'and',
    type: BOOL,
    typmod: -1,
    args: args.map((a) => test(isNull ? 'null' : 'not null', a)),
  };
}

export function bindConst(scope: Scope, c: A_Const): Expr {
  const location = c.location ?? 0;
  const make = (
    type: number,
    value: Expr & { op: 'const' } extends { value: infer V } ? V : never,
  ): Expr => ({
    op: 'const',
    type,
    typmod: -1,
    value,
    location,
  });
  if (c.isnull === true) return make(UNKNOWN, null);
  if (c.ival !== undefined) return make(INT4, c.ival.ival ?? 0);
  if (c.sval !== undefined) return make(UNKNOWN, c.sval.sval ?? '');
  if (c.boolval !== undefined) return make(BOOL, c.boolval.boolval ?? false);
  if (c.fval !== undefined) {
    const text = c.fval.fval ?? '0';
    if (/^-?\d+$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text))
      return make(INT8, BigInt(text));
    return make(NUMERIC, scope.context.types.input(NUMERIC, -1, text, null));
  }
  throw scope.context.refuse(`literal of type ${BIT} (bit)`, location);
}

function bindParam(scope: Scope, number: number, location: number | undefined): Expr {
  const context = scope.context;
  if (number < 1 || number > 65535)
    throw context.error('42P02', `there is no parameter $${number}`, location);
  while (context.parameters.length < number) context.parameters.push(UNKNOWN);
  const type = context.parameters[number - 1] ?? UNKNOWN;
  return { op: 'param', type, typmod: -1, index: number - 1, location: location ?? 0 };
}

function bindColumnRef(scope: Scope, ref: ColumnRef): Expr {
  const context = scope.context;
  const names = ref.fields ?? [];
  if (names.some((f) => 'A_Star' in f))
    throw context.refuse('row expansion via "*" here', ref.location);
  const parts = names.map(stringOf);
  const location = ref.location ?? 0;
  if (parts.length === 1) {
    const name = parts[0] as string;
    const found = scope.findColumn(name, location);
    if (found !== null) return found;
    const row = scope.findItem(null, name, location);
    if (row !== null) return wholeRow(scope, row.scope, row.item.columns, row.item.scalar);
    throw context.error('42703', `column "${name}" does not exist`, location);
  }
  const column = parts[parts.length - 1] as string;
  const table = parts[parts.length - 2] as string;
  const schema = parts.length > 2 ? (parts[parts.length - 3] as string) : null;
  const found = scope.findItem(schema, table, location);
  if (found === null) {
    throw context.error('42P01', `missing FROM-clause entry for table "${table}"`, location);
  }
  const matches = found.item.columns.filter((c) => c.name === column);
  if (matches.length > 1)
    throw context.error('42702', `column reference "${column}" is ambiguous`, location);
  if (matches[0] === undefined) {
    throw context.error('42703', `column ${table}.${column} does not exist`, location);
  }
  return scope.use(found.scope, matches[0], location);
}

function wholeRow(
  scope: Scope,
  owner: Scope,
  columns: readonly Parameters<Scope['use']>[1][],
  scalar: boolean,
): Expr {
  const args = columns.map((c) => scope.use(owner, c, undefined));
  if (scalar && args[0] !== undefined) return args[0];
  return { op: 'row', type: RECORD, typmod: -1, args };
}

function bindTypeCast(scope: Scope, cast: TypeCast): Expr {
  const context = scope.context;
  const target = bindTypeName(context, cast.typeName as NonNullable<TypeCast['typeName']>);
  const argument = cast.arg as Node;
  const element = context.types.elementOf(target.oid);
  if ('A_ArrayExpr' in argument && element !== 0)
    return bindArray(scope, argument.A_ArrayExpr.elements ?? [], target.oid, cast.location);
  const arg = bindExpr(scope, argument);
  const result = tryCoerce(
    context,
    arg,
    target.oid,
    target.typmod,
    'explicit',
    locationOf(argument),
  );
  if (result === null) {
    throw context.error(
      '42846',
      `cannot cast type ${context.types.typeName(typeOf(context, arg))} to ${context.types.typeName(target.oid)}`,
      cast.location,
    );
  }
  return result;
}

function bindBooleanTest(scope: Scope, t: BooleanTest): Expr {
  const arg = coerceBoolean(scope.context, bindExpr(scope, t.arg as Node), 'IS TRUE');
  const kind: string = t.booltesttype ?? '';
  switch (kind) {
    case 'IS_NOT_TRUE':
      return test('not true', arg);
    case 'IS_FALSE':
      return test('false', arg);
    case 'IS_NOT_FALSE':
      return test('not false', arg);
    case 'IS_UNKNOWN':
      return test('null', arg);
    case 'IS_NOT_UNKNOWN':
      return test('not null', arg);
    default:
      return test('true', arg);
  }
}

function bindCase(scope: Scope, c: CaseExpr): Expr {
  const context = scope.context;
  let subject = c.arg === undefined ? null : bindExpr(scope, c.arg);
  if (subject !== null && typeOf(context, subject) === UNKNOWN)
    subject = tryCoerce(context, subject, TEXT, -1, 'implicit');
  const slot = subject === null ? -1 : context.newSlot();
  const whens: Expr[] = [];
  const results: Expr[] = [];
  for (const item of c.args ?? []) {
    if (!('CaseWhen' in item)) throw context.refuse('CASE branch', c.location);
    allowOnly(item.CaseWhen, HANDLED['CaseWhen'] as ReadonlySet<string>, 'CASE', undefined);
    const when = bindExpr(scope, item.CaseWhen.expr as Node);
    whens.push(
      subject === null
        ? coerceBoolean(context, when, 'CASE/WHEN')
        : bindEquality(
            scope,
            context.computed(subject.type, subject.typmod, slot, 'case'),
            when,
            c.location,
          ),
    );
    results.push(bindExpr(scope, item.CaseWhen.result as Node));
  }
  const otherwise: Expr =
    c.defresult === undefined
      ? { op: 'const', type: UNKNOWN, typmod: -1, value: null, location: -1 }
      : bindExpr(scope, c.defresult);
  // PostgreSQL puts ELSE first when it picks the type.
  const common = coerceCommon(context, [otherwise, ...results], 'CASE');
  return {
    op: 'case',
    type: common.type,
    typmod: -1,
    subject,
    slot,
    whens: whens.map((when, i) => ({ when, result: common.list[i + 1] as Expr })),
    otherwise: c.defresult === undefined ? null : (common.list[0] as Expr),
  };
}

function bindMinMax(scope: Scope, m: MinMaxExpr): Expr {
  const greatest = m.op !== 'IS_LEAST';
  const args = (m.args ?? []).map((a) => bindExpr(scope, a));
  const common = coerceCommon(scope.context, args, greatest ? 'GREATEST' : 'LEAST');
  return { op: greatest ? 'greatest' : 'least', type: common.type, typmod: -1, args: common.list };
}

export function bindArray(
  scope: Scope,
  elements: readonly Node[],
  arrayOid: number | null,
  location: number | undefined,
): Expr {
  const context = scope.context;
  const bound = elements.map((e) =>
    'A_ArrayExpr' in e
      ? bindArray(scope, e.A_ArrayExpr.elements ?? [], arrayOid, location)
      : bindExpr(scope, e),
  );
  const nested = elements.length > 0 && elements.every((e) => 'A_ArrayExpr' in e);
  if (arrayOid !== null && !nested) {
    const element = context.types.elementOf(arrayOid);
    const args = bound.map((e) => {
      const r = tryCoerce(context, e, element, -1, 'explicit');
      if (r !== null) return r;
      throw context.error(
        '42846',
        `cannot cast type ${context.types.typeName(e.type)} to ${context.types.typeName(element)}`,
        location,
      );
    });
    return { op: 'array', type: arrayOid, typmod: -1, args };
  }
  if (bound.length === 0) {
    throw context.error('42P18', 'cannot determine type of empty array', location, {
      hint: 'Explicitly cast to the desired type, for example ARRAY[]::integer[].',
    });
  }
  const common = coerceCommon(context, bound, 'ARRAY');
  const type = nested ? common.type : context.types.arrayOf(common.type);
  if (type === 0)
    throw context.error(
      '42704',
      `could not find array type for data type ${context.types.typeName(common.type)}`,
      location,
    );
  return { op: 'array', type, typmod: -1, args: common.list };
}

const VALUE_FUNCTIONS: Record<string, string> = {
  SVFOP_CURRENT_DATE: 'current_date',
  SVFOP_CURRENT_TIME: 'current_time',
  SVFOP_CURRENT_TIMESTAMP: 'now',
  SVFOP_LOCALTIME: 'localtime',
  SVFOP_LOCALTIMESTAMP: 'localtimestamp',
  SVFOP_CURRENT_ROLE: 'current_user',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_USER: 'current_user',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_CURRENT_CATALOG: 'current_database',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
};

function bindValueFunction(scope: Scope, f: SQLValueFunction): Expr {
  const context = scope.context;
  const name = VALUE_FUNCTIONS[f.op ?? ''];
  if (name === undefined || (f.typmod ?? -1) > 0)
    throw context.refuse(`${(f.op ?? '').replace('SVFOP_', '')}`, f.location);
  const routine = context.types.func('pg_catalog', name, []);
  if (routine === null || routine === 'ambiguous') throw context.refuse(name, f.location);
  return {
    op: 'call',
    type: routine.resultOid,
    typmod: -1,
    routine,
    args: [],
    operator: null,
    location: f.location ?? 0,
  };
}

function bindIndirection(scope: Scope, node: A_Indirection): Expr {
  const context = scope.context;
  let e = bindExpr(scope, node.arg as Node);
  const indexes: Expr[] = [];
  for (const step of node.indirection ?? []) {
    if (!('A_Indices' in step) || step.A_Indices.is_slice === true)
      throw context.refuse('field selection or array slice', locationOf(node.arg));
    const index = tryCoerce(
      context,
      bindExpr(scope, step.A_Indices.uidx as Node),
      INT4,
      -1,
      'assignment',
    );
    if (index === null)
      throw context.error(
        '42804',
        'array subscript must have type integer',
        locationOf(step.A_Indices.uidx),
      );
    indexes.push(index);
  }
  const element = context.types.elementOf(typeOf(context, e));
  if (element === 0) {
    throw context.error(
      '42804',
      `cannot subscript type ${context.types.typeName(typeOf(context, e))} because it does not support subscripting`,
      locationOfExpr(e),
    );
  }
  e = { op: 'subscript', type: element, typmod: -1, arg: e, indexes };
  return e;
}

/** Replaces every slot of `from` by the expression given for it. */
export function substituteSlots(e: Expr, replacements: ReadonlyMap<number, Expr>): Expr {
  return rewrite(e, (x) => (x.op === 'slot' ? (replacements.get(x.slot) ?? null) : null));
}
