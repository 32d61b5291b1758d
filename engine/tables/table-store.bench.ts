/** Costs of the row paths in memory, over a volume that costs nothing: `npx vitest bench --run engine/tables`. */
import { bench, describe } from 'vitest';
import { MemoryVolume } from '../volume/memory-volume.js';
import { untilReady } from '../pages/page-space.js';
import type { LocalTransaction } from '../txn/local-transaction.js';
import type { Snapshot } from '../txn/transaction.js';
import { RowWriteProgress } from './row-write-state.js';
import { TestDatabase, tupleOf } from './test-helper.js';

/** Forgets its records; everything is durable at once. */
class BenchVolume extends MemoryVolume {
  override append(): number {
    this.vdl = this.nextLsn;
    return this.nextLsn++;
  }
}

const ROWS = 100_000;
/** Calls per iteration: divide by it. */
const BATCH = 1000;

const db = await TestDatabase.open(new BenchVolume(), 512 << 20);
const { store, manager } = db;
const table = { ...db.table, indexes: db.table.indexes.slice(0, 1) };
const bare = { ...table, indexes: [] };
const [index] = table.indexes;
const state = new RowWriteProgress();
const tuple = tupleOf(0, 0, 97);
const view = new DataView(tuple.buffer);
const bound = new Uint8Array(4);
const boundView = new DataView(bound.buffer);
const range = { lower: bound, lowerInclusive: true, upper: bound, upperInclusive: true };
let key = 0;
let random = 1;

function below(n: number): number {
  random = (Math.imul(random, 1103515245) + 12345) >>> 0;
  return (random >>> 4) % n;
}

function begin(): LocalTransaction {
  const txn = manager.begin({ isolation: 'read committed', readOnly: false });
  txn.command++;
  return txn;
}

function insert(txn: LocalTransaction, handle: typeof table | typeof bare): void {
  view.setUint32(0, key++, true);
  state.reset();
  store.insert(handle, txn, tuple, 0, tuple.length, state);
}

function find(snapshot: Snapshot, wanted: number): number {
  boundView.setUint32(0, wanted, false);
  const cursor = store.indexScan(table, index, snapshot, range);
  if (!cursor.next()) throw new Error('a loaded row is found');
  const { rowId } = cursor;
  cursor.close();
  return rowId;
}

function update(txn: LocalTransaction, snapshot: Snapshot, rowId: number, wanted: number): void {
  view.setUint32(0, wanted, true);
  view.setUint32(4, random, true);
  state.reset();
  store.update(table, txn, snapshot, rowId, tuple, 0, tuple.length, state);
}

const load = begin();
for (let i = 0; i < ROWS; i++) insert(load, table);
await untilReady(() => load.commit());

describe(`${BATCH} times`, () => {
  const reader = begin();
  const snapshot = reader.snapshot();
  bench('point lookup by index', () => {
    for (let i = 0; i < BATCH; i++) find(snapshot, below(ROWS));
  });
  reader.rollback();
  bench('lookup, update of one column, commit', () => {
    for (let i = 0; i < BATCH; i++) {
      const txn = begin();
      const seen = txn.snapshot();
      const wanted = below(ROWS);
      update(txn, seen, find(seen, wanted), wanted);
      txn.commit();
    }
  });
  bench('insert with a unique index', () => {
    const txn = begin();
    for (let i = 0; i < BATCH; i++) insert(txn, table);
    txn.commit();
  });
  bench('insert without index, commit', () => {
    for (let i = 0; i < BATCH; i++) {
      const txn = begin();
      insert(txn, bare);
      txn.commit();
    }
  });
});
