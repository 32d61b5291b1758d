/** `FileHandle` of Node 20 over an open file. Closing waits for the operations that still run. */
import { Buffer } from 'node:buffer';
import { EventEmitter } from 'node:events';
import type { ReadStream, WriteStream } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { ReadableStream } from 'node:stream/web';
import {
  bytesOf,
  checkBuffers,
  checkInt32,
  checkInteger,
  checkObject,
  checkString,
  checkUserId,
  modeOf,
  optionsOf,
  secondsOf,
  timeSpec,
} from './arguments.js';
import { readAll, writable, writeAll } from './contents.js';
import {
  fileClosed,
  invalidArgumentType,
  invalidArgumentValue,
  invalidState,
  outOfRange,
} from './errors.js';
import { HandleExtra } from './handle-extra.js';
import { named } from './files.js';
import type { OpenFile } from './open-file.js';
import { statsOf, type BigIntStats, type Stats } from './stats.js';
import { readStreamOf, writeStreamOf } from './streams.js';

const READ_BUFFER_BYTES = 16_384;

interface Span {
  readonly offset?: number | null;
  readonly length?: number | null;
  readonly position?: number | bigint | null;
}

export class FileHandle extends EventEmitter {
  /** What Node has none of: locks, allocation, holes. */
  readonly extra: HandleExtra;
  private file: OpenFile | undefined;
  private running = 0;
  private closing: Promise<void> | undefined;
  private idle: (() => void) | undefined;
  private streaming = false;

  constructor(file: OpenFile) {
    super();
    this.file = file;
    this.extra = new HandleExtra((name, work) => this.call(name, work));
  }

  /** -1 once closed. A number of this file system, not of the operating system. */
  get fd(): number {
    return this.file?.fd ?? -1;
  }

  private async call<T>(name: string, work: (file: OpenFile) => Promise<T>): Promise<T> {
    const file = this.file;
    if (file === undefined) throw fileClosed(name);
    this.running++;
    try {
      return await work(file);
    } finally {
      if (--this.running === 0) this.idle?.();
    }
  }

  async appendFile(data: unknown, options?: unknown): Promise<void> {
    await this.writeFile(data, options);
  }

  async readFile(given?: unknown): Promise<Buffer | string> {
    return await this.call('readFile', (file) => readAll(file, optionsOf(given)));
  }

  async writeFile(data: unknown, given?: unknown): Promise<void> {
    await this.call('writeFile', async (file) => {
      const options = optionsOf(given, { encoding: 'utf8' });
      await writeAll(file, writable(data, options), options);
    });
  }

  async chmod(value: number | string): Promise<void> {
    await this.call('fchmod', async (file) => {
      const mode = modeOf(value, 'mode') & 0o7777;
      await named('fchmod', undefined, async () => {
        await file.vfs.setAttributes(file.ino, { mode }, file.caller, vfsHandle(file));
        file.changed();
      });
    });
  }

  async chown(uid: number, gid: number): Promise<void> {
    await this.call('fchown', async (file) => {
      const changes = ownersOf(uid, gid);
      await named('fchown', undefined, async () => {
        await file.vfs.setAttributes(file.ino, changes, file.caller, vfsHandle(file));
        file.changed();
      });
    });
  }

  async utimes(atime: unknown, mtime: unknown): Promise<void> {
    await this.call('futimes', async (file) => {
      const changes = {
        atime: timeSpec(secondsOf(atime, Date.now, 'atime')),
        mtime: timeSpec(secondsOf(mtime, Date.now, 'mtime')),
      };
      await named('futime', undefined, async () => {
        await file.vfs.setAttributes(file.ino, changes, file.caller, vfsHandle(file));
        file.changed();
      });
    });
  }

  async datasync(): Promise<void> {
    await this.call('fdatasync', (file) => named('fdatasync', undefined, () => file.sync(true)));
  }

  async sync(): Promise<void> {
    await this.call('fsync', (file) => named('fsync', undefined, () => file.sync(false)));
  }

  async stat(options?: { bigint?: boolean }): Promise<Stats | BigIntStats> {
    return await this.call('fstat', (file) =>
      named('fstat', undefined, async () => {
        const entry = await file.attributes();
        return statsOf(entry.attributes, options?.bigint === true);
      }),
    );
  }

