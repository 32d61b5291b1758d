/**
 * Names in sight of an expression. Scopes nest: a sub-query's parent is the query around it; a slot that is found
 * further out is noted in `outer` of every query in between (which makes it correlated).
 */
import type { BoundAggregate, BoundCte, BoundWindow, Relation, TableRelation } from './query.js';
import type { BindContext } from './context.js';
import { walk } from './expression.js';
import type { Expr, SlotExpr } from './expression.js';
import type { WindowDef } from 'libpg-query';

export interface VisibleColumn {
  readonly name: string;
  readonly expr: Expr;
  /** Set for plain columns of a table. */
  readonly table: TableRelation | null;
  /** 0-based in `table`. */
  readonly column: number;
}

export interface NamespaceItem {
  readonly alias: string;
  /** Known for tables without an alias: `schema.table.column`. */
  readonly schema: string | null;
  readonly relation: Relation | null;
  readonly columns: readonly VisibleColumn[];
  /** A function of one column: the alias alone stands for it. */
  readonly scalar: boolean;
}

export type Clause =
  | 'select'
  | 'where'
  | 'on'
  | 'group'
  | 'having'
  | 'order'
  | 'limit'
  | 'values'
  | 'from'
  | 'returning'
  | 'set'
  | 'default'
  | 'check'
  | 'window';

export class Scope {
  readonly context: BindContext;
  readonly parent: Scope | null;
  items: NamespaceItem[] = [];
  /** What an unqualified name and `*` see, USING merged. */
  columns: VisibleColumn[] = [];
  readonly ctes = new Map<string, BoundCte>();
  readonly outer = new Set<SlotExpr>();
  readonly aggregates: BoundAggregate[] = [];
  readonly windows: BoundWindow[] = [];
  readonly namedWindows = new Map<string, WindowDef>();
  clause: Clause = 'select';
  insideAggregate = false;
  /** Set-returning functions in the target list: bound as a lateral function relation. */
  readonly setReturning: Relation[] = [];

  constructor(context: BindContext, parent: Scope | null) {
    this.context = context;
    this.parent = parent;
  }

  findCte(name: string): BoundCte | null {
    for (const s of enclosing(this)) {
      const cte = s.ctes.get(name);
      if (cte !== undefined) return cte;
    }
    return null;
  }

  /** An unqualified column; null: not in sight. */
  findColumn(name: string, location: number | undefined): Expr | null {
    for (const s of enclosing(this)) {
      let found: VisibleColumn | null = null;
      for (const column of s.columns) {
        if (column.name !== name) continue;
        if (found !== null)
          throw this.context.error('42702', `column reference "${name}" is ambiguous`, location);
        found = column;
      }
      if (found !== null) return this.use(s, found, location);
    }
    return null;
  }

  findItem(
    schema: string | null,
    alias: string,
    location: number | undefined,
  ): { scope: Scope; item: NamespaceItem } | null {
    for (const s of enclosing(this)) {
      let found: NamespaceItem | null = null;
      for (const item of s.items) {
        if (item.alias !== alias || (schema !== null && item.schema !== schema)) continue;
        if (found !== null)
          throw this.context.error('42P09', `table reference "${alias}" is ambiguous`, location);
        found = item;
      }
      if (found !== null) return { scope: s, item: found };
    }
    return null;
  }

  /** Marks the column as needed and, from further in, the queries in between as correlated. */
  use(owner: Scope, column: VisibleColumn, location: number | undefined): Expr {
    if (column.table !== null) column.table.used.add(column.column);
    for (const s of enclosing(this)) {
      if (s === owner) break;
      const outer = s.outer;
      walk(column.expr, (e) => {
        if (e.op === 'slot') outer.add(e);
      });
    }
    const e = column.expr;
    return e.op === 'slot' && location !== undefined ? { ...e, location } : e;
  }
}

/** A scope and those around it, innermost first. */
function enclosing(scope: Scope): Scope[] {
  const all = [scope];
  for (let s = scope.parent; s !== null; s = s.parent) all.push(s);
  return all;
}

/** All names of a relation's columns, as an item of the FROM clause. */
export function tableItem(
  relation: TableRelation,
  alias: string,
  schema: string | null,
  names: readonly string[],
): NamespaceItem {
  const columns: VisibleColumn[] = [];
  let k = 0;
  relation.table.columns.forEach((c, i) => {
    if (c.dropped) return;
    const name = names[k++] ?? c.name;
    columns.push({
      name,
      table: relation,
      column: i,
      expr: {
        op: 'slot',
        type: c.typeOid,
        typmod: c.typmod,
        slot: relation.slots[i] as number,
        relation: relation.id,
        name,
        location: -1,
      },
    });
  });
  return { alias, schema, relation, columns, scalar: false };
}
