/**
 * The page index on disk: a snapshot, and behind it the PAGES frames of the journal.
 *
 * ```
 *   pages/index-0000002a       header, blocks, end
 *
 *   header   0 u32 magic 'SXI1'  4 u32 version = 1  8 u32 journal file  12 u32 offset in it
 *            16 u32 crc32c(0..16)  20 u32 0
 *   block    0 u32 entry count (at least 1)  4 u32 crc32c of the entries  8 ... entries (page-entry)
 *   end      0 u32 0  4 u32 sum of the counts
 * ```
 *
 * A reader takes the highest number, checks header, every block and the end, then replays PAGES and DROP
 * frames from the named journal position on. The snapshot is fuzzy: pages fold while it is written, in
 * pieces, and an entry may be newer than the position. Replay sets every page that changed since the
 * position to its last durable version, so that what the snapshot said of it does not matter.
 */
import { crc32c } from '#core/bytes/crc32c.js';
import { SextantError } from '#core/errors.js';
import type { Disk, DiskFile } from '#core/world/world.js';
import { NO_SLOT } from './page-slots.js';
import { PAGE_ENTRY_BYTES, readPageEntry, writePageEntry, type PageEntry } from './page-entry.js';
import type { PageIndex } from './page-index.js';

const MAGIC = 0x3149_5853;
const VERSION = 1;
const HEADER_BYTES = 24;
const PIECE_ENTRIES = 8192;
const TEMPORARY = 'index.new';

function nameOf(number: number): string {
  return `index-${number.toString(16).padStart(8, '0')}`;
}

export class IndexSnapshots {
  /** Journal position of the newest snapshot; 0 0: none, the journal has it all. */
  fileSeq = 0;
  offset = 0;
  readonly #disk: Disk;
  readonly #folder: string;
  #number = 0;
  #writing: { file: DiskFile; at: number; nextId: number; total: number } | undefined;
  #writingSeq = 0;
  #writingOffset = 0;

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#folder = folder;
  }

  get active(): boolean {
    return this.#writing !== undefined;
  }

  /** Reads the newest snapshot. Throws CORRUPTION when it is damaged. */
  load(visit: (entry: PageEntry) => void): void {
    for (const name of this.#disk.list(this.#folder)) {
      const match = /^index-([0-9a-f]{8})$/.exec(name);
      if (match !== null) this.#number = Math.max(this.#number, Number.parseInt(match[1], 16));
    }
    if (this.#number === 0) return;
    const file = this.#disk.open(`${this.#folder}/${nameOf(this.#number)}`);
    try {
      this.#read(file, visit);
    } finally {
      file.close();
    }
  }

  #read(file: DiskFile, visit: (entry: PageEntry) => void): void {
    const bytes = new Uint8Array(PIECE_ENTRIES * PAGE_ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    const entry: PageEntry = { segment: 0, pageNo: 0, slot: 0, lsn: 0, crc: 0 };
    const bad = (what: string): SextantError =>
      new SextantError('CORRUPTION', `${file.path}: ${what}`);
    if (file.read(bytes, 0, HEADER_BYTES, 0) !== HEADER_BYTES) throw bad('no header');
    if (
      view.getUint32(0, true) !== MAGIC ||
      view.getUint32(16, true) !== crc32c(bytes.subarray(0, 16))
    ) {
      throw bad('bad header');
    }
    if (view.getUint32(4, true) !== VERSION) throw bad('unknown version');
    this.fileSeq = view.getUint32(8, true);
    this.offset = view.getUint32(12, true);
    let at = HEADER_BYTES;
    for (let total = 0; ;) {
      if (file.read(bytes, 0, 8, at) !== 8) throw bad('cut short');
      const count = view.getUint32(0, true);
      const check = view.getUint32(4, true);
      if (count === 0) {
        if (check !== total) throw bad('entries are missing');
        return;
      }
      const length = count * PAGE_ENTRY_BYTES;
      if (count > PIECE_ENTRIES || file.read(bytes, 0, length, at + 8) !== length) {
        throw bad('cut short');
      }
      if (crc32c(bytes.subarray(0, length)) !== check) throw bad(`bad block at ${at}`);
      for (let i = 0; i < count; i++) {
        readPageEntry(view, i * PAGE_ENTRY_BYTES, entry);
        visit(entry);
      }
      total += count;
      at += 8 + length;
    }
  }

  /** Starts a snapshot as of a journal position up to which everything is durable. */
  begin(fileSeq: number, offset: number): void {
    const file = this.#disk.open(`${this.#folder}/${TEMPORARY}`, { create: true });
    file.truncate(0);
    const header = new Uint8Array(HEADER_BYTES);
    const view = new DataView(header.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, VERSION, true);
    view.setUint32(8, fileSeq, true);
    view.setUint32(12, offset, true);
    view.setUint32(16, crc32c(header.subarray(0, 16)), true);
    this.#writingSeq = fileSeq;
    this.#writingOffset = offset;
    this.#writing = { file, at: HEADER_BYTES, nextId: 1, total: 0 };
    file.write(header, 0, HEADER_BYTES, 0);
  }

  /** Writes and syncs one block; true when the snapshot is complete and in force. */
  piece(index: PageIndex, segmentKeyOf: (segmentIndex: number) => number): boolean {
    const writing = this.#writing;
    if (writing === undefined) return true;
    const bytes = new Uint8Array(8 + PIECE_ENTRIES * PAGE_ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    let count = 0;
    let at = 8;
    for (; writing.nextId < index.idEnd && count < PIECE_ENTRIES; writing.nextId++) {
      const id = writing.nextId;
      if (!index.has(id) || index.slot[id] === NO_SLOT) continue;
      const segment = segmentKeyOf(index.segmentOf(id));
      const { pageNo, slot, lsn, crc } = index;
      writePageEntry(view, at, segment, pageNo[id], slot[id], lsn[id], crc[id]);
      at += PAGE_ENTRY_BYTES;
      count++;
    }
    view.setUint32(0, count, true);
    view.setUint32(4, count === 0 ? writing.total : crc32c(bytes.subarray(8, at)), true);
    writing.file.write(bytes, 0, at, writing.at);
    writing.file.sync();
    writing.at += at;
    writing.total += count;
    if (count > 0) return false;
    this.#finish(writing.file);
    return true;
  }

  /** Gives up a snapshot that could not be written. */
  abandon(): void {
    this.#writing?.file.close();
    this.#writing = undefined;
  }

  #finish(file: DiskFile): void {
    file.close();
    this.#writing = undefined;
    const number = this.#number + 1;
    this.#disk.rename(`${this.#folder}/${TEMPORARY}`, `${this.#folder}/${nameOf(number)}`);
    this.#disk.syncFolder(this.#folder);
    this.fileSeq = this.#writingSeq;
    this.offset = this.#writingOffset;
    const old = `${this.#folder}/${nameOf(this.#number)}`;
    this.#number = number;
    if (this.#disk.exists(old)) this.#disk.remove(old);
  }
}
