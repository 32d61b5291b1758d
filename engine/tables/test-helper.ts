/**
 * A small table for the tests of this folder: tuples of u32 key, u32 value and filler; an index on each of the
 * two numbers, the first one unique.
 */
import type { MemoryVolume } from '../volume/memory-volume.js';
import { PageSpace, untilReady } from '../pages/page-space.js';
import { BTree } from '../btree/btree.js';
import { NO_TXN_FAULTS, type TxnFaults } from '../txn/faults.js';
import type { LocalTransaction } from '../txn/local-transaction.js';
import { LocalTransactionManager } from '../txn/manager.js';
import type { Isolation, Snapshot } from '../txn/transaction.js';
import { LocalTableStore } from './local-table-store.js';
import { RowWriteProgress } from './row-write-state.js';
import type { IndexHandle, KeyMaker, KeyRange, RowCursor, TableHandle } from './table-store.js';

class NumberKey implements KeyMaker {
  hasNull = false;
  readonly #at: number;

  constructor(at: number) {
    this.#at = at;
  }

  make(bytes: Uint8Array, start: number, _end: number, target: Uint8Array): number {
    for (let i = 0; i < 4; i++) target[i] = bytes[start + this.#at + 3 - i];
    return 4;
  }
}

export function tupleOf(key: number, value: number, bytes = 24): Uint8Array {
  const tuple = new Uint8Array(bytes);
  const view = new DataView(tuple.buffer);
  view.setUint32(0, key, true);
  view.setUint32(4, value, true);
  for (let i = 8; i < bytes; i++) tuple[i] = (key + i) & 0xff;
  return tuple;
}

export interface Row {
  readonly rowId: number;
  readonly key: number;
  readonly value: number;
  readonly bytes: number;
}

export function rowOf(cursor: RowCursor): Row {
  const view = new DataView(cursor.bytes.buffer, cursor.bytes.byteOffset);
  return {
    rowId: cursor.rowId,
    key: view.getUint32(cursor.start, true),
    value: view.getUint32(cursor.start + 4, true),
    bytes: cursor.end - cursor.start,
  };
}

export function exactly(value: number): KeyRange {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, value, false);
  return { lower: key, lowerInclusive: true, upper: key, upperInclusive: true };
}

export const ALL: KeyRange = {
  lower: null,
  lowerInclusive: true,
  upper: null,
  upperInclusive: true,
};

export class TestDatabase {
  readonly volume: MemoryVolume;
  readonly space: PageSpace;
  readonly manager: LocalTransactionManager;
  readonly store: LocalTableStore;
  table: TableHandle;

  private constructor(
    volume: MemoryVolume,
    space: PageSpace,
    manager: LocalTransactionManager,
    roots: readonly number[],
  ) {
    this.volume = volume;
    this.space = space;
    this.manager = manager;
    this.store = new LocalTableStore(manager);
    const index = (name: string, root: number, at: number, unique: boolean): IndexHandle => ({
      oid: root,
      name,
      rootPageNo: root,
      unique,
      primary: unique,
      keys: new NumberKey(at),
      describeKey: (bytes, start) =>
        `(${name})=(${new DataView(bytes.buffer, bytes.byteOffset).getUint32(start + at, true)})`,
    });
    this.table = {
      oid: 1,
      schemaName: 'public',
      name: 't',
      rootPageNo: roots[0],
      indexes: [index('t_key', roots[1], 0, true), index('t_value', roots[2], 4, false)],
    };
  }

  /** On an empty volume the trees are made; later openings find them at the same page numbers. */
  static async open(
    volume: MemoryVolume,
    bufferBytes = 4 << 20,
    faults: TxnFaults = NO_TXN_FAULTS,
  ): Promise<TestDatabase> {
    const space = await PageSpace.open(volume, { bufferBytes });
    const manager = new LocalTransactionManager(space, faults);
    const roots: number[] = [];
    if (space.header.root(16) === 0) {
      for (let i = 0; i < 3; i++) {
        await untilReady(() => {
          space.mtr.begin();
          space.mtr.add(0);
          BTree.planCreate(space, space.mtr);
          roots[i] = BTree.create(space, space.mtr);
          space.header.setRoot(space.mtr, 16 + i, roots[i]);
          space.mtr.commit();
        });
      }
    }
    for (let i = 0; i < 3; i++) roots[i] = space.header.root(16 + i);
    return new TestDatabase(volume, space, manager, roots);
  }

