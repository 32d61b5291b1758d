/** The name of an output column that has no AS, by PostgreSQL's FigureColname. */
import type { Node } from 'libpg-query';
import { stringOf } from '../parse/ast.js';

export function columnName(node: Node | undefined): string {
  return named(node)?.name ?? '?column?';
}

interface Named {
  readonly name: string;
  /** A weak name gives way to that of a cast. */
  readonly weak: boolean;
}

function strong(name: string): Named {
  return { name, weak: false };
}

function named(node: Node | undefined): Named | null {
  if (node === undefined) return null;
  if ('ColumnRef' in node) {
    const last = node.ColumnRef.fields?.findLast((f) => 'String' in f);
    return last === undefined ? null : strong(stringOf(last));
  }
  if ('A_Indirection' in node) return named(node.A_Indirection.arg);
  if ('FuncCall' in node) return strong(stringOf(node.FuncCall.funcname?.at(-1)));
  if ('A_Expr' in node) return node.A_Expr.kind === 'AEXPR_NULLIF' ? strong('nullif') : null;
  if ('TypeCast' in node) {
    const inner = named(node.TypeCast.arg);
    if (inner !== null && !inner.weak) return inner;
    const name = stringOf(node.TypeCast.typeName?.names?.at(-1));
    return { name, weak: true };
  }
  if ('CollateClause' in node) return named(node.CollateClause.arg);
  if ('CaseExpr' in node) {
    const inner = named(node.CaseExpr.defresult);
    return inner !== null && !inner.weak ? inner : { name: 'case', weak: true };
  }
  if ('CoalesceExpr' in node) return strong('coalesce');
  if ('MinMaxExpr' in node) return strong(node.MinMaxExpr.op === 'IS_LEAST' ? 'least' : 'greatest');
  if ('A_ArrayExpr' in node) return strong('array');
  if ('RowExpr' in node) return strong('row');
  if ('SQLValueFunction' in node) {
    const op = (node.SQLValueFunction.op ?? '').replace('SVFOP_', '').toLowerCase();
    return strong(op.replace(/_n$/, ''));
  }
  if ('SubLink' in node) {
    const kind: string = node.SubLink.subLinkType ?? '';
    switch (kind) {
      case 'EXISTS_SUBLINK':
        return strong('exists');
      case 'ARRAY_SUBLINK':
        return strong('array');
      case 'EXPR_SUBLINK': {
        const query = node.SubLink.subselect;
        const target =
          query !== undefined && 'SelectStmt' in query
            ? query.SelectStmt.targetList?.[0]
            : undefined;
        if (target === undefined || !('ResTarget' in target)) return null;
        return target.ResTarget.name !== undefined
          ? strong(target.ResTarget.name)
          : named(target.ResTarget.val);
      }
      default:
        return null;
    }
  }
  return null;
}
