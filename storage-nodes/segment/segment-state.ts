/**
 * What a segment remembers beside its log, under two keys of the journal:
 *
 * ```
 * e/<volume>/<pg>   epochs, list, membership, peers, whole      JSON, written when one of them changes
 * p/<volume>/<pg>   u64 base, vdl, pgmrpl, logStart             binary, written now and then
 * ```
 *
 * base: the PG tail at or below vdl. Recovery of the chain starts there, so the log above it is never freed,
 * and folding stops there (rule 8). logStart: the log at and below it is not here, only its pages are.
 */
import { SextantError } from '#core/errors.js';
import { getU64, putU64 } from '#core/bytes/le.js';
import type { Membership } from '#core/quorum/quorum-set.js';
import type { NodeAddress, TruncationRange } from '../protocol/messages.js';
import { membership, nodeAddress, range } from '../protocol/codec-json.js';
import { flag, jsonCodec, list, object, optional, u32 } from '#core/rpc/shape.js';

export interface SegmentEpochs {
  readonly volumeEpoch: number;
  readonly listEpoch: number;
  readonly membershipEpoch: number;
  readonly membership: Membership;
  readonly ranges: readonly TruncationRange[];
  readonly peers: readonly NodeAddress[];
  readonly whole: boolean;
  /** What the store holds of it may lack something, and is to be replaced. */
  readonly doubtful?: boolean;
}

export const segmentEpochs = jsonCodec(
  'segment epochs',
  object<SegmentEpochs>({
    volumeEpoch: u32,
    listEpoch: u32,
    membershipEpoch: u32,
    membership,
    ranges: list(range, 100_000),
    peers: list(nodeAddress, 1000),
    whole: flag,
    doubtful: optional(flag),
  }),
);

export interface SegmentPoints {
  readonly base: number;
  readonly vdl: number;
  readonly pgmrpl: number;
  readonly logStart: number;
}

const POINTS_BYTES = 32;

export function encodeSegmentPoints(points: SegmentPoints): Uint8Array {
  const bytes = new Uint8Array(POINTS_BYTES);
  const view = new DataView(bytes.buffer);
  putU64(view, 0, points.base);
  putU64(view, 8, points.vdl);
  putU64(view, 16, points.pgmrpl);
  putU64(view, 24, points.logStart);
  return bytes;
}

/** Throws CORRUPTION. */
export function decodeSegmentPoints(bytes: Uint8Array): SegmentPoints {
  if (bytes.length !== POINTS_BYTES) throw new SextantError('CORRUPTION', 'segment points: length');
  const view = new DataView(bytes.buffer, bytes.byteOffset, POINTS_BYTES);
  return {
    base: getU64(view, 0),
    vdl: getU64(view, 8),
    pgmrpl: getU64(view, 16),
    logStart: getU64(view, 24),
  };
}

export const epochsKey = (volume: number, pg: number): string => `e/${volume}/${pg}`;
export const pointsKey = (volume: number, pg: number): string => `p/${volume}/${pg}`;

/** `e/1/2` or `p/1/2`; undefined for other keys. */
export function parseSegmentKey(
  key: string,
): { kind: 'e' | 'p'; volume: number; pg: number } | undefined {
  const match = /^([ep])\/(\d{1,10})\/(\d{1,10})$/.exec(key);
  if (match === null) return undefined;
  return { kind: match[1] as 'e' | 'p', volume: Number(match[2]), pg: Number(match[3]) };
}
