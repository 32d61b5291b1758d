/**
 * A clerk: keeps locks on behalf of one process (rules 1-8). A core: no I/O, no timers, no promises; time comes in as
 * `nowMs`, what is to be sent goes out at `drain`, once a turn, all locks of a turn in one vector for each server.
 *
 * A lock is in one state of each column; the columns move by themselves.
 *
 * | granted         | asked            | given back               | by users here              |
 * |-----------------|------------------|--------------------------|----------------------------|
 * | none            | nothing          | not revoked              | free                       |
 * | shared          | requesting level | waits for users of it    | shared by n                |
 * | exclusive       | cancelled        | its owner flushes        | exclusive by one           |
 *
 * | event                            | what the clerk does                                                            |
 * |----------------------------------|--------------------------------------------------------------------------------|
 * | acquire, level granted, no queue | in use; nothing is sent (sticky)                                               |
 * | acquire, else                    | queues here, first come first served; the head's level is requested            |
 * | GRANT of the request under way   | level; the queue moves on                                                      |
 * | GRANT, epoch before the rebuild answered | dropped (rule 4)                                                      |
 * | GRANT nobody asked for           | given back; adopted when it replaces what is held                              |
 * | REVOKE to a lower level          | new users of more than that queue; waits for those who have it, flush, RELEASE |
 * | REVOKE, cannot answer yet        | RELEASE `keeps`, at once and at each repetition, while flushing for so long only |
 * | REVOKE of what is not held       | RELEASE none of that grant                                                     |
 * | user done                        | the queue or the release moves on; else free, oldest use first                 |
 * | waiter gives up                  | CANCEL when it was the last; a grant that crosses stays                        |
 * | REFUSE                           | asked again, or the waiter fails                                               |
 * | REBUILD                          | CLAIM of all that is held; requests of the group are sent again                |
 * | lease ended                      | every lock and waiter is dropped: LEASE_LOST, for ever (rule 1)                |
 *
 * - LOCK-1 A clerk uses a lock only while its lease runs, counted from when the renewal was sent, less a margin.
 * - LOCK-11 What a clerk has told a server that it gave back it does not use, even when an older grant comes late.
 * - FS-2 Nothing goes back before its owner has flushed.
 */
import { assert, unreachable } from '#core/assert.js';
import { SextantError, type ErrorCode } from '#core/errors.js';
import { groupOf, type LockItem, type VectorReader } from '../protocol/lock-vectors.js';
import { Level, MessageType, RefuseCode } from '../protocol/messages.js';
import type { Aspect, GroupMap, RebuildRequest } from '../protocol/messages.js';
import { Listed, PendingRequest, Revocation } from './cached-lock.js';
import type { CachedLock, RevokeCause, Waiter } from './cached-lock.js';
import { Claims } from './claims.js';
import { NO_CLERK_FAULTS, type ClerkFaults } from './faults.js';
import { GroupView } from './group-view.js';
import { CachedTable, LockCache } from './lock-cache.js';
import { Outgoing, type SendVector } from './outgoing.js';

/** What the core asks of its driver. */
export interface ClerkOutbox {
  /** Something waits: call `drain` at the end of this turn. */
  wake(): void;
  /** The owner of the table flushes what lies under these locks; `core.flushed` of each is the answer. */
  flush(table: CachedTable, revocations: readonly FlushTask[]): void;
  /** A revoke of this lock came in while somebody here uses it. */
  revoking(lock: CachedLock): void;
  /** Somebody else serves a group: fetch the map. */
  mapStale(): void;
  /** Call `tick` so soon. */
  retryIn(ms: number): void;
  onLost(error: SextantError): void;
}

export interface FlushTask {
  readonly lock: CachedLock;
  readonly revocation: Revocation;
  readonly keep: Level;
}

