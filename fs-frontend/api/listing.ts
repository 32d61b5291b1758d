/** Reading directories: readdir, opendir, `Dirent` and `Dir`. `.` and `..` are left out. */
import { Buffer } from 'node:buffer';
import { constants } from 'node:fs';
import type { DirectoryEntry, Handle } from '../vfs/vfs.js';
import { checkFunction, checkUint32, decoded, optionsOf, type Options } from './arguments.js';
import { asNodeError, directoryClosed, isErrno } from './errors.js';
import { named, type Files } from './files.js';
import { joinBytes, pathOf, pathOfBytes, plainPath, type Path } from './paths.js';

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } = constants;
const READ_BYTES = 64 * 1024;
/** What an entry counts against the bytes of one request, about. */
const ENTRY_BYTES = 64;
const DOT = 0x2e;

export type Name = string | Buffer;

export class Dirent {
  name: Name;
  parentPath: Name;
  /** The same, under its older name. */
  path: Name;
  readonly #type: number;

  constructor(name: Name, type: number, parentPath: Name) {
    this.name = name;
    this.parentPath = parentPath;
    this.path = parentPath;
    this.#type = type;
  }

  isDirectory(): boolean {
    return this.#type === S_IFDIR;
  }
  isFile(): boolean {
    return this.#type === S_IFREG;
  }
  isBlockDevice(): boolean {
    return this.#type === S_IFBLK;
  }
  isCharacterDevice(): boolean {
    return this.#type === S_IFCHR;
  }
  isSymbolicLink(): boolean {
    return this.#type === S_IFLNK;
  }
  isFIFO(): boolean {
    return this.#type === S_IFIFO;
  }
  isSocket(): boolean {
    return this.#type === S_IFSOCK;
  }
}

interface Listed {
  readonly name: Buffer;
  readonly type: number;
}

function isDots(name: Uint8Array): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
}

/** Adds to `found` what `entries` have; returns the cookie to go on from. */
function take(entries: readonly DirectoryEntry[], found: Listed[]): number {
  let cookie = 0;
  for (const entry of entries) {
    cookie = entry.cookie;
    if (!isDots(entry.name)) found.push({ name: Buffer.from(entry.name), type: entry.type });
  }
  return cookie;
}

/** Everything in a directory, ordered by the bytes of the names, as scandir(3) does for Node. */
async function list(files: Files, path: Path): Promise<Listed[]> {
  const { vfs, caller } = files;
  const handle = await vfs.openDirectory((await files.entry(path)).attributes.ino, caller);
  const found: Listed[] = [];
  try {
    let cookie = 0;
    for (;;) {
      const entries = await vfs.readDirectory(handle, cookie, READ_BYTES, false);
      if (entries.length === 0) break;
      cookie = take(entries, found);
    }
  } finally {
    await vfs.release(handle);
  }
  return found.sort((a, b) => Buffer.compare(a.name, b.name));
}

export async function readdir(files: Files, given: unknown, options: unknown): Promise<unknown[]> {
  const { encoding, withFileTypes, recursive } = optionsOf(options);
  const start = plainPath(given);
  const path = pathOf(start);
  const found = await named('scandir', path, () => list(files, path));
  const typed = withFileTypes === true;
  if (recursive !== true) {
    const parent = parentOf(start, encoding);
    return found.map(({ name, type }) =>
      typed ? new Dirent(decoded(name, encoding), type, parent) : decoded(name, encoding),
    );
  }
  return await listTree(files, path, found, encoding, typed);
}

/** `Dirent.parentPath` is what was asked for, as it was given. */
function parentOf(start: string | Uint8Array, encoding: Options['encoding']): Name {
  if (typeof start === 'string') return start;
  return encoding === 'buffer' ? Buffer.from(start) : Buffer.from(start).toString();
}

async function listTree(
  files: Files,
  start: Path,
  found: Listed[],
  encoding: Options['encoding'],
  typed: boolean,
): Promise<unknown[]> {
  const result: unknown[] = [];
  const pending = [{ folder: start.bytes, relative: new Uint8Array(0) as Uint8Array, found }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { folder, relative } = next;
    const parent = encoding === 'buffer' ? Buffer.from(folder) : Buffer.from(folder).toString();
    for (const { name, type } of next.found) {
      const below = joinBytes(relative, name);
      const path = pathOfBytes(joinBytes(folder, name));
      result.push(
        typed ? new Dirent(decoded(name, encoding), type, parent) : decoded(below, encoding),
      );
      if (await leadsToDirectory(files, path, type, typed)) {
        const inside = await named('scandir', path, () => list(files, path));
        pending.push({ folder: path.bytes, relative: below, found: inside });
      }
    }
  }
  return result;
}

/** Node follows links to directories when it lists names, and does not when it lists types. */
async function leadsToDirectory(
  files: Files,
  path: Path,
  type: number,
  typed: boolean,
): Promise<boolean> {
  if (type === S_IFDIR) return true;
  if (typed || type !== S_IFLNK) return false;
  try {
    return ((await files.entry(path)).attributes.mode & constants.S_IFMT) === S_IFDIR;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES')) return false;
    throw error;
  }
}

