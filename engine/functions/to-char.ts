/**
 * to_char, to_date, to_timestamp(text, text), to_number: the common template patterns. A pattern that is not here is
 * refused with 0A000, never printed as it stands.
 */
import { notSupported, SqlError } from '../sql-error.js';
import {
  civilFromTimestamp,
  daysFromCivil,
  daysInMonth,
  dayOfWeek,
  isFinite64,
  joinTimestamp,
  splitTimestamp,
} from '../types/calendar.js';
import { localToUtc, utcToLocal } from '../types/cast.js';
import {
  fromFloat,
  fromInteger,
  fromBigint,
  numericText,
  parseNumeric,
  roundTo,
  type Numeric,
} from '../types/numeric.js';
import { monthNumber } from '../types/date-time-input.js';
import { offsetText } from '../types/calendar.js';
import { OID } from '../types/oids.js';
import { offsetAtUtc } from '../types/time-zone.js';
import type { SessionView } from '../sql/statement.js';
import { textContextOf } from './context.js';
import { fn, registerFunctions } from './function.js';

const MONTHS =
  'January February March April May June July August September October November December'.split(
    ' ',
  );
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
const PATTERN =
  /"((?:[^"\\]|\\.)*)"?|(FM)?(HH24|HH12|HH|MI|SSSSS|SSSS|SS|MS|US|Y,YYY|YYYY|YYY|YY|Y|MONTH|Month|month|MON|Mon|mon|MM|DDD|DAY|Day|day|DY|Dy|dy|DD|D|ID|IYYY|IW|WW|W|Q|CC|J|AM|PM|A\.M\.|P\.M\.|am|pm|a\.m\.|p\.m\.|BC|AD|TZH|TZM|TZ|tz|OF)(TH|th)?|FX|([^])/g;

interface Moment {
  readonly local: bigint;
  readonly zone: string;
  readonly offset: number;
}

function cased(word: string, pattern: string): string {
  if (pattern === pattern.toUpperCase()) return word.toUpperCase();
  return pattern === pattern.toLowerCase() ? word.toLowerCase() : word;
}

function ordinal(digits: string, suffix: string): string {
  const n = Number(digits);
  const teen = n % 100 >= 11 && n % 100 <= 13;
  const ending = teen ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return digits + cased(ending, suffix);
}

function isoWeek(days: number): { year: number; week: number } {
  const thursday = days + 3 - ((dayOfWeek(days) + 6) % 7);
  const { year } = civilFromTimestamp(joinTimestamp(thursday, 0));
  return { year, week: Math.floor((thursday - daysFromCivil(year, 1, 1)) / 7) + 1 };
}

// A table of definitions.
// oxlint-disable-next-line max-lines-per-function
function field(pattern: string, fill: boolean, moment: Moment): string {
  const c = civilFromTimestamp(moment.local);
  const { days } = splitTimestamp(moment.local);
  const year = c.year > 0 ? c.year : 1 - c.year;
  const pad = (n: number, width: number): string =>
    fill ? String(n).padStart(width, '0') : String(n);
  const name = (word: string): string =>
    fill ? cased(word, pattern).padEnd(9) : cased(word, pattern);
  const dayOfYear = days - daysFromCivil(c.year, 1, 1) + 1;
  const seconds = (c.hour * 60 + c.minute) * 60 + c.second;
  switch (pattern.toUpperCase()) {
    case 'HH24':
      return pad(c.hour, 2);
    case 'HH':
    case 'HH12':
      return pad(c.hour % 12 || 12, 2);
    case 'MI':
      return pad(c.minute, 2);
    case 'SS':
      return pad(c.second, 2);
    case 'SSSS':
    case 'SSSSS':
      return String(seconds);
    case 'MS':
      return pad(Math.floor(c.micros / 1000), 3);
    case 'US':
      return pad(c.micros, 6);
    case 'YYYY':
      return pad(year, 4);
    case 'Y,YYY':
      return `${Math.floor(year / 1000)},${String(year % 1000).padStart(3, '0')}`;
    case 'YYY':
      return pad(year % 1000, 3);
    case 'YY':
      return pad(year % 100, 2);
    case 'Y':
      return String(year % 10);
    case 'MONTH':
      return name(MONTHS[c.month - 1] as string);
    case 'MON':
      return cased((MONTHS[c.month - 1] as string).slice(0, 3), pattern);
    case 'MM':
      return pad(c.month, 2);
    case 'DDD':
      return pad(dayOfYear, 3);
    case 'DAY':
      return name(DAYS[dayOfWeek(days)] as string);
    case 'DY':
      return cased((DAYS[dayOfWeek(days)] as string).slice(0, 3), pattern);
    case 'DD':
      return pad(c.day, 2);
    case 'D':
      return String(dayOfWeek(days) + 1);
    case 'ID':
      return String(dayOfWeek(days) || 7);
    case 'IYYY':
      return pad(isoWeek(days).year, 4);
    case 'IW':
      return pad(isoWeek(days).week, 2);
    case 'WW':
      return pad(Math.floor((dayOfYear - 1) / 7) + 1, 2);
    case 'W':
      return String(Math.floor((c.day - 1) / 7) + 1);
    case 'Q':
      return String(Math.floor((c.month - 1) / 3) + 1);
    case 'CC':
      return pad(Math.floor((year + 99) / 100), 2);
    case 'J':
      return String(days + 2_451_545);
    case 'AM':
    case 'PM':
      return cased(c.hour < 12 ? 'AM' : 'PM', pattern);
    case 'A.M.':
    case 'P.M.':
      return cased(c.hour < 12 ? 'A.M.' : 'P.M.', pattern);
    case 'BC':
    case 'AD':
      return cased(c.year > 0 ? 'AD' : 'BC', pattern);
    case 'TZ':
      return cased(moment.zone, pattern);
    case 'OF':
      return offsetText(moment.offset);
    case 'TZH':
      return offsetText(moment.offset).slice(0, 3);
    default:
      return String(Math.floor(Math.abs(moment.offset) / 60) % 60).padStart(2, '0');
  }
}

