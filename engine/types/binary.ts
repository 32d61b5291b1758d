/** bytea and uuid. */
import { SqlError } from '../sql-error.js';
import { compareText, expectBytes, invalidText, type TypeCodec } from './sql-type.js';
import { putUuid, readUuid } from './tuple.js';

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

export function parseHex(text: string, from: number): Uint8Array {
  const digits = text.slice(from).replace(/[ \t\r\n]/g, '');
  const bad = /[^0-9a-fA-F]/u.exec(digits);
  if (bad !== null) throw new SqlError('22023', `invalid hexadecimal digit: "${bad[0]}"`);
  if (digits.length % 2 === 1) {
    throw new SqlError('22023', 'invalid hexadecimal data: odd number of digits');
  }
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** The escape format: \\ and \ooo; everything else is itself, in UTF-8. */
export function parseEscape(text: string): Uint8Array {
  const source = Buffer.from(text, 'utf8');
  const bytes = new Uint8Array(source.length);
  let length = 0;
  for (let i = 0; i < source.length; i++) {
    let byte = source[i] as number;
    if (byte === 0x5c) {
      const octal = /^[0-3][0-7]{2}/.exec(source.toString('latin1', i + 1, i + 4));
      if (source[i + 1] === 0x5c) {
        i += 1;
      } else if (octal !== null) {
        byte = Number.parseInt(octal[0], 8);
        i += 3;
      } else {
        throw new SqlError('22P02', 'invalid input syntax for type bytea');
      }
    }
    bytes[length++] = byte;
  }
  return bytes.slice(0, length);
}

export function compareByteStrings(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export const byteaCodec: TypeCodec = {
  storage: 'bytes',
  fromText: (text) => (text.startsWith('\\x') ? parseHex(text, 2) : parseEscape(text)),
  toText: (value: Uint8Array) => `\\x${toHex(value)}`,
  fromBinary: (bytes, start, end) => Uint8Array.prototype.slice.call(bytes, start, end),
  toBinary: (value: Uint8Array) => value,
  compare: compareByteStrings,
  hashKey: (value: Uint8Array) => toHex(value),
};

const UUID = /^\{?([0-9a-f]{4}-?){8}\}?$/i;

export const uuidCodec: TypeCodec = {
  storage: 'uuid',
  fromText(text) {
    const digits = text.replace(/[-{}]/g, '').toLowerCase();
    if (!UUID.test(text) || digits.length !== 32 || text.startsWith('{') !== text.endsWith('}')) {
      throw invalidText('uuid', text);
    }
    return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-${digits.slice(12, 16)}-${digits.slice(16, 20)}-${digits.slice(20)}`;
  },
  toText: (value: string) => value,
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 16);
    return readUuid(bytes, start);
  },
  toBinary(value: string) {
    const bytes = new Uint8Array(16);
    putUuid(value, bytes, 0);
    return bytes;
  },
  compare: compareText,
  equal: (a: string, b: string) => a === b,
  hashKey: (value: string) => value,
};
