/** pg_catalog: relations, columns, indexes, constraints. OIDs of the catalogs are PostgreSQL's own. */
import { makeArray } from '../types/array.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { Value } from '../types/value.js';
import type { Catalog } from './catalog.js';
import {
  INFORMATION_SCHEMA_OID,
  PG_CATALOG_OID,
  type CatalogSnapshot,
} from './catalog-snapshot.js';
import type { ColumnDef } from './definitions.js';
import {
  constraintName,
  constraintOid,
  constraintsOf,
  constraintText,
  indexText,
  type ConstraintRecord,
} from './definition-text.js';
import { Deparser } from './deparse.js';
import { OWNER_OID } from './names.js';
import { isRelation, type RelationRecord } from './object-record.js';
import { int2vector, oidvector, type VirtualRow, type VirtualTable } from './virtual.js';

export const HEAP_AM = 2;
export const BTREE_AM = 403;
export const DEFAULT_COLLATION = 100;

const RELKINDS = { table: 'r', index: 'i', sequence: 'S', view: 'v' } as const;

const isCollatable = (typeOid: number): boolean =>
  [OID.text, OID.varchar, OID.bpchar, OID.name].includes(typeOid as 25);

function relationRow(snapshot: CatalogSnapshot, record: RelationRecord): VirtualRow {
  const isTable = record.kind === 'table';
  const indexes = isTable ? snapshot.indexesOf(record.oid) : [];
  const options = record.kind === 'table' || record.kind === 'index' ? record.options : [];
  const am = isTable ? HEAP_AM : record.kind === 'index' ? BTREE_AM : 0;
  const def = isTable ? snapshot.tableByOid(record.oid) : null;
  const estimate = def?.handle ? (snapshot.owner as Catalog).store.estimateRows(def.handle) : 0;
  return {
    ...RELATION_DEFAULTS,
    oid: record.oid,
    relname: record.name,
    relnamespace: snapshot.schemaOf(record),
    relam: am,
    relfilenode: isTable || record.kind === 'index' ? record.root : 0,
    relpages: Math.ceil(estimate / 50),
    reltuples: estimate,
    relhasindex: indexes.length > 0,
    relkind: RELKINDS[record.kind],
    relnatts: record.kind === 'sequence' ? 3 : record.columns.length,
    relchecks: isTable ? record.checks.length : 0,
    relhastriggers: isTable && snapshot.foreignKeysOf(record.oid).length > 0,
    relhasrules: record.kind === 'view',
    reloptions: options.length === 0 ? null : makeArray(OID.text, options),
    relreplident: isTable ? 'd' : 'n',
  };
}

const RELATION_DEFAULTS: VirtualRow = {
  reltype: 0,
  reloftype: 0,
  relowner: OWNER_OID,
  relam: 0,
  relfilenode: 0,
  reltablespace: 0,
  relpages: 0,
  reltuples: 0,
  relallvisible: 0,
  reltoastrelid: 0,
  relhasindex: false,
  relisshared: false,
  relpersistence: 'p',
  relchecks: 0,
  relhasrules: false,
  relhastriggers: false,
  relhassubclass: false,
  relrowsecurity: false,
  relforcerowsecurity: false,
  relispopulated: true,
  relreplident: 'n',
  relispartition: false,
  relrewrite: 0,
  relfrozenxid: 0,
  relminmxid: 0,
};

function* relations(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (isRelation(record)) yield relationRow(snapshot, record);
  }
  for (const def of snapshot.owner.virtualByOid.values()) {
    yield {
      ...RELATION_DEFAULTS,
      oid: def.oid,
      relname: def.name,
      relnamespace: snapshot.schemaOid(def.schema),
      relkind:
        def.schema === 'pg_catalog' &&
        !/^pg_(tables|indexes|views|sequences|settings|stat|locks|roles|user|matviews)/.test(
          def.name,
        )
          ? 'r'
          : 'v',
      relnatts: def.columns.length,
    };
  }
}

