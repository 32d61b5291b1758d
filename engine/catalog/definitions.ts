/**
 * What the SQL layer needs to know of schemas, tables, indexes, views and sequences: immutable definitions and the
 * interface through which they are read. Whoever stores the catalog implements `CatalogReader`; a reader is a
 * consistent view as of one catalog version (and of the own transaction's uncommitted DDL).
 *
 * | relation kind | rows come from                                  | written by                    |
 * |---------------|-------------------------------------------------|-------------------------------|
 * | table         | `handle` in the table store                     | INSERT, UPDATE, DELETE        |
 * | virtual       | `rows(session)`, made on the fly (pg_catalog)   | nothing: 42809                |
 * | view          | `view.query`, bound in place                    | nothing: 55000                |
 * | sequence      | one row made of `CatalogReader.sequenceState`   | nextval, setval               |
 *
 * Invariants
 * - CAT-1 A definition object never changes; a change makes a new object and a higher `version`.
 * - CAT-2 `columns[i].number === i + 1`; dropped columns keep their place in tuples and are hidden from names.
 * - CAT-3 `indexes[i].handle` are exactly `handle.indexes`, in the same order.
 */
import type { Node } from 'libpg-query';
import type { SessionView } from '../sql/statement.js';
import type { IndexHandle, TableHandle } from '../tables/table-store.js';
import type { Transaction } from '../txn/transaction.js';
import type { Value } from '../types/value.js';

export type RelationKind = 'table' | 'view' | 'virtual' | 'sequence';

export interface ColumnDef {
  /** 1-based attribute number. */
  readonly number: number;
  readonly name: string;
  readonly typeOid: number;
  /** -1: none. */
  readonly typmod: number;
  readonly notNull: boolean;
  /** Parsed expression of DEFAULT (serial: a nextval call), bound at each use; null: NULL. */
  readonly defaultNode: Node | null;
  readonly identity: 'always' | 'by default' | null;
  readonly dropped: boolean;
  /** 0: the type's default collation. */
  readonly collationOid: number;
}

/** Encoded rows of one table; made once per table version. The tuple's format belongs to the types layer. */
export interface TupleCodec {
  /** Writes the tuple of `values` (one per column, dropped ones null) into target from 0; returns its length, or
   * -(bytes needed) when target is too small. */
  encode(values: readonly Value[], target: Uint8Array): number;
  /** Value of the column with this index (0-based). Columns added after the tuple was written read as their missing value. */
  decode(bytes: Uint8Array, start: number, end: number, column: number): Value;
  /** Several columns at once, ascending: values[slots[i]] = column columns[i]. */
  decodeInto(
    bytes: Uint8Array,
    start: number,
    end: number,
    columns: readonly number[],
    slots: readonly number[],
    values: Value[],
  ): void;
  /** A copy of the tuple with some columns (ascending) replaced; returns its length, or -(bytes needed). */
  patch(
    bytes: Uint8Array,
    start: number,
    end: number,
    columns: readonly number[],
    values: readonly Value[],
    target: Uint8Array,
  ): number;
}

export interface IndexColumnDef {
  /** 0-based index into `TableDef.columns`; -1 for an expression. */
  readonly column: number;
  readonly expression: Node | null;
  readonly typeOid: number;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

export interface IndexDef {
  readonly oid: number;
  readonly name: string;
  readonly columns: readonly IndexColumnDef[];
  readonly unique: boolean;
  readonly primary: boolean;
  /** Name of the constraint it stands for, if any. */
  readonly constraint: string | null;
  readonly handle: IndexHandle;
  /**
   * Writes the key of the first `values.length` columns into target from 0 in the order-preserving encoding that
   * `handle.keys` makes; returns its length, or -(bytes needed). Values have exactly the columns' types.
   */
  encodePrefix(values: readonly Value[], count: number, target: Uint8Array): number;
}

export interface CheckDef {
  readonly name: string;
  readonly expression: Node;
}

export type ForeignKeyAction = 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default';

export interface ForeignKeyDef {
  readonly oid: number;
  readonly name: string;
  /** The referencing table. */
  readonly tableOid: number;
  readonly columns: readonly number[];
  readonly referencedOid: number;
  readonly referencedColumns: readonly number[];
  /** Unique index of the referenced table over exactly those columns. */
  readonly referencedIndexOid: number;
  readonly onUpdate: ForeignKeyAction;
  readonly onDelete: ForeignKeyAction;
}

export interface ViewDef {
  readonly query: Node;
  /** Search path at definition: names in the query resolve along it. */
  readonly searchPath: readonly string[];
}

export interface TableDef {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  readonly columns: readonly ColumnDef[];
  readonly primaryKey: IndexDef | null;
  readonly indexes: readonly IndexDef[];
  readonly checks: readonly CheckDef[];
  /** Keys in which this table refers to others. */
  readonly foreignKeys: readonly ForeignKeyDef[];
  /** Keys in which others (or itself) refer to this table. */
  readonly referencedBy: readonly ForeignKeyDef[];
  /** Of kind `table` only, else null. */
  readonly handle: TableHandle | null;
  readonly codec: TupleCodec | null;
  readonly view: ViewDef | null;
  /** Of kind `virtual`: its rows, one value per column. */
  readonly rows: ((session: SessionView) => Iterable<readonly Value[]>) | null;
}

export interface TypeRef {
  readonly oid: number;
  readonly typmod: number;
}

export interface CatalogReader {
  /** Grows with every change; plans of another version are compiled again. */
  readonly version: number;
  /** `schema` null: along the search path, with pg_catalog first when it is not on it. */
  findTable(schema: string | null, name: string, searchPath: readonly string[]): TableDef | null;
  tableByOid(oid: number): TableDef | null;
  hasSchema(name: string): boolean;
  /** User-defined types (enums, row types) that the type registry does not know; null: none of that name. */
  findType(schema: string | null, name: string, searchPath: readonly string[]): number | null;
}

/**
 * Sequences and other functions that touch the catalog's storage. Called during execution; may throw `Suspend`
 * before a side effect.
 */
export interface SequenceStore {
  nextval(sequenceOid: number, session: SessionView, transaction: Transaction): bigint;
  currval(sequenceOid: number, session: SessionView): bigint;
  lastval(session: SessionView): bigint;
  setval(
    sequenceOid: number,
    value: bigint,
    isCalled: boolean,
    session: SessionView,
    transaction: Transaction,
  ): bigint;
}
