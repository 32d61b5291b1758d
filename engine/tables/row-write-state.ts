import type { RowWriteState } from './table-store.js';

/** Where a row write that suspended goes on. One object per statement, `reset` before each row. */
export class RowWriteProgress implements RowWriteState {
  /** 0: nothing happened; 1: the version is in the table and index entries go in. */
  stage = 0;
  /** Of an insert: the row's id once given out; of builds and vacuum: the row to go on behind. */
  rowId = -1;
  /** The next index to look at. */
  index = 0;
  /** Bit i (30 for all above): the key of index i changed. */
  changedKeys = 0;
  /** An insert that reports conflicts found one late and takes its row back. */
  undoing = false;
  conflictRow = -1;
  /** Of the tuple's overflow chain. */
  chainLeft = -1;
  chainPage = 0;

  reset(): void {
    this.stage = 0;
    this.rowId = -1;
    this.index = 0;
    this.changedKeys = 0;
    this.undoing = false;
    this.conflictRow = -1;
    this.chainLeft = -1;
    this.chainPage = 0;
  }
}
