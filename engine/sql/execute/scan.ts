/** Reading tables: by heap order, by index ranges; virtual relations; functions, VALUES and WITH queries. */
import type { IndexDef, TableDef, TupleCodec } from '../../catalog/definitions.js';
import type { KeyRange, RowCursor, TableHandle } from '../../tables/table-store.js';
import type { Value } from '../../types/value.js';
import type { TableRelation } from '../bind/query.js';
import type { Evaluator, Explanation, Frame, Operator, PlanNode } from './frame.js';

/** What a scan decodes: columns ascending and their slots. */
export interface ScanColumns {
  readonly columns: readonly number[];
  readonly slots: readonly number[];
  /** -1: not wanted. */
  readonly rowIdSlot: number;
}

export function scanColumns(r: TableRelation): ScanColumns {
  const columns = [...r.used].sort((a, b) => a - b);
  return {
    columns,
    slots: columns.map((c) => r.slots[c] as number),
    rowIdSlot: r.needsRowId ? r.rowIdSlot : -1,
  };
}

/** A key made at run time: values of the leading columns, then bounds on the next one. */
export interface ProbePlan {
  /** null: no usable value for this key now (NULL or out of the column's range): no rows. */
  readonly prefix: readonly Evaluator[];
  readonly lower: Evaluator | null;
  readonly lowerInclusive: boolean;
  readonly upper: Evaluator | null;
  readonly upperInclusive: boolean;
  /** `col IN (...)` at the last place of the prefix: one probe per element. */
  readonly list: ((frame: Frame) => readonly Value[] | null) | null;
  /** The column after the prefix is DESC: bounds change sides. */
  readonly descending: boolean;
}

export class ScanPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  readonly relation: TableRelation;
  readonly table: TableHandle;
  readonly codec: TupleCodec;
  readonly columns: ScanColumns;
  readonly index: IndexDef | null;
  readonly probe: ProbePlan | null;
  readonly reverse: boolean;
  readonly filter: Evaluator | null;
  readonly text: readonly string[];

  constructor(options: {
    relation: TableRelation;
    index: IndexDef | null;
    probe: ProbePlan | null;
    reverse: boolean;
    filter: Evaluator | null;
    rows: number;
    cost: number;
    text: readonly string[];
  }) {
    const table: TableDef = options.relation.table;
    this.relation = options.relation;
    this.table = table.handle as TableHandle;
    this.codec = table.codec as TupleCodec;
    this.columns = scanColumns(options.relation);
    this.index = options.index;
    this.probe = options.probe;
    this.reverse = options.reverse;
    this.filter = options.filter;
    this.rows = options.rows;
    this.cost = options.cost;
    this.text = options.text;
  }

  open(frame: Frame): ScanOperator {
    return new ScanOperator(this, frame);
  }

  explain(): Explanation {
    const t = this.relation.table;
    const alias = this.relation.alias === t.name ? '' : ` ${this.relation.alias}`;
    const back = this.reverse ? ' Backward' : '';
    const title =
      this.index === null
        ? `Seq Scan${back} on ${t.name}${alias}`
        : `Index Scan${back} using ${this.index.name} on ${t.name}${alias}`;
    return { title, details: this.text };
  }
}

export class ScanOperator implements Operator {
  private readonly plan: ScanPlan;
  private readonly frame: Frame;
  cursor: RowCursor | null = null;
  /** Elements of an IN list still to probe, and the next one. */
  private list: readonly Value[] | null = null;
  private at = 0;
  private started = false;
  /** The cursor stands on a row whose filter has not answered yet. */
  private pending = false;

  constructor(plan: ScanPlan, frame: Frame) {
    this.plan = plan;
    this.frame = frame;
  }

  next(): boolean {
    const { plan, frame } = this;
    const { codec, columns, filter } = plan;
    for (;;) {
      if (!this.pending) {
        if (this.cursor === null && !this.openNext()) return false;
        const cursor = this.cursor as RowCursor;
        frame.tick();
        if (!cursor.next()) {
          cursor.close();
          this.cursor = null;
          if (this.list === null) this.at = 1;
          continue;
        }
        codec.decodeInto(
          cursor.bytes,
          cursor.start,
          cursor.end,
          columns.columns,
          columns.slots,
          frame.values,
        );
        if (columns.rowIdSlot >= 0) frame.values[columns.rowIdSlot] = cursor.rowId;
        if (filter === null) return true;
        this.pending = true;
      }
      const accepted = (filter as Evaluator)(frame) === true;
      this.pending = false;
      if (accepted) return true;
    }
  }

