/**
 * The one error taxonomy. Every error that crosses a part's boundary is a `SextantError` with a
 * stable `code`; `remedy` says what the caller may do. Whatever comes from a wire, a disk or a user
 * ends as one of these, never as an assertion.
 */
export type ErrorCode =
  | 'CORRUPTION' // bytes that fail their checksum or their grammar
  | 'STALE_EPOCH' // the request carries an older volume or membership epoch
  | 'NEED_RANGES' // the node has not installed the truncation list of this epoch
  | 'WRONG_CLUSTER' // another cluster, node, volume or format version
  | 'FOLDER_LOCKED' // another process uses the data folder
  | 'FOLDER_FOREIGN' // the folder belongs to another cluster, node or format version
  | 'DISK_FULL'
  | 'DISK_FAILED' // an I/O error or a failed fsync: the folder is not to be trusted
  | 'NOT_READY' // the node recovers, hydrates or has not read its register yet
  | 'NOT_FOUND'
  | 'OUT_OF_RANGE' // a read point outside [PGMRPL, SCL]
  | 'CONFLICT' // a register round met a higher ballot, or compare-and-set met another value
  | 'NO_QUORUM' // too few nodes answered in time
  | 'FENCED' // this engine's epoch, or this clerk's token, is over
  | 'NOT_LEADER' // only the leader of the Raft group answers this; the message ends in leader=<id> when known
  | 'LEASE_LOST' // the clerk's lease has ended: its locks are gone, open a new clerk
  | 'DEADLOCK' // waiting would close a cycle
  | 'UNKNOWN_TABLE' // no lock table of that name or number
  | 'EXISTS'
  | 'NOT_EMPTY'
  | 'TIMEOUT'
  | 'CANCELLED'
  | 'DISCONNECTED'
  | 'OVERLOADED' // a bounded queue is full
  | 'PROTOCOL' // a well-formed frame that makes no sense here
  | 'CONFIG' // a configuration file, option or argument
  | 'CLOSED'
  | 'INTERNAL';

export type Remedy = 'retry' | 'give-up' | 'repair';

export class SextantError extends Error {
  readonly code: ErrorCode;
  readonly remedy: Remedy;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; remedy?: Remedy }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SextantError';
    this.code = code;
    this.remedy = options?.remedy ?? REMEDIES[code] ?? 'give-up';
  }
}

const REMEDIES: Partial<Record<ErrorCode, Remedy>> = {
  CORRUPTION: 'repair',
  DISK_FAILED: 'repair',
  NEED_RANGES: 'retry',
  NOT_READY: 'retry',
  DISK_FULL: 'retry',
  CONFLICT: 'retry',
  NO_QUORUM: 'retry',
  TIMEOUT: 'retry',
  DISCONNECTED: 'retry',
  OVERLOADED: 'retry',
  NOT_LEADER: 'retry',
};

export function isSextantError(error: unknown, code?: ErrorCode): error is SextantError {
  return error instanceof SextantError && (code === undefined || error.code === code);
}
