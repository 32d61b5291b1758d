import { expect, test } from 'vitest';
import { UTC_CONTEXT } from '../types/sql-type.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import { resolveAggregate, resolveFunction, resolveOperator, unifyTypes } from './resolve.js';

const { int2, int4, int8, text, varchar, bpchar, unknown, numeric, float8, date, timestamptz } =
  OID;

test('operators: unknown literals take the other side, wider types win', () => {
  const sides = (name: string, left: number, right: number): number[] => {
    const found = resolveOperator(name, left, right);
    return [found.leftOid, found.rightOid, found.resultOid];
  };
  expect(sides('=', int4, unknown)).toEqual([int4, int4, OID.bool]);
  expect(sides('=', bpchar, unknown)).toEqual([bpchar, bpchar, OID.bool]);
  expect(sides('=', varchar, varchar)).toEqual([text, text, OID.bool]);
  expect(sides('=', bpchar, varchar)).toEqual([bpchar, bpchar, OID.bool]);
  expect(sides('=', bpchar, text)).toEqual([text, text, OID.bool]);
  expect(sides('+', int4, int8)).toEqual([int4, int8, int8]);
  expect(sides('+', int4, numeric)).toEqual([numeric, numeric, numeric]);
  expect(sides('+', numeric, float8)).toEqual([float8, float8, float8]);
  expect(sides('||', unknown, unknown)).toEqual([text, text, text]);
  expect(sides('||', OID.int4Array, int4)).toEqual([OID.int4Array, int4, OID.int4Array]);
  expect(sides('-', date, unknown)).toEqual([date, date, int4]);
  expect(sides('-', timestamptz, unknown)).toEqual([timestamptz, timestamptz, OID.interval]);
  expect(() => resolveOperator('+', int4, OID.bool)).toThrow(
    'operator does not exist: integer + boolean',
  );
  expect(() => resolveOperator('||', text, OID.char)).toThrow(
    'operator is not unique: text || "char"',
  );
});

test('functions: preferred types, polymorphism, errors', () => {
  expect(resolveFunction('length', [unknown]).argOids).toEqual([text]);
  expect(resolveFunction('length', [bpchar]).argOids).toEqual([bpchar]);
  expect(resolveFunction('sqrt', [int4]).argOids).toEqual([float8]);
  expect(resolveFunction('abs', [unknown]).argOids).toEqual([float8]);
  expect(resolveFunction('round', [numeric, int4]).resultOid).toBe(numeric);
  expect(resolveFunction('unnest', [OID.textArray]).resultOid).toBe(text);
  expect(resolveFunction('generate_series', [int4, int4]).resultOid).toBe(int4);
  expect(resolveFunction('generate_series', [int4, int8]).resultOid).toBe(int8);
  expect(resolveFunction('concat', [int4, unknown, date]).argOids).toEqual([int4, text, date]);
  expect(() => resolveFunction('nope', [int4])).toThrow('function nope(integer) does not exist');
});

test('common types', () => {
  expect(unifyTypes([int4, unknown])).toBe(int4);
  expect(unifyTypes([int2, int8, int4])).toBe(int8);
  expect(unifyTypes([int4, numeric])).toBe(numeric);
  expect(unifyTypes([numeric, float8])).toBe(float8);
  expect(unifyTypes([unknown, unknown])).toBe(text);
  expect(unifyTypes([varchar, text])).toBe(varchar);
  expect(() => unifyTypes([int4, text], 'UNION')).toThrow(
    'UNION types integer and text cannot be matched',
  );
});

test.each([
  ['sum', 'int4', ['1', '2', '2147483647'], '2147483650'],
  ['sum', 'int8', ['9223372036854775807', '1'], '9223372036854775808'],
  ['sum', 'numeric', ['1.5', '2.25'], '3.75'],
  ['avg', 'int4', ['1', '2', '2'], '1.6666666666666667'],
  ['avg', 'numeric', ['1.5', '2'], '1.7500000000000000'],
  ['avg', 'float8', ['1.5', '2'], '1.75'],
  ['min', 'text', ['b', 'a'], 'a'],
  ['max', 'int4', ['3', '10', '-1'], '10'],
  ['max', 'float8', ['3', 'NaN'], 'NaN'],
  ['stddev', 'int4', ['1', '2', '4'], '1.5275252316519467'],
  ['var_pop', 'numeric', ['1', '2', '4'], '1.5555555555555556'],
  ['variance', 'float8', ['1', '2', '4'], '2.3333333333333335'],
  ['bool_and', 'bool', ['t', 'f'], 'f'],
  ['bit_or', 'int4', ['1', '6'], '7'],
  ['array_agg', 'int4', ['1', '2'], '{1,2}'],
  ['json_agg', 'text', ['a', 'b'], '["a", "b"]'],
  ['count', 'text', ['a', 'b'], '2'],
])('aggregate %s(%s)', (name, typeName, inputs, want) => {
  const oid = OID[typeName as keyof typeof OID];
  const found = resolveAggregate(name, [oid]);
  let state = found.aggregate.init();
  for (const input of inputs) {
    state = found.aggregate.step(state, typeOf(oid).fromText(input), null);
  }
  const value = found.aggregate.final(state, UTC_CONTEXT);
  expect(typeOf(found.resultOid).toText(value!)).toBe(want);
});

test('empty aggregates are NULL, but count is 0', () => {
  const empty = (name: string) => {
    const { aggregate } = resolveAggregate(name, [int4]);
    return aggregate.final(aggregate.init(), UTC_CONTEXT);
  };
  expect(['sum', 'avg', 'min', 'array_agg', 'stddev'].map(empty)).toEqual([
    null,
    null,
    null,
    null,
    null,
  ]);
  expect(empty('count')).toBe(0n);
});
