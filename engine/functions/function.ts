/**
 * What a function, operator or aggregate is, and the registry of them. The catalog's own functions are registered
 * through the same calls.
 *
 * `evaluate` takes the arguments one by one, already cast to `args` (never an array per call). A strict function is not
 * called with NULL: its result is NULL, which is the caller's part. With `session: true` the session comes first:
 * `evaluate(session, a, b)`.
 */
import type { SessionView } from '../sql/statement.js';
import type { TextContext } from '../types/sql-type.js';
import type { Value } from '../types/value.js';

export type Volatility = 'immutable' | 'stable' | 'volatile';

/** Method syntax: an implementation narrows the parameters to the shapes of its argument types. */
export type Evaluate = {
  call(
    a: Value | SessionView,
    b: Value | undefined,
    c: Value | undefined,
    d: Value | undefined,
    e: Value | undefined,
    ...rest: Value[]
  ): Value;
}['call'];
export type EvaluateSet = {
  call(
    a: Value | SessionView,
    b: Value | undefined,
    c: Value | undefined,
    d: Value | undefined,
    e: Value | undefined,
    ...rest: Value[]
  ): Iterable<Value>;
}['call'];

export interface FunctionDef {
  readonly name: string;
  /** Declared types; anyelement and its family are resolved against the actual ones. */
  readonly args: readonly number[];
  readonly result: number;
  readonly strict: boolean;
  readonly volatility: Volatility;
  readonly session: boolean;
  /** The last of `args` (an array, or "any") takes any number of arguments of its element's type, one at least. */
  readonly variadic: boolean;
  /** How many trailing arguments may be left out; `evaluate` then sees undefined in their place. */
  readonly optional: number;
  /** `evaluateSet` instead of `evaluate`. */
  readonly returnsSet: boolean;
  readonly evaluate: Evaluate | null;
  readonly evaluateSet: EvaluateSet | null;
  /** Makes `evaluate` for the actual types, where they matter (polymorphic and "any" arguments). */
  readonly bind: ((argOids: readonly number[], resultOid: number) => Evaluate) | null;
  readonly bindSet: ((argOids: readonly number[], resultOid: number) => EvaluateSet) | null;
  /** Output columns of a set function in FROM with more than one; null: one, named like the function. */
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[] | null;
}

export type FunctionOptions = Partial<
  Omit<FunctionDef, 'name' | 'args' | 'result' | 'evaluate' | 'evaluateSet' | 'returnsSet'>
>;

/** A function with `evaluate`; strict and immutable unless said otherwise. */
export function fn(
  name: string,
  args: readonly number[],
  result: number,
  evaluate: Evaluate | null,
  options: FunctionOptions = {},
): FunctionDef {
  return {
    name,
    args,
    result,
    strict: options.strict ?? true,
    volatility: options.volatility ?? (options.session === true ? 'stable' : 'immutable'),
    session: options.session ?? false,
    variadic: options.variadic ?? false,
    optional: options.optional ?? 0,
    returnsSet: false,
    evaluate,
    evaluateSet: null,
    bind: options.bind ?? null,
    bindSet: null,
    columns: options.columns ?? null,
  };
}

/** A set-returning function. */
export function setFn(
  name: string,
  args: readonly number[],
  result: number,
  evaluateSet: EvaluateSet | null,
  options: FunctionOptions = {},
): FunctionDef {
  return {
    ...fn(name, args, result, null, options),
    returnsSet: true,
    evaluateSet,
    bindSet: options.bindSet ?? null,
  };
}

const functions = new Map<string, FunctionDef[]>();

/** Adds functions; one with the same name and argument types replaces the one before. */
export function registerFunctions(list: readonly FunctionDef[]): void {
  for (const def of list) {
    const sameName = functions.get(def.name) ?? [];
    const at = sameName.findIndex((other) => sameArgs(other.args, def.args));
    if (at >= 0) sameName[at] = def;
    else sameName.push(def);
    functions.set(def.name, sameName);
  }
}