interface OpenFolder {
  readonly path: Path;
  readonly handle: Handle;
  cookie: number;
}

export class Dir {
  readonly path: Name;
  private readonly files: Files;
  private readonly encoding: Options['encoding'];
  private readonly recursive: boolean;
  private readonly bytesMax: number;
  private readonly root: OpenFolder;
  /** The directories being read: the last one first. */
  private readonly folders: OpenFolder[] = [];
  private buffered: { folder: Path; entry: Listed }[] = [];
  private next = 0;
  private turn: Promise<unknown> = Promise.resolve();
  private closed = false;

  constructor(files: Files, path: Path, handle: Handle, shown: Name, options: Options) {
    this.files = files;
    this.path = shown;
    this.encoding = options.encoding;
    this.recursive = options['recursive'] === true;
    this.bytesMax = ENTRY_BYTES * checkUint32(options['bufferSize'] ?? 32, 'options.bufferSize', 1);
    this.root = { path, handle, cookie: 0 };
    this.folders.push(this.root);
  }

  /** The next entry, in the directory's own order, or null at the end. */
  read(): Promise<Dirent | null>;
  read(callback: (error: unknown, entry?: Dirent | null) => void): void;
  read(callback?: (error: unknown, entry?: Dirent | null) => void): Promise<Dirent | null> | void {
    if (this.closed) throw directoryClosed();
    const reading = this.inTurn(() => this.readOne());
    if (callback === undefined) return reading;
    checkFunction(callback, 'callback');
    reading.then((entry) => callback(null, entry), callback);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(work);
    this.turn = mine.catch(() => {});
    return mine;
  }

  private async readOne(): Promise<Dirent | null> {
    while (this.next === this.buffered.length) {
      const folder = this.folders.at(-1);
      if (folder === undefined) return null;
      await named('scandir', folder.path, () => this.fill(folder));
    }
    const item = this.buffered[this.next++];
    if (item === undefined) return null;
    const { name, type } = item.entry;
    if (this.recursive && type === S_IFDIR) {
      await this.descend(pathOfBytes(joinBytes(item.folder.bytes, name)));
    }
    const parent =
      item.folder === this.root.path ? this.path : decoded(item.folder.bytes, this.encoding);
    return new Dirent(decoded(name, this.encoding), type, parent);
  }

  private async fill(folder: OpenFolder): Promise<void> {
    const { vfs } = this.files;
    const entries = await vfs.readDirectory(folder.handle, folder.cookie, this.bytesMax, false);
    if (entries.length === 0) {
      this.folders.splice(this.folders.indexOf(folder), 1);
      if (folder !== this.root) await vfs.release(folder.handle);
      return;
    }
    const found: Listed[] = [];
    folder.cookie = take(entries, found);
    const rest = this.buffered.slice(this.next);
    this.buffered = rest.concat(found.map((entry) => ({ folder: folder.path, entry })));
    this.next = 0;
  }

  private async descend(path: Path): Promise<void> {
    await named('opendir', path, async () => {
      const entry = await this.files.place(path, false);
      const { ino } = entry.found.attributes;
      const handle = await this.files.vfs.openDirectory(ino, this.files.caller);
      this.folders.push({ path, handle, cookie: 0 });
    });
  }

  close(): Promise<void>;
  close(callback: (error?: unknown) => void): void;
  close(callback?: (error?: unknown) => void): Promise<void> | void {
    const closing = this.closed
      ? Promise.reject(directoryClosed())
      : this.inTurn(() => this.release());
    this.closed = true;
    if (callback === undefined) return closing;
    checkFunction(callback, 'callback');
    closing.then(() => callback(null), callback);
  }

  private async release(): Promise<void> {
    // The directory itself is held to the end, also when everything of it was read.
    for (const folder of new Set([this.root, ...this.folders])) {
      try {
        await this.files.vfs.release(folder.handle);
      } catch (error) {
        throw asNodeError(error, 'closedir');
      }
    }
  }

  async *entries(): AsyncGenerator<Dirent, void> {
    try {
      for (let entry = await this.read(); entry !== null; entry = await this.read()) yield entry;
    } finally {
      await this.close();
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Dirent, void> {
    return this.entries();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.closed) await this.close();
  }
}

export async function opendir(files: Files, given: unknown, options: unknown): Promise<Dir> {
  const start = plainPath(given);
  const path = pathOf(start);
  const checked = optionsOf(options, { encoding: 'utf8' });
  checkUint32(checked['bufferSize'] ?? 32, 'options.bufferSize', 1);
  const handle = await named('opendir', path, async () => {
    const entry = await files.entry(path);
    return await files.vfs.openDirectory(entry.attributes.ino, files.caller);
  });
  const shown = typeof start === 'string' ? start : Buffer.from(start);
  return new Dir(files, path, handle, shown, checked);
}
