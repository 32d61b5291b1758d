/** COPY: what is copied, how, and by which execution. */
import type { CopyStmt, Node, RangeVar } from 'libpg-query';
import type { CompileRequest } from '../sql/compiler.js';
import { stringsOf } from '../sql/parse/ast.js';
import type {
  CompiledStatement,
  Execution,
  ExecutionContext,
  StatementKind,
} from '../sql/statement.js';
import { SqlError, notSupported } from '../sql-error.js';
import { CopyIn } from './copy-in.js';
import { type CopyOptions, copyOptions } from './copy-options.js';
import { CopyOut } from './copy-out.js';
import type { Ddl } from './ddl.js';
import type { TableDef } from './definitions.js';
import { quoteIdent } from './names.js';
import { ACCESS_SHARE, ROW_EXCLUSIVE } from './relation-locks.js';

class CopyStatement implements CompiledStatement {
  readonly kind: StatementKind;
  readonly parameterOids: readonly number[] = [];
  readonly columns = null;
  readonly node: Node;
  readonly catalogVersion: number;
  readonly #open: (context: ExecutionContext) => Execution;

  constructor(
    kind: StatementKind,
    node: Node,
    version: number,
    open: (context: ExecutionContext) => Execution,
  ) {
    this.kind = kind;
    this.node = node;
    this.catalogVersion = version;
    this.#open = open;
  }

  /** Throws Suspend for a table's lock: call it again. */
  open(context: ExecutionContext): Execution {
    return this.#open(context);
  }
}

export function compileCopy(
  node: Extract<Node, { CopyStmt: CopyStmt }>,
  request: CompileRequest,
  make: (context: ExecutionContext) => Ddl,
): CompiledStatement {
  const s = node.CopyStmt;
  if (s.is_program === true) throw notSupported('COPY with a program');
  if ((s.filename ?? '') !== '') {
    throw new SqlError('0A000', 'COPY with a file of the server is not supported', {
      hint: "Use STDIN and STDOUT, or psql's \\copy.",
    });
  }
  if (s.whereClause !== undefined) throw notSupported('COPY FROM with WHERE');
  const options = copyOptions(s.options);
  const version = request.catalog.version;
  if (s.is_from === true) {
    return new CopyStatement('copy-in', node, version, (context) =>
      openIn(make(context), s, options, context),
    );
  }
  return new CopyStatement('copy-out', node, version, (context) =>
    openOut(make(context), s, options, context),
  );
}

/** The table of that name with its lock. */
function lockedTable(ddl: Ddl, v: RangeVar, mode: number): TableDef {
  const { catalog, session, txn } = ddl;
  for (;;) {
    const table = ddl.reader.findTable(v.schemaname ?? null, v.relname ?? '', session.searchPath);
    if (table === null) {
      throw new SqlError('42P01', `relation "${v.relname ?? ''}" does not exist`);
    }
    const { version } = ddl.reader;
    catalog.locks.acquire(txn, table.oid, mode);
    if (ddl.reader.version === version) return table;
  }
}

function columnsOf(table: TableDef, names: readonly string[]): number[] {
  if (names.length === 0) {
    return table.columns.filter((c) => !c.dropped).map((c) => c.number - 1);
  }
  const columns = names.map((name) => {
    const index = table.columns.findIndex((c) => c.name === name && !c.dropped);
    if (index >= 0) return index;
    throw new SqlError('42703', `column "${name}" of relation "${table.name}" does not exist`);
  });
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return columns;
  throw new SqlError('42701', `column "${twice}" specified more than once`);
}

const nameOf = (table: TableDef): string => `${quoteIdent(table.schema)}.${quoteIdent(table.name)}`;

function openIn(ddl: Ddl, s: CopyStmt, o: CopyOptions, context: ExecutionContext): Execution {
  ddl.requireWritable('COPY FROM');
  const table = lockedTable(ddl, s.relation as RangeVar, ROW_EXCLUSIVE);
  if (table.handle === null) {
    throw new SqlError('42809', `cannot copy to ${table.kind} "${table.name}"`);
  }
  const columns = columnsOf(table, stringsOf(s.attlist));
  const isPlain =
    table.checks.length === 0 &&
    table.foreignKeys.length === 0 &&
    table.columns.every((c, i) => c.dropped || c.defaultNode === null || columns.includes(i));
  const insert = isPlain ? null : insertStatement(ddl, table, columns);
  return new CopyIn(table, columns, o, context, ddl.catalog.store, insert);
}

function insertStatement(ddl: Ddl, table: TableDef, columns: readonly number[]): CompiledStatement {
  const names = columns.map((c) => quoteIdent(table.columns[c].name)).join(', ');
  const values = columns.map((_, i) => `$${i + 1}`).join(', ');
  const text =
    columns.length === 0
      ? `insert into ${nameOf(table)} default values`
      : `insert into ${nameOf(table)} (${names}) overriding system value values (${values})`;
  return ddl.compile(
    text,
    (node) => node,
    columns.map((c) => table.columns[c].typeOid),
  );
}

function openOut(ddl: Ddl, s: CopyStmt, o: CopyOptions, context: ExecutionContext): Execution {
  let compiled: CompiledStatement;
  if (s.query !== undefined) {
    const query = s.query;
    compiled = ddl.compile('select 1', () => query);
  } else {
    const table = lockedTable(ddl, s.relation as RangeVar, ACCESS_SHARE);
    if (table.kind === 'view') {
      throw new SqlError('42809', `cannot copy from view "${table.name}"`, {
        hint: 'Try the COPY (SELECT ...) TO variant.',
      });
    }
    const columns = columnsOf(table, stringsOf(s.attlist));
    const names = columns.map((c) => quoteIdent(table.columns[c].name)).join(', ');
    compiled = ddl.compile(`select ${names} from ${nameOf(table)}`);
  }
  if (compiled.columns === null) {
    throw new SqlError('0A000', 'COPY query must have a RETURNING clause');
  }
  return new CopyOut(compiled.open(context), compiled.columns, o, context);
}
