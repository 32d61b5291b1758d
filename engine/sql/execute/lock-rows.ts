/** FOR UPDATE and its kin: locks each row as it passes; a newer version is looked at again. */
import type { RowCursor, TableHandle } from '../../tables/table-store.js';
import type { TupleCodec } from '../../catalog/definitions.js';
import type { Snapshot } from '../../txn/transaction.js';
import type { LockRequest } from '../bind/query.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';
import { newestSnapshot } from './row-writer.js';
import { scanColumns } from './scan.js';
import type { Computation } from './shape.js';

export class LockPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly input: PlanNode;
  private readonly locks: readonly LockRequest[];
  private readonly recheck: Evaluator | null;
  /** Output that is computed from the row: again after it changed. */
  private readonly computed: readonly Computation[];

  constructor(
    input: PlanNode,
    locks: readonly LockRequest[],
    recheck: Evaluator | null,
    computed: readonly Computation[],
  ) {
    this.input = input;
    this.locks = locks;
    this.recheck = recheck;
    this.computed = computed;
    this.rows = input.rows;
    this.cost = input.cost;
  }

  open(frame: Frame): Operator {
    return new LockOperator(frame.open(this.input), this.locks, this.recheck, this.computed, frame);
  }

  explain(): Explanation {
    return { title: 'LockRows', children: [this.input] };
  }
}

class LockOperator implements Operator {
  private readonly input: Operator;
  private readonly locks: readonly LockRequest[];
  private readonly recheck: Evaluator | null;
  private readonly computed: readonly Computation[];
  private readonly frame: Frame;
  private hasRow = false;
  private at = 0;
  private changed = false;
  private snapshot: Snapshot;

  constructor(
    input: Operator,
    locks: readonly LockRequest[],
    recheck: Evaluator | null,
    computed: readonly Computation[],
    frame: Frame,
  ) {
    this.input = input;
    this.locks = locks;
    this.recheck = recheck;
    this.computed = computed;
    this.frame = frame;
    this.snapshot = frame.snapshot;
  }

  next(): boolean {
    for (;;) {
      if (!this.hasRow) {
        if (!this.input.next()) return false;
        this.hasRow = true;
        this.at = 0;
        this.changed = false;
        this.snapshot = this.frame.snapshot;
      }
      if (this.lockAll() && this.stillHolds()) {
        this.hasRow = false;
        return true;
      }
      this.hasRow = false;
    }
  }

  /** False: the row is gone, or locked and to be skipped. */
  private lockAll(): boolean {
    const { frame, locks } = this;
    const store = frame.runtime.store;
    while (this.at < locks.length) {
      const { relation, mode, wait } = locks[this.at] as LockRequest;
      const rowId = frame.values[relation.rowIdSlot] as number | null;
      if (rowId === null) {
        // The empty side of an outer join.
        this.at++;
        continue;
      }
      const outcome = store.lock(
        relation.table.handle as TableHandle,
        frame.transaction,
        this.snapshot,
        rowId,
        mode,
        wait,
      );
      if (outcome === 'ok' || outcome === 'self') {
        this.at++;
        this.snapshot = frame.snapshot;
      } else if (outcome === 'changed') {
        this.load(store.newest, this.locks[this.at] as LockRequest);
        this.snapshot = newestSnapshot(store, this.snapshot);
        this.changed = true;
      } else return false;
    }
    return true;
  }

  private load(row: RowCursor, lock: LockRequest): void {
    const { columns, slots } = scanColumns(lock.relation);
    const codec = lock.relation.table.codec as TupleCodec;
    codec.decodeInto(row.bytes, row.start, row.end, columns, slots, this.frame.values);
  }

  private stillHolds(): boolean {
    if (!this.changed) return true;
    if (this.recheck !== null && this.recheck(this.frame) !== true) return false;
    for (const c of this.computed) this.frame.values[c.slot] = c.evaluate(this.frame);
    return true;
  }

  reset(): void {
    this.hasRow = false;
    this.input.reset();
  }

  close(): void {
    this.input.close();
  }
}
