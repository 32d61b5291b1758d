/**
 * Casts: which exist, in which context they apply, and how values are converted.
 *
 * Context: `i` implicit (anywhere), `a` assignment (INSERT, UPDATE, ...) and explicit, `e` explicit only. Beyond the
 * table (PostgreSQL's pg_cast): a literal of unknown type casts to everything; every type casts to a string type by its
 * text on assignment, and from one explicitly; arrays cast as their elements do.
 */
import { SqlError } from '../sql-error.js';
import { toBigint, toFloat, fromBigint, fromFloat, fromInteger, type Numeric } from './numeric.js';
import {
  checkTimestamp,
  DAY_MICROS,
  isFinite64,
  joinTimestamp,
  MICROS_PER_SECOND,
  splitTimestamp,
  TIMESTAMP_INFINITY,
  TIMESTAMP_NEGATIVE_INFINITY,
  MICROS_PER_DAY,
} from './calendar.js';
import { parseJson, normalizeJsonb } from './json.js';
import { OID } from './oids.js';
import { findType, typeByName, typeOf } from './registry.js';
import { outOfRange, UTC_CONTEXT, type SqlType, type TextContext } from './sql-type.js';
import { clipBytes, NAME_BYTES_MAX, trimBlanks } from './strings.js';
import { offsetAtLocal, offsetAtUtc } from './time-zone.js';
import type { Interval, SqlArray, Value } from './value.js';

export type CastContext = 'i' | 'a' | 'e';
type Convert = { call(value: Value, context: TextContext): Value }['call'];

export interface Cast {
  readonly source: number;
  readonly target: number;
  readonly context: CastContext;
  /** Same bytes: nothing is done to the value. */
  readonly binary: boolean;
  /** Depends on the session's time zone or on the catalog: never folded at plan time. */
  readonly stable: boolean;
  /** Of a value that is not NULL, without type modifier. */
  convert(value: Value, context?: TextContext): Value;
}

/** pg_cast: source, then target:context and b (binary), f (function) or i (through text). */
const TABLE = `
bool int4:ef text:af bpchar:af varchar:af
char int4:ef text:if bpchar:af varchar:af
name text:if bpchar:af varchar:af
int8 int2:af int4:af regproc:if oid:if float4:if float8:if numeric:if regprocedure:if regclass:if regtype:if regnamespace:if regrole:if
int2 int8:if int4:if regproc:if oid:if float4:if float8:if numeric:if regprocedure:if regclass:if regtype:if regnamespace:if regrole:if
int4 bool:ef char:ef int8:if int2:af regproc:ib oid:ib float4:if float8:if numeric:if regprocedure:ib regclass:ib regtype:ib regnamespace:ib regrole:ib
regproc int8:af int4:ab oid:ib regprocedure:ib
text char:af name:if bpchar:ib varchar:ib regclass:if
oid int8:af int4:ab regproc:ib regprocedure:ib regclass:ib regtype:ib regnamespace:ib regrole:ib
json jsonb:ai
pg_node_tree text:ib
float4 int8:af int2:af int4:af float8:if numeric:af
float8 int8:af int2:af int4:af float4:af numeric:af
bpchar char:af name:if text:if varchar:if
varchar char:af name:if text:ib bpchar:ib regclass:if
date timestamp:if timestamptz:if
time interval:if
timestamp date:af time:af timestamptz:if
timestamptz date:af time:af timestamp:af
interval time:af
numeric int8:af int2:af int4:af float4:if float8:if
regprocedure int8:af int4:ab regproc:ib oid:ib
regclass int8:af int4:ab oid:ib
regtype int8:af int4:ab oid:ib
jsonb bool:ef int8:ef int2:ef int4:ef json:ai float4:ef float8:ef numeric:ef
regnamespace int8:af int4:ab oid:ib
regrole int8:af int4:ab oid:ib
`;

const MAP_SIZE = 0x1_0000_0000;
const casts = new Map<number, Cast>();
const keyOf = (source: number, target: number): number => source * MAP_SIZE + target;
const same: Convert = (value) => value;

