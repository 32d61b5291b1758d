/**
 * The tables that the parts of a store share, and the few operations that keep them in step: a page's
 * version, its chain, and the counts in boxcar rows and segments.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { crc32c } from '#core/bytes/crc32c.js';
import { putU64, getU64 } from '#core/bytes/le.js';
import { PAGE_BYTES } from '#core/ids.js';
import { FLAG_FORMAT, RecordReader } from '#core/redo/record.js';
import { BOXCAR_HEADER_BYTES } from '#core/redo/boxcar.js';
import type { World } from '#core/world/world.js';
import { BlockStore } from '../blocks/block-store.js';
import { FrameKind } from '../journal/frame.js';
import { Journal } from '../journal/journal.js';
import { ChainPool, NO_RECORD, RECORD_FORMAT, recordCrc } from '../page-log/chain-pool.js';
import { NO_ID, PAGE_BAD, PAGE_RIPE, PageIndex } from '../page-log/page-index.js';
import { NO_SLOT, PageSlots } from '../page-log/page-slots.js';
import { BoxcarTable } from './boxcar-table.js';
import { RipeQueue } from '../coalesce/ripe-queue.js';
import { SegmentTable, type StoredSegment } from './segment-table.js';

export interface StoreOptions {
  /** Size of a journal file. */
  readonly journalFileBytes?: number;
  /** Past this the oldest files are drained and freed. */
  readonly journalBytesMax?: number;
  /** Budget of the chain index. */
  readonly indexBytesMax?: number;
  /** A page is folded once its chain is that long (rule 21). */
  readonly ripeBytes?: number;
  /** Pages in one fold job at most. */
  readonly batchPages?: number;
  /** Least time between two pieces of scrubbing. */
  readonly scrubIntervalMs?: number;
}

export const STORE_DEFAULTS: Required<StoreOptions> = {
  journalFileBytes: 64 * 1024 * 1024,
  journalBytesMax: 256 * 1024 * 1024,
  indexBytesMax: 64 * 1024 * 1024,
  ripeBytes: 2048,
  batchPages: 128,
  scrubIntervalMs: 1000,
};

/** State keys of the store's own; callers' keys do not begin like this. */
const OWN_STATE = '~segment/';
const RECORD_BYTES = 65536;

export class StoreCore {
  readonly world: World;
  readonly folder: string;
  readonly options: Required<StoreOptions>;
  readonly journal: Journal;
  /** Tagged registers share the journal. */
  readonly blocks: BlockStore;
  readonly slots: PageSlots;
  readonly index = new PageIndex();
  readonly chains = new ChainPool();
  readonly rows = new BoxcarTable();
  readonly segments = new SegmentTable();
  readonly ripe = new RipeQueue();
  readonly states = new Map<string, Uint8Array>();
  readonly reader = new RecordReader();
  /** Scratch for one record. */
  readonly record = new Uint8Array(RECORD_BYTES);
  /** Slots that no index names once what is queued is durable. */
  limbo: number[] = [];
  /** Journal files with PAGES frames: they go only when an index snapshot behind them is in force. */
  readonly pagesFiles = new Set<number>();
  /** Ids of pages that wait for repair: those with PAGE_BAD. */
  readonly bad = new Set<number>();
  /** A fold job reads slots: none may be reused. */
  jobs = 0;
  /** Images were written by `putPage` and not synced. */
  imagesUnsynced = false;
  foldedPages = 0;

  constructor(world: World, folder: string, options: StoreOptions) {
    this.world = world;
    this.folder = folder;
    this.options = { ...STORE_DEFAULTS, ...options };
    const { disk } = world;
    const pages = `${folder}/pages`;
    const journal = `${folder}/journal`;
    // Names become durable from the top down: a folder's entries count only when its own name does.
    const parent = folder.lastIndexOf('/');
    if (!disk.exists(folder)) {
      disk.makeFolder(folder);
      disk.syncFolder(parent > 0 ? folder.slice(0, parent) : parent === 0 ? '/' : '.');
    }
    if (!disk.exists(pages)) disk.makeFolder(pages);
    if (!disk.exists(journal)) disk.makeFolder(journal);
    disk.syncFolder(folder);
    this.slots = new PageSlots(disk.open(`${pages}/pages.data`, { create: true }));
    disk.syncFolder(pages);
    const run = world.random.u32();
    this.journal = new Journal(disk, journal, this.options.journalFileBytes, run);
    this.blocks = new BlockStore(world, folder, this.journal);
    this.journal.onRotate = () => {
      for (const [key, value] of this.states) this.appendState(key, value);
    };
  }

