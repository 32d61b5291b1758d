/** The kernel's own calls on a directory: local, to prove the suite, or a mount of Sextant, to judge it. */
import { Helper, hex, unhex, type Value } from './helper.js';
import {
  bytesOf,
  CAPABILITIES,
  codeOf,
  type Capability,
  type DirectoryItem,
  type File,
  type LockKind,
  type LockRange,
  type LockType,
  type Path,
  type PosixFs,
  type Stat,
  type Statfs,
  type TimeChange,
  type User,
} from './posix-fs.js';

const SECOND = 1_000_000_000n;

function path(value: Path): string {
  return hex(bytesOf(value));
}

function timeWords(...times: TimeChange[]): string[] {
  return times.flatMap((time) => {
    if (time === 'now') return ['0', '-1'];
    if (time === 'omit') return ['0', '-2'];
    const nsec = ((time % SECOND) + SECOND) % SECOND;
    return [String((time - nsec) / SECOND), String(nsec)];
  });
}

function statOf(values: readonly Value[]): Stat {
  const number = (index: number): number => Number(values[index]);
  const time = (index: number): bigint =>
    BigInt(values[index] as string) * SECOND + BigInt(values[index + 1] as string);
  return {
    ino: number(0),
    mode: number(1),
    nlink: number(2),
    uid: number(3),
    gid: number(4),
    rdev: number(5),
    size: number(6),
    blocks: number(7),
    atime: time(8),
    mtime: time(10),
    ctime: time(12),
  };
}

function entriesOf(values: readonly Value[]): DirectoryItem[] {
  const items: DirectoryItem[] = [];
  for (let at = 0; at < values.length; at += 3) {
    items.push({
      ino: Number(values[at]),
      type: Number(values[at + 1]),
      name: unhex(values[at + 2]),
    });
  }
  return items;
}

class SystemFile implements File {
  readonly #fs: SystemFs;
  readonly fd: string;

  constructor(fs: SystemFs, fd: string) {
    this.#fs = fs;
    this.fd = fd;
  }

