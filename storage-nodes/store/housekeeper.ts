/**
 * Background work of a store. One bounded piece a call: room, and the first of the others that there is to do.
 *
 * ```
 *   room     zeros ahead of the journal's tail, the next file               (a piece: 256 KiB)
 *   commit   fold results that no foreground commit has taken along
 *   free     the oldest journal file, when the journal is over its size and little in the file is live still
 *   fold     one batch, when the policy says so
 *   free     the same, when more of it is live: folding had nothing to do
 *              what is in it was folded -> index snapshot behind it, in pieces -> copy live leftovers forward, in
 *              pieces, each committed -> floors, commit -> the file is given up (rule 20)
 *   scrub    a few pages, now and then
 * ```
 *
 * After each piece `holdMs` says how much the foreground is to be slowed down: not at all, unless index or journal
 * are past their hard limits, and never when there is nothing to be folded or freed: then it is not speed that is
 * missing but VDL or PGMRPL, which come with what would be held back.
 */
import { isSextantError } from '#core/errors.js';
import { BOXCAR_HEADER_BYTES, sliceBoxcar } from '#core/redo/boxcar.js';
import type { Folder } from '../coalesce/fold.js';
import {
  FoldPolicy,
  holdMsAt,
  isHardPressed,
  loadOf,
  type FoldSituation,
} from '../coalesce/policy.js';
import { FrameKind } from '../journal/frame.js';
import { fileOf, offsetOf } from '../journal/journal.js';
import { CHAIN_RECORD_BYTES } from '../page-log/chain-pool.js';
import type { IndexSnapshots } from '../page-log/index-snapshot.js';
import { NO_ID, PAGE_BAD, PAGE_IN_JOB, PAGE_RIPE } from '../page-log/page-index.js';
import { NO_SLOT } from '../page-log/page-slots.js';
import { PAGE_BYTES } from '#core/ids.js';
import { ROW_ADMITTED, ROW_FREE, ROW_WAITING } from './boxcar-table.js';
import { FoldBatch } from './fold-batch.js';
import type { StoreCore } from './store-core.js';

const COPY_BYTES = 256 * 1024;
const SCRUB_PAGES = 16;
const ROWS_A_LOOK = 4096;
/** A file with more live bytes than this share is not worth copying: it waits for the limits to move. */
const LIVE_SHARE_MAX = 0.5;
const LIVE_SHARE_SMALL = 0.05;
const RETRY_MS = 200;
/** Between two attempts at what a full disk did not let us do. */
const FULL_RETRY_MS = 1000;
/** There was nothing to fold or free for so long: holding the foreground back does not help. */
const STALL_MS = 500;

export class Housekeeper {
  /** How long an acknowledgement should wait; Infinity: take no boxcars. */
  holdMs = 0;
  readonly #core: StoreCore;
  readonly #snapshots: IndexSnapshots;
  readonly #folder: Folder;
  readonly #waiting: Map<number, number>;
  readonly #commit: () => void;
  readonly #policy = new FoldPolicy();
  readonly #image = new Uint8Array(PAGE_BYTES);
  readonly #batchPages: number;
  #running: Promise<boolean> | undefined;
  #closed = false;
  /** Where draining stands. */
  #drainSeq = 0;
  #drainRow = 0;
  #freeNotBeforeMs = 0;
  #prepareNotBeforeMs = 0;
  /** Share of the oldest journal file that was live when it was counted. */
  #countedSeq = 0;
  #countedShare = 1;
  #countNotBeforeMs = 0;
  #foldNotBeforeMs = 0;
  #copyRow = 0;
  #copySeq = 0;
  #scrubId = 1;
  #scrubNotBeforeMs = 0;
  /** Since when pieces of work find nothing to fold or free; Infinity: the last one did. */
  #stalledMs = 0;

  constructor(
    core: StoreCore,
    snapshots: IndexSnapshots,
    folder: Folder,
    waiting: Map<number, number>,
    commit: () => void,
  ) {
    this.#core = core;
    this.#snapshots = snapshots;
    this.#folder = folder;
    this.#batchPages = Math.min(core.options.batchPages, folder.pagesMax);
    this.#waiting = waiting;
    this.#commit = commit;
  }

  /** Index or journal are at their hard limit: the work is to go on without pauses. */
  get isPressed(): boolean {
    return isHardPressed(this.#situation(0));
  }

  work(pressure: number): Promise<boolean> {
    if (this.#closed || this.#core.journal.failed !== undefined) return Promise.resolve(false);
    this.#running ??= this.#piece(pressure).finally(() => {
      this.#running = undefined;
      this.measure();
    });
    return this.#running;
  }

