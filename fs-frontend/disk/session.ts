/**
 * What the rounds of one open disk share: links, the disk's state as last seen, and a call that gets nodes in step.
 *
 * ```
 *   node answers   needFences -> BLOCK_STATE to it, then the call again
 *                  staleEpoch -> the epoch is raised, then the call again
 * ```
 */
import { SextantError } from '#core/errors.js';
import { putU64 } from '#core/bytes/le.js';
import type { World } from '#core/world/world.js';
import { Geometry, type DiskState } from '#storage-nodes/protocol/block-geometry.js';
import {
  BlockStatus,
  decodeBlockAnswer,
  diskState,
  type BlockAnswer,
  type BlockRequest,
  type Run,
} from '#storage-nodes/protocol/codec-blocks.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { Faults } from './faults.js';
import type { NodeLink } from './node-link.js';

/** One attempt at one node. */
export const CALL_MS = 1000;
const STATE_CALL_MS = 3000;
const IN_STEP_ATTEMPTS_MAX = 4;

export interface Answered {
  readonly answer: BlockAnswer;
  /** The whole message: bytes follow the runs. */
  readonly bytes: Uint8Array;
}

export class Session {
  readonly world: World;
  readonly links: ReadonlyMap<string, NodeLink>;
  readonly token: number;
  readonly faults: Faults;
  state: DiskState;
  geometry: Geometry;
  /** Of the disk; may be ahead of `state`. */
  epoch: number;
  complete = 0;
  closed = false;

  constructor(
    world: World,
    links: ReadonlyMap<string, NodeLink>,
    token: number,
    state: DiskState,
    faults: Faults,
  ) {
    this.world = world;
    this.links = links;
    this.token = token;
    this.faults = faults;
    this.state = state;
    this.geometry = new Geometry(state);
    this.epoch = state.epoch;
  }

  get fenceEpoch(): number {
    return this.state.fenceEpoch;
  }

  adopt(state: DiskState): void {
    if (state.version <= this.state.version) return;
    this.state = state;
    this.geometry = new Geometry(state);
    this.epoch = Math.max(this.epoch, state.epoch);
  }

  request(runs: readonly Run[], wantsData: boolean, atEpoch = 0): BlockRequest {
    const { epoch, token, fenceEpoch, complete } = this;
    const { disk } = this.state;
    return { disk, epoch, token, fenceEpoch, complete, atEpoch, wantsData, runs };
  }

  link(node: string): NodeLink {
    const link = this.links.get(node);
    if (link === undefined) throw new SextantError('CONFIG', `no address for ${node}`);
    return link;
  }

  /** Sends an encoded BlockRequest; the answer is `ok`. Rejects with what the node answered, or as RpcClient.call does. */
  async call(node: string, type: number, body: Uint8Array): Promise<Answered> {
    const link = this.link(node);
    let request = body;
    for (let attempt = 0; attempt < IN_STEP_ATTEMPTS_MAX; attempt++) {
      const bytes = await link.call(type, request, CALL_MS);
      const answer = decodeBlockAnswer(bytes);
      if (answer.status === BlockStatus.ok) return { answer, bytes };
      if (answer.status === BlockStatus.needFences) await this.sendState(node);
      else this.epoch = Math.max(this.epoch, answer.epoch);
      // Others may still be sending the first one.
      request = body.slice();
      const view = new DataView(request.buffer);
      view.setUint32(4, this.epoch, true);
      putU64(view, 16, this.fenceEpoch);
    }
    throw new SextantError('NOT_READY', `${node} does not get in step`);
  }

  /** Resolves when the node is in step with the state known here. */
  async sendState(node: string): Promise<void> {
    const body = diskState.encode(this.state);
    await this.link(node).call(MessageType.blockState, body, STATE_CALL_MS);
  }
}
