/** What files are, and changing it: stat, access, chmod, chown, utimes, statfs. */
import type { AttributeChanges } from '../vfs/vfs.js';
import { checkInteger, modeOf, secondsOf, timeSpec } from './arguments.js';
import { methodNotImplemented } from './errors.js';
import { ownersOf } from './file-handle.js';
import { named, type Files } from './files.js';
import { pathOf, type Path } from './paths.js';
import { StatFs, statsOf, type BigIntStats, type Stats } from './stats.js';

interface StatOptions {
  readonly bigint?: boolean;
}

export async function stat(
  files: Files,
  given: unknown,
  options: StatOptions | undefined,
  follow: boolean,
): Promise<Stats | BigIntStats> {
  const path = pathOf(given);
  return await named(follow ? 'stat' : 'lstat', path, async () => {
    const place = await files.place(path, follow);
    return statsOf(place.found.attributes, options?.bigint === true);
  });
}

export async function access(files: Files, given: unknown, mode: unknown = 0): Promise<void> {
  const path = pathOf(given);
  const mask = checkInteger(mode ?? 0, 'mode', 0, 7);
  await named('access', path, async () => {
    const entry = await files.entry(path);
    if (mask !== 0) await files.vfs.access(entry.attributes.ino, mask, files.caller);
  });
}

async function change(
  files: Files,
  syscall: string,
  path: Path,
  changes: AttributeChanges,
  follow: boolean,
): Promise<void> {
  await named(syscall, path, async () => {
    const place = await files.place(path, follow);
    const { ino } = place.found.attributes;
    await files.vfs.setAttributes(ino, changes, files.caller);
    files.changes.changed(place, ino);
  });
}

export async function chmod(files: Files, given: unknown, mode: unknown): Promise<void> {
  const path = pathOf(given);
  await change(files, 'chmod', path, { mode: modeOf(mode, 'mode') & 0o7777 }, true);
}

/** Links have no permissions of their own on Linux. */
export async function lchmod(): Promise<void> {
  throw methodNotImplemented('lchmod()');
}

export async function chown(
  files: Files,
  given: unknown,
  uid: unknown,
  gid: unknown,
  follow: boolean,
): Promise<void> {
  const path = pathOf(given);
  await change(files, follow ? 'chown' : 'lchown', path, ownersOf(uid, gid), follow);
}

export async function utimes(
  files: Files,
  given: unknown,
  atime: unknown,
  mtime: unknown,
  follow: boolean,
): Promise<void> {
  const path = pathOf(given);
  const changes = {
    atime: timeSpec(secondsOf(atime, Date.now)),
    mtime: timeSpec(secondsOf(mtime, Date.now)),
  };
  await change(files, follow ? 'utime' : 'lutime', path, changes, follow);
}

export async function statfs(
  files: Files,
  given: unknown,
  options?: StatOptions,
): Promise<StatFs<number> | StatFs<bigint>> {
  const path = pathOf(given);
  return await named('statfs', path, async () => {
    await files.entry(path);
    const statistics = await files.vfs.statistics();
    return options?.bigint === true
      ? new StatFs(statistics, BigInt)
      : new StatFs(statistics, (value) => value);
  });
}
