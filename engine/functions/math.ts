/** Mathematical functions, and generate_series over numbers. */
import { SqlError } from '../sql-error.js';
import { roundHalfEven } from '../types/cast.js';
import * as n from '../types/numeric.js';
import {
  numericExp,
  numericLn,
  numericLog,
  numericPower,
  numericSqrt,
} from '../types/numeric-math.js';
import { OID } from '../types/oids.js';
import { outOfRange } from '../types/sql-type.js';
import type { SessionView } from '../sql/statement.js';
import { floatPower, floatSqrt, int8 } from './arithmetic.js';
import { fn, registerFunctions, setFn, type FunctionDef } from './function.js';

const { int2, int4, float4, float8, numeric } = OID;
const bigint = OID.int8;

function logarithm(a: number, log: (a: number) => number): number {
  if (a === 0) throw new SqlError('2201E', 'cannot take logarithm of zero');
  if (a < 0) throw new SqlError('2201E', 'cannot take logarithm of a negative number');
  return log(a);
}

function finite(value: number): number {
  if (!Number.isFinite(value)) throw new SqlError('22003', 'value out of range: overflow');
  return value;
}

function roundings(): FunctionDef[] {
  const list: FunctionDef[] = [];
  for (const name of ['ceil', 'ceiling']) {
    list.push(fn(name, [float8], float8, (a: number) => Math.ceil(a)));
    list.push(fn(name, [numeric], numeric, n.ceilNumeric));
  }
  return [
    ...list,
    fn('floor', [float8], float8, (a: number) => Math.floor(a)),
    fn('floor', [numeric], numeric, n.floorNumeric),
    fn('round', [float8], float8, (a: number) => (Number.isFinite(a) ? roundHalfEven(a) : a)),
    fn('round', [numeric], numeric, (a: n.Numeric) => n.roundTo(a, 0)),
    fn('round', [numeric, int4], numeric, n.roundTo),
    fn('trunc', [float8], float8, (a: number) => Math.trunc(a)),
    fn('trunc', [numeric], numeric, (a: n.Numeric) => n.truncTo(a, 0)),
    fn('trunc', [numeric, int4], numeric, n.truncTo),
    fn('abs', [int2], int2, (a: number) => {
      if (a === -0x8000) throw outOfRange('smallint');
      return Math.abs(a);
    }),
    fn('abs', [int4], int4, (a: number) => {
      if (a === -0x8000_0000) throw outOfRange('integer');
      return Math.abs(a);
    }),
    fn('abs', [bigint], bigint, (a: bigint) => int8(a < 0n ? -a : a)),
    fn('abs', [float4], float4, (a: number) => Math.abs(a)),
    fn('abs', [float8], float8, (a: number) => Math.abs(a)),
    fn('abs', [numeric], numeric, n.absNumeric),
    fn('sign', [float8], float8, (a: number) => Math.sign(a)),
    fn('sign', [numeric], numeric, (a: n.Numeric) =>
      a.kind === 'nan' ? a : n.fromInteger(n.compareNumeric(a, n.ZERO)),
    ),
    fn('scale', [numeric], int4, (a: n.Numeric) => (a.kind === 'finite' ? a.scale : null)),
    fn('trim_scale', [numeric], numeric, (a: n.Numeric) => n.parseNumeric(n.numericHashKey(a))),
  ];
}