function formatMoment(moment: Moment, template: string): string | null {
  if (!isFinite64(moment.local) || template === '') return null;
  let text = '';
  for (const match of template.matchAll(PATTERN)) {
    if (match[3] !== undefined) {
      const shown = field(match[3], match[2] === undefined, moment);
      text += match[4] === undefined ? shown : ordinal(shown, match[4]);
    } else {
      text += match[1] ?? match[5] ?? '';
    }
  }
  return text;
}

/** 9, 0, . and , with the signs MI, S and the modifier FM. */
function formatNumber(value: Numeric, template: string): string {
  const match = /^(FM)?(S|MI)?([90,]*)(?:(?:\.|D)([90]*))?(S|MI)?$/.exec(
    template.replaceAll('G', ','),
  );
  if (match === null) throw notSupported(`number template "${template}"`);
  const [, fm, before, whole = '', fraction = '', after] = match;
  const fill = fm === undefined;
  const digitsMax = whole.replaceAll(',', '').length;
  if (value.kind !== 'finite') return numericText(value);
  const rounded = roundTo(value, fraction.length);
  const negative = rounded.unscaled < 0n;
  const [integer = '0', decimals = ''] = numericText(rounded).replace('-', '').split('.');
  const digits = integer === '0' ? '' : integer;
  const hasPoint = /[.D]/.test(template);
  const overflows = digits.length > digitsMax;
  const firstZero = whole.replaceAll(',', '').indexOf('0');
  const shownMin = firstZero < 0 ? 0 : digitsMax - firstZero;
  let padded = (overflows ? '#'.repeat(digitsMax) : digits.padStart(shownMin, '0')).padStart(
    digitsMax,
    ' ',
  );
  if (padded.trim() === '' && digitsMax > 0 && !hasPoint) padded = `${padded.slice(1)}0`;
  let body = '';
  let at = 0;
  for (const char of whole) {
    if (char === ',') body += body.trim() === '' ? ' ' : ',';
    else body += padded[at++];
  }
  let tail = overflows ? '#'.repeat(fraction.length) : decimals;
  if (!fill && !overflows) {
    const keep = fraction.lastIndexOf('0') + 1;
    while (tail.length > keep && tail.endsWith('0')) tail = tail.slice(0, -1);
  }
  if (hasPoint && body.trim() === '' && tail === '') body = `${body.slice(1)}0`;
  const number = hasPoint ? `${body}.${tail}` : body;
  const blanks = /^ */.exec(number)?.[0].length ?? 0;
  const shown = number.slice(blanks);
  const lead = fill ? ' '.repeat(blanks) : '';
  const sign = before ?? after;
  if (sign === undefined) return lead + (negative ? '-' : fill ? ' ' : '') + shown;
  const minus = negative ? '-' : fill ? ' ' : '';
  const mark = sign === 'S' ? (negative ? '-' : '+') : minus;
  return before === undefined
    ? lead + shown + mark
    : sign === 'S'
      ? lead + mark + shown
      : mark + lead + shown;
}

const WIDTHS: Record<string, number> = {
  YYYY: 4,
  YYY: 3,
  YY: 2,
  Y: 1,
  MM: 2,
  DD: 2,
  DDD: 3,
  HH24: 2,
  HH12: 2,
  HH: 2,
  MI: 2,
  SS: 2,
  MS: 3,
  US: 6,
};