  begin(isolation: Isolation = 'read committed'): TestTransaction {
    return new TestTransaction(this, this.manager.begin({ isolation, readOnly: false }));
  }

  /** Visible rows by both indexes and by scan, which must agree. */
  async rows(snapshot: Snapshot): Promise<Row[]> {
    const byScan = await this.collect(() => this.store.scan(this.table, snapshot));
    for (const index of this.table.indexes) {
      const byIndex = await this.collect(() =>
        this.store.indexScan(this.table, index, snapshot, ALL),
      );
      byIndex.sort((a, b) => a.rowId - b.rowId);
      if (JSON.stringify(byIndex) !== JSON.stringify(byScan)) {
        throw new Error(
          `${index.name} says ${JSON.stringify(byIndex)}, the table ${JSON.stringify(byScan)}`,
        );
      }
    }
    return byScan;
  }

  async collect(open: () => RowCursor): Promise<Row[]> {
    const rows: Row[] = [];
    const cursor = await untilReady(open);
    while (await untilReady(() => cursor.next())) rows.push(rowOf(cursor));
    cursor.close();
    return rows;
  }

  async vacuum(): Promise<void> {
    const state = new RowWriteProgress();
    while (!(await untilReady(() => this.store.vacuum(this.table, state))));
  }

  async purge(): Promise<void> {
    while (!(await untilReady(() => this.store.purgeStep())));
  }

  /** Until all that was written is durable. */
  durable(): Promise<void> {
    const { volume } = this;
    return new Promise((resolve, reject) => {
      volume.wait(volume.nextLsn - 1, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }
}

/** Statements as a session would run them: one command each. */
export class TestTransaction {
  readonly db: TestDatabase;
  readonly txn: LocalTransaction;

  constructor(db: TestDatabase, txn: LocalTransaction) {
    this.db = db;
    this.txn = txn;
  }

  statement(): Snapshot {
    this.txn.command++;
    return this.txn.snapshot();
  }

  async insert(key: number, value: number, bytes?: number, report?: 'report'): Promise<number> {
    const { db, txn } = this;
    this.statement();
    const tuple = tupleOf(key, value, bytes);
    const state = new RowWriteProgress();
    return untilReady(() => db.store.insert(db.table, txn, tuple, 0, tuple.length, state, report));
  }

  find(key: number, snapshot = this.statement()): Promise<Row | undefined> {
    const { db } = this;
    return db
      .collect(() => db.store.indexScan(db.table, db.table.indexes[0], snapshot, exactly(key)))
      .then((rows) => {
        if (rows.length > 1) throw new Error(`key ${key} is there ${rows.length} times`);
        return rows[0];
      });
  }

  rows(): Promise<Row[]> {
    return this.db.rows(this.statement());
  }

  /** UPDATE t SET ... WHERE key = `key`: rows updated. */
  update(key: number, change: (row: Row) => Uint8Array): Promise<number> {
    return this.#write(key, change);
  }

  delete(key: number): Promise<number> {
    return this.#write(key, null);
  }

  async #write(key: number, change: ((row: Row) => Uint8Array) | null): Promise<number> {
    const { db, txn } = this;
    const { store, table } = db;
    const snapshot = this.statement();
    let row = await this.find(key, snapshot);
    let seen = snapshot;
    const state = new RowWriteProgress();
    while (row !== undefined) {
      state.reset();
      const { rowId } = row;
      const tuple = change === null ? null : change(row);
      const outcome = await untilReady(() =>
        tuple === null
          ? store.delete(table, txn, seen, rowId, state)
          : store.update(table, txn, seen, rowId, tuple, 0, tuple.length, state),
      );
      if (outcome === 'ok') return 1;
      if (outcome !== 'changed') return 0;
      const newest = rowOf(store.newest);
      row = newest.key === key ? newest : undefined;
      seen = store.newestSeen ?? snapshot;
    }
    return 0;
  }

  commit(): Promise<number> {
    return untilReady(() => this.txn.commit());
  }

  rollback(): void {
    this.txn.rollback();
  }
}
