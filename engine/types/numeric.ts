/**
 * numeric: an exact decimal, `unscaled / 10^scale`, or NaN, Infinity, -Infinity (PostgreSQL 14 and later).
 *
 * `scale` is PostgreSQL's display scale: the digits shown after the point. 1.0 and 1.00 are equal and print differently.
 * The scale rules of the operators are those of numeric.c: they decide how many digits a client sees.
 */
import { SqlError } from '../sql-error.js';
import { compareBigints, invalidText } from './sql-type.js';

export const NUMERIC_SCALE_MAX = 16383;
/** Most digits that results of division, sqrt, ln, ... show after the point. */
export const DISPLAY_SCALE_MAX = 1000;
export const SIGNIFICANT_DIGITS_MIN = 16;
const WEIGHT_DIGITS_MAX = 131072;

export type NumericKind = 'finite' | 'nan' | 'infinity' | '-infinity';

export class Numeric {
  readonly kind: NumericKind;
  readonly unscaled: bigint;
  readonly scale: number;

  constructor(unscaled: bigint, scale: number, kind: NumericKind = 'finite') {
    this.kind = kind;
    this.unscaled = unscaled;
    this.scale = scale;
  }

  toString(): string {
    return numericText(this);
  }
}

export const NAN = new Numeric(0n, 0, 'nan');
export const INFINITY = new Numeric(0n, 0, 'infinity');
export const NEGATIVE_INFINITY = new Numeric(0n, 0, '-infinity');
export const ZERO = new Numeric(0n, 0);
export const ONE = new Numeric(1n, 0);

const POWERS: bigint[] = [];
for (let i = 0, p = 1n; i < 64; i++, p *= 10n) POWERS.push(p);

export function pow10(exponent: number): bigint {
  return exponent < POWERS.length ? (POWERS[exponent] as bigint) : 10n ** BigInt(exponent);
}

const absolute = (n: bigint): bigint => (n < 0n ? -n : n);
export const digitCount = (n: bigint): number => (n === 0n ? 0 : absolute(n).toString().length);

export const overflow = (): SqlError => new SqlError('22003', 'value overflows numeric format');
export const divisionByZero = (): SqlError => new SqlError('22012', 'division by zero');

function checked(unscaled: bigint, scale: number): Numeric {
  // 2^435411 is above 10^131072: the cheap test decides nearly always.
  if (unscaled !== 0n && scale < 1 << 14 && unscaled.toString(16).length > 90_000) {
    if (digitCount(unscaled) - scale > WEIGHT_DIGITS_MAX) throw overflow();
  }
  return new Numeric(unscaled, scale);
}

const TEXT =
  /^[ \t\n\v\f\r]*(?:([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d+))?|(nan)|([+-]?)(inf|infinity))[ \t\n\v\f\r]*$/i;

export function parseNumeric(text: string): Numeric {
  const match = TEXT.exec(text);
  if (match === null) throw invalidText('numeric', text);
  if (match[6] !== undefined) return NAN;
  if (match[8] !== undefined) return match[7] === '-' ? NEGATIVE_INFINITY : INFINITY;
  const whole = match[2] ?? '';
  const fraction = match[3] ?? match[4] ?? '';
  const exponent = Number(match[5] ?? '0');
  if (Math.abs(exponent) > 2 ** 30) throw invalidText('numeric', text);
  let unscaled = BigInt(whole + fraction);
  if (match[1] === '-') unscaled = -unscaled;
  let scale = fraction.length - exponent;
  if (scale < 0) {
    if (unscaled !== 0n && whole.length + exponent > WEIGHT_DIGITS_MAX + 10) throw overflow();
    if (unscaled !== 0n) unscaled *= pow10(-scale);
    scale = 0;
  }
  const value = checked(unscaled, scale);
  if (scale > NUMERIC_SCALE_MAX) return roundTo(value, NUMERIC_SCALE_MAX);
  return value;
}

export function numericText(value: Numeric): string {
  if (value.kind !== 'finite') return specialText(value.kind);
  const negative = value.unscaled < 0n;
  let digits = absolute(value.unscaled).toString();
  if (value.scale > 0) {
    digits = digits.padStart(value.scale + 1, '0');
    const point = digits.length - value.scale;
    digits = `${digits.slice(0, point)}.${digits.slice(point)}`;
  }
  return negative ? `-${digits}` : digits;
}

function specialText(kind: NumericKind): string {
  return kind === 'nan' ? 'NaN' : kind === 'infinity' ? 'Infinity' : '-Infinity';
}

export const fromBigint = (value: bigint): Numeric => new Numeric(value, 0);
export const fromInteger = (value: number): Numeric => new Numeric(BigInt(value), 0);

