/**
 * What every lock server does, leader or not: it serves the groups that are its own while its lease runs.
 *
 * ```
 *   applied state --> sync --> core: clerks, groups gained and lost --> GAVE_UP
 *   vectors of clerks --> core --> mail, one vector of each kind a clerk and turn
 *   SERVER_BEAT to the leader --> own lease --> core serves, or pauses
 * ```
 *
 * - LOCK-10 Nothing is granted when the server's own lease, counted from when the beat was sent, is over (rule 4).
 */
import { SextantError, isSextantError } from '#core/errors.js';
import type { RpcPeer } from '#core/rpc/server.js';
import type { World } from '#core/world/world.js';
import { LockServerCore } from '../locks/lock-server-core.js';
import { rangeAnswer } from '../protocol/control-codec.js';
import { VectorReader, VectorWriter } from '../protocol/lock-vectors.js';
import { MessageType, RefuseCode } from '../protocol/messages.js';
import type * as M from '../protocol/messages.js';
import type { Changes, ServiceState } from '../state/service-state.js';
import { ClerkLinks } from './clerk-links.js';
import type { ServerFaults } from './faults.js';
import { LEASE_MS, SERVER_LEASE_MS } from './options.js';
import type { LockServerOptions } from './options.js';

/** Of its own lease: not trusted. The leader waits for more than that on its side. */
const MARGIN = 0.05;
export const BEATS_PER_LEASE = 4;
const RETRY_MS = 100;
const BUSY_TICK_MS = 100;
const EXPEL_AGAIN_MS = 1000;
const LEAVE_POLL_MS = 10;

/** Calls to the leader, wherever it is. */
export interface LeaderCalls {
  serverBeat(request: M.ServerBeatRequest): Promise<M.ServerBeatAnswer>;
  gaveUp(request: M.GaveUpRequest): Promise<void>;
  expel(request: M.ExpelRequest): Promise<void>;
}

export interface DeskHost {
  readonly world: World;
  readonly options: LockServerOptions;
  readonly state: ServiceState;
  readonly faults: ServerFaults;
  readonly incarnation: string;
  readonly calls: LeaderCalls;
  address(): string;
  /** Of the Raft log, here. */
  appliedIndex(): number;
  readonly closed: boolean;
}

interface RangeWait {
  resolve(answer: Uint8Array): void;
  reject(error: Error): void;
}

const waitKey = (token: number, request: number): string => `${token}/${request}`;

export class LockDesk {
  readonly core: LockServerCore;
  readonly links: ClerkLinks;
  /** Groups that it serves, with their epochs. */
  readonly serving = new Map<number, number>();
  /** On its own clock; LOCK-10. */
  leaseUntilMs = -Infinity;
  onGroups: (changed: readonly number[]) => void = () => undefined;
  /** Leases that wait until this server has applied what the leader knew. */
  #offers: { readonly untilMs: number; readonly index: number }[] = [];
  readonly #host: DeskHost;
  /** What the core was told of each clerk. */
  readonly #told = new Map<number, 'live' | 'dead'>();
  /** Calls that wait for their range, by clerk and request. */
  readonly #rangeWaits = new Map<string, RangeWait>();
  readonly #toGiveUp = new Map<number, number>();
  readonly #toExpel = new Map<number, { why: string; againAtMs: number }>();
  readonly #reader = new VectorReader();
  readonly #refusals = new VectorWriter(MessageType.refuse);
  readonly #beatMs: number;
  #givingUp = false;
  #beating = false;
  #left = false;
  #nextBeatMs = 0;

