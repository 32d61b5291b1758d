/**
 * Which version of a row a snapshot sees, and its tuple.
 *
 * - TXN-1: a version is visible when it committed at or below the snapshot's LSN, or is its transaction's own of an
 *   earlier command and not rolled back.
 * - TXN-2: every commit that an answer rests on, deletions included, raises `coveredLsn`.
 */
import { getU48 } from '#core/bytes/le.js';
import type { PageSpace } from '../pages/page-space.js';
import type { CommitLog } from '../txn/commit-log.js';
import type { LocalTransaction } from '../txn/local-transaction.js';
import type { Snapshot } from '../txn/transaction.js';
import type { History } from './history.js';
import type { Overflow } from './overflow.js';
import {
  DELETED,
  HEAD_BYTES,
  HISTORY,
  OVERFLOW,
  PREVIOUS,
  RowCell,
  VALUE_BYTES_MAX,
} from './row-version.js';

const TWO_32 = 0x1_0000_0000;

/** What all readers of one store share. */
export class ReadContext {
  readonly space: PageSpace;
  readonly log: CommitLog;
  readonly history: History;
  readonly overflow: Overflow;
  /** Hot: the last transaction seen as committed; a bulk-loaded table has but one. */
  lastXid = 0;
  lastLsn = 0;

  constructor(space: PageSpace, log: CommitLog, history: History, overflow: Overflow) {
    this.space = space;
    this.log = log;
    this.history = history;
    this.overflow = overflow;
  }
}

export class RowReader {
  /** The tuple that `read` found: bytes[start, end). */
  bytes: Uint8Array;
  start = 0;
  end = 0;

  readonly #context: ReadContext;
  readonly #view: DataView;
  readonly #cell = new RowCell();
  #scratch: Uint8Array | null = null;
  #lsn = 0;
  #command = 0;
  #txn: LocalTransaction | null = null;

  constructor(context: ReadContext) {
    this.#context = context;
    this.bytes = context.space.cache.bytes;
    this.#view = context.space.cache.view;
  }

  /** The snapshot of the reads that follow. */
  under(snapshot: Snapshot): void {
    this.#lsn = snapshot.lsn;
    this.#command = snapshot.command;
    this.#txn = snapshot.txn as LocalTransaction | null;
  }

  /** Whether the snapshot sees a version of the row in the cell [start, end). Throws Suspend. */
  read(start: number, end: number): boolean {
    const view = this.#view;
    const flags = view.getUint8(start);
    const xid = view.getUint16(start + 5, true) * TWO_32 + view.getUint32(start + 1, true);
    if ((flags & ~0b110000) === 0) {
      // Hot: one version and nothing else to look at.
      if (!this.#sees(xid, view, start + 7)) return false;
      this.bytes = this.#context.space.cache.bytes;
      this.start = start + HEAD_BYTES;
      this.end = end;
      return true;
    }
    const cell = this.#cell;
    cell.parse(view, start, end);
    if (this.#sees(xid, view, start + 7)) {
      if ((flags & DELETED) !== 0) return false;
      if ((flags & OVERFLOW) !== 0) return this.#spilled(view, cell.tupleStart);
      this.bytes = this.#context.space.cache.bytes;
      this.start = cell.tupleStart;
      this.end = cell.tupleEnd;
      return true;
    }
    return this.#readOlder(cell);
  }

  #readOlder(cell: RowCell): boolean {
    const { cache } = this.#context.space;
    if (
      (cell.flags & PREVIOUS) !== 0 &&
      this.#seesCommand(cell.previousXid, cell.previousCommand)
    ) {
      const target = this.#room(VALUE_BYTES_MAX);
      const length = cell.copyPrevious(cache.bytes, target);
      if ((cell.previousFlags & OVERFLOW) !== 0) {
        return this.#spilled(new DataView(target.buffer, target.byteOffset), 0);
      }
      return this.#found(target, length);
    }
    if ((cell.flags & HISTORY) === 0) return false;
    const { history } = this.#context;
    let page = cell.historyPage;
    let offset = cell.historyOffset;
    while (page !== 0) {
      history.read(page, offset);
      if (this.#seesCommand(history.xid, history.command)) {
        if ((history.flags & OVERFLOW) !== 0) return this.#spilled(this.#view, history.tupleStart);
        this.bytes = cache.bytes;
        this.start = history.tupleStart;
        this.end = history.tupleEnd;
        return true;
      }
      page = history.nextPage;
      offset = history.nextOffset;
    }
    return false;
  }

