/** Arrays of any type: `{1,NULL,"a b"}`, `[0:1]={1,2}`, and the binary format. int2vector and oidvector print bare. */
import { SqlError } from '../sql-error.js';
import * as b from './bytes.js';
import {
  compareNumbers,
  invalidBinary,
  type SqlType,
  type TextContext,
  type TypeCodec,
} from './sql-type.js';
import type { SqlArray, Value } from './value.js';

const DIMENSIONS_MAX = 6;
const ELEMENTS_MAX = 134_217_727;

export function makeArray(elementOid: number, elements: readonly Value[]): SqlArray {
  return {
    elementOid,
    dimensions: elements.length === 0 ? [] : [elements.length],
    lowerBounds: elements.length === 0 ? [] : [1],
    elements,
  };
}

const malformed = (text: string, detail: string): SqlError =>
  new SqlError('22P02', `malformed array literal: "${text}"`, { detail });

class ArrayReader {
  readonly #text: string;
  readonly #element: SqlType;
  readonly #context: TextContext;
  #at: number;
  readonly elements: Value[] = [];
  readonly dimensions: number[] = [];

  constructor(text: string, at: number, element: SqlType, context: TextContext) {
    this.#text = text;
    this.#at = at;
    this.#element = element;
    this.#context = context;
  }