  constructor(host: DeskHost) {
    this.#host = host;
    const { options, state, world } = host;
    this.#beatMs = (options.serverLeaseMs ?? SERVER_LEASE_MS) / BEATS_PER_LEASE;
    this.links = new ClerkLinks(world, {
      server: options.id,
      clock: () => this.core.clock,
      fenceEpoch: () => state.clerks.fenceEpoch,
      mayGrant: () => this.mayServe(),
    });
    const { links } = this;
    this.core = new LockServerCore({
      server: options.id,
      outbox: {
        grant: (token, item) => links.grant(token, item),
        revoke: (token, item) => links.revoke(token, item),
        refuse: (token, item) => links.refuse(token, item),
        rebuild: (token, group, epoch) => links.rebuild(token, group, epoch),
        expel: (token, why) => this.#expel(token, why),
      },
      ranges: {
        answer: (token, request, answer) => this.#rangeAnswered(token, request, answer),
        fail: (token, request, error) => this.#rangeDone(token, request)?.reject(error),
      },
      ...(options.waitingMax === undefined ? {} : { maxWaiting: options.waitingMax }),
      ...(options.revokeResendMs === undefined ? {} : { revokeResendMs: options.revokeResendMs }),
      revokeDeadlineMs: (token) =>
        options.revokeDeadlineMs ?? state.clerk(token)?.leaseMs ?? options.leaseMs ?? LEASE_MS,
      knowsTable: (table) => state.tableName(table) !== undefined,
      ...(host.faults.locks === undefined ? {} : { faults: host.faults.locks }),
    });
    this.core.pause();
  }

  /** LOCK-10; to be asked before each step of the core, which then knows it too. */
  mayServe(): boolean {
    if (this.#left) return false;
    if (this.#host.faults.serveWithoutLease === true) return true;
    if (this.#offers.length > 0) this.#takeOffers();
    return this.#now() < this.leaseUntilMs;
  }

  /** A lease says nothing about groups that went to others before it was given and are still thought to be its own here. */
  #takeOffers(): void {
    const applied = this.#host.appliedIndex();
    const now = this.#now();
    this.#offers = this.#offers.filter(({ untilMs, index }) => {
      if (index > applied) return untilMs > now;
      this.leaseUntilMs = Math.max(this.leaseUntilMs, untilMs);
      return false;
    });
  }

  // -- messages of clerks -----------------------------------------------------------------------------

  /** Throws PROTOCOL for what is no vector. `token`: of the connection. */
  vector(peer: RpcPeer, token: number, type: number, body: Uint8Array): boolean {
    const reader = this.#reader;
    switch (type) {
      case MessageType.request:
        reader.open(type, body);
        this.#requests(peer, token);
        return true;
      case MessageType.release: {
        const now = this.#step();
        reader.open(type, body);
        if (reader.token === token) {
          while (reader.next()) this.core.release(token, reader.clock, reader.item, now);
        }
        return true;
      }
      case MessageType.cancel: {
        const now = this.#step();
        reader.open(type, body);
        if (reader.token !== token) return true;
        while (reader.next()) this.core.cancel(token, reader.item, now);
        return true;
      }
      case MessageType.claim: {
        const now = this.#step();
        reader.open(type, body);
        if (reader.token === token) this.core.claim(reader, now);
        return true;
      }
      default:
        return false;
    }
  }

  /**
   * Answers when the range is granted or refused, or the wait is ended by a CANCEL request; the answer to a call that its
   * caller gave up is kept by the core. Throws what the core throws, and NOT_READY without a lease.
   */
  range(token: number, request: M.RangeRequest): Uint8Array | Promise<Uint8Array> {
    if (request.token !== token) {
      throw new SextantError(
        'FENCED',
        `this connection is of clerk ${token}, not ${request.token}`,
      );
    }
    const now = this.#step();
    if (!this.mayServe()) throw new SextantError('NOT_READY', 'the lock server has no lease now');
    const answer = this.core.range(token, request, now);
    if (answer !== undefined) return rangeAnswer.encode(answer);
    return new Promise((resolve, reject) => {
      const key = waitKey(token, request.request);
      // The call came again, on another connection as a rule: the last one gets the answer.
      this.#rangeWaits.get(key)?.reject(new SextantError('CONFLICT', 'asked again elsewhere'));
      this.#rangeWaits.set(key, { resolve, reject });
    });
  }

