/**
 * Names: making, moving and removing them. What a last name of `.`, `..` or `/` and a trailing slash answer is Linux's
 * (fs/namei.c), case by case.
 */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { FsError, RenameFlag, type Entry, type Ino } from '../vfs/vfs.js';
import { checkBoolean, decoded, modeOf, optionsOf } from './arguments.js';
import { hasCode, isErrno, systemError } from './errors.js';
import { named, type Files } from './files.js';
import { Path, pathOf, pathOfBytes } from './paths.js';
import { isDirectory, isSymlink, walk, type Place } from './walk.js';

const SLASH = 0x2f;

/** The last name for something new: it must be one, and not be there. */
async function placeForNew(files: Files, path: Path, directory: boolean): Promise<Place> {
  const place = await files.parent(path);
  if (place.kind !== 'name') throw new FsError('EEXIST');
  if (place.slash && !directory) {
    if ((await peek(files, place)) !== undefined) throw new FsError('EEXIST');
    throw new FsError('ENOENT');
  }
  return place;
}

/** What a name leads to, links themselves; undefined when there is none. */
async function peek(files: Files, place: Place): Promise<Entry | undefined> {
  try {
    return await files.vfs.lookup(place.parent, place.name, files.caller);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** What a name leads to, when somebody may want to be told that it goes. */
async function watched(files: Files, place: Place): Promise<Ino | undefined> {
  return files.changes.active ? (await peek(files, place))?.attributes.ino : undefined;
}

async function makeDirectory(files: Files, path: Path, mode: number): Promise<void> {
  const place = await placeForNew(files, path, true);
  const made = await files.vfs.makeDirectory(
    place.parent,
    place.name,
    mode & 0o7777 & ~files.umask,
    files.caller,
  );
  files.changes.renamed(place, made.attributes.ino);
}

/** The path up to its last name; undefined when there is nothing above. */
function above(path: Path): Path | undefined {
  const { bytes } = path;
  const slash = bytes.lastIndexOf(SLASH);
  if (slash <= 0) return undefined;
  return pathOfBytes(bytes.subarray(0, slash));
}

/** With all that is missing above it. Returns the first directory that was made. */
async function makeDirectories(files: Files, path: Path, mode: number): Promise<Path | undefined> {
  const pending = [path];
  let first: Path | undefined;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    try {
      await makeDirectory(files, next, mode);
      first ??= next;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) {
        const parent = above(next);
        // Nothing above is missing: the path itself is empty, or leads nowhere.
        if (parent === undefined) throw error;
        pending.push(next, parent);
      } else {
        if (!isErrno(error, 'EEXIST', 'EROFS', 'EISDIR')) throw error;
        await checkThere(files, next, pending.length > 0);
      }
    }
  }
  return first;
}

/** What is in the way of a directory must be one. */
async function checkThere(files: Files, path: Path, isAbove: boolean): Promise<void> {
  let there: Entry;
  try {
    there = await files.entry(path);
  } catch (error) {
    // A link that leads nowhere: Node names it, not what was asked for.
    if (isAbove && isErrno(error, 'ENOENT')) throw systemError('ENOTDIR', 'mkdir', path.text);
    throw error;
  }
  if (!isDirectory(there.attributes.mode)) throw new FsError(isAbove ? 'ENOTDIR' : 'EEXIST');
}

