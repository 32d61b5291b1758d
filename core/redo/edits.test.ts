import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSextantError } from '../errors.js';
import { applyEdits, checkEdits, putFill, putFormat, putMove, putSet } from './edits.js';
import { PAGE_BODY_OFFSET, PAGE_BYTES } from './page.js';

type Edit =
  | { op: 'set'; offset: number; bytes: Uint8Array }
  | { op: 'move'; to: number; from: number; length: number }
  | { op: 'fill'; offset: number; length: number; byte: number };

const BODY_BYTES = PAGE_BYTES - PAGE_BODY_OFFSET;
const offset = fc.integer({ min: PAGE_BODY_OFFSET, max: PAGE_BYTES });
const byte = fc.integer({ min: 0, max: 255 });
const length = fc.oneof(fc.nat(60), fc.nat(BODY_BYTES));
const cut = (at: number, bytes: number): number => Math.min(bytes, PAGE_BYTES - at);

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ op: fc.constant('set' as const), offset, bytes: fc.uint8Array({ maxLength: 200 }) }),
  fc.record({ op: fc.constant('move' as const), to: offset, from: offset, length }),
  fc.record({ op: fc.constant('fill' as const), offset, length, byte }),
);
/** An edit of any place and length, cut to what fits the page. */
const editThatFits = edit.map((e): Edit => {
  if (e.op === 'set') return { ...e, bytes: e.bytes.subarray(0, cut(e.offset, e.bytes.length)) };
  if (e.op === 'fill') return { ...e, length: cut(e.offset, e.length) };
  return { ...e, length: cut(Math.max(e.to, e.from), e.length) };
});

function encode(target: Uint8Array, start: number, edits: readonly Edit[]): number {
  let at = start;
  for (const e of edits) {
    if (e.op === 'set') at = putSet(target, at, e.offset, e.bytes, 0, e.bytes.length);
    else if (e.op === 'move') at = putMove(target, at, e.to, e.from, e.length);
    else at = putFill(target, at, e.offset, e.length, e.byte);
  }
  return at;
}

/** The deliberately naive model: a page is a list of numbers, every edit makes a new one. */
function model(page: readonly number[], e: Edit): number[] {
  return page.map((old, i) => {
    if (e.op === 'set') return e.bytes[i - e.offset] ?? old;
    if (e.op === 'fill') return i >= e.offset && i < e.offset + e.length ? e.byte : old;
    return i >= e.to && i < e.to + e.length ? page[i - e.to + e.from] : old;
  });
}

const filled = (seed: number): Uint8Array =>
  Uint8Array.from({ length: PAGE_BYTES }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff);

describe('page edits', () => {
  it('do what the naive model does, at any base, and touch nothing else', () => {
    const edits = fc.array(editThatFits, { maxLength: 12 });
    fc.assert(
      fc.property(edits, fc.option(byte), fc.nat(255), fc.nat(100), (list, type, seed, base) => {
        const coded = new Uint8Array(3 + 12 * (BODY_BYTES + 8));
        const start = type === null ? 3 : putFormat(coded, 3, type);
        const end = encode(coded, start, list);
        checkEdits(coded, 3, end, type !== null);

        const arena = new Uint8Array(base + PAGE_BYTES + 50).fill(0xee);
        arena.set(filled(seed), base);
        let expected = [...filled(seed)];
        if (type !== null) expected = expected.map((old, i) => (i < 8 ? old : i === 8 ? type : 0));
        for (const e of list) expected = model(expected, e);
        applyEdits(arena, base, coded, 3, end);

        expect(Buffer.from(expected).equals(arena.subarray(base, base + PAGE_BYTES))).toBe(true);
        expect(arena.subarray(0, base).every((b) => b === 0xee)).toBe(true);
        expect(arena.subarray(base + PAGE_BYTES).every((b) => b === 0xee)).toBe(true);
      }),
    );
  });

  it('give only CORRUPTION for arbitrary bytes; what passes stays inside the page', () => {
    const noise = fc.array(
      fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 9 }),
        fc
          .tuple(fc.integer({ min: 1, max: 4 }), fc.uint8Array({ minLength: 6, maxLength: 6 }))
          .map(([op, rest]) => Uint8Array.of(op, rest[0], rest[1] & 0x1f, rest[2], 0, rest[4], 0)),
      ),
      { maxLength: 4 },
    );
    let passed = 0;
    fc.assert(
      fc.property(noise, fc.boolean(), (parts, format) => {
        const bytes = Buffer.concat(parts);
        try {
          checkEdits(bytes, 0, bytes.length, format);
        } catch (error) {
          expect(isSextantError(error, 'CORRUPTION')).toBe(true);
          return;
        }
        passed++;
        const arena = new Uint8Array(3 * PAGE_BYTES).fill(0x55);
        applyEdits(arena, PAGE_BYTES, bytes, 0, bytes.length);
        const bodyAt = PAGE_BYTES + (format ? 8 : PAGE_BODY_OFFSET);
        expect(arena.subarray(0, bodyAt).every((b) => b === 0x55)).toBe(true);
        expect(arena.subarray(2 * PAGE_BYTES).every((b) => b === 0x55)).toBe(true);
      }),
      { numRuns: 3000 },
    );
    expect(passed).toBeGreaterThan(100);
  });

  it.each([
    ['SET of byte 8', [1, 8, 0, 1, 0, 9]],
    ['SET past the end', [1, 0xff, 0x1f, 2, 0, 9, 9]],
    ['SET with too little data', [1, 9, 0, 3, 0, 9, 9]],
    ['MOVE to the LSN', [2, 0, 0, 20, 0, 4, 0]],
    ['MOVE from past the end', [2, 9, 0, 0xf0, 0x1f, 20, 0]],
    ['FILL of byte 8', [3, 8, 0, 4, 0, 1]],
    ['FILL past the end', [3, 9, 0, 0, 0x20, 1]],
    ['FILL cut short', [3, 9, 0, 4, 0]],
    ['FORMAT second', [3, 9, 0, 4, 0, 1, 4, 2]],
    ['FORMAT without its flag', [4, 2]],
    ['an unknown edit', [5, 0, 0, 0, 0, 0]],
    ['edit 0', [0]],
  ])('refuse %s', (_, bytes) => {
    expect(() => checkEdits(Uint8Array.from(bytes), 0, bytes.length, false)).toThrowError(
      expect.objectContaining({ code: 'CORRUPTION' }),
    );
  });

  it('refuse a FORMAT flag without FORMAT', () => {
    const fill = Uint8Array.of(3, 9, 0, 4, 0, 1);
    for (const end of [0, fill.length]) {
      expect(() => checkEdits(fill, 0, end, true)).toThrowError('FORMAT edit missing');
    }
  });

  it('cannot be made outside the page body', () => {
    const target = new Uint8Array(64);
    expect(() => putSet(target, 0, 8, target, 0, 1)).toThrowError('assertion');
    expect(() => putSet(target, 0, PAGE_BYTES - 1, target, 0, 2)).toThrowError('assertion');
    expect(() => putMove(target, 0, 9, PAGE_BYTES - 1, 2)).toThrowError('assertion');
    expect(() => putFill(target, 0, 0, 1, 0)).toThrowError('assertion');
    expect(() => putSet(target, 50, 100, target, 0, 20)).toThrowError('assertion');
    expect(putFill(target, 5, 100, 0, 1)).toBe(5);
  });
});
