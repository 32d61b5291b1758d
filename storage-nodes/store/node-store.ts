/**
 * The store of a storage node: one folder.
 *
 * ```
 *   <folder>/journal/0000002a.journal   frames: boxcars, state, page index changes    journal/frame
 *   <folder>/journal/spare              a freed file on its way to become the next one
 *   <folder>/pages/pages.data           page images in slots of 8192 bytes            page-log/page-slots
 *   <folder>/pages/index-00000003       page index as of a journal position           page-log/index-snapshot
 *   <folder>/blocks/...                 tagged registers of virtual disks             blocks/block-store
 *   <folder>/failed                     the last run ended with a failed sync
 * ```
 *
 * The journal alone says what is durable: a page version counts from the moment when the PAGES frame that
 * names its slot is synced, which rides along with the next commit. So there is one fdatasync for boxcars,
 * state and pages, and one order of events to recover.
 *
 * Invariants: LOG-2 (`commit` returns after the sync), LOG-3 (a journal file goes only when what it held
 * is folded or copied), PAGE-1, PAGE-2 (`readPage`), PAGE-3 (versions at or below PGMRPL, one a page).
 */
import { assert } from '#core/assert.js';
import { crc32c } from '#core/bytes/crc32c.js';
import { getU64 } from '#core/bytes/le.js';
import { isSextantError, SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { apply } from '#core/redo/apply.js';
import { sliceBoxcar } from '#core/redo/boxcar.js';
import { pageLsn } from '#core/redo/page.js';
import type { World } from '#core/world/world.js';
import { InProcessFolder, type Folder } from '../coalesce/fold.js';
import { builtFoldWorker, PiscinaFolder } from '../coalesce/piscina-folder.js';
import type { BlockStore } from '../blocks/block-store.js';
import { FrameKind } from '../journal/frame.js';
import { fileOf, offsetOf } from '../journal/journal.js';
import { NO_RECORD, RECORD_FORMAT } from '../page-log/chain-pool.js';
import { IndexSnapshots } from '../page-log/index-snapshot.js';
import { PAGE_ENTRY_BYTES, writePageEntry } from '../page-log/page-entry.js';
import { NO_ID, PAGE_BAD, PAGE_IN_JOB } from '../page-log/page-index.js';
import { NO_SLOT } from '../page-log/page-slots.js';
import { ROW_ADMITTED } from './boxcar-table.js';
import { Housekeeper } from './housekeeper.js';
import { dropPages, dropRows, recoverStore, truncateRows } from './recovery.js';
import { StoreCore, type StoreOptions } from './store-core.js';
import type { StoredSegment } from './segment-table.js';
import { NodeStoreStats } from './store-stats.js';
import type { Location, SegmentKey, Store, StoreVisitor } from './store.js';

/** Makes the folder that folds; without one, folding happens on the node's own thread. */
export type FolderMaker = (core: StoreCore) => Folder;

/** Folds in a worker thread; undefined when there is no built worker (TypeScript run from source). */
export function folderInWorker(worker = builtFoldWorker()): FolderMaker | undefined {
  if (worker === undefined) return undefined;
  return (core) =>
    new PiscinaFolder(
      { pages: core.slots.file.path, journal: (seq) => core.journal.files.pathOf(seq) },
      worker,
    );
}

export class NodeStore implements Store {
  readonly stats: NodeStoreStats;
  readonly #core: StoreCore;
  readonly #snapshots: IndexSnapshots;
  readonly #housekeeper: Housekeeper;
  /** Location at which a boxcar was appended -> its row, until it is admitted or discarded. */
  readonly #waiting = new Map<number, number>();
  #failedMark = false;
  #recovered = false;
  /** Hot: one view per target buffer. */
  #target: Uint8Array = new Uint8Array(0);
  #targetView: DataView = new DataView(this.#target.buffer);

  /**
   * Opens the folder, made when absent; `recover` must follow before anything else. Throws DISK_FULL,
   * DISK_FAILED, FOLDER_FOREIGN. The caller holds the folder's lock.
   */
  constructor(world: World, folder: string, options: StoreOptions = {}, makeFolder?: FolderMaker) {
    const core = new StoreCore(world, folder, options);
    this.#core = core;
    this.#snapshots = new IndexSnapshots(world.disk, `${folder}/pages`);
    const files = {
      pages: core.slots.file,
      journal: (seq: number) => core.journal.fileFor(seq),
    };
    const folderOfPages = makeFolder?.(core) ?? new InProcessFolder(files);
    this.#housekeeper = new Housekeeper(core, this.#snapshots, folderOfPages, this.#waiting, () =>
      this.commit(),
    );
    this.stats = new NodeStoreStats(core);
    const { onRotate } = core.journal;
    core.journal.onRotate = () => {
      onRotate();
      this.#housekeeper.measure();
    };
  }

  /**
   * Rebuilds what the folder holds: calls `damage` for what was lost, `state` for each key, `boxcar` for what
   * follows each segment's `floor`, ascending. The visitor may call back: `floor`, `admit`,
   * `discard`, `truncate`, `appendState`.
   */
  recover(visitor: StoreVisitor): void {
    assert(!this.#recovered, 'a store recovers once');
    const { world, folder } = this.#core;
    this.#failedMark = world.disk.exists(`${folder}/failed`);
    if (this.#failedMark) visitor.damage(`${folder}: the last run ended with a failed sync`, false);
    recoverStore(this.#core, this.#snapshots, this.#waiting, visitor);
    this.#recovered = true;
  }

  /**
   * Everything of the segment's chain at or below is on this disk, though its boxcars may be gone: the SCL is
   * at least this. Durable.
   */
  floor(segment: SegmentKey): number {
    return this.#core.segments.find(segment)?.floor ?? 0;
  }

  appendBoxcar(segment: SegmentKey, boxcar: Uint8Array): Location {
    const core = this.#core;
    const entry = core.segments.get(segment);
    const view = new DataView(boxcar.buffer, boxcar.byteOffset, boxcar.byteLength);
    const location = core.journal.append(FrameKind.boxcar, segment, boxcar);
    const row = core.rows.add(
      entry.index,
      fileOf(location),
      offsetOf(location),
      boxcar.length,
      getU64(view, 24),
      getU64(view, 32),
    );
    this.#waiting.set(location, row);
    return location;
  }

  appendState(key: string, value: Uint8Array): void {
    assert(/^[ -}]{1,128}$/.test(key), 'a state key is 1 to 128 printable ASCII characters but ~');
    assert(value.length <= 1024 * 1024, 'a state value has at most 1 MiB');
    this.#core.setState(key, value.slice());
  }

  get blocks(): BlockStore {
    return this.#core.blocks;
  }

  get dirty(): boolean {
    return this.#core.journal.dirty;
  }

  commit(): void {
    const core = this.#core;
    try {
      if (core.imagesUnsynced && core.journal.failed === undefined) {
        core.slots.file.sync();
        core.imagesUnsynced = false;
      }
      if (core.journal.failed === undefined) core.blocks.beforeCommit();
      core.journal.commit();
    } catch (error) {
      if (!isSextantError(error, 'DISK_FULL')) this.#noteFailure(error);
      throw error;
    }
    core.releaseLimbo();
    core.blocks.committed();
    if (this.#failedMark) this.#removeFailedMark();
  }

  /** Remembers a failed sync beyond this run, as far as the disk lets us (rule 19). */
  #noteFailure(cause: unknown): void {
    const { journal, world, folder } = this.#core;
    if (journal.failed === undefined) {
      journal.fail(cause instanceof Error ? cause : new Error(String(cause)));
    }
    try {
      world.disk.open(`${folder}/failed`, { create: true }).close();
      world.disk.syncFolder(folder);
    } catch (error) {
      world.log.error('cannot mark the folder as failed', { error: String(error) });
    }
  }

  /** The caller was told at start and has by now journaled what follows from it. */
  #removeFailedMark(): void {
    const { world, folder } = this.#core;
    world.disk.remove(`${folder}/failed`);
    world.disk.syncFolder(folder);
    this.#failedMark = false;
  }

  /** `boxcar` must be the bytes as appended, or as `recover` showed them. */
  admit(segment: SegmentKey, location: Location, boxcar: Uint8Array): void {
    const core = this.#core;
    const { rows } = core;
    const row = this.#waiting.get(location);
    assert(row !== undefined, 'only a waiting boxcar is admitted');
    const entry = core.segments.list[rows.segment[row]];
    assert(entry.key === segment, 'a boxcar belongs to its segment');
    if (rows.lastLsn[row] <= entry.admitted) {
      this.discard(segment, location);
      return;
    }
    this.#waiting.delete(location);
    rows.state[row] = ROW_ADMITTED;
    core.indexRecords(entry, row, boxcar, rows.lastLsn[row]);
    entry.admitted = rows.lastLsn[row];
    entry.log.push(row);
  }

  discard(segment: SegmentKey, location: Location): void {
    const { rows, segments } = this.#core;
    const row = this.#waiting.get(location);
    if (row === undefined || segments.list[rows.segment[row]].key !== segment) return;
    this.#waiting.delete(location);
    if (rows.unfolded[row] > 0) rows.state[row] = ROW_ADMITTED;
    else rows.remove(row);
  }

  truncate(segment: SegmentKey, lsn: number): void {
    const core = this.#core;
    const entry = core.segments.get(segment);
    core.journal.append(FrameKind.truncate, segment, undefined, 0, 0, lsn);
    const ids: number[] = [];
    entry.pages.forEach(0, (id) => {
      ids.push(id);
      return true;
    });
    for (const id of ids) core.cutChain(entry, id, lsn);
    const { log } = entry;
    while (log.count > log.start && core.rows.firstLsn[log.rows[log.count - 1]] > lsn) log.count--;
    truncateRows(core, entry, lsn);
    entry.admitted = Math.min(entry.admitted, lsn);
    this.#forgetGoneRows();
  }

  #forgetGoneRows(): void {
    const { rows } = this.#core;
    for (const [location, row] of this.#waiting) {
      if (rows.state[row] === 0) this.#waiting.delete(location);
    }
  }

  readPage(
    segment: SegmentKey,
    pageNo: number,
    readPoint: number,
    target: Uint8Array,
    base: number,
  ): void {
    const core = this.#core;
    const { index, chains } = core;
    const id = core.segments.find(segment)?.pages.get(pageNo) ?? NO_ID;
    if (id === NO_ID) {
      target.fill(0, base, base + PAGE_BYTES);
      return;
    }
    let format = NO_RECORD;
    for (
      let r = index.head[id];
      r !== NO_RECORD && chains.lsn[r] <= readPoint;
      r = chains.next[r]
    ) {
      if ((chains.flags[r] & RECORD_FORMAT) !== 0) format = r;
    }
    if (format === NO_RECORD) this.#readVersion(id, readPoint, target, base);
    if (target !== this.#target) {
      this.#target = target;
      this.#targetView = new DataView(target.buffer, target.byteOffset, target.byteLength);
    }
    let record = format === NO_RECORD ? index.head[id] : format;
    while (record !== NO_RECORD && chains.lsn[record] <= readPoint) {
      core.loadRecord(record, id);
      apply(target, this.#targetView, base, core.reader);
      record = chains.next[record];
    }
  }

  #readVersion(id: number, readPoint: number, target: Uint8Array, base: number): void {
    const { index } = this.#core;
    if (index.slot[id] === NO_SLOT) {
      target.fill(0, base, base + PAGE_BYTES);
      return;
    }
    if (index.lsn[id] > readPoint) {
      throw new SextantError(
        'OUT_OF_RANGE',
        `page ${index.pageNo[id]} is folded up to ${index.lsn[id]}, above read point ${readPoint}`,
      );
    }
    this.#core.loadVersion(id, target, base);
  }

  readLog(segment: SegmentKey, after: number, upTo: number, maxBytes: number): Uint8Array[] | null {
    const core = this.#core;
    const { rows } = core;
    const entry = core.segments.find(segment);
    if (entry === undefined) return [];
    if (after < entry.logFloor) return null;
    const { log } = entry;
    let low = log.start;
    for (let high = log.count; low < high;) {
      const middle = (low + high) >>> 1;
      if (rows.lastLsn[log.rows[middle]] > after) high = middle;
      else low = middle + 1;
    }
    const found: Uint8Array[] = [];
    let from = after;
    for (let bytes = 0; low < log.count && (found.length === 0 || bytes < maxBytes); low++) {
      const row = log.rows[low];
      if (rows.firstLsn[row] > upTo) break;
      const to = Math.min(upTo, rows.lastLsn[row]);
      const slice = sliceBoxcar(core.loadBoxcar(row), from, to);
      if (slice.length > 0) {
        found.push(slice);
        bytes += slice.length;
      }
      from = to;
    }
    return found;
  }

  pagesAfter(segment: SegmentKey, afterPage: number, point: number, limit: number): number[] {
    const core = this.#core;
    const { index, chains } = core;
    const found: number[] = [];
    core.segments.find(segment)?.pages.forEach(afterPage + 1, (id) => {
      const isVersion = index.slot[id] !== NO_SLOT;
      const head = index.head[id];
      if (isVersion || (head !== NO_RECORD && chains.lsn[head] <= point)) {
        found.push(index.pageNo[id]);
      }
      return found.length < limit;
    });
    return found;
  }

  putPage(segment: SegmentKey, pageNo: number, image: Uint8Array, point: number): void {
    assert(image.length === PAGE_BYTES, 'a page image has 8192 bytes');
    const core = this.#core;
    const entry = core.segments.get(segment);
    const lsn = pageLsn(new DataView(image.buffer, image.byteOffset, image.byteLength), 0);
    const id = entry.pages.get(pageNo);
    if (id !== NO_ID && core.index.slot[id] !== NO_SLOT) {
      const isBad = (core.index.flags[id] & PAGE_BAD) !== 0;
      if (lsn < core.index.lsn[id] && isBad) {
        const at = core.index.lsn[id];
        throw new SextantError('OUT_OF_RANGE', `page ${pageNo} needs an image at ${at} or above`);
      }
      if (lsn <= core.index.lsn[id] && !isBad) return;
    }
    const slot = core.slots.reserve();
    try {
      core.slots.write(slot, image, 0);
    } catch (error) {
      core.slots.free(slot);
      throw error;
    }
    core.imagesUnsynced = true;
    const crc = crc32c(image);
    this.#journalPage(segment, pageNo, slot, lsn, crc);
    core.setVersion(entry, pageNo, slot, lsn, crc);
    core.index.flags[entry.pages.get(pageNo)] &= ~PAGE_IN_JOB;
    this.#raiseLogFloor(entry, point);
  }

  #journalPage(segment: number, pageNo: number, slot: number, lsn: number, crc: number): void {
    const core = this.#core;
    const body = new Uint8Array(PAGE_ENTRY_BYTES);
    writePageEntry(new DataView(body.buffer), 0, segment, pageNo, slot, lsn, crc);
    core.appendPages(body);
  }

  /** The log at or below a hydration point was never here. A repaired page of a whole log changes nothing. */
  #raiseLogFloor(entry: StoredSegment, point: number): void {
    if (point <= entry.logFloor || point <= entry.admitted) return;
    entry.logFloor = point;
    this.#core.saveFloors(entry);
  }

  dropSegment(segment: SegmentKey): void {
    const core = this.#core;
    const entry = core.segments.get(segment);
    core.journal.append(FrameKind.drop, segment);
    dropPages(core, entry);
    dropRows(core, entry);
    this.#forgetGoneRows();
    entry.log.count = 0;
    entry.log.start = 0;
    entry.floor = 0;
    entry.logFloor = 0;
    entry.admitted = 0;
    core.saveFloors(entry);
  }

  setLimits(segment: SegmentKey, foldLimit: number, pgmrpl: number): void {
    const entry = this.#core.segments.get(segment);
    entry.foldLimit = foldLimit;
    entry.pgmrpl = pgmrpl;
  }

  get isPressed(): boolean {
    return this.#housekeeper.isPressed;
  }

  get holdMs(): number {
    return this.#housekeeper.holdMs;
  }

  work(pressure: number): Promise<boolean> {
    assert(this.#recovered, 'a store recovers before it works');
    return this.#housekeeper.work(pressure).catch((error: unknown) => {
      if (isSextantError(error, 'DISK_FAILED')) this.#noteFailure(error);
      throw error;
    });
  }

  /** Ends cleanly: what is queued is committed if the disk lets us. Idempotent. */
  async close(): Promise<void> {
    if (!(await this.#housekeeper.close())) return;
    const { journal, slots, world } = this.#core;
    if (this.#recovered && journal.failed === undefined) {
      try {
        journal.append(FrameKind.close, 0);
        this.commit();
      } catch (error) {
        world.log.warn('the journal was not closed cleanly', { error: String(error) });
      }
    }
    journal.close();
    this.#core.blocks.close();
    slots.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
