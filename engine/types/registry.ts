/** All SQL types, by oid and by name. Enums and composites are added by the catalog. */
import { arrayCodec, vectorCodec } from './array.js';
import { byteaCodec, uuidCodec } from './binary.js';
import { dateCodec, timeCodec, timestampCodec, timestamptzCodec } from './date-time.js';
import { intervalCodec } from './interval.js';
import { jsonbCodec, jsonCodec } from './json.js';
import { numericCodec } from './numeric-codec.js';
import {
  boolCodec,
  float4Codec,
  float8Codec,
  int2Codec,
  int4Codec,
  int8Codec,
  oidCodec,
} from './numbers.js';
import { OID } from './oids.js';
import { SqlError } from '../sql-error.js';
import { pseudoCodec, regCodec, voidCodec } from './pseudo.js';
import { recordCodec } from './record.js';
import { makeType, type SqlType, type TypeCodec, type TypeRow } from './sql-type.js';
import { bpcharCodec, charCodec, nameCodec, textCodec } from './strings.js';

/** oid, typname, format_type, category (capital P after it: preferred), array oid, length, by value, alignment. */
type Row = readonly [
  number,
  string,
  string,
  string,
  number,
  number,
  'v' | 'r',
  'c' | 's' | 'i' | 'd',
  TypeCodec,
];

const BASE: readonly Row[] = [
  [OID.bool, 'bool', 'boolean', 'B+', 1000, 1, 'v', 'c', boolCodec],
  [OID.bytea, 'bytea', 'bytea', 'U', 1001, -1, 'r', 'i', byteaCodec],
  [OID.char, 'char', '"char"', 'Z', 1002, 1, 'v', 'c', charCodec],
  [OID.name, 'name', 'name', 'S', 1003, 64, 'r', 'c', nameCodec],
  [OID.int8, 'int8', 'bigint', 'N', 1016, 8, 'v', 'd', int8Codec],
  [OID.int2, 'int2', 'smallint', 'N', 1005, 2, 'v', 's', int2Codec],
  [OID.int4, 'int4', 'integer', 'N', 1007, 4, 'v', 'i', int4Codec],
  [OID.text, 'text', 'text', 'S+', 1009, -1, 'r', 'i', textCodec],
  [OID.oid, 'oid', 'oid', 'N+', 1028, 4, 'v', 'i', oidCodec('oid')],
  [OID.xid, 'xid', 'xid', 'U', 1011, 4, 'v', 'i', oidCodec('xid')],
  [OID.cid, 'cid', 'cid', 'U', 1012, 4, 'v', 'i', oidCodec('cid')],
  [OID.pgNodeTree, 'pg_node_tree', 'pg_node_tree', 'Z', 0, -1, 'r', 'i', textCodec],
  [OID.float4, 'float4', 'real', 'N', 1021, 4, 'v', 'i', float4Codec],
  [OID.float8, 'float8', 'double precision', 'N+', 1022, 8, 'v', 'd', float8Codec],
  [OID.bpchar, 'bpchar', 'character', 'S', 1014, -1, 'r', 'i', bpcharCodec],
  [OID.varchar, 'varchar', 'character varying', 'S', 1015, -1, 'r', 'i', textCodec],
  [OID.date, 'date', 'date', 'D', 1182, 4, 'v', 'i', dateCodec],
  [OID.time, 'time', 'time without time zone', 'D', 1183, 8, 'v', 'd', timeCodec],
  [
    OID.timestamp,
    'timestamp',
    'timestamp without time zone',
    'D',
    1115,
    8,
    'v',
    'd',
    timestampCodec,
  ],
  [
    OID.timestamptz,
    'timestamptz',
    'timestamp with time zone',
    'D+',
    1185,
    8,
    'v',
    'd',
    timestamptzCodec,
  ],
  [OID.numeric, 'numeric', 'numeric', 'N', 1231, -1, 'r', 'i', numericCodec],
  [OID.uuid, 'uuid', 'uuid', 'U', 2951, 16, 'r', 'c', uuidCodec],
  [OID.interval, 'interval', 'interval', 'T+', 1187, 16, 'r', 'd', intervalCodec],
  [OID.json, 'json', 'json', 'U', 199, -1, 'r', 'i', jsonCodec],
  [OID.jsonb, 'jsonb', 'jsonb', 'U', 3807, -1, 'r', 'i', jsonbCodec],
  [OID.regproc, 'regproc', 'regproc', 'N', 1008, 4, 'v', 'i', regCodec('regproc')],
  [
    OID.regprocedure,
    'regprocedure',
    'regprocedure',
    'N',
    2207,
    4,
    'v',
    'i',
    regCodec('regprocedure'),
  ],
  [OID.regclass, 'regclass', 'regclass', 'N', 2210, 4, 'v', 'i', regCodec('regclass')],
  [OID.regtype, 'regtype', 'regtype', 'N', 2211, 4, 'v', 'i', regCodec('regtype')],
  [
    OID.regnamespace,
    'regnamespace',
    'regnamespace',
    'N',
    4090,
    4,
    'v',
    'i',
    regCodec('regnamespace'),
  ],
  [OID.regrole, 'regrole', 'regrole', 'N', 4097, 4, 'v', 'i', regCodec('regrole')],
  [OID.unknown, 'unknown', 'unknown', 'X', 0, -2, 'r', 'c', textCodec],
];

