/**
 * A node that gets in step with fences that came to hold without it (rule 12, and the amendments check-any-quorum and
 * list-once of the model).
 *
 * ```
 *   every register here that bears the token's tag, above what its owner had reported complete:
 *      newest of a read quorum of OTHER nodes that are in step
 *         as new as mine: it stays           older: mine never took effect, and is replaced by theirs
 * ```
 *
 * A fence that used this node's list needs no check, unless the folder that gave the list was lost since. Until it is done, callers that know of the fence are refused.
 */
import { SextantError } from '#core/errors.js';
import {
  compareTags,
  registerBytes,
  type DiskState,
  type Region,
} from '../protocol/block-geometry.js';
import * as codec from '../protocol/codec-blocks.js';
import { BlockStatus, RunKind } from '../protocol/codec-blocks.js';
import { MessageType } from '../protocol/messages.js';
import type { BlockHost } from './block-host.js';
import { PLACE_NONE, ROW_REGISTERS } from './block-index.js';
import type { HostedDisk } from './hosted-disk.js';

const CALL_MS = 1000;
const PAUSE_MS = 50;
const ATTEMPTS_MAX = 20;
const CHECKED_TOGETHER = 64;

interface Doubtful {
  readonly region: Region;
  readonly index: number;
  readonly epoch: number;
  readonly clock: number;
  readonly token: number;
}

/** What a peer has of a register. */
interface Copy {
  readonly kind: RunKind;
  readonly clock: number;
  readonly token: number;
  readonly bytes: Uint8Array | undefined;
}

export class FenceLearner {
  readonly #host: BlockHost;

  constructor(host: BlockHost) {
    this.#host = host;
  }

