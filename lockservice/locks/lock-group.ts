/**
 * One lock group that this server owns: who holds each of its locks, who waits, what was revoked.
 *
 * ```
 *   gain --> rebuilding --every live clerk has claimed, or is no longer live--> open --> lost
 *            requests queue                                                      requests are granted
 *
 *   request --> repeated?            --> the same grant again
 *               nobody in the way?   --> GRANT with the next number
 *               else                 --> queue; REVOKE to the holders in the way of the head, again until answered
 *   release --> not of the newest grant of that clerk, or of another epoch? --> ignored (rule 4)
 *               else                 --> holder lowered or gone; the head of the queue, and what goes with it, is granted
 * ```
 *
 * - LOCK-1 A grant conflicts with no other holder; of clerks that claimed conflicting locks both are kept as holders.
 * - LOCK-3 (rule 5) Nothing is granted while a live clerk has not claimed; while a clerk that did not claim is dead and not
 *   recovered, a lock without holders counts as its, exclusively.
 * - LOCK-4 (rule 4) A release or revoke acts on the grant that it names and on no later one; numbers only grow.
 * - LOCK-5 The queue of a lock is served in order of arrival: a shared request behind a waiting exclusive one waits, even if
 *   it would go with the holders. Nobody starves.
 * - LOCK-6 (rule 7) A shared lock becomes exclusive only by a grant that waits its turn; meanwhile it may be revoked.
 */
import { assert } from '#core/assert.js';
import { LockItem } from '../protocol/lock-vectors.js';
import { Level, RefuseCode } from '../protocol/messages.js';
import type {
  CancelItem,
  ClaimHeader,
  ClaimItem,
  GrantItem,
  RefuseItem,
  ReleaseItem,
  RequestItem,
  RevokeItem,
} from '../protocol/messages.js';
import type { ClerkEntry, ClerkTable } from './clerk-table.js';
import { Contention, Waiter } from './contention.js';
import type { Revoke } from './contention.js';
import type { LockFaults } from './faults.js';
import type { HotLocks } from './hot-locks.js';
import { LockTable, NONE } from './lock-table.js';

const TWO_32 = 0x1_0000_0000;
const SINCE_UNIT_MS = 100;
const EXPEL_AGAIN_MS = 1000;

/**
 * Where effects go. `item` is overwritten by the next one: copy or encode it. What goes to one clerk at a time is sent grants
 * first: a lock can be granted and revoked in one step.
 */
export interface LockOutbox {
  grant(token: number, item: GrantItem): void;
  revoke(token: number, item: RevokeItem): void;
  refuse(token: number, item: RefuseItem): void;
  rebuild(token: number, group: number, epoch: number): void;
  /** The clerk broke the protocol or does not answer: the leader is to let its lease end. */
  expel(token: number, why: string): void;
}

/** What the groups of one server share. */
export interface GroupContext {
  readonly outbox: LockOutbox;
  readonly faults: LockFaults;
  readonly clerks: ClerkTable;
  readonly hot: HotLocks;
  /** False: the server's own lease is over or in doubt; nothing is granted. */
  serving: boolean;
  /** Requests that wait, in all groups. */
  waiting: number;
  readonly waitingMax: number;
  readonly waitingOfClerkMax: number;
  readonly revokeResendMs: number;
  readonly revokeDeadlineMs: (token: number) => number;
}

/** How far the answer of a clerk to a rebuild has come. */
class ClaimProgress {
  attempt = NONE;
  nextPart = 0;
}

export class LockGroup {
  readonly group: number;
  readonly epoch: number;
  readonly #context: GroupContext;
  #table = new LockTable();
  readonly #contended = new Map<number, Contention>();
  readonly #awaiting = new Map<number, ClaimProgress>();
  readonly #unrecovered: Set<number>;
  #nextGrant: number;
  readonly #out = new LockItem();

