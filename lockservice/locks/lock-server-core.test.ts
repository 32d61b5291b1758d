/** What is of the server rather than of one lock: bounds, memory, lists, range locks during a rebuild. */
import { describe, expect, it } from 'vitest';
import { groupOf, LockItem, rangeGroupOf } from '../protocol/lock-vectors.js';
import { LOCK_GROUPS, RefuseCode } from '../protocol/messages.js';
import type { Level, RangeRequest } from '../protocol/messages.js';
import { LockServerCore } from './lock-server-core.js';
import type { LockServerCoreOptions } from './lock-server-core.js';

interface Sent {
  readonly what: string;
  readonly token: number;
  readonly item: LockItem;
}

function open(options: Partial<LockServerCoreOptions> = {}): {
  core: LockServerCore;
  sent: Sent[];
  ranges: string[];
} {
  const sent: Sent[] = [];
  const ranges: string[] = [];
  const keep =
    (what: string) =>
    (token: number, item: object): void =>
      void sent.push({ what, token, item: Object.assign(new LockItem(), item) });
  const core = new LockServerCore({
    server: 's1',
    outbox: {
      grant: keep('grant'),
      revoke: keep('revoke'),
      refuse: keep('refuse'),
      rebuild: () => undefined,
      expel: (token, why) => ranges.push(`expel ${token}: ${why}`),
    },
    ranges: {
      answer: (token, request, { outcome }) => ranges.push(`${token} r${request} ${outcome}`),
      fail: (token, request, { code }) => ranges.push(`${token} r${request} ${code}`),
    },
    ...options,
  });
  for (const token of [1, 2, 3]) core.clerkLive(token);
  for (let group = 0; group < LOCK_GROUPS; group++) core.gainGroup(group, 1, [], [], 0);
  return { core, sent, ranges };
}

function lock(id: number, level: Level, request = 1, table = 1): LockItem {
  return Object.assign(new LockItem(), { table, idLow: id, level, request, epoch: 1 });
}

const NAMES = {
  tableName: (table: number) => `t${table}`,
  clerkName: (token: number) => `c${token}`,
};

describe('a lock server', () => {
  it('refuses tables that it does not know, and locks beyond its memory', () => {
    const { core, sent } = open({ knowsTable: (table) => table === 1, maxLocks: 2 });
    core.request(1, lock(1, 2, 1, 9), 0);
    for (const id of [1, 2, 3]) core.request(1, lock(id, 2), 0);
    expect(sent.map(({ what, item }) => (what === 'refuse' ? item.why : what))).toEqual([
      RefuseCode.unknownTable,
      'grant',
      'grant',
      RefuseCode.overloaded,
    ]);
    const first = sent[1]!.item;
    core.release(1, 0, Object.assign(lock(1, 0), { grant: first.grant }), 0);
    core.request(1, lock(3, 2), 0);
    expect(sent.at(-1)?.what).toBe('grant');
  });

  it('takes less than 112 bytes a held lock and gives them back', () => {
    const { core, sent } = open();
    const count = 60_000;
    for (let id = 0; id < count; id++) core.request(1, lock(id, 2, id + 1), 0);
    expect(core.stats()).toMatchObject({ groups: 100, rebuilding: 0, locks: count, waiting: 0 });
    expect(core.stats().lockBytes / count).toBeLessThan(112);
    for (const { item } of sent) core.release(1, 0, Object.assign(item, { level: 0 }), 0);
    core.tick(1000);
    expect(core.stats()).toMatchObject({ locks: 0 });
    expect(core.stats().lockBytes).toBeLessThan(200_000);
    core.check();
  });

  it('keeps the queues of a table that shrinks', () => {
    const { core, sent } = open();
    for (let id = 0; id < 30_000; id++) core.request(1, lock(id, 2, id + 1), 0);
    const grants = sent.splice(0).map(({ item }) => item);
    for (const id of [29_998, 29_999]) core.request(2, lock(id, 2, id), 0);
    for (const item of grants.slice(0, 29_990)) {
      core.release(1, 0, Object.assign(item, { level: 0 }), 0);
    }
    core.tick(1000);
    core.check();
    sent.length = 0;
    for (const item of grants.slice(29_990)) {
      core.release(1, 0, Object.assign(item, { level: 0 }), 0);
    }
    expect(sent.map(({ what, token, item }) => [what, token, item.idLow])).toEqual([
      ['grant', 2, 29_998],
      ['grant', 2, 29_999],
    ]);
  });

  it('lists who holds and who waits, contended locks first', () => {
    const { core } = open();
    core.request(1, lock(7, 1), 100);
    core.request(2, Object.assign(lock(8, 2), { aspect: 1 }), 100);
    core.request(3, Object.assign(lock(8, 1), { aspect: 1 }), 600);
    const listed = core.list({ hot: false, limit: 10, ...NAMES }, 1100);
    const base = { table: 't1', waiters: [], waits: 0 };
    expect(listed).toEqual([
      {
        table: 't1',
        id: '8',
        aspect: 'life',
        holders: [{ token: 2, name: 'c2', mode: 'destroy', heldMs: 1000, revokedMs: 500 }],
        waiters: [{ token: 3, name: 'c3', mode: 'open', waitMs: 500 }],
        waits: 1,
      },
      {
        ...base,
        id: '7',
        aspect: 'content',
        holders: [{ token: 1, name: 'c1', mode: 'shared', heldMs: 1000, revokedMs: null }],
      },
    ]);
    expect(core.list({ hot: true, limit: 10, ...NAMES }, 1100)).toHaveLength(1);
    expect(core.list({ hot: false, limit: 10, table: 2, ...NAMES }, 1100)).toEqual([]);
    expect([core.count(), core.count(1), core.count(2)]).toEqual([2, 2, 0]);
  });

  it('ranks locks by the waits of the last minutes, in bounded memory', () => {
    const { core } = open();
    const wait = (id: number, times: number, nowMs: number): void => {
      core.request(1, lock(id, 2), nowMs);
      for (let i = 1; i <= times; i++) {
        core.request(2, lock(id, 2, i), nowMs);
        core.cancel(2, lock(id, 0, i), nowMs);
      }
    };
    wait(1, 9, 0);
    wait(2, 5, 0);
    for (let id = 100; id < 3000; id++) wait(id, 1, 0);
    wait(3, 3, 300_000);
    const hot = core.list({ hot: true, limit: 3, ...NAMES }, 300_000);
    expect(hot.map(({ id, waits }) => [id, waits])).toEqual([
      ['3', 3],
      ['1', 9],
      ['2', 5],
    ]);
  });
});

