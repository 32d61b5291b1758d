/** ALTER TABLE's ADD COLUMN, DROP COLUMN and ALTER COLUMN TYPE. */
import type { AlterTableCmd, ColumnDef, Node, TypeName } from 'libpg-query';
import { functionsNamed } from '../functions/function.js';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { TableHandle } from '../tables/table-store.js';
import { typeOf } from '../types/registry.js';
import { refuseViews } from './alter-table.js';
import { planColumn } from './columns.js';
import { addConstraint, setNotNull } from './constraints.js';
import { checkExpressions, settleColumn } from './create-table.js';
import type { Ddl } from './ddl.js';
import type { TupleCodec } from './definitions.js';
import { ownedSequences, removeIndex } from './drop.js';
import { columnsInExpression, walkTree } from './expression-columns.js';
import { quoteIdent } from './names.js';
import type { ColumnRecord, TableRecord } from './object-record.js';
import { attempt, type Steps } from './steps.js';
import { columnIndex } from './table-definition.js';

export function* addColumn(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): Steps<void> {
  const def: ColumnDef = cmd.def !== undefined && 'ColumnDef' in cmd.def ? cmd.def.ColumnDef : {};
  const name = def.colname ?? '';
  if (table.columns.some((column) => column.name === name && !column.dropped)) {
    const message = `column "${name}" of relation "${table.name}" already exists`;
    if (cmd.missing_ok !== true) throw new SqlError('42701', message);
    ddl.notice('42701', `${message}, skipping`);
    return;
  }
  const plan = planColumn(ddl, def);
  const column = yield* settleColumn(ddl, table, plan, table.columns.length);
  const index = table.columns.length;
  const perRow = column.default !== null && isVolatile(column.default);
  const missing =
    column.default === null || perRow ? null : yield* evaluate(ddl, column.default, column, def);
  const settled = { ...column, missing, notNull: column.notNull && missing !== null };
  let changed: TableRecord = { ...table, columns: [...table.columns, settled] };
  ddl.put(changed);
  checkExpressions(ddl, changed);
  yield* ddl.flush();
  if (perRow) {
    const update = ddl.compile(
      `update ${ddl.qualifiedName(changed)} set ${quoteIdent(name)} = default`,
    );
    yield* ddl.run(update);
  }
  if (column.notNull) changed = yield* setNotNull(ddl, changed, [index], false);
  for (const c of plan.constraints) changed = yield* addConstraint(ddl, changed, c, false);
  checkExpressions(ddl, changed);
}

function isVolatile(node: Node): boolean {
  let found = false;
  walkTree({ node }, (tag, body) => {
    if (tag !== 'FuncCall' || !('funcname' in body)) return;
    const names = stringsOf(body.funcname as Node[]);
    const defs = functionsNamed(names[names.length - 1]);
    if (defs.length === 0 || defs.some((def) => def.volatility === 'volatile')) found = true;
  });
  return found;
}

/** The default's value now, as text: what all rows that are there already read. */
function* evaluate(
  ddl: Ddl,
  node: Node,
  column: ColumnRecord,
  def: ColumnDef,
): Steps<string | null> {
  const cast: Node = {
    TypeCast: { arg: node, typeName: def.typeName as TypeName, location: -1 },
  };
  const query = ddl.compile('select 1', (select) => {
    if (!('SelectStmt' in select)) return select;
    const targetList: Node[] = [{ ResTarget: { val: cast, location: -1 } }];
    return { SelectStmt: { ...select.SelectStmt, targetList } };
  });
  const [row] = yield* ddl.run(query);
  const value = row[0];
  return value === null ? null : typeOf(column.type).toText(value);
}

