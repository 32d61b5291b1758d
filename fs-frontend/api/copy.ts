/** copyFile, and cp with Node's rules of what may lie over what. Bytes are copied inside the Vfs. */
import { constants } from 'node:fs';
import { posix } from 'node:path';
import { FsError } from '../vfs/vfs.js';
import { checkBoolean, checkFunction, checkInteger, checkObject } from './arguments.js';
import { chmod, stat, utimes } from './attributes.js';
import { hasCode, incompatibleOptions, operationError } from './errors.js';
import { named, type Files } from './files.js';
import { opendir } from './listing.js';
import { mkdir, readlink, symlink, unlink } from './names.js';
import { openFile, type OpenFile } from './open-file.js';
import { pathOf, type Path } from './paths.js';
import type { BigIntStats, Stats } from './stats.js';
import { walk } from './walk.js';

const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants;
/** Between two looks at other work. */
const PIECE_BYTES = 8 << 20;

export async function copyFile(
  files: Files,
  source: unknown,
  target: unknown,
  given?: unknown,
): Promise<void> {
  const from = pathOf(source, 'src');
  const to = pathOf(target, 'dest');
  const mode = checkInteger(given ?? 0, 'mode', 0, 7);
  await named('copyfile', from, () => copyContent(files, from, to, mode), to);
}