function attributeRow(relation: number, column: ColumnDef, missing: boolean): VirtualRow {
  const type = typeOf(column.typeOid);
  return {
    attrelid: relation,
    attname: column.name,
    atttypid: column.dropped ? 0 : column.typeOid,
    attstattarget: -1,
    attlen: type.length,
    attnum: column.number,
    attndims: type.elementOid !== 0 ? 1 : 0,
    attcacheoff: -1,
    atttypmod: column.typmod,
    attbyval: type.byValue,
    attalign: type.align,
    attstorage: type.length === -1 ? 'x' : 'p',
    attcompression: '',
    attnotnull: column.notNull,
    atthasdef: column.defaultNode !== null && column.identity === null,
    atthasmissing: missing,
    attidentity: column.identity === null ? '' : column.identity === 'always' ? 'a' : 'd',
    attgenerated: '',
    attisdropped: column.dropped,
    attislocal: true,
    attinhcount: 0,
    attcollation: isCollatable(column.typeOid) ? DEFAULT_COLLATION : 0,
  };
}

function* attributes(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (!isRelation(record)) continue;
    if (record.kind !== 'index') {
      const def = snapshot.tableByOid(record.oid);
      for (const column of def?.columns ?? []) yield attributeRow(record.oid, column, false);
      continue;
    }
    const table = snapshot.tableByOid(record.table);
    if (table === null) continue;
    for (const [i, key] of record.columns.entries()) {
      const column = table.columns[key.column];
      const own = { ...column, number: i + 1, notNull: false, defaultNode: null, identity: null };
      yield attributeRow(record.oid, own, false);
    }
  }
  for (const def of snapshot.owner.virtualByOid.values()) {
    for (const column of def.columns) yield attributeRow(def.oid, column, false);
  }
}

function* defaults(
  snapshot: CatalogSnapshot,
  searchPath: readonly string[],
): IterableIterator<VirtualRow> {
  const deparser = new Deparser(snapshot, searchPath);
  for (const record of snapshot.records()) {
    if (record.kind !== 'table') continue;
    for (const [i, column] of record.columns.entries()) {
      if (column.default === null || column.identity !== null) continue;
      const adbin = deparser.text(column.default);
      yield { oid: record.oid * 2048 + i, adrelid: record.oid, adnum: i + 1, adbin };
    }
  }
}

function* indexes(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'index') continue;
    const table = snapshot.table(record.table);
    if (table === null) continue;
    const { columns } = record;
    yield {
      indexrelid: record.oid,
      indrelid: record.table,
      indnatts: columns.length,
      indnkeyatts: columns.length,
      indisunique: record.unique,
      indnullsnotdistinct: false,
      indisprimary: record.primary,
      indisexclusion: false,
      indimmediate: true,
      indisclustered: false,
      indisvalid: true,
      indcheckxmin: false,
      indisready: true,
      indislive: true,
      indisreplident: false,
      indkey: int2vector(columns.map((c) => c.column + 1)),
      indcollation: oidvector(
        columns.map((c) => (isCollatable(table.columns[c.column].type) ? DEFAULT_COLLATION : 0)),
      ),
      indclass: oidvector(columns.map(() => 0)),
      indoption: int2vector(columns.map((c) => (c.descending ? 1 : 0) | (c.nullsFirst ? 2 : 0))),
    };
  }
}

const ACTIONS = {
  'no action': 'a',
  restrict: 'r',
  cascade: 'c',
  'set null': 'n',
  'set default': 'd',
} as const;

const numbers = (columns: readonly number[]): Value =>
  makeArray(
    OID.int2,
    columns.map((column) => column + 1),
  );

function constraintRow(
  snapshot: CatalogSnapshot,
  c: ConstraintRecord,
  searchPath: readonly string[],
): VirtualRow {
  const common: VirtualRow = {
    oid: constraintOid(c),
    conname: constraintName(c),
    connamespace: c.table.schema,
    condeferrable: false,
    condeferred: false,
    convalidated: true,
    conrelid: c.table.oid,
    contypid: 0,
    conindid: 0,
    conparentid: 0,
    confrelid: 0,
    confupdtype: ' ',
    confdeltype: ' ',
    confmatchtype: ' ',
    conislocal: true,
    coninhcount: 0,
    connoinherit: c.kind !== 'check',
  };
  if (c.kind === 'key') {
    const conkey = numbers(c.index.columns.map((k) => k.column));
    return { ...common, contype: c.index.primary ? 'p' : 'u', conindid: c.index.oid, conkey };
  }
  if (c.kind === 'check') {
    return { ...common, contype: 'c', conbin: constraintText(snapshot, c, searchPath) };
  }
  return {
    ...common,
    contype: 'f',
    conindid: c.key.referencedIndex,
    confrelid: c.key.referenced,
    confupdtype: ACTIONS[c.key.onUpdate],
    confdeltype: ACTIONS[c.key.onDelete],
    confmatchtype: 's',
    conkey: numbers(c.key.columns),
    confkey: numbers(c.key.referencedColumns),
  };
}

