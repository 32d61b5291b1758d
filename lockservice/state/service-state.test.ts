import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LOCK_GROUPS } from '../protocol/messages.js';
import type { OpenClerkAnswer } from '../protocol/messages.js';
import { encodeCommand } from './commands.js';
import type { Command } from './commands.js';
import type { StateFaults } from './faults.js';
import { planMoves } from './groups.js';
import { ServiceState, TABLES_MAX } from './service-state.js';

/** A log of its own: commands get their index. */
class Log {
  readonly state: ServiceState;
  index = 0;

  constructor(faults?: StateFaults, generation = 3) {
    this.state = new ServiceState(faults);
    if (generation > 0) this.do({ do: 'begin', generation });
  }

  do(command: Command): unknown {
    this.index++;
    return this.state.apply(this.index, encodeCommand(command));
  }

  open(kind = 'fs/a', recovery = true, nonce = `n${this.index}`): OpenClerkAnswer {
    return this.do(openOf(kind, recovery, nonce)) as OpenClerkAnswer;
  }

  up(id: string, incarnation = '1'): unknown {
    return this.do({ do: 'server-up', id, address: `${id}:1`, incarnation });
  }

  /** Lets the leader's plan run until there is nothing to do; answers how many groups moved. */
  balance(eligible: readonly string[]): number {
    let moved = 0;
    for (;;) {
      const plan = planMoves(this.state.groups, new Set(eligible));
      if (plan.begin.length === 0 && plan.assign.length === 0) return moved;
      moved += plan.begin.length;
      const froms = plan.begin.map(({ group }) => this.state.groups.groups[group]?.owner ?? '');
      this.do({ do: 'begin-move', groups: plan.begin });
      for (const [i, move] of plan.begin.entries()) {
        this.do({ do: 'gave-up', id: froms[i] ?? '', groups: [move] });
      }
      this.do({ do: 'assign', groups: plan.assign });
    }
  }

  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { owner } of this.state.groups.groups) {
      if (owner !== null) counts[owner] = (counts[owner] ?? 0) + 1;
    }
    return counts;
  }
}

function openOf(kind: string, recovery: boolean, nonce: string): Command {
  return { do: 'open', name: 'host:1', kind, recovery, leaseMs: 1000, nonce, tables: [] };
}

describe('tokens', () => {
  it('are not given out before there is a generation', () => {
    const log = new Log(undefined, 0);
    expect(log.open()).toMatchObject({ error: 'NOT_READY' });
    expect(log.do({ do: 'begin', generation: 7 })).toBeUndefined();
    expect(log.open().token).toBe(7 * 2 ** 32 + 1);
    expect(log.do({ do: 'begin', generation: 8 })).toMatchObject({ error: 'EXISTS' });
    expect(log.open().token).toBe(7 * 2 ** 32 + 2);
  });

  it('are the same for a repeated open, and none for one that has expired', () => {
    const log = new Log();
    const { token } = log.open('k', true, 'same');
    expect(log.open('k', true, 'same').token).toBe(token);
    log.do({ do: 'expire', token });
    expect(log.open('k', true, 'same')).toMatchObject({ error: 'FENCED' });
  });

  it('that were never given out, or are over, are refused', () => {
    const log = new Log();
    const { token } = log.open();
    expect(log.do({ do: 'close', token: token + 1, clock: 0 })).toMatchObject({ error: 'FENCED' });
    expect(log.do({ do: 'close', token, clock: 0 })).toBeUndefined();
    expect(log.do({ do: 'close', token, clock: 0 })).toMatchObject({ error: 'FENCED' });
    expect(log.do({ do: 'expire', token })).toMatchObject({ error: 'FENCED' });
  });
});

