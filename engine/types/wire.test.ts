/** Binary formats as PostgreSQL 15's send functions write them (hexadecimal), and back. */
import { expect, test } from 'vitest';
import { typeByName } from './registry.js';

test.each([
  ['int2', '-2', 'fffe'],
  ['int4', '123456', '0001e240'],
  ['int8', '-9223372036854775808', '8000000000000000'],
  ['float4', '1.5', '3fc00000'],
  ['float8', '-0.1', 'bfb999999999999a'],
  ['bool', 't', '01'],
  ['numeric', '0', '0000000000000000'],
  ['numeric', '-12345.67800', '0003000140000005000109291a7c'],
  ['numeric', '0.00012', '0002ffff00000005000107d0'],
  ['numeric', '100000000', '00010002000000000001'],
  ['numeric', 'NaN', '00000000c0000000'],
  ['numeric', 'Infinity', '00000000d0000020'],
  ['numeric', '-Infinity', '00000000f0000020'],
  ['numeric', '10000.0001', '0003000100000004000100000001'],
  ['text', 'héllo', '68c3a96c6c6f'],
  ['bpchar', 'ab ', '616220'],
  ['bytea', '\\x00ff', '00ff'],
  ['date', '2024-02-29', '00002279'],
  ['date', 'infinity', '7fffffff'],
  ['time', '12:34:56.789', '0000000a8be62608'],
  ['timestamp', '2024-03-31 13:45:56.123456', '0002b7f3dc676f40'],
  ['timestamp', '-infinity', '8000000000000000'],
  ['timestamptz', '1999-12-31 23:59:59+00', 'fffffffffff0bdc0'],
  ['interval', '1 year 2 mons -3 days 04:05:06.7', '000000036c966ee0fffffffd0000000e'],
  ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc999c0b4ef8bb6d6bb9bd380a11'],
  ['jsonb', '{"a": 1}', '017b2261223a20317d'],
  ['oid', '4294967295', 'ffffffff'],
  [
    '_int4',
    '{{1,2},{3,NULL}}',
    '00000002000000010000001700000002000000010000000200000001000000040000000100000004000000020000000400000003ffffffff',
  ],
  ['_text', '{a,"b c"}', '0000000100000000000000190000000200000001000000016100000003622063'],
  ['_int4', '{}', '000000000000000000000017'],
])('%s %s', (name, text, hex) => {
  const type = typeByName(name)!;
  const value = type.fromText(text);
  expect(Buffer.from(type.toBinary(value)).toString('hex')).toBe(hex);
  const bytes = Buffer.from(`ff${hex}ff`, 'hex');
  const back = type.fromBinary(bytes, 1, bytes.length - 1);
  expect(type.toText(back)).toBe(type.toText(value));
  expect(type.compare(back, value)).toBe(0);
});
