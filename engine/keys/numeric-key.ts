/**
 * numeric keys: 1.0 and 1.00 have the same key, so a key does not give the scale back.
 *
 *     class     00 -Infinity, 01 negative, 02 zero, 03 positive, 04 Infinity, 05 NaN
 *     exponent  u24, biased by 2^23: the value is 0.d1 d2 ... times 100^exponent        (classes 01 and 03 only)
 *     digits    base 100, each + 1, no zeros at the end
 *     end       00
 *
 * Class 01 has exponent, digits and end inverted.
 */
import { numericText, type Numeric } from '../types/numeric.js';

const BIAS = 1 << 23;

export function putNumericKey(value: Numeric, target: Uint8Array, at: number): number {
  if (value.kind !== 'finite') {
    target[at] = value.kind === 'nan' ? 5 : value.kind === 'infinity' ? 4 : 0;
    return at + 1;
  }
  if (value.unscaled === 0n) {
    target[at] = 2;
    return at + 1;
  }
  const negative = value.unscaled < 0n;
  const text = numericText(value);
  const point = text.indexOf('.');
  let whole = text.slice(negative ? 1 : 0, point < 0 ? text.length : point);
  let fraction = point < 0 ? '' : text.slice(point + 1);
  if (whole.length % 2 === 1) whole = `0${whole}`;
  if (fraction.length % 2 === 1) fraction += '0';
  const digits = whole + fraction;
  let from = 0;
  let to = digits.length;
  while (digits.startsWith('00', from)) from += 2;
  while (digits.startsWith('00', to - 2)) to -= 2;
  const exponent = (whole.length - from) / 2 + BIAS;
  const flip = negative ? 0xff : 0;
  target[at] = negative ? 1 : 3;
  target[at + 1] = (exponent >> 16) ^ flip;
  target[at + 2] = (exponent >> 8) ^ flip;
  target[at + 3] = exponent ^ flip;
  at += 4;
  for (let i = from; i < to; i += 2) {
    const digit = (digits.charCodeAt(i) - 48) * 10 + digits.charCodeAt(i + 1) - 48;
    target[at++] = (digit + 1) ^ flip;
  }
  target[at] = flip;
  return at + 1;
}
