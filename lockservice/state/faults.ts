/**
 * Planted faults of the replicated state and of the leases: each takes one rule away. The simulator switches them on,
 * in all members alike, to prove that its checkers bite; a lock server in production has none.
 */
export interface StateFaults {
  /** Rule 1: a renewal makes an expired clerk live again. */
  readonly reviveLapsed?: boolean;
  /** Rule 6: a new leader goes on from leases that it never saw, as if they had ended. */
  readonly noLeaseExtension?: boolean;
  /** Rule 2: neither close nor recovery raises the floor of the clocks. */
  readonly floorFromNothing?: boolean;
  /** Rule 1: the smallest token that nobody has is given out again. */
  readonly tokenReuse?: boolean;
  /** Rule 16: a demon is replaced when it has expired, not when it is fenced. */
  readonly unfencedDemon?: boolean;
  /** Rule 4: a group is given on before its owner gave it up. */
  readonly onePhaseMoves?: boolean;
}

export const NO_STATE_FAULTS: StateFaults = {};
