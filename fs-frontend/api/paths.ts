/**
 * Paths are bytes, kept as they came: a string (UTF-8), a Buffer, or a `file:` URL. Relative ones start at the root,
 * which is also the working directory.
 */
import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import { isUint8Array } from 'node:util/types';
import { FsError } from '../vfs/vfs.js';
import { invalidArgumentType, invalidArgumentValue } from './errors.js';

export type PathLike = string | Uint8Array | URL;

/** With the NUL at its end, as Linux has it. */
export const PATH_BYTES_MAX = 4096;
const SLASH = 0x2f;

export class Path {
  readonly bytes: Uint8Array;
  /** As errors show it. */
  readonly text: string;

  constructor(bytes: Uint8Array, text: string) {
    this.bytes = bytes;
    this.text = text;
  }

  get endsWithSlash(): boolean {
    return this.bytes.length > 0 && this.bytes[this.bytes.length - 1] === SLASH;
  }
}

function isUrl(value: unknown): value is URL {
  return (
    value instanceof URL ||
    (value as { href?: unknown; protocol?: unknown } | null)?.href !== undefined
  );
}

/** A string or bytes, out of whatever stands for a path. */
export function plainPath(value: unknown, name = 'path'): string | Uint8Array {
  const path: unknown = isUrl(value) ? fileURLToPath(value) : value;
  if (typeof path !== 'string' && !isUint8Array(path)) {
    throw invalidArgumentType(name, 'of type string or an instance of Buffer or URL', path);
  }
  if (typeof path === 'string' ? path.includes('\0') : path.includes(0)) {
    throw invalidArgumentValue(
      name,
      path,
      'must be a string, Uint8Array, or URL without null bytes',
    );
  }
  return path;
}

export function pathOf(value: unknown, name = 'path'): Path {
  const path = plainPath(value, name);
  if (typeof path === 'string') return new Path(Buffer.from(path), path);
  // A copy: the caller may write over its buffer while the operation waits.
  const bytes = Buffer.from(path);
  return new Path(bytes, bytes.toString());
}

export function pathOfBytes(bytes: Uint8Array): Path {
  return new Path(bytes, Buffer.from(bytes).toString());
}

/** The names between slashes, last first: a stack from which the walk pops. */
export function pushNames(stack: Uint8Array[], bytes: Uint8Array): void {
  if (bytes.length >= PATH_BYTES_MAX) throw new FsError('ENAMETOOLONG');
  let end = bytes.length;
  for (let at = bytes.length - 1; at >= -1; at--) {
    if (at === -1 || bytes[at] === SLASH) {
      if (at + 1 < end) stack.push(bytes.subarray(at + 1, end));
      end = at;
    }
  }
}

export function joinBytes(folder: Uint8Array, name: Uint8Array): Uint8Array {
  if (folder.length === 0) return name;
  const slash = folder[folder.length - 1] === SLASH ? 0 : 1;
  const joined = Buffer.allocUnsafe(folder.length + slash + name.length);
  joined.set(folder, 0);
  if (slash === 1) joined[folder.length] = SLASH;
  joined.set(name, folder.length + slash);
  return joined;
}
