/** One run of a statement that changes the catalog: names, locks, new oids, internal queries. */
import type { Node, RangeVar, TypeName } from 'libpg-query';
import { Suspend } from '../pages/suspend.js';
import { builtinTypes } from '../sql/bind/builtin-types.js';
import { bindTypeName } from '../sql/bind/bind-type.js';
import { BindContext } from '../sql/bind/context.js';
import type { CompileRequest } from '../sql/compiler.js';
import { type ParsedStatement, TextPositions, parse } from '../sql/parse/parser.js';
import type {
  CompiledStatement,
  Execution,
  ExecutionContext,
  SessionView,
} from '../sql/statement.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { Transaction } from '../txn/transaction.js';
import { clipBytes, NAME_BYTES_MAX } from '../types/strings.js';
import type { Value } from '../types/value.js';
import type { Catalog } from './catalog.js';
import type { CatalogSnapshot } from './catalog-snapshot.js';
import type { TableDef, TypeRef } from './definitions.js';
import type { ObjectRecord, RelationRecord, TableRecord } from './object-record.js';
import { quoteIdent } from './names.js';
import { attempt, type Steps } from './steps.js';

/** What DDL needs of the SQL layer. */
export interface QueryCompiler {
  compile(statement: ParsedStatement, request: CompileRequest): CompiledStatement;
}

const NO_POSITIONS = new TextPositions('');

export class Ddl {
  readonly catalog: Catalog;
  readonly txn: Transaction;
  readonly session: SessionView;
  readonly positions: TextPositions;
  readonly #queries: QueryCompiler;
  readonly #context: ExecutionContext;

  constructor(
    catalog: Catalog,
    queries: QueryCompiler,
    context: ExecutionContext,
    positions: TextPositions,
  ) {
    this.catalog = catalog;
    this.txn = context.transaction;
    this.session = context.session;
    this.positions = positions;
    this.#queries = queries;
    this.#context = context;
  }

  get reader(): CatalogSnapshot {
    return this.catalog.reader(this.txn);
  }

  /** 25006 in a read-only transaction. */
  requireWritable(tag: string): void {
    if (!this.txn.readOnly) return;
    throw new SqlError('25006', `cannot execute ${tag} in a read-only transaction`);
  }

  notice(code: string, message: string): void {
    this.session.notice('NOTICE', code, message);
  }

  /** Gives the thread back in the middle of long work. */
  *turn(): Steps<void> {
    const { yieldNow } = this.#context;
    if (yieldNow !== undefined) yield new Suspend('turn', yieldNow());
  }

  put(record: ObjectRecord): void {
    this.catalog.put(this.txn, record);
  }

  remove(oid: number): void {
    this.catalog.remove(this.txn, oid);
  }

  flush(): Steps<void> {
    return this.catalog.flush(this.txn);
  }

  newOid(): Steps<number> {
    return attempt(() => this.catalog.sequences.nextOid());
  }

  newTree(): Steps<number> {
    return attempt(() => this.catalog.store.createTree(this.txn));
  }

  dropTree(rootPageNo: number): void {
    this.catalog.store.dropTree(this.txn, rootPageNo);
  }

  bindContext(): BindContext {
    return new BindContext(this.reader, builtinTypes, this.positions, this.session.searchPath, []);
  }

  /** 42704, and 42P16 for a type that no column can have. */
  bindType(name: TypeName): TypeRef {
    const type = bindTypeName(this.bindContext(), name);
    if (type.oid === 0) throw notSupported('array of this type');
    return type;
  }

  /** The schema that a new object goes to; 3F000, 42501. */
  targetSchema(schemaName: string | undefined): number {
    const { reader } = this;
    if (schemaName === undefined || schemaName === '') {
      const first = this.session.searchPath.find(
        (name) => name !== 'pg_catalog' && reader.hasSchema(name),
      );
      if (first === undefined) {
        throw new SqlError('3F000', 'no schema has been selected to create in');
      }
      return this.targetSchema(first);
    }
    if (/^pg_|^information_schema$/.test(schemaName) && reader.hasSchema(schemaName)) {
      throw new SqlError('42501', `permission denied for schema ${schemaName}`);
    }
    return reader.requireSchema(schemaName);
  }

