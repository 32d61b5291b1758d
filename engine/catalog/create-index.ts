/** CREATE INDEX, and the indexes of primary and unique keys. */
import type { IndexElem, IndexStmt, Node, RangeVar } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { TableHandle } from '../tables/table-store.js';
import { requireKeyForm } from '../keys/key.js';
import { typeOf } from '../types/registry.js';
import { checkCollation } from './columns.js';
import type { Ddl } from './ddl.js';
import type { IndexColumnRecord, IndexRecord, TableRecord } from './object-record.js';
import { storageOptions } from './options.js';
import { SHARE } from './relation-locks.js';
import { attempt, type Steps } from './steps.js';
import { columnIndex, makeCodec, makeIndex } from './table-definition.js';

const KEY_COLUMNS_MAX = 32;

export interface IndexPlan {
  readonly name: string;
  readonly columns: readonly IndexColumnRecord[];
  readonly unique: boolean;
  readonly primary: boolean;
  readonly constraint: boolean;
  readonly options: readonly string[];
}

/**
 * Makes an index of a table and fills it; `isEmpty`: the table is new. The caller holds the lock and has reserved the
 * name.
 */
export function* addIndex(
  ddl: Ddl,
  table: TableRecord,
  plan: IndexPlan,
  isEmpty: boolean,
): Steps<IndexRecord> {
  for (const c of plan.columns) requireKeyForm(typeOf(table.columns[c.column].type));
  const oid = yield* ddl.newOid();
  const record: IndexRecord = {
    kind: 'index',
    oid,
    table: table.oid,
    name: plan.name,
    root: yield* ddl.newTree(),
    columns: plan.columns,
    unique: plan.unique,
    primary: plan.primary,
    constraint: plan.constraint ? yield* ddl.newOid() : 0,
    options: plan.options,
  };
  if (!isEmpty) yield* fill(ddl, table, record);
  ddl.put(record);
  return record;
}

/** Fills an empty index tree from the table's rows; 23505. */
export function* fill(ddl: Ddl, table: TableRecord, record: IndexRecord): Steps<void> {
  const { store } = ddl.catalog;
  const handle = ddl.definition(table.oid).handle as TableHandle;
  const index = makeIndex(record, table, makeCodec(table.columns)).handle;
  const state = store.newWriteState();
  ddl.txn.command++;
  while (!(yield* attempt(() => store.buildIndex(handle, index, ddl.txn, state)))) {
    yield* ddl.turn();
  }
}

export function* createIndex(ddl: Ddl, s: IndexStmt): Steps<string> {
  refuseIndexOptions(s);
  const table = yield* ddl.table(s.relation as RangeVar, SHARE);
  const columns = (s.indexParams ?? []).map((node) => indexColumn(table, node));
  if (columns.length > KEY_COLUMNS_MAX) {
    throw new SqlError('54011', `cannot use more than ${KEY_COLUMNS_MAX} columns in an index`);
  }
  let name = s.idxname ?? '';
  if (name === '') {
    const parts = columns.map((c) => table.columns[c.column].name);
    name = yield* ddl.chooseName(table.schema, [table.name, ...parts], 'idx');
  } else if (!(yield* ddl.reserveName(table.schema, name))) {
    if (s.if_not_exists !== true) {
      throw new SqlError('42P07', `relation "${name}" already exists`);
    }
    ddl.notice('42P07', `relation "${name}" already exists, skipping`);
    return 'CREATE INDEX';
  }
  yield* addIndex(
    ddl,
    table,
    {
      name,
      columns,
      unique: s.unique === true,
      primary: false,
      constraint: false,
      options: storageOptions(s.options),
    },
    false,
  );
  yield* ddl.flush();
  return 'CREATE INDEX';
}

function refuseIndexOptions(s: IndexStmt): void {
  const method = s.accessMethod ?? 'btree';
  if (method !== 'btree') throw notSupported(`access method "${method}"`);
  if (s.whereClause !== undefined) throw notSupported('partial index');
  if ((s.indexIncludingParams?.length ?? 0) > 0) throw notSupported('INCLUDE');
  if ((s.excludeOpNames?.length ?? 0) > 0) throw notSupported('exclusion constraint');
  if (s.nulls_not_distinct === true) throw notSupported('NULLS NOT DISTINCT');
  const space = s.tableSpace ?? '';
  if (space !== '' && space !== 'pg_default') throw notSupported('tablespace');
}

function indexColumn(table: TableRecord, node: Node): IndexColumnRecord {
  const e: IndexElem = 'IndexElem' in node ? node.IndexElem : {};
  if (e.expr !== undefined) throw notSupported('index on an expression');
  if ((e.collation?.length ?? 0) > 0) checkCollation(stringsOf(e.collation));
  const [opclass] = stringsOf(e.opclass).slice(-1);
  // All that text has order by bytes here.
  if (opclass !== undefined && !/^(text|varchar|bpchar)_pattern_ops$|_ops$/.test(opclass)) {
    throw notSupported(`operator class "${opclass}"`);
  }
  const descending = e.ordering === 'SORTBY_DESC';
  const nulls = e.nulls_ordering ?? 'SORTBY_NULLS_DEFAULT';
  const nullsFirst = nulls === 'SORTBY_NULLS_DEFAULT' ? descending : nulls === 'SORTBY_NULLS_FIRST';
  return { column: columnIndex(table, e.name ?? ''), descending, nullsFirst };
}