const sameArgs = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((oid, i) => oid === b[i]);

export const functionsNamed = (name: string): readonly FunctionDef[] => functions.get(name) ?? [];
export function* allFunctions(): IterableIterator<FunctionDef> {
  for (const list of functions.values()) yield* list;
}

export interface OperatorDef {
  readonly name: string;
  /** 0: prefix operator. */
  readonly left: number;
  readonly right: number;
  readonly result: number;
  readonly strict: boolean;
  readonly volatility: Volatility;
  readonly session: boolean;
  readonly evaluate: Evaluate | null;
  readonly bind: ((argOids: readonly number[], resultOid: number) => Evaluate) | null;
  /** The operator with its sides swapped, as in `<` and `>`; null: none. */
  readonly commutator: string | null;
  readonly negator: string | null;
}

const COMMUTATORS: Record<string, string> = {
  '=': '=',
  '<>': '<>',
  '<': '>',
  '>': '<',
  '<=': '>=',
  '>=': '<=',
  '@>': '<@',
  '<@': '@>',
  '&&': '&&',
};
const NEGATORS: Record<string, string> = {
  '=': '<>',
  '<>': '=',
  '<': '>=',
  '>=': '<',
  '>': '<=',
  '<=': '>',
  '~~': '!~~',
  '!~~': '~~',
  '~~*': '!~~*',
  '!~~*': '~~*',
  '~': '!~',
  '!~': '~',
  '~*': '!~*',
  '!~*': '~*',
};

const operators = new Map<string, OperatorDef[]>();

export function registerOperators(list: readonly OperatorDef[]): void {
  for (const def of list) {
    const sameName = operators.get(def.name);
    if (sameName === undefined) operators.set(def.name, [def]);
    else sameName.push(def);
  }
}

export const operatorsNamed = (name: string): readonly OperatorDef[] => operators.get(name) ?? [];
export function* allOperators(): IterableIterator<OperatorDef> {
  for (const list of operators.values()) yield* list;
}

export function op(
  name: string,
  left: number,
  right: number,
  result: number,
  evaluate: Evaluate | null,
  options: Partial<Pick<OperatorDef, 'bind' | 'session' | 'volatility' | 'strict'>> = {},
): OperatorDef {
  return {
    name,
    left,
    right,
    result,
    strict: options.strict ?? true,
    volatility: options.volatility ?? (options.session === true ? 'stable' : 'immutable'),
    session: options.session ?? false,
    evaluate,
    bind: options.bind ?? null,
    commutator: COMMUTATORS[name] ?? null,
    negator: NEGATORS[name] ?? null,
  };
}

/**
 * An aggregate: `state = init()`, then `state = step(state, a, b)` for each row, then `final(state)`. DISTINCT, FILTER,
 * ORDER BY and, for strict ones, leaving out rows with a NULL argument are the executor's part.
 */
export interface AggregateDef {
  readonly name: string;
  readonly args: readonly number[];
  readonly result: number;
  /** Rows with a NULL among the arguments are not stepped. */
  readonly strict: boolean;
  readonly variadic: boolean;
  bind(argOids: readonly number[], resultOid: number): BoundAggregate;
}

/** States are opaque; a state is used by one group only, so `step` may change it in place. */
export interface BoundAggregate {
  init(): unknown;
  step(state: unknown, a: Value, b: Value): unknown;
  final(state: unknown, context: TextContext): Value;
}

const aggregates = new Map<string, AggregateDef[]>();

export function registerAggregates(list: readonly AggregateDef[]): void {
  for (const def of list) {
    const sameName = aggregates.get(def.name);
    if (sameName === undefined) aggregates.set(def.name, [def]);
    else sameName.push(def);
  }
}

export const aggregatesNamed = (name: string): readonly AggregateDef[] =>
  aggregates.get(name) ?? [];
