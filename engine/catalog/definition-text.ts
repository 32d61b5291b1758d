/** Indexes and constraints as the statements that make them: pg_get_indexdef, pg_get_constraintdef. */
import type { CatalogSnapshot } from './catalog-snapshot.js';
import { Deparser } from './deparse.js';
import { quoteIdent } from './names.js';
import type {
  CheckRecord,
  ForeignKeyRecord,
  IndexColumnRecord,
  IndexRecord,
  TableRecord,
} from './object-record.js';

export type ConstraintRecord =
  | { readonly kind: 'key'; readonly table: TableRecord; readonly index: IndexRecord }
  | { readonly kind: 'check'; readonly table: TableRecord; readonly check: CheckRecord }
  | { readonly kind: 'foreign'; readonly table: TableRecord; readonly key: ForeignKeyRecord };

/** In pg_constraint's order of business. */
export function* constraintsOf(snapshot: CatalogSnapshot): IterableIterator<ConstraintRecord> {
  for (const record of snapshot.records()) {
    if (record.kind === 'table') {
      for (const check of record.checks) yield { kind: 'check', table: record, check };
    } else if (record.kind === 'index' && record.constraint !== 0) {
      const table = snapshot.table(record.table);
      if (table !== null) yield { kind: 'key', table, index: record };
    } else if (record.kind === 'foreign key') {
      const table = snapshot.table(record.table);
      if (table !== null) yield { kind: 'foreign', table, key: record };
    }
  }
}

export function constraintOid(c: ConstraintRecord): number {
  if (c.kind === 'check') return c.check.oid;
  return c.kind === 'key' ? c.index.constraint : c.key.oid;
}

export function constraintName(c: ConstraintRecord): string {
  if (c.kind === 'check') return c.check.name;
  return c.kind === 'key' ? c.index.name : c.key.name;
}

const columnNames = (table: TableRecord, columns: readonly number[]): string =>
  columns.map((column) => quoteIdent(table.columns[column].name)).join(', ');

const ACTION_TEXT = {
  'no action': '',
  restrict: 'RESTRICT',
  cascade: 'CASCADE',
  'set null': 'SET NULL',
  'set default': 'SET DEFAULT',
} as const;

export function constraintText(
  snapshot: CatalogSnapshot,
  c: ConstraintRecord,
  searchPath: readonly string[],
): string {
  switch (c.kind) {
    case 'check': {
      const text = new Deparser(snapshot, searchPath).text(c.check.expression);
      return `CHECK (${text.startsWith('(') ? text : `(${text})`})`;
    }
    case 'key': {
      const columns = c.index.columns.map((k) => k.column);
      return `${c.index.primary ? 'PRIMARY KEY' : 'UNIQUE'} (${columnNames(c.table, columns)})`;
    }
    case 'foreign': {
      const { key } = c;
      const parent = snapshot.table(key.referenced);
      const name = qualified(snapshot, key.referenced, searchPath);
      const columns = parent === null ? '' : columnNames(parent, key.referencedColumns);
      const update = ACTION_TEXT[key.onUpdate];
      const deletion = ACTION_TEXT[key.onDelete];
      return (
        `FOREIGN KEY (${columnNames(c.table, key.columns)}) REFERENCES ${name}(${columns})` +
        (update === '' ? '' : ` ON UPDATE ${update}`) +
        (deletion === '' ? '' : ` ON DELETE ${deletion}`)
      );
    }
  }
}

function qualified(snapshot: CatalogSnapshot, oid: number, searchPath: readonly string[]): string {
  const name = quoteIdent(snapshot.relationName(oid) ?? '');
  if (snapshot.isVisible(oid, searchPath)) return name;
  return `${quoteIdent(snapshot.relationSchema(oid) ?? '')}.${name}`;
}

export function indexColumnText(table: TableRecord, c: IndexColumnRecord): string {
  const name = quoteIdent(table.columns[c.column].name);
  if (c.descending) return `${name} DESC${c.nullsFirst ? '' : ' NULLS LAST'}`;
  return c.nullsFirst ? `${name} NULLS FIRST` : name;
}

export function indexText(snapshot: CatalogSnapshot, index: IndexRecord): string {
  const table = snapshot.table(index.table);
  if (table === null) return '';
  const schema = quoteIdent(snapshot.schemaName(table.schema));
  const columns = index.columns.map((c) => indexColumnText(table, c)).join(', ');
  const unique = index.unique ? 'UNIQUE ' : '';
  return `CREATE ${unique}INDEX ${quoteIdent(index.name)} ON ${schema}.${quoteIdent(table.name)} USING btree (${columns})`;
}
