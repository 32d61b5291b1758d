/**
 * Takes away what nobody can see any more: aborted versions, those older than one that every snapshot sees (rule 22),
 * deleted rows, and index entries that no version left has.
 *
 * ```
 *   newest                                                    oldest
 *   [aborted ...] [in progress ...] [committed above horizon ...] [committed at or below it] [older ...]
 *    dropped       kept              kept                          kept: the predecessor      dropped
 * ```
 *
 * Order of the MTRs: index entries first, then the cell together with its history records, then overflow chains. Each
 * step looks at the row anew, so it can stop and be called again anywhere.
 *
 * - Rule 25: only what is durable counts as committed here, so that an absence can always be covered.
 * - Rule 22: the newest version that is committed at or below the horizon is never dropped, unless it is a deletion.
 */
import { assert } from '#core/assert.js';
import { Place } from '../btree/btree.js';
import { ABORTED } from '../txn/commit-log.js';
import type { LocalTransactionManager } from '../txn/manager.js';
import type { History } from './history.js';
import type { IndexEntries } from './index-entries.js';
import { chainOf, loadVersions, tupleOf, type ReadContext, type Version } from './row-reader.js';
import {
  DELETED,
  HEAD_BYTES,
  HISTORY,
  KEY_CHANGED,
  OVERFLOW,
  PREVIOUS,
  ROW_KEY_BYTES,
  RowCell,
  VALUE_BYTES_MAX,
  copyRange,
  putHead,
  putPointer,
  putRowKey,
} from './row-version.js';
import type { TableTree } from './trees.js';

/** History records that one MTR takes away. */
const FREED_MAX = 24;

export class Pruner {
  readonly #context: ReadContext;
  readonly #manager: LocalTransactionManager;
  readonly #entries: IndexEntries;
  readonly #history: History;
  readonly #place = new Place();
  readonly #rowKey = new Uint8Array(ROW_KEY_BYTES);
  readonly #value = new Uint8Array(VALUE_BYTES_MAX);
  readonly #cell = new RowCell();

  constructor(context: ReadContext, manager: LocalTransactionManager, entries: IndexEntries) {
    this.#context = context;
    this.#manager = manager;
    this.#entries = entries;
    this.#history = context.history;
  }

