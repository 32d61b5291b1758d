/** Operators and functions of dates, times and intervals. */
import { SqlError } from '../sql-error.js';
import {
  checkDate,
  checkTimestamp,
  civilFromDays,
  civilFromTimestamp,
  DAY_MICROS,
  dayOfWeek,
  daysFromCivil,
  daysInMonth,
  isFinite64,
  joinTimestamp,
  MICROS_PER_DAY,
  MICROS_PER_SECOND,
  splitTimestamp,
  timestampFromCivil,
  TIMESTAMP_INFINITY,
  UNIX_EPOCH_MICROS,
  type CivilTime,
} from '../types/calendar.js';
import { localToUtc, utcToLocal } from '../types/cast.js';
import {
  addNumeric,
  divNumeric,
  Numeric,
  fromInteger,
  INFINITY,
  NEGATIVE_INFINITY,
  toFloat,
} from '../types/numeric.js';
import { OID } from '../types/oids.js';
import { offsetAtUtc } from '../types/time-zone.js';
import type { SessionView } from '../sql/statement.js';
import type { Interval } from '../types/value.js';
import { textContextOf } from './context.js';
import {
  fn,
  op,
  registerFunctions,
  registerOperators,
  setFn,
  type FunctionDef,
} from './function.js';
import {
  addIntervals,
  addToTimestamp,
  addToTimestamptz,
  divideInterval,
  multiplyInterval,
  negateInterval,
  subIntervals,
  timestampDifference,
} from './interval-math.js';

const { date, time, timestamp, timestamptz, interval, int4, float8, text, numeric } = OID;
const zoneOf = (session: SessionView): string => textContextOf(session).timeZone;

/** Julian day of 2000-01-01. */
const JULIAN_EPOCH_DAYS = 2_451_545;

/** What extract() can ask; `value` in millionths so that seconds stay exact. */
type Part = { readonly whole: number } | { readonly millionths: bigint; readonly scale: 3 | 6 };
const whole = (value: number): Part => ({ whole: value });
const exact = (millionths: bigint, scale: 3 | 6 = 6): Part => ({ millionths, scale });

const FIELDS: Record<string, string> = {
  years: 'year',
  y: 'year',
  yr: 'year',
  months: 'month',
  mon: 'month',
  mons: 'month',
  days: 'day',
  d: 'day',
  hours: 'hour',
  h: 'hour',
  hr: 'hour',
  minutes: 'minute',
  min: 'minute',
  mins: 'minute',
  m: 'minute',
  seconds: 'second',
  sec: 'second',
  secs: 'second',
  s: 'second',
  milliseconds: 'millisecond',
  ms: 'millisecond',
  microseconds: 'microsecond',
  us: 'microsecond',
  weeks: 'week',
  w: 'week',
  decades: 'decade',
  centuries: 'century',
  millennia: 'millennium',
  quarters: 'quarter',
  msec: 'millisecond',
  usec: 'microsecond',
  millenniums: 'millennium',
};
const fieldName = (name: string): string => {
  const lower = name.toLowerCase();
  return Object.hasOwn(FIELDS, lower) ? (FIELDS[lower] as string) : lower;
};

function unknownUnit(name: string, typeName: string): SqlError {
  return new SqlError('22023', `unit "${name.toLowerCase()}" not recognized for type ${typeName}`);
}

/** ISO 8601 week and its year. */
function isoWeek(days: number): { year: number; week: number } {
  const thursday = days + 3 - ((dayOfWeek(days) + 6) % 7);
  const { year } = civilFromDays(thursday);
  return { year, week: Math.floor((thursday - daysFromCivil(year, 1, 1)) / 7) + 1 };
}

const century = (year: number, span: number): number =>
  year > 0 ? Math.floor((year + span - 1) / span) : -Math.floor((span - year) / span);

function timePart(field: string, micros: number): Part | null {
  switch (field) {
    case 'hour':
      return whole(Math.floor(micros / 3_600_000_000));
    case 'minute':
      return whole(Math.floor(micros / 60_000_000) % 60);
    case 'second':
      return exact(BigInt(micros % 60_000_000));
    case 'millisecond':
      return exact(BigInt(micros % 60_000_000) * 1000n, 3);
    case 'microsecond':
      return whole(micros % 60_000_000);
    default:
      return null;
  }
}

