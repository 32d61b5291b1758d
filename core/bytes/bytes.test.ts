import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c, crc32cRange, TABLE_BYTES_MAX } from './crc32c.js';
import { getU48, getU64, putU48, putU64 } from './le.js';

/** One bit at a time, straight from the definition. */
function naiveCrc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

describe('crc32c', () => {
  it('gives the check value and those of RFC 3720', () => {
    expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  });

  it('is the same by table and natively, whole and in parts', () => {
    const sizes = fc.uint8Array({ maxLength: 2 * TABLE_BYTES_MAX + 20 });
    fc.assert(
      fc.property(sizes, fc.nat(), (bytes, at) => {
        const expected = naiveCrc32c(bytes);
        const cut = bytes.length === 0 ? 0 : at % bytes.length;
        expect(crc32c(bytes)).toBe(expected);
        expect(crc32cRange(bytes, 0, bytes.length)).toBe(expected);
        expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(expected);
        expect(crc32cRange(bytes, cut, bytes.length, crc32cRange(bytes, 0, cut))).toBe(expected);
      }),
    );
  });

  it('reads memory that threads share', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(4096)).fill(7);
    expect(crc32c(shared)).toBe(naiveCrc32c(shared));
  });
});

describe('wide integers', () => {
  const view = new DataView(new ArrayBuffer(16));

  it('are what BigInt says', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        putU64(view, 3, value);
        expect(view.getBigUint64(3, true)).toBe(BigInt(value));
        expect(getU64(view, 3)).toBe(value);
        putU48(view, 1, value % 2 ** 48);
        expect(getU48(view, 1)).toBe(value % 2 ** 48);
      }),
    );
  });

  it('are refused above 2^53 - 1', () => {
    view.setBigUint64(0, 2n ** 53n - 1n, true);
    expect(getU64(view, 0)).toBe(Number.MAX_SAFE_INTEGER);
    view.setBigUint64(0, 2n ** 53n, true);
    expect(() => getU64(view, 0)).toThrowError(expect.objectContaining({ code: 'CORRUPTION' }));
    expect(() => putU64(view, 0, 2 ** 53)).toThrowError('assertion');
    expect(() => putU64(view, 0, -1)).toThrowError('assertion');
    expect(() => putU48(view, 0, 2 ** 48)).toThrowError('assertion');
  });
});
