/** Checks of arguments, with the rules and the words of Node 20. */
import { constants } from 'node:fs';
import { Buffer } from 'node:buffer';
import { invalidArgumentType, invalidArgumentValue, outOfRange } from './errors.js';

export const USER_ID_MAX = 2 ** 32 - 1;
const NO_OPTIONS = Object.freeze({});

export function checkInteger(
  value: unknown,
  name: string,
  min = Number.MIN_SAFE_INTEGER,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number') throw invalidArgumentType(name, 'of type number', value);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value);
  return value;
}

export function checkInt32(value: unknown, name: string, min = -(2 ** 31)): number {
  return checkInteger(value, name, min, 2 ** 31 - 1);
}

export function checkUint32(value: unknown, name: string, min = 0): number {
  return checkInteger(value, name, min, 2 ** 32 - 1);
}

export function checkBoolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw invalidArgumentType(name, 'of type boolean', value);
  return value;
}

export function checkString(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidArgumentType(name, 'of type string', value);
  return value;
}

export function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgumentType(name, 'of type function', value);
}

export function checkObject(value: unknown, name: string): object {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw invalidArgumentType(name, 'of type object', value);
  }
  return value;
}

export function checkSignal(value: unknown, name: string): AbortSignal | undefined {
  if (value === undefined) return undefined;
  if (value === null || typeof value !== 'object' || !('aborted' in value)) {
    throw invalidArgumentType(name, 'an instance of AbortSignal', value);
  }
  return value as AbortSignal;
}

/** Options that may be an encoding alone. */
export interface Options {
  readonly encoding?: BufferEncoding | 'buffer' | null;
  readonly signal?: AbortSignal;
  readonly [name: string]: unknown;
}

export function optionsOf(options: unknown, defaults: Options = NO_OPTIONS): Options {
  if (options === null || options === undefined || typeof options === 'function') return defaults;
  let given: Options;
  if (typeof options === 'string') {
    given = { ...defaults, encoding: options as BufferEncoding };
  } else if (typeof options === 'object') {
    given = options as Options;
  } else {
    throw invalidArgumentType('options', 'one of type string or object', options);
  }
  const encoding: unknown = given.encoding;
  if (encoding !== 'buffer' && encoding !== undefined && encoding !== null && encoding !== '') {
    if (!Buffer.isEncoding(encoding as string)) {
      throw invalidArgumentValue('encoding', encoding, 'is invalid encoding');
    }
  }
  checkSignal(given.signal, 'options.signal');
  return given;
}

/** Modes are numbers, or octal in a string. */
export function modeOf(value: unknown, name: string, otherwise?: number): number {
  let mode: unknown = value ?? otherwise;
  if (typeof mode === 'string') {
    if (!/^[0-7]+$/.test(mode)) {
      throw invalidArgumentValue(
        name,
        mode,
        'must be a 32-bit unsigned integer or an octal string',
      );
    }
    mode = Number.parseInt(mode, 8);
  }
  return checkUint32(mode, name);
}

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } = constants;
const FLAGS: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  rs: O_RDONLY | O_SYNC,
  sr: O_RDONLY | O_SYNC,
  'r+': O_RDWR,
  'rs+': O_RDWR | O_SYNC,
  'sr+': O_RDWR | O_SYNC,
  w: O_TRUNC | O_CREAT | O_WRONLY,
  wx: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  xw: O_TRUNC | O_CREAT | O_WRONLY | O_EXCL,
  'w+': O_TRUNC | O_CREAT | O_RDWR,
  'wx+': O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  'xw+': O_TRUNC | O_CREAT | O_RDWR | O_EXCL,
  a: O_APPEND | O_CREAT | O_WRONLY,
  ax: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  xa: O_APPEND | O_CREAT | O_WRONLY | O_EXCL,
  as: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  sa: O_APPEND | O_CREAT | O_WRONLY | O_SYNC,
  'a+': O_APPEND | O_CREAT | O_RDWR,
  'ax+': O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  'xa+': O_APPEND | O_CREAT | O_RDWR | O_EXCL,
  'as+': O_APPEND | O_CREAT | O_RDWR | O_SYNC,
  'sa+': O_APPEND | O_CREAT | O_RDWR | O_SYNC,
};

/** Flags of open(2), from a number or from Node's letters. */
export function flagsOf(flags: unknown): number {
  if (typeof flags === 'number') return checkInt32(flags, 'flags');
  if (flags === null || flags === undefined) return O_RDONLY;
  const known = typeof flags === 'string' && Object.hasOwn(FLAGS, flags) ? FLAGS[flags] : undefined;
  if (known === undefined) throw invalidArgumentValue('flags', flags);
  return known;
}

/** A time as Node takes it, in seconds since 1970. */
export function secondsOf(time: unknown, now: () => number, name = 'time'): number {
  if (typeof time === 'string' && String(+time) === time) return +time;
  if (typeof time === 'number' && Number.isFinite(time)) return time < 0 ? now() / 1000 : time;
  if (time instanceof Date) return time.getTime() / 1000;
  throw invalidArgumentType(name, 'an instance of Date or an Time in seconds', time);
}

/** Seconds and nanoseconds, at the microseconds that libuv keeps. */
export function timeSpec(seconds: number): { sec: number; nsec: number } {
  let sec = Math.trunc(seconds);
  let nsec = Math.trunc((seconds - sec) * 1e9);
  nsec -= nsec % 1000;
  if (nsec < 0) {
    nsec += 1e9;
    sec -= 1;
  }
  return { sec, nsec };
}

export function checkUserId(value: unknown, name: string): number {
  return checkInteger(value, name, -1, USER_ID_MAX);
}

export function checkBuffers(buffers: unknown): readonly NodeJS.ArrayBufferView[] {
  if (!Array.isArray(buffers) || !buffers.every((buffer) => ArrayBuffer.isView(buffer))) {
    throw invalidArgumentType('buffers', 'an ArrayBufferView[]', buffers);
  }
  return buffers as NodeJS.ArrayBufferView[];
}

/** The bytes of a view, without a copy. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return view instanceof Uint8Array
    ? view
    : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

export function decoded(bytes: Uint8Array, encoding: Options['encoding']): string | Buffer {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return encoding === 'buffer' ? Buffer.from(view) : view.toString(encoding ?? 'utf8');
}
