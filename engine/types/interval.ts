/**
 * interval: months, days and microseconds, each with its own sign; compared by what they span, 30 days a month.
 * Text in the `postgres` style: `1 year 2 mons -3 days +04:05:06.7`; ISO 8601 durations are read too.
 */
import { SqlError } from '../sql-error.js';
import * as b from './bytes.js';
import { MICROS_PER_DAY } from './calendar.js';
import { compareBigints, expectBytes, type TypeCodec } from './sql-type.js';
import type { Interval } from './value.js';

export function intervalSpan(value: Interval): bigint {
  return (BigInt(value.months) * 30n + BigInt(value.days)) * MICROS_PER_DAY + value.micros;
}

const SECOND = 1_000_000;
/** Months, days, microseconds of one unit; exactly one is not zero. */
type Unit = readonly [months: number, days: number, micros: number];
const UNIT_NAMES: readonly (readonly [string, Unit])[] = [
  ['us usec usecs microsecond microseconds useconds usecond', [0, 0, 1]],
  ['ms msec msecs millisecond milliseconds mseconds msecond', [0, 0, 1000]],
  ['s sec secs second seconds', [0, 0, SECOND]],
  ['m min mins minute minutes', [0, 0, 60 * SECOND]],
  ['h hr hrs hour hours', [0, 0, 3600 * SECOND]],
  ['d day days', [0, 1, 0]],
  ['w week weeks', [0, 7, 0]],
  ['mon mons month months', [1, 0, 0]],
  ['y yr yrs year years', [12, 0, 0]],
  ['dec decs decade decades', [120, 0, 0]],
  ['c cent century centuries', [1200, 0, 0]],
  ['mil mils millennium millennia', [12000, 0, 0]],
];
const UNITS = new Map<string, Unit>();
for (const [names, unit] of UNIT_NAMES) for (const name of names.split(' ')) UNITS.set(name, unit);

class Sum {
  months = 0;
  days = 0;
  micros = 0;

  /** Fractions go down: of months into days, of days into time. */
  add(amount: number, [months, days, micros]: Unit): void {
    if (months !== 0) {
      const total = amount * months;
      const whole = Math.trunc(total + (total < 0 ? -1e-9 : 1e-9));
      this.months += whole;
      if (months === 1) this.addDays((total - whole) * 30);
      else this.months += Math.round(total - whole);
    }
    if (days !== 0) this.addDays(amount * days);
    if (micros !== 0) this.micros += Math.round(amount * micros);
  }

  addDays(days: number): void {
    const whole = Math.trunc(days + (days < 0 ? -1e-9 : 1e-9));
    this.days += whole;
    this.micros += Math.round((days - whole) * 86_400 * SECOND);
  }

  finish(text: string): Interval {
    const int4 = (n: number): boolean => Math.abs(n) <= 0x7fff_ffff;
    if (!int4(this.months) || !int4(this.days) || !Number.isFinite(this.micros)) {
      throw new SqlError('22015', `interval field value out of range: "${text}"`);
    }
    return { months: this.months + 0, days: this.days + 0, micros: BigInt(this.micros) };
  }
}

const bad = (text: string): SqlError =>
  new SqlError('22007', `invalid input syntax for type interval: "${text}"`);

const TOKEN =
  /^\s*(?:([+-]?)(\d+):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?(?![\d:])|([+-]?)(\d+)-(\d{1,2})(?!\d)|([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]+)?|(ago|@))/i;

