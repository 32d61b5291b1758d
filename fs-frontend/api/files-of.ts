/** The object with the shape of `node:fs/promises`, over any Vfs. */
import { constants, type createReadStream, type createWriteStream } from 'node:fs';
import type * as NodePromises from 'node:fs/promises';
import type { Vfs } from '../vfs/vfs.js';
import { access, chmod, chown, lchmod, stat, statfs, utimes } from './attributes.js';
import { flagsOf, modeOf } from './arguments.js';
import { readFile, writeFile } from './contents.js';
import { copyFile, cp } from './copy.js';
import { Extra } from './extra.js';
import { FileHandle } from './file-handle.js';
import { Files, named, type FilesOptions } from './files.js';
import type { HandleExtra } from './handle-extra.js';
import { opendir, readdir } from './listing.js';
import { link, mkdir, mkdtemp, readlink, realpath, rename, symlink, unlink } from './names.js';
import { openFile } from './open-file.js';
import { pathOf } from './paths.js';
import { rm, rmdir } from './remove.js';
import { pathReadStream, pathWriteStream } from './streams.js';
import { watch } from './watch.js';

type Promises = Omit<typeof NodePromises, 'open'>;

export interface SextantFileHandle extends NodePromises.FileHandle {
  /** Locks, allocation, holes. */
  readonly extra: HandleExtra;
}

/**
 * A file system with the shape of `node:fs/promises`. Every function may be taken out of the object and called by
 * itself. Paths start at the root of the file system, which is also the working directory; nothing outside of it is ever reached.
 */
export interface SextantFs extends Promises {
  open: (
    path: Parameters<typeof NodePromises.open>[0],
    flags?: string | number,
    mode?: number | string,
  ) => Promise<SextantFileHandle>;
  createReadStream: typeof createReadStream;
  createWriteStream: typeof createWriteStream;
  /** Itself: for libraries that take an `fs` and look for its `promises`. */
  readonly promises: SextantFs;
  /** What Node has none of: extended attributes, device nodes, exchange, sync. */
  readonly extra: Extra;
  /** Closes what is open, writes back and ends: with the Vfs below. */
  unmount: () => Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

async function open(
  files: Files,
  given: unknown,
  flags: unknown,
  mode: unknown,
): Promise<FileHandle> {
  const path = pathOf(given);
  const number = flagsOf(flags);
  const permissions = modeOf(mode, 'mode', 0o666);
  const file = await named('open', path, () => openFile(files, path, number, permissions));
  return new FileHandle(file);
}

/** The seam between the API and whatever stores files: everything of `SextantFs` over `vfs`. */
export function filesOf(vfs: Vfs, options: FilesOptions = {}): SextantFs {
  const files = new Files(vfs, options);
  const unmount = async (): Promise<void> => {
    for (const file of files.openFiles) await file.close();
    await vfs.close();
  };
  type Arguments = readonly unknown[];
  const fs = {
    constants,
    access: (path: unknown, mode?: unknown) => access(files, path, mode),
    appendFile: (...[path, data, given]: Arguments) => writeFile(files, path, data, given, 'a'),
    chmod: (path: unknown, mode: unknown) => chmod(files, path, mode),
    chown: (...[path, uid, gid]: Arguments) => chown(files, path, uid, gid, true),
    copyFile: (...[from, to, mode]: Arguments) => copyFile(files, from, to, mode),
    cp: (...[from, to, given]: Arguments) => cp(files, from, to, given),
    lchmod,
    lchown: (...[path, uid, gid]: Arguments) => chown(files, path, uid, gid, false),
    link: (from: unknown, to: unknown) => link(files, from, to),
    lstat: (path: unknown, given?: object) => stat(files, path, given, false),
    lutimes: (...[path, atime, mtime]: Arguments) => utimes(files, path, atime, mtime, false),
    mkdir: (path: unknown, given?: unknown) => mkdir(files, path, given),
    mkdtemp: (prefix: unknown, given?: unknown) => mkdtemp(files, prefix, given),
    open: (...[path, flags, mode]: Arguments) => open(files, path, flags, mode),
    opendir: (path: unknown, given?: unknown) => opendir(files, path, given),
    readdir: (path: unknown, given?: unknown) => readdir(files, path, given),
    readFile: (path: unknown, given?: unknown) => readFile(files, path, given),
    readlink: (path: unknown, given?: unknown) => readlink(files, path, given),
    realpath: (path: unknown, given?: unknown) => realpath(files, path, given),
    rename: (from: unknown, to: unknown) => rename(files, from, to),
    rm: (path: unknown, given?: unknown) => rm(files, path, given),
    rmdir: (path: unknown, given?: unknown) => rmdir(files, path, given),
    stat: (path: unknown, given?: object) => stat(files, path, given, true),
    statfs: (path: unknown, given?: object) => statfs(files, path, given),
    symlink: (target: unknown, path: unknown) => symlink(files, target, path),
    truncate: async (path: unknown, length?: number) => {
      await using handle = await open(files, path, 'r+', undefined);
      await handle.truncate(length);
    },
    unlink: (path: unknown) => unlink(files, path),
    utimes: (...[path, atime, mtime]: Arguments) => utimes(files, path, atime, mtime, true),
    watch: (path: unknown, given?: unknown) => watch(files, path, given),
    writeFile: (...[path, data, given]: Arguments) => writeFile(files, path, data, given),
    createReadStream: (path: unknown, given?: unknown) => pathReadStream(files, path, given),
    createWriteStream: (path: unknown, given?: unknown) => pathWriteStream(files, path, given),
    extra: new Extra(files),
    unmount,
    [Symbol.asyncDispose]: unmount,
    promises: undefined as unknown,
  };
  // An own, enumerable property: isomorphic-git and others look for just that.
  fs.promises = fs;
  // Node's overloads tell the results apart by the options; the functions here check their arguments themselves.
  return fs as unknown as SextantFs;
}
