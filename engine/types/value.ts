/**
 * SQL values as JavaScript values. NULL is `null`.
 *
 * | SQL                                            | JavaScript                                             |
 * |------------------------------------------------|--------------------------------------------------------|
 * | boolean                                        | boolean                                                |
 * | smallint, integer, oid, reg*, xid, cid         | number                                                 |
 * | bigint                                         | bigint                                                 |
 * | real, double precision                         | number                                                 |
 * | numeric                                        | Numeric (numeric.ts)                                   |
 * | text, varchar, bpchar, "char", name, unknown   | string                                                 |
 * | json                                           | string, as given; jsonb: string, normalised            |
 * | bytea                                          | Uint8Array                                             |
 * | date                                           | number: days since 2000-01-01 (+-Infinity: infinity)   |
 * | time                                           | number: microseconds since midnight                    |
 * | timestamp, timestamptz                         | bigint: microseconds since 2000-01-01 (min/max: infinity) |
 * | interval                                       | Interval { months, days, micros }                      |
 * | uuid                                           | string, canonical lower case                           |
 * | arrays                                         | SqlArray { elementOid, dimensions, elements }          |
 * | record                                         | Value[]                                                |
 */
import type { Numeric } from './numeric.js';

export interface Interval {
  readonly months: number;
  readonly days: number;
  readonly micros: bigint;
}

export interface SqlArray {
  readonly elementOid: number;
  /** Length of each dimension; empty for an empty array. */
  readonly dimensions: readonly number[];
  readonly lowerBounds: readonly number[];
  readonly elements: readonly Value[];
}

export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Numeric
  | Interval
  | SqlArray
  | readonly Value[];
