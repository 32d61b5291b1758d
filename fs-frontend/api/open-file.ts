/**
 * An open file of the API: open(2), and reading and writing through a handle of the Vfs, with the position that POSIX
 * gives a descriptor.
 *
 * - Bytes are copied once between the Vfs and the caller: on reading from the Vfs's answer into the caller's buffer, on writing by the Vfs.
 * - Operations at the descriptor's position take turns; those at a given offset do not wait.
 */
import { constants } from 'node:fs';
import { FsError, OpenFlag, type Caller, type Entry, type Handle, type Ino } from '../vfs/vfs.js';
import type { LockFamily, Maybe, Vfs } from '../vfs/vfs.js';
import { bytesOf } from './arguments.js';
import type { Origin } from './changes.js';
import { isErrno } from './errors.js';
import type { Files } from './files.js';
import type { Path } from './paths.js';
import { isDirectory, isSymlink, walk, type Place } from './walk.js';

const { O_ACCMODE, O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL } = {
  O_ACCMODE: 3,
  ...constants,
};
const { O_NOFOLLOW, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY, S_IFMT, S_IFREG } = constants;
/** A request of the Vfs at most: locks are never held long for one caller. */
const PIECE_BYTES = 1 << 20;

function vfsFlags(flags: number): number {
  const access = flags & O_ACCMODE;
  let wanted = 0;
  if (access === O_RDONLY || access === O_RDWR) wanted |= OpenFlag.read;
  if (access === O_WRONLY || access === O_RDWR) wanted |= OpenFlag.write;
  if ((flags & O_APPEND) !== 0) wanted |= OpenFlag.append;
  if ((flags & O_TRUNC) !== 0) wanted |= OpenFlag.truncate;
  if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) wanted |= OpenFlag.exclusive;
  if ((flags & O_DIRECT) !== 0) wanted |= OpenFlag.direct;
  if ((flags & O_SYNC) === O_SYNC) wanted |= OpenFlag.sync;
  else if ((flags & O_DSYNC) !== 0) wanted |= OpenFlag.dataSync;
  return wanted;
}

export class OpenFile {
  readonly fd: number;
  readonly #handle: Handle;
  #closed = false;
  readonly ino: Ino;
  readonly flags: number;
  readonly directory: boolean;
  readonly origin: Origin;
  private readonly files: Files;
  private position = 0;
  /** The last operation at the position, while it runs. */
  private turn: Promise<void> | undefined;

  constructor(files: Files, handle: Handle, entry: Entry, flags: number, origin: Origin) {
    this.files = files;
    this.#handle = handle;
    this.ino = entry.attributes.ino;
    this.directory = isDirectory(entry.attributes.mode);
    this.flags = flags;
    this.origin = origin;
    this.fd = files.describe(this);
  }

