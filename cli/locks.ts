/** `sextant locks`: who holds what, who waits for whom, since when; and which locks are waited for most. */
import { SextantError, isSextantError } from '#core/errors.js';
import { realWorld } from '#core/world/real/real-world.js';
import type { ListedLock } from '#lockservice/protocol/messages.js';
import type { ClusterConfig } from './config.js';
import { LockTool } from './lock-tool.js';
import { table } from './text-table.js';

export interface LocksOptions {
  readonly table?: string;
  readonly hot: boolean;
  readonly limit: number;
}

export interface LocksReport {
  /** All of them, those included that are not listed. */
  readonly total: number;
  readonly locks: readonly (ListedLock & { readonly server: string })[];
  /** Lock servers that did not answer: their locks are not in the list. */
  readonly missing: readonly { readonly server: string; readonly error: string }[];
}

/** Throws CONFIG without lock servers, UNKNOWN_TABLE, and what each server failed with when none answered. */
export async function collectLocks(
  config: ClusterConfig,
  options: LocksOptions,
): Promise<LocksReport> {
  const tool = new LockTool(realWorld({ log: 'silent' }), config);
  if (tool.servers.length === 0) {
    throw new SextantError('CONFIG', 'this cluster has no lock servers: name them in lockServers');
  }
  const locks: (ListedLock & { server: string })[] = [];
  const missing: { server: string; error: string }[] = [];
  let total = 0;
  let unknown: SextantError | undefined;
  await Promise.all(
    tool.servers.map(async (server) => {
      try {
        const answer = await tool.list(server, options);
        total += answer.total;
        for (const lock of answer.locks) locks.push({ ...lock, server: answer.server });
      } catch (error) {
        if (isSextantError(error, 'UNKNOWN_TABLE')) unknown = error;
        missing.push({ server: server.id, error: String((error as Error).message) });
      }
    }),
  );
  if (unknown !== undefined) throw unknown;
  if (missing.length === tool.servers.length) {
    throw new SextantError('DISCONNECTED', `no lock server answers: ${missing[0]?.error}`);
  }
  locks.sort(options.hot ? (a, b) => b.waits - a.waits : byName);
  return { total, locks: locks.slice(0, options.limit), missing };
}

function byName(a: ListedLock, b: ListedLock): number {
  if (a.table !== b.table) return a.table < b.table ? -1 : 1;
  const order = BigInt(a.id) - BigInt(b.id);
  return order < 0n ? -1 : order > 0n ? 1 : 0;
}

function since(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${(ms / 60_000).toFixed(1)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

export function renderLocks(report: LocksReport): string {
  const rows: string[][] = [];
  for (const lock of report.locks) {
    const name = lock.aspect === 'content' ? lock.id : `${lock.id} ${lock.aspect}`;
    const shown = [lock.table, name, String(lock.waits)];
    for (const holder of lock.holders) {
      const who = `${holder.name} (${holder.token})`;
      const revoked =
        holder.revokedMs === null ? '' : `, asked back ${since(holder.revokedMs)} ago`;
      rows.push([...shown, 'holds', holder.mode, who, `${since(holder.heldMs)}${revoked}`]);
      shown.fill('');
    }
    for (const waiter of lock.waiters) {
      const who = `${waiter.name} (${waiter.token})`;
      rows.push([...shown, 'waits', waiter.mode, who, since(waiter.waitMs)]);
      shown.fill('');
    }
  }
  const head = ['table', 'lock', 'waits', '', 'mode', 'clerk', 'for'];
  const lines = [`${report.total} locks, ${report.locks.length} shown`];
  for (const { server, error } of report.missing) lines.push(`${server} does not answer: ${error}`);
  if (rows.length > 0) lines.push('', ...table(head, rows));
  return `${lines.join('\n')}\n`;
}
