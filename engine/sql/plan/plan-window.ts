/** A window to its operator. */
import type { Expr } from '../bind/expression.js';
import type { BoundWindow } from '../bind/query.js';
import type { PlanNode } from '../execute/frame.js';
import { rowComparator, rowKey } from '../execute/keys.js';
import { WindowPlan } from '../execute/window.js';
import type { Planner } from './planner.js';

/** `slots`: what must be there again when the window's rows come out. */
export function planWindow(
  p: Planner,
  w: BoundWindow,
  input: PlanNode,
  slots: readonly number[],
): PlanNode {
  const list = (es: readonly Expr[]) => es.map((e) => p.compile(e));
  const width = w.partition.length;
  const partitionOrder = w.partition.map((expr) => ({
    expr,
    descending: false,
    nullsFirst: false,
  }));
  const keys = [...partitionOrder, ...w.order];
  const compare = rowComparator(
    p.types,
    keys,
    keys.map((_, i) => i),
  );
  const peers = rowComparator(
    p.types,
    w.order,
    w.order.map((_, i) => width + i),
  );
  return new WindowPlan({
    input,
    slots,
    keys: list(keys.map((k) => k.expr)),
    compare,
    partitionKey: rowKey(
      p.types,
      w.partition.map((e) => e.type),
    ),
    partitionWidth: width,
    isPeer: (a, b) => peers(a, b) === 0,
    hasOrder: w.order.length > 0,
    frame: w.frame,
    startOffset: w.startOffset === null ? null : p.compile(w.startOffset),
    endOffset: w.endOffset === null ? null : p.compile(w.endOffset),
    functions: w.functions.map((f) => ({
      name: f.name,
      aggregate: f.aggregate,
      args: list(f.args),
      filter: f.filter === null ? null : p.compile(f.filter),
      slot: f.slot,
    })),
  });
}
