/**
 * A table store in plain arrays for tests of the SQL layer: one version history per row, no pages, no redo. It can
 * throw `Suspend` at random points, before any side effect, to show that whoever calls resumes rightly.
 */
import { SqlError } from '../../sql-error.js';
import { Suspend } from '../../pages/suspend.js';
import type {
  IndexHandle,
  KeyRange,
  RowCursor,
  RowLockMode,
  RowWriteState,
  TableHandle,
  TableStore,
  WaitPolicy,
  WriteOutcome,
} from '../../tables/table-store.js';
import type { Snapshot, Transaction } from '../../txn/transaction.js';

interface Version {
  /** null: deleted. */
  readonly bytes: Uint8Array | null;
  readonly txn: FakeTransaction;
  readonly command: number;
}

interface Row {
  readonly id: number;
  /** Newest first. */
  versions: Version[];
}

export class FakeTransaction {
  readonly isolation: 'read committed' | 'repeatable read' = 'read committed';
  readonly readOnly = false;
  state: 'active' | 'failed' | 'committed' | 'aborted' = 'active';
  readonly id: number;
  command = 1;
  commitLsn = 0;
  coveredLsn = 0;
  readonly store: FakeStore;

  constructor(store: FakeStore, id: number) {
    this.store = store;
    this.id = id;
  }

  snapshot(): Snapshot {
    return { lsn: this.store.lsn, txn: this as unknown as Transaction, command: this.command };
  }

  commit(): number {
    this.commitLsn = ++this.store.lsn;
    this.state = 'committed';
    return this.commitLsn;
  }

  rollback(): void {
    this.state = 'aborted';
  }

  asTransaction(): Transaction {
    return this as unknown as Transaction;
  }
}

class ArrayCursor implements RowCursor {
  rowId = 0;
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  private readonly store: FakeStore;
  private readonly rows: readonly { id: number; bytes: Uint8Array }[];
  private at = 0;

  constructor(store: FakeStore, rows: readonly { id: number; bytes: Uint8Array }[]) {
    this.store = store;
    this.rows = rows;
  }

  next(): boolean {
    this.store.maySuspend();
    const row = this.rows[this.at];
    if (row === undefined) return false;
    this.set(row.id, row.bytes);
    this.at++;
    return true;
  }

  set(id: number, bytes: Uint8Array): void {
    this.rowId = id;
    // At an odd place, so that nobody relies on start being 0.
    this.bytes = new Uint8Array(bytes.length + 6);
    this.bytes.set(bytes, 3);
    this.start = 3;
    this.end = 3 + bytes.length;
  }

  close(): void {}
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

export class FakeStore {
  lsn = 100;
  /** Chance of a suspension at each point; with a seed for repeatable runs. */
  suspendChance = 0;
  private seed = 1;
  suspensions = 0;
  private readonly tables = new Map<number, Row[]>();
  private nextRowId = 1;
  private nextTxn = 1;
  private readonly newestCursor = new ArrayCursor(this, []);
  newestSeen: Snapshot | null = null;
  readonly locks: { readonly rowId: number; readonly mode: RowLockMode }[] = [];

  begin(): FakeTransaction {
    return new FakeTransaction(this, this.nextTxn++);
  }

  asStore(): TableStore {
    return this as unknown as TableStore;
  }

  seedSuspensions(seed: number, chance: number): void {
    this.seed = seed;
    this.suspendChance = chance;
  }

  maySuspend(): void {
    if (this.suspendChance === 0) return;
    this.seed = (this.seed * 1103515245 + 12345) & 0x7fffffff;
    if ((this.seed >> 8) % 1000 < this.suspendChance * 1000) {
      this.suspensions++;
      throw new Suspend('page', Promise.resolve());
    }
  }

  private rowsOf(t: TableHandle): Row[] {
    let rows = this.tables.get(t.oid);
    if (rows === undefined) {
      rows = [];
      this.tables.set(t.oid, rows);
    }
    return rows;
  }

