/** pg_catalog: what does not depend on the user's objects, and relations that are always empty. */
import '../functions/builtin.js';
import { allFunctions, allOperators } from '../functions/function.js';
import { allTypes } from '../types/registry.js';
import { PG_CATALOG_OID } from './catalog-snapshot.js';
import type { Catalog } from './catalog.js';
import { DATABASE_OID, functionOid, OWNER_OID } from './names.js';
import { BTREE_AM, DEFAULT_COLLATION, HEAP_AM } from './pg-catalog.js';
import { LOCK_MODE_NAMES } from './relation-locks.js';
import { oidvector, type VirtualRow, type VirtualTable } from './virtual.js';

function* types(): IterableIterator<VirtualRow> {
  for (const type of allTypes()) {
    yield {
      oid: type.oid,
      typname: type.name,
      typnamespace: PG_CATALOG_OID,
      typowner: OWNER_OID,
      typlen: type.length,
      typbyval: type.byValue,
      typtype: type.kind,
      typcategory: type.category,
      typispreferred: type.preferred,
      typisdefined: true,
      typdelim: ',',
      typrelid: 0,
      typsubscript: 0,
      typelem: type.elementOid,
      typarray: type.arrayOid,
      typinput: functionOid(type.elementOid === 0 ? `${type.name}in` : 'array_in', []),
      typoutput: functionOid(type.elementOid === 0 ? `${type.name}out` : 'array_out', []),
      typreceive: 0,
      typsend: 0,
      typalign: type.align,
      typstorage: type.length === -1 ? 'x' : 'p',
      typnotnull: false,
      typbasetype: 0,
      typtypmod: -1,
      typndims: 0,
      typcollation: type.category === 'S' ? DEFAULT_COLLATION : 0,
    };
  }
}

function* procedures(): IterableIterator<VirtualRow> {
  for (const def of allFunctions()) {
    yield {
      oid: functionOid(def.name, def.args),
      proname: def.name,
      pronamespace: PG_CATALOG_OID,
      proowner: OWNER_OID,
      prolang: 12,
      prokind: 'f',
      prosecdef: false,
      proisstrict: def.strict,
      proretset: def.returnsSet,
      provolatile: def.volatility.charAt(0),
      pronargs: def.args.length,
      prorettype: def.result,
      proargtypes: oidvector(def.args),
      prosrc: def.name,
    };
  }
}

function* operators(): IterableIterator<VirtualRow> {
  for (const def of allOperators()) {
    yield {
      oid: functionOid(def.name, [def.left, def.right]),
      oprname: def.name,
      oprnamespace: PG_CATALOG_OID,
      oprowner: OWNER_OID,
      oprkind: def.left === 0 ? 'l' : 'b',
      oprleft: def.left,
      oprright: def.right,
      oprresult: def.result,
    };
  }
}

const ROLE: VirtualRow = {
  oid: OWNER_OID,
  rolname: 'postgres',
  rolsuper: true,
  rolinherit: true,
  rolcreaterole: true,
  rolcreatedb: true,
  rolcanlogin: true,
  rolreplication: false,
  rolbypassrls: true,
  rolconnlimit: -1,
  usename: 'postgres',
  usesysid: OWNER_OID,
  usecreatedb: true,
  usesuper: true,
};
const ROLE_COLUMNS = `oid:oid rolname:name rolsuper:bool rolinherit:bool rolcreaterole:bool rolcreatedb:bool
  rolcanlogin:bool rolreplication:bool rolbypassrls:bool rolconnlimit:int4 rolpassword:text
  rolvaliduntil:timestamptz`;

const SETTINGS = [
  'application_name',
  'client_encoding',
  'DateStyle',
  'default_transaction_isolation',
  'integer_datetimes',
  'search_path',
  'server_encoding',
  'server_version',
  'server_version_num',
  'standard_conforming_strings',
  'statement_timeout',
  'TimeZone',
  'transaction_isolation',
  'max_identifier_length',
];

const system = (
  oid: number,
  name: string,
  columns: string,
  rows: VirtualTable['rows'],
): VirtualTable => ({ oid, schema: 'pg_catalog', name, columns, rows });

const none = (): readonly VirtualRow[] => [];

