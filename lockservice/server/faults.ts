/** Planted faults of all the parts of a lock server; one in production has none. */
import type { CoordinationFaults } from '../coordination/faults.js';
import type { LockFaults } from '../locks/faults.js';
import type { RaftFaults } from '../raft/faults.js';
import type { StateFaults } from '../state/faults.js';

export interface ServerFaults {
  readonly raft?: RaftFaults;
  readonly state?: StateFaults;
  readonly locks?: LockFaults;
  readonly coordination?: CoordinationFaults;
  /** Rule 4: serves its groups although its own lease has run out. */
  readonly serveWithoutLease?: boolean;
  /** Rule 4: counts a lease from the leader before it has applied what the leader knew then. */
  readonly leaseBeforeState?: boolean;
  /** Rule 6: a leader answers renewals without asking whether it still leads. */
  readonly oldLeaderRenews?: boolean;
}

export const NO_SERVER_FAULTS: ServerFaults = {};
