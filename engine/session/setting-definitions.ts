/**
 * The settings that exist. What a client may set but the engine cannot honour is refused with 0A000, never accepted in
 * silence; what has no meaning here but changes no result (planner switches, say) is kept and shown.
 */
import { SqlError, notSupported } from '../sql-error.js';
import { isTimeZone } from '../types/time-zone.js';

export interface SettingDef {
  /** As SHOW ALL writes it. */
  readonly name: string;
  readonly initial: string;
  readonly description: string;
  /** Canonical form of a value; throws 22023 or 0A000. */
  readonly parse: (text: string) => string;
  /** Reported to clients by ParameterStatus when it changes. */
  readonly report?: boolean;
  /** Cannot be changed. */
  readonly fixed?: boolean;
  /** Milliseconds, shown in the largest unit that fits. */
  readonly duration?: boolean;
  /** Belongs to the transaction: RESET ALL leaves it alone. */
  readonly transactionScope?: boolean;
}

export const SERVER_VERSION = '15.8';
export const SERVER_VERSION_NUM = '150008';

const bad = (name: string, text: string): SqlError =>
  new SqlError('22023', `invalid value for parameter "${name}": "${text}"`);

const anyText = (text: string): string => text;

function boolean(name: string): (text: string) => string {
  return (text) => {
    const lower = text.toLowerCase();
    if (['on', 'true', 'yes', '1', 't', 'y'].includes(lower)) return 'on';
    if (['off', 'false', 'no', '0', 'f', 'n'].includes(lower)) return 'off';
    throw new SqlError('22023', `parameter "${name}" requires a Boolean value`);
  };
}

function integer(name: string, min: number, max: number): (text: string) => string {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value)) throw bad(name, text);
    if (value < min || value > max) {
      throw new SqlError(
        '22023',
        `${value} is outside the valid range for parameter "${name}" (${min} .. ${max})`,
      );
    }
    return String(value);
  };
}

function float(name: string): (text: string) => string {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) throw bad(name, text);
    return String(value);
  };
}

