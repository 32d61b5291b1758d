/**
 * The text of dates and times: ISO 8601 and PostgreSQL's own output, month names, `infinity`, `epoch`, `now`, `today`,
 * `tomorrow`, `yesterday`; a zone as an offset, an abbreviation or a name. DateStyle is ISO, MDY.
 */
import { SqlError } from '../sql-error.js';
import {
  checkDate,
  checkTimestamp,
  DAY_MICROS,
  daysFromCivil,
  daysInMonth,
  joinTimestamp,
  MICROS_PER_SECOND,
  splitTimestamp,
  TIMESTAMP_INFINITY,
  TIMESTAMP_NEGATIVE_INFINITY,
  UNIX_EPOCH_DAYS,
} from './calendar.js';
import type { TextContext } from './sql-type.js';
import { isTimeZone, offsetAtLocal, offsetAtUtc } from './time-zone.js';

const MONTHS: readonly string[] = 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ');
const MONTH_NAMES: readonly string[] =
  'january february march april may june july august september october november december'.split(
    ' ',
  );
const WEEK_DAYS = new Set(
  'sun mon tue tues wed weds thu thur thurs fri sat sunday monday tuesday wednesday thursday friday saturday'.split(
    ' ',
  ),
);

/** What a text says: a day, a time of day, a zone; or one of the special words. */
interface Fields {
  special: 'infinity' | '-infinity' | 'now' | null;
  days: number | null;
  micros: number | null;
  /** Seconds east of UTC, or a zone's name. */
  zone: number | string | null;
}

const badSyntax = (typeName: string, text: string): SqlError =>
  new SqlError('22007', `invalid input syntax for type ${typeName}: "${text}"`);
const badField = (text: string): SqlError =>
  new SqlError('22008', `date/time field value out of range: "${text}"`);

export function monthNumber(word: string): number {
  const lower = word.toLowerCase();
  const short = MONTHS.indexOf(lower === 'sept' ? 'sep' : lower);
  return (short >= 0 ? short : MONTH_NAMES.indexOf(lower)) + 1;
}

function civilDay(yearText: string, month: number, day: number, bc: boolean, text: string): number {
  let year = Number(yearText);
  if (bc) {
    if (year === 0) throw badField(text);
    year = 1 - year;
  } else if (yearText.length <= 2) {
    year += year < 70 ? 2000 : 1900;
  } else if (year === 0) {
    throw badField(text);
  }
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) throw badField(text);
  return daysFromCivil(year, month, day);
}

