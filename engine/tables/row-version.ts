/**
 * A row's cell in the primary tree: its newest version and, inline, the one before it as what differs.
 *
 *     0  u8   flags, below
 *     1  u48  transaction id of the newest version
 *     7  u32  its command
 *    11  ...  its tuple; OVERFLOW: u32 bytes, u32 first page (overflow.ts); DELETED: that of the version before
 *     .  ...  middle of the version before                                     | PREVIOUS only
 *     .  u32  page, u16 offset of the version before those (history.ts)        | HISTORY only
 *     .  u48  transaction id, u32 command, u8 flags of the version before,     |
 *             u16 prefix, u16 suffix, u16 bytes of the middle                  | PREVIOUS only
 *
 *     version before = newest[0, prefix) + middle + newest[its end - suffix, its end)
 *
 * | flag           | on      | meaning                                                                          |
 * |----------------|---------|----------------------------------------------------------------------------------|
 * |  1 DELETED     | newest  | the version is the row's deletion; it owns no overflow pages                     |
 * |  2 OVERFLOW    | each    | the tuple lies in overflow pages                                                 |
 * |  4 PREVIOUS    | newest  | there is an inline version before                                                |
 * |  8 HISTORY     | newest  | older versions lie in history pages                                              |
 * | 16 KEY_CHANGED | newest  | versions of this row may differ in index keys: reads by index check, pruning looks |
 * | 32 KEY_UPDATE  | newest  | written under a lock that excludes FOR KEY SHARE (a unique key changed, a delete) |
 *
 * The tuple does not move when a version is put on top of another of the same length, and what changes in the cell
 * then is its head, the columns that differ and its end: one small page edit.
 *
 * - Aborted versions lie only above all that is not aborted: whoever writes over one prunes it first.
 * - A version in progress has only versions of its own transaction above it.
 */
const TWO_32 = 0x1_0000_0000;

export const DELETED = 1;
export const OVERFLOW = 2;
export const PREVIOUS = 4;
export const HISTORY = 8;
export const KEY_CHANGED = 16;
export const KEY_UPDATE = 32;

export const HEAD_BYTES = 11;
export const TRAILER_BYTES = 17;
export const POINTER_BYTES = 6;
/** Six bytes, big-endian: the row id. */
export const ROW_KEY_BYTES = 6;
/** What a leaf takes as a value beside the key. */
export const VALUE_BYTES_MAX = 2030;
/** Longer tuples go to overflow pages. */
export const TUPLE_INLINE_MAX = 1900;
export const STUB_BYTES = 8;

/** A cell as read; offsets are absolute in the cache's bytes. One object, filled again. */
export class RowCell {
  flags = 0;
  xid = 0;
  command = 0;
  tupleStart = 0;
  tupleEnd = 0;
  /** Of the version before, when there is one inline. */
  previousXid = 0;
  previousCommand = 0;
  previousFlags = 0;
  prefix = 0;
  suffix = 0;
  middleStart = 0;
  middleBytes = 0;
  /** 0: no older versions in history pages. */
  historyPage = 0;
  historyOffset = 0;

  parse(view: DataView, start: number, end: number): void {
    this.flags = view.getUint8(start);
    this.xid = view.getUint16(start + 5, true) * TWO_32 + view.getUint32(start + 1, true);
    this.command = view.getUint32(start + 7, true);
    this.tupleStart = start + HEAD_BYTES;
    let at = end;
    if ((this.flags & PREVIOUS) !== 0) {
      at -= TRAILER_BYTES;
      this.previousXid = view.getUint16(at + 4, true) * TWO_32 + view.getUint32(at, true);
      this.previousCommand = view.getUint32(at + 6, true);
      this.previousFlags = view.getUint8(at + 10);
      this.prefix = view.getUint16(at + 11, true);
      this.suffix = view.getUint16(at + 13, true);
      this.middleBytes = view.getUint16(at + 15, true);
    } else {
      this.middleBytes = 0;
    }
    if ((this.flags & HISTORY) !== 0) {
      at -= POINTER_BYTES;
      this.historyPage = view.getUint32(at, true);
      this.historyOffset = view.getUint16(at + 4, true);
    } else {
      this.historyPage = 0;
      this.historyOffset = 0;
    }
    at -= this.middleBytes;
    this.middleStart = at;
    this.tupleEnd = at;
  }

  get hasPrevious(): boolean {
    return (this.flags & PREVIOUS) !== 0;
  }

  /** Bytes of the tuple (or stub) of the version before. */
  get previousBytes(): number {
    return this.prefix + this.middleBytes + this.suffix;
  }

  /** Writes the tuple (or stub) of the version before into target from 0; returns its length. */
  copyPrevious(bytes: Uint8Array, target: Uint8Array): number {
    const { prefix, suffix, middleBytes } = this;
    copyRange(target, 0, bytes, this.tupleStart, prefix);
    copyRange(target, prefix, bytes, this.middleStart, middleBytes);
    copyRange(target, prefix + middleBytes, bytes, this.tupleEnd - suffix, suffix);
    return prefix + middleBytes + suffix;
  }
}

export function putHead(target: Uint8Array, flags: number, xid: number, command: number): void {
  target[0] = flags;
  putId(target, 1, xid);
  target[7] = command;
  target[8] = command >>> 8;
  target[9] = command >>> 16;
  target[10] = command >>> 24;
}

export function putId(target: Uint8Array, at: number, id: number): void {
  const low = id >>> 0;
  const high = Math.floor(id / TWO_32);
  target[at] = low;
  target[at + 1] = low >>> 8;
  target[at + 2] = low >>> 16;
  target[at + 3] = low >>> 24;
  target[at + 4] = high;
  target[at + 5] = high >>> 8;
}

export function putTrailer(
  target: Uint8Array,
  at: number,
  xid: number,
  command: number,
  flags: number,
  prefix: number,
  suffix: number,
  middleBytes: number,
): number {
  putId(target, at, xid);
  putU32(target, at + 6, command);
  target[at + 10] = flags;
  putU16(target, at + 11, prefix);
  putU16(target, at + 13, suffix);
  putU16(target, at + 15, middleBytes);
  return at + TRAILER_BYTES;
}

export function putPointer(target: Uint8Array, at: number, page: number, offset: number): number {
  putU32(target, at, page);
  putU16(target, at + 4, offset);
  return at + POINTER_BYTES;
}

export function putU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}

export function putU16(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
}

export function putRowKey(target: Uint8Array, at: number, rowId: number): void {
  const high = Math.floor(rowId / TWO_32);
  const low = rowId >>> 0;
  target[at] = high >>> 8;
  target[at + 1] = high;
  target[at + 2] = low >>> 24;
  target[at + 3] = low >>> 16;
  target[at + 4] = low >>> 8;
  target[at + 5] = low;
}

export function getRowKey(view: DataView, at: number): number {
  return view.getUint16(at, false) * TWO_32 + view.getUint32(at + 2, false);
}

/** Hot: a loop for what is short, a view above that. */
export function copyRange(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  length: number,
): void {
  if (length > 48) target.set(source.subarray(start, start + length), at);
  else for (let i = 0; i < length; i++) target[at + i] = source[start + i];
}
