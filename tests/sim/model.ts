/**
 * What the harness remembers: every record that any engine gave an LSN to, what was acknowledged, and which
 * ranges were decided. Pages are replayed from it naively, with code of its own.
 *
 * ```
 *   records of epoch 1   1 2 3 4 5 6 7
 *   epoch 2 decides          (4 .......... 4 + LAL]      5, 6, 7 are annulled, and what epoch 1 appends later
 *   records of epoch 2                              8 9 ...
 * ```
 */
import { PAGE_BYTES } from '#core/ids.js';
import type { TruncationRange } from '#storage-nodes/protocol/messages.js';
import { Violation } from './violation.js';

export type ModelEdit =
  | { readonly op: 'set'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly op: 'move'; readonly to: number; readonly from: number; readonly length: number }
  | { readonly op: 'fill'; readonly at: number; readonly length: number; readonly byte: number }
  | { readonly op: 'format'; readonly type: number };

export interface ModelRecord {
  readonly lsn: number;
  readonly epoch: number;
  readonly pageNo: number;
  readonly pg: number;
  /** Of its MTR the last one. */
  readonly cpl: boolean;
  readonly prevPageLsn: number;
  readonly edits: readonly ModelEdit[];
}

/** Applies one record to a page image the plain way: byte by byte, over a copy of what MOVE reads. */
export function applyNaively(page: Uint8Array, record: ModelRecord): void {
  for (const edit of record.edits) {
    switch (edit.op) {
      case 'format':
        for (let i = 8; i < PAGE_BYTES; i++) page[i] = 0;
        page[8] = edit.type;
        break;
      case 'set':
        for (let i = 0; i < edit.bytes.length; i++) page[edit.at + i] = edit.bytes[i];
        break;
      case 'fill':
        for (let i = 0; i < edit.length; i++) page[edit.at + i] = edit.byte;
        break;
      case 'move': {
        const moved = page.slice(edit.from, edit.from + edit.length);
        for (let i = 0; i < moved.length; i++) page[edit.to + i] = moved[i];
      }
    }
  }
  new DataView(page.buffer, page.byteOffset).setBigUint64(0, BigInt(record.lsn), true);
}

interface Image {
  lsn: number;
  readonly bytes: Uint8Array;
  /** Records of the page that are in it. */
  applied: number;
}

export class Model {
  /** Every LSN that was ever given out, annulled or not. */
  readonly issued = new Map<number, ModelRecord>();
  ranges: readonly TruncationRange[] = [];
  /** By epoch: the highest LSN that its engine was told to be durable. */
  readonly acknowledged = new Map<number, number>();
  readonly #byPage = new Map<number, ModelRecord[]>();
  readonly #byPg = new Map<number, number[]>();
  readonly #images = new Map<number, Image>();

  /** A record got its LSN. */
  append(record: ModelRecord): void {
    this.issued.set(record.lsn, record);
    if (this.annulled(record.lsn)) return;
    put(this.#byPage, record.pageNo, record);
    put(this.#byPg, record.pg, record.lsn);
  }

  annulled(lsn: number, ranges = this.ranges): boolean {
    return ranges.some((range) => lsn > range.after && lsn <= range.through);
  }

  /** An engine opened with this list: what it annuls is gone. */
  decide(ranges: readonly TruncationRange[]): void {
    if (ranges.length <= this.ranges.length) return;
    this.ranges = ranges;
    for (const [pageNo, records] of this.#byPage) {
      const kept = records.filter(({ lsn }) => !this.annulled(lsn));
      if (kept.length === records.length) continue;
      this.#byPage.set(pageNo, kept);
      this.#images.delete(pageNo);
    }
    for (const [pg, lsns] of this.#byPg) {
      this.#byPg.set(
        pg,
        lsns.filter((lsn) => !this.annulled(lsn)),
      );
    }
  }

  acknowledge(epoch: number, vdl: number): void {
    this.acknowledged.set(epoch, vdl);
  }

  /** The PG's last surviving LSN at or below `point` that `ranges` do not annul either; 0 for none. */
  tail(pg: number, point: number, ranges: readonly TruncationRange[] = []): number {
    const lsns = this.#byPg.get(pg) ?? [];
    for (let i = lsns.length - 1; i >= 0; i--) {
      if (lsns[i] <= point && !this.annulled(lsns[i], ranges)) return lsns[i];
    }
    return 0;
  }

  pages(): number[] {
    return [...this.#byPage.keys()].toSorted((a, b) => a - b);
  }

  records(pageNo: number): readonly ModelRecord[] {
    return this.#byPage.get(pageNo) ?? [];
  }

  /** The page as of `point`; all zero when nothing of it survives. The caller must not change it. */
  page(pageNo: number, point: number): Uint8Array {
    const records = this.records(pageNo);
    let image = this.#images.get(pageNo);
    if (image === undefined || image.lsn > point) {
      image = { lsn: 0, bytes: new Uint8Array(PAGE_BYTES), applied: 0 };
      this.#images.set(pageNo, image);
    }
    for (; image.applied < records.length; image.applied++) {
      const record = records[image.applied];
      if (record.lsn > point) break;
      const formats = record.edits[0]?.op === 'format';
      if (!formats && record.prevPageLsn !== image.lsn) {
        throw new Violation(
          'PAGE-1',
          `record ${record.lsn} of page ${pageNo} follows ${record.prevPageLsn}, the surviving log has ${image.lsn}`,
        );
      }
      applyNaively(image.bytes, record);
      image.lsn = record.lsn;
    }
    return image.bytes;
  }
}

function put<V>(map: Map<number, V[]>, key: number, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
