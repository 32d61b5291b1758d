/** Typed access to libpg-query's trees, where an absent field means the default: 0, '', false, []. */
import type { A_Const, Node } from 'libpg-query';
import { notSupported } from '../../sql-error.js';

export type AConst = A_Const;

/** `SelectStmt`, `A_Expr`, ... */
export function tagOf(node: Node): string {
  for (const key in node) return key;
  return '';
}

export function bodyOf(node: Node): Record<string, unknown> {
  for (const key in node) return (node as Record<string, unknown>)[key] as Record<string, unknown>;
  return {};
}

export function stringOf(node: Node | undefined): string {
  return node !== undefined && 'String' in node ? (node.String.sval ?? '') : '';
}

export function stringsOf(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).map(stringOf);
}

export function locationOf(node: Node | undefined): number {
  if (node === undefined) return -1;
  const body = bodyOf(node);
  if (typeof body['location'] === 'number') return body['location'];
  if ('A_Expr' in node || 'ColumnRef' in node) return 0;
  if ('A_Indirection' in node) return locationOf(node.A_Indirection.arg);
  return -1;
}

const EMPTY_ENUMS = new Set([
  'SETOP_NONE',
  'LIMIT_OPTION_DEFAULT',
  'OVERRIDING_NOT_SET',
  'COERCE_EXPLICIT_CALL',
  'CTEMaterializeDefault',
]);

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '')
    return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'string' && EMPTY_ENUMS.has(value);
}

/** Refuses a node that has a field nobody handles: nothing is ignored in silence. */
export function allowOnly(
  body: object,
  handled: ReadonlySet<string>,
  what: string,
  position: number | undefined,
): void {
  for (const key in body) {
    if (handled.has(key)) continue;
    if (isEmpty((body as Record<string, unknown>)[key])) continue;
    throw notSupported(`${what} with ${key}`, position);
  }
}

export function fields(names: string): ReadonlySet<string> {
  return new Set([...names.split(' '), 'location']);
}
