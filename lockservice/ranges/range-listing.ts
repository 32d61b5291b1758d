/** Range locks as operators see them: one entry a file. */
import type { ListedLock } from '../protocol/messages.js';
import type { FileRanges } from './file-ranges.js';

export interface RangeListOptions {
  readonly table?: number;
  readonly hot: boolean;
  readonly limit: number;
  readonly tableName: (table: number) => string;
  readonly clerkName: (token: number) => string;
}

function describe(file: FileRanges, options: RangeListOptions, nowMs: number): ListedLock {
  const holders: ListedLock['holders'][number][] = [];
  for (const { owner, range } of file.holders()) {
    holders.push({
      token: owner.token,
      name: options.clerkName(owner.token),
      mode: range.type,
      heldMs: nowMs - range.sinceMs,
      revokedMs: null,
    });
  }
  const waiters: ListedLock['waiters'][number][] = [];
  for (const { owner, type, sinceMs } of file.waits) {
    const { token } = owner;
    waiters.push({ token, name: options.clerkName(token), mode: type, waitMs: nowMs - sinceMs });
  }
  return {
    table: options.tableName(file.table),
    id: ((BigInt(file.idHigh) << 32n) | BigInt(file.idLow)).toString(),
    aspect: 'range',
    holders,
    waiters,
    waits: file.waited,
  };
}

/** Those that are waited for first; with `hot`, most waited for first and none that never was. */
export function listRanges(
  files: Iterable<FileRanges>,
  options: RangeListOptions,
  nowMs: number,
): ListedLock[] {
  const chosen = [...files].filter((file) => {
    const wanted = options.table === undefined || file.table === options.table;
    return wanted && (!options.hot || file.waited > 0);
  });
  chosen.sort((a, b) => (options.hot ? b.waited - a.waited : b.waits.size - a.waits.size));
  return chosen.slice(0, Math.max(0, options.limit)).map((file) => describe(file, options, nowMs));
}
