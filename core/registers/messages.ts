/**
 * Messages of the register protocol, and an acceptor's durable state. One layout, little-endian:
 *
 *     0  u8   version = 1
 *     1  u8   kind         1 prepare, 2 accept (proposer to acceptor)
 *                          3 promise, 4 accepted, 5 conflict (the answers)
 *                          6 state (on disk)
 *     2  u16  keyBytes     1 to 128
 *     4  u32  valueBytes   0xffffffff: no value
 *     8  u64  counter, 16 u64 proposer    first ballot
 *    24  u64  counter, 32 u64 proposer    second ballot
 *    40  key (ASCII), then value
 *
 * | kind     | first ballot | second ballot                 | value    |
 * |----------|--------------|-------------------------------|----------|
 * | prepare  | of the round | 0                             | none     |
 * | accept   | of the round | 0                             | proposed |
 * | promise  | of the round | that of the value             | accepted |
 * | accepted | of the round | 0                             | none     |
 * | conflict | of the round | highest that the acceptor saw | none     |
 * | state    | promised     | accepted                      | accepted |
 *
 * "No value" (null) is what a register holds before its first write; a round may accept it again.
 * There is no checksum: frames and journal entries carry one.
 */
import { assert, unreachable } from '../assert.js';
import { getU64, putU64 } from '../bytes/le.js';
import { SextantError } from '../errors.js';
import type { AcceptorState } from './acceptor.js';
import { NO_BALLOT, type Ballot } from './ballot.js';

/** As in `volume/1`: [a-z0-9/-], 1 to 128 long. */
export type RegisterKey = string;
export type RegisterValue = Uint8Array | null;

export interface PrepareMessage {
  readonly kind: 'prepare';
  readonly key: RegisterKey;
  readonly ballot: Ballot;
}
export interface AcceptMessage {
  readonly kind: 'accept';
  readonly key: RegisterKey;
  readonly ballot: Ballot;
  readonly value: RegisterValue;
}
export type RegisterMessage = PrepareMessage | AcceptMessage;

export interface PromiseReply {
  readonly kind: 'promise';
  readonly key: RegisterKey;
  readonly ballot: Ballot;
  /** NO_BALLOT when nothing was ever accepted. */
  readonly accepted: Ballot;
  readonly value: RegisterValue;
}
export interface AcceptedReply {
  readonly kind: 'accepted';
  readonly key: RegisterKey;
  readonly ballot: Ballot;
}
export interface ConflictReply {
  readonly kind: 'conflict';
  readonly key: RegisterKey;
  readonly ballot: Ballot;
  readonly seen: Ballot;
}
export type RegisterReply = PromiseReply | AcceptedReply | ConflictReply;

const VERSION = 1;
const HEADER_BYTES = 40;
const KEY_GRAMMAR = /^[a-z0-9/-]{1,128}$/;
const COUNTER_END = 2 ** 48;
const NO_VALUE = 0xffff_ffff;
const KINDS = ['', 'prepare', 'accept', 'promise', 'accepted', 'conflict', 'state'] as const;
type Kind = Exclude<(typeof KINDS)[number], ''>;

interface Envelope {
  readonly kind: Kind;
  readonly key: RegisterKey;
  readonly first: Ballot;
  readonly second: Ballot;
  readonly value: RegisterValue;
}

function encode(
  kind: Kind,
  key: RegisterKey,
  first: Ballot,
  second: Ballot,
  value: RegisterValue,
): Uint8Array {
  assert(KEY_GRAMMAR.test(key), 'a register key is [a-z0-9/-], 1 to 128 long');
  const bytes = new Uint8Array(HEADER_BYTES + key.length + (value?.length ?? 0));
  const view = new DataView(bytes.buffer);
  bytes[0] = VERSION;
  bytes[1] = KINDS.indexOf(kind);
  view.setUint16(2, key.length, true);
  view.setUint32(4, value === null ? NO_VALUE : value.length, true);
  putU64(view, 8, first[0]);
  putU64(view, 16, first[1]);
  putU64(view, 24, second[0]);
  putU64(view, 32, second[1]);
  for (let i = 0; i < key.length; i++) bytes[HEADER_BYTES + i] = key.charCodeAt(i);
  if (value !== null) bytes.set(value, HEADER_BYTES + key.length);
  return bytes;
}

