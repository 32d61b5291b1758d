/** A store in memory for tests of the node: durable content survives in `Disk`, a crash loses the rest. */
import { SextantError } from '#core/errors.js';
import { apply } from '#core/redo/apply.js';
import { BOXCAR_HEADER_BYTES, decodeBoxcar, sliceBoxcar } from '#core/redo/boxcar.js';
import { pageLsn } from '#core/redo/page.js';
import { RecordReader } from '#core/redo/record.js';
import type { Location, SegmentKey, StoreStats, StoreVisitor } from '../store/store.js';
import type { UnreadStore } from './unread-store.js';

interface Page {
  point: number;
  image: Uint8Array;
}

/** What a crash leaves. */
export class MemoryDisk {
  entries: { segment: SegmentKey; location: Location; bytes: Uint8Array }[] = [];
  readonly states = new Map<string, Uint8Array>();
  readonly pages = new Map<string, Page>();
  /** Log at or below is gone, per segment. */
  readonly freed = new Map<SegmentKey, number>();
  full = false;
  broken = false;
  damages: string[] = [];
  syncs = 0;
}

export class MemoryStore implements UnreadStore {
  readonly disk: MemoryDisk;
  readonly stats: StoreStats;
  #queue: (() => void)[] = [];
  #nextLocation = 1;
  readonly #chains = new Map<SegmentKey, Uint8Array[]>();

  constructor(disk: MemoryDisk) {
    this.disk = disk;
    this.stats = {
      journalBytes: 0,
      pageBytes: 0,
      syncCount: 0,
      writtenBytes: 0,
      unfoldedRecords: 0,
      foldedPages: 0,
      badPages: [],
      pages: () => 0,
      unfolded: () => 0,
    };
  }

  recover(visitor: StoreVisitor): void {
    for (const damage of this.disk.damages) visitor.damage(damage, false);
    for (const [key, value] of this.disk.states) visitor.state(key, value);
    for (const { segment, location, bytes } of this.disk.entries.slice()) {
      this.#nextLocation = Math.max(this.#nextLocation, location + 1);
      visitor.boxcar({ segment, location, bytes });
    }
  }

  floor(segment: SegmentKey): number {
    return this.disk.freed.get(segment) ?? 0;
  }

