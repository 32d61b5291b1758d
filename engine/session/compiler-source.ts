/** The SQL compiler as a session's source of statements, with a cache of the session's own commands. */
import { LRUCache } from 'lru-cache';
import type { CompileRequest, SimpleStatement, SqlCompiler } from '../sql/compiler.js';
import { parse, type ParsedStatement } from '../sql/parse/parser.js';
import type { CompiledStatement, ExecutionContext } from '../sql/statement.js';
import type { StatementSource } from './statement-source.js';

const COMMAND_TEXT_MAX = 200;

export class CompilerSource implements StatementSource {
  readonly #compiler: SqlCompiler;
  /** Hot: BEGIN, END and the like depend on nothing but their text; parsing one costs 6 us. */
  readonly #commands = new LRUCache<string, CompiledStatement>({ max: 500 });

  constructor(compiler: SqlCompiler) {
    this.#compiler = compiler;
  }

  prepare(text: string, request: CompileRequest): readonly CompiledStatement[] {
    const command = this.#commands.get(text);
    if (command !== undefined) return [command];
    const statements = this.#compiler.prepare(text, request);
    if (statements.length === 1) this.#keep(text, statements[0]);
    return statements;
  }

  prepareSimple(
    text: string,
    request: CompileRequest,
    context: ExecutionContext | null,
  ): SimpleStatement | null {
    const command = this.#commands.get(text);
    if (command !== undefined) return { statement: command, parameters: [] };
    const simple = this.#compiler.prepareSimple(text, request, context);
    if (simple !== null) this.#keep(text, simple.statement);
    return simple;
  }

  parse(text: string): readonly ParsedStatement[] {
    return parse(text);
  }

  compile(statement: ParsedStatement, request: CompileRequest): CompiledStatement {
    return this.#compiler.compile(statement, request);
  }

  #keep(text: string, statement: CompiledStatement): void {
    if (statement.kind !== 'transaction' || text.length > COMMAND_TEXT_MAX) return;
    this.#commands.set(text, statement);
  }
}
