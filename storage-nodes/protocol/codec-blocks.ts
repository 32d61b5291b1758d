/**
 * Codecs of the messages about tagged registers. The hot ones are binary, little-endian:
 *
 * ```
 * request   0 u32 disk   4 u32 epoch   8 u64 token    16 u64 fenceEpoch   24 u64 complete
 *          32 u32 atEpoch (reads; 0: newest)   36 u32 runs   40 u32 flags: 1 data wanted   44 u32 0
 *          48 runs, then the bytes of the runs of kind data
 * run       0 u8 region   1 u8 kind   2 u16 count   4 u32 epoch (lists only)   8 u64 index   16 u64 clock  24 u64 token
 * answer    0 u32 status   4 u32 epoch   8 u64 fenceEpoch   16 u32 runs   20 u32 flags: 1 more to list
 *          24 runs, then bytes as above
 * ```
 *
 * - A run is `count` registers from `index`, all with one tag. Kinds: data; tombstone (given back); none (never written:
 *   tag 0); bad (this copy is unreadable and has no vote).
 * - WRITE: runs of data and tombstones -> the registers that were superseded, with the newer tags.
 * - READ: runs without tags -> runs that cover them, in order, cut wherever kind or tag changes.
 * - LIST: one run says after which group of 16 registers to go on -> what the node holds, epoch by epoch, without bytes.
 */
import { getU64, putU64 } from '#core/bytes/le.js';
import { SextantError } from '#core/errors.js';
import {
  constant,
  flag,
  jsonCodec,
  list,
  lsn,
  object,
  text,
  u32,
  type Check,
} from '#core/rpc/shape.js';
import {
  REGION_COUNT,
  registerBytes,
  type DiskFence,
  type DiskSnapshot,
  type DiskState,
  type Region,
} from './block-geometry.js';

export const BLOCK_REQUEST_BYTES = 48;
export const BLOCK_ANSWER_BYTES = 24;
export const RUN_BYTES = 32;
export const RUN_COUNT_MAX = 0xffff;

export const RunKind = { data: 0, tombstone: 1, none: 2, bad: 3 } as const;
export type RunKind = (typeof RunKind)[keyof typeof RunKind];

export const BlockStatus = { ok: 0, staleEpoch: 1, needFences: 2 } as const;
export type BlockStatus = (typeof BlockStatus)[keyof typeof BlockStatus];

export interface Run {
  readonly region: Region;
  readonly kind: RunKind;
  readonly count: number;
  readonly index: number;
  readonly clock: number;
  readonly token: number;
  /** In lists: the epoch in which it was stored. */
  readonly epoch?: number;
}

export interface BlockRequest {
  readonly disk: number;
  /** The disk's epoch as the caller knows it. */
  readonly epoch: number;
  /** Of the caller, checked against fences; 0: a node. */
  readonly token: number;
  readonly fenceEpoch: number;
  /** Everything that the caller wrote with a clock up to this is at quorum. */
  readonly complete: number;
  /** Reads: the newest version at or below this epoch; 0: the newest. */
  readonly atEpoch: number;
  readonly wantsData: boolean;
  readonly runs: readonly Run[];
}

export interface BlockAnswer {
  readonly status: BlockStatus;
  readonly epoch: number;
  /** The node is in step with all fences up to this. */
  readonly fenceEpoch: number;
  readonly more: boolean;
  readonly runs: readonly Run[];
}

