/**
 * How to read one table: which index, which part of its key comes from the conditions, which order it gives.
 *
 * A condition serves an index when one side is a plain column of the table and the other does not depend on it. The
 * value is converted to the column's type where the operator joined two integer types (a bigint parameter against an
 * integer column); values out of the column's range make an empty or an open bound. All conditions stay as filters,
 * since an index entry may be older than the row's visible version.
 */
import type { IndexDef } from '../../catalog/definitions.js';
import type { SqlArray, Value } from '../../types/value.js';
import type { Expr } from '../bind/expression.js';
import { isVolatile } from '../bind/expression.js';
import type { SortKey, TableRelation } from '../bind/query.js';
import type { TypeSystem } from '../bind/type-system.js';
import { BPCHAR, INT2, INT4, INT8, NAME, OID, TEXT, VARCHAR } from '../bind/type-system.js';
import type { Evaluator, Frame } from '../execute/frame.js';
import { isArray } from '../execute/evaluate.js';
import type { ProbePlan } from '../execute/scan.js';

export interface Access {
  readonly index: IndexDef | null;
  readonly probe: ProbePlan | null;
  readonly reverse: boolean;
  readonly rows: number;
  readonly cost: number;
  /** Rows come in the order that was asked for. */
  readonly ordered: boolean;
  readonly text: readonly string[];
}

type Comparison = '=' | '<' | '<=' | '>' | '>=';

/** column op value, as an index may use it. */
export interface Condition {
  readonly column: number;
  readonly comparison: Comparison | 'in';
  /** For `in`: one per item, or one array. */
  readonly values: readonly Expr[];
  readonly isArray: boolean;
  readonly source: Expr;
}