export function dropColumn(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): void {
  const name = cmd.name ?? '';
  const cascade = cmd.behavior === 'DROP_CASCADE';
  if (!table.columns.some((column) => column.name === name && !column.dropped)) {
    const message = `column "${name}" of relation "${table.name}" does not exist`;
    if (cmd.missing_ok !== true) throw new SqlError('42703', message);
    ddl.notice('00000', `${message}, skipping`);
    return;
  }
  refuseViews(ddl, table);
  const index = columnIndex(table, name);
  for (const key of ddl.reader.foreignKeysOf(table.oid)) {
    if (key.table === table.oid && key.columns.includes(index)) ddl.remove(key.oid);
  }
  for (const found of ddl.reader.indexesOf(table.oid)) {
    if (found.columns.some((c) => c.column === index)) removeIndex(ddl, found, cascade);
  }
  for (const sequence of ownedSequences(ddl, table.oid)) {
    if (sequence.owner?.column === index) ddl.remove(sequence.oid);
  }
  const gone: Partial<ColumnRecord> = {
    name: `........pg.dropped.${index + 1}........`,
    dropped: true,
    notNull: false,
    default: null,
    identity: null,
    missing: null,
  };
  const columns = table.columns.map((c, i) => (i === index ? { ...c, ...gone } : c));
  const checks = table.checks.filter(
    (check) => !columnsInExpression(table, check.expression).includes(index),
  );
  ddl.put({ ...table, columns, checks });
}

export function* alterType(ddl: Ddl, table: TableRecord, cmd: AlterTableCmd): Steps<void> {
  const def: ColumnDef = cmd.def !== undefined && 'ColumnDef' in cmd.def ? cmd.def.ColumnDef : {};
  const index = columnIndex(table, cmd.name ?? '');
  const before = table.columns[index];
  const type = ddl.bindType(def.typeName as TypeName);
  refuseViews(ddl, table);
  const inKey = ddl.reader
    .foreignKeysOf(table.oid)
    .some((k) => (k.table === table.oid ? k.columns : k.referencedColumns).includes(index));
  if (inKey) throw notSupported('changing the type of a column of a foreign key');
  const cast: Node = {
    TypeCast: {
      arg: def.raw_default ?? {
        ColumnRef: { fields: [{ String: { sval: before.name } }], location: -1 },
      },
      typeName: def.typeName as TypeName,
      location: -1,
    },
  };
  const live = table.columns.map((c, i) =>
    c.dropped ? 'null' : i === index ? '1' : quoteIdent(c.name),
  );
  const text = `select ${live.join(', ')} from ${ddl.qualifiedName(table)}`;
  const rows = ddl.compile(text, (node) => {
    if (!('SelectStmt' in node)) return node;
    const targetList = (node.SelectStmt.targetList ?? []).map((target, i) =>
      i === index ? { ResTarget: { val: cast, location: -1 } } : target,
    );
    return { SelectStmt: { ...node.SelectStmt, targetList } };
  });
  const columns = table.columns.map((c, i) =>
    i === index
      ? { ...c, type: type.oid, typmod: type.typmod, missing: null }
      : { ...c, missing: null },
  );
  const changed: TableRecord = { ...table, columns, root: yield* ddl.newTree() };
  const source = yield* attempt(() => ddl.open(rows));
  ddl.put(changed);
  checkExpressions(ddl, changed);
  for (const found of ddl.reader.indexesOf(table.oid)) {
    ddl.dropTree(found.root);
    ddl.put({ ...found, root: yield* ddl.newTree() });
  }
  const target = ddl.definition(table.oid);
  const { store } = ddl.catalog;
  const state = store.newWriteState();
  let tuple = new Uint8Array(1024);
  while ((yield* attempt(() => source.step())) === 'row') {
    let length = (target.codec as TupleCodec).encode(source.row, tuple);
    if (length < 0) {
      tuple = new Uint8Array(-length);
      length = (target.codec as TupleCodec).encode(source.row, tuple);
    }
    state.reset();
    yield* attempt(() =>
      store.insert(target.handle as TableHandle, ddl.txn, tuple, 0, length, state),
    );
  }
  source.close();
  ddl.txn.command++;
  ddl.dropTree(table.root);
}
