/** What operations do to inodes: the overlay folded in, times moved on, links counted, everything freed with the last one. */
import type { Block } from '../format/block.js';
import { clearDirectory } from '../format/directory.js';
import { FILE_BLOCKS_MAX, extentsOf, punchExtents } from '../format/extents.js';
import {
  Content,
  InodeField,
  S_IFDIR,
  S_IFMT,
  changeInode,
  contentOf,
  eraseInode,
  generationOf,
  inoOf,
  modeOf,
  nlinkOf,
  setOrphan,
  type InodeChanges,
  type Time,
} from '../format/inode.js';
import { segmentOfData, segmentOfInode, segmentOfMetadata } from '../format/layout.js';
import { clearXattrs } from '../format/xattrs.js';
import { getU64 } from '#core/bytes/le.js';
import { FsError, type Attributes } from '../vfs/vfs.js';
import type { FsCore } from './core.js';
import type { Operation } from './operation.js';

/** Extents that are freed in the transaction of the unlink itself; a file with more is an orphan for a moment. */
const EXTENTS_NOW_MAX = 15;

export function attributesOf(core: FsCore, header: Block): Attributes {
  return core.inodes.get(inoOf(header)).attributes(header);
}

/** The time of a change: never before the inode's own. */
export function stamp(core: FsCore, attributes: Attributes): Time {
  const now = core.now();
  const { ctimeSec, ctimeNsec } = attributes;
  if (now.sec > ctimeSec || (now.sec === ctimeSec && now.nsec >= ctimeNsec)) return now;
  // Another server's clock was ahead: not by more than a second, or it is not believed.
  return ctimeSec - now.sec <= 1 ? { sec: ctimeSec, nsec: ctimeNsec } : now;
}

/** Edits a header; what its overlay holds goes along. */
export function editInode(op: Operation, header: Block, changes: InodeChanges): void {
  const { core } = op;
  const state = core.inodes.peek(inoOf(header));
  if (state !== undefined) op.fold(state, header);
  changeInode(core.tx, header, changes);
}

/** An entry of the directory was made or removed. */
export function touchDirectory(op: Operation, header: Block, links: number): void {
  const { core } = op;
  const now = stamp(core, attributesOf(core, header));
  const nlink = nlinkOf(header) + links;
  editInode(op, header, {
    mtime: now,
    ctime: now,
    ...(links === 0 ? {} : { nlink }),
  });
}

export type Dropped = 'kept' | 'freed' | 'orphan';

/**
 * One link less (a directory loses all). With the last one the inode is freed in the same transaction when nobody can have it
 * open and all that it has lies in segments held here; else it becomes an orphan, to be freed later.
 */
export function dropLink(op: Operation, header: Block): Dropped {
  const { core } = op;
  const attributes = attributesOf(core, header);
  const now = stamp(core, attributes);
  const isDirectory = (modeOf(header) & S_IFMT) === S_IFDIR;
  const nlink = isDirectory ? 0 : attributes.nlink - 1;
  if (nlink > 0) {
    editInode(op, header, { nlink, ctime: now });
    return 'kept';
  }
  if (mayFreeNow(op, header)) {
    freeInode(core, header);
    return 'freed';
  }
  editInode(op, header, { nlink: 0, ctime: now });
  setOrphan(core.tx, header);
  core.orphans.list.add(core.tx, attributes.ino, attributes.generation);
  return 'orphan';
}

/** After the commit of a `dropLink`. */
export function dropped(op: Operation, header: Block, what: Dropped): void {
  if (what === 'kept') return;
  const { core } = op;
  const ino = inoOf(header);
  if (what === 'orphan') {
    core.orphans.enqueue(ino, generationOf(header));
    return;
  }
  const state = core.inodes.peek(ino);
  if (state === undefined) return;
  const { implied } = state;
  state.forget();
  state.implied = implied;
}

function mayFreeNow(op: Operation, header: Block): boolean {
  const { core } = op;
  const ino = inoOf(header);
  const state = core.inodes.peek(ino);
  if (state !== undefined) {
    if (state.opens > 0 || state.lifePending !== undefined) return false;
    if (state.content?.writing !== undefined) return false;
  }
  const { segments } = core;
  if (!segments.has(segmentOfInode(ino))) return false;
  const xattrs = getU64(header.view, InodeField.xattrBlock);
  if (xattrs !== 0) return false;
  const content = contentOf(header);
  if (content === Content.extentTree) return false;
  if (content === Content.directoryTree) {
    const root = getU64(header.view, InodeField.root);
    if (root !== 0 && !segments.has(segmentOfMetadata(root))) return false;
  }
  if (content === Content.extents) {
    for (const { dataIndex, count } of extentsOf(core.cache, header, 0, FILE_BLOCKS_MAX)) {
      if (!segments.has(segmentOfData(dataIndex))) return false;
      if (!segments.has(segmentOfData(dataIndex + count - 1))) return false;
    }
  }
  return op.tryLockId(ino, 'destroy');
}

/** Frees all that an inode has, and itself. Its content is small enough for one transaction: see `EXTENTS_NOW_MAX`. */
export function freeInode(core: FsCore, header: Block): void {
  const { tx } = core;
  const content = contentOf(header);
  if (content === Content.extents || content === Content.extentTree) {
    const next = punchExtents(tx, header, 0, FILE_BLOCKS_MAX, EXTENTS_NOW_MAX + 1);
    if (next !== FILE_BLOCKS_MAX) throw new FsError('EIO', 'an inode is freed before its content');
  }
  if (content === Content.directory || content === Content.directoryTree)
    clearDirectory(tx, header);
  clearXattrs(tx, header);
  const ino = inoOf(header);
  eraseInode(tx, header);
  core.allocator.freeInode(ino);
}
