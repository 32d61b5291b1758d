/**
 * Bound queries: what the planner gets.
 *
 *     FROM tree -> WHERE -> GROUP BY + aggregates -> HAVING -> windows -> targets -> DISTINCT -> ORDER BY -> LIMIT
 *
 * Every query writes its result into `output` slots, one per column.
 */
import type { ColumnDef, TableDef } from '../../catalog/definitions.js';
import type { RowLockMode, WaitPolicy } from '../../tables/table-store.js';
import type { AggregateRoutine, Routine } from './type-system.js';
import type { Expr, SlotExpr } from './expression.js';

export interface OutputColumn {
  readonly name: string;
  readonly type: number;
  readonly typmod: number;
  readonly slot: number;
  readonly tableOid: number;
  readonly columnNumber: number;
}

/** One relation of a FROM clause; ids are unique within a statement. */
export type Relation =
  | TableRelation
  | {
      readonly kind: 'query';
      readonly id: number;
      readonly alias: string;
      readonly query: BoundQuery;
      readonly lateral: boolean;
    }
  | {
      readonly kind: 'function';
      readonly id: number;
      readonly alias: string;
      readonly functions: readonly {
        readonly expr: Expr;
        readonly routine: Routine | null;
        readonly slots: readonly number[];
      }[];
      readonly ordinalitySlot: number;
      readonly lateral: boolean;
    }
  | {
      readonly kind: 'cte';
      readonly id: number;
      readonly alias: string;
      readonly cte: BoundCte;
      readonly slots: readonly number[];
    };

export interface TableRelation {
  readonly kind: 'table';
  readonly id: number;
  readonly alias: string;
  readonly table: TableDef;
  /** slots[i]: slot of column i; only those in `used` are filled. */
  readonly slots: readonly number[];
  readonly used: Set<number>;
  /** Slot of the hidden row id; filled when `needsRowId`. */
  readonly rowIdSlot: number;
  needsRowId: boolean;
}

export type JoinType = 'inner' | 'left' | 'right' | 'full';

export type FromTree =
  | { readonly kind: 'relation'; readonly relation: Relation }
  | {
      readonly kind: 'join';
      readonly type: JoinType;
      readonly left: FromTree;
      readonly right: FromTree;
      readonly on: Expr | null;
    }
  | { readonly kind: 'filter'; readonly input: FromTree; readonly where: Expr };

