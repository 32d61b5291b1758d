/**
 * One look over a whole file system: from the root through all directories, then over the bitmaps for what no name leads to.
 * Changes nothing. Every CORRUPTION becomes a finding; only what the disk itself refuses (NO_QUORUM, FENCED) is thrown.
 */
import { isSextantError } from '#core/errors.js';
import { Region } from '../disk/disk.js';
import type { Block } from '../format/block.js';
import type { ListedEntry } from '../format/directory-entry.js';
import {
  Content,
  InodeState,
  S_IFDIR,
  S_IFLNK,
  blocksOf,
  contentOf,
  generationOf,
  getInode,
  nlinkOf,
  entriesOf,
  parentOf,
  readAttributes,
  rootOf,
  sizeOf,
  stateOf,
  typeOf,
} from '../format/inode.js';
import {
  LOG_SLOTS,
  ORPHANS_REGISTER,
  ORPHAN_REGISTERS,
  SEGMENTS_REGISTER,
  SEGMENT_BITMAP_REGISTERS,
  SEGMENT_DATA,
  SEGMENT_INODES,
  SEGMENT_METADATA,
  headerRegister,
} from '../format/layout.js';
import { OrphanList } from '../format/orphans.js';
import { segmentsInUse } from '../format/params.js';
import { readXattrs, xattrBlocks } from '../format/xattrs.js';
import { FsError, ROOT_INO, SYMLINK_BYTES_MAX, type Ino } from '../vfs/vfs.js';
import { ContentWalk } from './content-walk.js';
import { DirectoryWalk, isName } from './directory-walk.js';
import type { DiskBlocks } from './disk-blocks.js';
import type { Finding, FindingKind } from './finding.js';
import { Usage } from './usage.js';

/** What is known of an inode in use. */
interface Seen {
  readonly ino: Ino;
  readonly type: number;
  readonly generation: number;
  readonly nlink: number;
  readonly isOrphan: boolean;
  readonly blocks: number;
  readonly saysParent: Ino;
  /** Registers of small content; metadata and data blocks count for eight each. */
  expectedBlocks: number;
  links: number;
  subdirectories: number;
  /** Of a directory: where its name is; 0: none yet. */
  parent: Ino;
  damaged: boolean;
  lost: boolean;
}

const HEADERS_AT_ONCE = 128;
/** A count of segments that is too low by more than this makes extents there count as damaged. */
const SEGMENTS_BEYOND = 64;

export class Scan {
  readonly findings: Finding[] = [];
  readonly inodes = new Map<Ino, Seen>();
  readonly metadata = new Usage(SEGMENT_METADATA);
  readonly data = new Usage(SEGMENT_DATA);
  segments = 0;
  readonly #blocks: DiskBlocks;
  readonly #segmentsMax: number;
  readonly #numbers = new Usage(SEGMENT_INODES);
  /** Inodes on orphan lists: number -> generation. */
  readonly #orphans = new Map<Ino, number>();
  /** Directories whose names were not walked through yet. */
  readonly #stack: Seen[] = [];
  /** Names of directories that say they lie elsewhere: second names, if the first one turns up. */
  readonly #doubtful: { directory: Seen; entry: ListedEntry; seen: Seen }[] = [];

  constructor(blocks: DiskBlocks, segmentsMax: number) {
    this.#blocks = blocks;
    this.#segmentsMax = segmentsMax;
  }

  async run(): Promise<void> {
    this.metadata.mark(0, 1);
    this.data.mark(0, 1);
    this.#numbers.mark(0, 1);
    await this.#readSegments();
    await this.#readOrphans();
    const root = await this.#visit(ROOT_INO);
    if (root === undefined) this.#find('inode-damaged', 'there is no root directory', { ino: 1 });
    else {
      root.parent = ROOT_INO;
      this.#stack.push(root);
    }
    await this.#walk();
    for (const [ino, generation] of this.#orphans) await this.#listedOrphan(ino, generation);
    await this.#bitmaps();
    this.#counts();
  }

  #find(kind: FindingKind, message: string, fields: Omit<Finding, 'kind' | 'message'> = {}): void {
    this.findings.push({ kind, message, ...fields });
  }

