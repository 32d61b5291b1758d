/**
 * The core among clerks that follow the rules and a network that loses, repeats and reorders; servers die and are rebuilt,
 * clerks die and are recovered. After each step LOCK-1 and the order of tags (rule 3) are checked over what the clerks
 * believe, not over what the server does; at the end everybody gets what it waits for.
 */
import { describe, expect, it } from 'vitest';
import { groupOf, LockItem } from '../protocol/lock-vectors.js';
import type { Aspect, ClaimItem, Level } from '../protocol/messages.js';
import type { LockFaults } from './faults.js';
import { LockServerCore } from './lock-server-core.js';

const GROUP = groupOf(1, 0, 1);
const IDS = Array.from({ length: 1000 }, (_, id) => id).filter((id) => groupOf(1, 0, id) === GROUP);
/** Lock n: id n >> 1, aspect n & 1. */
const LOCKS = 4;

type ToServer =
  | { type: 'request' | 'cancel'; from: number; item: LockItem }
  | { type: 'release'; from: number; clock: number; item: LockItem }
  | {
      type: 'claim';
      from: number;
      epoch: number;
      clock: number;
      attempt: number;
      part: number;
      last: boolean;
      items: ClaimItem[];
    };
type ToClerk =
  | { type: 'grant'; to: number; clock: number; item: LockItem }
  | { type: 'revoke' | 'refuse'; to: number; item: LockItem }
  | { type: 'rebuild'; to: number; epoch: number };

interface Clerk {
  token: number;
  live: boolean;
  epoch: number;
  clock: number;
  attempt: number;
  request: number;
  holds: { level: Level; grant: number }[];
  pending: ({ request: number; level: Level; above: number } | undefined)[];
}

/** mulberry32 */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

class Violation extends Error {}

class Model {
  readonly random: (below: number) => number;
  readonly faults: LockFaults;
  readonly oldGrants: boolean;
  core: LockServerCore;
  epoch = 1;
  nowMs = 0;
  floor = 0;
  nextToken = 1;
  clerks: Clerk[] = [];
  toServer: ToServer[] = [];
  toClerk: ToClerk[] = [];
  /** Largest clock that a live holder wrote under each lock with. */
  readonly tags = Array.from({ length: LOCKS }, () => 0);
  grants = 0;

  constructor(seed: number, faults: LockFaults = {}, oldGrants = false) {
    this.random = randomOf(seed);
    this.oldGrants = oldGrants;
    this.faults = faults;
    this.core = this.newCore();
    this.core.gainGroup(GROUP, 1, [], [], 0);
    for (let i = 0; i < 3; i++) this.open();
  }

  newCore(): LockServerCore {
    const copy = (item: object): LockItem => Object.assign(new LockItem(), item);
    const core: LockServerCore = new LockServerCore({
      server: 's',
      faults: this.faults,
      outbox: {
        grant: (to, item) =>
          this.toClerk.push({ type: 'grant', to, clock: core.clock, item: copy(item) }),
        revoke: (to, item) => this.toClerk.push({ type: 'revoke', to, item: copy(item) }),
        refuse: (to, item) => this.toClerk.push({ type: 'refuse', to, item: copy(item) }),
        rebuild: (to, _group, epoch) => this.toClerk.push({ type: 'rebuild', to, epoch }),
        expel: () => undefined,
      },
    });
    core.raiseFloor(this.floor);
    return core;
  }

  open(): void {
    const token = this.nextToken++;
    this.clerks.push({
      token,
      live: true,
      epoch: this.epoch,
      clock: this.floor,
      attempt: 0,
      request: 0,
      holds: Array.from({ length: LOCKS }, () => ({ level: 0, grant: 0 })),
      pending: Array.from({ length: LOCKS }, () => undefined),
    });
    this.core.clerkLive(token);
  }

