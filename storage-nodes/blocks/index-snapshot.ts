/**
 * The register index on disk: a snapshot, and behind it the BLOCKS frames of the journal.
 *
 * ```
 *   blocks/index-0000002a      header, blocks, end
 *
 *   header   0 u32 magic 'SXB1'  4 u32 version = 1  8 u32 journal file  12 u32 offset in it  16 u32 crc32c(0..16)  20 u32 0
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
import { SextantError } from '#core/errors.js';
import type { Disk, DiskFile } from '#core/world/world.js';
import type { Region } from '../protocol/block-geometry.js';
import { PLACE_BAD, PLACE_NONE, ROW_REGISTERS, type BlockIndex } from './block-index.js';

const MAGIC = 0x3142_5853;
const VERSION = 1;
const HEADER_BYTES = 24;
const BLOCK_BYTES = 16;
const ROW_BYTES = 24;
const ENTRY_BYTES = 32;
const PIECE_ROWS = 1024;
const TEMPORARY = 'index.new';

function nameOf(number: number): string {
  return `index-${number.toString(16).padStart(8, '0')}`;
}

interface Writing {
  readonly file: DiskFile;
  readonly seq: number;
  readonly offset: number;
  at: number;
  nextRow: number;
  total: number;
}

export class BlockIndexSnapshots {
  /** Journal position of the newest snapshot; 0 0: none, the journal has it all. */
  fileSeq = 0;
  offset = 0;
  readonly #disk: Disk;
  readonly #folder: string;
  #number = 0;
  #writing: Writing | undefined;

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#folder = folder;
  }

  get active(): boolean {
    return this.#writing !== undefined;
  }

  /** Fills `index` from the newest snapshot. Throws CORRUPTION when it is damaged. */
  load(index: BlockIndex): void {
    for (const name of this.#disk.list(this.#folder)) {
      const match = /^index-([0-9a-f]{8})$/.exec(name);
      if (match !== null) this.#number = Math.max(this.#number, Number.parseInt(match[1], 16));
    }
    if (this.#number === 0) return;
    const file = this.#disk.open(`${this.#folder}/${nameOf(this.#number)}`);
    try {
      this.#read(file, index);
    } finally {
      file.close();
    }
  }

  #read(file: DiskFile, index: BlockIndex): void {
    const bad = (what: string): SextantError =>
      new SextantError('CORRUPTION', `${file.path}: ${what}`);
    const header = new Uint8Array(HEADER_BYTES);
    const view = new DataView(header.buffer);
    if (file.read(header, 0, HEADER_BYTES, 0) !== HEADER_BYTES) throw bad('no header');
    const crc = crc32c(header.subarray(0, 16));
    if (view.getUint32(0, true) !== MAGIC || view.getUint32(16, true) !== crc) {
      throw bad('bad header');
    }
    if (view.getUint32(4, true) !== VERSION) throw bad('unknown version');
    let at = HEADER_BYTES;
    for (let total = 0; ;) {
      if (file.read(header, 0, BLOCK_BYTES, at) !== BLOCK_BYTES) throw bad('cut short');
      const count = view.getUint32(0, true);
      const length = view.getUint32(4, true);
      const check = view.getUint32(8, true);
      if (count === 0) {
        if (length !== total) throw bad('rows are missing');
        break;
      }
      if (length > PIECE_ROWS * (ROW_BYTES + ROW_REGISTERS * ENTRY_BYTES)) throw bad('bad block');
      const body = new Uint8Array(length);
      if (file.read(body, 0, length, at + BLOCK_BYTES) !== length) throw bad('cut short');
      if (crc32c(body) !== check) throw bad(`bad block at ${at}`);
      readRows(new DataView(body.buffer), count, index);
      total += count;
      at += BLOCK_BYTES + length;
    }
    file.read(header, 0, HEADER_BYTES, 0);
    this.fileSeq = view.getUint32(8, true);
    this.offset = view.getUint32(12, true);
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
    this.#writing = { file, seq: fileSeq, offset, at: HEADER_BYTES, nextRow: 1, total: 0 };
    file.write(header, 0, HEADER_BYTES, 0);
  }

  /** Writes and syncs one block; true when the snapshot is complete and in force. */
  piece(index: BlockIndex): boolean {
    const writing = this.#writing;
    if (writing === undefined) return true;
    const bytes = new Uint8Array(
      BLOCK_BYTES + PIECE_ROWS * (ROW_BYTES + ROW_REGISTERS * ENTRY_BYTES),
    );
    const view = new DataView(bytes.buffer);
    let count = 0;
    let at = BLOCK_BYTES;
    for (; writing.nextRow < index.rowEnd && count < PIECE_ROWS; writing.nextRow++) {
      if (!index.isUsed(writing.nextRow)) continue;
      at = writeRow(view, at, index, writing.nextRow);
      count++;
    }
    view.setUint32(0, count, true);
    view.setUint32(4, count === 0 ? writing.total : at - BLOCK_BYTES, true);
    view.setUint32(8, count === 0 ? 0 : crc32c(bytes.subarray(BLOCK_BYTES, at)), true);
    writing.file.write(bytes, 0, at, writing.at);
    writing.file.sync();
    writing.at += at;
    writing.total += count;
    if (count > 0) return false;
    this.#finish(writing);
    return true;
  }

  abandon(): void {
    this.#writing?.file.close();
    this.#writing = undefined;
  }

  #finish(writing: Writing): void {
    writing.file.close();
    this.#writing = undefined;
    const number = this.#number + 1;
    this.#disk.rename(`${this.#folder}/${TEMPORARY}`, `${this.#folder}/${nameOf(number)}`);
    this.#disk.syncFolder(this.#folder);
    this.fileSeq = writing.seq;
    this.offset = writing.offset;
    const old = `${this.#folder}/${nameOf(this.#number)}`;
    this.#number = number;
    if (this.#disk.exists(old)) this.#disk.remove(old);
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
