/** DROP and TRUNCATE. */
import type { DropStmt, Node, RangeVar, TruncateStmt } from 'libpg-query';
import { stringOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import { sequenceOfDefault } from './columns.js';
import { fill } from './create-index.js';
import type { Ddl } from './ddl.js';
import type {
  ForeignKeyRecord,
  IndexRecord,
  RelationRecord,
  SequenceRecord,
  TableRecord,
  ViewRecord,
} from './object-record.js';
import { ACCESS_EXCLUSIVE } from './relation-locks.js';
import { restart } from './sequence-ddl.js';
import { attempt, type Steps } from './steps.js';

const KINDS: Record<string, RelationRecord['kind']> = {
  OBJECT_TABLE: 'table',
  OBJECT_INDEX: 'index',
  OBJECT_SEQUENCE: 'sequence',
  OBJECT_VIEW: 'view',
};

export function dropTag(s: DropStmt): string {
  const kind = (s.removeType ?? '').replace('OBJECT_', '').replace('MATVIEW', 'MATERIALIZED VIEW');
  return `DROP ${kind.replaceAll('_', ' ')}`;
}

function rangeOf(node: Node): RangeVar {
  const items = 'List' in node ? (node.List.items ?? []) : [node];
  const names = items.map(stringOf);
  const v: RangeVar = { relname: names[names.length - 1] ?? '', location: -1 };
  if (names.length > 1) v.schemaname = names[names.length - 2];
  return v;
}

export function* drop(ddl: Ddl, s: DropStmt): Steps<string> {
  const tag = dropTag(s);
  const cascade = s.behavior === 'DROP_CASCADE';
  if (s.removeType === 'OBJECT_SCHEMA') yield* dropSchemas(ddl, s, cascade);
  else if (KINDS[s.removeType ?? ''] !== undefined) yield* dropRelations(ddl, s, cascade);
  else if (s.missing_ok === true && nothingOf(s)) {
    for (const node of s.objects ?? []) {
      const what = tag.slice('DROP '.length).toLowerCase();
      ddl.notice('00000', `${what} "${rangeOf(node).relname ?? ''}" does not exist, skipping`);
    }
  } else {
    throw notSupported(tag);
  }
  yield* ddl.flush();
  return tag;
}

/** Kinds of which there can be none. */
function nothingOf(s: DropStmt): boolean {
  return ['OBJECT_MATVIEW', 'OBJECT_EXTENSION', 'OBJECT_FOREIGN_TABLE'].includes(
    s.removeType ?? '',
  );
}

function* dropRelations(ddl: Ddl, s: DropStmt, cascade: boolean): Steps<void> {
  const kind = KINDS[s.removeType ?? ''];
  const found: RelationRecord[] = [];
  for (const node of s.objects ?? []) {
    const v = rangeOf(node);
    const schema = v.schemaname;
    if (schema !== undefined && !ddl.reader.hasSchema(schema)) {
      if (s.missing_ok !== true) {
        throw new SqlError('3F000', `schema "${schema}" does not exist`);
      }
      ddl.notice('00000', `schema "${schema}" does not exist, skipping`);
      continue;
    }
    const record = yield* lockForDrop(ddl, v, kind);
    if (record === null) {
      const code = kind === 'index' ? '42704' : '42P01';
      const message = `${kind} "${v.relname ?? ''}" does not exist`;
      if (s.missing_ok !== true) throw new SqlError(code, message);
      ddl.notice('00000', `${message}, skipping`);
      continue;
    }
    if (record.kind !== kind) {
      throw new SqlError(
        '42809',
        `"${record.name}" is not ${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind}`,
      );
    }
    found.push(record);
  }
  const going = new Set(found.map((record) => record.oid));
  for (const record of found) yield* dropRelation(ddl, record, cascade, going);
}

/** An index goes with its table locked, first. */
function* lockForDrop(
  ddl: Ddl,
  v: RangeVar,
  kind: RelationRecord['kind'],
): Steps<RelationRecord | null> {
  if (kind === 'index') {
    const name = v.relname ?? '';
    const oid = ddl.reader.findRelation(v.schemaname ?? null, name, ddl.session.searchPath);
    const record = ddl.reader.entries.get(oid)?.record;
    if (record?.kind === 'index') yield* ddl.lock(record.table, ACCESS_EXCLUSIVE);
  }
  return yield* ddl.relation(v, ACCESS_EXCLUSIVE, true);
}

/** `going`: oids that the same statement drops anyway. 2BP01 when others depend on it. */
export function* dropRelation(
  ddl: Ddl,
  record: RelationRecord,
  cascade: boolean,
  going: ReadonlySet<number>,
): Steps<void> {
  if (!ddl.reader.entries.has(record.oid)) return;
  yield* dropViewsOf(ddl, record, cascade, going);
  switch (record.kind) {
    case 'table':
      return yield* dropTable(ddl, record, cascade, going);
    case 'index':
      return dropIndex(ddl, record, cascade);
    case 'sequence':
      return yield* dropSequence(ddl, record, cascade);
    case 'view':
      return ddl.remove(record.oid);
  }
}

function* dropTable(
  ddl: Ddl,
  table: TableRecord,
  cascade: boolean,
  going: ReadonlySet<number>,
): Steps<void> {
  for (const key of ddl.reader.foreignKeysOf(table.oid)) {
    if (key.table !== table.oid && !going.has(key.table)) {
      dependent(ddl, table, cascade, `constraint ${key.name} on table ${nameOf(ddl, key.table)}`);
    }
    yield* ddl.lock(key.table, ACCESS_EXCLUSIVE);
    ddl.remove(key.oid);
  }
  for (const index of ddl.reader.indexesOf(table.oid)) {
    ddl.dropTree(index.root);
    ddl.remove(index.oid);
  }
  for (const sequence of ownedSequences(ddl, table.oid)) ddl.remove(sequence.oid);
  ddl.dropTree(table.root);
  ddl.remove(table.oid);
}

function dropIndex(ddl: Ddl, index: IndexRecord, cascade: boolean): void {
  if (index.constraint !== 0) {
    throw new SqlError(
      '2BP01',
      `cannot drop index ${index.name} because constraint ${index.name} on table ${nameOf(ddl, index.table)} requires it`,
      {
        hint: `You can drop constraint ${index.name} on table ${nameOf(ddl, index.table)} instead.`,
      },
    );
  }
  removeIndex(ddl, index, cascade);
}

/** The index and, with CASCADE, the foreign keys that rest on it. */
export function removeIndex(ddl: Ddl, index: IndexRecord, cascade: boolean): void {
  for (const key of ddl.reader.foreignKeysOf(index.table)) {
    if (key.referencedIndex !== index.oid) continue;
    dependent(ddl, index, cascade, `constraint ${key.name} on table ${nameOf(ddl, key.table)}`);
    ddl.remove(key.oid);
  }
  ddl.dropTree(index.root);
  ddl.remove(index.oid);
}

function* dropSequence(ddl: Ddl, sequence: SequenceRecord, cascade: boolean): Steps<void> {
  const users = [...ddl.reader.records()].filter(
    (record): record is TableRecord =>
      record.kind === 'table' &&
      record.columns.some((c) => sequenceOfDefault(c.default) === sequence.oid),
  );
  for (const table of users) {
    const column = table.columns.find((c) => sequenceOfDefault(c.default) === sequence.oid);
    if (column?.identity !== null) {
      throw new SqlError(
        '2BP01',
        `cannot drop sequence ${sequence.name} because column ${column?.name ?? ''} of table ${table.name} requires it`,
      );
    }
    const what = `default value for column ${column.name} of table ${table.name}`;
    dependent(ddl, sequence, cascade, what);
    yield* ddl.lock(table.oid, ACCESS_EXCLUSIVE);
    const columns = table.columns.map((c) =>
      sequenceOfDefault(c.default) === sequence.oid ? { ...c, default: null } : c,
    );
    ddl.put({ ...table, columns });
  }
  ddl.remove(sequence.oid);
}

export function* dropViewsOf(
  ddl: Ddl,
  record: RelationRecord,
  cascade: boolean,
  going: ReadonlySet<number>,
): Steps<void> {
  const views = [...ddl.reader.records()].filter(
    (other): other is ViewRecord => other.kind === 'view' && other.uses.includes(record.oid),
  );
  for (const view of views) {
    if (!going.has(view.oid)) dependent(ddl, record, cascade, `view ${view.name}`);
    yield* ddl.lock(view.oid, ACCESS_EXCLUSIVE);
    yield* dropRelation(ddl, view, cascade, going);
  }
}

function dependent(ddl: Ddl, record: RelationRecord, cascade: boolean, what: string): void {
  if (cascade) {
    ddl.notice('00000', `drop cascades to ${what}`);
    return;
  }
  throw new SqlError(
    '2BP01',
    `cannot drop ${record.kind} ${record.name} because other objects depend on it`,
    {
      detail: `${what} depends on ${record.kind} ${record.name}`,
      hint: 'Use DROP ... CASCADE to drop the dependent objects too.',
    },
  );
}

const nameOf = (ddl: Ddl, oid: number): string => ddl.reader.relationName(oid) ?? String(oid);

export function ownedSequences(ddl: Ddl, tableOid: number): SequenceRecord[] {
  return [...ddl.reader.records()].filter(
    (record): record is SequenceRecord =>
      record.kind === 'sequence' && record.owner?.table === tableOid,
  );
}

function* dropSchemas(ddl: Ddl, s: DropStmt, cascade: boolean): Steps<void> {
  for (const node of s.objects ?? []) {
    const name = stringOf(node);
    yield* attempt(() => ddl.catalog.locks.acquireName(ddl.txn, `schema ${name}`));
    const oid = ddl.reader.schemaOid(name);
    const record = ddl.reader.entries.get(oid)?.record;
    if (oid === 0) {
      const message = `schema "${name}" does not exist`;
      if (s.missing_ok !== true) throw new SqlError('3F000', message);
      ddl.notice('00000', `${message}, skipping`);
      continue;
    }
    if (record === undefined) {
      throw new SqlError('2BP01', `cannot drop schema ${name}: the database system requires it`);
    }
    const inside = [...ddl.reader.records()].filter(
      (other): other is TableRecord | SequenceRecord | ViewRecord =>
        'schema' in other && other.schema === oid,
    );
    if (inside.length > 0 && !cascade) {
      throw new SqlError('2BP01', `cannot drop schema ${name} because other objects depend on it`, {
        detail: inside.map((r) => `${r.kind} ${r.name} depends on schema ${name}`).join('\n'),
        hint: 'Use DROP ... CASCADE to drop the dependent objects too.',
      });
    }
    const going = new Set(inside.map((r) => r.oid));
    for (const r of inside) {
      yield* ddl.lock(r.oid, ACCESS_EXCLUSIVE);
      yield* dropRelation(ddl, r, true, going);
    }
    ddl.remove(oid);
  }
}

export function* truncate(ddl: Ddl, s: TruncateStmt): Steps<string> {
  const tables = new Map<number, TableRecord>();
  for (const node of s.relations ?? []) {
    if (!('RangeVar' in node)) continue;
    const table = yield* ddl.table(node.RangeVar, ACCESS_EXCLUSIVE);
    tables.set(table.oid, table);
  }
  for (const table of tables.values()) {
    for (const key of ddl.reader.foreignKeysOf(table.oid)) {
      if (key.referenced !== table.oid || tables.has(key.table)) continue;
      if (s.behavior !== 'DROP_CASCADE') throw referenced(ddl, key);
      ddl.notice('00000', `truncate cascades to table "${nameOf(ddl, key.table)}"`);
      yield* ddl.lock(key.table, ACCESS_EXCLUSIVE);
      const other = ddl.reader.table(key.table);
      // The loop over the map comes to it in turn.
      if (other !== null) tables.set(other.oid, other);
    }
  }
  for (const table of tables.values()) {
    yield* emptyTable(ddl, table);
    if (s.restart_seqs !== true) continue;
    for (const sequence of ownedSequences(ddl, table.oid)) {
      yield* ddl.lock(sequence.oid, ACCESS_EXCLUSIVE);
      yield* restart(ddl, sequence.oid, BigInt(sequence.start));
    }
  }
  yield* ddl.flush();
  return 'TRUNCATE TABLE';
}

function referenced(ddl: Ddl, key: ForeignKeyRecord): SqlError {
  return new SqlError('0A000', 'cannot truncate a table referenced in a foreign key constraint', {
    detail: `Table "${nameOf(ddl, key.table)}" references "${nameOf(ddl, key.referenced)}".`,
    hint: `Truncate table "${nameOf(ddl, key.table)}" at the same time, or use TRUNCATE ... CASCADE.`,
  });
}

/** New trees for a table and its indexes; the old ones go when it commits. */
function* emptyTable(ddl: Ddl, table: TableRecord): Steps<void> {
  ddl.dropTree(table.root);
  ddl.put({ ...table, root: yield* ddl.newTree() });
  for (const index of ddl.reader.indexesOf(table.oid)) {
    ddl.dropTree(index.root);
    ddl.put({ ...index, root: yield* ddl.newTree() });
  }
}

/** Makes an index anew from the table's rows. */
export function* rebuildIndex(ddl: Ddl, table: TableRecord, index: IndexRecord): Steps<void> {
  ddl.dropTree(index.root);
  const changed = { ...index, root: yield* ddl.newTree() };
  yield* fill(ddl, table, changed);
  ddl.put(changed);
}
