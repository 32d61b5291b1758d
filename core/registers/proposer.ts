/**
 * The proposer of a CASPaxos register: reads the register and replaces its value by a change function,
 * in two rounds with the acceptors. No I/O, clock or randomness: events in, effects out.
 *
 *            start               quorum of promises            quorum of accepted
 *     idle --------> preparing ----------------------> accepting ----------------> idle, `decided`
 *                      ^  |  |                            |  |
 *                retry |  |  +---- no quorum possible ----+  |
 *                      |  v            or timeout            v
 *                      waiting <-----------------------------+   `backoff`: the driver sends retry later
 *
 * Rules
 * - The ballot of a round is above every ballot seen and never used before; answers of another round or
 *   key are ignored.
 * - The value of the promise with the highest accepted ballot is the current one. The change function
 *   gets it and returns the next; a read is the identity, and is a full round too: the value that it
 *   found may be on one acceptor only, until this round has put it on a quorum.
 * - One acceptor in conflict does not end a round; it ends when those left cannot be a quorum.
 * - **A change may run more than once.** After accepts were sent, a failed round may still have taken
 *   effect, or take it later (`uncertain`). So a change function must know its own effect in the value
 *   it gets and then return that value unchanged: values name their writer (`opener` in the volume's
 *   state). A compare-and-set returns the current value when the comparison fails, and the caller looks
 *   at what was decided.
 * - Two proposers never share an id: it is drawn at random for each object (u48).
 */
import { assert, unreachable } from '../assert.js';
import type { NodeId } from '../ids.js';
import { compareBallots, maxBallot, NO_BALLOT, type Ballot } from './ballot.js';
import type { RegisterKey, RegisterMessage, RegisterReply, RegisterValue } from './messages.js';

/** Pure. What it throws ends the operation as `failed`. */
export type RegisterChange = (current: RegisterValue) => RegisterValue;

export interface ProposerOptions {
  readonly key: RegisterKey;
  /** Random, in [1, 2^48), another one for each proposer object. */
  readonly id: number;
  /** The nodes of all membership sets in force. */
  readonly acceptors: readonly NodeId[];
  /** `registerQuorum` of the acceptors' membership. */
  readonly isQuorum: (has: (node: NodeId) => boolean) => boolean;
  /** First wait after a failed round; doubles each time up to the longest, times [0.5, 1.5). */
  readonly backoffMs?: number;
  readonly backoffMsMax?: number;
}

/** `random` is uniform in [0, 1): it spreads the waits of proposers that met. */
export type ProposerEvent =
  | { readonly kind: 'start'; readonly change: RegisterChange }
  | {
      readonly kind: 'reply';
      readonly from: NodeId;
      readonly reply: RegisterReply;
      readonly random: number;
    }
  /** The node will not answer what was sent to it under this ballot. */
  | {
      readonly kind: 'lost';
      readonly from: NodeId;
      readonly ballot: Ballot;
      readonly random: number;
    }
  /** The round has lasted too long. */
  | { readonly kind: 'timeout'; readonly ballot: Ballot; readonly random: number }
  /** The wait of `backoff` is over. */
  | { readonly kind: 'retry' }
  /** The caller gives up; nothing more comes of this operation. */
  | { readonly kind: 'abandon' };

export type ProposerEffect =
  | { readonly kind: 'send'; readonly to: NodeId; readonly message: RegisterMessage }
  | { readonly kind: 'decided'; readonly previous: RegisterValue; readonly value: RegisterValue }
  | {
      readonly kind: 'backoff';
      readonly delayMs: number;
      readonly reason: 'conflict' | 'no-quorum';
      /** An earlier round of this operation may have taken effect, or may yet. */
      readonly uncertain: boolean;
    }
  | { readonly kind: 'failed'; readonly error: unknown };

type Phase = 'idle' | 'preparing' | 'accepting' | 'waiting';

const BACKOFF_MS = 5;
const BACKOFF_MS_MAX = 500;
const DOUBLINGS_MAX = 16;

export class Proposer {
  readonly #options: ProposerOptions;
  #phase: Phase = 'idle';
  #change: RegisterChange = (current) => current;
  /** Highest ballot met anywhere, own rounds included. */
  #seen: Ballot = NO_BALLOT;
  #ballot: Ballot = NO_BALLOT;
  #agreed = new Set<NodeId>();
  #refused = new Set<NodeId>();
  #met: 'conflict' | 'no-quorum' = 'no-quorum';
  #bestBallot: Ballot = NO_BALLOT;
  #bestValue: RegisterValue = null;
  #nextValue: RegisterValue = null;
  #failures = 0;
  #uncertain = false;