const TIME =
  /^[tT]?(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?(?:\s*([aApP])\.?[mM]\.?)?(?=$|[\s+\-zZ]|[A-Za-z])/;
const COMPACT_TIME = /^[tT](\d{2})(\d{2})(?:(\d{2}(?:\.\d*)?))?(?=$|[\s+\-zZ])/;
/** Without the T, where nothing but a time may stand. */
const BARE_COMPACT_TIME = /^[tT]?(\d{2})(\d{2})(?:(\d{2}(?:\.\d*)?))?(?=$|[\s+\-zZ])/;

function timeOfDay(match: RegExpExecArray, text: string): number {
  let hour = Number(match[1]);
  const minute = Number(match[2]);
  const second = Number(match[3] ?? 0);
  const half = match[4]?.toLowerCase();
  if (half !== undefined) {
    if (hour < 1 || hour > 12) throw badField(text);
    hour = (hour % 12) + (half === 'p' ? 12 : 0);
  }
  const micros = (hour * 60 + minute) * 60_000_000 + Math.round(second * 1_000_000);
  if (hour > 24 || minute > 59 || second > 60 || micros > DAY_MICROS) throw badField(text);
  return micros;
}

const ISO_DATE = /^(\d{4,7})-(\d{1,2})-(\d{1,2})(?=$|[\sT+\-zZ]|t\d)/;
const SLASH_DATE = /^(\d{1,2})[/-](\d{1,2})[/-](\d{4,6}|\d{2})(?=$|\s)/;
const COMPACT_DATE = /^(\d{4,6}?)(\d{2})(\d{2})(?=$|[\sT])/;
const NAMED_DATE =
  /^([A-Za-z]{3,9})\.?[\s-]*(\d{1,2})(?:st|nd|rd|th)?,?[\s-]+(\d{3,6}|\d{2})(?=$|\s)/;
const DAY_FIRST_DATE = /^(\d{1,2})[\s-]+([A-Za-z]{3,9})\.?,?[\s-]+(\d{3,6}|\d{2})(?=$|\s)/;
const YEAR_FIRST_DATE = /^(\d{4,6})[/\s-]+([A-Za-z]{3,9}|\d{1,2})[/\s-]+(\d{1,2})(?=$|\s)/;
const OFFSET = /^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?(?=$|\s)/;
const ZONE_NAME = /^([A-Za-z][A-Za-z0-9_+-]*(?:\/[A-Za-z0-9_+-]+)*)/;

class FieldReader {
  readonly #text: string;
  readonly #typeName: string;
  readonly #bc: boolean;
  rest: string;
  readonly fields: Fields = { special: null, days: null, micros: null, zone: null };

  constructor(text: string, typeName: string) {
    this.#text = text;
    this.#typeName = typeName;
    const bc = /\s*b\.?c\.?\s*$/i.exec(text);
    const ad = bc === null ? /\s+a\.?d\.?\s*$/i.exec(text) : null;
    this.#bc = bc !== null;
    const cut = bc ?? ad;
    this.rest = (cut === null ? text : text.slice(0, cut.index)).trim();
  }

  read(context: TextContext): Fields {
    const fields = this.fields;
    if (this.rest === '') throw badSyntax(this.#typeName, this.#text);
    while (this.rest !== '') {
      if (fields.days === null && this.#date()) continue;
      if (fields.micros === null && this.#time()) continue;
      if (fields.zone === null && this.#offset()) continue;
      if (this.#word(context)) continue;
      throw badSyntax(this.#typeName, this.#text);
    }
    return fields;
  }

  #advance(match: RegExpExecArray): void {
    this.rest = this.rest.slice(match[0].length).trimStart();
    if (this.rest.startsWith(',')) this.rest = this.rest.slice(1).trimStart();
  }

  #date(): boolean {
    const rest = this.rest;
    let match = ISO_DATE.exec(rest) ?? COMPACT_DATE.exec(rest);
    if (match !== null) return this.#day(match, match[1], Number(match[2]), Number(match[3]));
    match = SLASH_DATE.exec(rest);
    if (match !== null) return this.#day(match, match[3], Number(match[1]), Number(match[2]));
    match = NAMED_DATE.exec(rest);
    if (match !== null && monthNumber(match[1] as string) > 0) {
      return this.#day(match, match[3], monthNumber(match[1] as string), Number(match[2]));
    }
    match = DAY_FIRST_DATE.exec(rest);
    if (match !== null && monthNumber(match[2] as string) > 0) {
      return this.#day(match, match[3], monthNumber(match[2] as string), Number(match[1]));
    }
    match = YEAR_FIRST_DATE.exec(rest);
    if (match !== null) {
      const word = match[2] as string;
      const month = /^\d/.test(word) ? Number(word) : monthNumber(word);
      if (month > 0) return this.#day(match, match[1], month, Number(match[3]));
    }
    return false;
  }

  #day(match: RegExpExecArray, year: string | undefined, month: number, day: number): boolean {
    this.fields.days = civilDay(year as string, month, day, this.#bc, this.#text);
    this.#advance(match);
    return true;
  }

  #time(): boolean {
    const compact = this.#typeName === 'time' ? BARE_COMPACT_TIME : COMPACT_TIME;
    const match = TIME.exec(this.rest) ?? compact.exec(this.rest);
    if (match === null) return false;
    this.fields.micros = timeOfDay(match, this.#text);
    this.#advance(match);
    return true;
  }

  #offset(): boolean {
    const match = OFFSET.exec(this.rest);
    if (match === null || this.fields.micros === null) return false;
    const hours = Number(match[2]);
    const minutes = Number(match[3] ?? 0);
    const seconds = Number(match[4] ?? 0);
    if (hours > 15 || minutes > 59 || seconds > 59) {
      throw new SqlError('22009', `time zone displacement out of range: "${this.#text}"`);
    }
    const offset = hours * 3600 + minutes * 60 + seconds;
    this.fields.zone = match[1] === '-' ? -offset : offset;
    this.#advance(match);
    return true;
  }

  #word(context: TextContext): boolean {
    const rest = this.rest;
    const infinity = /^([+-]?)infinity$/i.exec(rest);
    const fields = this.fields;
    if (infinity !== null && fields.days === null && fields.micros === null) {
      fields.special = infinity[1] === '-' ? '-infinity' : 'infinity';
      this.rest = '';
      return true;
    }
    const match = ZONE_NAME.exec(rest);
    if (match === null) return false;
    const word = (match[1] as string).toLowerCase();
    const today = splitTimestamp(localNow(context)).days;
    const relative: Record<string, number> = { today, tomorrow: today + 1, yesterday: today - 1 };
    if (word === 'now' && fields.days === null) {
      fields.special = 'now';
    } else if (word === 'epoch' && fields.days === null) {
      fields.days = -UNIX_EPOCH_DAYS;
      fields.micros = 0;
      fields.zone = 0;
    } else if (Object.hasOwn(relative, word) && fields.days === null) {
      fields.days = relative[word] as number;
    } else if (word === 'allballs' && fields.micros === null) {
      fields.micros = 0;
      fields.zone = 0;
    } else if (!WEEK_DAYS.has(word) && word !== 'at' && word !== 'on') {
      if (fields.zone !== null) return false;
      if (!isTimeZone(match[1] as string)) {
        if (word.includes('/')) {
          throw new SqlError('22023', `time zone "${word}" not recognized`);
        }
        return false;
      }
      fields.zone = match[1] as string;
    }
    this.#advance(match);
    return true;
  }
}

function localNow(context: TextContext): bigint {
  return context.now + BigInt(offsetAtUtc(context.timeZone, context.now)) * MICROS_PER_SECOND;
}

function specialTimestamp(special: Fields['special'], now: bigint): bigint {
  if (special === 'infinity') return TIMESTAMP_INFINITY;
  return special === '-infinity' ? TIMESTAMP_NEGATIVE_INFINITY : now;
}

export function parseTimestamp(text: string, context: TextContext): bigint {
  const fields = new FieldReader(text, 'timestamp').read(context);
  if (fields.special !== null) return specialTimestamp(fields.special, localNow(context));
  if (fields.days === null) throw badSyntax('timestamp', text);
  return checkTimestamp(joinTimestamp(fields.days, fields.micros ?? 0), text);
}

export function parseTimestamptz(text: string, context: TextContext): bigint {
  const typeName = 'timestamp with time zone';
  const fields = new FieldReader(text, typeName).read(context);
  if (fields.special !== null) return specialTimestamp(fields.special, context.now);
  if (fields.days === null) throw badSyntax(typeName, text);
  const local = joinTimestamp(fields.days, fields.micros ?? 0);
  const zone = fields.zone ?? context.timeZone;
  const offset = typeof zone === 'number' ? zone : offsetAtLocal(zone, local);
  return checkTimestamp(local - BigInt(offset) * MICROS_PER_SECOND, text);
}

export function parseDate(text: string, context: TextContext): number {
  const fields = new FieldReader(text, 'date').read(context);
  if (fields.special === 'infinity') return Infinity;
  if (fields.special === '-infinity') return -Infinity;
  if (fields.special === 'now') return splitTimestamp(localNow(context)).days;
  if (fields.days === null) throw badSyntax('date', text);
  return checkDate(fields.days, text);
}

export function parseTime(text: string, context: TextContext): number {
  const fields = new FieldReader(text, 'time').read(context);
  if (fields.special === 'now') return splitTimestamp(localNow(context)).micros;
  if (fields.micros === null) throw badSyntax('time', text);
  return fields.micros;
}
