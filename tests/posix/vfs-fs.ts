/**
 * A raw Vfs: what a kernel does above it (paths, links on the way, kinds of open, whose locks) done here, small and plain.
 * Processes are owners of locks with their own open files over the same Vfs, or over another one (`process`).
 */
import {
  type AttributeChanges,
  type Attributes,
  type Caller,
  type DirectoryEntry,
  type Entry,
  type FileLock,
  FsError,
  type Handle,
  type Ino,
  OpenFlag,
  ROOT_INO,
  type Vfs,
} from '#fs-frontend/vfs/vfs.js';
import {
  bytesOf,
  CAPABILITIES,
  type Capability,
  codeOf,
  type DirectoryItem,
  type File,
  type LockKind,
  type LockRange,
  O,
  type Path,
  PosixError,
  type PosixFs,
  S,
  type Stat,
  type Statfs,
  type TimeChange,
  type User,
} from './posix-fs.js';

const SECOND = 1_000_000_000n;
const PATH_BYTES_MAX = 4096;
const LINKS_MAX = 40;

export interface VfsFsOptions {
  readonly name: string;
  readonly vfs: Vfs;
  /** The Vfs of another process; by default the same one. */
  readonly another?: () => Vfs;
  readonly without?: readonly Capability[];
}

function fail(code: string): never {
  throw new PosixError(code, 'kernel');
}

/** An errno of the Vfs as an error with a code. */
async function call<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FsError) throw new PosixError(error.errno, error.message);
    throw error;
  }
}

function statOf(a: Attributes): Stat {
  return {
    ino: a.ino,
    mode: a.mode,
    nlink: a.nlink,
    uid: a.uid,
    gid: a.gid,
    rdev: a.rdev,
    size: a.size,
    blocks: a.blocks,
    atime: BigInt(a.atimeSec) * SECOND + BigInt(a.atimeNsec),
    mtime: BigInt(a.mtimeSec) * SECOND + BigInt(a.mtimeNsec),
    ctime: BigInt(a.ctimeSec) * SECOND + BigInt(a.ctimeNsec),
  };
}

function typeOf(entry: Entry): number {
  return entry.attributes.mode & S.IFMT;
}

function timesOf(atime: TimeChange, mtime: TimeChange): AttributeChanges {
  const one = (time: bigint | 'now'): 'now' | { sec: number; nsec: number } => {
    if (time === 'now') return 'now';
    const nsec = ((time % SECOND) + SECOND) % SECOND;
    return { sec: Number((time - nsec) / SECOND), nsec: Number(nsec) };
  };
  return {
    ...(atime === 'omit' ? {} : { atime: one(atime) }),
    ...(mtime === 'omit' ? {} : { mtime: one(mtime) }),
  };
}

function ownersOf(uid: number, gid: number): AttributeChanges {
  return { ...(uid === -1 ? {} : { uid }), ...(gid === -1 ? {} : { gid }) };
}

let nextPid = 1000;

class ProcessState {
  readonly pid = nextPid++;
  readonly open = new Set<VfsFile>();
  waiting = new AbortController();
  umask = 0;
}

class VfsFile implements File {
  readonly #vfs: Vfs;
  readonly #caller: Caller;
  readonly #process: ProcessState;
  readonly #flags: number;
  readonly #directory: boolean;
  readonly ino: Ino;
  readonly handle: Handle;
  #cookie = 0;

  constructor(
    vfs: Vfs,
    caller: Caller,
    process: ProcessState,
    file: { ino: Ino; handle: Handle; flags: number; directory: boolean },
  ) {
    this.#vfs = vfs;
    this.#caller = caller;
    this.#process = process;
    this.#flags = file.flags;
    this.#directory = file.directory;
    this.ino = file.ino;
    this.handle = file.handle;
    process.open.add(this);
  }

  get #reads(): boolean {
    return (this.#flags & 3) !== O.WRONLY;
  }
  get #writes(): boolean {
    return (this.#flags & 3) !== O.RDONLY;
  }

