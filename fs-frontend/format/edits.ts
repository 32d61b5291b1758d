/**
 * Edits of a block: the language of core/redo, over a block in place of a page, so that every byte may be edited.
 *
 * | op | name | layout after the u8 op        | effect                      |
 * |----|------|-------------------------------|-----------------------------|
 * |  1 | SET  | u16 offset, u16 length, bytes | bytes go to offset          |
 * |  2 | MOVE | u16 to, u16 from, u16 length  | memmove inside the block    |
 * |  3 | FILL | u16 offset, u16 length, u8    | length times byte at offset |
 *
 * Well formed: each edit is whole and every range lies inside the block.
 */
import { copyBytes } from '#core/bytes/copy.js';
import { SextantError } from '#core/errors.js';

export const EDIT_SET = 1;
export const EDIT_MOVE = 2;
export const EDIT_FILL = 3;
/** Encoded bytes of each edit, SET without its data. */
export const SET_BYTES = 5;
export const MOVE_BYTES = 7;
export const FILL_BYTES = 6;

function putU16(target: Uint8Array, at: number, value: number): void {
  target[at] = value & 0xff;
  target[at + 1] = value >>> 8;
}

function u16At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** Each returns the new end; there is room. */
export function putSet(
  target: Uint8Array,
  at: number,
  offset: number,
  source: Uint8Array,
  sourceStart: number,
  length: number,
): number {
  target[at] = EDIT_SET;
  putU16(target, at + 1, offset);
  putU16(target, at + 3, length);
  copyBytes(target, at + SET_BYTES, source, sourceStart, length);
  return at + SET_BYTES + length;
}

export function putMove(
  target: Uint8Array,
  at: number,
  to: number,
  from: number,
  length: number,
): number {
  target[at] = EDIT_MOVE;
  putU16(target, at + 1, to);
  putU16(target, at + 3, from);
  putU16(target, at + 5, length);
  return at + MOVE_BYTES;
}

export function putFill(
  target: Uint8Array,
  at: number,
  offset: number,
  length: number,
  byte: number,
): number {
  target[at] = EDIT_FILL;
  putU16(target, at + 1, offset);
  putU16(target, at + 3, length);
  target[at + 5] = byte;
  return at + FILL_BYTES;
}

/** Throws CORRUPTION unless edits[start, end) is well formed for a block of `blockBytes`. */
export function checkEdits(
  edits: Uint8Array,
  start: number,
  end: number,
  blockBytes: number,
): void {
  let at = start;
  while (at < end) {
    const op = edits[at];
    const head = op === EDIT_SET ? SET_BYTES : op === EDIT_MOVE ? MOVE_BYTES : FILL_BYTES;
    if (op < EDIT_SET || op > EDIT_FILL || at + head > end) throw corrupt(`edit ${op}`, at);
    const length = u16At(edits, op === EDIT_MOVE ? at + 5 : at + 3);
    if (u16At(edits, at + 1) + length > blockBytes) throw corrupt('edit past its block', at);
    if (op === EDIT_MOVE && u16At(edits, at + 3) + length > blockBytes) {
      throw corrupt('move from past its block', at);
    }
    at += op === EDIT_SET ? SET_BYTES + length : head;
    if (at > end) throw corrupt('edit cut short', at);
  }
}

function corrupt(what: string, at: number): SextantError {
  return new SextantError('CORRUPTION', `log record: ${what} at byte ${at}`);
}

/** Applies edits that passed `checkEdits`, or were just made by the encoders. */
export function applyEdits(block: Uint8Array, edits: Uint8Array, start: number, end: number): void {
  let at = start;
  while (at < end) {
    const op = edits[at];
    const offset = u16At(edits, at + 1);
    if (op === EDIT_SET) {
      const length = u16At(edits, at + 3);
      copyBytes(block, offset, edits, at + SET_BYTES, length);
      at += SET_BYTES + length;
    } else if (op === EDIT_MOVE) {
      const from = u16At(edits, at + 3);
      block.copyWithin(offset, from, from + u16At(edits, at + 5));
      at += MOVE_BYTES;
    } else {
      block.fill(edits[at + 5], offset, offset + u16At(edits, at + 3));
      at += FILL_BYTES;
    }
  }
}