const EMPTY: readonly (readonly [number, string, string])[] = [
  [
    3256,
    'pg_policy',
    'oid:oid polname:name polrelid:oid polcmd:char polpermissive:bool polroles:oid[] polqual:pg_node_tree polwithcheck:pg_node_tree',
  ],
  [
    2620,
    'pg_trigger',
    'oid:oid tgrelid:oid tgparentid:oid tgname:name tgfoid:oid tgtype:int2 tgenabled:char tgisinternal:bool tgconstrrelid:oid tgconstrindid:oid tgconstraint:oid tgdeferrable:bool tginitdeferred:bool tgnargs:int2 tgattr:int2vector tgargs:bytea tgqual:pg_node_tree',
  ],
  [2611, 'pg_inherits', 'inhrelid:oid inhparent:oid inhseqno:int4 inhdetachpending:bool'],
  [
    6104,
    'pg_publication',
    'oid:oid pubname:name pubowner:oid puballtables:bool pubinsert:bool pubupdate:bool pubdelete:bool pubtruncate:bool pubviaroot:bool',
  ],
  [
    6106,
    'pg_publication_rel',
    'oid:oid prpubid:oid prrelid:oid prqual:pg_node_tree prattrs:int2vector',
  ],
  [6237, 'pg_publication_namespace', 'oid:oid pnpubid:oid pnnspid:oid'],
  [
    3350,
    'pg_partitioned_table',
    'partrelid:oid partstrat:char partnatts:int2 partdefid:oid partattrs:int2vector partclass:oidvector partcollation:oidvector partexprs:pg_node_tree',
  ],
  [
    3381,
    'pg_statistic_ext',
    'oid:oid stxrelid:oid stxname:name stxnamespace:oid stxowner:oid stxstattarget:int4 stxkeys:int2vector stxkind:char[] stxexprs:pg_node_tree',
  ],
  [
    2618,
    'pg_rewrite',
    'oid:oid rulename:name ev_class:oid ev_type:char ev_enabled:char is_instead:bool ev_qual:pg_node_tree ev_action:pg_node_tree',
  ],
  [3118, 'pg_foreign_table', 'ftrelid:oid ftserver:oid ftoptions:text[]'],
  [
    1417,
    'pg_foreign_server',
    'oid:oid srvname:name srvowner:oid srvfdw:oid srvtype:text srvversion:text srvacl:text[] srvoptions:text[]',
  ],
  [
    2328,
    'pg_foreign_data_wrapper',
    'oid:oid fdwname:name fdwowner:oid fdwhandler:oid fdwvalidator:oid fdwacl:text[] fdwoptions:text[]',
  ],
  [
    3079,
    'pg_extension',
    'oid:oid extname:name extowner:oid extnamespace:oid extrelocatable:bool extversion:text extconfig:oid[] extcondition:text[]',
  ],
  [
    3466,
    'pg_event_trigger',
    'oid:oid evtname:name evtevent:name evtowner:oid evtfoid:oid evtenabled:char evttags:text[]',
  ],
  [3501, 'pg_enum', 'oid:oid enumtypid:oid enumsortorder:float4 enumlabel:name'],
  [
    3541,
    'pg_range',
    'rngtypid:oid rngsubtype:oid rngmultitypid:oid rngcollation:oid rngsubopc:oid rngcanonical:regproc rngsubdiff:regproc',
  ],
  [1261, 'pg_auth_members', 'roleid:oid member:oid grantor:oid admin_option:bool'],
  [
    1214,
    'pg_shdepend',
    'dbid:oid classid:oid objid:oid objsubid:int4 refclassid:oid refobjid:oid deptype:char',
  ],
  [2396, 'pg_shdescription', 'objoid:oid classoid:oid description:text'],
  [
    12_120,
    'pg_matviews',
    'schemaname:name matviewname:name matviewowner:name tablespace:name hasindexes:bool ispopulated:bool definition:text',
  ],
];

