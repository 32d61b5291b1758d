/**
 * Fences and snapshots: what every node of a disk has to learn (rules 12 and 15).
 *
 * ```
 *   fence      BLOCK_FENCE to all nodes -> lists, until those that answered contain every write quorum
 *              register: token, next fence epoch, the nodes whose lists were used
 *              each listed register: the newest of all of those nodes that hold it, at a write quorum
 *              BLOCK_STATE to all nodes; one that does not get it is told when a request names the epoch
 *   snapshot   register: next epoch, the last one is the snapshot
 *              BLOCK_STATE, until those that answered contain every write quorum: nothing more can complete in the old epoch
 *              register: the nodes that answered, which alone have a vote on the snapshot
 * ```
 */
import { isSextantError, SextantError } from '#core/errors.js';
import type { DiskFence, DiskState } from '#storage-nodes/protocol/block-geometry.js';
import {
  fenceAnswer,
  fenceRequest,
  RunKind,
  type FenceAnswer,
} from '#storage-nodes/protocol/codec-blocks.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { DiskRegisters } from './disk-registers.js';
import type { FenceResult, Region, RegisterName, Tag } from './disk.js';
import { ReadRound } from './read-round.js';
import type { Session } from './session.js';

const CALL_MS = 2000;
const PAUSE_MS = 50;
/** After the quorum, for the others to be used too: each that is not has to check what it holds. */
const GRACE_MS = 100;
const SNAPSHOTS_MAX = 1000;
/** Of older ones only token and epoch are kept. */
const FENCES_IN_FULL = 256;
/** Registers that are completed side by side. */
const COMPLETED_TOGETHER = 64;
const COMPLETE_DEADLINE_MS = 5000;

export class Fencing {
  readonly #session: Session;
  readonly #registers: DiskRegisters;

  constructor(session: Session, registers: DiskRegisters) {
    this.#session = session;
    this.#registers = registers;
  }

  /** All that is listed is complete when it resolves. Rejects with NO_QUORUM, FENCED. */
  async fence(token: number, deadlineMs: number): Promise<FenceResult> {
    const { clock } = this.#session.world;
    const endMs = clock.monotonicMs() + deadlineMs;
    for (;;) {
      const leftMs = endMs - clock.monotonicMs();
      const { result, used } = await this.#fence(token, Math.max(1, leftMs));
      try {
        await this.#complete(result, used);
        return result;
      } catch (error) {
        // A node answered and then failed: once more, without it.
        const isOver = clock.monotonicMs() >= endMs;
        if (isOver || !isSextantError(error, 'NO_QUORUM')) throw error;
      }
    }
  }

