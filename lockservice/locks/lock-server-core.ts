/**
 * The core of a lock server: requests, releases and claims in, grants and revokes out. No I/O, and no time but what it is
 * told; the driver decodes vectors, hands each item in, and sends what the outbox has collected.
 *
 * ```
 *   clerk A                     server                          clerk B
 *     |--- REQUEST r1, exclusive -->|                              |
 *     |<-- GRANT r1, number 7 ------|                              |
 *     |                             |<--- REQUEST r1, shared ------|
 *     |<-- REVOKE 7, keep shared ---|                              |
 *     |    (flushes)                |                              |
 *     |--- RELEASE 7, shared ------>|                              |
 *     |                             |---- GRANT r1, number 8 ----->|
 * ```
 *
 * Any message may be lost, repeated or late. What the clerk must do for that (its core holds these rules):
 *
 * - It has one request outstanding for a lock; a newer one replaces an older one, at the older one's place in the queue.
 * - It takes a grant only for the request that is pending, with a number above every one it has answered for that lock; any
 *   other grant with a larger number than its own it answers with a release down to what it holds, under the new number.
 * - A revoke with a larger number than its own renumbers what it holds; one for a lock that it does not hold it answers with
 *   a release to none.
 *
 * Which groups it owns, which clerks live and the floor of the clocks come from Raft's state (the driver tells). Rules of one
 * lock: lock-group.ts. Range locks: ../ranges.
 */
import { SextantError } from '#core/errors.js';
import { clockFits } from '../protocol/clock.js';
import { groupOf, LockItem, rangeGroupOf } from '../protocol/lock-vectors.js';
import { LOCK_GROUPS, RefuseCode } from '../protocol/messages.js';
import type {
  CancelItem,
  ClaimHeader,
  ClaimItem,
  ListedLock,
  RangeAnswer,
  RangeRequest,
  ReleaseItem,
  RequestItem,
} from '../protocol/messages.js';
import { listRanges } from '../ranges/range-listing.js';
import { RangeTable } from '../ranges/range-table.js';
import type { Gate, RangeOutbox } from '../ranges/range-table.js';
import { ClerkTable } from './clerk-table.js';
import type { ClerkEntry } from './clerk-table.js';
import { NO_LOCK_FAULTS } from './faults.js';
import type { LockFaults } from './faults.js';
import { HotLocks } from './hot-locks.js';
import { countLocks, listLocks } from './listing.js';
import type { ListOptions } from './listing.js';
import { expelClerk, LockGroup } from './lock-group.js';
import type { GroupContext, LockOutbox } from './lock-group.js';

export type { LockOutbox } from './lock-group.js';
export type { ListOptions } from './listing.js';

export interface LockServerCoreOptions {
  readonly server: string;
  readonly outbox: LockOutbox;
  /** Answers to range requests that had to wait; without it range locks are refused. */
  readonly ranges?: RangeOutbox;
  /** Requests that may wait, of all clerks. */
  readonly maxWaiting?: number;
  readonly maxWaitingOfClerk?: number;
  /** Locks in memory; a request for one more is refused. */
  readonly maxLocks?: number;
  readonly revokeResendMs?: number;
  readonly rebuildResendMs?: number;
  /** After so long without an answer to a revoke a clerk is to be expelled; by default its lease. */
  readonly revokeDeadlineMs?: (token: number) => number;
  /** Requests for locks of other tables are refused. */
  readonly knowsTable?: (table: number) => boolean;
  readonly faults?: LockFaults;
}

/** A part of a claim: a `VectorReader` that was opened on a CLAIM. */
export interface ClaimPart extends ClaimHeader {
  next(): boolean;
  readonly item: ClaimItem;
}

export interface LockStats {
  readonly groups: number;
  readonly rebuilding: number;
  readonly locks: number;
  readonly lockBytes: number;
  /** Range requests included. */
  readonly waiting: number;
}

const MAX_WAITING = 262_144;
const MAX_WAITING_OF_CLERK = 65_536;
const MAX_LOCKS = 8_000_000;
const RESEND_MS = 500;
const REBUILD_RESEND_MS = 300;
const REVOKE_DEADLINE_MS = 10_000;
/** How often `tick` looks at the queues. */
const SCAN_MS = 100;

