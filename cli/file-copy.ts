/**
 * `sextant fs cp`: within the file system, into it and out of it. `local:PATH` is a path of this machine.
 *
 * Copies content, modes, times and symlinks, folders with `-r`; fifos and devices are left out, and said so.
 */
import * as local from 'node:fs';
import { basename, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SextantError } from '#core/errors.js';
import type { SextantFs } from '#fs-frontend/api/index.js';
import { isFolder } from './file-changes.js';
import { type FileCommand, absolute, printJson, sizeText, withFiles } from './file-shell.js';

const LOCAL = 'local:';
const CHUNK_BYTES = 1024 * 1024;
const PROGRESS_AFTER_MS = 500;
const PROGRESS_EVERY_MS = 100;

type Side = Pick<
  SextantFs,
  | 'lstat'
  | 'stat'
  | 'readdir'
  | 'mkdir'
  | 'readlink'
  | 'symlink'
  | 'chmod'
  | 'utimes'
  | 'realpath'
  | 'createReadStream'
  | 'createWriteStream'
>;

interface Place {
  readonly side: Side;
  readonly path: string;
}

const LOCAL_SIDE: Side = {
  ...local.promises,
  createReadStream: local.createReadStream,
  createWriteStream: local.createWriteStream,
};

export function runCp(
  given: readonly string[],
  options: FileCommand & { readonly recursive: boolean },
): Promise<void> {
  return withFiles(options, async (fs) => {
    const places = given.map((path): Place => placeOf(fs, path));
    const target = places.pop();
    if (target === undefined || places.length === 0) {
      throw new SextantError('CONFIG', 'cp takes sources and a target');
    }
    const into = await isFolder(target.side, target.path);
    if (places.length > 1 && !into) {
      throw new SextantError('CONFIG', `${target.path} is no folder: several can only go into one`);
    }
    const copy = new Copy(options.recursive);
    for (const from of places) {
      const path = into ? join(target.path, basename(from.path)) : target.path;
      await copy.add(from, { side: target.side, path });
    }
    await copy.run();
    const { files, bytes, skipped } = copy;
    for (const path of skipped) {
      process.stderr.write(`sextant: ${path} is no file, folder or symlink: left out\n`);
    }
    if (options.json) printJson({ files, bytes, skipped });
  });
}

function placeOf(fs: SextantFs, given: string): Place {
  if (!given.startsWith(LOCAL)) return { side: fs, path: absolute(given) };
  return { side: LOCAL_SIDE, path: given.slice(LOCAL.length) || '.' };
}

interface Item {
  readonly from: Place;
  readonly to: Place;
  readonly stats: local.Stats;
}

class Copy {
  readonly skipped: string[] = [];
  files = 0;
  bytes = 0;
  readonly #recursive: boolean;
  /** Folders before what is in them. */
  readonly #items: Item[] = [];

  constructor(recursive: boolean) {
    this.#recursive = recursive;
  }

  /** Notes everything below, so that the progress knows its end. */
  async add(from: Place, to: Place): Promise<void> {
    const stats = await from.side.lstat(from.path);
    if (stats.isDirectory()) {
      if (!this.#recursive) {
        throw new SextantError('CONFIG', `${from.path} is a folder: copy it with -r`);
      }
      await refuseWithin(from, to);
      this.#items.push({ from, to, stats });
      for (const name of await from.side.readdir(from.path)) {
        await this.add(
          { side: from.side, path: join(from.path, name) },
          { side: to.side, path: join(to.path, name) },
        );
      }
    } else if (stats.isFile() || stats.isSymbolicLink()) {
      if (stats.isFile()) this.bytes += stats.size;
      this.#items.push({ from, to, stats });
    } else {
      this.skipped.push(from.path);
    }
  }

  async run(): Promise<void> {
    const progress = new Progress(this.bytes);
    try {
      for (const item of this.#items) await this.#copy(item, progress);
      // Last: what is copied into a folder changes its times, and a mode may forbid it.
      for (const { to, stats } of this.#items.toReversed()) {
        if (stats.isSymbolicLink()) continue;
        await to.side.chmod(to.path, stats.mode & 0o7777);
        await to.side.utimes(to.path, stats.atime, stats.mtime);
      }
    } finally {
      progress.end();
    }
  }

  async #copy({ from, to, stats }: Item, progress: Progress): Promise<void> {
    if (stats.isDirectory()) {
      if (!(await isFolder(to.side, to.path))) await to.side.mkdir(to.path);
      return;
    }
    this.files++;
    if (stats.isSymbolicLink()) {
      await to.side.symlink(await from.side.readlink(from.path), to.path);
      return;
    }
    if (await isSame(from, to)) {
      throw new SextantError('CONFIG', `${from.path} and ${to.path} are the same file`);
    }
    await pipeline(
      from.side.createReadStream(from.path, { highWaterMark: CHUNK_BYTES }),
      progress.counter(),
      to.side.createWriteStream(to.path, { highWaterMark: CHUNK_BYTES }),
    );
  }
}

async function isSame(from: Place, to: Place): Promise<boolean> {
  if (from.side !== to.side) return false;
  const [a, b] = await Promise.all([
    from.side.stat(from.path),
    to.side.stat(to.path).catch(() => undefined),
  ]);
  return a.ino === b?.ino && a.dev === b.dev;
}

/** A folder copied into itself would never end. */
async function refuseWithin(from: Place, to: Place): Promise<void> {
  if (from.side !== to.side) return;
  const source = await from.side.realpath(from.path);
  const parent = await to.side.realpath(join(to.path, '..')).catch(() => to.path);
  const target = join(parent, basename(to.path));
  if (target === source || target.startsWith(source === '/' ? '/' : `${source}/`)) {
    throw new SextantError('CONFIG', `cannot copy ${from.path} into itself`);
  }
}

/** On a terminal, once a copy takes long: `34% of 350.0 MiB, 41.2 MiB/s`. */
class Progress {
  readonly #total: number;
  readonly #startMs = performance.now();
  #done = 0;
  #shownMs = 0;

  constructor(total: number) {
    this.#total = total;
  }

  counter(): Transform {
    return new Transform({
      highWaterMark: CHUNK_BYTES,
      transform: (chunk: Buffer, _encoding, done) => {
        this.#done += chunk.length;
        this.#show();
        done(null, chunk);
      },
    });
  }

  #show(): void {
    const nowMs = performance.now();
    const tookMs = nowMs - this.#startMs;
    if (!process.stderr.isTTY || tookMs < PROGRESS_AFTER_MS) return;
    if (nowMs - this.#shownMs < PROGRESS_EVERY_MS) return;
    this.#shownMs = nowMs;
    const percent = Math.floor((100 * this.#done) / Math.max(1, this.#total));
    const rate = sizeText((this.#done * 1000) / tookMs);
    process.stderr.write(`\r\u001B[K${percent}% of ${sizeText(this.#total)}, ${rate}/s`);
  }

  end(): void {
    if (this.#shownMs > 0) process.stderr.write('\r\u001B[K');
  }
}
