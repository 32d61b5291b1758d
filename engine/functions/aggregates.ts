/** Aggregates. States are changed in place; sums are exact, as PostgreSQL's are. */
import * as n from '../types/numeric.js';
import { numericSqrt } from '../types/numeric-math.js';
import { makeArray } from '../types/array.js';
import { toUtf8 } from '../types/bytes.js';
import { OID } from '../types/oids.js';
import { allTypes, typeOf } from '../types/registry.js';
import type { Interval, SqlArray, Value } from '../types/value.js';
import type { TextContext } from '../types/sql-type.js';
import { int8 } from './arithmetic.js';
import { addIntervals, divideInterval } from './interval-math.js';
import { registerAggregates, type AggregateDef, type BoundAggregate } from './function.js';
import { jsonOf } from './json.js';

/** Method syntax: states and values narrow freely. */
interface Steps<State> {
  init(): State;
  step(state: State, a: Value, b: Value): State;
  final(state: State, context: TextContext): Value;
}

function aggregate<State>(
  name: string,
  args: readonly number[],
  result: number,
  steps: Steps<State> | ((argOids: readonly number[], resultOid: number) => Steps<State>),
  strict = true,
): AggregateDef {
  const bind = (argOids: readonly number[], resultOid: number): BoundAggregate =>
    (typeof steps === 'function' ? steps(argOids, resultOid) : steps) as unknown as BoundAggregate;
  return { name, args, result, strict, variadic: false, bind };
}

interface Count {
  count: number;
}
const counting: Steps<Count> = {
  init: () => ({ count: 0 }),
  step(state) {
    state.count++;
    return state;
  },
  final: (state) => BigInt(state.count),
};

/** Hot: whole numbers add up as doubles and move into the bigint before they could round. */
interface WholeSum {
  count: number;
  low: number;
  high: bigint;
}
const LOW_MAX = 2 ** 52;
const newWholeSum = (): WholeSum => ({ count: 0, low: 0, high: 0n });

function addWhole(state: WholeSum, a: Value): WholeSum {
  state.count++;
  if (typeof a === 'bigint') {
    state.high += a;
    return state;
  }
  state.low += a as number;
  if (state.low > LOW_MAX || state.low < -LOW_MAX) {
    state.high += BigInt(state.low);
    state.low = 0;
  }
  return state;
}
const wholeTotal = (state: WholeSum): bigint => state.high + BigInt(state.low);

const sumWhole = (finish: (total: bigint) => Value): Steps<WholeSum> => ({
  init: newWholeSum,
  step: addWhole,
  final: (state) => (state.count === 0 ? null : finish(wholeTotal(state))),
});

const averageWhole: Steps<WholeSum> = {
  init: newWholeSum,
  step: addWhole,
  final: (state) =>
    state.count === 0
      ? null
      : n.divNumeric(n.fromBigint(wholeTotal(state)), n.fromInteger(state.count)),
};

interface NumericSum {
  count: number;
  sum: n.Numeric;
}
function numericTotal(finish: (state: NumericSum) => Value): Steps<NumericSum> {
  return {
    init: () => ({ count: 0, sum: n.ZERO }),
    step(state, a: n.Numeric) {
      state.count++;
      state.sum = n.addNumeric(state.sum, a);
      return state;
    },
    final: (state) => (state.count === 0 ? null : finish(state)),
  };
}

/** Youngs and Cramer, as float8_accum: sum, and sum of squares of differences. */
interface FloatSum {
  count: number;
  sum: number;
  squares: number;
}
function floatTotal(finish: (state: FloatSum) => Value): Steps<FloatSum> {
  return {
    init: () => ({ count: 0, sum: 0, squares: 0 }),
    step(state, a: number) {
      const before = state.count;
      state.count++;
      state.sum += a;
      if (before > 0) {
        const difference = a * state.count - state.sum;
        state.squares += (difference * difference) / (state.count * before);
      } else if (!Number.isFinite(a)) {
        state.squares = Number.NaN;
      }
      return state;
    },
    final: (state) => (state.count === 0 ? null : finish(state)),
  };
}

interface IntervalSum {
  count: number;
  sum: Interval;
}
function intervalTotal(finish: (state: IntervalSum) => Value): Steps<IntervalSum> {
  return {
    init: () => ({ count: 0, sum: { months: 0, days: 0, micros: 0n } }),
    step(state, a: Interval) {
      state.count++;
      state.sum = addIntervals(state.sum, a);
      return state;
    },
    final: (state) => (state.count === 0 ? null : finish(state)),
  };
}

