/**
 * Planted faults: each takes one rule of transactions away, so that tests and the simulator can show that their
 * checkers notice. Empty in production.
 *
 * | name            | rule | what it does                                                               |
 * |-----------------|------|----------------------------------------------------------------------------|
 * | dropPredecessor | 22   | an update keeps no version but its own and drops the committed one before it |
 * | xidReuse        | 23   | opening starts at the lowest id of the last chunk instead of at the mark   |
 * | ignoreCovered   | 25   | `coveredLsn` is never raised                                               |
 * | lockLeak        | 25   | a transaction that ends keeps its locks                                    |
 * | noCommitMark    | 23   | a commit answers without writing its mark                                  |
 */
export type TxnFault =
  | 'dropPredecessor'
  | 'xidReuse'
  | 'ignoreCovered'
  | 'lockLeak'
  | 'noCommitMark';

export type TxnFaults = ReadonlySet<TxnFault>;

export const NO_TXN_FAULTS: TxnFaults = new Set();