  item(clerk: Clerk, lock: number, level: Level): LockItem {
    const item = new LockItem();
    item.table = 1;
    item.idLow = IDS[lock >> 1]!;
    item.aspect = (lock & 1) as Aspect;
    item.level = level;
    item.epoch = clerk.epoch;
    return item;
  }

  lockOf(item: LockItem | ClaimItem): number {
    return 2 * IDS.indexOf(item.idLow) + item.aspect;
  }

  release(clerk: Clerk, lock: number, grant: number, keeps = false): void {
    const item = this.item(clerk, lock, clerk.holds[lock]!.level);
    item.grant = grant;
    item.keeps = keeps;
    this.toServer.push({ type: 'release', from: clerk.token, clock: clerk.clock, item });
  }

  ask(clerk: Clerk, lock: number): void {
    const pending = clerk.pending[lock]!;
    const item = this.item(clerk, lock, pending.level);
    item.request = pending.request;
    this.toServer.push({ type: 'request', from: clerk.token, item });
  }

  act(clerk: Clerk, lock: number): void {
    const hold = clerk.holds[lock]!;
    const pending = clerk.pending[lock];
    const level = (1 + this.random(2)) as Level;
    switch (this.random(6)) {
      case 0:
      case 1:
        if (pending !== undefined) this.ask(clerk, lock);
        else if (hold.level < level) {
          clerk.pending[lock] = { request: ++clerk.request, level, above: 0 };
          this.ask(clerk, lock);
        }
        break;
      case 2:
        if (pending === undefined || this.random(3) > 0) break;
        clerk.pending[lock] = undefined;
        if (this.random(2) === 0) break;
        {
          const item = this.item(clerk, lock, 0);
          item.request = pending.request;
          this.toServer.push({ type: 'cancel', from: clerk.token, item });
        }
        break;
      case 3:
        if (hold.level === 0) break;
        hold.level = this.random(hold.level) as Level;
        this.release(clerk, lock, hold.grant);
        if (hold.level === 0) hold.grant = 0;
        break;
      default:
        if (hold.level === 2) this.write(clerk, lock);
    }
  }

  write(clerk: Clerk, lock: number): void {
    clerk.clock++;
    if (clerk.clock <= this.tags[lock]!) throw new Violation(`tag order of lock ${lock}`);
    this.tags[lock] = clerk.clock;
  }

  /** Takes a random message, or the oldest: sometimes it stays in the network to come again. */
  take<M>(queue: M[], calm: boolean): M | undefined {
    if (queue.length === 0) return undefined;
    const at = calm ? 0 : this.random(queue.length);
    const message = queue[at]!;
    if (calm || this.random(8) > 0) queue.splice(at, 1);
    return message;
  }

  deliverToServer(calm = false): void {
    const message = this.take(this.toServer, calm);
    if (message === undefined) return;
    const { core, nowMs } = this;
    if (message.type === 'request') core.request(message.from, message.item, nowMs);
    if (message.type === 'cancel') core.cancel(message.from, message.item, nowMs);
    if (message.type === 'release') core.release(message.from, message.clock, message.item, nowMs);
    if (message.type !== 'claim') return;
    let at = -1;
    const { items, from, ...header } = message;
    core.claim(
      {
        ...header,
        token: from,
        group: GROUP,
        next: () => ++at < items.length,
        get item() {
          return items[at]!;
        },
      },
      nowMs,
    );
  }

  deliverToClerk(calm = false): void {
    const message = this.take(this.toClerk, calm);
    const clerk = this.clerks.find((one) => one.token === message?.to);
    if (message === undefined || clerk === undefined || !clerk.live) return;
    if (message.type === 'rebuild') this.claim(clerk, message.epoch);
    else if (message.type === 'grant') this.granted(clerk, message.item, message.clock);
    else if (message.type === 'revoke') this.revoked(clerk, message.item, calm);
  }

