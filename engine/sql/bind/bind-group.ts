/**
 * Grouping: what may be used above GROUP BY. A key that is a plain column keeps its slot (the aggregate writes the
 * group's value back into it), so that sub-queries above see the right value; other keys get a slot of their own.
 */
import type { Expr } from './expression.js';
import { rewrite, sameExpr } from './expression.js';
import type { Scope } from './scope.js';
import { typeOf } from './coerce.js';

export interface GroupingDraft {
  readonly keys: { readonly expr: Expr; readonly slot: number }[];
  readonly carried: { readonly expr: Expr; readonly slot: number }[];
}

export function groupingOf(scope: Scope, groups: readonly Expr[]): GroupingDraft {
  const context = scope.context;
  const keys: { expr: Expr; slot: number }[] = [];
  for (const expr of groups) {
    if (keys.some((k) => sameExpr(k.expr, expr))) continue;
    const type = typeOf(context, expr);
    if (context.types.hashKey(type) === null) {
      throw context.error(
        '42883',
        `could not identify an equality operator for type ${context.types.typeName(type)}`,
        undefined,
      );
    }
    keys.push({ expr, slot: expr.op === 'slot' ? expr.slot : context.newSlot() });
  }
  return { keys, carried: [] };
}

/** Rewrites an expression above the aggregation; 42803 for a column that is neither grouped nor aggregated. */
export function regroup(scope: Scope, g: GroupingDraft, e: Expr): Expr {
  const outer = new Set([...scope.outer].map((o) => o.slot));
  const check = (slot: number, relation: number): string | null => {
    if (relation === 0 || outer.has(slot)) return null;
    if (g.keys.some((k) => k.slot === slot) || g.carried.some((c) => c.slot === slot)) return null;
    const owner = scope.items.find((i) =>
      i.columns.some((c) => c.expr.op === 'slot' && c.expr.slot === slot),
    );
    const column = owner?.columns.find((c) => c.expr.op === 'slot' && c.expr.slot === slot);
    if (column?.table !== undefined && column.table !== null) {
      const table = column.table;
      const key = table.table.primaryKey;
      const dependent =
        key !== null &&
        key.columns.every((k) => g.keys.some((x) => x.slot === table.slots[k.column]));
      if (dependent) {
        g.carried.push({ expr: column.expr, slot });
        return null;
      }
    }
    return `${owner?.alias ?? ''}.${column?.name ?? ''}`;
  };
  return rewrite(e, (x) => {
    const key = g.keys.find((k) => sameExpr(k.expr, x));
    if (key !== undefined) {
      if (x.op === 'slot') return x;
      return scope.context.computed(typeOf(scope.context, x), x.typmod, key.slot, 'group');
    }
    if (x.op === 'slot') {
      const bad = check(x.slot, x.relation);
      if (bad === null) return x;
      throw scope.context.error(
        '42803',
        `column "${bad}" must appear in the GROUP BY clause or be used in an aggregate function`,
        x.location,
      );
    }
    if (x.op === 'subquery') {
      for (const o of x.query.outer) {
        const bad = check(o.slot, o.relation);
        if (bad !== null)
          throw scope.context.error(
            '42803',
            `subquery uses ungrouped column "${bad}" from outer query`,
            x.location,
          );
      }
    }
    return null;
  });
}
