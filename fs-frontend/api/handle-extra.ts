/** `handle.extra`: what a file of this file system can do and Node's FileHandle cannot. */
import type { FileLock } from '../vfs/vfs.js';
import { checkInteger } from './arguments.js';
import { named } from './files.js';
import type { OpenFile } from './open-file.js';

/** Bytes from `start` up to `end`, which is exclusive; default: the whole file, however it grows. */
export interface LockRange {
  readonly start?: number;
  readonly end?: number;
}

export interface LockOptions extends LockRange {
  /** Several readers, or one writer. */
  readonly type?: 'read' | 'write';
  /**
   * `posix` (default): as fcntl(2), held by the whole mount, released when any of its handles of the file closes.
   * `ofd`: held by this handle. `flock`: the whole file, held by this handle.
   */
  readonly family?: 'posix' | 'ofd' | 'flock';
  /** Wait until it is free (default true); otherwise EAGAIN. */
  readonly wait?: boolean;
  readonly signal?: AbortSignal;
}

type Call = <T>(name: string, work: (file: OpenFile) => Promise<T>) => Promise<T>;

export class HandleExtra {
  private readonly call: Call;

  constructor(call: Call) {
    this.call = call;
  }

  /** Locks bytes against all who ask for locks, on every server: advisory. */
  async lock(options: LockOptions = {}): Promise<void> {
    await this.setLock(options.type ?? 'write', options);
  }

  async unlock(options: Pick<LockOptions, 'start' | 'end' | 'family'> = {}): Promise<void> {
    await this.setLock('unlock', options);
  }

  private async setLock(type: FileLock['type'], options: LockOptions): Promise<void> {
    const { family = 'posix', wait = true, signal } = options;
    await this.call('lock', async (file) => {
      const lock = lockOf(type, family === 'flock' ? {} : options, file);
      await named('lock', undefined, async () => {
        await file.vfs.setLock(file.handle, family, file.lockOwner(family), lock, wait, signal);
      });
    });
  }

  /** A lock in the way of the wanted posix lock, or undefined. */
  async testLock(
    options: LockRange & { type?: 'read' | 'write' } = {},
  ): Promise<FileLock | undefined> {
    return await this.call('lock', async (file) => {
      const lock = lockOf(options.type ?? 'write', options, file);
      return await named('lock', undefined, async () =>
        file.vfs.testLock(file.handle, file.lockOwner('posix'), lock),
      );
    });
  }

  /** fallocate(2): space for the bytes; `mode` of the flags KEEP_SIZE 1, PUNCH_HOLE 2, COLLAPSE 8, ZERO 16, INSERT 32. */
  async allocate(offset: number, length: number, mode = 0): Promise<void> {
    checkInteger(offset, 'offset', 0);
    checkInteger(length, 'length', 0);
    checkInteger(mode, 'mode', 0);
    await this.call('fallocate', (file) =>
      named('fallocate', undefined, async () => {
        await file.vfs.allocate(file.handle, mode, offset, length);
        file.changed();
      }),
    );
  }

  /** Where data begins at or behind `offset`; ENXIO when only a hole follows. */
  async seekData(offset: number): Promise<number> {
    return await this.seek(offset, 'data');
  }

  /** Where a hole begins at or behind `offset`; the end of the file is one. */
  async seekHole(offset: number): Promise<number> {
    return await this.seek(offset, 'hole');
  }

  private async seek(offset: number, what: 'data' | 'hole'): Promise<number> {
    checkInteger(offset, 'offset', 0);
    return await this.call('lseek', (file) =>
      named('lseek', undefined, async () => file.vfs.seek(file.handle, offset, what)),
    );
  }
}

function lockOf(type: FileLock['type'], range: LockRange, file: OpenFile): FileLock {
  const start = checkInteger(range.start ?? 0, 'start', 0);
  const end = checkInteger(range.end ?? Number.MAX_SAFE_INTEGER, 'end', start + 1);
  return { type, start, end, pid: file.caller.pid };
}