  /** Journals a state key; an empty value deletes it. */
  appendState(key: string, value: Uint8Array): void {
    const body = new Uint8Array(1 + key.length + value.length);
    body[0] = key.length;
    for (let i = 0; i < key.length; i++) body[1 + i] = key.charCodeAt(i);
    body.set(value, 1 + key.length);
    this.journal.append(FrameKind.state, 0, body);
  }

  /** Journals page index entries (page-entry), after their images were synced or will be by the commit. */
  appendPages(entries: Uint8Array): void {
    this.journal.append(FrameKind.pages, 0, entries);
    this.pagesFiles.add(this.journal.currentSeq);
  }

  setState(key: string, value: Uint8Array): void {
    // In this order: should the append turn to a new file, the snapshot there is followed by the change.
    this.appendState(key, value);
    if (value.length === 0) this.states.delete(key);
    else this.states.set(key, value);
  }

  /** Journals a segment's floors. */
  saveFloors(segment: StoredSegment): void {
    const value = new Uint8Array(16);
    const view = new DataView(value.buffer);
    putU64(view, 0, segment.floor);
    putU64(view, 8, segment.logFloor);
    const gone = segment.floor === 0 && segment.logFloor === 0;
    this.setState(OWN_STATE + segment.key, gone ? value.subarray(0, 0) : value);
  }

  static isOwnState(key: string): boolean {
    return key.startsWith('~');
  }

  loadFloors(): void {
    for (const [key, value] of this.states) {
      if (!key.startsWith(OWN_STATE) || value.length !== 16) continue;
      const segment = this.segments.get(Number(key.slice(OWN_STATE.length)));
      const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
      segment.floor = getU64(view, 0);
      segment.logFloor = getU64(view, 8);
      segment.admitted = segment.floor;
    }
  }

  /** The id of a page, made when it is new. */
  pageId(segment: StoredSegment, pageNo: number): number {
    let id = segment.pages.get(pageNo);
    if (id === NO_ID) {
      id = this.index.add(segment.index, pageNo);
      segment.pages.set(pageNo, id);
    }
    return id;
  }

  /** A page's folded version is now this one; its chain up to there is done. The old slot goes to limbo. */
  setVersion(
    segment: StoredSegment,
    pageNo: number,
    slot: number,
    lsn: number,
    crc: number,
  ): number {
    const id = this.pageId(segment, pageNo);
    const index = this.index;
    if (index.slot[id] !== NO_SLOT) this.limbo.push(index.slot[id]);
    index.slot[id] = slot;
    index.lsn[id] = lsn;
    index.crc[id] = crc;
    index.flags[id] &= ~PAGE_BAD;
    if (this.bad.size > 0) this.bad.delete(id);
    this.dropChain(segment, id, lsn);
    return id;
  }

  /** Frees the chain's records at or below `lsn`. */
  dropChain(segment: StoredSegment, id: number, lsn: number): void {
    const { index, chains } = this;
    let record = index.head[id];
    while (record !== NO_RECORD && chains.lsn[record] <= lsn) {
      const next = chains.next[record];
      this.#dropRecord(segment, id, record);
      record = next;
    }
    index.head[id] = record;
    if (record === NO_RECORD) index.tail[id] = NO_RECORD;
  }

  /** Frees the chain's records above `lsn`; a page without version and chain is gone. */
  cutChain(segment: StoredSegment, id: number, lsn: number): void {
    const { index, chains } = this;
    let last = NO_RECORD;
    let record = index.head[id];
    while (record !== NO_RECORD && chains.lsn[record] <= lsn) {
      last = record;
      record = chains.next[record];
    }
    if (last === NO_RECORD) index.head[id] = NO_RECORD;
    else chains.next[last] = NO_RECORD;
    index.tail[id] = last;
    while (record !== NO_RECORD) {
      const next = chains.next[record];
      this.#dropRecord(segment, id, record);
      record = next;
    }
    if (last === NO_RECORD && index.slot[id] === NO_SLOT) this.removePage(segment, id);
  }

