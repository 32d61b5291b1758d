/**
 * Type modifiers: what stands in parentheses after a type's name, as one integer (pg_attribute.atttypmod; -1: none).
 *
 * | type                                   | modifier                                                              |
 * |----------------------------------------|-----------------------------------------------------------------------|
 * | varchar(n), bpchar(n)                  | n + 4                                                                 |
 * | numeric(p, s)                          | ((p << 16) | (s & 0x7ff)) + 4; s may be negative                      |
 * | time(p), timestamp(p), timestamptz(p)  | p                                                                     |
 * | interval [fields] (p)                  | fields << 16 | p; only p of it is applied                             |
 */
import { SqlError } from '../sql-error.js';
import { isFinite64 } from './calendar.js';
import { digitCount, roundTo, type Numeric } from './numeric.js';
import { OID } from './oids.js';
import { findType } from './registry.js';
import type { Interval, SqlArray, Value } from './value.js';

const HEADER = 4;
const PRECISION_MAX = 6;
const INTERVAL_ALL = 0x7fff;

/** 22023 for parameters that the type does not take. `args`: the integers in the parentheses. */
export function makeModifier(typeOid: number, args: readonly number[]): number {
  if (args.length === 0) return typeOid === OID.bpchar ? HEADER + 1 : -1;
  const first = args[0] as number;
  switch (typeOid) {
    case OID.varchar:
    case OID.bpchar: {
      const name = typeOid === OID.varchar ? 'varchar' : 'char';
      if (args.length !== 1) throw new SqlError('22023', 'invalid type modifier');
      if (first < 1) throw new SqlError('22023', `length for type ${name} must be at least 1`);
      if (first > 10_485_760) {
        throw new SqlError('22023', `length for type ${name} cannot exceed 10485760`);
      }
      return first + HEADER;
    }
    case OID.numeric: {
      const scale = args[1] ?? 0;
      if (args.length > 2) throw new SqlError('22023', 'invalid NUMERIC type modifier');
      if (first < 1 || first > 1000) {
        throw new SqlError('22023', `NUMERIC precision ${first} must be between 1 and 1000`);
      }
      if (scale < -1000 || scale > 1000) {
        throw new SqlError('22023', `NUMERIC scale ${scale} must be between -1000 and 1000`);
      }
      return ((first << 16) | (scale & 0x7ff)) + HEADER;
    }
    case OID.time:
    case OID.timestamp:
    case OID.timestamptz:
      if (first < 0)
        throw new SqlError(
          '22023',
          `${findType(typeOid)?.name.toUpperCase()}(${first}) precision must not be negative`,
        );
      return Math.min(first, PRECISION_MAX);
    case OID.interval:
      return (INTERVAL_ALL << 16) | Math.min(args[1] ?? first, PRECISION_MAX);
    default: {
      const name = findType(typeOid)?.name ?? String(typeOid);
      throw new SqlError('42601', `type modifier is not allowed for type "${name}"`);
    }
  }
}

/** `character varying(20)`, `numeric(10,2)[]`, `timestamp(3) without time zone`: pg_catalog.format_type. */
export function formatType(typeOid: number, modifier: number): string {
  const type = findType(typeOid);
  if (type === undefined) return '???';
  if (type.elementOid !== 0 && type.name.startsWith('_')) {
    return `${formatType(type.elementOid, modifier)}[]`;
  }
  if (modifier < 0) return type.displayName;
  switch (typeOid) {
    case OID.varchar:
    case OID.bpchar:
      return `${type.displayName}(${modifier - HEADER})`;
    case OID.numeric:
      return `numeric(${numericPrecision(modifier)},${numericScale(modifier)})`;
    case OID.time:
    case OID.timestamp:
    case OID.timestamptz:
      return type.displayName.replace(/^(time|timestamp)/, `$1(${modifier})`);
    case OID.interval:
      return (modifier & 0xffff) === 0xffff ? type.displayName : `interval(${modifier & 0xffff})`;
    default:
      return type.displayName;
  }
}

