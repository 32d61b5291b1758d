/**
 * Messages between the members of a Raft group, little-endian.
 *
 * ```
 *   u8 version = 1 | u8 kind | u16 n | u64 term | n bytes: the sender's address, empty when it does not know it | body
 * ```
 *
 * | kind | name           | body                                                                                   |
 * |------|----------------|----------------------------------------------------------------------------------------|
 * |   1  | preVote        | u64 lastIndex, u64 lastTerm; `term` is the one that the sender would stand in            |
 * |   2  | preVoteAnswer  | u8 granted; `term` is the request's when granted, else the sender's own                   |
 * |   3  | vote           | u64 lastIndex, u64 lastTerm, u8 told (the leader handed over)                             |
 * |   4  | voteAnswer     | u8 granted                                                                              |
 * |   5  | append         | u64 round, u64 previousIndex, u64 previousTerm, u64 commit, u32 count, entries            |
 * |   6  | appendAnswer   | u64 round, u8 ok, u64 index, u64 hintIndex, u64 hintTerm                                  |
 * |   7  | snapshot       | u64 round, u64 index, u64 lastTerm, u32 total, u32 crc, u32 offset, u32 m, members, data  |
 * |   8  | snapshotAnswer | u64 round, u64 index, u32 offset                                                         |
 * |   9  | standNow       | none: the leader hands over to the receiver                                              |
 *
 * An entry: u64 term | u8 kind | u32 bytes | data; its index follows from previousIndex. An append without entries is the
 * heartbeat. `round` counts up within a leadership and comes back in the answers: an answer with round r says that the sender
 * followed this leader after round r began. Whatever breaks this grammar is PROTOCOL; a message changes nothing before all
 * of it was checked.
 */
import { unreachable } from '#core/assert.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import { isSextantError, SextantError } from '#core/errors.js';
import {
  ADDRESS_BYTES_MAX,
  COMMAND_BYTES_MAX,
  decodeMembers,
  encodeMembers,
  EntryKind,
  SNAPSHOT_BYTES_MAX,
  type Entry,
  type RaftMember,
} from './entry.js';

export type RaftMessage =
  | PreVote
  | PreVoteAnswer
  | Vote
  | VoteAnswer
  | Append
  | AppendAnswer
  | SnapshotChunk
  | SnapshotAnswer
  | StandNow;

export interface PreVote {
  readonly type: 'preVote';
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
}
export interface PreVoteAnswer {
  readonly type: 'preVoteAnswer';
  readonly term: number;
  readonly granted: boolean;
}
export interface Vote {
  readonly type: 'vote';
  readonly term: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader told it to stand: voters do not wait for that leader's silence. */
  readonly told: boolean;
}
export interface VoteAnswer {
  readonly type: 'voteAnswer';
  readonly term: number;
  readonly granted: boolean;
}
export interface Append {
  readonly type: 'append';
  readonly term: number;
  readonly round: number;
  readonly previousIndex: number;
  readonly previousTerm: number;
  readonly commit: number;
  readonly entries: readonly Entry[];
}
export interface AppendAnswer {
  readonly type: 'appendAnswer';
  readonly term: number;
  readonly round: number;
  readonly ok: boolean;
  /** ok: the log matches the leader's up to here. Else the previousIndex that did not match. */
  readonly index: number;
  /** Not ok: the highest entry that might match, by index and term. */
  readonly hintIndex: number;
  readonly hintTerm: number;
}
export interface SnapshotChunk {
  readonly type: 'snapshot';
  readonly term: number;
  readonly round: number;
  readonly index: number;
  readonly lastTerm: number;
  readonly totalBytes: number;
  readonly crc: number;
  readonly offset: number;
  readonly members: readonly RaftMember[];
  readonly data: Uint8Array;
}
export interface SnapshotAnswer {
  readonly type: 'snapshotAnswer';
  readonly term: number;
  readonly round: number;
  readonly index: number;
  /** Bytes that the receiver has without a gap. */
  readonly offset: number;
}
export interface StandNow {
  readonly type: 'standNow';
  readonly term: number;
}

export const RAFT_MESSAGE_VERSION = 1;
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
const ENTRIES_MAX = 65_536;

