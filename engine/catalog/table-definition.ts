/** Definitions that the SQL layer works with, made of catalog records. */
import { encodeKeyValues } from '../keys/key.js';
import { compileKeyMaker, type TupleKeyColumn } from '../keys/key-maker.js';
import { SqlError } from '../sql-error.js';
import type { IndexHandle } from '../tables/table-store.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import { TupleCodec } from '../types/tuple.js';
import type { Value } from '../types/value.js';
import type { ColumnDef, ForeignKeyDef, IndexDef, TableDef } from './definitions.js';
import type {
  ColumnRecord,
  ForeignKeyRecord,
  IndexRecord,
  SequenceRecord,
  TableRecord,
  ViewRecord,
} from './object-record.js';

export function makeCodec(columns: readonly ColumnRecord[]): TupleCodec {
  return new TupleCodec(
    columns.map((column) => {
      const type = typeOf(column.type);
      const missing = column.missing === null ? null : type.fromText(column.missing);
      return { type, dropped: column.dropped, missing };
    }),
  );
}

function makeColumn(column: ColumnRecord, index: number): ColumnDef {
  return {
    number: index + 1,
    name: column.name,
    typeOid: column.type,
    typmod: column.typmod,
    notNull: column.notNull,
    defaultNode: column.default,
    identity: column.identity,
    dropped: column.dropped,
    collationOid: 0,
  };
}

/** 42704 when a column's type has no order. */
export function makeIndex(record: IndexRecord, table: TableRecord, codec: TupleCodec): IndexDef {
  const keyColumns: TupleKeyColumn[] = record.columns.map((c) => ({
    column: c.column,
    type: typeOf(table.columns[c.column].type),
    descending: c.descending,
    nullsFirst: c.nullsFirst,
  }));
  const handle: IndexHandle = {
    oid: record.oid,
    name: record.name,
    rootPageNo: record.root,
    unique: record.unique,
    primary: record.primary,
    keys: compileKeyMaker(codec, keyColumns),
    describeKey(bytes, start, end) {
      const names = record.columns.map((c) => table.columns[c.column].name).join(', ');
      const values = record.columns.map((c) => {
        const value = codec.decode(bytes, start, end, c.column);
        return value === null ? 'null' : typeOf(table.columns[c.column].type).toText(value);
      });
      return `(${names})=(${values.join(', ')})`;
    },
  };
  return {
    oid: record.oid,
    name: record.name,
    columns: record.columns.map((c) => ({
      column: c.column,
      expression: null,
      typeOid: table.columns[c.column].type,
      descending: c.descending,
      nullsFirst: c.nullsFirst,
    })),
    unique: record.unique,
    primary: record.primary,
    constraint: record.constraint === 0 ? null : record.name,
    handle,
    encodePrefix: (values, count, target) => encodeKeyValues(values, keyColumns, count, target),
  };
}

export function makeForeignKey(record: ForeignKeyRecord): ForeignKeyDef {
  return {
    oid: record.oid,
    name: record.name,
    tableOid: record.table,
    columns: record.columns,
    referencedOid: record.referenced,
    referencedColumns: record.referencedColumns,
    referencedIndexOid: record.referencedIndex,
    onUpdate: record.onUpdate,
    onDelete: record.onDelete,
  };
}

export function makeTable(
  record: TableRecord,
  schema: string,
  indexes: readonly IndexRecord[],
  foreignKeys: readonly ForeignKeyRecord[],
): TableDef {
  const codec = makeCodec(record.columns);
  const made = indexes.map((index) => makeIndex(index, record, codec));
  return {
    oid: record.oid,
    schema,
    name: record.name,
    kind: 'table',
    columns: record.columns.map(makeColumn),
    primaryKey: made.find((index) => index.primary) ?? null,
    indexes: made,
    checks: record.checks,
    foreignKeys: foreignKeys.filter((k) => k.table === record.oid).map(makeForeignKey),
    referencedBy: foreignKeys.filter((k) => k.referenced === record.oid).map(makeForeignKey),
    handle: {
      oid: record.oid,
      schemaName: schema,
      name: record.name,
      rootPageNo: record.root,
      indexes: made.map((index) => index.handle),
    },
    codec,
    view: null,
    rows: null,
  };
}

const NO_TABLE = {
  primaryKey: null,
  indexes: [],
  checks: [],
  foreignKeys: [],
  referencedBy: [],
  handle: null,
  codec: null,
  view: null,
  rows: null,
} as const;

export interface PlainColumn {
  readonly name: string;
  readonly type: number;
  readonly typmod?: number;
  readonly notNull?: boolean;
}

function plainColumns(columns: readonly PlainColumn[]): ColumnDef[] {
  return columns.map((column, index) => ({
    number: index + 1,
    name: column.name,
    typeOid: column.type,
    typmod: column.typmod ?? -1,
    notNull: column.notNull ?? false,
    defaultNode: null,
    identity: null,
    dropped: false,
    collationOid: 0,
  }));
}

export function makeView(record: ViewRecord, schema: string): TableDef {
  return {
    ...NO_TABLE,
    oid: record.oid,
    schema,
    name: record.name,
    kind: 'view',
    columns: plainColumns(record.columns),
    view: { query: record.query, searchPath: record.searchPath },
  };
}

export function makeSequence(
  record: SequenceRecord,
  schema: string,
  row: () => readonly Value[],
): TableDef {
  return {
    ...NO_TABLE,
    oid: record.oid,
    schema,
    name: record.name,
    kind: 'sequence',
    columns: plainColumns([
      { name: 'last_value', type: OID.int8 },
      { name: 'log_cnt', type: OID.int8 },
      { name: 'is_called', type: OID.bool },
    ]),
    rows: () => [row()],
  };
}

export function makeVirtual(
  oid: number,
  schema: string,
  name: string,
  columns: readonly PlainColumn[],
  rows: NonNullable<TableDef['rows']>,
): TableDef {
  return { ...NO_TABLE, oid, schema, name, kind: 'virtual', columns: plainColumns(columns), rows };
}

/** 0-based index of a live column; 42703. */
export function columnIndex(record: TableRecord, name: string): number {
  const index = record.columns.findIndex((column) => column.name === name && !column.dropped);
  if (index < 0) {
    throw new SqlError('42703', `column "${name}" of relation "${record.name}" does not exist`);
  }
  return index;
}