  async truncate(length: number | null = 0): Promise<void> {
    await this.call('ftruncate', async (file) => {
      const size = Math.max(0, checkInteger(length ?? 0, 'len'));
      await named('ftruncate', undefined, () => file.truncate(size));
    });
  }

  async read(
    target?: NodeJS.ArrayBufferView | (Span & { buffer?: NodeJS.ArrayBufferView }) | null,
    offsetOrSpan?: number | Span | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: NodeJS.ArrayBufferView }> {
    return await this.call('read', async (file) => {
      let buffer: NodeJS.ArrayBufferView;
      let span: Span;
      if (ArrayBuffer.isView(target)) {
        buffer = target;
        const separate = offsetOrSpan === null || typeof offsetOrSpan !== 'object';
        span = separate ? spanOf(offsetOrSpan, length, position) : offsetOrSpan;
      } else {
        if (target !== undefined && target !== null) checkObject(target, 'options');
        buffer = target?.buffer ?? Buffer.alloc(READ_BUFFER_BYTES);
        if (!ArrayBuffer.isView(buffer)) {
          throw invalidArgumentType(
            'buffer',
            'an instance of Buffer, TypedArray, or DataView',
            buffer,
          );
        }
        span = target ?? {};
      }
      const part = readPart(buffer, span);
      if (part.length === 0) return { bytesRead: 0, buffer };
      const at = offsetOfRead(span.position);
      const bytesRead = await named('read', undefined, () => file.read(part, at));
      return { bytesRead, buffer };
    });
  }

  async readv(
    given: readonly NodeJS.ArrayBufferView[],
    position?: number | null,
  ): Promise<{ bytesRead: number; buffers: readonly NodeJS.ArrayBufferView[] }> {
    return await this.call('readv', async (file) => {
      const buffers = checkBuffers(given);
      const at = typeof position === 'number' && position >= 0 ? position : null;
      const bytesRead = await named('read', undefined, () => file.readVector(buffers, at));
      return { bytesRead, buffers };
    });
  }

  async write(
    data: NodeJS.ArrayBufferView | string,
    offsetOrSpan?: number | Span | null,
    lengthOrEncoding?: number | string | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: NodeJS.ArrayBufferView | string }> {
    return await this.call('write', async (file) => {
      const { part, at } = writePart(data, offsetOrSpan, lengthOrEncoding, position);
      const bytesWritten =
        part.length === 0 ? 0 : await named('write', undefined, () => file.write(part, at));
      return { bytesWritten, buffer: data };
    });
  }

  async writev(
    given: readonly NodeJS.ArrayBufferView[],
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffers: readonly NodeJS.ArrayBufferView[] }> {
    return await this.call('writev', async (file) => {
      const buffers = checkBuffers(given);
      if (buffers.length === 0) return { bytesWritten: 0, buffers };
      const at = typeof position === 'number' && position >= 0 ? position : null;
      const bytesWritten = await named('write', undefined, () => file.writeVector(buffers, at));
      return { bytesWritten, buffers };
    });
  }

  createReadStream(options?: object): ReadStream {
    return readStreamOf(this, options);
  }

  createWriteStream(options?: object): WriteStream {
    return writeStreamOf(this, options);
  }

  readLines(options?: object): Interface {
    return createInterface({ input: this.createReadStream(options), crlfDelay: Infinity });
  }

  readableWebStream(options: { type?: string } = {}): ReadableStream {
    if (this.file === undefined) throw invalidState('The FileHandle is closed');
    if (this.closing !== undefined) throw invalidState('The FileHandle is closing');
    if (this.streaming) throw invalidState('The FileHandle is locked');
    if (options.type !== undefined) checkString(options.type, 'options.type');
    this.streaming = true;
    const pull = async (controller: {
      enqueue(chunk: Uint8Array<ArrayBuffer>): void;
      close(): void;
    }): Promise<void> => {
      const chunk = new Uint8Array(READ_BUFFER_BYTES);
      const { bytesRead } = await this.read(chunk, 0, chunk.length, null);
      if (bytesRead > 0) controller.enqueue(chunk.subarray(0, bytesRead));
      else controller.close();
    };
    const stream =
      options.type === 'bytes'
        ? new ReadableStream({
            type: 'bytes',
            async pull(controller) {
              await pull(controller);
              // A reader that brought a buffer of its own is answered even at the end.
              controller.byobRequest?.respond(0);
            },
          })
        : new ReadableStream({ pull }, { highWaterMark: 0 });
    this.once('close', () => {
      stream.cancel().catch(() => {});
    });
    return stream;
  }

