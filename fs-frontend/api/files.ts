/** What every operation of one door stands on: the Vfs, who calls, and what is open. */
import type { Caller, Entry, Maybe, Vfs } from '../vfs/vfs.js';
import { ChangeHub } from './changes.js';
import { asNodeError } from './errors.js';
import type { OpenFile } from './open-file.js';
import type { Path } from './paths.js';
import { walk, type Place, type WalkOptions } from './walk.js';

export interface FilesOptions {
  /** Whose permissions count; default: the user of the process. */
  readonly uid?: number;
  readonly gid?: number;
  readonly groups?: readonly number[];
  /** Taken away from the modes of new files and directories; default: that of the process, usually 0o022. */
  readonly umask?: number;
}

/**
 * Descriptors start where no descriptor of the operating system is, so that one of these, handed to `node:fs` by
 * mistake, is EBADF there and never another file.
 */
const FIRST_DESCRIPTOR = 0x1000_0000;
const FOLLOW: WalkOptions = { last: 'follow' };
const ENTRY: WalkOptions = { last: 'entry' };
const PARENT: WalkOptions = { last: 'parent' };
let doors = 0;

export class Files {
  readonly vfs: Vfs;
  readonly caller: Caller;
  readonly umask: number;
  readonly changes: ChangeHub;
  /** Of byte-range locks: a door is what a process is to POSIX. */
  readonly lockOwner: string;
  private readonly open = new Map<number, OpenFile>();
  private nextDescriptor = FIRST_DESCRIPTOR;

  constructor(vfs: Vfs, options: FilesOptions = {}) {
    this.vfs = vfs;
    this.caller = {
      uid: options.uid ?? process.getuid?.() ?? 0,
      gid: options.gid ?? process.getgid?.() ?? 0,
      groups: options.groups ?? [],
      pid: process.pid,
    };
    this.umask = options.umask ?? process.umask();
    this.changes = ChangeHub.of(vfs);
    this.lockOwner = `api-${process.pid}-${++doors}`;
  }

  /** A descriptor for `file`; the lowest that is free is not promised. */
  describe(file: OpenFile): number {
    const fd = this.nextDescriptor++;
    this.open.set(fd, file);
    return fd;
  }

  described(fd: number): OpenFile | undefined {
    return this.open.get(fd);
  }

  forget(fd: number): void {
    this.open.delete(fd);
  }

  get openFiles(): readonly OpenFile[] {
    return [...this.open.values()];
  }

  async entry(path: Path): Promise<Entry> {
    return (await walk(this.vfs, path, this.caller, FOLLOW)).found;
  }

  place(path: Path, follow: boolean): Maybe<Place> {
    return walk(this.vfs, path, this.caller, follow ? FOLLOW : ENTRY);
  }

  /** Where the last name of `path` is or would be; the name itself is not looked at. */
  parent(path: Path): Maybe<Place> {
    return walk(this.vfs, path, this.caller, PARENT);
  }
}

/** Runs `work`; what it throws becomes an error of Node that names the call. */
export async function named<T>(
  syscall: string,
  path: Path | undefined,
  work: () => Promise<T>,
  dest?: Path,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asNodeError(error, syscall, path?.text, dest?.text);
  }
}
