/**
 * Rebuilding a segment from a peer's pages (rule 18): the peer no longer has the log that this
 * segment lacks.
 *
 * ```
 *   request(point 0)  -> the peer pins its own point B, a PG tail that it has folded up to, and names it
 *   request(B, after) -> pages as of B in ascending order, put into the store
 *   done              -> all pages are durable: SCL becomes B, gossip brings the log after it
 * ```
 *
 * Until `finished`, SCL stands where it was: a crash half-way leaves pages that are newer than the log, which
 * are skipped over (records at or below a page's LSN), never a segment that claims B without having it.
 */
import { SextantError } from '#core/errors.js';
import type { HydrateAnswer } from '../protocol/messages.js';

export type HydrationEffect =
  | {
      readonly type: 'request';
      readonly to: string;
      readonly point: number;
      readonly afterPage: number;
    }
  | {
      readonly type: 'put';
      readonly pageNo: number;
      readonly image: Uint8Array;
      readonly point: number;
    }
  /** After every `put` is durable. */
  | { readonly type: 'finished'; readonly point: number; readonly vdl: number }
  | { readonly type: 'abandoned' };

const PAGE_BYTES = 8192;
const ENTRY_BYTES = 4 + PAGE_BYTES;

export class Hydration {
  #source = '';
  #point = 0;
  #afterPage = -1;
  pagesDone = 0;

  get active(): boolean {
    return this.#source !== '';
  }

  get source(): string {
    return this.#source;
  }

  start(from: string): HydrationEffect[] {
    if (this.active) return [];
    this.#source = from;
    this.#point = 0;
    this.#afterPage = -1;
    return [{ type: 'request', to: from, point: 0, afterPage: -1 }];
  }

  /** The peer failed, or epochs changed: start over with whoever gossip finds next. */
  abandon(): HydrationEffect[] {
    if (!this.active) return [];
    this.#source = '';
    return [{ type: 'abandoned' }];
  }

  /** Throws CORRUPTION when the answer contradicts itself or its predecessors. */
  answer(header: HydrateAnswer, payload: Uint8Array, scl: number): HydrationEffect[] {
    if (payload.length !== header.pageCount * ENTRY_BYTES || header.journaledVdl < header.point) {
      throw new SextantError('CORRUPTION', 'hydration answer: length or VDL');
    }
    if (this.#point !== 0 && header.point !== this.#point) {
      throw new SextantError('CORRUPTION', 'hydration answer: another point');
    }
    // Nothing to gain from a peer that has folded less than this segment already has.
    if (header.point <= scl) return this.abandon();
    this.#point = header.point;
    const effects: HydrationEffect[] = [];
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    for (let at = 0; at < payload.length; at += ENTRY_BYTES) {
      const pageNo = view.getUint32(at, true);
      if (pageNo <= this.#afterPage) throw new SextantError('CORRUPTION', 'pages out of order');
      this.#afterPage = pageNo;
      const image = payload.subarray(at + 4, at + ENTRY_BYTES);
      effects.push({ type: 'put', pageNo, image, point: this.#point });
      this.pagesDone++;
    }
    if (header.done) {
      this.#source = '';
      effects.push({ type: 'finished', point: this.#point, vdl: header.journaledVdl });
    } else if (header.pageCount === 0) {
      throw new SextantError('CORRUPTION', 'hydration answer: neither pages nor the end');
    } else {
      const { point, afterPage } = { point: this.#point, afterPage: this.#afterPage };
      effects.push({ type: 'request', to: this.#source, point, afterPage });
    }
    return effects;
  }
}

/** One page of a HYDRATE answer's payload. */
export function hydrateEntry(pageNo: number): { entry: Uint8Array; page: number } {
  const entry = new Uint8Array(ENTRY_BYTES);
  new DataView(entry.buffer).setUint32(0, pageNo, true);
  return { entry, page: 4 };
}
