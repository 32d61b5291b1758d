/**
 * Codecs of the rare messages: UTF-8 JSON, checked field by field when it comes in. Gossip and
 * hydration answers carry bytes behind their JSON:
 *
 * ```
 *   0 u32 headerBytes   4 JSON   4 + headerBytes payload
 *   GOSSIP payload      whole boxcars one after the other, each delimited by its own header
 *   HYDRATE payload     pageCount times: u32 pageNo, 8192 bytes
 * ```
 */
import { SextantError } from '#core/errors.js';
import { parseMembership } from '#core/quorum/membership-json.js';
import type { Membership } from '#core/quorum/quorum-set.js';
import * as shape from '#core/rpc/shape.js';
import { jsonCodec } from '#core/rpc/shape.js';
import type { Check, JsonCodec } from '#core/rpc/shape.js';
import type * as M from './messages.js';

const { u32, volumeNumber, lsn, flag, text, list, object, optional, oneOf } = shape;

const address = { volume: volumeNumber, pg: u32, volumeEpoch: u32, membershipEpoch: u32 };
export const nodeAddress = object<M.NodeAddress>({ id: text, zone: text, address: text });
export const range = object<M.TruncationRange>({ epoch: u32, after: lsn, through: lsn });
const ranges = list(range, 100_000);
const peers = list(nodeAddress, 1000);

/** Sets of six, as core/quorum makes them. */
export const membership: Check<Membership> = (value) => parseMembership(value);

export const helloRequest = jsonCodec(
  'HELLO',
  object<M.HelloRequest>({
    protocol: u32,
    cluster: text,
    node: optional(text),
    role: oneOf('engine', 'node', 'tool'),
    peers: optional(peers),
  }),
);
export const helloAnswer = jsonCodec(
  'HELLO answer',
  object<M.HelloAnswer>({ protocol: u32, cluster: text, node: text, zone: text, generation: u32 }),
);
export const volumeState = jsonCodec(
  'volume register',
  object<M.VolumeState>({
    format: shape.constant(1),
    volume: volumeNumber,
    epoch: u32,
    state: oneOf('recovering', 'open'),
    opener: text,
    pagesPerPg: u32,
    pgs: list(membership),
    ranges,
    lal: lsn,
  }),
);
export const sealRequest = jsonCodec(
  'SEAL',
  object<M.SealRequest>({ ...address, ranges, membership, peers }),
);
export const sealAnswer = jsonCodec(
  'SEAL answer',
  object<M.SealAnswer>({
    node: text,
    generation: u32,
    scl: lsn,
    journaledVdl: lsn,
    pgTail: lsn,
    records: list(
      object<M.SealAnswer['records'][number]>({ from: lsn, to: lsn, cpls: list(lsn, 2_000_000) }),
      2_000_000,
    ),
    whole: flag,
  }),
);
export const installRequest = jsonCodec(
  'INSTALL',
  object<M.InstallRequest>({ ...address, ranges, membership, peers, vdl: lsn, pgTail: lsn }),
);
export const installAnswer = jsonCodec(
  'INSTALL answer',
  object<M.InstallAnswer>({ scl: lsn, generation: u32 }),
);
export const catchUpRequest = jsonCodec(
  'CATCH_UP',
  object<M.CatchUpRequest>({ ...address, target: lsn, sources: list(text, 64) }),
);
export const strikeRequest = jsonCodec(
  'STRIKE',
  object<M.StrikeRequest>({ ...address, generation: u32, pgcl: lsn }),
);
export const gossipRequest = jsonCodec(
  'GOSSIP',
  object<M.GossipRequest>({
    ...address,
    from: text,
    generation: u32,
    listEpoch: u32,
    after: lsn,
    maxBytes: u32,
  }),
);
const decided = object<M.DecidedList>({
  volumeEpoch: u32,
  listEpoch: u32,
  ranges,
  membership,
  peers,
});
export const gossipAnswer = jsonCodec(
  'GOSSIP answer',
  object<M.GossipAnswer>({
    scl: lsn,
    journaledVdl: lsn,
    listEpoch: u32,
    hydrate: flag,
    knownGeneration: u32,
    newer: optional(decided),
  }),
);
export const hydrateRequest = jsonCodec(
  'HYDRATE',
  object<M.HydrateRequest>({
    ...address,
    from: text,
    point: lsn,
    afterPage: shape.pageOrBefore,
    maxBytes: u32,
    listEpoch: u32,
  }),
);
export const hydrateAnswer = jsonCodec(
  'HYDRATE answer',
  object<M.HydrateAnswer>({
    point: lsn,
    pageCount: u32,
    done: flag,
    listEpoch: u32,
    journaledVdl: lsn,
  }),
);
const blob: Check<string> = (value, path) => {
  if (typeof value === 'string' && value.length <= 4_000_000) return value;
  throw new SextantError('PROTOCOL', `${path}: base64 expected`);
};
export const peerReadRequest = jsonCodec(
  'REG_READ_PEER',
  object<M.PeerReadRequest>({ from: text, generation: u32 }),
);
export const peerReadAnswer = jsonCodec(
  'REG_READ_PEER answer',
  object<M.PeerReadAnswer>({
    node: text,
    knownGeneration: u32,
    ready: flag,
    registers: list(blob, 10_000),
  }),
);
const segmentStatus = object<M.SegmentStatus>({
  volume: u32,
  pg: u32,
  volumeEpoch: u32,
  membershipEpoch: u32,
  listEpoch: u32,
  scl: lsn,
  held: lsn,
  journaledVdl: lsn,
  pgmrpl: lsn,
  whole: flag,
  unfoldedRecords: lsn,
  pages: lsn,
});
export const nodeStatus = jsonCodec(
  'STATUS answer',
  object<M.NodeStatus>({
    id: text,
    zone: text,
    pid: u32,
    cluster: text,
    generation: u32,
    state: oneOf('starting', 'up', 'disk-full', 'damaged'),
    journalBytes: lsn,
    pageBytes: lsn,
    rssBytes: lsn,
    syncCount: lsn,
    boxcarCount: lsn,
    receivedBytes: lsn,
    segments: list(segmentStatus),
  }),
);
/** For `{}` bodies: CATCH_UP and STRIKE answers, STATUS requests. */
export const EMPTY_JSON: Uint8Array = new TextEncoder().encode('{}');

/** JSON, then bytes. */
export function packBody<T>(
  codec: JsonCodec<T>,
  header: T,
  payload: readonly Uint8Array[],
): Uint8Array {
  const json = codec.encode(header);
  let length = 4 + json.length;
  for (const part of payload) length += part.length;
  const body = new Uint8Array(length);
  new DataView(body.buffer).setUint32(0, json.length, true);
  body.set(json, 4);
  let at = 4 + json.length;
  for (const part of payload) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

/** The payload is a view into `body`. */
export function unpackBody<T>(
  codec: JsonCodec<T>,
  body: Uint8Array,
): { header: T; payload: Uint8Array } {
  if (body.length < 4) throw new SextantError('PROTOCOL', 'body too short');
  const bytes = new DataView(body.buffer, body.byteOffset, 4).getUint32(0, true);
  if (bytes > body.length - 4) throw new SextantError('PROTOCOL', 'header longer than its body');
  return { header: codec.decode(body.subarray(4, 4 + bytes)), payload: body.subarray(4 + bytes) };
}
