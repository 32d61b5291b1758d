/**
 * Values into DataRow fields and Bind parameters into values, by type and format (0 text, 1 binary).
 *
 * Hot: one small number per column, chosen at Bind, instead of a call through the type for the commonest types.
 */
import { SqlError } from '../sql-error.js';
import { OID } from '../types/oids.js';
import { findType, typeOf } from '../types/registry.js';
import type { ResultColumn } from '../sql/statement.js';
import type { TextContext } from '../types/sql-type.js';
import type { Value } from '../types/value.js';
import { decodeText } from './message-reader.js';
import type { Output } from './output.js';

const TEXT_INT = 0;
const TEXT_INT8 = 1;
const TEXT_STRING = 2;
const TEXT_BOOL = 3;
const TEXT_OTHER = 4;
const BINARY_INT4 = 5;
const BINARY_INT8 = 6;
const BINARY_INT2 = 7;
const BINARY_STRING = 8;
const BINARY_OTHER = 9;

export type FieldCode = number;

export const isBinaryCode = (code: FieldCode): boolean => code >= BINARY_INT4;

/**
 * One code per column. `formats` as in Bind: none: all text; one: for all; else one each. Throws 08P01 when they are
 * neither.
 */
export function fieldCodes(
  columns: readonly ResultColumn[],
  formats: readonly number[],
): Uint8Array {
  if (formats.length > 1 && formats.length !== columns.length) {
    throw new SqlError(
      '08P01',
      `bind message has ${formats.length} result formats but query has ${columns.length} columns`,
    );
  }
  const codes = new Uint8Array(columns.length);
  for (let i = 0; i < codes.length; i++) {
    const format = formats.length === 0 ? 0 : formats[formats.length === 1 ? 0 : i];
    if (format !== 0 && format !== 1) {
      throw new SqlError('22023', `unsupported format code: ${format}`);
    }
    codes[i] = fieldCode(columns[i].typeOid, format);
  }
  return codes;
}

export function fieldCode(oid: number, format: number): FieldCode {
  if (format === 0) {
    switch (oid) {
      case OID.int2:
      case OID.int4:
      case OID.oid:
        return TEXT_INT;
      case OID.int8:
        return TEXT_INT8;
      case OID.bool:
        return TEXT_BOOL;
      case OID.text:
      case OID.varchar:
      case OID.name:
      case OID.json:
      case OID.unknown:
        return TEXT_STRING;
      default:
        return TEXT_OTHER;
    }
  }
  switch (oid) {
    case OID.int4:
      return BINARY_INT4;
    case OID.int8:
      return BINARY_INT8;
    case OID.int2:
      return BINARY_INT2;
    case OID.text:
    case OID.varchar:
    case OID.name:
    case OID.json:
    case OID.unknown:
      return BINARY_STRING;
    default:
      return BINARY_OTHER;
  }
}

/** Writes i32 length and the value; -1 for NULL. */
export function putField(
  output: Output,
  code: FieldCode,
  oid: number,
  value: Value,
  context: TextContext,
): void {
  if (value === null) {
    output.i32(-1);
    return;
  }
  switch (code) {
    case TEXT_INT:
      output.intField(value as number);
      return;
    case TEXT_INT8:
      putInt8Text(output, value as bigint);
      return;
    case TEXT_STRING:
      output.textField(value as string);
      return;
    case TEXT_BOOL:
      output.textField(value === true ? 't' : 'f');
      return;
    case BINARY_INT4:
      output.i32(4);
      output.i32(value as number);
      return;
    case BINARY_INT8:
      output.i32(8);
      output.i64(value as bigint);
      return;
    case BINARY_INT2:
      output.i32(2);
      output.i16(value as number);
      return;
    case BINARY_STRING:
      output.textField(value as string);
      return;
    case TEXT_OTHER:
      output.textField(typeOf(oid).toText(value, context));
      return;
    default: {
      const bytes = typeOf(oid).toBinary(value);
      output.i32(bytes.length);
      output.raw(bytes);
    }
  }
}

function putInt8Text(output: Output, value: bigint): void {
  const number = Number(value);
  if (Number.isSafeInteger(number)) output.intField(number);
  else output.textField(value.toString());
}

/** One parameter of a Bind message. `bytes` belong to the socket: what is kept is copied. */
export function readParameter(
  bytes: Buffer,
  start: number,
  end: number,
  oid: number,
  format: number,
  context: TextContext,
): Value {
  if (format === 0) {
    if (oid === OID.int4) {
      const quick = quickInt(bytes, start, end);
      if (quick !== undefined) return quick;
    }
    const text = decodeText(bytes, start, end);
    if (text.includes('\0')) {
      throw new SqlError('22021', 'invalid byte sequence for encoding "UTF8": 0x00');
    }
    return parameterType(oid).fromText(text, context);
  }
  if (oid === OID.text || oid === OID.varchar || oid === OID.unknown) {
    return decodeText(bytes, start, end);
  }
  return parameterType(oid).fromBinary(bytes, start, end);
}

function parameterType(oid: number): ReturnType<typeof typeOf> {
  const type = findType(oid);
  if (type === undefined) throw new SqlError('42704', `type with OID ${oid} does not exist`);
  return type;
}

/** Up to nine digits with a sign; undefined: leave it to the type. Hot: 15 ns against 80 for text and fromText. */
function quickInt(bytes: Buffer, start: number, end: number): number | undefined {
  let at = start;
  const negative = at < end && bytes[at] === 0x2d;
  if (negative) at++;
  if (at >= end || end - at > 9) return undefined;
  let value = 0;
  for (; at < end; at++) {
    const digit = bytes[at] - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return negative && value !== 0 ? -value : value;
}
