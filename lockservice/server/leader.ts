/**
 * What a lock server does while it leads the Raft group: clerks open, renew and close here; leases run out; groups are
 * dealt to servers; dead clerks get demons.
 *
 * ```
 *   call --> propose --> applied everywhere --> answer           open, close, tables, recovery steps, moves
 *   call --> read-index round --> answer                         RENEW, SERVER_BEAT, FENCES
 *   tick --> leases over --> propose expire, server-down
 *   state changed, tick --> plan of the groups --> propose begin-move, assign
 * ```
 *
 * Everything in memory here is leases: a new leader starts them all anew (rule 6), and loses nothing else.
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { LeaseKeeper } from '../leases/lease-keeper.js';
import type { RaftNode } from '../raft/raft-node.js';
import { clockFits } from '../protocol/clock.js';
import type * as M from '../protocol/messages.js';
import { encodeCommand, unlessRefused } from '../state/commands.js';
import type { Command, Refusal } from '../state/commands.js';
import { planMoves } from '../state/groups.js';
import type { Changes, ServiceState } from '../state/service-state.js';
import type { LockServerOptions } from './options.js';
import { LEASE_MS, SERVER_LEASE_MS } from './options.js';
import type { ServerFaults } from './faults.js';

/** Renewals of servers' leases wait so long for one another: at most, and as a part of the lease. */
const BEAT_ROUND_MS = 100;
const BEAT_ROUND = 0.04;
/** A server that is to leave has so long to give its groups up. */
const DRAIN_MS_MAX = 30_000;
const DRAIN_POLL_MS = 50;
const FLOOR_RETRY_MS = 500;

export interface LeaderHost {
  readonly world: World;
  readonly options: LockServerOptions;
  readonly state: ServiceState;
  readonly faults: ServerFaults;
  raft(): RaftNode;
  readonly closed: boolean;
}

export class Leader {
  readonly clerkLeases: LeaseKeeper<number>;
  readonly serverLeases: LeaseKeeper<string>;
  readonly #host: LeaderHost;
  readonly #serverLeaseMs: number;
  #leading = false;
  #beginning = false;
  #planning = false;
  #nextBeatRound: Promise<unknown> | undefined;
  /** Until then servers that come up one after another are waited for. */
  #planFromMs = 0;

  constructor(host: LeaderHost) {
    this.#host = host;
    const faults = host.faults.state ?? {};
    this.clerkLeases = new LeaseKeeper(faults);
    this.serverLeases = new LeaseKeeper(faults);
    this.#serverLeaseMs = host.options.serverLeaseMs ?? SERVER_LEASE_MS;
  }

  // -- leading or not ---------------------------------------------------------------------------------

