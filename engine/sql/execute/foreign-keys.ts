/**
 * Foreign keys, checked when the statement's own rows are written (so that rows of one statement may refer to each
 * other). Each task is resumable; actions on referencing rows bring tasks of their own.
 *
 * | task      | after                              | does                                                              |
 * |-----------|------------------------------------|-------------------------------------------------------------------|
 * | reference | INSERT, UPDATE of the child        | locks the parent row FOR KEY SHARE; 23503 when there is none      |
 * | orphan    | DELETE, key UPDATE of the parent   | NO ACTION, RESTRICT: 23503 when a child is left;                  |
 * |           |                                    | CASCADE, SET NULL, SET DEFAULT (of NULL): writes the children     |
 */
import type { ForeignKeyDef, IndexDef, TableDef, TupleCodec } from '../../catalog/definitions.js';
import { SqlError } from '../../sql-error.js';
import type { KeyRange, RowCursor, RowWriteState, TableHandle } from '../../tables/table-store.js';
import type { Value } from '../../types/value.js';
import { comparatorOf } from './keys.js';
import { keyText, latestSnapshot, TupleBuffer } from './row-writer.js';
import type { Frame } from './frame.js';

interface Task {
  readonly kind: 'reference' | 'orphan';
  readonly key: ForeignKeyDef;
  readonly values: readonly Value[];
  /** Of an orphan task after a key UPDATE: the parent's new key. */
  readonly fresh: readonly Value[] | null;
}

export class ForeignKeyQueue {
  private readonly frame: Frame;
  private readonly state: RowWriteState;
  private readonly buffer = new TupleBuffer();
  private readonly tasks: Task[] = [];
  private at = 0;
  private cursor: RowCursor | null = null;
  /** The child row that is being written: its id and old values. */
  private pending: { readonly rowId: number; readonly old: readonly Value[] } | null = null;

  constructor(frame: Frame, state: RowWriteState) {
    this.frame = frame;
    this.state = state;
  }

  /** After a row of `table` was written: `get` reads the new row. `changed`: only these columns were; null: all. */
  written(
    table: TableDef,
    get: (column: number) => Value,
    changed: ReadonlySet<number> | null,
  ): void {
    for (const key of table.foreignKeys) {
      if (changed !== null && !key.columns.some((c) => changed.has(c))) continue;
      const values = key.columns.map(get);
      if (values.some((v) => v === null)) continue;
      this.tasks.push({ kind: 'reference', key, values, fresh: null });
    }
  }

  /** After a row of `table` was deleted or its key columns changed. */
  removed(
    table: TableDef,
    old: (column: number) => Value,
    fresh: ((column: number) => Value) | null,
  ): void {
    for (const key of table.referencedBy) {
      const values = key.referencedColumns.map(old);
      if (values.some((v) => v === null)) continue;
      const next = fresh === null ? null : key.referencedColumns.map(fresh);
      if (next !== null && this.sameKey(table, key.referencedColumns, values, next)) continue;
      this.tasks.push({ kind: 'orphan', key, values, fresh: next });
    }
  }

  private sameKey(
    table: TableDef,
    columns: readonly number[],
    a: readonly Value[],
    b: readonly Value[],
  ): boolean {
    return columns.every((c, i) => {
      const x = a[i] as Value;
      const y = b[i] as Value;
      if (x === null || y === null) return x === y;
      return comparatorOf(this.frame.runtime.types, table.columns[c]?.typeOid ?? 0)(x, y) === 0;
    });
  }

  /** Does all tasks; may suspend, then goes on where it was. */
  run(): void {
    for (;;) {
      const task = this.tasks[this.at];
      if (task === undefined) break;
      if (task.kind === 'reference') this.reference(task);
      else this.orphan(task);
      this.closeCursor();
      this.at++;
    }
    this.tasks.length = 0;
    this.at = 0;
  }

  private table(oid: number): TableDef {
    const table = this.frame.runtime.catalog.tableByOid(oid);
    if (table === null) throw new SqlError('42P01', `relation with OID ${oid} does not exist`);
    return table;
  }

  private reference(task: Task): void {
    const { frame } = this;
    const { key, values } = task;
    const parent = this.table(key.referencedOid);
    for (;;) {
      const cursor = this.find(parent, key.referencedColumns, values);
      if (!this.nextMatch(cursor, parent, key.referencedColumns, values)) break;
      const outcome = frame.runtime.store.lock(
        parent.handle as TableHandle,
        frame.transaction,
        latestSnapshot(frame),
        cursor.rowId,
        'key-share',
        'wait',
      );
      if (outcome === 'ok' || outcome === 'self') return;
      // Changed or deleted while it was waited for: look again.
      this.closeCursor();
    }
    const child = this.table(key.tableOid);
    throw new SqlError(
      '23503',
      `insert or update on table "${child.name}" violates foreign key constraint "${key.name}"`,
      {
        detail: `Key ${keyText(frame, child, key.columns, values)} is not present in table "${parent.name}".`,
        schema: child.schema,
        table: child.name,
        constraint: key.name,
      },
    );
  }

