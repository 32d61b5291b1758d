/**
 * Statement text to executable statements: parse, bind, plan, each at most once per text.
 *
 *     text --normalise--> shape + literals --(cache)--> CompiledStatement
 *                 |no: not a plain statement      |shape fails: compile the text itself, remember that
 *                 +--> parse --> bind --> plan
 *
 * A cached statement is used while the catalog's version, the search path and the declared parameter types are the same.
 */
import type { Node } from 'libpg-query';
import { LRUCache } from 'lru-cache';
import type { CatalogReader } from '../catalog/definitions.js';
import { SqlError } from '../sql-error.js';
import type { TableStore } from '../tables/table-store.js';
import type { Transaction } from '../txn/transaction.js';
import type { Value } from '../types/value.js';
import { bindQuery } from './bind/bind-query.js';
import { BindContext } from './bind/context.js';
import type { BoundQuery } from './bind/query.js';
import { Scope } from './bind/scope.js';
import type { TypeSystem } from './bind/type-system.js';
import { UNKNOWN } from './bind/type-system.js';
import { StatementExecution } from './execution.js';
import type { StatementPlan } from './execution.js';
import { compileExplain } from './explain.js';
import { normalise } from './parse/normalise.js';
import type { Literal } from './parse/normalise.js';
import { parse } from './parse/parser.js';
import type { ParsedStatement } from './parse/parser.js';
import { tagOf } from './parse/ast.js';
import { planQuery } from './plan/plan-query.js';
import { Planner } from './plan/planner.js';
import type { CompiledStatement, ExecutionContext, ResultColumn } from './statement.js';
import type { UtilityCompiler } from './utility.js';

export interface CompileRequest {
  readonly catalog: CatalogReader;
  readonly searchPath: readonly string[];
  /** Declared by Parse; 0: to be inferred. */
  readonly parameterOids: readonly number[];
}

/** Of a table or view: the mode is one of engine/catalog/relation-locks.ts. */
export interface TableLock {
  readonly oid: number;
  readonly mode: number;
}

export interface CompilerOptions {
  readonly store: TableStore;
  readonly types: TypeSystem;
  readonly utility: UtilityCompiler;
  /**
   * Takes the locks of a statement that begins (throws Suspend) and gives the catalog as it is then: a plan for another
   * version of it is made again. Without it nothing is locked.
   */
  readonly lockTables?: (transaction: Transaction, locks: readonly TableLock[]) => CatalogReader;
  /** Sorts and hashes of one statement: bytes, roughly. Default 64 MiB. */
  readonly workBytes?: number;
  readonly cacheEntries?: number;
}

/** One statement of a simple query, with the values of its literals. */
export interface SimpleStatement {
  readonly statement: CompiledStatement;
  readonly parameters: readonly Value[];
}

interface CacheEntry {
  readonly statements: readonly CompiledStatement[];
  readonly version: number;
}

const PLANNED = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt']);
const NO_PARAMETERS: readonly Value[] = [];

export class SqlCompiler {
  private readonly options: CompilerOptions;
  private readonly cache: LRUCache<string, CacheEntry>;
  /** Shapes that do not compile with parameters in place of literals, and for which catalog version. */
  private readonly rejected: LRUCache<string, number>;
  hits = 0;
  misses = 0;

  constructor(options: CompilerOptions) {
    this.options = options;
    const max = options.cacheEntries ?? 2000;
    this.cache = new LRUCache({ max });
    this.rejected = new LRUCache({ max });
  }

  /** Statements of a text with their plans; parse errors are 42601. */
  prepare(text: string, request: CompileRequest): readonly CompiledStatement[] {
    const key = cacheKey(text, request);
    const known = this.current(key, request);
    if (known !== undefined) {
      this.hits++;
      return known.statements;
    }
    this.misses++;
    const parsed = parse(text);
    // In a text of several statements the later ones may need what the earlier ones make.
    const statements = parsed.length === 1 ? parsed.map((s) => this.compile(s, request)) : [];
    if (parsed.length === 1 && isCacheable(statements[0]))
      this.cache.set(key, { statements, version: request.catalog.version });
    return parsed.length === 1 ? statements : parsed.map((s) => this.compile(s, request));
  }

