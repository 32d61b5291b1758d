import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../bytes/crc32c.js';
import { isSextantError } from '../errors.js';
import { apply } from './apply.js';
import {
  BOXCAR_HEADER_BYTES,
  boxcarBytesAt,
  decodeBoxcar,
  sliceBoxcar,
  type BoxcarFields,
} from './boxcar.js';
import { BoxcarWriter } from './boxcar-writer.js';
import { putFill, putFormat, putMove, putSet } from './edits.js';
import { PAGE_BYTES, pageLsn, pageType, setPageLsn } from './page.js';
import { FLAG_CPL, FLAG_FORMAT, RecordReader } from './record.js';

interface Plain {
  lsn: number;
  flags: number;
  pageNo: number;
  prevPageLsn: number;
  edits: number[];
}

const FIELDS: BoxcarFields = {
  volume: 1,
  pg: 2,
  volumeEpoch: 3,
  membershipEpoch: 4,
  backLink: 0,
  vdl: 5,
  pgmrpl: 6,
};

function build(records: readonly Plain[], fields: BoxcarFields = FIELDS): Uint8Array {
  const writer = new BoxcarWriter(100);
  for (const r of records) {
    const edits = Uint8Array.from([0, ...r.edits]);
    writer.append(r.lsn, r.flags, r.pageNo, r.prevPageLsn, edits, 1, edits.length);
  }
  return writer.finish(fields);
}

function read(boxcar: Uint8Array): Plain[] {
  const header = decodeBoxcar(boxcar);
  const reader = new RecordReader();
  reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, header.firstLsn);
  const records: Plain[] = [];
  while (reader.next()) {
    const { lsn, flags, pageNo, prevPageLsn } = reader;
    const edits = [...boxcar.subarray(reader.editsStart, reader.end)];
    records.push({ lsn, flags, pageNo, prevPageLsn, edits });
  }
  return records;
}

const anEdit = fc.oneof(
  fc
    .tuple(fc.integer({ min: 9, max: 8000 }), fc.uint8Array({ minLength: 1, maxLength: 90 }))
    .map(([offset, bytes]) => {
      const target = new Uint8Array(100);
      return [...target.subarray(0, putSet(target, 0, offset, bytes, 0, bytes.length))];
    }),
  fc.integer({ min: 9, max: 8000 }).map((offset) => {
    const target = new Uint8Array(20);
    return [...target.subarray(0, putFill(target, putMove(target, 0, 9, offset, 99), 9, 1, 7))];
  }),
);
const aRecord = fc.record({
  step: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 0xffff_ffff })),
  cpl: fc.boolean(),
  format: fc.option(fc.nat(255)),
  pageNo: fc.nat(0xffff_ffff),
  back: fc.nat(),
  edits: fc.array(anEdit, { maxLength: 4 }),
});
const someRecords = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 50 }), fc.array(aRecord, { minLength: 1, maxLength: 12 }))
  .map(([firstLsn, list]) => {
    let lsn = firstLsn;
    return list.map((r, i): Plain => {
      if (i > 0) lsn += r.step;
      const flags = (r.cpl ? FLAG_CPL : 0) | (r.format === null ? 0 : FLAG_FORMAT);
      const edits = [...(r.format === null ? [] : [4, r.format]), ...r.edits.flat()];
      return { lsn, flags, pageNo: r.pageNo, prevPageLsn: r.back % lsn, edits };
    });
  });

const corruption = expect.objectContaining({ code: 'CORRUPTION' });