describe('range locks of a lock server', () => {
  const group = rangeGroupOf(1);
  function range(token: number, request: number, fields: Partial<RangeRequest> = {}): RangeRequest {
    return {
      token,
      table: 1,
      idHigh: 0,
      idLow: 5,
      epoch: 1,
      op: 'set',
      family: 'posix',
      owner: 'p',
      type: 'write',
      start: '0',
      end: '10',
      wait: false,
      request,
      pid: 1,
      ...fields,
    };
  }
  const code = (call: () => unknown): string => {
    try {
      return JSON.stringify(call() ?? 'waits');
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it('are refused to the wrong clerk, epoch, group and table', () => {
    const { core } = open({ knowsTable: (table) => table === 1 });
    expect(code(() => core.range(9, range(9, 1), 0))).toBe('NOT_READY');
    expect(code(() => core.range(1, range(2, 1), 0))).toBe('FENCED');
    expect(code(() => core.range(1, range(1, 1, { epoch: 0 }), 0))).toBe('NOT_READY');
    expect(code(() => core.range(1, range(1, 1, { epoch: 2 }), 0))).toBe('NOT_READY');
    expect(code(() => core.range(1, range(1, 1, { table: 2 }), 0))).toBe('UNKNOWN_TABLE');
    core.clerkExpired(1, 0);
    expect(code(() => core.range(1, range(1, 1), 0))).toBe('FENCED');
    core.loseGroup(group);
    expect(code(() => core.range(2, range(2, 1), 0))).toBe('NOT_READY');
    expect(core.stats().waiting).toBe(0);
  });

  it('wait for the rebuild of their group, and for the recovery of who did not claim', () => {
    const { core, ranges } = open();
    core.clerkExpired(3, 0);
    core.gainGroup(group, 2, [1, 2], [3], 0);
    const next = { epoch: 2 };
    expect(core.range(2, range(2, 1, { ...next, wait: true }), 0)).toBeUndefined();
    expect(core.range(2, range(2, 2, { ...next, start: '20', end: '30' }), 0)).toBeUndefined();
    const claimed = core.range(1, range(1, 1, { ...next, op: 'claim', start: '5' }), 0);
    expect(claimed).toEqual({ outcome: 'granted' });
    const header = { group, epoch: 2, clock: 0, attempt: 1, part: 0, last: true };
    const nothing = { next: () => false, item: new LockItem() };
    expect(core.claim({ ...header, ...nothing, token: 1 }, 0)).toBe(false);
    expect(core.claim({ ...header, ...nothing, token: 2 }, 0)).toBe(true);
    expect(ranges).toEqual(['2 r2 would-block']);
    core.clerkRecovered(3, 0);
    expect(ranges).toHaveLength(1);
    core.range(1, range(1, 2, { ...next, type: 'unlock' }), 0);
    expect(ranges.slice(1)).toEqual(['2 r1 granted']);
    const [listed] = core.list({ hot: false, limit: 10, ...NAMES }, 50);
    expect(listed).toEqual({
      table: 't1',
      id: '5',
      aspect: 'range',
      holders: [{ token: 2, name: 'c2', mode: 'write', heldMs: 50, revokedMs: null }],
      waiters: [],
      waits: 2,
    });
  });

  it('of a clerk that dies pass on when it is recovered', () => {
    const { core, ranges } = open();
    core.range(1, range(1, 1), 0);
    core.range(2, range(2, 1, { wait: true }), 0);
    core.clerkExpired(1, 0);
    expect(ranges).toEqual([]);
    core.clerkRecovered(1, 0);
    expect(ranges).toEqual(['2 r1 granted']);
  });
});

describe('a clerk that claims what is not its', () => {
  it('is expelled once a second, and the rest of its claim stands', () => {
    const { core, sent, ranges } = open();
    const group = groupOf(1, 0, 1);
    core.gainGroup(group, 2, [1], [], 0);
    const grant = 2 ** 32 + 7;
    const items = [2, 3, 4, 1].map((id) => Object.assign(lock(id, 2), { grant }));
    let at = -1;
    core.claim(
      {
        token: 1,
        group,
        epoch: 2,
        clock: 0,
        attempt: 1,
        part: 0,
        last: true,
        next: () => ++at < items.length,
        get item() {
          return items[at]!;
        },
      },
      5000,
    );
    expect(ranges).toEqual([`expel 1: claims a lock outside group ${group}`]);
    core.request(2, Object.assign(lock(1, 1), { epoch: 2 }), 5000);
    expect(sent.at(-1)).toMatchObject({ what: 'revoke', token: 1, item: { grant, level: 1 } });
  });
});
