/**
 * Orphans of a server: inodes that it unlinked (nlink 0) while somebody had them open. Its log slot has up to 256 registers
 * for them, guarded by the slot's lock; who recovers a dead server takes its orphans over.
 *
 * ```
 *    0  u32  0x524f5853 "SXOR"
 *    4  u16  slot, u16 entries, at most 255
 *    8  u64  registers in use, in the first register only
 *   16  entries: u64 inode, u64 generation; in no order
 * ```
 *
 * An entry is a reminder: when the inode is no orphan of that generation any more, it is dropped.
 */
import { getU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { Region } from '../disk/disk.js';
import { FsError, type Ino } from '../vfs/vfs.js';
import type { Block, BlockSource } from './block.js';
import { ORPHANS_REGISTER, ORPHAN_REGISTERS } from './layout.js';
import type { Transaction } from './transaction.js';

const MAGIC = 0x524f_5853;
const COUNT_OFFSET = 6;
const REGISTERS_OFFSET = 8;
const ENTRY_OFFSET = 16;
const ENTRY_BYTES = 16;
const ENTRIES_MAX = 255;

export interface Orphan {
  readonly ino: Ino;
  readonly generation: number;
}

export class OrphanList {
  readonly slot: number;
  /** Registers below this one are probably full. */
  #hint = 0;

  constructor(slot: number) {
    this.slot = slot;
  }

  /** Throws Suspend, FsError ENOSPC when 65,280 are waiting. */
  add(tx: Transaction, ino: Ino, generation: number): void {
    const used = this.#registers(tx.source);
    let number = Math.min(this.#hint, used);
    while (number < used && this.#count(this.#get(tx.source, number)) === ENTRIES_MAX) number++;
    if (number === ORPHAN_REGISTERS) {
      if (this.#hint === 0) throw new FsError('ENOSPC', 'too many files unlinked while open');
      this.#hint = 0;
      this.add(tx, ino, generation);
      return;
    }
    const block = number < used ? this.#get(tx.source, number) : this.#init(tx, number);
    const count = this.#count(block);
    const at = ENTRY_OFFSET + count * ENTRY_BYTES;
    tx.u64(block, at, ino);
    tx.u64(block, at + 8, generation);
    tx.u16(block, COUNT_OFFSET, count + 1);
    this.#hint = number;
  }

  /** Nothing if it is not there. */
  remove(tx: Transaction, ino: Ino, generation: number): void {
    const used = this.#registers(tx.source);
    for (let number = 0; number < used; number++) {
      const block = this.#get(tx.source, number);
      const count = this.#count(block);
      for (let i = 0; i < count; i++) {
        const at = ENTRY_OFFSET + i * ENTRY_BYTES;
        if (getU64(block.view, at) !== ino || getU64(block.view, at + 8) !== generation) continue;
        const last = ENTRY_OFFSET + (count - 1) * ENTRY_BYTES;
        if (last !== at)
          tx.set(block, at, block.bytes.slice(last, last + ENTRY_BYTES), 0, ENTRY_BYTES);
        tx.u16(block, COUNT_OFFSET, count - 1);
        this.#hint = Math.min(this.#hint, number);
        return;
      }
    }
  }

  entries(source: BlockSource): Orphan[] {
    const found: Orphan[] = [];
    const used = this.#registers(source);
    for (let number = 0; number < used; number++) {
      const block = this.#get(source, number);
      const count = this.#count(block);
      for (let i = 0; i < count; i++) {
        const at = ENTRY_OFFSET + i * ENTRY_BYTES;
        found.push({ ino: getU64(block.view, at), generation: getU64(block.view, at + 8) });
      }
    }
    return found;
  }

  #register(number: number): number {
    return ORPHANS_REGISTER + this.slot * ORPHAN_REGISTERS + number;
  }

  #registers(source: BlockSource): number {
    const first = source.get(Region.params, this.#register(0), 0);
    if (first.view.getUint32(0, true) === 0) return 0;
    this.#check(first);
    const used = getU64(first.view, REGISTERS_OFFSET);
    if (used < 1 || used > ORPHAN_REGISTERS) throw this.#corrupt('registers in use');
    return used;
  }

  #get(source: BlockSource, number: number): Block {
    const block = source.get(Region.params, this.#register(number), 0);
    this.#check(block);
    return block;
  }

  #check(block: Block): void {
    const { view } = block;
    if (view.getUint32(0, true) !== MAGIC || view.getUint16(4, true) !== this.slot) {
      throw this.#corrupt('magic');
    }
    if (this.#count(block) > ENTRIES_MAX) throw this.#corrupt('count');
  }

  #count(block: Block): number {
    return block.view.getUint16(COUNT_OFFSET, true);
  }

  #init(tx: Transaction, number: number): Block {
    const block = tx.fresh(Region.params, this.#register(number), 0);
    tx.u32(block, 0, MAGIC);
    tx.u16(block, 4, this.slot);
    const first = number === 0 ? block : this.#get(tx.source, 0);
    tx.u64(first, REGISTERS_OFFSET, number + 1);
    return block;
  }

  #corrupt(what: string): SextantError {
    return new SextantError('CORRUPTION', `orphan list of slot ${this.slot}: ${what}`);
  }
}
