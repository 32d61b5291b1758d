/**
 * Planted faults of a lock server: each takes one rule away, under the name that the model of the protocol gives to the
 * same mutation where it has one. The simulator switches them on to prove that its checkers bite; production has none.
 */
export interface LockFaults {
  /** Rule 4: a release need not name the grant that it releases. */
  readonly noSequence?: boolean;
  /** Rule 5: the locks of a clerk are free when its lease ends, and nobody claims means nobody holds. */
  readonly freeDeadLocks?: boolean;
  /** Rule 5: grants before every live clerk has answered the rebuild. */
  readonly grantDuringRebuild?: boolean;
  /** Rule 5: takes what clerks claim for read, and does not record it. */
  readonly claimsIgnored?: boolean;
  /** Rule 2: grants carry clock 0. */
  readonly noClockInGrant?: boolean;
  /** Rule 2: the floor kept in Raft counts only when a group is gained. */
  readonly floorOnlyAtRebuild?: boolean;
  /** Fair queues: shared requests pass a waiting exclusive one. */
  readonly starveWriters?: boolean;
  /** Parts of different answers to a rebuild make up one claim. */
  readonly mixedAttempts?: boolean;
}

export const NO_LOCK_FAULTS: LockFaults = {};
