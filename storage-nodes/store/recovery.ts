/**
 * What a store does when it opens: rebuild its tables from the index snapshot and the journal.
 *
 * ```
 *   1  index snapshot -> page versions as of a journal position
 *   2  every journal frame, oldest first:
 *        BOXCAR   a row                      TRUNCATE  rows of the segment so far: clipped or gone
 *        STATE    the key's value            DROP      rows and pages of the segment so far: gone
 *        PAGES    versions, if it lies at or behind the snapshot's position
 *   3  boxcars at or below a segment's floor are part of its chain for sure (its caller's core knows that
 *      from the floor alone): indexed here, ascending; fully folded ones are forgotten
 *   4  the visitor: all state keys, then the other boxcars, each segment's by ascending LSN
 * ```
 */
import { getU64 } from '#core/bytes/le.js';
import { isSextantError, SextantError } from '#core/errors.js';
import { sliceBoxcar } from '#core/redo/boxcar.js';
import type { FrameScanner } from '../journal/frame-scanner.js';
import { FRAME_HEADER_BYTES, FrameKind } from '../journal/frame.js';
import { locationOf } from '../journal/journal.js';
import type { IndexSnapshots } from '../page-log/index-snapshot.js';
import { NO_SLOT } from '../page-log/page-slots.js';
import { PAGE_ENTRY_BYTES, readPageEntry, type PageEntry } from '../page-log/page-entry.js';
import { ROW_ADMITTED, ROW_FREE, ROW_WAITING } from './boxcar-table.js';
import { StoreCore } from './store-core.js';
import type { StoredSegment } from './segment-table.js';
import type { StoreVisitor } from './store.js';

const WINDOW_BYTES = 1024 * 1024;

/** Runs steps 1 to 4. `waiting` receives location -> row of every boxcar that is not yet admitted. */
export function recoverStore(
  core: StoreCore,
  snapshots: IndexSnapshots,
  waiting: Map<number, number>,
  visitor: StoreVisitor,
): void {
  core.rows.reuse = false;
  loadSnapshot(core, snapshots, visitor);
  const replay = new Replay(core, snapshots);
  core.journal.replay(
    (frame) => replay.frame(frame),
    (description) => visitor.damage(description, true),
  );
  for (let id = 1; id < core.index.idEnd; id++) {
    if (core.index.has(id) && core.index.slot[id] !== NO_SLOT) core.slots.use(core.index.slot[id]);
  }
  core.limbo = [];
  core.blocks.recovered();
  for (const damage of core.blocks.damages) visitor.damage(damage, true);
  core.loadFloors();
  admitBelowFloors(core, visitor);
  for (const [key, value] of core.states) {
    if (!StoreCore.isOwnState(key)) visitor.state(key, value);
  }
  visitBoxcars(core, waiting, visitor);
  core.rows.reuse = true;
}

function loadSnapshot(core: StoreCore, snapshots: IndexSnapshots, visitor: StoreVisitor): void {
  try {
    snapshots.load((entry) => setVersion(core, entry));
  } catch (error) {
    if (!isSextantError(error, 'CORRUPTION')) throw error;
    visitor.damage(`the page index is damaged: ${error.message}`, true);
  }
}

function setVersion(core: StoreCore, entry: PageEntry): void {
  const segment = core.segments.get(entry.segment);
  core.setVersion(segment, entry.pageNo, entry.slot, entry.lsn, entry.crc);
}

class Replay {
  readonly #core: StoreCore;
  readonly #snapshots: IndexSnapshots;
  readonly #entry: PageEntry = { segment: 0, pageNo: 0, slot: 0, lsn: 0, crc: 0 };

  constructor(core: StoreCore, snapshots: IndexSnapshots) {
    this.#core = core;
    this.#snapshots = snapshots;
  }

