/** ALTER TABLE, ALTER INDEX and RENAME. */
import type { AlterTableCmd, AlterTableStmt, Node, RangeVar, RenameStmt } from 'libpg-query';
import { SqlError, notSupported } from '../sql-error.js';
import { addColumn, alterType, dropColumn } from './alter-column.js';
import { keepDefault, nextvalNode } from './columns.js';
import { addConstraint, constraintNames, setNotNull } from './constraints.js';
import { checkExpressions } from './create-table.js';
import type { Ddl } from './ddl.js';
import { removeIndex } from './drop.js';
import { renameColumn } from './expression-columns.js';
import type { RelationRecord, TableRecord, ViewRecord } from './object-record.js';
import { storageOptions } from './options.js';
import { requireOwner } from './owner.js';
import { ACCESS_EXCLUSIVE } from './relation-locks.js';
import { addSequence, changeSequence } from './sequence-ddl.js';
import { attempt, type Steps } from './steps.js';
import { columnIndex } from './table-definition.js';

export function* alterTable(ddl: Ddl, s: AlterTableStmt): Steps<string> {
  const what = (s.objtype ?? 'OBJECT_TABLE').replace('OBJECT_', '');
  const tag = `ALTER ${what}`;
  const v = s.relation as RangeVar;
  const record = yield* ddl.relation(v, ACCESS_EXCLUSIVE, s.missing_ok === true);
  if (record === null) {
    ddl.notice('00000', `relation "${v.relname ?? ''}" does not exist, skipping`);
    return tag;
  }
  for (const node of s.cmds ?? []) {
    if (!('AlterTableCmd' in node)) continue;
    const cmd = node.AlterTableCmd;
    if (cmd.subtype === 'AT_ChangeOwner') {
      requireOwner(ddl, cmd.newowner);
      continue;
    }
    if (record.kind !== 'table') {
      alterOther(ddl, record, cmd);
      continue;
    }
    const table = ddl.reader.table(record.oid);
    if (table === null) throw new SqlError('XX000', 'the table is gone');
    yield* command(ddl, table, cmd);
    yield* ddl.flush();
  }
  yield* ddl.flush();
  return tag;
}

/** Storage parameters of an index; nothing else. */
function alterOther(ddl: Ddl, record: RelationRecord, cmd: AlterTableCmd): void {
  if (record.kind !== 'index' || cmd.subtype !== 'AT_SetRelOptions') {
    throw notSupported(`${cmd.subtype ?? ''} of a ${record.kind}`);
  }
  const items = cmd.def !== undefined && 'List' in cmd.def ? cmd.def.List.items : [];
  ddl.put({ ...record, options: merge(record.options, storageOptions(items)) });
}

function* command(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): Steps<void> {
  const name = cmd.name ?? '';
  const subtype: string = cmd.subtype ?? '';
  switch (subtype) {
    case 'AT_AddColumn':
      return yield* addColumn(ddl, table, cmd);
    case 'AT_DropColumn':
      return dropColumn(ddl, table, cmd);
    case 'AT_AlterColumnType':
      return yield* alterType(ddl, table, cmd);
    case 'AT_ColumnDefault':
      return setDefault(ddl, table, name, cmd.def);
    case 'AT_SetNotNull':
      yield* setNotNull(ddl, table, [columnIndex(table, name)], false);
      return;
    case 'AT_DropNotNull':
      return dropNotNull(ddl, table, name);
    case 'AT_AddConstraint': {
      if (cmd.def === undefined || !('Constraint' in cmd.def)) throw notSupported('constraint');
      const changed = yield* addConstraint(ddl, table, cmd.def.Constraint, false);
      checkExpressions(ddl, changed);
      return;
    }
    case 'AT_DropConstraint':
      return dropConstraint(ddl, table, cmd);
    case 'AT_ValidateConstraint':
      throw notSupported('VALIDATE CONSTRAINT');
    case 'AT_AddIdentity':
      return yield* addIdentity(ddl, table, cmd);
    case 'AT_SetIdentity':
      return yield* setIdentity(ddl, table, cmd);
    case 'AT_DropIdentity':
      return dropIdentity(ddl, table, cmd);
    case 'AT_SetRelOptions':
    case 'AT_ResetRelOptions': {
      const items = cmd.def !== undefined && 'List' in cmd.def ? cmd.def.List.items : [];
      const given = storageOptions(items);
      const isSet = cmd.subtype === 'AT_SetRelOptions';
      const options = isSet ? merge(table.options, given) : without(table.options, given);
      ddl.put({ ...table, options });
      return;
    }
    default:
      throw notSupported(`ALTER TABLE ${(cmd.subtype ?? '').replace('AT_', '')}`);
  }
}

