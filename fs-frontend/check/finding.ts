/** What check may find. */
import type { Ino } from '../vfs/vfs.js';

export type FindingKind =
  /** A server's log holds records that are not in place. Repair replays it; without repair they are replayed in memory. */
  | 'log-not-replayed'
  /** A log or orphan list that cannot be read. Not repaired. */
  | 'log-damaged'
  | 'orphans-damaged'
  /** The count of segments in use is too low. Repair raises it. */
  | 'segments-count'
  /** A header, or the blocks of its content, that cannot be read. Not repaired; names that lead to it stay. */
  | 'inode-damaged'
  /** Repair drops all xattrs of the inode. */
  | 'xattrs-damaged'
  /** Nodes, order, hashes or count of a directory. Repair builds it anew from the entries that can be read. */
  | 'directory-damaged'
  /** A name that leads to a free inode or another generation, or one that no name may be. Repair removes it. */
  | 'name-dangling'
  /** The type in the entry is not the inode's. Repair corrects the entry. */
  | 'name-type'
  /** A directory under a second name. Repair removes that. */
  | 'directory-linked-twice'
  /** Repair corrects it. */
  | 'parent-wrong'
  | 'nlink-wrong'
  | 'blocks-wrong'
  /** In use, no name leads there. Repair names it in /lost+found. */
  | 'inode-lost'
  /** Unlinked, on no orphan list. Repair frees it. */
  | 'orphan-unlisted'
  /** In use, its bitmap says free. Repair marks it. */
  | 'inode-unmarked'
  | 'metadata-unmarked'
  | 'data-unmarked'
  /** The bitmap says in use, nothing uses it. Repair frees it, unless something damaged is left that might own it. */
  | 'inode-leaked'
  | 'metadata-leaked'
  | 'data-leaked'
  /** A block with two owners. Not repaired. */
  | 'block-shared';

export interface Finding {
  readonly kind: FindingKind;
  /** For people. */
  readonly message: string;
  readonly ino?: Ino;
  /** Directory and name, of findings about names. */
  readonly parent?: Ino;
  readonly name?: Uint8Array;
  /** First metadata or data block, and how many. */
  readonly index?: number;
  readonly count?: number;
  /** What a count should be; the type of an entry. */
  readonly expected?: number;
}

export interface CheckedFinding extends Finding {
  readonly repaired: boolean;
}

export interface CheckReport {
  /** No damage is left; a log that waits for its replay is none. */
  readonly clean: boolean;
  readonly findings: readonly CheckedFinding[];
  readonly files: number;
  readonly directories: number;
  readonly orphans: number;
  readonly metadataBlocks: number;
  readonly dataBlocks: number;
}
