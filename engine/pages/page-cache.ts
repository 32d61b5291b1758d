/**
 * The buffer cache: frames of 8 KiB in one SharedArrayBuffer, a page table over them, and who may leave.
 *
 * ```
 *            read             edited           VDL passes it, unpinned
 *   (none) ------> clean ----------> dirty ------------------------------> clean
 *     ^              |                 ^  (LSN > VDL: never leaves)
 *     +--------------+ evicted         +---- FORMAT of a page that is not cached
 * ```
 *
 * | kind             | where it is kept                                                             |
 * |------------------|------------------------------------------------------------------------------|
 * | clean, unpinned  | in the LRU, in order of age                                                  |
 * | dirty            | in a list by LSN; leaves the LRU when met at its old end, enters it when clean |
 * | pinned           | likewise leaves the LRU when met, enters it with the last unpin              |
 * | being read       | in `reads`, not yet in the page table                                        |
 *
 * What a hit costs: a probe and a store into `referenced`, 8 to 12 ns. The LRU itself (100 ns a touch, measured) is touched only by
 * the sweep: a page found referenced at the old end has its mark cleared and goes to the young end.
 *
 * The sweep runs between turns only, so what `base` returned stands until the caller gives the thread back
 * (returns to the event loop or awaits). Between sweeps pages come out of a reserve of free frames.
 *
 * - Rule 27: a page with LSN > VDL, or pinned, is never evicted; when such pages fill the cache, writers wait.
 * - Rule 29: frames and page table are shared memory.
 * - One read per page is in flight; all who miss it wait for the same one, and get its error.
 * - A read whose page was formatted meanwhile is dropped: the cache has the newer version.
 */
import { LRUCache } from 'lru-cache';
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { pageLsn } from '#core/redo/page.js';
import type { Volume } from '../volume/volume.js';
import { PageTable } from './page-table.js';
import { Suspend } from './suspend.js';

export interface PageCacheOptions {
  /** Bytes of the frames; default 256 MiB, at least 32 pages. */
  readonly bufferBytes?: number;
}

export interface PageCacheStatus {
  readonly frames: number;
  readonly freeFrames: number;
  readonly dirtyFrames: number;
  readonly readsInFlight: number;
  readonly misses: number;
  readonly evictions: number;
}

const DEFAULT_BUFFER_BYTES = 256 * 1024 * 1024;
export const FRAMES_MIN = 32;
/** A sweep gives so many referenced pages a second chance per frame of the reserve, to stay short. */
const CHANCES_PER_FRAME = 8;
const NO_FRAME = -1;

/** A read in flight. */
class PageRead {
  readonly frame: number;
  promise: Promise<void> = Promise.resolve();
  superseded = false;

  constructor(frame: number) {
    this.frame = frame;
  }
}

/** Somebody waits until a condition may have come true. */
class Gate {
  promise: Promise<void> | undefined = undefined;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};

  wait(): Promise<void> {
    if (this.promise === undefined) {
      this.promise = new Promise<void>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
      this.promise.catch(() => {});
    }
    return this.promise;
  }

  open(): void {
    if (this.promise === undefined) return;
    this.promise = undefined;
    this.#resolve();
  }

  fail(error: Error): void {
    if (this.promise === undefined) return;
    this.promise = undefined;
    this.#reject(error);
  }
}

export class PageCache {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly frameCount: number;
  /** Why no page can be had any more: the volume died, or half an MTR was applied. */
  failure: Error | undefined = undefined;
  misses = 0;
  evictions = 0;
  dirtyCount = 0;

  readonly #volume: Volume;
  readonly #table: PageTable;
  readonly #lru: LRUCache<number, number>;
  readonly #pageOf: Uint32Array;
  readonly #referenced: Uint8Array;
  readonly #pins: Uint16Array;
  readonly #inLru: Uint8Array;
  /** The dirty list, oldest LSN first; index frameCount is its head. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #free: Int32Array;
  #freeCount: number;
  readonly #reserve: number;
  readonly #dirtyMax: number;
  readonly #reads = new Map<number, PageRead>();
  readonly #frames = new Gate();
  readonly #cleaner = new Gate();
  /** Frames that the hungriest waiter of `frames` asked for. */
  #wanted = 0;
  #sweepScheduled = false;
  #pushed = 0;

  constructor(volume: Volume, options: PageCacheOptions = {}) {
    const count = Math.floor((options.bufferBytes ?? DEFAULT_BUFFER_BYTES) / PAGE_BYTES);
    if (count < FRAMES_MIN) {
      throw new SextantError('CONFIG', `bufferBytes: at least ${FRAMES_MIN * PAGE_BYTES}`);
    }
    const buffer = new SharedArrayBuffer(count * PAGE_BYTES);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.frameCount = count;
    this.#volume = volume;
    this.#table = new PageTable(count);
    this.#lru = new LRUCache<number, number>({ max: count });
    this.#pageOf = new Uint32Array(new SharedArrayBuffer(count * 4));
    this.#referenced = new Uint8Array(count);
    this.#pins = new Uint16Array(count);
    this.#inLru = new Uint8Array(count);
    this.#next = new Int32Array(count + 1).fill(NO_FRAME);
    this.#previous = new Int32Array(count + 1).fill(NO_FRAME);
    this.#next[count] = count;
    this.#previous[count] = count;
    this.#free = Int32Array.from({ length: count }, (_, i) => count - 1 - i);
    this.#freeCount = count;
    this.#reserve = Math.max(2, Math.min(1024, count >>> 4));
    this.#dirtyMax = count >>> 1;
    this.#hook();
  }

