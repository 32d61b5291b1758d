/**
 * Which nodes hold a register of a virtual disk, and how many of them must answer. Shared by the client and by nodes that
 * check or rebuild what they hold.
 *
 * ```
 *   register -> chunk of 64 KiB -> protection group (by hash) -> six nodes, two in each of three zones: A B | C D | E F
 *
 *   region            copies            write   read    who
 *   all but data      6                 4       3       A B C D E F
 *   data              3 (default)       2       2       A C E or B D F, by chunk: one a zone
 *   data              6 (--data-copies) 4       3       A B C D E F
 * ```
 *
 * Data lies on one of two fixed halves of its group, so a set of nodes that contains a write quorum of the group and of
 * both halves meets every quorum of every chunk: that is what fences and snapshots ask for.
 */
import { SextantError } from '#core/errors.js';

export const Region = { params: 0, logs: 1, bitmaps: 2, inodes: 3, metadata: 4, data: 5 } as const;
export type Region = (typeof Region)[keyof typeof Region];
export const REGION_COUNT = 6;

export const INODE_REGISTER_BYTES = 512;
export const REGISTER_BYTES = 4096;
export const CHUNK_BYTES = 65_536;
export const GROUP_NODES = 6;

export function registerBytes(region: Region): number {
  return region === Region.inodes ? INODE_REGISTER_BYTES : REGISTER_BYTES;
}

export function registersPerChunk(region: Region): number {
  return CHUNK_BYTES / registerBytes(region);
}

/** What the register `disk/<name>` holds, whole: a virtual disk as all of its clients and nodes see it. */
export interface DiskState {
  readonly format: 1;
  readonly name: string;
  /** Of this cluster, from 1; never used again. */
  readonly disk: number;
  readonly dataCopies: 3 | 6;
  /** Six node ids each: the first two of one zone, the next two of another, ... */
  readonly groups: readonly (readonly string[])[];
  /** Rises with each snapshot; what is stored belongs to the epoch in force. */
  readonly epoch: number;
  /** Live ones, ascending; `id` is the epoch that ended with it. */
  readonly snapshots: readonly DiskSnapshot[];
  /** Rises with each fence that came to hold, and with each one that was repeated. */
  readonly fenceEpoch: number;
  readonly fences: readonly DiskFence[];
  /** Rises with every change. */
  readonly version: number;
}
export interface DiskSnapshot {
  readonly id: number;
  readonly name: string;
  /** Random: which call made it, as a change of a register may run more than once. */
  readonly maker: string;
  /**
   * Nodes that knew of the next epoch before the snapshot was said to be taken; empty: it was not. Others may have stored
   * something in its epochs later, and have no vote on it.
   */
  readonly used: readonly string[];
}
export interface DiskFence {
  readonly maker: string;
  readonly token: number;
  readonly epoch: number;
  /** Nodes whose lists the fence used; every other one checks what it holds of the token (rule 12). */
  readonly used: readonly string[];
  /** What the owner had reported complete, as far as `used` knew. */
  readonly complete: number;
}

/** Nodes that hold the same registers. */
export interface ReplicaSet {
  readonly nodes: readonly string[];
  readonly write: number;
  readonly read: number;
}

const SIX = { write: 4, read: 3 };
const THREE = { write: 2, read: 2 };

/** The sets of one disk; made once for each state of its groups. */
export class Geometry {
  readonly sets: readonly ReplicaSet[];
  readonly nodes: readonly string[];
  readonly #groupCount: number;
  readonly #threeCopies: boolean;

  constructor(state: Pick<DiskState, 'groups' | 'dataCopies'>) {
    const sets: ReplicaSet[] = [];
    for (const group of state.groups) {
      if (group.length !== GROUP_NODES) throw new SextantError('CORRUPTION', 'a group has 6 nodes');
      sets.push({ nodes: group, ...SIX });
      sets.push({ nodes: [group[0], group[2], group[4]], ...THREE });
      sets.push({ nodes: [group[1], group[3], group[5]], ...THREE });
    }
    this.#groupCount = state.groups.length;
    this.#threeCopies = state.dataCopies === 3;
    this.sets = this.#threeCopies ? sets : sets.filter((_, i) => i % 3 === 0);
    this.nodes = [...new Set(state.groups.flat())];
  }

  /** Index in `sets`. */
  setOf(region: Region, index: number): number {
    const chunk = Math.floor(index / registersPerChunk(region));
    const hash = hashOf(region, chunk);
    const group = hash % this.#groupCount;
    if (!this.#threeCopies) return group;
    if (region !== Region.data) return group * 3;
    return group * 3 + 1 + (Math.floor(hash / this.#groupCount) & 1);
  }

  replicas(region: Region, index: number): ReplicaSet {
    return this.sets[this.setOf(region, index)];
  }

  /** Do these nodes contain a write quorum of every set? */
  coversWrites(has: (node: string) => boolean): boolean {
    return this.sets.every((set) => set.nodes.filter(has).length >= set.write);
  }
}

/** Neighbouring chunks take turns over groups and halves; regions start at different places. */
function hashOf(region: Region, chunk: number): number {
  return (chunk % 0x1_0000_0000) + region;
}

/** Negative, 0 or positive as the first tag is older, the same or newer: clock first (rule 3). */
export function compareTags(
  clockA: number,
  tokenA: number,
  clockB: number,
  tokenB: number,
): number {
  return clockA - clockB || tokenA - tokenB;
}
