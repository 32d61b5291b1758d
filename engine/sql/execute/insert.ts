/**
 * INSERT, with ON CONFLICT. Per row:
 *
 *     pull -> compute -> insert --ok--> foreign keys noted -> RETURNING -> pull ...
 *                          |  ^ gone (the conflicting row was deleted meanwhile)
 *                 conflict |  |
 *                          v  |
 *            DO NOTHING: pull, DO UPDATE: conflict -> update --ok--> as above
 */
import type { IndexDef, TableDef, TupleCodec } from '../../catalog/definitions.js';
import { SqlError } from '../../sql-error.js';
import type { RowCursor, RowWriteState, TableHandle } from '../../tables/table-store.js';
import type { Snapshot } from '../../txn/transaction.js';
import type { Value } from '../../types/value.js';
import type { TableRelation } from '../bind/query.js';
import { ForeignKeyQueue } from './foreign-keys.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';
import { comparatorOf } from './keys.js';
import { checkRow, newestSnapshot, TupleBuffer } from './row-writer.js';
import type { ConstraintPlan } from './row-writer.js';
import { scanColumns } from './scan.js';
import type { ScanColumns } from './scan.js';
import { Returning } from './returning.js';
import type { Computation } from './shape.js';
import type { MakeWriteState } from './write.js';

export interface RowRecipe {
  readonly columns: readonly number[];
  readonly values: readonly Evaluator[];
}

export interface ConflictPlan {
  readonly indexes: readonly IndexDef[];
  readonly excluded: TableRelation;
  /** null: DO NOTHING. */
  readonly update: {
    readonly columns: readonly number[];
    readonly values: readonly Evaluator[];
  } | null;
  readonly where: Evaluator | null;
}

export interface InsertPlanOptions {
  readonly target: TableRelation;
  /** null: the rows are `recipes`, one each; else one recipe for every row of the input. */
  readonly input: PlanNode | null;
  readonly recipes: readonly RowRecipe[];
  readonly constraints: ConstraintPlan;
  readonly conflict: ConflictPlan | null;
  readonly returning: readonly Computation[] | null;
  readonly makeState: MakeWriteState;
}

export class InsertPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  readonly options: InsertPlanOptions;
  /** Columns that checks and RETURNING read. */
  readonly scan: ScanColumns;
  readonly excluded: ScanColumns | null;

  constructor(options: InsertPlanOptions) {
    this.options = options;
    this.rows = options.input?.rows ?? options.recipes.length;
    this.cost = options.input?.cost ?? options.recipes.length;
    this.scan = scanColumns(options.target);
    this.excluded = options.conflict === null ? null : scanColumns(options.conflict.excluded);
  }

  open(frame: Frame): InsertOperator {
    return new InsertOperator(this, frame);
  }

  explain(): Explanation {
    const { input, target } = this.options;
    return { title: `Insert on ${target.table.name}`, children: input === null ? [] : [input] };
  }
}

type Phase = 'pull' | 'compute' | 'insert' | 'conflict' | 'update' | 'returning' | 'check' | 'done';

export class InsertOperator implements Operator {
  private readonly plan: InsertPlan;
  private readonly frame: Frame;
  private readonly input: Operator | null;
  private readonly state: RowWriteState;
  private readonly buffer = new TupleBuffer();
  private readonly updated = new TupleBuffer();
  private readonly row: Value[] = [];
  private readonly keys: ForeignKeyQueue | null;
  private readonly handle: TableHandle;
  private readonly codec: TupleCodec;
  private phase: Phase = 'pull';
  private recipe: RowRecipe | null = null;
  private at = 0;
  private column = 0;
  private readonly returning: Returning;
  /** DO UPDATE: the conflicting row, its bytes, and the snapshot that sees it. */
  private rival: Uint8Array | null = null;
  private rivalId = 0;
  private rivalSeen: Snapshot;
  private readonly fresh: Value[] = [];
  affected = 0;

  constructor(plan: InsertPlan, frame: Frame) {
    this.plan = plan;
    this.frame = frame;
    this.input = plan.options.input === null ? null : frame.open(plan.options.input);
    this.state = plan.options.makeState();
    this.returning = new Returning(plan.options.returning);
    this.rivalSeen = frame.snapshot;
    const { table } = plan.options.target;
    this.handle = table.handle as TableHandle;
    this.codec = table.codec as TupleCodec;
    for (let i = 0; i < table.columns.length; i++) this.row.push(null);
    const keyed =
      table.foreignKeys.length > 0 ||
      (table.referencedBy.length > 0 && plan.options.conflict !== null);
    this.keys = keyed ? new ForeignKeyQueue(frame, this.state) : null;
  }

  next(): boolean {
    for (;;) {
      switch (this.phase) {
        case 'pull':
          this.pull();
          break;
        case 'compute':
          this.compute();
          break;
        case 'insert':
          this.insert();
          break;
        case 'conflict':
          this.resolveConflict();
          break;
        case 'update':
          this.update();
          break;
        case 'returning':
          if (this.finishRow()) return true;
          break;
        case 'check':
          this.keys?.run();
          this.phase = 'done';
          break;
        case 'done':
          return false;
      }
    }
  }

  private pull(): void {
    const { recipes } = this.plan.options;
    if (this.input === null) {
      this.recipe = recipes[this.at] ?? null;
      if (this.recipe !== null) this.at++;
    } else {
      this.recipe = this.input.next() ? (recipes[0] as RowRecipe) : null;
    }
    this.column = 0;
    this.phase = this.recipe === null ? 'check' : 'compute';
  }