  constructor(
    context: GroupContext,
    group: number,
    epoch: number,
    live: readonly number[],
    unrecovered: readonly number[],
  ) {
    this.#context = context;
    this.group = group;
    this.epoch = epoch;
    this.#nextGrant = epoch * TWO_32 + 1;
    for (const token of live) this.#awaiting.set(token, new ClaimProgress());
    this.#unrecovered = new Set(context.faults.freeDeadLocks === true ? [] : unrecovered);
  }

  get table(): LockTable {
    return this.#table;
  }

  get contended(): ReadonlyMap<number, Contention> {
    return this.#contended;
  }

  get rebuilding(): boolean {
    return this.#awaiting.size > 0;
  }

  /** Clerks that have not claimed yet. */
  get awaiting(): IterableIterator<number> {
    return this.#awaiting.keys();
  }

  /** A dead clerk may hold what nobody claimed (LOCK-3). */
  get shadowed(): boolean {
    return this.#unrecovered.size > 0;
  }

  /** It may grant: rebuilt, and served under a lease of the server. */
  get open(): boolean {
    if (!this.#context.serving) return false;
    return this.#awaiting.size === 0 || this.#context.faults.grantDuringRebuild === true;
  }

  request(clerk: ClerkEntry, item: RequestItem, nowMs: number): void {
    const table = this.#table;
    const lock = table.findOrAdd(item.table, item.idHigh, item.idLow, item.aspect);
    const holder = table.holderOf(lock, clerk.slot);
    if (holder !== NONE && this.#repeated(lock, holder, clerk, item)) return;
    const passes = this.#context.faults.starveWriters === true && item.level === Level.shared;
    if ((!table.contended(lock) || passes) && this.#grantable(lock, clerk.slot, item.level)) {
      this.#grant(lock, holder, clerk, item.level, item.request, nowMs);
      return;
    }
    this.#enqueue(lock, clerk, item, nowMs);
  }

  /** False: it names a grant that is not the clerk's newest, and changed nothing (LOCK-4). */
  release(clerk: ClerkEntry, item: ReleaseItem, nowMs: number): boolean {
    const table = this.#table;
    const lock = table.find(item.table, item.idHigh, item.idLow, item.aspect);
    const holder = lock === NONE ? NONE : table.holderOf(lock, clerk.slot);
    if (holder === NONE) return false;
    const named = table.grant[holder] === item.grant || this.#context.faults.noSequence === true;
    if (!named || item.level > table.level[holder]) return false;
    if (item.level === Level.none) table.removeHolder(lock, holder);
    else table.level[holder] = item.level;
    if (!table.contended(lock)) {
      table.removeIfUnused(lock);
      return true;
    }
    const contention = this.#contentionOf(lock);
    const revoke = contention.revokeOf(clerk);
    if (revoke !== undefined) {
      if (item.level <= revoke.level) contention.forgetRevoke(clerk);
      revoke.answeredAtMs = nowMs;
      revoke.keeps = item.keeps;
    }
    this.#pump(contention, nowMs);
    return true;
  }

  cancel(clerk: ClerkEntry, item: CancelItem, nowMs: number): void {
    const lock = this.#table.find(item.table, item.idHigh, item.idLow, item.aspect);
    const contention = lock === NONE ? undefined : this.#contended.get(lock);
    const waiter = contention?.waiterOf(clerk);
    if (contention === undefined || waiter === undefined) return;
    if (waiter.request !== item.request) return;
    this.#leave(contention, waiter);
    this.#pump(contention, nowMs);
  }

  /** Whether this part is taken: it follows what the same attempt has brought (a part 0 starts over). */
  beginClaim(clerk: ClerkEntry, header: ClaimHeader): boolean {
    const progress = this.#awaiting.get(clerk.token);
    if (progress === undefined) return false;
    const mixed = this.#context.faults.mixedAttempts === true && progress.attempt !== NONE;
    if (progress.attempt === header.attempt || mixed) return header.part === progress.nextPart;
    if (header.part !== 0) return false;
    if (progress.nextPart > 0) this.#dropHolders(clerk);
    progress.attempt = header.attempt;
    progress.nextPart = 0;
    return true;
  }

  /** One lock of a part that `beginClaim` has let in. */
  claim(clerk: ClerkEntry, item: ClaimItem, nowMs: number): void {
    if (this.#context.faults.claimsIgnored === true) return;
    if (item.grant >= TWO_32 && item.grant < (this.epoch + 1) * TWO_32) {
      this.#nextGrant = Math.max(this.#nextGrant, item.grant + 1);
    } else {
      this.expel(clerk, `claims grant ${item.grant}, which group ${this.group} never gave`, nowMs);
    }
    const table = this.#table;
    const lock = table.findOrAdd(item.table, item.idHigh, item.idLow, item.aspect);
    for (let at = table.firstHolder(lock); at !== NONE; at = table.nextHolder(at)) {
      if (table.clerk[at] === clerk.slot || !conflict(table.level[at], item.level)) continue;
      const other = this.#context.clerks.at(table.clerk[at]);
      const older = table.grant[at] < item.grant ? other : clerk;
      this.expel(
        older,
        `claims a lock that clerk ${other === older ? clerk.token : other.token} claims`,
        nowMs,
      );
    }
    let holder = table.holderOf(lock, clerk.slot);
    if (holder === NONE) {
      holder = table.addHolder(lock, clerk.slot);
      table.level[holder] = item.level;
      table.grant[holder] = item.grant;
    } else {
      table.level[holder] = Math.max(table.level[holder], item.level);
      table.grant[holder] = Math.max(table.grant[holder], item.grant);
    }
    table.claimed[holder] = 1;
    table.request[holder] = 0;
    table.since[holder] = Math.floor(nowMs / SINCE_UNIT_MS);
  }

  /** After the items of a part. True: this was the last thing that the rebuild waited for. */
  endClaim(clerk: ClerkEntry, last: boolean, nowMs: number): boolean {
    const progress = this.#awaiting.get(clerk.token);
    assert(progress !== undefined, 'a claim ends that has begun');
    progress.nextPart++;
    return last && this.#answered(clerk, nowMs);
  }

  /** Its lease has ended. True: a rebuild is over with it. */
  clerkExpired(clerk: ClerkEntry, nowMs: number): boolean {
    this.#withdraw(clerk, nowMs);
    if (this.#context.faults.freeDeadLocks === true) this.#dropHolders(clerk, nowMs);
    else if (this.#awaiting.has(clerk.token)) this.#unrecovered.add(clerk.token);
    return this.#answered(clerk, nowMs);
  }

  /** Recovered or closed: nothing is held by it any more. True: the group opens by it, or a shadow goes. */
  clerkRecovered(clerk: ClerkEntry, nowMs: number): boolean {
    this.#withdraw(clerk, nowMs);
    this.#dropHolders(clerk, nowMs);
    const lifted = this.#unrecovered.delete(clerk.token) && this.#unrecovered.size === 0;
    if (lifted && this.open) this.pumpAll(nowMs);
    return this.#answered(clerk, nowMs) || lifted;
  }

  /** The group goes to another server: who waits must ask there. */
  lose(): void {
    for (const contention of this.#contended.values()) {
      while (contention.head !== undefined) {
        const waiter = contention.head;
        this.#leave(contention, waiter);
        this.#refuse(contention.lock, waiter, RefuseCode.wrongGroup);
      }
    }
    this.#contended.clear();
  }

  /** Grants what can be granted, after the group or the server opened. */
  pumpAll(nowMs: number): void {
    for (const contention of this.#contended.values()) this.#pump(contention, nowMs);
  }

  /** Sends again what was not answered; asks to expel who has not answered for too long. */
  resend(nowMs: number): void {
    const { revokeResendMs, revokeDeadlineMs } = this.#context;
    for (const contention of this.#contended.values()) {
      for (const revoke of contention.revokes) {
        const { clerk } = revoke;
        const silentMs = nowMs - Math.max(revoke.firstAtMs, revoke.answeredAtMs);
        if (silentMs > revokeDeadlineMs(clerk.token)) {
          this.expel(clerk, `no answer to a revoke for ${Math.round(silentMs)} ms`, nowMs);
        }
        if (nowMs - revoke.sentAtMs >= revokeResendMs) this.#send(contention.lock, revoke, nowMs);
      }
    }
  }

  /** Asks for it at most once a second: the leader may not have heard. */
  expel(clerk: ClerkEntry, why: string, nowMs: number): void {
    expelClerk(this.#context.outbox, clerk, why, nowMs);
  }

  /** The revokes of one clerk again, at once: it is connected anew. */
  remind(clerk: ClerkEntry, nowMs: number): void {
    for (const contention of this.#contended.values()) {
      const revoke = contention.revokeOf(clerk);
      if (revoke !== undefined) this.#send(contention.lock, revoke, nowMs);
    }
  }

  /** Gives memory back when most of the table is empty. */
  shrink(): void {
    if (!this.#table.wasteful) return;
    const moved: Contention[] = [];
    this.#table = this.#table.shrink((from, to) => {
      const contention = this.#contentionOf(from);
      this.#contended.delete(from);
      contention.lock = to;
      moved.push(contention);
    });
    for (const contention of moved) this.#contended.set(contention.lock, contention);
  }

  /** Whole-structure check, for tests: LOCK-1, LOCK-5, TABLE-1. */
  check(claimsContradict = false): void {
    const table = this.#table;
    for (let lock = 0; lock < table.end; lock++) {
      if (!table.used(lock)) continue;
      assert(table.contended(lock) === this.#contended.has(lock), 'contended locks have a queue');
      const first = table.firstHolder(lock);
      assert(first !== NONE || table.contended(lock), 'TABLE-1: nothing unused stays');
      for (let at = first; at !== NONE; at = table.nextHolder(at)) {
        for (let to = table.nextHolder(at); to !== NONE; to = table.nextHolder(to)) {
          assert(table.clerk[at] !== table.clerk[to], 'TABLE-2: a clerk holds once');
          const ok = claimsContradict || !conflict(table.level[at], table.level[to]);
          assert(ok, 'LOCK-1: holders do not conflict');
        }
      }
    }
    for (const [lock, contention] of this.#contended) {
      const { head } = contention;
      assert(contention.lock === lock && head !== undefined, 'a queue is not empty');
      const stuck = !this.open || !this.#grantable(lock, head.clerk.slot, head.level);
      assert(stuck, 'LOCK-5: a head that can be granted is granted');
    }
  }

  #contentionOf(lock: number): Contention {
    const contention = this.#contended.get(lock);
    assert(contention !== undefined, 'a contended lock has a queue');
    return contention;
  }

  /**
   * True: nothing more to do with this request. The same request again is answered with the same grant, an older one is a
   * straggler. A newer one says that the clerk gave up what it held, or wants more: it gets a new number, so that a release
   * still on its way cannot undo the new grant.
   */
  #repeated(lock: number, holder: number, clerk: ClerkEntry, item: RequestItem): boolean {
    const table = this.#table;
    if (table.claimed[holder] === 1) return false;
    const age = (item.request - table.request[holder]) | 0;
    if (age < 0) return true;
    if (age > 0 || table.level[holder] < item.level) return false;
    const out = this.#name(lock);
    out.level = table.level[holder] as Level;
    out.request = item.request;
    out.grant = table.grant[holder];
    this.#context.outbox.grant(clerk.token, out);
    return true;
  }

  #grantable(lock: number, slot: number, level: number): boolean {
    if (!this.open) return false;
    const table = this.#table;
    const first = table.firstHolder(lock);
    if (this.#unrecovered.size > 0 && !this.#outlivesShadow(lock, slot, level)) return false;
    for (let at = first; at !== NONE; at = table.nextHolder(at)) {
      if (table.clerk[at] !== slot && conflict(table.level[at], level)) return false;
    }
    return true;
  }

  /**
   * A dead clerk that never claimed may hold every lock that no live one claimed, and beside shared holders a shared lock: so
   * there nobody becomes exclusive.
   */
  #outlivesShadow(lock: number, slot: number, level: number): boolean {
    const table = this.#table;
    if (table.firstHolder(lock) === NONE) return false;
    if (level !== Level.exclusive) return true;
    const own = table.holderOf(lock, slot);
    return own !== NONE && table.level[own] === Level.exclusive;
  }

  #grant(
    lock: number,
    known: number,
    clerk: ClerkEntry,
    level: Level,
    request: number,
    nowMs: number,
  ): void {
    const table = this.#table;
    const holder = known === NONE ? table.addHolder(lock, clerk.slot) : known;
    // What the clerk held may be more than it asks for now: the new number covers it all.
    const held = known === NONE ? level : (Math.max(level, table.level[holder]) as Level);
    const grant = this.#nextGrant++;
    table.level[holder] = held;
    table.claimed[holder] = 0;
    table.grant[holder] = grant;
    table.request[holder] = request >>> 0;
    table.since[holder] = Math.floor(nowMs / SINCE_UNIT_MS);
    const out = this.#name(lock);
    out.level = held;
    out.request = request;
    out.grant = grant;
    this.#context.outbox.grant(clerk.token, out);
  }

  #enqueue(lock: number, clerk: ClerkEntry, item: RequestItem, nowMs: number): void {
    const context = this.#context;
    let contention = this.#contended.get(lock);
    const earlier = contention?.waiterOf(clerk);
    if (contention !== undefined && earlier !== undefined) {
      if (item.request < earlier.request) return;
      earlier.request = item.request;
      earlier.level = item.level;
      earlier.noWait = item.noWait;
      this.#pump(contention, nowMs);
      return;
    }
    const waiter = new Waiter(clerk, item.request, item.level, item.noWait, nowMs);
    if (context.waiting >= context.waitingMax || clerk.waiting >= context.waitingOfClerkMax) {
      this.#refuse(lock, waiter, RefuseCode.overloaded);
      this.#table.removeIfUnused(lock);
      return;
    }
    if (contention === undefined) {
      contention = new Contention(lock);
      this.#contended.set(lock, contention);
      this.#table.setContended(lock, true);
    }
    contention.append(waiter);
    context.waiting++;
    clerk.waiting++;
    const { table, idHigh, idLow, aspect } = item;
    context.hot.waited(this.group, table, idHigh, idLow, aspect, nowMs);
    if (contention.head === waiter || waiter.noWait) this.#pump(contention, nowMs);
  }

  #leave(contention: Contention, waiter: Waiter): void {
    contention.remove(waiter);
    waiter.clerk.waiting--;
    this.#context.waiting--;
  }

  /** Grants the head of the queue and what goes with it; revokes what is in the way of the next. */
  #pump(contention: Contention, nowMs: number): void {
    const { lock } = contention;
    const table = this.#table;
    if (this.open) {
      for (let head = contention.head; head !== undefined; head = contention.head) {
        const { clerk } = head;
        if (!this.#grantable(lock, clerk.slot, head.level)) {
          if (!this.#blocked(contention, head, nowMs)) break;
          continue;
        }
        this.#leave(contention, head);
        contention.forgetRevoke(clerk);
        const holder = table.holderOf(lock, clerk.slot);
        this.#grant(lock, holder, clerk, head.level, head.request, nowMs);
      }
    }
    if (contention.head !== undefined) return;
    this.#contended.delete(lock);
    table.setContended(lock, false);
    table.removeIfUnused(lock);
  }

  /**
   * Asks the holders in the way of the head to give way. When one of them holds on, or is dead, those who do not want to
   * wait are refused. True: the head was one of them.
   */
  #blocked(contention: Contention, head: Waiter, nowMs: number): boolean {
    const table = this.#table;
    const { lock } = contention;
    const level = head.level === Level.exclusive ? Level.none : Level.shared;
    const shadowed = this.#unrecovered.size > 0;
    let stuck =
      table.firstHolder(lock) === NONE ||
      (shadowed && !this.#outlivesShadow(lock, head.clerk.slot, head.level));
    for (let at = table.firstHolder(lock); at !== NONE; at = table.nextHolder(at)) {
      const clerk = this.#context.clerks.at(table.clerk[at]);
      if (clerk === head.clerk || !conflict(table.level[at], head.level)) continue;
      if (!clerk.live) {
        stuck = true;
        continue;
      }
      let revoke = contention.revokeOf(clerk);
      if (revoke === undefined) {
        revoke = {
          clerk,
          grant: table.grant[at],
          level,
          firstAtMs: nowMs,
          sentAtMs: nowMs,
          answeredAtMs: nowMs,
          keeps: false,
        };
        contention.revokes.push(revoke);
        this.#send(lock, revoke, nowMs);
      } else if (revoke.level > level) {
        revoke.level = level;
        this.#send(lock, revoke, nowMs);
      }
      if (revoke.keeps) stuck = true;
    }
    return stuck && this.#refuseImpatient(contention, head);
  }

  #refuseImpatient(contention: Contention, head: Waiter): boolean {
    for (let waiter: Waiter | undefined = contention.head; waiter !== undefined;) {
      const { next } = waiter as Waiter;
      if (waiter.noWait) {
        this.#leave(contention, waiter);
        this.#refuse(contention.lock, waiter, RefuseCode.conflict);
      }
      waiter = next;
    }
    return contention.head !== head;
  }

