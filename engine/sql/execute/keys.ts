/** Comparing and hashing rows of values by their types. */
import type { TypeSystem } from '../bind/type-system.js';
import { INT2, INT4, INT8, OID } from '../bind/type-system.js';
import type { SortKey } from '../bind/query.js';
import { SqlError } from '../../sql-error.js';
import type { Value } from '../../types/value.js';

type Key = string | number | bigint | boolean;

const INTEGERS = new Set([INT2, INT4, INT8, OID]);

/** All integer types share one key space, so that int4 joins int8. */
function keyOfInteger(v: Value): Key {
  if (typeof v !== 'bigint') return v as number;
  return v >= -9007199254740991n && v <= 9007199254740991n ? Number(v) : v;
}

export function hashKeyOf(types: TypeSystem, oid: number): (value: Value) => Key {
  if (INTEGERS.has(oid)) return keyOfInteger;
  const key = types.hashKey(oid);
  if (key === null)
    throw new SqlError(
      '42883',
      `could not identify an equality operator for type ${types.typeName(oid)}`,
    );
  return key;
}

/** Whether values of the two types hash alike when equal. */
export function hashCompatible(types: TypeSystem, a: number, b: number): boolean {
  if (INTEGERS.has(a) && INTEGERS.has(b)) return true;
  return a === b && types.hashKey(a) !== null;
}

/** A string that is the same exactly for rows that are not distinct (NULL equals NULL). */
export function rowKey(
  types: TypeSystem,
  oids: readonly number[],
): (row: readonly Value[]) => string {
  const keys = oids.map((o) => hashKeyOf(types, o));
  return (row) => {
    let text = '';
    for (let i = 0; i < keys.length; i++) {
      const v = row[i] as Value;
      text += v === null ? 'n;' : encodeKey((keys[i] as (value: Value) => Key)(v));
    }
    return text;
  };
}

/** As `rowKey`, reading a frame's slots. */
export function slotsKey(
  types: TypeSystem,
  slots: readonly number[],
  oids: readonly number[],
): (values: readonly Value[]) => string {
  const keys = oids.map((o) => hashKeyOf(types, o));
  return (values) => {
    let text = '';
    for (let i = 0; i < keys.length; i++) {
      const v = values[slots[i] as number] as Value;
      text += v === null ? 'n;' : encodeKey((keys[i] as (value: Value) => Key)(v));
    }
    return text;
  };
}

function encodeKey(k: Key): string {
  return typeof k === 'string' ? `${k.length}:${k};` : `${String(k)};`;
}

/** Compares kept rows; `at[i]`: where key i is in the row. */
export function rowComparator(
  types: TypeSystem,
  keys: readonly SortKey[],
  at: readonly number[],
): (a: readonly Value[], b: readonly Value[]) => number {
  const compares = keys.map((k) => comparatorOf(types, k.expr.type));
  return (a, b) => {
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as SortKey;
      const x = a[at[i] as number] as Value;
      const y = b[at[i] as number] as Value;
      if (x === null || y === null) {
        if (x === y) continue;
        return (x === null) === key.nullsFirst ? -1 : 1;
      }
      const c = (compares[i] as (a: Value, b: Value) => number)(x, y);
      if (c !== 0) return key.descending ? -c : c;
    }
    return 0;
  };
}

export function comparatorOf(types: TypeSystem, oid: number): (a: Value, b: Value) => number {
  const compare = types.comparator(oid);
  if (compare === null)
    throw new SqlError(
      '42883',
      `could not identify an ordering operator for type ${types.typeName(oid)}`,
    );
  return compare;
}
