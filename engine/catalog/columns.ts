/** Column definitions of CREATE TABLE and ADD COLUMN, as records and constraints still to be made. */
import type { ColumnDef, Constraint, Node, TypeName } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import { OID } from '../types/oids.js';
import { typeOf } from '../types/registry.js';
import type { Ddl } from './ddl.js';
import { lookUpName } from './names.js';
import type { ColumnRecord } from './object-record.js';

const SERIAL: Record<string, number> = {
  serial: OID.int4,
  serial4: OID.int4,
  bigserial: OID.int8,
  serial8: OID.int8,
  smallserial: OID.int2,
  serial2: OID.int2,
};

export interface ColumnPlan {
  readonly column: ColumnRecord;
  /** A sequence goes with it. */
  readonly sequence: { readonly typeOid: number; readonly options: readonly Node[] } | null;
  /** Table constraints that were written at the column; their keys are filled in. */
  readonly constraints: readonly Constraint[];
}

function serialType(name: TypeName | undefined): number {
  const names = stringsOf(name?.names);
  if (names.length !== 1 || (name?.arrayBounds?.length ?? 0) > 0) return 0;
  return SERIAL[names[0]] ?? 0;
}

/** Only collations that order by bytes are those that the engine has. */
export function checkCollation(names: readonly string[]): void {
  const name = names[names.length - 1];
  if (['C', 'POSIX', 'default', 'ucs_basic'].includes(name)) return;
  throw notSupported(`collation "${name}"`);
}

export function planColumn(ddl: Ddl, def: ColumnDef): ColumnPlan {
  const name = def.colname ?? '';
  if (def.collClause !== undefined) checkCollation(stringsOf(def.collClause.collname));
  if (def.compression !== undefined && def.compression !== '') {
    throw notSupported('COMPRESSION');
  }
  const serial = serialType(def.typeName);
  const type = serial !== 0 ? { oid: serial, typmod: -1 } : ddl.bindType(def.typeName as TypeName);
  if (typeOf(type.oid).kind === 'p') {
    throw new SqlError('42P16', `column "${name}" has pseudo-type ${typeOf(type.oid).displayName}`);
  }
  const draft = new ColumnDraft(name, serial !== 0);
  if (serial !== 0) draft.sequence = { typeOid: serial, options: [] };
  for (const node of def.constraints ?? []) {
    if ('Constraint' in node) draft.add(node.Constraint, type.oid);
  }
  return {
    column: {
      name,
      type: type.oid,
      typmod: type.typmod,
      notNull: draft.notNull,
      default: draft.default,
      identity: draft.identity,
      dropped: false,
      missing: null,
    },
    sequence: draft.sequence,
    constraints: draft.constraints,
  };
}

class ColumnDraft {
  readonly name: string;
  notNull: boolean;
  default: Node | null = null;
  identity: ColumnRecord['identity'] = null;
  sequence: ColumnPlan['sequence'] = null;
  readonly constraints: Constraint[] = [];
  #saysNull = false;

  constructor(name: string, notNull: boolean) {
    this.name = name;
    this.notNull = notNull;
  }

  add(c: Constraint, typeOid: number): void {
    const kind: string = c.contype ?? '';
    switch (kind) {
      case 'CONSTR_NULL':
        if (this.notNull) throw this.#conflict('NULL/NOT NULL');
        this.#saysNull = true;
        return;
      case 'CONSTR_NOTNULL':
        if (this.#saysNull) throw this.#conflict('NULL/NOT NULL');
        this.notNull = true;
        return;
      case 'CONSTR_DEFAULT':
        if (this.default !== null || this.sequence !== null) throw this.#conflict('default');
        this.default = c.raw_expr ?? null;
        return;
      case 'CONSTR_IDENTITY':
        if (this.default !== null || this.sequence !== null) throw this.#conflict('default');
        this.identity = c.generated_when === 'a' ? 'always' : 'by default';
        this.sequence = { typeOid, options: c.options ?? [] };
        this.notNull = true;
        return;
      case 'CONSTR_PRIMARY':
      case 'CONSTR_UNIQUE':
        this.constraints.push({ ...c, keys: [{ String: { sval: this.name } }] });
        return;
      case 'CONSTR_CHECK':
        this.constraints.push(c);
        return;
      case 'CONSTR_FOREIGN':
        this.constraints.push({ ...c, fk_attrs: [{ String: { sval: this.name } }] });
        return;
      case 'CONSTR_ATTR_NOT_DEFERRABLE':
      case 'CONSTR_ATTR_IMMEDIATE':
        return;
      case 'CONSTR_GENERATED':
        throw notSupported('generated column');
      default:
        throw notSupported(`column constraint ${c.contype ?? ''}`);
    }
  }

  #conflict(what: string): SqlError {
    return new SqlError(
      '42601',
      what === 'default'
        ? `multiple default values specified for column "${this.name}"`
        : `conflicting NULL/NOT NULL declarations for column "${this.name}"`,
    );
  }
}

const string = (sval: string): Node => ({ String: { sval } });

/** `nextval(<oid>::regclass)`, which follows the sequence through renames. */
export function nextvalNode(sequenceOid: number): Node {
  return {
    FuncCall: {
      funcname: [string('pg_catalog'), string('nextval')],
      args: [regclassNode(sequenceOid)],
      funcformat: 'COERCE_EXPLICIT_CALL',
      location: -1,
    },
  };
}

function regclassNode(oid: number): Node {
  return {
    TypeCast: {
      arg: { A_Const: { sval: { sval: String(oid) }, location: -1 } },
      typeName: { names: [string('pg_catalog'), string('regclass')], typemod: -1, location: -1 },
      location: -1,
    },
  };
}

/** Oid of the sequence in a `nextval(<oid>::regclass)`; 0: it is another expression. */
export function sequenceOfDefault(node: Node | null): number {
  if (node === null || !('FuncCall' in node)) return 0;
  const names = stringsOf(node.FuncCall.funcname);
  if (names[names.length - 1] !== 'nextval') return 0;
  const [arg] = node.FuncCall.args ?? [];
  if (arg === undefined || !('TypeCast' in arg)) return 0;
  const inner = arg.TypeCast.arg;
  if (inner === undefined || !('A_Const' in inner)) return 0;
  const text = inner.A_Const.sval?.sval ?? '';
  return /^\d+$/.test(text) ? Number(text) : 0;
}

/** The default as it is kept: sequences by oid. */
export function keepDefault(ddl: Ddl, node: Node): Node {
  if (!('FuncCall' in node)) return node;
  const names = stringsOf(node.FuncCall.funcname);
  if (names[names.length - 1] !== 'nextval') return node;
  let arg: Node | undefined = (node.FuncCall.args ?? [])[0];
  while (arg !== undefined && 'TypeCast' in arg) arg = arg.TypeCast.arg;
  if (arg === undefined || !('A_Const' in arg)) return node;
  const text = arg.A_Const.sval?.sval;
  if (text === undefined || /^\d+$/.test(text)) return node;
  return nextvalNode(lookUpName(ddl.reader, 'regclass', text, ddl.session.searchPath));
}
