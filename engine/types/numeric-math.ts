/** sqrt, exp, ln, log and power of numeric, with the scales that numeric.c chooses. */
import { SqlError } from '../sql-error.js';
import {
  addNumeric,
  compareNumeric,
  DISPLAY_SCALE_MAX,
  divideToScale,
  INFINITY,
  isNegative,
  isZero,
  leadingDigit,
  mulNumeric,
  NAN,
  negate,
  NEGATIVE_INFINITY,
  Numeric,
  numericText,
  ONE,
  overflow,
  pow10,
  roundTo,
  SIGNIFICANT_DIGITS_MIN,
  truncTo,
  ZERO,
} from './numeric.js';

const clampScale = (scale: number, ...floors: number[]): number =>
  Math.min(Math.max(scale, 0, ...floors), DISPLAY_SCALE_MAX);

function integerSqrt(n: bigint): bigint {
  if (n < 2n) return n;
  let x = BigInt(Math.floor(Math.sqrt(Number(n.toString().slice(0, 15))))) + 1n;
  const digits = n.toString().length;
  x = digits > 15 ? 10n ** BigInt(Math.ceil(digits / 2)) : x;
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

export function numericSqrt(value: Numeric): Numeric {
  if (value.kind === 'nan') return NAN;
  if (isNegative(value)) {
    throw new SqlError('2201F', 'cannot take square root of a negative number');
  }
  if (value.kind !== 'finite') return value;
  const wholeDigits = leadingDigit(value).weight * 2 + 1;
  const scale = clampScale(SIGNIFICANT_DIGITS_MIN - wholeDigits, value.scale);
  const shift = (scale + 1) * 2 - value.scale;
  const scaled = shift >= 0 ? value.unscaled * pow10(shift) : value.unscaled / pow10(-shift);
  return roundTo(new Numeric(integerSqrt(scaled), scale + 1), scale);
}

/** Approximately, for choosing scales only. */
function toDouble(value: Numeric): number {
  return Number(numericText(value));
}

/** log10 of |value|, good to a few digits for any size. */
function logTen(value: Numeric): number {
  const digits = (value.unscaled < 0n ? -value.unscaled : value.unscaled).toString();
  return Math.log10(Number(`0.${digits.slice(0, 17)}`)) + digits.length - value.scale;
}

/** exp in fixed point with `scale` digits: halve until small, Taylor, square back. */
function expFixed(x: bigint, scale: number): bigint {
  const one = pow10(scale);
  let halvings = 0;
  let y = x;
  const limit = one / 1000n;
  while ((y < 0n ? -y : y) > limit) {
    y /= 2n;
    halvings++;
  }
  let sum = one + y;
  let term = y;
  for (let i = 2n; term !== 0n; i++) {
    term = (term * y) / (one * i);
    sum += term;
  }
  for (; halvings > 0; halvings--) sum = (sum * sum) / one;
  return sum;
}

const EXP_ARGUMENT_END = 6000;

export function expToScale(value: Numeric, scale: number): Numeric {
  const magnitude = toDouble(value) * Math.LOG10E;
  // numeric.c's own limit; below it the working scale stays far under what a numeric can have.
  if (toDouble(value) >= EXP_ARGUMENT_END) throw overflow();
  if (-magnitude > scale + 2) return new Numeric(0n, scale);
  const work =
    scale + 20 + Math.max(0, Math.ceil(magnitude)) + Math.ceil(Math.abs(magnitude) * 0.4);
  const x = roundTo(value, Math.max(work, 0)).unscaled;
  return roundTo(new Numeric(expFixed(x, work), work), scale);
}

export function numericExp(value: Numeric): Numeric {
  if (value.kind !== 'finite') return value.kind === '-infinity' ? ZERO : value;
  const magnitude = Math.min(Math.max(toDouble(value) * 0.434294481903252, -1000), 1000);
  return expToScale(value, clampScale(SIGNIFICANT_DIGITS_MIN - Math.trunc(magnitude), value.scale));
}

/** ln in fixed point: roots until near 1, then the atanh series. */
export function lnToScale(value: Numeric, scale: number): Numeric {
  const exponent = Math.floor(logTen(value)) + 1;
  const work = scale + 15 + String(Math.abs(exponent)).length;
  const one = pow10(work);
  // value = m * 10^exponent with 0.1 <= m < 1.
  const shift = work - value.scale - exponent;
  const m = shift >= 0 ? value.unscaled * pow10(shift) : value.unscaled / pow10(-shift);
  const ln = lnFixed(m, one) + BigInt(exponent) * lnFixed(one * 10n, one);
  return roundTo(new Numeric(ln, work), scale);
}

function lnFixed(m: bigint, one: bigint): bigint {
  let x = m;
  let doublings = 0;
  const near = one / 100n;
  const distance = (a: bigint): bigint => (a > one ? a - one : one - a);
  while (distance(x) > near) {
    x = integerSqrt(x * one);
    doublings++;
  }
  const z = ((x - one) * one) / (x + one);
  const square = (z * z) / one;
  let term = z;
  let sum = z;
  for (let i = 3n; term !== 0n; i += 2n) {
    term = (term * square) / one;
    sum += term / i;
  }
  return (sum * 2n) << BigInt(doublings);
}

function requirePositive(value: Numeric): void {
  if (isZero(value)) throw new SqlError('2201E', 'cannot take logarithm of zero');
  if (isNegative(value)) throw new SqlError('2201E', 'cannot take logarithm of a negative number');
}

/** Digits before the point of ln(value), as estimate_ln_dweight. */
function lnWeight(value: Numeric): number {
  const x = toDouble(value);
  if (x >= 0.9 && x <= 1.1) {
    const difference = addNumeric(value, negate(ONE));
    return isZero(difference) ? 0 : Math.trunc(logTen(difference));
  }
  return Math.trunc(Math.log10(Math.abs(logTen(value) * Math.LN10)));
}

export function numericLn(value: Numeric): Numeric {
  if (value.kind === 'nan') return NAN;
  requirePositive(value);
  if (value.kind !== 'finite') return INFINITY;
  return lnToScale(value, clampScale(SIGNIFICANT_DIGITS_MIN - lnWeight(value), value.scale));
}

export function numericLog(base: Numeric, value: Numeric): Numeric {
  if (base.kind === 'nan' || value.kind === 'nan') return NAN;
  requirePositive(base);
  requirePositive(value);
  if (base.kind !== 'finite') return value.kind === 'finite' ? ZERO : NAN;
  if (value.kind !== 'finite') return INFINITY;
  if (compareNumeric(base, ONE) === 0) throw new SqlError('22012', 'division by zero');
  const weight = lnWeight(value) - lnWeight(base);
  const scale = clampScale(SIGNIFICANT_DIGITS_MIN - weight, base.scale, value.scale);
  const inner = scale + 10 + Math.abs(lnWeight(base)) + Math.abs(weight);
  return divideToScale(lnToScale(value, inner), lnToScale(base, inner), scale);
}

/** exponent a whole number that fits int4: by repeated squaring, kept to the digits that can matter. */
function powerInteger(base: Numeric, exponent: number, scale: number): Numeric {
  if (exponent < 0) {
    const digits = Math.ceil(Math.abs(logTen(base) * exponent));
    const inverse = powerInteger(base, -exponent, Math.min(scale + digits * 2 + 20, 4000));
    if (isZero(inverse)) throw overflow();
    return divideToScale(ONE, inverse, scale);
  }
  const estimate = logTen(base) * exponent;
  if (estimate > 131_072) throw overflow();
  if (-estimate > scale + 1) return new Numeric(0n, scale);
  // Relative precision: what the result shows, and what the multiplications lose.
  const significant =
    Math.ceil(Math.max(estimate, 0)) + scale + 20 + exponent.toString(2).length * 2;
  const clip = (x: Numeric): Numeric => {
    const whole = Math.ceil(logTen(x));
    return isZero(x) ? x : truncTo(x, Math.min(x.scale, Math.max(significant - whole, 0)));
  };
  let result = ONE;
  let square = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = clip(mulNumeric(result, square));
    if (rest > 1) square = clip(mulNumeric(square, square));
  }
  return roundTo(result, scale);
}