export interface ClerkCoreOptions {
  readonly token: number;
  /** From when the request was sent until when others may have its locks, as the service counts. */
  readonly leaseMs: number;
  readonly sentMs: number;
  readonly map: GroupMap;
  readonly clock: number;
  readonly fenceEpoch: number;
  readonly idleMs: number;
  readonly locksMax: number;
  readonly waitersMax: number;
  readonly flushDeadlineMs: number;
  readonly faults?: ClerkFaults;
}

/** A request without an answer is sent again after this, then after twice that, and so on. */
const RESEND_MS = 500;
const RESEND_EVERY_MAX = 8;
/** Of NOT_READY and of a wrong server. */
const RETRY_MS = 50;
/** A grant that comes so long after its CANCEL is given back. */
const CROSSING_MS = 5000;
const IDLE_PER_TICK = 10_000;
const TABLE_NEW_MS = 5000;

/** The part of the lease in which a clerk no longer trusts it: its clock may run slow, and a check takes time to act on. */
export function leaseMarginMs(leaseMs: number): number {
  return Math.min(leaseMs / 4, leaseMs * 0.05 + 50);
}

export class ClerkCore {
  readonly cache = new LockCache();
  readonly groups = new GroupView();
  readonly token: number;
  /** The latest time heard of. */
  nowMs: number;
  /** Lamport clock (rule 2). */
  clock: number;
  fenceEpoch: number;
  leaseMs: number;
  /** Until when its locks are its own, the margin taken off. */
  leaseEndMs: number;
  /** Why it is over. */
  error: SextantError | undefined = undefined;
  waiting = 0;
  readonly #options: ClerkCoreOptions;
  readonly #outbox: ClerkOutbox;
  readonly #faults: ClerkFaults;
  readonly #out: Outgoing;
  readonly #claims: Claims;
  #requests = 0;
  #flushes: FlushTask[] = [];
  #revoked: CachedLock[] = [];
  #rebuilds = new Map<number, number>();
  #retries: CachedLock[] = [];

  constructor(options: ClerkCoreOptions, outbox: ClerkOutbox) {
    this.#options = options;
    this.#outbox = outbox;
    this.#faults = options.faults ?? NO_CLERK_FAULTS;
    this.token = options.token;
    this.clock = options.clock;
    this.fenceEpoch = options.fenceEpoch;
    this.nowMs = options.sentMs;
    this.leaseMs = options.leaseMs;
    this.leaseEndMs = options.sentMs + options.leaseMs - leaseMarginMs(options.leaseMs);
    this.groups.start(options.map);
    this.#out = new Outgoing(this.groups);
    this.#claims = new Claims(options.token, this.#faults.forgetClaim === true);
  }

  // Lease ------------------------------------------------------------------------------------

