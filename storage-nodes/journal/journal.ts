/**
 * The journal of a node: everything that must be durable before it is answered. One write and one
 * fdatasync a commit.
 *
 * ```
 *   append -> append -> append          frames gather in one buffer; each knows where it will lie
 *                          commit()     write(buffer), fdatasync
 *
 *   a frame does not fit any more:      the gathered bytes are cut there; the next file begins with
 *                                       FILE, every state key, SNAPSHOT_END, and then the frame
 *   commit() with a cut in it:          write + sync the old file, only then write + sync the new one
 * ```
 *
 * * A commit that throws DISK_FULL acknowledged nothing and keeps what was gathered; the next one writes
 *   the same bytes to the same offset.
 * * After a failed sync (or any I/O error but DISK_FULL) nobody knows what the disk holds: every later
 *   commit throws DISK_FAILED (LOG-2, rule 19).
 */
import { assert } from '#core/assert.js';
import { isSextantError, SextantError } from '#core/errors.js';
import type { Disk, DiskFile } from '#core/world/world.js';
import {
  FRAME_HEADER_BYTES,
  frameBytes,
  FrameKind,
  JOURNAL_VERSION,
  sealFrame,
  type FramePlace,
} from './frame.js';
import { FrameScanner, type FrameVisitor } from './frame-scanner.js';
import { JournalFiles } from './journal-files.js';

const TWO_32 = 0x1_0000_0000;
const EMPTY = new Uint8Array(0);
/** A gather buffer that grew past this is given back after the commit. */
const GATHER_KEEP_BYTES = 4 * 1024 * 1024;
const REWRITE_BYTES = 1024 * 1024;

/** `file sequence number * 2^32 + offset of the body`. */
export function locationOf(fileSeq: number, offset: number): number {
  return fileSeq * TWO_32 + offset;
}
export function fileOf(location: number): number {
  return Math.floor(location / TWO_32);
}
export function offsetOf(location: number): number {
  return location % TWO_32;
}

/** Gathered bytes [start, end) go to one file at `fileOffset`. */
interface Chunk {
  seq: number;
  fileOffset: number;
  start: number;
  end: number;
}

export class Journal {
  readonly files: JournalFiles;
  syncCount = 0;
  writtenBytes = 0;
  /** Set by the owner: appends every state key to the new file by `append`. */
  onRotate: () => void = () => {};

  #gather = new Uint8Array(256 * 1024);
  #view = new DataView(this.#gather.buffer);
  #used = 0;
  readonly #chunks: Chunk[] = [];
  readonly #place: FramePlace = { fileSeq: 0, offset: 0, syncedOffset: 0, previousCrc: 0, run: 1 };
  /** Offset in the current file behind its snapshot: a frame always fits into a file that is empty so far. */
  #dataStart = 0;
  #rotating = false;
  #failed: Error | undefined;

  constructor(disk: Disk, folder: string, fileBytes: number, run: number) {
    assert(fileBytes >= 4096 && fileBytes < 2 ** 31, 'a journal file has 4 KiB to 2 GiB');
    this.files = new JournalFiles(disk, folder, fileBytes);
    this.#place.run = run;
  }

  get dirty(): boolean {
    return this.#used > 0;
  }
  /** The file that the next frame goes into, perhaps not on disk yet. */
  get currentSeq(): number {
    return this.#place.fileSeq;
  }
  /** Where the next frame will lie in it. */
  get tail(): number {
    return this.#place.offset;
  }
  get failed(): Error | undefined {
    return this.#failed;
  }

  /**
   * Reads every file once, oldest first, and sets the tail. Must be called before the first append.
   * `visit` gets each good frame, `damage` a sentence for each bad range that was synced.
   */
  replay(visit: FrameVisitor, damage: (description: string) => void): void {
    const scanner = new FrameScanner();
    const seqs = this.#usedFiles(scanner, damage);
    let syncedOffset = 0;
    const visitNoting = (frame: FrameScanner): void => {
      syncedOffset = Math.max(syncedOffset, frame.syncedOffset);
      visit(frame);
    };
    for (let i = 0; i < seqs.length; i++) {
      const entry = this.files.bySeq.get(seqs[i].seq);
      if (entry === undefined) continue;
      scanner.open(entry.file, entry.seq);
      syncedOffset = 0;
      scanner.scan(seqs[i].namedEnd, visitNoting, (from, to) =>
        damage(`${entry.file.path}: bad frame in [${from}, ${to}), which was synced`),
      );
      entry.end = scanner.end;
    }
    const last = seqs.length === 0 ? undefined : this.files.bySeq.get(seqs[seqs.length - 1].seq);
    if (last === undefined) {
      this.#place.fileSeq = Math.max(0, this.files.preparedSeq - 1);
      this.#rotate();
      return;
    }
    this.#writeAgain(last.file, syncedOffset, last.end);
    this.#place.fileSeq = last.seq;
    this.#place.offset = last.end;
    this.#place.syncedOffset = last.end;
    this.#place.previousCrc = scanner.lastCrc;
    this.#dataStart = Math.min(last.end, FRAME_HEADER_BYTES);
  }

