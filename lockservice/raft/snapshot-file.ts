/**
 * A snapshot on disk: `snapshot-<index, 16 hex digits>`, written aside as `snapshot.new`, synced, renamed, its folder synced. The one with
 * the highest index counts; older ones are removed after it is durable.
 *
 * ```
 *   0 u32 crc32c of bytes 4 to 48 + m + n | 4 u32 magic 'SXRS' | 8 u32 version = 1 | 12 u32 m | 16 u64 index | 24 u64 term
 *  32 u64 n | 40 u64 0 | 48 m bytes: members | n bytes: data
 * ```
 */
import { crc32c } from '#core/bytes/crc32c.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import {
  decodeMembers,
  encodeMembers,
  makeSnapshot,
  SNAPSHOT_BYTES_MAX,
  type RaftSnapshot,
} from './entry.js';

const MAGIC = 0x5352_5853;
const VERSION = 1;
const HEAD_BYTES = 48;
const NAME = /^snapshot-[0-9a-f]{16}$/;

/** Durable when it returns; older ones are gone. */
export function writeSnapshot(world: World, folder: string, snapshot: RaftSnapshot): void {
  const { disk } = world;
  const members = encodeMembers(snapshot.members);
  const head = new Uint8Array(HEAD_BYTES + members.length);
  const view = new DataView(head.buffer);
  view.setUint32(4, MAGIC, true);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, members.length, true);
  putU64(view, 16, snapshot.index);
  putU64(view, 24, snapshot.term);
  putU64(view, 32, snapshot.data.length);
  head.set(members, HEAD_BYTES);
  view.setUint32(0, crc32c(snapshot.data, crc32c(head.subarray(4))), true);
  const aside = `${folder}/snapshot.new`;
  const file = disk.open(aside, { create: true });
  try {
    file.truncate(0);
    file.write(head, 0, head.length, 0);
    file.write(snapshot.data, 0, snapshot.data.length, head.length);
    file.sync();
  } finally {
    file.close();
  }
  const name = `snapshot-${snapshot.index.toString(16).padStart(16, '0')}`;
  disk.rename(aside, `${folder}/${name}`);
  disk.syncFolder(folder);
  for (const other of disk.list(folder)) {
    if (NAME.test(other) && other !== name) disk.remove(`${folder}/${other}`);
  }
}

/** The newest; undefined when there is none. Throws CORRUPTION: the log before it is gone, an older one would not do. */
export function readSnapshot(world: World, folder: string): RaftSnapshot | undefined {
  const name = world.disk.list(folder).findLast((one) => NAME.test(one));
  if (name === undefined) return undefined;
  const path = `${folder}/${name}`;
  const bad = (what: string): SextantError => new SextantError('CORRUPTION', `${path}: ${what}`);
  const file = world.disk.open(path);
  let bytes: Uint8Array;
  try {
    const size = file.size();
    if (size > SNAPSHOT_BYTES_MAX * 2) throw bad(`${size} bytes`);
    bytes = new Uint8Array(size);
    file.read(bytes, 0, size, 0);
  } finally {
    file.close();
  }
  if (bytes.length < HEAD_BYTES) throw bad('cut off');
  const view = new DataView(bytes.buffer);
  if (view.getUint32(4, true) !== MAGIC) throw bad('not a snapshot');
  if (crc32c(bytes.subarray(4)) !== view.getUint32(0, true)) throw bad('checksum');
  const version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new SextantError('FOLDER_FOREIGN', `${path}: format ${version}, this program knows 1`);
  }
  const dataAt = HEAD_BYTES + view.getUint32(12, true);
  if (dataAt + getU64(view, 32) !== bytes.length) throw bad('lengths');
  const members = decodeMembers(bytes.subarray(HEAD_BYTES, dataAt));
  return makeSnapshot(getU64(view, 16), getU64(view, 24), members, bytes.subarray(dataAt));
}