  constructor(options: ProposerOptions) {
    assert(
      Number.isInteger(options.id) && options.id >= 1 && options.id < 2 ** 48,
      'a proposer id is in [1, 2^48)',
    );
    this.#options = options;
  }

  /** The round under way: what `timeout` and `lost` must name. */
  get ballot(): Ballot {
    return this.#ballot;
  }

  get busy(): boolean {
    return this.#phase !== 'idle';
  }

  step(event: ProposerEvent): ProposerEffect[] {
    switch (event.kind) {
      case 'start':
        assert(this.#phase === 'idle', 'a proposer does one operation at a time');
        this.#change = event.change;
        this.#failures = 0;
        this.#uncertain = false;
        return this.#prepare();
      case 'retry':
        return this.#phase === 'waiting' ? this.#prepare() : [];
      case 'reply':
        return this.#onReply(event.from, event.reply, event.random);
      case 'lost':
        if (!this.#inRound(event.ballot)) return [];
        return this.#refuse(event.from, event.random);
      case 'timeout':
        return this.#inRound(event.ballot) ? this.#backOff(event.random) : [];
      case 'abandon':
        this.#phase = 'idle';
        return [];
      default:
        return unreachable(event);
    }
  }

  #inRound(ballot: Ballot): boolean {
    const running = this.#phase === 'preparing' || this.#phase === 'accepting';
    return running && compareBallots(ballot, this.#ballot) === 0;
  }

  #prepare(): ProposerEffect[] {
    this.#ballot = [this.#seen[0] + 1, this.#options.id];
    this.#seen = this.#ballot;
    this.#phase = 'preparing';
    this.#bestBallot = NO_BALLOT;
    this.#bestValue = null;
    this.#met = 'no-quorum';
    this.#agreed.clear();
    this.#refused.clear();
    return this.#toAll({ kind: 'prepare', key: this.#options.key, ballot: this.#ballot });
  }

  #toAll(message: RegisterMessage): ProposerEffect[] {
    return this.#options.acceptors.map((to) => ({ kind: 'send', to, message }));
  }

  #onReply(from: NodeId, reply: RegisterReply, random: number): ProposerEffect[] {
    if (reply.key !== this.#options.key || !this.#options.acceptors.includes(from)) return [];
    if (reply.kind === 'conflict') this.#seen = maxBallot(this.#seen, reply.seen);
    if (!this.#inRound(reply.ballot)) return [];
    switch (reply.kind) {
      case 'conflict':
        // Not above this round: the acceptor answered a prepare that arrived twice.
        if (compareBallots(reply.seen, this.#ballot) <= 0) return [];
        this.#met = 'conflict';
        return this.#refuse(from, random);
      case 'promise':
        if (this.#phase !== 'preparing') return [];
        if (compareBallots(reply.accepted, this.#bestBallot) > 0) {
          this.#bestBallot = reply.accepted;
          this.#bestValue = reply.value;
        }
        this.#agreed.add(from);
        return this.#hasQuorum() ? this.#accept() : [];
      case 'accepted':
        if (this.#phase !== 'accepting') return [];
        this.#agreed.add(from);
        if (!this.#hasQuorum()) return [];
        this.#phase = 'idle';
        return [{ kind: 'decided', previous: this.#bestValue, value: this.#nextValue }];
      default:
        return unreachable(reply);
    }
  }

  #hasQuorum(): boolean {
    return this.#options.isQuorum((node) => this.#agreed.has(node));
  }

  #accept(): ProposerEffect[] {
    let value: RegisterValue;
    try {
      value = this.#change(this.#bestValue);
    } catch (error) {
      this.#phase = 'idle';
      return [{ kind: 'failed', error }];
    }
    this.#nextValue = value;
    this.#phase = 'accepting';
    this.#uncertain = true;
    this.#agreed.clear();
    this.#refused.clear();
    return this.#toAll({ kind: 'accept', key: this.#options.key, ballot: this.#ballot, value });
  }

  #refuse(from: NodeId, random: number): ProposerEffect[] {
    if (this.#agreed.has(from)) return [];
    this.#refused.add(from);
    if (this.#options.isQuorum((node) => !this.#refused.has(node))) return [];
    return this.#backOff(random);
  }

  #backOff(random: number): ProposerEffect[] {
    this.#phase = 'waiting';
    const longest = this.#options.backoffMsMax ?? BACKOFF_MS_MAX;
    const doubled = (this.#options.backoffMs ?? BACKOFF_MS) * 2 ** this.#failures;
    if (this.#failures < DOUBLINGS_MAX) this.#failures++;
    const delayMs = Math.min(doubled, longest) * (0.5 + random);
    return [{ kind: 'backoff', delayMs, reason: this.#met, uncertain: this.#uncertain }];
  }
}