  claim(clerk: Clerk, epoch: number): void {
    if (epoch < clerk.epoch) return;
    clerk.epoch = epoch;
    clerk.attempt++;
    const items: ClaimItem[] = [];
    for (let lock = 0; lock < LOCKS; lock++) {
      const { level, grant } = clerk.holds[lock]!;
      if (level > 0) items.push(Object.assign(this.item(clerk, lock, level), { grant }));
    }
    const { token: from, clock, attempt } = clerk;
    const cut = this.random(items.length + 1);
    const head = { type: 'claim', from, epoch, clock, attempt } as const;
    this.toServer.push({ ...head, part: 0, last: false, items: items.slice(0, cut) });
    this.toServer.push({ ...head, part: 1, last: true, items: items.slice(cut) });
  }

  granted(clerk: Clerk, item: LockItem, clock: number): void {
    const lock = this.lockOf(item);
    const hold = clerk.holds[lock]!;
    const pending = clerk.pending[lock];
    if (item.epoch < clerk.epoch && !this.oldGrants) return;
    if (pending !== undefined && pending.request === item.request && item.grant > pending.above) {
      hold.level = item.level;
      hold.grant = item.grant;
      clerk.pending[lock] = undefined;
      clerk.clock = Math.max(clerk.clock, clock);
      this.grants++;
    } else if (item.grant > hold.grant) {
      if (hold.level > 0) hold.grant = item.grant;
      this.release(clerk, lock, item.grant);
    }
  }

  revoked(clerk: Clerk, item: LockItem, calm: boolean): void {
    const lock = this.lockOf(item);
    const hold = clerk.holds[lock]!;
    const pending = clerk.pending[lock];
    if (item.epoch < clerk.epoch || item.grant < hold.grant) return;
    if (pending !== undefined && item.grant > hold.grant) {
      pending.above = Math.max(pending.above, item.grant);
    }
    if (hold.level > 0) hold.grant = item.grant;
    const keeps = !calm && hold.level > item.level && this.random(3) === 0;
    if (!keeps) hold.level = Math.min(hold.level, item.level) as Level;
    this.release(clerk, lock, item.grant, keeps);
    if (hold.level === 0) hold.grant = 0;
  }

  serverDies(): void {
    this.epoch++;
    this.core = this.newCore();
    const tokens = (live: boolean): number[] =>
      this.clerks.filter((clerk) => clerk.live === live).map((clerk) => clerk.token);
    this.core.gainGroup(GROUP, this.epoch, tokens(true), tokens(false), this.nowMs);
  }

  clerkDies(clerk: Clerk): void {
    clerk.live = false;
    this.core.clerkExpired(clerk.token, this.nowMs);
  }

  recover(clerk: Clerk): void {
    this.floor = Math.max(this.floor, clerk.clock);
    this.core.raiseFloor(this.floor);
    this.core.clerkRecovered(clerk.token, this.nowMs);
    this.clerks = this.clerks.filter((one) => one !== clerk);
    this.open();
  }

  step(): void {
    const clerk = this.clerks[this.random(this.clerks.length)]!;
    const dice = this.random(100);
    if (dice < 35) {
      if (clerk.live) this.act(clerk, this.random(LOCKS));
    } else if (dice < 62) this.deliverToServer();
    else if (dice < 90) this.deliverToClerk();
    else if (dice < 94) this.core.tick((this.nowMs += 200));
    else if (dice < 95) this.serverDies();
    else if (dice < 97) {
      if (clerk.live && this.clerks.filter((one) => one.live).length > 1) this.clerkDies(clerk);
      else if (!clerk.live) this.recover(clerk);
    } else if (this.random(2) === 0) this.toServer.splice(this.random(this.toServer.length + 1), 1);
    else this.toClerk.splice(this.random(this.toClerk.length + 1), 1);
    this.check();
  }

  /** LOCK-1 over what live clerks believe. */
  check(): void {
    for (let lock = 0; lock < LOCKS; lock++) {
      let [holders, exclusive] = [0, 0];
      for (const { live, holds } of this.clerks) {
        const level = live ? holds[lock]!.level : 0;
        if (level > 0) holders++;
        if (level === 2) exclusive++;
      }
      if (exclusive > 0 && holders > 1) throw new Violation(`LOCK-1 of lock ${lock}`);
    }
    this.core.check(Object.keys(this.faults).length > 0);
  }

