/** Reading and writing of file content. */
import { REGISTER_BYTES } from '../disk/disk.js';
import type { Block } from '../format/block.js';
import { extentsOf } from '../format/extents.js';
import { Content, contentOf } from '../format/inode.js';
import { INLINE_BYTES_MAX } from '../format/layout.js';
import { readSmall, writeSmall } from '../format/small-content.js';
import { Suspend } from '../format/suspend.js';
import { FsError, type Attributes, type Caller, type Ino } from '../vfs/vfs.js';
import { editInode, stamp } from './changes.js';
import {
  blockOf,
  chunkOf,
  contentFor,
  ensureBlock,
  isSmall,
  leaveInode,
  load,
} from './content-blocks.js';
import { FILE_BYTES_MAX } from './content-size.js';
import type { FsCore } from './core.js';
import { CHUNK_BLOCKS, CHUNK_BYTES, type FileContent } from './file-content.js';
import type { InodeState } from './inode-table.js';
import type { Operation } from './operation.js';
import { withoutSetIds } from './permissions.js';

const EMPTY = new Uint8Array(0);
const DAY_S = 86_400;
/** A file with so many dirty blocks is written back without waiting for its turn. */
const DIRTY_BLOCKS_SOON = 1024;

let buffer = new Uint8Array(CHUNK_BYTES);

function bufferOf(length: number): Uint8Array {
  if (buffer.length < length) buffer = new Uint8Array(length * 2);
  return buffer.subarray(0, length);
}

/** The bytes are valid until the next call. */
export function read(op: Operation, ino: Ino, offset: number, length: number): Uint8Array {
  op.lock(ino, false);
  const { core } = op;
  const header = core.header(ino);
  const state = core.inodes.get(ino);
  const attributes = state.attributes(header);
  const count = Math.min(length, attributes.size - offset);
  if (count <= 0) return EMPTY;
  if (state.serving) state.servedReads++;
  if (isSmall(state, header)) {
    const target = bufferOf(count);
    readSmall(core.cache, header, offset, count, target, 0);
    touchAtime(core, state, attributes);
    return target;
  }
  const content = contentFor(core, state);
  const first = blockOf(offset);
  const last = blockOf(offset + count - 1);
  for (let block = first; block <= last; block++) {
    if (content.isValid(block)) continue;
    const ahead = readAhead(core, content, offset, count, attributes.size);
    throw new Suspend('block', load(core, state, header, block, last - block + 1 + ahead));
  }
  aheadLater(core, state, header, content, offset, count);
  content.readEnd = offset + count;
  touchAtime(core, state, attributes);
  return gather(core, content, offset, count);
}

/** Blocks to read beyond what was asked for: a reader that goes on where it ended gets some. */
function readAhead(
  core: FsCore,
  content: FileContent,
  offset: number,
  count: number,
  size: number,
): number {
  if (content.readEnd !== offset && offset !== 0) return 0;
  const end = Math.min(size, offset + count + core.bounds.readAheadBytes);
  return Math.max(0, blockOf(end - 1) - blockOf(offset + count - 1));
}

/** Keeps ahead of a sequential reader; not while somebody else wants the lock. */
function aheadLater(
  core: FsCore,
  state: InodeState,
  header: Block,
  content: FileContent,
  offset: number,
  count: number,
): void {
  if (content.readEnd !== offset || state.serving) return;
  const { readAheadBytes } = core.bounds;
  const want = Math.min(state.sizeWith(header), offset + count + readAheadBytes / 2);
  const next = blockOf(offset + count);
  if (readAheadBytes === 0 || blockOf(want) <= next || content.isValid(blockOf(want - 1))) return;
  if (content.loads.size > 0) return;
  const until = Math.min(state.sizeWith(header), offset + count + readAheadBytes);
  try {
    load(core, state, header, next, blockOf(until - 1) - next + 1).catch(() => undefined);
  } catch (error) {
    if (!(error instanceof Suspend)) throw error;
    error.ready.catch(() => undefined);
  }
}

function gather(core: FsCore, content: FileContent, offset: number, count: number): Uint8Array {
  const first = Math.floor(offset / CHUNK_BYTES);
  const start = offset - first * CHUNK_BYTES;
  const chunk = content.chunks.get(first);
  if (chunk !== undefined && start + count <= CHUNK_BYTES) {
    core.chunks.touch(chunk);
    return chunk.bytes.subarray(start, start + count);
  }
  const target = bufferOf(count);
  let done = 0;
  while (done < count) {
    const at = offset + done;
    const index = Math.floor(at / CHUNK_BYTES);
    const from = at - index * CHUNK_BYTES;
    const part = Math.min(count - done, CHUNK_BYTES - from);
    const piece = content.chunks.get(index);
    if (piece === undefined) throw new FsError('EIO', 'a chunk went while it was read');
    core.chunks.touch(piece);
    target.set(piece.bytes.subarray(from, from + part), done);
    done += part;
  }
  return target;
}

