/** date, time, timestamp, timestamptz, interval: their text (DateStyle ISO) and binary formats. */
import * as b from './bytes.js';
import {
  dateText,
  isFinite64,
  MICROS_PER_SECOND,
  offsetText,
  timestampText,
  timeText,
} from './calendar.js';
import { parseDate, parseTime, parseTimestamp, parseTimestamptz } from './date-time-input.js';
import { compareNumbers, expectBytes, invalidBinary, type TypeCodec } from './sql-type.js';
import { int8Codec } from './numbers.js';
import { offsetAtUtc } from './time-zone.js';
import { dateFromInt4, dateToInt4 } from './tuple.js';

export const dateCodec: TypeCodec = {
  storage: 'date',
  fromText: (text, context) => parseDate(text, context),
  toText: dateText,
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 4);
    return dateFromInt4(b.readInt4BE(bytes, start));
  },
  toBinary(value: number) {
    const bytes = new Uint8Array(4);
    b.putInt4BE(bytes, 0, dateToInt4(value));
    return bytes;
  },
  compare: compareNumbers,
  hashKey: (value: number) => value,
};

export const timeCodec: TypeCodec = {
  storage: 'time',
  fromText: (text, context) => parseTime(text, context),
  toText: timeText,
  fromBinary(bytes, start, end) {
    expectBytes(start, end, 8);
    const micros = Number(b.readInt8BE(bytes, start));
    if (micros < 0 || micros > 86_400_000_000) throw invalidBinary('time out of range');
    return micros;
  },
  toBinary(value: number) {
    const bytes = new Uint8Array(8);
    b.putInt8BE(bytes, 0, BigInt(value));
    return bytes;
  },
  compare: compareNumbers,
  hashKey: (value: number) => value,
};

/** Microseconds since 2000 as a 64-bit integer, in all but its text. */
export const timestampCodec: TypeCodec = {
  ...int8Codec,
  fromText: (text, context) => parseTimestamp(text, context),
  toText: (value: bigint) => timestampText(value),
};

export const timestamptzCodec: TypeCodec = {
  ...timestampCodec,
  fromText: (text, context) => parseTimestamptz(text, context),
  toText(value: bigint, context) {
    if (!isFinite64(value)) return timestampText(value);
    const offset = offsetAtUtc(context.timeZone, value);
    return timestampText(value + BigInt(offset) * MICROS_PER_SECOND, offsetText(offset));
  },
};
