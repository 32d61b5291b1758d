/** Key comparison and binary search in a node, directly over the cached page. */
import { CELL_HEADER_BYTES, SLOTS_OFFSET, SLOT_BYTES, nodeCount } from './node.js';

/** memcmp order, the shorter first: negative, 0 or positive. */
export function compareKeys(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const length = aLength < bLength ? aLength : bLength;
  for (let i = 0; i < length; i++) {
    const difference = (a[aStart + i] as number) - (b[bStart + i] as number);
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

/** The first four bytes of a key as a big-endian number, or -1 when it is shorter. */
function headOf(key: Uint8Array, start: number, length: number): number {
  if (length < 4) return -1;
  return (
    (key[start] as number) * 0x100_0000 +
    (((key[start + 1] as number) << 16) |
      ((key[start + 2] as number) << 8) |
      (key[start + 3] as number))
  );
}

/** The slot of a key, or ~slot of the first greater one. */
export function search(
  view: DataView,
  bytes: Uint8Array,
  base: number,
  key: Uint8Array,
  start: number,
  length: number,
): number {
  let low = 0;
  let high = nodeCount(view, base);
  // Hot: one 32-bit compare settles most steps, a byte loop the rest.
  const head = headOf(key, start, length);
  // Row ids are six bytes, whose first four are nearly always the same: two more settle those.
  const middleBytes = length >= 6 ? (key[start + 4] << 8) | key[start + 5] : -1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const cell = base + view.getUint16(base + SLOTS_OFFSET + middle * SLOT_BYTES, true);
    const cellKey = cell + CELL_HEADER_BYTES;
    const cellLength = view.getUint16(cell, true);
    let order: number;
    if (head >= 0 && cellLength >= 4) {
      order = view.getUint32(cellKey, false) - head;
      if (order === 0 && middleBytes >= 0 && cellLength >= 6) {
        order = view.getUint16(cellKey + 4, false) - middleBytes;
        if (order === 0) {
          order = compareKeys(bytes, cellKey + 6, cellLength - 6, key, start + 6, length - 6);
        }
      } else if (order === 0) {
        order = compareKeys(bytes, cellKey + 4, cellLength - 4, key, start + 4, length - 4);
      }
    } else {
      order = compareKeys(bytes, cellKey, cellLength, key, start, length);
    }
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return ~low;
}