function datePart(field: string, days: number): Part | null {
  const { year, month, day } = civilFromDays(days);
  switch (field) {
    case 'year':
      return whole(year > 0 ? year : year - 1);
    case 'month':
      return whole(month);
    case 'day':
      return whole(day);
    case 'quarter':
      return whole(Math.floor((month - 1) / 3) + 1);
    case 'week':
      return whole(isoWeek(days).week);
    case 'isoyear': {
      const iso = isoWeek(days).year;
      return whole(iso > 0 ? iso : iso - 1);
    }
    case 'dow':
      return whole(dayOfWeek(days));
    case 'isodow':
      return whole(dayOfWeek(days) || 7);
    case 'doy':
      return whole(days - daysFromCivil(year, 1, 1) + 1);
    case 'decade':
      return whole(Math.floor(year / 10));
    case 'century':
      return whole(century(year, 100));
    case 'millennium':
      return whole(century(year, 1000));
    case 'julian':
      return whole(days + JULIAN_EPOCH_DAYS);
    default:
      return null;
  }
}

function momentPart(name: string, micros: bigint, typeName: string): Part {
  const field = fieldName(name);
  if (field === 'epoch') return exact(micros + UNIX_EPOCH_MICROS);
  const split = splitTimestamp(micros);
  const part = timePart(field, split.micros) ?? datePart(field, split.days);
  if (part === null) throw unknownUnit(name, typeName);
  return part;
}

function intervalPart(name: string, value: Interval): Part {
  const field = fieldName(name);
  const years = Math.trunc(value.months / 12);
  const seconds = value.micros / MICROS_PER_SECOND;
  switch (field) {
    case 'epoch': {
      const days = BigInt(years) * 36525n * 864n * 1_000_000n;
      const rest = BigInt((value.months % 12) * 30 + value.days) * MICROS_PER_DAY;
      return exact(days + rest + value.micros);
    }
    case 'year':
      return whole(years);
    case 'month':
      return whole(value.months % 12);
    case 'quarter':
      return whole(Math.trunc((value.months % 12) / 3) + 1);
    case 'day':
      return whole(value.days);
    case 'hour':
      return whole(Number(seconds / 3600n));
    case 'minute':
      return whole(Number((seconds / 60n) % 60n));
    case 'second':
      return exact(value.micros % 60_000_000n);
    case 'millisecond':
      return exact((value.micros % 60_000_000n) * 1000n, 3);
    case 'microsecond':
      return whole(Number(value.micros % 60_000_000n));
    case 'decade':
      return whole(Math.trunc(years / 10));
    case 'century':
      return whole(Math.trunc(years / 100));
    case 'millennium':
      return whole(Math.trunc(years / 1000));
    default:
      throw unknownUnit(name, 'interval');
  }
}

const toNumeric = (part: Part): Numeric => {
  if ('whole' in part) return fromInteger(part.whole);
  return part.scale === 6
    ? new Numeric(part.millionths, 6)
    : new Numeric(part.millionths / 1000n, 3);
};

/** The parts that infinity has are infinite when they grow without bound, NULL when they turn around. */
function infinitePart(name: string, positive: boolean): Numeric | null {
  const grows = ['epoch', 'year', 'decade', 'century', 'millennium', 'julian', 'isoyear'];
  return grows.includes(fieldName(name)) ? (positive ? INFINITY : NEGATIVE_INFINITY) : null;
}

function extractMoment(name: string, micros: bigint, typeName: string): Numeric | null {
  if (!isFinite64(micros)) return infinitePart(name, micros === TIMESTAMP_INFINITY);
  if (fieldName(name) === 'julian') {
    const { days, micros: rest } = splitTimestamp(micros);
    const fraction = divNumeric(fromInteger(rest), fromInteger(DAY_MICROS));
    return addNumeric(fromInteger(days + JULIAN_EPOCH_DAYS), fraction);
  }
  return toNumeric(momentPart(name, micros, typeName));
}

