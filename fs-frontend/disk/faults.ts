/** Planted faults: each takes one rule of the disk's client away. The simulator's checkers must notice. */
export interface Faults {
  /** Rule 11: what differs in a read quorum is not written back. */
  readonly noWriteBack?: boolean;
  /** Rule 12: what a fence listed is not completed. */
  readonly ignoreListed?: boolean;
  /** Acknowledges a write that one node has. */
  readonly ackOne?: boolean;
  /** Returns what one node says, whatever others have. */
  readonly readOne?: boolean;
}

export const NO_FAULTS: Faults = {};