export const numericPrecision = (modifier: number): number => ((modifier - HEADER) >> 16) & 0xffff;
export const numericScale = (modifier: number): number =>
  (((modifier - HEADER) & 0x7ff) ^ 1024) - 1024;

/**
 * Fits a value to a column's modifier. An explicit cast cuts what is too long; an assignment throws 22001 unless only
 * blanks are cut. 22003 when a numeric has too many digits.
 */
export function applyModifier(
  typeOid: number,
  value: Value,
  modifier: number,
  explicit: boolean,
): Value {
  if (modifier < 0 || value === null) return value;
  switch (typeOid) {
    case OID.varchar:
      return fitVarchar(value as string, modifier - HEADER, explicit);
    case OID.bpchar:
      return fitBpchar(value as string, modifier - HEADER, explicit);
    case OID.numeric:
      return fitNumeric(value as Numeric, modifier);
    case OID.time:
      return roundMicros(value as number, modifier);
    case OID.timestamp:
    case OID.timestamptz:
      return isFinite64(value as bigint) ? roundMicros64(value as bigint, modifier) : value;
    case OID.interval: {
      const precision = modifier & 0xffff;
      const interval = value as Interval;
      if (precision > PRECISION_MAX) return value;
      return { ...interval, micros: roundMicros64(interval.micros, precision) };
    }
    default: {
      const type = findType(typeOid);
      if (type === undefined || type.elementOid === 0) return value;
      const array = value as SqlArray;
      const elements = array.elements.map((e) =>
        applyModifier(type.elementOid, e, modifier, explicit),
      );
      return { ...array, elements };
    }
  }
}

/** Characters (code points), counted only when UTF-16 units do not decide. */
export function charCount(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit < 0xdc00) count--;
  }
  return count;
}

/** UTF-16 offset after the first `chars` characters. */
export function charOffset(text: string, chars: number): number {
  let at = 0;
  for (let i = 0; i < chars && at < text.length; i++) {
    const unit = text.charCodeAt(at);
    at += unit >= 0xd800 && unit < 0xdc00 ? 2 : 1;
  }
  return at;
}

function fitVarchar(text: string, charsMax: number, explicit: boolean): string {
  if (text.length <= charsMax || charCount(text) <= charsMax) return text;
  const cut = charOffset(text, charsMax);
  if (!explicit && /[^ ]/.test(text.slice(cut))) {
    throw new SqlError('22001', `value too long for type character varying(${charsMax})`);
  }
  return text.slice(0, cut);
}

function fitBpchar(text: string, chars: number, explicit: boolean): string {
  const count = charCount(text);
  if (count < chars) return text + ' '.repeat(chars - count);
  if (count === chars) return text;
  const cut = charOffset(text, chars);
  if (!explicit && /[^ ]/.test(text.slice(cut))) {
    throw new SqlError('22001', `value too long for type character(${chars})`);
  }
  return text.slice(0, cut);
}

function fitNumeric(value: Numeric, modifier: number): Numeric {
  if (value.kind === 'nan') return value;
  const precision = numericPrecision(modifier);
  const scale = numericScale(modifier);
  const detail = (limit: string): SqlError =>
    new SqlError('22003', 'numeric field overflow', {
      detail: `A field with precision ${precision}, scale ${scale} ${limit}`,
    });
  if (value.kind !== 'finite') throw detail('cannot hold an infinite value.');
  const rounded = roundTo(value, scale);
  const whole = digitCount(rounded.unscaled) - rounded.scale;
  if (rounded.unscaled !== 0n && whole > precision - scale) {
    const limit = precision === scale ? '1' : `10^${precision - scale}`;
    throw detail(`must round to an absolute value less than ${limit}.`);
  }
  return rounded;
}

function roundMicros(micros: number, precision: number): number {
  const unit = 10 ** (PRECISION_MAX - precision);
  return Math.round(micros / unit) * unit;
}

function roundMicros64(micros: bigint, precision: number): bigint {
  const unit = 10n ** BigInt(PRECISION_MAX - precision);
  if (unit === 1n) return micros;
  const half = micros < 0n ? -(unit / 2n) : unit / 2n;
  return ((micros + half) / unit) * unit;
}
