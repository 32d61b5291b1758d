/** CREATE TABLE and CREATE SCHEMA. */
import type {
  Constraint,
  CreateSchemaStmt,
  CreateStmt,
  RangeVar,
  TableLikeClause,
} from 'libpg-query';
import { SqlError, notSupported } from '../sql-error.js';
import { keepDefault, nextvalNode, planColumn, type ColumnPlan } from './columns.js';
import { addConstraint } from './constraints.js';
import type { Ddl } from './ddl.js';
import type { ColumnRecord, TableRecord } from './object-record.js';
import { storageOptions } from './options.js';
import { ACCESS_SHARE } from './relation-locks.js';
import { addSequence } from './sequence-ddl.js';
import { attempt, type Steps } from './steps.js';

const COLUMNS_MAX = 1600;
/** What every table of PostgreSQL has besides its own columns. */
const SYSTEM_COLUMNS = new Set(['tableoid', 'cmax', 'xmax', 'cmin', 'xmin', 'ctid']);

export function* createTable(ddl: Ddl, s: CreateStmt): Steps<string> {
  refuseTableOptions(s);
  const v = s.relation as RangeVar;
  const schema = ddl.targetSchema(v.schemaname);
  const name = v.relname ?? '';
  if (!(yield* ddl.reserveName(schema, name))) {
    if (s.if_not_exists !== true) {
      throw new SqlError('42P07', `relation "${name}" already exists`);
    }
    ddl.notice('42P07', `relation "${name}" already exists, skipping`);
    return 'CREATE TABLE';
  }
  const plans: ColumnPlan[] = [];
  const constraints: Constraint[] = [];
  for (const node of s.tableElts ?? []) {
    if ('ColumnDef' in node) plans.push(planColumn(ddl, node.ColumnDef));
    else if ('Constraint' in node) constraints.push(node.Constraint);
    else if ('TableLikeClause' in node)
      plans.push(...(yield* likeColumns(ddl, node.TableLikeClause)));
    else throw notSupported('this table element');
  }
  for (const plan of plans) constraints.push(...plan.constraints);
  yield* addTable(ddl, schema, name, plans, constraints, storageOptions(s.options));
  yield* ddl.flush();
  return 'CREATE TABLE';
}

function refuseTableOptions(s: CreateStmt): void {
  if (s.relation?.relpersistence === 't') throw notSupported('temporary table');
  if (s.relation?.relpersistence === 'u') throw notSupported('unlogged table');
  if ((s.inhRelations?.length ?? 0) > 0) {
    throw notSupported(s.partbound === undefined ? 'inheritance' : 'partition');
  }
  if (s.partspec !== undefined) throw notSupported('PARTITION BY');
  if (s.ofTypename !== undefined) throw notSupported('typed table');
  const oncommit = s.oncommit ?? 'ONCOMMIT_NOOP';
  if (oncommit !== 'ONCOMMIT_NOOP') throw notSupported('ON COMMIT');
  const space = s.tablespacename ?? '';
  if (space !== '' && space !== 'pg_default') throw notSupported('tablespace');
  const method = s.accessMethod ?? '';
  if (method !== '' && method !== 'heap') throw notSupported(`access method "${method}"`);
}

/** Makes a table under a reserved name, with all that belongs to it. */
export function* addTable(
  ddl: Ddl,
  schema: number,
  name: string,
  plans: readonly ColumnPlan[],
  constraints: readonly Constraint[],
  options: readonly string[],
): Steps<TableRecord> {
  if (plans.length > COLUMNS_MAX) {
    throw new SqlError('54011', `tables can have at most ${COLUMNS_MAX} columns`);
  }
  checkNames(plans.map((plan) => plan.column.name));
  const oid = yield* ddl.newOid();
  const columns: ColumnRecord[] = [];
  for (const [index, plan] of plans.entries()) {
    columns.push(yield* settleColumn(ddl, { oid, schema, name }, plan, index));
  }
  let table: TableRecord = {
    kind: 'table',
    oid,
    schema,
    name,
    root: yield* ddl.newTree(),
    columns,
    checks: [],
    options,
  };
  ddl.put(table);
  yield* ddl.lock(oid, ACCESS_SHARE);
  // Keys first, so that foreign keys to the table itself find them.
  const order = [
    'CONSTR_PRIMARY',
    'CONSTR_UNIQUE',
    'CONSTR_CHECK',
    'CONSTR_NOTNULL',
    'CONSTR_FOREIGN',
  ];
  const sorted = [...constraints].sort(
    (a, b) => order.indexOf(a.contype ?? '') - order.indexOf(b.contype ?? ''),
  );
  for (const c of sorted) table = yield* addConstraint(ddl, table, c, true);
  checkExpressions(ddl, table);
  return table;
}

function checkNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) {
      throw new SqlError('42701', `column "${name}" specified more than once`);
    }
    if (SYSTEM_COLUMNS.has(name)) {
      throw new SqlError('42701', `column name "${name}" conflicts with a system column name`);
    }
    seen.add(name);
  }
}

/** The column with its default, and its sequence made. */
export function* settleColumn(
  ddl: Ddl,
  table: Pick<TableRecord, 'oid' | 'schema' | 'name'>,
  plan: ColumnPlan,
  index: number,
): Steps<ColumnRecord> {
  const { column } = plan;
  if (plan.sequence === null) {
    if (column.default === null) return column;
    return { ...column, default: keepDefault(ddl, column.default) };
  }
  const name = yield* ddl.chooseName(table.schema, [table.name, column.name], 'seq');
  const owner = { table: table.oid, column: index, identity: column.identity !== null };
  const { typeOid, options } = plan.sequence;
  const named = options.filter((o) => !('DefElem' in o && o.DefElem.defname === 'sequence_name'));
  const sequence = yield* addSequence(ddl, table.schema, name, typeOid, named, owner);
  return { ...column, default: nextvalNode(sequence.oid) };
}

/** Binds every default and check as an INSERT would: 42703, 42804 and their like come now. */
export function checkExpressions(ddl: Ddl, table: TableRecord): void {
  const has = table.checks.length > 0 || table.columns.some((column) => column.default !== null);
  if (has) ddl.compile(`insert into ${ddl.qualifiedName(table)} default values`);
}

function* likeColumns(ddl: Ddl, like: TableLikeClause): Steps<ColumnPlan[]> {
  const options = like.options ?? 0;
  // Bits of CREATE_TABLE_LIKE_*: comments 1, constraints 4, defaults 8, identity 32, indexes 64, statistics 128, storage 256.
  if ((options & (4 | 16 | 32 | 64)) !== 0) throw notSupported('LIKE INCLUDING more than DEFAULTS');
  const source = yield* ddl.relation(like.relation as RangeVar, ACCESS_SHARE);
  if (source?.kind !== 'table') throw notSupported('LIKE of what is not a table');
  return source.columns
    .filter((column) => !column.dropped)
    .map((column) => ({
      column: {
        ...column,
        default: (options & 8) !== 0 && column.identity === null ? column.default : null,
        identity: null,
        missing: null,
      },
      sequence: null,
      constraints: [],
    }));
}

export function* createSchema(ddl: Ddl, s: CreateSchemaStmt): Steps<string> {
  if ((s.schemaElts?.length ?? 0) > 0) throw notSupported('CREATE SCHEMA with elements');
  const name = s.schemaname ?? s.authrole?.rolename ?? '';
  yield* attempt(() => ddl.catalog.locks.acquireName(ddl.txn, `schema ${name}`));
  if (ddl.reader.hasSchema(name)) {
    if (s.if_not_exists !== true) {
      throw new SqlError('42P06', `schema ${quote(name)} already exists`);
    }
    ddl.notice('42P06', `schema ${quote(name)} already exists, skipping`);
    return 'CREATE SCHEMA';
  }
  if (name.startsWith('pg_')) {
    throw new SqlError('42939', `unacceptable schema name ${quote(name)}`, {
      detail: 'The prefix "pg_" is reserved for system schemas.',
    });
  }
  ddl.put({ kind: 'schema', oid: yield* ddl.newOid(), name });
  yield* ddl.flush();
  return 'CREATE SCHEMA';
}

const quote = (name: string): string => `"${name}"`;
