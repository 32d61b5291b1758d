/**
 * Planted faults: each takes one rule away, under the name that the model of the protocol gives to
 * the same mutation. The simulator switches them on to prove that its checkers bite; a node in
 * production has none.
 */
export interface Faults {
  /** Rule 9: answers a seal without adopting its epoch. */
  readonly noSeal?: boolean;
  /** Rule 13: keeps the records that an installed range annuls. */
  readonly keepAnnulled?: boolean;
  /** Rule 13: only a higher epoch makes a node ask for the list. */
  readonly epochGate?: boolean;
  /** Rule 9: a seal brings no list with it. */
  readonly sealNoList?: boolean;
  /** Rule 19: a new folder takes part before it has read the register. */
  readonly blankServes?: boolean;
  /** Rule 19: counts as whole once as complete as one peer. */
  readonly earlyWhole?: boolean;
  /** LOG-2: acknowledges before the fdatasync that covers the record. */
  readonly ackBeforeSync?: boolean;
  /** Rule 8: folds what recovery may still annul. */
  readonly foldAboveVdl?: boolean;
  /** PAGE-3: drops the versions below its own VDL, whatever readers need. */
  readonly dropNeeded?: boolean;
  /** LOG-6: takes boxcars of older epochs. */
  readonly takeStale?: boolean;
  /** Acknowledges at once, however far background work is behind. */
  readonly noBackPressure?: boolean;
  /** Rule 3: registers go by token first. */
  readonly tokenFirst?: boolean;
  /** Rule 12: a fence is acknowledged while writes of the token are still taken. */
  readonly earlyFenceAck?: boolean;
  /** Rule 12: a late learner asks nodes that may not know the fence. */
  readonly checkAnyQuorum?: boolean;
  /** Rule 12: a node that answered a fence once checks nothing, used or not. */
  readonly listOnce?: boolean;
}

export const NO_FAULTS: Faults = {};
