/** Functions and operators of arrays. ANY and ALL are the executor's. */
import { SqlError } from '../sql-error.js';
import { makeArray } from '../types/array.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { SqlType } from '../types/sql-type.js';
import type { SqlArray, Value } from '../types/value.js';
import { fn, op, registerFunctions, registerOperators, setFn, type Evaluate } from './function.js';

const { anyarray, anycompatiblearray, anycompatible, int4 } = OID;
const elementType = (arrayOid: number): SqlType => typeOf(typeOf(arrayOid).elementOid);

function contains(a: SqlArray, b: SqlArray, element: SqlType): boolean {
  const keys = keySet(a, element);
  return b.elements.every((item) => item !== null && keys.has(element.hashKey(item)));
}

function keySet(array: SqlArray, element: SqlType): Set<unknown> {
  const keys = new Set<unknown>();
  for (const item of array.elements) if (item !== null) keys.add(element.hashKey(item));
  return keys;
}

function overlaps(a: SqlArray, b: SqlArray, element: SqlType): boolean {
  const keys = keySet(a, element);
  return b.elements.some((item) => item !== null && keys.has(element.hashKey(item)));
}

/** Arrays of the same depth join along the first dimension; one a level deeper takes the other as an element. */
export function concatenate(a: SqlArray, b: SqlArray): SqlArray {
  if (a.elements.length === 0) return b;
  if (b.elements.length === 0) return a;
  const depth = a.dimensions.length - b.dimensions.length;
  if (Math.abs(depth) > 1) {
    throw new SqlError('2202E', 'cannot concatenate incompatible arrays');
  }
  const base = depth < 0 ? b : a;
  const inner = (array: SqlArray): string =>
    (array.dimensions.length < base.dimensions.length
      ? array.dimensions
      : array.dimensions.slice(1)
    ).join();
  if (inner(a) !== inner(b)) throw new SqlError('2202E', 'cannot concatenate incompatible arrays');
  const rows = (array: SqlArray): number =>
    array.dimensions.length < base.dimensions.length ? 1 : (array.dimensions[0] as number);
  return {
    elementOid: base.elementOid,
    dimensions: [rows(a) + rows(b), ...base.dimensions.slice(1)],
    lowerBounds: base.lowerBounds,
    elements: [...a.elements, ...b.elements],
  };
}

function requireOneDimension(array: SqlArray, what: string): void {
  if (array.dimensions.length > 1) {
    throw new SqlError('0A000', `${what} multidimensional arrays is not supported`);
  }
}

function positions(array: SqlArray, wanted: Value, element: SqlType, from: number): number[] {
  requireOneDimension(array, 'searching for elements in');
  const lower = array.lowerBounds[0] ?? 1;
  const found: number[] = [];
  array.elements.forEach((item, i) => {
    const same = item === null || wanted === null ? item === wanted : element.equal(item, wanted);
    if (same && i + lower >= from) found.push(i + lower);
  });
  return found;
}

/** a[i][j]: null outside the bounds. */
export function subscript(array: SqlArray, indexes: readonly number[]): Value {
  if (indexes.length !== array.dimensions.length) return null;
  let at = 0;
  for (let i = 0; i < indexes.length; i++) {
    const offset = (indexes[i] as number) - (array.lowerBounds[i] as number);
    const length = array.dimensions[i] as number;
    if (offset < 0 || offset >= length) return null;
    at = at * length + offset;
  }
  return array.elements[at] ?? null;
}