  /** CORRUPTION, and whatever else a damaged block makes of itself, becomes a finding. */
  async #guarded<T>(
    kind: FindingKind,
    fields: Omit<Finding, 'kind' | 'message'>,
    work: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!isSextantError(error, 'CORRUPTION')) throw error;
      this.#find(kind, error.message, fields);
      return undefined;
    }
  }

  async #readSegments(): Promise<void> {
    const blocks = this.#blocks;
    const read = (): number => segmentsInUse(blocks.get(Region.params, SEGMENTS_REGISTER, 0));
    const known = await this.#guarded('segments-count', {}, () => blocks.read(read));
    this.segments = Math.min(known ?? 0, this.#segmentsMax);
  }

  async #readOrphans(): Promise<void> {
    const reads = Array.from({ length: LOG_SLOTS }, (_, slot) => ({
      region: Region.params,
      index: ORPHANS_REGISTER + slot * ORPHAN_REGISTERS,
      count: 1,
    }));
    await this.#blocks.load(reads);
    for (let slot = 0; slot < LOG_SLOTS; slot++) {
      const list = new OrphanList(slot);
      const entries = await this.#guarded('orphans-damaged', { index: slot }, () =>
        this.#blocks.read(() => list.entries(this.#blocks)),
      );
      for (const { ino, generation } of entries ?? []) this.#orphans.set(ino, generation);
    }
  }

  /** The inode and the blocks that it uses; undefined: free. Counts as seen from now on. */
  async #visit(ino: Ino): Promise<Seen | undefined> {
    const known = this.inodes.get(ino);
    if (known !== undefined) return known;
    if (!Number.isSafeInteger(ino) || ino < 1 || ino >= this.#segmentsMax * SEGMENT_INODES) {
      return undefined;
    }
    let header: Block | undefined;
    let read: Seen | undefined;
    try {
      read = await this.#guarded('inode-damaged', { ino }, () =>
        this.#blocks.read(() => {
          header = getInode(this.#blocks, ino);
          return seenInode(ino, header);
        }),
      );
    } catch (error) {
      if (error instanceof FsError) return undefined;
      throw error;
    }
    this.#numbers.mark(ino, 1);
    const seen = read ?? damagedInode(ino);
    this.inodes.set(ino, seen);
    if (read !== undefined && header !== undefined) await this.#contents(seen, header);
    return seen;
  }

  async #contents(seen: Seen, header: Block): Promise<void> {
    const { ino } = seen;
    if (seen.type === S_IFLNK && (sizeOf(header) === 0 || sizeOf(header) > SYMLINK_BYTES_MAX)) {
      this.#find('inode-damaged', `inode ${ino}: a symlink of ${sizeOf(header)} bytes`, { ino });
      seen.damaged = true;
    }
    const walk = new ContentWalk(this.#blocks, header, this.segments + SEGMENTS_BEYOND);
    const done = await this.#guarded('inode-damaged', { ino }, () => walk.run());
    if (done === undefined) seen.damaged = true;
    for (const index of walk.used.metadata) this.#useMetadata(seen, index);
    for (const { start, count } of walk.used.data) {
      const twice = this.data.mark(start, count);
      if (twice >= 0) this.#shared('data', seen, twice);
      seen.expectedBlocks += 8 * count;
    }
    await this.#guarded('xattrs-damaged', { ino }, async () => {
      const chain = await this.#blocks.read(() => xattrBlocks(this.#blocks, header));
      await this.#blocks.read(() => readXattrs(this.#blocks, header));
      for (const { index } of chain) this.#useMetadata(seen, index);
    });
  }

  #useMetadata(seen: Seen, index: number): void {
    const twice = this.metadata.mark(index, 1);
    if (twice >= 0) this.#shared('metadata', seen, twice);
    seen.expectedBlocks += 8;
  }

  #shared(what: string, { ino }: Seen, index: number): void {
    this.#find('block-shared', `${what} block ${index} of inode ${ino} has another owner too`, {
      ino,
      index,
    });
  }

  /** Directories on the stack and all below them. */
  async #walk(): Promise<void> {
    do await this.#walkSure();
    while (this.#takeDoubtful());
  }

  /** True: one more directory is to be walked through. */
  #takeDoubtful(): boolean {
    for (let next = this.#doubtful.shift(); next !== undefined; next = this.#doubtful.shift()) {
      const { directory, entry, seen } = next;
      if (seen.parent === 0) {
        this.#place(directory, seen);
        return true;
      }
      this.#linkedTwice(directory, entry);
    }
    return false;
  }

  #place(directory: Seen, seen: Seen): void {
    seen.parent = directory.ino;
    seen.links++;
    directory.subdirectories++;
    this.#stack.push(seen);
  }

  #linkedTwice({ ino: parent }: Seen, { ino, name }: ListedEntry): void {
    const message = `${show(name, parent)} is a second name of directory ${ino}`;
    this.#find('directory-linked-twice', message, { ino, name, parent });
  }

  async #walkSure(): Promise<void> {
    for (let seen = this.#stack.pop(); seen !== undefined; seen = this.#stack.pop()) {
      const directory = seen;
      const { ino } = directory;
      if (directory.damaged) continue;
      const header = await this.#blocks.read(() => getInode(this.#blocks, ino));
      if (parentOf(header) !== directory.parent && !directory.lost) {
        const message = `directory ${ino}: parent ${parentOf(header)}, its name is in ${directory.parent}`;
        this.#find('parent-wrong', message, { ino, expected: directory.parent });
      }
      let reported = false;
      const walk = new DirectoryWalk(this.#blocks, header, {
        node: (index) => this.#useMetadata(directory, index),
        entries: (entries) => this.#entries(directory, entries),
        problem: (message) => {
          if (!reported) this.#find('directory-damaged', `directory ${ino}: ${message}`, { ino });
          reported = true;
        },
      });
      await walk.run();
    }
  }

  async #entries(directory: Seen, entries: readonly ListedEntry[]): Promise<void> {
    for (let from = 0; from < entries.length; from += HEADERS_AT_ONCE) {
      const part = entries.slice(from, from + HEADERS_AT_ONCE);
      await this.#prefetch(part.map(({ ino }) => ino));
      for (const entry of part) await this.#entry(directory, entry);
    }
  }

  async #prefetch(inodes: readonly Ino[]): Promise<void> {
    const limit = this.#segmentsMax * SEGMENT_INODES;
    const reads = inodes
      .filter((ino) => ino > 0 && ino < limit && !this.inodes.has(ino))
      .map((ino) => ({ region: Region.inodes, index: headerRegister(ino), count: 1 }));
    if (reads.length > 0) await this.#blocks.load(reads);
  }

  async #entry(directory: Seen, entry: ListedEntry): Promise<void> {
    const { ino, name, generation, type } = entry;
    const where = { ino, name, parent: directory.ino };
    const shown = show(name, directory.ino);
    const seen = isName(name) ? await this.#visit(ino) : undefined;
    if (seen === undefined) {
      this.#find('name-dangling', `${shown} leads to inode ${ino}, which is free`, where);
      return;
    }
    if (seen.damaged && seen.type === 0) {
      seen.links++;
      return;
    }
    if (seen.generation !== generation) {
      this.#find('name-dangling', `${shown} leads to another generation of inode ${ino}`, where);
      return;
    }
    if (seen.type === S_IFDIR && seen.parent !== 0) {
      this.#linkedTwice(directory, entry);
      return;
    }
    if (seen.type !== type) {
      this.#find('name-type', `${shown} has the wrong type`, { ...where, expected: seen.type });
    }
    if (seen.type !== S_IFDIR) seen.links++;
    else if (seen.saysParent === directory.ino) this.#place(directory, seen);
    else this.#doubtful.push({ directory, entry, seen });
  }

  async #listedOrphan(ino: Ino, generation: number): Promise<void> {
    if (this.inodes.has(ino)) return;
    const seen = await this.#visit(ino);
    // An entry that is out of date: what it leads to now is somebody else, or lost.
    if (seen !== undefined && !seen.damaged && seen.generation !== generation) {
      this.#orphans.delete(ino);
    }
    if (seen !== undefined && !seen.isOrphan && !seen.damaged) await this.#lost([seen]);
  }

  // -- what no name leads to ----------------------------------------------------------------------------

  async #bitmaps(): Promise<void> {
    const used = Math.max(this.#numbers.highestSegment, this.metadata.highestSegment) + 1;
    const needed = Math.max(used, this.data.highestSegment + 1);
    if (needed > this.segments) {
      const message = `${this.segments} segments in use, segment ${needed - 1} is too`;
      this.#find('segments-count', message, { expected: needed });
    }
    const count = Math.max(this.segments, needed);
    for (let segment = 0; segment < count; segment++) {
      const index = segment * SEGMENT_BITMAP_REGISTERS;
      await this.#blocks.load([{ region: Region.bitmaps, index, count: 18 }]);
      const bits = await this.#bits(segment, 0, 1);
      await this.#unnamed(segment, bits);
    }
    for (let segment = 0; segment < count; segment++) {
      const numbers = await this.#bits(segment, 0, 1);
      this.#compare('inode', segment, numbers, this.#numbers);
      this.#compare('metadata', segment, await this.#bits(segment, 1, 1), this.metadata);
      this.#compare('data', segment, await this.#bits(segment, 2, 16), this.data);
    }
  }

  async #bits(segment: number, first: number, count: number): Promise<Uint8Array> {
    const bits = new Uint8Array(count * 4096);
    for (let i = 0; i < count; i++) {
      const index = segment * SEGMENT_BITMAP_REGISTERS + first + i;
      const block = await this.#blocks.read(() => this.#blocks.get(Region.bitmaps, index, 0));
      bits.set(block.bytes, i * 4096);
    }
    return bits;
  }

  /** Inodes of a segment that are marked, and were not seen. */
  async #unnamed(segment: number, bits: Uint8Array): Promise<void> {
    const unseen: Ino[] = [];
    for (let bit = 0; bit < SEGMENT_INODES; bit++) {
      const ino = segment * SEGMENT_INODES + bit;
      if ((bits[bit >>> 3] & (1 << (bit & 7))) !== 0 && !this.#numbers.has(ino)) unseen.push(ino);
    }
    const lost: Seen[] = [];
    for (let from = 0; from < unseen.length; from += HEADERS_AT_ONCE) {
      const part = unseen.slice(from, from + HEADERS_AT_ONCE);
      await this.#prefetch(part);
      for (const ino of part) {
        const seen = await this.#visit(ino);
        if (seen === undefined || seen.damaged) continue;
        if (!seen.isOrphan) lost.push(seen);
        else if (this.#orphans.get(ino) !== seen.generation) {
          this.#find('orphan-unlisted', `inode ${ino} is unlinked and on no list`, { ino });
        }
      }
    }
    await this.#lost(lost);
  }

  /** First the directories that hold others, so that a lost tree is found as one. */
  async #lost(lost: readonly Seen[]): Promise<void> {
    const inside = new Set<Ino>();
    for (const { ino, type } of lost) {
      if (type !== S_IFDIR) continue;
      const header = await this.#blocks.read(() => getInode(this.#blocks, ino));
      await new DirectoryWalk(this.#blocks, header, {
        node: () => undefined,
        entries: async (entries) => entries.forEach((entry) => inside.add(entry.ino)),
        problem: () => undefined,
      }).run();
    }
    for (const again of [false, true]) {
      for (const seen of lost) {
        // The second time: rings of directories that hold each other.
        if (seen.lost || seen.links > 0 || (inside.has(seen.ino) && !again)) continue;
        seen.lost = true;
        const what = seen.type === S_IFDIR ? 'directory' : 'file';
        this.#find('inode-lost', `${what} ${seen.ino} has no name`, { ino: seen.ino });
        if (seen.type !== S_IFDIR) continue;
        seen.parent = seen.ino;
        this.#stack.push(seen);
        await this.#walk();
      }
    }
  }

  #compare(
    kind: 'inode' | 'metadata' | 'data',
    segment: number,
    bits: Uint8Array,
    used: Usage,
  ): void {
    const mine = used.segments.get(segment);
    const base = segment * used.perSegment;
    let runKind: FindingKind | undefined;
    let start = 0;
    for (let bit = 0; bit <= used.perSegment; bit++) {
      let here: FindingKind | undefined;
      if (bit < used.perSegment) {
        const at = bit >>> 3;
        const differs = bits[at] ^ (mine?.[at] ?? 0);
        if (differs === 0 && runKind === undefined && (bit & 7) === 0) {
          bit += 7;
          continue;
        }
        if ((differs & (1 << (bit & 7))) !== 0) {
          here = (bits[at] & (1 << (bit & 7))) !== 0 ? `${kind}-leaked` : `${kind}-unmarked`;
        }
      }
      if (here === runKind) continue;
      if (runKind !== undefined) {
        const count = bit - start;
        const message = `${kind} ${base + start}${count > 1 ? ` and ${count - 1} more` : ''}`;
        const text = runKind.endsWith('leaked') ? 'marked, not in use' : 'in use, not marked';
        this.#find(runKind, `${message}: ${text}`, { index: base + start, count });
      }
      runKind = here;
      start = bit;
    }
  }

  #counts(): void {
    for (const seen of this.inodes.values()) {
      const { ino, type, nlink, blocks, expectedBlocks } = seen;
      if (seen.damaged) continue;
      if (blocks !== expectedBlocks && !this.#isDamaged(ino)) {
        const message = `inode ${ino}: ${blocks} blocks of 512 bytes, should be ${expectedBlocks}`;
        this.#find('blocks-wrong', message, { ino, expected: expectedBlocks });
      }
      if (seen.lost || (seen.isOrphan && seen.links === 0)) continue;
      const expected = type === S_IFDIR ? 2 + seen.subdirectories : seen.links;
      if (nlink !== expected || seen.isOrphan) {
        this.#find('nlink-wrong', `inode ${ino}: ${nlink} links, should be ${expected}`, {
          ino,
          expected,
        });
      }
    }
  }

  /** Its blocks are not all known. */
  #isDamaged(ino: Ino): boolean {
    return this.findings.some(
      (finding) =>
        finding.ino === ino &&
        (finding.kind === 'directory-damaged' || finding.kind === 'xattrs-damaged'),
    );
  }
}

function show(name: Uint8Array, parent: Ino): string {
  return `${JSON.stringify(Buffer.from(name).toString())} in directory ${parent}`;
}

/** Throws CORRUPTION when any of its numbers is none. */
function seenInode(ino: Ino, header: Block): Seen {
  readAttributes(header);
  for (const number of [entriesOf, rootOf, parentOf]) number(header);
  return {
    ino,
    type: typeOf(header),
    generation: generationOf(header),
    nlink: nlinkOf(header),
    isOrphan: stateOf(header) === InodeState.orphan,
    blocks: blocksOf(header),
    saysParent: parentOf(header),
    expectedBlocks: contentOf(header) === Content.bytes ? Math.ceil(sizeOf(header) / 512) : 0,
    links: 0,
    subdirectories: 0,
    parent: 0,
    damaged: false,
    lost: false,
  };
}

function damagedInode(ino: Ino): Seen {
  return {
    ino,
    type: 0,
    generation: 0,
    nlink: 0,
    isOrphan: false,
    blocks: 0,
    saysParent: 0,
    expectedBlocks: 0,
    links: 0,
    subdirectories: 0,
    parent: 0,
    damaged: true,
    lost: false,
  };
}
