/** One run of a planned statement: rows out of the plan's slots, the command tag. */
import type { Operator, PlanNode } from './execute/frame.js';
import { Frame } from './execute/frame.js';
import type { NodeCounts, Runtime } from './execute/frame.js';
import { InsertOperator } from './execute/insert.js';
import { cteAdvance, cteRun } from './execute/keep.js';
import { WriteOperator } from './execute/write.js';
import type { CtePlan } from './plan/planner.js';
import type { Execution, ExecutionContext } from './statement.js';
import type { TableHandle } from '../tables/table-store.js';
import type { Value } from '../types/value.js';

export interface StatementPlan {
  readonly plan: PlanNode;
  readonly slotCount: number;
  readonly outputSlots: readonly number[];
  /** null: no rows, only a count. */
  readonly hasRows: boolean;
  readonly tag: 'SELECT' | 'INSERT 0' | 'UPDATE' | 'DELETE';
  /** Data-modifying WITH queries: run to their end whether or not they are read. */
  readonly writes: readonly CtePlan[];
  readonly workBytes: number;
  /** Sizes that the plan was made for. */
  readonly tables: readonly { readonly handle: TableHandle; readonly rows: number }[];
}

export class StatementExecution implements Execution {
  readonly row: Value[] = [];
  rowCount = 0;
  private readonly statement: StatementPlan;
  private readonly frame: Frame;
  private readonly root: Operator;
  private readonly affected: { readonly affected: number } | null;
  private isDone = false;

  constructor(
    statement: StatementPlan,
    context: ExecutionContext,
    runtime: Runtime,
    counts: Map<PlanNode, NodeCounts> | null = null,
  ) {
    this.statement = statement;
    this.frame = new Frame(statement.slotCount, context, runtime, statement.workBytes, counts);
    const root = statement.plan.open(this.frame);
    this.root = root;
    this.affected = root instanceof WriteOperator || root instanceof InsertOperator ? root : null;
  }

  step(): 'row' | 'done' {
    const { statement, frame, row } = this;
    if (this.isDone) return 'done';
    if (this.root.next()) {
      const { outputSlots } = statement;
      for (let i = 0; i < outputSlots.length; i++)
        row[i] = frame.values[outputSlots[i] as number] as Value;
      if (this.affected === null) this.rowCount++;
      else this.rowCount = this.affected.affected;
      return 'row';
    }
    for (const w of statement.writes) {
      const run = cteRun(frame, w.cte.id, w.plan as PlanNode);
      while (cteAdvance(frame, run, w.slots)) {
        // Rows nobody reads.
      }
    }
    if (this.affected !== null) this.rowCount = this.affected.affected;
    this.finish();
    return 'done';
  }

  get tag(): string {
    return `${this.statement.tag} ${this.rowCount}`;
  }

  close(): void {
    if (!this.isDone) this.finish();
  }

  private finish(): void {
    this.isDone = true;
    this.root.close();
    this.frame.close();
  }
}

/** Rows that are known beforehand or made by a callback: EXPLAIN, SHOW and the like. */
export class RowsExecution implements Execution {
  row: Value[] = [];
  rowCount = 0;
  readonly tag: string;
  private readonly rows: Iterator<Value[]>;

  constructor(rows: Iterable<Value[]>, tag: string) {
    this.rows = rows[Symbol.iterator]();
    this.tag = tag;
  }

  step(): 'row' | 'done' {
    const next = this.rows.next();
    if (next.done === true) return 'done';
    this.row = next.value;
    this.rowCount++;
    return 'row';
  }

  close(): void {}
}