async function copyContent(files: Files, from: Path, to: Path, mode: number): Promise<void> {
  // Nothing here shares blocks between files.
  if ((mode & COPYFILE_FICLONE_FORCE) !== 0) throw new FsError('EOPNOTSUPP');
  const source = await openFile(files, from, O_RDONLY, 0);
  try {
    if (source.directory) await refuseDirectory(files, to, mode);
    const { attributes } = await source.attributes();
    const flags = O_WRONLY | O_CREAT | ((mode & COPYFILE_EXCL) === 0 ? 0 : O_EXCL);
    const target = await openFile(files, to, flags, attributes.mode);
    try {
      if (target.ino !== source.ino) {
        const permissions = { mode: attributes.mode & 0o7777, size: 0 };
        await files.vfs.setAttributes(target.ino, permissions, files.caller, target.handle);
        await copyBytes(source, target, attributes.size);
      }
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/**
 * What the system would say, which opens the target first. It would take the target away afterwards; here it stays.
 */
async function refuseDirectory(files: Files, to: Path, mode: number): Promise<never> {
  const exclusive = (mode & COPYFILE_EXCL) !== 0;
  const last = exclusive ? 'entry' : 'follow';
  const options = { last, mayMiss: true, makesFile: true } as const;
  const place = await walk(files.vfs, to, files.caller, options);
  throw new FsError(exclusive && place.entry !== undefined ? 'EEXIST' : 'EISDIR');
}

async function copyBytes(source: OpenFile, target: OpenFile, size: number): Promise<void> {
  let done = 0;
  while (done < size) {
    const length = Math.min(PIECE_BYTES, size - done);
    const count = await source.vfs.copyRange(
      source.handle,
      done,
      target.handle,
      done,
      length,
      source.caller,
    );
    if (count === 0) break;
    done += count;
  }
  target.changed();
}

export interface CopyOptions {
  readonly dereference: boolean;
  readonly errorOnExist: boolean;
  readonly filter: ((source: string, target: string) => boolean | Promise<boolean>) | undefined;
  readonly force: boolean;
  readonly mode: number;
  readonly preserveTimestamps: boolean;
  readonly recursive: boolean;
  readonly verbatimSymlinks: boolean;
}

const DEFAULTS: CopyOptions = {
  dereference: false,
  errorOnExist: false,
  filter: undefined,
  force: true,
  mode: 0,
  preserveTimestamps: false,
  recursive: false,
  verbatimSymlinks: false,
};
const SWITCHES = [
  'dereference',
  'errorOnExist',
  'force',
  'preserveTimestamps',
  'recursive',
  'verbatimSymlinks',
] as const;

function checkOptions(given: unknown): CopyOptions {
  if (given === undefined) return DEFAULTS;
  const options = { ...DEFAULTS, ...(checkObject(given, 'options') as Partial<CopyOptions>) };
  for (const name of SWITCHES) checkBoolean(options[name], `options.${name}`);
  checkInteger(options.mode, 'mode', 0, 7);
  if (options.dereference && options.verbatimSymlinks) {
    throw incompatibleOptions('dereference', 'verbatimSymlinks');
  }
  if (options.filter !== undefined) checkFunction(options.filter, 'options.filter');
  return options;
}

type AnyStats = Stats | BigIntStats;

function absolute(path: string): string {
  return posix.resolve('/', path);
}

/** By the names alone. */
function isBelow(folder: string, path: string): boolean {
  const parts = absolute(path).split('/').filter(Boolean);
  return absolute(folder)
    .split('/')
    .filter(Boolean)
    .every((name, index) => parts[index] === name);
}

class Copying {
  private readonly files: Files;
  private readonly options: CopyOptions;

  constructor(files: Files, options: CopyOptions) {
    this.files = files;
    this.options = options;
  }

  async run(source: string, target: string): Promise<void> {
    const checked = await this.check(source, target);
    if (checked === 'skip') return;
    await this.checkParents(source, checked.from, target);
    if (!(await this.exists(posix.dirname(target)))) {
      await mkdir(this.files, posix.dirname(target), { recursive: true });
    }
    await this.copy(source, target, checked.to);
  }

  private async check(
    source: string,
    target: string,
  ): Promise<'skip' | { from: AnyStats; to: AnyStats | undefined }> {
    const { filter } = this.options;
    if (filter !== undefined && !(await filter(source, target))) return 'skip';
    const from = await this.stats(source);
    const to = await this.statsIfThere(target);
    const path = target;
    const syscall = 'cp';
    if (to !== undefined) {
      if (from.ino === to.ino) {
        const message = 'src and dest cannot be the same';
        throw operationError('ERR_FS_CP_EINVAL', { code: 'EINVAL', message, path, syscall });
      }
      if (from.isDirectory() && !to.isDirectory()) {
        const message = `cannot overwrite non-directory ${target} with directory ${source}`;
        throw operationError('ERR_FS_CP_DIR_TO_NON_DIR', {
          code: 'EISDIR',
          message,
          path,
          syscall,
        });
      }
      if (!from.isDirectory() && to.isDirectory()) {
        const message = `cannot overwrite directory ${target} with non-directory ${source}`;
        throw operationError('ERR_FS_CP_NON_DIR_TO_DIR', {
          code: 'ENOTDIR',
          message,
          path,
          syscall,
        });
      }
    }
    if (from.isDirectory() && isBelow(source, target)) throw this.intoItself(source, target);
    return { from, to };
  }

  private intoItself(source: string, target: string): Error {
    return operationError('ERR_FS_CP_EINVAL', {
      code: 'EINVAL',
      message: `cannot copy ${source} to a subdirectory of self ${target}`,
      path: target,
      syscall: 'cp',
    });
  }

  /** By the inodes of the target's parents, up to the source's: links and all. */
  private async checkParents(source: string, from: AnyStats, target: string): Promise<void> {
    const end = absolute(posix.dirname(source));
    let below = target;
    let parent = absolute(posix.dirname(target));
    while (parent !== end && parent !== '/') {
      let stats: AnyStats;
      try {
        stats = await stat(this.files, parent, undefined, true);
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return;
        throw error;
      }
      if (stats.ino === from.ino) throw this.intoItself(source, below);
      below = parent;
      parent = posix.dirname(parent);
    }
  }

  private async stats(path: string): Promise<AnyStats> {
    return await stat(this.files, path, undefined, this.options.dereference);
  }

  private async statsIfThere(path: string): Promise<AnyStats | undefined> {
    try {
      return await this.stats(path);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  private async exists(path: string): Promise<boolean> {
    try {
      await stat(this.files, path, undefined, true);
      return true;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false;
      throw error;
    }
  }

  private async copy(source: string, target: string, to: AnyStats | undefined): Promise<void> {
    const from = await this.stats(source);
    if (from.isDirectory()) {
      if (this.options.recursive) return await this.copyDirectory(from, source, target, to);
      throw operationError('ERR_FS_EISDIR', {
        code: 'EISDIR',
        message: `${source} is a directory (not copied)`,
        path: source,
        syscall: 'cp',
      });
    }
    if (from.isFile() || from.isCharacterDevice() || from.isBlockDevice()) {
      return await this.copyOne(from, source, target, to);
    }
    if (from.isSymbolicLink()) return await this.copyLink(source, target, to);
    const [key, what] = from.isSocket()
      ? (['ERR_FS_CP_SOCKET', 'a socket file'] as const)
      : (['ERR_FS_CP_FIFO_PIPE', 'a FIFO pipe'] as const);
    throw operationError(key, {
      code: 'EINVAL',
      message: `cannot copy ${what}: ${target}`,
      path: target,
      syscall: 'cp',
    });
  }

  private async copyOne(
    from: AnyStats,
    source: string,
    target: string,
    to: AnyStats | undefined,
  ): Promise<void> {
    if (to !== undefined) {
      if (!this.options.force) {
        if (!this.options.errorOnExist) return;
        throw operationError('ERR_FS_CP_EEXIST', {
          code: 'EEXIST',
          message: `${target} already exists`,
          path: target,
          syscall: 'cp',
        });
      }
      await unlink(this.files, target);
    }
    await copyFile(this.files, source, target, this.options.mode);
    const mode = Number(from.mode) & 0o7777;
    if (this.options.preserveTimestamps) {
      if ((mode & 0o200) === 0) await chmod(this.files, target, mode | 0o200);
      const { atime, mtime } = await stat(this.files, source, undefined, true);
      await utimes(this.files, target, atime, mtime, true);
    }
    await chmod(this.files, target, mode);
  }

  private async copyDirectory(
    from: AnyStats,
    source: string,
    target: string,
    to: AnyStats | undefined,
  ): Promise<void> {
    if (to === undefined) await mkdir(this.files, target, undefined);
    for await (const { name } of await opendir(this.files, source, undefined)) {
      const sourceItem = posix.join(source, String(name));
      const targetItem = posix.join(target, String(name));
      const checked = await this.check(sourceItem, targetItem);
      if (checked !== 'skip') await this.copy(sourceItem, targetItem, checked.to);
    }
    if (to === undefined) await chmod(this.files, target, Number(from.mode) & 0o7777);
  }

  private async copyLink(source: string, target: string, to: AnyStats | undefined): Promise<void> {
    const { files } = this;
    let leads = String(await readlink(files, source, undefined));
    if (!this.options.verbatimSymlinks && !posix.isAbsolute(leads)) {
      leads = posix.resolve('/', posix.dirname(source), leads);
    }
    if (to === undefined) return await symlink(files, leads, target);
    let there: string;
    try {
      there = String(await readlink(files, target, undefined));
    } catch (error) {
      // The target is no link: the error of symlink says so.
      if (hasCode(error, 'EINVAL')) return await symlink(files, leads, target);
      throw error;
    }
    if (!posix.isAbsolute(there)) there = posix.resolve('/', posix.dirname(target), there);
    if (isBelow(leads, there)) {
      throw operationError('ERR_FS_CP_EINVAL', {
        code: 'EINVAL',
        message: `cannot copy ${leads} to a subdirectory of self ${there}`,
        path: target,
        syscall: 'cp',
      });
    }
    // Removing the target would leave the new link without anything behind it.
    const behind = await stat(files, source, undefined, true);
    if (behind.isDirectory() && isBelow(there, leads)) {
      throw operationError('ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY', {
        code: 'EINVAL',
        message: `cannot overwrite ${there} with ${leads}`,
        path: target,
        syscall: 'cp',
      });
    }
    await unlink(files, target);
    await symlink(files, leads, target);
  }
}

export async function cp(
  files: Files,
  source: unknown,
  target: unknown,
  given: unknown,
): Promise<void> {
  const options = checkOptions(given);
  const from = pathOf(source, 'src');
  const to = pathOf(target, 'dest');
  await new Copying(files, options).run(from.text, to.text);
}
