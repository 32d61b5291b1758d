/** ORDER BY items over plain expressions (aggregates, windows); a query's own ORDER BY is in bind-select. */
import type { Node, SortBy } from 'libpg-query';
import { allowOnly, fields } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { resolveUnknown, typeOf } from './coerce.js';
import type { Expr } from './expression.js';
import type { SortKey } from './query.js';
import type { Scope } from './scope.js';

const HANDLED = fields('node sortby_dir sortby_nulls');

export function sortByOf(scope: Scope, node: Node): SortBy {
  if (!('SortBy' in node)) throw scope.context.refuse('sort key', undefined);
  allowOnly(node.SortBy, HANDLED, 'ORDER BY', scope.context.at(node.SortBy.location));
  return node.SortBy;
}

export function makeSortKey(scope: Scope, e: Expr, by: SortBy): SortKey {
  const context = scope.context;
  const expr = resolveUnknown(context, e);
  const type = typeOf(context, expr);
  if (context.types.comparator(type) === null) {
    throw context.error(
      '42883',
      `could not identify an ordering operator for type ${context.types.typeName(type)}`,
      by.location,
      { hint: 'Use an explicit ordering operator or modify the query.' },
    );
  }
  const descending = by.sortby_dir === 'SORTBY_DESC';
  const nullsFirst =
    by.sortby_nulls === 'SORTBY_NULLS_FIRST' ||
    (by.sortby_nulls !== 'SORTBY_NULLS_LAST' && descending);
  return { expr, descending, nullsFirst };
}

export function bindSortKeys(scope: Scope, nodes: readonly Node[]): SortKey[] {
  return nodes.map((n) => {
    const by = sortByOf(scope, n);
    return makeSortKey(scope, bindExpr(scope, by.node as Node), by);
  });
}
