/** PREPARE, EXECUTE and DEALLOCATE: prepared statements by SQL; they share their names with those of Parse. */
import type { DeallocateStmt, ExecuteStmt, Node, PrepareStmt, TypeName } from 'libpg-query';
import { assert } from '#core/assert.js';
import { SqlError } from '../sql-error.js';
import type { ParsedStatement } from '../sql/parse/parser.js';
import { stringsOf, tagOf } from '../sql/parse/ast.js';
import type { Execution } from '../sql/statement.js';
import { typeByName, typeOf } from '../types/registry.js';
import type { Value } from '../types/value.js';
import { Portal, RowsExecution, type PreparedStatement } from './portal.js';
import type { Session } from './session.js';

export function prepareStatement(session: Session, portal: Portal, node: PrepareStmt): Execution {
  const name = node.name ?? '';
  if (session.statements.has(name)) {
    throw new SqlError('42P05', `prepared statement "${name}" already exists`);
  }
  assert(node.query !== undefined, 'PREPARE has a statement');
  const source = inner(session, portal, node.query);
  const oids = (node.argtypes ?? []).map(typeOid);
  session.statements.set(name, session.compileSource(name, source, oids));
  return new RowsExecution('PREPARE');
}

/** The statement inside of another one, with a text of its own for caches. */
export function inner(session: Session, portal: Portal, node: Node): ParsedStatement {
  const { source } = portal.statement;
  assert(source !== null, 'it is not blank');
  const outer = source.parsed ?? session.services.source.parse(source.text)[0];
  return {
    node,
    raw: { ...outer.raw, stmt: node },
    text: `${tagOf(node)} of: ${outer.text}`,
    positions: outer.positions,
  };
}

function typeOid(node: Node): number {
  assert('TypeName' in node, 'argument types are type names');
  const { names, arrayBounds } = node.TypeName;
  const name = stringsOf(names).at(-1) ?? '';
  const type = typeByName(name);
  if (type === undefined) throw new SqlError('42704', `type "${name}" does not exist`);
  return (arrayBounds ?? []).length > 0 ? type.arrayOid : type.oid;
}

/** Runs as the statement that it names: its portal takes over that statement's columns. */
export function executePrepared(session: Session, portal: Portal, node: ExecuteStmt): Execution {
  const target = session.statement(node.name ?? '');
  const { parameterOids } = target.compiled;
  const given = node.params ?? [];
  if (given.length !== parameterOids.length) {
    throw new SqlError(
      '42601',
      `wrong number of parameters for prepared statement "${target.name}"`,
      { detail: `Expected ${parameterOids.length} parameters but got ${given.length}.` },
    );
  }
  const values = given.length === 0 ? [] : evaluate(session, portal, given, parameterOids);
  const inside = new Portal(portal.name, session.fresh(target), values);
  portal.columns = inside.compiled.columns;
  session.checkBlock(target);
  return session.openInner(inside);
}

/** The arguments as one row of `SELECT CAST(argument AS type), ...`. */
function evaluate(
  session: Session,
  portal: Portal,
  given: readonly Node[],
  oids: readonly number[],
): Value[] {
  const targetList: Node[] = given.map((arg, i) => ({
    ResTarget: { val: { TypeCast: { arg, typeName: typeName(oids[i]), location: -1 } } },
  }));
  const select: Node = {
    SelectStmt: { targetList, limitOption: 'LIMIT_OPTION_DEFAULT', op: 'SETOP_NONE' },
  };
  const source = inner(session, portal, select);
  const statement: PreparedStatement = session.compileSource('', source, []);
  const execution = session.openInner(new Portal('', statement, []));
  try {
    assert(execution.step() === 'row', 'a select without FROM has a row');
    return [...execution.row];
  } finally {
    execution.close();
  }
}

function typeName(oid: number): TypeName {
  const { name } = typeOf(oid);
  return {
    names: [{ String: { sval: 'pg_catalog' } }, { String: { sval: name } }],
    typemod: -1,
    location: -1,
  };
}

export function deallocate(session: Session, node: DeallocateStmt): Execution {
  if (node.isall === true || node.name === undefined) {
    session.statements.clear();
    return new RowsExecution('DEALLOCATE ALL');
  }
  session.statement(node.name);
  session.statements.delete(node.name);
  return new RowsExecution('DEALLOCATE');
}
