/** PRIMARY KEY, UNIQUE, CHECK and FOREIGN KEY, of a new table or added to one. */
import type { Constraint, Node, RangeVar } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import { formatType } from '../types/modifier.js';
import { findCast } from '../types/cast.js';
import { addIndex } from './create-index.js';
import type { Ddl } from './ddl.js';
import type { ForeignKeyAction } from './definitions.js';
import { columnsInExpression } from './expression-columns.js';
import { quoteIdent } from './names.js';
import type { ForeignKeyRecord, IndexRecord, TableRecord } from './object-record.js';
import { storageOptions } from './options.js';
import { SHARE_ROW_EXCLUSIVE } from './relation-locks.js';
import type { Steps } from './steps.js';
import { columnIndex } from './table-definition.js';

/** Adds one constraint; `isEmpty`: the table is new, so nothing need be checked. Returns the table as it is now. */
export function* addConstraint(
  ddl: Ddl,
  table: TableRecord,
  c: Constraint,
  isEmpty: boolean,
): Steps<TableRecord> {
  if (c.deferrable === true || c.initdeferred === true) {
    throw notSupported('deferrable constraint');
  }
  const kind: string = c.contype ?? '';
  // A new table's rows meet it anyway.
  if (c.skip_validation === true && !isEmpty) throw notSupported('NOT VALID');
  switch (kind) {
    case 'CONSTR_PRIMARY':
    case 'CONSTR_UNIQUE':
      return yield* addKey(ddl, table, c, isEmpty);
    case 'CONSTR_CHECK':
      return yield* addCheck(ddl, table, c, isEmpty);
    case 'CONSTR_FOREIGN':
      return yield* addForeignKey(ddl, table, c, isEmpty);
    case 'CONSTR_NOTNULL': {
      const [name] = stringsOf(c.keys);
      return yield* setNotNull(ddl, table, [columnIndex(table, name)], isEmpty);
    }
    default:
      throw notSupported(`constraint ${c.contype ?? ''}`);
  }
}

function* addKey(
  ddl: Ddl,
  before: TableRecord,
  c: Constraint,
  isEmpty: boolean,
): Steps<TableRecord> {
  if ((c.including?.length ?? 0) > 0) throw notSupported('INCLUDE');
  if (c.nulls_not_distinct === true) throw notSupported('NULLS NOT DISTINCT');
  if ((c.indexname ?? '') !== '') throw notSupported('constraint USING INDEX');
  let table = before;
  const primary = c.contype === 'CONSTR_PRIMARY';
  const names = stringsOf(c.keys);
  const columns = names.map((name) => keyColumn(table, name));
  if (new Set(columns).size < columns.length) {
    throw new SqlError('42701', 'a column appears twice in the key');
  }
  if (primary) {
    if (ddl.reader.indexesOf(table.oid).some((index) => index.primary)) {
      throw new SqlError(
        '42P16',
        `multiple primary keys for table "${table.name}" are not allowed`,
      );
    }
    table = yield* setNotNull(ddl, table, columns, isEmpty);
  }
  const name = yield* keyName(ddl, table, c, primary ? [] : names, primary ? 'pkey' : 'key');
  yield* addIndex(
    ddl,
    table,
    {
      name,
      columns: columns.map((column) => ({ column, descending: false, nullsFirst: false })),
      unique: true,
      primary,
      constraint: true,
      options: storageOptions(c.options),
    },
    isEmpty,
  );
  return table;
}

function keyColumn(table: TableRecord, name: string): number {
  const index = table.columns.findIndex((column) => column.name === name && !column.dropped);
  if (index >= 0) return index;
  throw new SqlError('42703', `column "${name}" named in key does not exist`);
}

function* keyName(
  ddl: Ddl,
  table: TableRecord,
  c: Constraint,
  columns: readonly string[],
  suffix: string,
): Steps<string> {
  const given = c.conname ?? '';
  if (given === '') {
    return yield* ddl.chooseName(table.schema, [table.name, ...columns], suffix);
  }
  if (yield* ddl.reserveName(table.schema, given)) return given;
  throw new SqlError('42P07', `relation "${given}" already exists`);
}

