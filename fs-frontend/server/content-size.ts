/** The size of a file: truncate both ways, fallocate, holes. */
import { REGISTER_BYTES, Region } from '../disk/disk.js';
import type { Block } from '../format/block.js';
import {
  FILE_BLOCKS_MAX,
  extentsOf,
  insertExtent,
  markUnwritten,
  punchExtents,
  seekData,
  seekHole,
} from '../format/extents.js';
import { changeInode, inoOf, type InodeChanges } from '../format/inode.js';
import { INLINE_BYTES_MAX } from '../format/layout.js';
import { truncateSmall } from '../format/small-content.js';
import { Suspend } from '../format/suspend.js';
import { FallocateMode, FsError, type Ino } from '../vfs/vfs.js';
import { attributesOf, editInode, stamp } from './changes.js';
import {
  blockOf,
  chunkOf,
  contentFor,
  ensureBlock,
  isMapped,
  isSmall,
  leaveInode,
  requireSettled,
} from './content-blocks.js';
import type { FsCore } from './core.js';
import { CHUNK_BLOCKS } from './file-content.js';
import type { InodeState } from './inode-table.js';
import type { Operation } from './operation.js';

export const FILE_BYTES_MAX = Number.MAX_SAFE_INTEGER - REGISTER_BYTES;
/** Blocks that one transaction of fallocate takes. */
const ALLOCATE_BLOCKS_MAX = 65_536;
const ALLOCATE_RUNS_MAX = 32;
/** Between two transactions of one operation: it goes on under the same locks. */
const goOn = (): Suspend => new Suspend('block', Promise.resolve());

/** Sets the size, with whatever else is to change in the header; commits. Throws Suspend to be run again until all is cut off. */
export function resize(op: Operation, header: Block, size: number, changes: InodeChanges): void {
  const { core } = op;
  if (!Number.isSafeInteger(size) || size < 0) throw new FsError('EINVAL');
  if (size > FILE_BYTES_MAX) throw new FsError('EFBIG');
  const state = core.inodes.get(inoOf(header));
  requireSettled(state);
  const now = stamp(core, attributesOf(core, header));
  changes.ctime = now;
  changes.mtime ??= now;
  if (isSmall(state, header) && size > INLINE_BYTES_MAX) leaveInode(core, state, header);
  if (isSmall(state, header)) {
    op.begin();
    truncateSmall(core.tx, header, size);
    editInode(op, header, changes);
    // The overlay of a small file has no size: every write of it is in the log.
    op.commit();
    return;
  }
  const before = state.sizeWith(header);
  const leaving = state.content?.leaving === true;
  const end = Math.ceil(size / REGISTER_BYTES);
  const tail = size % REGISTER_BYTES;
  let dirtyTail = false;
  if (size < before && tail !== 0) {
    ensureBlock(core, state, header, end - 1);
    dirtyTail = leaving || isMapped(core, header, end - 1, true);
  }
  op.begin();
  let next = FILE_BLOCKS_MAX;
  if (!leaving && size < before) {
    next = punchExtents(core.tx, header, end, FILE_BLOCKS_MAX);
  } else if (!leaving && size === before)
    next = punchExtents(core.tx, header, end, FILE_BLOCKS_MAX);
  if (dirtyTail && !leaving) logTail(core, state, header, end - 1, tail);
  editInode(op, header, leaving ? changes : { ...changes, size });
  op.commit();
  if (leaving) {
    state.size = size;
    state.overlays++;
    core.touched.add(state);
  }
  if (size < before) {
    cutContent(state, end, tail, dirtyTail);
    if (dirtyTail) core.touched.add(state);
  }
  if (next !== FILE_BLOCKS_MAX) throw goOn();
}

/** The last block, its tail zeroed, rides in the record: what is cut off never comes back, even after a crash. */
function logTail(
  core: FsCore,
  state: InodeState,
  header: Block,
  block: number,
  tail: number,
): void {
  const [extent] = extentsOf(core.cache, header, block, block + 1);
  const chunk = state.content?.chunks.get(chunkOf(block));
  if (extent === undefined || chunk === undefined) return;
  const target = core.tx.fresh(Region.data, extent.dataIndex, inoOf(header));
  const from = (block % CHUNK_BLOCKS) * REGISTER_BYTES;
  core.tx.set(target, 0, chunk.bytes, from, tail);
}

function cutContent(state: InodeState, end: number, tail: number, dirtyTail: boolean): void {
  const { content } = state;
  if (content === undefined) return;
  content.cut(end, FILE_BLOCKS_MAX);
  if (tail === 0 || !content.isValid(end - 1)) return;
  zero(state, end - 1, tail, REGISTER_BYTES, dirtyTail);
}

/** Zeros part of a block that is in memory. */
function zero(state: InodeState, block: number, from: number, to: number, dirty: boolean): void {
  const { content } = state;
  const chunk = content?.chunks.get(chunkOf(block));
  if (content === undefined || chunk === undefined) return;
  const at = (block % CHUNK_BLOCKS) * REGISTER_BYTES;
  chunk.bytes.fill(0, at + from, at + to);
  if (!dirty) return;
  const bit = 1 << (block % CHUNK_BLOCKS);
  content.markDirty(chunk, bit, (chunk.unmapped & bit) !== 0);
}

