/**
 * The real disk: synchronous node:fs with the project's errors.
 *
 * | errno                   | code        |
 * |-------------------------|-------------|
 * | ENOENT                  | NOT_FOUND   |
 * | ENOSPC, EDQUOT          | DISK_FULL   |
 * | everything else         | DISK_FAILED |
 *
 * This file is a driver: it may use node:fs.
 */
import fs from 'node:fs';
import path from 'node:path';
import { SextantError, type ErrorCode } from '../../errors.js';
import type { Disk, DiskFile } from '../world.js';
import { lockFolder } from './folder-lock.js';

function errnoOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error) return String(error.code);
  return '';
}

function diskError(action: string, where: string, cause: unknown): SextantError {
  const errno = errnoOf(cause);
  let code: ErrorCode = 'DISK_FAILED';
  if (errno === 'ENOENT') code = 'NOT_FOUND';
  else if (errno === 'ENOSPC' || errno === 'EDQUOT') code = 'DISK_FULL';
  return new SextantError(code, `cannot ${action} ${where}: ${errno || String(cause)}`, { cause });
}

export class RealDisk implements Disk {
  open(file: string, options?: { create?: boolean; exclusive?: boolean }): DiskFile {
    let flags = fs.constants.O_RDWR;
    if (options?.create === true) flags |= fs.constants.O_CREAT;
    if (options?.exclusive === true) flags |= fs.constants.O_EXCL;
    try {
      return new RealFile(file, fs.openSync(file, flags, 0o644));
    } catch (cause) {
      throw diskError('open', file, cause);
    }
  }

  exists(file: string): boolean {
    return fs.existsSync(file);
  }

  list(folder: string): string[] {
    try {
      return fs.readdirSync(folder).toSorted();
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return [];
      throw diskError('list', folder, cause);
    }
  }

  makeFolder(folder: string): void {
    try {
      fs.mkdirSync(folder, { recursive: true });
    } catch (cause) {
      throw diskError('make folder', folder, cause);
    }
  }

  rename(from: string, to: string): void {
    try {
      fs.renameSync(from, to);
    } catch (cause) {
      throw diskError('rename', `${from} to ${to}`, cause);
    }
  }

  remove(file: string): void {
    try {
      fs.rmSync(file, { recursive: true });
    } catch (cause) {
      throw diskError('remove', file, cause);
    }
  }

  syncFolder(folder: string): void {
    try {
      const handle = fs.openSync(folder, fs.constants.O_RDONLY);
      try {
        fs.fsyncSync(handle);
      } finally {
        fs.closeSync(handle);
      }
    } catch (cause) {
      throw diskError('sync folder', folder, cause);
    }
  }

  lockFolder(folder: string): { release(): void } {
    try {
      return lockFolder(folder);
    } catch (cause) {
      if (cause instanceof SextantError) throw cause;
      throw diskError('lock', path.join(folder, 'LOCK'), cause);
    }
  }

  freeBytes(folder: string): number {
    try {
      const stat = fs.statfsSync(folder);
      return stat.bavail * stat.bsize;
    } catch (cause) {
      throw diskError('stat', folder, cause);
    }
  }
}

class RealFile implements DiskFile {
  readonly path: string;
  readonly #handle: number;
  #closed = false;

  constructor(file: string, handle: number) {
    this.path = file;
    this.#handle = handle;
  }

  size(): number {
    try {
      return fs.fstatSync(this.#handle).size;
    } catch (cause) {
      throw diskError('stat', this.path, cause);
    }
  }

  read(target: Uint8Array, offset: number, length: number, position: number): number {
    let done = 0;
    try {
      while (done < length) {
        const got = fs.readSync(
          this.#handle,
          target,
          offset + done,
          length - done,
          position + done,
        );
        if (got === 0) break;
        done += got;
      }
    } catch (cause) {
      throw diskError('read', this.path, cause);
    }
    return done;
  }

  write(source: Uint8Array, offset: number, length: number, position: number): void {
    let done = 0;
    try {
      while (done < length) {
        done += fs.writeSync(this.#handle, source, offset + done, length - done, position + done);
      }
    } catch (cause) {
      throw diskError('write', this.path, cause);
    }
  }

  sync(): void {
    try {
      fs.fdatasyncSync(this.#handle);
    } catch (cause) {
      const message = `fdatasync of ${this.path} failed: ${errnoOf(cause)}`;
      throw new SextantError('DISK_FAILED', message, { cause });
    }
  }

  truncate(size: number): void {
    try {
      fs.ftruncateSync(this.#handle, size);
    } catch (cause) {
      throw diskError('truncate', this.path, cause);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    fs.closeSync(this.#handle);
  }
}