  #call(name: string, ...args: (string | number)[]): Promise<Value[]> {
    return this.#fs.call(name, this.fd, ...args.map(String));
  }

  async read(offset: number, length: number): Promise<Buffer> {
    return unhex((await this.#call('read', offset, length))[0]);
  }
  async write(offset: number, data: Uint8Array): Promise<void> {
    const written = Number((await this.#call('write', offset, hex(data)))[0]);
    if (written !== data.length) throw new Error(`wrote ${written} of ${data.length} bytes`);
  }
  async stat(): Promise<Stat> {
    return statOf(await this.#call('fstat'));
  }
  async truncate(size: number): Promise<void> {
    await this.#call('ftruncate', size);
  }
  async sync(dataOnly: boolean): Promise<void> {
    await this.#call('fsync', dataOnly ? 1 : 0);
  }
  async chmod(mode: number): Promise<void> {
    await this.#call('fchmod', mode);
  }
  async chown(uid: number, gid: number): Promise<void> {
    await this.#call('fchown', uid, gid);
  }
  async utimens(atime: TimeChange, mtime: TimeChange): Promise<void> {
    await this.#call('futimens', ...timeWords(atime, mtime));
  }
  async allocate(mode: number, offset: number, length: number): Promise<void> {
    await this.#call('fallocate', mode, offset, length);
  }
  async seek(offset: number, what: 'data' | 'hole'): Promise<number> {
    return Number((await this.#call('lseek', offset, what === 'hole' ? 1 : 0))[0]);
  }
  async copyTo(
    offset: number,
    target: File,
    targetOffset: number,
    length: number,
  ): Promise<number> {
    const to = (target as SystemFile).fd;
    return Number((await this.#call('copyrange', offset, to, targetOffset, length))[0]);
  }
  async mapRead(offset: number, length: number): Promise<Buffer> {
    return unhex((await this.#call('mapread', offset, length))[0]);
  }
  async mapWrite(offset: number, data: Uint8Array): Promise<void> {
    await this.#call('mapwrite', offset, hex(data));
  }
  async lock(kind: LockKind, range: LockRange, wait: boolean): Promise<void> {
    if (kind === 'flock') await this.#call('flock', range.type, wait ? 1 : 0);
    else await this.#call('setlock', kind, range.type, range.start, range.length, wait ? 1 : 0);
  }
  async testLock(kind: 'posix' | 'ofd', range: LockRange): Promise<LockRange | undefined> {
    const [type, start, length] = await this.#call(
      'testlock',
      kind,
      range.type,
      range.start,
      range.length,
    );
    if (type === 'unlock') return undefined;
    return { type: type as LockType, start: Number(start), length: Number(length) };
  }
  async readEntries(bytes: number): Promise<DirectoryItem[]> {
    return entriesOf(await this.#call('getdents', bytes));
  }
  async close(): Promise<void> {
    await this.#call('close');
  }
}

export interface SystemFsOptions {
  readonly name?: string;
  /** Capabilities that this file system has not. */
  readonly without?: readonly Capability[];
}

export class SystemFs implements PosixFs {
  readonly name: string;
  readonly can: ReadonlySet<Capability>;
  readonly user: User;
  readonly #root: string;
  readonly #helper: Helper;
  readonly #credentials: string;

  private constructor(
    root: string,
    name: string,
    can: ReadonlySet<Capability>,
    helper: Helper,
    user?: User,
  ) {
    this.#root = root;
    this.name = name;
    this.can = can;
    this.#helper = helper;
    this.user = user ?? { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
    const groups = user?.groups?.join(',') || '-';
    this.#credentials = user === undefined ? '-1 0 -' : `${user.uid} ${user.gid} ${groups}`;
  }

  /** @throws Error when the helper cannot be had here (`helperMissing`) */
  static async open(root: string, options: SystemFsOptions = {}): Promise<SystemFs> {
    const can = new Set<Capability>(CAPABILITIES);
    for (const capability of options.without ?? []) can.delete(capability);
    if (process.geteuid?.() !== 0)
      for (const c of ['root', 'users', 'nodes'] as const) can.delete(c);
    const fs = new SystemFs(root, options.name ?? root, can, new Helper(root));
    await fs.lstat('.');
    return fs;
  }

  call(name: string, ...args: readonly string[]): Promise<Value[]> {
    return this.#helper.call(this.#credentials, name, args);
  }

  as(user: User): SystemFs {
    return new SystemFs(this.#root, this.name, this.can, this.#helper, user);
  }
  async process(): Promise<SystemFs> {
    return new SystemFs(this.#root, this.name, this.can, new Helper(this.#root));
  }

  async open(name: Path, flags: number, mode = 0o644): Promise<File> {
    const [fd] = await this.call('open', path(name), String(flags), String(mode));
    return new SystemFile(this, fd as string);
  }
  async stat(name: Path): Promise<Stat> {
    return statOf(await this.call('stat', path(name)));
  }
  async lstat(name: Path): Promise<Stat> {
    return statOf(await this.call('lstat', path(name)));
  }
  async mkdir(name: Path, mode: number): Promise<void> {
    await this.call('mkdir', path(name), String(mode));
  }
  async rmdir(name: Path): Promise<void> {
    await this.call('rmdir', path(name));
  }
  async unlink(name: Path): Promise<void> {
    await this.call('unlink', path(name));
  }
  async rename(from: Path, to: Path, flags = 0): Promise<void> {
    await this.call('rename', path(from), path(to), String(flags));
  }
  async link(from: Path, to: Path): Promise<void> {
    await this.call('link', path(from), path(to));
  }
  async symlink(target: Path, name: Path): Promise<void> {
    await this.call('symlink', path(target), path(name));
  }
  async readlink(name: Path): Promise<Buffer> {
    return unhex((await this.call('readlink', path(name)))[0]);
  }
  async mknod(name: Path, mode: number, rdev: number): Promise<void> {
    await this.call('mknod', path(name), String(mode), String(rdev));
  }
  async chmod(name: Path, mode: number): Promise<void> {
    await this.call('chmod', path(name), String(mode));
  }
  async chown(name: Path, uid: number, gid: number): Promise<void> {
    await this.call('chown', path(name), String(uid), String(gid));
  }
  async lchown(name: Path, uid: number, gid: number): Promise<void> {
    await this.call('lchown', path(name), String(uid), String(gid));
  }
  async utimens(name: Path, atime: TimeChange, mtime: TimeChange): Promise<void> {
    await this.call('utimens', path(name), ...timeWords(atime, mtime));
  }
  async lutimens(name: Path, atime: TimeChange, mtime: TimeChange): Promise<void> {
    await this.call('lutimens', path(name), ...timeWords(atime, mtime));
  }
  async truncate(name: Path, size: number): Promise<void> {
    await this.call('truncate', path(name), String(size));
  }
  async access(name: Path, mask: number): Promise<void> {
    await this.call('access', path(name), String(mask));
  }
  async readdir(name: Path): Promise<DirectoryItem[]> {
    const directory = await this.open(name, 0o200000);
    try {
      const items: DirectoryItem[] = [];
      for (;;) {
        const part = await directory.readEntries(32_768);
        if (part.length === 0) break;
        items.push(...part);
      }
      return items.filter((item) => !/^\.\.?$/.test(item.name.toString('latin1')));
    } finally {
      await directory.close();
    }
  }
  async statfs(name: Path): Promise<Statfs> {
    const values = (await this.call('statfs', path(name))).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    return {
      blockBytes: values[0],
      blocks: values[1],
      blocksFree: values[2],
      blocksAvailable: values[3],
      files: values[4],
      filesFree: values[5],
      nameBytesMax: values[6],
    };
  }
  async getxattr(name: Path, xattr: string): Promise<Buffer> {
    return unhex((await this.call('getxattr', path(name), hex(Buffer.from(xattr))))[0]);
  }
  async setxattr(name: Path, xattr: string, value: Uint8Array, flags = 0): Promise<void> {
    await this.call('setxattr', path(name), hex(Buffer.from(xattr)), hex(value), String(flags));
  }
  async listxattr(name: Path): Promise<string[]> {
    const list = unhex((await this.call('listxattr', path(name)))[0]).toString();
    return list.split('\0').slice(0, -1);
  }
  async removexattr(name: Path, xattr: string): Promise<void> {
    await this.call('removexattr', path(name), hex(Buffer.from(xattr)));
  }
  async umask(mask: number): Promise<number> {
    return Number((await this.call('umask', String(mask)))[0]);
  }
  interrupt(): void {
    this.#helper.interrupt();
  }
  kill(): Promise<void> {
    return this.#helper.kill();
  }
  close(): Promise<void> {
    return this.#helper.close();
  }
}

/** What a local directory's file system lacks, by trying: to prove the suite on ext4, tmpfs, xfs, btrfs alike. */
export async function lackingOf(root: string): Promise<Capability[]> {
  const fs = await SystemFs.open(root);
  const lacking: Capability[] = [];
  const attempt = async (capability: Capability, action: () => Promise<boolean>): Promise<void> => {
    let has = false;
    try {
      has = await action();
    } catch (error) {
      codeOf(error);
    }
    if (!has) lacking.push(capability);
  };
  const file = await fs.open('probe', 0o102, 0o644);
  try {
    await file.write(0, Buffer.alloc(8192, 1));
    await attempt('fallocate', async () => (await file.allocate(3, 0, 4096), true));
    await attempt('holes', async () => (await file.seek(0, 'data')) === 4096);
    await attempt('shift', async () => (await file.allocate(8, 0, 4096), true));
    await attempt(
      'xattrs',
      async () => (await fs.setxattr('probe', 'user.a', Buffer.from('1')), true),
    );
    await attempt(
      'renameFlags',
      async () => (await fs.rename('probe', 'probe2', 1), await fs.rename('probe2', 'probe'), true),
    );
    await attempt('relatime', async () => {
      await fs.utimens('probe', 0n, 0n);
      await file.read(0, 1);
      return (await fs.stat('probe')).atime > 0n;
    });
    if (fs.can.has('root'))
      await attempt(
        'nodes',
        async () => (await fs.mknod('node', 0o020600, 259), await fs.unlink('node'), true),
      );
  } finally {
    await file.close();
    await fs.unlink('probe');
    await fs.close();
  }
  return lacking;
}