const INTEGER_NAMES: Record<number, string> = { 21: 'smallint', 23: 'integer', 20: 'bigint' };
const INTEGER_LIMITS: Record<number, number> = { 21: 0x8000, 23: 0x8000_0000 };
const isOid = (type: SqlType): boolean => type.storage === 'uint4';
const isInteger = (oid: number): boolean =>
  oid === OID.int2 || oid === OID.int4 || oid === OID.int8;

function narrow(value: number, target: number): number {
  const limit = INTEGER_LIMITS[target] as number;
  // Written so that NaN is refused too.
  if (!(value >= -limit && value < limit)) throw outOfRange(INTEGER_NAMES[target] as string);
  return value + 0;
}

/** Half to even, as C's rint. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  return rest > 0.5 || floor % 2 !== 0 ? floor + 1 : floor;
}

function toInteger(source: SqlType, target: number): Convert {
  const finish = (value: number): Value =>
    target === OID.int8 ? BigInt(value) : narrow(value, target);
  if (source.oid === OID.int8) return (value: bigint) => narrow(Number(value), target);
  if (source.oid === OID.numeric) {
    return (value: Numeric) => {
      const whole = toBigint(value, INTEGER_NAMES[target] as string);
      if (target !== OID.int8) return narrow(Number(whole), target);
      if (BigInt.asIntN(64, whole) !== whole) throw outOfRange('bigint');
      return whole;
    };
  }
  if (source.oid === OID.float4 || source.oid === OID.float8) {
    return (value: number) => {
      const whole = roundHalfEven(value);
      if (target === OID.int8 && !(whole >= -(2 ** 63) && whole < 2 ** 63))
        throw outOfRange('bigint');
      return finish(whole);
    };
  }
  if (source.oid === OID.char) return (value: string) => (value.charCodeAt(0) << 24) >> 24;
  if (source.oid === OID.bool) return (value: boolean) => (value ? 1 : 0);
  if (target === OID.int4 && isOid(source)) return (value: number) => value | 0;
  return (value: number) => finish(value);
}

function toFloatFrom(source: SqlType, target: number): Convert {
  const fit = (value: number, finite: boolean): number => {
    if (target === OID.float8) return value;
    const narrowed = Math.fround(value);
    if (finite && !Number.isFinite(narrowed)) {
      throw new SqlError('22003', 'value out of range: overflow');
    }
    if (narrowed === 0 && value !== 0) {
      throw new SqlError('22003', 'value out of range: underflow');
    }
    return narrowed;
  };
  if (source.oid === OID.numeric) {
    return (value: Numeric) => fit(toFloat(value), value.kind === 'finite');
  }
  if (source.oid === OID.int8) return (value: bigint) => fit(Number(value), true);
  return (value: number) => fit(value, Number.isFinite(value));
}

function toNumeric(source: SqlType): Convert {
  if (source.oid === OID.int8) return (value: bigint) => fromBigint(value);
  if (source.oid === OID.float4) return (value: number) => fromFloat(value, 6);
  if (source.oid === OID.float8) return (value: number) => fromFloat(value, 15);
  return (value: number) => fromInteger(value);
}

function toOid(source: SqlType): Convert {
  if (source.oid === OID.int8) {
    return (value: bigint) => {
      if (value < 0n || value > 0xffff_ffffn) throw new SqlError('22003', 'OID out of range');
      return Number(value);
    };
  }
  return (value: number) => value >>> 0;
}

function toStringType(source: SqlType, target: number): Convert {
  const clip = target === OID.name;
  if (source.oid === OID.bool) return (value: boolean) => (value ? 'true' : 'false');
  if (source.oid === OID.bpchar && target !== OID.bpchar) {
    return (value: string) =>
      clip ? clipBytes(trimBlanks(value), NAME_BYTES_MAX) : trimBlanks(value);
  }
  if (clip) return (value: string) => clipBytes(value, NAME_BYTES_MAX);
  return same;
}

function fromJsonb(target: SqlType): Convert {
  return (value: string) => {
    const json = parseJson(value);
    const refuse = (kind: string): SqlError =>
      new SqlError('22023', `cannot cast jsonb ${kind} to type ${target.displayName}`);
    if (typeof json === 'boolean' && target.oid === OID.bool) return json;
    if (json === null) throw refuse('null');
    if (typeof json === 'boolean') throw refuse('boolean');
    if (typeof json === 'string') throw refuse('string');
    if (Array.isArray(json)) throw refuse('array');
    if (json instanceof Map) throw refuse('object');
    if (target.oid === OID.bool || !('number' in json)) throw refuse('numeric');
    if (target.oid === OID.numeric) return json.number;
    return requireCast(OID.numeric, target.oid, 'e').convert(json.number);
  };
}

// Dates and times.

function dateToTimestamp(days: number): bigint {
  if (!Number.isFinite(days)) return days > 0 ? TIMESTAMP_INFINITY : TIMESTAMP_NEGATIVE_INFINITY;
  const micros = joinTimestamp(days, 0);
  try {
    return checkTimestamp(micros);
  } catch {
    throw new SqlError('22008', 'date out of range for timestamp');
  }
}

export function timestampToDate(timestamp: bigint): number {
  if (isFinite64(timestamp)) return splitTimestamp(timestamp).days;
  return timestamp === TIMESTAMP_INFINITY ? Infinity : -Infinity;
}

export function localToUtc(timestamp: bigint, zone: string): bigint {
  if (!isFinite64(timestamp)) return timestamp;
  return checkTimestamp(timestamp - BigInt(offsetAtLocal(zone, timestamp)) * MICROS_PER_SECOND);
}

export function utcToLocal(timestamp: bigint, zone: string): bigint {
  if (!isFinite64(timestamp)) return timestamp;
  return timestamp + BigInt(offsetAtUtc(zone, timestamp)) * MICROS_PER_SECOND;
}

const DATE_TIME: Record<string, Convert> = {
  'date timestamp': (days: number) => dateToTimestamp(days),
  'date timestamptz': (days: number, context) =>
    localToUtc(dateToTimestamp(days), context.timeZone),
  'timestamp date': (timestamp: bigint) => timestampToDate(timestamp),
  'timestamp time': (timestamp: bigint) =>
    isFinite64(timestamp) ? splitTimestamp(timestamp).micros : null,
  'timestamp timestamptz': (timestamp: bigint, context) => localToUtc(timestamp, context.timeZone),
  'timestamptz timestamp': (timestamp: bigint, context) => utcToLocal(timestamp, context.timeZone),
  'timestamptz date': (timestamp: bigint, context) =>
    timestampToDate(utcToLocal(timestamp, context.timeZone)),
  'timestamptz time': (timestamp: bigint, context) =>
    isFinite64(timestamp) ? splitTimestamp(utcToLocal(timestamp, context.timeZone)).micros : null,
  'time interval': (micros: number) => ({ months: 0, days: 0, micros: BigInt(micros) }),
  'interval time': (interval: Interval) => {
    const micros = Number(interval.micros % MICROS_PER_DAY);
    return micros < 0 ? micros + DAY_MICROS : micros;
  },
};

function converter(source: SqlType, target: SqlType): Convert {
  const dateTime = DATE_TIME[`${source.name} ${target.name}`];
  if (dateTime !== undefined) return dateTime;
  if (source.oid === OID.jsonb && target.oid !== OID.json) return fromJsonb(target);
  if (target.oid === OID.jsonb) return (value: string) => normalizeJsonb(value);
  if (target.oid === OID.json) return same;
  if (target.oid === OID.regclass && (source.oid === OID.text || source.oid === OID.varchar)) {
    return (value: string, context) => target.fromText(value, context);
  }
  if (isInteger(target.oid)) return toInteger(source, target.oid);
  if (target.oid === OID.float4 || target.oid === OID.float8)
    return toFloatFrom(source, target.oid);
  if (target.oid === OID.numeric) return toNumeric(source);
  if (target.oid === OID.bool) return (value: number) => value !== 0;
  if (target.oid === OID.char) {
    if (source.oid !== OID.int4) return (value: string) => typeOf(OID.char).fromText(value);
    return (value: number) => {
      if (value < -128 || value > 127) throw outOfRange('"char"');
      return value === 0 ? '' : String.fromCharCode(value & 0xff);
    };
  }
  if (isOid(target)) return toOid(source);
  return toStringType(source, target.oid);
}

function makeCast(source: SqlType, target: SqlType, context: CastContext, convert: Convert): Cast {
  const needsSession = (type: SqlType): boolean =>
    type.oid === OID.timestamptz || (type.storage === 'uint4' && type.name.startsWith('reg'));
  return {
    source: source.oid,
    target: target.oid,
    context,
    binary: convert === same,
    stable:
      needsSession(source) || needsSession(target) || (isText(source) && target.category === 'D'),
    convert: (value, textContext = UTC_CONTEXT) => convert(value, textContext),
  };
}

const isText = (type: SqlType): boolean => type.category === 'S' || type.oid === OID.unknown;

for (const line of TABLE.trim().split('\n')) {
  const [sourceName, ...targets] = line.split(' ');
  const source = typeByName(sourceName as string) as SqlType;
  for (const entry of targets) {
    const [targetName, how] = entry.split(':') as [string, string];
    const target = typeByName(targetName) as SqlType;
    const context = how.charAt(0) as CastContext;
    casts.set(
      keyOf(source.oid, target.oid),
      makeCast(source, target, context, converter(source, target)),
    );
  }
}

const RANK: Record<CastContext, number> = { i: 0, a: 1, e: 2 };

/** The cast of the table, or one through text or of array elements; null when there is none in this context. */
export function findCast(source: number, target: number, context: CastContext): Cast | null {
  const key = keyOf(source, target);
  let cast = casts.get(key);
  if (cast === undefined) {
    const made = deriveCast(source, target);
    if (made === null) return null;
    // Enums and composites come and go with their oids never reused: the entry stays right.
    casts.set(key, made);
    cast = made;
  }
  return RANK[cast.context] <= RANK[context] ? cast : null;
}

