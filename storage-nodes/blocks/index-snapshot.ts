/**
 * The register index on disk: a snapshot, and behind it the BLOCKS frames of the journal.
 *
 * ```
 *   blocks/index-0000002a      header, blocks, end
 *
 *   header   journal/snapshot-files, magic 'SXB1'
 *   block    0 u32 row count (at least 1)  4 u32 bytes  8 u32 crc32c of them  12 u32 0   then the rows
 *   row      0 u32 disk  4 u32 region  8 u32 epoch  12 u32 count  16 u64 group
 *            24 count times: u32 place in the row  u32 crc  f64 place  f64 clock  f64 token
 *   end      0 u32 0  4 u32 sum of the counts of rows  8 u32 0  12 u32 0
 * ```
 *
 * It is fuzzy: registers change while it is written, in pieces. Replay from the named position leads to the same end from
 * whatever it caught (block-frame).
 */
import { crc32c } from '#core/bytes/crc32c.js';
import type { Disk, DiskFile } from '#core/world/world.js';
import { SNAPSHOT_HEADER_BYTES, SnapshotFiles, badSnapshot } from '../journal/snapshot-files.js';
import type { Region } from '../protocol/block-geometry.js';
import { PLACE_BAD, PLACE_NONE, ROW_REGISTERS, type BlockIndex } from './block-index.js';

const MAGIC = 0x3142_5853;
const BLOCK_BYTES = 16;
const ROW_BYTES = 24;
const ENTRY_BYTES = 32;
const PIECE_ROWS = 1024;

export class BlockIndexSnapshots extends SnapshotFiles {
  /** Of the snapshot that is being written. */
  #nextRow = 1;
  #total = 0;

  constructor(disk: Disk, folder: string) {
    super(disk, folder, MAGIC);
  }

  /** Fills `index` from the newest snapshot. Throws CORRUPTION when it is damaged. */
  load(index: BlockIndex): void {
    this.readNewest((file, fileSeq, offset) => {
      readBlocks(file, index);
      this.fileSeq = fileSeq;
      this.offset = offset;
    });
  }

  override begin(fileSeq: number, offset: number): void {
    this.#nextRow = 1;
    this.#total = 0;
    super.begin(fileSeq, offset);
  }

  /** Writes and syncs one block; true when the snapshot is complete and in force. */
  piece(index: BlockIndex): boolean {
    if (!this.active) return true;
    const bytes = new Uint8Array(
      BLOCK_BYTES + PIECE_ROWS * (ROW_BYTES + ROW_REGISTERS * ENTRY_BYTES),
    );
    const view = new DataView(bytes.buffer);
    let count = 0;
    let at = BLOCK_BYTES;
    for (; this.#nextRow < index.rowEnd && count < PIECE_ROWS; this.#nextRow++) {
      if (!index.isUsed(this.#nextRow)) continue;
      at = writeRow(view, at, index, this.#nextRow);
      count++;
    }
    view.setUint32(0, count, true);
    view.setUint32(4, count === 0 ? this.#total : at - BLOCK_BYTES, true);
    view.setUint32(8, count === 0 ? 0 : crc32c(bytes.subarray(BLOCK_BYTES, at)), true);
    this.append(bytes, at, count === 0);
    this.#total += count;
    return count === 0;
  }
}

function readBlocks(file: DiskFile, index: BlockIndex): void {
  const header = new Uint8Array(BLOCK_BYTES);
  const view = new DataView(header.buffer);
  let at = SNAPSHOT_HEADER_BYTES;
  for (let total = 0; ;) {
    if (file.read(header, 0, BLOCK_BYTES, at) !== BLOCK_BYTES) throw badSnapshot(file, 'cut short');
    const count = view.getUint32(0, true);
    const length = view.getUint32(4, true);
    const check = view.getUint32(8, true);
    if (count === 0) {
      if (length !== total) throw badSnapshot(file, 'rows are missing');
      return;
    }
    if (length > PIECE_ROWS * (ROW_BYTES + ROW_REGISTERS * ENTRY_BYTES)) {
      throw badSnapshot(file, 'bad block');
    }
    const body = new Uint8Array(length);
    if (file.read(body, 0, length, at + BLOCK_BYTES) !== length) {
      throw badSnapshot(file, 'cut short');
    }
    if (crc32c(body) !== check) throw badSnapshot(file, `bad block at ${at}`);
    readRows(new DataView(body.buffer), count, index);
    total += count;
    at += BLOCK_BYTES + length;
  }
}

function writeRow(view: DataView, start: number, index: BlockIndex, row: number): number {
  view.setUint32(start, index.rowDisk[row], true);
  view.setUint32(start + 4, index.rowRegion[row], true);
  view.setUint32(start + 8, index.rowEpoch[row], true);
  view.setFloat64(start + 16, index.rowGroup[row], true);
  let at = start + ROW_BYTES;
  let count = 0;
  for (let i = 0; i < ROW_REGISTERS; i++) {
    const entry = row * ROW_REGISTERS + i;
    if (index.place[entry] === PLACE_NONE) continue;
    view.setUint32(at, i, true);
    view.setUint32(at + 4, index.crc[entry], true);
    view.setFloat64(at + 8, index.place[entry], true);
    view.setFloat64(at + 16, index.clock[entry], true);
    view.setFloat64(at + 24, index.token[entry], true);
    at += ENTRY_BYTES;
    count++;
  }
  view.setUint32(start + 12, count, true);
  return at;
}

function readRows(view: DataView, count: number, index: BlockIndex): void {
  let at = 0;
  for (let i = 0; i < count; i++) {
    const row = index.rowAt(
      view.getUint32(at, true),
      view.getUint32(at + 4, true) as Region,
      view.getFloat64(at + 16, true),
      view.getUint32(at + 8, true),
    );
    const entries = view.getUint32(at + 12, true);
    at += ROW_BYTES;
    for (let k = 0; k < entries; k++, at += ENTRY_BYTES) {
      const entry = row * ROW_REGISTERS + view.getUint32(at, true);
      const place = view.getFloat64(at + 8, true);
      index.crc[entry] = view.getUint32(at + 4, true);
      index.place[entry] = place === PLACE_NONE ? PLACE_BAD : place;
      index.clock[entry] = view.getFloat64(at + 16, true);
      index.token[entry] = view.getFloat64(at + 24, true);
    }
  }
}
