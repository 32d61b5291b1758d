/** What the parts of a file server share: disk, locks, cache, log, and the loop that runs operations. */
import { SextantError, type ErrorCode } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import type { Clerk, LockTable } from '#lockservice/clerk/index.js';
import type { VirtualDisk } from '../disk/disk.js';
import { SegmentAllocator } from '../format/allocation.js';
import type { Block } from '../format/block.js';
import { getInode, isInUse, type Time } from '../format/inode.js';
import { Suspend } from '../format/suspend.js';
import { Transaction } from '../format/transaction.js';
import type { Log } from '../log/log.js';
import { FsError, type Entry, type Ino, type KernelCache, type Maybe } from '../vfs/vfs.js';
import type { Errno } from '../vfs/errno.js';
import { BlockCache } from './block-cache.js';
import type { CachedBlock } from './cached-block.js';
import { ChunkCache } from './file-content.js';
import type { Bounds } from './bounds.js';
import { InodeTable, type InodeState } from './inode-table.js';
import type { Newcomers } from './newcomers.js';
import { LOCKS_NEEDED, Operation } from './operation.js';
import type { Orphans } from './orphans.js';
import { Segments } from './segments.js';
import type { WriteBack } from './write-back.js';

/** Every other one is EIO, and noted. */
const ERRNOS: Partial<Record<ErrorCode, Errno>> = {
  DISK_FULL: 'ENOSPC',
  OVERLOADED: 'EAGAIN',
  CANCELLED: 'EINTR',
  DEADLOCK: 'EDEADLK',
};

interface Parts {
  readonly orphans: Orphans;
  readonly newcomers: Newcomers;
  readonly writeBack: WriteBack;
}

/** An operation that finds other locks to need so often is given up. */
const ATTEMPTS_MAX = 10_000;

export class FsCore {
  readonly world: World;
  readonly disk: VirtualDisk;
  readonly clerk: Clerk;
  readonly table: LockTable;
  readonly bounds: Bounds;
  readonly cache: BlockCache;
  readonly chunks: ChunkCache;
  readonly inodes: InodeTable;
  readonly segments: Segments;
  readonly allocator: SegmentAllocator;
  readonly tx: Transaction;
  kernel: KernelCache | undefined = undefined;
  /** Why no operation is served any more. */
  dead: FsError | undefined = undefined;
  /** Nothing is changed until this resolves: the barrier lock is elsewhere (rule 15). */
  barred: Promise<void> | undefined = undefined;
  /** Set when the file server is put together. */
  onDead: (error: FsError) => void = () => undefined;
  /** Inodes with content or an overlay to be written back. */
  readonly touched = new Set<InodeState>();
  #parts: Parts | undefined = undefined;
  #log: Log | undefined = undefined;
  #idle: Operation | undefined = undefined;
  #waiting = 0;
  #lastNow: Time = { sec: 0, nsec: 0 };
  #lastWallMs = 0;

  constructor(
    world: World,
    disk: VirtualDisk,
    clerk: Clerk,
    table: LockTable,
    bounds: Bounds,
    segmentsMax: number,
  ) {
    this.world = world;
    this.disk = disk;
    this.clerk = clerk;
    this.table = table;
    this.bounds = bounds;
    this.cache = new BlockCache(disk, bounds.metadataBytesMax);
    this.chunks = new ChunkCache(bounds.contentBytesMax);
    this.inodes = new InodeTable(bounds.inodesMax);
    this.segments = new Segments(this, segmentsMax);
    this.allocator = new SegmentAllocator(() => this.tx, this.segments);
    this.tx = new Transaction(this.cache, this.allocator);
  }

  get log(): Log {
    const log = this.#log;
    if (log === undefined) throw new FsError('EIO', 'the log is not open');
    return log;
  }

  set log(log: Log) {
    this.#log = log;
  }

  /** The parts that stand on this; once. */
  attach(parts: Parts): void {
    this.#parts = parts;
    this.chunks.reserve = (count) => {
      this.segments.reserved += count;
    };
    this.segments.onShortage = () => this.#flushFreed();
  }

