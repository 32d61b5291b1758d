/** information_schema, as far as tools read it. */
import { formatType, numericPrecision, numericScale } from '../types/modifier.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { CatalogSnapshot } from './catalog-snapshot.js';
import type { ColumnDef } from './definitions.js';
import { constraintName, constraintsOf, type ConstraintRecord } from './definition-text.js';
import { Deparser } from './deparse.js';
import type { VirtualRow, VirtualTable } from './virtual.js';

const CATALOG = 'postgres';
const yesNo = (value: boolean): string => (value ? 'YES' : 'NO');

function* tables(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'table' && record.kind !== 'view') continue;
    yield {
      table_catalog: CATALOG,
      table_schema: snapshot.schemaName(record.schema),
      table_name: record.name,
      table_type: record.kind === 'table' ? 'BASE TABLE' : 'VIEW',
      is_insertable_into: yesNo(record.kind === 'table'),
      is_typed: 'NO',
      view_definition: record.kind === 'view' ? record.text : null,
      check_option: 'NONE',
      is_updatable: 'NO',
    };
  }
}

const PRECISION: Record<number, number> = {
  [OID.int2]: 16,
  [OID.int4]: 32,
  [OID.int8]: 64,
  [OID.float4]: 24,
  [OID.float8]: 53,
};

function columnRow(column: ColumnDef, deparser: Deparser): VirtualRow {
  const { typeOid, typmod } = column;
  const type = typeOf(typeOid);
  const isText = typeOid === OID.varchar || typeOid === OID.bpchar;
  const isInteger = [OID.int2, OID.int4, OID.int8].includes(typeOid as 20);
  const isNumeric = typeOid === OID.numeric;
  const isTime = [OID.time, OID.timestamp, OID.timestamptz, OID.interval].includes(typeOid as 1083);
  const hasScale = isNumeric && typmod >= 0;
  return {
    column_name: column.name,
    ordinal_position: column.number,
    column_default:
      column.defaultNode === null || column.identity !== null
        ? null
        : deparser.text(column.defaultNode),
    is_nullable: yesNo(!column.notNull),
    data_type: type.elementOid !== 0 && type.category === 'A' ? 'ARRAY' : formatType(typeOid, -1),
    character_maximum_length: isText && typmod >= 4 ? typmod - 4 : null,
    character_octet_length: isText || typeOid === OID.text ? 1_073_741_824 : null,
    numeric_precision: hasScale ? numericPrecision(typmod) : (PRECISION[typeOid] ?? null),
    numeric_precision_radix: isNumeric ? 10 : PRECISION[typeOid] === undefined ? null : 2,
    numeric_scale: hasScale ? numericScale(typmod) : isInteger ? 0 : null,
    datetime_precision: isTime
      ? typmod >= 0
        ? typmod & 0xffff
        : 6
      : typeOid === OID.date
        ? 0
        : null,
    udt_catalog: CATALOG,
    udt_schema: 'pg_catalog',
    udt_name: type.name,
    is_identity: yesNo(column.identity !== null),
    identity_generation: column.identity === null ? null : column.identity.toUpperCase(),
    is_generated: 'NEVER',
    is_updatable: 'YES',
    is_self_referencing: 'NO',
  };
}

function* columns(
  snapshot: CatalogSnapshot,
  searchPath: readonly string[],
): IterableIterator<VirtualRow> {
  const deparser = new Deparser(snapshot, searchPath);
  for (const record of snapshot.records()) {
    if (record.kind !== 'table' && record.kind !== 'view') continue;
    for (const column of snapshot.tableByOid(record.oid)?.columns ?? []) {
      if (column.dropped) continue;
      yield {
        table_catalog: CATALOG,
        table_schema: snapshot.schemaName(record.schema),
        table_name: record.name,
        ...columnRow(column, deparser),
      };
    }
  }
}

function* schemata(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  const names = ['pg_catalog', 'information_schema'];
  for (const record of snapshot.records()) if (record.kind === 'schema') names.push(record.name);
  for (const schema_name of names) {
    yield { catalog_name: CATALOG, schema_name, schema_owner: 'postgres' };
  }
}

