/**
 * What the session does itself. Each command runs when its portal is opened and leaves an execution with its tag (and
 * rows). One that must wait (COMMIT) throws Suspend before its side effect and is opened again.
 */
import type { Node } from 'libpg-query';
import { assert } from '#core/assert.js';
import { SqlError, notSupported } from '../sql-error.js';
import { tagOf } from '../sql/parse/ast.js';
import type { CompiledStatement, Execution } from '../sql/statement.js';
import type { Value } from '../types/value.js';
import { closeCursor, declareCursor, fetchCursor } from './cursors.js';
import { RowsExecution, type Portal } from './portal.js';
import { deallocate, executePrepared, prepareStatement } from './sql-prepare.js';
import type { Session } from './session.js';
import { definitionOf } from './setting-definitions.js';

type Body<Key extends string> = Extract<Node, Record<Key, unknown>>[Key &
  keyof Extract<Node, Record<Key, unknown>>];
type TransactionStmt = Body<'TransactionStmt'>;
type VariableSetStmt = Body<'VariableSetStmt'>;

/** COMMIT and ROLLBACK: what a failed block still takes. */
export function isTransactionExit(compiled: CompiledStatement): boolean {
  const node = compiled.node as Node | null;
  if (compiled.kind !== 'transaction' || node === null || !('TransactionStmt' in node))
    return false;
  const { kind } = node.TransactionStmt;
  return (
    kind === 'TRANS_STMT_COMMIT' ||
    kind === 'TRANS_STMT_ROLLBACK' ||
    kind === 'TRANS_STMT_ROLLBACK_TO'
  );
}

export function openCommand(session: Session, portal: Portal): Execution {
  const node = portal.compiled.node as Node;
  if ('TransactionStmt' in node)
    return new RowsExecution(transaction(session, node.TransactionStmt));
  session.block.touch();
  if ('VariableSetStmt' in node)
    return new RowsExecution(setVariable(session, node.VariableSetStmt));
  if ('VariableShowStmt' in node) return show(session, node.VariableShowStmt.name ?? '');
  if ('PrepareStmt' in node) return prepareStatement(session, portal, node.PrepareStmt);
  if ('ExecuteStmt' in node) return executePrepared(session, portal, node.ExecuteStmt);
  if ('DeallocateStmt' in node) return deallocate(session, node.DeallocateStmt);
  if ('DeclareCursorStmt' in node) return declareCursor(session, portal, node.DeclareCursorStmt);
  if ('FetchStmt' in node) return fetchCursor(session, portal, node.FetchStmt);
  if ('ClosePortalStmt' in node) return closeCursor(session, node.ClosePortalStmt.portalname);
  return new RowsExecution(other(session, node));
}

function other(session: Session, node: Node): string {
  if ('DiscardStmt' in node) return discard(session, node.DiscardStmt.target ?? 'DISCARD_ALL');
  if ('ListenStmt' in node) {
    session.channels.listen(node.ListenStmt.conditionname ?? '');
    return 'LISTEN';
  }
  if ('UnlistenStmt' in node) {
    session.channels.unlisten(node.UnlistenStmt.conditionname ?? null);
    return 'UNLISTEN';
  }
  if ('NotifyStmt' in node) {
    notify(session, node.NotifyStmt.conditionname ?? '', node.NotifyStmt.payload ?? '');
    return 'NOTIFY';
  }
  // There is nothing to write back: whatever is committed is durable in the log already.
  if ('CheckPointStmt' in node) return 'CHECKPOINT';
  throw notSupported(tagOf(node));
}

const PAYLOAD_BYTES_MAX = 7999;

export function notify(session: Session, channel: string, payload: string): void {
  if (channel === '') throw new SqlError('22023', 'channel name cannot be empty');
  if (channel.length > 63) throw new SqlError('22023', 'channel name too long');
  if (Buffer.byteLength(payload) > PAYLOAD_BYTES_MAX) {
    throw new SqlError('22023', 'payload string too long');
  }
  session.block.touch();
  session.channels.send(channel, payload);
}