  #send(lock: number, revoke: Revoke, nowMs: number): void {
    revoke.sentAtMs = nowMs;
    const out = this.#name(lock);
    out.level = revoke.level;
    out.grant = revoke.grant;
    this.#context.outbox.revoke(revoke.clerk.token, out);
  }

  #refuse(lock: number, waiter: Waiter, why: RefuseCode): void {
    const out = this.#name(lock);
    out.request = waiter.request;
    out.why = why;
    this.#context.outbox.refuse(waiter.clerk.token, out);
  }

  /** The one outgoing item, filled with the name of a lock. */
  #name(lock: number): LockItem {
    const table = this.#table;
    const out = this.#out;
    out.table = table.table[lock];
    out.idHigh = table.idHigh[lock];
    out.idLow = table.idLow[lock];
    out.aspect = table.aspect(lock) === 1 ? 1 : 0;
    out.epoch = this.epoch;
    return out;
  }

  /** A rebuild waits no longer for this clerk. True: nor for anybody else. */
  #answered(clerk: ClerkEntry, nowMs: number): boolean {
    if (!this.#awaiting.delete(clerk.token) || this.#awaiting.size > 0) return false;
    this.pumpAll(nowMs);
    return true;
  }

  /** Takes the requests of a clerk away, and what was revoked of it. */
  #withdraw(clerk: ClerkEntry, nowMs: number): void {
    for (const contention of this.#contended.values()) {
      const waiter = contention.waiterOf(clerk);
      const revoke = contention.revokeOf(clerk);
      if (waiter === undefined && revoke === undefined) continue;
      if (waiter !== undefined) this.#leave(contention, waiter);
      contention.forgetRevoke(clerk);
      this.#pump(contention, nowMs);
    }
  }

  /** Takes the locks of a clerk away; with a time, those who waited get them. */
  #dropHolders(clerk: ClerkEntry, nowMs?: number): void {
    const table = this.#table;
    for (let lock = 0; lock < table.end; lock++) {
      if (!table.used(lock)) continue;
      const holder = table.holderOf(lock, clerk.slot);
      if (holder === NONE) continue;
      table.removeHolder(lock, holder);
      const contention = this.#contended.get(lock);
      if (contention === undefined) table.removeIfUnused(lock);
      else if (nowMs !== undefined) this.#pump(contention, nowMs);
    }
  }
}

/** At most once a second: the leader may not have heard. */
export function expelClerk(
  outbox: LockOutbox,
  clerk: ClerkEntry,
  why: string,
  nowMs: number,
): void {
  if (nowMs - clerk.expelledAtMs < EXPEL_AGAIN_MS) return;
  clerk.expelledAtMs = nowMs;
  outbox.expel(clerk.token, why);
}

function conflict(a: number, b: number): boolean {
  return a === Level.exclusive || b === Level.exclusive;
}