/** 23502 when a row has NULL there. */
export function* setNotNull(
  ddl: Ddl,
  table: TableRecord,
  columns: readonly number[],
  isEmpty: boolean,
): Steps<TableRecord> {
  const open = columns.filter((column) => !table.columns[column].notNull);
  if (open.length === 0) return table;
  for (const column of isEmpty ? [] : open) {
    const { name } = table.columns[column];
    const query = ddl.compile(
      `select 1 from ${ddl.qualifiedName(table)} where ${quoteIdent(name)} is null limit 1`,
    );
    if ((yield* ddl.run(query)).length > 0) {
      throw new SqlError(
        '23502',
        `column "${name}" of relation "${table.name}" contains null values`,
        { table: table.name, column: name },
      );
    }
  }
  const changed: TableRecord = {
    ...table,
    columns: table.columns.map((column, i) =>
      open.includes(i) ? { ...column, notNull: true } : column,
    ),
  };
  ddl.put(changed);
  return changed;
}

function* addCheck(
  ddl: Ddl,
  table: TableRecord,
  c: Constraint,
  isEmpty: boolean,
): Steps<TableRecord> {
  const expression = c.raw_expr as Node;
  const taken = new Set(constraintNames(ddl, table));
  let name = c.conname ?? '';
  if (name === '') {
    const used = columnsInExpression(table, expression);
    const middle = used.length === 1 ? `_${table.columns[used[0]].name}` : '';
    name = `${table.name}${middle}_check`;
    for (let i = 1; taken.has(name); i++) name = `${table.name}${middle}_check${i}`;
  } else if (taken.has(name)) {
    throw new SqlError('42710', `constraint "${name}" for relation "${table.name}" already exists`);
  }
  const oid = yield* ddl.newOid();
  const changed: TableRecord = {
    ...table,
    checks: [...table.checks, { oid, name, expression }],
  };
  ddl.put(changed);
  if (!isEmpty) yield* validateCheck(ddl, changed, name, expression);
  return changed;
}

function* validateCheck(ddl: Ddl, table: TableRecord, name: string, expression: Node): Steps<void> {
  const text = `select 1 from ${ddl.qualifiedName(table)} where not (true) limit 1`;
  const query = ddl.compile(text, (node) => {
    if (!('SelectStmt' in node)) return node;
    const not: Node = { BoolExpr: { boolop: 'NOT_EXPR', args: [expression], location: -1 } };
    return { SelectStmt: { ...node.SelectStmt, whereClause: not } };
  });
  if ((yield* ddl.run(query)).length === 0) return;
  throw new SqlError(
    '23514',
    `check constraint "${name}" of relation "${table.name}" is violated by some row`,
    { table: table.name, constraint: name },
  );
}

const ACTIONS: Record<string, ForeignKeyAction> = {
  '': 'no action',
  a: 'no action',
  r: 'restrict',
  c: 'cascade',
  n: 'set null',
  d: 'set default',
};

function* addForeignKey(
  ddl: Ddl,
  table: TableRecord,
  c: Constraint,
  isEmpty: boolean,
): Steps<TableRecord> {
  if (c.fk_matchtype === 'f') throw notSupported('MATCH FULL');
  if ((c.fk_del_set_cols?.length ?? 0) > 0) throw notSupported('SET with a list of columns');
  const onUpdate = ACTIONS[c.fk_upd_action ?? ''];
  const onDelete = ACTIONS[c.fk_del_action ?? ''];
  if (onUpdate === 'set default' || onDelete === 'set default') {
    throw notSupported('SET DEFAULT of a foreign key');
  }
  const columns = stringsOf(c.fk_attrs).map((name) => keyColumn(table, name));
  const parent = yield* ddl.table(c.pktable as RangeVar, SHARE_ROW_EXCLUSIVE);
  const index = referencedKey(ddl, parent, stringsOf(c.pk_attrs));
  const referencedColumns =
    (c.pk_attrs?.length ?? 0) > 0
      ? stringsOf(c.pk_attrs).map((name) => keyColumn(parent, name))
      : index.columns.map((k) => k.column);
  if (columns.length !== referencedColumns.length) {
    throw new SqlError(
      '42830',
      'number of referencing and referenced columns for foreign key disagree',
    );
  }
  columns.forEach((column, i) => {
    requireComparable(c, table, column, parent, referencedColumns[i]);
  });
  const names = columns.map((column) => table.columns[column].name);
  const record: ForeignKeyRecord = {
    kind: 'foreign key',
    oid: yield* ddl.newOid(),
    name: foreignKeyName(ddl, table, c.conname ?? '', names),
    table: table.oid,
    columns,
    referenced: parent.oid,
    referencedColumns,
    referencedIndex: index.oid,
    onUpdate,
    onDelete,
  };
  if (!isEmpty) yield* validateForeignKey(ddl, table, parent, record);
  ddl.put(record);
  return table;
}