const keyOf = (option: string): string => option.slice(0, option.indexOf('='));

function without(options: readonly string[], given: readonly string[]): string[] {
  const keys = new Set(given.map(keyOf));
  return options.filter((option) => !keys.has(keyOf(option)));
}

const merge = (options: readonly string[], given: readonly string[]): string[] => [
  ...without(options, given),
  ...given,
];

function changeColumn(
  table: TableRecord,
  index: number,
  change: Partial<TableRecord['columns'][number]>,
): TableRecord {
  const columns = table.columns.map((column, i) =>
    i === index ? { ...column, ...change } : column,
  );
  return { ...table, columns };
}

function setDefault(ddl: Ddl, table: TableRecord, name: string, node: Node | undefined): void {
  const index = columnIndex(table, name);
  if (table.columns[index].identity !== null) {
    throw new SqlError(
      '42601',
      `column "${name}" of relation "${table.name}" is an identity column`,
    );
  }
  const changed = changeColumn(table, index, {
    default: node === undefined ? null : keepDefault(ddl, node),
  });
  ddl.put(changed);
  checkExpressions(ddl, changed);
}

function dropNotNull(ddl: Ddl, table: TableRecord, name: string): void {
  const index = columnIndex(table, name);
  const primary = ddl.reader.indexesOf(table.oid).find((i) => i.primary);
  if (primary?.columns.some((c) => c.column === index) === true) {
    throw new SqlError('42P16', `column "${name}" is in a primary key`);
  }
  if (table.columns[index].identity !== null) {
    throw new SqlError(
      '42601',
      `column "${name}" of relation "${table.name}" is an identity column`,
    );
  }
  ddl.put(changeColumn(table, index, { notNull: false }));
}

function dropConstraint(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): void {
  const name = cmd.name ?? '';
  const { reader } = ddl;
  const index = reader.indexesOf(table.oid).find((i) => i.constraint !== 0 && i.name === name);
  if (index !== undefined) {
    removeIndex(ddl, index, cmd.behavior === 'DROP_CASCADE');
    return;
  }
  const key = reader.foreignKeysOf(table.oid).find((k) => k.table === table.oid && k.name === name);
  if (key !== undefined) {
    ddl.remove(key.oid);
    return;
  }
  if (table.checks.some((check) => check.name === name)) {
    ddl.put({ ...table, checks: table.checks.filter((check) => check.name !== name) });
    return;
  }
  const message = `constraint "${name}" of relation "${table.name}" does not exist`;
  if (cmd.missing_ok !== true) throw new SqlError('42704', message);
  ddl.notice('00000', `${message}, skipping`);
}

function* addIdentity(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): Steps<void> {
  const index = columnIndex(table, cmd.name ?? '');
  const column = table.columns[index];
  if (column.default !== null || !column.notNull) {
    throw new SqlError(
      '55000',
      `column "${column.name}" of relation "${table.name}" must be NOT NULL and have no default before identity can be added`,
    );
  }
  const c = cmd.def !== undefined && 'Constraint' in cmd.def ? cmd.def.Constraint : {};
  const name = yield* ddl.chooseName(table.schema, [table.name, column.name], 'seq');
  const owner = { table: table.oid, column: index, identity: true };
  const options = c.options ?? [];
  const made = yield* addSequence(ddl, table.schema, name, column.type, options, owner);
  const identity = c.generated_when === 'a' ? 'always' : 'by default';
  ddl.put(changeColumn(table, index, { identity, default: nextvalNode(made.oid) }));
}

function identitySequence(ddl: Ddl, table: TableRecord, index: number): RelationRecord | null {
  for (const record of ddl.reader.records()) {
    if (record.kind !== 'sequence' || record.owner?.table !== table.oid) continue;
    if (record.owner.identity && record.owner.column === index) return record;
  }
  return null;
}

function* setIdentity(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): Steps<void> {
  const index = columnIndex(table, cmd.name ?? '');
  const sequence = identitySequence(ddl, table, index);
  if (sequence?.kind !== 'sequence') {
    throw new SqlError(
      '55000',
      `column "${cmd.name ?? ''}" of relation "${table.name}" is not an identity column`,
    );
  }
  const items = cmd.def !== undefined && 'List' in cmd.def ? (cmd.def.List.items ?? []) : [];
  const rest: Node[] = [];
  for (const node of items) {
    if (!('DefElem' in node) || node.DefElem.defname !== 'generated') {
      rest.push(node);
      continue;
    }
    const { arg } = node.DefElem;
    const always = arg !== undefined && 'Integer' in arg && arg.Integer.ival === 97;
    ddl.put(changeColumn(table, index, { identity: always ? 'always' : 'by default' }));
  }
  if (rest.length > 0) yield* changeSequence(ddl, sequence, rest);
}

