/**
 * A whole file system in memory, with the semantics of Linux and POSIX: permissions, sticky directories, setuid bits that go on writes, times in
 * nanoseconds (relatime), xattrs, locks, holes, renames of every kind, open files without a name. It answers at once, except a
 * lock that must wait. Test code: the mount is tried over it, and real file servers are compared with it.
 */
import {
  type AttributeChanges,
  type Caller,
  type DirectoryEntry,
  type Entry,
  FallocateMode,
  type FileLock,
  FsError,
  type FsStatistics,
  type Handle,
  type Ino,
  type KernelCache,
  LINK_MAX,
  type LockFamily,
  type Maybe,
  NAME_BYTES_MAX,
  OpenFlag,
  ROOT_INO,
  RenameFlag,
  SYMLINK_BYTES_MAX,
  type Vfs,
  XattrFlag,
} from '#fs-frontend/vfs/vfs.js';
import { MemoryLocks } from './memory-locks.js';
import {
  EXECUTE,
  MemoryDirectory,
  type MemoryNode,
  READ,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISVTX,
  type Time,
  WRITE,
  attributesOf,
  demand,
  demandSticky,
  inGroup,
  inherited,
  isDirectory,
  isFile,
  killPrivileges,
  typeOf,
} from './memory-node.js';
import { SPARSE_PIECE_BYTES, SparseBytes } from './sparse-bytes.js';

const FILE_BYTES_MAX = Number.MAX_SAFE_INTEGER;
const XATTR_BYTES_MAX = 65_536;
const DAY_SEC = 86_400;
const NO_BYTES = new Uint8Array(0);
const S_PERMISSIONS = 0o7777;

export interface MemoryVfsOptions {
  /** How long a kernel may keep attributes and names. Default a minute. */
  readonly validMs?: number;
  readonly capacityBytes?: number;
  readonly inodesMax?: number;
  /** The time of day, in nanoseconds since 1970. */
  readonly now?: () => bigint;
}

interface OpenFile {
  readonly node: MemoryNode;
  readonly flags: number;
}

/** `.` and `..` are no names for making or taking away. */
function keyOf(name: Uint8Array): string {
  if (name.length === 0) throw new FsError('ENOENT');
  if (name.length > NAME_BYTES_MAX) throw new FsError('ENAMETOOLONG');
  if (name.includes(0) || name.includes(0x2f)) throw new FsError('EINVAL');
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
}
const isDots = (key: string): boolean => key === '.' || key === '..';

export class MemoryVfs implements Vfs {
  readonly kernels: KernelCache[] = [];
  /** For tests: a READ waits for what this returns. */
  beforeRead: ((ino: Ino, offset: number) => Promise<void> | undefined) | undefined = undefined;
  readonly #nodes = new Map<Ino, MemoryNode>();
  readonly #handles = new Map<Handle, OpenFile>();
  readonly #locks = new MemoryLocks();
  readonly #validMs: number;
  readonly #capacityBytes: number;
  readonly #inodesMax: number;
  readonly #clock: () => bigint;
  #usedBytes = 0;
  #ino = ROOT_INO;
  #handle = 1;

  constructor(options: MemoryVfsOptions = {}) {
    this.#validMs = options.validMs ?? 60_000;
    this.#capacityBytes = options.capacityBytes ?? 2 ** 34;
    this.#inodesMax = options.inodesMax ?? 2 ** 24;
    const bootNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
    this.#clock = options.now ?? (() => bootNs + process.hrtime.bigint());
    const root = this.#newNode(S_IFDIR | 0o755, 0, 0, 0);
    root.parent = root.ino;
    root.nlink = 2;
  }

  attachKernel(cache: KernelCache): void {
    this.kernels.push(cache);
  }

  get openCount(): number {
    return this.#handles.size;
  }
  get inodeCount(): number {
    return this.#nodes.size;
  }

  // ---- inodes

  lookup(parent: Ino, name: Uint8Array, caller: Caller): Entry {
    const directory = this.#directory(parent);
    demand(directory, EXECUTE, caller);
    const key = keyOf(name);
    if (key === '.') return this.#entry(directory);
    if (key === '..') return this.#entry(this.#node(directory.parent));
    return this.#entry(this.#child(directory, key));
  }

  getAttributes(ino: Ino, handle?: Handle): Entry {
    return this.#entry(handle === undefined ? this.#node(ino) : this.#open(handle).node);
  }

