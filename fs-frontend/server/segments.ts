/**
 * The allocation segments that this server holds, each under its lock, exclusively, until another server asks for it.
 *
 * ```
 *   none held --more--> the next one that nobody has, or that is given up --> in use --revoked--> log, blocks in place --> gone
 * ```
 *
 * A segment's lock implies the locks of its inodes that were never granted to anybody (rule 8).
 */
import type { LockHandle } from '#lockservice/clerk/index.js';
import { isSextantError } from '#core/errors.js';
import { AllocationSegment, noSpace, type SegmentOwner } from '../format/allocation.js';
import { Region } from '../disk/disk.js';
import {
  SEGMENTS_LOCK,
  SEGMENTS_REGISTER,
  SEGMENT_BITMAP_REGISTERS,
  SEGMENT_DATA_BITMAPS,
  segmentLock,
} from '../format/layout.js';
import { raiseSegmentsInUse, segmentsInUse } from '../format/params.js';
import { Suspend } from '../format/suspend.js';
import type { CachedBlock } from './cached-block.js';
import type { FsCore } from './core.js';

type Kind = 'inode' | 'metadata' | 'data';
const KINDS: readonly Kind[] = ['inode', 'metadata', 'data'];
/** Of a segment that is passed over because it is nearly full. */
const FREE_MIN = 64;
const BITMAPS = 2 + SEGMENT_DATA_BITMAPS;

interface Held {
  readonly segment: AllocationSegment;
  handle: LockHandle;
}

export class Segments implements SegmentOwner {
  readonly held: AllocationSegment[] = [];
  /** Data blocks that dirty content will need. */
  reserved = 0;
  readonly #core: FsCore;
  readonly #segmentsMax: number;
  readonly #byNumber = new Map<number, Held>();
  readonly #taking = new Map<number, Promise<void>>();
  #looking: Promise<void> | undefined = undefined;
  /** Found full, and when: not looked at again for a while. */
  readonly #full = new Map<number, number>();
  /** Waits until freed things are at quorum, or are there to be freed. */
  onShortage: () => Promise<void> = () => Promise.resolve();

  constructor(core: FsCore, segmentsMax: number) {
    this.#core = core;
    this.#segmentsMax = segmentsMax;
  }

  get segmentsMax(): number {
    return this.#segmentsMax;
  }

  require(segment: number): AllocationSegment {
    const held = this.#byNumber.get(segment);
    if (held !== undefined) return held.segment;
    throw new Suspend('space', this.#take(segment, false));
  }

  /** Whether changes in that segment cost no message. */
  has(segment: number): boolean {
    return this.#byNumber.has(segment);
  }

  more(kind: Kind): never {
    if (this.held.some((segment) => segment.holds)) throw new Suspend('space', this.onShortage());
    throw new Suspend('space', this.#look(kind));
  }

  /** Room for so many more data blocks. Throws Suspend, ENOSPC. */
  reserve(count: number): void {
    let free = 0;
    for (const segment of this.held) free += segment.free[2] ?? 0;
    if (free - this.reserved < count) this.more('data');
  }

  /** What was freed by records that are at quorum may be used again (rule 18). */
  release(durable: number): void {
    for (const segment of this.held) if (segment.holds) segment.release(durable);
  }

  get holds(): boolean {
    return this.held.some((segment) => segment.holds);
  }

  /** The lock of a segment is about to go: its blocks are in place by now. */
  forget(segment: number): void {
    for (let i = 0; i < BITMAPS; i++) {
      const index = segment * SEGMENT_BITMAP_REGISTERS + i;
      const block = this.#core.cache.peek(Region.bitmaps, index);
      if (block !== undefined) this.#core.cache.drop(block);
    }
  }

  clear(): void {
    this.held.length = 0;
    this.#byNumber.clear();
    this.reserved = 0;
  }

  async #take(number: number, noWait: boolean): Promise<void> {
    const known = this.#taking.get(number);
    if (known !== undefined) return known;
    const taking = this.#acquire(number, noWait).finally(() => this.#taking.delete(number));
    this.#taking.set(number, taking);
    return taking;
  }

  async #acquire(number: number, noWait: boolean): Promise<void> {
    const core = this.#core;
    const id = segmentLock(number);
    const handle = await core.table.acquire(id, 'exclusive', { noWait });
    if (core.dead !== undefined) {
      handle.release();
      return;
    }
    const segment = new AllocationSegment(core.cache, number);
    try {
      await this.#load(segment);
    } catch (error) {
      handle.release();
      throw error;
    }
    this.#byNumber.set(number, { segment, handle });
    this.held.push(segment);
    handle.onRevoked(() => {
      // Operations are synchronous: none is in the middle of the segment now.
      this.#byNumber.delete(number);
      const at = this.held.indexOf(segment);
      if (at >= 0) this.held.splice(at, 1);
      handle.release();
    });
  }