export class LockServerCore {
  readonly server: string;
  readonly #context: GroupContext;
  readonly #clerks = new ClerkTable();
  readonly #hot = new HotLocks();
  readonly #groups: (LockGroup | undefined)[] = [];
  readonly #rebuildResendMs: number;
  readonly #maxLocks: number;
  readonly #knowsTable: (table: number) => boolean;
  readonly #ranges: RangeTable | undefined;
  readonly #out = new LockItem();
  #clock = 0;
  #floor = 0;
  #locks = 0;
  #scanAtMs = 0;
  #rebuildAtMs = Infinity;

  constructor(options: LockServerCoreOptions) {
    this.server = options.server;
    this.#rebuildResendMs = options.rebuildResendMs ?? REBUILD_RESEND_MS;
    this.#maxLocks = options.maxLocks ?? MAX_LOCKS;
    this.#knowsTable = options.knowsTable ?? (() => true);
    this.#context = {
      outbox: options.outbox,
      faults: options.faults ?? NO_LOCK_FAULTS,
      clerks: this.#clerks,
      hot: this.#hot,
      serving: true,
      waiting: 0,
      waitingMax: options.maxWaiting ?? MAX_WAITING,
      waitingOfClerkMax: options.maxWaitingOfClerk ?? MAX_WAITING_OF_CLERK,
      revokeResendMs: options.revokeResendMs ?? RESEND_MS,
      revokeDeadlineMs: options.revokeDeadlineMs ?? (() => REVOKE_DEADLINE_MS),
    };
    for (let group = 0; group < LOCK_GROUPS; group++) this.#groups.push(undefined);
    if (options.ranges !== undefined) {
      const gate = (group: number): Gate => this.#gateOf(group);
      this.#ranges = new RangeTable({ outbox: options.ranges, gate });
    }
  }

  /** What a vector of grants carries (rule 2): as of sending is right, for it never goes back. */
  get clock(): number {
    if (this.#context.faults.noClockInGrant === true) return 0;
    if (this.#context.faults.floorOnlyAtRebuild === true) return this.#clock;
    return Math.max(this.#clock, this.#floor);
  }

  /** A clock that was met: of a clerk, in any message. */
  heard(clock: number): void {
    if (clock > this.#clock) this.#clock = clock;
  }

  /** The floor in Raft's state (rule 2): before locks of a recovered clerk pass on, so before `clerkRecovered`. */
  raiseFloor(floor: number): void {
    if (floor > this.#floor) this.#floor = floor;
  }

  /**
   * The server owns the group from now on. `live`: clerks that may hold locks of it and must claim; `unrecovered`: those that
   * are dead and not recovered.
   */
  gainGroup(
    group: number,
    epoch: number,
    live: readonly number[],
    unrecovered: readonly number[],
    nowMs: number,
  ): void {
    this.loseGroup(group);
    this.#clock = Math.max(this.#clock, this.#floor);
    for (const token of live) this.#clerks.add(token);
    for (const token of unrecovered) this.clerkExpired(token, nowMs);
    const isLive = (token: number): boolean => this.#clerks.find(token)?.live === true;
    const dead = [...unrecovered, ...live.filter((token) => !isLive(token))];
    const gained = new LockGroup(this.#context, group, epoch, live.filter(isLive), dead);
    this.#groups[group] = gained;
    for (const token of gained.awaiting) this.#context.outbox.rebuild(token, group, epoch);
    if (gained.rebuilding) {
      this.#rebuildAtMs = Math.min(this.#rebuildAtMs, nowMs + this.#rebuildResendMs);
    }
  }

  loseGroup(group: number): void {
    if (this.#groups[group] === undefined) return;
    this.#groups[group].lose();
    this.#groups[group] = undefined;
    this.#hot.forgetGroup(group);
    this.#ranges?.loseGroup(group);
  }

  /** Epoch of a group that it owns. */
  epochOf(group: number): number | undefined {
    return this.#groups[group]?.epoch;
  }

  isRebuilding(group: number): boolean {
    return this.#groups[group]?.rebuilding === true;
  }

  /** The server's own lease is over or in doubt: nothing is granted until `resume`. */
  pause(): void {
    this.#context.serving = false;
  }

  resume(nowMs: number): void {
    if (this.#context.serving) return;
    this.#context.serving = true;
    for (const group of this.#groups) {
      if (group?.open !== true) continue;
      group.pumpAll(nowMs);
      this.#ranges?.groupOpened(group.group, nowMs);
    }
  }

  get serving(): boolean {
    return this.#context.serving;
  }

  /** A clerk has been opened, or was live when this server learnt of the state. */
  clerkLive(token: number): void {
    this.#clerks.add(token);
  }

  /** Its lease has ended (or: it is expired or fenced in the state that this server learns). Its locks stay. */
  clerkExpired(token: number, nowMs: number): void {
    const clerk = this.#clerks.add(token);
    if (!clerk.live) return;
    clerk.live = false;
    this.#ranges?.clerkExpired(token);
    for (const group of this.#groups) {
      if (group?.clerkExpired(clerk, nowMs) === true) {
        this.#ranges?.groupOpened(group.group, nowMs);
      }
    }
  }

  /** Recovered, or closed: it holds nothing any more and is forgotten. */
  clerkRecovered(token: number, nowMs: number): void {
    const clerk = this.#clerks.find(token);
    if (clerk === undefined) return;
    clerk.live = false;
    this.#ranges?.clerkRecovered(token, nowMs);
    for (const group of this.#groups) {
      if (group?.clerkRecovered(clerk, nowMs) === true) {
        this.#ranges?.groupOpened(group.group, nowMs);
      }
    }
    this.#clerks.forget(clerk);
  }

  /** The clerk has a new connection: what it was asked and has not answered is asked again. */
  clerkConnected(token: number, nowMs: number): void {
    const clerk = this.#clerks.find(token);
    if (clerk === undefined || !clerk.live) return;
    for (const group of this.#groups) {
      if (group === undefined) continue;
      group.remind(clerk, nowMs);
      for (const awaited of group.awaiting) {
        if (awaited === token) this.#context.outbox.rebuild(token, group.group, group.epoch);
      }
    }
  }

  /** Ends in a grant or a refusal, now or later. */
  request(token: number, item: RequestItem, nowMs: number): void {
    const clerk = this.#clerks.find(token);
    const group = this.#groups[groupOf(item.table, item.idHigh, item.idLow)];
    if (clerk === undefined || !clerk.live) {
      const over = clerk !== undefined || token <= this.#clerks.newest;
      this.#refuse(token, item, over ? RefuseCode.fenced : RefuseCode.notReady);
    } else if (group === undefined || item.epoch < group.epoch) {
      this.#refuse(token, item, RefuseCode.wrongGroup);
    } else if (item.epoch > group.epoch) {
      this.#refuse(token, item, RefuseCode.notReady);
    } else if (!this.#knowsTable(item.table)) {
      this.#refuse(token, item, RefuseCode.unknownTable);
    } else if (this.#locks >= this.#maxLocks) {
      this.#refuse(token, item, RefuseCode.overloaded);
    } else {
      const before = group.table.size;
      group.request(clerk, item, nowMs);
      this.#locks += group.table.size - before;
    }
  }

  /** `clock`: of the vector. One that names an older grant or epoch changes nothing. */
  release(token: number, clock: number, item: ReleaseItem, nowMs: number): void {
    const clerk = this.#clerks.find(token);
    const group = this.#groups[groupOf(item.table, item.idHigh, item.idLow)];
    if (clerk === undefined || !clerk.live || !this.#hears(clerk, clock, nowMs)) return;
    if (group === undefined || item.epoch !== group.epoch) return;
    const before = group.table.size;
    group.release(clerk, item, nowMs);
    this.#locks += group.table.size - before;
  }

  /** The request waits no longer; if it was granted already, the clerk gives that grant back. */
  cancel(token: number, item: CancelItem, nowMs: number): void {
    const clerk = this.#clerks.find(token);
    const group = this.#groups[groupOf(item.table, item.idHigh, item.idLow)];
    if (clerk === undefined || group === undefined || group.epoch !== item.epoch) return;
    group.cancel(clerk, item, nowMs);
  }

  /** A part of the answer to a REBUILD. True: the group's rebuild is complete with it. */
  claim(part: ClaimPart, nowMs: number): boolean {
    const clerk = this.#clerks.find(part.token);
    const group = this.#groups[part.group];
    if (clerk === undefined || !clerk.live || group === undefined) return false;
    if (part.epoch !== group.epoch || !this.#hears(clerk, part.clock, nowMs)) return false;
    if (!group.beginClaim(clerk, part)) return false;
    while (part.next()) {
      const { table, idHigh, idLow } = part.item;
      if (groupOf(table, idHigh, idLow) === part.group) group.claim(clerk, part.item, nowMs);
      else group.expel(clerk, `claims a lock outside group ${part.group}`, nowMs);
    }
    const opened = group.endClaim(clerk, part.last, nowMs);
    if (opened) this.#ranges?.groupOpened(part.group, nowMs);
    return opened;
  }

  /**
   * A range request. The answer, or undefined: it waits, and the range outbox will have it. Throws FENCED,
   * UNKNOWN_TABLE, OUT_OF_RANGE, PROTOCOL, OVERLOADED, and NOT_READY when it does not serve the range group in that epoch.
   */
  range(token: number, request: RangeRequest, nowMs: number): RangeAnswer | undefined {
    const clerk = this.#clerks.find(token);
    const number = rangeGroupOf(request.table);
    const group = this.#groups[number];
    if (clerk === undefined && token > this.#clerks.newest) {
      throw new SextantError('NOT_READY', `clerk ${token} is not known yet`);
    }
    if (clerk === undefined || !clerk.live || request.token !== token) {
      throw new SextantError('FENCED', `clerk ${token}: its lease has ended`);
    }
    if (this.#ranges === undefined || group === undefined || request.epoch < group.epoch) {
      throw new SextantError('NOT_READY', `range group ${number} is not here in that epoch`);
    }
    if (request.epoch > group.epoch) {
      throw new SextantError('NOT_READY', `range group ${number} is not yet at that epoch`);
    }
    if (!this.#knowsTable(request.table)) {
      throw new SextantError('UNKNOWN_TABLE', `no lock table ${request.table}`);
    }
    return this.#ranges.request(request, nowMs);
  }

  /** Resends, deadlines, memory given back. Call it every 100 ms or so; cheap when nobody waits. */
  tick(nowMs: number): void {
    if (nowMs >= this.#rebuildAtMs) this.#askAgain(nowMs);
    if (nowMs < this.#scanAtMs) return;
    this.#scanAtMs = nowMs + SCAN_MS;
    this.#locks = 0;
    for (const group of this.#groups) {
      if (group === undefined) continue;
      group.resend(nowMs);
      group.shrink();
      this.#locks += group.table.size;
    }
  }

  /** Locks, then range locks; hottest or contended ones first. */
  list(options: ListOptions, nowMs: number): ListedLock[] {
    const locks = listLocks(this.#groups, this.#clerks, this.#hot, options, nowMs);
    const ranges = listRanges(this.#ranges?.files ?? [], options, nowMs);
    return [...locks, ...ranges].slice(0, options.limit);
  }

  count(table?: number): number {
    let count = countLocks(this.#groups, table);
    for (const file of this.#ranges?.files ?? []) {
      if (table === undefined || file.table === table) count++;
    }
    return count;
  }

  stats(): LockStats {
    const stats = { groups: 0, rebuilding: 0, locks: 0, lockBytes: 0 };
    for (const group of this.#groups) {
      if (group === undefined) continue;
      stats.groups++;
      if (group.rebuilding) stats.rebuilding++;
      stats.locks += group.table.size;
      stats.lockBytes += group.table.bytes;
    }
    return { ...stats, waiting: this.#context.waiting + (this.#ranges?.waiting ?? 0) };
  }

  /** Whole-structure check, for tests. */
  check(claimsContradict = false): void {
    for (const group of this.#groups) group?.check(claimsContradict);
  }

  /** LOCK-12. False: what comes with it is not to be believed either. */
  #hears(clerk: ClerkEntry, clock: number, nowMs: number): boolean {
    if (clockFits(clock, Math.max(this.#clock, this.#floor))) {
      this.heard(clock);
      return true;
    }
    const why = `reports clock ${clock}, far beyond ${Math.max(this.#clock, this.#floor)}`;
    expelClerk(this.#context.outbox, clerk, why, nowMs);
    return false;
  }

  #gateOf(number: number): Gate {
    const group = this.#groups[number];
    if (group === undefined || !group.open) return 'rebuilding';
    return group.shadowed ? 'shut' : 'open';
  }

  #askAgain(nowMs: number): void {
    this.#rebuildAtMs = Infinity;
    for (const group of this.#groups) {
      if (group === undefined || !group.rebuilding) continue;
      this.#rebuildAtMs = nowMs + this.#rebuildResendMs;
      for (const token of group.awaiting) {
        this.#context.outbox.rebuild(token, group.group, group.epoch);
      }
    }
  }

  #refuse(token: number, item: RequestItem, why: RefuseCode): void {
    const out = this.#out;
    out.table = item.table;
    out.idHigh = item.idHigh;
    out.idLow = item.idLow;
    out.aspect = item.aspect;
    out.epoch = item.epoch;
    out.request = item.request;
    out.why = why;
    this.#context.outbox.refuse(token, out);
  }
}