  setAttributes(ino: Ino, changes: AttributeChanges, caller: Caller, handle?: Handle): Entry {
    const open = handle === undefined ? undefined : this.#open(handle);
    const node = open?.node ?? this.#node(ino);
    this.#demandChanges(node, changes, caller, open);
    const now = this.#now();
    if (changes.uid !== undefined || changes.gid !== undefined) {
      node.uid = changes.uid ?? node.uid;
      node.gid = changes.gid ?? node.gid;
      killPrivileges(node);
    }
    if (changes.mode !== undefined) {
      let mode = changes.mode & S_PERMISSIONS;
      if (caller.uid !== 0 && !inGroup(caller, node.gid)) mode &= ~S_ISGID;
      node.mode = typeOf(node) | mode;
    }
    if (changes.size !== undefined) {
      this.#resize(node, changes.size);
      if (caller.uid !== 0) killPrivileges(node);
      node.mtime = now;
    }
    if (changes.atime !== undefined) node.atime = changes.atime === 'now' ? now : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === 'now' ? now : changes.mtime;
    node.ctime = now;
    return this.#entry(node);
  }

  access(ino: Ino, mask: number, caller: Caller): void {
    demand(this.#node(ino), mask & 7, caller);
  }

  readLink(ino: Ino): Uint8Array {
    const node = this.#node(ino);
    if (typeOf(node) !== S_IFLNK) throw new FsError('EINVAL');
    return node.target;
  }

  #demandChanges(
    node: MemoryNode,
    changes: AttributeChanges,
    caller: Caller,
    open: OpenFile | undefined,
  ): void {
    const root = caller.uid === 0;
    const owner = root || caller.uid === node.uid;
    const { uid, gid, size, atime, mtime } = changes;
    if (uid !== undefined && !root && (!owner || uid !== node.uid)) throw new FsError('EPERM');
    if (gid !== undefined && !root) {
      if (!owner || (gid !== node.gid && !inGroup(caller, gid))) throw new FsError('EPERM');
    }
    if (changes.mode !== undefined && !owner) throw new FsError('EPERM');
    if (size !== undefined) {
      if (isDirectory(node)) throw new FsError('EISDIR');
      if (!isFile(node) || size < 0) throw new FsError('EINVAL');
      if (size > FILE_BYTES_MAX) throw new FsError('EFBIG');
      if (open === undefined) demand(node, WRITE, caller);
      else if ((open.flags & OpenFlag.write) === 0) throw new FsError('EINVAL');
    }
    if (atime === undefined && mtime === undefined) return;
    const exact = (atime ?? 'now') !== 'now' || (mtime ?? 'now') !== 'now';
    if (owner) return;
    if (exact || atime === undefined || mtime === undefined) throw new FsError('EPERM');
    demand(node, WRITE, caller);
  }

  // ---- names

  makeNode(parent: Ino, name: Uint8Array, mode: number, rdev: number, caller: Caller): Entry {
    if ((mode & S_IFMT) === S_IFDIR) throw new FsError('EPERM');
    const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
    return this.#entry(this.#make(parent, name, type | (mode & S_PERMISSIONS), rdev, caller));
  }

  makeDirectory(parent: Ino, name: Uint8Array, mode: number, caller: Caller): Entry {
    // Linux takes sticky and permissions from mkdir, never setuid and setgid.
    const node = this.#make(parent, name, S_IFDIR | (mode & 0o1777), 0, caller);
    const directory = this.#node(parent);
    node.parent = parent;
    node.nlink = 2;
    directory.nlink++;
    return this.#entry(node);
  }

