/**
 * The catalog of one database: its objects, who sees which version of them, and what the SQL layer needs to change them.
 *
 * ```
 *   committed snapshot  v7 ----------------------> v9 -------->      everybody without changes of his own
 *                         \                       ^
 *   overlay of txn A       v8 (CREATE TABLE) -- commit              only A, until its commit record has its LSN
 * ```
 *
 * The records are rows of an ordinary multi-version table (root 0 of the volume header), so that they commit, roll back
 * and survive with the transaction that wrote them. All of them are in memory, as snapshots; a change shows in its
 * transaction's overlay at once and is written by `flush`.
 *
 * - CAT-5 Whoever changes an object holds the ACCESS EXCLUSIVE or name lock that keeps everybody else from doing so,
 *   until his transaction ends: overlays never meet, and a published change falls on what it was made from.
 * - CAT-6 The committed snapshot moves where the commit record has its LSN (Transaction.onCommit), never before.
 */
import { assert } from '#core/assert.js';
import { untilReady } from '../pages/page-space.js';
import { HEADER_PAGE_NO, ROOT_CATALOG } from '../pages/volume-header.js';
import type { TableHandle, TableStore } from '../tables/table-store.js';
import type { LocalTransactionManager } from '../txn/manager.js';
import type { Snapshot, Transaction } from '../txn/transaction.js';
import type { Value } from '../types/value.js';
import { CatalogSnapshot, type Entry, PUBLIC_OID, type SnapshotOwner } from './catalog-snapshot.js';
import type { TableDef } from './definitions.js';
import { INFORMATION_SCHEMA } from './information-schema.js';
import {
  decodeRecord,
  encodeRecord,
  type ObjectRecord,
  type SequenceRecord,
} from './object-record.js';
import { registerCatalogFunctions } from './functions.js';
import { OBJECT_TABLES } from './pg-catalog.js';
import { FIXED_TABLES } from './pg-catalog-fixed.js';
import { RelationLocks } from './relation-locks.js';
import { SequenceStates } from './sequence-states.js';
import { attempt, runSteps, type Steps } from './steps.js';
import { systemTable } from './system-table.js';
import { virtualTable } from './virtual.js';

/** A session, for pg_stat_activity. */
export interface Activity {
  readonly pid: number;
  readonly user: string;
  readonly state: string;
  readonly query: string;
  /** What it waits for; null: nothing. */
  readonly waitsFor: string | null;
}

export interface CatalogOptions {
  readonly transactions: LocalTransactionManager;
  readonly store: TableStore;
}

interface Overlay {
  readonly changes: Map<number, Entry | null>;
  /** Changed since the last flush; the entry that it replaced in the table. */
  readonly dirty: Map<number, Entry | null>;
  /** null: to be made of `base` and the changes. */
  snapshot: CatalogSnapshot | null;
  base: CatalogSnapshot;
}

export class Catalog implements SnapshotOwner {
  readonly transactions: LocalTransactionManager;
  readonly store: TableStore;
  readonly locks = new RelationLocks();
  readonly sequences: SequenceStates;
  /** Set by whoever knows the sessions. */
  activity: () => readonly Activity[] = () => [];
  readonly virtualByName = new Map<string, TableDef>();
  readonly virtualByOid = new Map<number, TableDef>();

  #committed: CatalogSnapshot;
  readonly #overlays = new Map<Transaction, Overlay>();
  readonly #system: TableHandle;
  #versions = 0;

  private constructor(options: CatalogOptions, sequences: SequenceStates) {
    this.transactions = options.transactions;
    this.store = options.store;
    this.sequences = sequences;
    this.#system = systemTable(options.transactions.space);
    this.#committed = new CatalogSnapshot(this, new Map());
  }

