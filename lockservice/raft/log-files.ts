/**
 * The log on disk: files `00000001.log`, `00000002.log`, ..., each a row of frames from offset 0, little-endian, padded with
 * zeros to a multiple of 8.
 *
 *     0  u32  crc32c        of bytes 4 to 40 + bytes
 *     4  u32  bytes         length of the data
 *     8  u24  magic 'SXR', u8 kind    1-3: an entry (EntryKind); 16: head of a file; 17: a clean end;
 *                         18: head of a file before which nothing counts (a snapshot was installed)
 *    12  u32  file          number of the file
 *    16  u64  index         of the entry; head: of the last entry before this file
 *    24  u64  term          of the entry; head: the format's version, 1
 *    32  u32  previousCrc   of the frame before it in this file; 0 for the head
 *    36  u32  synced        everything below this offset was durable before the frame was written
 *    40  ...  data
 *
 * Nothing is ever written over: an entry whose index is not above the last one's replaces that one and all after it. Files go
 * whole, the oldest first, when a snapshot covers them.
 *
 * Reading: a frame is next when it is whole, its CRC fits and previousCrc names the frame before it. Where the last file's frames
 * end, the rest is a torn write, never answered, and is cut - unless some whole frame behind it says that the
 * place was durable. That, and a file that does not reach to where its successor begins, is CORRUPTION: entries that this
 * server has answered for are lost, and it must not vote on with a shorter log. (A flip in the very last write cannot be told
 * from a tear unless the server ended cleanly.)
 */
import { assert } from '#core/assert.js';
import { crc32c } from '#core/bytes/crc32c.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import type { DiskFile, World } from '#core/world/world.js';
import { COMMAND_BYTES_MAX, EntryKind, NO_BYTES, type Entry } from './entry.js';

export const LOG_VERSION = 1;
export const FRAME_HEAD_BYTES = 40;
const MAGIC = 0x52_5853;
const KIND_HEAD = 16;
const KIND_END = 17;
const KIND_ANEW = 18;
const ZEROS = new Uint8Array(256 * 1024);
const NAME = /^([0-9a-f]{8})\.log$/;

interface LogFile {
  readonly number: number;
  readonly file: DiskFile;
  /** Highest index of any entry in it. */
  highest: number;
}

interface Frame {
  readonly kind: number;
  readonly index: number;
  readonly term: number;
  readonly crc: number;
  readonly previousCrc: number;
  readonly synced: number;
  readonly data: Uint8Array;
  readonly end: number;
}

export class LogFiles {
  readonly #world: World;
  readonly #folder: string;
  readonly #fileBytes: number;
  /** Ascending; the last one is written to. */
  readonly #files: LogFile[] = [];
  #end = 0;
  #syncedEnd = 0;
  #previousCrc = 0;
  /** Bytes that exist in the last file: zeros behind `#end`. */
  #allocated = 0;
  #lastIndex = 0;
  #buffer = new Uint8Array(64 * 1024);

  constructor(world: World, folder: string, fileBytes: number) {
    this.#world = world;
    this.#folder = folder;
    this.#fileBytes = fileBytes;
  }

  /**
   * Every entry behind the snapshot `after` that the files hold, replaced ones gone; ready to append afterwards. `fresh`: the
   * folder is new and may have no file. Throws CORRUPTION.
   */
  recover(after: { readonly index: number; readonly term: number }, fresh: boolean): Entry[] {
    const numbers = this.#bornFiles();
    const log = new RecoveredLog(after.index);
    for (const [i, number] of numbers.entries()) {
      if (i > 0 && number !== numbers[i - 1] + 1) throw this.#bad(number, 0, 'a file is missing');
      this.#recoverFile(number, i === numbers.length - 1, log);
    }
    this.#lastIndex = after.index;
    if (numbers.length === 0) {
      if (!fresh) throw this.#bad(1, 0, 'there is no log');
      this.#startFile(1, KIND_HEAD);
      return [];
    }
    if (!log.reaches(after.index, after.term)) {
      // A snapshot was installed, and the log that it replaces is still there.
      this.reset(after.index);
      return [];
    }
    const entries = log.after(after.index);
    this.#lastIndex = entries.at(-1)?.index ?? after.index;
    return entries;
  }