  /** Resolves when the node is in step with `state`. Rejects with NOT_READY: too few peers are. */
  async learn(hosted: HostedDisk, state: DiskState): Promise<void> {
    while (hosted.learning !== undefined) await hosted.learning.catch(() => undefined);
    if (state.fenceEpoch <= hosted.fenceEpoch) return;
    hosted.learning = this.#learn(hosted, state).finally(() => {
      hosted.learning = undefined;
    });
    await hosted.learning;
  }

  async #learn(hosted: HostedDisk, state: DiskState): Promise<void> {
    const { self, faults } = this.#host.options;
    const unknown = new Map<number, number>();
    for (const fence of state.fences) {
      const wasUsed = fence.used.includes(self) || faults.listOnce === true;
      if (fence.epoch <= hosted.fenceEpoch) continue;
      if (wasUsed && hosted.answered.has(fence.token)) continue;
      unknown.set(fence.token, fence.complete);
    }
    const doubtful = this.#doubtful(hosted, unknown);
    for (let i = 0; i < doubtful.length; i += CHECKED_TOGETHER) {
      const some = doubtful.slice(i, i + CHECKED_TOGETHER);
      await Promise.all(some.map((mine) => this.#check(hosted, state, mine)));
    }
    hosted.fenceEpoch = Math.max(hosted.fenceEpoch, state.fenceEpoch);
    this.#host.save(hosted);
  }

  #doubtful(hosted: HostedDisk, tokens: ReadonlyMap<number, number>): Doubtful[] {
    const { index } = this.#host.blocks;
    const found: Doubtful[] = [];
    if (tokens.size === 0) return found;
    for (let row = 1; row < index.rowEnd; row++) {
      if (!index.isUsed(row) || index.rowDisk[row] !== hosted.disk) continue;
      for (let i = 0; i < ROW_REGISTERS; i++) {
        const entry = row * ROW_REGISTERS + i;
        if (index.place[entry] === PLACE_NONE) continue;
        const token = index.token[entry];
        const complete = tokens.get(token);
        if (complete === undefined || index.clock[entry] <= complete) continue;
        found.push({
          region: index.rowRegion[row] as Region,
          index: index.indexOf(entry),
          epoch: index.rowEpoch[row],
          clock: index.clock[entry],
          token,
        });
      }
    }
    return found;
  }

  async #check(hosted: HostedDisk, state: DiskState, mine: Doubtful): Promise<void> {
    const { self, world } = this.#host.options;
    const set = hosted.geometry?.replicas(mine.region, mine.index);
    if (set === undefined) throw new SextantError('NOT_READY', 'the disk is not known here');
    const answers = new Map<string, Copy>();
    for (let attempt = 0; answers.size < set.read; attempt++) {
      if (attempt >= ATTEMPTS_MAX || this.#host.closed) {
        throw new SextantError('NOT_READY', 'too few peers are in step with the fences');
      }
      if (attempt > 0) await world.timers.sleep(PAUSE_MS);
      const peers = set.nodes.filter((node) => node !== self && !answers.has(node));
      await Promise.all(
        peers.map(async (peer) => {
          const copy = await this.#ask(hosted, state, mine, peer);
          if (copy !== undefined) answers.set(peer, copy);
        }),
      );
      // One in step that is as new is enough: no quorum with it could be older.
      if ([...answers.values()].some((copy) => isAsNew(copy, mine))) return;
    }
    this.#replace(hosted, mine, [...answers.values()]);
  }

  /** Undefined: it has no vote now. */
  async #ask(
    hosted: HostedDisk,
    state: DiskState,
    mine: Doubtful,
    peer: string,
  ): Promise<Copy | undefined> {
    const { callPeer, faults } = this.#host.options;
    const { region, index } = mine;
    const body = codec.encodeBlockRequest({
      disk: state.disk,
      epoch: Math.max(state.epoch, hosted.epoch),
      token: 0,
      fenceEpoch: faults.checkAnyQuorum === true ? 0 : state.fenceEpoch,
      complete: 0,
      atEpoch: 0,
      wantsData: true,
      runs: [{ region, index, count: 1, kind: RunKind.data, clock: 0, token: 0 }],
    });
    try {
      const bytes = await callPeer(peer, MessageType.blockRead, body, CALL_MS);
      const answer = codec.decodeBlockAnswer(bytes);
      if (answer.status === BlockStatus.needFences) {
        await callPeer(peer, MessageType.blockState, codec.diskState.encode(state), CALL_MS);
        return undefined;
      }
      if (answer.status === BlockStatus.staleEpoch) {
        hosted.epoch = Math.max(hosted.epoch, answer.epoch);
        return undefined;
      }
      const run = answer.runs[0];
      if (answer.status !== BlockStatus.ok || run === undefined) return undefined;
      if (run.kind === RunKind.bad) return undefined;
      const at = codec.answerBytesAt(answer.runs.length);
      const data = run.kind === RunKind.data ? bytes.subarray(at) : undefined;
      if (data !== undefined && data.length !== registerBytes(region)) return undefined;
      return { kind: run.kind, clock: run.clock, token: run.token, bytes: data };
    } catch {
      return undefined;
    }
  }

  #replace(hosted: HostedDisk, mine: Doubtful, copies: readonly Copy[]): void {
    let best = copies[0];
    for (const copy of copies) if (isAsNew(copy, best)) best = copy;
    const { blocks } = this.#host;
    const entry = blocks.index.find(hosted.disk, mine.region, mine.index, mine.epoch);
    // It has been written anew meanwhile.
    if (entry < 0) return;
    if (blocks.index.clock[entry] !== mine.clock || blocks.index.token[entry] !== mine.token)
      return;
    const { region, index, epoch } = mine;
    blocks.force(hosted.disk, region, epoch, index, best.clock, best.token, best.bytes, 0);
  }
}

interface Tagged {
  readonly clock: number;
  readonly token: number;
}

function isAsNew(a: Tagged, b: Tagged): boolean {
  return compareTags(a.clock, a.token, b.clock, b.token) >= 0;
}
