/**
 * text, varchar, bpchar, "char", name, unknown, cstring. Length limits are type modifiers (modifier.ts).
 *
 * A bpchar value is kept padded with blanks to its declared length; comparison and hashing ignore trailing blanks.
 */
import { SqlError } from '../sql-error.js';
import { readText, textBytes, toUtf8 } from './bytes.js';
import { compareText, type TypeCodec } from './sql-type.js';

export const NAME_BYTES_MAX = 63;

/** 22021: what a client sends may not hold zero bytes. */
export function checkText(text: string): string {
  if (text.includes('\0')) {
    throw new SqlError('22021', 'invalid byte sequence for encoding "UTF8": 0x00');
  }
  return text;
}

export const textCodec: TypeCodec = {
  storage: 'text',
  fromText: checkText,
  toText: (value: string) => value,
  fromBinary: (bytes, start, end) => checkText(readText(bytes, start, end)),
  toBinary: (value: string) => toUtf8(value),
  compare: compareText,
  equal: (a: string, b: string) => a === b,
  hashKey: (value: string) => value,
};

/** Hot: no regular expression; most values have no or many blanks at the end. */
export function trimBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 0x20) end--;
  return end === text.length ? text : text.slice(0, end);
}

export const bpcharCodec: TypeCodec = {
  ...textCodec,
  compare: (a: string, b: string) => compareText(trimBlanks(a), trimBlanks(b)),
  equal: (a: string, b: string) => a === b || trimBlanks(a) === trimBlanks(b),
  hashKey: (value: string) => trimBlanks(value),
};

/** Cuts to at most `bytesMax` bytes of UTF-8, never through a character. */
export function clipBytes(text: string, bytesMax: number): string {
  if (text.length * 3 <= bytesMax || textBytes(text) <= bytesMax) return text;
  let bytes = 0;
  let clipped = '';
  for (const char of text) {
    bytes += textBytes(char);
    if (bytes > bytesMax) break;
    clipped += char;
  }
  return clipped;
}

export const nameCodec: TypeCodec = {
  ...textCodec,
  fromText: (text) => clipBytes(checkText(text), NAME_BYTES_MAX),
};

/** "char": one byte; PostgreSQL silently keeps the first of a longer text. Bytes above 127 are \ooo in text. */
export const charCodec: TypeCodec = {
  ...textCodec,
  fromText(text) {
    const octal = /^\\([0-3][0-7]{2})$/.exec(text);
    if (octal !== null) return String.fromCharCode(Number.parseInt(octal[1] as string, 8));
    const code = text.charCodeAt(0);
    if (text === '' || code === 0) return '';
    if (code < 0x80) return text.charAt(0);
    return String.fromCharCode(toUtf8(text.slice(0, 2))[0] as number);
  },
  toText(value: string) {
    const code = value.charCodeAt(0);
    return code >= 0x80 ? `\\${code.toString(8)}` : value;
  },
  fromBinary(bytes, start) {
    const byte = bytes[start] ?? 0;
    return byte === 0 ? '' : String.fromCharCode(byte);
  },
  toBinary: (value: string) => Uint8Array.of(value === '' ? 0 : value.charCodeAt(0)),
};