/** As PostgreSQL: 15 significant digits of a double, 6 of a real. */
export function fromFloat(value: number, digits: 6 | 15 = 15): Numeric {
  if (Number.isNaN(value)) return NAN;
  if (!Number.isFinite(value)) return value > 0 ? INFINITY : NEGATIVE_INFINITY;
  const text = value.toPrecision(digits);
  const mantissa = /^(-?\d+)\.(\d*?)0*(e.*)?$/.exec(text);
  if (mantissa === null) return parseNumeric(text);
  const fraction = mantissa[2] === '' ? '' : `.${mantissa[2]}`;
  return parseNumeric(`${mantissa[1]}${fraction}${mantissa[3] ?? ''}`);
}

export function toFloat(value: Numeric): number {
  if (value.kind === 'finite') {
    const number = Number(numericText(value));
    if (!Number.isFinite(number)) {
      throw new SqlError(
        '22003',
        `"${numericText(value)}" is out of range for type double precision`,
      );
    }
    return number;
  }
  return value.kind === 'nan' ? Number.NaN : value.kind === 'infinity' ? Infinity : -Infinity;
}

/** Rounded half away from zero; for casts to integers. */
export function toBigint(value: Numeric, typeName: string): bigint {
  if (value.kind !== 'finite') {
    const what = value.kind === 'nan' ? 'NaN' : 'infinity';
    throw new SqlError('0A000', `cannot convert ${what} to ${typeName}`);
  }
  return value.scale === 0 ? value.unscaled : roundTo(value, 0).unscaled;
}

/** Order of the kinds: -Infinity, finite, Infinity, NaN. */
const RANK: Record<NumericKind, number> = { '-infinity': 0, finite: 1, infinity: 2, nan: 3 };

export function compareNumeric(a: Numeric, b: Numeric): number {
  if (a.kind !== 'finite' || b.kind !== 'finite') return RANK[a.kind] - RANK[b.kind];
  if (a.scale === b.scale) return compareBigints(a.unscaled, b.unscaled);
  if (a.scale < b.scale) return compareBigints(a.unscaled * pow10(b.scale - a.scale), b.unscaled);
  return compareBigints(a.unscaled, b.unscaled * pow10(a.scale - b.scale));
}

/** One text for equal values: no zeros at the end of the fraction. */
export function numericHashKey(value: Numeric): string {
  if (value.kind !== 'finite') return value.kind;
  const text = numericText(value);
  return value.scale === 0 ? text : text.replace(/\.?0+$/, '').replace(/^-0$/, '0');
}

export function isNegative(value: Numeric): boolean {
  return value.kind === '-infinity' || (value.kind === 'finite' && value.unscaled < 0n);
}

export const isZero = (value: Numeric): boolean => value.kind === 'finite' && value.unscaled === 0n;

export function negate(value: Numeric): Numeric {
  if (value.kind === 'finite') return new Numeric(-value.unscaled, value.scale);
  return value.kind === 'nan' ? NAN : value.kind === 'infinity' ? NEGATIVE_INFINITY : INFINITY;
}

export const absNumeric = (value: Numeric): Numeric => (isNegative(value) ? negate(value) : value);

export function addNumeric(a: Numeric, b: Numeric): Numeric {
  if (a.kind === 'finite' && b.kind === 'finite') {
    if (a.scale === b.scale) return checked(a.unscaled + b.unscaled, a.scale);
    return a.scale > b.scale
      ? checked(a.unscaled + b.unscaled * pow10(a.scale - b.scale), a.scale)
      : checked(a.unscaled * pow10(b.scale - a.scale) + b.unscaled, b.scale);
  }
  if (a.kind === 'finite') return b;
  if (b.kind === 'finite' || a.kind === b.kind) return a;
  return NAN;
}

export const subNumeric = (a: Numeric, b: Numeric): Numeric => addNumeric(a, negate(b));

export function mulNumeric(a: Numeric, b: Numeric): Numeric {
  if (a.kind === 'finite' && b.kind === 'finite') {
    const scale = a.scale + b.scale;
    const product = checked(a.unscaled * b.unscaled, scale);
    return scale > NUMERIC_SCALE_MAX ? roundTo(product, NUMERIC_SCALE_MAX) : product;
  }
  if (a.kind === 'nan' || b.kind === 'nan' || isZero(a) || isZero(b)) return NAN;
  return isNegative(a) === isNegative(b) ? INFINITY : NEGATIVE_INFINITY;
}

