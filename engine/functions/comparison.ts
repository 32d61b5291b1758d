/** `=`, `<>`, `<`, `>`, `<=`, `>=` for every ordered type, across integer widths, floats, dates and timestamps. */
import { localToUtc } from '../types/cast.js';
import { compareFloats } from '../types/numbers.js';
import {
  MICROS_PER_DAY,
  TIMESTAMP_INFINITY,
  TIMESTAMP_NEGATIVE_INFINITY,
} from '../types/calendar.js';
import { OID } from '../types/oids.js';
import { allTypes, typeOf } from '../types/registry.js';
import { compareNumeric, type Numeric } from '../types/numeric.js';
import { compareBigints, compareText, type SqlType } from '../types/sql-type.js';
import { textContextOf } from './context.js';
import type { SessionView } from '../sql/statement.js';
import type { Value } from '../types/value.js';
import { op, registerOperators, type Evaluate, type OperatorDef } from './function.js';

type Six = readonly [Evaluate, Evaluate, Evaluate, Evaluate, Evaluate, Evaluate];
export const COMPARISONS = ['=', '<>', '<', '>', '<=', '>='] as const;

// Hot: JavaScript's own operators, which compare a number with a bigint exactly; a call of compare() costs 3 times that.
type Whole = number | bigint;
const PLAIN: Six = [
  (a: Whole, b: Whole) => a === b,
  (a: Whole, b: Whole) => a !== b,
  (a: Whole, b: Whole) => a < b,
  (a: Whole, b: Whole) => a > b,
  (a: Whole, b: Whole) => a <= b,
  (a: Whole, b: Whole) => a >= b,
];
const MIXED: Six = [
  // A number against a bigint: `===` would be false.
  // oxlint-disable-next-line oxc/double-comparisons
  (a: Whole, b: Whole) => a <= b && a >= b,
  // A number against a bigint: `===` would be false.
  // oxlint-disable-next-line oxc/double-comparisons
  (a: Whole, b: Whole) => a < b || a > b,
  PLAIN[2],
  PLAIN[3],
  PLAIN[4],
  PLAIN[5],
];

function byCompare(compare: (a: never, b: never) => number): Six {
  const order = compare as (a: Value, b: Value) => number;
  return [
    (a: Value, b: Value) => order(a, b) === 0,
    (a: Value, b: Value) => order(a, b) !== 0,
    (a: Value, b: Value) => order(a, b) < 0,
    (a: Value, b: Value) => order(a, b) > 0,
    (a: Value, b: Value) => order(a, b) <= 0,
    (a: Value, b: Value) => order(a, b) >= 0,
  ];
}

const EQUAL_TEXT: Evaluate = (a: string, b: string) => a === b;
const UNEQUAL_TEXT: Evaluate = (a: string, b: string) => a !== b;

function evaluators(type: SqlType): Six {
  // The default is meant for all the others.
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (type.storage) {
    case 'int2':
    case 'int4':
    case 'uint4':
    case 'int8':
    case 'date':
    case 'time':
    case 'bool':
      return PLAIN;
    case 'float4':
    case 'float8':
      return byCompare(compareFloats);
    case 'numeric':
      return byCompare(compareNumeric as (a: Numeric, b: Numeric) => number);
    default: {
      const six = byCompare((a: Value, b: Value) => type.compare(a, b));
      // jsonb is normalised, so equal values have equal texts, but for the scale of numbers.
      if (type.storage !== 'text' || type.oid === OID.bpchar || type.oid === OID.jsonb) return six;
      return [EQUAL_TEXT, UNEQUAL_TEXT, six[2], six[3], six[4], six[5]];
    }
  }
}

function six(left: number, right: number, list: Six): OperatorDef[] {
  return COMPARISONS.map((name, i) => op(name, left, right, OID.bool, list[i] as Evaluate));
}