function divisions(): FunctionDef[] {
  const remainder = (a: number, b: number): number => {
    if (b === 0) throw n.divisionByZero();
    return (a % b) + 0;
  };
  const gcd = (a: bigint, b: bigint): bigint => {
    let [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
    while (y !== 0n) [x, y] = [y, x % y];
    return x;
  };
  const lcm = (a: bigint, b: bigint): bigint => {
    if (a === 0n || b === 0n) return 0n;
    const product = (a / gcd(a, b)) * b;
    return product < 0n ? -product : product;
  };
  const narrow = (value: bigint): number => {
    if (value > 0x7fff_ffffn) throw outOfRange('integer');
    return Number(value);
  };
  return [
    fn('mod', [int2, int2], int2, remainder),
    fn('mod', [int4, int4], int4, remainder),
    fn('mod', [bigint, bigint], bigint, (a: bigint, b: bigint) => {
      if (b === 0n) throw n.divisionByZero();
      return a % b;
    }),
    fn('mod', [numeric, numeric], numeric, n.modNumeric),
    fn('div', [numeric, numeric], numeric, n.quotient),
    fn('gcd', [int4, int4], int4, (a: number, b: number) => narrow(gcd(BigInt(a), BigInt(b)))),
    fn('gcd', [bigint, bigint], bigint, (a: bigint, b: bigint) => int8(gcd(a, b))),
    fn('lcm', [int4, int4], int4, (a: number, b: number) => narrow(lcm(BigInt(a), BigInt(b)))),
    fn('lcm', [bigint, bigint], bigint, (a: bigint, b: bigint) => int8(lcm(a, b))),
    fn('factorial', [bigint], numeric, (a: bigint) => {
      if (a < 0n) throw new SqlError('22003', 'factorial of a negative number is undefined');
      if (a > 32177n) throw n.overflow();
      let product = 1n;
      for (let i = 2n; i <= a; i++) product *= i;
      return n.fromBigint(product);
    }),
  ];
}

function transcendental(): FunctionDef[] {
  const list: FunctionDef[] = [];
  for (const name of ['power', 'pow']) {
    list.push(fn(name, [float8, float8], float8, floatPower));
    list.push(fn(name, [numeric, numeric], numeric, numericPower));
  }
  const names = [
    'sin',
    'cos',
    'tan',
    'asin',
    'acos',
    'atan',
    'sinh',
    'cosh',
    'tanh',
    'asinh',
  ] as const;
  for (const name of names) {
    const evaluate = Math[name];
    list.push(
      fn(name, [float8], float8, (a: number) => {
        const result = evaluate(a);
        if (Number.isNaN(result) && !Number.isNaN(a))
          throw new SqlError('22003', 'input is out of range');
        return result;
      }),
    );
  }
  const ten = n.fromInteger(10);
  return [
    ...list,
    fn('atan2', [float8, float8], float8, Math.atan2),
    fn('cot', [float8], float8, (a: number) => 1 / Math.tan(a)),
    fn('degrees', [float8], float8, (a: number) => finite((a / Math.PI) * 180)),
    fn('radians', [float8], float8, (a: number) => a * (Math.PI / 180)),
    fn('pi', [], float8, () => Math.PI),
    fn('sqrt', [float8], float8, floatSqrt),
    fn('sqrt', [numeric], numeric, numericSqrt),
    fn('cbrt', [float8], float8, (a: number) => Math.cbrt(a)),
    fn('exp', [float8], float8, (a: number) => (a === Infinity ? a : finite(Math.exp(a)))),
    fn('exp', [numeric], numeric, numericExp),
    fn('ln', [float8], float8, (a: number) => logarithm(a, Math.log)),
    fn('ln', [numeric], numeric, numericLn),
    ...['log', 'log10'].flatMap((name) => [
      fn(name, [float8], float8, (a: number) => logarithm(a, Math.log10)),
      fn(name, [numeric], numeric, (a: n.Numeric) => numericLog(ten, a)),
    ]),
    fn('log', [numeric, numeric], numeric, numericLog),
    fn('random', [], float8, (session: SessionView) => session.random(), {
      session: true,
      volatility: 'volatile',
    }),
    fn(
      'width_bucket',
      [float8, float8, float8, int4],
      int4,
      (x: number, low: number, high: number, buckets: number) => {
        if (buckets <= 0) throw new SqlError('2201G', 'count must be greater than zero');
        if (low === high) throw new SqlError('2201G', 'lower bound cannot equal upper bound');
        const share = (x - low) / (high - low);
        return share < 0 ? 0 : share >= 1 ? buckets + 1 : Math.floor(share * buckets) + 1;
      },
    ),
  ];
}

const zeroStep = (): SqlError => new SqlError('22023', 'step size cannot equal zero');

function* int4Series(from: number, to: number, step: number = 1): Generator<number> {
  if (step === 0) throw zeroStep();
  for (let i = from; step > 0 ? i <= to : i >= to; i += step) yield i;
}

function* int8Series(from: bigint, to: bigint, step: bigint = 1n): Generator<bigint> {
  if (step === 0n) throw zeroStep();
  for (let i = from; step > 0n ? i <= to : i >= to; i += step) yield i;
}

function* numericSeries(
  from: n.Numeric,
  to: n.Numeric,
  step: n.Numeric = n.ONE,
): Generator<n.Numeric> {
  for (const [value, what] of [
    [from, 'start'],
    [to, 'stop'],
    [step, 'step'],
  ] as const) {
    if (value.kind === 'finite') continue;
    const shown = what === 'step' ? 'step size' : `${what} value`;
    throw new SqlError('22023', `${shown} cannot be ${value.kind === 'nan' ? 'NaN' : 'infinity'}`);
  }
  if (n.isZero(step)) throw zeroStep();
  const up = !n.isNegative(step);
  // The first value shows as many digits as the ones after it will.
  let i = n.roundTo(from, Math.max(from.scale, step.scale));
  for (
    ;
    up ? n.compareNumeric(i, to) <= 0 : n.compareNumeric(i, to) >= 0;
    i = n.addNumeric(i, step)
  )
    yield i;
}

export function registerMath(): void {
  registerFunctions([
    ...roundings(),
    ...divisions(),
    ...transcendental(),
    setFn('generate_series', [int4, int4, int4], int4, int4Series, { optional: 1 }),
    setFn('generate_series', [bigint, bigint, bigint], bigint, int8Series, { optional: 1 }),
    setFn('generate_series', [numeric, numeric, numeric], numeric, numericSeries, { optional: 1 }),
  ]);
}