// Transactions

function transaction(session: Session, node: TransactionStmt): string {
  const { block } = session;
  switch (node.kind as string) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      if (block.state === 'explicit') {
        session.notice('WARNING', '25001', 'there is already a transaction in progress');
      }
      block.beginExplicit();
      setModes(session, node.options ?? [], 'transaction_');
      return node.kind === 'TRANS_STMT_BEGIN' ? 'BEGIN' : 'START TRANSACTION';
    case 'TRANS_STMT_COMMIT':
      return commit(session, node.chain === true);
    case 'TRANS_STMT_ROLLBACK': {
      const chain = chained(session, node.chain === true);
      if (block.state === 'none' || block.state === 'implicit') warnNoBlock(session);
      if (block.state !== 'none') block.rollback();
      chain();
      return 'ROLLBACK';
    }
    case 'TRANS_STMT_SAVEPOINT':
      block.savepoint(node.savepoint_name ?? '');
      return 'SAVEPOINT';
    case 'TRANS_STMT_RELEASE':
      block.release(node.savepoint_name ?? '');
      return 'RELEASE';
    case 'TRANS_STMT_ROLLBACK_TO':
      block.rollbackTo(node.savepoint_name ?? '');
      return 'ROLLBACK';
    default:
      throw notSupported('two-phase commit');
  }
}

function commit(session: Session, andChain: boolean): string {
  const { block } = session;
  const chain = chained(session, andChain);
  if (block.state === 'none' || block.state === 'implicit') warnNoBlock(session);
  if (block.state === 'none') return 'COMMIT';
  const committed = block.commit();
  chain();
  return committed ? 'COMMIT' : 'ROLLBACK';
}

function warnNoBlock(session: Session): void {
  session.notice('WARNING', '25P01', 'there is no transaction in progress');
}

/** AND CHAIN: afterwards another block begins with the modes of this one. */
function chained(session: Session, wanted: boolean): () => void {
  if (!wanted) return () => {};
  const { settings, block } = session;
  if (block.state !== 'explicit' && block.state !== 'failed') {
    throw new SqlError('25P01', 'AND CHAIN can only be used in transaction blocks');
  }
  const names = ['transaction_isolation', 'transaction_read_only', 'transaction_deferrable'];
  const values = names.map((name) => settings.get(name));
  return () => {
    block.beginExplicit();
    names.forEach((name, i) => settings.set(name, values[i], true));
  };
}

/** `transaction_isolation`, `transaction_read_only`, ... under `prefix` + the rest of the name. */
function setModes(session: Session, options: readonly Node[], prefix: string): void {
  for (const option of options) {
    if (!('DefElem' in option)) continue;
    const name = (option.DefElem.defname ?? '').replace(/^transaction_/, prefix);
    const value = constantText(option.DefElem.arg);
    set(session, name, value, prefix === 'transaction_');
  }
}

// Settings

function setVariable(session: Session, node: VariableSetStmt): string {
  const { settings } = session;
  const name = node.name ?? '';
  const local = node.is_local === true;
  if (local && session.block.state !== 'explicit') {
    session.notice('WARNING', '25P01', 'SET LOCAL can only be used in transaction blocks');
  }
  switch (node.kind as string) {
    case 'VAR_SET_VALUE':
      set(session, name, argumentsText(name, node.args ?? []), local);
      return 'SET';
    case 'VAR_SET_DEFAULT':
      if (isRole(name)) return 'SET';
      settings.reset(name, local);
      return 'SET';
    case 'VAR_SET_CURRENT':
      settings.set(name, settings.get(name), local);
      return 'SET';
    case 'VAR_SET_MULTI':
      setMulti(session, node);
      return 'SET';
    case 'VAR_RESET':
      if (!isRole(name)) settings.reset(name);
      return 'RESET';
    case 'VAR_RESET_ALL':
      settings.resetAll();
      return 'RESET';
    default:
      throw notSupported(`SET (${String(node.kind)})`);
  }
}

