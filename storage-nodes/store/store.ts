/**
 * What a node keeps on disk, seen from its protocol cores: one journal for everything that must be durable
 * before it is answered, one page log for folded pages. The cores decide, the store remembers.
 *
 * ```
 *  append*() ... append*() -> commit()          one write + one fdatasync for a whole turn (rule 20, LOG-2)
 *  admit()                                      a journaled boxcar joins the gap-free chain: its records are indexed by page
 *  foldTo(limit)                                background: pages catch up with their chains (rules 8, 21)
 *  freed journal files                          what is live in them was copied forward first (rule 20)
 * ```
 *
 * Invariants: LOG-2, LOG-3 (with the segment core), PAGE-1, PAGE-2, PAGE-3.
 */

import type { BlockStore } from '../blocks/block-store.js';

/** `volume * 2^32 + pg`: one segment of this node. */
export type SegmentKey = number;

/** Where a boxcar lies in the journal: file sequence number * 2^32 + offset. */
export type Location = number;

/** A boxcar found again at start; `bytes` is valid during the call only. */
export interface RecoveredBoxcar {
  readonly segment: SegmentKey;
  readonly location: Location;
  readonly bytes: Uint8Array;
}

export interface StoreVisitor {
  /**
   * Durable boxcars above the segment's floor, each segment's by ascending first LSN. One may come twice, and
   * boxcars may overlap.
   */
  boxcar(found: RecoveredBoxcar): void;
  /** The last durable value of each state key. Called for all keys before the first `boxcar`. */
  state(key: string, value: Uint8Array): void;
  /**
   * Damage (rule 19). `isLoss`: something that was durable is not here any more (a bad frame, a lost file, an unreadable
   * page index), so neither SCL nor floors say what the pages hold. Otherwise it is not known whether anything is.
   */
  damage(description: string, isLoss: boolean): void;
}

export interface Store {
  /** Queues a boxcar (copied) for the next commit; the location is where it will lie. Not durable yet. */
  appendBoxcar(segment: SegmentKey, boxcar: Uint8Array): Location;
  /**
   * Queues small durable state: epochs, range lists, SCL hints, acceptor state. The last value of a key stands;
   * an empty value deletes it. Keys are ASCII, at most 128 bytes; values at most 1 MiB.
   */
  appendState(key: string, value: Uint8Array): void;
  /** Something is queued that `commit` would make durable. */
  readonly dirty: boolean;
  /** Writes and syncs all that is queued. Throws DISK_FULL (still queued: try again later) or DISK_FAILED. */
  commit(): void;

  /** The boxcar at `location` became part of the segment's chain: index its records by page for reads and folding. */
  admit(segment: SegmentKey, location: Location, boxcar: Uint8Array): void;
  /** Forgets every record above `lsn` of a segment, indexed or not yet admitted (annulled by a range). Durable with the caller's state. */
  truncate(segment: SegmentKey, lsn: number): void;
  /** Drops a boxcar that was never admitted and never will be. */
  discard(segment: SegmentKey, location: Location): void;

  /**
   * The page as of `readPoint`: its newest folded version at or below, plus the chain above it, applied on the fly.
   * A page never formatted is all zero. Throws OUT_OF_RANGE when the version needed was dropped, CORRUPTION when a checksum fails.
   */
  readPage(
    segment: SegmentKey,
    pageNo: number,
    readPoint: number,
    target: Uint8Array,
    base: number,
  ): void;

  /** Boxcars that hold the chain records in (after, upTo], oldest first, at most about maxBytes; null when part of it was freed. */
  readLog(segment: SegmentKey, after: number, upTo: number, maxBytes: number): Uint8Array[] | null;

  /** Page numbers that exist at or below `point`, ascending, above `afterPage` (start with -1). For hydration. */
  pagesAfter(segment: SegmentKey, afterPage: number, point: number, limit: number): number[];
  /** Hydration: stores a page image as it was at `point`; durable after the next commit(). Records at or below a page's LSN are skipped later. */
  putPage(segment: SegmentKey, pageNo: number, image: Uint8Array, point: number): void;
  /** Forgets a segment altogether (it will be hydrated from nothing). */
  dropSegment(segment: SegmentKey): void;

  /** Limits for folding and freeing: fold only <= foldLimit (min(SCL, journaled VDL), rule 8); keep what readers at >= readPoint (PGMRPL) need. */
  setLimits(segment: SegmentKey, foldLimit: number, pgmrpl: number): void;
  /**
   * Does a bounded piece of background work (fold, stage, free, scrub) if there is any; `pressure` 0..1 says how
   * much the foreground leaves. Resolves when the piece is done; false: nothing to do.
   */
  work(pressure: number): Promise<boolean>;
  /** There is so much background work that it should not pause. */
  readonly isPressed: boolean;
  /**
   * Background work does not keep up: how long an acknowledgement should wait, Infinity for "take no more
   * boxcars". 0 as long as the backlog is healthy.
   */
  readonly holdMs: number;

  readonly stats: StoreStats;
  /** Tagged registers of virtual disks (blocks/block-store); absent: this store keeps none. */
  readonly blocks?: BlockStore;
  close(): Promise<void>;
}

export interface StoreStats {
  journalBytes: number;
  pageBytes: number;
  syncCount: number;
  writtenBytes: number;
  unfoldedRecords: number;
  foldedPages: number;
  /** Pages whose checksum failed when scrubbed or read, and wait for repair from a peer. */
  badPages: { segment: SegmentKey; pageNo: number }[];
  pages(segment: SegmentKey): number;
  unfolded(segment: SegmentKey): number;
}
