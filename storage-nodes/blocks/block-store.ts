/**
 * The tagged registers of a node on its disk (rules 10, 11, 13, 15).
 *
 * ```
 *   small write    journal: BLOCKS frame with the bytes inside ............ commit ........ acknowledged
 *                     later, when its journal file is to go: bytes -> block file, sync, `move` frame
 *   bulk write     bytes -> free slots of the block file, sync, journal: BLOCKS frame (tag, slots, CRCs), commit, acknowledged
 *
 *   <folder>/blocks/blocks.data    registers of 4096 bytes      block-file
 *   <folder>/blocks/inodes.data    registers of 512 bytes
 *   <folder>/blocks/index-0000001  the index as of a journal position     index-snapshot
 * ```
 *
 * - BLOCK-2 A register's tag never goes back, but by `set` (a fence that was learnt late) and when a tombstone is buried.
 * - BLOCK-3 Whatever is read was stored whole: each register is checked against the CRC in the index. One that fails has no
 *   vote until it is written again, and takes nothing older than its tag.
 * - BLOCK-4 A slot is not written while anything durable names it: it is let go when the commit that replaced it is over.
 */
import { assert } from '#core/assert.js';
import { crc32c } from '#core/bytes/crc32c.js';
import { isSextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import type { FrameScanner } from '../journal/frame-scanner.js';
import { FRAME_HEADER_BYTES, FrameKind } from '../journal/frame.js';
import { locationOf, type Journal } from '../journal/journal.js';
import type { JournalTenant } from '../journal/journal-tenant.js';
import { compareTags, Region, registerBytes } from '../protocol/block-geometry.js';
import { RunKind } from '../protocol/codec-blocks.js';
import { BlockFile } from './block-file.js';
import {
  BLOCK_REGISTER_BYTES,
  BLOCK_FRAME_BYTES,
  BlockOperation,
  emptyBlockFrame,
  inlineAt,
  readBlockFrame,
  writeBlockFrame,
  type BlockFrame,
} from './block-frame.js';
import {
  BlockIndex,
  isJournal,
  isSlot,
  journalFileOf,
  NO_ROW,
  PLACE_BAD,
  PLACE_NONE,
  PLACE_TOMBSTONE,
  ROW_REGISTERS,
} from './block-index.js';
import { BlockIndexSnapshots } from './index-snapshot.js';

/** Registers that leave a journal file in one piece of work. */
const MOVE_PIECE = 128;
const FRAME_BYTES_MAX = inlineAt(ROW_REGISTERS) + ROW_REGISTERS * 4096;
export const ANY_EPOCH = 0xffff_ffff;

/** Which snapshots a disk has, as of an epoch. */
interface SnapshotList {
  readonly ids: readonly number[];
  readonly asOf: number;
}
const NO_SNAPSHOTS: SnapshotList = { ids: [], asOf: 1 };

/** A register that a write did not change. */
export interface SupersededRegister {
  readonly region: Region;
  readonly index: number;
  readonly clock: number;
  readonly token: number;
}

export class BlockStore implements JournalTenant {
  readonly index = new BlockIndex();
  /** Registers were changed since the last commit. */
  dirty = false;
  /** Test hook and planted fault: another order of tags. */
  compare: typeof compareTags = compareTags;
  readonly #world: World;
  readonly #folder: string;
  readonly #journal: Journal;
  readonly #blocks: BlockFile;
  readonly #inodes: BlockFile;
  readonly #snapshots: BlockIndexSnapshots;
  readonly #disks = new Map<number, SnapshotList>();
  /** Entries whose bytes were put into a journal file, by its number; some have moved on. */
  readonly #inFile = new Map<number, number[]>();
  /** Journal files with frames of ours. */
  readonly #frameFiles = new Set<number>();
  /** Slots that nothing names once what is queued is durable: slot * 2 + 1 for inodes. */
  #limbo: number[] = [];
  #recovering = true;
  readonly #frame = emptyBlockFrame();
  readonly #body = new Uint8Array(FRAME_BYTES_MAX);
  readonly #bodyView = new DataView(this.#body.buffer);
  readonly #image = new Uint8Array(4096);
  readonly damages: string[] = [];
  /** Entries that were found unreadable; some have been written since. */
  readonly bad = new Set<number>();

  constructor(world: World, folder: string, journal: Journal) {
    this.#world = world;
    this.#folder = `${folder}/blocks`;
    this.#journal = journal;
    const { disk } = world;
    if (!disk.exists(this.#folder)) {
      disk.makeFolder(this.#folder);
      disk.syncFolder(folder);
    }
    this.#blocks = new BlockFile(disk.open(`${this.#folder}/blocks.data`, { create: true }), 4096);
    this.#inodes = new BlockFile(disk.open(`${this.#folder}/inodes.data`, { create: true }), 512);
    disk.syncFolder(this.#folder);
    this.#snapshots = new BlockIndexSnapshots(disk, this.#folder);
    try {
      this.#snapshots.load(this.index);
    } catch (error) {
      if (!isSextantError(error, 'CORRUPTION')) throw error;
      this.damages.push(`the register index is damaged: ${error.message}`);
    }
  }

  #fileOf(region: Region): BlockFile {
    return region === Region.inodes ? this.#inodes : this.#blocks;
  }

  /** The snapshots of a disk, as of its epoch `asOf`. */
  setSnapshots(disk: number, ids: readonly number[], asOf: number): void {
    this.#disks.set(disk, { ids, asOf });
  }

  get bytesUsed(): number {
    return this.#blocks.usedBytes + this.#inodes.usedBytes;
  }
  /** Free on the disk, or in slots that nothing uses. */
  get bytesFree(): number {
    const slots = this.#blocks.freeBytes + this.#inodes.freeBytes;
    return this.#world.disk.freeBytes(this.#folder) + slots;
  }

  // -- write ------------------------------------------------------------------------------------------

  /**
   * Stores `count` adjacent registers of one group under one tag, or gives them back (`bytes` undefined). Those with a newer
   * tag stay, and are appended to `superseded`. Durable after the next commit. Throws DISK_FULL: nothing has changed.
   */
  put(
    disk: number,
    region: Region,
    epoch: number,
    index: number,
    count: number,
    clock: number,
    token: number,
    bytes: Uint8Array | undefined,
    offset: number,
    inline: boolean,
    superseded: SupersededRegister[],
  ): void {
    const size = registerBytes(region);
    for (let i = 0; i < count;) {
      if (!this.#isWanted(disk, region, index + i, clock, token, superseded)) {
        i++;
        continue;
      }
      let end = i + 1;
      while (
        end < count &&
        Math.floor((index + end) / ROW_REGISTERS) === Math.floor((index + i) / ROW_REGISTERS) &&
        this.#isWanted(disk, region, index + end, clock, token, undefined)
      ) {
        end++;
      }
      const frame = this.#frame;
      frame.disk = disk;
      frame.region = region;
      frame.operation = bytes === undefined ? BlockOperation.tombstone : BlockOperation.write;
      frame.count = end - i;
      frame.epoch = this.#epochFor(disk, region, index + i, epoch);
      frame.inline = inline && bytes !== undefined;
      frame.index = index + i;
      frame.clock = clock;
      frame.token = token;
      this.#store(frame, bytes, offset + i * size);
      i = end;
    }
  }

  #isWanted(
    disk: number,
    region: Region,
    index: number,
    clock: number,
    token: number,
    superseded: SupersededRegister[] | undefined,
  ): boolean {
    const found = this.index.find(disk, region, index, ANY_EPOCH);
    if (found < 0) return true;
    const known = this.index;
    const order = this.compare(clock, token, known.clock[found], known.token[found]);
    if (order > 0) return true;
    if (order === 0) return known.place[found] === PLACE_BAD;
    superseded?.push({ region, index, clock: known.clock[found], token: known.token[found] });
    return false;
  }

  /** The epoch of the row that a write goes into: an older row's, unless a snapshot needs what is there. */
  #epochFor(disk: number, region: Region, index: number, epoch: number): number {
    const row = this.index.newest(disk, region, Math.floor(index / ROW_REGISTERS));
    if (row === NO_ROW) return epoch;
    const at = this.index.rowEpoch[row];
    if (at >= epoch) return at;
    const { ids, asOf } = this.#disks.get(disk) ?? NO_SNAPSHOTS;
    if (asOf < epoch) return epoch;
    for (let i = 0; i < ids.length; i++) if (ids[i] >= at && ids[i] < epoch) return epoch;
    return at;
  }

  /** Does no live snapshot tell the row from the next older one? */
  mayMerge(row: number): boolean {
    const { rowDisk, rowEpoch, rowOlder } = this.index;
    const { ids, asOf } = this.#disks.get(rowDisk[row]) ?? NO_SNAPSHOTS;
    const older = rowEpoch[rowOlder[row]];
    if (asOf < rowEpoch[row]) return false;
    for (let i = 0; i < ids.length; i++)
      if (ids[i] >= older && ids[i] < rowEpoch[row]) return false;
    return true;
  }

  /** Journals a frame, its bytes where they belong, and puts it into the index. */
  #store(frame: BlockFrame, bytes: Uint8Array | undefined, offset: number): void {
    const { count, region } = frame;
    const size = registerBytes(region);
    const view = this.#bodyView;
    const slots: number[] = [];
    if (bytes !== undefined && !frame.inline) {
      const file = this.#fileOf(region);
      file.reserve(count, slots);
      try {
        file.write(slots, bytes, offset);
      } catch (error) {
        for (const slot of slots) file.free(slot);
        throw error;
      }
    }
    writeBlockFrame(view, 0, frame);
    for (let i = 0, at = BLOCK_FRAME_BYTES; i < count; i++, at += BLOCK_REGISTER_BYTES) {
      const from = offset + i * size;
      const crc = bytes === undefined ? 0 : crc32c(bytes.subarray(from, from + size));
      view.setUint32(at, slots.length === 0 ? 0 : slots[i] + 1, true);
      view.setUint32(at + 4, crc, true);
    }
    let end = inlineAt(count);
    if (frame.inline && bytes !== undefined) {
      this.#body.set(bytes.subarray(offset, offset + count * size), end);
      end += count * size;
    }
    const location = this.#append(end);
    this.#apply(frame, view, location);
  }

  #append(end: number): number {
    const location = this.#journal.append(FrameKind.blocks, 0, this.#body, 0, end);
    this.#frameFiles.add(journalFileOf(location));
    this.dirty = true;
    return location;
  }

  /** A frame takes effect on the index: now, or again at start. `location` is that of its body. */
  #apply(frame: BlockFrame, view: DataView, location: number, base = 0): void {
    const { count, region, inline, operation } = frame;
    const size = registerBytes(region);
    const bytesAt = location + inlineAt(count);
    for (let i = 0; i < count; i++) {
      const at = base + BLOCK_FRAME_BYTES + i * BLOCK_REGISTER_BYTES;
      const slot = view.getUint32(at, true);
      const place = inline ? bytesAt + i * size : slot;
      const crc = view.getUint32(at + 4, true);
      switch (operation) {
        case BlockOperation.write:
          this.#set(frame, frame.index + i, place, crc, true);
          break;
        case BlockOperation.tombstone:
          this.#set(frame, frame.index + i, PLACE_TOMBSTONE, 0, true);
          break;
        case BlockOperation.set:
          this.#set(frame, frame.index + i, place === 0 ? PLACE_TOMBSTONE : place, crc, false);
          break;
        case BlockOperation.move:
        case BlockOperation.clear:
          this.#change(frame, frame.index + i, place, operation === BlockOperation.clear);
          break;
      }
    }
  }

  #set(frame: BlockFrame, register: number, place: number, crc: number, onlyNewer: boolean): void {
    const { index } = this;
    const { disk, region, epoch, clock, token } = frame;
    if (onlyNewer && this.#recovering) {
      // Not against later epochs: the index snapshot may have caught those and missed this.
      const found = index.find(disk, region, register, epoch);
      if (found >= 0 && this.compare(clock, token, index.clock[found], index.token[found]) < 0) {
        return;
      }
    }
    const group = Math.floor(register / ROW_REGISTERS);
    const row = index.rowAt(disk, region, group, epoch);
    const entry = row * ROW_REGISTERS + (register - group * ROW_REGISTERS);
    this.#letGo(region, index.place[entry]);
    const cleared = !onlyNewer && clock === 0;
    index.place[entry] = cleared ? PLACE_NONE : place;
    index.clock[entry] = clock;
    index.token[entry] = token;
    index.crc[entry] = crc;
    if (cleared) this.#removeEmpty(row);
    else if (isJournal(place)) this.#noteInFile(journalFileOf(place), entry);
  }

  #change(frame: BlockFrame, register: number, place: number, clear: boolean): void {
    const { index } = this;
    const { disk, region, epoch, clock, token } = frame;
    const group = Math.floor(register / ROW_REGISTERS);
    let row = index.newest(disk, region, group);
    while (row !== NO_ROW && index.rowEpoch[row] > epoch) row = index.rowOlder[row];
    if (row === NO_ROW || index.rowEpoch[row] !== epoch) return;
    const entry = row * ROW_REGISTERS + (register - group * ROW_REGISTERS);
    if (index.place[entry] === PLACE_NONE) return;
    if (index.clock[entry] !== clock || index.token[entry] !== token) return;
    this.#letGo(region, index.place[entry]);
    index.place[entry] = clear ? PLACE_NONE : place;
    if (clear) this.#removeEmpty(row);
  }

  #removeEmpty(row: number): void {
    for (let i = 0; i < ROW_REGISTERS; i++) {
      if (this.index.place[row * ROW_REGISTERS + i] !== PLACE_NONE) return;
    }
    this.index.removeRow(row);
  }

  #letGo(region: Region, place: number): void {
    if (this.#recovering || !isSlot(place)) return;
    this.#limbo.push((place - 1) * 2 + (region === Region.inodes ? 1 : 0));
  }

  #noteInFile(seq: number, entry: number): void {
    const list = this.#inFile.get(seq);
    if (list === undefined) this.#inFile.set(seq, [entry]);
    else list.push(entry);
  }

  /** Replaces a register by what a read quorum of others has, even by something older (rule 12). Clock 0: by nothing. */
  force(
    disk: number,
    region: Region,
    epoch: number,
    index: number,
    clock: number,
    token: number,
    bytes: Uint8Array | undefined,
    offset: number,
  ): void {
    const frame = this.#frame;
    frame.disk = disk;
    frame.region = region;
    frame.operation = BlockOperation.set;
    frame.count = 1;
    frame.epoch = epoch;
    frame.inline = bytes !== undefined;
    frame.index = index;
    frame.clock = clock;
    frame.token = token;
    this.#store(frame, bytes, offset);
  }

  /** Forgets an entry: a buried tombstone, a version that no snapshot needs. */
  clear(entry: number): void {
    this.#frameOf(entry, BlockOperation.clear);
    this.#bodyView.setFloat64(BLOCK_FRAME_BYTES, 0, true);
    const location = this.#append(inlineAt(1));
    this.#apply(this.#frame, this.#bodyView, location);
  }

  #frameOf(entry: number, operation: BlockOperation): void {
    const { index } = this;
    const row = Math.floor(entry / ROW_REGISTERS);
    const frame = this.#frame;
    frame.disk = index.rowDisk[row];
    frame.region = index.rowRegion[row] as Region;
    frame.operation = operation;
    frame.count = 1;
    frame.epoch = index.rowEpoch[row];
    frame.inline = false;
    frame.index = index.indexOf(entry);
    frame.clock = index.clock[entry];
    frame.token = index.token[entry];
    writeBlockFrame(this.#bodyView, 0, frame);
  }

  // -- read -------------------------------------------------------------------------------------------

  /** What an entry is to a reader; -1 is a register that was never written. */
  kindOf(entry: number): RunKind {
    if (entry < 0) return RunKind.none;
    const place = this.index.place[entry];
    if (place === PLACE_TOMBSTONE) return RunKind.tombstone;
    return place === PLACE_BAD ? RunKind.bad : RunKind.data;
  }

  /** The bytes of `entry`, into `target`. False: they fail their checksum, and the entry is bad from now on. */
  load(entry: number, target: Uint8Array, offset: number): boolean {
    const { index } = this;
    const row = Math.floor(entry / ROW_REGISTERS);
    const region = index.rowRegion[row] as Region;
    const size = registerBytes(region);
    const place = index.place[entry];
    assert(place > 0, 'only stored registers are loaded');
    if (isJournal(place)) {
      try {
        this.#journal.read(place, size, target, offset);
      } catch (error) {
        if (!isSextantError(error, 'CORRUPTION')) throw error;
        return this.#markBad(entry);
      }
    } else this.#fileOf(region).read(place - 1, 1, target, offset);
    return this.check(entry, target, offset);
  }

  /** As `load`, for entries in adjacent slots: one read. True when all of them are whole; else `load` tells which are. */
  loadAdjacent(entry: number, count: number, target: Uint8Array, offset: number): boolean {
    const { index } = this;
    const region = index.rowRegion[Math.floor(entry / ROW_REGISTERS)] as Region;
    const place = index.place[entry];
    if (count < 2 || !isSlot(place)) return false;
    for (let i = 1; i < count; i++) if (index.place[entry + i] !== place + i) return false;
    const size = registerBytes(region);
    this.#fileOf(region).read(place - 1, count, target, offset);
    for (let i = 0; i < count; i++) {
      if (!this.#matches(entry + i, target, offset + i * size, size)) return false;
    }
    return true;
  }

  #matches(entry: number, bytes: Uint8Array, offset: number, size: number): boolean {
    return crc32c(bytes.subarray(offset, offset + size)) === this.index.crc[entry];
  }

  check(entry: number, bytes: Uint8Array, offset: number): boolean {
    const region = this.index.rowRegion[Math.floor(entry / ROW_REGISTERS)] as Region;
    return this.#matches(entry, bytes, offset, registerBytes(region)) || this.#markBad(entry);
  }

  #markBad(entry: number): false {
    // Not journaled: at the next start the bytes are looked at again.
    this.index.place[entry] = PLACE_BAD;
    this.bad.add(entry);
    this.#world.log.warn('a register fails its checksum', { register: this.index.indexOf(entry) });
    return false;
  }

  // -- journal tenant ---------------------------------------------------------------------------------

  replay(frame: FrameScanner): void {
    this.#frameFiles.add(frame.fileSeq);
    const { fileSeq, offset } = this.#snapshots;
    if (frame.fileSeq < fileSeq || (frame.fileSeq === fileSeq && frame.offset < offset)) return;
    const { bytes, bodyStart } = frame;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    readBlockFrame(view, bodyStart, this.#frame);
    const location = locationOf(frame.fileSeq, frame.offset + FRAME_HEADER_BYTES);
    this.#apply(this.#frame, view, location, bodyStart);
  }

  recovered(): void {
    const { index } = this;
    this.#inFile.clear();
    for (let row = 1; row < index.rowEnd; row++) {
      if (!index.isUsed(row)) continue;
      const file = this.#fileOf(index.rowRegion[row] as Region);
      for (let i = 0; i < ROW_REGISTERS; i++) {
        const place = index.place[row * ROW_REGISTERS + i];
        if (isSlot(place)) file.use(place - 1);
        else if (isJournal(place)) this.#noteInFile(journalFileOf(place), row * ROW_REGISTERS + i);
      }
    }
    this.#recovering = false;
  }

  beforeCommit(): void {
    this.#blocks.sync();
    this.#inodes.sync();
  }

  committed(): void {
    this.dirty = false;
    if (this.#limbo.length === 0) return;
    for (const slot of this.#limbo) {
      (slot % 2 === 1 ? this.#inodes : this.#blocks).free(Math.floor(slot / 2));
    }
    this.#limbo = [];
  }

  release(seq: number): boolean {
    const list = this.#inFile.get(seq);
    if (list !== undefined) {
      this.#moveOut(seq, list);
      if (list.length === 0) this.#inFile.delete(seq);
      return true;
    }
    if (this.#snapshots.active) {
      this.#snapshots.piece(this.index);
      return true;
    }
    if (this.#frameFiles.has(seq) && this.#snapshots.fileSeq <= seq) {
      if (this.#journal.dirty) return true;
      this.#snapshots.begin(this.#journal.currentSeq, this.#journal.tail);
      return true;
    }
    this.#frameFiles.delete(seq);
    return false;
  }

  /** Gives up what a full disk did not let it finish. */
  abandon(): void {
    this.#snapshots.abandon();
  }

  #moveOut(seq: number, entries: number[]): void {
    for (let moved = 0; moved < MOVE_PIECE && entries.length > 0; moved++) {
      const entry = entries[entries.length - 1];
      const place = this.index.place[entry];
      if (isJournal(place) && journalFileOf(place) === seq) this.relocate(entry);
      entries.pop();
    }
  }

  /** Moves a register from the journal to its block file. */
  relocate(entry: number): void {
    const { index } = this;
    if (!this.load(entry, this.#image, 0)) return;
    const region = index.rowRegion[Math.floor(entry / ROW_REGISTERS)] as Region;
    const file = this.#fileOf(region);
    const slots: number[] = [];
    file.reserve(1, slots);
    try {
      file.write(slots, this.#image, 0);
    } catch (error) {
      file.free(slots[0]);
      throw error;
    }
    this.#frameOf(entry, BlockOperation.move);
    this.#bodyView.setUint32(BLOCK_FRAME_BYTES, slots[0] + 1, true);
    this.#bodyView.setUint32(BLOCK_FRAME_BYTES + 4, index.crc[entry], true);
    const location = this.#append(inlineAt(1));
    this.#apply(this.#frame, this.#bodyView, location);
  }

  /**
   * Takes a version that no snapshot tells apart from a newer epoch's up into that epoch, or forgets it where that has one of
   * its own.
   */
  mergeUp(entry: number, newerRow: number): void {
    const { index } = this;
    const newer = newerRow * ROW_REGISTERS + (entry % ROW_REGISTERS);
    if (index.place[newer] !== PLACE_NONE) {
      this.clear(entry);
      return;
    }
    if (isJournal(index.place[entry])) this.relocate(entry);
    const place = index.place[entry];
    if (place === PLACE_BAD) {
      this.clear(entry);
      return;
    }
    this.#frameOf(entry, BlockOperation.set);
    this.#frame.epoch = index.rowEpoch[newerRow];
    writeBlockFrame(this.#bodyView, 0, this.#frame);
    this.#bodyView.setUint32(BLOCK_FRAME_BYTES, isSlot(place) ? place : 0, true);
    this.#bodyView.setUint32(BLOCK_FRAME_BYTES + 4, index.crc[entry], true);
    const location = this.#append(inlineAt(1));
    this.#apply(this.#frame, this.#bodyView, location);
    // The slot has a new owner: it is not let go.
    if (isSlot(place)) index.place[entry] = PLACE_TOMBSTONE;
    this.clear(entry);
  }

  close(): void {
    this.#snapshots.abandon();
    this.#blocks.file.close();
    this.#inodes.file.close();
  }
}