  read(): void {
    this.#skip();
    if (this.#text[this.#at] !== '{') {
      throw malformed(this.#text, 'Array value must start with "{" or dimension information.');
    }
    this.#level(0);
    this.#skip();
    if (this.#at < this.#text.length) {
      throw malformed(this.#text, 'Junk after closing right brace.');
    }
    if (this.elements.length === 0) this.dimensions.length = 0;
  }

  #skip(): void {
    while (/[ \t\n\v\f\r]/.test(this.#text.charAt(this.#at))) this.#at++;
  }

  /** Reads one brace group; all groups of a level must have the same length and depth. */
  #level(depth: number): void {
    if (depth >= DIMENSIONS_MAX) {
      throw new SqlError(
        '54000',
        `number of array dimensions exceeds the maximum allowed (${DIMENSIONS_MAX})`,
      );
    }
    this.#at++;
    let count = 0;
    this.#skip();
    if (this.#text[this.#at] === '}' && depth === 0) {
      this.#at++;
      return;
    }
    for (;;) {
      this.#skip();
      if (this.#text[this.#at] === '{') {
        this.#level(depth + 1);
      } else {
        if (this.dimensions.length > depth + 1) throw this.#ragged();
        if (this.#leafDepth >= 0 && this.#leafDepth !== depth) throw this.#ragged();
        this.#leafDepth = depth;
        this.#item();
      }
      count++;
      this.#skip();
      const next = this.#text[this.#at++];
      if (next === ',') continue;
      if (next === '}') break;
      if (next === undefined) throw malformed(this.#text, 'Unexpected end of input.');
      throw malformed(this.#text, `Unexpected array element.`);
    }
    if (this.dimensions[depth] === undefined) this.dimensions[depth] = count;
    else if (this.dimensions[depth] !== count) throw this.#ragged();
  }
  #leafDepth = -1;

  #ragged(): SqlError {
    return malformed(
      this.#text,
      'Multidimensional arrays must have sub-arrays with matching dimensions.',
    );
  }

  #item(): void {
    const text = this.#text;
    if (text[this.#at] === '"') {
      let item = '';
      for (this.#at++; text[this.#at] !== '"'; this.#at++) {
        if (text[this.#at] === '\\') this.#at++;
        if (this.#at >= text.length) throw malformed(text, 'Unexpected end of input.');
        item += text[this.#at];
      }
      this.#at++;
      this.elements.push(this.#element.fromText(item, this.#context));
      return;
    }
    let item = '';
    let escaped = false;
    for (; this.#at < text.length; this.#at++) {
      const char = text.charAt(this.#at);
      if (char === ',' || char === '}' || char === '{' || char === '"') break;
      if (char === '\\') {
        escaped = true;
        this.#at++;
      }
      item += text.charAt(this.#at);
    }
    if (this.#at >= text.length) throw malformed(text, 'Unexpected end of input.');
    const char = text.charAt(this.#at);
    if (char === '{' || char === '"') throw malformed(text, `Unexpected "${char}" character.`);
    item = escaped ? item : item.replace(/[ \t\n\v\f\r]+$/, '');
    if (item === '') throw malformed(text, `Unexpected "${char}" character.`);
    const isNull = !escaped && item.toUpperCase() === 'NULL';
    this.elements.push(isNull ? null : this.#element.fromText(item, this.#context));
  }
}

function parseArray(text: string, element: SqlType, context: TextContext): SqlArray {
  const bounds = /^\s*((?:\[[+-]?\d+(?::[+-]?\d+)?\])+)\s*=/.exec(text);
  const reader = new ArrayReader(text, bounds === null ? 0 : bounds[0].length, element, context);
  reader.read();
  const lowerBounds = reader.dimensions.map(() => 1);
  if (bounds !== null) {
    const given = [...(bounds[1] as string).matchAll(/\[([+-]?\d+)(?::([+-]?\d+))?\]/g)];
    const ranges = given.map((m) =>
      m[2] === undefined ? [1, Number(m[1])] : [Number(m[1]), Number(m[2])],
    );
    const matches =
      ranges.length === reader.dimensions.length &&
      ranges.every(
        ([from, to], i) => (to as number) - (from as number) + 1 === reader.dimensions[i],
      );
    if (!matches) throw malformed(text, 'Specified array dimensions do not match array contents.');
    ranges.forEach(([from], i) => (lowerBounds[i] = from as number));
  }
  return {
    elementOid: element.oid,
    dimensions: reader.dimensions,
    lowerBounds,
    elements: reader.elements,
  };
}

function quoteItem(item: string): string {
  const plain = item !== '' && item.toUpperCase() !== 'NULL' && !/[{},"\\ \t\n\v\f\r]/.test(item);
  return plain ? item : `"${item.replace(/["\\]/g, '\\$&')}"`;
}

function formatArray(value: SqlArray, element: SqlType, context: TextContext): string {
  let at = 0;
  const level = (depth: number): string => {
    const parts: string[] = [];
    for (let i = 0; i < (value.dimensions[depth] as number); i++) {
      if (depth + 1 < value.dimensions.length) {
        parts.push(level(depth + 1));
      } else {
        const item = value.elements[at++] as Value;
        parts.push(item === null ? 'NULL' : quoteItem(element.toText(item, context)));
      }
    }
    return `{${parts.join(',')}}`;
  };
  if (value.dimensions.length === 0) return '{}';
  const body = level(0);
  if (value.lowerBounds.every((bound) => bound === 1)) return body;
  const bounds = value.lowerBounds.map(
    (bound, i) => `[${bound}:${bound + (value.dimensions[i] as number) - 1}]`,
  );
  return `${bounds.join('')}=${body}`;
}

function decodeArray(bytes: Uint8Array, start: number, end: number, element: SqlType): SqlArray {
  if (end - start < 12) throw invalidBinary();
  const depth = b.readInt4BE(bytes, start);
  if (depth < 0 || depth > DIMENSIONS_MAX)
    throw invalidBinary(`invalid number of dimensions: ${depth}`);
  if (b.readInt4BE(bytes, start + 8) !== element.oid) {
    throw new SqlError('42804', 'wrong element type');
  }
  let at = start + 12;
  const dimensions: number[] = [];
  const lowerBounds: number[] = [];
  let count = depth === 0 ? 0 : 1;
  for (let i = 0; i < depth; i++, at += 8) {
    if (at + 8 > end) throw invalidBinary();
    const length = b.readInt4BE(bytes, at);
    if (length < 0) throw invalidBinary();
    dimensions.push(length);
    lowerBounds.push(b.readInt4BE(bytes, at + 4));
    count *= length;
  }
  if (count > ELEMENTS_MAX || count * 4 > end - at) throw invalidBinary();
  const elements: Value[] = [];
  for (let i = 0; i < count; i++) {
    if (at + 4 > end) throw invalidBinary();
    const length = b.readInt4BE(bytes, at);
    at += 4;
    if (length < -1 || at + Math.max(length, 0) > end) throw invalidBinary();
    elements.push(length === -1 ? null : element.fromBinary(bytes, at, at + length));
    if (length > 0) at += length;
  }
  if (at !== end) throw invalidBinary();
  const empty = count === 0;
  return {
    elementOid: element.oid,
    dimensions: empty ? [] : dimensions,
    lowerBounds: empty ? [] : lowerBounds,
    elements,
  };
}

function encodeArray(value: SqlArray, element: SqlType): Uint8Array {
  const items = value.elements.map((item) => (item === null ? null : element.toBinary(item)));
  const headerBytes = 12 + value.dimensions.length * 8;
  const bytes = new Uint8Array(
    items.reduce((sum, item) => sum + 4 + (item?.length ?? 0), headerBytes),
  );
  b.putInt4BE(bytes, 0, value.dimensions.length);
  b.putInt4BE(bytes, 4, items.includes(null) ? 1 : 0);
  b.putInt4BE(bytes, 8, element.oid);
  value.dimensions.forEach((length, i) => {
    b.putInt4BE(bytes, 12 + i * 8, length);
    b.putInt4BE(bytes, 16 + i * 8, value.lowerBounds[i] as number);
  });
  let at = headerBytes;
  for (const item of items) {
    b.putInt4BE(bytes, at, item === null ? -1 : item.length);
    at += 4;
    if (item !== null) bytes.set(item, at);
    at += item?.length ?? 0;
  }
  return bytes;
}

/** Element by element, NULL above all; then the shorter first, then by dimensions. */
export function compareArrays(a: SqlArray, c: SqlArray, element: SqlType): number {
  const length = Math.min(a.elements.length, c.elements.length);
  for (let i = 0; i < length; i++) {
    const x = a.elements[i] as Value;
    const y = c.elements[i] as Value;
    if (x === null || y === null) {
      if (x !== y) return x === null ? 1 : -1;
      continue;
    }
    const order = element.compare(x, y);
    if (order !== 0) return order;
  }
  const longer =
    compareNumbers(a.elements.length, c.elements.length) ||
    compareNumbers(a.dimensions.length, c.dimensions.length);
  if (longer !== 0) return longer;
  for (let i = 0; i < a.dimensions.length; i++) {
    const order =
      compareNumbers(a.dimensions[i] as number, c.dimensions[i] as number) ||
      compareNumbers(a.lowerBounds[i] as number, c.lowerBounds[i] as number);
    if (order !== 0) return order;
  }
  return 0;
}

export function arrayCodec(element: SqlType): TypeCodec {
  return {
    storage: 'generic',
    ordered: element.ordered,
    fromText: (text, context) => parseArray(text, element, context),
    toText: (value: SqlArray, context) => formatArray(value, element, context),
    fromBinary: (bytes, start, end) => decodeArray(bytes, start, end, element),
    toBinary: (value: SqlArray) => encodeArray(value, element),
    compare: (a: SqlArray, c: SqlArray) => compareArrays(a, c, element),
    hashKey(value: SqlArray) {
      const keys = value.elements.map((item) => {
        if (item === null) return 'n';
        const key = String(element.hashKey(item));
        return `${key.length}:${key}`;
      });
      return `${value.dimensions.join(',')};${value.lowerBounds.join(',')};${keys.join('')}`;
    },
  };
}

/** int2vector and oidvector: zero-based, `1 2 3`. */
export function vectorCodec(element: SqlType): TypeCodec {
  const base = arrayCodec(element);
  return {
    ...base,
    fromText(text, context) {
      const words = text.split(/\s+/).filter((word) => word !== '');
      const elements = words.map((word) => element.fromText(word, context));
      return { elementOid: element.oid, dimensions: [elements.length], lowerBounds: [0], elements };
    },
    toText: (value: SqlArray, context) =>
      value.elements.map((item) => element.toText(item, context)).join(' '),
  };
}