describe('recovery', () => {
  it('goes expired, fenced, recovered by one demon, and raises fence epoch and floor', () => {
    const log = new Log();
    const { token: dead, slot } = log.open();
    const { token: demon } = log.open();
    log.do({ do: 'expire', token: dead });
    expect(log.state.clerks.tasksOf(demon)).toEqual([
      { dead, name: 'host:1', kind: 'fs/a', slot, attempt: 1, state: 'expired' },
    ]);
    const step = { demon, dead, attempt: 1 };
    expect(log.do({ do: 'recovered', ...step, clock: 5 })).toMatchObject({ error: 'CONFLICT' });
    expect(log.do({ do: 'fenced', ...step, clock: 40 })).toEqual({ fenceEpoch: 1 });
    expect(log.do({ do: 'fenced', ...step, clock: 40 })).toEqual({ fenceEpoch: 1 });
    expect(log.state.clerks.fenced).toEqual([dead]);
    expect(log.do({ do: 'recovered', ...step, clock: 70 })).toEqual({ fenceEpoch: 1 });
    expect(log.state.clerk(dead)).toBeUndefined();
    expect(log.state.clockFloor).toBe(70);
    expect(log.do({ do: 'recovered', ...step, clock: 70 })).toEqual({ fenceEpoch: 1 });
  });

  it('passes to another demon only when the first is fenced', () => {
    const log = new Log();
    const [a, b, c] = [log.open().token, log.open().token, log.open().token];
    log.do({ do: 'expire', token: a });
    expect(log.state.clerk(a)?.demon).toBe(b);
    log.do({ do: 'expire', token: b });
    expect(log.state.clerk(a)?.demon).toBe(b);
    log.do({ do: 'fenced', demon: c, dead: b, attempt: 1, clock: 0 });
    expect(log.state.clerk(a)).toMatchObject({ demon: c, attempt: 2 });
    const late = { do: 'fenced', demon: b, dead: a, attempt: 1, clock: 0 } as const;
    expect(log.do(late)).toMatchObject({ error: 'FENCED' });
    const stale = { do: 'fenced', demon: c, dead: a, attempt: 1, clock: 0 } as const;
    expect(log.do(stale)).toMatchObject({ error: 'FENCED' });
  });

  it('of a sole clerk waits for the next one of its kind', () => {
    const log = new Log();
    const { token: dead } = log.open('fs/a');
    log.do({ do: 'expire', token: dead });
    log.open('fs/b');
    expect(log.state.clerk(dead)?.demon).toBe(0);
    const { token: next, slot } = log.open('fs/a');
    expect(slot).toBe(1);
    expect(log.state.clerk(dead)?.demon).toBe(next);
  });

  it('is not for clerks without it: they are forgotten as they expire', () => {
    const log = new Log();
    const { token, slot } = log.open('tool', false);
    expect(slot).toBe(-1);
    log.do({ do: 'expire', token });
    expect(log.state.clerk(token)).toBeUndefined();
    expect(log.state.clerks.fenceEpoch).toBe(0);
  });

  it('reuses a log slot only after the recovery', () => {
    const log = new Log();
    const [dead, demon] = [log.open(), log.open()];
    log.do({ do: 'expire', token: dead.token });
    expect(log.open().slot).toBe(2);
    const step = { demon: demon.token, dead: dead.token, attempt: 1, clock: 0 };
    log.do({ do: 'fenced', ...step });
    log.do({ do: 'recovered', ...step });
    expect(log.open().slot).toBe(0);
  });
});

describe('tables', () => {
  it('have numbers from 1, and an unknown one opens no clerk', () => {
    const log = new Log();
    expect(log.do({ do: 'table', name: 'a' })).toEqual({ name: 'a', table: 1 });
    expect(log.do({ do: 'table', name: 'b' })).toEqual({ name: 'b', table: 2 });
    expect(log.do({ do: 'table', name: 'a' })).toEqual({ name: 'a', table: 1 });
    const open = { ...openOf('k', true, 'n'), tables: [{ name: 'c', create: false }] } as Command;
    expect(log.do(open)).toMatchObject({ error: 'UNKNOWN_TABLE' });
    expect(log.state.clerks.byToken.size).toBe(0);
  });

  it('are bounded', () => {
    const log = new Log();
    for (let i = 0; i < TABLES_MAX; i++) log.do({ do: 'table', name: `t${i}` });
    expect(log.do({ do: 'table', name: 'more' })).toMatchObject({ error: 'OVERLOADED' });
    expect(log.do({ do: 'table', name: 't0' })).toEqual({ name: 't0', table: 1 });
  });
});