  /** Not a round of write-back: that may be what waits for it. */
  async #flushFreed(): Promise<void> {
    await this.log.flush();
    this.segments.release(this.log.durable);
  }

  get orphans(): Orphans {
    return this.#part.orphans;
  }

  get newcomers(): Newcomers {
    return this.#part.newcomers;
  }

  get #part(): Parts {
    if (this.#parts === undefined) throw new FsError('EIO', 'the file server is not open');
    return this.#parts;
  }

  /** Dirty blocks go to their places, and what was freed may be used again. */
  relieve(): Promise<void> {
    return this.#part.writeBack.round();
  }

  /** Some dirty content is written. */
  relieveContent(): Promise<void> {
    return this.#part.writeBack.progress();
  }

  writeBackFile(state: InodeState): Promise<void> {
    return this.#part.writeBack.file(state);
  }

  /** Begins to write a file back that has much to write. */
  writeSoon(state: InodeState): void {
    if (state.content?.writing === undefined) void this.#part.writeBack.file(state);
  }

  // Operations --------------------------------------------------------------------------------

  /** Runs an operation (operation.ts): its result, or a promise of it when it must wait. */
  run<T>(body: (op: Operation) => T): Maybe<T> {
    if (this.dead !== undefined) throw this.dead;
    const op = this.#idle ?? new Operation(this);
    this.#idle = undefined;
    try {
      const result = body(op);
      op.release();
      this.#idle = op;
      return result;
    } catch (error) {
      op.undo();
      if (error instanceof Suspend) return this.#again(op, body, error);
      op.release();
      this.#idle = op;
      throw this.errorOf(error);
    }
  }

  async #again<T>(op: Operation, body: (op: Operation) => T, first: Suspend): Promise<T> {
    if (this.#waiting >= this.bounds.operationsMax) {
      op.release();
      throw new FsError('EAGAIN', `${this.#waiting} operations wait`);
    }
    this.#waiting++;
    try {
      let suspended = first;
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        if (suspended === LOCKS_NEEDED) await op.takeLocks();
        else {
          if (suspended.reason !== 'block') op.release();
          await suspended.ready;
        }
        if (this.dead !== undefined) throw this.dead;
        op.again();
        try {
          return body(op);
        } catch (error) {
          op.undo();
          if (!(error instanceof Suspend)) throw error;
          suspended = error;
        }
      }
      throw new FsError('EBUSY', 'an operation found no rest');
    } catch (error) {
      throw this.errorOf(error);
    } finally {
      op.release();
      this.#waiting--;
    }
  }

  /** A transaction of the server's own, under locks that it holds for certain: dirty means locked (FS-1). */
  async transact<T>(body: () => T): Promise<T> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (this.dead !== undefined) throw this.dead;
      try {
        this.tx.begin();
        const result = body();
        if (this.tx.open) this.tx.commit(this.log);
        this.committed();
        return result;
      } catch (error) {
        this.tx.abort();
        if (!(error instanceof Suspend)) throw error;
        await error.ready;
      }
    }
    throw new FsError('EBUSY', 'a transaction found no rest');
  }

  /** Before anything is changed. Throws Suspend, or why nothing may be. */
  mayChange(): void {
    if (this.barred !== undefined) throw new Suspend('lock', this.barred);
    if (this.cache.dirtyBytes > this.bounds.dirtyMetadataBytesMax) {
      throw new Suspend('space', this.relieve());
    }
  }

  /** After a record was appended. */
  committed(): void {
    this.cache.settle();
    this.inodes.trim();
  }

  // What operations share -----------------------------------------------------------------------

  /** The header of an inode whose lock is held. Throws Suspend, ESTALE. */
  header(ino: Ino): Block {
    const known = this.inodes.peek(ino);
    const header = known?.header;
    if (header !== undefined && header.cached && header.valid && isInUse(header)) {
      this.cache.touch(header);
      return header;
    }
    const block = getInode(this.cache, ino) as CachedBlock;
    this.inodes.get(ino).header = block;
    return block;
  }

  entry(ino: Ino): Entry {
    const header = this.header(ino);
    const state = this.inodes.get(ino);
    const ms = this.cacheMs(state);
    return { attributes: state.attributes(header), attributesMs: ms, nameMs: ms };
  }

  /** Rule 20: never past the lease's margin, and 0 while the lock goes back. */
  cacheMs(state: InodeState): number {
    if (state.serving || this.kernel === undefined) return 0;
    return Math.min(this.bounds.kernelCacheMsMax, this.clerk.leaseLeftMs());
  }

  /** Rule 24: with a kernel above, an inode that somebody here may write is only ever held exclusive. */
  onlyExclusive(state: InodeState): boolean {
    return this.kernel !== undefined && state.writers > 0;
  }

  /** Never goes back. */
  now(): Time {
    const ms = this.world.clock.wallMs();
    if (ms <= this.#lastWallMs) return this.#lastNow;
    this.#lastWallMs = ms;
    const sec = Math.floor(ms / 1000);
    this.#lastNow = { sec, nsec: Math.min(999_999_999, Math.floor((ms - sec * 1000) * 1e6)) };
    return this.#lastNow;
  }

  /** The end: the lease is lost, the token fenced, or the log cannot be written. */
  die(error: FsError): void {
    if (this.dead !== undefined) return;
    this.dead = error;
    this.onDead(error);
  }

  /** What callers see of any error. */
  errorOf(error: unknown): unknown {
    if (error instanceof FsError) return error;
    if (!(error instanceof SextantError)) return error;
    const { code, message } = error;
    if (code === 'LEASE_LOST' || code === 'FENCED' || code === 'CLOSED') {
      const lost = new FsError('EIO', `this file server is over: ${message}`);
      this.die(lost);
      return lost;
    }
    const errno = ERRNOS[code];
    if (errno === undefined) this.world.log.error('an operation failed', { code, error: message });
    return new FsError(errno ?? 'EIO', message);
  }
}
