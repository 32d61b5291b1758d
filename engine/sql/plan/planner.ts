/** What planning one statement shares: evaluators, sub-plans, WITH queries. */
import type { CatalogReader } from '../../catalog/definitions.js';
import type { TableHandle, TableStore } from '../../tables/table-store.js';
import { SqlError } from '../../sql-error.js';
import type { Expr, SubqueryExpr } from '../bind/expression.js';
import { childrenOf } from '../bind/expression.js';
import type { BoundCte, BoundQuery, FromTree, OutputColumn } from '../bind/query.js';
import type { TypeSystem } from '../bind/type-system.js';
import { compileExpr } from '../execute/evaluate.js';
import type { EvaluatorEnvironment } from '../execute/evaluate.js';
import type { Evaluator, PlanNode } from '../execute/frame.js';
import { hashCompatible } from '../execute/keys.js';
import {
  arraySubquery,
  existsSubquery,
  hashedSubquery,
  quantifiedSubquery,
  scalarSubquery,
} from '../execute/subplan.js';
import type { Subplan } from '../execute/subplan.js';
import type { MakeWriteState } from '../execute/write.js';
import { planQuery } from './plan-query.js';

export interface CtePlan {
  readonly cte: BoundCte;
  plan: PlanNode | null;
  slots: readonly number[];
  /** Data-modifying: runs even when nobody reads it. */
  readonly isWrite: boolean;
}

export class Planner implements EvaluatorEnvironment {
  readonly types: TypeSystem;
  readonly store: TableStore;
  readonly catalog: CatalogReader;
  readonly makeState: MakeWriteState;
  readonly ctes = new Map<number, CtePlan>();
  /** Ids of recursive queries whose step is being planned: references read the work table. */
  readonly working = new Set<number>();
  readonly subplans: PlanNode[] = [];
  /** Tables planned for, with the sizes believed. */
  readonly tables = new Map<TableHandle, number>();
  slotCount: number;
  private count = 0;

  constructor(options: {
    types: TypeSystem;
    store: TableStore;
    catalog: CatalogReader;
    makeState: MakeWriteState;
    slotCount: number;
  }) {
    this.types = options.types;
    this.store = options.store;
    this.catalog = options.catalog;
    this.makeState = options.makeState;
    this.slotCount = options.slotCount;
  }

  newSlot(): number {
    return this.slotCount++;
  }

  compile(e: Expr): Evaluator {
    return compileExpr(this, e);
  }

  subquery(e: SubqueryExpr): Evaluator {
    const plan = planQuery(this, e.query, e.how === 'exists' ? 1 : e.how === 'scalar' ? 2 : null);
    this.subplans.push(plan);
    const s: Subplan = {
      index: this.count++,
      plan,
      outputSlot: e.query.output[0]?.slot ?? -1,
      correlated: e.query.outer.size > 0 || readsOuterCte(this, e.query),
    };
    switch (e.how) {
      case 'scalar':
        return scalarSubquery(s);
      case 'exists':
        return existsSubquery(s);
      case 'array':
        return arraySubquery(s, this.types.elementOf(e.type));
      case 'any':
      case 'all': {
        const test = e.test;
        if (test === null) throw new SqlError('XX000', 'a quantified sub-query has no test');
        if (e.left !== null && e.how === 'any' && !s.correlated) {
          const column = e.query.output[0] as OutputColumn;
          if (e.left.type === column.type && hashCompatible(this.types, e.left.type, column.type)) {
            const hashed = hashedSubquery(s, this.types, e.left, this.compile(e.left));
            if (hashed !== null) return hashed;
          }
        }
        return quantifiedSubquery(s, this.compile(test), e.how === 'all');
      }
    }
  }
}

/** A recursive step's sub-query over the work table changes from round to round. */
function readsOuterCte(p: Planner, q: BoundQuery): boolean {
  if (p.working.size === 0) return false;
  return q.kind !== 'values';
}

/** Relations of the same query level that an expression reads, sub-queries and laterals included. */
export function relationsOf(e: Expr, into: Set<number> = new Set()): Set<number> {
  if (e.op === 'slot' && e.relation !== 0) into.add(e.relation);
  if (e.op === 'subquery') for (const o of e.query.outer) into.add(o.relation);
  for (const c of childrenOf(e)) relationsOf(c, into);
  return into;
}

export function treeRelations(tree: FromTree, into: Set<number> = new Set()): Set<number> {
  if (tree.kind === 'relation') into.add(tree.relation.id);
  else if (tree.kind === 'filter') treeRelations(tree.input, into);
  else {
    treeRelations(tree.left, into);
    treeRelations(tree.right, into);
  }
  return into;
}
