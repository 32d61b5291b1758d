import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Numeric } from './numeric.js';
import { typeByName } from './registry.js';
import type { SqlType } from './sql-type.js';
import { TupleCodec } from './tuple.js';
import type { Value } from './value.js';

const type = (name: string): SqlType => typeByName(name)!;
const text = fc.string({ unit: 'grapheme', maxLength: 200 }).map((s) => s.replaceAll('\0', ''));
const ARBITRARY: Record<string, fc.Arbitrary<Value>> = {
  bool: fc.boolean(),
  int2: fc.integer({ min: -0x8000, max: 0x7fff }),
  int4: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
  oid: fc.integer({ min: 0, max: 0xffffffff }),
  int8: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  float4: fc.float(),
  float8: fc.double(),
  date: fc.oneof(fc.integer({ min: -2451545, max: 2145031948 }), fc.constant(Infinity)),
  time: fc.integer({ min: 0, max: 86_400_000_000 }),
  timestamp: fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
  uuid: fc.uuid(),
  text,
  bytea: fc.uint8Array({ maxLength: 300 }),
  numeric: fc
    .tuple(fc.bigInt(), fc.integer({ min: 0, max: 100 }))
    .map(([u, s]) => new Numeric(u, s)),
};
const column = fc
  .constantFrom(...Object.keys(ARBITRARY))
  .chain((name) => fc.record({ name: fc.constant(name), value: fc.option(ARBITRARY[name]!) }));
const columns = fc.array(column, { minLength: 1, maxLength: 20 });

test('a tuple gives back what was written, column by column and all at once', () => {
  fc.assert(
    fc.property(columns, (row) => {
      const codec = new TupleCodec(row.map((c) => ({ type: type(c.name) })));
      const target = new Uint8Array(20_000);
      const length = codec.encode(
        row.map((c) => c.value),
        target.subarray(0, 16_000),
      );
      expect(length).toBeGreaterThan(0);
      const at = 7;
      const page = new Uint8Array(new SharedArrayBuffer(20_000)).fill(0xaa);
      page.set(target.subarray(0, length), at);
      row.forEach((c, i) => expect(codec.decode(page, at, at + length, i)).toEqual(c.value));
      const all: Value[] = [];
      const indexes = row.map((_, i) => i);
      codec.decodeInto(page, at, at + length, indexes, indexes, all);
      expect(all).toEqual(row.map((c) => c.value));
    }),
  );
});

test('a patch is the same as writing the changed row', () => {
  fc.assert(
    fc.property(
      columns,
      fc.infiniteStream(fc.boolean()),
      fc.infiniteStream(fc.boolean()),
      (row, named, nulls) => {
        const codec = new TupleCodec(row.map((c) => ({ type: type(c.name) })));
        const source = new Uint8Array(16_000);
        const other = row.map((c) => row.find((d) => d.name === c.name)!.value);
        const length = codec.encode(
          row.map((c) => c.value),
          source,
        );
        const picked = row.map((_, i) => i).filter(() => named.next().value as boolean);
        const values = picked.map((i) => ((nulls.next().value as boolean) ? null : other[i]!));
        const patched = new Uint8Array(16_000);
        const patchedLength = codec.patch(source, 0, length, picked, values, patched);
        const expected = row.map((c) => c.value);
        picked.forEach((i, n) => (expected[i] = values[n]!));
        const whole = new Uint8Array(16_000);
        const wholeLength = codec.encode(expected, whole);
        expect(patched.subarray(0, patchedLength)).toEqual(whole.subarray(0, wholeLength));
      },
    ),
  );
});

test('a target that is too small is told what is needed, and that is enough', () => {
  fc.assert(
    fc.property(columns, fc.integer({ min: 0, max: 400 }), (row, room) => {
      const codec = new TupleCodec(row.map((c) => ({ type: type(c.name) })));
      const values = row.map((c) => c.value);
      const length = codec.encode(values, new Uint8Array(room));
      if (length < 0) {
        const second = codec.encode(values, new Uint8Array(-length + 256));
        expect(second).toBeGreaterThan(0);
      } else {
        expect(length).toBeLessThanOrEqual(room);
      }
    }),
  );
});

test('columns added later read as their missing value; a patch then writes all', () => {
  const before = new TupleCodec([{ type: type('int4') }, { type: type('text') }]);
  const after = new TupleCodec([
    { type: type('int4') },
    { type: type('text'), dropped: true },
    { type: type('int8'), missing: 7n },
    { type: type('text') },
  ]);
  const bytes = new Uint8Array(100);
  const length = before.encode([1, 'x'], bytes);
  expect(after.decodeAll(bytes, 0, length)).toEqual([1, 'x', 7n, null]);
  const target = new Uint8Array(100);
  const patched = after.patch(bytes, 0, length, [3], ['new'], target);
  expect(after.decodeAll(target, 0, patched)).toEqual([1, null, 7n, 'new']);
  expect(after.locate(target, 0, patched, 3)).toBe(true);
  expect(target.subarray(after.rangeStart, after.rangeEnd)).toEqual(Uint8Array.of(110, 101, 119));
});

test('a tuple cut short is corruption', () => {
  const codec = new TupleCodec([{ type: type('int4') }, { type: type('text') }]);
  const bytes = new Uint8Array(100);
  const length = codec.encode([1, 'some text'], bytes);
  expect(() => codec.decode(bytes, 0, length - 3, 1)).toThrow('a tuple ends within a column');
});
