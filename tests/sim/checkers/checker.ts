/**
 * A checker watches one invariant. The cluster calls it at these moments; it throws a `Violation` when what it
 * sees cannot be. All methods are optional, none may change anything.
 */
import type { WriterCore } from '#engine/volume/writer-core.js';
import type { VolumeState } from '#storage-nodes/protocol/messages.js';
import type { SegmentHost } from '#storage-nodes/node/segment-host.js';
import type { StorageNode } from '#storage-nodes/node/storage-node.js';
import type { Model, ModelRecord } from '../model.js';

/** An engine as checkers see it. */
export interface EngineView {
  readonly name: string;
  readonly epoch: number;
  readonly core: WriterCore;
}

/** A storage node as checkers see it. */
export interface NodeView {
  readonly id: string;
  /** Undefined before the first start; of the last life when it is down. */
  readonly node: StorageNode | undefined;
  readonly running: boolean;
  /** Its disk was tampered with and it has not been repaired yet: what it promised is void. */
  readonly wounded: boolean;
}

/** What a request names. */
export interface RequestEpochs {
  readonly type: number;
  readonly volumeEpoch: number;
  readonly membershipEpoch: number;
}

/** All of a segment that a request can change. */
export interface SegmentSnapshot extends Omit<RequestEpochs, 'type'> {
  readonly listEpoch: number;
  readonly scl: number;
  readonly held: number;
  readonly journaledVdl: number;
  readonly pgmrpl: number;
  readonly whole: boolean;
}

export interface CheckContext {
  readonly model: Model;
  readonly nodes: readonly NodeView[];
  readonly nowMs: number;
}

export interface Checker {
  readonly id: string;
  /** A record got its LSN; the model does not have it yet. */
  appended?(engine: EngineView, record: ModelRecord, context: CheckContext): void;
  /** The engine was told that everything up to `vdl` is durable; the model does not know yet. */
  durable?(engine: EngineView, vdl: number, context: CheckContext): void;
  /** An opening is over; the model does not have the state's list yet. */
  opened?(engine: EngineView, state: VolumeState, context: CheckContext): void;
  /** An SCL that counts as an acknowledgement has come to the engine. */
  acknowledged?(
    engine: EngineView,
    node: NodeView,
    report: { readonly pg: number; readonly generation: number; readonly scl: number },
    context: CheckContext,
  ): void;
  /** A page came from storage. */
  read?(
    engine: EngineView,
    pageNo: number,
    readPoint: number,
    page: Uint8Array,
    context: CheckContext,
  ): void;
  /** An engine answered from its cache without asking anybody. */
  answered?(engine: EngineView, context: CheckContext): void;
  /** A node has read its folder and takes no requests yet. */
  recovered?(node: NodeView, context: CheckContext): void;
  /** A node has handled a request; `before` is what the segment was like. */
  handled?(
    node: NodeView,
    host: SegmentHost,
    request: RequestEpochs,
    before: SegmentSnapshot,
    context: CheckContext,
  ): void;
  /** A node has answered a seal or an install: the epoch is on its disk. */
  promised?(
    node: NodeView,
    address: { readonly pg: number; readonly volumeEpoch: number },
    context: CheckContext,
  ): void;
  /** A node refused to read a page, with this code. */
  readRefused?(
    node: NodeView,
    host: SegmentHost,
    code: string,
    request: { readonly volumeEpoch: number; readonly readPoint: number; readonly pgTail: number },
    context: CheckContext,
  ): void;
  /** All faults are over and everything has converged. */
  converged?(engine: EngineView, context: CheckContext): void;
}
