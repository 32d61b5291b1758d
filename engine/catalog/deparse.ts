/** Stored expressions back to text, for pg_get_expr and its like. What it does not know it shows by its kind. */
import type { A_Const, A_Expr, FuncCall, Node, TypeName } from 'libpg-query';
import { stringOf, stringsOf, tagOf } from '../sql/parse/ast.js';
import type { CatalogSnapshot } from './catalog-snapshot.js';
import { nameOfObject, quoteIdent, quoteLiteral } from './names.js';

const TYPES: Record<string, string> = {
  int4: 'integer',
  int8: 'bigint',
  int2: 'smallint',
  bool: 'boolean',
  float8: 'double precision',
  float4: 'real',
  varchar: 'character varying',
  bpchar: 'character',
  timestamptz: 'timestamp with time zone',
  timestamp: 'timestamp without time zone',
  time: 'time without time zone',
};

const VALUE_FUNCTIONS: Record<string, string> = {
  SVFOP_CURRENT_DATE: 'CURRENT_DATE',
  SVFOP_CURRENT_TIME: 'CURRENT_TIME',
  SVFOP_CURRENT_TIMESTAMP: 'CURRENT_TIMESTAMP',
  SVFOP_LOCALTIME: 'LOCALTIME',
  SVFOP_LOCALTIMESTAMP: 'LOCALTIMESTAMP',
  SVFOP_CURRENT_ROLE: 'CURRENT_ROLE',
  SVFOP_CURRENT_USER: 'CURRENT_USER',
  SVFOP_USER: 'USER',
  SVFOP_SESSION_USER: 'SESSION_USER',
  SVFOP_CURRENT_CATALOG: 'CURRENT_CATALOG',
  SVFOP_CURRENT_SCHEMA: 'CURRENT_SCHEMA',
};

export class Deparser {
  readonly #snapshot: CatalogSnapshot;
  readonly #searchPath: readonly string[];

  constructor(snapshot: CatalogSnapshot, searchPath: readonly string[]) {
    this.#snapshot = snapshot;
    this.#searchPath = searchPath;
  }

  text(node: Node | undefined): string {
    if (node === undefined) return '';
    if ('A_Const' in node) return constant(node.A_Const);
    if ('ColumnRef' in node) {
      return (node.ColumnRef.fields ?? [])
        .map((f) => ('A_Star' in f ? '*' : quoteIdent(stringOf(f))))
        .join('.');
    }
    if ('TypeCast' in node) return this.#cast(node.TypeCast.arg, node.TypeCast.typeName);
    if ('FuncCall' in node) return this.#call(node.FuncCall);
    if ('A_Expr' in node) return this.#operation(node.A_Expr);
    if ('BoolExpr' in node) {
      const args = (node.BoolExpr.args ?? []).map((arg) => this.text(arg));
      if (node.BoolExpr.boolop === 'NOT_EXPR') return `(NOT ${args[0]})`;
      return `(${args.join(node.BoolExpr.boolop === 'AND_EXPR' ? ' AND ' : ' OR ')})`;
    }
    if ('NullTest' in node) {
      const is = node.NullTest.nulltesttype === 'IS_NOT_NULL' ? 'IS NOT NULL' : 'IS NULL';
      return `(${this.text(node.NullTest.arg)} ${is})`;
    }
    if ('BooleanTest' in node) {
      const test = (node.BooleanTest.booltesttype ?? '').replace('IS_', '').replace('_', ' ');
      return `(${this.text(node.BooleanTest.arg)} IS ${test})`;
    }
    if ('CoalesceExpr' in node) return `COALESCE(${this.#list(node.CoalesceExpr.args)})`;
    if ('MinMaxExpr' in node) {
      const name = node.MinMaxExpr.op === 'IS_LEAST' ? 'LEAST' : 'GREATEST';
      return `${name}(${this.#list(node.MinMaxExpr.args)})`;
    }
    if ('SQLValueFunction' in node) {
      return VALUE_FUNCTIONS[node.SQLValueFunction.op ?? ''] ?? 'CURRENT_TIMESTAMP';
    }
    if ('A_ArrayExpr' in node) return `ARRAY[${this.#list(node.A_ArrayExpr.elements)}]`;
    if ('List' in node) return this.#list(node.List.items);
    if ('CaseExpr' in node) {
      const whens = (node.CaseExpr.args ?? []).map((arg) =>
        'CaseWhen' in arg
          ? `WHEN ${this.text(arg.CaseWhen.expr)} THEN ${this.text(arg.CaseWhen.result)}`
          : '',
      );
      const subject = node.CaseExpr.arg === undefined ? '' : `${this.text(node.CaseExpr.arg)} `;
      const last =
        node.CaseExpr.defresult === undefined ? '' : ` ELSE ${this.text(node.CaseExpr.defresult)}`;
      return `CASE ${subject}${whens.join(' ')}${last} END`;
    }
    return `<${tagOf(node)}>`;
  }

