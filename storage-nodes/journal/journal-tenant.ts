/**
 * Something that keeps its own frames in the node's journal, and is asked before they go. All calls come from the
 * journal's owner, on its thread.
 */
import type { FrameScanner } from './frame-scanner.js';

export interface JournalTenant {
  /** At start, each of its frames, oldest first. */
  replay(frame: FrameScanner): void;
  /** After the last frame. */
  recovered(): void;
  /** Right before the journal is written and synced: what its frames name must be on disk. Throws DISK_FULL, DISK_FAILED. */
  beforeCommit(): void;
  /** All frames so far are durable. */
  committed(): void;
  /**
   * One bounded piece of getting on without journal file `seq`; what it appends is committed by the caller. False: the
   * file is not needed any more.
   */
  release(seq: number): boolean;
  close(): void;
}