export async function mkdir(
  files: Files,
  given: unknown,
  options: unknown,
): Promise<string | undefined> {
  const settings: { recursive?: unknown; mode?: unknown } =
    typeof options === 'number' || typeof options === 'string'
      ? { mode: options }
      : ((options ?? {}) as object);
  const path = pathOf(given);
  const recursive = checkBoolean(settings.recursive ?? false, 'options.recursive');
  const mode = modeOf(settings.mode, 'mode', 0o777);
  return await named('mkdir', path, async () => {
    if (!recursive) {
      await makeDirectory(files, path, mode);
      return undefined;
    }
    const first = await makeDirectories(files, path, mode);
    if (first === undefined) return undefined;
    return first.text.startsWith('/') ? first.text : `/${first.text}`;
  });
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const MKDTEMP_ATTEMPTS = 100;

export async function mkdtemp(
  files: Files,
  given: unknown,
  options: unknown,
): Promise<string | Buffer> {
  const { encoding } = optionsOf(options);
  const prefix = pathOf(given, 'prefix');
  for (let attempt = 0; ; attempt++) {
    const letters = [...randomBytes(6)].map((byte) => LETTERS[byte % LETTERS.length]).join('');
    const bytes = Buffer.concat([prefix.bytes, Buffer.from(letters)]);
    const path = new Path(bytes, prefix.text + letters);
    try {
      await named('mkdtemp', path, () => makeDirectory(files, path, 0o700));
      return decoded(bytes, encoding);
    } catch (error) {
      if (!hasCode(error, 'EEXIST') || attempt === MKDTEMP_ATTEMPTS) throw error;
    }
  }
}

export async function unlink(files: Files, given: unknown): Promise<void> {
  const path = pathOf(given);
  await named('unlink', path, async () => {
    const place = await files.parent(path);
    if (place.kind !== 'name') throw new FsError('EISDIR');
    if (place.slash) {
      const there = await peek(files, place);
      if (there === undefined) throw new FsError('ENOENT');
      throw new FsError(isDirectory(there.attributes.mode) ? 'EISDIR' : 'ENOTDIR');
    }
    const ino = await watched(files, place);
    await files.vfs.unlink(place.parent, place.name, files.caller);
    files.changes.renamed(place, ino);
  });
}

const RMDIR_REFUSED = { root: 'EBUSY', dot: 'EINVAL', dotdot: 'ENOTEMPTY' } as const;

export async function removeDirectory(files: Files, path: Path): Promise<void> {
  await named('rmdir', path, async () => {
    const place = await files.parent(path);
    if (place.kind !== 'name') throw new FsError(RMDIR_REFUSED[place.kind]);
    const ino = await watched(files, place);
    await files.vfs.removeDirectory(place.parent, place.name, files.caller);
    files.changes.renamed(place, ino);
  });
}

export async function rename(
  files: Files,
  oldGiven: unknown,
  newGiven: unknown,
  flags: number = RenameFlag.none,
): Promise<void> {
  const from = pathOf(oldGiven, 'oldPath');
  const to = pathOf(newGiven, 'newPath');
  const work = async (): Promise<void> => {
    const source = await files.parent(from);
    const target = await files.parent(to);
    if (source.kind !== 'name') throw new FsError('EBUSY');
    if (target.kind !== 'name') {
      throw new FsError(flags === RenameFlag.noReplace ? 'EEXIST' : 'EBUSY');
    }
    if (source.slash || target.slash) await checkSlashes(files, source, target, flags);
    const ino = await watched(files, source);
    await files.vfs.rename(
      source.parent,
      source.name,
      target.parent,
      target.name,
      flags,
      files.caller,
    );
    files.changes.renamed(source, ino);
    files.changes.renamed(target);
  };
  await named('rename', from, work, to);
}

/** Only directories are called by a name and a slash. */
async function checkSlashes(
  files: Files,
  source: Place,
  target: Place,
  flags: number,
): Promise<void> {
  const moved = await peek(files, source);
  if (moved === undefined) throw new FsError('ENOENT');
  const there = await peek(files, target);
  if (flags === RenameFlag.noReplace && there !== undefined) throw new FsError('EEXIST');
  if (flags === RenameFlag.exchange) {
    if (there === undefined) throw new FsError('ENOENT');
    if (target.slash && !isDirectory(there.attributes.mode)) throw new FsError('ENOTDIR');
    if (source.slash && !isDirectory(moved.attributes.mode)) throw new FsError('ENOTDIR');
  } else if (!isDirectory(moved.attributes.mode)) {
    throw new FsError('ENOTDIR');
  }
}

export async function link(files: Files, existing: unknown, given: unknown): Promise<void> {
  const from = pathOf(existing, 'existingPath');
  const to = pathOf(given, 'newPath');
  const work = async (): Promise<void> => {
    const source = await files.place(from, false);
    const { ino } = source.found.attributes;
    const place = await placeForNew(files, to, false);
    await files.vfs.link(ino, place.parent, place.name, files.caller);
    files.changes.renamed(place, ino);
  };
  await named('link', from, work, to);
}

export async function symlink(files: Files, given: unknown, where: unknown): Promise<void> {
  const target = pathOf(given, 'target');
  const path = pathOf(where);
  const work = async (): Promise<void> => {
    if (target.bytes.length === 0) throw new FsError('ENOENT');
    if (target.bytes.length > 4095) throw new FsError('ENAMETOOLONG');
    const place = await placeForNew(files, path, false);
    const made = await files.vfs.symlink(place.parent, place.name, target.bytes, files.caller);
    files.changes.renamed(place, made.attributes.ino);
  };
  await named('symlink', target, work, path);
}

export async function readlink(
  files: Files,
  given: unknown,
  options: unknown,
): Promise<string | Buffer> {
  const { encoding } = optionsOf(options);
  const path = pathOf(given, 'oldPath');
  return await named('readlink', path, async () => {
    const place = await files.place(path, false);
    const { ino, mode } = place.found.attributes;
    if (!isSymlink(mode)) throw new FsError('EINVAL');
    const target = files.vfs.readLink(ino);
    // Decoded at once: the bytes are only good until the next call.
    if (target instanceof Promise) return await target.then((bytes) => decoded(bytes, encoding));
    return decoded(target, encoding);
  });
}

/** Absolute, without links, `.`, `..` and doubled slashes. */
export async function realpath(
  files: Files,
  given: unknown,
  options: unknown,
): Promise<string | Buffer> {
  const { encoding } = optionsOf(options);
  const path = pathOf(given);
  return await named('realpath', path, async () => {
    const place = await walk(files.vfs, path, files.caller, { last: 'follow' });
    return decoded(realPathOf(place), encoding);
  });
}

export function realPathOf(place: Place): Uint8Array {
  const names = place.kind === 'name' ? [...place.names, place.name] : place.names;
  const slash = Buffer.from('/');
  if (names.length === 0) return slash;
  return Buffer.concat(names.flatMap((name) => [slash, name]));
}
