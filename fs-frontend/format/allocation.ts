/**
 * An allocation segment as one server holds it, exclusively: which inodes, metadata blocks and data blocks of it are free.
 * What is on the disk are bitmaps (layout.ts), nothing else; counts are made when it is taken.
 *
 * ```
 *   in use --free, in a transaction--> held --release(position at quorum)--> free --allocate--> in use
 * ```
 *
 * - Rule 18: what was freed is given out again only when the record that freed it is at quorum: until `release` it is held,
 *   in memory only. Who takes the segment after a crash or a revoke needs no list of it, because the log was flushed or
 *   replayed before.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { Region } from '../disk/disk.js';
import { FsError, type Ino } from '../vfs/vfs.js';
import {
  countFree,
  freeRun,
  holdBits,
  isSet,
  newHeldBits,
  nextFree,
  putBits,
  type HeldBits,
} from './bitmap.js';
import type { Allocator, Block, BlockSource, Run } from './block.js';
import {
  BITMAP_BITS,
  SEGMENT_BITMAP_REGISTERS,
  SEGMENT_DATA,
  SEGMENT_DATA_BITMAPS,
  SEGMENT_INODES,
  SEGMENT_METADATA,
  segmentOfData,
  segmentOfInode,
  segmentOfMetadata,
} from './layout.js';
import type { Participant, Transaction } from './transaction.js';

const INODES = 0;
const METADATA = 1;
const DATA = 2;
const REGISTERS = 2 + SEGMENT_DATA_BITMAPS;
/** Runs shorter than this are passed over a few times for a longer one. */
const RUN_WANTED = 64;
const RUN_TRIES = 8;

interface Freed {
  readonly register: number;
  readonly start: number;
  readonly count: number;
  position: number;
}

export class AllocationSegment implements Participant {
  readonly segment: number;
  /** Free on the disk and not held: what can be given out. Valid after `load`. */
  readonly free = [0, 0, 0];
  readonly #source: BlockSource;
  readonly #held: (HeldBits | undefined)[] = Array.from({ length: REGISTERS }, () => undefined);
  readonly #hints = [0, 0, 0];
  /** In the order of their records; those of the transaction under way last, with position 0. */
  readonly #freed: Freed[] = [];
  #pendingFreed = 0;
  readonly #taken = [0, 0, 0];
  #loaded = false;

  constructor(source: BlockSource, segment: number) {
    this.#source = source;
    this.segment = segment;
  }

