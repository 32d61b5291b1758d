/**
 * The kernel's FUSE protocol (linux/fuse.h, version 7): numbers and layouts, nothing that runs.
 *
 * Every frame is in the byte order of the machine, all fields at multiples of their size; a 64-bit field is read and written as
 * two words, low first (little-endian machines: x86-64, arm64, riscv64).
 *
 * ```
 * request, 40 bytes, then the body        answer, 16 bytes, then the body      notification = an answer
 *  0 u32 length of the frame               0 u32 length of the frame           with unique 0 and its code
 *  4 u32 opcode                            4 i32 0, or -errno                  in place of the error
 *  8 u64 unique                            8 u64 unique of the request
 * 16 u64 node (inode; 1 is the root)
 * 24 u32 uid   28 u32 gid   32 u32 pid
 * 36 u16 length of extensions, unit 8 bytes   38 u16 0
 *
 * attributes, 88 bytes                    entry, 128 bytes                     directory entry, 24 bytes and the name,
 *  0 u64 ino   8 u64 size  16 u64 blocks   0 u64 node    8 u64 generation      filled up to 8
 * 24 i64 atime 32 i64 mtime 40 i64 ctime  16 u64 name valid, s                  0 u64 ino   8 u64 cookie
 * 48 u32 atime ns  52 mtime ns  56 ctime  24 u64 attributes valid, s           16 u32 name length   20 u32 type
 * 60 u32 mode  64 nlink  68 uid  72 gid   32 u32 name valid, ns                with attributes: entry before it
 * 76 u32 rdev  80 block size  84 flags    36 u32 attributes valid, ns
 *                                         40 attributes
 * ```
 */

export const REQUEST_HEADER_BYTES = 40;
export const ANSWER_HEADER_BYTES = 16;
export const ATTRIBUTES_BYTES = 88;
export const ENTRY_BYTES = 128;
export const DIRENT_BYTES = 24;

export const FUSE_MAJOR = 7;
/** The newest minor whose additions this server knows. */
export const FUSE_MINOR = 45;
/** Oldest one spoken to: Linux 4.20, the first with MAX_PAGES. */
export const FUSE_MINOR_MIN = 28;

export const DATA_BYTES_MAX = 1 << 20;
/** A request is at most its data, its headers and a page of slack (the kernel asks for 8 KiB at least). */
export const FRAME_BYTES_MAX = DATA_BYTES_MAX + 4096;

export const Opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  getlk: 31,
  setlk: 32,
  setlkw: 33,
  access: 34,
  create: 35,
  interrupt: 36,
  destroy: 38,
  ioctl: 39,
  poll: 40,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  syncfs: 50,
  statx: 52,
  copyFileRange64: 53,
} as const;
export const OPCODE_END = 64;

/** Flags of INIT: bits 0 to 31 in the first word, 32 to 63 in the second. */
export const InitFlag = {
  asyncRead: 1 << 0,
  posixLocks: 1 << 1,
  atomicTruncate: 1 << 3,
  bigWrites: 1 << 5,
  dontMask: 1 << 6,
  flockLocks: 1 << 10,
  autoInvalidateData: 1 << 12,
  readdirPlus: 1 << 13,
  readdirPlusAuto: 1 << 14,
  asyncDirectIo: 1 << 15,
  parallelDirectoryOperations: 1 << 18,
  abortError: 1 << 21,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  handleKillPrivV2: 1 << 28,
  initExtended: 1 << 30,
} as const;
export const InitFlag2 = {
  /** A file opened for direct I/O (O_APPEND, rule 25) may be mapped shared all the same. */
  directIoAllowMmap: 1 << 4,
} as const;

export const SetattrValid = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  handle: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
} as const;

/** Flags of the answer to OPEN, CREATE. */
export const OpenAnswer = { directIo: 1 << 0, keepCache: 1 << 1 } as const;
export const GETATTR_HANDLE = 1;
export const LOCK_FLOCK = 1;
export const RELEASE_FLOCK_UNLOCK = 2;
/** The write comes from the page cache, later than the program's store. */
export const WRITE_CACHE = 1;
export const WRITE_KILL_SUIDGID = 4;
export const FSYNC_DATA_ONLY = 1;

/** open(2) flags of Linux on x86-64 and arm64 as the kernel forwards them. */
export const LinuxOpen = {
  accessMode: 3,
  writeOnly: 1,
  readWrite: 2,
  exec: 0x20,
  exclusive: 0x80,
  truncate: 0x200,
  append: 0x400,
  dataSync: 0x1000,
  sync: 0x10_1000,
} as const;

export const LinuxLock = { read: 0, write: 1, unlock: 2 } as const;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const NotifyCode = { invalidateInode: 2, incrementEpoch: 8 } as const;