  /** True when the row needs no further visit as things stand; false: the horizon must move first. Throws Suspend. */
  prune(table: TableTree, rowId: number): boolean {
    for (;;) {
      putRowKey(this.#rowKey, 0, rowId);
      if (!table.tree.locate(this.#place, this.#rowKey, 0, ROW_KEY_BYTES)) return true;
      const { valueStart, valueEnd } = this.#place;
      const versions = loadVersions(this.#context, valueStart, valueEnd);
      const first = this.#firstAlive(versions);
      const settled = this.#firstSettled(versions, first);
      let end = settled < 0 ? versions.length : settled + 1;
      const gone =
        first === versions.length || (settled === first && this.#isDeleted(versions[first]));
      const begin = gone ? versions.length : first;
      if (gone) end = versions.length;
      if (begin === 0 && end === versions.length) {
        return this.#settle(table, versions, settled === 0);
      }
      if (gone || (versions[0].flags & KEY_CHANGED) !== 0) {
        this.#removeEntries(table, rowId, versions, begin, end, gone);
      }
      // Long tails go a piece at a time, the oldest first.
      const cut = gone ? 0 : Math.max(end, versions.length - FREED_MAX);
      if (gone && versions.length > FREED_MAX) {
        this.#rewrite(table, versions, 0, versions.length - FREED_MAX);
      } else if (gone) {
        this.#removeRow(table, versions);
      } else {
        this.#rewrite(table, versions, cut === end ? begin : 0, cut);
      }
    }
  }

  /** Whether a cell as it stands gives reason to prune it; cheap, for sweeps. Throws Suspend. */
  needsPruning(start: number, end: number): boolean {
    const cell = this.#cell;
    cell.parse(this.#context.space.cache.view, start, end);
    if ((cell.flags & (DELETED | HISTORY | KEY_CHANGED)) !== 0) return true;
    if (cell.hasPrevious && (cell.previousFlags & OVERFLOW) !== 0) return true;
    return this.#context.log.state(cell.xid) === ABORTED;
  }

  #firstAlive(versions: Version[]): number {
    for (let i = 0; i < versions.length; i++) {
      if (this.#context.log.state(versions[i].xid) !== ABORTED) return i;
    }
    return versions.length;
  }

  #firstSettled(versions: Version[], from: number): number {
    const horizon = this.#manager.pruneLsn;
    for (let i = from; i < versions.length; i++) {
      const state = this.#context.log.state(versions[i].xid);
      if (state > 0 && state <= horizon) return i;
    }
    return -1;
  }

  #isDeleted(version: Version | undefined): boolean {
    return version !== undefined && version.page === 0 && (version.flags & DELETED) !== 0;
  }

  /** Nothing is to be dropped: a single settled version needs no check of its keys any more. */
  #settle(table: TableTree, versions: Version[], settled: boolean): boolean {
    const { flags } = versions[0];
    if (versions.length === 1 && settled && (flags & KEY_CHANGED) !== 0) {
      const { mtr } = this.#context.space;
      mtr.begin();
      table.tree.planSplice(mtr, this.#place, this.#place.valueEnd - this.#place.valueStart);
      mtr.u8(this.#place.pageNo, this.#place.valueStart - this.#place.base, flags & ~KEY_CHANGED);
      mtr.commit();
      return true;
    }
    return (flags & (DELETED | HISTORY | KEY_CHANGED)) === 0;
  }

  /** Entries of dropped versions whose keys no kept version has. */
  #removeEntries(
    table: TableTree,
    rowId: number,
    versions: Version[],
    begin: number,
    end: number,
    gone: boolean,
  ): void {
    const tuples: (Uint8Array | null)[] = versions.map((version) =>
      this.#isDeleted(version) ? null : tupleOf(this.#context, version),
    );
    for (const index of table.indexes) {
      for (let i = 0; i < versions.length; i++) {
        const tuple = tuples[i];
        if (tuple === null || (!gone && i >= begin && i < end)) continue;
        let kept = false;
        for (let k = begin; !gone && k < end && !kept; k++) {
          const other = tuples[k];
          if (other === null) continue;
          kept = !this.#entries.differ(index, tuple, 0, tuple.length, other, 0, other.length);
        }
        if (!kept) this.#entries.remove(index, rowId, tuple);
      }
    }
    // Removing entries began other MTRs; the row's place still stands, its tree was not edited.
  }

  #removeRow(table: TableTree, versions: Version[]): void {
    const { mtr } = this.#context.space;
    mtr.begin();
    table.tree.planDelete(mtr, this.#place);
    this.#planFree(versions, 0);
    table.tree.delete(mtr, this.#place);
    this.#free(versions, 0);
    mtr.commit();
    this.#dropChains(versions, 0, 0);
  }

  /** Keeps versions [begin, end), whose newest becomes the cell's. */
  #rewrite(table: TableTree, versions: Version[], begin: number, end: number): void {
    const { mtr, cache } = this.#context.space;
    const { valueStart, valueEnd } = this.#place;
    const head = versions[begin];
    assert(head !== undefined && end > begin, 'a row that is kept has a version');
    const cell = this.#cell;
    cell.parse(cache.view, valueStart, valueEnd);
    const inline = begin === 0 && end > 1 && cell.hasPrevious;
    const next = inline ? versions[2] : versions[begin + 1];
    const hasHistory = next !== undefined && next.page !== 0 && end > (inline ? 2 : begin + 1);
    let length = HEAD_BYTES + head.stored.length;
    const value = this.#value;
    copyRange(value, HEAD_BYTES, head.stored, 0, head.stored.length);
    if (inline) {
      copyRange(value, length, cache.bytes, cell.middleStart, cell.middleBytes);
      length += cell.middleBytes;
    }
    if (hasHistory) length = putPointer(value, length, next.page, next.offset);
    if (inline) {
      const trailer = valueEnd - 17;
      copyRange(value, length, cache.bytes, trailer, 17);
      length += 17;
    }
    let flags = (head.flags & ~(PREVIOUS | HISTORY)) | (versions[0].flags & KEY_CHANGED);
    if (inline) flags |= PREVIOUS;
    if (hasHistory) flags |= HISTORY;
    putHead(value, flags, head.xid, head.command);
    const freedFrom = Math.max(end, 0);
    const last = versions[end - 1];
    const cutBehind = end < versions.length && last.page !== 0 && end - 1 > begin;
    mtr.begin();
    table.tree.planSplice(mtr, this.#place, length);
    this.#planFree(versions, freedFrom);
    this.#planFreeRange(versions, 0, begin + 1);
    if (cutBehind) mtr.add(last.page);
    table.tree.splice(mtr, this.#place, 0, valueEnd - valueStart, value, 0, length);
    if (cutBehind) this.#history.cutBehind(mtr, last.page, last.offset);
    this.#free(versions, freedFrom);
    this.#freeRange(versions, 0, begin + 1);
    mtr.commit();
    this.#dropChains(versions, begin, end);
  }

  #planFree(versions: Version[], from: number): void {
    this.#planFreeRange(versions, from, versions.length);
  }

  #planFreeRange(versions: Version[], from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const { page } = versions[i];
      if (page !== 0) this.#history.planFree(this.#context.space.mtr, page);
    }
  }

  #free(versions: Version[], from: number): void {
    this.#freeRange(versions, from, versions.length);
  }

  #freeRange(versions: Version[], from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const { page } = versions[i];
      if (page !== 0) this.#history.free(this.#context.space.mtr, page);
    }
  }

  #dropChains(versions: Version[], begin: number, end: number): void {
    for (let i = 0; i < versions.length; i++) {
      if (i < begin || i >= end) this.#context.overflow.drop(chainOf(versions[i]));
    }
  }
}
