/** bool, int2, int4, int8, oid and its like, float4, float8. */
import { SqlError } from '../sql-error.js';
import * as b from './bytes.js';
import {
  compareBigints,
  compareNumbers,
  expectBytes,
  invalidText,
  type TypeCodec,
} from './sql-type.js';

const INT8_MIN = -(2n ** 63n);
const INT8_MAX = 2n ** 63n - 1n;
const SPACE = '[ \\t\\n\\v\\f\\r]*';
const INTEGER = new RegExp(`^${SPACE}([+-]?[0-9]+)${SPACE}$`);
const FLOAT = new RegExp(
  `^${SPACE}([+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|infinity)|nan)${SPACE}$`,
  'i',
);

function outOfRangeFor(text: string, typeName: string): SqlError {
  return new SqlError('22003', `value "${text}" is out of range for type ${typeName}`);
}

/** Plain decimal digits, as PostgreSQL 15 takes them: no hexadecimal, no underscores. */
export function parseInteger(text: string, typeName: string, min: number, max: number): number {
  const match = INTEGER.exec(text);
  if (match === null) throw invalidText(typeName, text);
  const value = Number(match[1]);
  if (value < min || value > max) throw outOfRangeFor(text, typeName);
  return value === 0 ? 0 : value;
}

export function parseBigint(text: string): bigint {
  const match = INTEGER.exec(text);
  if (match === null) throw invalidText('bigint', text);
  const digits = match[1] as string;
  const value = BigInt(digits.startsWith('+') ? digits.slice(1) : digits);
  if (value < INT8_MIN || value > INT8_MAX) throw outOfRangeFor(text, 'bigint');
  return value;
}

const TRUE_WORDS = new Set(['t', 'tr', 'tru', 'true', 'y', 'ye', 'yes', 'on', '1']);
const FALSE_WORDS = new Set(['f', 'fa', 'fal', 'fals', 'false', 'n', 'no', 'of', 'off', '0']);

export const boolCodec: TypeCodec = {
  storage: 'bool',
  fromText(text) {
    const word = text.trim().toLowerCase();
    if (TRUE_WORDS.has(word)) return true;
    if (FALSE_WORDS.has(word)) return false;
    throw invalidText('boolean', text);
  },
  toText: (value: boolean) => (value ? 't' : 'f'),
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 1);
    return bytes[start] !== 0;
  },
  toBinary: (value: boolean) => Uint8Array.of(value ? 1 : 0),
  compare: (a: boolean, c: boolean) => Number(a) - Number(c),
  hashKey: (value: boolean) => value,
};

function integerCodec(storage: 'int2' | 'int4', typeName: string, min: number): TypeCodec {
  const max = -min - 1;
  const width = storage === 'int2' ? 2 : 4;
  return {
    storage,
    fromText: (text) => parseInteger(text, typeName, min, max),
    toText: (value: number) => String(value),
    fromBinary(bytes, start, end) {
      expectBytes(start, end, width);
      return width === 2 ? b.readInt2BE(bytes, start) : b.readInt4BE(bytes, start);
    },
    toBinary(value: number) {
      const bytes = new Uint8Array(width);
      if (width === 2) b.putInt2BE(bytes, 0, value);
      else b.putInt4BE(bytes, 0, value);
      return bytes;
    },
    compare: compareNumbers,
    equal: (a: number, c: number) => a === c,
    hashKey: (value: number) => value,
  };
}

export const int2Codec = integerCodec('int2', 'smallint', -0x8000);
export const int4Codec = integerCodec('int4', 'integer', -0x8000_0000);

export const int8Codec: TypeCodec = {
  storage: 'int8',
  fromText: parseBigint,
  toText: (value: bigint) => value.toString(),
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 8);
    return b.readInt8BE(bytes, start);
  },
  toBinary(value: bigint) {
    const bytes = new Uint8Array(8);
    b.putInt8BE(bytes, 0, value);
    return bytes;
  },
  compare: compareBigints,
  equal: (a: bigint, c: bigint) => a === c,
  hashKey: (value: bigint) => value,
};

