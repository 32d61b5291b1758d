/** `sextant fs mkdir|mv|rm`: names. */
import { posix } from 'node:path';
import { SextantError } from '#core/errors.js';
import type { SextantFs } from '#fs-frontend/api/index.js';
import { type FileCommand, absolute, printJson, withFiles } from './file-shell.js';

export function runMkdir(
  paths: readonly string[],
  options: FileCommand & { readonly parents: boolean },
): Promise<void> {
  const { parents: recursive } = options;
  return withFiles(options, async (fs) => {
    for (const path of paths) await fs.mkdir(absolute(path), { recursive });
    if (options.json) printJson({ made: paths.map(absolute) });
  });
}

export function runRm(
  paths: readonly string[],
  options: FileCommand & { readonly recursive: boolean; readonly force: boolean },
): Promise<void> {
  const { recursive, force } = options;
  return withFiles(options, async (fs) => {
    for (const path of paths) await fs.rm(absolute(path), { recursive, force });
    if (options.json) printJson({ removed: paths.map(absolute) });
  });
}

export function runMv(given: readonly string[], options: FileCommand): Promise<void> {
  return withFiles(options, async (fs) => {
    const paths = given.map(absolute);
    const target = paths.pop() ?? '/';
    const into = await isFolder(fs, target);
    if (paths.length > 1 && !into) {
      throw new SextantError(
        'CONFIG',
        `${target} is no folder: several can only be moved into one`,
      );
    }
    const moved = paths.map((from) => ({
      from,
      to: into ? posix.join(target, posix.basename(from)) : target,
    }));
    for (const { from, to } of moved) await fs.rename(from, to);
    if (options.json) printJson({ moved });
  });
}

export const isFolder = async (fs: Pick<SextantFs, 'stat'>, path: string): Promise<boolean> => {
  try {
    return (await fs.stat(path)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
};