  /** Forgets a page whole. */
  removePage(segment: StoredSegment, id: number): void {
    this.dropChain(segment, id, Number.POSITIVE_INFINITY);
    if (this.index.slot[id] !== NO_SLOT) this.limbo.push(this.index.slot[id]);
    this.bad.delete(id);
    segment.pages.set(this.index.pageNo[id], NO_ID);
    this.index.remove(id);
  }

  #dropRecord(segment: StoredSegment, id: number, record: number): void {
    const { chains } = this;
    this.rows.unfolded[chains.row[record]]--;
    this.index.chainBytes[id] -= chains.length[record];
    segment.unfolded--;
    chains.remove(record);
  }

  /** Indexes the records of a boxcar at or below `upTo` that no page has yet. */
  indexRecords(segment: StoredSegment, row: number, boxcar: Uint8Array, upTo: number): void {
    const { reader, index, chains, rows } = this;
    const ripeBytes = this.options.ripeBytes;
    reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, rows.firstLsn[row]);
    while (reader.next()) {
      const lsn = reader.lsn;
      if (lsn > upTo) break;
      const id = this.pageId(segment, reader.pageNo);
      const tail = index.tail[id];
      if (lsn <= index.lsn[id] || (tail !== NO_RECORD && lsn <= chains.lsn[tail])) continue;
      const length = reader.end - reader.start;
      const flags = (reader.flags & FLAG_FORMAT) === 0 ? 0 : RECORD_FORMAT;
      const crc = recordCrc(boxcar, reader.start, reader.end);
      const record = chains.add(lsn, row, reader.start, length, crc, flags);
      if (tail === NO_RECORD) index.head[id] = record;
      else chains.next[tail] = record;
      index.tail[id] = record;
      index.chainBytes[id] += length;
      rows.unfolded[row]++;
      segment.unfolded++;
      if (index.chainBytes[id] >= ripeBytes && (index.flags[id] & PAGE_RIPE) === 0) {
        index.flags[id] |= PAGE_RIPE;
        this.ripe.push(id);
      }
    }
  }

  /**
   * Reads one chain record of page `id` into `record` and makes it the reader's current one. Throws CORRUPTION, and
   * the page is known as bad.
   */
  loadRecord(record: number, id: number): void {
    const { chains, rows, reader } = this;
    const row = chains.row[record];
    const length = chains.length[record];
    const location = rows.file[row] * 2 ** 32 + rows.offset[row] + chains.offset[record];
    this.journal.read(location, length, this.record, 0);
    if (recordCrc(this.record, 0, length) !== chains.crc[record]) {
      this.markBad(id);
      throw new SextantError('CORRUPTION', `record ${chains.lsn[record]} fails its checksum`);
    }
    reader.at(this.record, 0, length, chains.lsn[record]);
  }

  /** The bytes of a row's boxcar, as journaled. Throws CORRUPTION. */
  loadBoxcar(row: number): Uint8Array {
    const bytes = new Uint8Array(this.rows.bytes[row]);
    const location = this.rows.file[row] * 2 ** 32 + this.rows.offset[row];
    this.journal.read(location, bytes.length, bytes, 0);
    return bytes;
  }

  /** Loads the folded version of a page and checks it. Throws CORRUPTION, and the page is known as bad. */
  loadVersion(id: number, target: Uint8Array, base: number): void {
    const { index } = this;
    const pageNo = index.pageNo[id];
    if ((index.flags[id] & PAGE_BAD) !== 0) {
      throw new SextantError('CORRUPTION', `page ${pageNo} waits for repair`);
    }
    this.slots.read(index.slot[id], target, base);
    if (crc32c(target.subarray(base, base + PAGE_BYTES)) !== index.crc[id]) {
      this.markBad(id);
      throw new SextantError('CORRUPTION', `page ${pageNo} fails its checksum`);
    }
  }

  markBad(id: number): void {
    this.index.flags[id] |= PAGE_BAD;
    this.bad.add(id);
  }

  /** What is queued became durable: slots that it let go may be written again, unless a job reads them. */
  releaseLimbo(): void {
    if (this.limbo.length === 0 || this.jobs > 0) return;
    assert(!this.journal.dirty, 'limbo is released behind a commit');
    for (const slot of this.limbo) this.slots.free(slot);
    this.limbo = [];
  }
}