const byOid = new Map<number, SqlType>();
const byName = new Map<string, SqlType>();

export function registerType(type: SqlType): void {
  byOid.set(type.oid, type);
  byName.set(type.name, type);
}

for (const [oid, name, displayName, category, arrayOid, length, by, align, codec] of BASE) {
  const row: TypeRow = {
    oid,
    name,
    displayName,
    category: category.charAt(0),
    preferred: category.endsWith('+'),
    kind: oid === OID.unknown ? 'p' : 'b',
    arrayOid,
    elementOid: 0,
    length,
    byValue: by === 'v',
    align,
  };
  registerType(makeType(row, codec));
}

/** Registers the array type of `element` under its `arrayOid`: `_int4`, shown as `integer[]`. */
export function registerArrayType(element: SqlType): void {
  const row: TypeRow = {
    oid: element.arrayOid,
    name: `_${element.name}`,
    displayName: `${element.displayName}[]`,
    category: 'A',
    preferred: false,
    kind: 'b',
    arrayOid: 0,
    elementOid: element.oid,
    length: -1,
    byValue: false,
    align: element.align === 'd' ? 'd' : 'i',
  };
  registerType(makeType(row, arrayCodec(element)));
}

/** An array type in all but name and text. */
function registerVector(oid: number, name: string, element: SqlType, arrayOid: number): void {
  const row: TypeRow = {
    oid,
    name,
    displayName: name,
    category: 'A',
    preferred: false,
    kind: 'b',
    arrayOid,
    elementOid: element.oid,
    length: -1,
    byValue: false,
    align: 'i',
  };
  registerType(makeType(row, vectorCodec(element)));
}

function registerPseudo(oid: number, name: string, codec: TypeCodec): void {
  const row: TypeRow = {
    oid,
    name,
    displayName: name === 'any' ? '"any"' : name,
    category: 'P',
    preferred: false,
    kind: 'p',
    arrayOid: 0,
    elementOid: 0,
    length: 4,
    byValue: true,
    align: 'i',
  };
  registerType(makeType(row, codec));
}

for (const type of Array.from(byOid.values())) {
  if (type.arrayOid !== 0) registerArrayType(type);
}
registerVector(OID.int2vector, 'int2vector', typeOf(OID.int2), 1006);
registerVector(OID.oidvector, 'oidvector', typeOf(OID.oid), 1013);
registerPseudo(OID.void, 'void', voidCodec);
registerPseudo(OID.cstring, 'cstring', textCodec);
for (const name of [
  'any',
  'anyarray',
  'trigger',
  'internal',
  'anyelement',
  'anynonarray',
  'anyenum',
  'anycompatible',
  'anycompatiblearray',
  'anycompatiblenonarray',
] as const) {
  registerPseudo(OID[name], name, pseudoCodec(name));
}
registerPseudo(OID.record, 'record', recordCodec(typeOf));

export const findType = (oid: number): SqlType | undefined => byOid.get(oid);

/** 42704 for an oid that no type has. */
export function typeOf(oid: number): SqlType {
  const type = byOid.get(oid);
  if (type === undefined) throw new SqlError('42704', `type with OID ${oid} does not exist`);
  return type;
}

export const typeByName = (name: string): SqlType | undefined => byName.get(name);
export const allTypes = (): IterableIterator<SqlType> => byOid.values();
