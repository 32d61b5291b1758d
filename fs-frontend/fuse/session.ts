/**
 * INIT: what this server and the kernel agree on.
 *
 * ```
 * request  0 u32 major  4 u32 minor  8 u32 read-ahead  12 u32 flags  16 u32 flags 2
 * answer   0 u32 major  4 u32 minor  8 u32 read-ahead  12 u32 flags  16 u16 background  18 u16 congestion
 *         20 u32 longest write  24 u32 grain of times, ns  28 u16 longest request in pages  30 u16 0  32 u32 flags 2   (64 bytes)
 * ```
 *
 * | asked for | because |
 * | --- | --- |
 * | AUTO_INVAL_DATA | pages go when size or mtime changed (rule 20) |
 * | HANDLE_KILLPRIV_V2 | or else every write asks for security.capability first; the kernel says when setuid bits must go |
 * | ATOMIC_O_TRUNC, POSIX_LOCKS, FLOCK_LOCKS | open and truncate under one lock; locks reach other servers |
 * | DONT_MASK | the umask is applied here, next to the mode |
 * | PARALLEL_DIROPS, ASYNC_READ, ASYNC_DIO, BIG_WRITES, MAX_PAGES | more than one request of a directory or file at a time; 1 MiB each |
 * | DO_READDIRPLUS, READDIRPLUS_AUTO, CACHE_SYMLINKS | fewer requests |
 * | ABORT_ERROR | tells an aborted connection from an unmount |
 * | DIRECT_IO_ALLOW_MMAP | a file opened with O_APPEND may be mapped |
 *
 * Not asked for: WRITEBACK_CACHE (a dirty page that the server does not know of could not be flushed before a lock is
 * released; writable mappings are rule 24's), EXPORT_SUPPORT, NO_OPEN_SUPPORT, EXPLICIT_INVAL_DATA (excludes AUTO_INVAL_DATA).
 */
import type { Answer } from './answer.js';
import type { Call } from './call.js';
import {
  DATA_BYTES_MAX,
  FUSE_MAJOR,
  FUSE_MINOR,
  FUSE_MINOR_MIN,
  InitFlag,
  InitFlag2,
} from './protocol.js';

const WANTED =
  InitFlag.asyncRead |
  InitFlag.posixLocks |
  InitFlag.atomicTruncate |
  InitFlag.bigWrites |
  InitFlag.dontMask |
  InitFlag.flockLocks |
  InitFlag.autoInvalidateData |
  InitFlag.readdirPlus |
  InitFlag.readdirPlusAuto |
  InitFlag.asyncDirectIo |
  InitFlag.parallelDirectoryOperations |
  InitFlag.abortError |
  InitFlag.maxPages |
  InitFlag.cacheSymlinks |
  InitFlag.handleKillPrivV2 |
  InitFlag.initExtended;
const WANTED2 = InitFlag2.directIoAllowMmap;
const PAGE_BYTES = 4096;
const BACKGROUND_MAX = 128;
const CONGESTION = 96;

export interface Session {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
  readonly readAheadBytes: number;
  readonly killPrivV2: boolean;
}

/** Undefined: a protocol too old to speak. A newer major gets the answer that makes the kernel ask again with 7. */
export function negotiate(call: Call): Session | undefined {
  const major = call.u32(0);
  const minor = call.u32(4);
  if (major < FUSE_MAJOR || (major === FUSE_MAJOR && minor < FUSE_MINOR_MIN)) return undefined;
  const flags = (call.u32(12) & WANTED) >>> 0;
  const extended = (flags & InitFlag.initExtended) !== 0;
  return {
    minor: Math.min(minor, FUSE_MINOR),
    flags,
    flags2: extended ? call.u32(16) & WANTED2 : 0,
    readAheadBytes: Math.min(call.u32(8), DATA_BYTES_MAX),
    killPrivV2: (flags & InitFlag.handleKillPrivV2) !== 0,
  };
}

export function encodeInit(answer: Answer, session: Session): void {
  answer.u32(FUSE_MAJOR);
  answer.u32(session.minor);
  answer.u32(session.readAheadBytes);
  answer.u32(session.flags);
  answer.u32(BACKGROUND_MAX | (CONGESTION << 16));
  answer.u32(DATA_BYTES_MAX);
  answer.u32(1);
  answer.u32(DATA_BYTES_MAX / PAGE_BYTES);
  answer.u32(session.flags2);
  answer.zeros(28);
}