/** Unsigned 32 bits: oid, xid, cid. A negative text wraps, as in PostgreSQL. */
export function oidCodec(typeName: string): TypeCodec {
  return {
    storage: 'uint4',
    fromText: (text) => parseInteger(text, typeName, -0x8000_0000, 0xffff_ffff) >>> 0,
    toText: (value: number) => String(value),
    fromBinary(bytes, start, end) {
      expectBytes(start, end, 4);
      return b.readInt4BE(bytes, start) >>> 0;
    },
    toBinary(value: number) {
      const bytes = new Uint8Array(4);
      b.putInt4BE(bytes, 0, value);
      return bytes;
    },
    compare: compareNumbers,
    equal: (a: number, c: number) => a === c,
    hashKey: (value: number) => value,
  };
}

/** NaN equals itself and is above everything. */
export function compareFloats(a: number, c: number): number {
  if (a < c) return -1;
  if (a > c) return 1;
  if (a === c) return 0;
  const aNaN = Number.isNaN(a);
  return aNaN === Number.isNaN(c) ? 0 : aNaN ? 1 : -1;
}

/** Shortest digits that read back the same, laid out as C's %g: exponent form outside 1e-5 < |x| < 1e15 (1e6 for float4). */
function floatText(value: number, shortest: string, digitsMax: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(shortest);
  if (match === null) return shortest;
  const sign = match[1] as string;
  const whole = match[2] as string;
  const raw = whole + (match[3] ?? '');
  const digits = raw.replace(/^0+/, '');
  const leading = raw.length - digits.length;
  const exponent = Number(match[4] ?? 0) + whole.length - leading - 1;
  const figures = digits.replace(/0+$/, '');
  if (exponent < -4 || exponent >= digitsMax) {
    const mantissa = figures.length > 1 ? `${figures[0]}.${figures.slice(1)}` : figures;
    const power = Math.abs(exponent).toString().padStart(2, '0');
    return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${power}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${figures}`;
  if (figures.length <= exponent + 1) return sign + figures.padEnd(exponent + 1, '0');
  return `${sign}${figures.slice(0, exponent + 1)}.${figures.slice(exponent + 1)}`;
}

export const float8Text = (value: number): string => floatText(value, String(value), 15);

/** The shortest text that rounds to the same 32-bit float. */
export function float4Text(value: number): string {
  for (let digits = 1; digits <= 9; digits++) {
    const text = value.toExponential(digits - 1);
    if (Math.fround(Number(text)) === value) return floatText(value, text, 6);
  }
  return floatText(value, String(value), 6);
}

export function parseFloat8(text: string, typeName = 'double precision'): number {
  const match = FLOAT.exec(text);
  if (match === null) throw invalidText(typeName, text);
  const word = (match[1] as string).toLowerCase();
  if (word === 'nan') return Number.NaN;
  if (word.includes('inf')) return word.startsWith('-') ? -Infinity : Infinity;
  const value = Number(word);
  const digits = word.split('e')[0] as string;
  if (!Number.isFinite(value) || (value === 0 && /[1-9]/.test(digits))) {
    throw new SqlError('22003', `"${text.trim()}" is out of range for type ${typeName}`);
  }
  return value;
}

export const float8Codec: TypeCodec = {
  storage: 'float8',
  fromText: (text) => parseFloat8(text),
  toText: float8Text,
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 8);
    return b.readFloat8BE(bytes, start);
  },
  toBinary(value: number) {
    const bytes = new Uint8Array(8);
    b.putFloat8BE(bytes, 0, value);
    return bytes;
  },
  compare: compareFloats,
  hashKey: (value: number) => value,
};

export const float4Codec: TypeCodec = {
  storage: 'float4',
  fromText(text) {
    const wide = parseFloat8(text, 'real');
    const value = Math.fround(wide);
    if ((Number.isFinite(wide) && !Number.isFinite(value)) || (value === 0 && wide !== 0)) {
      throw new SqlError('22003', `"${text.trim()}" is out of range for type real`);
    }
    return value;
  },
  toText: float4Text,
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 4);
    return b.readFloat4BE(bytes, start);
  },
  toBinary(value: number) {
    const bytes = new Uint8Array(4);
    b.putFloat4BE(bytes, 0, value);
    return bytes;
  },
  compare: compareFloats,
  hashKey: (value: number) => value,
};
