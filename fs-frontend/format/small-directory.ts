/**
 * A small directory: up to 7 registers of its inode, from register 1 on, each with a u16 count of bytes used (itself included)
 * and entries (directory-entry.ts) in no order. The header knows how many registers are in use.
 */
import { INODE_REGISTER_BYTES, Region } from '../disk/disk.js';
import type { Block, BlockSource } from './block.js';
import { entryBytes, entryKey, isNamed } from './directory-entry.js';
import { InodeField, inoOf, inodeCorrupt } from './inode.js';
import { headerRegister } from './layout.js';
import type { Transaction } from './transaction.js';

/** So that all of it fits one leaf. */
export const SMALL_REGISTERS_MAX = 7;
const FIRST_ENTRY = 2;

/** Where an entry was found; one object, used again. */
export const found: { block: Block | undefined; at: number } = { block: undefined, at: 0 };

function registersOf(header: Block): number {
  const count = header.bytes[InodeField.registers];
  if (count > SMALL_REGISTERS_MAX) throw inodeCorrupt(inoOf(header), 'registers of a directory');
  return count;
}

function registerAt(source: BlockSource, header: Block, number: number): Block {
  const ino = inoOf(header);
  return source.get(Region.inodes, headerRegister(ino) + number, ino);
}

/** Where entries end. */
function endOf(block: Block, header: Block): number {
  const end = block.view.getUint16(0, true);
  if (end < FIRST_ENTRY || end > INODE_REGISTER_BYTES) {
    throw inodeCorrupt(inoOf(header), 'bytes used by directory entries');
  }
  return end;
}

/** Where the next entry starts. */
function next(block: Block, at: number, end: number, header: Block): number {
  const behind = at + entryBytes(block, at);
  if (!(behind <= end)) throw inodeCorrupt(inoOf(header), 'a directory entry cut short');
  return behind;
}

/** Finds the entry of that name and leaves it in `found`. `hash` is the name's. */
export function findSmall(
  source: BlockSource,
  header: Block,
  name: Uint8Array,
  hash: number,
): boolean {
  const registers = registersOf(header);
  for (let number = 1; number <= registers; number++) {
    const block = registerAt(source, header, number);
    const end = endOf(block, header);
    for (let at = FIRST_ENTRY; at < end; at = next(block, at, end, header)) {
      // The upper 32 bits of the key.
      if (block.view.getUint32(at + 2, true) !== hash || !isNamed(block, at, name)) continue;
      found.block = block;
      found.at = at;
      return true;
    }
  }
  return false;
}

/** Calls `visit` for every entry, in no order. */
export function eachSmall(
  source: BlockSource,
  header: Block,
  visit: (block: Block, at: number) => void,
): void {
  const registers = registersOf(header);
  for (let number = 1; number <= registers; number++) {
    const block = registerAt(source, header, number);
    const end = endOf(block, header);
    for (let at = FIRST_ENTRY; at < end;) {
      const behind = next(block, at, end, header);
      visit(block, at);
      at = behind;
    }
  }
}

/** The least key of that hash that is not taken. */
export function freeKey(source: BlockSource, header: Block, first: number, behind: number): number {
  const taken = new Set<number>();
  eachSmall(source, header, (block, at) => {
    const key = entryKey(block, at);
    if (key >= first && key < behind) taken.add(key);
  });
  let key = first;
  while (taken.has(key)) key++;
  return key;
}

/** Room for an entry of `bytes`, left in `found`; false: the directory has outgrown its inode. */
export function openSmall(tx: Transaction, header: Block, bytes: number): boolean {
  const registers = registersOf(header);
  for (let number = 1; number <= registers; number++) {
    const block = registerAt(tx.source, header, number);
    const end = endOf(block, header);
    if (end + bytes > INODE_REGISTER_BYTES) continue;
    tx.u16(block, 0, end + bytes);
    found.block = block;
    found.at = end;
    return true;
  }
  if (registers === SMALL_REGISTERS_MAX) return false;
  const ino = inoOf(header);
  const block = tx.fresh(Region.inodes, headerRegister(ino) + registers + 1, ino);
  tx.u16(block, 0, FIRST_ENTRY + bytes);
  tx.u8(header, InodeField.registers, registers + 1);
  found.block = block;
  found.at = FIRST_ENTRY;
  return true;
}

export function removeSmall(tx: Transaction, header: Block, block: Block, at: number): void {
  const end = endOf(block, header);
  const behind = next(block, at, end, header);
  tx.move(block, at, behind, end - behind);
  tx.u16(block, 0, end - (behind - at));
}
