/** What operators see of the locks: who holds, who waits, since when. Made on demand; nothing here is hot. */
import type { ListedLock, LockMode } from '../protocol/messages.js';
import type { ClerkTable } from './clerk-table.js';
import type { HotLocks } from './hot-locks.js';
import type { LockGroup } from './lock-group.js';
import { NONE } from './lock-table.js';

export interface ListOptions {
  /** Number of a table; absent: all. */
  readonly table?: number;
  /** Most contended first, and only those that were ever waited for. */
  readonly hot: boolean;
  readonly limit: number;
  readonly tableName: (table: number) => string;
  readonly clerkName: (token: number) => string;
}

const MODES: readonly (readonly LockMode[])[] = [
  ['shared', 'exclusive'],
  ['open', 'destroy'],
];

function modeOf(aspect: number, level: number): LockMode {
  return MODES[aspect]?.[level - 1] ?? 'exclusive';
}

export function decimalId(idHigh: number, idLow: number): string {
  return ((BigInt(idHigh) << 32n) | BigInt(idLow)).toString();
}

function describe(
  group: LockGroup,
  lock: number,
  clerks: ClerkTable,
  hot: HotLocks,
  options: ListOptions,
  nowMs: number,
): ListedLock {
  const table = group.table;
  const aspect = table.aspect(lock);
  const contention = group.contended.get(lock);
  const holders: ListedLock['holders'][number][] = [];
  for (let at = table.firstHolder(lock); at !== NONE; at = table.nextHolder(at)) {
    const clerk = clerks.at(table.clerk[at]);
    const revoke = contention?.revokeOf(clerk);
    holders.push({
      token: clerk.token,
      name: options.clerkName(clerk.token),
      mode: modeOf(aspect, table.level[at]),
      heldMs: Math.max(0, nowMs - 100 * table.since[at]),
      revokedMs: revoke === undefined ? null : nowMs - revoke.firstAtMs,
    });
  }
  const waiters: ListedLock['waiters'][number][] = [];
  for (let waiter = contention?.head; waiter !== undefined; waiter = waiter.next) {
    const { token } = waiter.clerk;
    const mode = modeOf(aspect, waiter.level);
    const waitMs = nowMs - waiter.sinceMs;
    waiters.push({ token, name: options.clerkName(token), mode, waitMs });
  }
  const number = table.table[lock];
  const [idHigh, idLow] = [table.idHigh[lock], table.idLow[lock]];
  return {
    table: options.tableName(number),
    id: decimalId(idHigh, idLow),
    aspect: aspect === 0 ? 'content' : 'life',
    holders,
    waiters,
    waits: hot.waits(number, idHigh, idLow, aspect),
  };
}

/** Locks that were waited for, hottest first; nobody may hold them just now. */
function* hottest(groups: readonly (LockGroup | undefined)[], hot: HotLocks, nowMs: number) {
  for (const lock of hot.ranked(nowMs)) {
    const group = groups[lock.group];
    if (group === undefined) continue;
    const at = group.table.find(lock.table, lock.idHigh, lock.idLow, lock.aspect);
    if (at !== NONE) yield { group, lock: at };
  }
}

/** Contended locks first, then the others. */
function* all(groups: readonly (LockGroup | undefined)[]) {
  for (const group of groups) {
    for (const lock of group?.contended.keys() ?? []) if (group) yield { group, lock };
  }
  for (const group of groups) {
    if (group === undefined) continue;
    for (let lock = 0; lock < group.table.end; lock++) {
      if (group.table.used(lock) && !group.table.contended(lock)) yield { group, lock };
    }
  }
}

/** At most `limit` locks of the groups. */
export function listLocks(
  groups: readonly (LockGroup | undefined)[],
  clerks: ClerkTable,
  hot: HotLocks,
  options: ListOptions,
  nowMs: number,
): ListedLock[] {
  const listed: ListedLock[] = [];
  const found = options.hot ? hottest(groups, hot, nowMs) : all(groups);
  for (const { group, lock } of found) {
    if (listed.length >= options.limit) break;
    if (options.table !== undefined && group.table.table[lock] !== options.table) continue;
    listed.push(describe(group, lock, clerks, hot, options, nowMs));
  }
  return listed;
}

/** How many locks there are, of one table or of all. */
export function countLocks(groups: readonly (LockGroup | undefined)[], table?: number): number {
  let count = 0;
  for (const group of groups) {
    if (group === undefined) continue;
    if (table === undefined) {
      count += group.table.size;
      continue;
    }
    for (let lock = 0; lock < group.table.end; lock++) {
      if (group.table.used(lock) && group.table.table[lock] === table) count++;
    }
  }
  return count;
}
