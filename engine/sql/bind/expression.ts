/**
 * Bound expressions: names are slots, types are known, casts are explicit.
 *
 * All relations of a statement, its sub-queries included, share one flat array of values, the frame's slots. Whoever
 * produces a column owns its slot: a scan decodes into it, an aggregate or a projection computes into it. A correlated
 * sub-query therefore simply reads its outer query's slots.
 */
import type { Value } from '../../types/value.js';
import type { Routine } from './type-system.js';
import type { BoundQuery } from './query.js';

export interface ConstExpr {
  readonly op: 'const';
  readonly type: number;
  readonly typmod: number;
  readonly value: Value;
  readonly location: number;
}
export interface ParamExpr {
  readonly op: 'param';
  /** Follows the inference: read it through `typeOf`. */
  type: number;
  readonly typmod: number;
  readonly index: number;
  readonly location: number;
}
export interface SlotExpr {
  readonly op: 'slot';
  readonly type: number;
  readonly typmod: number;
  readonly slot: number;
  /** Relation that produces it; 0 for computed slots (aggregates, windows, groups). */
  readonly relation: number;
  readonly name: string;
  readonly location: number;
}
export interface CallExpr {
  readonly op: 'call';
  readonly type: number;
  readonly typmod: number;
  readonly routine: Routine;
  readonly args: readonly Expr[];
  /** How it was written, for EXPLAIN and index matching. */
  readonly operator: string | null;
  readonly location: number;
}
export interface CastExpr {
  readonly op: 'cast';
  readonly type: number;
  readonly typmod: number;
  readonly arg: Expr;
  readonly from: number;
  readonly explicit: boolean;
  /** 'type': convert; 'length': coerce to typmod only; 'relabel': nothing at run time. */
  readonly how: 'type' | 'length' | 'relabel' | 'io';
  readonly location: number;
}
export interface LogicExpr {
  readonly op: 'and' | 'or' | 'not';
  readonly type: number;
  readonly typmod: number;
  readonly args: readonly Expr[];
}
export interface TestExpr {
  readonly op: 'test';
  readonly type: number;
  readonly typmod: number;
  readonly test:
    | 'null'
    | 'not null'
    | 'true'
    | 'not true'
    | 'false'
    | 'not false'
    | 'unknown'
    | 'not unknown';
  readonly arg: Expr;
}
export interface DistinctExpr {
  readonly op: 'distinct';
  readonly type: number;
  readonly typmod: number;
  readonly negated: boolean;
  /** The equality, over `args`. */
  readonly equal: Routine;
  readonly args: readonly [Expr, Expr];
}
export interface NullifExpr {
  readonly op: 'nullif';
  readonly type: number;
  readonly typmod: number;
  readonly equal: Routine;
  readonly args: readonly [Expr, Expr];
  /** The first argument uncast: the result. */
  readonly value: Expr;
}
export interface CaseExpr {
  readonly op: 'case';
  readonly type: number;
  readonly typmod: number;
  readonly whens: readonly { readonly when: Expr; readonly result: Expr }[];
  readonly otherwise: Expr | null;
  /** CASE x WHEN ..: x is evaluated once into `slot`. */
  readonly subject: Expr | null;
  readonly slot: number;
}
export interface ListExpr {
  readonly op: 'coalesce' | 'row';
  readonly type: number;
  readonly typmod: number;
  readonly args: readonly Expr[];
}
export interface MinMaxExpr {
  readonly op: 'greatest' | 'least';
  readonly type: number;
  readonly typmod: number;
  readonly args: readonly Expr[];
}
export interface ArrayExpr {
  readonly op: 'array';
  readonly type: number;
  readonly typmod: number;
  readonly args: readonly Expr[];
}
/** x op ANY/ALL (array): per element. */
export interface ArrayOpExpr {
  readonly op: 'array-op';
  readonly type: number;
  readonly typmod: number;
  readonly routine: Routine;
  readonly operator: string;
  readonly all: boolean;
  readonly left: Expr;
  readonly array: Expr;
}
/** x IN (a, b, c): all of one type. */
export interface InExpr {
  readonly op: 'in';
  readonly type: number;
  readonly typmod: number;
  readonly routine: Routine;
  readonly negated: boolean;
  readonly left: Expr;
  readonly items: readonly Expr[];
}
export interface SubqueryExpr {
  readonly op: 'subquery';
  readonly type: number;
  readonly typmod: number;
  readonly how: 'scalar' | 'exists' | 'any' | 'all' | 'array';
  readonly query: BoundQuery;
  /** any/all: `test` compares outer values with the sub-query's output slots. */
  readonly test: Expr | null;
  /** For `= ANY`: left side and equality, so that an uncorrelated one can be hashed. */
  readonly left: Expr | null;
  readonly location: number;
}
export interface SubscriptExpr {
  readonly op: 'subscript';
  readonly type: number;
  readonly typmod: number;
  readonly arg: Expr;
  readonly indexes: readonly Expr[];
}
export interface SlotsRowExpr {
  readonly op: 'field';
  readonly type: number;
  readonly typmod: number;
  readonly arg: Expr;
  readonly index: number;
}

export type Expr =
  | ConstExpr
  | ParamExpr
  | SlotExpr
  | CallExpr
  | CastExpr
  | LogicExpr
  | TestExpr
  | DistinctExpr
  | NullifExpr
  | CaseExpr
  | ListExpr
  | MinMaxExpr
  | ArrayExpr
  | ArrayOpExpr
  | InExpr
  | SubqueryExpr
  | SubscriptExpr
  | SlotsRowExpr;