  /** The tuple behind a stub. */
  #spilled(view: DataView, stub: number): boolean {
    const length = view.getUint32(stub, true);
    const first = view.getUint32(stub + 4, true);
    const target = this.#room(length);
    this.#context.overflow.read(first, length, target);
    return this.#found(target, length);
  }

  #found(target: Uint8Array, length: number): boolean {
    this.bytes = target;
    this.start = 0;
    this.end = length;
    return true;
  }

  #room(length: number): Uint8Array {
    if (this.#scratch === null || this.#scratch.length < length) {
      this.#scratch = new Uint8Array(Math.max(length, VALUE_BYTES_MAX));
    }
    return this.#scratch;
  }

  #sees(xid: number, view: DataView, commandAt: number): boolean {
    const context = this.#context;
    if (xid === context.lastXid && context.lastLsn <= this.#lsn) {
      if (this.#txn !== null) this.#txn.cover(context.lastLsn);
      return true;
    }
    return this.#seesCommand(xid, view.getUint32(commandAt, true));
  }

  #seesCommand(xid: number, command: number): boolean {
    const txn = this.#txn;
    if (txn !== null && txn.id !== 0 && txn.owns(xid)) return command < this.#command;
    const context = this.#context;
    const state = context.log.state(xid);
    if (state <= 0 || state > this.#lsn) return false;
    if (txn !== null) txn.cover(state);
    context.lastXid = xid;
    context.lastLsn = state;
    return true;
  }
}

/** One version of a row, copied out of the pages. */
export interface Version {
  readonly xid: number;
  readonly command: number;
  readonly flags: number;
  /** The tuple; of OVERFLOW the stub. */
  readonly stored: Uint8Array;
  /** Where it lies in history; page 0: in the cell. */
  readonly page: number;
  readonly offset: number;
}

/** All versions of a row, newest first, for those who look closely. Throws Suspend. */
export function loadVersions(context: ReadContext, start: number, end: number): Version[] {
  const { view, bytes } = context.space.cache;
  const cell = new RowCell();
  cell.parse(view, start, end);
  const versions: Version[] = [
    {
      xid: getU48(view, start + 1),
      command: cell.command,
      flags: cell.flags,
      stored: bytes.slice(cell.tupleStart, cell.tupleEnd),
      page: 0,
      offset: 0,
    },
  ];
  if (cell.hasPrevious) {
    const stored = new Uint8Array(cell.previousBytes);
    cell.copyPrevious(bytes, stored);
    versions.push({
      xid: cell.previousXid,
      command: cell.previousCommand,
      flags: cell.previousFlags,
      stored,
      page: 0,
      offset: 0,
    });
  }
  const { history } = context;
  let page = cell.historyPage;
  let offset = cell.historyOffset;
  while (page !== 0) {
    history.read(page, offset);
    const stored = bytes.slice(history.tupleStart, history.tupleEnd);
    versions.push({
      xid: history.xid,
      command: history.command,
      flags: history.flags,
      stored,
      page,
      offset,
    });
    page = history.nextPage;
    offset = history.nextOffset;
  }
  return versions;
}

/** The whole tuple of a version. Throws Suspend. */
export function tupleOf(context: ReadContext, version: Version): Uint8Array {
  if ((version.flags & OVERFLOW) === 0 || (version.flags & DELETED) !== 0) return version.stored;
  const view = new DataView(version.stored.buffer, version.stored.byteOffset);
  const tuple = new Uint8Array(view.getUint32(0, true));
  context.overflow.read(view.getUint32(4, true), tuple.length, tuple);
  return tuple;
}

/** First page of a version's overflow chain; 0: it has none. */
export function chainOf(version: Version): number {
  if ((version.flags & OVERFLOW) === 0 || (version.flags & DELETED) !== 0) return 0;
  return new DataView(version.stored.buffer, version.stored.byteOffset).getUint32(4, true);
}