  /** The network heals and nobody asks for more: whoever waits is served. */
  settle(): void {
    for (const dead of this.clerks.filter((clerk) => !clerk.live)) this.recover(dead);
    for (let round = 0; round < 60; round++) {
      for (const clerk of this.clerks) {
        clerk.epoch = this.core.isRebuilding(GROUP) ? clerk.epoch : this.epoch;
        clerk.pending.forEach((pending, lock) => pending && this.ask(clerk, lock));
      }
      this.core.tick((this.nowMs += 600));
      while (this.toServer.length + this.toClerk.length > 0) {
        this.deliverToServer(true);
        this.deliverToClerk(true);
        this.check();
      }
    }
    const waiting = this.clerks.flatMap((clerk) => clerk.pending).filter(Boolean).length;
    if (waiting > 0) throw new Violation(`${waiting} requests are never answered`);
  }
}

function run(seed: number, faults?: LockFaults, oldGrants?: boolean): Model {
  const model = new Model(seed, faults, oldGrants);
  for (let i = 0; i < 400; i++) model.step();
  model.settle();
  return model;
}

describe('the lock protocol, whatever the network does', () => {
  it('keeps LOCK-1 and the order of tags, and serves everybody in the end', () => {
    let grants = 0;
    for (let seed = 1; seed <= 250; seed++) {
      try {
        grants += run(seed).grants;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect(grants).toBeGreaterThan(2000);
  });

  const faults: (keyof LockFaults)[] = [
    'noSequence',
    'freeDeadLocks',
    'grantDuringRebuild',
    'claimsIgnored',
    'noClockInGrant',
    'floorOnlyAtRebuild',
    'mixedAttempts',
  ];
  /** Seed of the first run that breaks an invariant. */
  function firstViolation(faults: LockFaults, oldGrants = false): number {
    for (let seed = 1; seed <= 1500; seed++) {
      try {
        run(seed, faults, oldGrants);
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        return seed;
      }
    }
    return Infinity;
  }

  for (const fault of faults) {
    it(`would be caught without its rule: ${fault}`, () =>
      expect(firstViolation({ [fault]: true })).toBeLessThan(Infinity));
  }

  it('would be caught if clerks took grants of older epochs', () =>
    expect(firstViolation({}, true)).toBeLessThan(Infinity));
});

describe('a writer among readers that come and go without a gap', () => {
  function roundsUntilWriter(faults: LockFaults): number {
    let [written, request] = [false, 0];
    const grants = new Map<number, number>();
    const core = new LockServerCore({
      server: 's',
      faults,
      outbox: {
        grant: (token, { grant, level }) => {
          grants.set(token, grant);
          written ||= level === 2;
        },
        revoke: () => undefined,
        refuse: () => undefined,
        rebuild: () => undefined,
        expel: () => undefined,
      },
    });
    core.gainGroup(GROUP, 1, [], [], 0);
    for (const token of [1, 2, 3]) core.clerkLive(token);
    const item = Object.assign(new LockItem(), { table: 1, idLow: IDS[0], epoch: 1 });
    const ask = (token: number, level: number): void =>
      core.request(token, Object.assign(item, { level, request: ++request }), 0);
    ask(1, 1);
    ask(3, 2);
    for (let round = 0; round < 100; round++) {
      if (written) return round;
      const [next, last] = round % 2 === 0 ? [2, 1] : [1, 2];
      ask(next, 1);
      core.release(last, 0, Object.assign(item, { level: 0, grant: grants.get(last) ?? 0 }), 0);
    }
    return Infinity;
  }

  it('is served after the readers that were there before it', () => {
    expect(roundsUntilWriter({})).toBe(1);
    expect(roundsUntilWriter({ starveWriters: true })).toBe(Infinity);
  });
});