  /** False when it was closed before. */
  async close(): Promise<boolean> {
    if (this.#closed) return false;
    this.#closed = true;
    await this.#running?.catch(() => false);
    this.#snapshots.abandon();
    await this.#folder.close();
    return true;
  }

  async #piece(pressure: number): Promise<boolean> {
    const { world, journal } = this.#core;
    try {
      // Beside the rest, never in its place: a fast writer eats room as fast as it is made, for hours.
      const madeRoom = this.#prepare();
      if (this.#core.limbo.length > 0 && journal.dirty) {
        this.#commit();
        return true;
      }
      if (await this.#drain(pressure)) {
        this.#stalledMs = Infinity;
        return true;
      }
      this.#stalledMs = Math.min(this.#stalledMs, world.clock.monotonicMs());
      if (this.#closed) return false;
      return this.#scrub() || madeRoom;
    } catch (error) {
      if (!isSextantError(error, 'DISK_FULL')) {
        if (isSextantError(error, 'DISK_FAILED')) journal.fail(error);
        throw error;
      }
      world.log.warn('background work stopped: the disk is full', { error: error.message });
      this.#snapshots.abandon();
      this.#core.blocks.abandon();
      this.#policy.backOff(world.clock.monotonicMs());
      this.#freeNotBeforeMs = world.clock.monotonicMs() + FULL_RETRY_MS;
      return false;
    }
  }

  async #drain(pressure: number): Promise<boolean> {
    // Before folding, which a fast writer never lets come to an end.
    if (this.#free(this.isPressed ? LIVE_SHARE_MAX : LIVE_SHARE_SMALL)) return true;
    if (await this.#fold(pressure)) return true;
    return !this.#closed && this.#free(LIVE_SHARE_MAX);
  }

  /**
   * Sets `holdMs`: after each piece, and when a journal file begins, for a piece may take long. Of the journal only
   * what was written counts: files come and go as a whole.
   */
  measure(): void {
    const { chains, journal, options, world } = this.#core;
    const [oldest = journal.currentSeq] = journal.files.bySeq.keys();
    const older = Math.max(0, journal.currentSeq - oldest);
    const load = loadOf({
      indexBytes: chains.count * CHAIN_RECORD_BYTES,
      indexBytesMax: options.indexBytesMax,
      journalBytes: older * options.journalFileBytes + journal.tail,
      journalBytesMax: options.journalBytesMax,
    });
    this.holdMs = holdMsAt(load);
    if (this.holdMs > 0 && world.clock.monotonicMs() - this.#stalledMs > STALL_MS) this.holdMs = 0;
  }

  /** A disk too full for it does not stop folding and freeing, which make room. */
  #prepare(): boolean {
    const { world, journal } = this.#core;
    const nowMs = world.clock.monotonicMs();
    if (nowMs < this.#prepareNotBeforeMs) return false;
    try {
      return journal.prepare();
    } catch (error) {
      if (!isSextantError(error, 'DISK_FULL')) throw error;
      this.#prepareNotBeforeMs = nowMs + FULL_RETRY_MS;
      world.log.warn('no room for more journal', { error: error.message });
      return false;
    }
  }

  #situation(pressure: number): FoldSituation {
    const core = this.#core;
    return {
      ripePages: core.ripe.count,
      batchPages: this.#batchPages,
      indexBytes: core.chains.count * CHAIN_RECORD_BYTES,
      indexBytesMax: core.options.indexBytesMax,
      journalBytes: core.journal.files.bytes,
      journalBytesMax: core.options.journalBytesMax,
      pressure,
      nowMs: core.world.clock.monotonicMs(),
    };
  }

  async #fold(pressure: number): Promise<boolean> {
    const core = this.#core;
    const { clock } = core.world;
    const start = this.#situation(pressure);
    const choice = this.#policy.choose(start);
    if (choice === 'nothing' || start.nowMs < this.#foldNotBeforeMs) return false;
    const batch = new FoldBatch(core, this.#batchPages);
    if (choice === 'oldest') this.#gatherOldest(batch);
    this.#gatherRipe(batch);
    if (batch.pageCount === 0) {
      // Nothing may be folded until the limits move.
      if (core.ripe.count > 0 || choice === 'oldest') this.#foldNotBeforeMs = start.nowMs + 5;
      return false;
    }
    const job = batch.job();
    core.jobs++;
    try {
      const answer = await this.#folder.fold(job);
      batch.finish(job, answer);
    } catch (error) {
      batch.cancel(job);
      throw error;
    } finally {
      core.jobs--;
    }
    const end = this.#situation(pressure);
    this.#policy.ran(end, clock.monotonicMs() - start.nowMs);
    return true;
  }

  /** Ripe pages, oldest first; those that may not be folded yet go back to the end. */
  #gatherRipe(batch: FoldBatch): void {
    const { ripe, index, options } = this.#core;
    for (let left = ripe.count; left > 0 && !batch.isFull; left--) {
      const id = ripe.shift();
      if (!index.has(id) || (index.flags[id] & PAGE_RIPE) === 0) continue;
      index.flags[id] &= ~PAGE_RIPE;
      if (index.chainBytes[id] < options.ripeBytes || batch.add(id)) continue;
      index.flags[id] |= PAGE_RIPE;
      ripe.push(id);
    }
  }

  /** Pages with records in the oldest journal files. */
  #gatherOldest(batch: FoldBatch): void {
    const { rows, journal } = this.#core;
    let looked = 0;
    for (const seq of journal.files.bySeq.keys()) {
      const list = rows.byFile.get(seq);
      if (list === undefined || seq < this.#drainSeq) continue;
      if (seq !== this.#drainSeq) {
        this.#drainSeq = seq;
        this.#drainRow = 0;
      }
      for (; this.#drainRow < list.count; this.#drainRow++) {
        if (batch.isFull || looked++ >= ROWS_A_LOOK) return;
        const row = list.rows[this.#drainRow];
        if (rows.state[row] === ROW_FREE || rows.file[row] !== seq) continue;
        if (rows.unfolded[row] > 0) this.#addPagesOf(batch, row);
      }
    }
    this.#drainSeq = 0;
  }

  #addPagesOf(batch: FoldBatch, row: number): void {
    const { rows, segments, reader } = this.#core;
    const segment = segments.list[rows.segment[row]];
    const boxcar = this.#core.loadBoxcar(row);
    reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, rows.firstLsn[row]);
    while (!batch.isFull && reader.next()) {
      const id = segment.pages.get(reader.pageNo);
      if (id !== NO_ID) batch.add(id);
    }
  }

  /** One step towards freeing the oldest journal file. */
  #free(liveShareMax: number): boolean {
    const core = this.#core;
    const { journal, options } = core;
    const nowMs = core.world.clock.monotonicMs();
    if (nowMs < this.#freeNotBeforeMs) return false;
    if (this.#snapshots.active) {
      this.#snapshots.piece(core.index, (i) => core.segments.list[i].key);
      return true;
    }
    if (journal.files.bytes <= options.journalBytesMax) return false;
    const oldest = [...journal.files.bySeq.keys()][0];
    if (oldest === undefined || oldest >= journal.currentSeq || core.jobs > 0) return false;
    if (this.#copySeq !== oldest) {
      // The rows of a file are many: they are counted now and then.
      if (nowMs >= this.#countNotBeforeMs || this.#countedSeq !== oldest) {
        this.#countedSeq = oldest;
        this.#countNotBeforeMs = nowMs + RETRY_MS;
        this.#countedShare = this.#liveBytes(oldest) / options.journalFileBytes;
      }
      if (this.#countedShare > liveShareMax) return false;
      if (core.pagesFiles.has(oldest) && this.#snapshots.fileSeq <= oldest) {
        if (journal.dirty) this.#commit();
        this.#snapshots.begin(journal.currentSeq, journal.tail);
        return true;
      }
      this.#copySeq = oldest;
      this.#copyRow = 0;
    }
    if (this.#copyForward(oldest)) return true;
    if (core.blocks.release(oldest)) {
      if (journal.dirty) this.#commit();
      return true;
    }
    this.#giveUp(oldest);
    return true;
  }

  /** Must the row outlive its file? Log above PGMRPL is kept too (rule 18). */
  #isLive(row: number): boolean {
    const { rows, segments } = this.#core;
    const segment = segments.list[rows.segment[row]];
    if (rows.unfolded[row] > 0) return true;
    // A waiting boxcar at or below the SCL repeats what the chain has.
    if (rows.state[row] === ROW_WAITING) return rows.lastLsn[row] > segment.foldLimit;
    return rows.state[row] === ROW_ADMITTED && rows.lastLsn[row] > segment.pgmrpl;
  }

  #liveBytes(seq: number): number {
    const { rows } = this.#core;
    const list = rows.byFile.get(seq);
    if (list === undefined) return 0;
    let bytes = 0;
    for (let i = 0; i < list.count; i++) {
      const row = list.rows[i];
      if (rows.file[row] === seq && rows.state[row] !== ROW_FREE && this.#isLive(row)) {
        bytes += rows.bytes[row];
      }
    }
    return bytes;
  }

  /** Copies some live rows to the tail and commits them; false when none is left. */
  #copyForward(seq: number): boolean {
    const { rows, journal, segments } = this.#core;
    const list = rows.byFile.get(seq);
    let bytes = 0;
    for (; list !== undefined && this.#copyRow < list.count; this.#copyRow++) {
      if (bytes >= COPY_BYTES) break;
      const row = list.rows[this.#copyRow];
      if (rows.file[row] !== seq || rows.state[row] === ROW_FREE || !this.#isLive(row)) continue;
      let boxcar = this.#core.loadBoxcar(row);
      if (rows.clipped[row] === 1) {
        boxcar = sliceBoxcar(boxcar, 0, rows.lastLsn[row]);
        rows.clipped[row] = 0;
      }
      const key = segments.list[rows.segment[row]].key;
      const location = journal.append(FrameKind.boxcar, key, boxcar);
      rows.bytes[row] = boxcar.length;
      rows.place(row, fileOf(location), offsetOf(location));
      bytes += boxcar.length;
    }
    if (bytes === 0) return false;
    this.#commit();
    return true;
  }

  /** Nothing in the file is live: raise the floors, durably, and let it go. */
  #giveUp(seq: number): void {
    const core = this.#core;
    const { rows, segments, journal } = core;
    const list = rows.byFile.get(seq);
    const raised = new Set<number>();
    for (let i = 0; list !== undefined && i < list.count; i++) {
      const row = list.rows[i];
      if (rows.file[row] !== seq || rows.state[row] === ROW_FREE) continue;
      const segment = segments.list[rows.segment[row]];
      if (rows.state[row] === ROW_ADMITTED && rows.lastLsn[row] > segment.floor) {
        segment.floor = rows.lastLsn[row];
        raised.add(segment.index);
      }
    }
    for (const i of raised) {
      const segment = segments.list[i];
      segment.logFloor = Math.max(segment.logFloor, segment.floor);
      core.saveFloors(segment);
    }
    if (journal.dirty) this.#commit();
    this.#trimLogs(raised);
    this.#forgetRows(seq);
    rows.byFile.delete(seq);
    core.pagesFiles.delete(seq);
    this.#copySeq = 0;
    journal.files.free(seq);
  }

  #trimLogs(segments: Set<number>): void {
    const { rows } = this.#core;
    for (const i of segments) {
      const segment = this.#core.segments.list[i];
      const { log } = segment;
      while (log.start < log.count && rows.lastLsn[log.rows[log.start]] <= segment.logFloor) {
        log.start++;
      }
    }
  }

