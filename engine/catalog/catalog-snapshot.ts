/**
 * One version of the catalog: an immutable set of records and the definitions made of them when somebody asks.
 *
 * - CAT-1 A snapshot never changes; each has a version of its own, in the order they were made.
 * - CAT-4 A definition that a change does not touch is carried over to the next snapshot as the same object.
 */
import type { Value } from '../types/value.js';
import { SqlError } from '../sql-error.js';
import type { CatalogReader, TableDef } from './definitions.js';
import {
  isRelation,
  type ForeignKeyRecord,
  type IndexRecord,
  type ObjectRecord,
  type RelationRecord,
  type SchemaRecord,
  type SequenceRecord,
  type TableRecord,
} from './object-record.js';
import { makeSequence, makeTable, makeView } from './table-definition.js';

export const PG_CATALOG_OID = 11;
export const PUBLIC_OID = 2200;
export const INFORMATION_SCHEMA_OID = 13_000;

/** A record and where its row is: 0 while it is not written yet. */
export interface Entry {
  readonly record: ObjectRecord;
  rowId: number;
}

/** What a snapshot needs of the catalog that it belongs to. */
export interface SnapshotOwner {
  nextVersion(): number;
  readonly virtualByName: ReadonlyMap<string, TableDef>;
  readonly virtualByOid: ReadonlyMap<number, TableDef>;
  sequenceRow(record: SequenceRecord): readonly Value[];
}

export class CatalogSnapshot implements CatalogReader {
  readonly version: number;
  readonly owner: SnapshotOwner;
  readonly entries: ReadonlyMap<number, Entry>;
  readonly #definitions: Map<number, TableDef>;
  /** `schema oid.name` to oid; indexes are among them. */
  readonly #names = new Map<string, number>();
  readonly #schemas = new Map<string, SchemaRecord>();
  readonly #indexes = new Map<number, IndexRecord[]>();
  readonly #foreignKeys = new Map<number, ForeignKeyRecord[]>();