describe('boxcar', () => {
  it('reads back what was written', () => {
    fc.assert(
      fc.property(someRecords, (records) => {
        const boxcar = build(records);
        expect(read(boxcar)).toEqual(records);
        expect(decodeBoxcar(boxcar)).toEqual({
          ...FIELDS,
          firstLsn: records[0].lsn,
          lastLsn: records.at(-1)!.lsn,
          recordCount: records.length,
          recordBytes: boxcar.length - BOXCAR_HEADER_BYTES,
        });
        const run = Buffer.concat([Buffer.alloc(5), boxcar, Buffer.alloc(3)]);
        expect(boxcarBytesAt(run, 5)).toBe(boxcar.length);
        expect(() => boxcarBytesAt(boxcar.subarray(0, -1), 0)).toThrowError(corruption);
      }),
    );
  });

  it('slices to the records in a range, linked to the one before', () => {
    fc.assert(
      fc.property(someRecords, fc.nat(), fc.nat(), (records, a, b) => {
        const boxcar = build(records);
        const around = records.flatMap((r) => [r.lsn - 1, r.lsn]);
        const [from, to] = [around[a % around.length], around[b % around.length]];
        const slice = sliceBoxcar(boxcar, from, to);
        const kept = records.filter((r) => r.lsn > from && r.lsn <= to);
        if (kept.length === 0) {
          expect(slice.length).toBe(0);
          return;
        }
        expect(read(slice)).toEqual(kept);
        const before = records.filter((r) => r.lsn <= from).at(-1)?.lsn ?? FIELDS.backLink;
        expect(decodeBoxcar(slice)).toMatchObject({ ...FIELDS, backLink: before });
        if (kept.length === records.length) expect(slice).toBe(boxcar);
      }),
    );
  });

  it('is made again record by record, as gossip does', () => {
    fc.assert(
      fc.property(someRecords, (records) => {
        const boxcar = build(records);
        const reader = new RecordReader();
        reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, records[0].lsn);
        const writer = new BoxcarWriter(1);
        const alone = new RecordReader();
        while (reader.next()) {
          alone.at(boxcar, reader.start, reader.end, reader.lsn);
          expect([alone.lsn, alone.pageNo]).toEqual([reader.lsn, reader.pageNo]);
          writer.appendRecord(reader.lsn, boxcar, reader.start, reader.end);
        }
        expect(writer.byteLength).toBe(boxcar.length);
        expect(Buffer.from(writer.finish(FIELDS)).equals(boxcar)).toBe(true);
        expect(writer.recordCount).toBe(0);
      }),
    );
  });
});

/** Reads a boxcar to its last record; true unless it is CORRUPTION. Anything else throws. */
function survives(bytes: Uint8Array): boolean {
  try {
    read(bytes);
    sliceBoxcar(bytes, 0, 2 ** 52);
    return true;
  } catch (error) {
    if (!isSextantError(error, 'CORRUPTION')) throw error;
    return false;
  }
}

function withCrc(bytes: Uint8Array): Uint8Array {
  const crc = crc32c(bytes.subarray(BOXCAR_HEADER_BYTES), crc32c(bytes.subarray(0, 68)));
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(68, crc, true);
  return bytes;
}

