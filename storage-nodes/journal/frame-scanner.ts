/**
 * Reads one journal file frame by frame, and decides what a bad frame means.
 *
 * ```
 *   at p:  next frame whole and linked?  -> visit, go on behind it
 *          else bad. Is p below an offset that was surely synced?
 *             - p < end of this file as the next file's FILE frame names it, or
 *             - some whole frame of this file at q > p has syncedOffset > p
 *          yes: DAMAGE [p, first whole frame behind it): reported, go on there, its link unchecked
 *          no:  a torn tail (a commit that was never acknowledged): cut, the file ends at p
 * ```
 *
 * A flip in the very last commit of a run cannot be told from a tear: nothing later names it. A clean
 * end writes CLOSE for that reason.
 */
import { getU64 } from '#core/bytes/le.js';
import type { DiskFile } from '#core/world/world.js';
import {
  FRAME_BODY_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FRAME_KIND_MAX,
  FRAME_MAGIC,
  frameBytes,
  frameCrc,
} from './frame.js';

const WINDOW_BYTES = 1024 * 1024;

/** Where `visit` finds the current frame: the scanner itself. */
export type FrameVisitor = (frame: FrameScanner) => void;

export class FrameScanner {
  /** Of the current frame. */
  kind = 0;
  offset = 0;
  bodyBytes = 0;
  syncedOffset = 0;
  previousCrc = 0;
  crc = 0;
  segment = 0;
  lsn = 0;
  /** The body is bytes[bodyStart, bodyStart + bodyBytes), valid until the scanner moves on. */
  bytes: Uint8Array = new Uint8Array(WINDOW_BYTES);
  bodyStart = 0;
  fileSeq = 0;

  /** Results of `scan`. */
  end = 0;
  lastCrc = 0;

  #view = new DataView(this.bytes.buffer);
  #file: DiskFile | undefined;
  #fileBytes = 0;
  #windowStart = 0;
  #windowBytes = 0;

  /** Aims the scanner at a file. */
  open(file: DiskFile, fileSeq: number): void {
    this.#file = file;
    this.#fileBytes = file.size();
    this.fileSeq = fileSeq;
    this.#windowStart = 0;
    this.#windowBytes = 0;
  }

  /** The body of the current frame, a view. */
  body(): Uint8Array {
    return this.bytes.subarray(this.bodyStart, this.bodyStart + this.bodyBytes);
  }

  /**
   * Visits every frame up to the end of the file. `namedEnd`: where the next file says that this one
   * ended, -1 when there is none. `damage` is called with each bad range. Leaves `end` and `lastCrc`.
   */
  scan(namedEnd: number, visit: FrameVisitor, damage: (from: number, to: number) => void): void {
    let at = 0;
    let link = 0;
    let linkKnown = true;
    this.end = 0;
    this.lastCrc = 0;
    for (;;) {
      if (namedEnd >= 0 && at >= namedEnd) break;
      if (this.load(at) && (!linkKnown || this.previousCrc === link)) {
        link = this.crc;
        linkKnown = true;
        at += frameBytes(this.bodyBytes);
        visit(this);
        continue;
      }
      const resumeAt = this.#findAfter(at, namedEnd);
      if (resumeAt < 0) break;
      damage(at, resumeAt);
      at = resumeAt;
      linkKnown = false;
    }
    this.end = at;
    this.lastCrc = link;
  }

  /**
   * The bad frame at `at`: -1 when it is a torn tail, else where to go on: the first whole frame behind
   * it, or the named end.
   */
  #findAfter(at: number, namedEnd: number): number {
    const limit = namedEnd >= 0 ? namedEnd : this.#fileBytes;
    let first = -1;
    for (let q = at + 8; q + FRAME_HEADER_BYTES <= limit; q += 8) {
      if (!this.#plausible(q) || !this.load(q)) continue;
      if (first < 0) first = q;
      if (namedEnd >= 0 || this.syncedOffset > at) return first;
    }
    return namedEnd > at ? namedEnd : -1;
  }

  /** Cheap test before `load`: magic and file sequence number. */
  #plausible(at: number): boolean {
    const i = this.#fill(at, FRAME_HEADER_BYTES);
    if (i < 0) return false;
    const view = this.#view;
    return (
      (view.getUint32(i + 4, true) & 0xff_ffff) === FRAME_MAGIC &&
      view.getUint32(i + 12, true) === this.fileSeq &&
      view.getUint32(i + 16, true) === at
    );
  }

  /** Makes the frame at `at` the current one; false when there is no whole frame. */
  load(at: number): boolean {
    if (!this.#plausible(at)) return false;
    let i = this.#fill(at, FRAME_HEADER_BYTES);
    const kind = this.#view.getUint8(i + 7);
    const bodyBytes = this.#view.getUint32(i + 8, true);
    if (kind === 0 || kind > FRAME_KIND_MAX || bodyBytes > FRAME_BODY_BYTES_MAX) return false;
    i = this.#fill(at, FRAME_HEADER_BYTES + bodyBytes);
    if (i < 0) return false;
    const view = this.#view;
    const crc = view.getUint32(i, true);
    if (frameCrc(this.bytes, i + 4, i + FRAME_HEADER_BYTES + bodyBytes) !== crc) return false;
    this.kind = kind;
    this.offset = at;
    this.bodyBytes = bodyBytes;
    this.syncedOffset = view.getUint32(i + 20, true);
    this.previousCrc = view.getUint32(i + 24, true);
    this.segment = getU64(view, i + 32);
    this.lsn = getU64(view, i + 40);
    this.crc = crc;
    this.bodyStart = i + FRAME_HEADER_BYTES;
    return true;
  }

  /** Makes file bytes [at, at + length) lie in the window; returns where, or -1 past the file's end. */
  #fill(at: number, length: number): number {
    if (at >= this.#windowStart && at + length <= this.#windowStart + this.#windowBytes) {
      return at - this.#windowStart;
    }
    if (this.#file === undefined || at + length > this.#fileBytes) return -1;
    if (length > this.bytes.length) {
      this.bytes = new Uint8Array(length * 2);
      this.#view = new DataView(this.bytes.buffer);
    }
    const wanted = Math.min(this.bytes.length, this.#fileBytes - at);
    this.#windowStart = at;
    this.#windowBytes = this.#file.read(this.bytes, 0, wanted, at);
    return this.#windowBytes >= length ? 0 : -1;
  }
}