  /** Appends frames and, unless `sync` is false, makes them durable. On DISK_FULL nothing has changed. */
  append(entries: readonly Entry[], sync = true): void {
    if (entries.length === 0) return;
    if (this.#end >= this.#fileBytes) this.#startFile(this.#current.number + 1, KIND_HEAD);
    const before = this.#state();
    let bytes = 0;
    for (const entry of entries) bytes += frameBytes(entry.data.length);
    if (bytes > this.#buffer.length) this.#buffer = new Uint8Array(bytes * 2);
    let at = 0;
    for (const entry of entries) {
      assert(entry.index <= this.#lastIndex + 1, 'the log has no gaps');
      at = this.#frame(at, entry.kind, entry.index, entry.term, entry.data);
      this.#lastIndex = entry.index;
    }
    try {
      this.#allocate(before.end + bytes);
      this.#current.file.write(this.#buffer, 0, bytes, before.end);
    } catch (error) {
      this.#previousCrc = before.previousCrc;
      this.#lastIndex = before.lastIndex;
      throw error;
    }
    this.#end += bytes;
    this.#current.highest = Math.max(this.#current.highest, this.#lastIndex);
    if (sync) this.sync();
  }

  sync(): void {
    if (this.#syncedEnd === this.#end) return;
    this.#current.file.sync();
    this.#syncedEnd = this.#end;
  }

  /** Forgets all entries: the log goes on behind `index`. Durable when it returns. */
  reset(index: number): void {
    const { number } = this.#current;
    this.#lastIndex = index;
    this.#startFile(number + 1, KIND_ANEW);
    this.#removeUpTo(number);
  }

  /** Removes files of which nothing above `index` is left. */
  compactTo(index: number): void {
    let last = 0;
    for (const file of this.#files.slice(0, -1)) {
      if (file.highest > index) break;
      last = file.number;
    }
    if (last > 0) this.#removeUpTo(last);
  }

  /** A clean end: names everything as durable. */
  close(): void {
    const current = this.#files.at(-1);
    if (current === undefined) return;
    const bytes = this.#frame(0, KIND_END, 0, 0, NO_BYTES);
    current.file.write(this.#buffer, 0, bytes, this.#end);
    current.file.sync();
    this.abandon();
  }

  /** Lets go of the files without writing anything. */
  abandon(): void {
    for (const { file } of this.#files) file.close();
    this.#files.length = 0;
  }

  get #current(): LogFile {
    const current = this.#files.at(-1);
    assert(current !== undefined, 'recover has run, close has not');
    return current;
  }

  #state(): { end: number; previousCrc: number; lastIndex: number } {
    return { end: this.#end, previousCrc: this.#previousCrc, lastIndex: this.#lastIndex };
  }

  #path(number: number): string {
    return `${this.#folder}/${number.toString(16).padStart(8, '0')}.log`;
  }

  #bad(number: number, at: number, what: string): SextantError {
    return new SextantError('CORRUPTION', `Raft log ${this.#path(number)} at ${at}: ${what}`);
  }

  /** Durable, name and head, when it returns: entries in it never precede their file. */
  #startFile(number: number, kind: number): void {
    const { disk } = this.#world;
    const path = this.#path(number);
    const file = disk.open(path, { create: true });
    const before = { ...this.#state(), syncedEnd: this.#syncedEnd };
    try {
      file.truncate(0);
      this.#previousCrc = 0;
      this.#syncedEnd = 0;
      const bytes = this.#frame(0, kind, this.#lastIndex, LOG_VERSION, NO_BYTES, number);
      file.write(this.#buffer, 0, bytes, 0);
      file.sync();
      disk.syncFolder(this.#folder);
      this.#end = bytes;
      this.#syncedEnd = bytes;
      this.#allocated = bytes;
      this.#files.push({ number, file, highest: 0 });
    } catch (error) {
      this.#previousCrc = before.previousCrc;
      this.#syncedEnd = before.syncedEnd;
      file.close();
      throw error;
    }
  }

  #removeUpTo(number: number): void {
    while (this.#files.length > 1 && this.#files[0].number <= number) {
      const gone = this.#files.shift();
      gone?.file.close();
      if (gone !== undefined) this.#world.disk.remove(gone.file.path);
    }
    this.#world.disk.syncFolder(this.#folder);
  }

  /** Zeros ahead of the end, so that most syncs have no file size to write. */
  #allocate(end: number): void {
    if (end <= this.#allocated) return;
    const to = end + Math.min(ZEROS.length, this.#fileBytes);
    for (let at = Math.max(this.#allocated, this.#end); at < to; at += ZEROS.length) {
      this.#current.file.write(ZEROS, 0, Math.min(ZEROS.length, to - at), at);
    }
    this.#allocated = to;
  }

  /** Writes a frame into the buffer; returns where it ends there. */
  #frame(
    at: number,
    kind: number,
    index: number,
    term: number,
    data: Uint8Array,
    number = this.#current.number,
  ): number {
    const bytes = this.#buffer;
    const view = new DataView(bytes.buffer);
    const end = at + FRAME_HEAD_BYTES + data.length;
    view.setUint32(at + 4, data.length, true);
    view.setUint32(at + 8, (MAGIC | (kind << 24)) >>> 0, true);
    view.setUint32(at + 12, number, true);
    putU64(view, at + 16, index);
    putU64(view, at + 24, term);
    view.setUint32(at + 32, this.#previousCrc, true);
    view.setUint32(at + 36, this.#syncedEnd, true);
    bytes.set(data, at + FRAME_HEAD_BYTES);
    const crc = crc32c(bytes.subarray(at + 4, end));
    view.setUint32(at, crc, true);
    this.#previousCrc = crc;
    const padded = at + frameBytes(data.length);
    bytes.fill(0, end, padded);
    return padded;
  }

  /** The numbers of the files; a last one whose head never became durable is removed. */
  #bornFiles(): number[] {
    const { disk } = this.#world;
    const numbers: number[] = [];
    for (const name of disk.list(this.#folder)) {
      const hex = NAME.exec(name)?.[1];
      if (hex !== undefined) numbers.push(Number.parseInt(hex, 16));
    }
    const last = numbers.at(-1);
    if (last === undefined) return numbers;
    const file = disk.open(this.#path(last));
    const bytes = readAll(file);
    file.close();
    if (readFrame(bytes, 0, last) === undefined && !durableBehind(bytes, 0, last)) {
      disk.remove(this.#path(last));
      disk.syncFolder(this.#folder);
      numbers.pop();
    }
    return numbers;
  }

  #recoverFile(number: number, last: boolean, log: RecoveredLog): void {
    const file = this.#world.disk.open(this.#path(number));
    const bytes = readAll(file);
    const head = readFrame(bytes, 0, number);
    if (head?.kind !== KIND_HEAD && head?.kind !== KIND_ANEW) {
      file.close();
      throw this.#bad(number, 0, 'the head of the file is damaged');
    }
    if (head.term !== LOG_VERSION) {
      file.close();
      throw new SextantError('FOLDER_FOREIGN', `${file.path}: format ${head.term}`);
    }
    const found: LogFile = { number, file, highest: 0 };
    this.#files.push(found);
    if (!log.continues(head.index, head.kind === KIND_ANEW))
      throw this.#bad(number, 0, 'entries before it are missing');
    let at = head.end;
    let { crc } = head;
    for (;;) {
      const frame = readFrame(bytes, at, number);
      if (frame === undefined || frame.previousCrc !== crc) break;
      if (frame.kind <= EntryKind.config) {
        const { index, term, data } = frame;
        if (!log.add({ index, term, kind: frame.kind as EntryKind, data: data.slice() })) {
          throw this.#bad(number, at, `entry ${index} does not follow`);
        }
        found.highest = Math.max(found.highest, index);
      } else if (frame.kind !== KIND_END) {
        throw this.#bad(number, at, `a frame of kind ${frame.kind}`);
      }
      crc = frame.crc;
      at = frame.end;
    }
    if (durableBehind(bytes, at, number)) throw this.#bad(number, at, 'a durable frame is damaged');
    if (!last) return;
    // A torn tail goes for good before anything is written behind it.
    if (at < bytes.length) {
      file.truncate(at);
      file.sync();
    }
    this.#end = at;
    this.#syncedEnd = at;
    this.#allocated = at;
    this.#previousCrc = crc;
  }
}

function frameBytes(dataBytes: number): number {
  return (FRAME_HEAD_BYTES + dataBytes + 7) & ~7;
}

/** The frame at `at`, whole and with a fitting CRC. */
function readFrame(bytes: Uint8Array, at: number, number: number): Frame | undefined {
  if (at + FRAME_HEAD_BYTES > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  const tag = view.getUint32(8, true);
  if ((tag & 0xff_ffff) !== MAGIC || view.getUint32(12, true) !== number) return undefined;
  const dataBytes = view.getUint32(4, true);
  const end = at + FRAME_HEAD_BYTES + dataBytes;
  if (dataBytes > COMMAND_BYTES_MAX || end > bytes.length) return undefined;
  const crc = view.getUint32(0, true);
  if (crc32c(bytes.subarray(at + 4, end)) !== crc) return undefined;
  return {
    kind: tag >>> 24,
    index: getU64(view, 16),
    term: getU64(view, 24),
    crc,
    previousCrc: view.getUint32(32, true),
    synced: view.getUint32(36, true),
    data: bytes.subarray(at + FRAME_HEAD_BYTES, end),
    end: at + frameBytes(dataBytes),
  };
}

function readAll(file: DiskFile): Uint8Array {
  const bytes = new Uint8Array(file.size());
  return bytes.subarray(0, file.read(bytes, 0, bytes.length, 0));
}

/** Whether a whole frame behind `at` says that `at` was durable. */
function durableBehind(bytes: Uint8Array, at: number, number: number): boolean {
  for (let behind = at + 8; behind + FRAME_HEAD_BYTES <= bytes.length; behind += 8) {
    if (bytes[behind + 8] !== (MAGIC & 255)) continue;
    const frame = readFrame(bytes, behind, number);
    if (frame !== undefined && frame.synced > at) return true;
  }
  return false;
}

/** Puts entries read from disk together. */
class RecoveredLog {
  #first: number;
  #entries: Entry[] = [];
  readonly #snapshotIndex: number;

  constructor(snapshotIndex: number) {
    this.#snapshotIndex = snapshotIndex;
    this.#first = 0;
  }

  get #lastIndex(): number {
    return this.#first + this.#entries.length - 1;
  }

  /** A file begins that says which entry was the last before it. */
  continues(lastIndex: number, anew: boolean): boolean {
    if (this.#first > 0 && !anew) return lastIndex === this.#lastIndex;
    this.#begin(lastIndex + 1);
    return lastIndex <= this.#snapshotIndex;
  }

  /** False: there is a gap before it. */
  add(entry: Entry): boolean {
    if (entry.index > this.#lastIndex + 1) return false;
    // What it replaces was in files that are gone: the snapshot covers all before it.
    if (entry.index < this.#first) this.#begin(entry.index);
    this.#entries.length = entry.index - this.#first;
    this.#entries.push(entry);
    return true;
  }

  /** Whether the log has this entry, or begins right behind it. */
  reaches(index: number, term: number): boolean {
    if (index === this.#first - 1) return true;
    return this.#entries[index - this.#first]?.term === term;
  }

  after(index: number): Entry[] {
    return this.#entries.slice(index + 1 - this.#first);
  }

  #begin(first: number): void {
    this.#first = first;
    this.#entries = [];
  }
}