function* namespaces(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  yield { oid: PG_CATALOG_OID, nspname: 'pg_catalog', nspowner: OWNER_OID };
  yield { oid: INFORMATION_SCHEMA_OID, nspname: 'information_schema', nspowner: OWNER_OID };
  for (const record of snapshot.records()) {
    if (record.kind !== 'schema') continue;
    yield { oid: record.oid, nspname: record.name, nspowner: OWNER_OID };
  }
}

function* sequences(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'sequence') continue;
    const state = (snapshot.owner as Catalog).sequences.state(record);
    yield {
      seqrelid: record.oid,
      seqtypid: record.type,
      seqstart: BigInt(record.start),
      seqincrement: BigInt(record.increment),
      seqmax: BigInt(record.max),
      seqmin: BigInt(record.min),
      seqcache: BigInt(record.cache),
      seqcycle: record.cycle,
      schemaname: snapshot.schemaName(record.schema),
      sequencename: record.name,
      sequenceowner: 'postgres',
      data_type: record.type,
      start_value: BigInt(record.start),
      min_value: BigInt(record.min),
      max_value: BigInt(record.max),
      increment_by: BigInt(record.increment),
      cycle: record.cycle,
      cache_size: BigInt(record.cache),
      last_value: state.called ? state.last : null,
    };
  }
}

function* descriptions(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  const classoid = 1259;
  for (const record of snapshot.records()) {
    if (record.kind === 'foreign key') continue;
    if (record.comment !== undefined) {
      const catalogOid = record.kind === 'schema' ? 2615 : classoid;
      yield { objoid: record.oid, classoid: catalogOid, objsubid: 0, description: record.comment };
    }
    if (record.kind !== 'table') continue;
    for (const [i, column] of record.columns.entries()) {
      if (column.comment === undefined) continue;
      yield { objoid: record.oid, classoid, objsubid: i + 1, description: column.comment };
    }
  }
}

/** What hangs on what: owned sequences, as far as clients look for them. */
function* dependencies(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'sequence' || record.owner === null) continue;
    yield {
      classid: 1259,
      objid: record.oid,
      objsubid: 0,
      refclassid: 1259,
      refobjid: record.owner.table,
      refobjsubid: record.owner.column + 1,
      deptype: record.owner.identity ? 'i' : 'a',
    };
  }
}

function* tables(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'table') continue;
    yield {
      schemaname: snapshot.schemaName(record.schema),
      tablename: record.name,
      tableowner: 'postgres',
      hasindexes: snapshot.indexesOf(record.oid).length > 0,
      hasrules: false,
      hastriggers: false,
      rowsecurity: false,
      relid: record.oid,
      relname: record.name,
    };
  }
}

function* indexList(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'index') continue;
    yield {
      schemaname: snapshot.schemaName(snapshot.schemaOf(record)),
      tablename: snapshot.relationName(record.table) ?? '',
      indexname: record.name,
      indexdef: indexText(snapshot, record),
    };
  }
}

function* views(snapshot: CatalogSnapshot): IterableIterator<VirtualRow> {
  for (const record of snapshot.records()) {
    if (record.kind !== 'view') continue;
    yield {
      schemaname: snapshot.schemaName(record.schema),
      viewname: record.name,
      viewowner: 'postgres',
      definition: record.text,
    };
  }
}

const system = (
  oid: number,
  name: string,
  columns: string,
  rows: VirtualTable['rows'],
): VirtualTable => ({ oid, schema: 'pg_catalog', name, columns, rows });