/** Direct operands. */
export function childrenOf(e: Expr): readonly Expr[] {
  switch (e.op) {
    case 'const':
    case 'param':
    case 'slot':
      return [];
    case 'cast':
    case 'test':
    case 'field':
      return [e.arg];
    case 'nullif':
      return [...e.args, e.value];
    case 'case': {
      const all: Expr[] = e.subject === null ? [] : [e.subject];
      for (const w of e.whens) all.push(w.when, w.result);
      if (e.otherwise !== null) all.push(e.otherwise);
      return all;
    }
    case 'array-op':
      return [e.left, e.array];
    case 'in':
      return [e.left, ...e.items];
    case 'subquery':
      return e.test === null ? [] : e.left === null ? [e.test] : [e.test, e.left];
    case 'subscript':
      return [e.arg, ...e.indexes];
    case 'and':
    case 'or':
    case 'not':
    case 'coalesce':
    case 'row':
    case 'greatest':
    case 'least':
    case 'array':
    case 'call':
    case 'distinct':
      return e.args;
  }
}

/** The same expression over other operands, in the order of `childrenOf`. */
export function withChildren(e: Expr, c: readonly Expr[]): Expr {
  const at = (i: number): Expr => c[i] as Expr;
  switch (e.op) {
    case 'const':
    case 'param':
    case 'slot':
      return e;
    case 'cast':
    case 'test':
    case 'field':
      return { ...e, arg: at(0) };
    case 'nullif':
      return { ...e, args: [at(0), at(1)], value: at(2) };
    case 'distinct':
      return { ...e, args: [at(0), at(1)] };
    case 'case': {
      let i = 0;
      const subject = e.subject === null ? null : at(i++);
      const whens = e.whens.map(() => ({ when: at(i++), result: at(i++) }));
      return { ...e, subject, whens, otherwise: e.otherwise === null ? null : at(i) };
    }
    case 'array-op':
      return { ...e, left: at(0), array: at(1) };
    case 'in':
      return { ...e, left: at(0), items: c.slice(1) };
    case 'subquery':
      return { ...e, test: e.test === null ? null : at(0), left: e.left === null ? null : at(1) };
    case 'subscript':
      return { ...e, arg: at(0), indexes: c.slice(1) };
    case 'and':
    case 'or':
    case 'not':
    case 'coalesce':
    case 'row':
    case 'greatest':
    case 'least':
    case 'array':
    case 'call':
      return { ...e, args: c };
  }
}

/** Top-down rewriting: the first non-null answer of `replace` stands for a whole sub-tree. */
export function rewrite(e: Expr, replace: (e: Expr) => Expr | null): Expr {
  const r = replace(e);
  if (r !== null) return r;
  const children = childrenOf(e);
  if (children.length === 0) return e;
  const next = children.map((c) => rewrite(c, replace));
  return next.every((c, i) => c === children[i]) ? e : withChildren(e, next);
}

export function walk(e: Expr, visit: (e: Expr) => void): void {
  visit(e);
  for (const c of childrenOf(e)) walk(c, visit);
}

export function some(e: Expr, test: (e: Expr) => boolean): boolean {
  return test(e) || childrenOf(e).some((c) => some(c, test));
}

export function hasSubquery(e: Expr): boolean {
  return some(e, (x) => x.op === 'subquery');
}

export function isVolatile(e: Expr): boolean {
  return some(
    e,
    (x) => (x.op === 'call' && x.routine.volatility === 'volatile') || x.op === 'subquery',
  );
}

/** Same value for the same row: what GROUP BY, DISTINCT ON and index matching compare. */
export function sameExpr(a: Expr, b: Expr): boolean {
  if (a === b) return true;
  if (a.op !== b.op || a.type !== b.type) return false;
  if (a.op === 'const' && b.op === 'const') return a.value === b.value && a.typmod === b.typmod;
  if (a.op === 'param' && b.op === 'param') return a.index === b.index;
  if (a.op === 'slot' && b.op === 'slot') return a.slot === b.slot;
  if (a.op === 'subquery') return false;
  if (a.op === 'call' && b.op === 'call' && !sameRoutine(a.routine, b.routine)) return false;
  if (a.op === 'call' && a.routine.volatility === 'volatile') return false;
  if (a.op === 'cast' && b.op === 'cast' && (a.typmod !== b.typmod || a.how !== b.how))
    return false;
  if (a.op === 'test' && b.op === 'test' && a.test !== b.test) return false;
  if (a.op === 'distinct' && b.op === 'distinct' && a.negated !== b.negated) return false;
  if (a.op === 'in' && b.op === 'in' && a.negated !== b.negated) return false;
  if (a.op === 'array-op' && b.op === 'array-op' && (a.all !== b.all || a.operator !== b.operator))
    return false;
  if (a.op === 'field' && b.op === 'field' && a.index !== b.index) return false;
  const x = childrenOf(a);
  const y = childrenOf(b);
  return x.length === y.length && x.every((c, i) => sameExpr(c, y[i] as Expr));
}

function sameRoutine(a: Routine, b: Routine): boolean {
  return (
    a.name === b.name &&
    a.argOids.length === b.argOids.length &&
    a.argOids.every((oid, i) => oid === b.argOids[i])
  );
}

/** Conjuncts of a condition. */
export function conjuncts(e: Expr | null, into: Expr[] = []): Expr[] {
  if (e === null) return into;
  if (e.op === 'and') for (const a of e.args) conjuncts(a, into);
  else into.push(e);
  return into;
}