/** date, timestamp, timestamptz against each other: as the moment they mean; infinities stay. */
function toMoment(oid: number): (value: Value, zone: string) => bigint {
  if (oid === OID.timestamptz) return (value) => value as bigint;
  if (oid === OID.timestamp) return (value, zone) => localToUtc(value as bigint, zone);
  return (value, zone) => {
    const days = value as number;
    if (!Number.isFinite(days)) return days > 0 ? TIMESTAMP_INFINITY : TIMESTAMP_NEGATIVE_INFINITY;
    const micros = BigInt(days) * MICROS_PER_DAY;
    return zone === '' ? micros : localToUtc(micros, zone);
  };
}

function dateTimes(left: number, right: number): OperatorDef[] {
  const zoned = left === OID.timestamptz || right === OID.timestamptz;
  if (!zoned) {
    const a = left === OID.date ? toMoment(left) : (value: Value) => value as bigint;
    const b = right === OID.date ? toMoment(right) : (value: Value) => value as bigint;
    return six(
      left,
      right,
      byCompare((x: Value, y: Value) => compareBigints(a(x, ''), b(y, ''))),
    );
  }
  const a = toMoment(left);
  const b = toMoment(right);
  return COMPARISONS.map((name, i) => {
    const test = PLAIN[i] as Evaluate as (x: bigint, y: bigint) => boolean;
    const evaluate = (session: SessionView, x: Value, y: Value): boolean => {
      const zone = textContextOf(session).timeZone;
      return test(a(x, zone), b(y, zone));
    };
    return op(name, left, right, OID.bool, evaluate, { session: true });
  });
}

const UNCOMPARED = new Set<number>([
  OID.unknown,
  OID.record,
  OID.varchar,
  OID.xid,
  OID.cid,
  OID.pgNodeTree,
]);

export function registerComparisons(): void {
  for (const type of allTypes()) {
    // varchar compares as text, reg* as oid, arrays by the polymorphic operators below.
    const isReg = type.name.startsWith('reg');
    const isArray =
      type.elementOid !== 0 && type.oid !== OID.oidvector && type.oid !== OID.int2vector;
    if (!type.ordered || type.kind === 'p' || isArray || isReg || UNCOMPARED.has(type.oid))
      continue;
    registerOperators(six(type.oid, type.oid, evaluators(type)));
  }
  const integers = [OID.int2, OID.int4, OID.int8];
  for (const left of integers) {
    for (const right of integers) {
      if (left === right) continue;
      const mixed = left === OID.int8 || right === OID.int8;
      registerOperators(six(left, right, mixed ? MIXED : PLAIN));
    }
  }
  for (const [left, right] of [
    [OID.float4, OID.float8],
    [OID.float8, OID.float4],
  ] as const) {
    registerOperators(six(left, right, byCompare(compareFloats)));
  }
  for (const [left, right] of [
    [OID.name, OID.text],
    [OID.text, OID.name],
  ] as const) {
    const list = byCompare(compareText);
    registerOperators(
      six(left, right, [EQUAL_TEXT, UNEQUAL_TEXT, list[2], list[3], list[4], list[5]]),
    );
  }
  const moments = [OID.date, OID.timestamp, OID.timestamptz];
  for (const left of moments) {
    for (const right of moments) if (left !== right) registerOperators(dateTimes(left, right));
  }
  for (const oid of [OID.xid, OID.cid]) registerOperators(six(oid, oid, PLAIN).slice(0, 2));
  registerOperators(
    six(
      OID.record,
      OID.record,
      byCompare((a: Value, b: Value) => typeOf(OID.record).compare(a, b)),
    ),
  );
  for (const oid of [OID.anyarray, OID.anyenum]) {
    registerOperators(
      COMPARISONS.map((name, i) =>
        op(name, oid, oid, OID.bool, null, {
          bind(argOids) {
            const type = typeOf(argOids[0] as number);
            return byCompare((a: Value, b: Value) => type.compare(a, b))[i] as Evaluate;
          },
        }),
      ),
    );
  }
}
