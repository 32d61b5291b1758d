/** EXPLAIN in text: the plan's operators as a tree, with counts under ANALYZE. */
import type { DefElem, ExplainStmt, Node } from 'libpg-query';
import { SqlError, notSupported } from '../sql-error.js';
import type { NodeCounts, PlanNode } from './execute/frame.js';
import { PlannedStatement } from './compiler.js';
import { RowsExecution } from './execution.js';
import type { StatementExecution } from './execution.js';
import { stringOf } from './parse/ast.js';
import type { ParsedStatement } from './parse/parser.js';
import type { CompiledStatement, Execution, ExecutionContext } from './statement.js';
import type { Value } from '../types/value.js';
import { TEXT } from './bind/type-system.js';

interface Options {
  analyze: boolean;
  costs: boolean;
  timing: boolean;
}

export function compileExplain(
  e: ExplainStmt,
  statement: ParsedStatement,
  compile: (node: Node) => CompiledStatement,
): CompiledStatement {
  const options = optionsOf(e);
  const inner = compile(e.query as Node);
  if (!(inner instanceof PlannedStatement)) throw notSupported('EXPLAIN of this statement');
  return {
    kind: options.analyze ? inner.kind : 'query',
    parameterOids: inner.parameterOids,
    columns: [
      { name: 'QUERY PLAN', typeOid: TEXT, typeModifier: -1, tableOid: 0, columnNumber: 0 },
    ],
    node: statement.node,
    catalogVersion: inner.catalogVersion,
    open: (context) =>
      options.analyze
        ? new AnalyzeExecution(inner, context, options)
        : new RowsExecution(lines(inner.statement.plan, options, null), 'EXPLAIN'),
  };
}

function optionsOf(e: ExplainStmt): Options {
  const options: Options = { analyze: false, costs: true, timing: true };
  for (const node of e.options ?? []) {
    if (!('DefElem' in node)) continue;
    const d = node.DefElem;
    const name = d.defname ?? '';
    switch (name) {
      case 'analyze':
        options.analyze = isOn(d);
        break;
      case 'costs':
        options.costs = isOn(d);
        break;
      case 'timing':
      case 'summary':
        options.timing = isOn(d);
        break;
      case 'verbose':
      case 'buffers':
      case 'settings':
      case 'wal':
        if (isOn(d)) throw notSupported(`EXPLAIN (${name.toUpperCase()})`);
        break;
      case 'format': {
        const format = stringOf(d.arg).toLowerCase();
        if (format !== 'text') throw notSupported(`EXPLAIN (FORMAT ${format.toUpperCase()})`);
        break;
      }
      default:
        throw new SqlError('42601', `unrecognized EXPLAIN option "${d.defname}"`);
    }
  }
  return options;
}

function isOn(d: DefElem): boolean {
  if (d.arg === undefined) return true;
  if ('Boolean' in d.arg) return d.arg.Boolean.boolval === true;
  if ('Integer' in d.arg) return (d.arg.Integer.ival ?? 0) !== 0;
  return ['true', 'on', '1'].includes(stringOf(d.arg).toLowerCase());
}

function* lines(
  plan: PlanNode,
  options: Options,
  counts: ReadonlyMap<PlanNode, NodeCounts> | null,
  depth = 0,
): Generator<Value[]> {
  const { title, details, children } = plan.explain();
  const pad = depth === 0 ? '' : `${' '.repeat(depth * 6 - 4)}->  `;
  const rows = Math.round(plan.rows);
  const cost = options.costs ? `  (cost=0.00..${plan.cost.toFixed(2)} rows=${rows} width=0)` : '';
  const count = counts?.get(plan);
  const actual =
    counts === null
      ? ''
      : count === undefined
        ? ''
        : ` (actual rows=${Math.round(count.rows / count.loops)} loops=${count.loops})`;
  yield [`${pad}${title}${cost}${actual}`];
  const inside = ' '.repeat(depth * 6 + 2);
  for (const d of details ?? []) yield [`${inside}${d}`];
  for (const c of children ?? []) yield* lines(c, options, counts, depth + 1);
}

/** Runs the statement to its end, then shows the plan with what was counted. */
class AnalyzeExecution implements Execution {
  row: Value[] = [];
  rowCount = 0;
  readonly tag = 'EXPLAIN';
  private readonly inner: StatementExecution;
  private readonly plan: PlanNode;
  private readonly options: Options;
  private readonly counts = new Map<PlanNode, NodeCounts>();
  private shown: Iterator<Value[]> | null = null;
  private readonly clock: () => bigint;
  private readonly start: bigint;

  constructor(statement: PlannedStatement, context: ExecutionContext, options: Options) {
    this.plan = statement.statement.plan;
    this.options = options;
    this.inner = statement.openCounting(context, this.counts);
    this.clock = () => context.session.clockTime();
    this.start = this.clock();
  }

  step(): 'row' | 'done' {
    if (this.shown === null) {
      while (this.inner.step() === 'row') {
        // Only counted.
      }
      this.counts.set(this.plan, { rows: this.inner.rowCount, loops: 1 });
      this.shown = this.all();
    }
    const next = this.shown.next();
    if (next.done === true) return 'done';
    this.row = next.value;
    this.rowCount++;
    return 'row';
  }

  private *all(): Generator<Value[]> {
    yield* lines(this.plan, this.options, this.counts);
    if (this.options.timing)
      yield [`Execution Time: ${(Number(this.clock() - this.start) / 1000).toFixed(3)} ms`];
  }

  close(): void {
    this.inner.close();
  }
}
