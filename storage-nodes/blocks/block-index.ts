/**
 * What a node holds of virtual disks, in memory: one entry of 28 bytes a register, in typed arrays.
 *
 * ```
 *   (disk, region, group of 16 registers) -> newest row -> older row -> ...      one row an epoch that wrote to the group
 *   row: 16 entries      entry: place, clock, token, crc
 *
 *   place      0              nothing in this epoch: the older rows say
 *              1 ... 2^32-1   slot + 1 in the block file of the region's register size
 *              2^32 ...       location in the journal: file * 2^32 + offset
 *              -1             given back (tombstone)
 *              -2             unreadable: no vote, but nothing older than its tag is taken
 * ```
 *
 * - BLOCK-1 Along a chain of rows epochs fall; a register as of epoch E is the first entry that is there at or below E.
 */
import { copyBytes } from '#core/bytes/copy.js';
import type { Region } from '../protocol/block-geometry.js';

export const ROW_REGISTERS = 16;
export const NO_ROW = 0;

export const PLACE_NONE = 0;
export const PLACE_TOMBSTONE = -1;
export const PLACE_BAD = -2;
const TWO_32 = 0x1_0000_0000;

export function isSlot(place: number): boolean {
  return place > 0 && place < TWO_32;
}
export function isJournal(place: number): boolean {
  return place >= TWO_32;
}
/** The journal file of a place. */
export function journalFileOf(place: number): number {
  return Math.floor(place / TWO_32);
}

export class BlockIndex {
  rowDisk = new Uint32Array(64);
  rowRegion = new Uint8Array(64);
  rowGroup = new Float64Array(64);
  rowEpoch = new Uint32Array(64);
  rowOlder = new Uint32Array(64);
  place = new Float64Array(64 * ROW_REGISTERS);
  clock = new Float64Array(64 * ROW_REGISTERS);
  token = new Float64Array(64 * ROW_REGISTERS);
  crc = new Uint32Array(64 * ROW_REGISTERS);
  /** Rows are below. */
  rowEnd = 1;
  rowCount = 0;
  #freeRow = NO_ROW;
  /** disk * 8 + region -> group -> newest row. */
  readonly #groups = new Map<number, Map<number, number>>();

  /** Newest row of a group, or NO_ROW. */
  newest(disk: number, region: Region, group: number): number {
    return this.#groups.get(disk * 8 + region)?.get(group) ?? NO_ROW;
  }

  /** Entry of a register as of `epoch`, or -1: never written. */
  find(disk: number, region: Region, index: number, epoch: number): number {
    const group = Math.floor(index / ROW_REGISTERS);
    const place = index - group * ROW_REGISTERS;
    for (let row = this.newest(disk, region, group); row !== NO_ROW; row = this.rowOlder[row]) {
      if (this.rowEpoch[row] > epoch) continue;
      const entry = row * ROW_REGISTERS + place;
      if (this.place[entry] !== PLACE_NONE) return entry;
    }
    return -1;
  }

  /** The row of exactly that epoch, made in its place in the chain when it is not there. */
  rowAt(disk: number, region: Region, group: number, epoch: number): number {
    let newer = NO_ROW;
    let row = this.newest(disk, region, group);
    while (row !== NO_ROW && this.rowEpoch[row] > epoch) {
      newer = row;
      row = this.rowOlder[row];
    }
    if (row !== NO_ROW && this.rowEpoch[row] === epoch) return row;
    const made = this.#takeRow();
    this.rowDisk[made] = disk;
    this.rowRegion[made] = region;
    this.rowGroup[made] = group;
    this.rowEpoch[made] = epoch;
    this.rowOlder[made] = row;
    if (newer !== NO_ROW) this.rowOlder[newer] = made;
    else this.#groupsOf(disk, region).set(group, made);
    return made;
  }

  isUsed(row: number): boolean {
    return this.rowEpoch[row] !== 0;
  }

  /** Takes a row out of its chain; its entries must have been let go. */
  removeRow(row: number): void {
    const region = this.rowRegion[row] as Region;
    const groups = this.#groupsOf(this.rowDisk[row], region);
    const group = this.rowGroup[row];
    const first = groups.get(group) ?? NO_ROW;
    if (first === row) {
      if (this.rowOlder[row] === NO_ROW) groups.delete(group);
      else groups.set(group, this.rowOlder[row]);
    } else {
      let at = first;
      while (this.rowOlder[at] !== row) at = this.rowOlder[at];
      this.rowOlder[at] = this.rowOlder[row];
    }
    this.rowEpoch[row] = 0;
    this.rowOlder[row] = this.#freeRow;
    this.#freeRow = row;
    this.rowCount--;
  }

  /** Register index of an entry. */
  indexOf(entry: number): number {
    const row = Math.floor(entry / ROW_REGISTERS);
    return this.rowGroup[row] * ROW_REGISTERS + (entry - row * ROW_REGISTERS);
  }

  #groupsOf(disk: number, region: Region): Map<number, number> {
    const key = disk * 8 + region;
    let groups = this.#groups.get(key);
    if (groups === undefined) {
      groups = new Map();
      this.#groups.set(key, groups);
    }
    return groups;
  }

  #takeRow(): number {
    let row = this.#freeRow;
    if (row !== NO_ROW) this.#freeRow = this.rowOlder[row];
    else {
      row = this.rowEnd++;
      if (row >= this.rowEpoch.length) this.#grow();
    }
    const first = row * ROW_REGISTERS;
    this.place.fill(PLACE_NONE, first, first + ROW_REGISTERS);
    this.clock.fill(0, first, first + ROW_REGISTERS);
    this.token.fill(0, first, first + ROW_REGISTERS);
    this.rowCount++;
    return row;
  }

  #grow(): void {
    this.rowDisk = grown(this.rowDisk, new Uint32Array(this.rowDisk.length * 2));
    this.rowGroup = grown(this.rowGroup, new Float64Array(this.rowGroup.length * 2));
    this.rowEpoch = grown(this.rowEpoch, new Uint32Array(this.rowEpoch.length * 2));
    this.rowOlder = grown(this.rowOlder, new Uint32Array(this.rowOlder.length * 2));
    const regions = new Uint8Array(this.rowRegion.length * 2);
    copyBytes(regions, 0, this.rowRegion, 0, this.rowRegion.length);
    this.rowRegion = regions;
    this.place = grown(this.place, new Float64Array(this.place.length * 2));
    this.clock = grown(this.clock, new Float64Array(this.clock.length * 2));
    this.token = grown(this.token, new Float64Array(this.token.length * 2));
    this.crc = grown(this.crc, new Uint32Array(this.crc.length * 2));
  }
}

function grown<T extends Uint32Array | Float64Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