export function parseInterval(text: string): Interval {
  const trimmed = text.trim();
  if (/^[+-]?P/.test(trimmed)) return parseIso(trimmed, text);
  const sum = new Sum();
  let rest = trimmed.toLowerCase();
  let ago = false;
  let fields = 0;
  while (rest !== '') {
    const match = TOKEN.exec(rest);
    if (match === null || match[0] === '') throw bad(text);
    rest = rest.slice(match[0].length).trimStart();
    if (match[10] === '@') continue;
    if (match[10] !== undefined) {
      if (rest !== '') throw bad(text);
      ago = true;
      continue;
    }
    fields++;
    if (match[2] !== undefined) {
      const seconds = Number(match[2]) * 3600 + Number(match[3]) * 60;
      const micros = seconds * SECOND + Math.round(Number(match[4] ?? 0) * SECOND);
      if (Number(match[3]) > 59 || Number(match[4] ?? 0) > 60) {
        throw new SqlError('22015', `interval field value out of range: "${text}"`);
      }
      sum.micros += match[1] === '-' ? -micros : micros;
    } else if (match[6] !== undefined) {
      const months = Number(match[6]) * 12 + Number(match[7]);
      sum.months += match[5] === '-' ? -months : months;
    } else {
      // A bare number is seconds, unless a time of day follows: then days.
      const fallback = /^[+-]?\d+:/.test(rest) ? 'day' : 'second';
      const unit = UNITS.get(match[9] ?? fallback);
      if (
        unit === undefined ||
        (match[9] === undefined && fallback === 'second' && rest !== '' && rest !== 'ago')
      ) {
        throw bad(text);
      }
      sum.add(Number(match[8]), unit);
    }
  }
  if (fields === 0) throw bad(text);
  if (ago) {
    sum.months = -sum.months;
    sum.days = -sum.days;
    sum.micros = -sum.micros;
  }
  return sum.finish(text);
}

const ISO_UNITS: Record<string, string> = { Y: 'y', M: 'mon', W: 'w', D: 'd' };
const ISO_TIME_UNITS: Record<string, string> = { H: 'h', M: 'm', S: 's' };

function parseIso(trimmed: string, text: string): Interval {
  const match = /^([+-]?)P((?:[+-]?[\d.]+[YMWD])*)(?:T((?:[+-]?[\d.]+[HMS])+))?$/.exec(trimmed);
  if (match === null || (match[2] === '' && match[3] === undefined)) throw bad(text);
  const sum = new Sum();
  const sign = match[1] === '-' ? -1 : 1;
  const parts: (readonly [string, Record<string, string>])[] = [
    [match[2] ?? '', ISO_UNITS],
    [match[3] ?? '', ISO_TIME_UNITS],
  ];
  for (const [part, units] of parts) {
    for (const field of part.matchAll(/([+-]?[\d.]+)([A-Z])/g)) {
      const amount = Number(field[1]);
      const unit = UNITS.get(units[field[2] as string] ?? '');
      if (Number.isNaN(amount) || unit === undefined) throw bad(text);
      sum.add(sign * amount, unit);
    }
  }
  return sum.finish(text);
}

export function intervalText(value: Interval): string {
  const parts: string[] = [];
  let negative = false;
  const push = (amount: number, name: string): void => {
    if (amount === 0) return;
    const sign = negative && amount > 0 ? '+' : '';
    parts.push(`${sign}${amount} ${name}${amount === 1 ? '' : 's'}`);
    negative = amount < 0;
  };
  push(Math.trunc(value.months / 12), 'year');
  push(value.months % 12, 'mon');
  push(value.days, 'day');
  if (value.micros !== 0n || parts.length === 0) {
    const magnitude = value.micros < 0n ? -value.micros : value.micros;
    const seconds = magnitude / 1_000_000n;
    const two = (n: bigint): string => n.toString().padStart(2, '0');
    let time = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`;
    const fraction = magnitude % 1_000_000n;
    if (fraction !== 0n) time += `.${fraction.toString().padStart(6, '0').replace(/0+$/, '')}`;
    parts.push((value.micros < 0n ? '-' : negative ? '+' : '') + time);
  }
  return parts.join(' ');
}

export const intervalCodec: TypeCodec = {
  storage: 'interval',
  fromText: parseInterval,
  toText: intervalText,
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 16);
    return {
      months: b.readInt4BE(bytes, start + 12),
      days: b.readInt4BE(bytes, start + 8),
      micros: b.readInt8BE(bytes, start),
    };
  },
  toBinary(value: Interval) {
    const bytes = new Uint8Array(16);
    b.putInt8BE(bytes, 0, value.micros);
    b.putInt4BE(bytes, 8, value.days);
    b.putInt4BE(bytes, 12, value.months);
    return bytes;
  },
  compare: (a: Interval, c: Interval) => compareBigints(intervalSpan(a), intervalSpan(c)),
  hashKey: (value: Interval) => intervalSpan(value),
};