export const OBJECT_TABLES: readonly VirtualTable[] = [
  system(
    1259,
    'pg_class',
    `oid:oid relname:name relnamespace:oid reltype:oid reloftype:oid relowner:oid relam:oid relfilenode:oid
     reltablespace:oid relpages:int4 reltuples:float4 relallvisible:int4 reltoastrelid:oid relhasindex:bool
     relisshared:bool relpersistence:char relkind:char relnatts:int2 relchecks:int2 relhasrules:bool
     relhastriggers:bool relhassubclass:bool relrowsecurity:bool relforcerowsecurity:bool relispopulated:bool
     relreplident:char relispartition:bool relrewrite:oid relfrozenxid:xid relminmxid:xid relacl:text[]
     reloptions:text[] relpartbound:pg_node_tree`,
    relations,
  ),
  system(
    1249,
    'pg_attribute',
    `attrelid:oid attname:name atttypid:oid attstattarget:int4 attlen:int2 attnum:int2 attndims:int4
     attcacheoff:int4 atttypmod:int4 attbyval:bool attalign:char attstorage:char attcompression:char
     attnotnull:bool atthasdef:bool atthasmissing:bool attidentity:char attgenerated:char attisdropped:bool
     attislocal:bool attinhcount:int4 attcollation:oid attacl:text[] attoptions:text[] attfdwoptions:text[]
     attmissingval:text[]`,
    attributes,
  ),
  system(
    2604,
    'pg_attrdef',
    'oid:oid adrelid:oid adnum:int2 adbin:pg_node_tree',
    (snapshot, session) => defaults(snapshot, session.searchPath),
  ),
  system(
    2610,
    'pg_index',
    `indexrelid:oid indrelid:oid indnatts:int2 indnkeyatts:int2 indisunique:bool indnullsnotdistinct:bool
     indisprimary:bool indisexclusion:bool indimmediate:bool indisclustered:bool indisvalid:bool
     indcheckxmin:bool indisready:bool indislive:bool indisreplident:bool indkey:int2vector
     indcollation:oidvector indclass:oidvector indoption:int2vector indexprs:pg_node_tree indpred:pg_node_tree`,
    indexes,
  ),
  system(
    2606,
    'pg_constraint',
    `oid:oid conname:name connamespace:oid contype:char condeferrable:bool condeferred:bool convalidated:bool
     conrelid:oid contypid:oid conindid:oid conparentid:oid confrelid:oid confupdtype:char confdeltype:char
     confmatchtype:char conislocal:bool coninhcount:int4 connoinherit:bool conkey:int2[] confkey:int2[]
     conpfeqop:oid[] conppeqop:oid[] conffeqop:oid[] confdelsetcols:int2[] conexclop:oid[] conbin:pg_node_tree`,
    function* (snapshot, session) {
      for (const c of constraintsOf(snapshot)) yield constraintRow(snapshot, c, session.searchPath);
    },
  ),
  system(2615, 'pg_namespace', 'oid:oid nspname:name nspowner:oid nspacl:text[]', namespaces),
  system(
    2224,
    'pg_sequence',
    `seqrelid:oid seqtypid:oid seqstart:int8 seqincrement:int8 seqmax:int8 seqmin:int8 seqcache:int8 seqcycle:bool`,
    sequences,
  ),
  system(
    12_107,
    'pg_sequences',
    `schemaname:name sequencename:name sequenceowner:name data_type:regtype start_value:int8 min_value:int8
     max_value:int8 increment_by:int8 cycle:bool cache_size:int8 last_value:int8`,
    sequences,
  ),
  system(
    2609,
    'pg_description',
    'objoid:oid classoid:oid objsubid:int4 description:text',
    descriptions,
  ),
  system(
    2608,
    'pg_depend',
    'classid:oid objid:oid objsubid:int4 refclassid:oid refobjid:oid refobjsubid:int4 deptype:char',
    dependencies,
  ),
  system(
    12_100,
    'pg_tables',
    `schemaname:name tablename:name tableowner:name tablespace:name hasindexes:bool hasrules:bool
     hastriggers:bool rowsecurity:bool`,
    tables,
  ),
  system(
    12_101,
    'pg_indexes',
    'schemaname:name tablename:name indexname:name tablespace:name indexdef:text',
    indexList,
  ),
  system(12_102, 'pg_views', 'schemaname:name viewname:name viewowner:name definition:text', views),
  system(
    12_103,
    'pg_stat_user_tables',
    'relid:oid schemaname:name relname:name seq_scan:int8 n_live_tup:int8 n_dead_tup:int8 last_vacuum:timestamptz last_analyze:timestamptz',
    tables,
  ),
];