  private sees(s: Snapshot, v: Version): boolean {
    if (s.txn !== null && v.txn === (s.txn as unknown as FakeTransaction))
      return v.command < s.command;
    return v.txn.state === 'committed' && v.txn.commitLsn <= s.lsn;
  }

  private visible(row: Row, s: Snapshot): Uint8Array | null {
    for (const v of row.versions) if (this.sees(s, v)) return v.bytes;
    return null;
  }

  scan(t: TableHandle, s: Snapshot, reverse = false): RowCursor {
    this.maySuspend();
    const found: { id: number; bytes: Uint8Array }[] = [];
    for (const row of this.rowsOf(t)) {
      const bytes = this.visible(row, s);
      if (bytes !== null) found.push({ id: row.id, bytes });
    }
    if (reverse) found.reverse();
    return new ArrayCursor(this, found);
  }

  private key(index: IndexHandle, bytes: Uint8Array): Uint8Array {
    const target = new Uint8Array(2000);
    return target.slice(0, index.keys.make(bytes, 0, bytes.length, target));
  }

  indexScan(
    t: TableHandle,
    index: IndexHandle,
    s: Snapshot,
    range: KeyRange,
    reverse = false,
  ): RowCursor {
    this.maySuspend();
    const found: { id: number; bytes: Uint8Array; key: Uint8Array }[] = [];
    for (const row of this.rowsOf(t)) {
      const bytes = this.visible(row, s);
      if (bytes === null) continue;
      const key = this.key(index, bytes);
      if (range.lower !== null && below(key, range.lower, range.lowerInclusive)) continue;
      if (range.upper !== null && above(key, range.upper, range.upperInclusive)) continue;
      found.push({ id: row.id, bytes, key });
    }
    found.sort((a, b) => compareBytes(a.key, b.key) || a.id - b.id);
    if (reverse) found.reverse();
    return new ArrayCursor(this, found);
  }

  fetch(t: TableHandle, s: Snapshot, rowId: number): RowCursor | null {
    this.maySuspend();
    const row = this.rowsOf(t).find((r) => r.id === rowId);
    const bytes = row === undefined ? null : this.visible(row, s);
    if (bytes === null) return null;
    const cursor = new ArrayCursor(this, []);
    cursor.set(rowId, bytes);
    return cursor;
  }

  get newest(): RowCursor {
    return this.newestCursor;
  }

  private live(row: Row, txn: FakeTransaction): Version | null {
    const v = row.versions.find((x) => x.txn === txn || x.txn.state === 'committed');
    return v ?? null;
  }

  private conflicting(
    t: TableHandle,
    txn: FakeTransaction,
    bytes: Uint8Array,
    own: number,
  ): { row: Row; index: IndexHandle; version: Version } | null {
    for (const index of t.indexes) {
      if (!index.unique) continue;
      const key = this.key(index, bytes);
      if (index.keys.hasNull) continue;
      for (const row of this.rowsOf(t)) {
        if (row.id === own) continue;
        const version = this.live(row, txn);
        if (version === null || version.bytes === null) continue;
        if (compareBytes(this.key(index, version.bytes), key) === 0) return { row, index, version };
      }
    }
    return null;
  }

  insert(
    t: TableHandle,
    transaction: Transaction,
    tuple: Uint8Array,
    start: number,
    end: number,
    _state: RowWriteState,
    onConflict?: 'report',
  ): number {
    this.maySuspend();
    const txn = transaction as unknown as FakeTransaction;
    const bytes = tuple.slice(start, end);
    const conflict = this.conflicting(t, txn, bytes, -1);
    if (conflict !== null) {
      if (onConflict === 'report') {
        this.setNewest(conflict.row.id, conflict.version, txn);
        return -1;
      }
      throw this.duplicate(t, conflict.index, bytes);
    }
    const id = this.nextRowId++;
    this.rowsOf(t).push({ id, versions: [{ bytes, txn, command: txn.command }] });
    return id;
  }