  /** LOCK-10: without a lease it is not told. Asked again, the core answers the same. */
  #rangeAnswered(token: number, request: number, answer: M.RangeAnswer): void {
    const wait = this.#rangeDone(token, request);
    if (this.mayServe()) wait?.resolve(rangeAnswer.encode(answer));
    else wait?.reject(new SextantError('NOT_READY', 'the lock server has no lease now'));
  }

  #rangeDone(token: number, request: number): RangeWait | undefined {
    const key = waitKey(token, request);
    const wait = this.#rangeWaits.get(key);
    this.#rangeWaits.delete(key);
    return wait;
  }

  /** A token that is over, or another's, is told so on the connection that it came by. */
  #requests(peer: RpcPeer, token: number): void {
    const reader = this.#reader;
    const { clerks } = this.#host.state;
    const known = this.#host.state.isLive(reader.token) || reader.token > clerks.newestToken;
    if (reader.token !== token || !known) {
      this.#refuseAll(peer, RefuseCode.fenced);
    } else if (!this.mayServe()) {
      // What waits in the queues stays there; this one may have come to the wrong place.
      this.#refuseAll(peer, RefuseCode.notReady);
    } else {
      const now = this.#step();
      while (reader.next()) this.core.request(token, reader.item, now);
    }
  }

  #refuseAll(peer: RpcPeer, why: RefuseCode): void {
    const reader = this.#reader;
    const refusals = this.#refusals;
    refusals.clear();
    while (reader.next()) {
      reader.item.why = why;
      refusals.addRefuse(reader.item);
    }
    const { fenceEpoch } = this.#host.state.clerks;
    const header = { token: reader.token, clock: 0, fenceEpoch };
    peer.push(MessageType.refuse, refusals.finish(header).slice());
  }

  connected(token: number, peer: RpcPeer): void {
    this.links.bind(token, peer);
    this.core.clerkConnected(token, this.#step());
  }

  // -- the replicated state ---------------------------------------------------------------------------

  /** Brings the core in line with what was just applied. */
  sync(changes: Changes): void {
    const { state } = this.#host;
    const now = this.#step();
    // Rule 2: before anything passes on.
    this.core.raiseFloor(state.clockFloor);
    // Who may be asked must be known before the group that asks, and be dead before it would be asked.
    for (const token of changes.clerks) this.#syncClerk(token, now);
    for (const group of changes.groups) this.#syncGroup(group, now);
    if (changes.groups.size > 0) this.onGroups([...changes.groups]);
    if (this.#toGiveUp.size > 0) this.#host.world.timers.turn(() => void this.#giveUp());
  }

  #syncClerk(token: number, nowMs: number): void {
    const clerk = this.#host.state.clerk(token);
    const told = this.#told.get(token);
    if (clerk === undefined) {
      if (told !== undefined) this.core.clerkRecovered(token, nowMs);
      this.#told.delete(token);
      this.#toExpel.delete(token);
    } else if (clerk.state === 'live') {
      if (told !== 'live') this.core.clerkLive(token);
      this.#told.set(token, 'live');
      if (this.links.isBound(token)) this.core.clerkConnected(token, nowMs);
    } else if (told !== 'dead') {
      this.core.clerkExpired(token, nowMs);
      this.#told.set(token, 'dead');
      this.#toExpel.delete(token);
    }
  }

  #syncGroup(number: number, nowMs: number): void {
    const { state, options, incarnation } = this.#host;
    const group = state.groups.groups[number];
    const self = state.groups.servers.get(options.id);
    if (group === undefined) return;
    const same = self?.incarnation === incarnation;
    const mine = same && self.up && group.owner === options.id;
    const epoch = this.serving.get(number);
    if (!mine) {
      if (epoch !== undefined) this.core.loseGroup(number);
      this.serving.delete(number);
      // To be said also by who never came to serve it: the leader waits for the word.
      if (same && group.from === options.id) this.#toGiveUp.set(number, group.epoch);
      return;
    }
    if (epoch === group.epoch) return;
    const live: number[] = [];
    const unrecovered: number[] = [];
    for (const clerk of state.clerks.byToken.values()) {
      // Opened later, it has nothing from the group's earlier owners.
      if (clerk.openedAt > group.assignedAt) continue;
      (clerk.state === 'live' ? live : unrecovered).push(clerk.token);
    }
    this.core.gainGroup(number, group.epoch, live, unrecovered, nowMs);
    this.serving.set(number, group.epoch);
  }

  // -- calls to the leader ----------------------------------------------------------------------------

  /** When to call `tick` next, from now; at most `idleMs`. */
  tickInMs(idleMs: number): number {
    // Who has left beats no more.
    const untilBeatMs = this.#left ? idleMs : Math.max(0, this.#nextBeatMs - this.#now());
    const { waiting, rebuilding } = this.core.stats();
    const busy = waiting > 0 || rebuilding > 0 || this.#toGiveUp.size > 0 || !this.mayServe();
    // The answer to a beat on its way says when the next is due: to be looked at well before that.
    return Math.min(busy ? BUSY_TICK_MS : idleMs, this.#beating ? this.#beatMs / 2 : untilBeatMs);
  }

  /** Resends, deadlines, beats. */
  tick(): void {
    const now = this.#step();
    this.core.tick(now);
    if (now >= this.#nextBeatMs && !this.#beating && !this.#left) void this.#beat(now);
    if (this.#toGiveUp.size > 0) void this.#giveUp();
    for (const [token, expulsion] of this.#toExpel) {
      if (now >= expulsion.againAtMs) this.#sendExpel(token, expulsion);
    }
  }

  async #beat(sentMs: number): Promise<void> {
    const { options, incarnation, calls, world } = this.#host;
    this.#beating = true;
    try {
      const address = this.#host.address();
      const { leaseMs, index } = await calls.serverBeat({
        server: options.id,
        address,
        incarnation,
      });
      if (this.#host.closed) return;
      const early = this.#host.faults.leaseBeforeState === true;
      const untilMs = sentMs + leaseMs * (1 - MARGIN);
      this.#offers.push({ untilMs, index: early ? 0 : index });
      // From the answer on: those that shared a round come together for the next one too.
      this.#nextBeatMs = this.#now() + leaseMs / BEATS_PER_LEASE;
      this.#step();
    } catch (error) {
      this.#nextBeatMs = this.#now() + RETRY_MS;
      world.log.debug('no lease from the leader', { error: String(error) });
    } finally {
      this.#beating = false;
    }
  }

  /**
   * Serves nothing any more, whatever is left of its lease, and says so: nobody need wait for the end of that lease. Resolves
   * when the groups are free; rejects as a call to the leader.
   */
  async leave(): Promise<void> {
    const { options, incarnation, calls, world } = this.#host;
    this.#left = true;
    this.#step();
    // An answer on its way would make it known as up once more.
    while (this.#beating) await world.timers.sleep(LEAVE_POLL_MS);
    const address = this.#host.address();
    await calls.serverBeat({ server: options.id, address, incarnation, leaves: true });
  }

  async #giveUp(): Promise<void> {
    if (this.#givingUp || this.#host.closed) return;
    const { options, state, calls, world } = this.#host;
    for (const [number, epoch] of this.#toGiveUp) {
      const group = state.groups.groups[number];
      if (group?.from !== options.id || group.epoch !== epoch) this.#toGiveUp.delete(number);
    }
    if (this.#toGiveUp.size === 0) return;
    const groups = [...this.#toGiveUp].map(([group, epoch]) => ({ group, epoch }));
    this.#givingUp = true;
    try {
      await calls.gaveUp({ server: options.id, groups });
    } catch (error) {
      // The next tick says it again, unless the state says by then that it is known.
      world.log.debug('giving groups up: not heard', { error: String(error) });
    } finally {
      this.#givingUp = false;
    }
  }

  #expel(token: number, why: string): void {
    if (!this.#host.state.isLive(token) || this.#toExpel.has(token)) return;
    const expulsion = { why, againAtMs: 0 };
    this.#toExpel.set(token, expulsion);
    this.#host.world.log.warn('asks to expel a clerk', { token, why });
    this.#sendExpel(token, expulsion);
  }

  #sendExpel(token: number, expulsion: { why: string; againAtMs: number }): void {
    const { options, calls, world } = this.#host;
    expulsion.againAtMs = this.#now() + EXPEL_AGAIN_MS;
    const { why } = expulsion;
    calls.expel({ server: options.id, token, why }).catch((error: unknown) => {
      if (isSextantError(error)) world.log.debug('expel not heard', { error: error.message });
      else world.log.error('expel failed', { error });
    });
  }

  /** The time, after the core was told whether it may grant at this time. */
  #step(): number {
    const now = this.#now();
    if (!this.mayServe()) this.core.pause();
    else if (!this.core.serving) this.core.resume(now);
    return now;
  }

  #now(): number {
    return this.#host.world.clock.monotonicMs();
  }
}
