/** fcntl, OFD and flock locks: decided by the lock service (ranges of the clerk), so that they hold between servers. */
import { RANGE_END, type RangeSet, type RangeTarget } from '#lockservice/clerk/index.js';
import { FsError, OpenFlag, type FileLock, type LockFamily } from '../vfs/vfs.js';
import type { FsCore } from './core.js';
import type { OpenFile } from './handles.js';

export class FileLocks {
  readonly #core: FsCore;
  /** Families and owners that may hold something of a file: closing it costs no message when there are none. */
  readonly #owners = new Map<number, Map<string, RangeTarget>>();

  constructor(core: FsCore) {
    this.#core = core;
  }

  async test(file: OpenFile, owner: string, lock: FileLock): Promise<FileLock | undefined> {
    try {
      // Its own locks are never in the way of an open file that asks about ranges of its own.
      const family = file.owners.has(`ofd ${owner}`) ? 'ofd' : 'posix';
      const found = await this.#core.clerk.ranges.test(this.#range(file, family, owner, lock));
      if (found === undefined) return undefined;
      const end = BigInt(found.end);
      return {
        type: found.type === 'write' ? 'write' : 'read',
        start: Number(found.start),
        end: end >= BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(end),
        pid: found.pid,
      };
    } catch (error) {
      throw this.#core.errorOf(error);
    }
  }

  async set(
    file: OpenFile,
    family: LockFamily,
    owner: string,
    lock: FileLock,
    wait: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { flags } = file;
    if (family !== 'flock') {
      if (lock.type === 'read' && (flags & OpenFlag.read) === 0) throw new FsError('EBADF');
      if (lock.type === 'write' && (flags & OpenFlag.write) === 0) throw new FsError('EBADF');
    }
    const range = this.#range(file, family, owner, lock);
    // Before it is asked for: a lock that is granted to nobody who knows would stay for ever.
    if (lock.type !== 'unlock') this.#remember(file, range);
    try {
      const options = { wait, ...(signal === undefined ? {} : { signal }) };
      const { granted } = await this.#core.clerk.ranges.set(range, options);
      if (!granted) throw new FsError('EAGAIN');
    } catch (error) {
      throw this.#core.errorOf(error);
    }
  }

  /** A descriptor was closed: the owner's posix locks of the file go, as POSIX wants it. */
  flush(file: OpenFile, owner: string): Promise<void> | undefined {
    const known = this.#owners.get(file.ino);
    const target = known?.get(`posix ${owner}`);
    if (known === undefined || target === undefined) return undefined;
    known.delete(`posix ${owner}`);
    if (known.size === 0) this.#owners.delete(file.ino);
    return this.#release(target);
  }

  /** The open file is gone, and with it its OFD and flock locks. */
  close(file: OpenFile): Promise<void> | undefined {
    const known = this.#owners.get(file.ino);
    if (known === undefined || file.owners.size === 0) return undefined;
    const waits: Promise<void>[] = [];
    for (const key of file.owners) {
      const target = known.get(key);
      if (target === undefined) continue;
      known.delete(key);
      waits.push(this.#release(target));
    }
    if (known.size === 0) this.#owners.delete(file.ino);
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  async #release(target: RangeTarget): Promise<void> {
    try {
      await this.#core.clerk.ranges.releaseOwner(target);
    } catch (error) {
      throw this.#core.errorOf(error);
    }
  }

  #remember(file: OpenFile, range: RangeSet): void {
    const key = `${range.family} ${range.owner}`;
    let known = this.#owners.get(file.ino);
    if (known === undefined) this.#owners.set(file.ino, (known = new Map()));
    const { table, id, family, owner } = range;
    known.set(key, { table, id, family, owner });
    if (family !== 'posix') file.owners.add(key);
  }

  #range(file: OpenFile, family: LockFamily, owner: string, lock: FileLock): RangeSet {
    if (lock.start < 0 || lock.end <= lock.start) throw new FsError('EINVAL');
    const whole = family === 'flock';
    const toEnd = whole || lock.end >= Number.MAX_SAFE_INTEGER;
    return {
      table: this.#core.table.name,
      id: file.ino,
      family,
      owner,
      type: lock.type,
      start: whole ? 0n : BigInt(lock.start),
      end: toEnd ? RANGE_END : BigInt(lock.end),
      pid: lock.pid,
    };
  }
}
