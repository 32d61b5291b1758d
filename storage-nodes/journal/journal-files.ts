/**
 * The files of a journal: their names, and how they come and go.
 *
 * ```
 *   journal/00000007.journal   frames, oldest first by number; the highest may be prepared but unused
 *   journal/spare              one freed file, whole size, waiting to become the next one
 * ```
 *
 * A file is filled with zeros ahead of the tail, in pieces, so that the fdatasync of a commit has no file
 * size to journal; a recycled one needs none. A file bears its name, durably, before a commit goes into it.
 */
import { SextantError } from '#core/errors.js';
import type { Disk, DiskFile } from '#core/world/world.js';

const ZEROS = new Uint8Array(256 * 1024);
/** How far zeros run ahead of the tail when nothing else is to do. */
const AHEAD_BYTES = 8 * 1024 * 1024;

export interface JournalFile {
  readonly seq: number;
  readonly file: DiskFile;
  /** End of the durable frames. */
  end: number;
  /** Bytes that exist on disk: zeros or old content up to here. */
  allocatedBytes: number;
}

export class JournalFiles {
  readonly folder: string;
  readonly fileBytes: number;
  /** By sequence number, ascending. */
  readonly bySeq = new Map<number, JournalFile>();
  readonly #disk: Disk;
  #prepared: JournalFile | undefined;

  constructor(disk: Disk, folder: string, fileBytes: number) {
    this.#disk = disk;
    this.folder = folder;
    this.fileBytes = fileBytes;
    for (const name of disk.list(folder)) {
      const match = /^([0-9a-f]{8})\.journal$/.exec(name);
      if (match === null) continue;
      this.#adopt(Number.parseInt(match[1], 16));
    }
  }

  pathOf(seq: number): string {
    return `${this.folder}/${seq.toString(16).padStart(8, '0')}.journal`;
  }

  get bytes(): number {
    let sum = 0;
    for (const file of this.bySeq.values()) sum += file.allocatedBytes;
    return sum;
  }

  /** The file to write next: made ready now if `prepare` has not done so. Throws DISK_FULL. */
  take(seq: number): JournalFile {
    let file = this.bySeq.get(seq);
    if (file === undefined) {
      if (this.#prepared?.seq !== seq) this.#create(seq);
      file = this.#prepared;
      if (file === undefined) throw new SextantError('INTERNAL', 'no journal file was prepared');
      this.#prepared = undefined;
      this.bySeq.set(seq, file);
    }
    if (file.allocatedBytes === 0)
      this.#zeroPiece(file, Math.min(this.fileBytes, 4 * ZEROS.length));
    return file;
  }

  /** Number of the file that is ready to be taken; 0: none. */
  get preparedSeq(): number {
    return this.#prepared?.seq ?? 0;
  }

  /** A file that replay found unused is the next one to take. */
  setAsidePrepared(seq: number): void {
    this.#prepared = this.bySeq.get(seq);
    this.bySeq.delete(seq);
  }

  /**
   * One bounded piece of getting room ready: ahead of the tail of the current file, then the next file once
   * the current one is half full. False when there is nothing to do. Throws DISK_FULL.
   */
  prepare(currentSeq: number, tail: number): boolean {
    const current = this.bySeq.get(currentSeq);
    if (current !== undefined && current.allocatedBytes < this.fileBytes) {
      if (current.allocatedBytes < tail + AHEAD_BYTES) {
        this.#zeroPiece(current, ZEROS.length);
        return true;
      }
    }
    if (tail < this.fileBytes / 2) return false;
    if (this.#prepared === undefined) {
      this.#create(currentSeq + 1);
      return true;
    }
    const next = this.#prepared;
    if (next.allocatedBytes >= Math.min(this.fileBytes, AHEAD_BYTES)) return false;
    this.#zeroPiece(next, ZEROS.length);
    return true;
  }

  /** Gives a file up: it becomes the spare, or goes. */
  free(seq: number): void {
    const file = this.bySeq.get(seq);
    if (file === undefined) return;
    this.bySeq.delete(seq);
    const spare = `${this.folder}/spare`;
    const whole = file.allocatedBytes >= this.fileBytes && file.allocatedBytes < 2 * this.fileBytes;
    file.file.close();
    if (whole && !this.#disk.exists(spare)) this.#disk.rename(this.pathOf(seq), spare);
    else this.#disk.remove(this.pathOf(seq));
    this.#disk.syncFolder(this.folder);
  }

  close(): void {
    for (const file of this.bySeq.values()) file.file.close();
    this.#prepared?.file.close();
  }

  #adopt(seq: number): void {
    const file = this.#disk.open(this.pathOf(seq));
    const allocatedBytes = file.size();
    this.bySeq.set(seq, { seq, file, end: 0, allocatedBytes });
  }

  #create(seq: number): void {
    const path = this.pathOf(seq);
    const spare = `${this.folder}/spare`;
    if (this.#disk.exists(spare)) this.#disk.rename(spare, path);
    const file = this.#disk.open(path, { create: true });
    this.#disk.syncFolder(this.folder);
    this.#prepared = { seq, file, end: 0, allocatedBytes: file.size() };
  }

  #zeroPiece(file: JournalFile, bytes: number): void {
    let left = Math.min(bytes, this.fileBytes - file.allocatedBytes);
    while (left > 0) {
      const length = Math.min(left, ZEROS.length);
      file.file.write(ZEROS, 0, length, file.allocatedBytes);
      file.allocatedBytes += length;
      left -= length;
    }
    file.file.sync();
  }
}
