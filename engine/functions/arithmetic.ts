/** Arithmetic and bit operators of numbers. Integers throw 22003 when they overflow, 22012 on division by zero. */
import * as n from '../types/numeric.js';
import { numericPower } from '../types/numeric-math.js';
import { OID } from '../types/oids.js';
import { outOfRange } from '../types/sql-type.js';
import { SqlError } from '../sql-error.js';
import { op, registerOperators, type Evaluate, type OperatorDef } from './function.js';

const INT4_MIN = -0x8000_0000;
const INT4_MAX = 0x7fff_ffff;

function int2(value: number): number {
  if (value > 0x7fff || value < -0x8000) throw outOfRange('smallint');
  return value;
}

function int4(value: number): number {
  if (value > INT4_MAX || value < INT4_MIN) throw outOfRange('integer');
  return value;
}

const INT8_MAX = 2n ** 63n - 1n;
const INT8_MIN = -(2n ** 63n);

export function int8(value: bigint): bigint {
  if (value > INT8_MAX || value < INT8_MIN) throw outOfRange('bigint');
  return value;
}

// A product of two int4 may round as a double, but only far outside int4; -0 becomes 0.
const small = (check: (value: number) => number): Record<string, Evaluate> => ({
  '+': (a: number, b: number) => check(a + b),
  '-': (a: number, b: number) => check(a - b),
  '*': (a: number, b: number) => check(a * b) + 0,
  '/': (a: number, b: number) => {
    if (b === 0) throw n.divisionByZero();
    return check(Math.trunc(a / b)) + 0;
  },
  '%': (a: number, b: number) => {
    if (b === 0) throw n.divisionByZero();
    return (a % b) + 0;
  },
  '&': (a: number, b: number) => a & b,
  '|': (a: number, b: number) => a | b,
  '#': (a: number, b: number) => a ^ b,
});

const wide: Record<string, Evaluate> = {
  '+': (a: bigint, b: bigint) => int8(a + b),
  '-': (a: bigint, b: bigint) => int8(a - b),
  '*': (a: bigint, b: bigint) => int8(a * b),
  '/': (a: bigint, b: bigint) => {
    if (b === 0n) throw n.divisionByZero();
    return int8(a / b);
  },
  '%': (a: bigint, b: bigint) => {
    if (b === 0n) throw n.divisionByZero();
    return a % b;
  },
  '&': (a: bigint, b: bigint) => a & b,
  '|': (a: bigint, b: bigint) => a | b,
  '#': (a: bigint, b: bigint) => a ^ b,
};

const ARITHMETIC = ['+', '-', '*', '/'] as const;

/** int8 with a narrower integer on one side. */
function mixed(name: string): { left: Evaluate; right: Evaluate } {
  const evaluate = wide[name] as unknown as (a: bigint, b: bigint) => bigint;
  return {
    left: (a: number, b: bigint) => evaluate(BigInt(a), b),
    right: (a: bigint, b: number) => evaluate(a, BigInt(b)),
  };
}

function checkFloat(result: number, finite: boolean, nonZero: boolean): number {
  if (!Number.isFinite(result) && finite) {
    throw new SqlError('22003', 'value out of range: overflow');
  }
  if (result === 0 && nonZero) throw new SqlError('22003', 'value out of range: underflow');
  return result;
}

function floats(round: (value: number) => number): Record<string, Evaluate> {
  const bothFinite = (a: number, b: number): boolean => Number.isFinite(a) && Number.isFinite(b);
  return {
    '+': (a: number, b: number) => checkFloat(round(a + b), bothFinite(a, b), false),
    '-': (a: number, b: number) => checkFloat(round(a - b), bothFinite(a, b), false),
    '*': (a: number, b: number) => checkFloat(round(a * b), bothFinite(a, b), a !== 0 && b !== 0),
    '/': (a: number, b: number) => {
      if (b === 0 && !Number.isNaN(a)) throw n.divisionByZero();
      return checkFloat(round(a / b), Number.isFinite(a), a !== 0 && Number.isFinite(b));
    },
  };
}

export function floatPower(a: number, b: number): number {
  if (a === 0 && b < 0) {
    throw new SqlError('2201F', 'zero raised to a negative power is undefined');
  }
  if (a < 0 && Number.isFinite(b) && !Number.isInteger(b)) {
    throw new SqlError(
      '2201F',
      'a negative number raised to a non-integer power yields a complex result',
    );
  }
  if (a === 1 || b === 0) return 1;
  const finite = Number.isFinite(a) && Number.isFinite(b);
  return checkFloat(a ** b, finite, finite && a !== 0);
}

export function floatSqrt(a: number): number {
  if (a < 0) throw new SqlError('2201F', 'cannot take square root of a negative number');
  return Math.sqrt(a);
}