  /** Counts what is free. Throws Suspend until all 18 registers are cached; they stay cached while the segment is held. */
  load(): void {
    if (this.#loaded) return;
    const free = [0, 0, 0];
    for (let i = 0; i < REGISTERS; i++) free[Math.min(i, DATA)] += countFree(this.#block(i));
    for (let kind = 0; kind < 3; kind++) this.free[kind] = free[kind];
    this.#loaded = true;
  }

  /** An inode number, or 0: none is free here. */
  allocateInode(tx: Transaction): Ino {
    const bit = this.#allocateOne(tx, INODES);
    return bit < 0 ? 0 : this.segment * SEGMENT_INODES + bit;
  }

  freeInode(tx: Transaction, ino: Ino): void {
    assert(segmentOfInode(ino) === this.segment, 'an inode is freed in its segment');
    this.#free(tx, INODES, ino % SEGMENT_INODES, 1);
  }

  /** A metadata block, or 0. */
  allocateMetadata(tx: Transaction): number {
    const bit = this.#allocateOne(tx, METADATA);
    return bit < 0 ? 0 : this.segment * SEGMENT_METADATA + bit;
  }

  freeMetadata(tx: Transaction, index: number): void {
    assert(segmentOfMetadata(index) === this.segment, 'a block is freed in its segment');
    this.#free(tx, METADATA, index % SEGMENT_METADATA, 1);
  }

  /** Adjacent data blocks, at `hint` if that is free; undefined: none is. */
  allocateData(tx: Transaction, hint: number, countMax: number): Run | undefined {
    this.load();
    if (this.free[DATA] === 0) return undefined;
    const from = segmentOfData(hint) === this.segment ? hint % SEGMENT_DATA : this.#hints[DATA];
    let best = -1;
    let bestCount = 0;
    const wanted = Math.min(countMax, RUN_WANTED);
    let tries = 0;
    for (let i = 0; i <= SEGMENT_DATA_BITMAPS && tries < RUN_TRIES && bestCount < wanted; i++) {
      const map = (Math.floor(from / BITMAP_BITS) + i) % SEGMENT_DATA_BITMAPS;
      const block = this.#block(DATA + map);
      const held = this.#held[DATA + map];
      let bit = nextFree(block, held, i === 0 ? from % BITMAP_BITS : 0);
      for (; bit >= 0 && tries < RUN_TRIES; tries++) {
        const count = freeRun(block, held, bit, countMax);
        if (count > bestCount) [best, bestCount] = [map * BITMAP_BITS + bit, count];
        // At the hint itself even a short run is better than a jump.
        if (bestCount >= wanted || (i === 0 && bit === from % BITMAP_BITS && hint !== 0)) {
          tries = RUN_TRIES;
          break;
        }
        bit = bit + count >= BITMAP_BITS ? -1 : nextFree(block, held, bit + count);
      }
    }
    if (best < 0) return undefined;
    const map = Math.floor(best / BITMAP_BITS);
    this.#take(tx, DATA + map, best % BITMAP_BITS, bestCount);
    this.#hints[DATA] = (best + bestCount) % SEGMENT_DATA;
    return { start: this.segment * SEGMENT_DATA + best, count: bestCount };
  }

  freeData(tx: Transaction, start: number, count: number): void {
    assert(segmentOfData(start) === this.segment, 'blocks are freed in their segment');
    let bit = start % SEGMENT_DATA;
    const end = bit + count;
    assert(end <= SEGMENT_DATA, 'a run lies in one segment');
    while (bit < end) {
      const inMap = Math.min(end - bit, BITMAP_BITS - (bit % BITMAP_BITS));
      this.#free(tx, DATA + Math.floor(bit / BITMAP_BITS), bit % BITMAP_BITS, inMap);
      bit += inMap;
    }
  }

  /** Marks a number as in use, for mkfs and repair; nothing if it is already. */
  claim(tx: Transaction, kind: 'inode' | 'metadata' | 'data', index: number): void {
    this.load();
    const sizes = { inode: SEGMENT_INODES, metadata: SEGMENT_METADATA, data: SEGMENT_DATA };
    const bit = index % sizes[kind];
    const base = kind === 'inode' ? INODES : kind === 'metadata' ? METADATA : DATA;
    const register = base + Math.floor(bit / BITMAP_BITS);
    if (!isSet(this.#block(register), bit % BITMAP_BITS)) {
      this.#take(tx, register, bit % BITMAP_BITS, 1);
    }
  }

  /** Whether anything waits for a record to be at quorum: then a full segment may have room after a flush. */
  get holds(): boolean {
    return this.#freed.length > 0;
  }

  /** Everything before log position `durable` is at quorum. */
  release(durable: number): void {
    let done = 0;
    for (const { register, start, count, position } of this.#freed) {
      if (position === 0 || position >= durable) break;
      const held = this.#held[register];
      if (held !== undefined) holdBits(held, start, count, false);
      this.free[Math.min(register, DATA)] += count;
      done++;
    }
    if (done > 0) this.#freed.splice(0, done);
  }

  committed(position: number): void {
    for (let i = this.#freed.length - this.#pendingFreed; i < this.#freed.length; i++) {
      this.#freed[i].position = position;
    }
    this.#pendingFreed = 0;
    this.#taken.fill(0);
  }

  aborted(): void {
    for (; this.#pendingFreed > 0; this.#pendingFreed--) {
      const freed = this.#freed.pop();
      if (freed === undefined) break;
      const held = this.#held[freed.register];
      if (held !== undefined) holdBits(held, freed.start, freed.count, false);
    }
    for (let kind = 0; kind < 3; kind++) this.free[kind] += this.#taken[kind];
    this.#taken.fill(0);
  }

  #block(register: number): Block {
    const index = this.segment * SEGMENT_BITMAP_REGISTERS + register;
    return this.#source.get(Region.bitmaps, index, 0);
  }

  #allocateOne(tx: Transaction, kind: 0 | 1): number {
    this.load();
    if (this.free[kind] === 0) return -1;
    const block = this.#block(kind);
    const held = this.#held[kind];
    let bit = nextFree(block, held, this.#hints[kind]);
    if (bit < 0) bit = nextFree(block, held, 0);
    if (bit < 0) return -1;
    this.#take(tx, kind, bit, 1);
    this.#hints[kind] = (bit + 1) % BITMAP_BITS;
    return bit;
  }

  #take(tx: Transaction, register: number, start: number, count: number): void {
    tx.enlist(this);
    const kind = Math.min(register, DATA);
    const changed = putBits(tx, this.#block(register), start, count, true);
    assert(changed === count, 'what is given out was free');
    this.free[kind] -= count;
    this.#taken[kind] += count;
  }

  #free(tx: Transaction, register: number, start: number, count: number): void {
    this.load();
    tx.enlist(this);
    const changed = putBits(tx, this.#block(register), start, count, false);
    if (changed !== count) {
      const where = `segment ${this.segment}, bitmap ${register}, bit ${start}`;
      throw new SextantError('CORRUPTION', `${where}: something is freed that is free`);
    }
    const held = (this.#held[register] ??= newHeldBits());
    holdBits(held, start, count, true);
    this.#freed.push({ register, start, count, position: 0 });
    this.#pendingFreed++;
  }
}

/** Where the segments that a server holds come from. */
export interface SegmentOwner {
  /** Those held, in the order in which they are to be used. */
  readonly held: readonly AllocationSegment[];
  /**
   * The one with that number, to free something in it. Throws Suspend while its lock is being taken, CORRUPTION when it
   * is not among the segments in use.
   */
  require(segment: number): AllocationSegment;
  /** None of those held has room. Throws Suspend while another is being taken, FsError ENOSPC when there is none. */
  more(kind: 'inode' | 'metadata' | 'data'): never;
}

/** The allocator of a server over the segments that it holds. */
export class SegmentAllocator implements Allocator {
  readonly #tx: () => Transaction;
  readonly #owner: SegmentOwner;

  /** `tx` gives the transaction under way: it is made with this allocator, so it comes later. */
  constructor(tx: () => Transaction, owner: SegmentOwner) {
    this.#tx = tx;
    this.#owner = owner;
  }

  /** A number for a new inode, in the segment of `near` if that is held and has room. */
  inode(near: Ino): Ino {
    const { held } = this.#owner;
    for (const segment of held) {
      if (segment.segment !== segmentOfInode(near)) continue;
      const ino = segment.allocateInode(this.#tx());
      if (ino !== 0) return ino;
    }
    for (const segment of held) {
      const ino = segment.allocateInode(this.#tx());
      if (ino !== 0) return ino;
    }
    return this.#owner.more('inode');
  }

  freeInode(ino: Ino): void {
    this.#owner.require(segmentOfInode(ino)).freeInode(this.#tx(), ino);
  }

  metadata(_owner: Ino): number {
    for (const segment of this.#owner.held) {
      const index = segment.allocateMetadata(this.#tx());
      if (index !== 0) return index;
    }
    return this.#owner.more('metadata');
  }

  freeMetadata(index: number, _owner: Ino): void {
    this.#owner.require(segmentOfMetadata(index)).freeMetadata(this.#tx(), index);
  }

  data(_owner: Ino, hint: number, countMax: number): Run {
    const { held } = this.#owner;
    for (const segment of held) {
      if (hint === 0 || segment.segment !== segmentOfData(hint)) continue;
      const run = segment.allocateData(this.#tx(), hint, countMax);
      if (run !== undefined) return run;
    }
    for (const segment of held) {
      const run = segment.allocateData(this.#tx(), 0, countMax);
      if (run !== undefined) return run;
    }
    return this.#owner.more('data');
  }

  freeData(start: number, count: number, _owner: Ino): void {
    let at = start;
    const end = start + count;
    while (at < end) {
      const segment = segmentOfData(at);
      const part = Math.min(end, (segment + 1) * SEGMENT_DATA) - at;
      this.#owner.require(segment).freeData(this.#tx(), at, part);
      at += part;
    }
  }
}

export function noSpace(): FsError {
  return new FsError('ENOSPC', 'no space left on the disk');
}
