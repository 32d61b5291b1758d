/** rm, and rmdir with its old `recursive`. */
import { setTimeout as delay } from 'node:timers/promises';
import { checkBoolean, checkInt32, checkObject, checkUint32 } from './arguments.js';
import { stat } from './attributes.js';
import { hasCode, operationError } from './errors.js';
import type { Files } from './files.js';
import { readdir } from './listing.js';
import { removeDirectory, unlink } from './names.js';
import { joinBytes, pathOf, pathOfBytes, type Path } from './paths.js';

interface RemoveOptions {
  readonly recursive: boolean;
  readonly force: boolean;
  readonly retryDelay: number;
  readonly maxRetries: number;
}

const RETRIED = ['EBUSY', 'EMFILE', 'ENFILE', 'ENOTEMPTY', 'EPERM'];
const DEFAULTS: RemoveOptions = { recursive: false, force: false, retryDelay: 100, maxRetries: 0 };
let recursiveRmdirWarned = false;

function checkOptions(given: unknown): RemoveOptions {
  if (given === undefined) return DEFAULTS;
  const options = { ...DEFAULTS, ...(checkObject(given, 'options') as Partial<RemoveOptions>) };
  checkBoolean(options.recursive, 'options.recursive');
  checkInt32(options.retryDelay, 'options.retryDelay', 0);
  checkUint32(options.maxRetries, 'options.maxRetries');
  return options;
}

export async function rm(files: Files, given: unknown, options: unknown): Promise<void> {
  const path = pathOf(given);
  const checked = checkOptions(options);
  checkBoolean(checked.force, 'options.force');
  try {
    const stats = await stat(files, path.bytes, undefined, false);
    if (stats.isDirectory() && !checked.recursive) {
      throw operationError('ERR_FS_EISDIR', {
        code: 'EISDIR',
        message: 'is a directory',
        path: path.text,
        syscall: 'rm',
      });
    }
  } catch (error) {
    if (checked.force && hasCode(error, 'ENOENT')) return;
    throw error;
  }
  await removeTree(files, path, checked);
}

export async function rmdir(files: Files, given: unknown, options: unknown): Promise<void> {
  const path = pathOf(given);
  const checked = checkOptions(options);
  if (checked.recursive) {
    warnOfRecursiveRmdir();
    const stats = await stat(files, path.bytes, undefined, true);
    if (stats.isDirectory()) return await removeTree(files, path, checked);
  }
  await removeDirectory(files, path);
}

/** Whatever is there, with all below. What goes away meanwhile is no error. */
async function removeTree(files: Files, path: Path, options: RemoveOptions): Promise<void> {
  for (let retries = 0; ; retries++) {
    try {
      return await removeOnce(files, path, options);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return;
      if (retries === options.maxRetries || !hasCode(error, ...RETRIED)) throw error;
    }
    await delay((retries + 1) * options.retryDelay);
  }
}

async function removeOnce(files: Files, path: Path, options: RemoveOptions): Promise<void> {
  const stats = await stat(files, path.bytes, undefined, false);
  if (!stats.isDirectory()) {
    return await unlink(files, path.bytes);
  }
  try {
    return await removeDirectory(files, path);
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY', 'EEXIST', 'EPERM')) throw error;
  }
  const names = await readdir(files, path.bytes, { encoding: 'buffer' });
  for (const name of names) {
    const below = pathOfBytes(joinBytes(path.bytes, name as Buffer));
    await removeTree(files, below, options);
  }
  await removeDirectory(files, path);
}

function warnOfRecursiveRmdir(): void {
  if (recursiveRmdirWarned || process.noDeprecation === true) return;
  recursiveRmdirWarned = true;
  process.emitWarning(
    'In future versions of Node.js, fs.rmdir(path, { recursive: true }) ' +
      'will be removed. Use fs.rm(path, { recursive: true }) instead',
    'DeprecationWarning',
    'DEP0147',
  );
}