  /** Byte offset of the cached page, until the thread is given back. Throws Suspend on a miss. */
  base(pageNo: number): number {
    const frame = this.#table.find(pageNo);
    if (frame < 0) throw this.#miss(pageNo);
    this.#referenced[frame] = 1;
    return frame * PAGE_BYTES;
  }

  /** As `base`, -1 on a miss, which starts no read. */
  peek(pageNo: number): number {
    const frame = this.#table.find(pageNo);
    return frame < 0 ? -1 : frame * PAGE_BYTES;
  }

  /** Starts to read a page that will be needed, if there are frames to spare. */
  prefetch(pageNo: number): void {
    if (this.#table.find(pageNo) >= 0 || this.#reads.has(pageNo)) return;
    if (this.failure !== undefined || this.#freeCount <= this.#reserve >>> 1) {
      this.#scheduleSweep();
      return;
    }
    void this.#startRead(pageNo);
  }

  /** Keeps a cached page in its frame beyond this turn; counted. */
  pin(pageNo: number): number {
    const base = this.base(pageNo);
    const frame = base / PAGE_BYTES;
    assert(this.#pins[frame] < 0xffff, 'pins of a page are counted in a u16');
    this.#pins[frame] = this.#pins[frame] + 1;
    return base;
  }

  unpin(pageNo: number): void {
    const frame = this.#table.find(pageNo);
    assert(frame >= 0 && this.#pins[frame] > 0, 'unpin follows pin');
    this.#pins[frame] = this.#pins[frame] - 1;
    if (this.#pins[frame] === 0) this.#enterLru(frame);
  }

  /**
   * Throws Suspend unless `count` new pages can be installed now and the pages above VDL leave enough of the
   * cache to readers (rule 27). Asked before the first edit of an MTR.
   */
  admit(count: number): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.dirtyCount >= this.#dirtyMax) {
      this.#push();
      throw new Suspend('frames', this.#cleaner.wait());
    }
    assert(count <= this.frameCount >>> 2, 'an MTR makes fewer pages than a quarter of the cache');
    if (this.#freeCount < count) throw new Suspend('frames', this.#whenFrames(count));
  }

  /** A zeroed frame for a page that is about to be formatted. Its frame was admitted. */
  install(pageNo: number): number {
    const frame = this.#takeFrame();
    assert(frame >= 0, 'a frame was admitted for each new page');
    const read = this.#reads.get(pageNo);
    if (read !== undefined) read.superseded = true;
    this.#occupy(pageNo, frame);
    const base = frame * PAGE_BYTES;
    this.bytes.fill(0, base, base + PAGE_BYTES);
    return base;
  }

  /** The page at `base` took a record and now has the highest LSN of all. */
  edited(base: number): void {
    const frame = base / PAGE_BYTES;
    const next = this.#next;
    const previous = this.#previous;
    const head = this.frameCount;
    if (next[frame] === NO_FRAME) this.dirtyCount++;
    else this.#unlink(frame);
    const last = previous[head];
    next[last] = frame;
    previous[frame] = last;
    next[frame] = head;
    previous[head] = frame;
  }

  /** Nothing in the cache may be used any more; every later `base` throws `error`. */
  poison(error: Error): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.#table.clear();
    this.#frames.fail(error);
    this.#cleaner.fail(error);
  }

  /** Forgets a clean, unpinned page: for tests, and for a page that proved to be damaged. */
  drop(pageNo: number): boolean {
    const frame = this.#table.find(pageNo);
    if (frame < 0 || this.#held(frame)) return false;
    if (this.#inLru[frame] === 1) this.#lru.delete(pageNo);
    this.#evict(frame);
    return true;
  }

  status(): PageCacheStatus {
    return {
      frames: this.frameCount,
      freeFrames: this.#freeCount,
      dirtyFrames: this.dirtyCount,
      readsInFlight: this.#reads.size,
      misses: this.misses,
      evictions: this.evictions,
    };
  }

  #hook(): void {
    const volume = this.#volume;
    const onVdl = volume.onVdl;
    const onFailure = volume.onFailure;
    volume.onVdl = (vdl) => {
      onVdl(vdl);
      this.#clean(vdl);
    };
    volume.onFailure = (error) => {
      onFailure(error);
      this.poison(error);
    };
  }

  /** Pages at or below VDL leave the dirty list and, unpinned, enter the LRU. */
  #clean(vdl: number): void {
    const head = this.frameCount;
    for (;;) {
      const frame = this.#next[head];
      if (frame === head || pageLsn(this.view, frame * PAGE_BYTES) > vdl) break;
      this.#unlink(frame);
      this.#next[frame] = NO_FRAME;
      this.dirtyCount--;
      this.#enterLru(frame);
    }
    if (this.dirtyCount < this.#dirtyMax) this.#cleaner.open();
    else if (this.#cleaner.promise !== undefined) this.#push();
  }

  #unlink(frame: number): void {
    const before = this.#previous[frame];
    const after = this.#next[frame];
    this.#next[before] = after;
    this.#previous[after] = before;
  }

  #held(frame: number): boolean {
    return this.#pins[frame] > 0 || this.#next[frame] !== NO_FRAME;
  }

  /** Rule 27: on the later of the two events. */
  #enterLru(frame: number): void {
    if (this.#inLru[frame] === 1 || this.#held(frame)) return;
    this.#inLru[frame] = 1;
    this.#lru.set(this.#pageOf[frame], frame);
    if (this.#frames.promise !== undefined) this.#scheduleSweep();
  }

  #miss(pageNo: number): Suspend {
    if (this.failure !== undefined) throw this.failure;
    const read = this.#reads.get(pageNo);
    if (read !== undefined) return new Suspend('page', read.promise);
    if (this.#freeCount === 0) return new Suspend('frames', this.#whenFrames(1));
    this.misses++;
    return new Suspend('page', this.#startRead(pageNo));
  }

  #startRead(pageNo: number): Promise<void> {
    const read = new PageRead(this.#takeFrame());
    this.#reads.set(pageNo, read);
    const target = read.frame * PAGE_BYTES;
    read.promise = this.#volume.readPage(pageNo, this.bytes, target).then(
      () => this.#readDone(pageNo, read),
      (error: unknown) => {
        this.#readOver(pageNo, read);
        this.#release(read.frame);
        throw error;
      },
    );
    // Whoever waits gets the error from the same promise; a prefetch has nobody who waits.
    read.promise.catch(() => {});
    return read.promise;
  }

  #readDone(pageNo: number, read: PageRead): void {
    this.#readOver(pageNo, read);
    if (read.superseded || this.failure !== undefined) {
      this.#release(read.frame);
      return;
    }
    this.#occupy(pageNo, read.frame);
    this.#enterLru(read.frame);
  }

  #readOver(pageNo: number, read: PageRead): void {
    if (this.#reads.get(pageNo) === read) this.#reads.delete(pageNo);
  }

  #occupy(pageNo: number, frame: number): void {
    this.#table.insert(pageNo, frame);
    this.#pageOf[frame] = pageNo;
    this.#referenced[frame] = 1;
    this.#pins[frame] = 0;
    this.#inLru[frame] = 0;
  }

  #takeFrame(): number {
    if (this.#freeCount <= this.#reserve) this.#scheduleSweep();
    return this.#freeCount === 0 ? NO_FRAME : this.#free[--this.#freeCount];
  }

  #release(frame: number): void {
    this.#free[this.#freeCount++] = frame;
    this.#openFrames();
  }

  /** Only when there are as many as the hungriest wants: else it would wake, sweep and wait in a loop. */
  #openFrames(): void {
    if (this.#freeCount < this.#wanted || this.#freeCount === 0) return;
    this.#wanted = 0;
    this.#frames.open();
  }

  #evict(frame: number): void {
    this.#table.remove(this.#pageOf[frame]);
    this.#inLru[frame] = 0;
    this.evictions++;
    this.#release(frame);
  }