  /** As in Node an own property: `close` may be handed on unbound. */
  readonly close = async (): Promise<void> => {
    if (this.closing !== undefined) return await this.closing;
    const file = this.file;
    if (file === undefined) return;
    this.closing = this.shut(file);
    this.emit('close');
    await this.closing;
  };

  private async shut(file: OpenFile): Promise<void> {
    if (this.running > 0) await new Promise<void>((resolve) => (this.idle = resolve));
    this.file = undefined;
    await named('close', undefined, () => file.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Directories are opened for listing: their handle is no file's. */
function vfsHandle(file: OpenFile): number | undefined {
  return file.directory ? undefined : file.handle;
}

export function ownersOf(uid: unknown, gid: unknown): { uid?: number; gid?: number } {
  const user = checkUserId(uid, 'uid');
  const group = checkUserId(gid, 'gid');
  const changes: { uid?: number; gid?: number } = {};
  // -1, or the same in 32 bits: leave it.
  if (user !== -1 && user !== 2 ** 32 - 1) changes.uid = user;
  if (group !== -1 && group !== 2 ** 32 - 1) changes.gid = group;
  return changes;
}

function spanOf(
  offset: number | null | undefined,
  length: number | null | undefined,
  position: number | bigint | null | undefined,
): Span {
  return { offset: offset ?? null, length: length ?? null, position: position ?? null };
}

function offsetOfRead(position: number | bigint | null | undefined): number | null {
  if (typeof position === 'bigint') return position < 0n ? null : Number(position);
  return typeof position === 'number' && Number.isSafeInteger(position) && position >= 0
    ? position
    : null;
}

/** The part of `buffer` to read into, checked as Node does. */
function readPart(buffer: NodeJS.ArrayBufferView, span: Span): Uint8Array {
  const offset =
    span.offset === null || span.offset === undefined ? 0 : checkInteger(span.offset, 'offset', 0);
  const length = span.length ?? buffer.byteLength - offset;
  if (length === 0) return new Uint8Array(0);
  if (buffer.byteLength === 0) {
    throw invalidArgumentValue('buffer', buffer, 'is empty and cannot be written');
  }
  if (length < 0) throw outOfRange('length', '>= 0', length);
  if (offset + length > buffer.byteLength) {
    throw outOfRange('length', `<= ${buffer.byteLength - offset}`, length);
  }
  return bytesOf(buffer).subarray(offset, offset + length);
}

function writePart(
  data: unknown,
  offsetOrSpan: number | Span | null | undefined,
  lengthOrEncoding: number | string | null | undefined,
  position: number | null | undefined,
): { part: Uint8Array; at: number | null } {
  const place = (value: unknown): number | null =>
    typeof value === 'number' && value >= 0 ? value : null;
  if (!ArrayBuffer.isView(data)) {
    if (typeof data !== 'string') {
      throw invalidArgumentType(
        'buffer',
        'of type string or an instance of Buffer, TypedArray, or DataView',
        data,
      );
    }
    // write(string, position, encoding)
    const encoding = (lengthOrEncoding ?? 'utf8') as BufferEncoding;
    if (encoding === 'hex' && data.length % 2 !== 0) {
      throw invalidArgumentValue(
        'encoding',
        encoding,
        `is invalid for data of length ${data.length}`,
      );
    }
    return { part: Buffer.from(data, encoding), at: place(offsetOrSpan) };
  }
  if (data.byteLength === 0) return { part: bytesOf(data), at: null };
  const spanned = typeof offsetOrSpan === 'object' && offsetOrSpan !== null;
  const span = spanned
    ? offsetOrSpan
    : { offset: offsetOrSpan, length: lengthOrEncoding, position };
  const offset =
    span.offset === null || span.offset === undefined ? 0 : checkInteger(span.offset, 'offset', 0);
  const length = typeof span.length === 'number' ? span.length : data.byteLength - offset;
  if (offset > data.byteLength) throw outOfRange('offset', `<= ${data.byteLength}`, offset);
  if (length > data.byteLength - offset) {
    throw outOfRange('length', `<= ${data.byteLength - offset}`, length);
  }
  if (length < 0) throw outOfRange('length', '>= 0', length);
  checkInt32(length, 'length', 0);
  return { part: bytesOf(data).subarray(offset, offset + length), at: place(span.position) };
}
