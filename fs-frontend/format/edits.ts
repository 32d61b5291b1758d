/**
 * Edits of a block: made and applied by core/redo/edits, over a block in place of a page, so that every byte may be edited.
 *
 * | op | name | layout after the u8 op        | effect                      |
 * |----|------|-------------------------------|-----------------------------|
 * |  1 | SET  | u16 offset, u16 length, bytes | bytes go to offset          |
 * |  2 | MOVE | u16 to, u16 from, u16 length  | memmove inside the block    |
 * |  3 | FILL | u16 offset, u16 length, u8    | length times byte at offset |
 *
 * Well formed: each edit is whole and every range lies inside the block.
 */
import { SextantError } from '#core/errors.js';
import {
  EDIT_FILL,
  EDIT_MOVE,
  EDIT_SET,
  FILL_BYTES,
  MOVE_BYTES,
  SET_BYTES,
  u16At,
} from '#core/redo/edits.js';

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
