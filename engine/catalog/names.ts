/** Names of objects as text: quoting, regclass and its like. */
import { allFunctions, functionsNamed } from '../functions/function.js';
import '../functions/builtin.js';
import { SqlError } from '../sql-error.js';
import { formatType } from '../types/modifier.js';
import { typeByName } from '../types/registry.js';
import type { RegKind } from '../types/sql-type.js';
import type { CatalogSnapshot } from './catalog-snapshot.js';

/** Words that are not identifiers without quotes; the rest of the grammar's are harmless. */
const RESERVED = new Set(
  (
    'all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create ' +
    'current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc ' +
    'distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral ' +
    'leading limit localtime localtimestamp not null offset on only or order placing primary references returning ' +
    'select session_user some symmetric table then to trailing true union unique user using variadic when where ' +
    'window with authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull ' +
    'join left like natural notnull outer overlaps right similar tablesample verbose between bigint bit boolean char ' +
    'character coalesce dec decimal exists extract float greatest grouping inout int integer interval least national ' +
    'nchar none normalize nullif numeric out overlay position precision real row setof smallint substring time ' +
    'timestamp treat trim values varchar'
  ).split(' '),
);

/** As quote_ident: quoted only when it must be. */
export function quoteIdent(name: string): string {
  if (/^[a-z_][a-z0-9_$]*$/.test(name) && !RESERVED.has(name)) return name;
  return `"${name.replaceAll('"', '""')}"`;
}

export const quoteLiteral = (text: string): string =>
  text.includes('\\')
    ? `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;

/** `a."B".c` into its parts, folded to lower case where not quoted; 42602. */
export function splitName(text: string): string[] {
  const parts: string[] = [];
  const pattern = /\s*(?:"((?:[^"]|"")+)"|([^\s".]+))\s*(\.|$)/y;
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text);
    if (match === null) throw new SqlError('42602', `invalid name syntax`);
    parts.push(match[1]?.replaceAll('""', '"') ?? (match[2] ?? '').toLowerCase());
    if (match[3] === '' && pattern.lastIndex >= text.length) return parts;
  }
  throw new SqlError('42602', 'invalid name syntax');
}

const HASH_BASE = 0x811c_9dc5;

/** Functions have no record: their oid is made of their signature, below the user's oids. */
export function functionOid(name: string, args: readonly number[]): number {
  let hash = HASH_BASE;
  for (const char of `${name}(${args.join(',')})`) {
    hash = Math.imul(hash ^ char.charCodeAt(0), 0x0100_0193) >>> 0;
  }
  return 0x4000_0000 + (hash % 0x3fff_ffff);
}

let functionNames: Map<number, string> | null = null;

function functionByOid(oid: number): string | undefined {
  if (functionNames === null) {
    functionNames = new Map();
    for (const def of allFunctions()) functionNames.set(functionOid(def.name, def.args), def.name);
  }
  return functionNames.get(oid);
}

/** The oid that the text of a regclass, regtype, ... stands for; 42P01, 42704, 42883, 3F000. */
export function lookUpName(
  snapshot: CatalogSnapshot,
  kind: RegKind,
  text: string,
  searchPath: readonly string[],
): number {
  if (kind === 'regtype') {
    const oid = typeByText(text);
    if (oid === 0) throw new SqlError('42704', `type "${text}" does not exist`);
    return oid;
  }
  const parts = splitName(text);
  const name = parts[parts.length - 1];
  const schema = parts.length > 1 ? parts[parts.length - 2] : null;
  switch (kind) {
    case 'regclass': {
      const oid = snapshot.findRelation(schema, name, searchPath);
      if (oid === 0) throw new SqlError('42P01', `relation "${text}" does not exist`);
      return oid;
    }
    case 'regnamespace':
      return snapshot.requireSchema(name);
    case 'regrole':
      return OWNER_OID;
    case 'regproc':
    case 'regprocedure': {
      const [def] = functionsNamed(name.replace(/\(.*$/, ''));
      if (def === undefined) throw new SqlError('42883', `function "${text}" does not exist`);
      return functionOid(def.name, def.args);
    }
  }
}

/** Oid of the only role there is. */
export const OWNER_OID = 10;
/** Of the only database. */
export const DATABASE_OID = 5;
export const OWNER_NAME = 'postgres';

const TYPE_WORDS: Record<string, string> = {
  integer: 'int4',
  int: 'int4',
  bigint: 'int8',
  smallint: 'int2',
  boolean: 'bool',
  real: 'float4',
  'double precision': 'float8',
  character: 'bpchar',
  'character varying': 'varchar',
  decimal: 'numeric',
  'timestamp without time zone': 'timestamp',
  'timestamp with time zone': 'timestamptz',
  'time without time zone': 'time',
  '"char"': 'char',
};

function typeByText(text: string): number {
  const array = text.endsWith('[]');
  const bare = text
    .replace(/\[\]$/, '')
    .replace(/^pg_catalog\./, '')
    .replace(/\s*\([\d, ]*\)/, '')
    .trim();
  const name = TYPE_WORDS[bare.toLowerCase()] ?? splitName(bare)[0];
  const type = typeByName(name);
  if (type === undefined) return 0;
  return array ? type.arrayOid : type.oid;
}

export function nameOfObject(
  snapshot: CatalogSnapshot,
  kind: RegKind,
  oid: number,
  searchPath: readonly string[],
): string | undefined {
  switch (kind) {
    case 'regclass': {
      const name = snapshot.relationName(oid);
      if (name === null) return undefined;
      if (snapshot.isVisible(oid, searchPath)) return quoteIdent(name);
      return `${quoteIdent(snapshot.relationSchema(oid) ?? '')}.${quoteIdent(name)}`;
    }
    case 'regtype': {
      const name = formatType(oid, -1);
      return name === '???' ? undefined : name;
    }
    case 'regnamespace':
      return snapshot.schemaName(oid) === '' ? undefined : quoteIdent(snapshot.schemaName(oid));
    case 'regrole':
      return oid === OWNER_OID ? OWNER_NAME : undefined;
    case 'regproc':
    case 'regprocedure':
      return functionByOid(oid);
  }
}