/** fallocate(2). Throws EOPNOTSUPP for collapse and insert. */
export function allocate(
  op: Operation,
  ino: Ino,
  mode: number,
  offset: number,
  length: number,
): void {
  const { core } = op;
  const { keepSize, punchHole, zero: zeroRange } = FallocateMode;
  const keeps = (mode & keepSize) !== 0;
  if ((mode & ~(keepSize | punchHole | zeroRange)) !== 0) throw new FsError('EOPNOTSUPP');
  if ((mode & punchHole) !== 0 && (!keeps || (mode & zeroRange) !== 0)) {
    throw new FsError('EOPNOTSUPP');
  }
  if (offset < 0 || length <= 0) throw new FsError('EINVAL');
  const end = offset + length;
  if (end > FILE_BYTES_MAX) throw new FsError('EFBIG');
  op.lockForContent(ino);
  const header = core.header(ino);
  const state = core.inodes.get(ino);
  requireSettled(state);
  if (isSmall(state, header)) {
    if (end <= INLINE_BYTES_MAX && (mode & (punchHole | zeroRange)) === 0) {
      if (!keeps && end > state.sizeWith(header)) resize(op, header, end, {});
      return;
    }
    leaveInode(core, state, header);
  }
  // From here on the content has extents of its own.
  if (state.content?.leaving === true || (state.content?.dirtyBlocks ?? 0) > 0) {
    throw new Suspend('space', core.writeBackFile(state));
  }
  if ((mode & (punchHole | zeroRange)) !== 0)
    clear(op, state, header, offset, end, (mode & punchHole) !== 0);
  if ((mode & punchHole) === 0) fillHoles(op, header, offset, end);
  const now = stamp(core, attributesOf(core, header));
  const size = state.sizeWith(header);
  op.begin();
  editInode(op, header, {
    ctime: now,
    mtime: now,
    ...(!keeps && end > size ? { size: end } : {}),
  });
  op.commit();
}

/** Blocks inside [offset, end) become a hole, or unwritten; the edges zeros. */
function clear(
  op: Operation,
  state: InodeState,
  header: Block,
  offset: number,
  end: number,
  punch: boolean,
): void {
  const { core } = op;
  const size = state.sizeWith(header);
  const stop = Math.min(end, Math.max(size, offset));
  const first = Math.ceil(offset / REGISTER_BYTES);
  const last = end >= size ? Math.ceil(end / REGISTER_BYTES) : blockOf(end);
  const edges: [number, number, number][] = [];
  if (offset < size && offset % REGISTER_BYTES !== 0) {
    const to = blockOf(offset) === blockOf(stop) ? stop % REGISTER_BYTES : REGISTER_BYTES;
    edges.push([blockOf(offset), offset % REGISTER_BYTES, to === 0 ? REGISTER_BYTES : to]);
  }
  const sameBlock = blockOf(offset) === blockOf(end) && offset % REGISTER_BYTES !== 0;
  if (end < size && end % REGISTER_BYTES !== 0 && !sameBlock) {
    edges.push([blockOf(end), 0, end % REGISTER_BYTES]);
  }
  const dirty = edges.map(([block]) => isMapped(core, header, block, true));
  for (const [block] of edges) ensureBlock(core, state, header, block);
  if (first < last) {
    op.begin();
    let next = last;
    if (punch) next = punchExtents(core.tx, header, first, last);
    else markUnwritten(core.tx, header, first, last);
    changeInode(core.tx, header, { ctime: stamp(core, attributesOf(core, header)) });
    op.commit();
    state.content?.cut(first, last);
    if (next !== last) throw goOn();
  }
  edges.forEach(([block, from, to], i) => zero(state, block, from, to, dirty[i] === true));
  if (dirty.includes(true)) core.touched.add(state);
}

/** Unwritten extents where there are none. */
function fillHoles(op: Operation, header: Block, offset: number, end: number): void {
  const { core } = op;
  const ino = inoOf(header);
  const to = Math.ceil(end / REGISTER_BYTES);
  for (;;) {
    let at = blockOf(offset);
    const holes: [number, number][] = [];
    for (const extent of extentsOf(core.cache, header, at, to)) {
      if (extent.fileBlock > at) holes.push([at, extent.fileBlock]);
      at = extent.fileBlock + extent.count;
    }
    if (at < to) holes.push([at, to]);
    if (holes.length === 0) return;
    core.segments.reserve(Math.min(ALLOCATE_BLOCKS_MAX, firstHole(holes)));
    op.begin();
    let left = ALLOCATE_BLOCKS_MAX;
    let runs = 0;
    for (const [from, until] of holes) {
      let block = from;
      while (block < until && left > 0 && runs++ < ALLOCATE_RUNS_MAX) {
        const run = core.allocator.data(ino, 0, Math.min(left, until - block));
        insertExtent(core.tx, header, block, run.start, run.count, true);
        block += run.count;
        left -= run.count;
      }
    }
    op.commit();
  }
}

/** lseek SEEK_DATA and SEEK_HOLE. Throws ENXIO. */
export function seek(op: Operation, ino: Ino, offset: number, what: 'data' | 'hole'): number {
  op.lock(ino, false);
  const { core } = op;
  const header = core.header(ino);
  const state = core.inodes.get(ino);
  const size = state.sizeWith(header);
  if (offset < 0 || offset >= size) throw new FsError('ENXIO');
  if (isSmall(state, header)) return what === 'data' ? offset : size;
  const content = contentFor(core, state);
  if (content.busy) throw new Suspend('space', core.writeBackFile(state));
  const from = blockOf(offset);
  const block = (what === 'data' ? seekData : seekHole)(core.cache, header, from);
  if (block < 0) throw new FsError('ENXIO');
  const at = Math.max(offset, block * REGISTER_BYTES);
  if (what === 'data' && at >= size) throw new FsError('ENXIO');
  return Math.min(at, size);
}

function firstHole(holes: readonly (readonly [number, number])[]): number {
  const hole = holes[0];
  return hole === undefined ? 0 : hole[1] - hole[0];
}