export interface SortKey {
  readonly expr: Expr;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

export interface BoundAggregate {
  readonly routine: AggregateRoutine;
  readonly args: readonly Expr[];
  readonly distinct: boolean;
  readonly filter: Expr | null;
  readonly order: readonly SortKey[];
  readonly slot: number;
}

export interface BoundWindow {
  readonly partition: readonly Expr[];
  readonly order: readonly SortKey[];
  readonly frame: number;
  readonly startOffset: Expr | null;
  readonly endOffset: Expr | null;
  readonly functions: {
    readonly name: string;
    readonly aggregate: AggregateRoutine | null;
    readonly args: readonly Expr[];
    readonly filter: Expr | null;
    readonly slot: number;
  }[];
}

export interface Grouping {
  readonly keys: readonly { readonly expr: Expr; readonly slot: number }[];
  /** Columns that depend on a grouped primary key: taken from the group's first row. */
  readonly carried: readonly { readonly expr: Expr; readonly slot: number }[];
  readonly aggregates: readonly BoundAggregate[];
}

export interface LockRequest {
  readonly relation: TableRelation;
  readonly mode: RowLockMode;
  readonly wait: WaitPolicy;
}

export interface BoundSelect {
  readonly kind: 'select';
  readonly ctes: readonly BoundCte[];
  readonly from: FromTree | null;
  readonly where: Expr | null;
  readonly grouping: Grouping | null;
  readonly having: Expr | null;
  readonly windows: readonly BoundWindow[];
  /** One per output column, then junk for sorting. */
  readonly targets: readonly { readonly expr: Expr; readonly slot: number }[];
  readonly output: readonly OutputColumn[];
  /** null: none; []: DISTINCT of all output; else DISTINCT ON these target slots. */
  readonly distinctOn: readonly SlotExpr[] | null;
  /** Over target slots. */
  readonly order: readonly SortKey[];
  readonly limit: Expr | null;
  readonly offset: Expr | null;
  readonly withTies: boolean;
  readonly locks: readonly LockRequest[];
  /** Slots of enclosing queries that it reads. */
  readonly outer: ReadonlySet<SlotExpr>;
}

export interface BoundValues {
  readonly kind: 'values';
  readonly ctes: readonly BoundCte[];
  readonly rows: readonly (readonly Expr[])[];
  readonly output: readonly OutputColumn[];
  readonly order: readonly SortKey[];
  readonly limit: Expr | null;
  readonly offset: Expr | null;
  readonly outer: ReadonlySet<SlotExpr>;
}

export interface BoundSetOperation {
  readonly kind: 'set';
  readonly ctes: readonly BoundCte[];
  readonly operation: 'union' | 'intersect' | 'except';
  readonly all: boolean;
  readonly left: BoundQuery;
  readonly right: BoundQuery;
  /** How each side's output becomes this one's. */
  readonly leftExprs: readonly Expr[];
  readonly rightExprs: readonly Expr[];
  readonly output: readonly OutputColumn[];
  readonly order: readonly SortKey[];
  readonly limit: Expr | null;
  readonly offset: Expr | null;
  readonly outer: ReadonlySet<SlotExpr>;
}

export type BoundQuery = BoundSelect | BoundValues | BoundSetOperation | BoundWrite;

/** A WITH query, run at most once and kept. */
export interface BoundCte {
  readonly id: number;
  readonly name: string;
  readonly query: BoundQuery;
  readonly columns: readonly {
    readonly name: string;
    readonly type: number;
    readonly typmod: number;
  }[];
  /** WITH RECURSIVE: the part that reads the table itself. */
  recursive: {
    readonly step: BoundQuery;
    readonly stepExprs: readonly Expr[];
    readonly all: boolean;
  } | null;
}

export interface Assignment {
  /** 0-based. */
  readonly column: number;
  /** Already of the column's type. */
  readonly expr: Expr;
}

export interface BoundConstraints {
  readonly notNull: readonly ColumnDef[];
  /** Over the target's `newSlots`. */
  readonly checks: readonly { readonly name: string; readonly expr: Expr }[];
}

export interface BoundInsert {
  readonly kind: 'insert';
  readonly ctes: readonly BoundCte[];
  readonly target: TableRelation;
  /** Rows come from here, or, when null, one row of defaults. */
  readonly source: BoundQuery | null;
  /** VALUES rows that are evaluated straight into the new row: one Assignment list each. */
  readonly valueRows: readonly (readonly Assignment[])[] | null;
  /** Per column: from the source's slots or the default. Used when `valueRows` is null. */
  readonly assignments: readonly Assignment[];
  readonly constraints: BoundConstraints;
  readonly conflict: BoundConflict | null;
  readonly returning: readonly { readonly expr: Expr; readonly slot: number }[] | null;
  readonly output: readonly OutputColumn[];
  readonly outer: ReadonlySet<SlotExpr>;
}

export interface BoundConflict {
  readonly action: 'nothing' | 'update';
  /** Index oids that arbitrate; empty: all. */
  readonly indexOids: readonly number[];
  /** `excluded`: its slots hold the row proposed. */
  readonly excluded: TableRelation;
  readonly assignments: readonly Assignment[];
  readonly where: Expr | null;
}

export interface BoundUpdate {
  readonly kind: 'update';
  readonly ctes: readonly BoundCte[];
  readonly target: TableRelation;
  readonly from: FromTree;
  readonly where: Expr | null;
  readonly assignments: readonly Assignment[];
  readonly constraints: BoundConstraints;
  readonly returning: readonly { readonly expr: Expr; readonly slot: number }[] | null;
  readonly output: readonly OutputColumn[];
  readonly outer: ReadonlySet<SlotExpr>;
}

export interface BoundDelete {
  readonly kind: 'delete';
  readonly ctes: readonly BoundCte[];
  readonly target: TableRelation;
  readonly from: FromTree;
  readonly where: Expr | null;
  readonly returning: readonly { readonly expr: Expr; readonly slot: number }[] | null;
  readonly output: readonly OutputColumn[];
  readonly outer: ReadonlySet<SlotExpr>;
}

export type BoundWrite = BoundInsert | BoundUpdate | BoundDelete;
