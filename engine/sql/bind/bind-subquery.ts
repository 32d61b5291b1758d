/** SubLink: scalar sub-queries, EXISTS, IN and ANY/ALL over a query, ARRAY(query). */
import type { Node, SubLink } from 'libpg-query';
import { allowOnly, fields, stringOf } from '../parse/ast.js';
import { bindExpr } from './bind-expression.js';
import { bindOperator } from './bind-operator.js';
import { bindQuery } from './bind-query.js';
import { typeOf } from './coerce.js';
import type { Expr } from './expression.js';
import { Scope } from './scope.js';
import { BOOL } from './type-system.js';

const HANDLED = fields('subLinkType testexpr operName subselect');

export function bindSubLink(scope: Scope, link: SubLink): Expr {
  const context = scope.context;
  allowOnly(link, HANDLED, 'sub-query', context.at(link.location));
  const left = link.testexpr === undefined ? null : bindExpr(scope, link.testexpr);
  const inner = new Scope(context, scope);
  const query = bindQuery(inner, link.subselect as Node, null);
  const location = link.location ?? 0;
  const base = { op: 'subquery' as const, typmod: -1, query, test: null, left: null, location };
  const one = (): { type: number; typmod: number } => {
    if (query.output.length !== 1)
      throw context.error('42601', 'subquery must return only one column', link.location);
    return query.output[0] as { type: number; typmod: number };
  };
  const kind: string = link.subLinkType ?? '';
  switch (kind) {
    case 'EXISTS_SUBLINK':
      return { ...base, how: 'exists', type: BOOL };
    case 'EXPR_SUBLINK': {
      const column = one();
      return { ...base, how: 'scalar', type: column.type, typmod: column.typmod };
    }
    case 'ARRAY_SUBLINK':
      return { ...base, how: 'array', type: context.types.arrayOf(one().type) };
    case 'ANY_SUBLINK':
    case 'ALL_SUBLINK': {
      const name = link.operName === undefined ? '=' : stringOf(link.operName.at(-1));
      const sides = left?.op === 'row' ? left.args : left === null ? [] : [left];
      if (sides.length !== query.output.length) {
        const few = query.output.length < sides.length;
        throw context.error(
          '42601',
          `subquery has too ${few ? 'few' : 'many'} columns`,
          link.location,
        );
      }
      const columns: Expr[] = query.output.map((c) =>
        context.computed(c.type, c.typmod, c.slot, c.name),
      );
      const test =
        sides.length === 1
          ? bindOperator(scope, name, sides[0] as Expr, columns[0] as Expr, link.location)
          : bindOperator(
              scope,
              name,
              left as Expr,
              { op: 'row', type: 0, typmod: -1, args: columns },
              link.location,
            );
      if (test.type !== BOOL)
        throw context.error(
          '42804',
          `operator ${name} must return type boolean, not ${context.types.typeName(typeOf(context, test))}`,
          link.location,
        );
      const hashable =
        name === '=' && sides.length === 1 && test.op === 'call' && test.args[1]?.op === 'slot';
      return {
        ...base,
        how: link.subLinkType === 'ALL_SUBLINK' ? 'all' : 'any',
        type: BOOL,
        test,
        left: hashable && test.op === 'call' ? (test.args[0] as Expr) : null,
      };
    }
    default:
      throw context.refuse(`sub-query of type ${link.subLinkType}`, link.location);
  }
}
