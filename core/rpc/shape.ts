/**
 * Checks of JSON that came from a wire or a disk, built from small parts. A check returns the value
 * with its type or throws PROTOCOL naming the path; fields that it does not know are dropped, so
 * that a newer peer may send more.
 */
import { SextantError } from '../errors.js';

export type Check<T> = ((value: unknown, path: string) => T) & { readonly absent?: true };

type Shape<T> = { readonly [K in keyof T]-?: Check<Exclude<T[K], undefined>> };

function refuse(path: string, wanted: string): never {
  throw new SextantError('PROTOCOL', `${path}: ${wanted} expected`);
}

function integer(max: number, name: string): Check<number> {
  return (value, path) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max
      ? value
      : refuse(path, name);
}

export const u32 = integer(0xffff_ffff, 'u32');
/** Exact as a number: an LSN, a token, a Lamport clock. */
export const lsn = integer(Number.MAX_SAFE_INTEGER, 'LSN');
/** `volume * 2^32 + pg` must stay an exact number. */
export const VOLUME_MAX = 2 ** 21 - 1;
export const volumeNumber = integer(VOLUME_MAX, `volume number up to ${VOLUME_MAX}`);
/** A page number, or -1 for "before the first". */
export const pageOrBefore: Check<number> = (value, path) => (value === -1 ? -1 : u32(value, path));
export const flag: Check<boolean> = (value, path) =>
  typeof value === 'boolean' ? value : refuse(path, 'boolean');
export const text: Check<string> = (value, path) =>
  typeof value === 'string' && value.length <= 4096 ? value : refuse(path, 'short string');

export function oneOf<const T extends string>(...names: readonly T[]): Check<T> {
  return (value, path) =>
    names.find((name) => name === value) ?? refuse(path, `one of ${names.join(', ')}`);
}

export function constant<const T extends number>(wanted: T): Check<T> {
  return (value, path) => (value === wanted ? wanted : refuse(path, String(wanted)));
}

export function list<T>(item: Check<T>, max = 1_000_000): Check<T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > max) return refuse(path, 'list');
    return value.map((entry: unknown, index) => item(entry, `${path}[${index}]`));
  };
}

/** The field may be absent. */
export function optional<T>(check: Check<T>): Check<T> {
  const may: (value: unknown, path: string) => T = (value, path) => check(value, path);
  return Object.assign(may, { absent: true as const });
}

export function object<T extends object>(shape: Shape<T>): Check<T> {
  const fields = Object.entries(shape) as [string, Check<unknown>][];
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return refuse(path, 'object');
    }
    const result: Record<string, unknown> = {};
    for (const [name, check] of fields) {
      const given: unknown = (value as Record<string, unknown>)[name];
      if (given === undefined && check.absent === true) continue;
      result[name] = check(given, path === '' ? name : `${path}.${name}`);
    }
    return result as T;
  };
}

/** Both directions of one JSON message. */
export interface JsonCodec<T> {
  encode(value: T): Uint8Array;
  /** Throws PROTOCOL when the bytes are not such a message. */
  decode(bytes: Uint8Array): T;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

function parse(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(decoder.decode(bytes)) as unknown;
  } catch (cause) {
    throw new SextantError('PROTOCOL', `${what}: not JSON`, { cause });
  }
}

export function jsonCodec<T>(what: string, check: Check<T>): JsonCodec<T> {
  return {
    encode: (value) => encoder.encode(JSON.stringify(value)),
    decode: (bytes) => check(parse(bytes, what), what),
  };
}