  private compute(): void {
    const { frame, row } = this;
    const { columns, values } = this.recipe as RowRecipe;
    if (this.column === 0) row.fill(null);
    for (; this.column < columns.length; this.column++)
      row[columns[this.column] as number] = (values[this.column] as Evaluator)(frame);
    const { target, constraints } = this.plan.options;
    this.show(this.plan.scan, row);
    checkRow(frame, target.table, constraints, (c) => row[c] ?? null);
    this.buffer.encode(this.codec, row);
    this.state.reset();
    this.phase = 'insert';
  }

  private show(scan: ScanColumns, row: readonly Value[]): void {
    const { columns, slots } = scan;
    for (let i = 0; i < columns.length; i++)
      this.frame.values[slots[i] as number] = row[columns[i] as number] as Value;
  }

  private insert(): void {
    const { frame, buffer } = this;
    const { conflict } = this.plan.options;
    const store = frame.runtime.store;
    const txn = frame.transaction;
    if (conflict === null) {
      store.insert(this.handle, txn, buffer.bytes, 0, buffer.length, this.state);
      this.inserted();
      return;
    }
    const rowId = store.insert(
      this.handle,
      txn,
      buffer.bytes,
      0,
      buffer.length,
      this.state,
      'report',
    );
    if (rowId >= 0) {
      this.inserted();
      return;
    }
    this.takeRival(store.newest);
    if (conflict.indexes.length > 0 && !this.arbitrates(conflict)) {
      // Another index than the named ones: an ordinary 23505.
      this.state.reset();
      store.insert(this.handle, txn, buffer.bytes, 0, buffer.length, this.state);
      this.inserted();
      return;
    }
    this.phase = conflict.update === null ? 'pull' : 'conflict';
  }

  private inserted(): void {
    const { row } = this;
    this.affected++;
    this.keys?.written(this.plan.options.target.table, (c) => row[c] ?? null, null);
    this.returning.restart();
    this.phase = 'returning';
  }

  private takeRival(newest: RowCursor): void {
    this.rival = newest.bytes.slice(newest.start, newest.end);
    this.rivalId = newest.rowId;
    this.rivalSeen = newestSnapshot(this.frame.runtime.store, this.frame.snapshot);
    this.column = 0;
  }

  /** Whether the conflicting row has the new row's key in one of the named indexes. */
  private arbitrates(conflict: ConflictPlan): boolean {
    const { table } = this.plan.options.target;
    const rival = this.rival as Uint8Array;
    const { types } = this.frame.runtime;
    return conflict.indexes.some((index) =>
      index.columns.every((c) => {
        const a = this.row[c.column] as Value;
        const b = this.codec.decode(rival, 0, rival.length, c.column);
        if (a === null || b === null) return false;
        return (
          comparatorOf(types, (table.columns[c.column] as TableDef['columns'][number]).typeOid)(
            a,
            b,
          ) === 0
        );
      }),
    );
  }

  private resolveConflict(): void {
    const { frame, codec } = this;
    const conflict = this.plan.options.conflict as ConflictPlan;
    const { target, constraints } = this.plan.options;
    const rival = this.rival as Uint8Array;
    const { columns, slots } = this.plan.scan;
    codec.decodeInto(rival, 0, rival.length, columns, slots, frame.values);
    this.show(this.plan.excluded as ScanColumns, this.row);
    if (conflict.where !== null && conflict.where(frame) !== true) {
      this.phase = 'pull';
      return;
    }
    const update = conflict.update as NonNullable<ConflictPlan['update']>;
    for (; this.column < update.values.length; this.column++)
      this.fresh[this.column] = (update.values[this.column] as Evaluator)(frame);
    this.updated.patch(
      codec,
      { bytes: rival, start: 0, end: rival.length },
      update.columns,
      this.fresh,
    );
    const { updated } = this;
    codec.decodeInto(updated.bytes, 0, updated.length, columns, slots, frame.values);
    checkRow(frame, target.table, constraints, (c) =>
      codec.decode(updated.bytes, 0, updated.length, c),
    );
    this.state.reset();
    this.phase = 'update';
  }

  private update(): void {
    const { frame, updated, codec } = this;
    const store = frame.runtime.store;
    const conflict = this.plan.options.conflict as ConflictPlan;
    const outcome = store.update(
      this.handle,
      frame.transaction,
      this.rivalSeen,
      this.rivalId,
      updated.bytes,
      0,
      updated.length,
      this.state,
    );
    if (outcome === 'self') {
      throw new SqlError('21000', 'ON CONFLICT DO UPDATE command cannot affect row a second time', {
        hint: 'Ensure that no rows proposed for insertion within the same command have duplicate constrained values.',
      });
    }
    if (outcome === 'changed') {
      this.takeRival(store.newest);
      this.phase = 'conflict';
    } else if (outcome === 'gone') {
      this.state.reset();
      this.phase = 'insert';
    } else {
      const { table } = this.plan.options.target;
      const rival = this.rival as Uint8Array;
      const fresh = (c: number): Value => codec.decode(updated.bytes, 0, updated.length, c);
      this.affected++;
      this.keys?.written(table, fresh, new Set(conflict.update?.columns ?? []));
      this.keys?.removed(table, (c) => codec.decode(rival, 0, rival.length, c), fresh);
      this.returning.restart();
      this.phase = 'returning';
    }
  }

  private finishRow(): boolean {
    const hasRow = this.returning.finish(this.frame);
    this.phase = 'pull';
    return hasRow;
  }

  reset(): void {
    // Runs once.
  }

  close(): void {
    this.input?.close();
    this.buffer.release();
    this.updated.release();
    this.keys?.close();
  }
}
