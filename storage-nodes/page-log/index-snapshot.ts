/**
 * The page index on disk: a snapshot, and behind it the PAGES frames of the journal.
 *
 * ```
 *   pages/index-0000002a       header, blocks, end
 *
 *   header   journal/snapshot-files, magic 'SXI1'
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
import type { Disk, DiskFile } from '#core/world/world.js';
import { SNAPSHOT_HEADER_BYTES, SnapshotFiles, badSnapshot } from '../journal/snapshot-files.js';
import { NO_SLOT } from './page-slots.js';
import { PAGE_ENTRY_BYTES, readPageEntry, writePageEntry, type PageEntry } from './page-entry.js';
import type { PageIndex } from './page-index.js';

const MAGIC = 0x3149_5853;
const PIECE_ENTRIES = 8192;

export class IndexSnapshots extends SnapshotFiles {
  /** Of the snapshot that is being written. */
  #nextId = 1;
  #total = 0;

  constructor(disk: Disk, folder: string) {
    super(disk, folder, MAGIC);
  }

  /** Reads the newest snapshot. Throws CORRUPTION when it is damaged. */
  load(visit: (entry: PageEntry) => void): void {
    this.readNewest((file, fileSeq, offset) => {
      this.fileSeq = fileSeq;
      this.offset = offset;
      readBlocks(file, visit);
    });
  }

  override begin(fileSeq: number, offset: number): void {
    this.#nextId = 1;
    this.#total = 0;
    super.begin(fileSeq, offset);
  }

  /** Writes and syncs one block; true when the snapshot is complete and in force. */
  piece(index: PageIndex, segmentKeyOf: (segmentIndex: number) => number): boolean {
    if (!this.active) return true;
    const bytes = new Uint8Array(8 + PIECE_ENTRIES * PAGE_ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    let count = 0;
    let at = 8;
    for (; this.#nextId < index.idEnd && count < PIECE_ENTRIES; this.#nextId++) {
      const id = this.#nextId;
      if (!index.has(id) || index.slot[id] === NO_SLOT) continue;
      const segment = segmentKeyOf(index.segmentOf(id));
      const { pageNo, slot, lsn, crc } = index;
      writePageEntry(view, at, segment, pageNo[id], slot[id], lsn[id], crc[id]);
      at += PAGE_ENTRY_BYTES;
      count++;
    }
    view.setUint32(0, count, true);
    view.setUint32(4, count === 0 ? this.#total : crc32c(bytes.subarray(8, at)), true);
    this.append(bytes, at, count === 0);
    this.#total += count;
    return count === 0;
  }
}

function readBlocks(file: DiskFile, visit: (entry: PageEntry) => void): void {
  const bytes = new Uint8Array(PIECE_ENTRIES * PAGE_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  const entry: PageEntry = { segment: 0, pageNo: 0, slot: 0, lsn: 0, crc: 0 };
  let at = SNAPSHOT_HEADER_BYTES;
  for (let total = 0; ;) {
    if (file.read(bytes, 0, 8, at) !== 8) throw badSnapshot(file, 'cut short');
    const count = view.getUint32(0, true);
    const check = view.getUint32(4, true);
    if (count === 0) {
      if (check !== total) throw badSnapshot(file, 'entries are missing');
      return;
    }
    const length = count * PAGE_ENTRY_BYTES;
    if (count > PIECE_ENTRIES || file.read(bytes, 0, length, at + 8) !== length) {
      throw badSnapshot(file, 'cut short');
    }
    if (crc32c(bytes.subarray(0, length)) !== check) throw badSnapshot(file, `bad block at ${at}`);
    for (let i = 0; i < count; i++) {
      readPageEntry(view, i * PAGE_ENTRY_BYTES, entry);
      visit(entry);
    }
    total += count;
    at += 8 + length;
  }
}
