/**
 * Repairs what a scan found, in rounds: one kind of thing, then the next scan, because one repair shows or changes others.
 *
 * ```
 *   1  mark what is in use, names, types, parents, xattrs; directories built anew
 *   2  what is lost gets a name in /lost+found
 *   3  counts of links and blocks; orphans on no list are freed
 *   4  what is marked and not in use is freed, if nothing damaged is left that might own it
 * ```
 *
 * Changes go in place, without a log: who is interrupted begins again.
 */
import { unreachable } from '#core/assert.js';
import { isSextantError } from '#core/errors.js';
import { Region } from '../disk/disk.js';
import {
  insertEntry,
  lookupEntry,
  removeEntry,
  replaceEntry,
  type ListedEntry,
} from '../format/directory.js';
import { FILE_BLOCKS_MAX, punchExtents } from '../format/extents.js';
import {
  Content,
  InodeField,
  InodeState,
  S_IFDIR,
  changeInode,
  contentOf,
  eraseInode,
  generationOf,
  getInode,
  initInode,
  modeOf,
  nlinkOf,
  typeOf,
} from '../format/inode.js';
import {
  SEGMENTS_REGISTER,
  segmentOfData,
  segmentOfInode,
  segmentOfMetadata,
} from '../format/layout.js';
import { formatSegmentsInUse } from '../format/params.js';
import { clearXattrs } from '../format/xattrs.js';
import { FsError, ROOT_INO, type Ino } from '../vfs/vfs.js';
import { DirectoryWalk, isName } from './directory-walk.js';
import type { DiskBlocks } from './disk-blocks.js';
import type { Finding, FindingKind } from './finding.js';

/** In which round; 0: not repaired. */
export const ROUND: Record<FindingKind, number> = {
  'log-not-replayed': 0,
  'log-damaged': 0,
  'orphans-damaged': 0,
  'inode-damaged': 0,
  'block-shared': 0,
  'segments-count': 1,
  'inode-unmarked': 1,
  'metadata-unmarked': 1,
  'data-unmarked': 1,
  'xattrs-damaged': 1,
  'directory-damaged': 1,
  'name-dangling': 1,
  'name-type': 1,
  'directory-linked-twice': 1,
  'parent-wrong': 1,
  'inode-lost': 2,
  'nlink-wrong': 3,
  'blocks-wrong': 3,
  'orphan-unlisted': 3,
  'inode-leaked': 4,
  'metadata-leaked': 4,
  'data-leaked': 4,
};

const LOST_FOUND = new Uint8Array(Buffer.from('lost+found'));

export class Repair {
  readonly #blocks: DiskBlocks;
  readonly #segments: number;

  /** `segments` are in use. */
  constructor(blocks: DiskBlocks, segments: number) {
    this.#blocks = blocks;
    this.#segments = segments;
  }

