/** Casts: unknown literals and parameters take the type that their place asks for, others go through pg_cast's rules. */
import { SqlError } from '../../sql-error.js';
import type { Value } from '../../types/value.js';
import type { BindContext } from './context.js';
import type { Expr } from './expression.js';
import type { CastContext } from './type-system.js';
import {
  BOOL,
  DATE,
  INTERVAL,
  REGCLASS,
  TEXT,
  TIME,
  TIMESTAMP,
  TIMESTAMPTZ,
  TIMETZ,
  UNKNOWN,
} from './type-system.js';

/** The expression's type; a parameter's as known by now. */
export function typeOf(context: BindContext, e: Expr): number {
  return e.op === 'param' ? (context.parameters[e.index] ?? UNKNOWN) : e.type;
}

export function locationOfExpr(e: Expr): number {
  return 'location' in e ? e.location : -1;
}

/** Input that depends on the session (zone, clock, search path): converted at run time. */
const RUNTIME_INPUT = new Set([TIMESTAMPTZ, TIMETZ, DATE, TIME, TIMESTAMP, REGCLASS]);
const FIXED_DATE = /^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?$/;

function isRuntimeInput(context: BindContext, oid: number, text: string): boolean {
  if (oid === DATE || oid === TIME || oid === TIMESTAMP) return !FIXED_DATE.test(text);
  const element = context.types.elementOf(oid);
  return (
    RUNTIME_INPUT.has(oid) ||
    (element !== 0 && RUNTIME_INPUT.has(element)) ||
    context.types.typeName(oid).startsWith('reg')
  );
}

/** null: there is no such cast in this context. */
export function tryCoerce(
  context: BindContext,
  e: Expr,
  target: number,
  typmod: number,
  how: CastContext,
  location = locationOfExpr(e),
): Expr | null {
  const from = typeOf(context, e);
  const explicit = how === 'explicit';
  if (e.op === 'const' && (from === UNKNOWN || e.value === null)) {
    if (e.value === null) return { ...e, type: target, typmod };
    const text = e.value as string;
    if (target === UNKNOWN) return e;
    if (isRuntimeInput(context, target, text)) {
      return {
        op: 'cast',
        type: target,
        typmod,
        arg: e,
        from: UNKNOWN,
        explicit,
        how: 'io',
        location,
      };
    }
    return {
      ...e,
      type: target,
      typmod,
      value: inputAt(context, target, typmod, text, explicit, location),
    };
  }
  if (e.op === 'param' && from === UNKNOWN) {
    context.parameters[e.index] = target;
    e.type = target;
    return lengthCoerce(context, { ...e, type: target }, target, typmod, explicit);
  }
  if (from === target) return lengthCoerce(context, e, target, typmod, explicit);
  const conversion = context.types.cast(from, target, how);
  if (conversion === null) return null;
  const relabel = conversion.apply === null;
  if (e.op === 'const' && !conversion.stable && (e.value === null || typeof e.value !== 'object')) {
    const value = relabel ? e.value : foldCast(conversion.apply, e.value);
    return lengthCoerce(
      context,
      { ...e, type: target, typmod: -1, value },
      target,
      typmod,
      explicit,
    );
  }
  const cast: Expr = {
    op: 'cast',
    type: target,
    typmod: -1,
    arg: e,
    from,
    explicit,
    how: relabel ? 'relabel' : 'type',
    location,
  };
  return lengthCoerce(context, cast, target, typmod, explicit);
}

function foldCast(apply: ((value: Value, context: never) => Value) | null, value: Value): Value {
  return value === null || apply === null ? value : apply(value, null as never);
}

function inputAt(
  context: BindContext,
  oid: number,
  typmod: number,
  text: string,
  explicit: boolean,
  location: number,
): Value {
  const value = located(context, location, () => context.types.input(oid, -1, text, null));
  const length = typmod === -1 ? null : context.types.applyTypmod(oid, typmod, explicit);
  return length === null || value === null ? value : length(value);
}

/** Gives an error of the types layer the position of what caused it. */
function located<T>(context: BindContext, location: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const position = context.at(location);
    if (
      !(error instanceof SqlError) ||
      error.fields.position !== undefined ||
      position === undefined
    )
      throw error;
    throw new SqlError(error.code, error.message, { ...error.fields, position });
  }
}

function lengthCoerce(
  context: BindContext,
  e: Expr,
  oid: number,
  typmod: number,
  explicit: boolean,
): Expr {
  if (typmod === -1 || (e.op !== 'param' && e.typmod === typmod)) return e;
  if (context.types.applyTypmod(oid, typmod, explicit) === null) {
    return e.op === 'const' || e.op === 'slot' ? { ...e, typmod } : e;
  }
  const location = locationOfExpr(e);
  if (oid === INTERVAL && e.op === 'const') return e;
  return { op: 'cast', type: oid, typmod, arg: e, from: oid, explicit, how: 'length', location };
}

export function coerce(
  context: BindContext,
  e: Expr,
  target: number,
  how: CastContext,
  what: () => SqlError,
): Expr {
  const result = tryCoerce(context, e, target, -1, how);
  if (result === null) throw what();
  return result;
}

export function coerceBoolean(
  context: BindContext,
  e: Expr,
  clause: string,
  location?: number,
): Expr {
  return coerce(context, e, BOOL, 'assignment', () =>
    context.error(
      '42804',
      `argument of ${clause} must be type boolean, not type ${context.types.typeName(typeOf(context, e))}`,
      location ?? locationOfExpr(e),
    ),
  );
}

/** Unknown literals and parameters of an output column become text. */
export function resolveUnknown(context: BindContext, e: Expr): Expr {
  return typeOf(context, e) === UNKNOWN ? (tryCoerce(context, e, TEXT, -1, 'implicit') ?? e) : e;
}

/** All to one type, for CASE, COALESCE, VALUES, UNION, ARRAY[]. */
export function coerceCommon(
  context: BindContext,
  list: readonly Expr[],
  what: string,
): { type: number; list: Expr[] } {
  const oids = list.map((e) => typeOf(context, e));
  let type = context.types.commonType(oids);
  if (type === null) {
    const known = [...new Set(oids.filter((o) => o !== UNKNOWN))].map((o) =>
      context.types.typeName(o),
    );
    throw context.error(
      '42804',
      `${what} types ${known[0]} and ${known[1]} cannot be matched`,
      locationOfExpr(list[1] as Expr),
    );
  }
  if (type === UNKNOWN) type = TEXT;
  const target = type;
  return {
    type,
    list: list.map((e) =>
      coerce(context, e, target, 'implicit', () =>
        context.error(
          '42846',
          `${what} could not convert type ${context.types.typeName(typeOf(context, e))} to ${context.types.typeName(target)}`,
          locationOfExpr(e),
        ),
      ),
    ),
  };
}
