/** Whole files: readFile, writeFile and appendFile, on a path or on an open file. */
import { Buffer } from 'node:buffer';
import { constants } from 'node:fs';
import {
  checkBoolean,
  checkSignal,
  flagsOf,
  modeOf,
  optionsOf,
  type Options,
} from './arguments.js';
import { fileTooLarge, invalidArgumentType, throwIfAborted } from './errors.js';
import { FileHandle } from './file-handle.js';
import { named, type Files } from './files.js';
import { openFile, type OpenFile } from './open-file.js';
import { pathOf } from './paths.js';

const { S_IFMT, S_IFREG } = constants;
/** Largest file in one Buffer: libuv's limit, so that programs meet the same one. */
const READ_FILE_BYTES_MAX = 2 ** 31 - 1;
/** Between two looks at the abort signal. */
const CHUNK_BYTES = 512 * 1024;
const UNKNOWN_SIZE_BYTES = 64 * 1024;

type Chunk = NodeJS.ArrayBufferView | string;
type Chunks = Iterable<Chunk> | AsyncIterable<Chunk>;

export async function readAll(file: OpenFile, options: Options): Promise<Buffer | string> {
  const { signal, encoding } = options;
  throwIfAborted(signal);
  const { mode, size } = (await named('fstat', undefined, async () => file.attributes()))
    .attributes;
  if (size > READ_FILE_BYTES_MAX) throw fileTooLarge(size);
  const sized = (mode & S_IFMT) === S_IFREG && size > 0;
  const bytes = sized ? await readSized(file, size, signal) : await readToEnd(file, signal);
  if (encoding === undefined || encoding === null || encoding === 'buffer') return bytes;
  return bytes.toString(encoding);
}

async function readSized(file: OpenFile, size: number, signal?: AbortSignal): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(size);
  let done = 0;
  while (done < size) {
    throwIfAborted(signal);
    const part = bytes.subarray(done, Math.min(done + CHUNK_BYTES, size));
    const count = await named('read', undefined, () => file.read(part, null));
    done += count;
    if (count < part.length) break;
  }
  return done === size ? bytes : bytes.subarray(0, done);
}

async function readToEnd(file: OpenFile, signal?: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    throwIfAborted(signal);
    const part = Buffer.allocUnsafeSlow(UNKNOWN_SIZE_BYTES);
    const count = await named('read', undefined, () => file.read(part, null));
    if (count > 0) parts.push(part.subarray(0, count));
    if (count < part.length) break;
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

function isIterable(value: unknown): value is Chunks {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false;
  return Symbol.asyncIterator in value || Symbol.iterator in value;
}

async function writeBytes(
  file: OpenFile,
  data: NodeJS.ArrayBufferView,
  signal?: AbortSignal,
): Promise<void> {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  for (let done = 0; done < bytes.length; done += CHUNK_BYTES) {
    throwIfAborted(signal);
    const part = bytes.length <= CHUNK_BYTES ? bytes : bytes.subarray(done, done + CHUNK_BYTES);
    await named('write', undefined, () => file.write(part, null));
  }
}

export async function writeAll(
  file: OpenFile,
  data: NodeJS.ArrayBufferView | Chunks,
  options: Options,
): Promise<void> {
  const { signal, encoding } = options;
  throwIfAborted(signal);
  if (!isIterable(data)) return await writeBytes(file, data, signal);
  for await (const chunk of data) {
    throwIfAborted(signal);
    const bytes = ArrayBuffer.isView(chunk)
      ? chunk
      : Buffer.from(chunk, (encoding as BufferEncoding | null | undefined) ?? 'utf8');
    await writeBytes(file, bytes, signal);
    throwIfAborted(signal);
  }
}

/** What writeFile takes, as bytes or as something to iterate. */
export function writable(data: unknown, options: Options): NodeJS.ArrayBufferView | Chunks {
  if (ArrayBuffer.isView(data)) return data as NodeJS.ArrayBufferView;
  if (isIterable(data)) return data;
  if (typeof data !== 'string') {
    throw invalidArgumentType(
      'data',
      'of type string or an instance of Buffer, TypedArray, or DataView',
      data,
    );
  }
  const encoding = options.encoding as BufferEncoding | null | undefined;
  return Buffer.from(data, encoding || 'utf8');
}

/** Closes whatever comes of `work`. */
export async function thenClose<T>(file: OpenFile, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // The first error is the one to tell.
    await file.close().catch(() => {});
    throw error;
  }
  await named('close', undefined, () => file.close());
  return result;
}

export async function readFile(
  files: Files,
  target: unknown,
  given: unknown,
): Promise<Buffer | string> {
  const options = optionsOf(given, { flag: 'r' });
  if (target instanceof FileHandle) return await target.readFile(options);
  throwIfAborted(options.signal);
  const path = pathOf(target);
  const flags = flagsOf(options['flag'] || 'r');
  const file = await named('open', path, () => openFile(files, path, flags, 0o666));
  return await thenClose(file, () => readAll(file, options));
}

export async function writeFile(
  files: Files,
  target: unknown,
  data: unknown,
  given: unknown,
  defaultFlag = 'w',
): Promise<void> {
  const options = optionsOf(given, { encoding: 'utf8', mode: 0o666 });
  const flush = checkBoolean(options['flush'] ?? false, 'options.flush');
  const content = writable(data, options);
  checkSignal(options.signal, 'signal');
  if (target instanceof FileHandle) return await target.writeFile(data, options);
  throwIfAborted(options.signal);
  const path = pathOf(target);
  const flags = flagsOf(options['flag'] || defaultFlag);
  const mode = modeOf(options['mode'], 'mode', 0o666);
  const file = await named('open', path, () => openFile(files, path, flags, mode));
  await thenClose(file, async () => {
    await writeAll(file, content, options);
    if (flush) await named('fsync', undefined, () => file.sync(false));
  });
}
