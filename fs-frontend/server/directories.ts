/** Listing of directories, with attributes where the kernel wants them. */
import { listEntries } from '../format/directory.js';
import { InodeState as Stored, S_IFDIR, parentOf, stateOf } from '../format/inode.js';
import type { DirectoryEntry, Entry, Ino } from '../vfs/vfs.js';
import { attributesOf } from './changes.js';
import { touchAtime } from './content.js';
import type { Operation } from './operation.js';
import { requireDirectory } from './permissions.js';

const DOT = Uint8Array.of(0x2e);
const DOT_DOT = Uint8Array.of(0x2e, 0x2e);
const DOT_COOKIE = 1;
const DOT_DOT_COOKIE = 2;
/** Of an entry, beside its name: as the kernel counts. */
const ENTRY_BYTES = 24;
const ENTRY_PLUS_BYTES = 152;
const AVERAGE_NAME_BYTES = 16;

export function readDirectory(
  op: Operation,
  ino: Ino,
  cookie: number,
  bytesMax: number,
  withAttributes: boolean,
): readonly DirectoryEntry[] {
  op.lock(ino, false);
  const { core } = op;
  const header = core.header(ino);
  const attributes = attributesOf(core, header);
  requireDirectory(attributes);
  // It was removed: not even `.` is left.
  if (stateOf(header) === Stored.orphan) return [];
  const entries: DirectoryEntry[] = [];
  const each = withAttributes ? ENTRY_PLUS_BYTES : ENTRY_BYTES;
  let left = bytesMax;
  const add = (name: Uint8Array, of: Ino, type: number, next: number): boolean => {
    const bytes = (each + name.length + 7) & ~7;
    if (bytes > left && entries.length > 0) return false;
    left -= bytes;
    const entry = withAttributes && next > DOT_DOT_COOKIE ? attributesIfCheap(op, of) : undefined;
    entries.push({ name, ino: of, type, cookie: next, ...(entry === undefined ? {} : { entry }) });
    return true;
  };
  if (cookie < DOT_COOKIE && !add(DOT, ino, S_IFDIR, DOT_COOKIE)) return entries;
  if (cookie < DOT_DOT_COOKIE && !add(DOT_DOT, parentOf(header), S_IFDIR, DOT_DOT_COOKIE)) {
    return entries;
  }
  let from = cookie <= DOT_DOT_COOKIE ? 0 : cookie;
  while (left > each) {
    const limit = Math.max(8, Math.ceil(left / (each + AVERAGE_NAME_BYTES)));
    const listed = listEntries(core.cache, header, from, limit);
    let full = false;
    for (const { name, ino: of, type, cookie: next } of listed) {
      full = !add(name, of, type, next);
      if (full) break;
      from = next;
    }
    if (full || listed.length < limit) break;
  }
  touchAtime(core, core.inodes.get(ino), attributes);
  return entries;
}

/** Attributes come along when the lock and the header are here; else the kernel asks for what it needs. */
function attributesIfCheap(op: Operation, ino: Ino): Entry | undefined {
  const { core } = op;
  const state = core.inodes.peek(ino);
  if (state === undefined || state.serving || state.header?.cached !== true) return undefined;
  if (!state.implied && !op.tryLockId(ino, core.onlyExclusive(state) ? 'exclusive' : 'shared')) {
    return undefined;
  }
  return core.entry(ino);
}