function extractZoned(session: SessionView, name: string, micros: bigint): Numeric | null {
  if (!isFinite64(micros)) return infinitePart(name, micros === TIMESTAMP_INFINITY);
  const zone = zoneOf(session);
  const offset = offsetAtUtc(zone, micros);
  const field = fieldName(name);
  if (field === 'epoch') return extractMoment(name, micros, 'timestamp with time zone');
  if (field === 'timezone') return fromInteger(offset);
  if (field === 'timezone_hour') return fromInteger(Math.trunc(offset / 3600));
  if (field === 'timezone_minute') return fromInteger(Math.trunc(offset / 60) % 60);
  return extractMoment(name, utcToLocal(micros, zone), 'timestamp with time zone');
}

function extractDate(name: string, days: number): Numeric | null {
  if (!Number.isFinite(days)) return infinitePart(name, days > 0);
  const field = fieldName(name);
  if (field === 'epoch') return fromInteger((days + 10_957) * 86_400);
  const part = datePart(field, days);
  if (part === null) {
    throw timePart(field, 0) === null
      ? unknownUnit(name, 'date')
      : new SqlError('0A000', `unit "${name.toLowerCase()}" not supported for type date`);
  }
  return toNumeric(part);
}

function extractTime(name: string, micros: number): Numeric {
  if (fieldName(name) === 'epoch') return new Numeric(BigInt(micros), 6);
  const part = timePart(fieldName(name), micros);
  if (part === null) throw unknownUnit(name, 'time without time zone');
  return toNumeric(part);
}

function truncateMoment(name: string, micros: bigint, typeName: string): bigint {
  if (!isFinite64(micros)) return micros;
  const field = fieldName(name);
  const civil = civilFromTimestamp(micros);
  const cut: CivilTime = { ...civil };
  const order = [
    'microsecond',
    'millisecond',
    'second',
    'minute',
    'hour',
    'day',
    'month',
    'quarter',
    'year',
    'decade',
    'century',
    'millennium',
  ];
  const level = order.indexOf(field);
  if (field === 'week') {
    const { days } = splitTimestamp(micros);
    return joinTimestamp(days - ((dayOfWeek(days) + 6) % 7), 0);
  }
  if (level < 0) throw unknownUnit(name, typeName);
  if (level === 1) cut.micros -= cut.micros % 1000;
  if (level >= 2) cut.micros = 0;
  if (level >= 3) cut.second = 0;
  if (level >= 4) cut.minute = 0;
  if (level >= 5) cut.hour = 0;
  if (level >= 6) cut.day = 1;
  if (level === 7) cut.month -= (cut.month - 1) % 3;
  if (level >= 8) cut.month = 1;
  if (level === 9) cut.year = Math.floor(cut.year / 10) * 10;
  if (level === 10)
    cut.year =
      cut.year > 0
        ? Math.floor((cut.year + 99) / 100) * 100 - 99
        : -Math.floor((99 - cut.year + 1) / 100) * 100 + 1;
  if (level === 11)
    cut.year =
      cut.year > 0
        ? Math.floor((cut.year + 999) / 1000) * 1000 - 999
        : -Math.floor((999 - cut.year + 1) / 1000) * 1000 + 1;
  return timestampFromCivil(cut);
}

function truncateInterval(name: string, value: Interval): Interval {
  const field = fieldName(name);
  const spans: Record<string, number> = {
    millennium: 12_000,
    century: 1200,
    decade: 120,
    year: 12,
    quarter: 3,
    month: 1,
  };
  const span = spans[field];
  if (span !== undefined)
    return { months: value.months - (value.months % span), days: 0, micros: 0n };
  if (field === 'day') return { ...value, micros: 0n };
  const units: Record<string, bigint> = {
    hour: 3_600_000_000n,
    minute: 60_000_000n,
    second: 1_000_000n,
    millisecond: 1000n,
    microsecond: 1n,
  };
  const unit = units[field];
  if (unit === undefined) throw unknownUnit(name, 'interval');
  return { ...value, micros: value.micros - (value.micros % unit) };
}