  /** Reserves the name for a new relation; false: it is taken. */
  *reserveName(schema: number, name: string): Steps<boolean> {
    yield* attempt(() => this.catalog.locks.acquireName(this.txn, `${schema}.${name}`));
    const schemaName = this.reader.schemaName(schema);
    if (schemaName === '') throw new SqlError('3F000', 'the schema was dropped');
    return this.reader.findRelation(schemaName, name, []) === 0;
  }

  /** `name_column_suffix`, shortened and numbered until it is free, and reserved. */
  *chooseName(schema: number, parts: readonly string[], suffix: string): Steps<string> {
    for (let i = 0; ; i++) {
      const tail = `_${suffix}${i === 0 ? '' : i}`;
      const head = clipBytes(parts.join('_'), NAME_BYTES_MAX - tail.length);
      const name = `${head}${tail}`;
      if (yield* this.reserveName(schema, name)) return name;
    }
  }

  /** The relation of that name, locked; null when there is none (42P01 unless `missingOk`). */
  *relation(v: RangeVar, mode: number, missingOk = false): Steps<RelationRecord | null> {
    const name = v.relname ?? '';
    const schema = v.schemaname ?? null;
    for (;;) {
      const oid = this.reader.findRelation(schema, name, this.session.searchPath);
      if (oid === 0) {
        if (missingOk) return null;
        const shown = schema === null ? name : `${schema}.${name}`;
        const position = this.positions.at(v.location);
        throw new SqlError(
          '42P01',
          `relation "${shown}" does not exist`,
          position === undefined ? {} : { position },
        );
      }
      yield* attempt(() => this.catalog.locks.acquire(this.txn, oid, mode));
      // Whoever held it may have renamed or dropped it.
      if (this.reader.findRelation(schema, name, this.session.searchPath) !== oid) continue;
      const record = this.reader.entries.get(oid)?.record;
      if (record === undefined) {
        throw new SqlError('42501', `permission denied: "${name}" is a system catalog`);
      }
      return record as RelationRecord;
    }
  }

  /** As `relation`, of a table; 42809 for anything else. */
  *table(v: RangeVar, mode: number): Steps<TableRecord> {
    const record = yield* this.relation(v, mode);
    if (record?.kind !== 'table') {
      throw new SqlError('42809', `"${v.relname ?? ''}" is not a table`);
    }
    return record;
  }

  *lock(oid: number, mode: number): Steps<void> {
    yield* attempt(() => this.catalog.locks.acquire(this.txn, oid, mode));
  }

  definition(oid: number): TableDef {
    const def = this.reader.tableByOid(oid);
    if (def === null) throw new SqlError('XX000', `relation ${oid} is gone`);
    return def;
  }

  qualifiedName(record: RelationRecord): string {
    const schema = this.reader.schemaName(this.reader.schemaOf(record));
    return `${quoteIdent(schema)}.${quoteIdent(record.name)}`;
  }

  /** Compiles a statement of our own making with what this transaction sees; throws what binding throws. */
  compile(
    text: string,
    change: (node: Node) => Node = (node) => node,
    parameterOids: readonly number[] = [],
  ): CompiledStatement {
    const [parsed] = parse(text);
    const node = change(parsed.node);
    return this.#queries.compile(
      { node, raw: parsed.raw, text, positions: NO_POSITIONS },
      { catalog: this.reader, searchPath: this.session.searchPath, parameterOids },
    );
  }

  /** Opens a compiled statement within this one, as a command of its own. */
  open(statement: CompiledStatement): Execution {
    this.txn.command++;
    return statement.open({
      transaction: this.txn,
      snapshot: this.txn.snapshot(),
      parameters: this.#context.parameters,
      session: this.session,
      ...(this.#context.yieldNow === undefined ? {} : { yieldNow: this.#context.yieldNow }),
    });
  }

  /** Runs it to its end; at most `rowsMax` rows are kept. */
  *run(statement: CompiledStatement, rowsMax = 1): Steps<Value[][]> {
    const execution = yield* attempt(() => this.open(statement));
    const rows: Value[][] = [];
    try {
      while ((yield* attempt(() => execution.step())) === 'row') {
        if (rows.length < rowsMax) rows.push([...execution.row]);
      }
    } finally {
      execution.close();
    }
    this.txn.command++;
    return rows;
  }
}