  /** Rule 6: false from the moment on when another may hold its locks. Hot: called at every acquire. */
  alive(nowMs: number): boolean {
    this.nowMs = nowMs;
    if (this.error !== undefined) return this.#faults.keepAfterLoss === true;
    if (nowMs < this.leaseEndMs || this.#faults.noMargin === true) return true;
    this.lose(new SextantError('LEASE_LOST', `the lease of clerk ${this.token} has ended`));
    return this.#faults.keepAfterLoss === true;
  }

  /** A renewal that was sent at `sentMs` was answered. One that comes after the end is not taken (rule 1). */
  renewed(sentMs: number, leaseMs: number, nowMs: number): void {
    if (!this.alive(nowMs)) return;
    this.leaseMs = leaseMs;
    this.leaseEndMs = Math.max(this.leaseEndMs, sentMs + leaseMs - leaseMarginMs(leaseMs));
  }

  /** Ends the clerk: lease lost or closed. */
  lose(error: SextantError): void {
    if (this.error !== undefined) return;
    this.error = error;
    this.#out.clear();
    this.#flushes = [];
    this.#revoked = [];
    this.#rebuilds.clear();
    this.#retries = [];
    const waiters: Waiter[] = [];
    this.cache.forEach((lock) => {
      for (let waiter = lock.firstWaiter; waiter !== undefined; waiter = waiter.next) {
        waiters.push(waiter);
      }
      lock.firstWaiter = undefined;
      lock.lastWaiter = undefined;
    });
    if (this.#faults.keepAfterLoss !== true) this.cache.clear();
    this.waiting = 0;
    this.#outbox.onLost(error);
    for (const waiter of waiters) {
      waiter.queued = false;
      waiter.settle(error);
    }
  }

  // Users of this process --------------------------------------------------------------------

  addTable(name: string, number: number): CachedTable {
    let table = this.cache.tables.get(number);
    if (table === undefined) {
      table = new CachedTable(name, number, this.nowMs);
      this.cache.tables.set(number, table);
    }
    return table;
  }

  /**
   * The lock, known from now on. Throws OVERLOADED when so many are held that none can go back to make room.
   */
  lockOf(home: CachedTable, idHigh: number, idLow: number, aspect: Aspect): CachedLock {
    if (this.cache.count >= this.#options.locksMax) {
      const oldest = this.cache.free.first;
      if (oldest === undefined && this.cache.count >= this.#options.locksMax + IDLE_PER_TICK) {
        throw new SextantError('OVERLOADED', `${this.cache.count} locks are in use`);
      }
      if (oldest !== undefined) this.#giveBack(oldest, 'evicted');
    }
    return this.cache.add(home, idHigh, idLow, aspect);
  }

  /** Takes a lock into use when it is granted, free for it, and nobody waits before. */
  take(lock: CachedLock, level: Level): boolean {
    if (lock.firstWaiter !== undefined || !lock.admits(level)) return false;
    if (lock.listed === Listed.free) this.cache.free.remove(lock);
    this.#occupy(lock, level);
    return true;
  }

  /** Queues. The waiter may be settled before this returns. */
  wait(waiter: Waiter): void {
    const { lock } = waiter;
    if (this.error !== undefined) {
      waiter.settle(this.error);
      return;
    }
    const busy = lock.firstWaiter !== undefined || lock.revocation !== undefined || lock.used;
    if (waiter.noWait && busy) {
      this.#fail(waiter, new SextantError('CONFLICT', 'the lock is in use in this process'));
      this.cache.place(lock, this.nowMs);
      return;
    }
    if (this.waiting >= this.#options.waitersMax) {
      this.#fail(waiter, new SextantError('OVERLOADED', `${this.waiting} acquires wait`));
      this.cache.place(lock, this.nowMs);
      return;
    }
    this.waiting++;
    lock.enqueue(waiter);
    this.#pump(lock);
  }

  /** Asks for a lock that somebody is about to wait for, so that all of a batch are on their way together. */
  prefetch(lock: CachedLock, level: Level, noWait: boolean): void {
    const { pending } = lock;
    const asked = pending !== undefined && pending.cancelledMs === 0;
    if (this.error !== undefined || asked || lock.firstWaiter !== undefined) return;
    if (lock.level >= level || lock.revocation !== undefined) return;
    this.#request(lock, level, noWait);
    this.cache.place(lock, this.nowMs);
  }

  /** A waiter, or who prefetched, gives up: nothing when it was settled already. */
  cancel(waiter: Waiter, error: SextantError): void {
    if (!waiter.queued) return;
    const { lock } = waiter;
    lock.dequeue(waiter);
    this.waiting--;
    this.#fail(waiter, error);
    this.unwanted(lock);
  }

  /** Nobody may be waiting for this lock any more. */
  unwanted(lock: CachedLock): void {
    if (this.error !== undefined) return;
    const { pending } = lock;
    if (lock.firstWaiter === undefined && pending !== undefined && pending.cancelledMs === 0) {
      if (!pending.sent) {
        lock.pending = undefined;
      } else {
        pending.cancelledMs = this.nowMs;
        this.#out.cancel(lock, pending.request);
        this.#outbox.wake();
      }
    }
    this.#pump(lock);
  }

  /** A user is done with a lock that it had at `level`. */
  done(lock: CachedLock, level: Level): void {
    if (this.error !== undefined) return;
    if (level === Level.exclusive) {
      assert(lock.exclusiveUsed, 'an exclusive lock that ends was in use');
      lock.exclusiveUsed = false;
    } else {
      assert(lock.sharedUsers > 0, 'a shared lock that ends was in use');
      lock.sharedUsers--;
    }
    // Hot: nobody waits for most locks; without the check a sticky acquire and release takes 40% longer.
    if (lock.firstWaiter !== undefined || lock.revocation !== undefined) this.#pump(lock);
    else if (!lock.used) this.cache.place(lock, this.nowMs);
  }

  /** An exclusive user goes on as a shared one. */
  downgrade(lock: CachedLock): void {
    if (this.error !== undefined) return;
    assert(lock.exclusiveUsed, 'only an exclusive lock is downgraded');
    lock.exclusiveUsed = false;
    lock.sharedUsers++;
    this.#pump(lock);
  }

  /** A shared user stops being one and waits for exclusive. */
  upgrade(waiter: Waiter): void {
    waiter.lock.sharedUsers--;
    this.wait(waiter);
  }

  /** Gives a lock that nobody here uses back now; false when it is not free. */
  cede(lock: CachedLock): boolean {
    if (this.error !== undefined || lock.listed !== Listed.free) return false;
    this.#giveBack(lock, 'ceded');
    return true;
  }

  /** The owner has flushed, or failed to, what `outbox.flush` named. */
  flushed(task: FlushTask, ok: boolean): void {
    const { lock, revocation } = task;
    if (this.error !== undefined || lock.revocation !== revocation) return;
    revocation.flushing = false;
    if (!ok) {
      revocation.told = Level.exclusive;
      if (revocation.cause === 'revoked') revocation.failed = true;
      else lock.revocation = undefined;
    }
    this.#pump(lock);
  }

  // What servers say ---------------------------------------------------------------------------

  grants(vector: VectorReader, nowMs: number): void {
    if (!this.#hears(vector, nowMs)) return;
    this.#learnClock(vector.clock);
    this.fenceEpoch = Math.max(this.fenceEpoch, vector.fenceEpoch);
    while (vector.next()) this.#granted(vector.item);
  }

  revokes(vector: VectorReader, nowMs: number): void {
    if (!this.#hears(vector, nowMs)) return;
    while (vector.next()) this.#revoke(vector.item);
  }

  refusals(vector: VectorReader, nowMs: number): void {
    if (!this.#hears(vector, nowMs)) return;
    while (vector.next() && this.error === undefined) this.#refused(vector.item);
  }

  rebuild(request: RebuildRequest, nowMs: number): void {
    if (!this.alive(nowMs) || this.error !== undefined) return;
    const groups = new Set<number>();
    for (const { group, epoch } of request.groups) {
      const before = this.groups.answered(group);
      if (!this.groups.rebuild(request.server, group, epoch)) continue;
      this.#rebuilds.set(group, epoch);
      if (epoch > before) groups.add(group);
    }
    this.#outbox.wake();
    if (groups.size > 0) this.#requestAgain((lock) => groups.has(lock.group));
  }

  /** A newer map of the groups. */
  learnMap(map: GroupMap): void {
    if (this.error !== undefined) return;
    const changed = new Set(this.groups.take(map));
    if (changed.size > 0) this.#requestAgain((lock) => changed.has(lock.group));
  }

  /** A connection was made: what was on the last one may be lost. */
  serverUp(server: string): void {
    if (this.error !== undefined) return;
    this.#requestAgain((lock) => this.groups.owner(lock.group) === server);
  }

  // Time ---------------------------------------------------------------------------------------

  /** A few times a second. */
  tick(nowMs: number): void {
    if (!this.alive(nowMs) || this.error !== undefined) return;
    this.#resend(nowMs);
    for (const lock of this.#retries.splice(0)) {
      if (lock.pending?.cancelledMs === 0) this.#out.request(lock);
    }
    if (this.#out.waiting) this.#outbox.wake();
    const idleS = Math.floor((nowMs - this.#options.idleMs) / 1000);
    for (let n = 0; n < IDLE_PER_TICK; n++) {
      const oldest = this.cache.free.first;
      if (oldest === undefined || oldest.usedS >= idleS) break;
      this.#giveBack(oldest, 'idle');
    }
  }

  /** Starts flushes, then sends what has gathered. */
  drain(nowMs: number, send: SendVector): void {
    if (!this.alive(nowMs) || this.error !== undefined) return;
    this.#startFlushes();
    // An owner may end the clerk while it flushes.
    if (this.errorNow() !== undefined) return;
    if (this.#rebuilds.size > 0) {
      const asked = this.#rebuilds;
      this.#rebuilds = new Map();
      this.#claims.answer(asked, this.cache, this.clock, (group, body) => {
        const owner = this.groups.owner(group);
        if (owner !== null) send(owner, MessageType.claim, body);
      });
    }
    this.#answerRevokes(nowMs);
    const releaseClock = this.#faults.noClockInRelease === true ? 0 : this.clock;
    this.#out.flush(this.token, releaseClock, this.clock, send);
  }

  /** What a callback may have changed meanwhile. */
  errorNow(): SextantError | undefined {
    return this.error;
  }

  // Within -------------------------------------------------------------------------------------

  #hears(vector: VectorReader, nowMs: number): boolean {
    return this.alive(nowMs) && this.error === undefined && vector.token === this.token;
  }

  #learnClock(clock: number): void {
    if (clock > this.clock) this.clock = clock;
  }

  #occupy(lock: CachedLock, level: Level): void {
    if (level === Level.shared) {
      lock.sharedUsers++;
      return;
    }
    lock.exclusiveUsed = true;
    if (lock.firstWaiter !== undefined) lock.interruptUpgrades();
  }

  /** An upgrade that fails goes on sharing what it shared, if nobody was let in meanwhile. */
  #fail(waiter: Waiter, error: SextantError): void {
    if (waiter.upgrade && !waiter.interrupted) {
      waiter.lock.sharedUsers++;
      waiter.resumed = true;
    }
    waiter.settle(error);
  }

  /** Whatever can happen to a lock now happens. */
  #pump(lock: CachedLock): void {
    for (;;) {
      for (
        let waiter = lock.firstWaiter;
        waiter !== undefined && lock.admits(waiter.level);
        waiter = lock.firstWaiter
      ) {
        lock.dequeue(waiter);
        this.waiting--;
        this.#occupy(lock, waiter.level);
        waiter.settle(undefined);
      }
      const { revocation } = lock;
      if (revocation === undefined || !this.#cede(lock, revocation)) break;
    }
    this.#ask(lock);
    this.cache.place(lock, this.nowMs);
  }

  #ask(lock: CachedLock): void {
    const head = lock.firstWaiter;
    if (head === undefined || head.level <= lock.level || lock.revocation !== undefined) return;
    const { pending } = lock;
    if (pending !== undefined && pending.cancelledMs === 0) return;
    this.#request(lock, head.level, head.noWait);
  }

  #request(lock: CachedLock, level: Level, noWait: boolean): void {
    lock.pending = new PendingRequest(++this.#requests, level, noWait, this.nowMs);
    this.#out.request(lock);
    this.#outbox.wake();
  }

  /** Goes on with giving a lock back; true when that is over. */
  #cede(lock: CachedLock, revocation: Revocation): boolean {
    if (revocation.flushing || revocation.failed) return false;
    const { keep } = revocation;
    if (revocation.grant !== lock.grant || lock.level <= keep) {
      lock.revocation = undefined;
      return true;
    }
    if (keep === Level.none ? lock.used : lock.exclusiveUsed) return false;
    if (keep === Level.none) lock.interruptUpgrades();
    if (lock.home.flushes && revocation.told > keep) {
      revocation.told = keep;
      if (revocation.flushMs === 0) revocation.flushMs = this.nowMs;
      this.#flushes.push({ lock, revocation, keep });
      this.#outbox.wake();
      if (this.#faults.releaseBeforeFlush !== true) {
        revocation.flushing = true;
        return false;
      }
    }
    this.#out.release(lock, lock.group, lock.grant, keep, false);
    this.#outbox.wake();
    lock.level = keep;
    if (keep === Level.none) lock.grant = 0;
    lock.revocation = undefined;
    return true;
  }

