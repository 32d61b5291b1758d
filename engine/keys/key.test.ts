import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareByteStrings } from '../types/binary.js';
import { Numeric, INFINITY, NAN, NEGATIVE_INFINITY } from '../types/numeric.js';
import { typeByName } from '../types/registry.js';
import type { SqlType } from '../types/sql-type.js';
import { TupleCodec } from '../types/tuple.js';
import type { Value } from '../types/value.js';
import { compileKeyMaker } from './key-maker.js';
import { encodeKeyValues } from './key.js';

const type = (name: string): SqlType => typeByName(name)!;
const shortText = fc
  .array(fc.constantFrom(' ', 'a', 'b', '\u0001', '\u00e9', '\uffee', '\u{1f600}'), {
    maxLength: 5,
  })
  .map((parts) => parts.join(''));
const ARBITRARY: Record<string, fc.Arbitrary<Value>> = {
  bool: fc.boolean(),
  int2: fc.integer({ min: -0x8000, max: 0x7fff }),
  int4: fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.integer({ min: -0x80000000, max: 0x7fffffff }),
  ),
  oid: fc.integer({ min: 0, max: 0xffffffff }),
  int8: fc.oneof(
    fc.bigInt({ min: -3n, max: 3n }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  ),
  float4: fc.float(),
  float8: fc.oneof(fc.double(), fc.constantFrom(-0, 0, NaN, Infinity, -Infinity, 1, -1)),
  date: fc.oneof(
    fc.integer({ min: -2451545, max: 2145031948 }),
    fc.constantFrom(Infinity, -Infinity),
  ),
  time: fc.integer({ min: 0, max: 86_400_000_000 }),
  timestamptz: fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
  uuid: fc.uuid(),
  text: shortText,
  bpchar: shortText,
  bytea: fc.uint8Array({ maxLength: 4, max: 2 }),
  numeric: fc.oneof(
    fc.constantFrom(NAN, INFINITY, NEGATIVE_INFINITY),
    fc
      .tuple(fc.bigInt({ min: -2000n, max: 2000n }), fc.integer({ min: 0, max: 5 }))
      .map(([u, s]) => new Numeric(u, s)),
    fc.tuple(fc.bigInt(), fc.integer({ min: 0, max: 100 })).map(([u, s]) => new Numeric(u, s)),
  ),
};

const spec = fc.constantFrom(...Object.keys(ARBITRARY)).chain((name) =>
  fc.record({
    name: fc.constant(name),
    descending: fc.boolean(),
    nullsFirst: fc.boolean(),
    a: fc.option(ARBITRARY[name]!, { freq: 6 }),
    b: fc.option(ARBITRARY[name]!, { freq: 6 }),
    same: fc.boolean(),
  }),
);

test('KEY-1, KEY-2: byte order is value order, and a tuple gives the key of its values', () => {
  fc.assert(
    fc.property(fc.array(spec, { minLength: 1, maxLength: 4 }), (specs) => {
      const columns = specs.map((s, i) => ({
        type: type(s.name),
        descending: s.descending,
        nullsFirst: s.nullsFirst,
        column: i,
      }));
      const a = specs.map((s) => s.a);
      const b = specs.map((s) => (s.same ? s.a : s.b));
      let expected = 0;
      columns.forEach((c, i) => {
        if (expected !== 0) return;
        const x = a[i]!;
        const y = b[i]!;
        if (x === null || y === null) {
          expected = x === y ? 0 : (x === null) === c.nullsFirst ? -1 : 1;
        } else {
          expected = Math.sign(c.type.compare(x, y)) * (c.descending ? -1 : 1);
        }
      });
      const codec = new TupleCodec(columns);
      const maker = compileKeyMaker(codec, columns);
      const keys = [a, b].map((values) => {
        const target = new Uint8Array(2000);
        const key = target.subarray(0, encodeKeyValues(values, columns, columns.length, target));
        const tuple = new Uint8Array(4000);
        const length = codec.encode(values, tuple);
        const made = new Uint8Array(2000);
        expect(made.subarray(0, maker.make(tuple, 0, length, made))).toEqual(key);
        expect(maker.hasNull).toBe(values.includes(null));
        return key;
      });
      expect(Math.sign(compareByteStrings(keys[0]!, keys[1]!)) + 0).toBe(expected + 0);
    }),
    { numRuns: 2000 },
  );
});

test('no key of a column is the prefix of another one', () => {
  fc.assert(
    fc.property(
      fc
        .constantFrom(...Object.keys(ARBITRARY))
        .chain((n) => fc.tuple(fc.constant(n), ARBITRARY[n]!, ARBITRARY[n]!)),
      ([name, a, b]) => {
        const columns = [{ type: type(name), descending: false, nullsFirst: false }];
        const key = (v: Value) => {
          const target = new Uint8Array(2000);
          return Buffer.from(target.subarray(0, encodeKeyValues([v], columns, 1, target))).toString(
            'hex',
          );
        };
        if (key(a) !== key(b)) expect(key(a).startsWith(key(b))).toBe(false);
      },
    ),
    { numRuns: 1000 },
  );
});

test('a key that does not fit: bounds ask for room, tuples are 54000', () => {
  const columns = [{ type: type('text'), descending: false, nullsFirst: false, column: 0 }];
  expect(encodeKeyValues(['abc'], columns, 1, new Uint8Array(3))).toBe(-5);
  const codec = new TupleCodec(columns);
  const tuple = new Uint8Array(100);
  const length = codec.encode(['x'.repeat(60)], tuple);
  expect(() => compileKeyMaker(codec, columns).make(tuple, 0, length, new Uint8Array(20))).toThrow(
    'index row requires 62 bytes, maximum size is 20',
  );
});
