/** `sextant fs ls|cat|stat|df|du`: what only looks. */
import type { Stats } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { SextantFs } from '#fs-frontend/api/index.js';
import {
  type FileCommand,
  absolute,
  printJson,
  printLines,
  sizeText,
  withFiles,
} from './file-shell.js';
import { table } from './text-table.js';

const BLOCK_BYTES = 512;
const ANSWER_MS = 50;
const ANSWERS_MAX = 40;

export function runLs(
  paths: readonly string[],
  options: FileCommand & { readonly long: boolean; readonly recursive: boolean },
): Promise<void> {
  return withFiles(options, async (fs) => {
    const found: Listed[] = [];
    for (const given of paths.length === 0 ? ['/'] : paths) {
      const path = absolute(given);
      if (!(await fs.lstat(path)).isDirectory()) {
        found.push(await listed(fs, path, path));
        continue;
      }
      const { recursive } = options;
      for (const name of (await fs.readdir(path, { recursive })).toSorted()) {
        found.push(await listed(fs, `${path === '/' ? '' : path}/${name}`, name));
      }
    }
    if (options.json) printJson(found);
    else if (options.long) printLines(table([], found.map(longLine)).slice(1));
    else printLines(found.map(({ name }) => name));
  });
}

interface Listed {
  readonly name: string;
  readonly path: string;
  readonly type: string;
  readonly mode: string;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: string;
  readonly target?: string;
}

async function listed(fs: SextantFs, path: string, name: string): Promise<Listed> {
  const stats = await fs.lstat(path);
  const { nlink, uid, gid, size } = stats;
  return {
    name,
    path,
    type: typeOf(stats),
    mode: (stats.mode & 0o7777).toString(8).padStart(4, '0'),
    nlink,
    uid,
    gid,
    size,
    mtime: stats.mtime.toISOString(),
    ...(stats.isSymbolicLink() ? { target: await fs.readlink(path) } : {}),
  };
}

function typeOf(stats: Stats): string {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isBlockDevice() ? 'block device' : 'character device';
}

function longLine(one: Listed): string[] {
  const { type, mode, nlink, uid, gid, size, mtime, name, target } = one;
  const shown = target === undefined ? name : `${name} -> ${target}`;
  return [type, mode, `${nlink}`, `${uid}:${gid}`, sizeText(size), mtime, shown];
}

export function runCat(paths: readonly string[], options: FileCommand): Promise<void> {
  return withFiles(options, async (fs) => {
    for (const path of paths) {
      try {
        await pipeline(fs.createReadStream(absolute(path)), process.stdout, { end: false });
      } catch (error) {
        // Whoever reads has seen enough, as `head` has.
        if ((error as NodeJS.ErrnoException).code === 'EPIPE') return;
        throw error;
      }
    }
  });
}

export function runStat(paths: readonly string[], options: FileCommand): Promise<void> {
  return withFiles(options, async (fs) => {
    const all = [];
    for (const given of paths) {
      const path = absolute(given);
      const stats = await fs.lstat(path);
      const { ino, blocks, atime, ctime, birthtime } = stats;
      const times = { atime, ctime, birthtime };
      all.push({
        ...(await listed(fs, path, path)),
        ino,
        bytesUsed: blocks * BLOCK_BYTES,
        ...times,
      });
    }
    if (options.json) return printJson(all);
    for (const one of all) {
      const rows = Object.entries(one).filter(([key]) => key !== 'name');
      const text = (value: unknown): string =>
        value instanceof Date ? value.toISOString() : String(value);
      printLines(rows.map(([key, value]) => `${key.padEnd(10)} ${text(value)}`));
    }
  });
}

export function runDf(options: FileCommand): Promise<void> {
  return withFiles(options, async (fs) => {
    let found = await fs.statfs('/');
    // The nodes are asked behind the first answer.
    for (let i = 0; i < ANSWERS_MAX && found.blocks === 0; i++) {
      await new Promise((wake) => setTimeout(wake, ANSWER_MS));
      found = await fs.statfs('/');
    }
    const { bsize, blocks, bfree } = found;
    const used = (blocks - bfree) * bsize;
    const [size, free] = [blocks * bsize, bfree * bsize];
    if (options.json) return printJson({ disk: options.disk, bytes: size, used, free });
    const row = [options.disk, sizeText(size), sizeText(used), sizeText(free)];
    printLines(table(['disk', 'size', 'used', 'free'], [row]));
  });
}

export function runDu(paths: readonly string[], options: FileCommand): Promise<void> {
  return withFiles(options, async (fs) => {
    const all = [];
    for (const given of paths.length === 0 ? ['/'] : paths) {
      const path = absolute(given);
      const sum = { path, bytes: 0, used: 0, files: 0, directories: 0 };
      await addUp(fs, path, sum, new Set());
      all.push(sum);
    }
    if (options.json) return printJson(all);
    const rows = all.map(({ path, bytes, used, files, directories }) => [
      sizeText(used),
      sizeText(bytes),
      `${files}`,
      `${directories}`,
      path,
    ]);
    printLines(table(['used', 'size', 'files', 'folders', 'path'], rows));
  });
}

interface Sum {
  bytes: number;
  used: number;
  files: number;
  directories: number;
}

/** A file of several names counts once. */
async function addUp(fs: SextantFs, path: string, sum: Sum, seen: Set<number>): Promise<void> {
  const pending = [path];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const stats = await fs.lstat(at);
    if (seen.has(stats.ino)) continue;
    if (stats.nlink > 1 && !stats.isDirectory()) seen.add(stats.ino);
    sum.used += stats.blocks * BLOCK_BYTES;
    if (!stats.isDirectory()) {
      sum.files++;
      sum.bytes += stats.size;
      continue;
    }
    sum.directories++;
    for await (const { name } of await fs.opendir(at)) {
      pending.push(`${at === '/' ? '' : at}/${name}`);
    }
  }
}