  private orphan(task: Task): void {
    const { key, values, fresh } = task;
    const child = this.table(key.tableOid);
    const parent = this.table(key.referencedOid);
    const action = fresh === null ? key.onDelete : key.onUpdate;
    // NO ACTION: another row may have taken over the key meanwhile.
    if (action === 'no action') {
      const twin = this.find(parent, key.referencedColumns, values);
      const found = this.nextMatch(twin, parent, key.referencedColumns, values);
      if (found) return;
      this.closeCursor();
    }
    for (;;) {
      if (this.pending === null) {
        const cursor = this.find(child, key.columns, values);
        if (!this.nextMatch(cursor, child, key.columns, values)) return;
        if (action === 'no action' || action === 'restrict')
          throw this.stillReferenced(task, child, parent);
        const codec = child.codec as TupleCodec;
        const old = child.columns.map((c, i) =>
          c.dropped ? null : codec.decode(cursor.bytes, cursor.start, cursor.end, i),
        );
        this.pending = { rowId: cursor.rowId, old };
        this.prepare(task, child, cursor, action);
        this.state.reset();
      }
      this.writeChild(task, child, action);
      this.pending = null;
      this.closeCursor();
    }
  }

  private stillReferenced(task: Task, child: TableDef, parent: TableDef): SqlError {
    const { key, values } = task;
    return new SqlError(
      '23503',
      `update or delete on table "${parent.name}" violates foreign key constraint "${key.name}" on table "${child.name}"`,
      {
        detail: `Key ${keyText(this.frame, parent, key.referencedColumns, values)} is still referenced from table "${child.name}".`,
        schema: child.schema,
        table: child.name,
        constraint: key.name,
      },
    );
  }

  /** The child's new bytes, for actions that update it. */
  private prepare(task: Task, child: TableDef, cursor: RowCursor, action: string): void {
    if (action === 'cascade' && task.fresh === null) return;
    const order = task.key.columns.map((c, i) => ({
      c,
      v: action === 'cascade' ? (task.fresh?.[i] ?? null) : null,
    }));
    order.sort((a, b) => a.c - b.c);
    for (const { c, v } of order) {
      const column = child.columns[c];
      if (v === null && column?.notNull === true) {
        throw new SqlError(
          '23502',
          `null value in column "${column.name}" of relation "${child.name}" violates not-null constraint`,
          { schema: child.schema, table: child.name, column: column.name },
        );
      }
    }
    this.buffer.patch(
      child.codec as TupleCodec,
      cursor,
      order.map((o) => o.c),
      order.map((o) => o.v),
    );
  }

  private writeChild(task: Task, child: TableDef, action: string): void {
    const { frame, pending, buffer, state } = this;
    if (pending === null) return;
    const store = frame.runtime.store;
    const handle = child.handle as TableHandle;
    const snapshot = latestSnapshot(frame);
    const { rowId, old } = pending;
    if (action === 'cascade' && task.fresh === null) {
      const outcome = store.delete(handle, frame.transaction, snapshot, rowId, state);
      if (outcome === 'ok') this.removed(child, (c) => old[c] ?? null, null);
      return;
    }
    const outcome = store.update(
      handle,
      frame.transaction,
      snapshot,
      rowId,
      buffer.bytes,
      0,
      buffer.length,
      state,
    );
    if (outcome !== 'ok') return;
    const { columns } = task.key;
    const fresh = (c: number): Value => {
      const i = columns.indexOf(c);
      if (i < 0) return old[c] ?? null;
      return action === 'cascade' ? (task.fresh?.[i] ?? null) : null;
    };
    this.removed(child, (c) => old[c] ?? null, fresh);
  }

  /** A cursor over rows whose columns may have these values: by an index when one starts with them. */
  private find(table: TableDef, columns: readonly number[], values: readonly Value[]): RowCursor {
    if (this.cursor !== null) return this.cursor;
    const store = this.frame.runtime.store;
    const snapshot = latestSnapshot(this.frame);
    const index = table.indexes.find((i) => startsWith(i, columns));
    const handle = table.handle as TableHandle;
    if (index === undefined) {
      this.cursor = store.scan(handle, snapshot);
      return this.cursor;
    }
    const ordered = columns.map(
      (_, i) => values[columns.indexOf(index.columns[i]?.column ?? -1)] as Value,
    );
    let key = new Uint8Array(64);
    let length = index.encodePrefix(ordered, ordered.length, key);
    if (length < 0) {
      key = new Uint8Array(-length);
      length = index.encodePrefix(ordered, ordered.length, key);
    }
    const bytes = key.subarray(0, length);
    const range: KeyRange = {
      lower: bytes,
      lowerInclusive: true,
      upper: bytes,
      upperInclusive: true,
    };
    this.cursor = store.indexScan(handle, index.handle, snapshot, range);
    return this.cursor;
  }

  private nextMatch(
    cursor: RowCursor,
    table: TableDef,
    columns: readonly number[],
    values: readonly Value[],
  ): boolean {
    const codec = table.codec as TupleCodec;
    for (;;) {
      this.frame.tick();
      if (!cursor.next()) return false;
      const row = columns.map((c) => codec.decode(cursor.bytes, cursor.start, cursor.end, c));
      if (this.sameKey(table, columns, row, values)) return true;
    }
  }

  close(): void {
    this.closeCursor();
    this.buffer.release();
  }

  private closeCursor(): void {
    this.cursor?.close();
    this.cursor = null;
  }
}

function startsWith(index: IndexDef, columns: readonly number[]): boolean {
  const first = index.columns.slice(0, columns.length);
  return first.length === columns.length && first.every((c) => columns.includes(c.column));
}
