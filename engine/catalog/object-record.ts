/**
 * What the catalog keeps of each object: one row of the system table per object.
 *
 *     oid oid | kind int2 | body text (JSON)
 *
 * | kind | object      | body                  |
 * |------|-------------|-----------------------|
 * | 1    | schema      | SchemaRecord          |
 * | 2    | table       | TableRecord           |
 * | 3    | index       | IndexRecord           |
 * | 4    | sequence    | SequenceRecord        |
 * | 5    | view        | ViewRecord            |
 * | 6    | foreign key | ForeignKeyRecord      |
 *
 * Expressions are kept as the parser's trees. 64-bit integers are strings.
 *
 * - REC-1 A record never changes: another one takes its place under the same oid.
 * - REC-2 Kinds and field names are never reused for something else.
 */
import type { Node } from 'libpg-query';
import { SextantError } from '#core/errors.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import { TupleCodec } from '../types/tuple.js';
import type { ForeignKeyAction } from './definitions.js';

export interface SchemaRecord {
  readonly kind: 'schema';
  readonly oid: number;
  readonly name: string;
  readonly comment?: string;
}

export interface ColumnRecord {
  readonly name: string;
  readonly type: number;
  readonly typmod: number;
  readonly notNull: boolean;
  readonly default: Node | null;
  readonly identity: 'always' | 'by default' | null;
  readonly dropped: boolean;
  /** What rows from before the column hold, as the type's text; null: NULL. */
  readonly missing: string | null;
  readonly comment?: string;
}

export interface CheckRecord {
  readonly oid: number;
  readonly name: string;
  readonly expression: Node;
}

export interface TableRecord {
  readonly kind: 'table';
  readonly oid: number;
  readonly schema: number;
  readonly name: string;
  readonly root: number;
  readonly columns: readonly ColumnRecord[];
  readonly checks: readonly CheckRecord[];
  /** Storage parameters as given: `fillfactor=90`. */
  readonly options: readonly string[];
  readonly comment?: string;
}

export interface IndexColumnRecord {
  /** 0-based. */
  readonly column: number;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

export interface IndexRecord {
  readonly kind: 'index';
  readonly oid: number;
  readonly table: number;
  readonly name: string;
  readonly root: number;
  readonly columns: readonly IndexColumnRecord[];
  readonly unique: boolean;
  readonly primary: boolean;
  /** Oid of the constraint that it stands for (which has the index's name); 0: none. */
  readonly constraint: number;
  readonly options: readonly string[];
  readonly comment?: string;
}

export interface SequenceOwner {
  readonly table: number;
  /** 0-based. */
  readonly column: number;
  readonly identity: boolean;
}

export interface SequenceRecord {
  readonly kind: 'sequence';
  readonly oid: number;
  readonly schema: number;
  readonly name: string;
  readonly type: number;
  readonly start: string;
  readonly increment: string;
  readonly min: string;
  readonly max: string;
  readonly cache: string;
  readonly cycle: boolean;
  readonly owner: SequenceOwner | null;
  /** Where its present value is kept; another one after RESTART, so that that rolls back. */
  readonly state: number;
  readonly comment?: string;
}

export interface ViewColumnRecord {
  readonly name: string;
  readonly type: number;
  readonly typmod: number;
}

export interface ViewRecord {
  readonly kind: 'view';
  readonly oid: number;
  readonly schema: number;
  readonly name: string;
  readonly query: Node;
  readonly text: string;
  readonly searchPath: readonly string[];
  readonly columns: readonly ViewColumnRecord[];
  /** Oids of the relations that it reads. */
  readonly uses: readonly number[];
  readonly comment?: string;
}

export interface ForeignKeyRecord {
  readonly kind: 'foreign key';
  readonly oid: number;
  readonly name: string;
  readonly table: number;
  readonly columns: readonly number[];
  readonly referenced: number;
  readonly referencedColumns: readonly number[];
  readonly referencedIndex: number;
  readonly onUpdate: ForeignKeyAction;
  readonly onDelete: ForeignKeyAction;
}

export type ObjectRecord =
  | SchemaRecord
  | TableRecord
  | IndexRecord
  | SequenceRecord
  | ViewRecord
  | ForeignKeyRecord;

/** What has a name in pg_class. */
export type RelationRecord = TableRecord | IndexRecord | SequenceRecord | ViewRecord;

const KINDS: readonly ObjectRecord['kind'][] = [
  'schema',
  'table',
  'index',
  'sequence',
  'view',
  'foreign key',
];

export const RECORD_CODEC = new TupleCodec([
  { type: typeOf(OID.oid) },
  { type: typeOf(OID.int2) },
  { type: typeOf(OID.text) },
]);

/** The record's tuple, in a buffer of its own. */
export function encodeRecord(record: ObjectRecord): Uint8Array {
  const { oid, kind, ...body } = record;
  const values = [oid, KINDS.indexOf(kind) + 1, JSON.stringify(body)];
  let target = new Uint8Array(512);
  for (;;) {
    const length = RECORD_CODEC.encode(values, target);
    if (length >= 0) return target.subarray(0, length);
    target = new Uint8Array(-length);
  }
}

/** Throws CORRUPTION for a kind that this program does not know. */
export function decodeRecord(bytes: Uint8Array, start: number, end: number): ObjectRecord {
  const [oid, code, body] = RECORD_CODEC.decodeAll(bytes, start, end);
  const kind = KINDS[(code as number) - 1];
  if (kind === undefined) {
    throw new SextantError(
      'CORRUPTION',
      `the catalog holds an object of unknown kind ${code as number}`,
    );
  }
  return { ...(JSON.parse(body as string) as object), oid, kind } as ObjectRecord;
}

export function isRelation(record: ObjectRecord): record is RelationRecord {
  return record.kind !== 'schema' && record.kind !== 'foreign key';
}
