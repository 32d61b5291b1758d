/** Tables declared in code, and a little session, for tests of the SQL layer. */
import type { Node } from 'libpg-query';
import type {
  CatalogReader,
  CheckDef,
  ColumnDef,
  ForeignKeyDef,
  IndexDef,
  TableDef,
} from '../../catalog/definitions.js';
import { compileKeyMaker } from '../../keys/key-maker.js';
import { encodeKeyValues } from '../../keys/key.js';
import { Suspend } from '../../pages/suspend.js';
import type { IndexHandle } from '../../tables/table-store.js';
import { TupleCodec } from '../../types/tuple.js';
import { typeOf } from '../../types/registry.js';
import type { Value } from '../../types/value.js';
import { builtinTypes } from '../bind/builtin-types.js';
import { SqlCompiler } from '../compiler.js';
import { notSupported } from '../../sql-error.js';
import { parse } from '../parse/parser.js';
import type { ExecutionContext, SessionView } from '../statement.js';
import { FakeStore } from './fake-store.js';
import type { FakeTransaction } from './fake-store.js';

export interface TableSpec {
  readonly name: string;
  /** `id int4 not null`, `note varchar(10) default 'x'`, ... */
  readonly columns: readonly string[];
  readonly primary?: readonly string[];
  readonly indexes?: readonly {
    readonly name: string;
    readonly columns: readonly string[];
    readonly unique?: boolean;
  }[];
  readonly checks?: readonly { readonly name: string; readonly text: string }[];
}

function expression(text: string): Node {
  const stmt = parse(`SELECT ${text}`)[0]?.node as { SelectStmt: { targetList: Node[] } };
  return (stmt.SelectStmt.targetList[0] as { ResTarget: { val: Node } }).ResTarget.val;
}

function column(text: string, number: number): ColumnDef {
  const match = /^(\w+) (\w+(?:\[\])?)(?:\(([\d, ]+)\))?( not null)?(?: default (.+))?$/.exec(text);
  if (match === null) throw new Error(`column: ${text}`);
  const [, name, type, mods, notNull, def] = match;
  const base = builtinTypes.findType(null, (type as string).replace('[]', '')) as number;
  const oid = (type as string).endsWith('[]') ? builtinTypes.arrayOf(base) : base;
  return {
    number,
    name: name as string,
    typeOid: oid,
    typmod: mods === undefined ? -1 : builtinTypes.makeTypmod(oid, mods.split(',').map(Number)),
    notNull: notNull !== undefined,
    defaultNode: def === undefined ? null : expression(def),
    identity: null,
    dropped: false,
    collationOid: 0,
  };
}

export class FakeCatalog implements CatalogReader {
  version = 1;
  readonly tables = new Map<string, TableDef>();
  private nextOid = 16384;
  /** Root page of a new tree; the fake store needs none. */
  newRoot: () => number = () => 0;

  addTable(spec: TableSpec): TableDef {
    const columns = spec.columns.map((c, i) => column(c, i + 1));
    const names = columns.map((c) => c.name);
    const keyed = (spec.primary ?? []).map((p) => names.indexOf(p));
    const all = columns.map((c, i) => (keyed.includes(i) ? { ...c, notNull: true } : c));
    const codec = new TupleCodec(all.map((c) => ({ type: typeOf(c.typeOid) })));
    const oid = this.nextOid++;
    const makeIndex = (
      name: string,
      on: readonly string[],
      unique: boolean,
      primary: boolean,
    ): IndexDef => this.makeIndex(all, codec, name, on, unique, primary);
    const indexes: IndexDef[] = [];
    if (spec.primary !== undefined)
      indexes.push(makeIndex(`${spec.name}_pkey`, spec.primary, true, true));
    for (const i of spec.indexes ?? [])
      indexes.push(makeIndex(i.name, i.columns, i.unique === true, false));
    const checks: CheckDef[] = (spec.checks ?? []).map((c) => ({
      name: c.name,
      expression: expression(c.text),
    }));
    const table: TableDef = {
      oid,
      schema: 'public',
      name: spec.name,
      kind: 'table',
      columns: all,
      primaryKey: indexes.find((i) => i.primary) ?? null,
      indexes,
      checks,
      foreignKeys: [],
      referencedBy: [],
      handle: {
        oid,
        schemaName: 'public',
        name: spec.name,
        rootPageNo: this.newRoot(),
        indexes: indexes.map((i) => i.handle),
      },
      codec,
      view: null,
      rows: null,
    };
    this.tables.set(spec.name, table);
    this.version++;
    return table;
  }

  private makeIndex(
    all: readonly ColumnDef[],
    codec: TupleCodec,
    name: string,
    on: readonly string[],
    unique: boolean,
    primary: boolean,
  ): IndexDef {
    const keys = on.map((n) => {
      const [col, direction] = n.split(' ');
      const at = all.findIndex((c) => c.name === col);
      const descending = direction === 'desc';
      return {
        column: at,
        type: typeOf((all[at] as ColumnDef).typeOid),
        descending,
        nullsFirst: descending,
      };
    });
    const indexOid = this.nextOid++;
    const handle: IndexHandle = {
      oid: indexOid,
      name,
      rootPageNo: this.newRoot(),
      unique,
      primary,
      keys: compileKeyMaker(codec, keys),
      describeKey: (bytes, start, end) => {
        const values = keys.map((k) => codec.decode(bytes, start, end, k.column));
        const texts = values.map((v, i) => (v === null ? 'null' : (keys[i]?.type.toText(v) ?? '')));
        return `(${on.join(', ')})=(${texts.join(', ')})`;
      },
    };
    return {
      oid: indexOid,
      name,
      columns: keys.map((k) => ({
        column: k.column,
        expression: null,
        typeOid: k.type.oid,
        descending: k.descending,
        nullsFirst: k.nullsFirst,
      })),
      unique,
      primary,
      constraint: unique ? name : null,
      handle,
      encodePrefix: (values, count, target) => encodeKeyValues(values, keys, count, target),
    };
  }

