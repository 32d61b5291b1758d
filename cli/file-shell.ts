/** What the commands of `sextant fs` share: a file server for as long as one runs, errors, units. */
import { hostname } from 'node:os';
import { SextantError, type ErrorCode } from '#core/errors.js';
import { realWorld } from '#core/world/real/real-world.js';
import { type SextantFs, filesOf } from '#fs-frontend/api/index.js';
import { openFiles } from '#fs-frontend/open.js';
import { type FilesOptions, filesClusterOf } from './files-options.js';

export interface FileCommand extends FilesOptions {
  readonly json: boolean;
}

const CODES: Partial<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  EEXIST: 'EXISTS',
  ENOTEMPTY: 'NOT_EMPTY',
  ENOSPC: 'DISK_FULL',
};

export async function withFiles(
  options: FilesOptions,
  work: (fs: SextantFs) => Promise<void>,
): Promise<void> {
  const name = `fs ${hostname()}:${process.pid}`;
  const server = await openFiles(realWorld({ log: 'error' }), { ...filesClusterOf(options), name });
  const fs = filesOf(server);
  try {
    await Promise.race([work(fs), interrupted()]);
  } catch (error) {
    throw asSextantError(error);
  } finally {
    await fs.unmount();
  }
}

/** ^C: the file server ends in order, and nobody has to wait for its lease. */
function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => reject(new SextantError('CANCELLED', 'interrupted')));
    }
  });
}

/** One line for an error of Node, as of a path that is not there. */
export function asSextantError(error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof SextantError || code === undefined || syscall === undefined) return error;
  return new SextantError(CODES[code] ?? 'INTERNAL', message, { cause: error });
}

/** Of the file system: from its root, which is also the working directory. */
export const absolute = (path: string): string => (path.startsWith('/') ? path : `/${path}`);

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function printLines(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
}