  /**
   * A simple query of one statement: with its literals as parameters when it can be, so that the plan is shared. null:
   * the text has several statements (or none): go through `parse` and `compile` one by one.
   */
  prepareSimple(
    text: string,
    request: CompileRequest,
    context: ExecutionContext | null,
  ): SimpleStatement | null {
    const shape = normalise(text);
    if (shape !== null && shape.literals.length > 0) {
      const found = this.prepareShape(shape.text, shape.literals, request, context);
      if (found !== null) return found;
    }
    const key = cacheKey(text, request);
    const known = this.current(key, request);
    if (known !== undefined) {
      this.hits++;
      return { statement: known.statements[0] as CompiledStatement, parameters: NO_PARAMETERS };
    }
    const parsed = parse(text);
    if (parsed.length !== 1) return null;
    this.misses++;
    const statement = this.compile(parsed[0] as ParsedStatement, request);
    if (isCacheable(statement) && statement.parameterOids.length === 0)
      this.cache.set(key, { statements: [statement], version: request.catalog.version });
    return { statement, parameters: NO_PARAMETERS };
  }

  /** The cached plan, unless catalog or table sizes have moved on. */
  private current(key: string, request: CompileRequest): CacheEntry | undefined {
    const known = this.cache.get(key);
    if (known === undefined || known.version !== request.catalog.version) return undefined;
    const [statement] = known.statements;
    return statement instanceof PlannedStatement && statement.isStale() ? undefined : known;
  }

  private prepareShape(
    text: string,
    literals: readonly Literal[],
    request: CompileRequest,
    context: ExecutionContext | null,
  ): SimpleStatement | null {
    const shaped: CompileRequest = { ...request, parameterOids: literals.map((l) => l.oid) };
    const key = cacheKey(text, shaped);
    if (this.rejected.get(key) === request.catalog.version) return null;
    let statement: CompiledStatement | undefined;
    try {
      statement = this.prepare(text, shaped)[0];
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      // The text itself gives the right error, or works where its shape does not.
      this.rejected.set(key, request.catalog.version);
      return null;
    }
    // SELECT INTO and the like keep their query as it is written, and give it no parameters.
    if (!(statement instanceof PlannedStatement)) {
      this.rejected.set(key, request.catalog.version);
      return null;
    }
    const parameters = this.literalValues(statement, literals, context);
    return parameters === null ? null : { statement, parameters };
  }

  /** null: a literal is not of its type; compiling the text itself says so, with a position. */
  private literalValues(
    statement: CompiledStatement,
    literals: readonly Literal[],
    context: ExecutionContext | null,
  ): Value[] | null {
    const parameters: Value[] = [];
    for (let i = 0; i < literals.length; i++) {
      const { value } = literals[i] as Literal;
      if (typeof value !== 'string') {
        parameters.push(value);
        continue;
      }
      try {
        parameters.push(
          this.options.types.input(statement.parameterOids[i] as number, -1, value, context),
        );
      } catch (error) {
        if (!(error instanceof SqlError)) throw error;
        return null;
      }
    }
    return parameters;
  }

  compile(statement: ParsedStatement, request: CompileRequest): CompiledStatement {
    const { node } = statement;
    const tag = tagOf(node);
    if ('ExplainStmt' in node) {
      return compileExplain(node.ExplainStmt, statement, (inner) =>
        this.compile({ ...statement, node: inner }, request),
      );
    }
    if (!PLANNED.has(tag) || ('SelectStmt' in node && node.SelectStmt.intoClause !== undefined)) {
      return this.options.utility.compile(tag, node, statement, request);
    }
    return this.compilePlanned(node, statement, request);
  }

  /** Also for the query of CREATE TABLE AS, COPY (query) TO, DECLARE CURSOR, PREPARE. */
  compilePlanned(
    node: Node,
    statement: ParsedStatement,
    request: CompileRequest,
  ): PlannedStatement {
    const { types, store } = this.options;
    const context = new BindContext(
      request.catalog,
      types,
      statement.positions,
      request.searchPath,
      request.parameterOids,
    );
    const query = bindQuery(new Scope(context, null), node, null);
    const missing = context.parameters.findIndex((oid) => oid === UNKNOWN);
    if (missing >= 0)
      throw new SqlError('42P18', `could not determine data type of parameter $${missing + 1}`);
    const planner = new Planner({
      types,
      store,
      catalog: request.catalog,
      makeState: () => store.newWriteState(),
      slotCount: context.slotCount,
    });
    const plan = planQuery(planner, query, null);
    const writes = [...planner.ctes.values()].filter((c) => c.isWrite);
    return new PlannedStatement(
      query,
      context.parameters,
      node,
      request.catalog,
      {
        plan,
        slotCount: planner.slotCount,
        outputSlots: query.output.map((o) => o.slot),
        hasRows: hasRows(query),
        tag: TAGS[query.kind],
        writes,
        tables: [...planner.tables].map(([handle, rows]) => ({ handle, rows })),
        workBytes: this.options.workBytes ?? 64 * 1024 * 1024,
      },
      this.options,
      {
        locks: [...context.locks].map(([oid, mode]) => ({ oid, mode })),
        again: (catalog) => this.compilePlanned(node, statement, { ...request, catalog }),
      },
    );
  }
}

