/**
 * The acceptor of a CASPaxos register (Rystsov, "CASPaxos: Replicated State Machines without logs"):
 * one per key on each storage node of the first protection group.
 *
 *     request           when                                           state becomes         answer
 *     prepare(B)        B > promised and B > accepted                  promised = B          promise(accepted, value)
 *     prepare(B)        otherwise                                      -                     conflict(highest seen)
 *     accept(B, v)      promised <= B and accepted < B                 accepted = (B, v),    accepted
 *                                                                      promise erased
 *     accept(B, v)      accepted = B (the same request again)          -                     accepted
 *     accept(B, v)      otherwise                                      -                     conflict(highest seen)
 *
 * Because accepting erases the promise, each request is compared with both ballots. An equal ballot at
 * prepare is refused: a prepare that arrives twice must not be promised again after its round moved on.
 *
 * Invariants
 * - The highest ballot seen never goes down; a value is only replaced under a higher ballot.
 * - The state is durable before the answer leaves: a `state` that is another object than the one given
 *   must be journaled first.
 * - A node that cannot vouch for its folder answers nothing (rule 19); that is the node's to hold.
 */
import { compareBallots, maxBallot, NO_BALLOT, type Ballot } from './ballot.js';
import type { RegisterMessage, RegisterReply, RegisterValue } from './messages.js';

/** Immutable; replaced whole. */
export interface AcceptorState {
  readonly promised: Ballot;
  readonly accepted: Ballot;
  readonly value: RegisterValue;
}

/** A register that this node has never heard of. */
export const EMPTY_ACCEPTOR: AcceptorState = {
  promised: NO_BALLOT,
  accepted: NO_BALLOT,
  value: null,
};

export interface AcceptorStep {
  /** The same object when nothing changed; otherwise durable before `reply` is sent. */
  readonly state: AcceptorState;
  readonly reply: RegisterReply;
}

export function acceptorStep(state: AcceptorState, message: RegisterMessage): AcceptorStep {
  const { key, ballot } = message;
  const abovePromised = compareBallots(ballot, state.promised);
  const aboveAccepted = compareBallots(ballot, state.accepted);
  if (message.kind === 'prepare') {
    if (abovePromised > 0 && aboveAccepted > 0) {
      const { accepted, value } = state;
      return {
        state: { promised: ballot, accepted, value },
        reply: { kind: 'promise', key, ballot, accepted, value },
      };
    }
  } else {
    if (aboveAccepted === 0) return { state, reply: { kind: 'accepted', key, ballot } };
    if (abovePromised >= 0 && aboveAccepted > 0) {
      return {
        state: { promised: NO_BALLOT, accepted: ballot, value: message.value },
        reply: { kind: 'accepted', key, ballot },
      };
    }
  }
  const seen = maxBallot(state.promised, state.accepted);
  return { state, reply: { kind: 'conflict', key, ballot, seen } };
}