describe('groups', () => {
  it('are dealt evenly, and a newcomer costs only its share', () => {
    const log = new Log();
    log.up('a');
    log.balance(['a']);
    expect(log.counts()).toEqual({ a: 100 });
    log.up('b');
    expect(log.balance(['a', 'b'])).toBe(50);
    log.up('c');
    expect(log.balance(['a', 'b', 'c'])).toBe(33);
    expect(Object.values(log.counts()).toSorted((a, b) => a - b)).toEqual([33, 33, 34]);
  });

  it('of a dead server go to the others, and no other group moves', () => {
    const log = new Log();
    for (const id of ['a', 'b', 'c']) log.up(id);
    log.balance(['a', 'b', 'c']);
    const before = log.state.groups.groups.map((group) => group.owner);
    log.do({ do: 'server-down', id: 'b', incarnation: '1' });
    expect(log.balance(['a', 'c'])).toBe(0);
    for (const [i, owner] of before.entries()) {
      if (owner !== 'b') expect(log.state.groups.groups[i]?.owner).toBe(owner);
    }
    expect(log.counts()).toEqual({ a: 50, c: 50 });
  });

  it('have no owner until the old one gave up', () => {
    const log = new Log();
    log.up('a');
    log.up('b');
    log.balance(['a']);
    log.do({ do: 'begin-move', groups: [{ group: 0, epoch: 1 }] });
    log.do({ do: 'assign', groups: [{ group: 0, epoch: 1, to: 'b' }] });
    expect(log.state.groups.groups[0]).toMatchObject({ owner: null, from: 'a', epoch: 1 });
    log.do({ do: 'gave-up', id: 'b', groups: [{ group: 0, epoch: 1 }] });
    expect(log.state.groups.groups[0]?.from).toBe('a');
    log.do({ do: 'gave-up', id: 'a', groups: [{ group: 0, epoch: 1 }] });
    log.do({ do: 'assign', groups: [{ group: 0, epoch: 1, to: 'b' }] });
    expect(log.state.groups.groups[0]).toMatchObject({ owner: 'b', from: null, epoch: 2 });
  });

  it('of a server that started anew get a new epoch, and it keeps them', () => {
    const log = new Log();
    log.up('a');
    log.balance(['a']);
    log.do({ do: 'begin-move', groups: [{ group: 1, epoch: 1 }] });
    log.up('a', '2');
    expect(log.state.groups.groups[0]).toMatchObject({ owner: 'a', epoch: 2 });
    expect(log.state.groups.groups[1]).toMatchObject({ owner: null, from: null, epoch: 1 });
    const late = { do: 'server-down', id: 'a', incarnation: '1' } as const;
    expect(log.do(late)).toMatchObject({ error: 'CONFLICT' });
  });

  it('do not change for an address that is new', () => {
    const log = new Log();
    log.up('a');
    log.balance(['a']);
    log.do({ do: 'server-up', id: 'a', address: 'elsewhere:1', incarnation: '1' });
    expect(log.state.groups.groups[0]?.epoch).toBe(1);
    expect(log.state.groups.map().servers).toEqual([{ id: 'a', address: 'elsewhere:1' }]);
  });
});

it('ephemeral nodes of the tree go with their clerk, and nothing is written after its end', () => {
  const log = new Log();
  const { token } = log.open();
  const create = {
    op: 'create',
    path: '/x',
    data: '',
    ephemeral: true,
    sequential: false,
  } as const;
  const command = { token, sequence: 1, acknowledged: 0, operations: [create] };
  log.do({ do: 'coord', command });
  expect(log.state.tree.stateOf('/x')).toBeDefined();
  const events: unknown[] = [];
  log.state.onTreeEvents = (some) => events.push(...some);
  log.do({ do: 'expire', token });
  expect(log.state.tree.stateOf('/x')).toBeUndefined();
  expect(events.length).toBeGreaterThan(0);
  const late = { ...command, sequence: 2 };
  expect(log.do({ do: 'coord', command: late })).toMatchObject({ error: 'FENCED' });
});

