/**
 * Errors in the shape that programs know from `node:fs`:
 *
 * - system errors: `Error` with `errno` (negative), `code`, `syscall`, `path`, `dest`, message
 *   `ENOENT: no such file or directory, open '/x'`;
 * - argument errors: `TypeError` or `RangeError` with a `code` such as ERR_INVALID_ARG_TYPE, worded as Node words them;
 * - errors of `cp` and `rm`: name `SystemError`, code such as ERR_FS_CP_EEXIST, the cause in `info`.
 */
import { getSystemErrorMap, inspect } from 'node:util';
import { isSextantError } from '#core/errors.js';
import { ERRNO, type Errno } from '../vfs/errno.js';
import { FsError } from '../vfs/vfs.js';

const SYSTEM_ERRORS = getSystemErrorMap();

/** Those that libuv has no words for, in the words of strerror(3). */
const OTHER_WORDS: Partial<Record<Errno, string>> = {
  EDEADLK: 'resource deadlock avoided',
  ENOLCK: 'no locks available',
  ENODATA: 'no data available',
  ESTALE: 'stale file handle',
  EDQUOT: 'disk quota exceeded',
};

export interface SystemErrorFields {
  errno: number;
  code: string;
  syscall: string;
  path?: string;
  dest?: string;
}

export function systemError(
  errno: Errno,
  syscall: string,
  path?: string,
  dest?: string,
): Error & SystemErrorFields {
  const known = SYSTEM_ERRORS.get(-ERRNO[errno]);
  const code = known?.[0] ?? errno;
  const words = known?.[1] ?? OTHER_WORDS[errno] ?? 'unknown error';
  let message = `${code}: ${words}, ${syscall}`;
  if (path !== undefined) message += ` '${path}'`;
  if (dest !== undefined) message += ` -> '${dest}'`;
  const fields: SystemErrorFields = { errno: -ERRNO[errno], code, syscall };
  if (path !== undefined) fields.path = path;
  if (dest !== undefined) fields.dest = dest;
  return Object.assign(new Error(message), fields);
}

/** What an operation below threw, as Node would show it; anything that is no file system's error stays as it is. */
export function asNodeError(
  error: unknown,
  syscall: string,
  path?: string,
  dest?: string,
): unknown {
  if (error instanceof FsError) return systemError(error.errno, syscall, path, dest);
  if (isSextantError(error)) {
    const shown = systemError('EIO', syscall, path, dest);
    shown.message += ` (${error.message})`;
    shown.cause = error;
    return shown;
  }
  return error;
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && codes.includes(code);
}

export function isErrno(error: unknown, ...errnos: Errno[]): boolean {
  return error instanceof FsError && errnos.includes(error.errno);
}

class CodedTypeError extends TypeError {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
  override toString(): string {
    return `${this.name} [${this.code}]: ${this.message}`;
  }
}

class CodedRangeError extends RangeError {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
  override toString(): string {
    return `${this.name} [${this.code}]: ${this.message}`;
  }
}

/** As Node's errors describe what they got. */
function received(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'function') return `function ${value.name}`;
  if (typeof value === 'object') {
    const name: unknown = value.constructor?.name;
    if (typeof name === 'string' && name !== '') return `an instance of ${name}`;
    return inspect(value, { depth: -1 });
  }
  const shown = inspect(value, { colors: false });
  return `type ${typeof value} (${shown.length > 28 ? `${shown.slice(0, 25)}...` : shown})`;
}

function subject(name: string): string {
  return name.includes('.') ? 'property' : 'argument';
}

/** `expected` is the middle of the sentence: `of type string`, `an instance of Buffer or URL`. */
export function invalidArgumentType(name: string, expected: string, value: unknown): TypeError {
  return new CodedTypeError(
    'ERR_INVALID_ARG_TYPE',
    `The "${name}" ${subject(name)} must be ${expected}. Received ${received(value)}`,
  );
}