  typeName(name: TypeName | undefined): string {
    const names = stringsOf(name?.names).filter((part) => part !== 'pg_catalog');
    const base = TYPES[names[0] ?? ''] ?? names.map(quoteIdent).join('.');
    const mods = (name?.typmods ?? []).map((mod) => this.text(mod));
    const array = '[]'.repeat(name?.arrayBounds?.length ?? 0);
    return `${base}${mods.length > 0 ? `(${mods.join(',')})` : ''}${array}`;
  }

  #list(nodes: readonly Node[] | undefined): string {
    return (nodes ?? []).map((node) => this.text(node)).join(', ');
  }

  #cast(arg: Node | undefined, name: TypeName | undefined): string {
    const type = this.typeName(name);
    if (type === 'regclass' && arg !== undefined && 'A_Const' in arg) {
      const text = arg.A_Const.sval?.sval ?? '';
      if (/^\d+$/.test(text)) {
        const shown = nameOfObject(this.#snapshot, 'regclass', Number(text), this.#searchPath);
        return `${quoteLiteral(shown ?? text)}::regclass`;
      }
    }
    const inner = this.text(arg);
    const isPlain =
      arg !== undefined && ('A_Const' in arg || 'ColumnRef' in arg || 'FuncCall' in arg);
    return isPlain || inner.startsWith('(') ? `${inner}::${type}` : `(${inner})::${type}`;
  }

  #call(call: FuncCall): string {
    const names = stringsOf(call.funcname).filter((name) => name !== 'pg_catalog');
    const args = call.agg_star === true ? '*' : this.#list(call.args);
    return `${names.map(quoteIdent).join('.')}(${args})`;
  }

  #operation(e: A_Expr): string {
    const operator = stringsOf(e.name).slice(-1)[0] ?? '';
    const left = this.text(e.lexpr);
    const right = this.text(e.rexpr);
    const kind: string = e.kind ?? '';
    switch (kind) {
      case 'AEXPR_IN':
        return `(${left} ${operator === '<>' ? 'NOT IN' : 'IN'} (${right}))`;
      case 'AEXPR_LIKE':
        return `(${left} ${operator === '!~~' ? 'NOT LIKE' : 'LIKE'} ${right})`;
      case 'AEXPR_ILIKE':
        return `(${left} ${operator === '!~~*' ? 'NOT ILIKE' : 'ILIKE'} ${right})`;
      case 'AEXPR_BETWEEN':
      case 'AEXPR_NOT_BETWEEN': {
        const [low, high] =
          e.rexpr !== undefined && 'List' in e.rexpr ? (e.rexpr.List.items ?? []) : [];
        const not = kind === 'AEXPR_BETWEEN' ? '' : 'NOT ';
        return `(${left} ${not}BETWEEN ${this.text(low)} AND ${this.text(high)})`;
      }
      case 'AEXPR_OP_ANY':
        return `(${left} ${operator} ANY (${right}))`;
      case 'AEXPR_OP_ALL':
        return `(${left} ${operator} ALL (${right}))`;
      case 'AEXPR_DISTINCT':
        return `(${left} IS DISTINCT FROM ${right})`;
      case 'AEXPR_NOT_DISTINCT':
        return `(${left} IS NOT DISTINCT FROM ${right})`;
      case 'AEXPR_NULLIF':
        return `NULLIF(${left}, ${right})`;
      default:
        return left === '' ? `(${operator} ${right})` : `(${left} ${operator} ${right})`;
    }
  }
}

function constant(c: A_Const): string {
  if (c.isnull === true) return 'NULL';
  if (c.sval !== undefined) return quoteLiteral(c.sval.sval ?? '');
  if (c.fval !== undefined) return c.fval.fval ?? '0';
  if (c.boolval !== undefined) return String(c.boolval.boolval ?? false);
  return String(c.ival?.ival ?? 0);
}