  #change(changes: AttributeChanges): Promise<void> {
    return call(async () => {
      await this.#vfs.setAttributes(
        this.ino,
        changes,
        this.#caller,
        this.#directory ? undefined : this.handle,
      );
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (this.#directory) fail('EISDIR');
    if (!this.#reads) fail('EBADF');
    if (offset < 0) fail('EINVAL');
    if (length === 0) return Buffer.alloc(0);
    return call(async () => Buffer.from(await this.#vfs.read(this.handle, offset, length)));
  }
  async write(offset: number, data: Uint8Array): Promise<void> {
    if (!this.#writes) fail('EBADF');
    if (offset < 0) fail('EINVAL');
    if (data.length === 0) return;
    const written = await call(() => this.#vfs.write(this.handle, offset, data, this.#caller));
    if (written !== data.length) throw new Error(`wrote ${written} of ${data.length} bytes`);
  }
  stat(): Promise<Stat> {
    return call(async () =>
      statOf(
        (await this.#vfs.getAttributes(this.ino, this.#directory ? undefined : this.handle))
          .attributes,
      ),
    );
  }
  async truncate(size: number): Promise<void> {
    if (size < 0 || this.#directory || !this.#writes) fail('EINVAL');
    await this.#change({ size });
  }
  sync(dataOnly: boolean): Promise<void> {
    return call(() => this.#vfs.fsync(this.handle, dataOnly));
  }
  chmod(mode: number): Promise<void> {
    return this.#change({ mode: mode & 0o7777 });
  }
  chown(uid: number, gid: number): Promise<void> {
    return this.#change(ownersOf(uid, gid));
  }
  utimens(atime: TimeChange, mtime: TimeChange): Promise<void> {
    return this.#change(timesOf(atime, mtime));
  }
  async allocate(mode: number, offset: number, length: number): Promise<void> {
    // The order and the errnos of vfs_fallocate.
    if (offset < 0 || length <= 0) fail('EINVAL');
    if ((mode & ~0x3f) !== 0) fail('EOPNOTSUPP');
    const how = mode & ~1;
    if ((how & (how - 1)) !== 0) fail('EOPNOTSUPP');
    if (how === 2 && (mode & 1) === 0) fail('EOPNOTSUPP');
    if ((how === 8 || how === 32) && (mode & 1) !== 0) fail('EOPNOTSUPP');
    if (this.#directory) fail('EISDIR');
    if (!this.#writes) fail('EBADF');
    await call(() => this.#vfs.allocate(this.handle, mode, offset, length));
  }
  async seek(offset: number, what: 'data' | 'hole'): Promise<number> {
    if (offset < 0) fail('ENXIO');
    return call(() => this.#vfs.seek(this.handle, offset, what));
  }
  async copyTo(
    offset: number,
    target: File,
    targetOffset: number,
    length: number,
  ): Promise<number> {
    const to = target as VfsFile;
    if (this.#directory || to.#directory) fail('EISDIR');
    if (!this.#reads || !to.#writes || (to.#flags & O.APPEND) !== 0) fail('EBADF');
    const size = (await this.stat()).size;
    if (offset >= size) return 0;
    const count = Math.min(length, size - offset);
    if (to.ino === this.ino && targetOffset + count > offset && targetOffset < offset + count) {
      fail('EINVAL');
    }
    return call(() =>
      this.#vfs.copyRange(this.handle, offset, to.handle, targetOffset, count, this.#caller),
    );
  }
  mapRead(): Promise<Buffer> {
    return Promise.reject(new PosixError('ENODEV', 'mmap'));
  }
  mapWrite(): Promise<void> {
    return Promise.reject(new PosixError('ENODEV', 'mmap'));
  }

  #lockOf(range: LockRange): FileLock {
    const from = range.length < 0 ? range.start + range.length : range.start;
    if (from < 0) fail('EINVAL');
    const most = Number.MAX_SAFE_INTEGER;
    const start = Math.min(from, most - 1);
    const end = range.length === 0 ? most : Math.min(from + Math.abs(range.length), most);
    return { type: range.type, start, end: Math.max(end, start + 1), pid: this.#process.pid };
  }
  #owner(kind: LockKind): string {
    return kind === 'posix' ? `process ${this.#process.pid}` : `file ${this.handle}`;
  }
  async lock(kind: LockKind, range: LockRange, wait: boolean): Promise<void> {
    if (kind !== 'flock') {
      if (range.type === 'read' && !this.#reads) fail('EBADF');
      if (range.type === 'write' && !this.#writes) fail('EBADF');
    }
    const lock = this.#lockOf(kind === 'flock' ? { ...range, start: 0, length: 0 } : range);
    const signal = this.#process.waiting.signal;
    await call(() => this.#vfs.setLock(this.handle, kind, this.#owner(kind), lock, wait, signal));
  }
  async testLock(kind: 'posix' | 'ofd', range: LockRange): Promise<LockRange | undefined> {
    const lock = this.#lockOf(range);
    const found = await call(() => this.#vfs.testLock(this.handle, this.#owner(kind), lock));
    if (found === undefined) return undefined;
    const length = found.end === Number.MAX_SAFE_INTEGER ? 0 : found.end - found.start;
    return { type: found.type, start: found.start, length };
  }
  async readEntries(bytes: number): Promise<DirectoryItem[]> {
    if (!this.#directory) fail('ENOTDIR');
    const entries: readonly DirectoryEntry[] = await call(() =>
      this.#vfs.readDirectory(this.handle, this.#cookie, bytes, false),
    );
    const items = entries.map((entry) => ({
      name: Buffer.from(entry.name),
      ino: entry.ino,
      type: entry.type,
    }));
    this.#cookie = entries.at(-1)?.cookie ?? this.#cookie;
    return items;
  }
  async close(): Promise<void> {
    this.#process.open.delete(this);
    if (!this.#directory) await call(() => this.#vfs.flush(this.handle, this.#owner('posix')));
    await call(() => this.#vfs.release(this.handle));
  }
}

/** The directories from the root to where a walk stands, and the last name, not yet looked up. */
interface Place {
  readonly stack: readonly Ino[];
  readonly name: Buffer;
  readonly slash: boolean;
}

export class VfsFs implements PosixFs {
  readonly name: string;
  readonly can: ReadonlySet<Capability>;
  readonly user: User;
  readonly #options: VfsFsOptions;
  readonly #vfs: Vfs;
  readonly #process: ProcessState;
  readonly #caller: Caller;

  constructor(options: VfsFsOptions, user?: User, process?: ProcessState) {
    this.name = options.name;
    this.#options = options;
    this.#vfs = options.vfs;
    this.#process = process ?? new ProcessState();
    this.user = user ?? { uid: 0, gid: 0 };
    this.#caller = {
      uid: this.user.uid,
      gid: this.user.gid,
      groups: this.user.groups ?? [],
      pid: this.#process.pid,
    };
    const without = new Set<Capability>(['kernel', 'mmap', ...(options.without ?? [])]);
    this.can = new Set(CAPABILITIES.filter((capability) => !without.has(capability)));
  }

  as(user: User): VfsFs {
    return new VfsFs(this.#options, user, this.#process);
  }
  async process(): Promise<VfsFs> {
    return new VfsFs({ ...this.#options, vfs: this.#options.another?.() ?? this.#vfs });
  }

  #lookup(parent: Ino, name: Buffer): Promise<Entry> {
    return call(() => this.#vfs.lookup(parent, name, this.#caller));
  }

  /** Up to the last name of `path`, following links on the way. `stack`: where a relative path starts. */
  async #walk(path: Buffer, stack: readonly Ino[], links: { count: number }): Promise<Place> {
    if (path.length === 0) fail('ENOENT');
    if (path.length >= PATH_BYTES_MAX) fail('ENAMETOOLONG');
    let at = path[0] === 0x2f ? [ROOT_INO] : [...stack];
    const names = path
      .toString('latin1')
      .split('/')
      .filter((part) => part !== '');
    const slash = path.at(-1) === 0x2f;
    for (const [index, text] of names.entries()) {
      const name = Buffer.from(text, 'latin1');
      if (index === names.length - 1) return { stack: at, name, slash };
      at = [...(await this.#step(at, name, links))];
    }
    return { stack: at, name: Buffer.from('.'), slash };
  }

  /** Into the directory `name`. */
  async #step(
    stack: readonly Ino[],
    name: Buffer,
    links: { count: number },
  ): Promise<readonly Ino[]> {
    const here = stack.at(-1) as Ino;
    const text = name.toString('latin1');
    if (text === '.' || text === '..') {
      await call(() => this.#vfs.access(here, 1, this.#caller));
      return text === '.' || stack.length === 1 ? stack : stack.slice(0, -1);
    }
    const entry = await this.#lookup(here, name);
    if (typeOf(entry) === S.IFLNK) {
      const place = await this.#follow(entry.attributes.ino, stack, links);
      return this.#step(place.stack, place.name, links);
    }
    if (typeOf(entry) !== S.IFDIR) fail('ENOTDIR');
    return [...stack, entry.attributes.ino];
  }

  async #follow(ino: Ino, stack: readonly Ino[], links: { count: number }): Promise<Place> {
    if (++links.count > LINKS_MAX) fail('ELOOP');
    const target = Buffer.from(await call(() => this.#vfs.readLink(ino)));
    return this.#walk(target, stack, links);
  }

  #start(path: Path): Promise<Place> {
    return this.#walk(bytesOf(path), [ROOT_INO], { count: 0 });
  }

  /** What `path` is. */
  async #find(path: Path, follow: boolean): Promise<Entry> {
    const links = { count: 0 };
    let place = await this.#walk(bytesOf(path), [ROOT_INO], links);
    let slash = place.slash;
    for (;;) {
      const text = place.name.toString('latin1');
      if (text === '.' || text === '..') {
        const stack = await this.#step(place.stack, place.name, links);
        return call(() => this.#vfs.getAttributes(stack.at(-1) as Ino));
      }
      const entry = await this.#lookup(place.stack.at(-1) as Ino, place.name);
      if (typeOf(entry) !== S.IFLNK || !(follow || slash)) {
        if (slash && typeOf(entry) !== S.IFDIR) fail('ENOTDIR');
        return entry;
      }
      place = await this.#follow(entry.attributes.ino, place.stack, links);
      slash ||= place.slash;
    }
  }

  async #ino(path: Path, follow = true): Promise<Ino> {
    return (await this.#find(path, follow)).attributes.ino;
  }

  /** Where a name is to be made: EEXIST for dots; a slash only for directories. */
  async #maker(path: Path, directory: boolean): Promise<{ parent: Ino; name: Buffer }> {
    const place = await this.#start(path);
    const parent = place.stack.at(-1) as Ino;
    if (/^\.\.?$/.test(place.name.toString('latin1'))) fail('EEXIST');
    if (place.slash && !directory) {
      await this.#lookup(parent, place.name);
      fail('EEXIST');
    }
    return { parent, name: place.name };
  }

  async open(path: Path, flags: number, mode = 0o644): Promise<File> {
    const links = { count: 0 };
    let place = await this.#walk(bytesOf(path), [ROOT_INO], links);
    for (;;) {
      const parent = place.stack.at(-1) as Ino;
      const dots = /^\.\.?$/.test(place.name.toString('latin1'));
      const creates = (flags & O.CREAT) !== 0;
      if (creates && place.slash) fail('EISDIR');
      let entry: Entry;
      try {
        entry = dots
          ? await call(async () =>
              this.#vfs.getAttributes(
                (await this.#step(place.stack, place.name, links)).at(-1) as Ino,
              ),
            )
          : await this.#lookup(parent, place.name);
      } catch (error) {
        if (!creates || codeOf(error) !== 'ENOENT') throw error;
        const made = await this.#create(parent, place.name, mode, flags);
        if (made === undefined) continue;
        return made;
      }
      if (creates && (flags & O.EXCL) !== 0) fail('EEXIST');
      if (typeOf(entry) === S.IFLNK && ((flags & O.NOFOLLOW) === 0 || place.slash)) {
        const slash = place.slash;
        const next = await this.#follow(entry.attributes.ino, place.stack, links);
        place = { ...next, slash: next.slash || slash };
        continue;
      }
      return this.#open(entry, flags, place.slash);
    }
  }

  /** Undefined: another was faster. */
  async #create(
    parent: Ino,
    name: Buffer,
    mode: number,
    flags: number,
  ): Promise<VfsFile | undefined> {
    const bits = mode & 0o7777 & ~this.#process.umask;
    try {
      const made = await call(() =>
        this.#vfs.create(parent, name, bits, this.#openFlags(flags), this.#caller),
      );
      const ino = made.entry.attributes.ino;
      const file = { ino, handle: made.handle, flags, directory: false };
      return new VfsFile(this.#vfs, this.#caller, this.#process, file);
    } catch (error) {
      if (codeOf(error) === 'EEXIST' && (flags & O.EXCL) === 0) return undefined;
      throw error;
    }
  }

  #openFlags(flags: number): number {
    const access = flags & 3;
    let bits = access === O.WRONLY ? 0 : OpenFlag.read;
    if (access !== O.RDONLY) bits |= OpenFlag.write;
    if ((flags & O.APPEND) !== 0) bits |= OpenFlag.append;
    if ((flags & O.TRUNC) !== 0) bits |= OpenFlag.truncate;
    if ((flags & O.EXCL) !== 0) bits |= OpenFlag.exclusive;
    if ((flags & O.SYNC) === O.SYNC) bits |= OpenFlag.sync;
    else if ((flags & O.DSYNC) !== 0) bits |= OpenFlag.dataSync;
    return bits;
  }

  async #open(entry: Entry, flags: number, slash: boolean): Promise<File> {
    const type = typeOf(entry);
    const ino = entry.attributes.ino;
    const directory = type === S.IFDIR;
    if (type === S.IFLNK) fail('ELOOP');
    if (directory && ((flags & 3) !== O.RDONLY || (flags & O.CREAT) !== 0)) fail('EISDIR');
    if (!directory && (slash || (flags & O.DIRECTORY) !== 0)) fail('ENOTDIR');
    const handle = await call(() =>
      directory
        ? this.#vfs.openDirectory(ino, this.#caller)
        : this.#vfs.open(ino, this.#openFlags(flags & ~O.EXCL), this.#caller),
    );
    return new VfsFile(this.#vfs, this.#caller, this.#process, { ino, handle, flags, directory });
  }

  async stat(path: Path): Promise<Stat> {
    return statOf((await this.#find(path, true)).attributes);
  }
  async lstat(path: Path): Promise<Stat> {
    return statOf((await this.#find(path, false)).attributes);
  }
  async mkdir(path: Path, mode: number): Promise<void> {
    const { parent, name } = await this.#maker(path, true);
    const bits = mode & 0o1777 & ~this.#process.umask;
    await call(async () => this.#vfs.makeDirectory(parent, name, bits, this.#caller));
  }
  async rmdir(path: Path): Promise<void> {
    const { stack, name } = await this.#start(path);
    const text = name.toString('latin1');
    if (text === '.') fail('EINVAL');
    if (text === '..') fail('ENOTEMPTY');
    await call(() => this.#vfs.removeDirectory(stack.at(-1) as Ino, name, this.#caller));
  }
  async unlink(path: Path): Promise<void> {
    const { stack, name, slash } = await this.#start(path);
    const parent = stack.at(-1) as Ino;
    if (/^\.\.?$/.test(name.toString('latin1'))) fail('EISDIR');
    if (slash) {
      const entry = await this.#lookup(parent, name);
      fail(typeOf(entry) === S.IFDIR ? 'EISDIR' : 'ENOTDIR');
    }
    await call(() => this.#vfs.unlink(parent, name, this.#caller));
  }
  async rename(from: Path, to: Path, flags = 0): Promise<void> {
    if ((flags & ~3) !== 0 || flags === 3) fail('EINVAL');
    const source = await this.#start(from);
    const target = await this.#start(to);
    for (const place of [source, target]) {
      if (/^\.\.?$/.test(place.name.toString('latin1'))) fail('EBUSY');
    }
    const parent = source.stack.at(-1) as Ino;
    if (source.slash || target.slash) {
      if (typeOf(await this.#lookup(parent, source.name)) !== S.IFDIR) fail('ENOTDIR');
    }
    await call(() =>
      this.#vfs.rename(
        parent,
        source.name,
        target.stack.at(-1) as Ino,
        target.name,
        flags,
        this.#caller,
      ),
    );
  }
  async link(from: Path, to: Path): Promise<void> {
    const ino = await this.#ino(from, false);
    const { parent, name } = await this.#maker(to, false);
    await call(async () => this.#vfs.link(ino, parent, name, this.#caller));
  }
  async symlink(target: Path, path: Path): Promise<void> {
    const bytes = bytesOf(target);
    if (bytes.length === 0) fail('ENOENT');
    if (bytes.length >= PATH_BYTES_MAX) fail('ENAMETOOLONG');
    const { parent, name } = await this.#maker(path, false);
    await call(async () => this.#vfs.symlink(parent, name, bytes, this.#caller));
  }
  async readlink(path: Path): Promise<Buffer> {
    const entry = await this.#find(path, false);
    if (typeOf(entry) !== S.IFLNK) fail('EINVAL');
    return call(async () => Buffer.from(await this.#vfs.readLink(entry.attributes.ino)));
  }
  async mknod(path: Path, mode: number, rdev: number): Promise<void> {
    const type = mode & S.IFMT;
    if (type === S.IFDIR) fail('EPERM');
    if (type === S.IFLNK) fail('EINVAL');
    const bits = (type === 0 ? S.IFREG : type) | (mode & 0o7777 & ~this.#process.umask);
    if ((type === S.IFCHR || type === S.IFBLK) && this.user.uid !== 0) fail('EPERM');
    const { parent, name } = await this.#maker(path, false);
    await call(async () => this.#vfs.makeNode(parent, name, bits, rdev, this.#caller));
  }

  async #change(path: Path, follow: boolean, changes: AttributeChanges): Promise<void> {
    const ino = await this.#ino(path, follow);
    if (Object.keys(changes).length === 0) return;
    await call(async () => this.#vfs.setAttributes(ino, changes, this.#caller));
  }
  chmod(path: Path, mode: number): Promise<void> {
    return this.#change(path, true, { mode: mode & 0o7777 });
  }
  chown(path: Path, uid: number, gid: number): Promise<void> {
    return this.#change(path, true, ownersOf(uid, gid));
  }
  lchown(path: Path, uid: number, gid: number): Promise<void> {
    return this.#change(path, false, ownersOf(uid, gid));
  }
  utimens(path: Path, atime: TimeChange, mtime: TimeChange): Promise<void> {
    return this.#change(path, true, timesOf(atime, mtime));
  }
  lutimens(path: Path, atime: TimeChange, mtime: TimeChange): Promise<void> {
    return this.#change(path, false, timesOf(atime, mtime));
  }
  async truncate(path: Path, size: number): Promise<void> {
    const entry = await this.#find(path, true);
    if (size < 0) fail('EINVAL');
    if (typeOf(entry) === S.IFDIR) fail('EISDIR');
    if (typeOf(entry) !== S.IFREG) fail('EINVAL');
    await call(async () => {
      await this.#vfs.access(entry.attributes.ino, 2, this.#caller);
      await this.#vfs.setAttributes(entry.attributes.ino, { size }, this.#caller);
    });
  }
  async access(path: Path, mask: number): Promise<void> {
    const ino = await this.#ino(path);
    if (mask !== 0) await call(() => this.#vfs.access(ino, mask, this.#caller));
  }
  async readdir(path: Path): Promise<DirectoryItem[]> {
    const directory = await this.open(path, O.RDONLY | O.DIRECTORY);
    try {
      const items: DirectoryItem[] = [];
      for (;;) {
        const some = await directory.readEntries(32_768);
        if (some.length === 0) break;
        items.push(...some);
      }
      return items.filter((item) => !/^\.\.?$/.test(item.name.toString('latin1')));
    } finally {
      await directory.close();
    }
  }
  async statfs(path: Path): Promise<Statfs> {
    await this.#find(path, true);
    return call(() => this.#vfs.statistics());
  }

  async getxattr(path: Path, name: string): Promise<Buffer> {
    const ino = await this.#ino(path, false);
    return call(async () =>
      Buffer.from(await this.#vfs.getXattr(ino, Buffer.from(name), this.#caller)),
    );
  }
  async setxattr(path: Path, name: string, value: Uint8Array, flags = 0): Promise<void> {
    if ((flags & ~3) !== 0) fail('EINVAL');
    const bytes = Buffer.from(name);
    if (bytes.length === 0 || bytes.length > 255) fail('ERANGE');
    if (value.length > 65_536) fail('E2BIG');
    const ino = await this.#ino(path, false);
    await call(() => this.#vfs.setXattr(ino, bytes, value, flags, this.#caller));
  }
  async listxattr(path: Path): Promise<string[]> {
    const ino = await this.#ino(path, false);
    return call(async () =>
      (await this.#vfs.listXattr(ino, this.#caller)).map((name) => Buffer.from(name).toString()),
    );
  }
  async removexattr(path: Path, name: string): Promise<void> {
    const ino = await this.#ino(path, false);
    await call(() => this.#vfs.removeXattr(ino, Buffer.from(name), this.#caller));
  }

  async umask(mask: number): Promise<number> {
    const old = this.#process.umask;
    this.#process.umask = mask & 0o777;
    return old;
  }
  interrupt(): void {
    this.#process.waiting.abort();
    this.#process.waiting = new AbortController();
  }
  kill(): Promise<void> {
    return this.close();
  }
  async close(): Promise<void> {
    for (const file of this.#process.open) await file.close();
  }
}
