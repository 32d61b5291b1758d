/** A store's figures, read when asked for. */
import type { StoreCore } from './store-core.js';
import type { SegmentKey, StoreStats } from './store.js';

export class NodeStoreStats implements StoreStats {
  readonly #core: StoreCore;

  constructor(core: StoreCore) {
    this.#core = core;
  }

  get journalBytes(): number {
    return this.#core.journal.files.bytes;
  }
  get pageBytes(): number {
    return this.#core.slots.bytes;
  }
  get syncCount(): number {
    return this.#core.journal.syncCount;
  }
  get writtenBytes(): number {
    return this.#core.journal.writtenBytes;
  }
  get unfoldedRecords(): number {
    return this.#core.chains.count;
  }
  get foldedPages(): number {
    return this.#core.foldedPages;
  }

  get badPages(): { segment: SegmentKey; pageNo: number }[] {
    const { bad, index, segments } = this.#core;
    const found: { segment: SegmentKey; pageNo: number }[] = [];
    for (const id of bad) {
      found.push({ segment: segments.list[index.segmentOf(id)].key, pageNo: index.pageNo[id] });
    }
    return found;
  }

  pages(segment: SegmentKey): number {
    return this.#core.segments.find(segment)?.pages.count ?? 0;
  }

  unfolded(segment: SegmentKey): number {
    return this.#core.segments.find(segment)?.unfolded ?? 0;
  }
}