const FLIPPED: Record<Comparison, Comparison> = {
  '=': '=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};
const INTEGERS = new Set([INT2, INT4, INT8, OID]);
const STRINGS = new Set([TEXT, VARCHAR, NAME]);

/** Whether a value of type `from` finds its equals in a key column of type `column`. */
function comparable(column: number, from: number): boolean {
  if (column === from) return true;
  if (INTEGERS.has(column) && INTEGERS.has(from)) return true;
  if (column === BPCHAR || from === BPCHAR) return false;
  return STRINGS.has(column) && STRINGS.has(from);
}

/** A column of the relation, seen through casts that keep its order. */
function columnOf(r: TableRelation, e: Expr): number {
  if (e.op === 'cast' && e.how !== 'io') {
    if (e.arg.op !== 'slot' || !comparable(e.arg.type, e.type)) return -1;
    return columnOf(r, e.arg);
  }
  if (e.op !== 'slot' || e.relation !== r.id) return -1;
  return r.slots.indexOf(e.slot);
}

function isFree(e: Expr, allowed: (e: Expr) => boolean): boolean {
  return allowed(e) && !isVolatile(e);
}

/** Conditions on this relation's columns whose other side is ready before it is read. */
export function conditionsOf(
  r: TableRelation,
  conjuncts: readonly Expr[],
  ready: (e: Expr) => boolean,
): Condition[] {
  const all: Condition[] = [];
  for (const e of conjuncts) {
    if (e.op === 'call' && e.operator !== null && e.operator in FLIPPED && e.args.length === 2) {
      const [a, b] = e.args as [Expr, Expr];
      const op = e.operator as Comparison;
      const left = columnOf(r, a);
      if (left >= 0 && isFree(b, ready) && fits(r, left, b))
        all.push({ column: left, comparison: op, values: [b], isArray: false, source: e });
      const right = columnOf(r, b);
      if (right >= 0 && isFree(a, ready) && fits(r, right, a))
        all.push({
          column: right,
          comparison: FLIPPED[op],
          values: [a],
          isArray: false,
          source: e,
        });
    } else if (e.op === 'in' && !e.negated) {
      const column = columnOf(r, e.left);
      if (column >= 0 && e.items.every((i) => isFree(i, ready) && fits(r, column, i)))
        all.push({ column, comparison: 'in', values: e.items, isArray: false, source: e });
    } else if (e.op === 'array-op' && !e.all && e.operator === '=') {
      const column = columnOf(r, e.left);
      const element = e.routine.argOids[1] as number;
      if (
        column >= 0 &&
        isFree(e.array, ready) &&
        comparable(r.table.columns[column]?.typeOid ?? 0, element)
      )
        all.push({ column, comparison: 'in', values: [e.array], isArray: true, source: e });
    }
  }
  return all;
}

function fits(r: TableRelation, column: number, value: Expr): boolean {
  return comparable(r.table.columns[column]?.typeOid ?? 0, value.type);
}

const LIMITS: Record<number, readonly [bigint, bigint]> = {
  [INT2]: [-32768n, 32767n],
  [INT4]: [-2147483648n, 2147483647n],
  [OID]: [0n, 4294967295n],
  [INT8]: [-9223372036854775808n, 9223372036854775807n],
};

/** The value in the column's own type; `out`: what stands for one that the column cannot hold. */
function convert(column: number, from: number, v: Value, out: 'none' | 'clamp'): Value {
  if (column === from || v === null || !INTEGERS.has(column)) return v;
  const limits = LIMITS[column] as readonly [bigint, bigint];
  let n = typeof v === 'bigint' ? v : BigInt(v as number);
  if (n < limits[0] || n > limits[1]) {
    if (out === 'none') return null;
    n = n < limits[0] ? limits[0] : limits[1];
  }
  return column === INT8 ? n : Number(n);
}

/** The cheapest way; `order`: what the query would like its rows sorted by. */
export function chooseAccess(
  types: TypeSystem,
  r: TableRelation,
  conditions: readonly Condition[],
  tableRows: number,
  order: readonly SortKey[] | null,
  compile: (e: Expr) => Evaluator,
): Access {
  const rows = Math.max(1, tableRows);
  let best: Access = {
    index: null,
    probe: null,
    reverse: false,
    rows: Math.max(1, rows * Math.pow(0.3, Math.min(3, conditions.length))),
    cost: rows + 2,
    ordered: false,
    text: [],
  };
  const penalty = order === null || order.length === 0 ? 0 : Math.log2(rows + 2) * 0.3;
  let bestCost = best.cost + best.rows * penalty;
  for (const index of r.table.indexes) {
    const access = indexAccess(types, r, index, conditions, rows, order, compile);
    if (access === null) continue;
    const cost = access.cost + (access.ordered ? 0 : access.rows * penalty);
    if (cost < bestCost) {
      best = access;
      bestCost = cost;
    }
  }
  return best;
}

function indexAccess(
  types: TypeSystem,
  r: TableRelation,
  index: IndexDef,
  conditions: readonly Condition[],
  tableRows: number,
  order: readonly SortKey[] | null,
  compile: (e: Expr) => Evaluator,
): Access | null {
  const prefix: Evaluator[] = [];
  const used: string[] = [];
  let at = 0;
  let list: ProbePlan['list'] = null;
  for (; at < index.columns.length; at++) {
    const key = index.columns[at] as IndexDef['columns'][number];
    const found = conditions.find((c) => c.column === key.column && c.comparison === '=');
    if (found !== undefined) {
      prefix.push(converted(compile, key.typeOid, found.values[0] as Expr, 'none'));
      used.push(columnText(r, key.column, '='));
      continue;
    }
    const within = conditions.find((c) => c.column === key.column && c.comparison === 'in');
    if (within !== undefined) {
      list = listOf(types, compile, key.typeOid, within);
      used.push(columnText(r, key.column, 'IN'));
      at++;
    }
    break;
  }
  const range = list === null ? rangeOf(r, index, at, conditions, compile, used) : null;
  const sorted =
    list === null && order !== null && order.length > 0
      ? orderOf(r, index, at, conditions, order)
      : null;
  const isBare = prefix.length === 0 && list === null && range === null;
  if (isBare && sorted === null) return null;
  const next = index.columns[at];
  const probe: ProbePlan = {
    prefix,
    list,
    lower: range?.lower ?? null,
    lowerInclusive: range?.lowerInclusive ?? true,
    upper: range?.upper ?? null,
    upperInclusive: range?.upperInclusive ?? true,
    descending: next?.descending ?? false,
  };
  const rows = estimate(index, at, tableRows, range, list !== null);
  return {
    index,
    probe: isBare ? null : probe,
    reverse: sorted === 'backward',
    rows,
    // An ordered walk of the whole table is worth it only when few rows are taken; LIMIT halves its price.
    cost: isBare ? rows * 1.2 + 2 : rows * 1.5 + 1,
    ordered: sorted !== null,
    text: used.length === 0 ? [] : [`Index Cond: (${used.join(' AND ')})`],
  };
}

function estimate(
  index: IndexDef,
  matched: number,
  tableRows: number,
  range: Range | null,
  isList: boolean,
): number {
  if (matched === index.columns.length && index.unique) return isList ? 4 : 1;
  let rows = tableRows;
  for (let i = 0; i < matched; i++) rows *= i === 0 && index.columns.length === 1 ? 0.01 : 0.05;
  if (range !== null) rows *= range.lower !== null && range.upper !== null ? 0.02 : 0.3;
  if (isList) rows *= 4;
  return Math.max(1, Math.min(rows, tableRows));
}

function columnText(r: TableRelation, column: number, op: string): string {
  return `${r.table.columns[column]?.name ?? ''} ${op} ...`;
}

function converted(
  compile: (e: Expr) => Evaluator,
  columnType: number,
  e: Expr,
  out: 'none' | 'clamp',
): Evaluator {
  const evaluate = compile(e);
  const from = e.type;
  if (from === columnType || !INTEGERS.has(columnType)) return evaluate;
  return (f: Frame) => convert(columnType, from, evaluate(f), out);
}

function listOf(
  types: TypeSystem,
  compile: (e: Expr) => Evaluator,
  columnType: number,
  c: Condition,
): NonNullable<ProbePlan['list']> {
  const evaluators = c.values.map(compile);
  const from = c.isArray ? types.elementOf((c.values[0] as Expr).type) : 0;
  const compare = types.comparator(columnType);
  return (f) => {
    let values: Value[];
    if (c.isArray) {
      const array = (evaluators[0] as Evaluator)(f);
      values =
        array !== null && isArray(array)
          ? (array as SqlArray).elements.map((v) => convert(columnType, from, v, 'none'))
          : [];
    } else {
      values = evaluators.map((e, i) =>
        convert(columnType, (c.values[i] as Expr).type, e(f), 'none'),
      );
    }
    const known = values.filter((v) => v !== null);
    if (compare === null) return known;
    // In key order and each once: no row twice.
    known.sort(compare);
    return known.filter((v, i) => i === 0 || compare(known[i - 1] as Value, v) !== 0);
  };
}

interface Range {
  lower: Evaluator | null;
  lowerInclusive: boolean;
  upper: Evaluator | null;
  upperInclusive: boolean;
}

function rangeOf(
  r: TableRelation,
  index: IndexDef,
  at: number,
  conditions: readonly Condition[],
  compile: (e: Expr) => Evaluator,
  used: string[],
): Range | null {
  const key = index.columns[at];
  if (key === undefined) return null;
  const range: Range = { lower: null, lowerInclusive: true, upper: null, upperInclusive: true };
  for (const c of conditions) {
    if (c.column !== key.column || c.comparison === '=' || c.comparison === 'in') continue;
    const value = c.values[0] as Expr;
    // A clamped bound must not exclude the limit itself; the filter stays exact.
    const exact = value.type === key.typeOid;
    const evaluate = converted(compile, key.typeOid, value, 'clamp');
    if (c.comparison === '>' || c.comparison === '>=') {
      if (range.lower !== null) continue;
      range.lower = evaluate;
      range.lowerInclusive = c.comparison === '>=' || !exact;
    } else {
      if (range.upper !== null) continue;
      range.upper = evaluate;
      range.upperInclusive = c.comparison === '<=' || !exact;
    }
    used.push(columnText(r, key.column, c.comparison));
  }
  return range.lower === null && range.upper === null ? null : range;
}

/** Whether the index, from column `at` on, gives the wanted order; columns fixed by equality do not matter. */
function orderOf(
  r: TableRelation,
  index: IndexDef,
  at: number,
  conditions: readonly Condition[],
  order: readonly SortKey[],
): 'forward' | 'backward' | null {
  let direction: 'forward' | 'backward' | null = null;
  let next = at;
  for (const key of order) {
    const column = columnOf(r, key.expr);
    if (column < 0 || key.expr.op !== 'slot') return null;
    if (conditions.some((c) => c.column === column && c.comparison === '=')) continue;
    const own = index.columns[next];
    if (own === undefined || own.column !== column) {
      // A unique key before this point leaves nothing to sort.
      return null;
    }
    const same = own.descending === key.descending;
    const wanted = same ? 'forward' : 'backward';
    if (direction !== null && direction !== wanted) return null;
    const notNull = r.table.columns[column]?.notNull === true;
    if (!notNull && (own.nullsFirst === key.nullsFirst) !== same) return null;
    direction = wanted;
    next++;
    if (next === index.columns.length && index.unique) return direction;
  }
  return direction ?? 'forward';
}
