/**
 * One process uses a data folder at a time. Two locks, both given back by the kernel at death:
 *
 * | lock                                             | when                                  | reaches            |
 * |--------------------------------------------------|---------------------------------------|--------------------|
 * | flock on `LOCK` in the folder                    | fs-ext could be loaded (it is native), and not in a thread on Linux | this host; NFS too |
 * | abstract unix socket `\0sextant-<hash of folder>` | on Linux, always                      | this host's network name space |
 *
 * The socket is taken even where flock is there, so that an install with fs-ext and one without exclude
 * each other. With neither the folder cannot be used (CONFIG). `LOCK` holds the holder's pid, for
 * people. Node binds and listens on a socket path within `server.listen()`, so that `listening` tells
 * at once (only the error event comes later), which is what lets this be synchronous.
 *
 * This file is a driver: it may use node:fs and node:net.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { SextantError } from '../../errors.js';

type FlockSync = (handle: number, flags: 'exnb') => void;

function loadFlock(): FlockSync | undefined {
  // fs-ext aborts the process when a second thread loads it after the first has ended. Where the socket does
  // the work, threads (the nodes of an embedded database) rest on it alone.
  if (!isMainThread && process.platform === 'linux') return undefined;
  try {
    const loaded: unknown = createRequire(import.meta.url)('fs-ext');
    if (typeof loaded !== 'object' || loaded === null || !('flockSync' in loaded)) return undefined;
    const { flockSync } = loaded;
    return typeof flockSync === 'function' ? (flockSync as FlockSync) : undefined;
  } catch {
    // Not installed, or its native part did not compile here: the socket stands alone.
    return undefined;
  }
}

let flock: { fn: FlockSync | undefined } | undefined;

/** Throws FOLDER_LOCKED, CONFIG, or an errno of node:fs. `useFlock: false` is for tests. */
export function lockFolder(folder: string, useFlock = true): { release(): void } {
  flock ??= { fn: loadFlock() };
  const flockFn = useFlock ? flock.fn : undefined;
  if (flockFn === undefined && process.platform !== 'linux') {
    throw new SextantError('CONFIG', `cannot lock ${folder}: install fs-ext on this system`);
  }
  const file = path.join(folder, 'LOCK');
  const handle = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
  let server: net.Server | undefined;
  try {
    if (flockFn !== undefined) takeFlock(flockFn, handle, folder, file);
    if (process.platform === 'linux') server = takeSocket(folder, file);
    fs.ftruncateSync(handle, 0);
    fs.writeSync(handle, `${process.pid}\n`, 0);
  } catch (error) {
    server?.close();
    fs.closeSync(handle);
    throw error;
  }
  let held = true;
  return {
    release() {
      if (!held) return;
      held = false;
      fs.ftruncateSync(handle, 0);
      server?.close();
      fs.closeSync(handle);
    },
  };
}

function takeFlock(flockFn: FlockSync, handle: number, folder: string, file: string): void {
  try {
    flockFn(handle, 'exnb');
  } catch (cause) {
    const errno = cause instanceof Error && 'code' in cause ? cause.code : '';
    if (errno === 'EAGAIN' || errno === 'EWOULDBLOCK') throw locked(folder, file, cause);
    throw cause;
  }
}

function takeSocket(folder: string, file: string): net.Server {
  const real = fs.statSync(fs.realpathSync(folder), { bigint: true });
  // By device and inode, so that bind mounts and other names of the folder meet.
  const name = createHash('sha256').update(`${real.dev}:${real.ino}`).digest('hex').slice(0, 32);
  const server = net.createServer((socket) => socket.destroy());
  server.on('error', () => undefined);
  server.listen({ path: `\0sextant-${name}`, exclusive: true });
  if (!server.listening) throw locked(folder, file, undefined);
  server.unref();
  return server;
}

function locked(folder: string, file: string, cause: unknown): SextantError {
  let pid = '';
  try {
    pid = fs.readFileSync(file, 'utf8').trim();
  } catch {
    // The message goes out without a pid.
  }
  const holder = /^\d+$/.test(pid) ? `process ${pid}` : 'another process';
  return new SextantError('FOLDER_LOCKED', `${folder} is in use by ${holder}`, { cause });
}
