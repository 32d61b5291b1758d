/**
 * Time zones: UTC, fixed offsets, and named zones by the ICU data that Node carries.
 *
 * Offsets are seconds east of UTC. A local time that a change skips or repeats is read with the offset of before the
 * change, as PostgreSQL does.
 */
import { SqlError } from '../sql-error.js';
import { MICROS_PER_SECOND, timestampFromCivil, UNIX_EPOCH_MICROS } from './calendar.js';

interface Zone {
  /** At a moment in UTC microseconds since 2000-01-01. */
  offsetAt(utcMicros: bigint): number;
}

const ABBREVIATIONS: Record<string, number> = {
  utc: 0, gmt: 0, ut: 0, z: 0, zulu: 0, wet: 0, bst: 3600, west: 3600, cet: 3600, cest: 7200, met: 3600, eet: 7200,
  eest: 10800, msk: 10800, ist: 19800, jst: 32400, kst: 32400, awst: 28800, aest: 36000, aedt: 39600, nzst: 43200,
  nzdt: 46800, est: -18000, edt: -14400, cst: -21600, cdt: -18000, mst: -25200, mdt: -21600, pst: -28800, pdt: -25200,
  akst: -32400, akdt: -28800, hst: -36000, ast: -14400, adt: -10800, nst: -12600, ndt: -9000, brt: -10800,
}; // oxfmt-ignore

const MIN_JS_MILLIS = -8_640_000_000_000_000;

class NamedZone implements Zone {
  readonly #format: Intl.DateTimeFormat;
  #hour = Number.NaN;
  #offset = 0;

  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat('en-US-u-ca-iso8601', {
      timeZone: name,
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  offsetAt(utcMicros: bigint): number {
    const seconds =
      Number(utcMicros / MICROS_PER_SECOND) + Number(UNIX_EPOCH_MICROS / MICROS_PER_SECOND);
    // Offsets change on quarter hours at the finest in the last century: one entry of cache serves a whole result.
    const quarter = Math.floor(seconds / 900);
    if (quarter === this.#hour) return this.#offset;
    const millis = Math.min(Math.max(quarter * 900_000, MIN_JS_MILLIS), -MIN_JS_MILLIS);
    const parts = new Map<string, string>();
    for (const part of this.#format.formatToParts(millis)) parts.set(part.type, part.value);
    const field = (name: string): number => Number(parts.get(name) ?? '0');
    const year = field('year');
    const local = timestampFromCivil({
      year: parts.get('era') === 'BC' ? 1 - year : year,
      month: field('month'),
      day: field('day'),
      hour: field('hour'),
      minute: field('minute'),
      second: field('second'),
      micros: 0,
    });
    const utc = BigInt(millis) * 1000n - UNIX_EPOCH_MICROS;
    this.#offset = Number((local - utc) / MICROS_PER_SECOND);
    this.#hour = quarter;
    return this.#offset;
  }
}

const zones = new Map<string, Zone | null>();
const ZONES_MAX = 2000;
const fixed = (offset: number): Zone => ({ offsetAt: () => offset });

function makeZone(name: string): Zone | null {
  const lower = name.toLowerCase();
  const abbreviation = Object.hasOwn(ABBREVIATIONS, lower) ? ABBREVIATIONS[lower] : undefined;
  if (abbreviation !== undefined) return fixed(abbreviation);
  const iso = /^([+-])?(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?$/.exec(name);
  if (iso !== null) {
    const seconds = Number(iso[2]) * 3600 + Number(iso[3] ?? 0) * 60 + Number(iso[4] ?? 0);
    return fixed(iso[1] === '-' ? -seconds : seconds);
  }
  // POSIX spelling: the sign is that of west, and the letters mean nothing.
  const posix = /^(?:<[^>]*>|[A-Za-z]{3,})([+-]?)(\d{1,2})(?::(\d{2}))?$/.exec(name);
  if (posix !== null) {
    const seconds = Number(posix[2]) * 3600 + Number(posix[3] ?? 0) * 60;
    return fixed(posix[1] === '-' ? seconds : -seconds);
  }
  try {
    return new NamedZone(name);
  } catch {
    return null;
  }
}

function findZone(name: string): Zone | null {
  const known = zones.get(name);
  if (known !== undefined) return known;
  const zone = makeZone(name);
  if (zones.size >= ZONES_MAX) zones.clear();
  zones.set(name, zone);
  return zone;
}

export const isTimeZone = (name: string): boolean => findZone(name) !== null;

/** 22023 for a zone that nobody knows. */
export function requireZone(name: string): Zone {
  const zone = findZone(name);
  if (zone === null) throw new SqlError('22023', `time zone "${name}" not recognized`);
  return zone;
}

export function offsetAtUtc(zone: string, utcMicros: bigint): number {
  if (zone === 'UTC') return 0;
  return requireZone(zone).offsetAt(utcMicros);
}

/** The offset that a local time has in the zone. */
export function offsetAtLocal(zoneName: string, localMicros: bigint): number {
  if (zoneName === 'UTC') return 0;
  const zone = requireZone(zoneName);
  const day = 86_400n * MICROS_PER_SECOND;
  const before = zone.offsetAt(localMicros - day);
  const after = zone.offsetAt(localMicros + day);
  if (before === after) return before;
  const early = zone.offsetAt(localMicros - BigInt(before) * MICROS_PER_SECOND);
  const late = zone.offsetAt(localMicros - BigInt(after) * MICROS_PER_SECOND);
  if (early === before && late === after) {
    // Repeated hour: both fit. PostgreSQL takes the later reading, which is standard time.
    return after;
  }
  if (early === before) return before;
  if (late === after) return after;
  return before;
}
