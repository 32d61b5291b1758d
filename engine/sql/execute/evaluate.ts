/** Bound expressions to closures over a frame; compiled once per plan. */
import type { ArrayExpr, Expr, MinMaxExpr } from '../bind/expression.js';
import type { TypeSystem } from '../bind/type-system.js';
import { TEXT, UNKNOWN } from '../bind/type-system.js';
import { SqlError } from '../../sql-error.js';
import type { SqlArray, Value } from '../../types/value.js';
import type { Evaluator, Frame } from './frame.js';

export interface EvaluatorEnvironment {
  readonly types: TypeSystem;
  /** Plans the sub-query; its evaluator. */
  subquery(e: Expr & { op: 'subquery' }): Evaluator;
}

type Call = (...args: unknown[]) => Value;

export function compileExpr(env: EvaluatorEnvironment, e: Expr): Evaluator {
  switch (e.op) {
    case 'const': {
      const value = e.value;
      return () => value;
    }
    case 'param': {
      const index = e.index;
      return (f) => f.parameters[index] as Value;
    }
    case 'slot': {
      const slot = e.slot;
      return (f) => f.values[slot] as Value;
    }
    case 'call':
      return compileCall(env, e);
    case 'cast':
      return compileCast(env, e);
    case 'and':
      return compileAnd(e.args.map((a) => compileExpr(env, a)));
    case 'or':
      return compileOr(e.args.map((a) => compileExpr(env, a)));
    case 'not': {
      const arg = compileExpr(env, e.args[0] as Expr);
      return (f) => {
        const v = arg(f);
        return v === null ? null : v !== true;
      };
    }
    case 'test':
      return compileTest(e.test, compileExpr(env, e.arg));
    case 'distinct': {
      const equal = e.equal.call as unknown as Call;
      const a = compileExpr(env, e.args[0]);
      const b = compileExpr(env, e.args[1]);
      const negated = e.negated;
      return (f) => {
        const x = a(f);
        const y = b(f);
        const same = x === null || y === null ? x === y : equal(x, y) === true;
        return same === negated;
      };
    }
    case 'nullif': {
      const equal = e.equal.call as unknown as Call;
      const a = compileExpr(env, e.args[0]);
      const b = compileExpr(env, e.args[1]);
      const value = compileExpr(env, e.value);
      return (f) => {
        const x = a(f);
        const y = b(f);
        return x !== null && y !== null && equal(x, y) === true ? null : value(f);
      };
    }
    case 'case':
      return compileCase(env, e);
    case 'array':
    case 'array-op':
    case 'coalesce':
    case 'field':
    case 'greatest':
    case 'in':
    case 'least':
    case 'row':
    case 'subquery':
    case 'subscript':
      return compileComposite(env, e);
  }
}

/** What `compileExpr` leaves to it. */
type CompositeExpr = Exclude<
  Expr,
  {
    op:
      | 'const'
      | 'param'
      | 'slot'
      | 'call'
      | 'cast'
      | 'and'
      | 'or'
      | 'not'
      | 'test'
      | 'distinct'
      | 'nullif'
      | 'case';
  }
>;

function compileComposite(env: EvaluatorEnvironment, e: CompositeExpr): Evaluator {
  switch (e.op) {
    case 'coalesce': {
      const args = e.args.map((a) => compileExpr(env, a));
      return (f) => {
        for (let i = 0; i < args.length; i++) {
          const v = (args[i] as Evaluator)(f);
          if (v !== null) return v;
        }
        return null;
      };
    }
    case 'greatest':
    case 'least':
      return compileMinMax(env, e);
    case 'array':
      return compileArray(env, e);
    case 'row': {
      const args = e.args.map((a) => compileExpr(env, a));
      return (f) => args.map((a) => a(f));
    }
    case 'array-op':
      return compileArrayOp(env, e);
    case 'in':
      return compileIn(env, e);
    case 'subquery':
      return env.subquery(e);
    case 'subscript':
      return compileSubscript(env, e);
    case 'field': {
      const arg = compileExpr(env, e.arg);
      const index = e.index;
      return (f) => {
        const row = arg(f);
        return Array.isArray(row) ? ((row as readonly Value[])[index] ?? null) : null;
      };
    }
  }
}

