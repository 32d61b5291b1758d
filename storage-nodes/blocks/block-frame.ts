/**
 * The body of a BLOCKS frame of the journal, and of a block of the index snapshot: adjacent registers of one group.
 *
 * ```
 *    0 u32 disk   4 u8 region   5 u8 operation   6 u16 count (1 to 16)   8 u32 epoch   12 u32 inline: 1, else 0
 *   16 u64 index  24 u64 clock  32 u64 token     of the tag
 *   40 count times: u32 slot + 1 (0: inline, or no bytes)  u32 crc32c of the register
 *      inline: the registers' bytes
 * ```
 *
 * | operation   | takes effect on a register                | makes it                                            |
 * |-------------|-------------------------------------------|-----------------------------------------------------|
 * | 1 write     | whose tag is not newer                    | this tag, these bytes                               |
 * | 2 move      | that has exactly this tag in this epoch   | the same bytes, in another place                    |
 * | 3 set       | always                                    | as given; what was newer is gone (rule 12)          |
 * | 4 tombstone | whose tag is older                        | given back                                          |
 * | 5 clear     | that has this tag in this epoch           | nothing in this epoch                               |
 *
 * Clock 0 in `set` clears. One frame after the other, from any earlier state of the group, they lead to the same end.
 */
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import { REGION_COUNT, type Region } from '../protocol/block-geometry.js';

export const BLOCK_FRAME_BYTES = 40;
export const BLOCK_REGISTER_BYTES = 8;

export const BlockOperation = { write: 1, move: 2, set: 3, tombstone: 4, clear: 5 } as const;
export type BlockOperation = (typeof BlockOperation)[keyof typeof BlockOperation];

/** One object is used again for all frames. */
export interface BlockFrame {
  disk: number;
  region: Region;
  operation: BlockOperation;
  count: number;
  epoch: number;
  inline: boolean;
  index: number;
  clock: number;
  token: number;
}

export function emptyBlockFrame(): BlockFrame {
  return {
    disk: 0,
    region: 0,
    operation: BlockOperation.write,
    count: 0,
    epoch: 0,
    inline: false,
    index: 0,
    clock: 0,
    token: 0,
  };
}

/** Where the inline bytes begin. */
export function inlineAt(count: number): number {
  return BLOCK_FRAME_BYTES + count * BLOCK_REGISTER_BYTES;
}

export function writeBlockFrame(view: DataView, at: number, frame: BlockFrame): void {
  view.setUint32(at, frame.disk, true);
  view.setUint8(at + 4, frame.region);
  view.setUint8(at + 5, frame.operation);
  view.setUint16(at + 6, frame.count, true);
  view.setUint32(at + 8, frame.epoch, true);
  view.setUint32(at + 12, frame.inline ? 1 : 0, true);
  putU64(view, at + 16, frame.index);
  putU64(view, at + 24, frame.clock);
  putU64(view, at + 32, frame.token);
}

/** Throws CORRUPTION. */
export function readBlockFrame(view: DataView, at: number, frame: BlockFrame): void {
  const region = view.getUint8(at + 4);
  const operation = view.getUint8(at + 5);
  const count = view.getUint16(at + 6, true);
  if (region >= REGION_COUNT || operation < 1 || operation > 5 || count < 1 || count > 16) {
    throw new SextantError('CORRUPTION', 'a frame of registers');
  }
  frame.disk = view.getUint32(at, true);
  frame.region = region as Region;
  frame.operation = operation as BlockOperation;
  frame.count = count;
  frame.epoch = view.getUint32(at + 8, true);
  frame.inline = view.getUint32(at + 12, true) === 1;
  frame.index = getU64(view, at + 16);
  frame.clock = getU64(view, at + 24);
  frame.token = getU64(view, at + 32);
}