function corrupt(what: string): SextantError {
  return new SextantError('PROTOCOL', `block message: ${what}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where the bytes of the runs begin. */
export function requestBytesAt(runCount: number): number {
  return BLOCK_REQUEST_BYTES + runCount * RUN_BYTES;
}
export function answerBytesAt(runCount: number): number {
  return BLOCK_ANSWER_BYTES + runCount * RUN_BYTES;
}

function putRuns(view: DataView, start: number, runs: readonly Run[]): void {
  let at = start;
  for (let i = 0; i < runs.length; i++, at += RUN_BYTES) {
    const run = runs[i];
    view.setUint8(at, run.region);
    view.setUint8(at + 1, run.kind);
    view.setUint16(at + 2, run.count, true);
    view.setUint32(at + 4, run.epoch ?? 0, true);
    putU64(view, at + 8, run.index);
    putU64(view, at + 16, run.clock);
    putU64(view, at + 24, run.token);
  }
}

function getRuns(view: DataView, start: number, count: number): Run[] {
  if (start + count * RUN_BYTES > view.byteLength) throw corrupt('runs are cut short');
  const runs: Run[] = [];
  let at = start;
  for (let i = 0; i < count; i++, at += RUN_BYTES) {
    const region = view.getUint8(at);
    const kind = view.getUint8(at + 1);
    const registers = view.getUint16(at + 2, true);
    if (region >= REGION_COUNT || kind > RunKind.bad || registers === 0) throw corrupt('a run');
    runs.push({
      region: region as Region,
      kind: kind as RunKind,
      count: registers,
      epoch: view.getUint32(at + 4, true),
      index: getU64(view, at + 8),
      clock: getU64(view, at + 16),
      token: getU64(view, at + 24),
    });
  }
  return runs;
}

/** `dataBytes`: room behind the runs, for the caller to fill from `requestBytesAt(runs)`. */
export function encodeBlockRequest(request: BlockRequest, dataBytes = 0): Uint8Array {
  const bytes = new Uint8Array(requestBytesAt(request.runs.length) + dataBytes);
  const view = viewOf(bytes);
  view.setUint32(0, request.disk, true);
  view.setUint32(4, request.epoch, true);
  putU64(view, 8, request.token);
  putU64(view, 16, request.fenceEpoch);
  putU64(view, 24, request.complete);
  view.setUint32(32, request.atEpoch, true);
  view.setUint32(36, request.runs.length, true);
  view.setUint32(40, request.wantsData ? 1 : 0, true);
  putRuns(view, BLOCK_REQUEST_BYTES, request.runs);
  return bytes;
}

/** Throws PROTOCOL, CORRUPTION. */
export function decodeBlockRequest(bytes: Uint8Array): BlockRequest {
  if (bytes.length < BLOCK_REQUEST_BYTES) throw corrupt('too short');
  const view = viewOf(bytes);
  return {
    disk: view.getUint32(0, true),
    epoch: view.getUint32(4, true),
    token: getU64(view, 8),
    fenceEpoch: getU64(view, 16),
    complete: getU64(view, 24),
    atEpoch: view.getUint32(32, true),
    wantsData: (view.getUint32(40, true) & 1) === 1,
    runs: getRuns(view, BLOCK_REQUEST_BYTES, view.getUint32(36, true)),
  };
}

export function encodeBlockAnswer(answer: BlockAnswer, dataBytes = 0): Uint8Array {
  const bytes = new Uint8Array(answerBytesAt(answer.runs.length) + dataBytes);
  const view = viewOf(bytes);
  view.setUint32(0, answer.status, true);
  view.setUint32(4, answer.epoch, true);
  putU64(view, 8, answer.fenceEpoch);
  view.setUint32(16, answer.runs.length, true);
  view.setUint32(20, answer.more ? 1 : 0, true);
  putRuns(view, BLOCK_ANSWER_BYTES, answer.runs);
  return bytes;
}

/** Throws PROTOCOL, CORRUPTION. */
export function decodeBlockAnswer(bytes: Uint8Array): BlockAnswer {
  if (bytes.length < BLOCK_ANSWER_BYTES) throw corrupt('too short');
  const view = viewOf(bytes);
  const status = view.getUint32(0, true);
  if (status > BlockStatus.needFences) throw corrupt('unknown status');
  return {
    status: status as BlockStatus,
    epoch: view.getUint32(4, true),
    fenceEpoch: getU64(view, 8),
    more: (view.getUint32(20, true) & 1) === 1,
    runs: getRuns(view, BLOCK_ANSWER_BYTES, view.getUint32(16, true)),
  };
}

/** Bytes behind the runs. */
export function runBytes(runs: readonly Run[]): number {
  let bytes = 0;
  for (let i = 0; i < runs.length; i++) {
    if (runs[i].kind === RunKind.data) bytes += runs[i].count * registerBytes(runs[i].region);
  }
  return bytes;
}

// -- control --------------------------------------------------------------------------------------------

const copies: Check<3 | 6> = (value, path) =>
  value === 3 ? 3 : (constant(6) as Check<6>)(value, path);

export const diskState = jsonCodec(
  'disk state',
  object<DiskState>({
    format: constant(1),
    name: text,
    disk: u32,
    dataCopies: copies,
    groups: list(list(text, 6), 1000),
    epoch: u32,
    snapshots: list(
      object<DiskSnapshot>({ id: u32, name: text, maker: text, used: list(text, 1000) }),
      10_000,
    ),
    fenceEpoch: lsn,
    fences: list(
      object<DiskFence>({
        maker: text,
        token: lsn,
        epoch: lsn,
        used: list(text, 1000),
        complete: lsn,
      }),
    ),
    version: lsn,
  }),
);

export interface DiskName {
  readonly name: string;
  readonly disk: number;
}
/** The register `disks`: every disk that was ever made. */
export const diskList = jsonCodec(
  'list of disks',
  object<{ readonly disks: readonly DiskName[] }>({
    disks: list(object<DiskName>({ name: text, disk: u32 }), 10_000),
  }),
);

export interface FenceRequest {
  readonly disk: number;
  /** The one that is over. */
  readonly token: number;
  /** Of the caller; it may be over itself. */
  readonly caller: number;
}
export const fenceRequest = jsonCodec(
  'fence',
  object<FenceRequest>({ disk: u32, token: lsn, caller: lsn }),
);

/** [region, index, clock] of a register that bears the token's tag. */
export type ListedRegister = readonly [region: number, index: number, clock: number];
const listed: Check<ListedRegister> = (value, path) => {
  const [region, index, clock] = list(lsn, 3)(value, path);
  if (clock === undefined || region >= REGION_COUNT) throw corrupt('a listed register');
  return [region, index, clock];
};
export interface FenceAnswer {
  readonly listed: readonly ListedRegister[];
  /** Largest clock that the node stores. */
  readonly clock: number;
  readonly complete: number;
}
export const fenceAnswer = jsonCodec(
  'answer to fence',
  object<FenceAnswer>({ listed: list(listed, 100_000_000), clock: lsn, complete: lsn }),
);

export interface DiskPosition {
  readonly epoch: number;
  readonly fenceEpoch: number;
}
export const diskPosition = jsonCodec(
  'answer to disk state',
  object<DiskPosition>({ epoch: u32, fenceEpoch: lsn }),
);

export interface BlockStatusRequest {
  readonly disk: number;
}
export const blockStatusRequest = jsonCodec(
  'block status',
  object<BlockStatusRequest>({ disk: u32 }),
);
export interface BlockStatusAnswer {
  readonly node: string;
  readonly epoch: number;
  readonly fenceEpoch: number;
  /** False: it lost its folder and is being rebuilt from its peers. */
  readonly whole: boolean;
  readonly registers: number;
  readonly bytesUsed: number;
  readonly bytesFree: number;
}
export const blockStatusAnswer = jsonCodec(
  'answer to block status',
  object<BlockStatusAnswer>({
    node: text,
    epoch: u32,
    fenceEpoch: lsn,
    whole: flag,
    registers: lsn,
    bytesUsed: lsn,
    bytesFree: lsn,
  }),
);

export interface BuryRequest {
  readonly disk: number;
  readonly region: number;
  readonly index: number;
  readonly count: number;
  readonly clock: number;
  readonly token: number;
}
/** Every copy has the tombstones: they may go. */
export const buryRequest = jsonCodec(
  'bury',
  object<BuryRequest>({
    disk: u32,
    region: u32,
    index: lsn,
    count: u32,
    clock: lsn,
    token: lsn,
  }),
);
