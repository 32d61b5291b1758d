/**
 * Page edits: the one language in which a page is changed, by engine, replicas and storage nodes alike.
 *
 * | op | name   | layout after the u8 op               | effect                                        |
 * |----|--------|--------------------------------------|-----------------------------------------------|
 * |  1 | SET    | u16 offset, u16 length, bytes        | bytes go to offset                            |
 * |  2 | MOVE   | u16 to, u16 from, u16 length         | memmove inside the page                       |
 * |  3 | FILL   | u16 offset, u16 length, u8 byte      | length times byte at offset                   |
 * |  4 | FORMAT | u8 type                              | zeroes the page from byte 8 on, sets its type |
 *
 * A list of edits is well formed when each one is whole, every range lies in [9, 8192), and FORMAT is
 * the first edit or absent. Bytes 0 to 7 are the LSN, which only `apply` sets; byte 8 is the type,
 * which only FORMAT sets. An edit of length 0 is legal and changes nothing; the encoders leave it out.
 */
import { assert } from '../assert.js';
import { copyBytes } from '../bytes/copy.js';
import { SextantError } from '../errors.js';
import { PAGE_BODY_OFFSET, PAGE_BYTES, PAGE_TYPE_OFFSET } from './page.js';

export const EDIT_SET = 1;
export const EDIT_MOVE = 2;
export const EDIT_FILL = 3;
export const EDIT_FORMAT = 4;

/** Encoded bytes of each edit, SET without its data. */
export const SET_BYTES = 5;
export const MOVE_BYTES = 7;
export const FILL_BYTES = 6;
export const FORMAT_BYTES = 2;

function assertInBody(offset: number, length: number): void {
  assert(
    offset >= PAGE_BODY_OFFSET && length >= 0 && offset + length <= PAGE_BYTES,
    'an edit stays inside the body of its page',
  );
}

function putU16(target: Uint8Array, at: number, value: number): void {
  target[at] = value & 0xff;
  target[at + 1] = value >>> 8;
}

/**
 * The encoders without the bounds of a page, for blocks of other sizes (fs-frontend/format/edits). Each returns the new end;
 * there is room, and the range lies inside the block.
 */
