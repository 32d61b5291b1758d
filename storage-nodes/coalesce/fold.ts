/**
 * Folding: page version + records = next page version, written to another slot. A job names everything by
 * offset, so that it can be done on the node's own thread or posted to a worker (rule 21). PAGE-1 is
 * checked record by record.
 *
 * ```
 *   for each page:  base slot (or none: zeros) -> CRC -> apply its records -> CRC -> image
 *   then:           images to their target slots (runs of neighbours in one write), one sync
 * ```
 */
import { crc32c } from '#core/bytes/crc32c.js';
import { isSextantError, SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { apply } from '#core/redo/apply.js';
import { RecordReader } from '#core/redo/record.js';
import type { DiskFile } from '#core/world/world.js';
import { recordCrc } from '../page-log/chain-pool.js';
import { NO_SLOT } from '../page-log/page-slots.js';

/** One element a page, or a record; typed arrays, so that posting costs nothing. */
export interface FoldJob {
  readonly pageCount: number;
  /** NO_SLOT: the page starts as zeros. */
  readonly baseSlots: Uint32Array;
  readonly baseCrcs: Uint32Array;
  readonly targetSlots: Uint32Array;
  /** Records [starts[i], starts[i + 1]) belong to page i, ascending LSNs. */
  readonly starts: Uint32Array;
  readonly lsns: Float64Array;
  readonly files: Uint32Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint16Array;
  readonly recordCrcs: Uint32Array;
}

export const FOLD_OK = 0;
/** The base image fails its checksum. */
export const FOLD_BAD_BASE = 1;
/** A record fails its checksum or its grammar, or does not follow the base. */
export const FOLD_BAD_RECORD = 2;

export interface FoldAnswer {
  readonly results: Uint8Array;
  readonly lsns: Float64Array;
  readonly crcs: Uint32Array;
}

/** Does jobs, one at a time. Throws DISK_FULL (nothing folded) or DISK_FAILED. */
export interface Folder {
  /** Pages in a job at most: what its thread may be held up by. */
  readonly pagesMax: number;
  fold(job: FoldJob): FoldAnswer | Promise<FoldAnswer>;
  close(): Promise<void>;
}

/** The files that a job reads and writes. */
export interface FoldFiles {
  readonly pages: DiskFile;
  journal(seq: number): DiskFile;
}

/** Buffers that live as long as the thread that folds. */
export class FoldRunner {
  #images = new Uint8Array(0);
  #view = new DataView(this.#images.buffer);
  readonly #record = new Uint8Array(65536);
  readonly #reader = new RecordReader();

  /** Does a whole job, synchronously. */
  run(job: FoldJob, files: FoldFiles): FoldAnswer {
    const count = job.pageCount;
    if (this.#images.length < count * PAGE_BYTES) {
      this.#images = new Uint8Array(count * PAGE_BYTES);
      this.#view = new DataView(this.#images.buffer);
    }
    const answer: FoldAnswer = {
      results: new Uint8Array(count),
      lsns: new Float64Array(count),
      crcs: new Uint32Array(count),
    };
    for (let i = 0; i < count; i++) {
      answer.results[i] = this.#foldPage(job, files, i);
      const start = i * PAGE_BYTES;
      answer.lsns[i] = job.lsns[job.starts[i + 1] - 1];
      answer.crcs[i] = crc32c(this.#images.subarray(start, start + PAGE_BYTES));
    }
    this.#writeImages(job, files.pages);
    files.pages.sync();
    return answer;
  }

  #foldPage(job: FoldJob, files: FoldFiles, i: number): number {
    const images = this.#images;
    const base = i * PAGE_BYTES;
    if (job.baseSlots[i] === NO_SLOT) images.fill(0, base, base + PAGE_BYTES);
    else {
      const got = files.pages.read(images, base, PAGE_BYTES, job.baseSlots[i] * PAGE_BYTES);
      const crc = got === PAGE_BYTES ? crc32c(images.subarray(base, base + PAGE_BYTES)) : -1;
      if (crc !== job.baseCrcs[i]) return FOLD_BAD_BASE;
    }
    try {
      for (let r = job.starts[i]; r < job.starts[i + 1]; r++) {
        const length = job.lengths[r];
        const file = files.journal(job.files[r]);
        if (file.read(this.#record, 0, length, job.offsets[r]) !== length) return FOLD_BAD_RECORD;
        if (recordCrc(this.#record, 0, length) !== job.recordCrcs[r]) return FOLD_BAD_RECORD;
        this.#reader.at(this.#record, 0, length, job.lsns[r]);
        apply(images, this.#view, base, this.#reader);
      }
    } catch (error) {
      if (isSextantError(error, 'CORRUPTION')) return FOLD_BAD_RECORD;
      throw error;
    }
    return FOLD_OK;
  }

  /** Neighbouring slots go out in one write; what a failed page left in its slot is named by nobody. */
  #writeImages(job: FoldJob, pages: DiskFile): void {
    const { targetSlots, pageCount } = job;
    let start = 0;
    for (let i = 1; i <= pageCount; i++) {
      if (i < pageCount && targetSlots[i] === targetSlots[i - 1] + 1) continue;
      const position = targetSlots[start] * PAGE_BYTES;
      pages.write(this.#images, start * PAGE_BYTES, (i - start) * PAGE_BYTES, position);
      start = i;
    }
  }
}

/** Folds on the caller's thread, through the store's own files: for the simulator and small embedded use. */
export class InProcessFolder implements Folder {
  /** About 2 ms of the node's thread. */
  readonly pagesMax = 16;
  readonly #runner = new FoldRunner();
  readonly #files: FoldFiles;
  #closed = false;

  constructor(files: FoldFiles) {
    this.#files = files;
  }

  fold(job: FoldJob): FoldAnswer {
    if (this.#closed) throw new SextantError('CLOSED', 'the folder is closed');
    return this.#runner.run(job, this.#files);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}
