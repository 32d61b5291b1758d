/**
 * Gathers pages into a fold job and takes its answer into the tables.
 *
 * A page goes into a job with its chain up to min(fold limit, PGMRPL) (rule 8, PAGE-3), from the latest
 * FORMAT on if there is one. Whatever happens to the page while the job is under way (hydrated, dropped)
 * clears its PAGE_IN_JOB flag, and the answer for it is thrown away.
 */
import { NO_RECORD, RECORD_FORMAT } from '../page-log/chain-pool.js';
import { PAGE_ENTRY_BYTES, writePageEntry } from '../page-log/page-entry.js';
import { PAGE_BAD, PAGE_IN_JOB } from '../page-log/page-index.js';
import { NO_SLOT } from '../page-log/page-slots.js';
import { FOLD_OK, type FoldAnswer, type FoldJob } from '../coalesce/fold.js';
import type { StoreCore } from './store-core.js';

const RECORDS_MAX = 16_384;

export class FoldBatch {
  readonly #core: StoreCore;
  readonly #ids: number[] = [];
  readonly #starts: number[] = [0];
  readonly #records: number[] = [];

  readonly #pagesMax: number;

  constructor(core: StoreCore, pagesMax: number) {
    this.#core = core;
    this.#pagesMax = pagesMax;
  }

  get pageCount(): number {
    return this.#ids.length;
  }

  get isFull(): boolean {
    return this.#ids.length >= this.#pagesMax || this.#records.length >= RECORDS_MAX;
  }

  /** Adds a page if it has records that may be folded now. */
  add(id: number): boolean {
    const { index, chains, segments } = this.#core;
    if (!index.has(id) || (index.flags[id] & PAGE_IN_JOB) !== 0) return false;
    const limit = segments.list[index.segmentOf(id)].foldable;
    const first = this.#records.length;
    let hasFormat = false;
    for (let r = index.head[id]; r !== NO_RECORD && chains.lsn[r] <= limit; r = chains.next[r]) {
      if (!this.#isDurable(r)) break;
      if ((chains.flags[r] & RECORD_FORMAT) !== 0) {
        this.#records.length = first;
        hasFormat = true;
      }
      this.#records.push(r);
    }
    if (this.#records.length === first) return false;
    if ((index.flags[id] & PAGE_BAD) !== 0 && !hasFormat) {
      this.#records.length = first;
      return false;
    }
    index.flags[id] |= PAGE_IN_JOB;
    this.#ids.push(id);
    this.#starts.push(this.#records.length);
    return true;
  }

  #isDurable(record: number): boolean {
    const { chains, rows, journal } = this.#core;
    const row = chains.row[record];
    const end = rows.offset[row] + chains.offset[record] + chains.length[record];
    return journal.isDurable(rows.file[row], end);
  }

  /** The job, with a slot reserved for each page. */
  job(): FoldJob {
    const { index, chains, rows, slots } = this.#core;
    const pageCount = this.#ids.length;
    const count = this.#records.length;
    const job: FoldJob = {
      pageCount,
      baseSlots: new Uint32Array(pageCount),
      baseCrcs: new Uint32Array(pageCount),
      targetSlots: new Uint32Array(pageCount),
      starts: Uint32Array.from(this.#starts),
      lsns: new Float64Array(count),
      files: new Uint32Array(count),
      offsets: new Uint32Array(count),
      lengths: new Uint16Array(count),
      recordCrcs: new Uint32Array(count),
    };
    for (let i = 0; i < pageCount; i++) {
      const id = this.#ids[i];
      const startsFresh = (chains.flags[this.#records[this.#starts[i]]] & RECORD_FORMAT) !== 0;
      job.baseSlots[i] = startsFresh ? NO_SLOT : index.slot[id];
      job.baseCrcs[i] = index.crc[id];
      job.targetSlots[i] = slots.reserve();
    }
    for (let i = 0; i < count; i++) {
      const record = this.#records[i];
      const row = chains.row[record];
      job.lsns[i] = chains.lsn[record];
      job.files[i] = rows.file[row];
      job.offsets[i] = rows.offset[row] + chains.offset[record];
      job.lengths[i] = chains.length[record];
      job.recordCrcs[i] = chains.crc[record];
    }
    return job;
  }

  /** Takes the answer: one PAGES frame, new versions. Returns how many pages were folded. */
  finish(job: FoldJob, answer: FoldAnswer): number {
    const core = this.#core;
    const { index, segments, slots } = core;
    const body = new Uint8Array(job.pageCount * PAGE_ENTRY_BYTES);
    const view = new DataView(body.buffer);
    const folded: number[] = [];
    for (let i = 0; i < job.pageCount; i++) {
      const id = this.#ids[i];
      const isStill = index.has(id) && (index.flags[id] & PAGE_IN_JOB) !== 0;
      if (isStill) index.flags[id] &= ~PAGE_IN_JOB;
      if (isStill && answer.results[i] === FOLD_OK) {
        const segment = segments.list[index.segmentOf(id)];
        const at = folded.length * PAGE_ENTRY_BYTES;
        const { pageNo } = index;
        const slot = job.targetSlots[i];
        writePageEntry(view, at, segment.key, pageNo[id], slot, answer.lsns[i], answer.crcs[i]);
        folded.push(i);
        continue;
      }
      slots.free(job.targetSlots[i]);
      if (isStill) {
        core.markBad(id);
        const fields = { page: index.pageNo[id], result: answer.results[i] };
        core.world.log.warn('a page could not be folded and waits for repair', fields);
      }
    }
    if (folded.length === 0) return 0;
    core.appendPages(body.subarray(0, folded.length * PAGE_ENTRY_BYTES));
    for (const i of folded) {
      const id = this.#ids[i];
      const segment = segments.list[index.segmentOf(id)];
      const slot = job.targetSlots[i];
      core.setVersion(segment, index.pageNo[id], slot, answer.lsns[i], answer.crcs[i]);
    }
    core.foldedPages += folded.length;
    return folded.length;
  }

  /** The job failed: nothing changed. */
  cancel(job: FoldJob): void {
    const { index, slots } = this.#core;
    for (let i = 0; i < job.pageCount; i++) {
      const id = this.#ids[i];
      if (index.has(id)) index.flags[id] &= ~PAGE_IN_JOB;
      slots.free(job.targetSlots[i]);
    }
  }
}
