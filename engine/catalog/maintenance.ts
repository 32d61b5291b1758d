/** VACUUM, ANALYZE, REINDEX, CLUSTER, LOCK TABLE, COMMENT. */
import type { CommentStmt, LockStmt, Node, RangeVar, ReindexStmt, VacuumStmt } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { TableHandle } from '../tables/table-store.js';
import type { Ddl } from './ddl.js';
import { rebuildIndex } from './drop.js';
import type { TableRecord } from './object-record.js';
import { ACCESS_EXCLUSIVE, ACCESS_SHARE, SHARE_UPDATE_EXCLUSIVE } from './relation-locks.js';
import { attempt, type Steps } from './steps.js';
import { systemTable } from './system-table.js';
import { columnIndex } from './table-definition.js';

const VACUUM_OPTIONS = new Set(
  'full freeze verbose analyze disable_page_skipping skip_locked index_cleanup process_main process_toast truncate parallel buffer_usage_limit'.split(
    ' ',
  ),
);

/** ANALYZE has nothing to gather: row counts come from the trees. It checks its names, and waits as it would. */
export function* vacuum(ddl: Ddl, s: VacuumStmt): Steps<string> {
  const tag = s.is_vacuumcmd === true ? 'VACUUM' : 'ANALYZE';
  for (const node of s.options ?? []) {
    const name = 'DefElem' in node ? (node.DefElem.defname ?? '') : '';
    if (!VACUUM_OPTIONS.has(name)) {
      throw new SqlError('42601', `unrecognized ${tag} option "${name}"`);
    }
  }
  const tables: TableRecord[] = [];
  for (const node of s.rels ?? []) {
    if (!('VacuumRelation' in node)) continue;
    const { relation, va_cols } = node.VacuumRelation;
    const table = yield* ddl.table(relation as RangeVar, SHARE_UPDATE_EXCLUSIVE);
    for (const name of stringsOf(va_cols)) columnIndex(table, name);
    tables.push(table);
  }
  if (s.is_vacuumcmd !== true) return tag;
  const { transactions } = ddl.catalog;
  const all = (s.rels ?? []).length === 0;
  const { oldestId, nowLsn } = transactions;
  if (all) {
    yield* sweep(ddl, systemTable(transactions.space));
    for (const record of ddl.reader.records()) if (record.kind === 'table') tables.push(record);
  }
  for (const table of tables) {
    yield* ddl.lock(table.oid, SHARE_UPDATE_EXCLUSIVE);
    // It may have gone while it was waited for.
    const handle = ddl.reader.tableByOid(table.oid)?.handle;
    if (handle !== null && handle !== undefined) yield* sweep(ddl, handle);
  }
  // The marks themselves go in the background, once this statement's own snapshot has.
  if (all) transactions.swept(oldestId, nowLsn);
  return tag;
}

function* sweep(ddl: Ddl, handle: TableHandle): Steps<void> {
  const { store } = ddl.catalog;
  const state = store.newWriteState();
  while (!(yield* attempt(() => store.vacuum(handle, state)))) yield* ddl.turn();
}

export function* reindex(ddl: Ddl, s: ReindexStmt): Steps<string> {
  if (s.kind !== 'REINDEX_OBJECT_TABLE' && s.kind !== 'REINDEX_OBJECT_INDEX') {
    throw notSupported('REINDEX of more than a table');
  }
  const named = yield* ddl.relation(s.relation as RangeVar, ACCESS_SHARE);
  const only = named?.kind === 'index' ? named.oid : 0;
  const table = ddl.reader.table(named?.kind === 'index' ? named.table : (named?.oid ?? 0));
  if (table === null) throw new SqlError('42809', 'REINDEX is for tables and indexes');
  yield* ddl.lock(table.oid, ACCESS_EXCLUSIVE);
  for (const index of ddl.reader.indexesOf(table.oid)) {
    if (only === 0 || index.oid === only) yield* rebuildIndex(ddl, table, index);
  }
  yield* ddl.flush();
  return 'REINDEX';
}

export function* lockTable(ddl: Ddl, s: LockStmt): Steps<string> {
  const mode = (s.mode ?? 8) - 1;
  for (const node of s.relations ?? []) {
    if (!('RangeVar' in node)) continue;
    const table = yield* ddl.relation(node.RangeVar, ACCESS_SHARE);
    if (table === null) continue;
    const { locks } = ddl.catalog;
    const held = yield* attempt(() => locks.acquire(ddl.txn, table.oid, mode, s.nowait !== true));
    if (!held) {
      throw new SqlError('55P03', `could not obtain lock on relation "${table.name}"`);
    }
  }
  return 'LOCK TABLE';
}

export function* comment(ddl: Ddl, s: CommentStmt): Steps<string> {
  const text = s.comment === undefined || s.comment === '' ? undefined : s.comment;
  const object = s.object as Node;
  const names = stringsOf('List' in object ? object.List.items : [object]);
  const put = <Item extends { readonly comment?: string }>(item: Item): Item => {
    const { comment: _, ...rest } = item;
    return (text === undefined ? rest : { ...rest, comment: text }) as Item;
  };
  const kind: string = s.objtype ?? '';
  switch (kind) {
    case 'OBJECT_TABLE':
    case 'OBJECT_INDEX':
    case 'OBJECT_SEQUENCE':
    case 'OBJECT_VIEW': {
      const record = yield* ddl.relation(rangeVar(names), SHARE_UPDATE_EXCLUSIVE);
      if (record !== null) ddl.put(put(record));
      break;
    }
    case 'OBJECT_COLUMN': {
      const table = yield* ddl.table(rangeVar(names.slice(0, -1)), SHARE_UPDATE_EXCLUSIVE);
      const at = columnIndex(table, names[names.length - 1]);
      const columns = table.columns.map((column, i) => (i === at ? put(column) : column));
      ddl.put({ ...table, columns });
      break;
    }
    case 'OBJECT_SCHEMA': {
      const oid = ddl.reader.requireSchema(names[0]);
      const record = ddl.reader.entries.get(oid)?.record;
      if (record?.kind !== 'schema') throw new SqlError('42501', 'permission denied');
      yield* attempt(() => ddl.catalog.locks.acquireName(ddl.txn, `schema ${record.name}`));
      ddl.put(put(record));
      break;
    }
    default:
      throw notSupported(`COMMENT ON ${(s.objtype ?? '').replace('OBJECT_', '')}`);
  }
  yield* ddl.flush();
  return 'COMMENT';
}

export function rangeVar(names: readonly string[]): RangeVar {
  const v: RangeVar = { relname: names[names.length - 1] ?? '', location: -1 };
  if (names.length > 1) v.schemaname = names[names.length - 2];
  return v;
}