export function invalidArgumentValue(
  name: string,
  value: unknown,
  reason = 'is invalid',
): TypeError {
  let shown = inspect(value);
  if (shown.length > 128) shown = `${shown.slice(0, 128)}...`;
  return new CodedTypeError(
    'ERR_INVALID_ARG_VALUE',
    `The ${subject(name)} '${name}' ${reason}. Received ${shown}`,
  );
}

function withSeparators(digits: string): string {
  return digits.replaceAll(/(?<=\d)(?=(?:\d{3})+$)/g, '_');
}

export function outOfRange(name: string, range: string, value: unknown): RangeError {
  let shown = inspect(value);
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) > 2 ** 32) {
    shown = withSeparators(String(value));
  } else if (typeof value === 'bigint') {
    const large = value > 2n ** 32n || value < -(2n ** 32n);
    shown = `${large ? withSeparators(String(value)) : String(value)}n`;
  }
  return new CodedRangeError(
    'ERR_OUT_OF_RANGE',
    `The value of "${name}" is out of range. It must be ${range}. Received ${shown}`,
  );
}

export function fileTooLarge(size: number): RangeError {
  return new CodedRangeError('ERR_FS_FILE_TOO_LARGE', `File size (${size}) is greater than 2 GiB`);
}

export function incompatibleOptions(one: string, other: string): TypeError {
  return new CodedTypeError(
    'ERR_INCOMPATIBLE_OPTION_PAIR',
    `Option "${one}" cannot be used in combination with option "${other}"`,
  );
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

export function methodNotImplemented(method: string): Error {
  return coded('ERR_METHOD_NOT_IMPLEMENTED', `The ${method} method is not implemented`);
}

export function invalidState(message: string): Error {
  return coded('ERR_INVALID_STATE', `Invalid state: ${message}`);
}

export function directoryClosed(): Error {
  return coded('ERR_DIR_CLOSED', 'Directory handle was closed');
}

/** `syscall` is the name of Node's internal function, as Node has it. */
export function fileClosed(syscall: string): Error {
  return Object.assign(new Error('file closed'), { code: 'EBADF', syscall });
}

export class AbortError extends Error {
  readonly code = 'ABORT_ERR';
  constructor(reason: unknown) {
    super('The operation was aborted', { cause: reason });
    this.name = 'AbortError';
  }
}

export function throwIfAborted(signal: AbortSignal | undefined | null): void {
  if (signal?.aborted === true) throw new AbortError(signal.reason);
}

const OPERATION_WORDS = {
  ERR_FS_CP_DIR_TO_NON_DIR: 'Cannot overwrite non-directory with directory',
  ERR_FS_CP_EEXIST: 'Target already exists',
  ERR_FS_CP_EINVAL: 'Invalid src or dest',
  ERR_FS_CP_FIFO_PIPE: 'Cannot copy a FIFO pipe',
  ERR_FS_CP_NON_DIR_TO_DIR: 'Cannot overwrite directory with non-directory',
  ERR_FS_CP_SOCKET: 'Cannot copy a socket file',
  ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY: 'Cannot overwrite symlink in subdirectory of self',
  ERR_FS_CP_UNKNOWN: 'Cannot copy an unknown file type',
  ERR_FS_EISDIR: 'Path is a directory',
} as const;

/** Node's `SystemError` of cp and rm: `errno` is positive here. */
export function operationError(
  key: keyof typeof OPERATION_WORDS,
  context: { code: Errno; message: string; syscall: string; path: string },
): Error {
  const info = { ...context, errno: ERRNO[context.code] };
  const error = new Error(
    `${OPERATION_WORDS[key]}: ${info.syscall} returned ${info.code} (${info.message}) ${info.path}`,
  );
  Object.defineProperty(error, 'name', {
    value: 'SystemError',
    writable: true,
    configurable: true,
  });
  const { errno, syscall, path } = info;
  return Object.assign(error, { code: key, info, errno, syscall, path });
}