  #giveBack(lock: CachedLock, cause: RevokeCause): void {
    lock.revocation = new Revocation(Level.none, lock.grant, cause, this.nowMs);
    this.#pump(lock);
  }

  #granted(item: LockItem): void {
    const lock = this.cache.find(item.table, item.idHigh, item.idLow, item.aspect);
    const group = lock?.group ?? groupOf(item.table, item.idHigh, item.idLow);
    if (item.epoch < this.groups.answered(group) && this.#faults.oldGrants !== true) return;
    if (lock !== undefined && lock.pending?.request === item.request) {
      lock.pending = undefined;
      this.#hold(lock, item);
    } else if (lock === undefined || lock.level === Level.none) {
      this.#out.release(item, group, item.grant, Level.none, false);
      this.#outbox.wake();
    } else if (item.grant > lock.grant) {
      this.#hold(lock, item);
    }
  }

  #hold(lock: CachedLock, item: LockItem): void {
    if (item.level > lock.level) lock.level = item.level;
    lock.grant = item.grant;
    // A revoke of the grant before this one is over; a flush under way ends by itself.
    if (lock.revocation?.flushing === false) lock.revocation = undefined;
    this.#pump(lock);
  }

  #revoke(item: LockItem): void {
    const lock = this.cache.find(item.table, item.idHigh, item.idLow, item.aspect);
    const group = lock?.group ?? groupOf(item.table, item.idHigh, item.idLow);
    if (item.epoch < this.groups.answered(group)) return;
    if (lock === undefined || item.grant !== lock.grant) this.#outrun(lock, group, item);
    if (lock === undefined || item.grant !== lock.grant) return;
    if (lock.level <= item.level) {
      this.#out.release(lock, group, lock.grant, lock.level, false);
      this.#outbox.wake();
      return;
    }
    let { revocation } = lock;
    if (revocation === undefined || revocation.grant !== lock.grant) {
      revocation = new Revocation(item.level, lock.grant, 'revoked', this.nowMs);
      lock.revocation = revocation;
    }
    revocation.keep = Math.min(revocation.keep, item.level) as Level;
    revocation.failed = false;
    revocation.unanswered = true;
    this.#revoked.push(lock);
    this.#outbox.wake();
    if (lock.used) this.#outbox.revoking(lock);
    this.#pump(lock);
  }

  /**
   * A revoke of another grant than the one held. An older one went back before. A newer one has overtaken its GRANT, which
   * is not to be taken any more: what is held counts for it from now on, and the request is made anew.
   */
  #outrun(lock: CachedLock | undefined, group: number, item: LockItem): void {
    if (lock !== undefined && lock.level > Level.none && item.grant > lock.grant) {
      lock.grant = item.grant;
    } else {
      this.#out.release(item, group, item.grant, Level.none, false);
      this.#outbox.wake();
    }
    const pending = lock?.pending;
    if (lock === undefined || pending === undefined || item.grant < lock.grant) return;
    lock.pending = undefined;
    if (pending.cancelledMs === 0) this.#request(lock, pending.level, pending.noWait);
    this.cache.place(lock, this.nowMs);
  }

  #refused(item: LockItem): void {
    const lock = this.cache.find(item.table, item.idHigh, item.idLow, item.aspect);
    const pending = lock?.pending;
    if (lock === undefined || pending === undefined || pending.request !== item.request) return;
    if (pending.cancelledMs > 0) {
      lock.pending = undefined;
      this.#pump(lock);
      return;
    }
    switch (item.why) {
      case RefuseCode.wrongGroup:
        this.#outbox.mapStale();
        this.#retryLater(lock);
        return;
      case RefuseCode.notReady:
        this.#retryLater(lock);
        return;
      case RefuseCode.fenced:
        this.lose(
          new SextantError('LEASE_LOST', `clerk ${this.token} is over, a lock server says`),
        );
        return;
      case RefuseCode.conflict:
        this.#failHead(lock, 'CONFLICT', 'another clerk holds the lock', true);
        return;
      case RefuseCode.unknownTable:
        // A server may hear of a new table after its opener.
        if (this.nowMs - lock.home.sinceMs < TABLE_NEW_MS) this.#retryLater(lock);
        else this.#failHead(lock, 'UNKNOWN_TABLE', `no lock table ${lock.home.name}`, false);
        return;
      case RefuseCode.overloaded:
        this.#failHead(lock, 'OVERLOADED', 'too many requests wait at the lock server', false);
        return;
      case RefuseCode.malformed:
        this.#failHead(lock, 'PROTOCOL', 'the lock server does not understand', false);
        return;
      default:
        unreachable(item.why);
    }
  }

  #failHead(lock: CachedLock, code: ErrorCode, message: string, noWaitOnly: boolean): void {
    lock.pending = undefined;
    const head = lock.firstWaiter;
    if (head !== undefined && (head.noWait || !noWaitOnly)) {
      lock.dequeue(head);
      this.waiting--;
      this.#fail(head, new SextantError(code, message));
    }
    this.#pump(lock);
  }

  #retryLater(lock: CachedLock): void {
    this.#retries.push(lock);
    this.#outbox.retryIn(RETRY_MS);
  }

  #requestAgain(which: (lock: CachedLock) => boolean): void {
    const { requesting } = this.cache;
    for (let lock = requesting.first; lock !== undefined; lock = lock.after) {
      if (lock.pending === undefined || lock.pending.cancelledMs > 0 || !which(lock)) continue;
      lock.pending.queued = false;
      this.#out.request(lock);
    }
    this.#outbox.wake();
  }

  #resend(nowMs: number): void {
    const { requesting } = this.cache;
    for (let n = requesting.count; n > 0; n--) {
      const lock = requesting.first;
      const pending = lock?.pending;
      if (lock === undefined || pending === undefined) return;
      if (nowMs - pending.sentMs < RESEND_MS) return;
      requesting.remove(lock);
      pending.sentMs = nowMs;
      pending.dueCount++;
      if (pending.cancelledMs > 0) {
        if (nowMs - pending.cancelledMs > CROSSING_MS) lock.pending = undefined;
        else this.#out.cancel(lock, pending.request);
      } else if (isDue(pending.dueCount)) {
        this.#out.request(lock);
      }
      this.cache.place(lock, nowMs);
      this.#outbox.wake();
    }
  }

  /** Also of what an owner cedes while it flushes, so that all of it goes back in one message (rule 8). */
  #startFlushes(): void {
    while (this.#flushes.length > 0) {
      const byTable = new Map<CachedTable, FlushTask[]>();
      for (const task of this.#flushes.splice(0)) {
        const { home } = task.lock;
        const list = byTable.get(home);
        if (list === undefined) byTable.set(home, [task]);
        else list.push(task);
      }
      for (const [table, list] of byTable) this.#outbox.flush(table, list);
    }
  }

  /** "In use": to every revoke of this turn that was not followed by its release. */
  #answerRevokes(nowMs: number): void {
    if (this.#revoked.length === 0) return;
    const revoked = this.#revoked;
    this.#revoked = [];
    for (const lock of revoked) {
      const { revocation } = lock;
      if (revocation === undefined || !revocation.unanswered) continue;
      revocation.unanswered = false;
      // An owner that does not come to an end is left to the service, which ends the lease.
      const { flushMs } = revocation;
      if (flushMs > 0 && nowMs - flushMs > this.#options.flushDeadlineMs) continue;
      this.#out.release(lock, lock.group, lock.grant, lock.level, true);
    }
  }
}

/** 1, 2, 4, 8, then every eighth time. */
function isDue(count: number): boolean {
  return count % RESEND_EVERY_MAX === 0 || (count & (count - 1)) === 0;
}