function compileCall(env: EvaluatorEnvironment, e: Expr & { op: 'call' }): Evaluator {
  const { routine } = e;
  const call = routine.call as unknown as Call;
  const args = e.args.map((a) => compileExpr(env, a));
  if (routine.needsContext || args.length > 3)
    return compileWideCall(routine.strict, routine.needsContext, call, args);
  if (!routine.strict) {
    const [a, b, c] = args;
    if (a === undefined) return () => call();
    if (b === undefined) return (f) => call(a(f));
    if (c === undefined) return (f) => call(a(f), b(f));
    return (f) => call(a(f), b(f), c(f));
  }
  const [a, b, c] = args;
  if (a === undefined) return () => call();
  if (b === undefined) {
    return (f) => {
      const x = a(f);
      return x === null ? null : call(x);
    };
  }
  if (c === undefined) return compileBinary(e, call, a, b);
  return (f) => {
    const x = a(f);
    const y = b(f);
    const z = c(f);
    return x === null || y === null || z === null ? null : call(x, y, z);
  };
}

/** Hot: column op parameter and column op column without a closure call per operand. */
function compileBinary(
  e: Expr & { op: 'call' },
  call: Call,
  a: Evaluator,
  b: Evaluator,
): Evaluator {
  const [left, right] = e.args as [Expr, Expr];
  if (left.op === 'slot' && right.op === 'param') {
    const slot = left.slot;
    const index = right.index;
    return (f) => {
      const x = f.values[slot] as Value;
      const y = f.parameters[index] as Value;
      return x === null || y === null ? null : call(x, y);
    };
  }
  if (left.op === 'slot' && right.op === 'const') {
    const slot = left.slot;
    const y = right.value;
    if (y === null) return () => null;
    return (f) => {
      const x = f.values[slot] as Value;
      return x === null ? null : call(x, y);
    };
  }
  return (f) => {
    const x = a(f);
    const y = b(f);
    return x === null || y === null ? null : call(x, y);
  };
}

function compileWideCall(
  strict: boolean,
  needsContext: boolean,
  call: Call,
  args: readonly Evaluator[],
): Evaluator {
  return (f) => {
    const values: unknown[] = needsContext ? [f.context.session] : [];
    for (let i = 0; i < args.length; i++) {
      const v = (args[i] as Evaluator)(f);
      if (v === null && strict) return null;
      values.push(v);
    }
    return call(...values);
  };
}

function compileCast(env: EvaluatorEnvironment, e: Expr & { op: 'cast' }): Evaluator {
  const arg = compileExpr(env, e.arg);
  const types = env.types;
  const { type, typmod, explicit } = e;
  if (e.how === 'relabel') return arg;
  if (e.how === 'io') {
    return (f) => {
      const v = arg(f);
      if (v === null) return null;
      const value = types.input(type, -1, v as string, f.context);
      const length = typmod === -1 ? null : types.applyTypmod(type, typmod, explicit);
      return value === null || length === null ? value : length(value);
    };
  }
  if (e.how === 'length') {
    const length = types.applyTypmod(type, typmod, explicit);
    if (length === null) return arg;
    return (f) => {
      const v = arg(f);
      return v === null ? null : length(v);
    };
  }
  const apply = types.cast(e.from === UNKNOWN ? TEXT : e.from, type, 'explicit')?.apply ?? null;
  if (apply === null) return arg;
  return (f) => {
    const v = arg(f);
    return v === null ? null : apply(v, f.context);
  };
}

export function compileAnd(args: readonly Evaluator[]): Evaluator {
  const [a, b] = args;
  if (args.length === 1 && a !== undefined) return a;
  if (args.length === 2 && a !== undefined && b !== undefined) {
    return (f) => {
      const x = a(f);
      if (x === false) return false;
      const y = b(f);
      if (y === false) return false;
      return x === null || y === null ? null : true;
    };
  }
  return (f) => {
    let result: Value = true;
    for (let i = 0; i < args.length; i++) {
      const v = (args[i] as Evaluator)(f);
      if (v === false) return false;
      if (v === null) result = null;
    }
    return result;
  };
}

function compileOr(args: readonly Evaluator[]): Evaluator {
  return (f) => {
    let result: Value = false;
    for (let i = 0; i < args.length; i++) {
      const v = (args[i] as Evaluator)(f);
      if (v === true) return true;
      if (v === null) result = null;
    }
    return result;
  };
}

function compileTest(test: string, arg: Evaluator): Evaluator {
  switch (test) {
    case 'null':
    case 'unknown':
      return (f) => arg(f) === null;
    case 'not null':
    case 'not unknown':
      return (f) => arg(f) !== null;
    case 'true':
      return (f) => arg(f) === true;
    case 'not true':
      return (f) => arg(f) !== true;
    case 'false':
      return (f) => arg(f) === false;
    default:
      return (f) => arg(f) !== false;
  }
}

