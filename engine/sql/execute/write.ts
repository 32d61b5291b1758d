/**
 * UPDATE and DELETE. Per row: take it from the input, evaluate its new values once, write (resumable), then RETURNING.
 *
 *     pull -> compute -> write --ok--> foreign keys noted -> RETURNING -> pull ...
 *               ^          |changed (READ COMMITTED)
 *               +----------+ newest version loaded and the condition holds on it
 *     at the end: foreign keys checked
 */
import type { TupleCodec } from '../../catalog/definitions.js';
import type {
  RowCursor,
  RowWriteState,
  TableHandle,
  WriteOutcome,
} from '../../tables/table-store.js';
import type { Snapshot } from '../../txn/transaction.js';
import type { Value } from '../../types/value.js';
import type { TableRelation } from '../bind/query.js';
import { ForeignKeyQueue } from './foreign-keys.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';
import { checkRow, newestSnapshot, TupleBuffer } from './row-writer.js';
import type { ConstraintPlan } from './row-writer.js';
import { ScanOperator, scanColumns } from './scan.js';
import type { ScanColumns } from './scan.js';
import { Returning } from './returning.js';
import type { Computation } from './shape.js';

/** Makes the state in which a suspended row write goes on; given by the table layer. */
export type MakeWriteState = () => RowWriteState;

export interface WritePlanOptions {
  readonly target: TableRelation;
  readonly input: PlanNode;
  /** null: DELETE. Ascending columns. */
  readonly columns: readonly number[] | null;
  readonly values: readonly Evaluator[];
  /** The whole condition, for a newer version of the row. */
  readonly recheck: Evaluator | null;
  readonly constraints: ConstraintPlan;
  readonly returning: readonly Computation[] | null;
  /** The input is a bare scan of the target and nothing between it and the write reads storage. */
  readonly direct: boolean;
  readonly makeState: MakeWriteState;
}

export class WritePlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  readonly options: WritePlanOptions;
  readonly scan: ScanColumns;
  readonly changed: ReadonlySet<number>;
  readonly touchesKeys: boolean;

  constructor(options: WritePlanOptions) {
    this.options = options;
    this.rows = options.input.rows;
    this.cost = options.input.cost;
    this.scan = scanColumns(options.target);
    this.changed = new Set(options.columns ?? []);
    const table = options.target.table;
    this.touchesKeys =
      options.columns === null
        ? table.referencedBy.length > 0
        : table.referencedBy.some((k) => k.referencedColumns.some((c) => this.changed.has(c)));
  }

  open(frame: Frame): WriteOperator {
    return new WriteOperator(this, frame);
  }

  explain(): Explanation {
    const name = this.options.target.table.name;
    return {
      title: this.options.columns === null ? `Delete on ${name}` : `Update on ${name}`,
      children: [this.options.input],
    };
  }
}

/** pull: wants a row; compute: has one; write: its bytes are ready; returning: it is written. */
type Phase = 'pull' | 'compute' | 'write' | 'recheck' | 'returning' | 'check' | 'done';

export class WriteOperator implements Operator {
  private readonly plan: WritePlan;
  private readonly frame: Frame;
  private readonly input: Operator;
  private readonly state: RowWriteState;
  private readonly buffer = new TupleBuffer();
  private readonly fresh: Value[] = [];
  private readonly keys: ForeignKeyQueue | null;
  private readonly handle: TableHandle;
  private readonly codec: TupleCodec;
  private phase: Phase = 'pull';
  private column = 0;
  private readonly returning: Returning;
  private rowId = 0;
  private snapshot: Snapshot;
  /** The row came again from `store.newest`, kept here because the next call overwrites that. */
  private newest: Uint8Array | null = null;
  private old: Value[] | null = null;
  /** Rows written. */
  affected = 0;

  constructor(plan: WritePlan, frame: Frame) {
    this.plan = plan;
    this.frame = frame;
    this.input = frame.open(plan.options.input);
    this.state = plan.options.makeState();
    this.returning = new Returning(plan.options.returning);
    this.snapshot = frame.snapshot;
    const table = plan.options.target.table;
    this.handle = table.handle as TableHandle;
    this.codec = table.codec as TupleCodec;
    this.keys =
      table.foreignKeys.length > 0 || table.referencedBy.length > 0
        ? new ForeignKeyQueue(frame, this.state)
        : null;
  }