const TAGS = {
  select: 'SELECT',
  values: 'SELECT',
  set: 'SELECT',
  insert: 'INSERT 0',
  update: 'UPDATE',
  delete: 'DELETE',
} as const;

function hasRows(q: BoundQuery): boolean {
  return q.kind === 'select' || q.kind === 'values' || q.kind === 'set' || q.returning !== null;
}

function cacheKey(text: string, request: CompileRequest): string {
  const path = request.searchPath;
  const types = request.parameterOids;
  return `${path.length === 1 ? (path[0] as string) : path.join(',')}|${types.length === 0 ? '' : types.join(',')}|${text}`;
}

function isCacheable(s: CompiledStatement | undefined): boolean {
  return s instanceof PlannedStatement;
}

/** What a plan rests on, and how to make it again. */
interface PlanBase {
  readonly locks: readonly TableLock[];
  readonly again: (catalog: CatalogReader) => PlannedStatement;
}

export class PlannedStatement implements CompiledStatement {
  readonly kind: 'query' | 'write';
  readonly parameterOids: readonly number[];
  readonly columns: readonly ResultColumn[] | null;
  readonly node: unknown;
  readonly catalogVersion: number;
  readonly statement: StatementPlan;
  private readonly base: PlanBase;
  private readonly lockTables: CompilerOptions['lockTables'];
  /** This statement for the catalog as it was found when it was opened last. */
  private fresh: PlannedStatement | null = null;
  private readonly runtime: { store: TableStore; types: TypeSystem; catalog: CatalogReader };

  constructor(
    query: BoundQuery,
    parameters: readonly number[],
    node: unknown,
    catalog: CatalogReader,
    statement: StatementPlan,
    options: CompilerOptions,
    base: PlanBase,
  ) {
    const isWrite = query.kind === 'insert' || query.kind === 'update' || query.kind === 'delete';
    this.kind = isWrite || statement.writes.length > 0 ? 'write' : 'query';
    this.parameterOids = [...parameters];
    this.columns = statement.hasRows
      ? query.output.map((o) => ({
          name: o.name,
          typeOid: o.type,
          typeModifier: o.typmod,
          tableOid: o.tableOid,
          columnNumber: o.columnNumber,
        }))
      : null;
    this.node = node;
    this.catalogVersion = catalog.version;
    this.statement = statement;
    this.lockTables = options.lockTables;
    this.base = base;
    this.runtime = { store: options.store, types: options.types, catalog };
  }

  private uses = 0;

  /** Whether a table has grown or shrunk so much that another plan may be better; looked at now and then. */
  isStale(): boolean {
    if ((++this.uses & 63) !== 0) return false;
    return this.statement.tables.some(({ handle, rows }) => {
      const now = this.runtime.store.estimateRows(handle) + 100;
      const then = rows + 100;
      return now > then * 8 || then > now * 8;
    });
  }

  /** Throws Suspend for a lock: call it again. */
  open(context: ExecutionContext): StatementExecution {
    const plan = this.current(context);
    if (plan !== this && !sameColumns(this.columns, plan.columns)) {
      if (context.columnTaker === undefined) {
        throw new SqlError('0A000', 'cached plan must not change result type');
      }
      context.columnTaker.takeColumns(plan.columns);
    }
    return new StatementExecution(plan.statement, context, plan.runtime);
  }

  /** Locks what the statement needs; the plan for the catalog as it is once all locks are held. */
  private current(context: ExecutionContext): PlannedStatement {
    if (this.lockTables === undefined || this.base.locks.length === 0) return this;
    const catalog = this.lockTables(context.transaction, this.base.locks);
    if (catalog.version === this.catalogVersion) return this;
    if (this.fresh?.catalogVersion !== catalog.version) this.fresh = this.base.again(catalog);
    return this.fresh.current(context);
  }

  /** As `open`, counting rows per operator. */
  openCounting(
    context: ExecutionContext,
    counts: ConstructorParameters<typeof StatementExecution>[3],
  ): StatementExecution {
    const plan = this.current(context);
    return new StatementExecution(plan.statement, context, plan.runtime, counts);
  }
}

function sameColumns(
  a: readonly ResultColumn[] | null,
  b: readonly ResultColumn[] | null,
): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((column, i) => column.typeOid === b[i]?.typeOid);
}