  onRole(leading: boolean): void {
    this.#leading = leading;
    if (!leading) {
      this.clerkLeases.follow();
      this.serverLeases.follow();
      return;
    }
    const { state } = this.#host;
    const now = this.#now();
    const clerks = [...state.clerks.byToken.values()].filter((clerk) => clerk.state === 'live');
    this.clerkLeases.lead(
      clerks.map(({ token, leaseMs }) => ({ id: token, leaseMs })),
      now,
    );
    const servers = [...state.groups.servers.values()].filter((server) => server.up);
    this.serverLeases.lead(
      servers.map(({ id }) => ({ id, leaseMs: this.#serverLeaseMs })),
      now,
    );
    this.#planFromMs = now + this.#serverLeaseMs;
    this.#host.world.log.info('leads the lock service', { clerks: clerks.length });
  }

  /** What was just applied. */
  onApplied(changes: Changes): void {
    if (!this.#leading) return;
    const { state } = this.#host;
    const now = this.#now();
    for (const token of changes.clerks) {
      const clerk = state.clerk(token);
      if (clerk === undefined || clerk.state !== 'live') this.clerkLeases.forget(token);
      else if (this.clerkLeases.leftMs(token, now) === undefined) {
        this.clerkLeases.grant(token, clerk.leaseMs, now);
      }
    }
    if (changes.groups.size > 0) this.#host.world.timers.turn(() => this.#plan());
  }

  /** Every 100 ms or so. */
  tick(): void {
    if (!this.#leading) return;
    const now = this.#now();
    const { state } = this.#host;
    if (state.clerks.generation === 0 && !this.#beginning) void this.#begin();
    for (const token of this.clerkLeases.due(now)) {
      const why = this.clerkLeases.expelledFor(token) ?? 'not renewed';
      this.#host.world.log.warn('the lease of a clerk has ended', { token, why });
      this.#end({ do: 'expire', token }, () => this.clerkLeases.again(token));
    }
    // Those that came up by entries which this member applied after its election.
    for (const { id, up } of state.groups.servers.values()) {
      if (up) this.#knowServer(id, now);
    }
    for (const id of this.serverLeases.due(now)) {
      const server = state.groups.servers.get(id);
      if (server === undefined || !server.up) continue;
      this.#host.world.log.warn('the lease of a lock server has ended', { server: id });
      const { incarnation } = server;
      this.#end({ do: 'server-down', id, incarnation }, () => this.serverLeases.again(id));
    }
    this.#plan();
  }

  // -- calls of clerks --------------------------------------------------------------------------------

  async openClerk(request: M.OpenClerkRequest): Promise<M.OpenClerkAnswer> {
    const { name, kind, recovery, nonce, tables } = request;
    const cameInMs = this.#now();
    const leaseMs = request.leaseMs ?? this.#host.options.leaseMs ?? LEASE_MS;
    const answer = await this.#propose<M.OpenClerkAnswer>({
      do: 'open',
      name,
      kind,
      recovery,
      leaseMs,
      nonce,
      tables,
    });
    // LOCK-9: a repeated open finds a lease that began earlier than who opens counts from.
    const { token } = answer;
    if (this.clerkLeases.renew(token, cameInMs) === undefined) {
      this.#mustLead();
      throw new SextantError('FENCED', `clerk ${token}: its lease ended before it was opened`);
    }
    return answer;
  }

  async renew(request: M.RenewRequest): Promise<M.RenewAnswer> {
    const { token } = request;
    const { state, faults } = this.#host;
    this.#mustLead();
    // Begins to count before the round: what the round confirms is that nobody else counted by then.
    this.clerkLeases.renew(token, this.#now());
    if (faults.oldLeaderRenews !== true) await this.#host.raft().readIndex();
    if (faults.state?.reviveLapsed === true && state.clerk(token)?.state === 'expired') {
      await this.#propose({ do: 'revive', token });
    }
    const clerk = state.clerk(token);
    if (clerk === undefined || clerk.state !== 'live') {
      const refused = state.clerks.notLive(token);
      throw new SextantError(refused.error, refused.message);
    }
    if (!this.clerkLeases.renewable(token)) {
      const why = this.clerkLeases.expelledFor(token) ?? 'its lease has ended';
      throw new SextantError('FENCED', `clerk ${token} is not renewed: ${why}`);
    }
    return {
      leaseMs: clerk.leaseMs,
      fenceEpoch: state.clerks.fenceEpoch,
      mapVersion: state.groups.version,
      recoveries: state.clerks.tasksOf(token),
    };
  }

  async closeClerk(request: M.CloseClerkRequest): Promise<void> {
    const { token, clock } = request;
    this.#checkClock(clock);
    await this.#propose({ do: 'close', token, clock });
  }

  async openTable(request: M.OpenTableRequest): Promise<M.OpenTableAnswer> {
    const { name, create } = request;
    if (create) return this.#propose({ do: 'table', name });
    this.#mustLead();
    await this.#host.raft().readIndex();
    const table = this.#host.state.tableNumber(name);
    if (table === 0) throw new SextantError('UNKNOWN_TABLE', `no lock table ${name}`);
    return { name, table };
  }

  async recoveryStep(request: M.RecoveryStepRequest): Promise<M.RecoveryStepAnswer> {
    const { demon, dead, attempt, clock, step } = request;
    this.#checkClock(clock);
    return this.#propose({ do: step, demon, dead, attempt, clock });
  }

  async fences(): Promise<M.FenceList> {
    this.#mustLead();
    await this.#host.raft().readIndex();
    const { fenceEpoch, fenced } = this.#host.state.clerks;
    return { fenceEpoch, tokens: fenced };
  }

  // -- calls of lock servers --------------------------------------------------------------------------

  async serverBeat(request: M.ServerBeatRequest): Promise<M.ServerBeatAnswer> {
    const { server: id, address, incarnation } = request;
    const cameInMs = this.#now();
    this.#mustLead();
    if (!this.#members().has(id)) {
      throw new SextantError('NOT_FOUND', `${id} is not a member of the group of lock servers`);
    }
    const { state } = this.#host;
    if (request.leaves === true) {
      await this.#propose({ do: 'server-down', id, incarnation });
      return { leaseMs: this.#serverLeaseMs, index: this.#host.raft().appliedIndex };
    }
    let known = state.groups.servers.get(id);
    if (known?.up === true && known.incarnation === incarnation) {
      this.#knowServer(id, cameInMs);
      if (this.serverLeases.renew(id, cameInMs) === undefined) {
        throw new SextantError('NOT_READY', `the lease of ${id} is just ending`);
      }
    }
    // A renewal can wait a little, and share its round with those of the others.
    const renews = known?.up === true && known.incarnation === incarnation;
    await (renews ? this.#beatRound() : this.#host.raft().readIndex());
    known = state.groups.servers.get(id);
    if (known?.up !== true || known.incarnation !== incarnation || known.address !== address) {
      await this.#propose({ do: 'server-up', id, address, incarnation });
      known = state.groups.servers.get(id);
      if (known?.incarnation !== incarnation) {
        throw new SextantError('CONFLICT', `another process is lock server ${id}`);
      }
      this.serverLeases.grant(id, this.#serverLeaseMs, cameInMs);
    } else if (this.serverLeases.renew(id, cameInMs) === undefined) {
      // LOCK-9: renewed here too, as an earlier beat of the same process may have made it known during the round.
      this.#mustLead();
      throw new SextantError('NOT_READY', `the lease of ${id} is just ending`);
    }
    return { leaseMs: this.#serverLeaseMs, index: this.#host.raft().appliedIndex };
  }

  /** A read-index round that begins after the call, within BEAT_ROUND_MS: who asks waits a quarter of the lease. */
  #beatRound(): Promise<unknown> {
    const waitMs = Math.min(BEAT_ROUND_MS, this.#serverLeaseMs * BEAT_ROUND);
    this.#nextBeatRound ??= this.#host.world.timers.sleep(waitMs).then(() => {
      this.#nextBeatRound = undefined;
      return this.#host.raft().readIndex();
    });
    return this.#nextBeatRound;
  }

  /** Groups are on their way to a server that is there to take them. */
  get dealing(): boolean {
    if (!this.#leading) return false;
    const { groups } = this.#host.state;
    const free = groups.groups.some((group) => group.owner === null && group.from === null);
    return free && [...groups.servers.values()].some((server) => server.up && !server.draining);
  }

  async gaveUp(request: M.GaveUpRequest): Promise<void> {
    await this.#propose({ do: 'gave-up', id: request.server, groups: request.groups });
  }

  expel(request: M.ExpelRequest): void {
    this.#mustLead();
    const { token, server, why } = request;
    if (!this.clerkLeases.expel(token, why)) return;
    this.#host.world.log.warn('a clerk is expelled', { token, server, why });
  }

  // -- members ----------------------------------------------------------------------------------------

  async changeMembers(request: M.ChangeMembersRequest): Promise<void> {
    this.#mustLead();
    const { add, remove } = request;
    if ((add === undefined) === (remove === undefined)) {
      throw new SextantError('PROTOCOL', 'one change of members at a time: add or remove');
    }
    const raft = this.#host.raft();
    if (add !== undefined) {
      if (!this.#members().has(add.id)) await raft.changeMembers({ add });
      return;
    }
    if (remove === undefined || !this.#members().has(remove)) {
      throw new SextantError('NOT_FOUND', `${remove} is not a member of the group of lock servers`);
    }
    if (this.#members().size === 1) {
      throw new SextantError('CONFLICT', `${remove} is the only lock server`);
    }
    if (this.#host.state.groups.servers.has(remove)) await this.#drain(remove);
    await raft.changeMembers({ remove });
  }

  /** Its groups go to the others first, so that nobody waits for its lease to end. */
  async #drain(id: string): Promise<void> {
    await this.#propose({ do: 'drain', id });
    const { world, state } = this.#host;
    const untilMs = this.#now() + DRAIN_MS_MAX;
    while (state.groups.groups.some((group) => group.owner === id || group.from === id)) {
      if (this.#now() > untilMs) {
        throw new SextantError('TIMEOUT', `${id} still has groups that it does not give up`);
      }
      await world.timers.sleep(DRAIN_POLL_MS);
      this.#mustLead();
      this.#plan();
    }
  }

  // -- what the leader does by itself -----------------------------------------------------------------

  /** The group is new: its tokens start above all that were ever given out (rule 1). */
  async #begin(): Promise<void> {
    this.#beginning = true;
    try {
      const generation = await this.#host.options.tokenFloor.takeGeneration();
      await this.#propose({ do: 'begin', generation });
    } catch (error) {
      if (this.#host.closed) return;
      this.#host.world.log.warn('no generation of tokens yet', { error: String(error) });
      await this.#host.world.timers.sleep(FLOOR_RETRY_MS);
    } finally {
      this.#beginning = false;
    }
  }

  #knowServer(id: string, nowMs: number): void {
    if (this.serverLeases.leftMs(id, nowMs) !== undefined) return;
    this.serverLeases.grant(id, this.#serverLeaseMs, nowMs);
  }

  #end(command: Command, again: () => void): void {
    this.#propose(command).catch((error: unknown) => {
      // Refused: somebody else ended it. Else it is due again, if this member leads then.
      if (error instanceof SextantError && ['FENCED', 'CONFLICT'].includes(error.code)) return;
      again();
    });
  }

  /** One step of the plan at a time: its outcome is what the next is made from. */
  #plan(): void {
    if (!this.#leading || this.#planning) return;
    const { state } = this.#host;
    const members = this.#members();
    const servers = [...state.groups.servers.values()];
    const up = servers.filter((server) => server.up && members.has(server.id));
    if (up.length < members.size && this.#now() < this.#planFromMs) return;
    const eligible = up.filter((server) => !server.draining).map((server) => server.id);
    const plan = planMoves(state.groups, new Set(eligible));
    const commands: Command[] = [];
    if (plan.begin.length > 0) commands.push({ do: 'begin-move', groups: plan.begin });
    if (plan.assign.length > 0) commands.push({ do: 'assign', groups: plan.assign });
    for (const { id, up: isUp } of servers) {
      const left = !isUp && !members.has(id);
      if (left) commands.push({ do: 'forget', id });
    }
    if (commands.length === 0) return;
    this.#planning = true;
    void Promise.allSettled(commands.map((command) => this.#propose(command))).then(() => {
      this.#planning = false;
    });
  }

  #members(): Set<string> {
    return new Set(this.#host.raft().members.map((member) => member.id));
  }

  #now(): number {
    return this.#host.world.clock.monotonicMs();
  }

  /** LOCK-12, against the floor. */
  #checkClock(clock: number): void {
    this.#mustLead();
    const { clockFloor } = this.#host.state;
    if (clockFits(clock, clockFloor)) return;
    throw new SextantError('OUT_OF_RANGE', `clock ${clock} is far beyond ${clockFloor}`);
  }

  #mustLead(): void {
    if (this.#leading) return;
    throw notLeader(this.#host.raft().leader);
  }

  async #propose<T>(command: Command): Promise<T> {
    this.#mustLead();
    const { result } = await this.#host.raft().propose(encodeCommand(command));
    return unlessRefused(result as T | Refusal);
  }
}

export function notLeader(leader: string | undefined): SextantError {
  const hint = leader === undefined ? '' : `; leader=${leader}`;
  return new SextantError('NOT_LEADER', `this lock server does not lead${hint}`);
}
