/**
 * Records: `(1,"a b",)`. A bare record knows its fields' JavaScript shapes only; the planner makes a type that knows
 * more with `recordType`.
 */
import { SqlError } from '../sql-error.js';
import * as b from './bytes.js';
import { Numeric } from './numeric.js';
import { OID } from './oids.js';
import { makeType, type SqlType, type TypeCodec } from './sql-type.js';
import type { Value } from './value.js';

type TypeLookup = (oid: number) => SqlType;

function shapeOid(value: Value): number {
  if (typeof value === 'boolean') return OID.bool;
  if (typeof value === 'number') return Number.isInteger(value) ? OID.int4 : OID.float8;
  if (typeof value === 'bigint') return OID.int8;
  if (value instanceof Numeric) return OID.numeric;
  if (value instanceof Uint8Array) return OID.bytea;
  if (value === null || typeof value === 'string') return OID.text;
  if (Array.isArray(value)) return OID.record;
  return 'micros' in value ? OID.interval : OID.textArray;
}

export function recordCodec(typeOf: TypeLookup, fieldOids?: readonly number[]): TypeCodec {
  const fieldType = (values: readonly Value[], i: number): SqlType =>
    typeOf(fieldOids?.[i] ?? shapeOid(values[i] as Value));
  const quote = (text: string): string =>
    text === '' || /[(),"\\\s]/.test(text) ? `"${text.replace(/["\\]/g, '$&$&')}"` : text;
  return {
    storage: 'generic',
    fromText: () => {
      throw new SqlError('0A000', 'input of anonymous composite types is not implemented');
    },
    toText(value: readonly Value[], context) {
      const parts = value.map((v, i) =>
        v === null ? '' : quote(fieldType(value, i).toText(v, context)),
      );
      return `(${parts.join(',')})`;
    },
    fromBinary() {
      throw new SqlError('0A000', 'input of anonymous composite types is not implemented');
    },
    toBinary(value: readonly Value[]) {
      const items = value.map((v, i) => (v === null ? null : fieldType(value, i).toBinary(v)));
      const bytes = new Uint8Array(items.reduce((sum, item) => sum + 8 + (item?.length ?? 0), 4));
      b.putInt4BE(bytes, 0, items.length);
      let at = 4;
      items.forEach((item, i) => {
        b.putInt4BE(bytes, at, fieldType(value, i).oid);
        b.putInt4BE(bytes, at + 4, item === null ? -1 : item.length);
        at += 8;
        if (item !== null) bytes.set(item, at);
        at += item?.length ?? 0;
      });
      return bytes;
    },
    compare(a: readonly Value[], c: readonly Value[]) {
      if (a.length !== c.length) {
        throw new SqlError(
          '42804',
          'cannot compare record types with different numbers of columns',
        );
      }
      for (let i = 0; i < a.length; i++) {
        const x = a[i] as Value;
        const y = c[i] as Value;
        if (x === null || y === null) {
          if (x !== y) return x === null ? 1 : -1;
          continue;
        }
        const order = fieldType(a, i).compare(x, y);
        if (order !== 0) return order;
      }
      return 0;
    },
    hashKey(value: readonly Value[]) {
      const keys = value.map((v, i) => (v === null ? 'n' : String(fieldType(value, i).hashKey(v))));
      return keys.map((key) => `${key.length}:${key}`).join('');
    },
  };
}

/** A record type with known fields; not registered, it has record's oid. */
export function recordType(
  record: SqlType,
  typeOf: TypeLookup,
  fieldOids: readonly number[],
): SqlType {
  return makeType(record, recordCodec(typeOf, fieldOids));
}