function setMulti(session: Session, node: VariableSetStmt): void {
  const args = node.args ?? [];
  if (node.name === 'SESSION CHARACTERISTICS') {
    setModes(session, args, 'default_transaction_');
  } else if (node.name === 'TRANSACTION') {
    if (session.block.state !== 'explicit') {
      session.notice('WARNING', '25P01', 'SET TRANSACTION can only be used in transaction blocks');
    }
    setModes(session, args, 'transaction_');
  } else {
    throw notSupported(`SET ${node.name ?? ''}`);
  }
}

const isRole = (name: string): boolean => name === 'role' || name === 'session_authorization';

function set(session: Session, name: string, value: string, local: boolean): void {
  if (isRole(name)) {
    if (value === session.user || (name === 'role' && value.toLowerCase() === 'none')) return;
    throw notSupported(`SET ${name === 'role' ? 'ROLE' : 'SESSION AUTHORIZATION'} to another role`);
  }
  const transactional = definitionOf(name)?.transactionScope === true;
  if (transactional) checkMode(session, name, value);
  session.settings.set(name, value, local || transactional);
}

function checkMode(session: Session, name: string, value: string): void {
  if (!session.block.started || session.settings.get(name) === value.toLowerCase()) return;
  if (name === 'transaction_isolation') {
    throw new SqlError('25001', 'SET TRANSACTION ISOLATION LEVEL must be called before any query');
  }
  if (name === 'transaction_read_only') {
    throw new SqlError('25001', 'the read-only mode of a transaction must be set before any query');
  }
}

/** One value, or a list as SHOW gives it back. */
function argumentsText(name: string, args: readonly Node[]): string {
  const texts = args.map(constantText);
  if (texts.length === 1 && name !== 'search_path') return texts[0];
  return texts.map(quoteIfNeeded).join(', ');
}

function quoteIfNeeded(text: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`;
}

function constantText(node: Node | undefined): string {
  assert(node !== undefined, 'the grammar gives a value');
  if ('TypeCast' in node) return constantText(node.TypeCast.arg);
  if ('Integer' in node) return String(node.Integer.ival ?? 0);
  if (!('A_Const' in node)) throw notSupported('SET to an expression');
  const constant = node.A_Const;
  if (constant.sval !== undefined) return constant.sval.sval ?? '';
  if (constant.ival !== undefined) return String(constant.ival.ival ?? 0);
  if (constant.fval !== undefined) return constant.fval.fval ?? '0';
  if (constant.boolval !== undefined) return constant.boolval.boolval === true ? 'on' : 'off';
  throw notSupported('SET to this kind of constant');
}

function show(session: Session, name: string): Execution {
  const { settings } = session;
  if (name !== 'all') return new RowsExecution('SHOW', [[shown(session, name)]]);
  const rows: Value[][] = settings.list().map((row) => [row.name, row.value, row.description]);
  return new RowsExecution('SHOW', rows);
}

function shown(session: Session, name: string): string {
  if (name === 'session_authorization') return session.user;
  if (name === 'role') return 'none';
  return session.settings.show(name);
}

function discard(session: Session, target: string): string {
  switch (target) {
    case 'DISCARD_ALL':
      if (session.block.state === 'explicit') {
        throw new SqlError('25001', 'DISCARD ALL cannot run inside a transaction block');
      }
      session.discardAll();
      return 'DISCARD ALL';
    case 'DISCARD_PLANS':
      return 'DISCARD PLANS';
    case 'DISCARD_SEQUENCES':
      session.memory.clear();
      return 'DISCARD SEQUENCES';
    default:
      // There are no temporary tables.
      return 'DISCARD TEMP';
  }
}