describe('malformed boxcars', () => {
  it('a flipped bit or a cut is CORRUPTION', () => {
    fc.assert(
      fc.property(someRecords, fc.nat(), (records, place) => {
        const boxcar = build(records);
        const flipped = boxcar.slice();
        flipped[(place >> 3) % boxcar.length] ^= 1 << (place & 7);
        expect(survives(flipped)).toBe(false);
        expect(survives(boxcar.subarray(0, place % boxcar.length))).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it('random bytes, and changes under a good CRC, give CORRUPTION or a valid boxcar', () => {
    const change = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    let refused = 0;
    fc.assert(
      fc.property(someRecords, change, fc.uint8Array({ maxLength: 200 }), (records, at, noise) => {
        expect(survives(noise)).toBe(false);
        const boxcar = build(records);
        for (const [place, value] of at) boxcar[place % boxcar.length] = value;
        if (!survives(withCrc(boxcar))) refused++;
      }),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(500);
  });

  const fill = [3, 9, 0, 4, 0, 1];
  const good: Plain[] = [
    { lsn: 10, flags: 0, pageNo: 1, prevPageLsn: 3, edits: fill },
    { lsn: 12, flags: FLAG_CPL, pageNo: 1, prevPageLsn: 10, edits: fill },
  ];
  const second = BOXCAR_HEADER_BYTES + 26;
  it.each([
    ['version', 0, 2],
    ['flags', 1, 1],
    ['reserved bits', 3, 1],
    ['record count', 20, 3],
    ['first LSN', 24, 11],
    ['last LSN', 32, 13],
    ['back-link not below the first LSN', 40, 10],
    ['first delta not 0', BOXCAR_HEADER_BYTES + 4, 1],
    ['second delta 0', second + 4, 0],
    ['record shorter than its header', second, 19],
    ['record longer than the boxcar', second, 27],
    ['unknown record flags', second + 2, 4],
    ['reserved record byte', second + 3, 1],
    ['page link not below the LSN', second + 12, 12],
    ['LSN above 2^53', 31, 1],
    ['edit', second + 20, 9],
  ])('wrong %s', (_, place, value) => {
    const boxcar = build(good);
    expect(survives(boxcar)).toBe(true);
    boxcar[place] = value;
    expect(survives(withCrc(boxcar))).toBe(false);
  });

  it('a single record must fill its bytes and have its link below its LSN', () => {
    const boxcar = build(good);
    const reader = new RecordReader();
    reader.at(boxcar, second, boxcar.length, 12);
    expect(reader.prevPageLsn).toBe(10);
    expect(() => reader.at(boxcar, second - 26, boxcar.length, 10)).toThrowError(corruption);
    expect(() => reader.at(boxcar, second, boxcar.length - 1, 12)).toThrowError(corruption);
    expect(() => reader.at(boxcar, second, second + 10, 12)).toThrowError(corruption);
    expect(() => reader.at(boxcar, second, boxcar.length, 10)).toThrowError(corruption);
    expect(() => reader.reset(boxcar, 72, boxcar.length + 1, 1)).toThrowError(corruption);
  });
});

describe('apply', () => {
  const page = new Uint8Array(2 * PAGE_BYTES);
  const view = new DataView(page.buffer);
  const reader = new RecordReader();

  function applyAll(records: readonly Plain[]): void {
    const boxcar = build(records);
    reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, records[0].lsn);
    while (reader.next()) apply(page, view, PAGE_BYTES, reader);
  }

  it('PAGE-1: runs on the named predecessor only, and leaves any other page as it is', () => {
    page.fill(0);
    setPageLsn(view, PAGE_BYTES, 7);
    const record = { flags: 0, pageNo: 1, edits: [1, 9, 0, 1, 0, 77] };
    for (const prevPageLsn of [0, 6, 8]) {
      const before = page.slice();
      expect(() => applyAll([{ ...record, lsn: 9, prevPageLsn }])).toThrowError(corruption);
      expect(page).toEqual(before);
    }
    applyAll([{ ...record, lsn: 9, prevPageLsn: 7 }]);
    expect(pageLsn(view, PAGE_BYTES)).toBe(9);
    expect(page[PAGE_BYTES + 9]).toBe(77);
    expect(page.subarray(0, PAGE_BYTES).every((b) => b === 0)).toBe(true);
  });

  it('FORMAT needs no base', () => {
    page.fill(0xaa);
    setPageLsn(view, PAGE_BYTES, 123);
    const target = new Uint8Array(20);
    const end = putFill(target, putFormat(target, 0, 6), 100, 2, 5);
    const edits = [...target.subarray(0, end)];
    applyAll([{ lsn: 2 ** 40 + 1, flags: FLAG_FORMAT, pageNo: 1, prevPageLsn: 50, edits }]);
    expect(pageLsn(view, PAGE_BYTES)).toBe(2 ** 40 + 1);
    expect(pageType(page, PAGE_BYTES)).toBe(6);
    expect(page.subarray(PAGE_BYTES + 9).reduce((sum, b) => sum + b, 0)).toBe(10);
  });

  it('a page LSN above 2^53 is CORRUPTION', () => {
    view.setUint32(PAGE_BYTES + 4, 0x20_0000, true);
    expect(() => pageLsn(view, PAGE_BYTES)).toThrowError(corruption);
  });
});

describe('the worked example', () => {
  // Page 5 is formatted as type 2 by LSN 101, "hi" goes to byte 16 and moves to 24 by LSN 103, which
  // ends the mini-transaction. LSN 102 belongs to another PG.
  const GOLDEN = `
    01 00 0000 01000000 02000000 03000000 04000000 02000000
    6500000000000000 6700000000000000 6000000000000000 6000000000000000 5000000000000000
    38000000 b4c2f5e5
    1600 02 00 00000000 05000000 0000000000000000 0402
    2200 01 00 02000000 05000000 6500000000000000 01 1000 0200 6869 02 1800 1000 0200`;

  it('has these bytes', () => {
    const writer = new BoxcarWriter();
    const edits = new Uint8Array(64);
    writer.append(101, FLAG_FORMAT, 5, 0, edits, 0, putFormat(edits, 0, 2));
    let at = putSet(edits, 0, 16, new TextEncoder().encode('hi'), 0, 2);
    at = putMove(edits, at, 24, 16, 2);
    writer.append(103, FLAG_CPL, 5, 101, edits, 0, at);
    const boxcar = writer.finish({ ...FIELDS, backLink: 96, vdl: 96, pgmrpl: 80 });
    expect(Buffer.from(boxcar).toString('hex')).toBe(GOLDEN.replaceAll(/\s/g, ''));
  });
});