/** age(): years, months and days as a person counts them. */
export function age(a: bigint, b: bigint): Interval {
  if (!isFinite64(a) || !isFinite64(b))
    throw new SqlError('22008', 'cannot subtract infinite timestamps');
  if (a < b) return negateInterval(age(b, a));
  const from = civilFromTimestamp(b);
  const to = civilFromTimestamp(a);
  const clock = (c: CivilTime): number =>
    ((c.hour * 60 + c.minute) * 60 + c.second) * 1_000_000 + c.micros;
  let micros = clock(to) - clock(from);
  let days = to.day - from.day;
  let months = (to.year - from.year) * 12 + to.month - from.month;
  if (micros < 0) {
    micros += DAY_MICROS;
    days--;
  }
  if (days < 0) {
    days += daysInMonth(from.year, from.month);
    months--;
  }
  return { months, days, micros: BigInt(micros) };
}

function makeDate(year: number, month: number, day: number): number {
  const shown = year < 0 ? year + 1 : year;
  if (year === 0 || month < 1 || month > 12 || day < 1 || day > daysInMonth(shown, month)) {
    throw new SqlError(
      '22008',
      `date field value out of range: ${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`,
    );
  }
  return checkDate(daysFromCivil(shown, month, day));
}

function clockMicros(hour: number, minute: number, second: number): number {
  const micros = (hour * 60 + minute) * 60_000_000 + Math.round(second * 1_000_000);
  if (hour < 0 || minute < 0 || minute > 59 || second < 0 || second > 60 || micros > DAY_MICROS) {
    throw new SqlError(
      '22008',
      `time field value out of range: ${hour}:${String(minute).padStart(2, '0')}:${String(second).padStart(2, '0')}`,
    );
  }
  return micros;
}

