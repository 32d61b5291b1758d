/**
 * Compiles the statements that the session carries out itself: transaction control, SET and SHOW, PREPARE and EXECUTE,
 * cursors, LISTEN and NOTIFY. Nothing is planned: `commands.ts` reads the tree.
 */
import type { Node } from 'libpg-query';
import { assert } from '#core/assert.js';
import { notSupported } from '../sql-error.js';
import { tagOf } from '../sql/parse/ast.js';
import type { CompiledStatement, ResultColumn, StatementKind } from '../sql/statement.js';
import { OID } from '../types/oids.js';
import { RowsExecution } from './portal.js';
import { definitionOf } from './setting-definitions.js';

const textColumn = (name: string): ResultColumn => ({
  name,
  typeOid: OID.text,
  typeModifier: -1,
  tableOid: 0,
  columnNumber: 0,
});

export const SHOW_ALL_COLUMNS: readonly ResultColumn[] = [
  textColumn('name'),
  textColumn('setting'),
  textColumn('description'),
];

class SessionStatement implements CompiledStatement {
  readonly kind: StatementKind;
  readonly parameterOids: readonly number[] = [];
  readonly columns: readonly ResultColumn[] | null;
  readonly node: Node | null;
  readonly catalogVersion = 0;

  constructor(kind: StatementKind, node: Node | null, columns: readonly ResultColumn[] | null) {
    this.kind = kind;
    this.node = node;
    this.columns = columns;
  }

  open(): RowsExecution {
    assert(this.kind === 'empty', 'the session opens its own statements');
    return new RowsExecution('');
  }
}

/** Blank text, or nothing between two semicolons. */
export const EMPTY_STATEMENT: CompiledStatement = new SessionStatement('empty', null, null);

/** Tags of the parse tree that belong here. */
const KINDS: Record<string, 'transaction' | 'session'> = {
  TransactionStmt: 'transaction',
  VariableSetStmt: 'session',
  VariableShowStmt: 'session',
  PrepareStmt: 'session',
  ExecuteStmt: 'session',
  DeallocateStmt: 'session',
  DiscardStmt: 'session',
  ListenStmt: 'session',
  UnlistenStmt: 'session',
  NotifyStmt: 'session',
  CheckPointStmt: 'session',
  DeclareCursorStmt: 'session',
  FetchStmt: 'session',
  ClosePortalStmt: 'session',
};

export const isSessionStatement = (tag: string): boolean => KINDS[tag] !== undefined;

/** `isSessionStatement` holds for its tag. */
export function compileSessionStatement(node: Node): CompiledStatement {
  const kind = KINDS[tagOf(node)];
  if (kind === undefined) throw notSupported(tagOf(node));
  let columns: readonly ResultColumn[] | null = null;
  if ('VariableShowStmt' in node) {
    const name = node.VariableShowStmt.name ?? '';
    columns = name === 'all' ? SHOW_ALL_COLUMNS : [textColumn(definitionOf(name)?.name ?? name)];
  }
  return new SessionStatement(kind, node, columns);
}

/** What a statement that must not be part of a larger transaction calls itself; '' for all others. */
export function soleTagOf(compiled: CompiledStatement): string {
  const node = compiled.node as Node | null;
  if (node === null) return '';
  if ('VacuumStmt' in node) return node.VacuumStmt.is_vacuumcmd === true ? 'VACUUM' : '';
  if ('IndexStmt' in node) {
    return node.IndexStmt.concurrent === true ? 'CREATE INDEX CONCURRENTLY' : '';
  }
  if ('DropStmt' in node) {
    return node.DropStmt.concurrent === true ? 'DROP INDEX CONCURRENTLY' : '';
  }
  return '';
}

/** LOCK TABLE: its locks are for the statements that follow. */
export function needsBlock(compiled: CompiledStatement): boolean {
  const node = compiled.node as Node | null;
  return node !== null && 'LockStmt' in node;
}