function constraintType(c: ConstraintRecord): string {
  if (c.kind === 'check') return 'CHECK';
  if (c.kind === 'foreign') return 'FOREIGN KEY';
  return c.index.primary ? 'PRIMARY KEY' : 'UNIQUE';
}

function* constraints(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const c of constraintsOf(snapshot)) {
    const schema = snapshot.schemaName(c.table.schema);
    yield {
      constraint_catalog: CATALOG,
      constraint_schema: schema,
      constraint_name: constraintName(c),
      table_catalog: CATALOG,
      table_schema: schema,
      table_name: c.table.name,
      constraint_type: constraintType(c),
      is_deferrable: 'NO',
      initially_deferred: 'NO',
      enforced: 'YES',
    };
  }
}

function* keyColumns(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const c of constraintsOf(snapshot)) {
    if (c.kind === 'check') continue;
    const schema = snapshot.schemaName(c.table.schema);
    const own = c.kind === 'key' ? c.index.columns.map((k) => k.column) : c.key.columns;
    for (const [i, column] of own.entries()) {
      yield {
        constraint_catalog: CATALOG,
        constraint_schema: schema,
        constraint_name: constraintName(c),
        table_catalog: CATALOG,
        table_schema: schema,
        table_name: c.table.name,
        column_name: c.table.columns[column].name,
        ordinal_position: i + 1,
        position_in_unique_constraint: c.kind === 'foreign' ? i + 1 : null,
      };
    }
  }
}

function* sequences(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'sequence' || record.owner?.identity === true) continue;
    yield {
      sequence_catalog: CATALOG,
      sequence_schema: snapshot.schemaName(record.schema),
      sequence_name: record.name,
      data_type: formatType(record.type, -1),
      numeric_precision: PRECISION[record.type] ?? null,
      numeric_precision_radix: 2,
      numeric_scale: 0,
      start_value: record.start,
      minimum_value: record.min,
      maximum_value: record.max,
      increment: record.increment,
      cycle_option: yesNo(record.cycle),
    };
  }
}

const standard = (
  oid: number,
  name: string,
  columnText: string,
  rows: VirtualTable['rows'],
): VirtualTable => ({ oid, schema: 'information_schema', name, columns: columnText, rows });

export const INFORMATION_SCHEMA: readonly VirtualTable[] = [
  standard(
    13_101,
    'tables',
    'table_catalog:name table_schema:name table_name:name table_type:text is_insertable_into:text is_typed:text',
    tables,
  ),
  standard(
    13_102,
    'columns',
    `table_catalog:name table_schema:name table_name:name column_name:name ordinal_position:int4
     column_default:text is_nullable:text data_type:text character_maximum_length:int4
     character_octet_length:int4 numeric_precision:int4 numeric_precision_radix:int4 numeric_scale:int4
     datetime_precision:int4 interval_type:text collation_schema:name collation_name:name domain_schema:name
     domain_name:name udt_catalog:name udt_schema:name udt_name:name is_self_referencing:text is_identity:text
     identity_generation:text is_generated:text generation_expression:text is_updatable:text`,
    (snapshot, session) => columns(snapshot, session.searchPath),
  ),
  standard(13_103, 'schemata', 'catalog_name:name schema_name:name schema_owner:name', schemata),
  standard(
    13_104,
    'table_constraints',
    `constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name
     table_name:name constraint_type:text is_deferrable:text initially_deferred:text enforced:text`,
    constraints,
  ),
  standard(
    13_105,
    'key_column_usage',
    `constraint_catalog:name constraint_schema:name constraint_name:name table_catalog:name table_schema:name
     table_name:name column_name:name ordinal_position:int4 position_in_unique_constraint:int4`,
    keyColumns,
  ),
  standard(
    13_106,
    'sequences',
    `sequence_catalog:name sequence_schema:name sequence_name:name data_type:text numeric_precision:int4
     numeric_precision_radix:int4 numeric_scale:int4 start_value:text minimum_value:text maximum_value:text
     increment:text cycle_option:text`,
    sequences,
  ),
  standard(
    13_107,
    'views',
    'table_catalog:name table_schema:name table_name:name view_definition:text check_option:text is_updatable:text',
    function* (snapshot) {
      for (const row of tables(snapshot)) if (row['table_type'] === 'VIEW') yield row;
    },
  ),
];
