/** Statements that the SQL layer parses but does not plan: DDL, COPY, VACUUM, session and transaction commands. */
import type { Node } from 'libpg-query';
import type { CompileRequest } from './compiler.js';
import type { ParsedStatement } from './parse/parser.js';
import type { CompiledStatement } from './statement.js';

/**
 * Compiles every statement that is not SELECT, VALUES, INSERT, UPDATE, DELETE or EXPLAIN of one. Implemented by the
 * catalog (DDL, COPY, VACUUM, ...) and the session (SET, BEGIN, PREPARE, ...). Must refuse what it does not know with 0A000.
 */
export interface UtilityCompiler {
  compile(
    tag: string,
    node: Node,
    statement: ParsedStatement,
    request: CompileRequest,
  ): CompiledStatement;
}