  frame(frame: FrameScanner): void {
    switch (frame.kind) {
      case FrameKind.boxcar:
        this.#boxcar(frame);
        return;
      case FrameKind.state:
        this.#state(frame);
        return;
      case FrameKind.pages:
        this.#pages(frame);
        return;
      case FrameKind.truncate: {
        const segment = this.#core.segments.get(frame.segment);
        truncateRows(this.#core, segment, frame.lsn);
        return;
      }
      case FrameKind.drop:
        this.#drop(frame);
        return;
      case FrameKind.blocks:
        this.#core.blocks.replay(frame);
        return;
      default:
        return;
    }
  }

  /** Does the frame lie at or behind the position of the index snapshot? */
  #isAfterSnapshot(frame: FrameScanner): boolean {
    const { fileSeq, offset } = this.#snapshots;
    return frame.fileSeq > fileSeq || (frame.fileSeq === fileSeq && frame.offset >= offset);
  }

  #boxcar(frame: FrameScanner): void {
    const { bytes, bodyStart } = frame;
    const view = new DataView(bytes.buffer, bytes.byteOffset + bodyStart, frame.bodyBytes);
    const segment = this.#core.segments.get(frame.segment);
    const offset = frame.offset + FRAME_HEADER_BYTES;
    this.#core.rows.add(
      segment.index,
      frame.fileSeq,
      offset,
      frame.bodyBytes,
      getU64(view, 24),
      getU64(view, 32),
    );
  }

  #state(frame: FrameScanner): void {
    const body = frame.body();
    let key = '';
    for (let i = 0; i < body[0]; i++) key += String.fromCharCode(body[1 + i]);
    const value = body.slice(1 + body[0]);
    if (value.length === 0) this.#core.states.delete(key);
    else this.#core.states.set(key, value);
  }

  #pages(frame: FrameScanner): void {
    this.#core.pagesFiles.add(frame.fileSeq);
    if (!this.#isAfterSnapshot(frame)) return;
    const body = frame.body();
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    for (let at = 0; at + PAGE_ENTRY_BYTES <= body.length; at += PAGE_ENTRY_BYTES) {
      readPageEntry(view, at, this.#entry);
      setVersion(this.#core, this.#entry);
    }
  }

  #drop(frame: FrameScanner): void {
    const segment = this.#core.segments.get(frame.segment);
    dropRows(this.#core, segment);
    if (this.#isAfterSnapshot(frame)) dropPages(this.#core, segment);
  }
}

/** Annuls what rows hold above `lsn`; rows wholly above are gone. */
export function truncateRows(core: StoreCore, segment: StoredSegment, lsn: number): void {
  const { rows } = core;
  for (let row = 1; row < rows.end; row++) {
    if (rows.state[row] === ROW_FREE || rows.segment[row] !== segment.index) continue;
    if (rows.lastLsn[row] <= lsn) continue;
    if (rows.firstLsn[row] > lsn) rows.remove(row);
    else {
      rows.lastLsn[row] = lsn;
      rows.clipped[row] = 1;
    }
  }
}

export function dropRows(core: StoreCore, segment: StoredSegment): void {
  const { rows } = core;
  for (let row = 1; row < rows.end; row++) {
    if (rows.state[row] !== ROW_FREE && rows.segment[row] === segment.index) rows.remove(row);
  }
}

export function dropPages(core: StoreCore, segment: StoredSegment): void {
  const ids: number[] = [];
  segment.pages.forEach(0, (id) => {
    ids.push(id);
    return true;
  });
  for (const id of ids) core.removePage(segment, id);
  segment.pages.clear();
}

/** Step 3. Ascending by first LSN: so a page's records come in order even where boxcars overlap. */
function admitBelowFloors(core: StoreCore, visitor: StoreVisitor): void {
  const { rows } = core;
  const known: number[] = [];
  for (let row = 1; row < rows.end; row++) {
    if (rows.state[row] !== ROW_WAITING) continue;
    const segment = core.segments.list[rows.segment[row]];
    if (rows.firstLsn[row] <= segment.floor) known.push(row);
  }
  known.sort((a, b) => rows.segment[a] - rows.segment[b] || rows.firstLsn[a] - rows.firstLsn[b]);
  for (const row of known) {
    const segment = core.segments.list[rows.segment[row]];
    const upTo = Math.min(segment.floor, rows.lastLsn[row]);
    try {
      core.indexRecords(segment, row, core.loadBoxcar(row), upTo);
    } catch (error) {
      if (!isSextantError(error, 'CORRUPTION')) throw error;
      visitor.damage(`a journaled boxcar of segment ${segment.key}: ${error.message}`, true);
    }
    if (rows.lastLsn[row] > segment.floor) continue;
    if (rows.unfolded[row] > 0) rows.state[row] = ROW_ADMITTED;
    else rows.remove(row);
  }
}

/** Step 4, reading the files once more, from front to back but for what was copied forward. */
function visitBoxcars(core: StoreCore, waiting: Map<number, number>, visitor: StoreVisitor): void {
  const { rows } = core;
  const window = new JournalWindow(core);
  const order = chainOrder(core);
  for (const row of order) {
    waiting.set(locationOf(rows.file[row], rows.offset[row]), row);
  }
  for (const row of order) {
    if (rows.state[row] !== ROW_WAITING) continue;
    const segment = core.segments.list[rows.segment[row]].key;
    const seq = rows.file[row];
    const location = locationOf(seq, rows.offset[row]);
    let bytes = window.read(seq, rows.offset[row], rows.bytes[row]);
    if (rows.clipped[row] === 1) bytes = sliceBoxcar(bytes, 0, rows.lastLsn[row]);
    if (bytes.length > 0) visitor.boxcar({ segment, location, bytes });
  }
}

/**
 * Waiting rows, each segment's by ascending LSN: so the visitor can follow the chain though boxcars were
 * copied forward behind later ones. Journal order is that already, mostly: then nothing is sorted.
 */
function chainOrder(core: StoreCore): Uint32Array {
  const { rows } = core;
  const order = new Uint32Array(rows.count);
  const last = new Float64Array(core.segments.list.length);
  let count = 0;
  let isSorted = true;
  for (const seq of [...rows.byFile.keys()].sort((a, b) => a - b)) {
    const list = rows.byFile.get(seq);
    for (let i = 0; list !== undefined && i < list.count; i++) {
      const row = list.rows[i];
      if (rows.state[row] !== ROW_WAITING || rows.file[row] !== seq) continue;
      order[count++] = row;
      const segment = rows.segment[row];
      if (rows.firstLsn[row] < last[segment]) isSorted = false;
      last[segment] = rows.firstLsn[row];
    }
  }
  const used = order.subarray(0, count);
  return isSorted ? used : used.sort((a, b) => rows.firstLsn[a] - rows.firstLsn[b]);
}

/** A sequential reader over journal bodies: few large reads in place of one per boxcar. */
class JournalWindow {
  readonly #core: StoreCore;
  #bytes = new Uint8Array(WINDOW_BYTES);
  #seq = 0;
  #start = 0;
  #length = 0;

  constructor(core: StoreCore) {
    this.#core = core;
  }

  read(seq: number, offset: number, length: number): Uint8Array {
    const at = offset - this.#start;
    if (seq !== this.#seq || at < 0 || at + length > this.#length) {
      if (length > this.#bytes.length) this.#bytes = new Uint8Array(length * 2);
      const file = this.#core.journal.fileFor(seq);
      this.#length = file.read(this.#bytes, 0, this.#bytes.length, offset);
      this.#seq = seq;
      this.#start = offset;
      if (this.#length < length) throw new SextantError('CORRUPTION', `${file.path} is cut short`);
      return this.#bytes.subarray(0, length);
    }
    return this.#bytes.subarray(at, at + length);
  }
}
