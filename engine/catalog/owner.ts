/** OWNER TO: all objects have the one owner there is, so it may only be named again. */
import type { AlterOwnerStmt, RoleSpec } from 'libpg-query';
import { stringsOf } from '../sql/parse/ast.js';
import { SqlError, notSupported } from '../sql-error.js';
import type { Ddl } from './ddl.js';
import { OWNER_NAME } from './names.js';
import type { Steps } from './steps.js';

/** 42704 for whoever is neither the owner of everything nor the session's own user. */
export function requireOwner(ddl: Ddl, role: RoleSpec | undefined): void {
  const type: string = role?.roletype ?? '';
  if (/^ROLESPEC_(CURRENT|SESSION)_/.test(type)) return;
  const name = type === 'ROLESPEC_PUBLIC' ? 'public' : (role?.rolename ?? '');
  if (name === OWNER_NAME || name === ddl.session.user) return;
  throw new SqlError('42704', `role "${name}" does not exist`);
}

/** Of what is no relation: only schemas are there to have one. */
// oxlint-disable-next-line require-yield
export function* alterOwner(ddl: Ddl, s: AlterOwnerStmt): Steps<string> {
  const kind = (s.objectType ?? '').replace('OBJECT_', '');
  if (kind !== 'SCHEMA' || s.object === undefined) throw notSupported(`OWNER TO of ${kind}`);
  ddl.reader.requireSchema(stringsOf([s.object])[0]);
  requireOwner(ddl, s.newowner);
  return 'ALTER SCHEMA';
}
