/**
 * A directory entry as it lies in inodes and leaves:
 *
 * ```
 *    0  u48  key: hash of the name * 65536 + discriminator
 *    6  u48  inode
 *   12  u48  its generation
 *   18  u8   its type: S_IFMT bits of the mode >> 12
 *   19  u8   bytes of the name, 1 to 255
 *   20  name: any bytes but NUL and /
 * ```
 *
 * The key stays the same as long as the entry is there; cookies are keys + 16.
 */
import { getU48 } from '#core/bytes/le.js';
import type { Ino } from '../vfs/vfs.js';
import type { Block } from './block.js';
import type { Transaction } from './transaction.js';

export const ENTRY_NAME_OFFSET = 20;
export const COOKIE_FIRST = 16;

/** What a name leads to. */
export interface DirEntry {
  readonly ino: Ino;
  readonly generation: number;
  /** S_IFMT bits of its mode. */
  readonly type: number;
  readonly cookie: number;
}

export interface ListedEntry extends DirEntry {
  readonly name: Uint8Array;
}

export const entryKey = (block: Block, at: number): number => getU48(block.view, at);
export const entryBytes = (block: Block, at: number): number =>
  ENTRY_NAME_OFFSET + block.bytes[at + 19];

export function isNamed(block: Block, at: number, name: Uint8Array): boolean {
  const { bytes } = block;
  const { length } = name;
  if (bytes[at + 19] !== length) return false;
  for (let i = 0; i < length; i++) if (bytes[at + ENTRY_NAME_OFFSET + i] !== name[i]) return false;
  return true;
}

export function readEntry(block: Block, at: number): DirEntry {
  const { view } = block;
  return {
    ino: getU48(view, at + 6),
    generation: getU48(view, at + 12),
    type: block.bytes[at + 18] << 12,
    cookie: getU48(view, at) + COOKIE_FIRST,
  };
}

export function listEntry(block: Block, at: number): ListedEntry {
  const { view } = block;
  const start = at + ENTRY_NAME_OFFSET;
  return {
    ino: getU48(view, at + 6),
    generation: getU48(view, at + 12),
    type: block.bytes[at + 18] << 12,
    cookie: getU48(view, at) + COOKIE_FIRST,
    name: block.bytes.slice(start, start + block.bytes[at + 19]),
  };
}

/** There is room at `at`. */
export function writeEntry(
  tx: Transaction,
  block: Block,
  at: number,
  key: number,
  name: Uint8Array,
  ino: Ino,
  generation: number,
  mode: number,
): void {
  tx.u48(block, at, key);
  writeTarget(tx, block, at, ino, generation, mode);
  tx.u8(block, at + 19, name.length);
  tx.set(block, at + ENTRY_NAME_OFFSET, name, 0, name.length);
}

export function writeTarget(
  tx: Transaction,
  block: Block,
  at: number,
  ino: Ino,
  generation: number,
  mode: number,
): void {
  tx.u48(block, at + 6, ino);
  tx.u48(block, at + 12, generation);
  tx.u8(block, at + 18, mode >>> 12);
}