  addForeignKey(
    child: string,
    childColumns: readonly string[],
    parent: string,
    actions: Partial<Pick<ForeignKeyDef, 'onDelete' | 'onUpdate'>> = {},
  ): void {
    const c = this.tables.get(child) as TableDef;
    const p = this.tables.get(parent) as TableDef;
    const key: ForeignKeyDef = {
      oid: this.nextOid++,
      name: `${child}_${childColumns.join('_')}_fkey`,
      tableOid: c.oid,
      columns: childColumns.map((n) => c.columns.findIndex((x) => x.name === n)),
      referencedOid: p.oid,
      referencedColumns: (p.primaryKey as IndexDef).columns.map((x) => x.column),
      referencedIndexOid: (p.primaryKey as IndexDef).oid,
      onUpdate: actions.onUpdate ?? 'no action',
      onDelete: actions.onDelete ?? 'no action',
    };
    const child2 = { ...c, foreignKeys: [...c.foreignKeys, key] };
    this.tables.set(child, child2);
    const p2 = this.tables.get(parent) as TableDef;
    this.tables.set(parent, { ...p2, referencedBy: [...p2.referencedBy, key] });
    this.version++;
  }

  addView(name: string, text: string, columns: readonly { name: string; typeOid: number }[]): void {
    const query = parse(text)[0]?.node as Node;
    this.tables.set(name, {
      oid: this.nextOid++,
      schema: 'public',
      name,
      kind: 'view',
      columns: columns.map((c, i) => ({
        number: i + 1,
        name: c.name,
        typeOid: c.typeOid,
        typmod: -1,
        notNull: false,
        defaultNode: null,
        identity: null,
        dropped: false,
        collationOid: 0,
      })),
      primaryKey: null,
      indexes: [],
      checks: [],
      foreignKeys: [],
      referencedBy: [],
      handle: null,
      codec: null,
      view: { query, searchPath: ['public'] },
      rows: null,
    });
    this.version++;
  }

  findTable(schema: string | null, name: string): TableDef | null {
    const found = this.tables.get(name);
    return found !== undefined && (schema === null || schema === found.schema) ? found : null;
  }

  tableByOid(oid: number): TableDef | null {
    for (const t of this.tables.values()) if (t.oid === oid) return t;
    return null;
  }

  hasSchema(name: string): boolean {
    return name === 'public' || name === 'pg_catalog';
  }

  findType(): null {
    return null;
  }
}

export function fakeSession(): SessionView {
  const settings = new Map([['TimeZone', 'UTC']]);
  return {
    id: 1,
    user: 'postgres',
    database: 'postgres',
    statementTime: 0n,
    transactionTime: 0n,
    clockTime: () => 0n,
    getSetting: (name) => settings.get(name),
    setSetting: (name, value) => void settings.set(name, value),
    searchPath: ['public'],
    notice: () => {},
    memory: new Map(),
    random: () => 0.5,
  };
}

/** A whole little database: parse, bind, plan and execute over the fake store. */
export class FakeDatabase {
  readonly store = new FakeStore();
  readonly catalog = new FakeCatalog();
  readonly session = fakeSession();
  readonly compiler: SqlCompiler;
  transaction: FakeTransaction;

  constructor() {
    this.compiler = new SqlCompiler({
      store: this.store.asStore(),
      types: builtinTypes,
      utility: {
        compile: (tag) => {
          throw notSupported(tag);
        },
      },
    });
    this.transaction = this.store.begin();
  }

  context(parameters: readonly Value[] = [], transaction = this.transaction): ExecutionContext {
    return {
      transaction: transaction.asTransaction(),
      snapshot: transaction.snapshot(),
      parameters,
      session: this.session,
    };
  }

  /** Runs one statement to its end; parameters as values. Suspensions are answered at once. */
  run(
    text: string,
    parameters: readonly Value[] = [],
    parameterOids: readonly number[] = [],
  ): { rows: Value[][]; tag: string; names: string[] } {
    const request = { catalog: this.catalog, searchPath: ['public'], parameterOids };
    const [statement] = this.compiler.prepare(text, request);
    if (statement === undefined) throw new Error('no statement');
    this.transaction.command++;
    const execution = statement.open(this.context(parameters));
    const rows: Value[][] = [];
    for (;;) {
      try {
        if (execution.step() === 'done') break;
        rows.push([...execution.row]);
      } catch (error) {
        if (!(error instanceof Suspend)) throw error;
      }
    }
    return { rows, tag: execution.tag, names: (statement.columns ?? []).map((c) => c.name) };
  }

  /** Rows as psql would show them: `a|b`, NULL empty. */
  show(text: string, parameters: readonly Value[] = []): string[] {
    const request = { catalog: this.catalog, searchPath: ['public'], parameterOids: [] };
    const columns = this.compiler.prepare(text, request)[0]?.columns ?? [];
    const { rows } = this.run(text, parameters);
    return rows.map((row) =>
      columns
        .map((c, i) => {
          const v = row[i] ?? null;
          return v === null ? '' : builtinTypes.output(c.typeOid, v);
        })
        .join('|'),
    );
  }
}