export function encodeSet(
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

export function encodeMove(
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

export function encodeFill(
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

/** SET `length` bytes of `source` from `sourceStart` at page `offset`. Returns the new end. */
export function putSet(
  target: Uint8Array,
  at: number,
  offset: number,
  source: Uint8Array,
  sourceStart: number,
  length: number,
): number {
  assertInBody(offset, length);
  if (length === 0) return at;
  assert(at + SET_BYTES + length <= target.length, 'SET fits its buffer');
  assert(sourceStart >= 0 && sourceStart + length <= source.length, 'SET has its source');
  return encodeSet(target, at, offset, source, sourceStart, length);
}

/** MOVE `length` bytes inside the page; the ranges may overlap. Returns the new end. */
export function putMove(
  target: Uint8Array,
  at: number,
  to: number,
  from: number,
  length: number,
): number {
  assertInBody(to, length);
  assertInBody(from, length);
  if (length === 0) return at;
  assert(at + MOVE_BYTES <= target.length, 'MOVE fits its buffer');
  return encodeMove(target, at, to, from, length);
}

/** FILL `length` bytes at page `offset`. Returns the new end. */
export function putFill(
  target: Uint8Array,
  at: number,
  offset: number,
  length: number,
  byte: number,
): number {
  assertInBody(offset, length);
  if (length === 0) return at;
  assert(at + FILL_BYTES <= target.length, 'FILL fits its buffer');
  return encodeFill(target, at, offset, length, byte);
}

/** FORMAT: the first edit of its record, whose flags must say FLAG_FORMAT. Returns the new end. */
export function putFormat(target: Uint8Array, at: number, type: number): number {
  assert(at + FORMAT_BYTES <= target.length, 'FORMAT fits its buffer');
  assert(type >= 0 && type <= 0xff, 'a page type is a u8');
  target[at] = EDIT_FORMAT;
  target[at + 1] = type;
  return at + FORMAT_BYTES;
}

function corrupt(what: string, at: number): SextantError {
  return new SextantError('CORRUPTION', `${what} at byte ${at}`);
}

export function u16At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

function inBody(offset: number, length: number): boolean {
  return offset >= PAGE_BODY_OFFSET && offset + length <= PAGE_BYTES;
}

/**
 * Checks that edits[start, end) is well formed and that it starts with FORMAT exactly when `format`
 * says so. Throws CORRUPTION. Whatever came from a wire or a disk passes here before `applyEdits`.
 */
export function checkEdits(edits: Uint8Array, start: number, end: number, format: boolean): void {
  let at = start;
  if (format) {
    if (start + FORMAT_BYTES > end || edits[start] !== EDIT_FORMAT) {
      throw corrupt('FORMAT edit missing', start);
    }
    at = start + FORMAT_BYTES;
  }
  while (at < end) at = checkEdit(edits, at, end);
}

/** One edit other than FORMAT; returns where the next one starts. */
function checkEdit(edits: Uint8Array, at: number, end: number): number {
  const op = edits[at];
  if (op === EDIT_SET) {
    if (at + SET_BYTES > end) throw corrupt('SET cut short', at);
    const length = u16At(edits, at + 3);
    if (at + SET_BYTES + length > end) throw corrupt('SET data cut short', at);
    if (!inBody(u16At(edits, at + 1), length)) throw corrupt('SET outside the page body', at);
    return at + SET_BYTES + length;
  }
  if (op === EDIT_MOVE) {
    if (at + MOVE_BYTES > end) throw corrupt('MOVE cut short', at);
    const length = u16At(edits, at + 5);
    if (!inBody(u16At(edits, at + 1), length) || !inBody(u16At(edits, at + 3), length)) {
      throw corrupt('MOVE outside the page body', at);
    }
    return at + MOVE_BYTES;
  }
  if (op === EDIT_FILL) {
    if (at + FILL_BYTES > end) throw corrupt('FILL cut short', at);
    if (!inBody(u16At(edits, at + 1), u16At(edits, at + 3))) {
      throw corrupt('FILL outside the page body', at);
    }
    return at + FILL_BYTES;
  }
  throw corrupt(op === EDIT_FORMAT ? 'FORMAT not first' : `unknown edit ${op}`, at);
}

/**
 * Applies well-formed edits to the page at byte `base` of `page`; its LSN stays as it is. The edits
 * have passed `checkEdits` (or were just made by the encoders): nothing is checked twice here.
 */
export function applyEdits(
  page: Uint8Array,
  base: number,
  edits: Uint8Array,
  start: number,
  end: number,
): void {
  let at = start;
  while (at < end) {
    const op = edits[at];
    if (op === EDIT_SET) {
      const length = u16At(edits, at + 3);
      copyBytes(page, base + u16At(edits, at + 1), edits, at + SET_BYTES, length);
      at += SET_BYTES + length;
    } else if (op === EDIT_MOVE) {
      const from = base + u16At(edits, at + 3);
      page.copyWithin(base + u16At(edits, at + 1), from, from + u16At(edits, at + 5));
      at += MOVE_BYTES;
    } else if (op === EDIT_FILL) {
      const offset = base + u16At(edits, at + 1);
      page.fill(edits[at + 5], offset, offset + u16At(edits, at + 3));
      at += FILL_BYTES;
    } else {
      assert(op === EDIT_FORMAT, 'edits were checked before they are applied');
      page.fill(0, base + PAGE_TYPE_OFFSET, base + PAGE_BYTES);
      page[base + PAGE_TYPE_OFFSET] = edits[at + 1];
      at += FORMAT_BYTES;
    }
  }
}