const KIND: Record<RaftMessage['type'], number> = {
  preVote: 1,
  preVoteAnswer: 2,
  vote: 3,
  voteAnswer: 4,
  append: 5,
  appendAnswer: 6,
  snapshot: 7,
  snapshotAnswer: 8,
  standNow: 9,
};
const HEAD_BYTES = 12;
const ENTRY_HEAD_BYTES = 13;
const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder('utf-8', { fatal: true });

class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  u8(value: number): void {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
  }

  u16(value: number): void {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  u64(value: number): void {
    putU64(this.#view, this.#at, value);
    this.#at += 8;
  }

  put(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  #take(length: number): number {
    if (length > this.left) throw new SextantError('PROTOCOL', 'raft message: cut off');
    const at = this.#at;
    this.#at += length;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): number {
    return getU64(this.#view, this.#take(8));
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new SextantError('PROTOCOL', 'raft message: a flag is 0 or 1');
    return value === 1;
  }

  /** A copy: frames are reused by whoever carries them. */
  copy(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }
}

function bodyBytes(message: RaftMessage, members: Uint8Array): number {
  switch (message.type) {
    case 'preVote':
      return 16;
    case 'vote':
      return 17;
    case 'preVoteAnswer':
    case 'voteAnswer':
      return 1;
    case 'append': {
      let bytes = 36;
      for (const entry of message.entries) bytes += ENTRY_HEAD_BYTES + entry.data.length;
      return bytes;
    }
    case 'appendAnswer':
      return 33;
    case 'snapshot':
      return 40 + members.length + message.data.length;
    case 'snapshotAnswer':
      return 20;
    case 'standNow':
      return 0;
    default:
      return unreachable(message);
  }
}

/** `address`: the sender's own, so that a receiver that does not know it yet can answer. */
export function encodeRaftMessage(message: RaftMessage, address: string): Uint8Array {
  const members = message.type === 'snapshot' ? encodeMembers(message.members) : new Uint8Array(0);
  const from = utf8.encode(address);
  const to = new Writer(HEAD_BYTES + from.length + bodyBytes(message, members));
  to.u8(RAFT_MESSAGE_VERSION);
  to.u8(KIND[message.type]);
  to.u16(from.length);
  to.u64(message.term);
  to.put(from);
  switch (message.type) {
    case 'preVote':
    case 'vote':
      to.u64(message.lastIndex);
      to.u64(message.lastTerm);
      if (message.type === 'vote') to.u8(message.told ? 1 : 0);
      break;
    case 'preVoteAnswer':
    case 'voteAnswer':
      to.u8(message.granted ? 1 : 0);
      break;
    case 'append':
      putAppend(to, message);
      break;
    case 'appendAnswer':
      to.u64(message.round);
      to.u8(message.ok ? 1 : 0);
      to.u64(message.index);
      to.u64(message.hintIndex);
      to.u64(message.hintTerm);
      break;
    case 'snapshot':
      to.u64(message.round);
      to.u64(message.index);
      to.u64(message.lastTerm);
      to.u32(message.totalBytes);
      to.u32(message.crc);
      to.u32(message.offset);
      to.u32(members.length);
      to.put(members);
      to.put(message.data);
      break;
    case 'snapshotAnswer':
      to.u64(message.round);
      to.u64(message.index);
      to.u32(message.offset);
      break;
    case 'standNow':
      break;
    default:
      unreachable(message);
  }
  return to.bytes;
}

function putAppend(to: Writer, message: Append): void {
  to.u64(message.round);
  to.u64(message.previousIndex);
  to.u64(message.previousTerm);
  to.u64(message.commit);
  to.u32(message.entries.length);
  for (const entry of message.entries) {
    to.u64(entry.term);
    to.u8(entry.kind);
    to.u32(entry.data.length);
    to.put(entry.data);
  }
}

/** Throws PROTOCOL. What it returns shares no memory with `bytes`. */
export function decodeRaftMessage(bytes: Uint8Array): { message: RaftMessage; address: string } {
  try {
    return decode(bytes);
  } catch (cause) {
    if (isSextantError(cause, 'PROTOCOL')) throw cause;
    throw new SextantError('PROTOCOL', 'raft message: malformed', { cause });
  }
}

function decode(bytes: Uint8Array): { message: RaftMessage; address: string } {
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw new SextantError('PROTOCOL', `raft message: ${bytes.length} bytes`);
  }
  const from = new Reader(bytes);
  const version = from.u8();
  if (version !== RAFT_MESSAGE_VERSION) {
    throw new SextantError('PROTOCOL', `raft message: version ${version}`);
  }
  const kind = from.u8();
  const addressBytes = from.u16();
  const term = from.u64();
  if (addressBytes > ADDRESS_BYTES_MAX) {
    throw new SextantError('PROTOCOL', 'raft message: address too long');
  }
  const address = fromUtf8.decode(from.copy(addressBytes));
  const message = decodeBody(kind, term, from);
  if (from.left > 0) throw new SextantError('PROTOCOL', 'raft message: bytes left over');
  return { message, address };
}

function decodeBody(kind: number, term: number, from: Reader): RaftMessage {
  switch (kind) {
    case KIND.preVote:
      return { type: 'preVote', term, lastIndex: from.u64(), lastTerm: from.u64() };
    case KIND.preVoteAnswer:
      return { type: 'preVoteAnswer', term, granted: from.flag() };
    case KIND.vote: {
      const lastIndex = from.u64();
      return { type: 'vote', term, lastIndex, lastTerm: from.u64(), told: from.flag() };
    }
    case KIND.voteAnswer:
      return { type: 'voteAnswer', term, granted: from.flag() };
    case KIND.append:
      return decodeAppend(term, from);
    case KIND.appendAnswer: {
      const round = from.u64();
      const ok = from.flag();
      const index = from.u64();
      const hintIndex = from.u64();
      return { type: 'appendAnswer', term, round, ok, index, hintIndex, hintTerm: from.u64() };
    }
    case KIND.snapshot:
      return decodeChunk(term, from);
    case KIND.snapshotAnswer: {
      const round = from.u64();
      return { type: 'snapshotAnswer', term, round, index: from.u64(), offset: from.u32() };
    }
    case KIND.standNow:
      return { type: 'standNow', term };
    default:
      throw new SextantError('PROTOCOL', `raft message: kind ${kind}`);
  }
}

function decodeAppend(term: number, from: Reader): Append {
  const round = from.u64();
  const previousIndex = from.u64();
  const previousTerm = from.u64();
  const commit = from.u64();
  const count = from.u32();
  if (count > ENTRIES_MAX) throw new SextantError('PROTOCOL', `raft message: ${count} entries`);
  const entries: Entry[] = [];
  let lastTerm = previousTerm;
  for (let i = 0; i < count; i++) {
    const entryTerm = from.u64();
    const kind = entryKind(from.u8());
    const length = from.u32();
    if (length > COMMAND_BYTES_MAX) {
      throw new SextantError('PROTOCOL', `raft message: an entry of ${length} bytes`);
    }
    const data = from.copy(length);
    if (entryTerm < lastTerm || entryTerm > term) {
      throw new SextantError('PROTOCOL', 'raft message: terms out of order');
    }
    if (kind === EntryKind.config) decodeMembers(data);
    lastTerm = entryTerm;
    entries.push({ index: previousIndex + 1 + i, term: entryTerm, kind, data });
  }
  return { type: 'append', term, round, previousIndex, previousTerm, commit, entries };
}

function decodeChunk(term: number, from: Reader): SnapshotChunk {
  const round = from.u64();
  const index = from.u64();
  const lastTerm = from.u64();
  const totalBytes = from.u32();
  const crc = from.u32();
  const offset = from.u32();
  const members = decodeMembers(from.copy(from.u32()));
  const data = from.copy(from.left);
  if (totalBytes > SNAPSHOT_BYTES_MAX || offset + data.length > totalBytes || index === 0) {
    throw new SextantError('PROTOCOL', 'raft message: a snapshot chunk out of bounds');
  }
  if (lastTerm > term) throw new SextantError('PROTOCOL', 'raft message: terms out of order');
  return { type: 'snapshot', term, round, index, lastTerm, totalBytes, crc, offset, members, data };
}

export function entryKind(value: number): EntryKind {
  if (value === EntryKind.noop || value === EntryKind.command || value === EntryKind.config) {
    return value;
  }
  throw new SextantError('PROTOCOL', `raft: entry kind ${value}`);
}
