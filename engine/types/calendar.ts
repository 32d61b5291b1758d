/**
 * Days and microseconds since 2000-01-01 to civil fields and back, in the proleptic Gregorian calendar.
 *
 * Years are astronomical (0 is 1 BC). Timestamps run from 4714-11-24 BC to 294276-12-31, dates to 5874897-12-31.
 */
import { SqlError } from '../sql-error.js';

export const MICROS_PER_SECOND = 1_000_000n;
export const MICROS_PER_DAY = 86_400_000_000n;
export const DAY_MICROS = 86_400_000_000;
export const TIMESTAMP_INFINITY = 2n ** 63n - 1n;
export const TIMESTAMP_NEGATIVE_INFINITY = -(2n ** 63n);
/** Microseconds from 1970-01-01 to 2000-01-01. */
export const UNIX_EPOCH_MICROS = 946_684_800_000_000n;
export const UNIX_EPOCH_DAYS = 10_957;

/** 4714-11-24 BC. */
const DAY_MIN = -2_451_545;
const TIMESTAMP_MIN = -211_813_488_000_000_000n;
const TIMESTAMP_END = 9_223_371_331_200_000_000n;
/** 5874898-01-01. */
const DATE_END = 2_145_031_949;

export interface CivilDate {
  year: number;
  month: number;
  day: number;
}

export interface CivilTime extends CivilDate {
  hour: number;
  minute: number;
  second: number;
  micros: number;
}

const floorDiv = (n: number, d: number): number => Math.floor(n / d);

export function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = floorDiv(y, 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = floorDiv(153 * (month + (month > 2 ? -3 : 9)) + 2, 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + floorDiv(yearOfEra, 4) - floorDiv(yearOfEra, 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 730_425;
}

export function civilFromDays(days: number): CivilDate {
  const z = days + 730_425;
  const era = floorDiv(z, 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = floorDiv(
    dayOfEra - floorDiv(dayOfEra, 1460) + floorDiv(dayOfEra, 36_524) - floorDiv(dayOfEra, 146_096),
    365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + floorDiv(yearOfEra, 4) - floorDiv(yearOfEra, 100));
  const shifted = floorDiv(5 * dayOfYear + 2, 153);
  const day = dayOfYear - floorDiv(153 * shifted + 2, 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}

export const isLeapYear = (year: number): boolean =>
  year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

export function daysInMonth(year: number, month: number): number {
  return month === 2 && isLeapYear(year) ? 29 : (MONTH_DAYS[month - 1] as number);
}

export const isFinite64 = (timestamp: bigint): boolean =>
  timestamp !== TIMESTAMP_INFINITY && timestamp !== TIMESTAMP_NEGATIVE_INFINITY;

export function splitTimestamp(timestamp: bigint): { days: number; micros: number } {
  let days = timestamp / MICROS_PER_DAY;
  let micros = timestamp - days * MICROS_PER_DAY;
  if (micros < 0n) {
    days -= 1n;
    micros += MICROS_PER_DAY;
  }
  return { days: Number(days), micros: Number(micros) };
}

export function joinTimestamp(days: number, micros: number): bigint {
  return BigInt(days) * MICROS_PER_DAY + BigInt(micros);
}

export function civilFromTimestamp(timestamp: bigint): CivilTime {
  const { days, micros } = splitTimestamp(timestamp);
  const date = civilFromDays(days);
  return {
    year: date.year,
    month: date.month,
    day: date.day,
    hour: floorDiv(micros, 3_600_000_000),
    minute: floorDiv(micros, 60_000_000) % 60,
    second: floorDiv(micros, 1_000_000) % 60,
    micros: micros % 1_000_000,
  };
}

export function timestampFromCivil(civil: CivilTime): bigint {
  const days = daysFromCivil(civil.year, civil.month, civil.day);
  const seconds = (civil.hour * 60 + civil.minute) * 60 + civil.second;
  return joinTimestamp(days, seconds * 1_000_000 + civil.micros);
}

/** 22008 outside PostgreSQL's range. */
export function checkTimestamp(timestamp: bigint, text?: string): bigint {
  if (timestamp < TIMESTAMP_MIN || timestamp >= TIMESTAMP_END) {
    throw new SqlError(
      '22008',
      text === undefined ? 'timestamp out of range' : `timestamp out of range: "${text}"`,
    );
  }
  return timestamp;
}

export function checkDate(days: number, text?: string): number {
  if (days < DAY_MIN || days >= DATE_END) {
    throw new SqlError(
      '22008',
      text === undefined ? 'date out of range' : `date out of range: "${text}"`,
    );
  }
  return days;
}

/** 0 Sunday .. 6 Saturday. */
export const dayOfWeek = (days: number): number => (((days + 6) % 7) + 7) % 7;

const two = (n: number): string => (n < 10 ? `0${n}` : String(n));

export function dateText(days: number): string {
  if (!Number.isFinite(days)) return days > 0 ? 'infinity' : '-infinity';
  const { year, month, day } = civilFromDays(days);
  const shown = year > 0 ? year : 1 - year;
  return `${String(shown).padStart(4, '0')}-${two(month)}-${two(day)}${year > 0 ? '' : ' BC'}`;
}

/** Seconds with as many digits after the point as needed. */
export function timeText(micros: number): string {
  const second = floorDiv(micros, 1_000_000) % 60;
  const fraction = micros % 1_000_000;
  const text = `${two(floorDiv(micros, 3_600_000_000))}:${two(floorDiv(micros, 60_000_000) % 60)}:${two(second)}`;
  if (fraction === 0) return text;
  return `${text}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}

/** `zone` is appended to the time of day: `+00`. */
export function timestampText(timestamp: bigint, zone = ''): string {
  if (timestamp === TIMESTAMP_INFINITY) return 'infinity';
  if (timestamp === TIMESTAMP_NEGATIVE_INFINITY) return '-infinity';
  const { days, micros } = splitTimestamp(timestamp);
  const date = dateText(days);
  const time = timeText(micros) + zone;
  return date.endsWith(' BC') ? `${date.slice(0, -3)} ${time} BC` : `${date} ${time}`;
}

/** `+01`, `-03:30`, `+00:19:32`. */
export function offsetText(offsetSeconds: number): string {
  const magnitude = Math.abs(offsetSeconds);
  const hours = floorDiv(magnitude, 3600);
  const minutes = floorDiv(magnitude, 60) % 60;
  const seconds = magnitude % 60;
  let text = (offsetSeconds < 0 ? '-' : '+') + two(hours);
  if (minutes !== 0 || seconds !== 0) text += `:${two(minutes)}`;
  return seconds === 0 ? text : `${text}:${two(seconds)}`;
}
