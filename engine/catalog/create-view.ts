/** CREATE VIEW, CREATE TABLE AS, SELECT INTO. */
import type { CreateTableAsStmt, Node, RangeVar, ViewStmt } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import type { ResultColumn } from '../sql/statement.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { TableHandle } from '../tables/table-store.js';
import { OID } from '../types/oids.js';
import type { ColumnPlan } from './columns.js';
import { addTable } from './create-table.js';
import type { Ddl } from './ddl.js';
import type { TupleCodec } from './definitions.js';
import { walkTree } from './expression-columns.js';
import { storageOptions } from './options.js';
import type { ViewRecord } from './object-record.js';
import { ACCESS_EXCLUSIVE, ACCESS_SHARE } from './relation-locks.js';
import { attempt, type Steps } from './steps.js';

/** Names of a query's columns, `names` taking the place of the first ones; 42601, 42701. */
function outputNames(columns: readonly ResultColumn[], names: readonly string[]): string[] {
  if (names.length > columns.length) {
    throw new SqlError('42601', 'too many column names were specified');
  }
  const all = columns.map((column, i) => names[i] ?? column.name);
  const twice = all.find((name, i) => all.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new SqlError('42701', `column "${twice}" specified more than once`);
  }
  return all;
}

const typeOfOutput = (column: ResultColumn): number =>
  column.typeOid === OID.unknown ? OID.text : column.typeOid;

/** Relations that a query names, by what their names mean now. */
function relationsIn(ddl: Ddl, query: Node): number[] {
  const found = new Set<number>();
  walkTree({ query }, (tag, body) => {
    if (tag !== 'RangeVar') return;
    const v = body as RangeVar;
    const { searchPath } = ddl.session;
    const oid = ddl.reader.findRelation(v.schemaname ?? null, v.relname ?? '', searchPath);
    if (ddl.reader.entries.has(oid)) found.add(oid);
  });
  return [...found];
}

export function* createView(ddl: Ddl, s: ViewStmt, text: string): Steps<string> {
  const v = s.view as RangeVar;
  const name = v.relname ?? '';
  if (v.relpersistence === 't') throw notSupported('temporary view');
  const check = s.withCheckOption ?? 'NO_CHECK_OPTION';
  if (check !== 'NO_CHECK_OPTION' || (s.options?.length ?? 0) > 0) {
    throw notSupported('view with options');
  }
  const schema = ddl.targetSchema(v.schemaname);
  const query = s.query as Node;
  const compiled = ddl.compile('select 1', () => query);
  const columns = compiled.columns ?? [];
  const names = outputNames(columns, stringsOf(s.aliases));
  if (names.some((given, i) => given !== columns[i].name)) {
    throw notSupported('view with column names of its own; name them in the query instead, it');
  }
  const uses = relationsIn(ddl, query);
  for (const oid of uses) yield* ddl.lock(oid, ACCESS_SHARE);
  const free = yield* ddl.reserveName(schema, name);
  let before: ViewRecord | null = null;
  if (!free) {
    const old = yield* ddl.relation(v, ACCESS_EXCLUSIVE);
    if (s.replace !== true || old?.kind !== 'view') {
      throw new SqlError('42P07', `relation "${name}" already exists`);
    }
    if (uses.includes(old.oid)) throw new SqlError('42P17', 'a view cannot read itself');
    before = old;
    requireSameColumns(before, names, columns);
  }
  ddl.put({
    kind: 'view',
    oid: before?.oid ?? (yield* ddl.newOid()),
    schema,
    name,
    query,
    text: queryText(text),
    searchPath: ddl.session.searchPath,
    columns: columns.map((column) => ({
      name: column.name,
      type: typeOfOutput(column),
      typmod: column.typeModifier,
    })),
    uses,
  });
  yield* ddl.flush();
  return 'CREATE VIEW';
}

/** The query as it was written: what follows AS. */
function queryText(text: string): string {
  return text.replace(/^create\s[^]*?\bview\s[^]*?\sas\s+/i, '');
}

/** CREATE OR REPLACE may only add columns at the end. */
function requireSameColumns(
  before: ViewRecord,
  names: readonly string[],
  columns: readonly ResultColumn[],
): void {
  before.columns.forEach((old, i) => {
    if (i >= columns.length) throw new SqlError('42P16', 'cannot drop columns from view');
    if (names[i] !== old.name) {
      throw new SqlError(
        '42P16',
        `cannot change name of view column "${old.name}" to "${names[i]}"`,
      );
    }
    if (typeOfOutput(columns[i]) !== old.type) {
      throw new SqlError('42P16', `cannot change data type of view column "${old.name}"`);
    }
  });
}

export function* createTableAs(ddl: Ddl, s: CreateTableAsStmt): Steps<string> {
  const into = s.into ?? {};
  const v = into.rel as RangeVar;
  const name = v.relname ?? '';
  if ((s.objtype ?? 'OBJECT_TABLE') !== 'OBJECT_TABLE') throw notSupported('materialized view');
  if (v.relpersistence === 't') throw notSupported('temporary table');
  if (v.relpersistence === 'u') throw notSupported('unlogged table');
  const query = s.query as Node;
  if (!('SelectStmt' in query)) throw notSupported('CREATE TABLE AS of this statement');
  const schema = ddl.targetSchema(v.schemaname);
  if (!(yield* ddl.reserveName(schema, name))) {
    if (s.if_not_exists !== true) {
      throw new SqlError('42P07', `relation "${name}" already exists`);
    }
    ddl.notice('42P07', `relation "${name}" already exists, skipping`);
    return 'CREATE TABLE AS';
  }
  const compiled = ddl.compile('select 1', () => query);
  const columns = compiled.columns ?? [];
  const names = outputNames(columns, stringsOf(into.colNames));
  const plans = columns.map((column, i): ColumnPlan => ({
    column: {
      name: names[i],
      type: typeOfOutput(column),
      typmod: column.typeModifier,
      notNull: false,
      default: null,
      identity: null,
      dropped: false,
      missing: null,
    },
    sequence: null,
    constraints: [],
  }));
  const table = yield* addTable(ddl, schema, name, plans, [], storageOptions(into.options));
  yield* ddl.flush();
  if (into.skipData === true) return 'CREATE TABLE AS';
  const def = ddl.definition(table.oid);
  const { store } = ddl.catalog;
  const state = store.newWriteState();
  const source = yield* attempt(() => ddl.open(compiled));
  let tuple = new Uint8Array(1024);
  let count = 0;
  while ((yield* attempt(() => source.step())) === 'row') {
    let length = (def.codec as TupleCodec).encode(source.row, tuple);
    if (length < 0) {
      tuple = new Uint8Array(-length);
      length = (def.codec as TupleCodec).encode(source.row, tuple);
    }
    state.reset();
    yield* attempt(() => store.insert(def.handle as TableHandle, ddl.txn, tuple, 0, length, state));
    count++;
  }
  source.close();
  return `SELECT ${count}`;
}