const TIME_UNITS: Record<string, number> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Kept as whole milliseconds. */
function duration(name: string): (text: string) => string {
  return (text) => {
    const match = /^\s*(-?\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/.exec(text);
    if (match === null) throw bad(name, text);
    const ms = Math.round(Number(match[1]) * (TIME_UNITS[match[2] ?? 'ms'] ?? 1));
    if (ms < 0 || ms > 0x7fffffff) {
      throw new SqlError(
        '22023',
        `${ms} ms is outside the valid range for parameter "${name}" (0 .. 2147483647)`,
      );
    }
    return String(ms);
  };
}

function choice(name: string, values: readonly string[]): (text: string) => string {
  return (text) => {
    const found = values.find((value) => value === text.toLowerCase());
    if (found === undefined) throw bad(name, text);
    return found;
  };
}

/** Values that PostgreSQL has and this engine has not. */
function only(name: string, there: string, known: readonly string[]): (text: string) => string {
  return (text) => {
    const lower = text.toLowerCase();
    if (lower === there.toLowerCase()) return there;
    if (known.includes(lower)) throw notSupported(`${name} "${text}"`);
    throw bad(name, text);
  };
}

function dateStyle(text: string): string {
  let order = 'MDY';
  for (const part of text.toLowerCase().split(',')) {
    const word = part.trim();
    if (word === 'iso' || word === 'default') continue;
    if (word === 'mdy' || word === 'us' || word === 'noneuropean') order = 'MDY';
    else if (word === 'dmy' || word === 'european' || word === 'ymd') {
      throw notSupported(`DateStyle "${text}"`);
    } else if (['postgres', 'sql', 'german'].includes(word)) {
      throw notSupported(`DateStyle "${text}"`);
    } else throw bad('DateStyle', text);
  }
  return `ISO, ${order}`;
}

function clientEncoding(text: string): string {
  const plain = text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  if (plain === 'utf8' || plain === 'unicode') return 'UTF8';
  if (/^(sqlascii|latin\d|win\d+|euc\w+|iso\d+|koi8\w*|sjis|big5|gbk)/.test(plain)) {
    throw notSupported(`client_encoding "${text}"`);
  }
  throw bad('client_encoding', text);
}

function timeZone(text: string): string {
  const zone = text.replaceAll(/^'|'$/g, '');
  if (!isTimeZone(zone)) throw bad('TimeZone', text);
  return zone;
}

const ISOLATIONS = ['read committed', 'repeatable read', 'serializable', 'read uncommitted'];

function isolation(name: string): (text: string) => string {
  const check = choice(name, ISOLATIONS);
  return (text) => {
    const level = check(text);
    if (level === 'serializable') throw notSupported('isolation level SERIALIZABLE');
    return level;
  };
}

const define = (
  name: string,
  initial: string,
  description: string,
  parse: (text: string) => string,
  more: Partial<SettingDef> = {},
): SettingDef => ({ name, initial, description, parse, ...more });

const fixed = (name: string, initial: string, description: string): SettingDef =>
  define(name, initial, description, anyText, { fixed: true });
const fixedReport = (name: string, initial: string, description: string): SettingDef =>
  define(name, initial, description, anyText, { fixed: true, report: true });

/** Planner switches and the like: kept, shown, without effect on any result. */
const switches = [
  'enable_bitmapscan',
  'enable_hashagg',
  'enable_hashjoin',
  'enable_indexonlyscan',
  'enable_indexscan',
  'enable_material',
  'enable_mergejoin',
  'enable_nestloop',
  'enable_seqscan',
  'enable_sort',
  'jit',
].map((name) => define(name, 'on', 'Planner switch, without effect here.', boolean(name)));

const DEFINITIONS: readonly SettingDef[] = [
  define(
    'application_name',
    '',
    'Name of the application, for statistics.',
    (text) => text.slice(0, 63).replaceAll(/[^ -~]/g, '?'),
    { report: true },
  ),
  define(
    'backslash_quote',
    'safe_encoding',
    "Whether \\' is allowed in strings.",
    only('backslash_quote', 'safe_encoding', ['on', 'off']),
  ),
  define('bytea_output', 'hex', 'Output format of bytea.', only('bytea_output', 'hex', ['escape'])),
  define(
    'check_function_bodies',
    'on',
    'Whether CREATE FUNCTION checks bodies.',
    boolean('check_function_bodies'),
  ),
  define('client_encoding', 'UTF8', "The client's character set.", clientEncoding, {
    report: true,
  }),
  define(
    'client_min_messages',
    'notice',
    'Lowest level of messages sent to the client.',
    choice('client_min_messages', [
      'debug5',
      'debug4',
      'debug3',
      'debug2',
      'debug1',
      'log',
      'notice',
      'warning',
      'error',
    ]),
  ),
  define(
    'cursor_tuple_fraction',
    '0.1',
    'Planner estimate, without effect here.',
    float('cursor_tuple_fraction'),
  ),
  define('DateStyle', 'ISO, MDY', 'Display format of dates and times.', dateStyle, {
    report: true,
  }),
  define(
    'default_table_access_method',
    'heap',
    'Table access method.',
    only('default_table_access_method', 'heap', []),
  ),
  define('default_tablespace', '', 'Tablespace of new tables.', only('default_tablespace', '', [])),
  define(
    'default_transaction_deferrable',
    'off',
    'Deferrable status of new transactions.',
    boolean('default_transaction_deferrable'),
  ),
  define(
    'default_transaction_isolation',
    'read committed',
    'Isolation level of new transactions.',
    isolation('default_transaction_isolation'),
  ),
  define(
    'default_transaction_read_only',
    'off',
    'Read-only status of new transactions.',
    boolean('default_transaction_read_only'),
    { report: true },
  ),
  define('effective_cache_size', '524288', 'Planner estimate, without effect here.', anyText),
  define(
    'escape_string_warning',
    'on',
    'Warns of backslashes in strings.',
    boolean('escape_string_warning'),
  ),
  define(
    'extra_float_digits',
    '1',
    'Digits of floating-point values: always the shortest exact form.',
    integer('extra_float_digits', -15, 3),
  ),
  define(
    'idle_in_transaction_session_timeout',
    '0',
    'Longest idle time in a transaction (ms).',
    duration('idle_in_transaction_session_timeout'),
    { duration: true },
  ),
  define(
    'idle_session_timeout',
    '0',
    'Longest idle time outside a transaction (ms).',
    duration('idle_session_timeout'),
    { duration: true },
  ),
  fixedReport('in_hot_standby', 'off', 'Whether this server is a standby.'),
  fixedReport('integer_datetimes', 'on', 'Datetimes are integers.'),
  define(
    'IntervalStyle',
    'postgres',
    'Display format of intervals.',
    only('IntervalStyle', 'postgres', ['postgres_verbose', 'sql_standard', 'iso_8601']),
    { report: true },
  ),
  fixedReport('is_superuser', 'on', 'Whether the current user is a superuser.'),
  fixed('lc_collate', 'C', 'Collation order of the database.'),
  fixed('lc_ctype', 'C', 'Character classes of the database.'),
  define('lc_messages', 'C', 'Language of messages.', only('lc_messages', 'C', [])),
  define('lc_monetary', 'C', 'Locale of money.', only('lc_monetary', 'C', [])),
  define('lc_numeric', 'C', 'Locale of numbers.', only('lc_numeric', 'C', [])),
  define('lc_time', 'C', 'Locale of dates.', only('lc_time', 'C', [])),
  define('lock_timeout', '0', 'Longest wait for a lock (ms).', duration('lock_timeout'), {
    duration: true,
  }),
  define('maintenance_work_mem', '65536', 'Without effect here.', anyText),
  fixed('max_connections', '1000', 'Largest number of connections.'),
  fixed('max_identifier_length', '63', 'Longest identifier in bytes.'),
  fixed('max_index_keys', '32', 'Most columns of an index.'),
  define(
    'password_encryption',
    'scram-sha-256',
    'Password verifier.',
    only('password_encryption', 'scram-sha-256', ['md5']),
  ),
  define(
    'plan_cache_mode',
    'auto',
    'Which plans prepared statements use.',
    choice('plan_cache_mode', ['auto', 'force_generic_plan', 'force_custom_plan']),
  ),
  define(
    'random_page_cost',
    '4',
    'Planner estimate, without effect here.',
    float('random_page_cost'),
  ),
  define('row_security', 'on', 'Row security policies: there are none.', boolean('row_security')),
  define('search_path', '"$user", public', 'Schemas in which names are looked up.', anyText),
  define('seq_page_cost', '1', 'Planner estimate, without effect here.', float('seq_page_cost')),
  fixedReport('server_encoding', 'UTF8', 'Character set of the database.'),
  fixedReport('server_version', SERVER_VERSION, 'Version of PostgreSQL that this server speaks.'),
  fixed('server_version_num', SERVER_VERSION_NUM, 'The same as a number.'),
  define(
    'session_replication_role',
    'origin',
    'Triggers and rules in force.',
    only('session_replication_role', 'origin', ['replica', 'local']),
  ),
  define(
    'standard_conforming_strings',
    'on',
    "Backslashes in '...' are plain characters.",
    only('standard_conforming_strings', 'on', ['off']),
    { report: true },
  ),
  define(
    'statement_timeout',
    '0',
    'Longest time of a statement (ms).',
    duration('statement_timeout'),
    { duration: true },
  ),
  define('synchronize_seqscans', 'on', 'Without effect here.', boolean('synchronize_seqscans')),
  define(
    'synchronous_commit',
    'on',
    'Commits wait for the write quorum.',
    only('synchronous_commit', 'on', ['off', 'local', 'remote_write', 'remote_apply']),
  ),
  define('temp_buffers', '1024', 'Without effect here.', anyText),
  define('TimeZone', 'UTC', 'Time zone of timestamps.', timeZone, { report: true }),
  define(
    'transaction_deferrable',
    'off',
    'Deferrable status of this transaction.',
    boolean('transaction_deferrable'),
    { transactionScope: true },
  ),
  define(
    'transaction_isolation',
    'read committed',
    'Isolation level of this transaction.',
    isolation('transaction_isolation'),
    { transactionScope: true },
  ),
  define(
    'transaction_read_only',
    'off',
    'Read-only status of this transaction.',
    boolean('transaction_read_only'),
    { transactionScope: true },
  ),
  define('work_mem', '4096', 'Without effect here.', anyText),
  define('xmloption', 'content', 'Kind of XML.', choice('xmloption', ['content', 'document'])),
  fixed('block_size', '8192', 'Bytes of a page.'),
  fixed('wal_block_size', '8192', 'Bytes of a page of log.'),
  ...switches,
];

const byName = new Map(DEFINITIONS.map((def) => [def.name.toLowerCase(), def]));
const sorted = [...DEFINITIONS].sort((a, b) =>
  a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1,
);

export const definitionOf = (name: string): SettingDef | undefined =>
  byName.get(name.toLowerCase());
export const listDefinitions = (): readonly SettingDef[] => sorted;
export const reportedSettings = (): readonly SettingDef[] =>
  sorted.filter((def) => def.report === true);
