/**
 * What binder and executor ask of the type system: names, casts, operators, functions, order. One implementation
 * stands over the types layer; tests may bring a small one.
 */
import type { ExecutionContext } from '../statement.js';
import type { Value } from '../../types/value.js';

export const BOOL = 16;
export const BYTEA = 17;
export const CHAR = 18;
export const NAME = 19;
export const INT8 = 20;
export const INT2 = 21;
export const INT4 = 23;
export const REGPROC = 24;
export const TEXT = 25;
export const OID = 26;
export const FLOAT4 = 700;
export const FLOAT8 = 701;
export const UNKNOWN = 705;
export const BPCHAR = 1042;
export const VARCHAR = 1043;
export const DATE = 1082;
export const TIME = 1083;
export const TIMESTAMP = 1114;
export const TIMESTAMPTZ = 1184;
export const INTERVAL = 1186;
export const TIMETZ = 1266;
export const BIT = 1560;
export const NUMERIC = 1700;
export const REGCLASS = 2205;
export const RECORD = 2249;
export const VOID = 2278;

export type CastContext = 'implicit' | 'assignment' | 'explicit';

/** An operator or a function for given argument types. The caller has cast its arguments to `argOids`. */
export interface Routine {
  readonly name: string;
  readonly argOids: readonly number[];
  readonly resultOid: number;
  /** Any NULL argument makes the result NULL without a call. */
  readonly strict: boolean;
  readonly volatility: 'immutable' | 'stable' | 'volatile';
  /** Called with exactly `argOids.length` values, the session before them when `needsContext`. */
  readonly call: (...args: never[]) => unknown;
  readonly needsContext: boolean;
  /** Set-returning: `call` gives an iterable of values (or of Value[] for several columns). */
  readonly setReturning: boolean;
  /** Names and types of the columns of a set- or record-returning function, when not one unnamed. */
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[] | null;
}

export interface AggregateState {
  add(args: readonly Value[]): void;
  result(): Value;
}

export interface AggregateRoutine {
  readonly name: string;
  readonly argOids: readonly number[];
  readonly resultOid: number;
  /** Rows with a NULL in the arguments are skipped. */
  readonly strict: boolean;
  start(): AggregateState;
}

/** null `apply`: the value stays as it is. */
export interface Conversion {
  readonly apply: ((value: Value, context: ExecutionContext) => Value) | null;
  /** Depends on settings such as the time zone: not to be folded at bind time. */
  readonly stable: boolean;
}

export type Resolution<T> = T | 'ambiguous' | null;

export interface TypeSystem {
  /** As format_type gives it. */
  typeName(oid: number, typmod?: number): string;
  /** By name as the parser gives it (`int4`, `varchar`); null: not here. */
  findType(schema: string | null, name: string): number | null;
  /** Typmod of `numeric(10, 2)` and the like; throws 22023 and the like. */
  makeTypmod(oid: number, modifiers: readonly number[]): number;
  arrayOf(oid: number): number;
  /** 0: not an array. */
  elementOf(oid: number): number;
  /** PostgreSQL's select_common_type; null: they do not match. Unknown literals are of type UNKNOWN. */
  commonType(oids: readonly number[]): number | null;
  cast(from: number, to: number, context: CastContext): Conversion | null;
  /** Length coercion to a typmod; null: nothing to do. */
  applyTypmod(oid: number, typmod: number, explicit: boolean): ((value: Value) => Value) | null;
  /** Input function: `text` as a value of the type; throws 22P02 and the like. */
  input(oid: number, typmod: number, text: string, context: ExecutionContext | null): Value;
  output(oid: number, value: Value): string;
  /** left 0: a prefix operator. */
  operator(name: string, left: number, right: number): Resolution<Routine>;
  func(schema: string | null, name: string, argOids: readonly number[]): Resolution<Routine>;
  aggregate(
    schema: string | null,
    name: string,
    argOids: readonly number[],
    star: boolean,
  ): Resolution<AggregateRoutine>;
  /** The type's btree order, NULLs not passed; null: it has none. */
  comparator(oid: number): ((a: Value, b: Value) => number) | null;
  /** A primitive such that two values are equal exactly when their keys are; null: not hashable. */
  hashKey(oid: number): ((value: Value) => string | number | bigint | boolean) | null;
}