function corrupt(what: string): SextantError {
  return new SextantError('CORRUPTION', `register message: ${what}`);
}

function ballotAt(view: DataView, offset: number): Ballot {
  const counter = getU64(view, offset);
  // No register has seen so many rounds; counting on from there would run out of exact numbers.
  if (counter >= COUNTER_END) throw corrupt('ballot counter');
  return [counter, getU64(view, offset + 8)];
}

/** The value is copied out of `bytes`. */
function decode(bytes: Uint8Array): Envelope {
  if (bytes.length < HEADER_BYTES) throw corrupt('header cut short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes[0] !== VERSION) throw corrupt(`version ${bytes[0]}`);
  const kind = KINDS[bytes[1]];
  if (kind === undefined || kind === '') throw corrupt(`kind ${bytes[1]}`);
  const keyEnd = HEADER_BYTES + view.getUint16(2, true);
  const valueBytes = view.getUint32(4, true);
  const end = keyEnd + (valueBytes === NO_VALUE ? 0 : valueBytes);
  if (end !== bytes.length) throw corrupt('length');
  const key = String.fromCharCode(...bytes.subarray(HEADER_BYTES, Math.min(keyEnd, 256)));
  if (!KEY_GRAMMAR.test(key) || key.length !== keyEnd - HEADER_BYTES) throw corrupt('key');
  return {
    kind,
    key,
    first: ballotAt(view, 8),
    second: ballotAt(view, 24),
    value: valueBytes === NO_VALUE ? null : bytes.slice(keyEnd, end),
  };
}

export function encodeRegisterMessage(message: RegisterMessage): Uint8Array {
  const value = message.kind === 'accept' ? message.value : null;
  return encode(message.kind, message.key, message.ballot, NO_BALLOT, value);
}

/** Throws CORRUPTION. */
export function decodeRegisterMessage(bytes: Uint8Array): RegisterMessage {
  const { kind, key, first, value } = decode(bytes);
  if (first[0] === 0) throw corrupt('a round without a ballot');
  if (kind === 'prepare') return { kind, key, ballot: first };
  if (kind === 'accept') return { kind, key, ballot: first, value };
  throw corrupt(`${kind} is no request`);
}

export function encodeRegisterReply(reply: RegisterReply): Uint8Array {
  switch (reply.kind) {
    case 'promise':
      return encode(reply.kind, reply.key, reply.ballot, reply.accepted, reply.value);
    case 'accepted':
      return encode(reply.kind, reply.key, reply.ballot, NO_BALLOT, null);
    case 'conflict':
      return encode(reply.kind, reply.key, reply.ballot, reply.seen, null);
    default:
      return unreachable(reply);
  }
}

/** Throws CORRUPTION. */
export function decodeRegisterReply(bytes: Uint8Array): RegisterReply {
  const { kind, key, first, second, value } = decode(bytes);
  if (kind === 'promise') return { kind, key, ballot: first, accepted: second, value };
  if (kind === 'accepted') return { kind, key, ballot: first };
  if (kind === 'conflict') return { kind, key, ballot: first, seen: second };
  throw corrupt(`${kind} is no answer`);
}

/** One register of one acceptor, for the journal and its snapshots. */
export function encodeAcceptorState(key: RegisterKey, state: AcceptorState): Uint8Array {
  return encode('state', key, state.promised, state.accepted, state.value);
}

/** Throws CORRUPTION. */
export function decodeAcceptorState(bytes: Uint8Array): {
  readonly key: RegisterKey;
  readonly state: AcceptorState;
} {
  const { kind, key, first, second, value } = decode(bytes);
  if (kind !== 'state') throw corrupt(`${kind} is no state`);
  return { key, state: { promised: first, accepted: second, value } };
}