export const FIXED_TABLES: readonly VirtualTable[] = [
  ...EMPTY.map(([oid, name, columns]) => system(oid, name, columns, none)),
  system(
    1247,
    'pg_type',
    `oid:oid typname:name typnamespace:oid typowner:oid typlen:int2 typbyval:bool typtype:char typcategory:char
     typispreferred:bool typisdefined:bool typdelim:char typrelid:oid typsubscript:oid typelem:oid typarray:oid
     typinput:regproc typoutput:regproc typreceive:regproc typsend:regproc typalign:char typstorage:char
     typnotnull:bool typbasetype:oid typtypmod:int4 typndims:int4 typcollation:oid typdefault:text typacl:text[]`,
    types,
  ),
  system(
    1255,
    'pg_proc',
    `oid:oid proname:name pronamespace:oid proowner:oid prolang:oid prokind:char prosecdef:bool proisstrict:bool
     proretset:bool provolatile:char pronargs:int2 prorettype:oid proargtypes:oidvector prosrc:text proacl:text[]`,
    procedures,
  ),
  system(
    2617,
    'pg_operator',
    'oid:oid oprname:name oprnamespace:oid oprowner:oid oprkind:char oprleft:oid oprright:oid oprresult:oid',
    operators,
  ),
  system(2601, 'pg_am', 'oid:oid amname:name amhandler:regproc amtype:char', () => [
    { oid: HEAP_AM, amname: 'heap', amhandler: 0, amtype: 't' },
    { oid: BTREE_AM, amname: 'btree', amhandler: 0, amtype: 'i' },
  ]),
  system(
    3456,
    'pg_collation',
    `oid:oid collname:name collnamespace:oid collowner:oid collprovider:char collisdeterministic:bool
     collencoding:int4 collcollate:text collctype:text colliculocale:text collversion:text`,
    () =>
      [
        [DEFAULT_COLLATION, 'default', 'd'],
        [950, 'C', 'c'],
        [951, 'POSIX', 'c'],
      ].map(([oid, collname, collprovider]) => ({
        oid,
        collname,
        collnamespace: PG_CATALOG_OID,
        collowner: OWNER_OID,
        collprovider,
        collisdeterministic: true,
        collencoding: -1,
        collcollate: 'C',
        collctype: 'C',
      })),
  ),
  system(
    1262,
    'pg_database',
    `oid:oid datname:name datdba:oid encoding:int4 datlocprovider:char datistemplate:bool datallowconn:bool
     datconnlimit:int4 datfrozenxid:xid dattablespace:oid datcollate:text datctype:text daticulocale:text
     datacl:text[]`,
    () => [
      {
        oid: DATABASE_OID,
        datname: 'postgres',
        datdba: OWNER_OID,
        encoding: 6,
        datlocprovider: 'c',
        datistemplate: false,
        datallowconn: true,
        datconnlimit: -1,
        datfrozenxid: 0,
        dattablespace: 1663,
        datcollate: 'C',
        datctype: 'C',
      },
    ],
  ),
  system(1260, 'pg_authid', ROLE_COLUMNS, () => [ROLE]),
  system(12_110, 'pg_roles', ROLE_COLUMNS, () => [ROLE]),
  system(
    12_111,
    'pg_user',
    'usename:name usesysid:oid usecreatedb:bool usesuper:bool passwd:text valuntil:timestamptz',
    () => [ROLE],
  ),
  system(
    1213,
    'pg_tablespace',
    'oid:oid spcname:name spcowner:oid spcacl:text[] spcoptions:text[]',
    () => [
      { oid: 1663, spcname: 'pg_default', spcowner: OWNER_OID },
      { oid: 1664, spcname: 'pg_global', spcowner: OWNER_OID },
    ],
  ),
  system(
    2616,
    'pg_opclass',
    'oid:oid opcmethod:oid opcname:name opcnamespace:oid opcowner:oid opcfamily:oid opcintype:oid opcdefault:bool opckeytype:oid',
    none,
  ),
  system(
    12_112,
    'pg_settings',
    'name:text setting:text unit:text category:text short_desc:text context:text vartype:text source:text boot_val:text reset_val:text',
    (_, session) =>
      SETTINGS.flatMap((name) => {
        const setting = session.getSetting(name);
        return setting === undefined ? [] : [{ name, setting, context: 'user', vartype: 'string' }];
      }),
  ),
  system(
    12_114,
    'pg_stat_activity',
    'datid:oid datname:name pid:int4 usesysid:oid usename:name wait_event_type:text wait_event:text state:text query:text backend_type:text',
    (snapshot) =>
      (snapshot.owner as Catalog).activity().map((session) => ({
        datid: DATABASE_OID,
        datname: 'postgres',
        pid: session.pid,
        usesysid: OWNER_OID,
        usename: session.user,
        wait_event_type:
          session.waitsFor === 'lock' ? 'Lock' : session.waitsFor === null ? null : 'IO',
        wait_event: session.waitsFor,
        state: session.state,
        query: session.query,
        backend_type: 'client backend',
      })),
  ),
  system(
    12_113,
    'pg_locks',
    'locktype:text database:oid relation:oid pid:int4 mode:text granted:bool',
    (snapshot) =>
      (snapshot.owner as Catalog).locks.list().map((lock) => ({
        locktype: 'relation',
        database: DATABASE_OID,
        relation: lock.key,
        mode: LOCK_MODE_NAMES[lock.mode] ?? '',
        granted: lock.granted,
      })),
  ),
];