/** Local microseconds that `text` says by `template`. */
function parseMoment(text: string, template: string): bigint {
  const got = new Map<string, number>();
  let at = 0;
  let half = '';
  for (const match of template.matchAll(PATTERN)) {
    const literal = match[1] ?? match[5];
    if (match[3] === undefined) {
      // Separators match any separator, or none.
      if (literal !== undefined && at < text.length && !/[A-Za-z0-9]/.test(text.charAt(at)))
        at += literal.length;
      else if (literal !== undefined && /[A-Za-z]/.test(literal)) at += literal.length;
      continue;
    }
    while (/\s/.test(text.charAt(at))) at++;
    const pattern = match[3].toUpperCase();
    const rest = text.slice(at);
    const word = /^[A-Za-z.]+/.exec(rest)?.[0] ?? '';
    if (pattern === 'MONTH' || pattern === 'MON') {
      const shown = pattern === 'MON' ? word.slice(0, 3) : word;
      const month = monthNumber(shown);
      if (month === 0)
        throw new SqlError('22007', `invalid value "${word}" for "${match[3]}"`, {
          detail: 'The given value did not match any of the allowed values for this field.',
        });
      got.set('MM', month);
      at += shown.length;
    } else if (/^[AP]\.?M\.?$/.test(pattern)) {
      half = word.toLowerCase().charAt(0);
      at += word.length;
    } else if (WIDTHS[pattern] !== undefined) {
      const width = WIDTHS[pattern];
      const nextIsDigit = /^[A-Z]/i.test(template.slice(match.index + match[0].length));
      const digits = new RegExp(
        `^[+-]?\\d{1,${nextIsDigit || pattern !== 'YYYY' ? width : 7}}`,
      ).exec(rest)?.[0];
      if (digits === undefined)
        throw new SqlError('22007', `invalid value "${rest.slice(0, width)}" for "${match[3]}"`, {
          detail: 'Value must be an integer.',
        });
      let value = Number(digits);
      if (pattern === 'MS' || pattern === 'US') value = Number(digits.padEnd(width, '0'));
      if (pattern === 'YY' && digits.length <= 2) value += value < 70 ? 2000 : 1900;
      got.set(pattern.startsWith('Y') ? 'YYYY' : pattern, value);
      at += digits.length;
    } else {
      throw notSupported(`template pattern "${match[3]}" in input`);
    }
  }
  const value = (name: string, fallback: number): number => got.get(name) ?? fallback;
  let hour = got.get('HH24') ?? got.get('HH12') ?? got.get('HH') ?? 0;
  if (half !== '') hour = (hour % 12) + (half === 'p' ? 12 : 0);
  const [year, month, day] = [value('YYYY', 0), value('MM', 1), value('DD', 1)];
  const shownYear = got.has('YYYY') ? year : 0;
  const bad =
    month < 1 ||
    month > 12 ||
    day < 1 ||
    day > daysInMonth(shownYear, month) ||
    hour > 24 ||
    value('MI', 0) > 59 ||
    value('SS', 0) > 59;
  if (bad) throw new SqlError('22008', `date/time field value out of range: "${text}"`);
  const start = daysFromCivil(shownYear, month, day);
  const days = got.has('DDD') ? daysFromCivil(shownYear, 1, 1) + value('DDD', 1) - 1 : start;
  const seconds = (hour * 60 + value('MI', 0)) * 60 + value('SS', 0);
  return joinTimestamp(days, seconds * 1_000_000 + value('MS', 0) * 1000 + value('US', 0));
}

export function registerToChar(): void {
  const { text, timestamp, timestamptz } = OID;
  registerFunctions([
    fn('to_char', [timestamp, text], text, (local: bigint, template: string) =>
      formatMoment({ local, zone: '', offset: 0 }, template),
    ),
    fn(
      'to_char',
      [timestamptz, text],
      text,
      (session: SessionView, moment: bigint, template: string) => {
        const zone = textContextOf(session).timeZone;
        return formatMoment(
          { local: utcToLocal(moment, zone), zone, offset: offsetAtUtc(zone, moment) },
          template,
        );
      },
      { session: true },
    ),
    fn('to_char', [OID.int4, text], text, (a: number, template: string) =>
      formatNumber(fromInteger(a), template),
    ),
    fn('to_char', [OID.int8, text], text, (a: bigint, template: string) =>
      formatNumber(fromBigint(a), template),
    ),
    fn('to_char', [OID.float8, text], text, (a: number, template: string) =>
      formatNumber(fromFloat(a), template),
    ),
    fn('to_char', [OID.numeric, text], text, formatNumber),
    fn(
      'to_date',
      [text, text],
      OID.date,
      (a: string, template: string) => splitTimestamp(parseMoment(a, template)).days,
    ),
    fn(
      'to_timestamp',
      [text, text],
      timestamptz,
      (session: SessionView, a: string, template: string) =>
        localToUtc(parseMoment(a, template), textContextOf(session).timeZone),
      { session: true },
    ),
    fn('to_number', [text, text], OID.numeric, (a: string, template: string) => {
      if (!/^(FM|S|MI|[90.,DGL])*$/.test(template))
        throw notSupported(`number template "${template}"`);
      return parseNumeric(a.replace(/[^0-9.-]/g, '').replace(/^([^-]+)-$/, '-$1'));
    }),
  ]);
}
