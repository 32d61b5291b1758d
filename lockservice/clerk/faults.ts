/**
 * Planted faults: each takes one rule away from the clerk. The simulator switches them on to prove that its
 * checkers bite; a clerk in production has none.
 */
export interface ClerkFaults {
  /** Rule 6: never looks at its watch; only the service tells it that its lease has ended. */
  readonly noMargin?: boolean;
  /** Rule 4: takes grants of an epoch older than the rebuild that it answered. */
  readonly oldGrants?: boolean;
  /** Goes on using its locks after the lease has ended. */
  readonly keepAfterLoss?: boolean;
  /** FS-2: gives a lock back, then lets its owner flush. */
  readonly releaseBeforeFlush?: boolean;
  /** Rule 5: leaves a lock out of its answer to a rebuild. */
  readonly forgetClaim?: boolean;
  /** Rule 2: releases carry no clock. */
  readonly noClockInRelease?: boolean;
}

export const NO_CLERK_FAULTS: ClerkFaults = {};
