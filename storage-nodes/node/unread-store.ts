import type { SegmentKey, Store, StoreVisitor } from '../store/store.js';

/** A store that has yet to read its folder. */
export interface UnreadStore extends Store {
  /** The visitor may call `floor`, `admit`, `discard` and `truncate` back. */
  recover(visitor: StoreVisitor): void;
  /** Everything of the segment's chain at or below is on this disk, though its boxcars may be gone. */
  floor(segment: SegmentKey): number;
}
