/** Blocks of a file's content: brought into memory, mapped to the disk, moved out of the inode when they outgrow it. */
import { REGISTER_BYTES, Region, type RegisterRead } from '../disk/disk.js';
import type { Block } from '../format/block.js';
import { extentsOf, findExtent, type Extent } from '../format/extents.js';
import { Content, contentOf, sizeOf } from '../format/inode.js';
import { readSmall } from '../format/small-content.js';
import { Suspend } from '../format/suspend.js';
import type { FsCore } from './core.js';
import { CHUNK_BLOCKS, FileContent } from './file-content.js';
import type { InodeState } from './inode-table.js';

const scratch: Extent = { fileBlock: 0, dataIndex: 0, count: 0, unwritten: false };

export function contentFor(core: FsCore, state: InodeState): FileContent {
  state.content ??= new FileContent(core.chunks);
  return state.content;
}

/** Its bytes are in the inode, and nothing newer is in memory. */
export function isSmall(state: InodeState, header: Block): boolean {
  return contentOf(header) === Content.bytes && state.content?.leaving !== true;
}

/** Brings the small content into memory: it leaves the inode with the next write-back. Throws Suspend before it changes anything. */
export function leaveInode(core: FsCore, state: InodeState, header: Block): void {
  const size = sizeOf(header);
  const bytes = new Uint8Array(Math.ceil(size / REGISTER_BYTES) * REGISTER_BYTES);
  readSmall(core.cache, header, 0, size, bytes, 0);
  const blocks = bytes.length / REGISTER_BYTES;
  core.segments.reserve(blocks + 1);
  const content = contentFor(core, state);
  content.leaving = true;
  if (state.size < 0) {
    state.size = size;
    state.overlays++;
  }
  for (let i = 0; i < blocks; i++) {
    const chunk = content.chunk(0, (i + 1) * REGISTER_BYTES);
    const at = i * REGISTER_BYTES;
    chunk.bytes.set(bytes.subarray(at, at + REGISTER_BYTES), at);
    content.markDirty(chunk, 1 << i, true);
  }
  core.touched.add(state);
}

/** Whether a block has a place on the disk; `written`: and holds something there. */
export function isMapped(core: FsCore, header: Block, block: number, written: boolean): boolean {
  if (contentOf(header) === Content.bytes) return false;
  if (!findExtent(core.cache, header, block, scratch)) return false;
  return scratch.fileBlock <= block && !(written && scratch.unwritten);
}

/** The block's content is in memory. Throws Suspend while it is read. */
export function ensureBlock(core: FsCore, state: InodeState, header: Block, block: number): void {
  const content = contentFor(core, state);
  if (content.isValid(block)) return;
  const behind = block * REGISTER_BYTES >= state.sizeWith(header);
  if (behind || !isMapped(core, header, block, true)) {
    content.fillZeros(block);
    return;
  }
  throw new Suspend('block', load(core, state, header, block, 1));
}

/** Reads what is not in memory of blocks [from, from + count), holes as zeros. */
export function load(
  core: FsCore,
  state: InodeState,
  header: Block,
  from: number,
  count: number,
): Promise<void> {
  const content = contentFor(core, state);
  const waits: Promise<void>[] = [];
  const reads: RegisterRead[] = [];
  const places: number[] = [];
  const extents =
    contentOf(header) === Content.bytes ? [] : extentsOf(core.cache, header, from, from + count);
  let at = from;
  for (const { fileBlock, dataIndex, count: blocks, unwritten } of extents) {
    for (; at < fileBlock; at++) content.fillZeros(at);
    for (; at < fileBlock + blocks; at++) {
      if (content.isValid(at)) continue;
      const index = dataIndex + at - fileBlock;
      const pending = core.cache.peek(Region.data, index);
      const under = content.loads.get(at);
      if (unwritten) content.fillZeros(at);
      else if (pending?.dirty === true) content.fill(at, pending.bytes);
      else if (under !== undefined) waits.push(under);
      else join(reads, places, at, index);
    }
  }
  for (; at < from + count; at++) content.fillZeros(at);
  if (reads.length > 0) waits.push(readRuns(core, content, reads, places));
  return waits.length === 1
    ? (waits[0] as Promise<void>)
    : Promise.all(waits).then(() => undefined);
}

/** Adds one block to the runs to be read, at the end of the last one if it continues that. */
function join(reads: RegisterRead[], places: number[], block: number, index: number): void {
  const last = reads.at(-1) as { region: Region; index: number; count: number } | undefined;
  const place = places.at(-1) ?? 0;
  if (last !== undefined && last.index + last.count === index && place + last.count === block) {
    last.count++;
    return;
  }
  reads.push({ region: Region.data, index, count: 1 });
  places.push(block);
}

async function readRuns(
  core: FsCore,
  content: FileContent,
  reads: readonly RegisterRead[],
  places: readonly number[],
): Promise<void> {
  const { cuts } = content;
  const reading = core.disk.read(reads).then((found) => {
    if (content.dropped || content.cuts !== cuts) return;
    found.forEach(({ bytes }, run) => {
      const first = places[run] ?? 0;
      for (let i = 0; i * REGISTER_BYTES < bytes.length; i++) {
        content.fill(first + i, bytes.subarray(i * REGISTER_BYTES, (i + 1) * REGISTER_BYTES));
      }
    });
  });
  const forget = (): void => {
    reads.forEach(({ count }, run) => {
      const first = places[run] ?? 0;
      for (let i = 0; i < count; i++) {
        if (content.loads.get(first + i) === done) content.loads.delete(first + i);
      }
    });
  };
  const done = reading.finally(forget);
  reads.forEach(({ count }, run) => {
    const first = places[run] ?? 0;
    for (let i = 0; i < count; i++) content.loads.set(first + i, done);
  });
  return done;
}

export function blockOf(offset: number): number {
  return Math.floor(offset / REGISTER_BYTES);
}

export function chunkOf(block: number): number {
  return Math.floor(block / CHUNK_BLOCKS);
}

/** Throws Suspend while a write-back of the file is under way: what it writes keeps its place until then. */
export function requireSettled(state: InodeState): void {
  const writing = state.content?.writing;
  if (writing !== undefined) throw new Suspend('space', writing);
}