  /** The Vfs may give the number to another file once this one is closed. */
  get handle(): Handle {
    if (this.#closed) throw new FsError('EBADF');
    return this.#handle;
  }

  get vfs(): Vfs {
    return this.files.vfs;
  }
  get caller(): Caller {
    return this.files.caller;
  }
  private get readable(): boolean {
    return (this.flags & O_ACCMODE) !== O_WRONLY;
  }
  get writable(): boolean {
    return (this.flags & O_ACCMODE) !== O_RDONLY;
  }

  /** Of byte-range locks: POSIX counts by process, the others by open file. */
  lockOwner(family: LockFamily): string {
    return family === 'posix' ? this.files.lockOwner : `${this.files.lockOwner}-${this.fd}`;
  }

  changed(): void {
    this.files.changes.changed(this.origin, this.ino);
  }

  /** Into `target`; at the position, which moves, when `offset` is null. Returns how many: fewer only at the end of the file. */
  async read(target: NodeJS.ArrayBufferView, offset: number | null): Promise<number> {
    if (!this.readable) throw new FsError('EBADF');
    if (this.directory) throw new FsError('EISDIR');
    const bytes = bytesOf(target);
    if (offset !== null) return await this.readPieces(bytes, offset);
    return await this.inTurn(async () => {
      const count = await this.readPieces(bytes, this.position);
      this.position += count;
      return count;
    });
  }

  async readVector(
    targets: readonly NodeJS.ArrayBufferView[],
    offset: number | null,
  ): Promise<number> {
    let total = 0;
    for (const target of targets) {
      const count = await this.read(target, offset === null ? null : offset + total);
      total += count;
      if (count < target.byteLength) break;
    }
    return total;
  }

  private async readPieces(target: Uint8Array, offset: number): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const wanted = Math.min(PIECE_BYTES, target.length - done);
      const answer = this.vfs.read(this.handle, offset + done, wanted);
      // The answer is only good until the next call: it is copied before anything else can run.
      const into = done;
      const count: number =
        answer instanceof Promise
          ? await answer.then((bytes) => copy(bytes, target, into))
          : copy(answer, target, into);
      done += count;
      if (count < wanted) break;
    }
    return done;
  }

  /** All of `data`; at the position, which moves, when `offset` is null. */
  async write(data: NodeJS.ArrayBufferView, offset: number | null): Promise<number> {
    if (!this.writable) throw new FsError('EBADF');
    const bytes = bytesOf(data);
    if (offset !== null) {
      await this.writePieces(bytes, offset);
      return bytes.length;
    }
    return await this.inTurn(async () => {
      await this.writePieces(bytes, this.position);
      if ((this.flags & O_APPEND) === 0) this.position += bytes.length;
      else if (this.readable) this.position = (await this.attributes()).attributes.size;
      return bytes.length;
    });
  }

  async writeVector(
    data: readonly NodeJS.ArrayBufferView[],
    offset: number | null,
  ): Promise<number> {
    // One write, so that several buffers appended stay together: the only place with a copy of its own.
    if (data.length === 1 && data[0] !== undefined) return await this.write(data[0], offset);
    return await this.write(Buffer.concat(data.map(bytesOf)), offset);
  }

  private async writePieces(bytes: Uint8Array, offset: number): Promise<void> {
    // Appends stay whole: each request of its own could land behind another's.
    const piece = (this.flags & O_APPEND) === 0 ? PIECE_BYTES : bytes.length;
    for (let done = 0; done < bytes.length; done += piece) {
      const part =
        bytes.length <= piece ? bytes : bytes.subarray(done, Math.min(done + piece, bytes.length));
      const written = this.vfs.write(this.handle, offset + done, part, this.caller);
      if (written instanceof Promise) await written;
    }
    if (bytes.length > 0) this.changed();
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.turn;
    let end = (): void => {};
    const mine = new Promise<void>((resolve) => (end = resolve));
    this.turn = mine;
    try {
      if (before !== undefined) await before;
      return await work();
    } finally {
      if (this.turn === mine) this.turn = undefined;
      end();
    }
  }

  attributes(): Maybe<Entry> {
    return this.directory
      ? this.vfs.getAttributes(this.ino)
      : this.vfs.getAttributes(this.ino, this.handle);
  }

  async truncate(size: number): Promise<void> {
    if (!this.writable || this.directory) throw new FsError('EINVAL');
    await this.vfs.setAttributes(this.ino, { size }, this.caller, this.handle);
    this.changed();
  }

  async sync(dataOnly: boolean): Promise<void> {
    if (this.directory) await this.vfs.sync();
    else await this.vfs.fsync(this.handle, dataOnly);
  }

  /** The handle is gone afterwards, whatever happens. Once is enough. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.files.forget(this.fd);
    try {
      if (!this.directory) await this.vfs.flush(this.#handle, this.files.lockOwner);
    } finally {
      await this.vfs.release(this.#handle);
    }
  }
}

function copy(from: Uint8Array, to: Uint8Array, offset: number): number {
  to.set(from, offset);
  return from.length;
}

/** open(2). A file that appears or goes away between the look and the act is looked at again. */
export async function openFile(
  files: Files,
  path: Path,
  flags: number,
  mode: number,
): Promise<OpenFile> {
  const creates = (flags & O_CREAT) !== 0;
  const exclusive = creates && (flags & O_EXCL) !== 0;
  const follow = !exclusive && (flags & O_NOFOLLOW) === 0;
  for (let attempt = 0; ; attempt++) {
    const place = await walk(files.vfs, path, files.caller, {
      last: follow ? 'follow' : 'entry',
      mayMiss: creates,
      makesFile: creates,
    });
    try {
      if (place.entry === undefined) return await create(files, place, flags, mode);
      if (exclusive) throw new FsError('EEXIST');
      return await openFound(files, place, place.entry, flags);
    } catch (error) {
      const moved = isErrno(error, place.entry === undefined ? 'EEXIST' : 'ENOENT', 'ESTALE');
      if (!creates || exclusive || !moved || attempt === 8) throw error;
    }
  }
}

async function create(files: Files, place: Place, flags: number, mode: number): Promise<OpenFile> {
  const made = await files.vfs.create(
    place.parent,
    place.name,
    S_IFREG | (mode & 0o7777 & ~files.umask),
    vfsFlags(flags),
    files.caller,
  );
  files.changes.renamed(place, made.entry.attributes.ino);
  return new OpenFile(files, made.handle, made.entry, flags, place);
}

async function openFound(
  files: Files,
  place: Place,
  entry: Entry,
  flags: number,
): Promise<OpenFile> {
  const { mode, ino } = entry.attributes;
  if (isSymlink(mode)) throw new FsError('ELOOP');
  if (isDirectory(mode)) {
    if ((flags & O_ACCMODE) !== O_RDONLY || (flags & (O_CREAT | O_TRUNC)) !== 0) {
      throw new FsError('EISDIR');
    }
    const handle = await files.vfs.openDirectory(ino, files.caller);
    return new OpenFile(files, handle, entry, flags, place);
  }
  if ((flags & O_DIRECTORY) !== 0) throw new FsError('ENOTDIR');
  // Pipes and devices live in a kernel; there is none here.
  if ((mode & S_IFMT) !== S_IFREG) throw new FsError('ENXIO');
  const handle = await files.vfs.open(ino, vfsFlags(flags), files.caller);
  if ((flags & O_TRUNC) !== 0) files.changes.changed(place, ino);
  return new OpenFile(files, handle, entry, flags, place);
}
