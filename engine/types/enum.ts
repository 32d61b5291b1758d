/** Enum types, made by CREATE TYPE: values are their labels, ordered as declared. They cannot be indexed yet. */
import { invalidBinary, makeType, type SqlType, type TypeCodec } from './sql-type.js';
import { readText, toUtf8 } from './bytes.js';
import { registerArrayType, registerType } from './registry.js';
import { SqlError } from '../sql-error.js';

/** Registers the enum and its array type. Registering again under the same oid replaces its labels. */
export function registerEnum(
  oid: number,
  arrayOid: number,
  name: string,
  labels: readonly string[],
): SqlType {
  const order = new Map(labels.map((label, i) => [label, i]));
  const check = (label: string): string => {
    if (!order.has(label)) {
      throw new SqlError('22P02', `invalid input value for enum ${name}: "${label}"`);
    }
    return label;
  };
  const rank = (label: string): number => {
    const place = order.get(label);
    if (place === undefined) throw invalidBinary(`no label "${label}" in enum ${name}`);
    return place;
  };
  const codec: TypeCodec = {
    storage: 'text',
    fromText: check,
    toText: (value: string) => value,
    fromBinary: (bytes, start, end) => check(readText(bytes, start, end)),
    toBinary: (value: string) => toUtf8(value),
    compare: (a: string, b: string) => rank(a) - rank(b),
    hashKey: (value: string) => value,
  };
  const row = {
    oid,
    name,
    displayName: name,
    category: 'E',
    preferred: false,
    kind: 'e',
    arrayOid,
    elementOid: 0,
    length: 4,
    byValue: true,
    align: 'i',
  } as const;
  const type = makeType(row, codec);
  registerType(type);
  registerArrayType(type);
  return type;
}
