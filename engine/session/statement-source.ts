/**
 * What a session needs of the SQL layer and the catalog; the engine puts it together.
 */
import type { CatalogReader } from '../catalog/definitions.js';
import type { CompileRequest, SimpleStatement } from '../sql/compiler.js';
import type { CompiledStatement, ExecutionContext } from '../sql/statement.js';
import type { ParsedStatement } from '../sql/parse/parser.js';
import type { Transaction } from '../txn/transaction.js';

/** Where a compiled statement came from, so that it can be compiled again. */
export interface StatementText {
  readonly text: string;
  /** null: the text is one statement, and is parsed when somebody asks. */
  readonly parsed: ParsedStatement | null;
}

export interface StatementSource {
  /** The statements of a text with their plans, from a cache when it can be. Throws 42601 and whatever binding throws. */
  prepare(text: string, request: CompileRequest): readonly CompiledStatement[];
  /** As `prepare` for a text of one statement, whose literals may become parameters; null: none or several. */
  prepareSimple(
    text: string,
    request: CompileRequest,
    context: ExecutionContext | null,
  ): SimpleStatement | null;
  parse(text: string): readonly ParsedStatement[];
  compile(statement: ParsedStatement, request: CompileRequest): CompiledStatement;
}

export interface CatalogAccess {
  /** What a transaction sees: the committed catalog and its own changes. */
  reader(transaction: Transaction | null): CatalogReader;
}
