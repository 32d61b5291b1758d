/**
 * Write-back: blocks and file content go to their places on the disk.
 *
 * ```
 *   blocks:   copy --> log flushed through their records (FS-2) --> in place under their tags --> log trimmed
 *   content:  places taken as unwritten extents (record) --> data at quorum --> extents written, size (record)   (rule 18)
 *             fsync of at most 64 KiB: places, data and size in one record
 * ```
 *
 * - A record never shows an extent as written before its data is at quorum, or has the data with it.
 * - One write-back a file at a time; what cuts blocks off waits for it, what writes does not.
 * - What fails stays dirty, is told at the next fsync or flush, and is tried again.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import { REGISTER_BYTES, Region, type RegisterWrite } from '../disk/disk.js';
import type { Block } from '../format/block.js';
import { extentsOf, findExtent, insertExtent, markWritten } from '../format/extents.js';
import { Content, contentOf } from '../format/inode.js';
import { leaveSmall } from '../format/small-content.js';
import { FsError } from '../vfs/vfs.js';
import type { CachedBlock } from './cached-block.js';
import { contentFor } from './content-blocks.js';
import type { FsCore } from './core.js';
import { CHUNK_BLOCKS, type Chunk, type FileContent } from './file-content.js';
import type { InodeState } from './inode-table.js';

const BLOCKS_AT_ONCE = 512;
const BYTES_AT_ONCE = 1024 * 1024;
/** Blocks of a file that one round of its write-back takes: 4 MiB. */
const FILE_BLOCKS_AT_ONCE = 1024;
/** At most so many dirty blocks of a file ride in a record at fsync: 64 KiB. */
const LOGGED_BLOCKS_MAX = 16;
const FILES_AT_ONCE = 16;

/** Dirty blocks of a file, and where they are to be. */
interface Run {
  readonly fileBlock: number;
  readonly dataIndex: number;
  readonly count: number;
  readonly unwritten: boolean;
}

const scratch = { fileBlock: 0, dataIndex: 0, count: 0, unwritten: false };

export class WriteBack {
  readonly #core: FsCore;
  /** Clocks of writes under way. */
  readonly #clocks = new Set<number>();
  #landed: Promise<void> = Promise.resolve();
  #land: () => void = () => undefined;
  #flying = 0;
  #round: Promise<void> | undefined = undefined;

  constructor(core: FsCore) {
    this.#core = core;
  }

  // Blocks ------------------------------------------------------------------------------------

  /** Puts these blocks in place, log first. Those that change meanwhile stay dirty. Rejects with what the disk says. */
  async blocks(dirty: Iterable<CachedBlock>): Promise<void> {
    let batch: CachedBlock[] = [];
    let bytes = 0;
    const waits: Promise<void>[] = [];
    for (const block of dirty) {
      if (!block.dirty || block.flyingClock !== 0) continue;
      batch.push(block);
      bytes += block.bytes.length;
      if (batch.length < BLOCKS_AT_ONCE && bytes < BYTES_AT_ONCE) continue;
      waits.push(this.#batch(batch));
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) waits.push(this.#batch(batch));
    const done = await Promise.allSettled(waits);
    for (const one of done) if (one.status === 'rejected') throw one.reason as Error;
  }

  async #batch(batch: readonly CachedBlock[]): Promise<void> {
    const core = this.#core;
    const writes: RegisterWrite[] = [];
    let position = 0;
    for (const block of batch) {
      block.flyingClock = block.clock;
      block.nextFrom = 0;
      position = Math.max(position, block.dirtyTo);
      writes.push({
        region: block.region,
        index: block.index,
        tag: { clock: block.clock, token: block.token },
        bytes: block.bytes.slice(),
      });
    }
    this.#took();
    try {
      await core.log.flush(position);
      await core.disk.write(writes);
      for (const block of batch) core.cache.inPlace(block);
    } catch (error) {
      for (const block of batch) {
        block.flyingClock = 0;
        block.nextFrom = 0;
      }
      throw this.failed(error);
    } finally {
      this.#done();
    }
  }

  /** Every block that a record before `position` changed is in place. */
  async through(position: number): Promise<void> {
    const { cache } = this.#core;
    while (this.#core.dead === undefined) {
      const dirty: CachedBlock[] = [];
      let flying = false;
      for (const block of cache.dirty) {
        if (block.dirtyFrom >= position) continue;
        if (block.flyingClock !== 0) flying = true;
        else dirty.push(block);
      }
      if (dirty.length > 0) await this.blocks(dirty);
      else if (flying) await this.#landed;
      else return;
    }
  }

  /** Every block of the owner is in place; its lock is going, so none changes any more. */
  async owner(owner: number): Promise<void> {
    const { cache } = this.#core;
    for (;;) {
      const dirty: CachedBlock[] = [];
      let flying = false;
      cache.forOwner(owner, (block) => {
        if (!block.dirty) return;
        if (block.flyingClock !== 0) flying = true;
        else dirty.push(block);
      });
      if (dirty.length > 0) await this.blocks(dirty);
      else if (flying) await this.#landed;
      else return;
    }
  }

  #took(): void {
    if (this.#flying++ > 0) return;
    this.#landed = new Promise((resolve) => (this.#land = resolve));
  }

  #done(): void {
    if (--this.#flying > 0) {
      const land = this.#land;
      this.#landed = new Promise((resolve) => (this.#land = resolve));
      land();
    } else this.#land();
  }

