/** How much a file server may hold and how often it writes back. */
export interface Bounds {
  /** Clean metadata blocks (inodes, directories, extents); default 256 MiB. */
  readonly metadataBytesMax: number;
  /** Clean file content; default 256 MiB. */
  readonly contentBytesMax: number;
  /** Changes wait beyond so many bytes of dirty metadata; default 32 MiB. */
  readonly dirtyMetadataBytesMax: number;
  /** Writes wait beyond so many bytes of dirty content; default 64 MiB. */
  readonly dirtyContentBytesMax: number;
  readonly inodesMax: number;
  /** Operations that wait at one time; more are answered EAGAIN. */
  readonly operationsMax: number;
  readonly handlesMax: number;
  /** The log is flushed so often (rule 17). */
  readonly flushEveryMs: number;
  /** Dirty blocks and content are written in place so often. */
  readonly writeBackEveryMs: number;
  /** A kernel keeps attributes and names at most so long, and never past the lease (rule 20). */
  readonly kernelCacheMsMax: number;
  /** Bytes read ahead of a sequential reader; 0: none. */
  readonly readAheadBytes: number;
}

export const DEFAULT_BOUNDS: Bounds = {
  metadataBytesMax: 256 * 1024 * 1024,
  contentBytesMax: 256 * 1024 * 1024,
  dirtyMetadataBytesMax: 32 * 1024 * 1024,
  dirtyContentBytesMax: 64 * 1024 * 1024,
  inodesMax: 500_000,
  operationsMax: 20_000,
  handlesMax: 1_000_000,
  flushEveryMs: 200,
  writeBackEveryMs: 2000,
  kernelCacheMsMax: 60_000,
  readAheadBytes: 512 * 1024,
};