  #whenFrames(count: number): Promise<void> {
    if (count > this.#wanted) this.#wanted = count;
    this.#scheduleSweep();
    return this.#frames.wait();
  }

  /** A microtask runs when no caller is on the stack: nobody holds a `base` then. */
  #scheduleSweep(): void {
    if (this.#sweepScheduled || this.failure !== undefined) return;
    this.#sweepScheduled = true;
    queueMicrotask(() => {
      this.#sweepScheduled = false;
      this.#sweep();
    });
  }

  #sweep(): void {
    if (this.failure !== undefined) return;
    const target = Math.max(this.#reserve * 2, this.#wanted);
    let chances = this.#reserve * CHANCES_PER_FRAME;
    for (let tries = this.#lru.size * 2; tries > 0 && this.#freeCount < target; tries--) {
      const frame = this.#lru.pop();
      if (frame === undefined) break;
      if (this.#held(frame)) {
        this.#inLru[frame] = 0;
      } else if (this.#referenced[frame] === 1 && chances > 0) {
        chances--;
        this.#referenced[frame] = 0;
        this.#lru.set(this.#pageOf[frame] as number, frame);
      } else {
        this.#evict(frame);
      }
    }
    this.#openFrames();
    // Dirty pages crowd out the clean ones, or somebody waits: reason enough to send.
    if (this.dirtyCount >= this.#dirtyMax >>> 1 || this.#frames.promise !== undefined) this.#push();
  }

  /** Cache pressure is a reason to send (rule 2); `#clean` goes on when VDL has moved. */
  #push(): void {
    const lsn = this.#volume.nextLsn - 1;
    if (lsn <= this.#pushed || lsn <= this.#volume.vdl) return;
    this.#pushed = lsn;
    this.#volume.wait(lsn, () => {});
  }
}
