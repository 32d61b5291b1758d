/** interval: months, days and microseconds, each with its own sign; compared by what they span, 30 days a month. */
import { MICROS_PER_DAY } from './calendar.js';
import type { Interval } from './value.js';

export function intervalSpan(value: Interval): bigint {
  return (BigInt(value.months) * 30n + BigInt(value.days)) * MICROS_PER_DAY + value.micros;
}
