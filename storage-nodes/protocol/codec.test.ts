import { expect, test } from 'vitest';
import { decodePoints, decodeReadPage, decodeScl } from './codec-binary.js';
import { encodePoints, encodeReadPage, encodeScl } from './codec-binary.js';
import * as json from './codec-json.js';
import { SclStatus } from './messages.js';

const address = { volume: 1, pg: 2, volumeEpoch: 3, membershipEpoch: 4 };
const big = Number.MAX_SAFE_INTEGER;

test('scl_round_trip', () => {
  const report = {
    ...address,
    status: SclStatus.needRanges,
    generation: 0xffff_ffff,
    scl: big,
    held: 0x1_0000_0001,
    resendAfter: 7,
  };
  expect(decodeScl(encodeScl(report))).toEqual(report);
});

test('read_page_and_points_round_trip', () => {
  const read = { ...address, pageNo: 0xffff_fffe, readPoint: big, pgTail: 5 };
  expect(decodeReadPage(encodeReadPage(read))).toEqual(read);
  const points = { ...address, vdl: 12, pgmrpl: 0x1_0000_0000 };
  expect(decodePoints(encodePoints(points))).toEqual(points);
});

test('binary_refuses_wrong_length_status_and_lsn', () => {
  expect(() => decodeScl(new Uint8Array(47))).toThrow(/48/);
  const bytes = new Uint8Array(48);
  bytes[16] = 99;
  expect(() => decodeScl(bytes)).toThrow(/status/);
  const points = new Uint8Array(32).fill(0xff);
  expect(() => decodePoints(points)).toThrow(/2\^53/);
});

test('json_checks_every_field', () => {
  const good = { ...address, target: 9, sources: ['node-1'] };
  expect(json.catchUpRequest.decode(json.catchUpRequest.encode(good))).toEqual(good);
  for (const bad of [
    { ...good, target: -1 },
    { ...good, target: 1.5 },
    { ...good, sources: [1] },
    [],
  ]) {
    const bytes = new TextEncoder().encode(JSON.stringify(bad));
    expect(() => json.catchUpRequest.decode(bytes)).toThrow(
      expect.objectContaining({ code: 'PROTOCOL' }),
    );
  }
  expect(() => json.catchUpRequest.decode(new Uint8Array([0xff]))).toThrow(/not JSON/);
});

test('json_optional_fields_stay_absent', () => {
  const hello = { protocol: 1, cluster: 'c', role: 'engine' as const };
  expect(json.helloRequest.decode(json.helloRequest.encode(hello))).toEqual(hello);
});

test('packed_body_keeps_header_and_payload_apart', () => {
  const header = { point: 1, pageCount: 0, done: true, listEpoch: 1, journaledVdl: 3 };
  const body = json.packBody(json.hydrateAnswer, header, [
    new Uint8Array([1, 2]),
    new Uint8Array([3]),
  ]);
  const back = json.unpackBody(json.hydrateAnswer, body);
  expect(back.header).toEqual(header);
  expect([...back.payload]).toEqual([1, 2, 3]);
  body[3] = 1;
  expect(() => json.unpackBody(json.hydrateAnswer, body)).toThrow(/longer/);
});