  private duplicate(t: TableHandle, index: IndexHandle, bytes: Uint8Array): SqlError {
    return new SqlError('23505', `duplicate key value violates unique constraint "${index.name}"`, {
      detail: `Key ${index.describeKey(bytes, 0, bytes.length)} already exists.`,
      table: t.name,
      constraint: index.name,
    });
  }

  private setNewest(id: number, version: Version, txn: FakeTransaction): void {
    this.newestCursor.set(id, version.bytes as Uint8Array);
    const own = version.txn === txn;
    this.newestSeen = {
      lsn: this.lsn,
      txn: txn.asTransaction(),
      command: own ? version.command + 1 : txn.command,
    };
  }

  private check(row: Row, txn: FakeTransaction, s: Snapshot): WriteOutcome {
    const newest = this.live(row, txn);
    if (newest === null) return 'gone';
    if (newest.txn === txn && newest.command === txn.command && !this.sees(s, newest))
      return 'self';
    if (!this.sees(s, newest)) {
      if (newest.bytes === null) return 'gone';
      this.setNewest(row.id, newest, txn);
      return 'changed';
    }
    return newest.bytes === null ? 'gone' : 'ok';
  }

  update(
    t: TableHandle,
    transaction: Transaction,
    s: Snapshot,
    rowId: number,
    tuple: Uint8Array,
    start: number,
    end: number,
    _state: RowWriteState,
  ): WriteOutcome {
    this.maySuspend();
    const txn = transaction as unknown as FakeTransaction;
    const row = this.rowsOf(t).find((r) => r.id === rowId);
    if (row === undefined) return 'gone';
    const outcome = this.check(row, txn, s);
    if (outcome !== 'ok') return outcome;
    const bytes = tuple.slice(start, end);
    const conflict = this.conflicting(t, txn, bytes, rowId);
    if (conflict !== null) throw this.duplicate(t, conflict.index, bytes);
    row.versions.unshift({ bytes, txn, command: txn.command });
    return 'ok';
  }

  delete(
    t: TableHandle,
    transaction: Transaction,
    s: Snapshot,
    rowId: number,
    _state: RowWriteState,
  ): WriteOutcome {
    this.maySuspend();
    const txn = transaction as unknown as FakeTransaction;
    const row = this.rowsOf(t).find((r) => r.id === rowId);
    if (row === undefined) return 'gone';
    const outcome = this.check(row, txn, s);
    if (outcome === 'ok') row.versions.unshift({ bytes: null, txn, command: txn.command });
    return outcome;
  }

  lock(
    t: TableHandle,
    transaction: Transaction,
    s: Snapshot,
    rowId: number,
    mode: RowLockMode,
    _wait: WaitPolicy,
  ): WriteOutcome | 'skipped' {
    this.maySuspend();
    const row = this.rowsOf(t).find((r) => r.id === rowId);
    if (row === undefined) return 'gone';
    const outcome = this.check(row, transaction as unknown as FakeTransaction, s);
    if (outcome === 'ok') this.locks.push({ rowId, mode });
    return outcome;
  }

  newWriteState(): RowWriteState {
    return { reset: () => {} };
  }

  estimateRows(t: TableHandle): number {
    return this.rowsOf(t).length;
  }
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && compareBytes(key.subarray(0, prefix.length), prefix) === 0;
}

function below(key: Uint8Array, bound: Uint8Array, inclusive: boolean): boolean {
  if (startsWith(key, bound)) return !inclusive;
  return compareBytes(key, bound) < 0;
}

function above(key: Uint8Array, bound: Uint8Array, inclusive: boolean): boolean {
  if (startsWith(key, bound)) return !inclusive;
  return compareBytes(key, bound) > 0;
}