  symlink(parent: Ino, name: Uint8Array, target: Uint8Array, caller: Caller): Entry {
    if (target.length === 0) throw new FsError('ENOENT');
    if (target.length > SYMLINK_BYTES_MAX) throw new FsError('ENAMETOOLONG');
    return this.#entry(
      this.#make(parent, name, S_IFLNK | 0o777, 0, caller, new Uint8Array(target)),
    );
  }

  link(ino: Ino, parent: Ino, name: Uint8Array, caller: Caller): Entry {
    const node = this.#node(ino);
    const directory = this.#directory(parent);
    const key = this.#freeKey(directory, name, caller);
    if (isDirectory(node)) throw new FsError('EPERM');
    if (node.nlink === 0) throw new FsError('ENOENT');
    if (node.nlink >= LINK_MAX) throw new FsError('EMLINK');
    directory.names.set(key, ino);
    node.nlink++;
    node.ctime = this.#touched(directory);
    return this.#entry(node);
  }

  unlink(parent: Ino, name: Uint8Array, caller: Caller): void {
    const directory = this.#directory(parent);
    const key = keyOf(name);
    demand(directory, EXECUTE, caller);
    if (isDots(key)) throw new FsError('EISDIR');
    const node = this.#child(directory, key);
    demand(directory, WRITE, caller);
    demandSticky(directory, node, caller);
    if (isDirectory(node)) throw new FsError('EISDIR');
    directory.names.delete(key);
    this.#unlinked(node, this.#touched(directory));
  }

  removeDirectory(parent: Ino, name: Uint8Array, caller: Caller): void {
    const directory = this.#directory(parent);
    const key = keyOf(name);
    demand(directory, EXECUTE, caller);
    if (key === '.') throw new FsError('EINVAL');
    if (key === '..') throw new FsError('ENOTEMPTY');
    const node = this.#child(directory, key);
    demand(directory, WRITE, caller);
    demandSticky(directory, node, caller);
    if (!isDirectory(node)) throw new FsError('ENOTDIR');
    if (node.names.size > 0) throw new FsError('ENOTEMPTY');
    directory.names.delete(key);
    directory.nlink--;
    this.#unlinked(node, this.#touched(directory));
  }

  rename(
    parent: Ino,
    name: Uint8Array,
    newParent: Ino,
    newName: Uint8Array,
    flags: number,
    caller: Caller,
  ): void {
    if (flags > RenameFlag.exchange) throw new FsError('EINVAL');
    const from = this.#directory(parent);
    const to = this.#directory(newParent);
    const key = keyOf(name);
    const newKey = keyOf(newName);
    demand(from, EXECUTE, caller);
    demand(to, EXECUTE, caller);
    if (isDots(key)) throw new FsError('EBUSY');
    if (isDots(newKey)) {
      throw new FsError((flags & RenameFlag.noReplace) === 0 ? 'EBUSY' : 'EEXIST');
    }
    const node = this.#child(from, key);
    const newIno = to.names.get(newKey);
    const there = newIno === undefined ? undefined : this.#node(newIno);
    if (there !== undefined && (flags & RenameFlag.noReplace) !== 0) throw new FsError('EEXIST');
    const exchange = (flags & RenameFlag.exchange) !== 0;
    if (exchange && there === undefined) throw new FsError('ENOENT');
    if (isDirectory(node) && this.#isInside(to, node)) throw new FsError('EINVAL');
    if (there !== undefined && isDirectory(there) && this.#isInside(from, there)) {
      throw new FsError(exchange ? 'EINVAL' : 'ENOTEMPTY');
    }
    if (there === node) return;
    demand(from, WRITE, caller);
    demandSticky(from, node, caller);
    demand(to, WRITE, caller);
    if (there !== undefined) demandSticky(to, there, caller);
    this.#demandParentChange(from, to, node, caller);
    if (exchange && there !== undefined) {
      this.#demandParentChange(from, to, there, caller);
      from.names.set(key, there.ino);
      to.names.set(newKey, node.ino);
      this.#reparent(node, from, to);
      this.#reparent(there, to, from);
      there.ctime = this.#touched(to);
    } else {
      if (there !== undefined) this.#demandReplaceable(node, there);
      from.names.delete(key);
      to.names.set(newKey, node.ino);
      this.#reparent(node, from, to);
      const now = this.#touched(to);
      if (there !== undefined) {
        if (isDirectory(there)) to.nlink--;
        this.#unlinked(there, now);
      }
    }
    node.ctime = this.#touched(from);
  }

  #demandReplaceable(node: MemoryNode, there: MemoryNode): void {
    if (isDirectory(node)) {
      if (!isDirectory(there)) throw new FsError('ENOTDIR');
      if (there.names.size > 0) throw new FsError('ENOTEMPTY');
    } else if (isDirectory(there)) throw new FsError('EISDIR');
  }

  /** Another parent changes `..`, which is the directory's own. */
  #demandParentChange(from: MemoryNode, to: MemoryNode, node: MemoryNode, caller: Caller): void {
    if (from !== to && isDirectory(node)) demand(node, WRITE, caller);
  }

  #reparent(node: MemoryNode, from: MemoryNode, to: MemoryNode): void {
    if (from === to || !isDirectory(node)) return;
    node.parent = to.ino;
    from.nlink--;
    to.nlink++;
  }

  #isInside(node: MemoryNode, ancestor: MemoryNode): boolean {
    for (let at = node; ; at = this.#node(at.parent)) {
      if (at === ancestor) return true;
      if (at.ino === ROOT_INO) return false;
    }
  }

  // ---- files

  open(ino: Ino, flags: number, caller: Caller): Handle {
    const node = this.#node(ino);
    if (typeOf(node) === S_IFLNK) throw new FsError('ELOOP');
    if (isDirectory(node) && (flags & (OpenFlag.write | OpenFlag.truncate)) !== 0) {
      throw new FsError('EISDIR');
    }
    let mask = (flags & OpenFlag.read) === 0 ? 0 : READ;
    if ((flags & (OpenFlag.write | OpenFlag.truncate)) !== 0) mask |= WRITE;
    demand(node, mask, caller);
    if ((flags & OpenFlag.truncate) !== 0 && isFile(node)) this.#openTruncate(node, caller);
    return this.#newHandle(node, flags);
  }

  create(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    flags: number,
    caller: Caller,
  ): { entry: Entry; handle: Handle } {
    const directory = this.#directory(parent);
    demand(directory, EXECUTE, caller);
    const ino = directory.names.get(keyOf(name));
    if (ino !== undefined) {
      if ((flags & OpenFlag.exclusive) !== 0) throw new FsError('EEXIST');
      const handle = this.open(ino, flags, caller);
      return { entry: this.#entry(this.#node(ino)), handle };
    }
    const node = this.#make(parent, name, S_IFREG | (mode & S_PERMISSIONS), 0, caller);
    // Whoever makes a file may write it, whatever its permissions.
    return { entry: this.#entry(node), handle: this.#newHandle(node, flags) };
  }

  read(handle: Handle, offset: number, length: number): Maybe<Uint8Array> {
    const { node, flags } = this.#open(handle);
    if (isDirectory(node)) throw new FsError('EISDIR');
    if ((flags & OpenFlag.read) === 0) throw new FsError('EBADF');
    const wait = this.beforeRead?.(node.ino, offset);
    if (wait !== undefined) return wait.then(() => this.#read(node, offset, length));
    return this.#read(node, offset, length);
  }

  write(handle: Handle, offset: number, data: Uint8Array, caller: Caller): number {
    const { node, flags } = this.#open(handle);
    if ((flags & OpenFlag.write) === 0) throw new FsError('EBADF');
    const at = (flags & OpenFlag.append) === 0 ? offset : node.bytes.size;
    this.#put(node, at, data, caller);
    return data.length;
  }

  flush(handle: Handle, owner: string): void {
    this.#locks.dropOwner(this.#open(handle).node.ino, 'posix', owner);
  }

  fsync(handle: Handle): void {
    this.#open(handle);
  }

  release(handle: Handle): void {
    const { node } = this.#open(handle);
    this.#handles.delete(handle);
    this.#locks.dropHandle(node.ino, handle);
    node.opens--;
    this.#freeUnused(node);
  }

  allocate(handle: Handle, mode: number, offset: number, length: number): void {
    const { node, flags } = this.#open(handle);
    if ((flags & OpenFlag.write) === 0) throw new FsError('EBADF');
    if (!isFile(node)) throw new FsError('ENODEV');
    if (offset < 0 || length <= 0) throw new FsError('EINVAL');
    const end = offset + length;
    if (end > FILE_BYTES_MAX) throw new FsError('EFBIG');
    const { bytes } = node;
    const before = bytes.allocatedBytes;
    const { keepSize } = FallocateMode;
    switch (mode) {
      case 0:
      case keepSize:
      case FallocateMode.zero:
      case FallocateMode.zero | keepSize:
        this.#demandSpace(bytes.missingBytes(offset, length));
        if ((mode & FallocateMode.zero) !== 0) bytes.punch(offset, end);
        bytes.allocate(offset, end);
        if ((mode & keepSize) === 0) bytes.size = Math.max(bytes.size, end);
        break;
      case FallocateMode.punchHole | keepSize:
        bytes.punch(offset, end);
        break;
      case FallocateMode.collapse:
      case FallocateMode.insert:
        this.#shift(bytes, mode, offset, length);
        break;
      default:
        throw new FsError('EOPNOTSUPP');
    }
    this.#usedBytes += bytes.allocatedBytes - before;
    node.mtime = this.#now();
    node.ctime = node.mtime;
  }

  seek(handle: Handle, offset: number, what: 'data' | 'hole'): number {
    const { bytes } = this.#open(handle).node;
    if (offset < 0 || offset >= bytes.size) throw new FsError('ENXIO');
    if (what === 'hole') return bytes.seekHole(offset);
    const found = bytes.seekData(offset);
    if (found === undefined) throw new FsError('ENXIO');
    return found;
  }

  copyRange(
    from: Handle,
    fromOffset: number,
    to: Handle,
    toOffset: number,
    length: number,
    caller: Caller,
  ): number {
    const source = this.#open(from);
    const target = this.#open(to);
    if ((source.flags & OpenFlag.read) === 0) throw new FsError('EBADF');
    if ((target.flags & OpenFlag.write) === 0) throw new FsError('EBADF');
    if ((target.flags & OpenFlag.append) !== 0) throw new FsError('EBADF');
    if (!isFile(source.node) || !isFile(target.node)) throw new FsError('EINVAL');
    const overlap = Math.abs(fromOffset - toOffset) < length;
    if (source.node === target.node && overlap) throw new FsError('EINVAL');
    const data = this.#read(source.node, fromOffset, length);
    if (data.length > 0) this.#put(target.node, toOffset, data, caller);
    return data.length;
  }

  // ---- directories

  openDirectory(ino: Ino, caller: Caller): Handle {
    const node = this.#directory(ino);
    demand(node, READ, caller);
    return this.#newHandle(node, OpenFlag.read);
  }

  readDirectory(
    handle: Handle,
    cookie: number,
    bytesMax: number,
    withAttributes: boolean,
  ): readonly DirectoryEntry[] {
    const { node } = this.#open(handle);
    if (!isDirectory(node)) throw new FsError('ENOTDIR');
    const found: DirectoryEntry[] = [];
    this.#accessed(node);
    const dots: [number, string, Ino][] = [
      [1, '.', node.ino],
      [2, '..', node.parent],
    ];
    for (const [at, name, ino] of dots) {
      if (cookie < at) found.push({ name: Buffer.from(name), ino, type: S_IFDIR, cookie: at });
    }
    // A removed directory lists nothing, as in Linux.
    if (node.nlink === 0) return [];
    for (const { name, ino, cookie: at } of node.names.list(Math.max(cookie, 2), bytesMax)) {
      const child = this.#node(ino);
      const entry = { name, ino, type: typeOf(child), cookie: at };
      found.push(withAttributes ? { ...entry, entry: this.#entry(child) } : entry);
    }
    return found;
  }

  statistics(): FsStatistics {
    const blocks = Math.floor(this.#capacityBytes / SPARSE_PIECE_BYTES);
    const blocksFree = blocks - this.#usedBytes / SPARSE_PIECE_BYTES;
    return {
      blockBytes: SPARSE_PIECE_BYTES,
      blocks,
      blocksFree,
      blocksAvailable: blocksFree,
      files: this.#inodesMax,
      filesFree: this.#inodesMax - this.#nodes.size,
      nameBytesMax: NAME_BYTES_MAX,
    };
  }

  // ---- xattrs

  getXattr(ino: Ino, name: Uint8Array, caller: Caller): Uint8Array {
    const node = this.#node(ino);
    const key = this.#xattrKey(node, name, caller, READ);
    const value = node.xattrs.get(key);
    if (value === undefined) throw new FsError('ENODATA');
    return value;
  }

  setXattr(ino: Ino, name: Uint8Array, value: Uint8Array, flags: number, caller: Caller): void {
    const node = this.#node(ino);
    const key = this.#xattrKey(node, name, caller, WRITE);
    if (value.length > XATTR_BYTES_MAX) throw new FsError('ENOSPC');
    const there = node.xattrs.has(key);
    if (there && (flags & XattrFlag.create) !== 0) throw new FsError('EEXIST');
    if (!there && (flags & XattrFlag.replace) !== 0) throw new FsError('ENODATA');
    node.xattrs.set(key, new Uint8Array(value));
    node.ctime = this.#now();
  }

  listXattr(ino: Ino, caller: Caller): readonly Uint8Array[] {
    const keys = [...this.#node(ino).xattrs.keys()];
    return keys
      .filter((key) => caller.uid === 0 || !key.startsWith('trusted.'))
      .map((key) => new Uint8Array(Buffer.from(key, 'latin1')));
  }

  removeXattr(ino: Ino, name: Uint8Array, caller: Caller): void {
    const node = this.#node(ino);
    if (!node.xattrs.delete(this.#xattrKey(node, name, caller, WRITE))) {
      throw new FsError('ENODATA');
    }
    node.ctime = this.#now();
  }

  #xattrKey(node: MemoryNode, name: Uint8Array, caller: Caller, mask: number): string {
    if (name.length === 0 || name.length > NAME_BYTES_MAX) throw new FsError('ERANGE');
    const key = Buffer.from(name).toString('latin1');
    const root = caller.uid === 0;
    if (key.startsWith('user.')) {
      if (!isFile(node) && !isDirectory(node)) {
        throw new FsError(mask === WRITE ? 'EPERM' : 'ENODATA');
      }
      const sticky = isDirectory(node) && (node.mode & S_ISVTX) !== 0;
      if (sticky && mask === WRITE && !root && caller.uid !== node.uid) {
        throw new FsError('EPERM');
      }
      demand(node, mask, caller);
    } else if (key.startsWith('trusted.')) {
      if (!root) throw new FsError(mask === WRITE ? 'EPERM' : 'ENODATA');
    } else if (key.startsWith('security.')) {
      if (!root && mask === WRITE) throw new FsError('EPERM');
    } else throw new FsError('EOPNOTSUPP');
    return key;
  }

  // ---- locks

  testLock(handle: Handle, owner: string, lock: FileLock): FileLock | undefined {
    return this.#locks.test(this.#open(handle).node.ino, owner, lock);
  }

  setLock(
    handle: Handle,
    family: LockFamily,
    owner: string,
    lock: FileLock,
    wait: boolean,
    signal?: AbortSignal,
  ): Maybe<void> {
    const { node, flags } = this.#open(handle);
    if (lock.end <= lock.start || lock.start < 0) throw new FsError('EINVAL');
    if (family !== 'flock') {
      const needed = lock.type === 'read' ? OpenFlag.read : OpenFlag.write;
      if (lock.type !== 'unlock' && (flags & needed) === 0) throw new FsError('EBADF');
    }
    return this.#locks.set(node.ino, handle, family, owner, lock, wait, signal);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.#handles.clear();
    return Promise.resolve();
  }

  // ---- inside

  #now(): Time {
    const ns = this.#clock();
    const nsec = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    return { sec: Number((ns - nsec) / 1_000_000_000n), nsec: Number(nsec) };
  }

  #entry(node: MemoryNode): Entry {
    return {
      attributes: attributesOf(node),
      attributesMs: this.#validMs,
      nameMs: this.#validMs,
    };
  }

  #node(ino: Ino): MemoryNode {
    const node = this.#nodes.get(ino);
    if (node === undefined) throw new FsError('ESTALE');
    return node;
  }

  #directory(ino: Ino): MemoryNode {
    const node = this.#node(ino);
    if (!isDirectory(node)) throw new FsError('ENOTDIR');
    return node;
  }

  #child(directory: MemoryNode, key: string): MemoryNode {
    const ino = directory.names.get(key);
    if (ino === undefined) throw new FsError('ENOENT');
    return this.#node(ino);
  }

  #open(handle: Handle): OpenFile {
    const open = this.#handles.get(handle);
    if (open === undefined) throw new FsError('EBADF');
    return open;
  }

  #newHandle(node: MemoryNode, flags: number): Handle {
    node.opens++;
    this.#handles.set(this.#handle, { node, flags });
    return this.#handle++;
  }

  /** The key of a new name, checked in the order of Linux: it is there, then no right, then the directory is gone. */
  #freeKey(directory: MemoryNode, name: Uint8Array, caller: Caller): string {
    const key = keyOf(name);
    demand(directory, EXECUTE, caller);
    if (isDots(key) || directory.names.get(key) !== undefined) throw new FsError('EEXIST');
    if (directory.nlink === 0) throw new FsError('ENOENT');
    demand(directory, WRITE, caller);
    return key;
  }

  #make(
    parent: Ino,
    name: Uint8Array,
    mode: number,
    rdev: number,
    caller: Caller,
    target: Uint8Array = NO_BYTES,
  ): MemoryNode {
    const directory = this.#directory(parent);
    const key = this.#freeKey(directory, name, caller);
    if (this.#nodes.size >= this.#inodesMax) throw new FsError('ENOSPC');
    if ((mode & S_IFMT) === S_IFDIR && directory.nlink >= LINK_MAX) throw new FsError('EMLINK');
    const heir = inherited(directory, mode, caller);
    const node = this.#newNode(heir.mode, caller.uid, heir.gid, rdev, target);
    directory.names.set(key, node.ino);
    this.#touched(directory);
    return node;
  }

  #newNode(
    mode: number,
    uid: number,
    gid: number,
    rdev: number,
    target: Uint8Array = NO_BYTES,
  ): MemoryNode {
    const now = this.#now();
    const node: MemoryNode = {
      ino: this.#ino++,
      generation: 1,
      mode,
      nlink: 1,
      uid,
      gid,
      rdev,
      atime: now,
      mtime: now,
      ctime: now,
      birth: now,
      opens: 0,
      parent: 0,
      bytes: new SparseBytes(),
      names: new MemoryDirectory(),
      target,
      xattrs: new Map(),
    };
    this.#nodes.set(node.ino, node);
    return node;
  }

  #touched(directory: MemoryNode): Time {
    directory.mtime = this.#now();
    directory.ctime = directory.mtime;
    return directory.mtime;
  }

  /** relatime: once after each change, else daily. */
  #accessed(node: MemoryNode): void {
    const now = this.#now();
    const { atime } = node;
    const older = (other: Time): boolean =>
      atime.sec < other.sec || (atime.sec === other.sec && atime.nsec <= other.nsec);
    if (older(node.mtime) || older(node.ctime) || now.sec - atime.sec >= DAY_SEC) node.atime = now;
  }

  #unlinked(node: MemoryNode, now: Time): void {
    node.nlink = isDirectory(node) ? 0 : node.nlink - 1;
    node.ctime = now;
    this.#freeUnused(node);
  }

  #freeUnused(node: MemoryNode): void {
    if (node.nlink > 0 || node.opens > 0 || !this.#nodes.has(node.ino)) return;
    this.#nodes.delete(node.ino);
    this.#usedBytes -= node.bytes.allocatedBytes;
  }

  #demandSpace(bytes: number): void {
    if (this.#usedBytes + bytes > this.#capacityBytes) throw new FsError('ENOSPC');
  }

  #read(node: MemoryNode, offset: number, length: number): Uint8Array {
    if (length > 0) this.#accessed(node);
    return node.bytes.read(offset, length);
  }

  #put(node: MemoryNode, offset: number, data: Uint8Array, caller: Caller): void {
    if (offset + data.length > FILE_BYTES_MAX) throw new FsError('EFBIG');
    if (data.length === 0) return;
    const before = node.bytes.allocatedBytes;
    this.#demandSpace(node.bytes.missingBytes(offset, data.length));
    node.bytes.write(offset, data);
    this.#usedBytes += node.bytes.allocatedBytes - before;
    if (caller.uid !== 0) killPrivileges(node);
    node.mtime = this.#now();
    node.ctime = node.mtime;
  }

  #resize(node: MemoryNode, size: number): void {
    const before = node.bytes.allocatedBytes;
    node.bytes.truncate(size);
    node.bytes.dropBehind(size);
    this.#usedBytes += node.bytes.allocatedBytes - before;
  }

  #openTruncate(node: MemoryNode, caller: Caller): void {
    this.#resize(node, 0);
    if (caller.uid !== 0) killPrivileges(node);
    node.mtime = this.#now();
    node.ctime = node.mtime;
  }

  #shift(bytes: SparseBytes, mode: number, offset: number, length: number): void {
    if (offset % SPARSE_PIECE_BYTES !== 0 || length % SPARSE_PIECE_BYTES !== 0) {
      throw new FsError('EINVAL');
    }
    if (mode === FallocateMode.insert) {
      if (offset >= bytes.size) throw new FsError('EINVAL');
      bytes.shift(offset, length);
      return;
    }
    if (offset + length >= bytes.size) throw new FsError('EINVAL');
    bytes.shift(offset, -length);
  }
}
