/**
 * A lock server: one member of the Raft group, one lock server core, one listening address.
 *
 * ```
 *                     .--> raft ------> state ----> desk.sync --> core         every server: its groups, its clerks
 *   RpcServer --------|      ^            |
 *   (HELLO says who)  |      | propose    '-------> leader: leases, moves, coordination    where it leads
 *                     '--> desk, leader
 * ```
 *
 * | who            | may send                                                             |
 * |----------------|----------------------------------------------------------------------|
 * | anybody        | HELLO, and then GROUPS, STATUS                                       |
 * | lock servers   | RAFT, SERVER_BEAT, GAVE_UP, EXPEL                                    |
 * | clerks         | OPEN_CLERK, ... FENCES; with a token vectors, RANGE, COORD_*         |
 * | tools          | LIST_LOCKS, CHANGE_MEMBERS                                           |
 *
 * What one peer does wrong ends its own call or connection, never another's.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import { RpcServer } from '#core/rpc/server.js';
import type { RpcHandler, RpcPeer } from '#core/rpc/server.js';
import type { Timer, World } from '#core/world/world.js';
import { CoordinationService } from '../coordination/coordination-service.js';
import type { CoordinationResult } from '../coordination/coordination-tree.js';
import type { CoordinationCommand } from '../coordination/messages.js';
import * as codec from '../protocol/control-codec.js';
import { MessageType, PROTOCOL_VERSION } from '../protocol/messages.js';
import type * as M from '../protocol/messages.js';
import { RaftNode } from '../raft/raft-node.js';
import { RaftStorage } from '../raft/raft-storage.js';
import { encodeCommand, isRefusal } from '../state/commands.js';
import type { Refusal } from '../state/commands.js';
import { ServiceState } from '../state/service-state.js';
import { NO_SERVER_FAULTS } from './faults.js';
import type { ServerFaults } from './faults.js';
import { Leader, notLeader } from './leader.js';
import { BEATS_PER_LEASE, LockDesk } from './lock-desk.js';
import type { LeaderCalls } from './lock-desk.js';
import { ELECTION_MS, HEARTBEAT_MS, SERVER_LEASE_MS, checkOptions } from './options.js';
import type { LockServerOptions } from './options.js';
import { PeerClients } from './peer-clients.js';

export type { LockServerOptions, TokenFloor } from './options.js';

/** While nobody waits: an idle server costs next to nothing. */
const IDLE_TICK_MS = 330;
const PEER_CALL_MS = 1500;
const JOIN_CALL_MS = 30_000;
const JOIN_RETRY_MS = 500;
/** Range requests wait for as long as their clerk likes. */
const CALLS_PER_PEER_MAX = 16_384;
const LIST_MAX = 10_000;
/** Without a majority nobody takes the groups. */
const LEAVE_MS_MAX = 700;
const LEAVE_POLL_MS = 10;
const FOUNDERS_RETRY_MS = 100;
/** Warns of a founder that is missing every so many tries. */
const FOUNDERS_WARN = 50;

/** What a peer said of itself in HELLO. */
class Session {
  readonly role: M.HelloRequest['role'];
  readonly from: string;
  token: number;

  constructor(role: M.HelloRequest['role'], from: string, token: number) {
    this.role = role;
    this.from = from;
    this.token = token;
  }
}

export class LockServer implements RpcHandler {
  readonly world: World;
  readonly options: LockServerOptions;
  readonly state: ServiceState;
  readonly faults: ServerFaults;
  /** Random at each start: this process has none of an earlier one's lock state. */
  readonly incarnation: string;
  readonly leader: Leader;
  readonly desk: LockDesk;
  readonly coordination: CoordinationService;
  readonly calls: LeaderCalls;
  /** Called when the server has ended by itself: its disk failed. */
  onFailed: (error: Error) => void = () => undefined;
  readonly #peers: PeerClients;
  readonly #configured: ReadonlyMap<string, string>;
  #raft: RaftNode | undefined;
  #server: RpcServer | undefined;
  #timer: Timer | undefined;
  #closed = false;

