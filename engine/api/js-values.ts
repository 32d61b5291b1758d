/**
 * SQL values as JavaScript has them, and back.
 *
 * | SQL                          | given out                                | taken in                           |
 * |------------------------------|------------------------------------------|------------------------------------|
 * | smallint, integer, oid       | number                                   | number, bigint, string             |
 * | bigint                       | number when safe, else bigint            | number, bigint, string             |
 * | real, double precision       | number                                   | number, string                     |
 * | numeric                      | string                                   | number, bigint, string             |
 * | boolean                      | boolean                                  | boolean, string                    |
 * | date, timestamp(tz)          | Date (+-Infinity for infinity)           | Date, string                       |
 * | json, jsonb                  | as JSON.parse gives it                   | anything JSON.stringify takes      |
 * | bytea                        | Uint8Array                               | Uint8Array, string                 |
 * | arrays                       | nested arrays                            | nested arrays, string              |
 * | all others                   | string, as in psql                       | string                             |
 *
 * A date or a timestamp without time zone is read as UTC.
 */
import { SqlError } from '../sql-error.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { TextContext } from '../types/sql-type.js';
import type { SqlArray, Value } from '../types/value.js';

const DAY_MS = 86_400_000;
/** 2000-01-01 in milliseconds since 1970. */
const EPOCH_MS = 946_684_800_000;

export function toJs(oid: number, value: Value, context: TextContext): unknown {
  if (value === null) return null;
  switch (oid) {
    case OID.int8: {
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    case OID.bool:
    case OID.int2:
    case OID.int4:
    case OID.oid:
    case OID.float4:
    case OID.float8:
    case OID.text:
    case OID.varchar:
      return value;
    case OID.date:
      return instant((value as number) * DAY_MS);
    case OID.timestamp:
    case OID.timestamptz:
      return typeOf(oid).toText(value, context).endsWith('infinity')
        ? (value as bigint) > 0n
          ? Infinity
          : -Infinity
        : instant(Number((value as bigint) / 1000n));
    case OID.json:
    case OID.jsonb:
      return JSON.parse(value as string);
    case OID.bytea:
      return Uint8Array.from(value as Uint8Array);
    default: {
      const type = typeOf(oid);
      if (type.category === 'A' && type.elementOid !== 0) {
        return arrayToJs(value as SqlArray, context);
      }
      return type.toText(value, context);
    }
  }
}

function instant(sinceEpochMs: number): Date | number {
  return Number.isFinite(sinceEpochMs) ? new Date(EPOCH_MS + sinceEpochMs) : sinceEpochMs;
}

function arrayToJs(array: SqlArray, context: TextContext): unknown[] {
  let at = 0;
  const level = (depth: number): unknown[] => {
    const items: unknown[] = [];
    for (let i = 0; i < array.dimensions[depth]; i++) {
      if (depth + 1 < array.dimensions.length) items.push(level(depth + 1));
      else items.push(toJs(array.elementOid, array.elements[at++], context));
    }
    return items;
  };
  return array.dimensions.length === 0 ? [] : level(0);
}

/** A parameter of the type that the statement gives it. 22023 for what cannot be one. */
export function fromJs(oid: number, value: unknown, context: TextContext): Value {
  if (value === null || value === undefined) return null;
  if (oid === OID.bytea && value instanceof Uint8Array) return Uint8Array.from(value);
  const type = typeOf(oid);
  return type.fromText(toText(oid, type.elementOid, value), context);
}

function toText(oid: number, elementOid: number, value: unknown): string {
  if (oid === OID.json || oid === OID.jsonb) {
    return typeof value === 'string' ? value : JSON.stringify(value);
  }
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return arrayText(elementOid, value);
  throw new SqlError('22023', `a parameter cannot be ${typeof value}`);
}

function arrayText(elementOid: number, items: readonly unknown[]): string {
  const parts = items.map((item) => {
    if (item === null || item === undefined) return 'NULL';
    if (Array.isArray(item)) return arrayText(elementOid, item);
    return `"${toText(elementOid, 0, item).replaceAll(/["\\]/g, '\\$&')}"`;
  });
  return `{${parts.join(',')}}`;
}
