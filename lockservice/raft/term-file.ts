/**
 * The file `term`: the current term and the vote in it. Two copies, each in a sector of its own, written and synced one after the
 * other: a torn write leaves the other copy, and so does a flipped bit.
 *
 * ```
 *   0 u32 crc32c of bytes 4 to 32 + n | 4 u32 magic 'SXRT' | 8 u64 sequence | 16 u64 term | 24 u16 n | 26.. 0 | 32 vote, UTF-8
 * ```
 *
 * The copy with the higher sequence number counts. While a file is being written at most one copy is bad; with both bad it
 * was damaged, and nobody knows what this server has promised: CORRUPTION.
 */
import { crc32c } from '#core/bytes/crc32c.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import type { DiskFile, World } from '#core/world/world.js';
import { ID_BYTES_MAX } from './entry.js';
import type { HardState } from './raft-core.js';

const MAGIC = 0x5452_5853;
const HEAD_BYTES = 32;
const COPY_BYTES = 512;
const SECOND_AT = 4096;

export class TermFile {
  readonly #file: DiskFile;
  #sequence: number;
  state: HardState;

  private constructor(file: DiskFile, sequence: number, state: HardState) {
    this.#file = file;
    this.#sequence = sequence;
    this.state = state;
  }

  /** A file with term 0; durable when it returns, its name excepted. */
  static create(world: World, path: string): TermFile {
    const file = world.disk.open(path, { create: true });
    file.truncate(0);
    const made = new TermFile(file, 0, { term: 0, vote: '' });
    made.write(made.state);
    return made;
  }

  /** Throws CORRUPTION, NOT_FOUND. */
  static open(world: World, path: string): TermFile {
    const file = world.disk.open(path);
    const first = readCopy(file, 0);
    const second = readCopy(file, SECOND_AT);
    const newest = (first?.sequence ?? -1) >= (second?.sequence ?? -1) ? first : second;
    if (newest === undefined) {
      file.close();
      throw new SextantError('CORRUPTION', `${path}: both copies of term and vote are damaged`);
    }
    const found = new TermFile(file, newest.sequence, newest.state);
    // The other copy may be torn or old.
    if (first?.sequence !== second?.sequence) found.write(newest.state);
    return found;
  }

  /** Durable when it returns. */
  write(state: HardState): void {
    this.#sequence++;
    const bytes = encodeCopy(state, this.#sequence);
    for (const at of [0, SECOND_AT]) {
      this.#file.write(bytes, 0, bytes.length, at);
      this.#file.sync();
    }
    this.state = state;
  }

  close(): void {
    this.#file.close();
  }
}

function encodeCopy(state: HardState, sequence: number): Uint8Array {
  const bytes = new Uint8Array(COPY_BYTES);
  const view = new DataView(bytes.buffer);
  const vote = new TextEncoder().encode(state.vote);
  view.setUint32(4, MAGIC, true);
  putU64(view, 8, sequence);
  putU64(view, 16, state.term);
  view.setUint16(24, vote.length, true);
  bytes.set(vote, HEAD_BYTES);
  view.setUint32(0, crc32c(bytes.subarray(4, HEAD_BYTES + vote.length)), true);
  return bytes;
}

function readCopy(
  file: DiskFile,
  at: number,
): { readonly sequence: number; readonly state: HardState } | undefined {
  const bytes = new Uint8Array(COPY_BYTES);
  if (file.read(bytes, 0, COPY_BYTES, at) < COPY_BYTES) return undefined;
  const view = new DataView(bytes.buffer);
  const length = view.getUint16(24, true);
  if (view.getUint32(4, true) !== MAGIC || length > ID_BYTES_MAX) return undefined;
  if (crc32c(bytes.subarray(4, HEAD_BYTES + length)) !== view.getUint32(0, true)) return undefined;
  const vote = new TextDecoder().decode(bytes.subarray(HEAD_BYTES, HEAD_BYTES + length));
  return { sequence: getU64(view, 8), state: { term: getU64(view, 16), vote } };
}