  appendBoxcar(segment: SegmentKey, boxcar: Uint8Array): Location {
    const entry = { segment, location: this.#nextLocation++, bytes: boxcar.slice() };
    this.#queue.push(() => this.disk.entries.push(entry));
    return entry.location;
  }

  appendState(key: string, value: Uint8Array): void {
    const copy = value.slice();
    this.#queue.push(() => this.disk.states.set(key, copy));
  }

  get dirty(): boolean {
    return this.#queue.length > 0;
  }

  commit(): void {
    if (this.disk.full) throw new SextantError('DISK_FULL', 'test disk full');
    if (this.disk.broken) throw new SextantError('DISK_FAILED', 'test disk broken');
    for (const write of this.#queue) write();
    this.#queue = [];
    this.disk.syncs++;
    this.stats.syncCount++;
  }

  admit(segment: SegmentKey, location: Location, boxcar: Uint8Array): void {
    if (!this.disk.entries.some((entry) => entry.location === location)) {
      throw new Error('admitted before it was durable');
    }
    this.#chain(segment).push(boxcar.slice());
  }

  truncate(segment: SegmentKey, lsn: number): void {
    if (this.#queue.length > 0 && this.dirty) this.commit();
    const clip = (bytes: Uint8Array): Uint8Array => sliceBoxcar(bytes, 0, lsn);
    const kept = this.#chain(segment)
      .map(clip)
      .filter((bytes) => bytes.length > 0);
    this.#chains.set(segment, kept);
    this.disk.entries = this.disk.entries
      .map((entry) => (entry.segment === segment ? { ...entry, bytes: clip(entry.bytes) } : entry))
      .filter((entry) => entry.bytes.length > 0);
  }

  discard(): void {}

  readPage(
    segment: SegmentKey,
    pageNo: number,
    readPoint: number,
    target: Uint8Array,
    base: number,
  ): void {
    const page = new Uint8Array(8192);
    const view = new DataView(page.buffer);
    const stored = this.disk.pages.get(`${segment}/${pageNo}`);
    if (stored !== undefined) page.set(stored.image);
    const reader = new RecordReader();
    for (const bytes of this.#chain(segment)) {
      reader.reset(bytes, BOXCAR_HEADER_BYTES, bytes.length, decodeBoxcar(bytes).firstLsn);
      while (reader.next()) {
        const wanted = reader.pageNo === pageNo && reader.lsn <= readPoint;
        if (wanted && reader.lsn > pageLsn(view, 0)) apply(page, view, 0, reader);
      }
    }
    target.set(page, base);
  }

  readLog(segment: SegmentKey, after: number, upTo: number, maxBytes: number): Uint8Array[] | null {
    if (after < (this.disk.freed.get(segment) ?? 0)) return null;
    const found: Uint8Array[] = [];
    let bytes = 0;
    for (const boxcar of this.#chain(segment)) {
      const slice = sliceBoxcar(boxcar, after, upTo);
      if (slice.length === 0 || (bytes > 0 && bytes + slice.length > maxBytes)) continue;
      found.push(slice);
      bytes += slice.length;
    }
    return found;
  }

  pagesAfter(segment: SegmentKey, afterPage: number, point: number, limit: number): number[] {
    const pages = new Set<number>();
    for (const key of this.disk.pages.keys()) {
      const [of, page] = key.split('/').map(Number);
      if (of === segment && page !== undefined) pages.add(page);
    }
    const reader = new RecordReader();
    for (const bytes of this.#chain(segment)) {
      reader.reset(bytes, BOXCAR_HEADER_BYTES, bytes.length, decodeBoxcar(bytes).firstLsn);
      while (reader.next()) if (reader.lsn <= point) pages.add(reader.pageNo);
    }
    const sorted = [...pages].filter((page) => page > afterPage).sort((a, b) => a - b);
    return sorted.slice(0, limit);
  }

  putPage(segment: SegmentKey, pageNo: number, image: Uint8Array, point: number): void {
    const copy = image.slice();
    this.#queue.push(() => {
      this.disk.pages.set(`${segment}/${pageNo}`, { point, image: copy });
      const bad = this.stats.badPages;
      this.stats.badPages = bad.filter((b) => b.segment !== segment || b.pageNo !== pageNo);
    });
  }

  dropSegment(segment: SegmentKey): void {
    this.#chains.delete(segment);
  }

  setLimits(): void {}

  readonly isPressed = false;
  holdMs = 0;

  work(): Promise<boolean> {
    return Promise.resolve(false);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Test control: drops the log at or below `lsn`, as folding and freeing would. */
  free(segment: SegmentKey, lsn: number): void {
    for (const pageNo of this.pagesAfter(segment, -1, lsn, 1e9)) {
      const image = new Uint8Array(8192);
      this.readPage(segment, pageNo, lsn, image, 0);
      this.disk.pages.set(`${segment}/${pageNo}`, { point: lsn, image });
    }
    const kept = this.#chain(segment).map((bytes) =>
      sliceBoxcar(bytes, lsn, Number.MAX_SAFE_INTEGER),
    );
    this.#chains.set(
      segment,
      kept.filter((bytes) => bytes.length > 0),
    );
    this.disk.entries = this.disk.entries.filter(
      (entry) => entry.segment !== segment || decodeBoxcar(entry.bytes).lastLsn > lsn,
    );
    this.disk.freed.set(segment, lsn);
  }

  #chain(segment: SegmentKey): Uint8Array[] {
    let chain = this.#chains.get(segment);
    if (chain === undefined) {
      chain = [];
      this.#chains.set(segment, chain);
    }
    return chain;
  }
}
