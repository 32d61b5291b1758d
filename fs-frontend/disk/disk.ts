/**
 * The virtual disk: a sparse space of 2^64 bytes made of tagged registers, as a file server sees it. The client in this folder
 * serves it from the storage nodes; tests may serve it from memory.
 *
 * ```
 *   byte address   region      register   copies / write / read   what
 *   0              params      4 KiB      6 / 4 / 3               format, geometry
 *   1 TiB          logs        4 KiB      6 / 4 / 3               256 logs of 64 MiB, one a file server (rule 17)
 *   2 TiB          bitmaps     4 KiB      6 / 4 / 3               allocation segments
 *   8 TiB          inodes      512 B      6 / 4 / 3               8 registers an inode (rule 10)
 *   1 PiB          metadata    4 KiB      6 / 4 / 3               directories, extent and attribute blocks
 *   4 PiB          data        4 KiB      3 / 2 / 2 (or as metadata) file content, one copy a zone
 * ```
 *
 * A register is named by its region and its index in it; byte address = region base + index * register bytes.
 *
 * - DISK-1 A read that starts after a write of the register has finished returns it or a later one.
 * - Tags are (clock, token), compared clock first (rule 3). A node answers an older tag with SUPERSEDED, never with an acknowledgement.
 * - A register that was never written reads as zeros with tag (0, 0); one that was given back as zeros with the tombstone's tag.
 */

import {
  CHUNK_BYTES,
  INODE_REGISTER_BYTES,
  REGISTER_BYTES,
  Region,
  registerBytes,
} from '#storage-nodes/protocol/block-geometry.js';

export { CHUNK_BYTES, INODE_REGISTER_BYTES, REGISTER_BYTES, Region, registerBytes };

export interface RegisterName {
  readonly region: Region;
  readonly index: number;
}

export interface Tag {
  readonly clock: number;
  readonly token: number;
}

export interface RegisterWrite extends RegisterName {
  readonly tag: Tag;
  /** One register's bytes, or those of several adjacent ones, which all get the tag. Not changed until the write settles. */
  readonly bytes: Uint8Array;
}

export interface RegisterRead extends RegisterName {
  /** How many adjacent registers. */
  readonly count: number;
}

export interface RegisterContent {
  readonly bytes: Uint8Array;
  /** One a register. */
  readonly tags: readonly Tag[];
}

/** What fencing a token found (rule 12). */
export interface FenceResult {
  readonly fenceEpoch: number;
  /** Registers that bear a tag of the token above what its owner reported complete; each is at a write quorum by now. */
  readonly listed: readonly (RegisterName & { readonly tag: Tag })[];
  /** Largest clock stored on the nodes that answered. */
  readonly clock: number;
}

export interface VirtualDisk {
  /** The caller's token, checked against fences by every node, apart from the tags of what it writes (rule 11). */
  readonly token: number;
  /**
   * One round to the write quorum of each register, all of them together. Retried until the quorum has it. Rejects with FENCED (this token
   * is over), CONFLICT (superseded by a newer tag), NO_QUORUM after the deadline, DISK_FULL.
   */
  write(
    writes: readonly RegisterWrite[],
    options?: { readonly deadlineMs?: number },
  ): Promise<void>;
  /** Data from one copy, tags from a read quorum, written back where they differ. Rejects with FENCED, NO_QUORUM, CORRUPTION. */
  read(
    reads: readonly RegisterRead[],
    options?: { readonly deadlineMs?: number },
  ): Promise<RegisterContent[]>;
  /** Gives whole 64 KiB chunks back: tagged tombstones (rule 13). */
  decommit(region: Region, firstIndex: number, count: number, tag: Tag): Promise<void>;
  /** Everything this client wrote with a clock up to this is at quorum: fences need not list it. */
  reportComplete(clock: number): void;
  fence(token: number): Promise<FenceResult>;
  /**
   * Learns of the fences that hold by now. To be awaited before a lock is used whose grant carried a higher fence epoch than
   * any before (rule 12).
   */
  refreshFences(): Promise<void>;
  /** Copy on write, whole disk, under a second (rule 15); its id opens a read-only disk. */
  snapshot(name: string): Promise<number>;
  statistics(): Promise<{ readonly bytesUsed: number; readonly bytesFree: number }>;
  close(): Promise<void>;
}