interface Held {
  value: Value;
}
function extreme(oid: number, sign: 1 | -1): Steps<Held> {
  const type = typeOf(oid);
  const numeric = type.storage === 'int4' || type.storage === 'int2' || type.storage === 'int8';
  return {
    init: () => ({ value: null }),
    step(state, a: number) {
      if (state.value === null) state.value = a;
      // Hot: no call for whole numbers.
      else if (
        numeric
          ? sign > 0
            ? a > (state.value as number)
            : a < (state.value as number)
          : type.compare(a, state.value) * sign > 0
      ) {
        state.value = a;
      }
      return state;
    },
    final: (state) => state.value,
  };
}

const boolean = (all: boolean): Steps<Held> => ({
  init: () => ({ value: null }),
  step(state, a: boolean) {
    const now = state.value as boolean | null;
    state.value = now === null ? a : all ? now && a : now || a;
    return state;
  },
  final: (state) => state.value,
});

function bits(name: string, combine: (a: bigint, b: bigint) => bigint): AggregateDef[] {
  return [OID.int2, OID.int4, OID.int8].map((oid) =>
    aggregate<Held>(name, [oid], oid, {
      init: () => ({ value: null }),
      step(state, a: number | bigint) {
        if (state.value === null) {
          state.value = a;
        } else {
          const both = combine(BigInt(state.value as number | bigint), BigInt(a));
          state.value = oid === OID.int8 ? both : Number(both);
        }
        return state;
      },
      final: (state) => state.value,
    }),
  );
}

interface Text {
  parts: string[] | null;
}
const stringAggregate: Steps<Text> = {
  init: () => ({ parts: null }),
  step(state, a: string | null, delimiter: string | null) {
    if (a === null) return state;
    if (state.parts === null) state.parts = [a];
    else state.parts.push(delimiter ?? '', a);
    return state;
  },
  final: (state) => (state.parts === null ? null : state.parts.join('')),
};

interface List {
  values: Value[];
}
const listing = (finish: (values: Value[], context: TextContext) => Value): Steps<List> => ({
  init: () => ({ values: [] }),
  step(state, a) {
    state.values.push(a);
    return state;
  },
  final: (state, context) => (state.values.length === 0 ? null : finish(state.values, context)),
});

function arrayOfArrays(values: Value[], elementOid: number): SqlArray {
  const arrays = values as SqlArray[];
  const first = arrays[0] as SqlArray;
  return {
    elementOid,
    dimensions: [arrays.length, ...first.dimensions],
    lowerBounds: [1, ...first.lowerBounds],
    elements: arrays.flatMap((array) => array.elements),
  };
}

/** Sums of x and x squared, exact; `population`: divided by n, else by n - 1. */
interface Moments {
  count: number;
  sum: n.Numeric;
  squares: n.Numeric;
}
function moments(
  convert: (a: Value) => n.Numeric,
  root: boolean,
  population: boolean,
): Steps<Moments> {
  return {
    init: () => ({ count: 0, sum: n.ZERO, squares: n.ZERO }),
    step(state, a) {
      const x = convert(a);
      state.count++;
      state.sum = n.addNumeric(state.sum, x);
      state.squares = n.addNumeric(state.squares, n.mulNumeric(x, x));
      return state;
    },
    final(state) {
      if (state.count === 0 || (state.count === 1 && !population)) return null;
      if (state.sum.kind !== 'finite') return n.NAN;
      const count = n.fromInteger(state.count);
      const top = n.subNumeric(
        n.mulNumeric(count, state.squares),
        n.mulNumeric(state.sum, state.sum),
      );
      if (top.unscaled <= 0n) return n.ZERO;
      const variance = n.divNumeric(
        top,
        n.mulNumeric(count, population ? count : n.fromInteger(state.count - 1)),
      );
      return root ? numericSqrt(variance) : variance;
    },
  };
}

function variances(): AggregateDef[] {
  const list: AggregateDef[] = [];
  const names: readonly (readonly [string, boolean, boolean])[] = [
    ['variance', false, false],
    ['var_samp', false, false],
    ['var_pop', false, true],
    ['stddev', true, false],
    ['stddev_samp', true, false],
    ['stddev_pop', true, true],
  ];
  for (const [name, root, population] of names) {
    const whole = (a: Value): n.Numeric => n.fromBigint(BigInt(a as number | bigint));
    for (const oid of [OID.int2, OID.int4, OID.int8]) {
      list.push(aggregate(name, [oid], OID.numeric, moments(whole, root, population)));
    }
    const same = (a: Value): n.Numeric => a as n.Numeric;
    list.push(aggregate(name, [OID.numeric], OID.numeric, moments(same, root, population)));
    const finish = (state: FloatSum): Value => {
      if (state.count === 1 && !population) return null;
      const variance = state.squares / (population ? state.count : state.count - 1);
      return root ? Math.sqrt(variance) : variance;
    };
    for (const oid of [OID.float4, OID.float8]) {
      list.push(aggregate(name, [oid], OID.float8, floatTotal(finish)));
    }
  }
  return list;
}