  /** Repairs these findings of one round, marks first. What cannot be repaired is left, and found again. */
  async run(findings: readonly Finding[]): Promise<void> {
    for (const finding of findings) {
      if (finding.kind.endsWith('-unmarked')) await attempt(() => this.#mark(finding));
    }
    for (const finding of findings) {
      if (finding.kind === 'segments-count') await attempt(() => this.#raise(finding));
    }
    // Where something may be allocated for the rest.
    for (let segment = 0; segment < Math.min(this.#segments, 8); segment++) {
      this.#blocks.segment(segment);
    }
    const rebuilt = new Set<Ino>();
    for (const { kind, ino } of findings) {
      if (kind !== 'directory-damaged' || ino === undefined || rebuilt.has(ino)) continue;
      await attempt(() => this.#rebuild(ino));
      rebuilt.add(ino);
    }
    for (const finding of findings) {
      const { kind, parent } = finding;
      if (kind === 'directory-damaged' || (parent !== undefined && rebuilt.has(parent))) continue;
      await attempt(() => this.#one(finding));
    }
    await this.#blocks.writeBack();
  }

  async #one(finding: Finding): Promise<void> {
    const { kind, ino = 0, parent = 0, name = new Uint8Array(), expected = 0 } = finding;
    const blocks = this.#blocks;
    const { tx } = blocks;
    switch (kind) {
      case 'name-dangling':
      case 'directory-linked-twice':
        await blocks.change(() => removeEntry(tx, getInode(blocks, parent), name));
        return;
      case 'name-type':
        await blocks.change(() => {
          const generation = generationOf(getInode(blocks, ino));
          replaceEntry(tx, getInode(blocks, parent), name, ino, generation, expected);
        });
        return;
      case 'parent-wrong':
        await blocks.change(() => changeInode(tx, getInode(blocks, ino), { parent: expected }));
        return;
      case 'xattrs-damaged':
        await blocks.change(() => {
          const header = getInode(blocks, ino);
          tx.u64(header, InodeField.xattrBlock, 0);
          tx.u16(header, InodeField.xattrBytes, 0);
        });
        return;
      case 'inode-lost':
        await this.#nameLost(ino);
        return;
      case 'nlink-wrong':
        await blocks.change(() => {
          const header = getInode(blocks, ino);
          tx.u8(header, InodeField.state, InodeState.live);
          changeInode(tx, header, { nlink: expected });
        });
        return;
      case 'blocks-wrong':
        await blocks.change(() => changeInode(tx, getInode(blocks, ino), { blocks: expected }));
        return;
      case 'orphan-unlisted':
        await this.#freeOrphan(ino);
        return;
      case 'inode-leaked':
      case 'metadata-leaked':
      case 'data-leaked':
        await this.#free(finding);
        return;
      case 'directory-damaged':
      case 'inode-unmarked':
      case 'metadata-unmarked':
      case 'data-unmarked':
      case 'segments-count':
      case 'log-not-replayed':
      case 'log-damaged':
      case 'orphans-damaged':
      case 'inode-damaged':
      case 'block-shared':
        return;
      default:
        unreachable(kind);
    }
  }

  async #mark({ kind, index = 0, count = 0 }: Finding): Promise<void> {
    const what = kind.slice(0, kind.indexOf('-')) as 'inode' | 'metadata' | 'data';
    const segmentOf =
      what === 'inode' ? segmentOfInode : what === 'metadata' ? segmentOfMetadata : segmentOfData;
    const segment = this.#blocks.segment(segmentOf(index));
    await this.#blocks.change(() => {
      for (let at = index; at < index + count; at++) segment.claim(this.#blocks.tx, what, at);
    });
  }

  async #free({ kind, index = 0, count = 0 }: Finding): Promise<void> {
    const { tx, allocator } = this.#blocks;
    await this.#blocks.change(() => {
      if (kind === 'data-leaked') allocator.freeData(index, count, 0);
      else {
        for (let at = index; at < index + count; at++) {
          if (kind === 'inode-leaked') allocator.freeInode(at);
          else allocator.freeMetadata(at, 0);
        }
      }
      return tx.count;
    });
  }

  async #raise({ expected }: Finding): Promise<void> {
    const { tx } = this.#blocks;
    const count = Math.max(expected ?? 1, this.#segments, 1);
    await this.#blocks.change(() => {
      this.#blocks.fresh(Region.params, SEGMENTS_REGISTER, 0);
      formatSegmentsInUse(tx, count);
    });
  }

  /** All entries that can be read, into a directory that begins empty; its old nodes are left to the last round. */
  async #rebuild(ino: Ino): Promise<void> {
    const blocks = this.#blocks;
    const { tx } = blocks;
    const found = new Map<string, ListedEntry>();
    const header = await blocks.read(() => getInode(blocks, ino));
    await new DirectoryWalk(blocks, header, {
      node: () => undefined,
      entries: async (entries) => {
        for (const entry of entries) {
          if (isName(entry.name)) found.set(Buffer.from(entry.name).toString('latin1'), entry);
        }
      },
      problem: () => undefined,
    }).run();
    await blocks.change(() => {
      const again = getInode(blocks, ino);
      tx.u8(again, InodeField.content, Content.directory);
      tx.u8(again, InodeField.registers, 0);
      tx.u8(again, InodeField.height, 0);
      tx.u64(again, InodeField.root, 0);
      tx.u64(again, InodeField.entries, 0);
    });
    for (const { name, ino: to, generation, type } of found.values()) {
      await blocks.change(() => insertEntry(tx, getInode(blocks, ino), name, to, generation, type));
    }
  }

  /** `#<number>` in /lost+found, which is made if there is none. */
  async #nameLost(ino: Ino): Promise<void> {
    const blocks = this.#blocks;
    const { tx } = blocks;
    await blocks.change(() => {
      const folder = this.#lostFound();
      const header = getInode(blocks, ino);
      const name = new Uint8Array(Buffer.from(`#${ino}`));
      const place = getInode(blocks, folder);
      insertEntry(tx, place, name, ino, generationOf(header), modeOf(header));
      if (typeOf(header) !== S_IFDIR) return;
      changeInode(tx, header, { parent: folder });
      changeInode(tx, place, { nlink: nlinkOf(place) + 1 });
    });
  }

  #lostFound(): Ino {
    const blocks = this.#blocks;
    const { tx } = blocks;
    const root = getInode(blocks, ROOT_INO);
    const found = lookupEntry(blocks, root, LOST_FOUND);
    if (found !== undefined && found.type === S_IFDIR) return found.ino;
    const ino = blocks.allocator.inode(ROOT_INO);
    const generation = generationOf(root) + blocks.takeClocks(1);
    const mode = S_IFDIR | 0o700;
    const now = { sec: 0, nsec: 0 };
    const owner = { nlink: 2, uid: 0, gid: 0, rdev: 0, project: 0 };
    initInode(tx, ino, { ...owner, generation, mode, now, parent: ROOT_INO, seed: 0x5eed });
    insertEntry(tx, root, LOST_FOUND, ino, generation, mode);
    changeInode(tx, root, { nlink: nlinkOf(root) + 1 });
    return ino;
  }

  async #freeOrphan(ino: Ino): Promise<void> {
    const blocks = this.#blocks;
    const { tx } = blocks;
    const header = await blocks.read(() => getInode(blocks, ino));
    const content = contentOf(header);
    if (content === Content.extents || content === Content.extentTree) {
      for (let at = 0; at < FILE_BLOCKS_MAX;) {
        const from = at;
        const step = (): number => punchExtents(tx, getInode(blocks, ino), from, FILE_BLOCKS_MAX);
        at = await blocks.change(step);
        await blocks.writeBack();
      }
    }
    await blocks.change(() => {
      const again = getInode(blocks, ino);
      clearXattrs(tx, again);
      eraseInode(tx, again);
      blocks.allocator.freeInode(ino);
    });
  }
}

async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isSextantError(error, 'CORRUPTION') && !(error instanceof FsError)) throw error;
  }
}