  /** An error of the disk, noted. */
  failed(error: unknown): unknown {
    const core = this.#core;
    if (isSextantError(error, 'FENCED') || isSextantError(error, 'CONFLICT')) {
      core.die(new FsError('EIO', `this file server is over: ${String(error)}`));
    } else if (core.dead === undefined && core.log.failure !== undefined) {
      core.die(new FsError('EIO', `the log cannot be written: ${String(error)}`));
    }
    return error;
  }

  // Rounds ------------------------------------------------------------------------------------

  /** Everything that is dirty now; one round at a time. */
  round(): Promise<void> {
    this.#round ??= this.#everything().finally(() => (this.#round = undefined));
    return this.#round;
  }

  async #everything(): Promise<void> {
    const core = this.#core;
    await this.files();
    if (core.dead !== undefined) return;
    await core.log.flush();
    await this.blocks([...core.cache.dirty]);
    this.settle();
  }

  /** Frees log and freed blocks as far as that goes. */
  settle(): void {
    const core = this.#core;
    if (core.dead !== undefined) return;
    const { log } = core;
    core.segments.release(log.durable);
    let from = Math.min(log.end, log.durable);
    let clock = core.clerk.clock + 1;
    for (const block of core.cache.dirty) {
      if (block.dirtyFrom < from) from = block.dirtyFrom;
      if (block.clock < clock) clock = block.clock;
      if (block.flyingClock !== 0 && block.flyingClock < clock) clock = block.flyingClock;
    }
    for (const one of this.#clocks) if (one < clock) clock = one;
    log.trim(from);
    // The log's own registers are written under the clock too: complete only when nothing is on its way.
    if (log.durable >= log.end && clock > 1) core.disk.reportComplete(clock - 1);
  }

  /** Content and overlays of all files that have some. */
  async files(): Promise<void> {
    const core = this.#core;
    const states = [...core.touched];
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < states.length && core.dead === undefined) {
        const state = states[next++] as InodeState;
        core.touched.delete(state);
        await this.file(state);
        if (state.content?.busy === true || state.hasOverlay) core.touched.add(state);
      }
    };
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker));
  }

  /** Resolves when some content was written: all files are on their way then. */
  async progress(): Promise<void> {
    const core = this.#core;
    let dirty: InodeState | undefined;
    let most = 0;
    for (const state of core.touched) {
      const blocks = state.content?.dirtyBlocks ?? 0;
      if (blocks <= most) continue;
      most = blocks;
      dirty = state;
    }
    const { dirtyBytes } = core.chunks;
    const done = this.files();
    if (dirty !== undefined) await Promise.race([done, this.file(dirty), this.#landed]);
    else await done;
    if (core.chunks.dirtyBytes >= dirtyBytes) await done;
  }

  // Content -----------------------------------------------------------------------------------

  /** Writes the file's content and overlay back. Never rejects: what fails is in `state.error`. */
  file(state: InodeState): Promise<void> {
    return this.#alone(state, () => this.#file(state));
  }

  /** As `file`, in one record where it is little: for fsync, which flushes the log next. */
  async forSync(state: InodeState): Promise<void> {
    while (state.content?.writing !== undefined) await state.content.writing;
    const dirty = state.content?.dirtyBlocks ?? 0;
    if (dirty > LOGGED_BLOCKS_MAX) await this.#alone(state, () => this.#file(state));
    else if (dirty > 0 || state.hasOverlay || state.content?.leaving === true) {
      await this.#alone(state, () => this.#logged(state));
    }
  }

  #alone(state: InodeState, work: () => Promise<void>): Promise<void> {
    const content = contentFor(this.#core, state);
    if (content.writing !== undefined) return content.writing;
    const writing = work()
      .catch((error: unknown) => this.#fileFailed(state, error))
      .finally(() => {
        content.writing = undefined;
        if (content.busy || state.hasOverlay) this.#core.touched.add(state);
      });
    content.writing = writing;
    return writing;
  }

  #fileFailed(state: InodeState, error: unknown): void {
    const core = this.#core;
    this.failed(error);
    const seen = core.errorOf(error);
    if (seen instanceof FsError) {
      // The file is gone, and with it whatever was to be written.
      if (seen.errno === 'ESTALE') state.content?.drop();
      else state.error = seen;
    } else {
      state.error = new FsError('EIO', String(error));
      core.world.log.error('write-back failed', { ino: state.ino, error: String(error) });
    }
  }

  async #file(state: InodeState): Promise<void> {
    const core = this.#core;
    const content = contentFor(core, state);
    if (content.leaving) await this.#logged(state);
    while (content.dirtyBlocks > 0 && core.dead === undefined && !content.dropped) {
      const runs = await core.transact(() => this.#place(state));
      for (const run of runs)
        this.#eachBlock(content, run, (chunk, bit) => content.mapped(chunk, bit));
      await this.#pendingData(runs);
      await this.#writeRuns(content, runs);
      await this.#expose(state, runs);
    }
    if (state.hasOverlay && core.dead === undefined) await this.#expose(state, []);
  }

  /** Record: extents are written, and the header as it is in memory. */
  async #expose(state: InodeState, runs: readonly Run[]): Promise<void> {
    const core = this.#core;
    await core.transact(() => {
      const header = core.header(state.ino);
      for (const { fileBlock, count, unwritten } of runs) {
        if (unwritten) markWritten(core.tx, header, fileBlock, fileBlock + count);
      }
      this.#foldAndCommit(state, header);
    });
  }

  #foldAndCommit(state: InodeState, header: Block): void {
    const core = this.#core;
    if (state.hasOverlay) state.fold(core.tx, header);
    core.tx.commit(core.log);
    if (state.hasOverlay) state.clearOverlay();
  }

  /** The first dirty blocks of the file, with a place for each: new ones as unwritten extents. */
  #place(state: InodeState): Run[] {
    const core = this.#core;
    const header = core.header(state.ino);
    const runs: Run[] = [];
    for (const [from, to] of dirtyRanges(contentFor(core, state), FILE_BLOCKS_AT_ONCE)) {
      let at = from;
      const extents = extentsOf(core.cache, header, from, to);
      for (const { fileBlock, dataIndex, count, unwritten } of extents) {
        if (at < fileBlock) this.#takePlaces(state, header, at, fileBlock, true, runs);
        runs.push({ fileBlock, dataIndex, count, unwritten });
        at = fileBlock + count;
      }
      if (at < to) this.#takePlaces(state, header, at, to, true, runs);
    }
    return runs;
  }

  #takePlaces(
    state: InodeState,
    header: Block,
    from: number,
    to: number,
    unwritten: boolean,
    runs: Run[],
  ): void {
    const core = this.#core;
    let at = from;
    while (at < to) {
      let hint = 0;
      if (at > 0 && findExtent(core.cache, header, at - 1, scratch) && scratch.fileBlock < at) {
        hint = scratch.dataIndex + at - scratch.fileBlock;
      }
      const run = core.allocator.data(state.ino, hint, to - at);
      insertExtent(core.tx, header, at, run.start, run.count, unwritten);
      runs.push({ fileBlock: at, dataIndex: run.start, count: run.count, unwritten });
      at += run.count;
    }
  }

  /** What an earlier record holds of these registers is in place before something newer is written there. */
  async #pendingData(runs: readonly Run[]): Promise<void> {
    const { cache } = this.#core;
    for (;;) {
      const pending: CachedBlock[] = [];
      let flying = false;
      for (const { dataIndex, count } of runs) {
        for (let i = 0; i < count; i++) {
          const block = cache.peek(Region.data, dataIndex + i);
          if (block === undefined || !block.dirty) continue;
          if (block.flyingClock !== 0) flying = true;
          else pending.push(block);
        }
      }
      if (pending.length > 0) await this.blocks(pending);
      else if (flying) await this.#landed;
      else return;
    }
  }

  async #writeRuns(content: FileContent, runs: readonly Run[]): Promise<void> {
    const core = this.#core;
    if (runs.length === 0) return;
    const clock = core.log.takeClocks(1);
    const tag = { clock, token: core.disk.token };
    const writes: RegisterWrite[] = [];
    for (const run of runs) {
      const bytes = new Uint8Array(run.count * REGISTER_BYTES);
      let at = 0;
      this.#eachBlock(content, run, (chunk, bit, from) => {
        bytes.set(chunk.bytes.subarray(from, from + REGISTER_BYTES), at);
        at += REGISTER_BYTES;
        content.fly(chunk, bit);
      });
      writes.push({ region: Region.data, index: run.dataIndex, tag, bytes });
    }
    this.#clocks.add(clock);
    this.#took();
    let ok = false;
    try {
      await core.disk.write(writes);
      ok = true;
    } finally {
      this.#clocks.delete(clock);
      for (const run of runs) {
        this.#eachBlock(content, run, (chunk, bit) => content.land(chunk, bit, ok));
      }
      this.#done();
    }
  }

  #eachBlock(
    content: FileContent,
    run: Run,
    visit: (chunk: Chunk, bit: number, from: number) => void,
  ): void {
    for (let i = 0; i < run.count; i++) {
      const block = run.fileBlock + i;
      const chunk = content.chunks.get(Math.floor(block / CHUNK_BLOCKS));
      if (chunk === undefined) {
        if (content.dropped) continue;
        throw new SextantError('INTERNAL', 'a dirty chunk is not in memory');
      }
      const at = block % CHUNK_BLOCKS;
      visit(chunk, 1 << at, at * REGISTER_BYTES);
    }
  }

  /** Up to 64 KiB of dirty blocks in a record with their places and the header: all or nothing. */
  async #logged(state: InodeState): Promise<void> {
    const core = this.#core;
    await core.transact(() => {
      const content = contentFor(core, state);
      const header = core.header(state.ino);
      const leaving = content.leaving && contentOf(header) === Content.bytes;
      // Small content is the first two blocks at most: all of it goes along.
      if (leaving) leaveSmall(core.tx, header);
      const ranges = dirtyRanges(content, LOGGED_BLOCKS_MAX);
      const runs: Run[] = [];
      for (const [from, to] of ranges) this.#placeWritten(state, header, from, to, runs);
      for (const run of runs) this.#logRun(state, content, run);
      content.leaving = false;
      try {
        this.#foldAndCommit(state, header);
      } catch (error) {
        content.leaving = leaving;
        throw error;
      }
      for (const run of runs) {
        this.#eachBlock(content, run, (chunk, bit) => {
          content.mapped(chunk, bit);
          content.clean(chunk, bit);
          core.chunks.settle(chunk);
        });
      }
    });
  }

  #placeWritten(state: InodeState, header: Block, from: number, to: number, runs: Run[]): void {
    const core = this.#core;
    const had = extentsOf(core.cache, header, from, to);
    let at = from;
    for (const extent of had) {
      if (at < extent.fileBlock) this.#takePlaces(state, header, at, extent.fileBlock, false, runs);
      runs.push(extent);
      at = extent.fileBlock + extent.count;
    }
    if (at < to) this.#takePlaces(state, header, at, to, false, runs);
    for (const { fileBlock, count, unwritten } of had) {
      if (unwritten) markWritten(core.tx, header, fileBlock, fileBlock + count);
    }
  }

  #logRun(state: InodeState, content: FileContent, run: Run): void {
    const { tx } = this.#core;
    let index = run.dataIndex;
    this.#eachBlock(content, run, (chunk, _bit, from) => {
      const block = tx.fresh(Region.data, index++, state.ino);
      tx.set(block, 0, chunk.bytes, from, REGISTER_BYTES);
    });
  }
}

/** The first dirty blocks of a file, at most `limit`, as ranges [from, to). */
function dirtyRanges(content: FileContent, limit: number): [number, number][] {
  const chunks: Chunk[] = [];
  for (const chunk of content.chunks.values()) if (chunk.dirty !== 0) chunks.push(chunk);
  chunks.sort((a, b) => a.index - b.index);
  const ranges: [number, number][] = [];
  let left = limit;
  for (const { index, dirty } of chunks) {
    for (let i = 0; i < CHUNK_BLOCKS && left > 0; i++) {
      if ((dirty & (1 << i)) === 0) continue;
      const block = index * CHUNK_BLOCKS + i;
      const last = ranges.at(-1);
      if (last !== undefined && last[1] === block) last[1]++;
      else ranges.push([block, block + 1]);
      left--;
    }
    if (left === 0) break;
  }
  return ranges;
}
