/** Functions that describe objects: format_type, pg_get_expr, pg_table_is_visible and their kin. */
import { fn, type FunctionDef } from '../functions/function.js';
import type { SessionView } from '../sql/statement.js';
import { SqlError } from '../sql-error.js';
import { formatType } from '../types/modifier.js';
import { OID } from '../types/oids.js';
import type { Value } from '../types/value.js';
import type { Catalog } from './catalog.js';
import {
  constraintOid,
  constraintsOf,
  constraintText,
  indexColumnText,
  indexText,
} from './definition-text.js';
import {
  lookUpName,
  nameOfObject,
  DATABASE_OID,
  OWNER_OID,
  quoteIdent,
  splitName,
} from './names.js';
import { isRelation, type ObjectRecord } from './object-record.js';
import { snapshotOf } from './session-catalog.js';

const { oid, bool, text, int4, int8, int2, name, regclass } = OID;
const PAGE_BYTES = 8192n;
const reads = { session: true, volatility: 'stable' } as const;
const steady = { volatility: 'stable' } as const;

const recordOf = (session: SessionView, id: number): ObjectRecord | undefined =>
  snapshotOf(session).entries.get(id)?.record;

function isVisible(session: SessionView, id: number): boolean | null {
  const snapshot = snapshotOf(session);
  if (snapshot.relationName(id) === null) return null;
  return snapshot.isVisible(id, session.searchPath);
}

function indexDefinition(session: SessionView, id: number, column = 0): string | null {
  const record = recordOf(session, id);
  if (record?.kind !== 'index') return null;
  const snapshot = snapshotOf(session);
  if (column === 0) return indexText(snapshot, record);
  const table = snapshot.table(record.table);
  const key = record.columns[column - 1];
  return table === null || key === undefined
    ? null
    : indexColumnText(table, key).replace(/ .*$/, '');
}

function constraintDefinition(session: SessionView, id: number): string | null {
  const snapshot = snapshotOf(session);
  for (const c of constraintsOf(snapshot)) {
    if (constraintOid(c) === id) return constraintText(snapshot, c, session.searchPath);
  }
  return null;
}

function description(session: SessionView, id: number, column: number): string | null {
  const record = recordOf(session, id);
  if (record === undefined) return null;
  if (column > 0) {
    return record.kind === 'table' ? (record.columns[column - 1]?.comment ?? null) : null;
  }
  return 'comment' in record ? (record.comment ?? null) : null;
}

function serialSequence(session: SessionView, table: string, column: string): string | null {
  const snapshot = snapshotOf(session);
  const id = lookUpName(snapshot, 'regclass', table, session.searchPath);
  const record = snapshot.table(id);
  const index = record?.columns.findIndex((c) => c.name === column && !c.dropped) ?? -1;
  if (index < 0) {
    throw new SqlError('42703', `column "${column}" of relation "${table}" does not exist`);
  }
  for (const other of snapshot.records()) {
    if (other.kind !== 'sequence' || other.owner === null) continue;
    if (other.owner.table !== id || other.owner.column !== index) continue;
    return `${quoteIdent(snapshot.schemaName(other.schema))}.${quoteIdent(other.name)}`;
  }
  return null;
}

/** Rough: what the trees' row counts come to. */
function relationBytes(session: SessionView, id: number): bigint | null {
  const snapshot = snapshotOf(session);
  const record = recordOf(session, id);
  if (record === undefined || !isRelation(record)) {
    return snapshot.relationName(id) === null ? null : 0n;
  }
  const table = record.kind === 'index' ? record.table : id;
  const def = snapshot.tableByOid(table);
  if (!def?.handle) return PAGE_BYTES;
  const rows = (snapshot.owner as Catalog).store.estimateRows(def.handle);
  const perPage = record.kind === 'index' ? 300 : 60;
  return BigInt(Math.max(1, Math.ceil(rows / perPage))) * PAGE_BYTES;
}

/** Rough, too: all pages that were ever given out. */
function databaseBytes(session: SessionView, database: string | number): bigint | null {
  if (typeof database === 'string' && database !== session.database) {
    throw new SqlError('3D000', `database "${database}" does not exist`);
  }
  if (typeof database === 'number' && database !== DATABASE_OID) return null;
  const { space } = (snapshotOf(session).owner as Catalog).transactions;
  return BigInt(space.header.highWater) * PAGE_BYTES;
}

function toReg(kind: 'regclass' | 'regtype' | 'regnamespace') {
  return (session: SessionView, given: string): number | null => {
    try {
      return lookUpName(snapshotOf(session), kind, given, session.searchPath);
    } catch (error) {
      if (error instanceof SqlError) return null;
      throw error;
    }
  };
}

/** One role owns everything: it may do all that exists. */
function privileges(): FunctionDef[] {
  const kinds = ['table', 'schema', 'database', 'sequence', 'column', 'function', 'type'];
  return kinds.flatMap((kind) => {
    const id = `has_${kind}_privilege`;
    const yes = (): boolean => true;
    const byName = (session: SessionView, given: string): boolean => {
      const snapshot = snapshotOf(session);
      if (kind === 'table' || kind === 'sequence') {
        lookUpName(snapshot, 'regclass', given, session.searchPath);
      } else if (kind === 'schema') snapshot.requireSchema(splitName(given)[0]);
      return true;
    };
    const asRole = (session: SessionView, _role: string, given: string): boolean =>
      byName(session, given);
    return [
      fn(id, [text, text], bool, byName, reads),
      fn(id, [oid, text], bool, yes, steady),
      fn(id, [name, text, text], bool, asRole, reads),
      fn(id, [name, oid, text], bool, yes, steady),
    ];
  });
}