  /** Recovery must find each listed register again, whichever nodes it asks. */
  async #complete({ listed }: FenceResult, used: readonly string[]): Promise<void> {
    const session = this.#session;
    if (session.faults.ignoreListed === true) return;
    for (let i = 0; i < listed.length; i += COMPLETED_TOGETHER) {
      await Promise.all(
        listed.slice(i, i + COMPLETED_TOGETHER).map(async ({ region, index }) => {
          const set = session.geometry.replicas(region, index);
          const nodes = set.nodes.filter((node) => used.includes(node));
          const voters = { nodes, quorum: nodes.length };
          const run = { region, index, kind: RunKind.data, count: 1, clock: 0, token: 0 };
          await new ReadRound(session, set, [run], 0, voters).run(COMPLETE_DEADLINE_MS);
        }),
      );
    }
  }

  async #fence(
    token: number,
    deadlineMs: number,
  ): Promise<{ readonly result: FenceResult; readonly used: readonly string[] }> {
    const session = this.#session;
    const body = fenceRequest.encode({
      disk: session.state.disk,
      token,
      caller: session.token,
    });
    const answers = new Map<string, FenceAnswer>();
    await this.#untilCovered(deadlineMs, GRACE_MS, answers, async (node) => {
      const bytes = await session.link(node).call(MessageType.blockFence, body, CALL_MS);
      answers.set(node, fenceAnswer.decode(bytes));
    });
    const used = [...answers.keys()];
    const maker = this.#registers.maker();
    const complete = Math.max(...[...answers.values()].map((answer) => answer.complete));
    const state = await this.#registers.change(
      session.state.name,
      (current) => {
        if (current.fences.some((fence) => fence.maker === maker)) return current;
        const epoch = current.fenceEpoch + 1;
        const others = current.fences.filter((fence) => fence.token !== token);
        const fences = [...shortened(others), { maker, token, epoch, used, complete }];
        return { ...current, fences, fenceEpoch: epoch, version: current.version + 1 };
      },
      deadlineMs,
    );
    session.adopt(state);
    for (const node of session.geometry.nodes) session.sendState(node).catch(() => undefined);
    return { result: merged(token, session.fenceEpoch, answers, complete), used };
  }

  async refresh(deadlineMs: number): Promise<void> {
    const session = this.#session;
    session.adopt(await this.#registers.read(session.state.name, deadlineMs));
  }

  /** Throws EXISTS, NO_QUORUM, CONFIG (too many). */
  async snapshot(name: string, deadlineMs: number): Promise<number> {
    const maker = this.#registers.maker();
    const state = await this.#registers.change(
      this.#session.state.name,
      (current) => {
        const { snapshots, epoch } = current;
        if (snapshots.some((known) => known.maker === maker)) return current;
        if (snapshots.some((known) => known.name === name)) {
          throw new SextantError('EXISTS', `snapshot ${name} exists`);
        }
        if (snapshots.length >= SNAPSHOTS_MAX)
          throw new SextantError('CONFIG', 'too many snapshots');
        const made = [...snapshots, { id: epoch, name, maker, used: [] }];
        return { ...current, snapshots: made, epoch: epoch + 1, version: current.version + 1 };
      },
      deadlineMs,
    );
    const used = await this.#install(state, deadlineMs, GRACE_MS);
    const taken = await this.#registers.change(
      state.name,
      (current) => {
        const known = current.snapshots.find((found) => found.maker === maker);
        if (known === undefined || known.used.length > 0) return current;
        const snapshots = current.snapshots.map((found) =>
          found.maker === maker ? { ...found, used } : found,
        );
        return { ...current, snapshots, version: current.version + 1 };
      },
      deadlineMs,
    );
    this.#session.adopt(taken);
    for (const node of used) this.#session.sendState(node).catch(() => undefined);
    const made = taken.snapshots.find((known) => known.maker === maker);
    if (made === undefined) throw new SextantError('CONFLICT', `snapshot ${name} was deleted`);
    return made.id;
  }

  async deleteSnapshot(id: number, deadlineMs: number): Promise<void> {
    const state = await this.#registers.change(
      this.#session.state.name,
      (current) => {
        const snapshots = current.snapshots.filter((known) => known.id !== id);
        if (snapshots.length === current.snapshots.length) return current;
        return { ...current, snapshots, version: current.version + 1 };
      },
      deadlineMs,
    );
    await this.#install(state, deadlineMs, 0);
  }

  /** The nodes that know it. */
  async #install(state: DiskState, deadlineMs: number, graceMs: number): Promise<string[]> {
    this.#session.adopt(state);
    const answered = new Map<string, true>();
    await this.#untilCovered(deadlineMs, graceMs, answered, async (node) => {
      await this.#session.sendState(node);
      answered.set(node, true);
    });
    return [...answered.keys()];
  }

  /** Does `step` for every node until those in `done` contain every write quorum, and `graceMs` more. */
  async #untilCovered(
    deadlineMs: number,
    graceMs: number,
    done: ReadonlyMap<string, unknown>,
    step: (node: string) => Promise<void>,
  ): Promise<void> {
    const session = this.#session;
    const { timers, clock } = session.world;
    const { geometry } = session;
    const endMs = clock.monotonicMs() + deadlineMs;
    let isOver = false;
    let failure: Error | undefined;
    let wake: () => void = () => undefined;
    const pursue = async (node: string): Promise<void> => {
      while (!isOver && !session.closed) {
        try {
          await step(node);
          wake();
          return;
        } catch (error) {
          if (isSextantError(error, 'PROTOCOL') || isSextantError(error, 'FENCED')) failure = error;
          wake();
        }
        await timers.sleep(PAUSE_MS);
      }
    };
    for (const node of geometry.nodes) void pursue(node);
    let graceEndMs = 0;
    for (;;) {
      const nowMs = clock.monotonicMs();
      const covered = geometry.coversWrites((node) => done.has(node));
      if (covered && graceEndMs === 0) graceEndMs = nowMs + graceMs;
      if (covered && (nowMs >= graceEndMs || done.size === geometry.nodes.length)) break;
      if (failure !== undefined || nowMs >= endMs || session.closed) {
        isOver = true;
        throw failure ?? new SextantError('NO_QUORUM', 'too few nodes answered');
      }
      const limitMs = Math.max(1, Math.min(endMs, covered ? graceEndMs : endMs) - nowMs);
      await new Promise<void>((resolve) => {
        const timer = timers.after(limitMs, resolve);
        wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    isOver = true;
  }
}

/** A node that is so far behind that it needs an old one checks all it holds of the token. */
function shortened(fences: readonly DiskFence[]): DiskFence[] {
  const oldest = fences.length - FENCES_IN_FULL;
  return fences.map((fence, i) =>
    i < oldest ? { ...fence, maker: '', used: [], complete: 0 } : fence,
  );
}

function merged(
  token: number,
  fenceEpoch: number,
  answers: ReadonlyMap<string, FenceAnswer>,
  complete: number,
): FenceResult {
  const newest = new Map<string, RegisterName & { readonly tag: Tag }>();
  let largest = 0;
  for (const answer of answers.values()) {
    largest = Math.max(largest, answer.clock);
    for (const [region, index, clock] of answer.listed) {
      if (clock <= complete) continue;
      const key = `${region}/${index}`;
      if ((newest.get(key)?.tag.clock ?? 0) >= clock) continue;
      newest.set(key, { region: region as Region, index, tag: { clock, token } });
    }
  }
  return { fenceEpoch, listed: [...newest.values()], clock: largest };
}
