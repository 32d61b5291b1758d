/**
 * COPY's bytes, cut into rows and fields.
 *
 *     text   fields by the delimiter; \b \f \n \r \t \v \ooo \xhh and \<other>; a field that is exactly the NULL text
 *            is NULL; a line `\.` ends the data
 *     csv    fields by the delimiter; within quotes everything, the quote itself after the escape; NULL only unquoted
 */
import { SqlError } from '../sql-error.js';
import type { CopyOptions } from './copy-options.js';

const NEWLINE = 10;
const RETURN = 13;
const BACKSLASH = 92;

const strict = new TextDecoder('utf-8', { fatal: true });

/** 22021 for what is not UTF-8. */
export function decodeUtf8(bytes: Buffer, start: number, end: number): string {
  for (let i = start; i < end; i++) {
    if ((bytes[i] as number) >= 0x80 || bytes[i] === 0) return decodeStrictly(bytes, start, end);
  }
  return bytes.toString('latin1', start, end);
}

function decodeStrictly(bytes: Buffer, start: number, end: number): string {
  try {
    const text = strict.decode(bytes.subarray(start, end));
    if (!text.includes('\0')) return text;
  } catch {
    // Falls through.
  }
  throw new SqlError('22021', 'invalid byte sequence for encoding "UTF8"');
}

/** Finds rows in a buffer that grows at its end. */
export class RowFinder {
  readonly #quote: number;
  readonly #escape: number;
  readonly #isCsv: boolean;
  /** How far it has looked, and whether that is within quotes. */
  #at = 0;
  #quoted = false;

  constructor(options: CopyOptions) {
    this.#isCsv = options.format === 'csv';
    this.#quote = options.quote.charCodeAt(0);
    this.#escape = options.escape.charCodeAt(0);
  }

  /** Offset of the newline that ends the row which begins at `start`; -1: it is not there yet. */
  end(bytes: Buffer, start: number, length: number): number {
    if (this.#at < start) this.#at = start;
    if (!this.#isCsv) {
      const found = bytes.indexOf(NEWLINE, this.#at);
      if (found >= 0 && found < length) {
        // A backslash before the newline makes it part of the field.
        let back = found - 1;
        while (back >= start && bytes[back] === BACKSLASH) back--;
        if ((found - back) % 2 === 1) return found;
        this.#at = found + 1;
        return this.end(bytes, start, length);
      }
      this.#at = length;
      return -1;
    }
    for (; this.#at < length; this.#at++) {
      const byte = bytes[this.#at] as number;
      if (this.#quoted && byte === this.#escape && this.#escape !== this.#quote) {
        if (this.#at + 1 >= length) return -1;
        const after = bytes[this.#at + 1];
        if (after === this.#quote || after === this.#escape) this.#at++;
      } else if (byte === this.#quote) this.#quoted = !this.#quoted;
      else if (byte === NEWLINE && !this.#quoted) return this.#at;
    }
    return -1;
  }

  /** The bytes before `start` were taken out of the buffer. */
  moved(start: number): void {
    this.#at = Math.max(0, this.#at - start);
  }

  get insideQuotes(): boolean {
    return this.#quoted;
  }
}

/** Where the row's content ends: a carriage return before the newline goes with it. */
export function trimReturn(bytes: Buffer, start: number, end: number): number {
  return end > start && bytes[end - 1] === RETURN ? end - 1 : end;
}

export function isEndOfData(bytes: Buffer, start: number, end: number): boolean {
  return end - start === 2 && bytes[start] === BACKSLASH && bytes[start + 1] === 0x2e;
}

const ESCAPES: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** A text field that has a backslash in it. */
export function unescapeText(bytes: Buffer, start: number, end: number): string {
  const out = Buffer.allocUnsafe(end - start);
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte !== BACKSLASH || i + 1 >= end) {
      out[length++] = byte;
      continue;
    }
    const rest = bytes.toString('latin1', i + 1, Math.min(end, i + 4));
    const octal = /^[0-7]{1,3}/.exec(rest);
    const hex = /^x([0-9a-fA-F]{1,2})/.exec(rest);
    if (octal !== null) {
      out[length++] = parseInt(octal[0], 8) & 0xff;
      i += octal[0].length;
    } else if (hex !== null) {
      out[length++] = parseInt(hex[1], 16);
      i += hex[0].length;
    } else {
      out[length++] = (ESCAPES[rest.charAt(0)] ?? '').charCodeAt(0) || (bytes[i + 1] as number);
      i++;
    }
  }
  return decodeUtf8(out, 0, length);
}

/** The fields of one csv row; null: NULL. `wasQuoted[i]` tells an empty text from nothing. */
export function splitCsv(row: string, o: CopyOptions, wasQuoted: boolean[]): string[] {
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  let inside = false;
  for (let i = 0; i < row.length; i++) {
    const char = row.charAt(i);
    if (inside) {
      const next = row.charAt(i + 1);
      if (char === o.escape && (next === o.quote || next === o.escape)) {
        field += next;
        i++;
      } else if (char === o.quote) inside = false;
      else field += char;
    } else if (char === o.quote) {
      inside = true;
      quoted = true;
    } else if (char === o.delimiter) {
      wasQuoted[fields.length] = quoted;
      fields.push(field);
      field = '';
      quoted = false;
    } else field += char;
  }
  wasQuoted[fields.length] = quoted;
  fields.push(field);
  return fields;
}