// A table of definitions.
// oxlint-disable-next-line max-lines-per-function
export function registerArrays(): void {
  const bound =
    (evaluate: (a: SqlArray, b: SqlArray, element: SqlType) => Value) =>
    (argOids: readonly number[]): Evaluate => {
      const element = elementType(argOids[0] as number);
      return (a: SqlArray, b: SqlArray) => evaluate(a, b, element);
    };
  const append = (array: SqlArray | null, item: Value, elementOid: number): SqlArray =>
    concatenate(array ?? makeArray(elementOid, []), makeArray(elementOid, [item]));
  const prepend = (item: Value, array: SqlArray | null, elementOid: number): SqlArray =>
    concatenate(makeArray(elementOid, [item]), array ?? makeArray(elementOid, []));
  const join = (a: SqlArray | null, b: SqlArray | null): SqlArray | null =>
    a === null ? b : b === null ? a : concatenate(a, b);
  const loose = { strict: false } as const;
  const bindAppend = (argOids: readonly number[]): Evaluate => {
    const oid = elementType(argOids[0] as number).oid;
    return (array: SqlArray | null, item: Value) => append(array, item, oid);
  };
  const bindPrepend = (argOids: readonly number[]): Evaluate => {
    const oid = elementType(argOids[1] as number).oid;
    return (item: Value, array: SqlArray | null) => prepend(item, array, oid);
  };
  registerOperators([
    op('@>', anyarray, anyarray, OID.bool, null, { bind: bound((a, b, e) => contains(a, b, e)) }),
    op('<@', anyarray, anyarray, OID.bool, null, { bind: bound((a, b, e) => contains(b, a, e)) }),
    op('&&', anyarray, anyarray, OID.bool, null, { bind: bound(overlaps) }),
    op('||', anycompatiblearray, anycompatiblearray, anycompatiblearray, join, loose),
    op('||', anycompatiblearray, anycompatible, anycompatiblearray, null, {
      ...loose,
      bind: bindAppend,
    }),
    op('||', anycompatible, anycompatiblearray, anycompatiblearray, null, {
      ...loose,
      bind: bindPrepend,
    }),
  ]);
  const removeOrReplace = (
    array: SqlArray,
    element: SqlType,
    from: Value,
    to: Value | undefined,
  ): SqlArray => {
    const same = (item: Value): boolean =>
      item === null || from === null ? item === from : element.equal(item, from);
    if (to === undefined) {
      requireOneDimension(array, 'removing elements from');
      return makeArray(
        element.oid,
        array.elements.filter((item) => !same(item)),
      );
    }
    return { ...array, elements: array.elements.map((item) => (same(item) ? to : item)) };
  };
  registerFunctions([
    fn('array_append', [anycompatiblearray, anycompatible], anycompatiblearray, null, {
      ...loose,
      bind: bindAppend,
    }),
    fn('array_prepend', [anycompatible, anycompatiblearray], anycompatiblearray, null, {
      ...loose,
      bind: bindPrepend,
    }),
    fn('array_cat', [anycompatiblearray, anycompatiblearray], anycompatiblearray, join, loose),
    fn(
      'array_length',
      [anyarray, int4],
      int4,
      (a: SqlArray, d: number) => a.dimensions[d - 1] ?? null,
    ),
    fn(
      'array_lower',
      [anyarray, int4],
      int4,
      (a: SqlArray, d: number) => a.lowerBounds[d - 1] ?? null,
    ),
    fn('array_upper', [anyarray, int4], int4, (a: SqlArray, d: number) => {
      const length = a.dimensions[d - 1];
      return length === undefined ? null : length + (a.lowerBounds[d - 1] as number) - 1;
    }),
    fn('array_ndims', [anyarray], int4, (a: SqlArray) =>
      a.dimensions.length === 0 ? null : a.dimensions.length,
    ),
    fn('cardinality', [anyarray], int4, (a: SqlArray) => a.elements.length),
    fn('array_position', [anycompatiblearray, anycompatible, int4], int4, null, {
      strict: false,
      optional: 1,
      bind: (argOids) => {
        const element = elementType(argOids[0] as number);
        return (array: SqlArray | null, item: Value, from: number = -Infinity) =>
          array === null ? null : (positions(array, item, element, from)[0] ?? null);
      },
    }),
    fn('array_positions', [anycompatiblearray, anycompatible], OID.int4Array, null, {
      strict: false,
      bind: (argOids) => {
        const element = elementType(argOids[0] as number);
        return (array: SqlArray | null, item: Value) =>
          array === null ? null : makeArray(int4, positions(array, item, element, -Infinity));
      },
    }),
    fn('array_remove', [anycompatiblearray, anycompatible], anycompatiblearray, null, {
      strict: false,
      bind: (argOids) => {
        const element = elementType(argOids[0] as number);
        return (array: SqlArray | null, item: Value) =>
          array === null ? null : removeOrReplace(array, element, item, undefined);
      },
    }),
    fn(
      'array_replace',
      [anycompatiblearray, anycompatible, anycompatible],
      anycompatiblearray,
      null,
      {
        strict: false,
        bind: (argOids) => {
          const element = elementType(argOids[0] as number);
          return (array: SqlArray | null, from: Value, to: Value) =>
            array === null ? null : removeOrReplace(array, element, from, to);
        },
      },
    ),
    setFn('unnest', [anyarray], OID.anyelement, (array: SqlArray) => array.elements),
    setFn(
      'generate_subscripts',
      [anyarray, int4],
      int4,
      function* subscripts(array: SqlArray, dimension: number) {
        const length = array.dimensions[dimension - 1] ?? 0;
        const lower = array.lowerBounds[dimension - 1] ?? 1;
        for (let i = 0; i < length; i++) yield lower + i;
      },
    ),
  ]);
}