  next(): boolean {
    for (;;) {
      switch (this.phase) {
        case 'pull':
          if (!this.input.next()) {
            this.phase = 'check';
            break;
          }
          this.rowId = this.frame.values[this.plan.options.target.rowIdSlot] as number;
          this.snapshot = this.frame.snapshot;
          this.newest = null;
          this.column = 0;
          this.phase = 'compute';
          break;
        case 'compute':
          this.compute();
          break;
        case 'write':
          this.write();
          break;
        case 'recheck':
          this.recheck();
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

  private compute(): void {
    const { options } = this.plan;
    const { frame, fresh } = this;
    const { values, columns } = options;
    for (; this.column < values.length; this.column++)
      fresh[this.column] = (values[this.column] as Evaluator)(frame);
    if (columns !== null) this.patch(columns);
    else if (this.plan.touchesKeys) this.rememberOld();
    this.state.reset();
    this.phase = 'write';
  }

  private patch(columns: readonly number[]): void {
    const { frame, fresh, plan } = this;
    const { target, constraints, direct } = plan.options;
    const old = this.oldTuple(direct);
    if (old === null) {
      this.phase = 'pull';
      return;
    }
    if (plan.touchesKeys)
      this.old = target.table.columns.map((_, i) =>
        this.codec.decode(old.bytes, old.start, old.end, i),
      );
    this.buffer.patch(this.codec, old, columns, fresh);
    for (let i = 0; i < columns.length; i++)
      frame.values[target.slots[columns[i] as number] as number] = fresh[i] as Value;
    if (constraints.notNull.length > 0 || constraints.checks.length > 0) {
      const { codec, buffer } = this;
      checkRow(frame, target.table, constraints, (c) =>
        codec.decode(buffer.bytes, 0, buffer.length, c),
      );
    }
  }

  private oldTuple(direct: boolean): { bytes: Uint8Array; start: number; end: number } | null {
    if (this.newest !== null) return { bytes: this.newest, start: 0, end: this.newest.length };
    if (direct && this.input instanceof ScanOperator) return this.input.cursor;
    return this.frame.runtime.store.fetch(this.handle, this.frame.snapshot, this.rowId);
  }

  private rememberOld(): void {
    const tuple = this.oldTuple(this.plan.options.direct);
    const { columns } = this.plan.options.target.table;
    this.old =
      tuple === null
        ? null
        : columns.map((_, i) => this.codec.decode(tuple.bytes, tuple.start, tuple.end, i));
  }

  private write(): void {
    const { frame, buffer, plan } = this;
    const store = frame.runtime.store;
    let outcome: WriteOutcome;
    if (plan.options.columns === null) {
      outcome = store.delete(this.handle, frame.transaction, this.snapshot, this.rowId, this.state);
    } else {
      outcome = store.update(
        this.handle,
        frame.transaction,
        this.snapshot,
        this.rowId,
        buffer.bytes,
        0,
        buffer.length,
        this.state,
      );
    }
    if (outcome === 'ok') {
      this.affected++;
      this.noteKeys();
      this.returning.restart();
      this.phase = 'returning';
    } else if (outcome === 'changed') {
      this.takeNewest(store.newest);
    } else {
      this.phase = 'pull';
    }
  }

  /** Another transaction's newer version: goes on with it when the condition still holds. */
  private takeNewest(newest: RowCursor): void {
    const { frame, plan } = this;
    this.newest = newest.bytes.slice(newest.start, newest.end);
    this.snapshot = newestSnapshot(frame.runtime.store, this.snapshot);
    const { columns, slots } = plan.scan;
    this.codec.decodeInto(this.newest, 0, this.newest.length, columns, slots, frame.values);
    this.column = 0;
    this.phase = 'recheck';
  }

  /** A phase of its own: the condition may suspend. */
  private recheck(): void {
    const { recheck } = this.plan.options;
    this.phase = recheck === null || recheck(this.frame) === true ? 'compute' : 'pull';
  }

  private noteKeys(): void {
    const { keys, plan, old } = this;
    if (keys === null) return;
    const { table } = plan.options.target;
    if (plan.options.columns === null) {
      if (old !== null) keys.removed(table, (c) => old[c] ?? null, null);
      return;
    }
    const { codec, buffer } = this;
    const fresh = (c: number): Value => codec.decode(buffer.bytes, 0, buffer.length, c);
    keys.written(table, fresh, plan.changed);
    if (plan.touchesKeys && old !== null) keys.removed(table, (c) => old[c] ?? null, fresh);
  }

  /** RETURNING; true: a row is ready. */
  private finishRow(): boolean {
    const hasRow = this.returning.finish(this.frame);
    this.phase = 'pull';
    return hasRow;
  }

  reset(): void {
    // A write runs once: read again from a WITH query it is materialised there.
  }

  close(): void {
    this.input.close();
    this.buffer.release();
    this.keys?.close();
  }
}