// -- any history ------------------------------------------------------------------------------------

const small = fc.nat({ max: 12 });
const server = fc.constantFrom('a', 'b', 'c', 'd');
type Step = (log: Log, tokens: number[]) => Command;
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.boolean(), fc.constantFrom('x', 'y'), small).map(
    ([recovery, kind, n]): Step =>
      () =>
        openOf(kind, recovery, `n${n}-${recovery}`),
  ),
  fc.tuple(fc.constantFrom('close', 'expire'), small).map(([what, n]): Step => (log, tokens) => ({
    do: what as 'close',
    token: tokens[n % Math.max(1, tokens.length)] ?? 0,
    clock: log.index,
  })),
  fc
    .tuple(fc.constantFrom('fenced', 'recovered'), small, small, fc.nat({ max: 2 }))
    .map(([step, d, e, attempt]): Step => (log, tokens) => {
      const dead = tokens[e % Math.max(1, tokens.length)] ?? 0;
      // Mostly the demon that it has, so that recoveries do come about.
      const known = d < 9 ? log.state.clerk(dead) : undefined;
      return {
        do: step as 'fenced',
        demon: known?.demon ?? tokens[d % Math.max(1, tokens.length)] ?? 0,
        dead,
        attempt: known?.attempt ?? attempt,
        clock: log.index,
      };
    }),
  fc.tuple(server, fc.constantFrom('1', '2')).map(([id, incarnation]): Step => () => ({
    do: 'server-up',
    id,
    address: `${id}:1`,
    incarnation,
  })),
  server.map((id): Step => (log) => ({
    do: 'server-down',
    id,
    incarnation: log.state.groups.servers.get(id)?.incarnation ?? '',
  })),
  fc
    .tuple(fc.subarray(['a', 'b', 'c', 'd']), fc.boolean())
    .map(([eligible, begin]): Step => (log) => {
      const plan = planMoves(log.state.groups, new Set(eligible));
      return begin
        ? { do: 'begin-move', groups: plan.begin }
        : { do: 'assign', groups: plan.assign };
    }),
  fc.tuple(server, fc.nat({ max: LOCK_GROUPS - 1 })).map(([id, from]): Step => (log) => ({
    do: 'gave-up',
    id,
    groups: log.state.groups.groups
      .map(({ epoch }, group) => ({ group, epoch }))
      .slice(from, from + 40),
  })),
);

/** What LOCK-2, LOCK-7 and LOCK-8 say of two states that follow each other. */
function check(log: Log, before: ServiceState, command: Command, tokens: number[]): void {
  const { state } = log;
  expect(state.clerks.newestToken).toBeGreaterThanOrEqual(before.clerks.newestToken);
  expect(state.clockFloor).toBeGreaterThanOrEqual(before.clockFloor);
  const slots = new Set<string>();
  for (const clerk of state.clerks.byToken.values()) {
    const old = before.clerk(clerk.token);
    if (old === undefined) {
      expect(clerk.token).toBeGreaterThan(before.clerks.newestToken);
      expect(clerk.state).toBe('live');
      tokens.push(clerk.token);
    } else {
      const order = ['live', 'expired', 'fenced'];
      expect(order.indexOf(clerk.state)).toBeGreaterThanOrEqual(order.indexOf(old.state));
      if (old.demon !== 0 && clerk.demon !== old.demon) {
        const demon = state.clerk(old.demon)?.state ?? 'gone';
        expect(['fenced', 'gone']).toContain(demon);
        expect(clerk.demon === 0 || clerk.attempt > old.attempt).toBe(true);
      }
    }
    if (clerk.recovery) {
      const slot = `${clerk.kind}/${clerk.slot}`;
      expect(slots.has(slot)).toBe(false);
      slots.add(slot);
    }
  }
  for (const [i, group] of state.groups.groups.entries()) {
    const old = before.groups.groups[i];
    if (old === undefined) continue;
    expect(group.epoch).toBeGreaterThanOrEqual(old.epoch);
    if (group.owner === old.owner) continue;
    if (group.owner !== null) {
      expect(old.owner).toBeNull();
      expect(old.from).toBeNull();
      expect(group.epoch).toBe(old.epoch + 1);
    } else if (group.from === null) {
      expect(command).toMatchObject({ do: 'server-down', id: old.owner });
    }
  }
}

