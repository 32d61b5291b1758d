/** Backend messages that are more than a few bytes. */
import type { SqlError } from '../sql-error.js';
import type { ResultColumn } from '../sql/statement.js';
import { findType } from '../types/registry.js';
import { OID } from '../types/oids.js';
import { isBinaryCode } from './field-encoder.js';
import { BackendMessage } from './message-types.js';
import type { Output } from './output.js';

const CODE = (text: string): number => text.charCodeAt(0);
const FIELD = {
  severity: CODE('S'),
  severityPlain: CODE('V'),
  code: CODE('C'),
  message: CODE('M'),
  detail: CODE('D'),
  hint: CODE('H'),
  position: CODE('P'),
  where: CODE('W'),
  schema: CODE('s'),
  table: CODE('t'),
  column: CODE('c'),
  constraint: CODE('n'),
} as const;

function putErrorField(output: Output, field: number, value: string | number | undefined): void {
  if (value === undefined) return;
  output.u8(field);
  output.cstring(typeof value === 'number' ? String(value) : value.replaceAll('\0', ' '));
}

export function putError(output: Output, severity: 'ERROR' | 'FATAL', error: SqlError): void {
  const { fields } = error;
  output.begin(BackendMessage.errorResponse);
  putErrorField(output, FIELD.severity, severity);
  putErrorField(output, FIELD.severityPlain, severity);
  putErrorField(output, FIELD.code, error.code);
  putErrorField(output, FIELD.message, error.message);
  putErrorField(output, FIELD.detail, fields.detail);
  putErrorField(output, FIELD.hint, fields.hint);
  putErrorField(output, FIELD.position, fields.position);
  putErrorField(output, FIELD.where, fields.where);
  putErrorField(output, FIELD.schema, fields.schema);
  putErrorField(output, FIELD.table, fields.table);
  putErrorField(output, FIELD.column, fields.column);
  putErrorField(output, FIELD.constraint, fields.constraint);
  output.u8(0);
  output.end();
}

export function putNotice(output: Output, severity: string, code: string, message: string): void {
  output.begin(BackendMessage.noticeResponse);
  putErrorField(output, FIELD.severity, severity);
  putErrorField(output, FIELD.severityPlain, severity);
  putErrorField(output, FIELD.code, code);
  putErrorField(output, FIELD.message, message);
  output.u8(0);
  output.end();
}

/** `codes`: as chosen at Bind; null: not bound yet, all text. */
export function putRowDescription(
  output: Output,
  columns: readonly ResultColumn[],
  codes: Uint8Array | null,
): void {
  output.begin(BackendMessage.rowDescription);
  output.i16(columns.length);
  for (let i = 0; i < columns.length; i++) {
    const column = columns[i];
    // A literal without a type goes out as text, as in PostgreSQL.
    const oid = column.typeOid === OID.unknown ? OID.text : column.typeOid;
    output.cstring(column.name);
    output.i32(column.tableOid);
    output.i16(column.columnNumber);
    output.i32(oid);
    output.i16(findType(oid)?.length ?? -1);
    output.i32(column.typeModifier);
    output.i16(codes !== null && isBinaryCode(codes[i]) ? 1 : 0);
  }
  output.end();
}

export function putParameterDescription(output: Output, oids: readonly number[]): void {
  output.begin(BackendMessage.parameterDescription);
  output.i16(oids.length);
  for (let i = 0; i < oids.length; i++) output.i32(oids[i]);
  output.end();
}

/** CommandComplete, ParameterStatus and the like: strings only. */
export function putStrings(output: Output, type: number, ...texts: readonly string[]): void {
  output.begin(type);
  for (const text of texts) output.cstring(text);
  output.end();
}

export function putEmpty(output: Output, type: number): void {
  output.begin(type);
  output.end();
}

export function putReady(output: Output, status: string): void {
  output.begin(BackendMessage.readyForQuery);
  output.u8(status.charCodeAt(0));
  output.end();
}

export function putCopyResponse(
  output: Output,
  type: number,
  columnCount: number,
  isBinary: boolean,
): void {
  const format = isBinary ? 1 : 0;
  output.begin(type);
  output.u8(format);
  output.i16(columnCount);
  for (let i = 0; i < columnCount; i++) output.i16(format);
  output.end();
}