  /** Reads the catalog of an open database; an empty one gets its schema `public`. */
  static async open(options: CatalogOptions): Promise<Catalog> {
    registerCatalogFunctions();
    const { space } = options.transactions;
    const sequences = await SequenceStates.open(space);
    const isNew = space.header.root(ROOT_CATALOG) === 0;
    if (isNew) await createSystemTable(options);
    const catalog = new Catalog(options, sequences);
    for (const table of [...OBJECT_TABLES, ...FIXED_TABLES, ...INFORMATION_SCHEMA]) {
      catalog.addVirtual(virtualTable(table));
    }
    await catalog.#load();
    if (catalog.#committed.entries.size === 0 && isNew) await catalog.#createPublic();
    const live = new Set<number>();
    for (const record of catalog.#committed.records()) {
      if (record.kind === 'sequence') live.add(record.state);
    }
    await sequences.sweep(live);
    return catalog;
  }

  nextVersion(): number {
    return ++this.#versions;
  }

  addVirtual(table: TableDef): void {
    this.virtualByName.set(`${table.schema}.${table.name}`, table);
    this.virtualByOid.set(table.oid, table);
  }

  sequenceRow(record: SequenceRecord): readonly Value[] {
    const state = this.sequences.state(record);
    return [state.last, state.ahead, state.called];
  }

  /** What a transaction sees: the committed catalog and its own changes. Hot: once a statement. */
  reader(transaction: Transaction | null): CatalogSnapshot {
    if (transaction === null || this.#overlays.size === 0) return this.#committed;
    const overlay = this.#overlays.get(transaction);
    if (overlay === undefined) return this.#committed;
    if (overlay.snapshot === null || overlay.base !== this.#committed) {
      overlay.base = this.#committed;
      overlay.snapshot = this.#committed.with(overlay.changes);
    }
    return overlay.snapshot;
  }

  /** Locks what a statement needs, and gives the catalog as it is then. Hot. Throws Suspend or 40P01. */
  lockTables(
    txn: Transaction,
    locks: readonly { readonly oid: number; readonly mode: number }[],
  ): CatalogSnapshot {
    for (let i = 0; i < locks.length; i++) {
      const { oid, mode } = locks[i];
      this.locks.acquire(txn, oid, mode);
    }
    return this.reader(txn);
  }

  /** Puts a record in place of the one with its oid; the transaction sees it at once. */
  put(txn: Transaction, record: ObjectRecord): void {
    const before = this.reader(txn).entries.get(record.oid);
    this.#change(txn, record.oid, { record, rowId: before?.rowId ?? 0 });
  }

  remove(txn: Transaction, oid: number): void {
    this.#change(txn, oid, null);
  }

  /** Writes what was changed since the last flush. Takes a command of the transaction for itself. */
  *flush(txn: Transaction): Steps<void> {
    const overlay = this.#overlays.get(txn);
    if (overlay === undefined || overlay.dirty.size === 0) return;
    txn.command++;
    const dirty = [...overlay.dirty];
    overlay.dirty.clear();
    for (const [oid, stored] of dirty) {
      yield* this.#write(txn, overlay.changes.get(oid) ?? null, stored);
    }
    txn.command++;
  }

  #change(txn: Transaction, oid: number, entry: Entry | null): void {
    let overlay = this.#overlays.get(txn);
    if (overlay === undefined) {
      overlay = { changes: new Map(), dirty: new Map(), snapshot: null, base: this.#committed };
      this.#overlays.set(txn, overlay);
    }
    const { changes, dirty } = overlay;
    const known = changes.has(oid);
    const before = changes.get(oid) ?? null;
    const stored = known ? before : (this.#committed.entries.get(oid) ?? null);
    changes.set(oid, entry);
    if (!dirty.has(oid)) dirty.set(oid, stored);
    overlay.snapshot = null;
    const own = overlay;
    txn.onAbort(() => {
      if (known) changes.set(oid, before);
      else changes.delete(oid);
      dirty.clear();
      own.snapshot = null;
      if (changes.size === 0) this.#overlays.delete(txn);
    });
    txn.onCommit(() => this.#publish(txn));
  }

  #publish(txn: Transaction): void {
    const overlay = this.#overlays.get(txn);
    if (overlay === undefined) return;
    assert(overlay.dirty.size === 0, 'every change was written before its transaction commits');
    this.#overlays.delete(txn);
    this.#committed = this.#committed.with(overlay.changes);
  }

  *#write(txn: Transaction, entry: Entry | null, stored: Entry | null): Steps<void> {
    const { store } = this;
    const table = this.#system;
    const state = store.newWriteState();
    const rowId = stored?.rowId ?? 0;
    if (entry === null && rowId === 0) return;
    const snapshot = this.#now(txn);
    let outcome = 'ok';
    if (entry === null) {
      outcome = yield* attempt(() => store.delete(table, txn, snapshot, rowId, state));
    } else {
      const tuple = encodeRecord(entry.record);
      if (rowId === 0) {
        entry.rowId = yield* attempt(() => store.insert(table, txn, tuple, 0, tuple.length, state));
      } else {
        outcome = yield* attempt(() =>
          store.update(table, txn, snapshot, rowId, tuple, 0, tuple.length, state),
        );
      }
    }
    assert(outcome === 'ok', 'whoever changes an object holds its lock (CAT-5)');
  }

  /** All that is committed and the transaction's own. */
  #now(txn: Transaction): Snapshot {
    return { lsn: this.transactions.nowLsn, txn, command: txn.command };
  }

  async #load(): Promise<void> {
    const txn = this.transactions.begin({ isolation: 'read committed', readOnly: true });
    const entries = new Map<number, Entry>();
    const cursor = this.store.scan(this.#system, txn.snapshot());
    const next = (): boolean => {
      if (!cursor.next()) return false;
      const record = decodeRecord(cursor.bytes, cursor.start, cursor.end);
      entries.set(record.oid, { record, rowId: cursor.rowId });
      return true;
    };
    while (await untilReady(next));
    cursor.close();
    txn.rollback();
    this.#committed = new CatalogSnapshot(this, entries);
  }

  async #createPublic(): Promise<void> {
    const txn = this.transactions.begin({ isolation: 'read committed', readOnly: false });
    const comment = 'standard public schema';
    this.put(txn, { kind: 'schema', oid: PUBLIC_OID, name: 'public', comment });
    await runSteps(this.flush(txn));
    await untilReady(() => txn.commit());
  }
}

async function createSystemTable(options: CatalogOptions): Promise<void> {
  const { space } = options.transactions;
  const { mtr, header } = space;
  const txn = options.transactions.begin({ isolation: 'read committed', readOnly: false });
  const root = await untilReady(() => options.store.createTree(txn));
  await untilReady(() => {
    mtr.begin();
    mtr.add(HEADER_PAGE_NO);
    header.setRoot(mtr, ROOT_CATALOG, root);
    mtr.commit();
  });
  await untilReady(() => txn.commit());
}
