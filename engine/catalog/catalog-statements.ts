/** Statements of the catalog: which one is which, and what is refused. */
import type { Node } from 'libpg-query';
import type { CompileRequest } from '../sql/compiler.js';
import type { ParsedStatement, TextPositions } from '../sql/parse/parser.js';
import type {
  CompiledStatement,
  Execution,
  ExecutionContext,
  StatementKind,
} from '../sql/statement.js';
import type { UtilityCompiler } from '../sql/utility.js';
import { notSupported } from '../sql-error.js';
import type { Catalog } from './catalog.js';
import { alterTable, rename } from './alter-table.js';
import { compileCopy } from './copy.js';
import { createIndex } from './create-index.js';
import { createSchema, createTable } from './create-table.js';
import { createTableAs, createView } from './create-view.js';
import { Ddl, type QueryCompiler } from './ddl.js';
import { drop, dropTag, truncate } from './drop.js';
import { comment, lockTable, reindex, vacuum } from './maintenance.js';
import { alterOwner } from './owner.js';
import { alterSequence, createSequence } from './sequence-ddl.js';
import { StepExecution, type Steps } from './steps.js';

type Body = (ddl: Ddl) => Steps<string>;

interface Choice {
  readonly kind: StatementKind;
  readonly tag: string;
  readonly body: Body;
}

/** null: not a statement of the catalog. */
function choose(node: Node, text: string): Choice | null {
  const ddl = (tag: string, body: Body): Choice => ({ kind: 'ddl', tag, body });
  if ('CreateStmt' in node) {
    return ddl('CREATE TABLE', (d) => createTable(d, node.CreateStmt));
  }
  if ('IndexStmt' in node) return ddl('CREATE INDEX', (d) => createIndex(d, node.IndexStmt));
  if ('CreateSchemaStmt' in node) {
    return ddl('CREATE SCHEMA', (d) => createSchema(d, node.CreateSchemaStmt));
  }
  if ('CreateSeqStmt' in node) {
    return ddl('CREATE SEQUENCE', (d) => createSequence(d, node.CreateSeqStmt));
  }
  if ('AlterSeqStmt' in node) {
    return ddl('ALTER SEQUENCE', (d) => alterSequence(d, node.AlterSeqStmt));
  }
  if ('CreateTableAsStmt' in node) {
    return ddl('CREATE TABLE AS', (d) => createTableAs(d, node.CreateTableAsStmt));
  }
  if ('ViewStmt' in node) return ddl('CREATE VIEW', (d) => createView(d, node.ViewStmt, text));
  if ('AlterTableStmt' in node) {
    return ddl('ALTER TABLE', (d) => alterTable(d, node.AlterTableStmt));
  }
  if ('AlterOwnerStmt' in node) {
    return ddl('ALTER OWNER', (d) => alterOwner(d, node.AlterOwnerStmt));
  }
  if ('RenameStmt' in node) return ddl('ALTER TABLE', (d) => rename(d, node.RenameStmt));
  if ('DropStmt' in node) {
    return ddl(dropTag(node.DropStmt), (d) => drop(d, node.DropStmt));
  }
  if ('TruncateStmt' in node) {
    return ddl('TRUNCATE TABLE', (d) => truncate(d, node.TruncateStmt));
  }
  if ('CommentStmt' in node) return ddl('COMMENT', (d) => comment(d, node.CommentStmt));
  if ('ReindexStmt' in node) return ddl('REINDEX', (d) => reindex(d, node.ReindexStmt));
  if ('VacuumStmt' in node) {
    const tag = node.VacuumStmt.is_vacuumcmd === true ? 'VACUUM' : 'ANALYZE';
    return { kind: 'utility', tag, body: (d) => vacuum(d, node.VacuumStmt) };
  }
  if ('LockStmt' in node) {
    return { kind: 'utility', tag: 'LOCK TABLE', body: (d) => lockTable(d, node.LockStmt) };
  }
  return null;
}

/** May run in a read-only transaction. */
const HARMLESS = new Set(['ANALYZE', 'VACUUM', 'LOCK TABLE']);

class CatalogStatement implements CompiledStatement {
  readonly kind: StatementKind;
  readonly parameterOids: readonly number[] = [];
  readonly columns = null;
  readonly node: Node;
  readonly catalogVersion: number;
  readonly #tag: string;
  readonly #body: Body;
  readonly #make: (context: ExecutionContext) => Ddl;

  constructor(
    node: Node,
    choice: Choice,
    version: number,
    make: (context: ExecutionContext) => Ddl,
  ) {
    this.node = node;
    this.kind = choice.kind;
    this.catalogVersion = version;
    this.#tag = choice.tag;
    this.#body = choice.body;
    this.#make = make;
  }

  open(context: ExecutionContext): Execution {
    const ddl = this.#make(context);
    if (!HARMLESS.has(this.#tag)) ddl.requireWritable(this.#tag);
    return new StepExecution(this.#body(ddl));
  }
}

export class CatalogStatements implements UtilityCompiler {
  readonly #catalog: Catalog;
  #queries: QueryCompiler | null = null;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** The SQL compiler, which itself is made with this object. */
  useCompiler(queries: QueryCompiler): void {
    this.#queries = queries;
  }

  compile(
    tag: string,
    node: Node,
    statement: ParsedStatement,
    request: CompileRequest,
  ): CompiledStatement {
    const make = this.#maker(statement.positions);
    if ('CopyStmt' in node) return compileCopy(node, request, make);
    const choice = choose(selectInto(node), statement.text);
    if (choice === null) throw notSupported(describeTag(tag));
    return new CatalogStatement(node, choice, request.catalog.version, make);
  }

  #maker(positions: TextPositions): (context: ExecutionContext) => Ddl {
    const queries: QueryCompiler = {
      compile: (statement, request) => {
        if (this.#queries === null) throw notSupported('query within a statement');
        return this.#queries.compile(statement, request);
      },
    };
    return (context) => new Ddl(this.#catalog, queries, context, positions);
  }
}

/** `SELECT ... INTO t` is CREATE TABLE t AS. */
function selectInto(node: Node): Node {
  if (!('SelectStmt' in node) || node.SelectStmt.intoClause === undefined) return node;
  const { intoClause, ...query } = node.SelectStmt;
  return {
    CreateTableAsStmt: { query: { SelectStmt: query }, into: intoClause, is_select_into: true },
  };
}

/** `CreateFunctionStmt` as people write it. */
function describeTag(tag: string): string {
  return tag
    .replace(/Stmt$/, '')
    .replaceAll(/([a-z])([A-Z])/g, '$1 $2')
    .toUpperCase();
}