  /**
   * The last commit: a killed process may have left it unsynced, and after a failed sync it can be read and is
   * still not on the disk, whatever later syncs say. Written anew and synced it counts, from here on.
   */
  #writeAgain(file: DiskFile, start: number, end: number): void {
    const bytes = new Uint8Array(Math.min(end - start, REWRITE_BYTES));
    for (let at = start; at < end; at += bytes.length) {
      const length = file.read(bytes, 0, Math.min(bytes.length, end - at), at);
      file.write(bytes, 0, length, at);
    }
    file.sync();
  }

  /** The run of files that were written to, with where each ended according to the next. */
  #usedFiles(
    scanner: FrameScanner,
    damage: (description: string) => void,
  ): { seq: number; namedEnd: number }[] {
    const used: { seq: number; namedEnd: number }[] = [];
    const all = [...this.files.bySeq.keys()];
    for (let i = 0; i < all.length; i++) {
      const entry = this.files.bySeq.get(all[i]);
      if (entry === undefined) continue;
      scanner.open(entry.file, entry.seq);
      const header = this.#readFileFrame(scanner);
      if (i === all.length - 1 && !this.#began(scanner)) {
        this.files.setAsidePrepared(entry.seq);
        continue;
      }
      const previous = used[used.length - 1];
      if (previous !== undefined) {
        if (header !== undefined && header.previousSeq === previous.seq) {
          previous.namedEnd = header.previousEnd;
        }
        if (entry.seq !== previous.seq + 1) {
          damage(`${this.files.folder}: no file between ${previous.seq} and ${entry.seq}`);
        }
      }
      used.push({ seq: entry.seq, namedEnd: -1 });
    }
    return used;
  }

  #readFileFrame(scanner: FrameScanner): { previousSeq: number; previousEnd: number } | undefined {
    if (!scanner.load(0) || scanner.kind !== FrameKind.file || scanner.bodyBytes < 16) return;
    const body = scanner.body();
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const version = view.getUint32(0, true);
    if (version !== JOURNAL_VERSION) {
      throw new SextantError('FOLDER_FOREIGN', `journal version ${version} is not known`);
    }
    return { previousSeq: view.getUint32(4, true), previousEnd: view.getUint32(8, true) };
  }

  /**
   * Was the newest file taken into use? Its first commit holds the whole snapshot: without an end of it
   * that commit was torn, unless a later frame names it as synced (then it is damage, for the scan to tell).
   */
  #began(scanner: FrameScanner): boolean {
    let ended = false;
    let named = false;
    scanner.scan(
      -1,
      (frame) => {
        if (frame.kind === FrameKind.snapshotEnd) ended = true;
        if (frame.syncedOffset > 0) named = true;
      },
      () => {
        named = true;
      },
    );
    return ended || named;
  }

  /**
   * Queues a frame with `body[start, end)`; the bytes are copied. Returns the location of its body.
   * `lsn` is for the kinds that carry one.
   */
  append(
    kind: FrameKind,
    segment: number,
    body: Uint8Array = EMPTY,
    start = 0,
    end = body.length,
    lsn = 0,
  ): number {
    const bytes = frameBytes(end - start);
    const place = this.#place;
    if (
      !this.#rotating &&
      place.offset + bytes > this.files.fileBytes &&
      place.offset > this.#dataStart
    ) {
      this.#rotate();
    }
    if (this.#chunks.length === 0) this.#cut();
    this.#reserve(bytes);
    const at = this.#used;
    // Hot: copying a few hundred bytes by `set` costs about 60 ns, nearly all of it for the view.
    if (end > start) this.#gather.set(body.subarray(start, end), at + FRAME_HEADER_BYTES);
    place.previousCrc = sealFrame(
      this.#gather,
      this.#view,
      at,
      kind,
      end - start,
      place,
      segment,
      lsn,
    );
    const location = place.fileSeq * TWO_32 + place.offset + FRAME_HEADER_BYTES;
    place.offset += bytes;
    this.#used = at + bytes;
    this.#chunks[this.#chunks.length - 1].end = this.#used;
    return location;
  }

  /** Writes and syncs what was gathered. Throws DISK_FULL (try again) or DISK_FAILED (over). */
  commit(): void {
    if (this.#failed !== undefined) throw this.#poisoned();
    if (this.#used === 0) return;
    try {
      while (this.#chunks.length > 0) {
        this.#writeChunk(this.#chunks[0]);
        this.#chunks.shift();
      }
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    }
    this.#place.syncedOffset = this.#place.offset;
    this.#used = 0;
    if (this.#gather.length > GATHER_KEEP_BYTES) {
      this.#gather = new Uint8Array(GATHER_KEEP_BYTES);
      this.#view = new DataView(this.#gather.buffer);
    }
  }

  #writeChunk(chunk: Chunk): void {
    const target = this.files.take(chunk.seq);
    const length = chunk.end - chunk.start;
    target.file.write(this.#gather, chunk.start, length, chunk.fileOffset);
    target.file.sync();
    this.syncCount++;
    this.writtenBytes += length;
    target.end = chunk.fileOffset + length;
    if (target.end > target.allocatedBytes) target.allocatedBytes = target.end;
  }

  /** Room ahead of need; see JournalFiles.prepare. False: nothing to do. */
  prepare(): boolean {
    if (this.#failed !== undefined) return false;
    try {
      return this.files.prepare(this.#place.fileSeq, this.#place.offset);
    } catch (error) {
      this.#noteFailure(error);
      throw error;
    }
  }

  /** For whoever met a failed sync of another file of the folder: nothing is durable any more. */
  fail(error: Error): void {
    this.#failed ??= error;
  }

  /** Reads part of a body that was appended, durable or still gathered. Throws CORRUPTION when it is short. */
  read(location: number, length: number, target: Uint8Array, offset: number): void {
    const seq = fileOf(location);
    const position = offsetOf(location);
    for (let i = 0; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i];
      if (chunk.seq !== seq || position < chunk.fileOffset) continue;
      const at = chunk.start + position - chunk.fileOffset;
      if (at + length <= chunk.end) {
        target.set(this.#gather.subarray(at, at + length), offset);
        return;
      }
    }
    const file = this.fileFor(seq);
    if (file.read(target, offset, length, position) !== length) {
      throw new SextantError('CORRUPTION', `${file.path} is short at ${position}`);
    }
  }

  /** The open file with that number. */
  fileFor(seq: number): DiskFile {
    const entry = this.files.bySeq.get(seq);
    if (entry === undefined) throw new SextantError('CORRUPTION', `journal file ${seq} is gone`);
    return entry.file;
  }

  /** Is the byte before `offset` of file `seq` written and synced? */
  isDurable(seq: number, offset: number): boolean {
    const entry = this.files.bySeq.get(seq);
    return entry !== undefined && offset <= entry.end;
  }

  close(): void {
    this.files.close();
  }

  #rotate(): void {
    const place = this.#place;
    const previousSeq = place.fileSeq;
    const previousEnd = place.offset;
    place.fileSeq = previousSeq + 1;
    place.offset = 0;
    place.syncedOffset = 0;
    place.previousCrc = 0;
    this.#cut();
    const body = new Uint8Array(16);
    const view = new DataView(body.buffer);
    view.setUint32(0, JOURNAL_VERSION, true);
    view.setUint32(4, previousSeq, true);
    view.setUint32(8, previousEnd, true);
    this.#rotating = true;
    try {
      this.append(FrameKind.file, 0, body);
      this.onRotate();
      this.append(FrameKind.snapshotEnd, 0);
    } finally {
      this.#rotating = false;
    }
    this.#dataStart = place.offset;
  }

  #cut(): void {
    const { fileSeq, offset } = this.#place;
    this.#chunks.push({ seq: fileSeq, fileOffset: offset, start: this.#used, end: this.#used });
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#gather.length) return;
    const grown = new Uint8Array(Math.max(this.#gather.length * 2, this.#used + bytes));
    grown.set(this.#gather.subarray(0, this.#used));
    this.#gather = grown;
    this.#view = new DataView(grown.buffer);
  }

  #noteFailure(error: unknown): void {
    if (isSextantError(error, 'DISK_FULL')) return;
    this.#failed ??= error instanceof Error ? error : new Error(String(error));
  }

  #poisoned(): SextantError {
    const cause = this.#failed;
    return new SextantError('DISK_FAILED', 'an earlier write or sync failed', { cause });
  }
}
