/**
 * The state of one run of a plan: slot values, parameters, sub-plans.
 *
 * Resumption: an operator changes its own state only after its children returned, so a `Suspend` thrown from below
 * leaves every operator such that the same `next()` goes on. An expression that suspended in a sub-plan is evaluated
 * again from its start; its sub-plans remember how far they were.
 */
import type { TypeSystem } from '../bind/type-system.js';
import type { CatalogReader } from '../../catalog/definitions.js';
import { Suspend } from '../../pages/suspend.js';
import type { TableStore } from '../../tables/table-store.js';
import type { Snapshot, Transaction } from '../../txn/transaction.js';
import type { Value } from '../../types/value.js';
import type { ExecutionContext } from '../statement.js';
import { SqlError } from '../../sql-error.js';

export interface Operator {
  /** True: the next row is in its slots. */
  next(): boolean;
  /** From the start again, with the present values of outer slots. */
  reset(): void;
  close(): void;
}

export interface Runtime {
  readonly store: TableStore;
  readonly types: TypeSystem;
  /** For foreign keys: the tables at the other end. */
  readonly catalog: CatalogReader;
}

export type Evaluator = (frame: Frame) => Value;

export interface Explanation {
  readonly title: string;
  readonly details?: readonly string[];
  readonly children?: readonly PlanNode[];
}

/** A planned operator; immutable, shared by all runs. */
export interface PlanNode {
  readonly rows: number;
  readonly cost: number;
  open(frame: Frame): Operator;
  explain(): Explanation;
}

/** Counts what EXPLAIN ANALYZE shows. */
export interface NodeCounts {
  rows: number;
  loops: number;
}

const ROWS_PER_TURN = 1000;

export class Frame {
  readonly values: Value[];
  readonly parameters: readonly Value[];
  readonly context: ExecutionContext;
  readonly runtime: Runtime;
  readonly transaction: Transaction;
  snapshot: Snapshot;
  readonly subplans: (SubplanRun | undefined)[] = [];
  private ctesMade: Map<number, unknown> | null = null;
  readonly counts: Map<PlanNode, NodeCounts> | null;
  /** Rows kept by sorts, hashes and materialised queries, roughly in bytes. */
  private kept = 0;
  private readonly keptMax: number;
  private ticks = 0;

  constructor(
    slotCount: number,
    context: ExecutionContext,
    runtime: Runtime,
    workBytes: number,
    counts: Map<PlanNode, NodeCounts> | null = null,
  ) {
    const values: Value[] = [];
    for (let i = 0; i < slotCount; i++) values.push(null);
    this.values = values;
    this.parameters = context.parameters;
    this.context = context;
    this.runtime = runtime;
    this.transaction = context.transaction;
    this.snapshot = context.snapshot;
    this.keptMax = workBytes;
    this.counts = counts;
  }

  /** State of WITH queries by id. */
  get ctes(): Map<number, unknown> {
    this.ctesMade ??= new Map();
    return this.ctesMade;
  }

  /** Called by scans before each row; gives the thread back now and then. */
  tick(): void {
    if (++this.ticks < ROWS_PER_TURN) return;
    this.ticks = 0;
    const yieldNow = this.context.yieldNow;
    if (yieldNow !== undefined) throw new Suspend('turn', yieldNow());
  }

  /** Accounts for a kept row; 53200 beyond work_mem. */
  keep(row: readonly Value[]): void {
    this.kept += rowBytes(row);
    if (this.kept <= this.keptMax) return;
    throw new SqlError('53200', 'out of memory', {
      detail: `A sort or hash of this statement needs more than work_mem (${Math.round(this.keptMax / 1024)} kB).`,
      hint: 'Increase work_mem.',
    });
  }

  release(rows: readonly (readonly Value[])[]): void {
    for (const row of rows) this.kept -= rowBytes(row);
  }

  /** Gives back what sub-plans and WITH queries hold. */
  close(): void {
    for (const run of this.subplans) run?.operator.close();
    if (this.ctesMade === null) return;
    for (const run of this.ctesMade.values()) {
      const { operator } = run as { readonly operator?: Operator | null };
      operator?.close();
    }
  }

  open(node: PlanNode): Operator {
    const operator = node.open(this);
    if (this.counts === null) return operator;
    return new Counting(operator, node, this.counts);
  }
}

function rowBytes(row: readonly Value[]): number {
  let bytes = 32 + row.length * 8;
  for (let i = 0; i < row.length; i++) {
    const v = row[i];
    if (typeof v === 'string') bytes += 16 + v.length;
    else if (typeof v === 'object' && v !== null)
      bytes += v instanceof Uint8Array ? v.length + 64 : 64;
    else if (typeof v === 'bigint') bytes += 24;
  }
  return bytes;
}

/** Where a sub-plan stands within this run. */
export interface SubplanRun {
  readonly operator: Operator;
  running: boolean;
  /** An uncorrelated one has its answer once. */
  done: boolean;
  value: Value;
  count: number;
  sawNull: boolean;
  set: Set<string | number | bigint | boolean> | null;
  list: Value[];
}

class Counting implements Operator {
  private readonly inner: Operator;
  private readonly count: NodeCounts;

  constructor(inner: Operator, node: PlanNode, counts: Map<PlanNode, NodeCounts>) {
    this.inner = inner;
    const known = counts.get(node);
    this.count = known ?? { rows: 0, loops: 1 };
    if (known === undefined) counts.set(node, this.count);
  }

  next(): boolean {
    const found = this.inner.next();
    if (found) this.count.rows++;
    return found;
  }

  reset(): void {
    this.inner.reset();
    this.count.loops++;
  }

  close(): void {
    this.inner.close();
  }
}