  /**
   * Locks and recovers the folder, then listens; it takes part from then on. Throws FOLDER_LOCKED, FOLDER_FOREIGN, CONFIG,
   * CORRUPTION, DISK_FULL, DISK_FAILED.
   */
  static async open(world: World, options: LockServerOptions): Promise<LockServer> {
    checkOptions(options);
    const server = new LockServer(world, options);
    const founds = options.join !== true && !RaftStorage.isMade(world, options.folder);
    try {
      // Who has a folder finds out first whether it may use it.
      if (!founds) server.#openRaft();
      server.#server = await RpcServer.listen(world, options.listen, server, {
        maxCallsPerPeer: CALLS_PER_PEER_MAX,
      });
      if (founds) {
        await server.#askFounders();
        server.#openRaft();
      }
    } catch (error) {
      await server.close();
      throw error;
    }
    server.#tick();
    if (options.join === true) void server.#join();
    return server;
  }

  private constructor(world: World, options: LockServerOptions) {
    this.world = world;
    this.options = options;
    this.faults = options.faults ?? NO_SERVER_FAULTS;
    this.incarnation = Buffer.from(world.random.bytes(8)).toString('hex');
    this.state = new ServiceState(this.faults.state, this.faults.coordination);
    this.#configured = new Map(options.members.map(({ id, address }) => [id, address]));
    this.#peers = new PeerClients(world, options.cluster, options.id, (id) => this.#addressOf(id));
    this.calls = this.#leaderCalls();
    this.leader = new Leader(this);
    this.desk = new LockDesk(this);
    this.coordination = new CoordinationService(world, {
      propose: (command) => this.#proposeWrite(command),
      readIndex: () => this.raft().readIndex(),
      tree: () => this.state.tree,
      push: (token, body) => this.desk.links.push(token, MessageType.coordEvent, body),
    });
    this.state.onTreeEvents = (events) => this.coordination.onApplied(events);
  }

  raft(): RaftNode {
    if (this.#raft === undefined) throw new SextantError('NOT_READY', 'the lock server starts');
    return this.#raft;
  }

  appliedIndex(): number {
    return this.#raft?.appliedIndex ?? 0;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** With the real port. */
  get listening(): string {
    return this.#server?.address ?? '';
  }

  /** How others reach it. */
  address(): string {
    const { address, id } = this.options;
    return address ?? this.#configured.get(id) ?? this.listening;
  }

  get isLeader(): boolean {
    return this.#raft?.role === 'leader';
  }

  status(): M.LockServerStatus {
    const raft = this.#raft;
    const waits = raft === undefined || (raft.role === 'follower' && raft.leader === undefined);
    const stats = this.desk.core.stats();
    const now = this.world.clock.monotonicMs();
    const clerks = [...this.state.clerks.byToken.values()].map((clerk) => ({
      token: clerk.token,
      name: clerk.name,
      kind: clerk.kind,
      state: clerk.state,
      leaseMsLeft: this.isLeader
        ? Math.round(this.leader.clerkLeases.leftMs(clerk.token, now) ?? 0)
        : null,
    }));
    return {
      id: this.options.id,
      pid: this.options.pid ?? 0,
      state: waits ? 'starting' : raft.role,
      leader: raft?.leader ?? null,
      term: raft?.term ?? 0,
      commitIndex: raft?.commitIndex ?? 0,
      appliedIndex: raft?.appliedIndex ?? 0,
      ...stats,
      clerks,
      members: (raft?.members ?? []).map(({ id, address }) => ({ id, address })),
    };
  }

  /** Closes, but gives its groups to the others first, so that nobody waits for the end of its lease. */
  async stop(): Promise<void> {
    if (this.#raft !== undefined && !this.#closed) {
      await Promise.race([this.#leave(), this.world.timers.sleep(LEAVE_MS_MAX)]);
    }
    await this.close();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.desk.core.pause();
    // Asks another member to lead, so the peers are still needed.
    this.#raft?.close();
    await this.#server?.close();
    this.#peers.close();
  }

  async #leave(): Promise<void> {
    try {
      await this.desk.leave();
      // A new leader would first wait for the servers that it has not heard of: better to deal them out yet.
      while (!this.#closed && this.leader.dealing) await this.world.timers.sleep(LEAVE_POLL_MS);
    } catch (error) {
      this.world.log.info('ends without giving its groups up', { error: String(error) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // -- raft -------------------------------------------------------------------------------------------

  /**
   * An empty folder is a new member's, or one that lost what it voted for and acknowledged: that one must not take part
   * again. The others know; all of them are asked, as any one may be the only one that does. So all founders must be up
   * once. Throws FOLDER_FOREIGN, and CONFIG when the group was founded without it.
   */
  async #askFounders(): Promise<void> {
    const { id, folder, members } = this.options;
    const others = members.map((member) => member.id).filter((other) => other !== id);
    const call = (to: string, type: number): Promise<Uint8Array> =>
      this.#peers.call(to, type, codec.EMPTY_JSON, PEER_CALL_MS);
    const ask = async (other: string): Promise<void> => {
      for (let tries = 1; !this.#closed; tries++) {
        try {
          const status = codec.lockServerStatus.decode(await call(other, MessageType.status));
          const map = codec.groupMap.decode(await call(other, MessageType.groups));
          refuseFounder(id, folder, status, map);
          return;
        } catch (error) {
          if (isSextantError(error, 'FOLDER_FOREIGN') || isSextantError(error, 'CONFIG'))
            throw error;
          const log = tries % FOUNDERS_WARN === 0 ? 'warn' : 'debug';
          this.world.log[log]('waits for a founder', { id: other, error: String(error) });
          await this.world.timers.sleep(FOUNDERS_RETRY_MS);
        }
      }
      throw new SextantError('CLOSED', 'the lock server is closed');
    };
    await Promise.all(others.map(ask));
  }

  #openRaft(): void {
    const { world, options, state } = this;
    const raft = RaftNode.open(
      world,
      {
        id: options.id,
        cluster: options.cluster,
        folder: options.folder,
        initialMembers: options.join === true ? [] : options.members,
        heartbeatMs: options.heartbeatMs ?? HEARTBEAT_MS,
        electionMs: options.electionMs ?? ELECTION_MS,
        ...(options.snapshotEntries === undefined
          ? {}
          : { snapshotEntries: options.snapshotEntries }),
        ...(this.faults.raft === undefined ? {} : { faults: this.faults.raft }),
      },
      {
        apply: (index, command) => {
          const result = state.apply(index, command);
          this.#applied();
          return result;
        },
        snapshot: () => state.snapshot(),
        restore: (snapshot) => {
          state.restore(snapshot);
          this.#applied();
        },
        onConfig: (members) => this.#peers.keep(new Set(members.map((member) => member.id))),
      },
      { send: (to, message) => this.#peers.push(to, MessageType.raft, message) },
    );
    this.#raft = raft;
    raft.onRole = (role) => {
      this.leader.onRole(role === 'leader');
      this.coordination.onLeadership(role === 'leader');
    };
    raft.onFailed = (error) => {
      void this.close();
      this.onFailed(error);
    };
    // What the folder's snapshot said, before there was anybody to tell.
    this.#applied();
  }

  /** In the same step as the entry: what it changed is known before anybody hears of it. */
  #applied(): void {
    if (this.#raft === undefined) return;
    const changes = this.state.takeChanges();
    if (changes === undefined) return;
    for (const token of changes.clerks) {
      if (!this.state.isLive(token)) this.coordination.onDisconnect(token);
    }
    this.desk.sync(changes);
    this.leader.onApplied(changes);
  }

  #tick(): void {
    if (this.#closed) return;
    this.desk.tick();
    this.leader.tick();
    const waitMs = this.desk.tickInMs(IDLE_TICK_MS);
    this.#timer = this.world.timers.after(waitMs, () => this.#tick());
  }

  /** What the configuration file says of a server stands above what the log remembers. */
  #addressOf(id: string): string | undefined {
    const configured = this.#configured.get(id);
    if (configured !== undefined) return configured;
    const member = this.#raft?.members.find((one) => one.id === id);
    return member?.address ?? this.state.groups.servers.get(id)?.address;
  }

  async #join(): Promise<void> {
    const { id, members } = this.options;
    const others = members.filter((member) => member.id !== id).map((member) => member.id);
    // One that asked a leader which lost its office may have an entry that takes it in, and be in no group.
    const isMember = (): boolean => this.raft().committedMembers.some((one) => one.id === id);
    for (let ask = 0, hint = ''; !this.#closed && !isMember(); ask++) {
      const to = hint === '' ? (others[ask % others.length] ?? '') : hint;
      hint = '';
      try {
        const body = codec.changeMembersRequest.encode({ add: { id, address: this.address() } });
        await this.#peers.call(to, MessageType.changeMembers, body, JOIN_CALL_MS);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        hint = /leader=(\S+)$/.exec(message)?.[1] ?? '';
        if (hint === id) hint = '';
        if (hint === '') this.world.log.info('not taken in yet', { asked: to, error: message });
      }
      // Whose answer was good is told of the commit in a moment.
      if (hint === '') await this.world.timers.sleep(JOIN_RETRY_MS);
    }
  }

  #leaderCalls(): LeaderCalls {
    const call = async (
      type: number,
      body: Uint8Array,
      timeoutMs = PEER_CALL_MS,
    ): Promise<Uint8Array> => {
      const { leader } = this.raft();
      if (leader === undefined || leader === this.options.id) throw notLeader(undefined);
      return this.#peers.call(leader, type, body, timeoutMs);
    };
    // One that waits for a leader which is no more must not cost the lease that the next leader could renew.
    const beatMs = (this.options.serverLeaseMs ?? SERVER_LEASE_MS) / BEATS_PER_LEASE;
    return {
      serverBeat: async (request) => {
        if (this.isLeader) return this.leader.serverBeat(request);
        const body = codec.serverBeatRequest.encode(request);
        return codec.serverBeatAnswer.decode(await call(MessageType.serverBeat, body, beatMs));
      },
      gaveUp: async (request) => {
        if (this.isLeader) await this.leader.gaveUp(request);
        else await call(MessageType.gaveUp, codec.gaveUpRequest.encode(request));
      },
      expel: async (request) => {
        if (this.isLeader) this.leader.expel(request);
        else await call(MessageType.expel, codec.expelRequest.encode(request));
      },
    };
  }

  async #proposeWrite(command: CoordinationCommand): Promise<CoordinationResult> {
    if (!this.isLeader) throw notLeader(this.raft().leader);
    const { result } = await this.raft().propose(encodeCommand({ do: 'coord', command }));
    const answer = result as CoordinationResult | Refusal;
    if (isRefusal(answer)) throw new SextantError('LEASE_LOST', answer.message);
    return answer;
  }

  // -- peers ------------------------------------------------------------------------------------------

  onClose(peer: RpcPeer): void {
    const session = peer.attachment;
    if (!(session instanceof Session) || session.token === 0) return;
    if (!this.desk.links.unbind(session.token, peer)) return;
    this.coordination.onDisconnect(session.token);
  }

  push(peer: RpcPeer, type: number, body: Uint8Array): void {
    if (this.#closed) return;
    const session = this.#session(peer);
    if (type === MessageType.raft && session.role === 'server') {
      this.#raft?.receive(session.from, body);
      return;
    }
    if (session.role === 'clerk' && session.token > 0) {
      if (this.desk.vector(peer, session.token, type, body)) return;
    }
    throw new SextantError('PROTOCOL', `a ${session.role} does not push ${type} here`);
  }

  call(peer: RpcPeer, type: number, body: Uint8Array): Uint8Array | Promise<Uint8Array> {
    if (this.#closed) throw new SextantError('CLOSED', 'the lock server is closed');
    if (type === MessageType.hello) return this.#hello(peer, codec.helloRequest.decode(body));
    const session = this.#session(peer);
    switch (type) {
      case MessageType.groups:
        return codec.groupMap.encode(this.state.groups.map());
      case MessageType.status:
        return codec.lockServerStatus.encode(this.status());
      case MessageType.listLocks:
        return this.#listLocks(codec.listLocksRequest.decode(body));
      case MessageType.range:
        return this.desk.range(this.#tokenOf(session), codec.rangeRequest.decode(body));
      case MessageType.coordWrite:
        return this.coordination.write(this.#tokenOf(session), body);
      case MessageType.coordRead:
        return this.#coordRead(session, body);
      case MessageType.serverBeat:
      case MessageType.gaveUp:
      case MessageType.expel:
        this.#mustBe(session, 'server', type);
        return this.#leaderCallOfServer(type, body);
      case MessageType.changeMembers:
        if (session.role === 'clerk') this.#mustBe(session, 'tool', type);
        return this.#done(this.leader.changeMembers(codec.changeMembersRequest.decode(body)));
      default:
        this.#mustBe(session, 'clerk', type);
        return this.#callOfClerk(session, type, body);
    }
  }

  #hello(peer: RpcPeer, request: M.HelloRequest): Uint8Array {
    const { cluster, id } = this.options;
    const { protocol, role, token = 0, from = '' } = request;
    if (protocol !== PROTOCOL_VERSION) {
      throw new SextantError('PROTOCOL', `protocol ${protocol}, not ${PROTOCOL_VERSION}`);
    }
    if (request.cluster !== cluster || (request.server ?? id) !== id) {
      const wanted = `${request.server ?? 'any server'} of ${request.cluster}`;
      throw new SextantError('WRONG_CLUSTER', `this is ${id} of ${cluster}, not ${wanted}`);
    }
    if (role === 'server' && from === '') throw new SextantError('PROTOCOL', 'HELLO: from whom?');
    // A higher one may be of a clerk that this server is yet to hear of.
    if (token > 0 && token <= this.state.clerks.newestToken && !this.state.isLive(token)) {
      throw new SextantError('FENCED', `token ${token} is over`);
    }
    this.onClose(peer);
    peer.attachment = new Session(role, from, token);
    if (token > 0) this.desk.connected(token, peer);
    const leader = this.#raft?.leader ?? null;
    return codec.helloAnswer.encode({ protocol, cluster, server: id, leader });
  }

  #session(peer: RpcPeer): Session {
    if (peer.attachment instanceof Session) return peer.attachment;
    throw new SextantError('PROTOCOL', 'HELLO comes first');
  }

  #mustBe(session: Session, role: M.HelloRequest['role'], type: number): void {
    if (session.role === role) return;
    throw new SextantError('PROTOCOL', `a ${session.role} does not call ${type}`);
  }

  #tokenOf(session: Session): number {
    if (session.token > 0) return session.token;
    throw new SextantError('PROTOCOL', 'this connection has no token');
  }

  /** A clerk speaks for itself alone. */
  #checkToken(session: Session, token: number): void {
    if (session.token === token) return;
    const whose = session.token === 0 ? 'of no clerk' : `of clerk ${session.token}`;
    throw new SextantError('FENCED', `this connection is ${whose}, not of ${token}`);
  }

  async #done(work: Promise<unknown>): Promise<Uint8Array> {
    await work;
    return codec.EMPTY_JSON;
  }

  async #leaderCallOfServer(type: number, body: Uint8Array): Promise<Uint8Array> {
    switch (type) {
      case MessageType.serverBeat: {
        const beat = codec.serverBeatRequest.decode(body);
        return codec.serverBeatAnswer.encode(await this.leader.serverBeat(beat));
      }
      case MessageType.gaveUp:
        return this.#done(this.leader.gaveUp(codec.gaveUpRequest.decode(body)));
      default:
        this.leader.expel(codec.expelRequest.decode(body));
        return codec.EMPTY_JSON;
    }
  }

  async #callOfClerk(session: Session, type: number, body: Uint8Array): Promise<Uint8Array> {
    const { leader } = this;
    switch (type) {
      case MessageType.openClerk: {
        const answer = await leader.openClerk(codec.openClerkRequest.decode(body));
        return codec.openClerkAnswer.encode(answer);
      }
      case MessageType.renew: {
        const request = codec.renewRequest.decode(body);
        if (session.token > 0) this.#checkToken(session, request.token);
        return codec.renewAnswer.encode(await leader.renew(request));
      }
      case MessageType.closeClerk: {
        const request = codec.closeClerkRequest.decode(body);
        this.#checkToken(session, request.token);
        return this.#done(leader.closeClerk(request));
      }
      case MessageType.openTable: {
        const request = codec.openTableRequest.decode(body);
        return codec.openTableAnswer.encode(await leader.openTable(request));
      }
      case MessageType.recoveryStep: {
        const request = codec.recoveryStepRequest.decode(body);
        this.#checkToken(session, request.demon);
        return codec.recoveryStepAnswer.encode(await leader.recoveryStep(request));
      }
      case MessageType.fences:
        return codec.fenceList.encode(await leader.fences());
      default:
        throw new SextantError('PROTOCOL', `a clerk does not call ${type}`);
    }
  }

  async #coordRead(session: Session, body: Uint8Array): Promise<Uint8Array> {
    const token = this.#tokenOf(session);
    if (!this.isLeader) throw notLeader(this.raft().leader);
    const answer = await this.coordination.read(token, body);
    if (!this.state.isLive(token)) throw new SextantError('LEASE_LOST', `token ${token} is over`);
    return answer;
  }

  #listLocks(request: M.ListLocksRequest): Uint8Array {
    const { state, world, options } = this;
    const table = request.table === undefined ? undefined : state.tableNumber(request.table);
    if (table === 0) throw new SextantError('UNKNOWN_TABLE', `no lock table ${request.table}`);
    const { core } = this.desk;
    const locks = core.list(
      {
        ...(table === undefined ? {} : { table }),
        hot: request.hot,
        limit: Math.min(LIST_MAX, request.limit),
        tableName: (number) => state.tableName(number) ?? String(number),
        clerkName: (token) => state.clerk(token)?.name ?? '',
      },
      world.clock.monotonicMs(),
    );
    return codec.listLocksAnswer.encode({ server: options.id, total: core.count(table), locks });
  }
}

/** Another member has answered: may a server with an empty folder be a founder? */
function refuseFounder(
  id: string,
  folder: string,
  status: M.LockServerStatus,
  map: M.GroupMap,
): void {
  const { term, leader, commitIndex, appliedIndex } = status;
  // It has voted in this group, and may not have heard yet of all that the group agreed on.
  if (term > 0 && (leader === null || commitIndex === 0 || appliedIndex < commitIndex)) {
    throw new SextantError('NOT_READY', `${status.id} has no leader yet`);
  }
  if (map.servers.some((server) => server.id === id)) {
    throw new SextantError(
      'FOLDER_FOREIGN',
      `${folder} is empty, but ${status.id} knows ${id} as a member: take it out (--leave), and join under a new id`,
    );
  }
  if (status.members.length > 0 && !status.members.some((member) => member.id === id)) {
    throw new SextantError('CONFIG', `the lock servers run without ${id}: join them (--join)`);
  }
}
