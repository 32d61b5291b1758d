/**
 * numeric's binary formats.
 *
 * PostgreSQL's, big-endian i16s: digit count, weight, sign, display scale, then base-10000 digits.
 *
 * In a tuple, as short as its digits:
 *
 *     0 u8 form: 0 positive, 1 negative, 2 NaN, 3 Infinity, 4 -Infinity; 2..4 end here
 *     1 u16 scale
 *     3 magnitude of the unscaled value, little-endian, no zero bytes at the end
 */
import { SextantError } from '#core/errors.js';
import * as b from './bytes.js';
import {
  compareNumeric,
  INFINITY,
  NAN,
  NEGATIVE_INFINITY,
  Numeric,
  numericHashKey,
  numericText,
  parseNumeric,
  pow10,
} from './numeric.js';
import { invalidBinary, type TypeCodec } from './sql-type.js';

const SIGN_NEGATIVE = 0x4000;
const SIGN_NAN = 0xc000;
const SIGN_INFINITY = 0xd000;
const SIGN_NEGATIVE_INFINITY = 0xf000;

function decodeWire(bytes: Uint8Array, start: number, end: number): Numeric {
  if (end - start < 8) throw invalidBinary();
  const count = b.readInt2BE(bytes, start);
  const weight = b.readInt2BE(bytes, start + 2);
  const sign = b.readInt2BE(bytes, start + 4) & 0xffff;
  const scale = b.readInt2BE(bytes, start + 6) & 0xffff;
  if (sign === SIGN_NAN) return NAN;
  if (sign === SIGN_INFINITY) return INFINITY;
  if (sign === SIGN_NEGATIVE_INFINITY) return NEGATIVE_INFINITY;
  if (sign !== 0 && sign !== SIGN_NEGATIVE)
    throw invalidBinary('invalid sign in external "numeric" value');
  if (scale > 0x3fff) throw invalidBinary('invalid scale in external "numeric" value');
  if (count < 0 || end - start !== 8 + count * 2) throw invalidBinary();
  let digits = '';
  for (let i = 0; i < count; i++) {
    const digit = b.readInt2BE(bytes, start + 8 + i * 2);
    if (digit < 0 || digit > 9999) {
      throw invalidBinary('invalid digit in external "numeric" value');
    }
    digits += digit.toString().padStart(4, '0');
  }
  // The digits stand for digits * 10000^(weight - count + 1).
  let unscaled = BigInt(digits === '' ? '0' : digits);
  const shift = (weight - count + 1) * 4 + scale;
  unscaled = shift >= 0 ? unscaled * pow10(shift) : unscaled / pow10(-shift);
  return new Numeric(sign === SIGN_NEGATIVE ? -unscaled : unscaled, scale);
}

function encodeWire(value: Numeric): Uint8Array {
  if (value.kind !== 'finite') {
    const bytes = new Uint8Array(8);
    const sign =
      value.kind === 'nan'
        ? SIGN_NAN
        : value.kind === 'infinity'
          ? SIGN_INFINITY
          : SIGN_NEGATIVE_INFINITY;
    b.putInt2BE(bytes, 4, sign);
    if (value.kind !== 'nan') b.putInt2BE(bytes, 6, 0x20);
    return bytes;
  }
  const negative = value.unscaled < 0n;
  const text = numericText(value).replace('-', '');
  const point = text.indexOf('.');
  const whole = point < 0 ? text : text.slice(0, point);
  const fraction = point < 0 ? '' : text.slice(point + 1);
  const padded =
    whole.padStart(Math.ceil(whole.length / 4) * 4, '0') +
    fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0');
  let weight = Math.ceil(whole.length / 4) - 1;
  let from = 0;
  let to = padded.length;
  while (from < to && padded.startsWith('0000', from)) {
    from += 4;
    weight--;
  }
  while (to > from && padded.startsWith('0000', to - 4)) to -= 4;
  const count = (to - from) / 4;
  const bytes = new Uint8Array(8 + count * 2);
  b.putInt2BE(bytes, 0, count);
  b.putInt2BE(bytes, 2, count === 0 ? 0 : weight);
  b.putInt2BE(bytes, 4, negative ? SIGN_NEGATIVE : 0);
  b.putInt2BE(bytes, 6, value.scale);
  for (let i = 0; i < count; i++) {
    b.putInt2BE(bytes, 8 + i * 2, Number(padded.slice(from + i * 4, from + i * 4 + 4)));
  }
  return bytes;
}

export const numericCodec: TypeCodec = {
  storage: 'numeric',
  fromText: parseNumeric,
  toText: numericText,
  fromBinary: decodeWire,
  toBinary: encodeWire,
  compare: compareNumeric,
  hashKey: numericHashKey,
};

/** An upper bound of what `putNumeric` writes. */
export function numericBytesMax(value: Numeric): number {
  return 4 + (value.unscaled.toString(16).length + 1) / 2;
}

export function putNumeric(value: Numeric, target: Uint8Array, offset: number): number {
  if (value.kind !== 'finite') {
    target[offset] = value.kind === 'nan' ? 2 : value.kind === 'infinity' ? 3 : 4;
    return offset + 1;
  }
  const negative = value.unscaled < 0n;
  target[offset] = negative ? 1 : 0;
  b.putInt2(target, offset + 1, value.scale);
  const magnitude = negative ? -value.unscaled : value.unscaled;
  let at = offset + 3;
  if (magnitude <= 0xffff_ffff_ffffn) {
    for (let rest = Number(magnitude); rest > 0; rest = Math.floor(rest / 256)) {
      target[at++] = rest % 256;
    }
    return at;
  }
  const hex = magnitude.toString(16);
  for (let i = hex.length; i > 0; i -= 2) {
    target[at++] = Number.parseInt(hex.slice(Math.max(0, i - 2), i), 16);
  }
  return at;
}

export function readNumeric(bytes: Uint8Array, start: number, end: number): Numeric {
  const form = bytes[start] as number;
  if (form === 2) return NAN;
  if (form === 3) return INFINITY;
  if (form === 4) return NEGATIVE_INFINITY;
  if (form > 4 || end - start < 3) throw new SextantError('CORRUPTION', 'numeric in a tuple');
  const scale = b.readInt2(bytes, start + 1) & 0xffff;
  let magnitude: bigint;
  if (end - start <= 3 + 6) {
    let number = 0;
    for (let i = end - 1; i >= start + 3; i--) number = number * 256 + (bytes[i] as number);
    magnitude = BigInt(number);
  } else {
    let hex = '';
    for (let i = end - 1; i >= start + 3; i--) {
      hex += (bytes[i] as number).toString(16).padStart(2, '0');
    }
    magnitude = BigInt(`0x${hex}`);
  }
  return new Numeric(form === 1 ? -magnitude : magnitude, scale);
}