const ENCODINGS: Record<number, string> = { 0: 'SQL_ASCII', 6: 'UTF8' };

const nothing = (): Value => null;

export function objectFunctions(): FunctionDef[] {
  return [...privileges(), ...definitionFunctions(), ...nameFunctions()];
}

function definitionFunctions(): FunctionDef[] {
  return [
    fn(
      'pg_get_userbyid',
      [oid],
      name,
      (id: number) => (id === OWNER_OID ? 'postgres' : `unknown (OID=${id})`),
      steady,
    ),
    fn('pg_table_is_visible', [oid], bool, isVisible, reads),
    ...['type', 'function', 'operator', 'collation', 'opclass', 'statistics_obj'].map((kind) =>
      fn(`pg_${kind}_is_visible`, [oid], bool, () => true, steady),
    ),
    fn(
      'format_type',
      [oid, int4],
      text,
      (type: number | null, mod: number | null) =>
        type === null ? null : formatType(type, mod ?? -1),
      {
        ...steady,
        strict: false,
      },
    ),
    ...[
      [OID.pgNodeTree, oid],
      [text, oid],
    ].map((args) => fn('pg_get_expr', args, text, (tree: string) => tree, steady)),
    ...[
      [OID.pgNodeTree, oid, bool],
      [text, oid, bool],
    ].map((args) => fn('pg_get_expr', args, text, (tree: string) => tree, steady)),
    fn(
      'pg_get_indexdef',
      [oid],
      text,
      (s: SessionView, id: number) => indexDefinition(s, id),
      reads,
    ),
    fn('pg_get_indexdef', [oid, int4, bool], text, indexDefinition, reads),
    fn('pg_get_constraintdef', [oid], text, constraintDefinition, reads),
    fn('pg_get_constraintdef', [oid, bool], text, constraintDefinition, reads),
    fn('pg_get_viewdef', [oid], text, viewText, reads),
    fn('pg_get_viewdef', [oid, bool], text, viewText, reads),
    fn('pg_get_partkeydef', [oid], text, nothing, steady),
    fn('pg_get_statisticsobjdef_columns', [oid], text, nothing, steady),
    fn('pg_get_triggerdef', [oid, bool], text, nothing, steady),
    fn('pg_get_ruledef', [oid, bool], text, nothing, steady),
    fn('pg_get_function_result', [oid], text, nothing, steady),
    fn('pg_get_function_arguments', [oid], text, nothing, steady),
    fn('pg_relation_is_publishable', [regclass], bool, () => false, steady),
    fn(
      'obj_description',
      [oid, name],
      text,
      (s: SessionView, id: number) => description(s, id, 0),
      reads,
    ),
    fn(
      'obj_description',
      [oid],
      text,
      (s: SessionView, id: number) => description(s, id, 0),
      reads,
    ),
    fn('shobj_description', [oid, name], text, nothing, steady),
    fn('col_description', [oid, int4], text, description, reads),
    fn('pg_get_serial_sequence', [text, text], text, serialSequence, reads),
  ];
}

function nameFunctions(): FunctionDef[] {
  return [
    ...['pg_relation_size', 'pg_table_size', 'pg_total_relation_size', 'pg_indexes_size'].map(
      (id) => fn(id, [regclass], int8, relationBytes, reads),
    ),
    fn('pg_database_size', [name], int8, databaseBytes, reads),
    fn('pg_database_size', [oid], int8, databaseBytes, reads),
    fn('pg_relation_size', [regclass, text], int8, relationBytes, reads),
    fn('to_regclass', [text], regclass, toReg('regclass'), reads),
    fn('to_regtype', [text], OID.regtype, toReg('regtype'), reads),
    fn('to_regnamespace', [text], OID.regnamespace, toReg('regnamespace'), reads),
    fn('pg_encoding_to_char', [int4], name, (n: number) => ENCODINGS[n] ?? '', steady),
    fn('pg_is_in_recovery', [], bool, () => false, steady),
    fn('pg_my_temp_schema', [], oid, () => 0, steady),
    fn('pg_is_other_temp_schema', [oid], bool, () => false, steady),
    fn(
      'pg_relation_filenode',
      [regclass],
      oid,
      (s: SessionView, id: number) => {
        const record = recordOf(s, id);
        return record?.kind === 'table' || record?.kind === 'index' ? record.root : null;
      },
      reads,
    ),
    fn(
      'pg_describe_object',
      [oid, oid, int4],
      text,
      (s: SessionView, _: number, id: number) =>
        nameOfObject(snapshotOf(s), 'regclass', id, s.searchPath) ?? null,
      reads,
    ),
    fn(
      'pg_sequence_last_value',
      [regclass],
      int8,
      (s: SessionView, id: number) => {
        const record = recordOf(s, id);
        if (record?.kind !== 'sequence') return null;
        const state = (snapshotOf(s).owner as Catalog).sequences.state(record);
        return state.called ? state.last : null;
      },
      reads,
    ),
    fn('pg_column_is_updatable', [regclass, int2, bool], bool, () => true, steady),
  ];
}

function viewText(session: SessionView, id: number): string | null {
  const record = recordOf(session, id);
  return record?.kind === 'view' ? record.text : null;
}
