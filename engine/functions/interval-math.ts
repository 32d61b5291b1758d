/** Arithmetic of intervals, and of dates and timestamps with them. */
import { SqlError } from '../sql-error.js';
import {
  checkTimestamp,
  civilFromDays,
  daysFromCivil,
  daysInMonth,
  isFinite64,
  joinTimestamp,
  MICROS_PER_DAY,
  splitTimestamp,
} from '../types/calendar.js';
import { localToUtc, utcToLocal, roundHalfEven } from '../types/cast.js';
import type { Interval } from '../types/value.js';

const outOfRange = (): SqlError => new SqlError('22008', 'interval out of range');

function checked(months: number, days: number, micros: bigint): Interval {
  if (Math.abs(months) > 0x7fff_ffff || Math.abs(days) > 0x7fff_ffff) throw outOfRange();
  if (BigInt.asIntN(64, micros) !== micros) throw outOfRange();
  return { months: months + 0, days: days + 0, micros };
}

export const addIntervals = (a: Interval, b: Interval): Interval =>
  checked(a.months + b.months, a.days + b.days, a.micros + b.micros);
export const negateInterval = (a: Interval): Interval => checked(-a.months, -a.days, -a.micros);
export const subIntervals = (a: Interval, b: Interval): Interval =>
  addIntervals(a, negateInterval(b));

/** Fractions of months become days, of days time (interval_mul). */
export function multiplyInterval(a: Interval, factor: number): Interval {
  const months = Math.trunc(a.months * factor);
  const days = Math.trunc(a.days * factor);
  const round = (value: number): number => Math.round(value * 1e6) / 1e6;
  let monthDays = round((a.months * factor - months) * 30);
  let seconds = round((a.days * factor - days + monthDays - Math.trunc(monthDays)) * 86_400);
  if (Math.abs(seconds) >= 86_400) {
    monthDays += Math.trunc(seconds / 86_400);
    seconds -= Math.trunc(seconds / 86_400) * 86_400;
  }
  const micros = Number(a.micros) * factor + seconds * 1e6;
  if (!Number.isFinite(micros)) throw outOfRange();
  return checked(months, days + Math.trunc(monthDays), BigInt(roundHalfEven(micros)));
}

export function divideInterval(a: Interval, divisor: number): Interval {
  if (divisor === 0) throw new SqlError('22012', 'division by zero');
  return multiplyInterval(a, 1 / divisor);
}

/** Months keep the day of the month, cut to the month's length. */
export function addToTimestamp(timestamp: bigint, interval: Interval): bigint {
  if (!isFinite64(timestamp)) return timestamp;
  let { days } = splitTimestamp(timestamp);
  const { micros } = splitTimestamp(timestamp);
  if (interval.months !== 0) {
    const date = civilFromDays(days);
    const months = date.year * 12 + date.month - 1 + interval.months;
    const year = Math.floor(months / 12);
    const month = months - year * 12 + 1;
    days = daysFromCivil(year, month, Math.min(date.day, daysInMonth(year, month)));
  }
  return checkTimestamp(joinTimestamp(days + interval.days, micros) + interval.micros);
}

/** Days and months are counted in the zone's local time, microseconds in real time. */
export function addToTimestamptz(timestamp: bigint, interval: Interval, zone: string): bigint {
  if (!isFinite64(timestamp)) return timestamp;
  let moment = timestamp;
  if (interval.months !== 0 || interval.days !== 0) {
    const local = addToTimestamp(utcToLocal(timestamp, zone), { ...interval, micros: 0n });
    moment = localToUtc(local, zone);
  }
  return checkTimestamp(moment + interval.micros);
}

export function timestampDifference(a: bigint, b: bigint): Interval {
  if (!isFinite64(a) || !isFinite64(b)) {
    throw new SqlError('22008', 'cannot subtract infinite timestamps');
  }
  const micros = a - b;
  const days = micros / MICROS_PER_DAY;
  return checked(0, Number(days), micros - days * MICROS_PER_DAY);
}
