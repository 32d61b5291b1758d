/**
 * A ballot orders the rounds of all proposers of a register: first by counter, then by proposer. No
 * two rounds ever share one, so each proposer object draws a random id of its own (u48) and never
 * uses a counter twice.
 */
export type Ballot = readonly [counter: number, proposer: number];

/** Below every ballot: nothing promised, nothing accepted. */
export const NO_BALLOT: Ballot = [0, 0];

/** Negative, 0 or positive as a is below, the same as or above b. */
export function compareBallots(a: Ballot, b: Ballot): number {
  return a[0] === b[0] ? a[1] - b[1] : a[0] - b[0];
}

export function maxBallot(a: Ballot, b: Ballot): Ballot {
  return compareBallots(a, b) >= 0 ? a : b;
}
