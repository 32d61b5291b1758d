/**
 * `ReadStream` and `WriteStream` are Node's own, with their options, events and properties, on the operations of this file system
 * (their `fs` option): nothing of the machine's disk is touched.
 */
import { createReadStream, createWriteStream, type ReadStream, type WriteStream } from 'node:fs';
import { flagsOf, modeOf, optionsOf } from './arguments.js';
import { invalidArgumentType, systemError } from './errors.js';
import { FileHandle } from './file-handle.js';
import { named, type Files } from './files.js';
import { openFile, type OpenFile } from './open-file.js';
import { pathOf } from './paths.js';

type Done<T extends unknown[] = []> = (error: unknown, ...results: T) => void;
/** An open file, as streams use it. */
interface Target {
  read(part: Buffer, offset: number | null): Promise<number>;
  write(part: Buffer, offset: number | null): Promise<number>;
  writeVector(parts: Buffer[], offset: number | null): Promise<number>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

const offsetOf = (position: unknown): number | null =>
  typeof position === 'number' && position >= 0 ? position : null;

/** The callbacks that Node's streams call. */
function operations(target: (fd: number) => Target): object {
  return {
    read(
      fd: number,
      buffer: Buffer,
      offset: number,
      length: number,
      position: unknown,
      done: Done<[number, Buffer]>,
    ): void {
      const part = buffer.subarray(offset, offset + length);
      target(fd)
        .read(part, offsetOf(position))
        .then(
          (count) => done(null, count, buffer),
          (error: unknown) => done(error, 0, buffer),
        );
    },
    write(
      fd: number,
      buffer: Buffer,
      offset: number,
      length: number,
      position: unknown,
      done: Done<[number, Buffer]>,
    ): void {
      const part = buffer.subarray(offset, offset + length);
      target(fd)
        .write(part, offsetOf(position))
        .then(
          (count) => done(null, count, buffer),
          (error: unknown) => done(error, 0, buffer),
        );
    },
    writev(fd: number, buffers: Buffer[], position: unknown, done: Done<[number, Buffer[]]>): void {
      target(fd)
        .writeVector(buffers, offsetOf(position))
        .then(
          (count) => done(null, count, buffers),
          (error: unknown) => done(error, 0, buffers),
        );
    },
    fsync(fd: number, done: Done): void {
      target(fd)
        .sync()
        .then(() => done(null), done);
    },
    close(fd: number, done: Done): void {
      target(fd)
        .close()
        .then(() => done(null), done);
    },
  };
}

function targetOfFile(file: OpenFile): Target {
  return {
    read: (part, offset) => named('read', undefined, () => file.read(part, offset)),
    write: (part, offset) => named('write', undefined, () => file.write(part, offset)),
    writeVector: (parts, offset) =>
      named('write', undefined, () => file.writeVector(parts, offset)),
    sync: () => named('fsync', undefined, () => file.sync(false)),
    close: () => named('close', undefined, () => file.close()),
  };
}

/** Through the handle, so that closing it waits for what still runs. */
function targetOfHandle(handle: FileHandle): Target {
  return {
    read: async (part, offset) => (await handle.read(part, 0, part.length, offset)).bytesRead,
    write: async (part, offset) => (await handle.write(part, 0, part.length, offset)).bytesWritten,
    writeVector: async (parts, offset) => (await handle.writev(parts, offset)).bytesWritten,
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

/** What answers for a descriptor that nobody has. */
function badDescriptor(): Target {
  const refuse = (syscall: string) => (): Promise<never> =>
    Promise.reject(systemError('EBADF', syscall));
  return {
    read: refuse('read'),
    write: refuse('write'),
    writeVector: refuse('write'),
    sync: refuse('fsync'),
    close: refuse('close'),
  };
}

/** For a path, or for a descriptor of this file system. */
function operationsOf(files: Files): object {
  return {
    ...operations((fd) => {
      const file = files.described(fd);
      return file === undefined ? badDescriptor() : targetOfFile(file);
    }),
    open(path: unknown, flags: unknown, mode: unknown, done: Done<[number?]>): void {
      const work = async (): Promise<number> => {
        const where = pathOf(path);
        const number = flagsOf(flags);
        const permissions = modeOf(mode, 'mode', 0o666);
        const file = await named('open', where, () => openFile(files, where, number, permissions));
        return file.fd;
      };
      work().then((fd) => done(null, fd), done);
    },
  };
}

type StreamOptions = { fd?: unknown } & Record<string, unknown>;

function given(options: unknown): StreamOptions {
  return { ...optionsOf(options) };
}

export function pathReadStream(files: Files, path: unknown, options: unknown): ReadStream {
  const { fd, ...others } = given(options);
  if (fd instanceof FileHandle) return fd.createReadStream(others);
  checkDescriptor(fd);
  return createReadStream(
    path as string,
    { ...others, ...descriptor(fd), fs: operationsOf(files) } as object,
  );
}

export function pathWriteStream(files: Files, path: unknown, options: unknown): WriteStream {
  const { fd, ...others } = given(options);
  if (fd instanceof FileHandle) return fd.createWriteStream(others);
  checkDescriptor(fd);
  return createWriteStream(
    path as string,
    { ...others, ...descriptor(fd), fs: operationsOf(files) } as object,
  );
}

function descriptor(fd: unknown): object {
  return fd === undefined || fd === null ? {} : { fd };
}

function checkDescriptor(fd: unknown): void {
  if (fd !== undefined && fd !== null && typeof fd !== 'number') {
    throw invalidArgumentType('options.fd', 'of type number or an instance of FileHandle', fd);
  }
}

/** A stream over an open handle: the stream closes the handle, and closing the handle ends the stream. */
export function readStreamOf(handle: FileHandle, options: unknown): ReadStream {
  const fs = operations(() => targetOfHandle(handle));
  const stream = createReadStream('', { ...given(options), fd: handle.fd, fs } as object);
  handle.once('close', () => stream.close());
  return stream;
}

export function writeStreamOf(handle: FileHandle, options: unknown): WriteStream {
  const fs = operations(() => targetOfHandle(handle));
  const stream = createWriteStream('', { ...given(options), fd: handle.fd, fs } as object);
  handle.once('close', () => stream.close());
  return stream;
}
