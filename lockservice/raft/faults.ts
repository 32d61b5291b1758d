/**
 * Planted faults: each takes one rule away. Simulator and schedules switch them on to prove that their checkers bite;
 * a node in production has none.
 */
export interface RaftFaults {
  /** A follower acknowledges, and a leader counts itself, before the fsync that covers the entries. */
  readonly ackBeforeSync?: boolean;
  /** Grants every vote of a term that it has a vote in already. */
  readonly voteTwice?: boolean;
  /** The vote is not in the file: a restart in mid-term votes again. */
  readonly forgetVote?: boolean;
  /** Votes for a candidate whose log lacks what the voter has. */
  readonly voteForShorter?: boolean;
  /** Counts copies of older terms' entries as commits (Raft, figure 8). */
  readonly commitOldTerm?: boolean;
  /** Answers reads without asking whether it still leads. */
  readonly noReadIndex?: boolean;
  /** Takes answers to a round that began before the read as its confirmation. */
  readonly oldRoundConfirms?: boolean;
  /** A snapshot replaces the whole log, what follows it included. */
  readonly snapshotLosesTail?: boolean;
  /** An append cuts the log behind it even where nothing conflicts. */
  readonly truncateAlways?: boolean;
  /** A change of members begins before an entry of the leader's own term is committed. */
  readonly changeBeforeNoop?: boolean;
  /** A second change of members begins before the first is committed. */
  readonly twoChanges?: boolean;
}

export const NO_FAULTS: RaftFaults = {};
