/** Figures of the row paths in memory: `npx vitest bench` or `node dist/engine/tables/table-store.bench.js`. */
import { MemoryVolume } from '../volume/memory-volume.js';
import { untilReady } from '../pages/page-space.js';
import { RowWriteProgress } from './row-write-state.js';
import { TestDatabase, tupleOf } from './testing.js';
import type { Snapshot } from '../txn/transaction.js';

/** Forgets its records: only writes and cached reads are measured. */
class BenchVolume extends MemoryVolume {
  override append(): number {
    this.vdl = this.nextLsn;
    return this.nextLsn++;
  }
}

const ROWS = 100_000;

function report(what: string, count: number, run: () => void): void {
  const start = process.hrtime.bigint();
  run();
  const nanoseconds = Number(process.hrtime.bigint() - start);
  process.stdout.write(`${what.padEnd(40)} ${(nanoseconds / count / 1000).toFixed(3)} us\n`);
}

export async function main(): Promise<void> {
  const volume = new BenchVolume();
  const db = await TestDatabase.open(volume, 512 << 20);
  const { store, manager } = db;
  const table = { ...db.table, indexes: db.table.indexes.slice(0, 1) };
  const key = table.indexes[0];
  const state = new RowWriteProgress();
  const load = manager.begin({ isolation: 'read committed', readOnly: false });
  load.command++;
  const tuple = tupleOf(0, 0, 97);
  const view = new DataView(tuple.buffer);
  report('insert, one unique index', ROWS, () => {
    for (let i = 0; i < ROWS; i++) {
      view.setUint32(0, i, true);
      state.reset();
      store.insert(table, load, tuple, 0, tuple.length, state);
    }
  });
  await untilReady(() => load.commit());
  const bare = { ...table, indexes: [] };
  const range = {
    lower: new Uint8Array(4),
    lowerInclusive: true,
    upper: new Uint8Array(4),
    upperInclusive: true,
  };
  const bound = new DataView(range.lower.buffer);
  range.upper = range.lower;
  const find = (snapshot: Snapshot, i: number): number => {
    bound.setUint32(0, i, false);
    const cursor = store.indexScan(table, key, snapshot, range);
    if (!cursor.next()) throw new Error('not found');
    const { rowId } = cursor;
    cursor.close();
    return rowId;
  };
  let random = 1;
  const below = (n: number): number => {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    return (random >>> 4) % n;
  };
  for (let round = 0; round < 3; round++) {
    const reader = manager.begin({ isolation: 'read committed', readOnly: false });
    report('point lookup by index', ROWS, () => {
      const snapshot = reader.snapshot();
      for (let i = 0; i < ROWS; i++) find(snapshot, below(ROWS));
    });
    report('scan, per row', ROWS, () => {
      const cursor = store.scan(table, reader.snapshot());
      while (cursor.next());
    });
    reader.rollback();
    report('lookup, update one column, commit', ROWS, () => {
      for (let i = 0; i < ROWS; i++) {
        const txn = manager.begin({ isolation: 'read committed', readOnly: false });
        txn.command++;
        const snapshot = txn.snapshot();
        const k = below(ROWS);
        const rowId = find(snapshot, k);
        view.setUint32(0, k, true);
        view.setUint32(4, i, true);
        state.reset();
        if (store.update(table, txn, snapshot, rowId, tuple, 0, tuple.length, state) !== 'ok') {
          throw new Error('not updated');
        }
        txn.commit();
      }
    });
    report('update one column', ROWS, () => {
      const txn = manager.begin({ isolation: 'read committed', readOnly: false });
      txn.command++;
      const snapshot = txn.snapshot();
      for (let i = 0; i < ROWS; i++) {
        view.setUint32(0, i, true);
        view.setUint32(4, round * 7 + 1, true);
        state.reset();
        if (store.update(table, txn, snapshot, i + 1, tuple, 0, tuple.length, state) !== 'ok') {
          throw new Error('not updated');
        }
      }
      txn.commit();
    });
    report('insert without index, commit', ROWS, () => {
      for (let i = 0; i < ROWS; i++) {
        const txn = manager.begin({ isolation: 'read committed', readOnly: false });
        txn.command++;
        state.reset();
        store.insert(bare, txn, tuple, 0, 50, state);
        txn.commit();
      }
    });
  }
}
await main();
