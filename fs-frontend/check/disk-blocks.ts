/**
 * Blocks of a virtual disk for whoever has it alone: mkfs, check, tools, tests. A plain cache with no locks and no log;
 * changes go to the disk with `writeBack`, in place.
 *
 * ```ts
 * const blocks = new DiskBlocks(disk, takeClocks);
 * const entry = await blocks.read(() => lookupEntry(blocks, getInode(blocks, 1), name));
 * await blocks.change(() => insertEntry(blocks.tx, ...));
 * await blocks.writeBack();
 * ```
 */
import { SextantError } from '#core/errors.js';
import {
  Region,
  registerBytes,
  type RegisterRead,
  type RegisterWrite,
  type VirtualDisk,
} from '../disk/disk.js';
import { AllocationSegment, SegmentAllocator, noSpace } from '../format/allocation.js';
import { Block, type BlockSource } from '../format/block.js';
import { INODE_REGISTERS } from '../format/layout.js';
import { Suspend } from '../format/suspend.js';
import { Transaction, type CommitTarget } from '../format/transaction.js';

const WRITES_AT_ONCE = 512;
/** Clean blocks beyond this many are dropped. */
const BLOCKS_MAX = 65_536;

export class DiskBlocks implements BlockSource, CommitTarget {
  readonly disk: VirtualDisk;
  readonly token: number;
  readonly tx: Transaction;
  readonly allocator: SegmentAllocator;
  readonly #takeClocks: (count: number) => number;
  /** Largest clock of what was read. */
  #clockSeen = 0;
  readonly #pinned = new Set<Block>();
  readonly #blocks = new Map<number, Block>();
  readonly #dirty = new Set<Block>();
  readonly #segments = new Map<number, AllocationSegment>();
  readonly #order: AllocationSegment[] = [];
  #position = 0;

  /** Tags are above those of all blocks read, whatever `takeClocks` gives. */
  constructor(disk: VirtualDisk, takeClocks: (count: number) => number) {
    this.disk = disk;
    this.token = disk.token;
    this.#takeClocks = takeClocks;
    this.allocator = new SegmentAllocator(() => this.tx, {
      held: this.#order,
      require: (segment) => this.segment(segment),
      more: () => {
        throw noSpace();
      },
    });
    this.tx = new Transaction(this, this.allocator);
  }

  /** From now on things may be allocated in that segment. */
  segment(number: number): AllocationSegment {
    let segment = this.#segments.get(number);
    if (segment === undefined) {
      segment = new AllocationSegment(this, number);
      this.#segments.set(number, segment);
      this.#order.push(segment);
    }
    return segment;
  }

  get(region: Region, index: number, _owner: number): Block {
    const block = this.#blocks.get(index * 8 + region);
    if (block !== undefined && block.valid) return block;
    // A whole inode at once.
    const count = region === Region.inodes ? INODE_REGISTERS : 1;
    const first = index - (index % count);
    throw new Suspend('block', this.load([{ region, index: first, count }]));
  }

  fresh(region: Region, index: number, _owner: number): Block {
    const key = index * 8 + region;
    let block = this.#blocks.get(key);
    if (block === undefined) {
      block = new Block(region, index);
      block.valid = false;
      this.#blocks.set(key, block);
    }
    return block;
  }

  edited(block: Block): void {
    this.#dirty.add(block);
  }

  reserve(): void {}

  takeClocks(count: number): number {
    const first = this.#takeClocks(count);
    if (first > this.#clockSeen) return first;
    this.#takeClocks(this.#clockSeen - first);
    return this.#takeClocks(count);
  }

  /** Content that is not on the disk but counts as if it were, until this object is dropped. Nothing may be changed then. */
  overlay(region: Region, index: number, bytes: Uint8Array): void {
    const block = new Block(region, index, bytes);
    this.#blocks.set(index * 8 + region, block);
    this.#pinned.add(block);
  }

  append(): number {
    return ++this.#position;
  }

  /** Reads registers that are not cached. */
  async load(reads: readonly RegisterRead[]): Promise<void> {
    this.#trim();
    const contents = await this.disk.read(reads);
    contents.forEach(({ bytes, tags }, i) => {
      const { region, index } = reads[i];
      const size = registerBytes(region);
      tags.forEach(({ clock, token }, k) => {
        const key = (index + k) * 8 + region;
        this.#clockSeen = Math.max(this.#clockSeen, clock);
        if (this.#blocks.get(key)?.valid === true) return;
        const block = new Block(region, index + k, bytes.slice(k * size, (k + 1) * size));
        block.clock = clock;
        block.token = token;
        this.#blocks.set(key, block);
      });
    });
  }

  /** Runs what only reads, until it need not wait any more. */
  async read<T>(operation: () => T): Promise<T> {
    for (;;) {
      try {
        return operation();
      } catch (error) {
        if (!(error instanceof Suspend)) throw error;
        await error.ready;
      }
    }
  }

  /** Runs a transaction; in memory only until `writeBack`. */
  change<T>(operation: () => T): Promise<T> {
    return this.read(() => {
      this.tx.begin();
      try {
        const result = operation();
        this.tx.commit(this);
        return result;
      } finally {
        this.tx.abort();
      }
    });
  }

  /** Everything changed is at quorum, and what was freed may be used again. */
  async writeBack(): Promise<number> {
    const blocks = [...this.#dirty].sort((a, b) => a.region - b.region || a.index - b.index);
    for (let from = 0; from < blocks.length; from += WRITES_AT_ONCE) {
      const writes: RegisterWrite[] = [];
      const part = blocks.slice(from, from + WRITES_AT_ONCE);
      for (const block of part) {
        const { region, index, clock, token } = block;
        writes.push({ region, index, tag: { clock, token }, bytes: block.bytes.slice() });
        block.startWrite();
      }
      await this.disk.write(writes);
      for (const block of part) {
        block.endWrite(true);
        if (!block.dirty) this.#dirty.delete(block);
      }
    }
    for (const segment of this.#order) segment.release(Number.MAX_SAFE_INTEGER);
    return blocks.length;
  }

  get dirtyBlocks(): number {
    return this.#dirty.size;
  }

  /** Drops everything that is cached. */
  forget(): void {
    if (this.#dirty.size > 0) throw new SextantError('INTERNAL', 'changes would be lost');
    this.#blocks.clear();
    this.#segments.clear();
    this.#order.length = 0;
  }

  #trim(): void {
    if (this.#blocks.size <= BLOCKS_MAX) return;
    let excess = this.#blocks.size - (BLOCKS_MAX * 3) / 4;
    for (const [key, block] of this.#blocks) {
      if (excess <= 0) break;
      if (
        block.dirty ||
        this.#dirty.has(block) ||
        this.#pinned.has(block) ||
        block.region === Region.bitmaps
      )
        continue;
      this.#blocks.delete(key);
      excess--;
    }
  }
}
