/**
 * Blocks in memory, for tests and benches of this folder: a source in which everything that was never written is zeros, an
 * allocator over real segments, and a log that keeps its records.
 */
import { SextantError } from '#core/errors.js';
import type { Region } from '../disk/disk.js';
import { AllocationSegment, SegmentAllocator, noSpace } from './allocation.js';
import { Block, type BlockSource } from './block.js';
import { initInode, S_IFDIR, S_IFREG } from './inode.js';
import { Suspend } from './suspend.js';
import { Transaction, type CommitTarget } from './transaction.js';

export class MemoryBlocks implements BlockSource {
  readonly blocks = new Map<number, Block>();
  edits = 0;
  /** Blocks that `get` misses once: it throws Suspend, and finds them the next time. */
  readonly missing = new Set<number>();

  static key(region: Region, index: number): number {
    return index * 8 + region;
  }

  get(region: Region, index: number, _owner: number): Block {
    const key = MemoryBlocks.key(region, index);
    if (this.missing.size > 0 && this.missing.delete(key)) {
      throw new Suspend('block', Promise.resolve());
    }
    let block = this.blocks.get(key);
    if (block === undefined || !block.valid) {
      block = new Block(region, index);
      this.blocks.set(key, block);
    }
    return block;
  }

  fresh(region: Region, index: number, _owner: number): Block {
    const key = MemoryBlocks.key(region, index);
    let block = this.blocks.get(key);
    if (block === undefined) {
      block = new Block(region, index);
      block.valid = false;
      this.blocks.set(key, block);
    }
    return block;
  }

  edited(_block: Block): void {
    this.edits++;
  }

  /** Bytes of every block that is not zero. */
  snapshot(): Map<number, string> {
    const all = new Map<number, string>();
    for (const [key, { bytes }] of this.blocks) {
      if (bytes.some((byte) => byte !== 0)) all.set(key, Buffer.from(bytes).toString('latin1'));
    }
    return all;
  }
}

export class MemoryLog implements CommitTarget {
  readonly token: number;
  readonly records: Uint8Array[] = [];
  clock: number;
  keep = true;
  bytes = 0;
  #count = 0;

  constructor(token = 1, clock = 0) {
    this.token = token;
    this.clock = clock;
  }

  reserve(): void {}

  takeClocks(count: number): number {
    const first = this.clock + 1;
    this.clock += count;
    return first;
  }

  append(record: Uint8Array): number {
    if (this.keep) this.records.push(record.slice());
    this.bytes += record.length;
    return ++this.#count;
  }
}

/** A source, one segment (or more), an allocator, a transaction and a log. */
export class Bench {
  readonly source = new MemoryBlocks();
  readonly log: MemoryLog;
  readonly segments: AllocationSegment[];
  readonly allocator: SegmentAllocator;
  readonly tx: Transaction;

  constructor(segments = 1, log = new MemoryLog()) {
    this.log = log;
    this.segments = Array.from(
      { length: segments },
      (_, k) => new AllocationSegment(this.source, k),
    );
    this.allocator = new SegmentAllocator(() => this.tx, {
      held: this.segments,
      require: (segment) => {
        if (segment < segments) return this.segments[segment];
        throw new SextantError('CORRUPTION', `no segment ${segment}`);
      },
      more: () => {
        throw noSpace();
      },
    });
    this.tx = new Transaction(this.source, this.allocator);
    this.run(() => {
      this.segments[0].claim(this.tx, 'inode', 0);
      this.segments[0].claim(this.tx, 'inode', 1);
      this.segments[0].claim(this.tx, 'metadata', 0);
      this.segments[0].claim(this.tx, 'data', 0);
    });
  }

  /** One transaction; what was freed is reusable at once. */
  run<T>(operation: () => T): T {
    for (;;) {
      this.tx.begin();
      try {
        const result = operation();
        this.tx.commit(this.log);
        for (const segment of this.segments) segment.release(Number.MAX_SAFE_INTEGER);
        return result;
      } catch (error) {
        this.tx.abort();
        if (!(error instanceof Suspend)) throw error;
      }
    }
  }

  makeInode(ino: number, isDirectory: boolean, generation = 1): Block {
    return this.run(() => {
      this.segments[0].claim(this.tx, 'inode', ino);
      return initInode(this.tx, ino, {
        generation,
        mode: isDirectory ? S_IFDIR | 0o755 : S_IFREG | 0o644,
        nlink: isDirectory ? 2 : 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        now: { sec: 1, nsec: 2 },
        project: 0,
        parent: isDirectory ? 1 : 0,
        seed: isDirectory ? 77 : 0,
      });
    });
  }
}