function foreignKeyName(
  ddl: Ddl,
  table: TableRecord,
  given: string,
  columns: readonly string[],
): string {
  const taken = new Set(constraintNames(ddl, table));
  if (given !== '') {
    if (!taken.has(given)) return given;
    throw new SqlError(
      '42710',
      `constraint "${given}" for relation "${table.name}" already exists`,
    );
  }
  const base = `${table.name}_${columns.join('_')}_fkey`;
  let name = base;
  for (let i = 1; taken.has(name); i++) name = `${base}${i}`;
  return name;
}

function referencedKey(ddl: Ddl, parent: TableRecord, names: readonly string[]): IndexRecord {
  const indexes = ddl.reader.indexesOf(parent.oid);
  if (names.length === 0) {
    const primary = indexes.find((index) => index.primary);
    if (primary !== undefined) return primary;
    throw new SqlError('42704', `there is no primary key for referenced table "${parent.name}"`);
  }
  const wanted = new Set(names.map((name) => keyColumn(parent, name)));
  const found = indexes.find(
    (index) =>
      index.unique &&
      index.columns.length === wanted.size &&
      index.columns.every((k) => wanted.has(k.column)),
  );
  if (found !== undefined) return found;
  throw new SqlError(
    '42830',
    `there is no unique constraint matching given keys for referenced table "${parent.name}"`,
  );
}

/** The executor probes the parent's key with the child's value as it is. */
function requireComparable(
  c: Constraint,
  child: TableRecord,
  childColumn: number,
  parent: TableRecord,
  parentColumn: number,
): void {
  const a = child.columns[childColumn];
  const b = parent.columns[parentColumn];
  if (a.type === b.type) return;
  const names = `"${a.name}" and "${b.name}" are of types: ${formatType(a.type, -1)} and ${formatType(b.type, -1)}`;
  if (findCast(a.type, b.type, 'i') !== null) {
    throw notSupported(`foreign key between columns of different types: ${names}:`);
  }
  throw new SqlError('42804', `foreign key constraint "${c.conname ?? ''}" cannot be implemented`, {
    detail: `Key columns ${names}.`,
  });
}

function* validateForeignKey(
  ddl: Ddl,
  table: TableRecord,
  parent: TableRecord,
  key: ForeignKeyRecord,
): Steps<void> {
  const child = key.columns.map((column) => quoteIdent(table.columns[column].name));
  const own = key.referencedColumns.map((column) => quoteIdent(parent.columns[column].name));
  const present = child.map((name) => `c.${name} is not null`).join(' and ');
  const same = child.map((name, i) => `p.${own[i]} = c.${name}`).join(' and ');
  const query = ddl.compile(
    `select 1 from ${ddl.qualifiedName(table)} c where ${present} and not exists ` +
      `(select 1 from ${ddl.qualifiedName(parent)} p where ${same}) limit 1`,
  );
  if ((yield* ddl.run(query)).length === 0) return;
  throw new SqlError(
    '23503',
    `insert or update on table "${table.name}" violates foreign key constraint "${key.name}"`,
    { table: table.name, constraint: key.name },
  );
}

export function constraintNames(ddl: Ddl, table: TableRecord): string[] {
  const { reader } = ddl;
  return [
    ...table.checks.map((check) => check.name),
    ...reader
      .indexesOf(table.oid)
      .filter((index) => index.constraint !== 0)
      .map((index) => index.name),
    ...reader
      .foreignKeysOf(table.oid)
      .filter((key) => key.table === table.oid)
      .map((key) => key.name),
  ];
}