/** The exponent of the first base-10000 digit, and that digit: what numeric.c chooses scales by. */
export function leadingDigit(value: Numeric): { weight: number; first: number } {
  if (value.unscaled === 0n) return { weight: 0, first: 0 };
  const digits = absolute(value.unscaled).toString();
  const wholeDigits = digits.length - value.scale;
  const weight = Math.ceil(wholeDigits / 4) - 1;
  const firstDigits = wholeDigits - weight * 4;
  return { weight, first: Number(digits.slice(0, firstDigits).padEnd(firstDigits, '0')) };
}

export function divisionScale(a: Numeric, b: Numeric): number {
  const x = leadingDigit(a);
  const y = leadingDigit(b);
  let quotientWeight = x.weight - y.weight;
  if (x.first <= y.first) quotientWeight--;
  const scale = Math.max(SIGNIFICANT_DIGITS_MIN - quotientWeight * 4, a.scale, b.scale, 0);
  return Math.min(scale, DISPLAY_SCALE_MAX);
}

/** n / d rounded half away from zero. */
export function divideRounded(n: bigint, d: bigint): bigint {
  const quotient = n / d;
  const rest = n - quotient * d;
  if (absolute(rest) * 2n < absolute(d)) return quotient;
  return n < 0n === d < 0n ? quotient + 1n : quotient - 1n;
}

export function divNumeric(a: Numeric, b: Numeric): Numeric {
  if (a.kind === 'finite' && b.kind === 'finite') {
    if (b.unscaled === 0n) throw divisionByZero();
    return divideToScale(a, b, divisionScale(a, b));
  }
  if (a.kind === 'nan' || b.kind === 'nan') return NAN;
  if (a.kind !== 'finite') {
    if (b.kind !== 'finite') return NAN;
    if (b.unscaled === 0n) throw divisionByZero();
    return isNegative(a) === isNegative(b) ? INFINITY : NEGATIVE_INFINITY;
  }
  return ZERO;
}

export function divideToScale(a: Numeric, b: Numeric, scale: number): Numeric {
  const shift = scale + b.scale - a.scale;
  const n = shift > 0 ? a.unscaled * pow10(shift) : a.unscaled;
  const d = shift < 0 ? b.unscaled * pow10(-shift) : b.unscaled;
  return checked(divideRounded(n, d), scale);
}

/** div(a, b): the quotient cut to an integer. */
export function quotient(a: Numeric, b: Numeric): Numeric {
  if (a.kind !== 'finite' || b.kind !== 'finite') return divNumeric(a, b);
  if (b.unscaled === 0n) throw divisionByZero();
  const scale = Math.max(a.scale, b.scale);
  return fromBigint((a.unscaled * pow10(scale - a.scale)) / (b.unscaled * pow10(scale - b.scale)));
}

/** Sign of the dividend, as for integers. */
export function modNumeric(a: Numeric, b: Numeric): Numeric {
  if (a.kind === 'finite' && b.kind === 'finite') {
    if (b.unscaled === 0n) throw divisionByZero();
    const scale = Math.max(a.scale, b.scale);
    const n = a.unscaled * pow10(scale - a.scale);
    return new Numeric(n % (b.unscaled * pow10(scale - b.scale)), scale);
  }
  if (a.kind === 'nan' || b.kind === 'nan') return NAN;
  if (a.kind === 'finite') return a;
  if (isZero(b)) throw divisionByZero();
  return NAN;
}

/** Half away from zero; a negative scale rounds before the point and shows none after it. */
export function roundTo(value: Numeric, scale: number): Numeric {
  if (value.kind !== 'finite') return value;
  const target = Math.max(Math.min(scale, NUMERIC_SCALE_MAX), -NUMERIC_SCALE_MAX);
  if (target >= value.scale) {
    if (target === value.scale) return value;
    return new Numeric(value.unscaled * pow10(target - value.scale), target);
  }
  const rounded = divideRounded(value.unscaled, pow10(value.scale - target));
  return target >= 0 ? new Numeric(rounded, target) : new Numeric(rounded * pow10(-target), 0);
}

export function truncTo(value: Numeric, scale: number): Numeric {
  if (value.kind !== 'finite') return value;
  const target = Math.max(Math.min(scale, NUMERIC_SCALE_MAX), -NUMERIC_SCALE_MAX);
  if (target >= value.scale) return roundTo(value, target);
  const cut = value.unscaled / pow10(value.scale - target);
  return target >= 0 ? new Numeric(cut, target) : new Numeric(cut * pow10(-target), 0);
}

export function floorNumeric(value: Numeric): Numeric {
  const cut = truncTo(value, 0);
  if (value.kind !== 'finite' || compareNumeric(cut, value) <= 0) return cut;
  return new Numeric(cut.unscaled - 1n, 0);
}

export const ceilNumeric = (value: Numeric): Numeric => negate(floorNumeric(negate(value)));
