/**
 * A volume that keeps everything in memory, for unit tests of what stands on `Volume` and for nothing
 * else: all records stay, and a read applies those at or below VDL to an empty page.
 *
 * VDL advances on a turn of the test's choosing: by default at the end of the turn in which somebody
 * waits (`schedule`), with `manual` only by `advance()`.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { apply } from '#core/redo/apply.js';
import {
  FLAG_CPL,
  RECORD_HEADER_BYTES,
  RecordReader,
  writeRecordHeader,
} from '#core/redo/record.js';
import type { LatencySummary, Volume, VolumeStatus } from './volume.js';

export interface MemoryVolumeOptions {
  /** Runs `fn` later; the default is the end of this turn. A delay models a slow quorum. */
  readonly schedule?: (fn: () => void) => void;
  /** VDL moves only when `advance` is called. */
  readonly manual?: boolean;
  readonly pageCapacity?: number;
  /** LAL in records; the default never binds. */
  readonly lal?: number;
}

interface StoredRecord {
  readonly lsn: number;
  readonly bytes: Uint8Array;
}

interface Waiter {
  readonly lsn: number;
  readonly done: (error?: Error) => void;
}

const NO_LATENCY: LatencySummary = { count: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 };

export class MemoryVolume implements Volume {
  readonly epoch = 1;
  vdl = 0;
  nextLsn = 1;
  pageCapacity: number;
  failure: Error | undefined = undefined;
  onVdl: (vdl: number) => void = () => {};
  onFailure: (error: Error) => void = () => {};
  /** Records appended and page reads so far, for tests that count. */
  pageReads = 0;
  redoBytes = 0;

  #byPage = new Map<number, StoredRecord[]>();
  #cpls: number[] = [];
  #waiters: Waiter[] = [];
  #room: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #scheduled = false;
  readonly #schedule: (fn: () => void) => void;
  readonly #manual: boolean;
  readonly #lal: number;
  readonly #growBy: number;
  readonly #reader = new RecordReader();

  constructor(options: MemoryVolumeOptions = {}) {
    this.#schedule = options.schedule ?? queueMicrotask;
    this.#manual = options.manual ?? false;
    this.#lal = options.lal ?? Number.MAX_SAFE_INTEGER;
    this.pageCapacity = options.pageCapacity ?? 1 << 20;
    this.#growBy = this.pageCapacity;
  }

  hasRoom(records: number, _bytes: number): boolean {
    return this.nextLsn - 1 + records <= this.vdl + this.#lal;
  }

  whenRoom(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.#kick();
    return new Promise((resolve, reject) => this.#room.push({ resolve, reject }));
  }

  append(
    pageNo: number,
    flags: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (this.failure !== undefined) throw this.failure;
    assert(pageNo >= 0 && pageNo < this.pageCapacity, `page ${pageNo} is outside the volume`);
    const lsn = this.nextLsn++;
    const bytes = new Uint8Array(RECORD_HEADER_BYTES + end - start);
    const view = new DataView(bytes.buffer);
    writeRecordHeader(view, 0, bytes.length, flags, 0, pageNo, prevPageLsn);
    bytes.set(edits.subarray(start, end), RECORD_HEADER_BYTES);
    const chain = this.#byPage.get(pageNo);
    if (chain === undefined) this.#byPage.set(pageNo, [{ lsn, bytes }]);
    else chain.push({ lsn, bytes });
    this.redoBytes += bytes.length;
    if ((flags & FLAG_CPL) !== 0) this.#cpls.push(lsn);
    return lsn;
  }

  wait(lsn: number, done: (error?: Error) => void): void {
    if (this.failure !== undefined) return done(this.failure);
    if (lsn <= this.vdl) return done();
    assert(lsn < this.nextLsn, `wait for LSN ${lsn}, which was never given out`);
    let at = this.#waiters.length;
    while (at > 0 && (this.#waiters[at - 1]?.lsn ?? 0) > lsn) at--;
    this.#waiters.splice(at, 0, { lsn, done });
    this.#kick();
  }

  /** Moves VDL to the highest CPL at or below `limit` and completes the waiters. */
  advance(limit = this.nextLsn - 1): void {
    if (this.failure !== undefined) return;
    let keep = 0;
    while (keep < this.#cpls.length && (this.#cpls[keep] ?? 0) <= limit) keep++;
    if (keep === 0) return;
    this.vdl = this.#cpls[keep - 1] ?? this.vdl;
    this.#cpls.splice(0, keep);
    this.onVdl(this.vdl);
    while ((this.#waiters[0]?.lsn ?? Infinity) <= this.vdl) this.#waiters.shift()?.done();
    for (const waiter of this.#room.splice(0)) waiter.resolve();
  }

  /** Kills the volume as a fencing would. */
  fail(error: Error = new SextantError('FENCED', 'another writer opened the volume')): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.onFailure(error);
    for (const waiter of this.#waiters.splice(0)) waiter.done(error);
    for (const waiter of this.#room.splice(0)) waiter.reject(error);
  }

  async readPage(pageNo: number, target: Uint8Array, base: number): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.pageReads++;
    const readPoint = this.vdl;
    await new Promise<void>((resolve) => this.#schedule(resolve));
    const page = target.subarray(base, base + PAGE_BYTES).fill(0);
    const view = new DataView(page.buffer, page.byteOffset, PAGE_BYTES);
    for (const record of this.#byPage.get(pageNo) ?? []) {
      if (record.lsn > readPoint) break;
      this.#reader.reset(record.bytes, 0, record.bytes.length, record.lsn);
      this.#reader.next();
      apply(page, view, 0, this.#reader);
    }
  }

  grow(): Promise<void> {
    this.pageCapacity += this.#growBy;
    return Promise.resolve();
  }

  confirmedWithin(_ms: number): boolean {
    return this.failure === undefined;
  }

  confirm(): Promise<void> {
    return this.failure === undefined ? Promise.resolve() : Promise.reject(this.failure);
  }

  status(): VolumeStatus {
    return {
      volume: 0,
      epoch: this.epoch,
      vdl: this.vdl,
      nextLsn: this.nextLsn,
      pgCount: this.pageCapacity / this.#growBy,
      pageCapacity: this.pageCapacity,
      failure: this.failure?.message,
      inFlightRecords: this.nextLsn - 1 - this.vdl,
      inFlightBytes: 0,
      boxcarsSent: 0,
      redoBytes: this.redoBytes,
      sentBytes: 0,
      resentBoxcars: 0,
      pageReads: this.pageReads,
      hedgedReads: 0,
      commitLatency: NO_LATENCY,
      readLatency: NO_LATENCY,
      nodes: [],
    };
  }

  close(): Promise<void> {
    this.fail(new SextantError('CLOSED', 'the volume is closed'));
    return Promise.resolve();
  }

  #kick(): void {
    if (this.#manual || this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.advance();
    });
  }
}
