/** Statements that are not planned: the session's own, and the catalog's. */
import type { Node } from 'libpg-query';
import type { CompileRequest } from '../sql/compiler.js';
import type { ParsedStatement } from '../sql/parse/parser.js';
import type { CompiledStatement } from '../sql/statement.js';
import type { UtilityCompiler } from '../sql/utility.js';
import { compileSessionStatement, isSessionStatement } from './session-statements.js';

export class UtilityStatements implements UtilityCompiler {
  readonly #catalog: UtilityCompiler;

  constructor(catalog: UtilityCompiler) {
    this.#catalog = catalog;
  }

  compile(
    tag: string,
    node: Node,
    statement: ParsedStatement,
    request: CompileRequest,
  ): CompiledStatement {
    if (isSessionStatement(tag)) return compileSessionStatement(node);
    return this.#catalog.compile(tag, node, statement, request);
  }
}
