/**
 * The files of an index on disk: a fuzzy snapshot, written in pieces, and behind it the journal. What is in a piece is the
 * index's own (page-log/index-snapshot, blocks/index-snapshot).
 *
 * ```
 *   FOLDER/index-0000002a      header, pieces; the highest number counts
 *   FOLDER/index.new           one that is being written
 *
 *   header   0 u32 magic  4 u32 version = 1  8 u32 journal file  12 u32 offset in it  16 u32 crc32c(0..16)  20 u32 0
 * ```
 */
import { crc32c } from '#core/bytes/crc32c.js';
import { SextantError } from '#core/errors.js';
import type { Disk, DiskFile } from '#core/world/world.js';

const VERSION = 1;
export const SNAPSHOT_HEADER_BYTES = 24;
const TEMPORARY = 'index.new';

function nameOf(number: number): string {
  return `index-${number.toString(16).padStart(8, '0')}`;
}

export function badSnapshot(file: DiskFile, what: string): SextantError {
  return new SextantError('CORRUPTION', `${file.path}: ${what}`);
}

interface Writing {
  readonly file: DiskFile;
  readonly fileSeq: number;
  readonly offset: number;
  at: number;
}

export class SnapshotFiles {
  /** Journal position of the newest snapshot; 0 0: none, the journal has it all. */
  fileSeq = 0;
  offset = 0;
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #magic: number;
  #number = 0;
  #writing: Writing | undefined;

  constructor(disk: Disk, folder: string, magic: number) {
    this.#disk = disk;
    this.#folder = folder;
    this.#magic = magic;
  }

  get active(): boolean {
    return this.#writing !== undefined;
  }

  /** Shows the newest snapshot, whose header is good, to `read`, with the position that it names. Throws CORRUPTION. */
  protected readNewest(read: (file: DiskFile, fileSeq: number, offset: number) => void): void {
    for (const name of this.#disk.list(this.#folder)) {
      const match = /^index-([0-9a-f]{8})$/.exec(name);
      if (match !== null) this.#number = Math.max(this.#number, Number.parseInt(match[1], 16));
    }
    if (this.#number === 0) return;
    const file = this.#disk.open(`${this.#folder}/${nameOf(this.#number)}`);
    try {
      const header = new Uint8Array(SNAPSHOT_HEADER_BYTES);
      const view = new DataView(header.buffer);
      if (file.read(header, 0, header.length, 0) !== header.length) {
        throw badSnapshot(file, 'no header');
      }
      const crc = crc32c(header.subarray(0, 16));
      if (view.getUint32(0, true) !== this.#magic || view.getUint32(16, true) !== crc) {
        throw badSnapshot(file, 'bad header');
      }
      if (view.getUint32(4, true) !== VERSION) throw badSnapshot(file, 'unknown version');
      read(file, view.getUint32(8, true), view.getUint32(12, true));
    } finally {
      file.close();
    }
  }

  /** Starts a snapshot as of a journal position up to which everything is durable. */
  begin(fileSeq: number, offset: number): void {
    const file = this.#disk.open(`${this.#folder}/${TEMPORARY}`, { create: true });
    file.truncate(0);
    const header = new Uint8Array(SNAPSHOT_HEADER_BYTES);
    const view = new DataView(header.buffer);
    view.setUint32(0, this.#magic, true);
    view.setUint32(4, VERSION, true);
    view.setUint32(8, fileSeq, true);
    view.setUint32(12, offset, true);
    view.setUint32(16, crc32c(header.subarray(0, 16)), true);
    this.#writing = { file, fileSeq, offset, at: header.length };
    file.write(header, 0, header.length, 0);
  }

  /** Writes and syncs a piece; the last one puts the snapshot in force. Call only while `active`. */
  protected append(bytes: Uint8Array, length: number, last: boolean): void {
    const writing = this.#writing;
    if (writing === undefined) return;
    writing.file.write(bytes, 0, length, writing.at);
    writing.file.sync();
    writing.at += length;
    if (last) this.#finish(writing);
  }

  /** Gives up a snapshot that could not be written. */
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
    this.fileSeq = writing.fileSeq;
    this.offset = writing.offset;
    const old = `${this.#folder}/${nameOf(this.#number)}`;
    this.#number = number;
    if (this.#disk.exists(old)) this.#disk.remove(old);
  }
}
