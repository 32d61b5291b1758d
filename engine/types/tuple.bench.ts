/** ns per operation of the row and key codecs on pgbench's accounts row: `npx vitest bench engine/types/tuple.bench.ts`. */
import { bench, describe } from 'vitest';
import { compileKeyMaker } from '../keys/key-maker.js';
import { encodeKeyValues } from '../keys/key.js';
import { OID } from './oids.js';
import { typeOf } from './registry.js';
import { TupleCodec } from './tuple.js';
import type { Value } from './value.js';

const columns = [OID.int4, OID.int4, OID.int4, OID.bpchar].map((oid) => ({ type: typeOf(oid) }));
const codec = new TupleCodec(columns);
const row: Value[] = [12345, 1, -500, ' '.repeat(84)];
const tuple = new Uint8Array(8192);
const length = codec.encode(row, tuple);
const target = new Uint8Array(8192);
const key = [{ type: typeOf(OID.int4), descending: false, nullsFirst: false, column: 0 }];
const keys = compileKeyMaker(codec, key);
const one = [2];
const changed: Value[] = [77];
const all = [0, 1, 2, 3];
const out: Value[] = [null, null, null, null];
const bound: Value[] = [12345];

describe('accounts row', () => {
  bench('encode', () => void codec.encode(row, target));
  bench('decode int4', () => void codec.decode(tuple, 0, length, 2));
  bench('decode all', () => codec.decodeInto(tuple, 0, length, all, all, out));
  bench('patch int4', () => void codec.patch(tuple, 0, length, one, changed, target));
  bench('make int4 key', () => void keys.make(tuple, 0, length, target));
  bench('encode int4 key', () => void encodeKeyValues(bound, key, 1, target));
});
