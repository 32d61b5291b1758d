/** Relations whose rows are made of a snapshot when somebody reads them. */
import type { SessionView } from '../sql/statement.js';
import { typeByName } from '../types/registry.js';
import type { SqlArray, Value } from '../types/value.js';
import { OID } from '../types/oids.js';
import type { CatalogSnapshot } from './catalog-snapshot.js';
import type { TableDef } from './definitions.js';
import { snapshotOf } from './session-catalog.js';
import { makeVirtual, type PlainColumn } from './table-definition.js';

export type VirtualRow = Record<string, Value>;

export interface VirtualTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `oid:oid relname:name relacl:text[] ...` */
  readonly columns: string;
  /** Columns that a row does not name are NULL. */
  readonly rows: (snapshot: CatalogSnapshot, session: SessionView) => Iterable<VirtualRow>;
}

function parseColumns(text: string): PlainColumn[] {
  return text
    .trim()
    .split(/\s+/)
    .map((part) => {
      const [name, typeName] = part.split(':');
      const isArray = typeName.endsWith('[]');
      const type = typeByName(isArray ? typeName.slice(0, -2) : typeName);
      if (type === undefined) throw new TypeError(`no type ${typeName}`);
      return { name, type: isArray ? type.arrayOid : type.oid };
    });
}

export function virtualTable(table: VirtualTable): TableDef {
  const columns = parseColumns(table.columns);
  const names = columns.map((column) => column.name);
  function* rows(session: SessionView): IterableIterator<readonly Value[]> {
    for (const row of table.rows(snapshotOf(session), session)) {
      yield names.map((name) => row[name] ?? null);
    }
  }
  return makeVirtual(table.oid, table.schema, table.name, columns, rows);
}

/** An int2vector or oidvector, which count from 0. */
export function vector(elementOid: number, elements: readonly number[]): SqlArray {
  const dimensions = elements.length === 0 ? [] : [elements.length];
  return { elementOid, dimensions, lowerBounds: dimensions.map(() => 0), elements };
}

export const int2vector = (elements: readonly number[]): SqlArray => vector(OID.int2, elements);
export const oidvector = (elements: readonly number[]): SqlArray => vector(OID.oid, elements);
