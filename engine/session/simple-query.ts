/**
 * A query message's text: its statements one after the other, each compiled when its turn comes, since it may need what
 * an earlier one makes.
 */
import { SqlError } from '../sql-error.js';
import type { ParsedStatement } from '../sql/parse/parser.js';
import type { CompiledStatement, ExecutionContext } from '../sql/statement.js';
import { isTransactionExit } from './commands.js';
import { type Portal, PreparedStatement } from './portal.js';
import { inFailedBlock, type Session } from './session.js';
import { compileSessionStatement, isSessionStatement } from './session-statements.js';
import type { Value } from '../types/value.js';
import { tagOf } from '../sql/parse/ast.js';

export class SimpleQuery {
  readonly #session: Session;
  readonly #text: string;
  #parsed: readonly ParsedStatement[] | null = null;
  #index = 0;
  #started = false;

  constructor(session: Session, text: string) {
    this.#session = session;
    this.#text = text;
  }

  /** Whether the statement that `next` gave last is the last one. */
  get isLast(): boolean {
    return this.#parsed === null || this.#index >= this.#parsed.length;
  }

  /** Binds the next statement to the unnamed portal; null: there is no other. Throws SqlError. */
  next(): Portal | null {
    const session = this.#session;
    if (!this.#started) {
      this.#started = true;
      if (session.block.state !== 'failed') {
        const context = { session } as unknown as ExecutionContext;
        const single = session.services.source.prepareSimple(
          this.#text,
          session.compileRequest([]),
          context,
        );
        if (single !== null) {
          return this.#bind(this.#text, null, single.statement, single.parameters);
        }
      }
      this.#parsed = session.services.source.parse(this.#text);
    }
    if (this.#parsed === null || this.#index >= this.#parsed.length) return null;
    const parsed = this.#parsed[this.#index++];
    return this.#bind(parsed.text, parsed, this.#compile(parsed), []);
  }

  /** In a failed block nothing is looked up in the catalog. */
  #compile(parsed: ParsedStatement): CompiledStatement {
    const session = this.#session;
    if (session.block.state === 'failed') {
      if (!isSessionStatement(tagOf(parsed.node))) throw inFailedBlock();
      const compiled = compileSessionStatement(parsed.node);
      if (!isTransactionExit(compiled)) throw inFailedBlock();
      return compiled;
    }
    return session.services.source.compile(parsed, session.compileRequest([]));
  }

  #bind(
    text: string,
    parsed: ParsedStatement | null,
    compiled: CompiledStatement,
    parameters: readonly Value[],
  ): Portal {
    const session = this.#session;
    if (compiled.parameterOids.length > parameters.length) {
      throw new SqlError('42P02', 'there is no parameter $1');
    }
    const source = { text, parsed };
    const statement = new PreparedStatement('', source, [], compiled, session.searchPath, false);
    return session.bindFresh('', statement, parameters);
  }
}