function copyOf(state: ServiceState): ServiceState {
  const copy = new ServiceState();
  copy.restore(state.snapshot());
  return copy;
}

describe('any history', () => {
  it('keeps tokens, demons, slots and owners in order, and is the same after a snapshot', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 60 }), (history) => {
        const log = new Log();
        const tokens: number[] = [];
        for (const step of history) {
          const before = copyOf(log.state);
          const twin = copyOf(log.state);
          const command = step(log, tokens);
          const result = log.do(command);
          check(log, before, command, tokens);
          const again = twin.apply(log.index, encodeCommand(command));
          expect(again).toEqual(result);
          expect(twin.snapshot()).toEqual(log.state.snapshot());
        }
      }),
      { numRuns: 30 },
    );
  });

  it('ends balanced to within one when it is left alone', () => {
    fc.assert(
      fc.property(
        fc.array(steps, { maxLength: 40 }),
        fc.subarray(['a', 'b', 'c', 'd'], { minLength: 1 }),
        (history, eligible) => {
          const log = new Log();
          for (const step of history) log.do(step(log, []));
          for (const id of ['a', 'b', 'c', 'd']) {
            const incarnation = log.state.groups.servers.get(id)?.incarnation ?? '';
            if (eligible.includes(id)) log.up(id, `new-${id}`);
            else log.do({ do: 'server-down', id, incarnation });
          }
          log.balance(eligible);
          const counts = eligible.map((id) => log.counts()[id] ?? 0);
          expect(counts.reduce((sum, count) => sum + count, 0)).toBe(LOCK_GROUPS);
          expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('planted faults', () => {
  const cases: [keyof StateFaults, (log: Log) => boolean][] = [
    [
      'tokenReuse',
      (log) => {
        const { token } = log.open();
        log.do({ do: 'close', token, clock: 0 });
        return log.open().token === token;
      },
    ],
    [
      'reviveLapsed',
      (log) => {
        const { token } = log.open();
        log.do({ do: 'expire', token });
        log.do({ do: 'revive', token });
        return log.state.isLive(token);
      },
    ],
    [
      'floorFromNothing',
      (log) => {
        log.do({ do: 'close', token: log.open().token, clock: 9 });
        return log.state.clockFloor === 0;
      },
    ],
    [
      'unfencedDemon',
      (log) => {
        const [a, b, c] = [log.open().token, log.open().token, log.open().token];
        log.do({ do: 'expire', token: a });
        log.do({ do: 'expire', token: b });
        return log.state.clerk(a)?.demon === c;
      },
    ],
    [
      'onePhaseMoves',
      (log) => {
        log.up('a');
        log.up('b');
        log.balance(['a']);
        log.do({ do: 'begin-move', groups: [{ group: 0, epoch: 1 }] });
        log.do({ do: 'assign', groups: [{ group: 0, epoch: 1, to: 'b' }] });
        return log.state.groups.groups[0]?.owner === 'b';
      },
    ],
  ];
  for (const [fault, broken] of cases) {
    it(`${fault} breaks its rule, which holds without it`, () => {
      expect(broken(new Log({ [fault]: true }))).toBe(true);
      expect(broken(new Log())).toBe(false);
    });
  }
});
