import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSextantError } from '../errors.js';
import { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { crc32c, crc32cRange, TABLE_BYTES_MAX } from './crc32c.js';
import { getU48, getU64, putU48, putU64 } from './le.js';
import { Ring } from './ring.js';

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

describe('ByteWriter and ByteReader', () => {
  it('read back what was written', () => {
    const fields = fc.tuple(
      fc.nat(255),
      fc.nat(65535),
      fc.maxSafeNat(),
      fc.string(),
      fc.uint8Array(),
    );
    fc.assert(
      fc.property(fields, fc.double({ noNaN: true }), ([u8, u16, u64, text, raw], f64) => {
        const writer = new ByteWriter(1);
        writer
          .u8(u8)
          .u16(u16)
          .u32(u16 * 65537)
          .u48(u64 % 2 ** 48)
          .u64(u64)
          .f64(f64);
        writer.text(text).block(raw).raw(raw);
        const length = writer.length;
        const bytes = writer.finish();
        expect(bytes.length).toBe(length);
        expect(writer.length).toBe(0);
        const reader = new ByteReader(bytes);
        expect([reader.u8(), reader.u16(), reader.u32()]).toEqual([u8, u16, u16 * 65537]);
        expect([reader.u48(), reader.u64(), reader.f64()]).toEqual([u64 % 2 ** 48, u64, f64]);
        expect(reader.text()).toBe(new TextDecoder().decode(new TextEncoder().encode(text)));
        expect(reader.block()).toEqual(raw);
        expect(reader.remaining).toBe(raw.length);
        expect(reader.raw(raw.length)).toEqual(raw);
        reader.end();
      }),
    );
  });

  it('throw nothing but CORRUPTION on other bytes', () => {
    const steps = ['u8', 'u16', 'u32', 'u48', 'u64', 'f64', 'block', 'text', 'end'] as const;
    const program = fc.array(fc.constantFrom(...steps), { maxLength: 12 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), program, (bytes, calls) => {
        const reader = new ByteReader(bytes);
        try {
          for (const call of calls) reader[call]();
        } catch (error) {
          expect(isSextantError(error, 'CORRUPTION')).toBe(true);
        }
        expect(reader.at).toBeLessThanOrEqual(bytes.length);
      }),
    );
    expect(() => new ByteReader(new Uint8Array(3)).u32()).toThrowError('cut short');
    expect(() => new ByteReader(new Uint8Array(3)).end()).toThrowError('3 bytes too many');
    expect(() => new ByteReader(Uint8Array.of(1, 0, 0, 0, 0xff)).text()).toThrowError('UTF-8');
  });
});

describe('Ring', () => {
  it('does what an array does', () => {
    const step = fc.oneof(fc.nat(), fc.constant('shift'), fc.constant('clear'));
    const script = fc.array(fc.oneof({ weight: 20, arbitrary: step }, step), { maxLength: 200 });
    fc.assert(
      fc.property(script, fc.integer({ min: 1, max: 60 }), (steps, lengthMax) => {
        const ring = new Ring<number>(lengthMax);
        let twin: number[] = [];
        for (const what of steps) {
          if (what === 'shift') expect(ring.shift()).toBe(twin.shift());
          else if (what === 'clear' && twin.length > 30) {
            ring.clear();
            twin = [];
          } else if (typeof what === 'number') {
            const fits = twin.length < lengthMax;
            if (fits) twin.push(what);
            expect(ring.push(what)).toBe(fits);
          }
          expect(ring.length).toBe(twin.length);
          expect(ring.at(0)).toBe(twin[0]);
          expect(ring.at(twin.length - 1)).toBe(twin.at(-1));
          expect(ring.at(twin.length)).toBeUndefined();
        }
      }),
    );
  });
});