function integers(): OperatorDef[] {
  const list: OperatorDef[] = [];
  const narrow = { int2: small(int2), int4: small(int4) };
  for (const name of ['+', '-', '*', '/', '%', '&', '|', '#']) {
    list.push(op(name, OID.int2, OID.int2, OID.int2, narrow.int2[name] as Evaluate));
    list.push(op(name, OID.int4, OID.int4, OID.int4, narrow.int4[name] as Evaluate));
    list.push(op(name, OID.int8, OID.int8, OID.int8, wide[name] as Evaluate));
  }
  for (const name of ARITHMETIC) {
    list.push(op(name, OID.int2, OID.int4, OID.int4, narrow.int4[name] as Evaluate));
    list.push(op(name, OID.int4, OID.int2, OID.int4, narrow.int4[name] as Evaluate));
    for (const oid of [OID.int2, OID.int4]) {
      list.push(op(name, oid, OID.int8, OID.int8, mixed(name).left));
      list.push(op(name, OID.int8, oid, OID.int8, mixed(name).right));
    }
  }
  list.push(
    op('<<', OID.int2, OID.int4, OID.int2, (a: number, b: number) => ((a << b) << 16) >> 16),
    op('>>', OID.int2, OID.int4, OID.int2, (a: number, b: number) => a >> b),
    op('<<', OID.int4, OID.int4, OID.int4, (a: number, b: number) => a << b),
    op('>>', OID.int4, OID.int4, OID.int4, (a: number, b: number) => a >> b),
    op('<<', OID.int8, OID.int4, OID.int8, (a: bigint, b: number) =>
      BigInt.asIntN(64, a << BigInt(b & 63)),
    ),
    op('>>', OID.int8, OID.int4, OID.int8, (a: bigint, b: number) => a >> BigInt(b & 63)),
    op('~', 0, OID.int2, OID.int2, (a: number) => ~a),
    op('~', 0, OID.int4, OID.int4, (a: number) => ~a),
    op('~', 0, OID.int8, OID.int8, (a: bigint) => ~a),
    op('-', 0, OID.int2, OID.int2, (a: number) => int2(-a) + 0),
    op('-', 0, OID.int4, OID.int4, (a: number) => int4(-a) + 0),
    op('-', 0, OID.int8, OID.int8, (a: bigint) => int8(-a)),
    op('@', 0, OID.int2, OID.int2, (a: number) => int2(Math.abs(a))),
    op('@', 0, OID.int4, OID.int4, (a: number) => int4(Math.abs(a))),
    op('@', 0, OID.int8, OID.int8, (a: bigint) => int8(a < 0n ? -a : a)),
  );
  return list;
}

function reals(): OperatorDef[] {
  const list: OperatorDef[] = [];
  const float4 = floats(Math.fround);
  const float8 = floats((value) => value);
  for (const name of ARITHMETIC) {
    list.push(op(name, OID.float4, OID.float4, OID.float4, float4[name] as Evaluate));
    for (const [l, r] of [
      [OID.float8, OID.float8],
      [OID.float4, OID.float8],
      [OID.float8, OID.float4],
    ] as const) {
      list.push(op(name, l, r, OID.float8, float8[name] as Evaluate));
    }
  }
  list.push(
    op('^', OID.float8, OID.float8, OID.float8, floatPower),
    op('|/', 0, OID.float8, OID.float8, floatSqrt),
    op('||/', 0, OID.float8, OID.float8, (a: number) => Math.cbrt(a)),
    op('-', 0, OID.float4, OID.float4, (a: number) => -a),
    op('-', 0, OID.float8, OID.float8, (a: number) => -a),
    op('@', 0, OID.float4, OID.float4, (a: number) => Math.abs(a)),
    op('@', 0, OID.float8, OID.float8, (a: number) => Math.abs(a)),
    op('+', OID.numeric, OID.numeric, OID.numeric, n.addNumeric),
    op('-', OID.numeric, OID.numeric, OID.numeric, n.subNumeric),
    op('*', OID.numeric, OID.numeric, OID.numeric, n.mulNumeric),
    op('/', OID.numeric, OID.numeric, OID.numeric, n.divNumeric),
    op('%', OID.numeric, OID.numeric, OID.numeric, n.modNumeric),
    op('^', OID.numeric, OID.numeric, OID.numeric, numericPower),
    op('-', 0, OID.numeric, OID.numeric, n.negate),
    op('@', 0, OID.numeric, OID.numeric, n.absNumeric),
  );
  for (const oid of [OID.int2, OID.int4, OID.int8, OID.float4, OID.float8, OID.numeric]) {
    list.push(op('+', 0, oid, oid, (a: number) => a));
  }
  return list;
}

export function registerArithmetic(): void {
  registerOperators(integers());
  registerOperators(reals());
}
