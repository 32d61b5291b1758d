/**
 * From a path to inodes, as path_resolution(7) says:
 *
 * ```
 *   /a/link/../b/   names popped one by one        stack of directories
 *    a              directory: push                / a
 *    link -> /c/d   names of the target go first   /          (absolute: start again)
 *    c d            directories: push              / c d
 *    ..             pop; the root's parent is it   / c
 *    b, slash       must be a directory            parent c, name b, its entry
 * ```
 *
 * - Nothing outside of the root is ever reached: `..` pops the stack that was walked, and an absolute target starts at the root.
 * - More than 40 symbolic links: ELOOP. A trailing slash follows a link and wants a directory.
 * - Synchronous while the Vfs answers at once; one promise a wait otherwise.
 */
import { constants } from 'node:fs';
import { FsError, NAME_BYTES_MAX, ROOT_INO } from '../vfs/vfs.js';
import type { Caller, Entry, Ino, Maybe, Vfs } from '../vfs/vfs.js';
import { isErrno } from './errors.js';
import { pushNames, type Path } from './paths.js';

const { S_IFDIR, S_IFLNK, S_IFMT } = constants;
const LINKS_MAX = 40;
const DOT = 0x2e;
const SEARCH = 1;

/** What to do with the last name. */
export type LastName =
  | 'follow' // its entry, behind a link
  | 'entry' // its entry, a link itself (unless a slash follows)
  | 'parent'; // nothing: only where it would be

export interface WalkOptions {
  readonly last: LastName;
  /** A missing last name is no error. */
  readonly mayMiss?: boolean;
  /** The last name is that of a file to make: a slash behind it, a link's included, is EISDIR. */
  readonly makesFile?: boolean;
}

/** Where a path leads. */
export class Place {
  /** From the root (first) to the parent of `name` (last). */
  readonly inos: readonly Ino[];
  /** How each of `inos` but the root is called. */
  readonly names: readonly Uint8Array[];
  readonly kind: 'name' | 'dot' | 'dotdot' | 'root';
  /** Empty unless `kind` is 'name'. */
  readonly name: Uint8Array;
  readonly slash: boolean;
  readonly entry: Entry | undefined;

  constructor(
    inos: readonly Ino[],
    names: readonly Uint8Array[],
    kind: Place['kind'],
    name: Uint8Array,
    slash: boolean,
    entry: Entry | undefined,
  ) {
    this.inos = inos;
    this.names = names;
    this.kind = kind;
    this.name = name;
    this.slash = slash;
    this.entry = entry;
  }

  get parent(): Ino {
    return this.inos[this.inos.length - 1] ?? ROOT_INO;
  }

  /** Of a walk that may not miss. */
  get found(): Entry {
    if (this.entry === undefined) throw new FsError('ENOENT');
    return this.entry;
  }
}

const NO_NAME: Uint8Array = new Uint8Array(0);

export function isDirectory(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}

export function isSymlink(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK;
}

class Walk {
  private readonly vfs: Vfs;
  private readonly caller: Caller;
  private readonly options: WalkOptions;
  private readonly pending: Uint8Array[] = [];
  private readonly inos: Ino[] = [ROOT_INO];
  private readonly names: Uint8Array[] = [];
  private slash: boolean;
  private links = 0;
  private kind: Place['kind'] = 'root';
  private name: Uint8Array = NO_NAME;
  private entry: Entry | undefined;
  private ended = false;

  constructor(vfs: Vfs, path: Path, caller: Caller, options: WalkOptions) {
    this.vfs = vfs;
    this.caller = caller;
    this.options = options;
    if (path.bytes.length === 0) throw new FsError('ENOENT');
    this.slash = path.endsWithSlash;
    pushNames(this.pending, path.bytes);
  }

  run(): Maybe<Place> {
    while (!this.ended) {
      const name = this.pending.pop();
      if (name === undefined) {
        this.ended = true;
        break;
      }
      const waits = this.step(name);
      if (waits !== undefined) return waits.then(() => this.run());
    }
    return this.place();
  }

  private get here(): Ino {
    return this.inos[this.inos.length - 1] ?? ROOT_INO;
  }

  /** Takes one name; a promise when it must wait. */
  private step(name: Uint8Array): Promise<void> | undefined {
    if (name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))) {
      return this.stepDots(name.length === 2);
    }
    if (name.length > NAME_BYTES_MAX) throw new FsError('ENAMETOOLONG');
    this.kind = 'name';
    this.name = name;
    const last = this.pending.length === 0;
    if (last && this.slash && this.options.makesFile === true) throw new FsError('EISDIR');
    if (last && this.options.last === 'parent') {
      this.ended = true;
      return undefined;
    }
    let found: Maybe<Entry>;
    try {
      found = this.vfs.lookup(this.here, name, this.caller);
    } catch (error) {
      this.missed(error, last);
      return undefined;
    }
    if (found instanceof Promise) {
      return found.then(
        (entry) => this.found(entry, last),
        (error: unknown) => this.missed(error, last),
      );
    }
    return this.found(found, last);
  }

  private stepDots(up: boolean): Promise<void> | undefined {
    const allowed =
      this.caller.uid === 0 ? undefined : this.vfs.access(this.here, SEARCH, this.caller);
    const move = (): void => {
      if (up && this.inos.length > 1) {
        this.inos.pop();
        this.names.pop();
      }
      this.kind = up ? 'dotdot' : 'dot';
      this.name = NO_NAME;
    };
    if (allowed instanceof Promise) return allowed.then(move);
    move();
    return undefined;
  }

  private found(entry: Entry, last: boolean): Promise<void> | undefined {
    const { mode, ino } = entry.attributes;
    if (isSymlink(mode) && (!last || this.slash || this.options.last === 'follow')) {
      if (++this.links > LINKS_MAX) throw new FsError('ELOOP');
      const target = this.vfs.readLink(ino);
      if (target instanceof Promise) return target.then((bytes) => this.follow(bytes, last));
      this.follow(target, last);
      return undefined;
    }
    if (!last) {
      if (!isDirectory(mode)) throw new FsError('ENOTDIR');
      this.inos.push(ino);
      this.names.push(this.name);
      return undefined;
    }
    if (this.slash && !isDirectory(mode)) throw new FsError('ENOTDIR');
    this.entry = entry;
    this.ended = true;
    return undefined;
  }

  private follow(target: Uint8Array, last: boolean): void {
    if (target.length === 0) throw new FsError('ENOENT');
    if (target[0] === 0x2f) {
      this.inos.length = 1;
      this.names.length = 0;
      this.kind = 'root';
      this.name = NO_NAME;
    }
    if (last && target[target.length - 1] === 0x2f) this.slash = true;
    // The bytes of an answer are only good until the next call.
    pushNames(this.pending, Uint8Array.from(target));
  }

  private missed(error: unknown, last: boolean): void {
    if (!last || this.options.mayMiss !== true || !isErrno(error, 'ENOENT')) throw error;
    this.ended = true;
  }

  private place(): Maybe<Place> {
    if (this.kind === 'name' || this.options.last === 'parent') {
      return this.placeWith(this.entry);
    }
    const entry = this.vfs.getAttributes(this.here);
    if (entry instanceof Promise) return entry.then((found) => this.placeWith(found));
    return this.placeWith(entry);
  }

  private placeWith(entry: Entry | undefined): Place {
    return new Place(this.inos, this.names, this.kind, this.name, this.slash, entry);
  }
}

export function walk(vfs: Vfs, path: Path, caller: Caller, options: WalkOptions): Maybe<Place> {
  return new Walk(vfs, path, caller, options).run();
}