  async #load(segment: AllocationSegment): Promise<void> {
    for (;;) {
      try {
        segment.load();
        return;
      } catch (error) {
        if (!(error instanceof Suspend)) throw error;
        // All of its registers at once.
        const first = segment.segment * SEGMENT_BITMAP_REGISTERS;
        const loads: Promise<void>[] = [];
        for (let i = 0; i < BITMAPS; i++) {
          const known = this.#core.cache.peek(Region.bitmaps, first + i);
          if (known?.valid !== true)
            loads.push(this.#core.cache.load(Region.bitmaps, first + i, 0));
        }
        await Promise.all(loads);
      }
    }
  }

  /** One that has room: first those in use that nobody holds, then a new one, then those that others hold. */
  #look(kind: Kind): Promise<void> {
    this.#looking ??= this.#find(kind).finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async #find(kind: Kind): Promise<void> {
    const core = this.#core;
    const nowMs = core.world.clock.monotonicMs();
    const inUse = await this.#countInUse(0);
    for (const noWait of [true, false]) {
      const start = Math.max(0, core.clerk.slot) % Math.max(1, inUse);
      for (let i = 0; i < inUse; i++) {
        const number = (start + i) % inUse;
        if (this.#byNumber.has(number)) continue;
        if (nowMs - (this.#full.get(number) ?? -Infinity) < FULL_MS) continue;
        if (await this.#tryOne(number, kind, noWait)) return;
      }
      if (inUse < this.#segmentsMax) {
        await this.#countInUse(inUse + 1);
        if (await this.#tryOne(inUse, kind, true)) return;
        return; // Somebody else took it: look again.
      }
    }
    throw noSpace();
  }

  async #tryOne(number: number, kind: Kind, noWait: boolean): Promise<boolean> {
    try {
      await this.#take(number, noWait);
    } catch (error) {
      if (isSextantError(error, 'CONFLICT')) return false;
      throw error;
    }
    const segment = this.#byNumber.get(number)?.segment;
    if (segment === undefined) return false;
    const free = segment.free[KINDS.indexOf(kind)] ?? 0;
    const wanted = kind === 'data' ? FREE_MIN : 1;
    if (free < wanted) this.#full.set(number, this.#core.world.clock.monotonicMs());
    return free >= wanted || (kind === 'data' && free > 0);
  }

  /** How many segments are in use; raised to `atLeast` first. */
  async #countInUse(atLeast: number): Promise<number> {
    const core = this.#core;
    const mode = atLeast > 0 ? 'exclusive' : 'shared';
    const handle = await core.table.acquire(SEGMENTS_LOCK, mode);
    try {
      if (atLeast > 0) return await core.transact(() => this.#raise(atLeast));
      for (;;) {
        try {
          return segmentsInUse(core.cache.get(Region.params, SEGMENTS_REGISTER, 0));
        } catch (error) {
          if (!(error instanceof Suspend)) throw error;
          await error.ready;
        }
      }
    } finally {
      handle.release();
    }
  }

  #raise(atLeast: number): number {
    raiseSegmentsInUse(this.#core.tx, atLeast);
    return atLeast;
  }

  /** Blocks that the lock of all segments guards. */
  forgetCount(): void {
    const block = this.#core.cache.peek(Region.params, SEGMENTS_REGISTER) as
      | CachedBlock
      | undefined;
    if (block !== undefined) this.#core.cache.drop(block);
  }
}

/** A segment that was full is not tried again so soon. */
const FULL_MS = 2000;