function deriveCast(sourceOid: number, targetOid: number): Cast | null {
  const source = findType(sourceOid);
  const target = findType(targetOid);
  if (source === undefined || target === undefined) return null;
  if (sourceOid === targetOid) return makeCast(source, target, 'i', same);
  if (sourceOid === OID.unknown) {
    if (target.kind === 'p' && target.oid !== OID.cstring && target.oid !== OID.void) return null;
    return makeCast(source, target, 'i', (value: string, context) =>
      target.fromText(value, context),
    );
  }
  if (source.name.startsWith('_') && target.name.startsWith('_')) {
    const inner = findCast(source.elementOid, target.elementOid, 'e');
    if (inner === null) return null;
    return makeCast(source, target, inner.context, (value: SqlArray, context) => ({
      elementOid: target.elementOid,
      dimensions: value.dimensions,
      lowerBounds: value.lowerBounds,
      elements: value.elements.map((e) => (e === null ? null : inner.convert(e, context))),
    }));
  }
  if (sourceOid === OID.int2vector && targetOid === OID.int2Array)
    return makeCast(source, target, 'i', same);
  if (sourceOid === OID.oidvector && targetOid === OID.oidArray)
    return makeCast(source, target, 'i', same);
  if (target.category === 'S' && (source.kind !== 'p' || sourceOid === OID.record)) {
    return makeCast(source, target, 'a', (value, context) => source.toText(value, context));
  }
  if (source.category === 'S' && target.kind !== 'p') {
    return makeCast(source, target, 'e', (value: string, context) =>
      target.fromText(sourceOid === OID.bpchar ? trimBlanks(value) : value, context),
    );
  }
  return null;
}

/** 42846 (or 42804 on assignment, by the caller who knows the column) when there is no such cast. */
export function requireCast(source: number, target: number, context: CastContext): Cast {
  const cast = findCast(source, target, context);
  if (cast === null) {
    throw new SqlError(
      '42846',
      `cannot cast type ${typeOf(source).displayName} to ${typeOf(target).displayName}`,
    );
  }
  return cast;
}
