/**
 * The volume as the rest of the engine sees it: an array of 8 KiB pages, edited by redo records and
 * read at the durable point. Nothing above this interface knows of nodes, protection groups or quorums.
 *
 * ```
 *   append(record) ... append(record, CPL)     one MTR: no suspension in between (rule 1)
 *   wait(lsn, done)                            commit: `done` runs when VDL >= lsn
 *   readPage(pageNo)                           the page as of VDL at the time of the call
 * ```
 *
 * Invariants: LOG-1, LOG-4, PAGE-2, TXN-2 (with the session layer).
 */

export interface Volume {
  /** VDL: everything at or below it is at quorum and ends with a whole MTR. Never goes back (LOG-4). */
  readonly vdl: number;
  /** The LSN that the next `append` gets. */
  readonly nextLsn: number;
  /** The epoch under which this engine writes. */
  readonly epoch: number;
  /** Pages of all protection groups; page numbers at or above it do not exist yet. */
  readonly pageCapacity: number;
  /** Undefined while the volume lives; afterwards why it died (FENCED, CLOSED). Every call fails with it. */
  readonly failure: Error | undefined;

  /** Whether an MTR of that many records and bytes of edits fits below LAL. Asked before the first edit. */
  hasRoom(records: number, bytes: number): boolean;
  /** Resolves when something was freed below LAL; ask `hasRoom` again. Rejects when the volume dies. */
  whenRoom(): Promise<void>;
  /**
   * Appends one record and returns its LSN. Never suspends. `edits[start, end)` (core/redo/edits) are
   * copied. The last record of an MTR carries FLAG_CPL. `prevPageLsn` is the page's LSN before the edit.
   * Throws `failure` when the volume is dead.
   */
  append(
    pageNo: number,
    flags: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): number;
  /**
   * Somebody waits for `lsn`: it is sent as soon as the quorum clock allows (rule 2). `done` runs once:
   * synchronously when VDL passes `lsn` (at once when it already has), in LSN order, or with the error of
   * which the volume died.
   */
  wait(lsn: number, done: (error?: Error) => void): void;
  /** Runs after VDL moved, before the `done`s that it completes. */
  onVdl: (vdl: number) => void;
  /** Runs once, before the waiters fail, when the volume dies. */
  onFailure: (error: Error) => void;

  /**
   * Reads the page as of VDL into `target[base, base + 8192)`; a page never formatted is all zero, LSN 0.
   * Rejects with NO_QUORUM (no complete segment in reach in time), CORRUPTION, or `failure`.
   */
  readPage(pageNo: number, target: Uint8Array, base: number): Promise<void>;

  /** Adds a protection group by compare-and-set in the volume's register; `pageCapacity` grows. */
  grow(): Promise<void>;

  /**
   * Rule 26: whether a write quorum acknowledged this epoch no longer than `ms` ago. While it is false
   * nothing may be answered from the cache; call `confirm` and wait.
   */
  confirmedWithin(ms: number): boolean;
  /** One cheap round to the nodes; resolves when a write quorum has acknowledged this epoch. Rejects with FENCED, NO_QUORUM. */
  confirm(): Promise<void>;

  status(): VolumeStatus;
  /** Sends what is waited for no more; waiters fail with CLOSED. Does not wait for outstanding records. */
  close(): Promise<void>;
}

/** Times in milliseconds, sizes in bytes, positions as LSNs. */
export interface VolumeStatus {
  readonly volume: number;
  readonly epoch: number;
  readonly vdl: number;
  readonly nextLsn: number;
  readonly pgCount: number;
  readonly pageCapacity: number;
  readonly failure: string | undefined;
  readonly inFlightRecords: number;
  readonly inFlightBytes: number;
  readonly boxcarsSent: number;
  /** Redo bytes as encoded, once per boxcar. */
  readonly redoBytes: number;
  /** What went out on the wire: all copies and resends. */
  readonly sentBytes: number;
  readonly resentBoxcars: number;
  readonly pageReads: number;
  readonly hedgedReads: number;
  readonly commitLatency: LatencySummary;
  readonly readLatency: LatencySummary;
  readonly nodes: readonly VolumeNodeStatus[];
}

export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface VolumeNodeStatus {
  readonly id: string;
  readonly zone: string;
  readonly address: string;
  readonly state: 'up' | 'down';
  readonly generation: number;
  /** Largest distance over its PGs between the PG's tail and the node's SCL, in LSNs. */
  readonly sclLag: number;
  readonly rttMs: number;
  readonly sentBytes: number;
  /** Records and bytes that wait to be sent to it are bounded; true: past the bound, gossip fills it. */
  readonly laggard: boolean;
}