  #forgetRows(seq: number): void {
    const { rows } = this.#core;
    const list = rows.byFile.get(seq);
    for (let i = 0; list !== undefined && i < list.count; i++) {
      const row = list.rows[i];
      if (rows.file[row] === seq && rows.state[row] !== ROW_FREE) rows.remove(row);
    }
    for (const [location, row] of this.#waiting) {
      if (rows.state[row] === ROW_FREE) this.#waiting.delete(location);
    }
  }

  /** Checks a few page images against their checksums. */
  #scrub(): boolean {
    const core = this.#core;
    const { index, world } = core;
    const nowMs = world.clock.monotonicMs();
    if (nowMs < this.#scrubNotBeforeMs) return false;
    this.#scrubNotBeforeMs = nowMs + core.options.scrubIntervalMs;
    for (let checked = 0; checked < SCRUB_PAGES && this.#scrubId < index.idEnd; this.#scrubId++) {
      const id = this.#scrubId;
      const isIdle = (index.flags[id] & (PAGE_BAD | PAGE_IN_JOB)) === 0;
      if (!index.has(id) || index.slot[id] === NO_SLOT || !isIdle) continue;
      checked++;
      try {
        core.loadVersion(id, this.#image, 0);
      } catch (error) {
        if (!isSextantError(error, 'CORRUPTION')) throw error;
        core.markBad(id);
        world.log.warn('scrubbing found a bad page', { page: index.pageNo[id] });
      }
    }
    if (this.#scrubId >= index.idEnd) this.#scrubId = 1;
    return false;
  }
}
