/** What the log is made of, who is in the group, and what a snapshot holds. */
import { crc32c } from '#core/bytes/crc32c.js';
import { SextantError } from '#core/errors.js';
import { jsonCodec, list, object, text } from '#core/rpc/shape.js';

/** One server of the group. Ids are never used again for another server or a new folder. */
export interface RaftMember {
  readonly id: string;
  readonly address: string;
}

/** Numbers on disk and wire: never reused. */
export const EntryKind = { noop: 1, command: 2, config: 3 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  /** A command is the state machine's own; a config is the whole list of members as JSON; a no-op is empty. */
  readonly data: Uint8Array;
}

/** State as of an index. At index 0: the group as it was founded, data empty. */
export interface RaftSnapshot {
  readonly index: number;
  readonly term: number;
  /** The configuration as of `index`. */
  readonly members: readonly RaftMember[];
  readonly data: Uint8Array;
  /** CRC32C of `data`. */
  readonly crc: number;
}

export const COMMAND_BYTES_MAX = 4 * 1024 * 1024;
export const SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024;
export const MEMBERS_MAX = 64;
export const ID_BYTES_MAX = 200;
export const ADDRESS_BYTES_MAX = 300;
export const NO_BYTES = new Uint8Array(0);

const codec = jsonCodec(
  'raft members',
  list(object<RaftMember>({ id: text, address: text }), MEMBERS_MAX),
);
const utf8 = new TextEncoder();

/** Throws CONFIG when the list cannot be a group's. */
export function checkMembers(members: readonly RaftMember[]): void {
  const refuse = (why: string): never => {
    throw new SextantError('CONFIG', `members of the Raft group: ${why}`);
  };
  if (members.length > MEMBERS_MAX) refuse(`${members.length} are more than ${MEMBERS_MAX}`);
  const ids = new Set<string>();
  for (const { id, address } of members) {
    checkId(id);
    if (utf8.encode(address).length > ADDRESS_BYTES_MAX) refuse(`the address of ${id} is too long`);
    if (ids.has(id)) refuse(`${id} is there twice`);
    ids.add(id);
  }
}

export function checkId(id: string): void {
  const bytes = utf8.encode(id).length;
  if (bytes < 1 || bytes > ID_BYTES_MAX) {
    throw new SextantError('CONFIG', `a Raft member's id has 1 to ${ID_BYTES_MAX} bytes`);
  }
}

export function encodeMembers(members: readonly RaftMember[]): Uint8Array {
  return codec.encode(members.map(({ id, address }) => ({ id, address })));
}

/** Throws PROTOCOL. */
export function decodeMembers(bytes: Uint8Array): RaftMember[] {
  const members = codec.decode(bytes);
  try {
    checkMembers(members);
  } catch (cause) {
    throw new SextantError('PROTOCOL', 'raft members: not a group', { cause });
  }
  return members;
}

export function makeSnapshot(
  index: number,
  term: number,
  members: readonly RaftMember[],
  data: Uint8Array,
): RaftSnapshot {
  return { index, term, members, data, crc: crc32c(data) };
}
