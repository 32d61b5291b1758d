/**
 * A CASPaxos register on the storage nodes: the driver around core/registers' proposer. Its acceptors
 * are the members of the first protection group (rule 15).
 */
import { SextantError } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import { members, registerQuorum, type Membership } from '#core/quorum/quorum-set.js';
import {
  decodeRegisterReply,
  encodeRegisterMessage,
  type RegisterMessage,
  type RegisterValue,
} from '#core/registers/messages.js';
import {
  Proposer,
  type ProposerEffect,
  type ProposerEvent,
  type RegisterChange,
} from '#core/registers/proposer.js';
import type { World } from '#core/world/world.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { NodeLink } from './node-link.js';

const CALL_TIMEOUT_MS = 1000;

export const volumeRegisterKey = (volume: number): string => `volume/${volume}`;

export class RegisterClient {
  readonly #world: World;
  readonly #links: ReadonlyMap<NodeId, NodeLink>;
  readonly #key: string;

  constructor(world: World, links: ReadonlyMap<NodeId, NodeLink>, key: string) {
    this.#world = world;
    this.#links = links;
    this.#key = key;
  }

  /**
   * One round, repeated until it is decided; returns what was. `change` is pure and may run more than
   * once, so it must know its own effect again. Rejects with what it throws, or NO_QUORUM after
   * `deadlineMs`: the change may then still take effect.
   */
  change(
    acceptors: Membership,
    change: RegisterChange,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<RegisterValue> {
    const random = this.#world.random;
    const proposer = new Proposer({
      key: this.#key,
      id: random.below(2 ** 48 - 1) + 1,
      acceptors: members(acceptors),
      isQuorum: (has) => registerQuorum(acceptors, has),
    });
    return new Promise((resolve, reject) => {
      const give = (error: Error): void => {
        deadline.cancel();
        proposer.step({ kind: 'abandon' });
        reject(error);
      };
      const deadline = this.#world.timers.after(deadlineMs, () =>
        give(new SextantError('NO_QUORUM', `no quorum for register ${this.#key}`)),
      );
      const step = (event: ProposerEvent): void => {
        if (signal?.aborted === true) return give(new SextantError('CANCELLED', 'opening ended'));
        for (const effect of proposer.step(event)) act(effect);
      };
      const act = (effect: ProposerEffect): void => {
        if (effect.kind === 'send') {
          this.#send(effect.to, effect.message, step);
        } else if (effect.kind === 'backoff') {
          this.#world.timers.after(effect.delayMs, () => step({ kind: 'retry' }));
        } else {
          deadline.cancel();
          if (effect.kind === 'decided') resolve(effect.value);
          else reject(effect.error instanceof Error ? effect.error : new Error('register failed'));
        }
      };
      step({ kind: 'start', change });
    });
  }

  #send(to: NodeId, message: RegisterMessage, step: (event: ProposerEvent) => void): void {
    const type =
      message.kind === 'prepare' ? MessageType.registerPrepare : MessageType.registerAccept;
    const lost = (): void =>
      step({ kind: 'lost', from: to, ballot: message.ballot, random: this.#world.random.unit() });
    const link = this.#links.get(to);
    const answer =
      link === undefined
        ? Promise.reject(new SextantError('CONFIG', `no address for ${to}`))
        : link.call(type, encodeRegisterMessage(message), CALL_TIMEOUT_MS);
    answer
      .then((body) => decodeRegisterReply(body))
      .then(
        (reply) => step({ kind: 'reply', from: to, reply, random: this.#world.random.unit() }),
        lost,
      )
      .catch((error: unknown) => this.#world.log.error('register step failed', { error }));
  }
}