function sums(): AggregateDef[] {
  const bigintResult = sumWhole(int8);
  const numericResult = sumWhole(n.fromBigint);
  const { int2, int4, int8: big, float4, float8, numeric, interval } = OID;
  return [
    aggregate('sum', [int2], big, bigintResult),
    aggregate('sum', [int4], big, bigintResult),
    aggregate('sum', [big], numeric, numericResult),
    aggregate(
      'sum',
      [numeric],
      numeric,
      numericTotal((state) => state.sum),
    ),
    aggregate(
      'sum',
      [float4],
      float4,
      floatTotal((state) => Math.fround(state.sum)),
    ),
    aggregate(
      'sum',
      [float8],
      float8,
      floatTotal((state) => state.sum),
    ),
    aggregate(
      'sum',
      [interval],
      interval,
      intervalTotal((state) => state.sum),
    ),
    ...[int2, int4, big].map((oid) => aggregate('avg', [oid], numeric, averageWhole)),
    aggregate(
      'avg',
      [numeric],
      numeric,
      numericTotal((state) => n.divNumeric(state.sum, n.fromInteger(state.count))),
    ),
    ...[float4, float8].map((oid) =>
      aggregate(
        'avg',
        [oid],
        float8,
        floatTotal((state) => state.sum / state.count),
      ),
    ),
    aggregate(
      'avg',
      [interval],
      interval,
      intervalTotal((state) => divideInterval(state.sum, state.count)),
    ),
  ];
}

function extremes(): AggregateDef[] {
  const list: AggregateDef[] = [];
  const excluded = new Set<number>([
    OID.bool,
    OID.char,
    OID.name,
    OID.varchar,
    OID.uuid,
    OID.bytea,
    OID.xid,
    OID.cid,
    OID.jsonb,
    OID.unknown,
    OID.pgNodeTree,
    OID.oidvector,
    OID.int2vector,
  ]);
  for (const type of allTypes()) {
    if (
      !type.ordered ||
      type.kind === 'p' ||
      type.name.startsWith('_') ||
      type.name.startsWith('reg')
    )
      continue;
    if (excluded.has(type.oid)) continue;
    list.push(aggregate('min', [type.oid], type.oid, extreme(type.oid, -1)));
    list.push(aggregate('max', [type.oid], type.oid, extreme(type.oid, 1)));
  }
  for (const oid of [OID.anyarray, OID.anyenum]) {
    list.push(aggregate('min', [oid], oid, (args) => extreme(args[0] as number, -1)));
    list.push(aggregate('max', [oid], oid, (args) => extreme(args[0] as number, 1)));
  }
  return list;
}

export function registerAllAggregates(): void {
  registerAggregates([
    aggregate('count', [], OID.int8, counting),
    aggregate('count', [OID.any], OID.int8, counting),
    ...sums(),
    ...extremes(),
    ...variances(),
    aggregate('bool_and', [OID.bool], OID.bool, boolean(true)),
    aggregate('every', [OID.bool], OID.bool, boolean(true)),
    aggregate('bool_or', [OID.bool], OID.bool, boolean(false)),
    ...bits('bit_and', (a, b) => a & b),
    ...bits('bit_or', (a, b) => a | b),
    ...bits('bit_xor', (a, b) => a ^ b),
    aggregate('string_agg', [OID.text, OID.text], OID.text, stringAggregate, false),
    aggregate<{ parts: Uint8Array[] | null }>(
      'string_agg',
      [OID.bytea, OID.bytea],
      OID.bytea,
      {
        init: () => ({ parts: null }),
        step(state, a: Uint8Array | null, delimiter: Uint8Array | null) {
          if (a === null) return state;
          if (state.parts === null) state.parts = [a];
          else state.parts.push(delimiter ?? toUtf8(''), a);
          return state;
        },
        final: (state) =>
          state.parts === null ? null : Uint8Array.from(Buffer.concat(state.parts)),
      },
      false,
    ),
    aggregate(
      'array_agg',
      [OID.anynonarray],
      OID.anyarray,
      (args) => listing((values) => makeArray(args[0] as number, values)),
      false,
    ),
    aggregate(
      'array_agg',
      [OID.anyarray],
      OID.anyarray,
      (args) => listing((values) => arrayOfArrays(values, typeOf(args[0] as number).elementOid)),
      false,
    ),
    ...['json_agg', 'jsonb_agg'].map((name) =>
      aggregate(
        name,
        [OID.anyelement],
        name === 'json_agg' ? OID.json : OID.jsonb,
        (args) =>
          listing((values, context) => {
            const items = values.map((value) => jsonOf(value, args[0] as number, context));
            return name === 'json_agg'
              ? `[${items.join(', ')}]`
              : typeOf(OID.jsonb).fromText(`[${items.join(',')}]`);
          }),
        false,
      ),
    ),
  ]);
}