/** relatime, under an exclusive lock that is held anyway; else once a day (rule 19). */
export function touchAtime(core: FsCore, state: InodeState, attributes: Attributes): void {
  const { atimeSec, atimeNsec, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec } = attributes;
  const olderThan = (sec: number, nsec: number): boolean =>
    atimeSec < sec || (atimeSec === sec && atimeNsec <= nsec);
  const now = core.now();
  const daily = now.sec - atimeSec >= DAY_S;
  if (!daily && !olderThan(mtimeSec, mtimeNsec) && !olderThan(ctimeSec, ctimeNsec)) return;
  if (state.serving || core.barred !== undefined) return;
  if (atimeSec === now.sec && atimeNsec === now.nsec) return;
  if (!state.implied && core.table.held(state.ino) !== 'exclusive') return;
  state.atime = now;
  state.overlays++;
  core.touched.add(state);
}

/** Writes all of it; returns where it was written. `append`: at the end, wherever that is (rule 25). */
export function write(
  op: Operation,
  ino: Ino,
  offset: number,
  data: Uint8Array,
  append: boolean,
  caller: Caller,
): number {
  op.lockForContent(ino);
  const { core } = op;
  const header = core.header(ino);
  const state = core.inodes.get(ino);
  const attributes = state.attributes(header);
  const at = append ? attributes.size : offset;
  if (at < 0) throw new FsError('EINVAL');
  if (data.length === 0) return at;
  const end = at + data.length;
  if (end > FILE_BYTES_MAX) throw new FsError('EFBIG');
  const mode = caller.uid === 0 ? attributes.mode : withoutSetIds(attributes.mode);
  const now = stamp(core, attributes);
  if (isSmall(state, header)) {
    if (end <= INLINE_BYTES_MAX) {
      op.begin();
      writeSmall(core.tx, header, at, data, 0, data.length);
      editInode(op, header, { mtime: now, ctime: now, mode });
      op.commit();
      return at;
    }
    requireRoom(core, INLINE_BYTES_MAX + data.length);
    leaveInode(core, state, header);
  }
  requireRoom(core, data.length);
  core.mayChange();
  const first = blockOf(at);
  const last = blockOf(end - 1);
  if (at % REGISTER_BYTES !== 0) ensureBlock(core, state, header, first);
  if (end % REGISTER_BYTES !== 0) ensureBlock(core, state, header, last);
  const unmapped = unmappedBlocks(core, state, header, first, last);
  if (unmapped.count > 0) core.segments.reserve(unmapped.count);
  if (mode !== attributes.mode) {
    op.begin();
    editInode(op, header, { mode });
    op.commit();
  }
  put(contentFor(core, state), at, data, unmapped);
  if (end > attributes.size) state.size = end;
  state.mtime = now;
  state.ctime = now;
  state.overlays++;
  core.touched.add(state);
  if (core.chunks.bytes > core.bounds.contentBytesMax) core.chunks.trim();
  if ((state.content?.dirtyBlocks ?? 0) >= DIRTY_BLOCKS_SOON) core.writeSoon(state);
  return at;
}

function requireRoom(core: FsCore, bytes: number): void {
  const { dirtyBytes } = core.chunks;
  if (dirtyBytes > 0 && dirtyBytes + bytes > core.bounds.dirtyContentBytesMax) {
    throw new Suspend('space', core.relieveContent());
  }
}

interface Unmapped {
  count: number;
  /** Runs of blocks that have a place: everything else has none. */
  readonly mapped: readonly { readonly fileBlock: number; readonly count: number }[];
}

/** Which of blocks [first, last] need a place on the disk, those that are reserved for already not counted. */
function unmappedBlocks(
  core: FsCore,
  state: InodeState,
  header: Block,
  first: number,
  last: number,
): Unmapped {
  const mapped =
    contentOf(header) === Content.bytes ? [] : extentsOf(core.cache, header, first, last + 1);
  let count = last - first + 1;
  for (const run of mapped) count -= run.count;
  const { content } = state;
  if (count > 0 && content !== undefined && content.reserved > 0) {
    for (let block = first; block <= last; block++) {
      const chunk = content.chunks.get(chunkOf(block));
      if (chunk !== undefined && (chunk.unmapped & (1 << (block % CHUNK_BLOCKS))) !== 0) count--;
    }
  }
  return { count, mapped };
}

function put(content: FileContent, offset: number, data: Uint8Array, unmapped: Unmapped): void {
  let done = 0;
  let run = 0;
  while (done < data.length) {
    const at = offset + done;
    const index = Math.floor(at / CHUNK_BYTES);
    const from = at - index * CHUNK_BYTES;
    const part = Math.min(data.length - done, CHUNK_BYTES - from);
    const chunk = content.chunk(index, Math.ceil((from + part) / REGISTER_BYTES) * REGISTER_BYTES);
    chunk.bytes.set(data.subarray(done, done + part), from);
    const firstBlock = Math.floor(from / REGISTER_BYTES);
    const lastBlock = Math.floor((from + part - 1) / REGISTER_BYTES);
    for (let i = firstBlock; i <= lastBlock; i++) {
      const block = index * CHUNK_BLOCKS + i;
      for (;;) {
        const next = unmapped.mapped[run];
        if (next === undefined || next.fileBlock + next.count > block) break;
        run++;
      }
      const extent = unmapped.mapped[run];
      content.markDirty(chunk, 1 << i, extent === undefined || extent.fileBlock > block);
    }
    done += part;
  }
}
