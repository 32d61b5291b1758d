/** Hot: the view that `set(subarray)` needs costs about 70 ns, as much as 40 bytes in a loop. */
const LOOP_BYTES_MAX = 40;

/** Copies `length` bytes of `source` from `start` to `target` from `at`. Two buffers: no overlap. */
export function copyBytes(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  if (length > LOOP_BYTES_MAX) {
    target.set(source.subarray(start, start + length), at);
    return;
  }
  for (let i = 0; i < length; i++) target[at + i] = source[start + i];
}