function compileCase(env: EvaluatorEnvironment, e: Expr & { op: 'case' }): Evaluator {
  const subject = e.subject === null ? null : compileExpr(env, e.subject);
  const slot = e.slot;
  const whens = e.whens.map((w) => compileExpr(env, w.when));
  const thens = e.whens.map((w) => compileExpr(env, w.result));
  const otherwise = e.otherwise === null ? null : compileExpr(env, e.otherwise);
  return (f) => {
    if (subject !== null) f.values[slot] = subject(f);
    for (let i = 0; i < whens.length; i++) {
      if ((whens[i] as Evaluator)(f) === true) return (thens[i] as Evaluator)(f);
    }
    return otherwise === null ? null : otherwise(f);
  };
}

function compileMinMax(env: EvaluatorEnvironment, e: MinMaxExpr): Evaluator {
  const args = e.args.map((a) => compileExpr(env, a));
  const compare = env.types.comparator(e.type);
  if (compare === null) {
    throw new SqlError(
      '42883',
      `could not identify a comparison function for type ${env.types.typeName(e.type)}`,
    );
  }
  const sign = e.op === 'greatest' ? 1 : -1;
  return (f) => {
    let best: Value = null;
    for (let i = 0; i < args.length; i++) {
      const v = (args[i] as Evaluator)(f);
      if (v !== null && (best === null || compare(v, best) * sign > 0)) best = v;
    }
    return best;
  };
}

export function isArray(value: Value): value is SqlArray {
  return typeof value === 'object' && value !== null && 'elementOid' in value;
}

function compileArray(env: EvaluatorEnvironment, e: ArrayExpr): Evaluator {
  const args = e.args.map((a) => compileExpr(env, a));
  const elementOid = env.types.elementOf(e.type);
  const nested = e.args.length > 0 && e.args.every((a) => a.type === e.type);
  if (!nested) {
    return (f) =>
      makeArray(
        elementOid,
        args.map((a) => a(f)),
      );
  }
  return (f) => {
    const parts = args.map((a) => a(f));
    const elements: Value[] = [];
    let inner: readonly number[] | null = null;
    for (const p of parts) {
      const dimensions: readonly number[] = p !== null && isArray(p) ? p.dimensions : [];
      if (inner !== null && dimensions.join() !== inner.join())
        throw new SqlError(
          '2202E',
          'multidimensional arrays must have array expressions with matching dimensions',
        );
      inner = dimensions;
      if (p !== null && isArray(p)) elements.push(...p.elements);
    }
    const dimensions = inner === null || inner.length === 0 ? [] : [parts.length, ...inner];
    return { elementOid, dimensions, lowerBounds: dimensions.map(() => 1), elements };
  };
}

export function makeArray(elementOid: number, elements: readonly Value[]): SqlArray {
  if (elements.length === 0) return { elementOid, dimensions: [], lowerBounds: [], elements };
  return { elementOid, dimensions: [elements.length], lowerBounds: [1], elements };
}

function compileArrayOp(env: EvaluatorEnvironment, e: Expr & { op: 'array-op' }): Evaluator {
  const call = e.routine.call as unknown as Call;
  const left = compileExpr(env, e.left);
  const array = compileExpr(env, e.array);
  const all = e.all;
  return (f) => {
    const list = array(f);
    if (list === null || !isArray(list)) return null;
    const x = left(f);
    let result: Value = all;
    for (const y of list.elements) {
      const v = x === null || y === null ? null : call(x, y);
      if (v === !all) return v;
      if (v === null) result = null;
    }
    return result;
  };
}

function compileIn(env: EvaluatorEnvironment, e: Expr & { op: 'in' }): Evaluator {
  const call = e.routine.call as unknown as Call;
  const left = compileExpr(env, e.left);
  const items = e.items.map((i) => compileExpr(env, i));
  const negated = e.negated;
  return (f) => {
    const x = left(f);
    if (x === null) return null;
    let sawNull = false;
    for (let i = 0; i < items.length; i++) {
      const y = (items[i] as Evaluator)(f);
      if (y === null) sawNull = true;
      else if (call(x, y) === true) return !negated;
    }
    return sawNull ? null : negated;
  };
}

function compileSubscript(env: EvaluatorEnvironment, e: Expr & { op: 'subscript' }): Evaluator {
  const arg = compileExpr(env, e.arg);
  const indexes = e.indexes.map((i) => compileExpr(env, i));
  return (f: Frame) => {
    const array = arg(f);
    if (array === null || !isArray(array) || array.dimensions.length !== indexes.length)
      return null;
    let at = 0;
    for (let d = 0; d < indexes.length; d++) {
      const index = (indexes[d] as Evaluator)(f);
      if (typeof index !== 'number') return null;
      const offset = index - (array.lowerBounds[d] ?? 1);
      const length = array.dimensions[d] as number;
      if (offset < 0 || offset >= length) return null;
      at = at * length + offset;
    }
    return array.elements[at] ?? null;
  };
}
