/** Functions that look at the session, the server or the types of their arguments. */
import { SqlError } from '../sql-error.js';
import { toHex } from '../types/binary.js';
import { makeArray } from '../types/array.js';
import { OID } from '../types/oids.js';
import type { SessionView } from '../sql/statement.js';
import type { Value } from '../types/value.js';
import { schemasOf } from './context.js';
import { fn, registerFunctions, type FunctionDef } from './function.js';

const { text, name, bool, int4 } = OID;

/** Clients parse it: `PostgreSQL <number> `. */
export const SERVER_VERSION = '15.8';

const perSession = { session: true } as const;

function uuid(session: SessionView): string {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = Math.floor(session.random() * 256);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = toHex(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function setting(session: SessionView, parameter: string, missingOk: boolean): string | null {
  const value = session.getSetting(parameter);
  if (value !== undefined) return value;
  if (missingOk) return null;
  throw new SqlError('42704', `unrecognized configuration parameter "${parameter}"`);
}

function firstSchema(session: SessionView): string | null {
  return schemasOf(session)[0] ?? null;
}

/** `implicit`: with pg_catalog, which is searched first where the path does not name it. */
function schemas(session: SessionView, implicit: boolean): Value {
  const path = schemasOf(session);
  return makeArray(name, implicit && !path.includes('pg_catalog') ? ['pg_catalog', ...path] : path);
}

function identity(): FunctionDef[] {
  const user = (session: SessionView): string => session.user;
  return [
    ...['current_user', 'session_user', 'user', 'current_role'].map((n) =>
      fn(n, [], name, user, perSession),
    ),
    ...['current_database', 'current_catalog'].map((n) =>
      fn(n, [], name, (s: SessionView) => s.database, perSession),
    ),
    fn('current_schema', [], name, firstSchema, perSession),
    fn('current_schemas', [bool], OID.nameArray, schemas, perSession),
    fn('pg_backend_pid', [], int4, (s: SessionView) => s.id, perSession),
  ];
}

export function registerSession(): void {
  registerFunctions([
    ...identity(),
    fn(
      'version',
      [],
      text,
      () =>
        `PostgreSQL ${SERVER_VERSION} (Sextant) on ${process.platform}, compiled from TypeScript, 64-bit`,
      { volatility: 'stable' },
    ),
    fn(
      'current_setting',
      [text],
      text,
      (s: SessionView, p: string) => setting(s, p, false),
      perSession,
    ),
    fn('current_setting', [text, bool], text, setting, perSession),
    fn(
      'set_config',
      [text, text, bool],
      text,
      (s: SessionView, parameter: string, value: string | null, local: boolean) => {
        s.setSetting(parameter, value ?? '', local);
        return s.getSetting(parameter) ?? '';
      },
      { session: true, strict: false, volatility: 'volatile' },
    ),
    fn('gen_random_uuid', [], OID.uuid, uuid, { session: true, volatility: 'volatile' }),
    fn('uuid_generate_v4', [], OID.uuid, uuid, { session: true, volatility: 'volatile' }),
    fn('pg_typeof', [OID.any], OID.regtype, null, {
      strict: false,
      volatility: 'stable',
      bind: (argOids) => () => argOids[0] as number,
    }),
    fn('pg_client_encoding', [], name, () => 'UTF8', { volatility: 'stable' }),
  ]);
}
