/**
 * One message of writes to the nodes of one replica set, until a write quorum has it (rule 11).
 *
 * Each node gets it at once, and again after every failure while the quorum is missing. Ends with the first of: quorum;
 * FENCED; so many full nodes that no quorum is left (DISK_FULL); the deadline (NO_QUORUM).
 */
import { isSextantError, SextantError } from '#core/errors.js';
import type { ReplicaSet } from '#storage-nodes/protocol/block-geometry.js';
import type { Run } from '#storage-nodes/protocol/codec-blocks.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { Session } from './session.js';

const PAUSE_MS = 10;
const PAUSE_MS_MAX = 400;
/** So long are the last nodes pursued after the quorum, when the caller wants all of them. */
const LAGGARD_ATTEMPTS_MAX = 20;

export class WriteRound {
  /** Registers that some node has with a newer tag. */
  readonly superseded: Run[] = [];
  readonly #session: Session;
  readonly #set: ReplicaSet;
  readonly #body: Uint8Array;
  readonly #acknowledged = new Set<string>();
  readonly #full = new Set<string>();
  readonly #wantsAll: boolean;
  #settled = false;
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  #onAll: () => void = () => undefined;

  /** `body`: an encoded BlockRequest; it must not change until the nodes have answered. */
  constructor(session: Session, set: ReplicaSet, body: Uint8Array, wantsAll = false) {
    this.#session = session;
    this.#set = set;
    this.#body = body;
    this.#wantsAll = wantsAll;
  }

  /** Rejects with FENCED, DISK_FULL, NO_QUORUM, CLOSED. */
  run(deadlineMs: number): Promise<void> {
    const { timers } = this.#session.world;
    return new Promise((resolve, reject) => {
      const deadline = timers.after(deadlineMs, () => {
        const missing = this.#set.nodes.filter((node) => !this.#acknowledged.has(node));
        this.#fail(new SextantError('NO_QUORUM', `not acknowledged by ${missing.join(', ')}`));
      });
      this.#resolve = () => {
        deadline.cancel();
        this.#settled = true;
        resolve();
      };
      this.#reject = (error) => {
        deadline.cancel();
        this.#settled = true;
        reject(error);
      };
      for (const node of this.#set.nodes) void this.#pursue(node);
    });
  }

  /** Resolves when every node has it; never, when one does not get it. */
  all(): Promise<void> {
    return new Promise((resolve) => (this.#onAll = resolve));
  }

  async #pursue(node: string): Promise<void> {
    const { world } = this.#session;
    let pauseMs = PAUSE_MS;
    for (let attempt = 0; ; attempt++) {
      if (await this.#attempt(node)) return;
      if (this.#session.closed) {
        this.#fail(new SextantError('CLOSED', 'disk is closed'));
        return;
      }
      if (this.#settled && (!this.#wantsAll || attempt > LAGGARD_ATTEMPTS_MAX)) return;
      await world.timers.sleep(pauseMs * (0.5 + world.random.unit()));
      pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2);
    }
  }

  /** True: done with this node. */
  async #attempt(node: string): Promise<boolean> {
    try {
      const { answer } = await this.#session.call(node, MessageType.blockWrite, this.#body);
      this.superseded.push(...answer.runs);
      this.#full.delete(node);
      this.#acknowledge(node);
      return true;
    } catch (error) {
      if (isSextantError(error, 'FENCED') || isSextantError(error, 'PROTOCOL')) {
        this.#fail(error);
        return true;
      }
      if (isSextantError(error, 'DISK_FULL')) {
        this.#full.add(node);
        const { nodes, write } = this.#set;
        if (this.#full.size > nodes.length - write) this.#fail(error);
      }
      return false;
    }
  }

  #acknowledge(node: string): void {
    this.#acknowledged.add(node);
    const needed = this.#session.faults.ackOne === true ? 1 : this.#set.write;
    if (this.#acknowledged.size >= needed && !this.#settled) this.#resolve();
    if (this.#acknowledged.size === this.#set.nodes.length) this.#onAll();
  }

  #fail(error: Error): void {
    if (!this.#settled) this.#reject(error);
  }
}