function dropIdentity(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): void {
  const index = columnIndex(table, cmd.name ?? '');
  const sequence = identitySequence(ddl, table, index);
  if (sequence === null) {
    const message = `column "${cmd.name ?? ''}" of relation "${table.name}" is not an identity column`;
    if (cmd.missing_ok !== true) throw new SqlError('55000', message);
    ddl.notice('00000', `${message}, skipping`);
    return;
  }
  ddl.remove(sequence.oid);
  ddl.put(changeColumn(table, index, { identity: null, default: null }));
}

// RENAME

export function* rename(ddl: Ddl, s: RenameStmt): Steps<string> {
  const to = s.newname ?? '';
  if (s.renameType === 'OBJECT_SCHEMA') {
    yield* renameSchema(ddl, s.subname ?? '', to);
    yield* ddl.flush();
    return 'ALTER SCHEMA';
  }
  const kind = (s.renameType ?? '').replace('OBJECT_', '');
  const isPart = kind === 'COLUMN' || kind === 'TABCONSTRAINT';
  const tag = isPart ? 'ALTER TABLE' : `ALTER ${kind}`;
  if (!isPart && !['TABLE', 'INDEX', 'SEQUENCE', 'VIEW'].includes(kind)) {
    throw notSupported(`RENAME of ${kind}`);
  }
  const v = s.relation as RangeVar;
  const record = yield* ddl.relation(v, ACCESS_EXCLUSIVE, s.missing_ok === true);
  if (record === null) {
    ddl.notice('00000', `relation "${v.relname ?? ''}" does not exist, skipping`);
    return tag;
  }
  refuseViews(ddl, record);
  if (isPart) {
    if (record.kind !== 'table') throw notSupported(`RENAME in a ${record.kind}`);
    if (kind === 'COLUMN') renameOneColumn(ddl, record, s.subname ?? '', to);
    else renameConstraint(ddl, record, s.subname ?? '', to);
  } else {
    if (!(yield* ddl.reserveName(ddl.reader.schemaOf(record), to))) {
      throw new SqlError('42P07', `relation "${to}" already exists`);
    }
    ddl.put({ ...record, name: to });
  }
  yield* ddl.flush();
  return tag;
}

/** Views find what they read by name. */
export function refuseViews(ddl: Ddl, record: RelationRecord): void {
  for (const other of ddl.reader.records()) {
    if (other.kind !== 'view' || !other.uses.includes(record.oid)) continue;
    throw notSupported(
      `changing "${record.name}", which view "${(other as ViewRecord).name}" uses,`,
    );
  }
}

function renameOneColumn(ddl: Ddl, table: TableRecord, from: string, to: string): void {
  const index = columnIndex(table, from);
  if (table.columns.some((column) => column.name === to && !column.dropped)) {
    throw new SqlError('42701', `column "${to}" of relation "${table.name}" already exists`);
  }
  const changed = changeColumn(table, index, { name: to });
  const checks = table.checks.map((check) => ({
    ...check,
    expression: renameColumn(check.expression, from, to),
  }));
  ddl.put({ ...changed, checks });
}

function renameConstraint(ddl: Ddl, table: TableRecord, from: string, to: string): void {
  if (constraintNames(ddl, table).includes(to)) {
    throw new SqlError('42710', `constraint "${to}" for relation "${table.name}" already exists`);
  }
  const { reader } = ddl;
  const index = reader.indexesOf(table.oid).find((i) => i.constraint !== 0 && i.name === from);
  const key = reader.foreignKeysOf(table.oid).find((k) => k.table === table.oid && k.name === from);
  if (index !== undefined) ddl.put({ ...index, name: to });
  else if (key !== undefined) ddl.put({ ...key, name: to });
  else if (table.checks.some((check) => check.name === from)) {
    const checks = table.checks.map((c) => (c.name === from ? { ...c, name: to } : c));
    ddl.put({ ...table, checks });
  } else {
    throw new SqlError('42704', `constraint "${from}" for table "${table.name}" does not exist`);
  }
}

function* renameSchema(ddl: Ddl, from: string, to: string): Steps<void> {
  for (const name of [from, to]) {
    yield* attempt(() => ddl.catalog.locks.acquireName(ddl.txn, `schema ${name}`));
  }
  const record = ddl.reader.entries.get(ddl.reader.requireSchema(from))?.record;
  if (record?.kind !== 'schema') throw new SqlError('42501', 'permission denied');
  if (ddl.reader.hasSchema(to)) throw new SqlError('42P06', `schema "${to}" already exists`);
  for (const other of ddl.reader.records()) {
    if (other.kind === 'view') throw notSupported('renaming a schema while there are views');
  }
  ddl.put({ ...record, name: to });
}