  /** The next cursor; false: none left. */
  private openNext(): boolean {
    const { plan, frame } = this;
    if (!this.started) {
      this.list = plan.probe?.list?.(frame) ?? null;
      this.at = 0;
      this.started = true;
    }
    const store = frame.runtime.store;
    if (plan.probe === null || plan.index === null) {
      if (this.at > 0) return false;
      this.cursor =
        plan.index === null
          ? store.scan(plan.table, frame.snapshot, plan.reverse)
          : store.indexScan(
              plan.table,
              plan.index.handle,
              frame.snapshot,
              EVERYTHING,
              plan.reverse,
            );
      return true;
    }
    if (plan.probe.list !== null) {
      if (this.list === null || this.at >= this.list.length) return false;
      const range = makeRange(plan.index, plan.probe, frame, this.list[this.at] as Value);
      this.cursor =
        range === null
          ? null
          : store.indexScan(plan.table, plan.index.handle, frame.snapshot, range, plan.reverse);
      this.at++;
      return this.cursor !== null || this.openNext();
    }
    if (this.at > 0) return false;
    const range = makeRange(plan.index, plan.probe, frame, null);
    if (range === null) {
      this.at = 1;
      return false;
    }
    this.cursor = store.indexScan(
      plan.table,
      plan.index.handle,
      frame.snapshot,
      range,
      plan.reverse,
    );
    return true;
  }

  reset(): void {
    this.close();
    this.started = false;
    this.at = 0;
    this.pending = false;
  }

  close(): void {
    this.cursor?.close();
    this.cursor = null;
  }
}

const EVERYTHING: KeyRange = {
  lower: null,
  lowerInclusive: true,
  upper: null,
  upperInclusive: true,
};
const KEY_BYTES = 64;

/** The range of keys for one probe; null: a NULL makes it empty. */
export function makeRange(
  index: IndexDef,
  probe: ProbePlan,
  frame: Frame,
  element: Value,
): KeyRange | null {
  const values: Value[] = [];
  for (let i = 0; i < probe.prefix.length; i++) {
    const v = (probe.prefix[i] as Evaluator)(frame);
    if (v === null) return null;
    values.push(v);
  }
  if (probe.list !== null) {
    if (element === null) return null;
    values.push(element);
  }
  const prefix = values.length === 0 ? null : encode(index, values);
  if (probe.lower === null && probe.upper === null)
    return { lower: prefix, lowerInclusive: true, upper: prefix, upperInclusive: true };
  let lower = prefix;
  let upper = prefix;
  let lowerInclusive = true;
  let upperInclusive = true;
  const bound = (e: Evaluator): Uint8Array | null => {
    const v = e(frame);
    return v === null ? null : encode(index, [...values, v]);
  };
  if (probe.lower !== null) {
    const key = bound(probe.lower);
    if (key === null) return null;
    if (probe.descending) {
      upper = key;
      upperInclusive = probe.lowerInclusive;
    } else {
      lower = key;
      lowerInclusive = probe.lowerInclusive;
    }
  }
  if (probe.upper !== null) {
    const key = bound(probe.upper);
    if (key === null) return null;
    if (probe.descending) {
      lower = key;
      lowerInclusive = probe.upperInclusive;
    } else {
      upper = key;
      upperInclusive = probe.upperInclusive;
    }
  }
  return { lower, lowerInclusive, upper, upperInclusive };
}

function encode(index: IndexDef, values: readonly Value[]): Uint8Array {
  let target = new Uint8Array(KEY_BYTES);
  let length = index.encodePrefix(values, values.length, target);
  if (length < 0) {
    target = new Uint8Array(-length);
    length = index.encodePrefix(values, values.length, target);
  }
  return length === target.length ? target : target.subarray(0, length);
}

/** Rows that are made on the fly: catalog views. */
export class VirtualPlan implements PlanNode {
  readonly rows = 100;
  readonly cost = 200;
  private readonly relation: TableRelation;
  private readonly filter: Evaluator | null;

  constructor(relation: TableRelation, filter: Evaluator | null) {
    this.relation = relation;
    this.filter = filter;
  }

  open(frame: Frame): Operator {
    const { columns, slots } = scanColumns(this.relation);
    return new RowsOperator(
      frame,
      () => this.relation.table.rows?.(frame.context.session) ?? [],
      columns,
      slots,
      this.filter,
    );
  }

  explain(): Explanation {
    return { title: `Catalog Scan on ${this.relation.table.name}` };
  }
}

/** Walks an iterable of rows into slots. */
export class RowsOperator implements Operator {
  private readonly frame: Frame;
  private readonly make: () => Iterable<readonly Value[]>;
  private readonly columns: readonly number[];
  private readonly slots: readonly number[];
  private readonly filter: Evaluator | null;
  private iterator: Iterator<readonly Value[]> | null = null;
  private pending = false;

  constructor(
    frame: Frame,
    make: () => Iterable<readonly Value[]>,
    columns: readonly number[],
    slots: readonly number[],
    filter: Evaluator | null,
  ) {
    this.frame = frame;
    this.make = make;
    this.columns = columns;
    this.slots = slots;
    this.filter = filter;
  }

