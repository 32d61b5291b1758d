/**
 * Names in the coordination tree.
 *
 * ```
 * path = "/" | 1*( "/" name )                at most 1024 characters
 * name = 1 to 255 characters, none of them "/", a control character or half of a surrogate pair;
 *        not "." and not ".."
 * ```
 *
 * The path of a sequential node ends in a prefix of at most 245 characters, which may be empty (`/queue/`); the tree
 * appends ten digits.
 */
import { SextantError } from '#core/errors.js';

export const PATH_CHARACTERS_MAX = 1024;
export const NAME_CHARACTERS_MAX = 255;
export const SEQUENCE_DIGITS = 10;
/** The counter of a parent ends here. */
export const SEQUENCE_END = 10 ** SEQUENCE_DIGITS;

/** Cc and Cs are the same in every Unicode version: replicas of different age agree. */
const BAD_CHARACTER = /[\p{Cc}\p{Cs}]/u;

function refuse(path: string, why: string): never {
  throw new SextantError('PROTOCOL', `bad path ${JSON.stringify(path.slice(0, 100))}: ${why}`);
}

/** Throws PROTOCOL. */
export function checkPath(path: string): void {
  if (path === '/') return;
  check(path, NAME_CHARACTERS_MAX, false);
}

/** Of a sequential node to be. Throws PROTOCOL. */
export function checkPrefix(path: string): void {
  check(path, NAME_CHARACTERS_MAX - SEQUENCE_DIGITS, true);
}

function check(path: string, lastMax: number, lastMayBeEmpty: boolean): void {
  if (path.length > PATH_CHARACTERS_MAX) refuse(path, `over ${PATH_CHARACTERS_MAX} characters`);
  if (!path.startsWith('/')) refuse(path, 'it starts with /');
  if (BAD_CHARACTER.test(path)) refuse(path, 'control character');
  const names = path.split('/');
  const last = names.length - 1;
  for (let i = 1; i <= last; i++) {
    const name = names[i] as string;
    if (name === '' && !(i === last && lastMayBeEmpty)) refuse(path, 'empty name');
    if (name === '.' || name === '..') refuse(path, `no ${name}: paths are absolute`);
    if (name.length > (i === last ? lastMax : NAME_CHARACTERS_MAX)) refuse(path, 'long name');
  }
}

/** Of any path but the root's. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function childOf(parent: string, name: string): string {
  return parent === '/' ? `/${name}` : `${parent}/${name}`;
}

export function sequenceText(counter: number): string {
  return String(counter).padStart(SEQUENCE_DIGITS, '0');
}

/** The counter in a sequential node's name; undefined of another. */
export function sequenceOf(name: string): number | undefined {
  const digits = name.slice(-SEQUENCE_DIGITS);
  return /^\d{10}$/.test(digits) ? Number(digits) : undefined;
}