export function numericPower(base: Numeric, exponent: Numeric): Numeric {
  if (compareNumeric(base, ONE) === 0 || (isZero(exponent) && base.kind !== 'finite')) return ONE;
  if (base.kind === 'nan') return isZero(exponent) ? ONE : NAN;
  if (exponent.kind === 'nan') return NAN;
  if (base.kind !== 'finite' || exponent.kind !== 'finite') return powerSpecial(base, exponent);
  const whole = truncTo(exponent, 0);
  const isWhole = compareNumeric(whole, exponent) === 0;
  if (isZero(base)) {
    if (isNegative(exponent)) {
      throw new SqlError('2201F', 'zero raised to a negative power is undefined');
    }
    return new Numeric(
      isZero(exponent) ? pow10(SIGNIFICANT_DIGITS_MIN) : 0n,
      SIGNIFICANT_DIGITS_MIN,
    );
  }
  if (isNegative(base) && !isWhole) {
    throw new SqlError(
      '2201F',
      'a negative number raised to a non-integer power yields a complex result',
    );
  }
  const estimate = logTen(base) * toDouble(exponent);
  if (estimate > 131_072) throw overflow();
  const digits = Math.min(Math.max(Math.trunc(estimate), -DISPLAY_SCALE_MAX), 131_072);
  if (isWhole && whole.unscaled >= -2147483648n && whole.unscaled <= 2147483647n) {
    const shown = clampScale(SIGNIFICANT_DIGITS_MIN, base.scale, exponent.scale);
    return powerInteger(base, Number(whole.unscaled), shown);
  }
  const scale = clampScale(SIGNIFICANT_DIGITS_MIN - digits, base.scale, exponent.scale);
  const magnitude = isNegative(base) ? negate(base) : base;
  const inner =
    scale + 12 + Math.max(Math.ceil(Math.abs(estimate)), 0) + String(whole.unscaled).length;
  const result = expToScale(mulNumeric(lnToScale(magnitude, inner), exponent), scale);
  return isNegative(base) && whole.unscaled % 2n !== 0n ? negate(result) : result;
}

function powerSpecial(base: Numeric, exponent: Numeric): Numeric {
  const whole = exponent.kind === 'finite' && compareNumeric(truncTo(exponent, 0), exponent) === 0;
  if (isZero(base) && exponent.kind === '-infinity') {
    throw new SqlError('2201F', 'zero raised to a negative power is undefined');
  }
  if (base.kind === 'finite') {
    if (isNegative(base)) {
      const size = compareNumeric(negate(base), ONE);
      if (size === 0) return ONE;
      return size > 0 === (exponent.kind === 'infinity') ? INFINITY : ZERO;
    }
    return compareNumeric(base, ONE) > 0 === (exponent.kind === 'infinity') ? INFINITY : ZERO;
  }
  if (isNegative(exponent)) return ZERO;
  if (base.kind === 'infinity') return INFINITY;
  if (exponent.kind !== 'finite') return INFINITY;
  if (!whole) {
    throw new SqlError(
      '2201F',
      'a negative number raised to a non-integer power yields a complex result',
    );
  }
  return truncTo(exponent, 0).unscaled % 2n === 0n ? INFINITY : NEGATIVE_INFINITY;
}