  next(): boolean {
    const { frame, columns, slots, filter } = this;
    for (;;) {
      if (!this.pending) {
        this.iterator ??= this.make()[Symbol.iterator]();
        frame.tick();
        const step = this.iterator.next();
        if (step.done === true) return false;
        const row = step.value;
        for (let i = 0; i < columns.length; i++)
          frame.values[slots[i] as number] = row[columns[i] as number] ?? null;
        if (filter === null) return true;
        this.pending = true;
      }
      const accepted = (filter as Evaluator)(frame) === true;
      this.pending = false;
      if (accepted) return true;
    }
  }

  reset(): void {
    this.iterator = null;
    this.pending = false;
  }

  close(): void {
    this.iterator = null;
  }
}

export interface FunctionPart {
  readonly set: boolean;
  /** Of a set-returning function: its arguments; else the value. */
  readonly args: readonly Evaluator[];
  readonly call: (...args: unknown[]) => unknown;
  readonly needsContext: boolean;
  readonly strict: boolean;
  readonly slots: readonly number[];
}

/** Functions in FROM, in lockstep when there are several. */
export class FunctionPlan implements PlanNode {
  readonly rows = 100;
  readonly cost = 100;
  private readonly parts: readonly FunctionPart[];
  private readonly ordinalitySlot: number;
  private readonly filter: Evaluator | null;
  private readonly alias: string;

  constructor(
    parts: readonly FunctionPart[],
    ordinalitySlot: number,
    filter: Evaluator | null,
    alias: string,
  ) {
    this.parts = parts;
    this.ordinalitySlot = ordinalitySlot;
    this.filter = filter;
    this.alias = alias;
  }

  open(frame: Frame): Operator {
    const slots = this.parts.flatMap((p) => p.slots);
    if (this.ordinalitySlot >= 0) slots.push(this.ordinalitySlot);
    return new RowsOperator(
      frame,
      () => this.make(frame),
      slots.map((_, i) => i),
      slots,
      this.filter,
    );
  }

  /** Arguments are evaluated here, before the first row: what suspends suspends now and is repeated whole. */
  private make(frame: Frame): Iterable<readonly Value[]> {
    const iterables = this.parts.map((p) => {
      const args: unknown[] = p.args.map((a) => a(frame));
      if (!p.set) {
        const value = args[0] as Value;
        return [p.slots.length > 1 && Array.isArray(value) ? value : [value]] as readonly Value[][];
      }
      if (p.strict && args.some((a) => a === null)) return [];
      if (p.needsContext) args.unshift(frame.context.session);
      return wrap(p.call(...args) as Iterable<Value>, p.slots.length);
    });
    return zip(iterables, this.parts, this.ordinalitySlot >= 0);
  }

  explain(): Explanation {
    return { title: `Function Scan on ${this.alias}` };
  }
}

function* wrap(values: Iterable<Value>, width: number): Iterable<readonly Value[]> {
  for (const v of values) yield width > 1 && Array.isArray(v) ? (v as readonly Value[]) : [v];
}

function* zip(
  iterables: readonly Iterable<readonly Value[]>[],
  parts: readonly FunctionPart[],
  ordinality: boolean,
): Iterable<readonly Value[]> {
  const iterators = iterables.map((i) => i[Symbol.iterator]());
  for (let n = 1n; ; n++) {
    const steps = iterators.map((i) => i.next());
    if (steps.every((s) => s.done === true)) return;
    const row: Value[] = [];
    steps.forEach((s, i) => {
      const width = (parts[i] as FunctionPart).slots.length;
      for (let c = 0; c < width; c++)
        row.push(s.done === true ? null : ((s.value as readonly Value[])[c] ?? null));
    });
    if (ordinality) row.push(n);
    yield row;
  }
}

/** VALUES rows; also the one empty row of a SELECT without FROM. */
export class ValuesPlan implements PlanNode {
  readonly rows: number;
  readonly cost: number;
  private readonly list: readonly (readonly Evaluator[])[];
  private readonly slots: readonly number[];

  constructor(list: readonly (readonly Evaluator[])[], slots: readonly number[]) {
    this.list = list;
    this.slots = slots;
    this.rows = list.length;
    this.cost = list.length;
  }

  open(frame: Frame): Operator {
    return new ValuesOperator(this.list, this.slots, frame);
  }

  explain(): Explanation {
    return { title: this.slots.length === 0 ? 'Result' : 'Values Scan' };
  }
}

class ValuesOperator implements Operator {
  private readonly list: readonly (readonly Evaluator[])[];
  private readonly slots: readonly number[];
  private readonly frame: Frame;
  private at = 0;
  private column = 0;

  constructor(list: readonly (readonly Evaluator[])[], slots: readonly number[], frame: Frame) {
    this.list = list;
    this.slots = slots;
    this.frame = frame;
  }

  next(): boolean {
    const row = this.list[this.at];
    if (row === undefined) return false;
    for (; this.column < row.length; this.column++)
      this.frame.values[this.slots[this.column] as number] = (row[this.column] as Evaluator)(
        this.frame,
      );
    this.column = 0;
    this.at++;
    return true;
  }

  reset(): void {
    this.at = 0;
    this.column = 0;
  }

  close(): void {}
}
