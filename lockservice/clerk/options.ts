/** Options of a clerk, and their checks. */
import { SextantError } from '#core/errors.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { World } from '#core/world/world.js';
import { LEASE_MS_MAX, LEASE_MS_MIN, isAddress } from '../protocol/control-codec.js';
import type { OpenTableRequest, ServerAddress } from '../protocol/messages.js';
import { NO_CLERK_FAULTS, type ClerkFaults } from './faults.js';
import type { OnRecovery } from './recovery-tasks.js';

export interface ClerkOptions {
  /** Some of the lock servers, as `host:port` or with their ids: the clerk learns of the others from them. */
  readonly servers: readonly (string | ServerAddress)[];
  /** Name of the cluster that they must belong to. */
  readonly cluster: string;
  /** For people, in listings; default `clerk`. */
  readonly name?: string;
  /** Clerks of one kind recover one another; default `clerk`. */
  readonly kind?: string;
  /**
   * After a crash the locks pass on only when another clerk of the kind has recovered this one (`onRecovery`); else as soon as
   * the lease has ended. Default false.
   */
  readonly recovery?: boolean;
  /** Recovers a dead clerk of the same kind: fence its token, `steps.fenced`, replay its log, `steps.recovered`. */
  readonly onRecovery?: OnRecovery;
  /** A table to open, made when there is none of that name; the one that `acquire` means. Default `default`, unless `tables` is given. */
  readonly table?: string;
  /** Tables to open: a name alone is made when there is none, `{name, create: false}` must be there (UNKNOWN_TABLE). */
  readonly tables?: readonly (string | OpenTableRequest)[];
  /** 500..600,000; default: the service's own, 10 s. */
  readonly leaseMs?: number;
  /** A lock that nobody here has used for so long goes back; default one hour. */
  readonly idleMs?: number;
  /** So many locks are held at most: beyond, the ones unused longest go back; default 1,000,000. */
  readonly locksMax?: number;
  /** So many acquires may wait: more are refused with OVERLOADED; default 250,000. */
  readonly waitersMax?: number;
  /** An `onRevoke` that takes longer costs the clerk its lease; default: the lease. */
  readonly flushDeadlineMs?: number;
  /** The first answer of the service must come in so long; default 30 s. */
  readonly openTimeoutMs?: number;
  /** Called once when the lease is lost (LEASE_LOST): every lock is gone; open another clerk. */
  readonly onLost?: (error: SextantError) => void;
  /** Clock, timers, network; default the real ones. */
  readonly world?: World;
  /** For tests: rules to break. */
  readonly faults?: ClerkFaults;
}

export interface CheckedOptions {
  readonly world: World;
  readonly servers: readonly { id?: string; address: string }[];
  readonly cluster: string;
  readonly name: string;
  readonly kind: string;
  readonly recovery: boolean;
  readonly onRecovery: OnRecovery | undefined;
  readonly tables: readonly OpenTableRequest[];
  readonly leaseMs: number | undefined;
  readonly idleMs: number;
  readonly locksMax: number;
  readonly waitersMax: number;
  readonly flushDeadlineMs: number | undefined;
  readonly openTimeoutMs: number;
  readonly onLost: ((error: SextantError) => void) | undefined;
  readonly faults: ClerkFaults;
}

const IDLE_MS = 3_600_000;
const LOCKS_MAX = 1_000_000;
const WAITERS_MAX = 250_000;
const OPEN_MS = 30_000;
const TIMER_MS_MAX = 0x7fff_ffff;

/** Throws CONFIG, or OUT_OF_RANGE for a number. */
export function checkOptions(options: ClerkOptions): CheckedOptions {
  const servers = serversOf(options.servers);
  const named = (options.tables ?? []).map((table) =>
    typeof table === 'string' ? { name: table, create: true } : table,
  );
  const first = options.table ?? (named.length === 0 ? 'default' : undefined);
  const tables = first === undefined ? named : [{ name: first, create: true }, ...named];
  for (const { name } of tables) text(name, 'table');
  if (options.recovery === true && options.onRecovery === undefined) {
    throw new SextantError('CONFIG', 'recovery: needs onRecovery, or nobody recovers the dead');
  }
  return {
    world: options.world ?? realWorld({ log: 'warn' }),
    servers,
    cluster: text(options.cluster, 'cluster'),
    name: text(options.name ?? 'clerk', 'name'),
    kind: text(options.kind ?? 'clerk', 'kind'),
    recovery: options.recovery === true,
    onRecovery: options.onRecovery,
    tables: tables.filter(({ name }, at) => tables.findIndex((t) => t.name === name) === at),
    leaseMs: optional(options.leaseMs, 'leaseMs', LEASE_MS_MIN, LEASE_MS_MAX),
    idleMs: whole(options.idleMs ?? IDLE_MS, 'idleMs', 1000, Number.MAX_SAFE_INTEGER),
    locksMax: whole(options.locksMax ?? LOCKS_MAX, 'locksMax', 1, 100_000_000),
    waitersMax: whole(options.waitersMax ?? WAITERS_MAX, 'waitersMax', 1, 100_000_000),
    flushDeadlineMs: optional(options.flushDeadlineMs, 'flushDeadlineMs', 1, TIMER_MS_MAX),
    openTimeoutMs: whole(options.openTimeoutMs ?? OPEN_MS, 'openTimeoutMs', 1, TIMER_MS_MAX),
    onLost: options.onLost,
    faults: options.faults ?? NO_CLERK_FAULTS,
  };
}

function serversOf(servers: ClerkOptions['servers']): CheckedOptions['servers'] {
  if (!Array.isArray(servers) || servers.length === 0) {
    throw new SextantError('CONFIG', 'servers: a list with at least one host:port is needed');
  }
  const given: ClerkOptions['servers'] = servers;
  return given.map((server) => {
    const one = typeof server === 'string' ? { address: server } : server;
    if (typeof one.address === 'string' && isAddress(one.address)) return one;
    throw new SextantError('CONFIG', `servers: host:port expected, not ${String(one.address)}`);
  });
}

/** A name of a table, clerk, kind or cluster. Throws CONFIG. */
export function text(value: string, what: string): string {
  const fits = typeof value === 'string' && value.length > 0 && value.length <= 256;
  if (fits && !/\p{Cc}/u.test(value)) return value;
  throw new SextantError('CONFIG', `${what}: 1 to 256 printable characters expected`);
}

function whole(value: number, what: string, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new SextantError(
    'OUT_OF_RANGE',
    `${what}: ${min} to ${max} expected, not ${String(value)}`,
  );
}

function optional(
  value: number | undefined,
  what: string,
  min: number,
  max: number,
): number | undefined {
  return value === undefined ? undefined : whole(value, what, min, max);
}