const wrapDay = (micros: number): number => ((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS;
const dateStart = (days: number): bigint => joinTimestamp(days, 0);

function registerDateOperators(): void {
  const addTime = (a: number, b: Interval): number =>
    wrapDay(a + Number(b.micros % MICROS_PER_DAY));
  const subTime = (a: number, b: Interval): number =>
    wrapDay(a - Number(b.micros % MICROS_PER_DAY));
  const zonedAdd = (session: SessionView, a: bigint, b: Interval): bigint =>
    addToTimestamptz(a, b, zoneOf(session));
  registerOperators([
    op('+', date, int4, date, (a: number, b: number) =>
      Number.isFinite(a) ? checkDate(a + b) : a,
    ),
    op('+', int4, date, date, (a: number, b: number) =>
      Number.isFinite(b) ? checkDate(a + b) : b,
    ),
    op('-', date, int4, date, (a: number, b: number) =>
      Number.isFinite(a) ? checkDate(a - b) : a,
    ),
    op('-', date, date, int4, (a: number, b: number) => {
      if (!Number.isFinite(a - b)) throw new SqlError('22008', 'cannot subtract infinite dates');
      return a - b;
    }),
    op('+', date, time, timestamp, (a: number, b: number) => joinTimestamp(a, b)),
    op('+', time, date, timestamp, (a: number, b: number) => joinTimestamp(b, a)),
    op('+', date, interval, timestamp, (a: number, b: Interval) => addToTimestamp(dateStart(a), b)),
    op('+', interval, date, timestamp, (a: Interval, b: number) => addToTimestamp(dateStart(b), a)),
    op('-', date, interval, timestamp, (a: number, b: Interval) =>
      addToTimestamp(dateStart(a), negateInterval(b)),
    ),
    op('+', timestamp, interval, timestamp, addToTimestamp),
    op('+', interval, timestamp, timestamp, (a: Interval, b: bigint) => addToTimestamp(b, a)),
    op('-', timestamp, interval, timestamp, (a: bigint, b: Interval) =>
      addToTimestamp(a, negateInterval(b)),
    ),
    op('-', timestamp, timestamp, interval, timestampDifference),
    op('+', timestamptz, interval, timestamptz, zonedAdd, { session: true }),
    op(
      '+',
      interval,
      timestamptz,
      timestamptz,
      (s: SessionView, a: Interval, b: bigint) => zonedAdd(s, b, a),
      { session: true },
    ),
    op(
      '-',
      timestamptz,
      interval,
      timestamptz,
      (s: SessionView, a: bigint, b: Interval) => zonedAdd(s, a, negateInterval(b)),
      { session: true },
    ),
    op('-', timestamptz, timestamptz, interval, timestampDifference),
    op('+', interval, interval, interval, addIntervals),
    op('-', interval, interval, interval, subIntervals),
    op('-', 0, interval, interval, negateInterval),
    op('*', interval, float8, interval, multiplyInterval),
    op('*', float8, interval, interval, (a: number, b: Interval) => multiplyInterval(b, a)),
    op('/', interval, float8, interval, divideInterval),
    op('+', time, interval, time, addTime),
    op('+', interval, time, time, (a: Interval, b: number) => addTime(b, a)),
    op('-', time, interval, time, subTime),
    op('-', time, time, interval, (a: number, b: number) => ({
      months: 0,
      days: 0,
      micros: BigInt(a - b),
    })),
  ]);
}

function extracts(): FunctionDef[] {
  const asFloat = (value: Numeric | null): number | null =>
    value === null ? null : toFloat(value);
  const local = (name: string, micros: bigint): Numeric | null =>
    extractMoment(name, micros, 'timestamp without time zone');
  const span = (name: string, value: Interval): Numeric => toNumeric(intervalPart(name, value));
  return [
    fn('extract', [text, date], numeric, extractDate),
    fn('extract', [text, time], numeric, extractTime),
    fn('extract', [text, timestamp], numeric, local),
    fn('extract', [text, timestamptz], numeric, extractZoned, { session: true }),
    fn('extract', [text, interval], numeric, span),
    fn('date_part', [text, date], float8, (f: string, v: number) =>
      asFloat(extractMoment(f, dateStart(v), 'timestamp without time zone')),
    ),
    fn('date_part', [text, time], float8, (f: string, v: number) => asFloat(extractTime(f, v))),
    fn('date_part', [text, timestamp], float8, (f: string, v: bigint) => asFloat(local(f, v))),
    fn(
      'date_part',
      [text, timestamptz],
      float8,
      (s: SessionView, f: string, v: bigint) => asFloat(extractZoned(s, f, v)),
      { session: true },
    ),
    fn('date_part', [text, interval], float8, (f: string, v: Interval) => asFloat(span(f, v))),
  ];
}

function truncations(): FunctionDef[] {
  const zoned = (zone: string, field: string, moment: bigint): bigint =>
    localToUtc(truncateMoment(field, utcToLocal(moment, zone), 'timestamp with time zone'), zone);
  return [
    fn('date_trunc', [text, timestamp], timestamp, (f: string, v: bigint) =>
      truncateMoment(f, v, 'timestamp without time zone'),
    ),
    fn(
      'date_trunc',
      [text, timestamptz],
      timestamptz,
      (s: SessionView, f: string, v: bigint) => zoned(zoneOf(s), f, v),
      { session: true },
    ),
    fn('date_trunc', [text, timestamptz, text], timestamptz, (f: string, v: bigint, zone: string) =>
      zoned(zone, f, v),
    ),
    fn('date_trunc', [text, interval], interval, truncateInterval),
  ];
}

function clocks(): FunctionDef[] {
  const transactionTime = (session: SessionView): bigint => session.transactionTime;
  const localTime = (session: SessionView): bigint =>
    utcToLocal(session.transactionTime, zoneOf(session));
  const names = ['now', 'transaction_timestamp', 'current_timestamp'];
  return [
    ...names.map((name) => fn(name, [], timestamptz, transactionTime, { session: true })),
    fn('statement_timestamp', [], timestamptz, (s: SessionView) => s.statementTime, {
      session: true,
    }),
    fn('clock_timestamp', [], timestamptz, (s: SessionView) => s.clockTime(), {
      session: true,
      volatility: 'volatile',
    }),
    fn('localtimestamp', [], timestamp, localTime, { session: true }),
    fn('current_date', [], date, (s: SessionView) => splitTimestamp(localTime(s)).days, {
      session: true,
    }),
    fn('localtime', [], time, (s: SessionView) => splitTimestamp(localTime(s)).micros, {
      session: true,
    }),
  ];
}

function* momentSeries(
  from: bigint,
  to: bigint,
  step: Interval,
  add: (a: bigint, b: Interval) => bigint,
): Generator<bigint> {
  const span = (BigInt(step.months) * 30n + BigInt(step.days)) * MICROS_PER_DAY + step.micros;
  if (span === 0n) throw new SqlError('22023', 'step size cannot equal zero');
  for (let i = from; span > 0n ? i <= to : i >= to; i = add(i, step)) yield i;
}

// A table of definitions.
// oxlint-disable-next-line max-lines-per-function
export function registerDateTime(): void {
  registerDateOperators();
  registerFunctions([
    ...extracts(),
    ...truncations(),
    ...clocks(),
    fn('age', [timestamp, timestamp], interval, age),
    fn(
      'age',
      [timestamptz, timestamptz],
      interval,
      (s: SessionView, a: bigint, b: bigint) =>
        age(utcToLocal(a, zoneOf(s)), utcToLocal(b, zoneOf(s))),
      { session: true },
    ),
    fn(
      'age',
      [timestamp],
      interval,
      (s: SessionView, a: bigint) =>
        age(truncateMoment('day', utcToLocal(s.transactionTime, zoneOf(s)), ''), a),
      { session: true },
    ),
    fn(
      'age',
      [timestamptz],
      interval,
      (s: SessionView, a: bigint) =>
        age(
          truncateMoment('day', utcToLocal(s.transactionTime, zoneOf(s)), ''),
          utcToLocal(a, zoneOf(s)),
        ),
      { session: true },
    ),
    fn('timezone', [text, timestamptz], timestamp, (zone: string, a: bigint) =>
      utcToLocal(a, zone),
    ),
    fn('timezone', [text, timestamp], timestamptz, (zone: string, a: bigint) =>
      localToUtc(a, zone),
    ),
    fn('make_date', [int4, int4, int4], date, makeDate),
    fn('make_time', [int4, int4, float8], time, clockMicros),
    fn(
      'make_timestamp',
      [int4, int4, int4, int4, int4, float8],
      timestamp,
      (y: number, m: number, d: number, h: number, min: number, ...s: number[]) =>
        checkTimestamp(joinTimestamp(makeDate(y, m, d), clockMicros(h, min, s[0] as number))),
    ),
    fn('to_timestamp', [float8], timestamptz, (seconds: number) => {
      if (!Number.isFinite(seconds)) {
        if (Number.isNaN(seconds)) throw new SqlError('22008', 'timestamp cannot be NaN');
        return seconds > 0 ? TIMESTAMP_INFINITY : -TIMESTAMP_INFINITY - 1n;
      }
      const whole = Math.floor(seconds);
      const micros =
        BigInt(whole) * MICROS_PER_SECOND + BigInt(Math.round((seconds - whole) * 1e6));
      return checkTimestamp(micros - UNIX_EPOCH_MICROS);
    }),
    fn('isfinite', [date], OID.bool, (a: number) => Number.isFinite(a)),
    fn('isfinite', [timestamp], OID.bool, isFinite64),
    fn('isfinite', [timestamptz], OID.bool, isFinite64),
    fn('isfinite', [interval], OID.bool, () => true),
    fn('justify_days', [interval], interval, (a: Interval) => ({
      ...a,
      months: a.months + Math.trunc(a.days / 30),
      days: a.days % 30,
    })),
    fn('justify_hours', [interval], interval, (a: Interval) => ({
      ...a,
      days: a.days + Number(a.micros / MICROS_PER_DAY),
      micros: a.micros % MICROS_PER_DAY,
    })),
    setFn(
      'generate_series',
      [timestamp, timestamp, interval],
      timestamp,
      (a: bigint, b: bigint, step: Interval) => momentSeries(a, b, step, addToTimestamp),
    ),
    setFn(
      'generate_series',
      [timestamptz, timestamptz, interval],
      timestamptz,
      (s: SessionView, a: bigint, b: bigint, step: Interval) =>
        momentSeries(a, b, step, (x, y) => addToTimestamptz(x, y, zoneOf(s))),
      { session: true },
    ),
  ]);
}