  constructor(
    owner: SnapshotOwner,
    entries: ReadonlyMap<number, Entry>,
    definitions: Map<number, TableDef> = new Map(),
  ) {
    this.owner = owner;
    this.version = owner.nextVersion();
    this.entries = entries;
    this.#definitions = definitions;
    for (const { record } of entries.values()) this.#note(record);
    for (const list of this.#indexes.values()) list.sort((a, b) => a.oid - b.oid);
    for (const { record } of entries.values()) {
      if (isRelation(record)) this.#names.set(this.#nameKey(record), record.oid);
    }
  }

  /** The next snapshot: `changes` in place of what was there; null: gone. */
  with(changes: ReadonlyMap<number, Entry | null>): CatalogSnapshot {
    const entries = new Map(this.entries);
    const stale = new Set<number>();
    let all = false;
    for (const [oid, entry] of changes) {
      for (const record of [entry?.record, this.entries.get(oid)?.record]) {
        if (record === undefined) continue;
        if (record.kind === 'schema') all = true;
        stale.add(record.oid);
        if (record.kind === 'index') stale.add(record.table);
        if (record.kind === 'foreign key') stale.add(record.table).add(record.referenced);
      }
      if (entry === null) entries.delete(oid);
      else entries.set(oid, entry);
    }
    const definitions = new Map<number, TableDef>();
    if (!all) {
      for (const [oid, def] of this.#definitions) if (!stale.has(oid)) definitions.set(oid, def);
    }
    return new CatalogSnapshot(this.owner, entries, definitions);
  }

  findTable(schema: string | null, name: string, searchPath: readonly string[]): TableDef | null {
    const oid = this.findRelation(schema, name, searchPath);
    return oid === 0 ? null : this.tableByOid(oid);
  }

  tableByOid(oid: number): TableDef | null {
    const known = this.#definitions.get(oid);
    if (known !== undefined) return known;
    const record = this.entries.get(oid)?.record;
    if (record === undefined) return this.owner.virtualByOid.get(oid) ?? null;
    let made: TableDef;
    if (record.kind === 'table') {
      const keys = this.#foreignKeys.get(oid) ?? [];
      made = makeTable(record, this.schemaName(record.schema), this.indexesOf(oid), keys);
    } else if (record.kind === 'view') {
      made = makeView(record, this.schemaName(record.schema));
    } else if (record.kind === 'sequence') {
      const row = (): readonly Value[] => this.owner.sequenceRow(record);
      made = makeSequence(record, this.schemaName(record.schema), row);
    } else {
      return null;
    }
    this.#definitions.set(oid, made);
    return made;
  }

  hasSchema(name: string): boolean {
    return this.schemaOid(name) !== 0;
  }

  findType(): number | null {
    return null;
  }

  /** Oid of a relation of any kind, indexes and virtual ones included; 0: none. */
  findRelation(schema: string | null, name: string, searchPath: readonly string[]): number {
    if (schema !== null) return this.#inSchema(schema, name);
    if (!searchPath.includes('pg_catalog')) {
      const system = this.owner.virtualByName.get(`pg_catalog.${name}`);
      if (system !== undefined) return system.oid;
    }
    for (const path of searchPath) {
      const found = this.#inSchema(path, name);
      if (found !== 0) return found;
    }
    return 0;
  }

  /** Whether its bare name finds it. */
  isVisible(oid: number, searchPath: readonly string[]): boolean {
    const name = this.relationName(oid);
    return name !== null && this.findRelation(null, name, searchPath) === oid;
  }

  relationName(oid: number): string | null {
    const record = this.entries.get(oid)?.record;
    if (record !== undefined) return isRelation(record) ? record.name : null;
    return this.owner.virtualByOid.get(oid)?.name ?? null;
  }

  /** Name of the schema that a relation is in. */
  relationSchema(oid: number): string | null {
    const record = this.entries.get(oid)?.record;
    if (record !== undefined) {
      return isRelation(record) ? this.schemaName(this.schemaOf(record)) : null;
    }
    return this.owner.virtualByOid.get(oid)?.schema ?? null;
  }

  /** 0: no such schema. */
  schemaOid(name: string): number {
    if (name === 'pg_catalog') return PG_CATALOG_OID;
    if (name === 'information_schema') return INFORMATION_SCHEMA_OID;
    return this.#schemas.get(name)?.oid ?? 0;
  }

  schemaName(oid: number): string {
    if (oid === PG_CATALOG_OID) return 'pg_catalog';
    if (oid === INFORMATION_SCHEMA_OID) return 'information_schema';
    const record = this.entries.get(oid)?.record;
    return record?.kind === 'schema' ? record.name : '';
  }

  schemaOf(record: RelationRecord): number {
    if (record.kind !== 'index') return record.schema;
    const table = this.entries.get(record.table)?.record;
    return table?.kind === 'table' ? table.schema : 0;
  }

  indexesOf(table: number): readonly IndexRecord[] {
    return this.#indexes.get(table) ?? [];
  }

  /** Foreign keys in which the table takes part on either side. */
  foreignKeysOf(table: number): readonly ForeignKeyRecord[] {
    return this.#foreignKeys.get(table) ?? [];
  }

  table(oid: number): TableRecord | null {
    const record = this.entries.get(oid)?.record;
    return record?.kind === 'table' ? record : null;
  }

  *records(): IterableIterator<ObjectRecord> {
    for (const { record } of this.entries.values()) yield record;
  }

  /** 3F000. */
  requireSchema(name: string): number {
    const oid = this.schemaOid(name);
    if (oid === 0) throw new SqlError('3F000', `schema "${name}" does not exist`);
    return oid;
  }

  #inSchema(schema: string, name: string): number {
    const oid = this.schemaOid(schema);
    if (oid === 0) return 0;
    const own = this.#names.get(`${oid}.${name}`);
    if (own !== undefined) return own;
    return this.owner.virtualByName.get(`${schema}.${name}`)?.oid ?? 0;
  }

  #nameKey(record: RelationRecord): string {
    return `${this.schemaOf(record)}.${record.name}`;
  }

  #note(record: ObjectRecord): void {
    if (record.kind === 'schema') this.#schemas.set(record.name, record);
    else if (record.kind === 'index') push(this.#indexes, record.table, record);
    else if (record.kind === 'foreign key') {
      push(this.#foreignKeys, record.table, record);
      if (record.referenced !== record.table) push(this.#foreignKeys, record.referenced, record);
    }
  }
}

function push<Item>(map: Map<number, Item[]>, key: number, item: Item): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}
