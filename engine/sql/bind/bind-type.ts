/** Type names of casts and column definitions. */
import type { Node, TypeName } from 'libpg-query';
import { stringsOf } from '../parse/ast.js';
import type { BindContext } from './context.js';
import type { TypeRef } from '../../catalog/definitions.js';
import { INTERVAL } from './type-system.js';

/** 42704 when there is no such type. */
export function bindTypeName(context: BindContext, name: TypeName): TypeRef {
  if (name.setof === true || name.pct_type === true)
    throw context.refuse(name.setof === true ? 'SETOF' : '%TYPE', name.location);
  const names = stringsOf(name.names);
  const last = names[names.length - 1] ?? '';
  const schema = names.length > 1 ? (names[names.length - 2] as string) : null;
  let oid = context.types.findType(schema, last);
  oid ??= context.catalog.findType(schema, last, context.searchPath);
  if (oid === null) {
    throw context.error('42704', `type "${names.join('.')}" does not exist`, name.location);
  }
  let typmod = -1;
  if (name.typmods !== undefined && name.typmods.length > 0) {
    if (oid === INTERVAL) {
      typmod = intervalTypmod(context, name.typmods, name.location);
    } else {
      const modifiers = name.typmods.map((m) => integerConst(context, m, name.location));
      typmod = context.types.makeTypmod(oid, modifiers);
    }
  }
  if ((name.arrayBounds?.length ?? 0) > 0) oid = context.types.arrayOf(oid);
  return { oid, typmod };
}

/** `interval day to second` and `interval(3)`: only the full range is taken. */
function intervalTypmod(context: BindContext, mods: readonly Node[], location?: number): number {
  const range = integerConst(context, mods[0] as Node, location);
  if (range !== 0x7fff || mods.length > 1)
    throw context.refuse('interval with fields or precision', location);
  return -1;
}

function integerConst(context: BindContext, node: Node, location?: number): number {
  if ('A_Const' in node && node.A_Const.ival !== undefined) return node.A_Const.ival.ival ?? 0;
  throw context.refuse('type modifier that is not an integer', location);
}
