/**
 * The driver of a clerk: one connection to each lock server, renewal of the lease, the turn's vectors, callbacks of its owner.
 * What decides is in clerk-core.ts.
 *
 * ```
 *   acquire --> core --> end of turn: drain --> one vector a server --> GRANT --> core --> promise
 *   every leaseMs/3: RENEW at the leader      counted from when it was sent (rule 6)
 *   every 100 ms:    tick: resends, idle locks, the end of the lease
 * ```
 */
import { setMaxListeners } from 'node:events';
import { assert } from '#core/assert.js';
import { SextantError, isSextantError } from '#core/errors.js';
import type { Timer, World } from '#core/world/world.js';
import { CLOCK_MAX } from '../protocol/clock.js';
import * as codec from '../protocol/control-codec.js';
import { VectorReader } from '../protocol/lock-vectors.js';
import { MessageType } from '../protocol/messages.js';
import type { FenceList, LockMode, OpenClerkAnswer } from '../protocol/messages.js';
import type { CachedLock } from './cached-lock.js';
import { ClerkCore, type ClerkOutbox, type FlushTask } from './clerk-core.js';
import { Coordination } from './coordination/coordination.js';
import { LeaderCalls } from './leader-calls.js';
import type { CachedTable } from './lock-cache.js';
import type { HandleHost, LockHandle } from './lock-handle.js';
import { modeOf } from './lock-modes.js';
import { LockTable, type LockWanted, type RevokedLock } from './lock-table.js';
import { text, type CheckedOptions } from './options.js';
import type { AcquireOptions } from './pending-acquire.js';
import { RangeClient } from './range-client.js';
import { RecoveryTasks } from './recovery-tasks.js';
import { ServerLinks } from './server-links.js';

const TICK_MS = 100;
/** Pause between two looks at the map while a server is away. */
const MAP_MS = 250;
const DEAD_MS_MIN = 400;
const DEAD_MS_MAX = 5000;
const CLOSE_MS = 5000;
const CALL_MS = 30_000;
/** With recovery to do, dead clerks are asked about this often. */
const RECOVERY_POLL_MS = 1000;

export interface TableAcquireOptions extends AcquireOptions {
  /** Name of an open table; the clerk's first one when absent. */
  readonly table?: string;
}

export interface ClerkStats {
  readonly locks: number;
  readonly waiting: number;
}

export class Clerk {
  /** What decides; for tools and tests. */
  readonly core: ClerkCore;
  readonly world: World;
  /** Rules 1 and 11: who this is, at the storage nodes. */
  readonly token: number;
  /** 0..255 of a clerk with recovery: which log it may use; -1 without. */
  readonly slot: number;
  /** Byte-range and whole-file locks. */
  readonly ranges: RangeClient;
  readonly #leader: LeaderCalls;
  readonly #host: HandleHost;
  readonly #options: CheckedOptions;
  readonly #links: ServerLinks;
  readonly #reader = new VectorReader();
  readonly #tables = new Map<string, LockTable>();
  readonly #first: string | undefined;
  readonly #lost = new AbortController();
  readonly #listeners = new Map<CachedLock, Set<LockHandle>>();
  readonly #recovery: RecoveryTasks | undefined;
  readonly #send = (server: string, type: number, body: Uint8Array): boolean =>
    this.#links.push(server, type, body);
  #turn = false;
  #tickTimer: Timer | undefined;
  #endTimer: Timer | undefined;
  #renewTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  #mapMs = -Infinity;
  #fetchingMap = false;
  #closing: Promise<void> | undefined;
  #coordination: Coordination | undefined;

  /** Made by `openClerk`. */
  constructor(options: CheckedOptions, answer: OpenClerkAnswer, sentMs: number) {
    const { world } = options;
    // Everything that waits listens to it.
    setMaxListeners(0, this.#lost.signal);
    this.#options = options;
    this.world = world;
    this.token = answer.token;
    this.slot = answer.slot;
    this.core = new ClerkCore(
      {
        token: answer.token,
        leaseMs: answer.leaseMs,
        sentMs,
        map: answer.map,
        clock: answer.clockFloor,
        fenceEpoch: answer.fenceEpoch,
        idleMs: options.idleMs,
        locksMax: options.locksMax,
        waitersMax: options.waitersMax,
        flushDeadlineMs: options.flushDeadlineMs ?? answer.leaseMs,
        faults: options.faults,
      },
      this.#outbox(),
    );
    this.#host = this.#handleHost();
    for (const { name, table } of answer.tables) this.#addTable(name, table);
    this.#first = answer.tables[0]?.name;
    this.#links = new ServerLinks(world, {
      cluster: options.cluster,
      token: answer.token,
      deadAfterMs: Math.max(DEAD_MS_MIN, Math.min(answer.leaseMs / 6, DEAD_MS_MAX)),
      onPush: (server, type, body) => this.#pushed(server, type, body),
      onUp: (server) => this.#up(server),
      onDown: () => this.#refreshMap(),
    });
    this.#leader = new LeaderCalls(world, this.#links);
    this.#links.setServers(answer.map.servers);
    this.ranges = new RangeClient({
      world,
      core: this.core,
      lost: this.#lost.signal,
      check: () => this.#check(),
      tableNumber: (name) => this.#tableOf(name).number,
      call: (server, type, body, callOptions) => this.#callServer(server, type, body, callOptions),
      mapStale: () => this.#mapStale(),
    });
    if (options.onRecovery !== undefined) {
      const { onRecovery } = options;
      this.#recovery = new RecoveryTasks(world, this.core, this.#leader, this.lost, onRecovery);
    }
    this.#tick();
    this.#renewLater(sentMs);
  }

  // What users see -----------------------------------------------------------------------------

  /** Of the first table, or `options.table`: see `LockTable.acquire`. */
  acquire(id: number | bigint, mode: LockMode, options?: TableAcquireOptions): Promise<LockHandle> {
    try {
      return this.#tableOf(options?.table).acquire(id, mode, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** Synchronous, sends nothing: the lock when it is held already and free for this use. Throws as `acquire` rejects. */
  tryAcquireCached(
    id: number | bigint,
    mode: LockMode,
    options?: { readonly table?: string },
  ): LockHandle | undefined {
    return this.#tableOf(options?.table).tryAcquireCached(id, mode);
  }

  /** All or none, without deadlock among such calls: see `LockTable.acquireMany`. */
  async acquireMany(
    wanted: readonly LockWanted[],
    options?: TableAcquireOptions,
  ): Promise<LockHandle[]> {
    return this.#tableOf(options?.table).acquireMany(wanted, options);
  }

  /** A table that was opened. Throws UNKNOWN_TABLE. */
  table(name: string): LockTable {
    return this.#tableOf(name);
  }

  /** Opens one more table; with `create` a new one when there is none of the name. Rejects with UNKNOWN_TABLE, CONFIG, LEASE_LOST, CLOSED. */
  async openTable(name: string, create = false): Promise<LockTable> {
    this.#check();
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    text(name, 'table');
    const body = codec.openTableRequest.encode({ name, create });
    const answer = await this.#leaderCall(MessageType.openTable, body);
    const { table } = codec.openTableAnswer.decode(answer);
    return this.#tables.get(name) ?? this.#addTable(name, table);
  }

  /** The Lamport clock of rule 2. */
  get clock(): number {
    return this.core.clock;
  }

  /** One step of the clock: for each block that is written under a lock. Throws OUT_OF_RANGE at 2^52. */
  tick(): number {
    if (this.core.clock >= CLOCK_MAX)
      throw new SextantError('OUT_OF_RANGE', 'the clock is used up');
    return ++this.core.clock;
  }

  /** Rule 12: goes with every request to a storage node. */
  get fenceEpoch(): number {
    return this.core.fenceEpoch;
  }

  /** Tokens that are fenced. Rejects with LEASE_LOST, CLOSED, or the last error after half a minute. */
  async fences(): Promise<FenceList> {
    this.#check();
    const answer = await this.#leaderCall(MessageType.fences, codec.EMPTY_JSON);
    const list = codec.fenceList.decode(answer);
    this.core.fenceEpoch = Math.max(this.core.fenceEpoch, list.fenceEpoch);
    return list;
  }

  /** For how long the locks are surely its own yet; 0 once the lease is lost. Margin taken off. */
  leaseLeftMs(): number {
    return this.#alive() ? Math.max(0, this.core.leaseEndMs - this.core.nowMs) : 0;
  }

  /** Aborted when the lease is lost or the clerk closed; its reason is the error. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** The coordination tree; its session is this clerk's lease. */
  get coordination(): Coordination {
    this.#coordination ??= new Coordination({
      world: this.world,
      token: this.token,
      lost: this.lost,
      call: (type, body, options) => this.#leader.once(type, body, options),
    });
    return this.#coordination;
  }

  get stats(): ClerkStats {
    return { locks: this.core.cache.count, waiting: this.core.waiting };
  }

  /**
   * Gives everything back. Handles are invalid at once and waits end with CLOSED; what was to be flushed must have been. The
   * promise resolves when the service has let the locks go, or, when that cannot be reached, after some seconds: they then
   * pass on when the lease ends, as after a crash.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // For handles and the core -------------------------------------------------------------------

  #handleHost(): HandleHost {
    return {
      core: this.core,
      timers: this.world.timers,
      alive: () => this.#alive(),
      check: () => this.#check(),
      listen: (handle) => this.#listen(handle),
      unlisten: (handle) => this.#unlisten(handle),
    };
  }

  #outbox(): ClerkOutbox {
    return {
      wake: () => this.#wake(),
      flush: (table, tasks) => this.#flush(table, tasks),
      revoking: (lock) => this.#revoking(lock),
      mapStale: () => this.#mapStale(),
      retryIn: (ms) => this.#retryIn(ms),
      onLost: (error) => this.#onLost(error),
    };
  }

  #alive(): boolean {
    return this.core.alive(this.world.clock.monotonicMs());
  }

  #check(): void {
    if (this.core.alive(this.world.clock.monotonicMs())) return;
    const { error } = this.core;
    assert(error !== undefined, 'a clerk that is over says why');
    // Each caller gets an error with a stack of its own.
    throw new SextantError(error.code, error.message, { cause: error });
  }

  #listen(handle: LockHandle): void {
    const handles = this.#listeners.get(handle.lock);
    if (handles === undefined) this.#listeners.set(handle.lock, new Set([handle]));
    else handles.add(handle);
  }

  #unlisten(handle: LockHandle): void {
    const handles = this.#listeners.get(handle.lock);
    if (handles?.delete(handle) === true && handles.size === 0) {
      this.#listeners.delete(handle.lock);
    }
  }

  #wake(): void {
    if (this.#turn) return;
    this.#turn = true;
    this.world.timers.turn(() => {
      this.#turn = false;
      this.core.drain(this.world.clock.monotonicMs(), this.#send);
    });
  }

  #flush(cached: CachedTable, tasks: readonly FlushTask[]): void {
    const { onRevoke } = this.table(cached.name);
    const done = (ok: boolean): void => {
      for (const task of tasks) this.core.flushed(task, ok);
    };
    if (onRevoke === undefined) {
      done(true);
      return;
    }
    const failed = (error: unknown): void => {
      const fields = { table: cached.name, locks: tasks.length, error: String(error) };
      this.world.log.warn('owner could not flush before a lock goes back', fields);
      done(false);
    };
    const deadlineMs = this.core.nowMs + (this.#options.flushDeadlineMs ?? this.core.leaseMs);
    try {
      const result = onRevoke(tasks.map(revokedLock), deadlineMs);
      if (result instanceof Promise) result.then(() => done(true), failed);
      else done(true);
    } catch (error) {
      failed(error);
    }
  }

  #revoking(lock: CachedLock): void {
    const handles = this.#listeners.get(lock);
    if (handles === undefined) return;
    for (const handle of handles) {
      if (handle.tellRevoked(false)) this.#unlisten(handle);
    }
  }

  #mapStale(): void {
    this.#mapMs = -Infinity;
    this.#refreshMap();
  }

  #retryIn(ms: number): void {
    this.#retryTimer ??= this.world.timers.after(ms, () => {
      this.#retryTimer = undefined;
      this.core.tick(this.world.clock.monotonicMs());
    });
  }

  /** By the core, once. */
  #onLost(error: SextantError): void {
    this.#stopTimers();
    this.#lost.abort(error);
    if (error.code !== 'CLOSED') {
      this.world.log.warn('clerk has lost its lease', { token: this.token, error: error.message });
      this.#links.close();
    }
    const handles = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const set of handles) for (const handle of set) handle.tellRevoked(true);
    const { onLost } = this.#options;
    if (error.code === 'CLOSED' || onLost === undefined) return;
    // In a turn of its own: a look at `valid` may be what found out.
    this.world.timers.turn(() => onLost(error));
  }

  // Within -------------------------------------------------------------------------------------

  #tableOf(name: string | undefined): LockTable {
    const wanted = name ?? this.#first;
    const table = wanted === undefined ? undefined : this.#tables.get(wanted);
    if (table !== undefined) return table;
    throw new SextantError('UNKNOWN_TABLE', `no lock table ${wanted ?? ''} is open`);
  }

  #addTable(name: string, number: number): LockTable {
    const table = new LockTable(this.#host, this.core.addTable(name, number));
    this.#tables.set(name, table);
    return table;
  }

  #pushed(server: string, type: number, body: Uint8Array): void {
    const nowMs = this.world.clock.monotonicMs();
    switch (type) {
      case MessageType.grant:
        this.#reader.open(MessageType.grant, body);
        this.core.grants(this.#reader, nowMs);
        return;
      case MessageType.revoke:
        this.#reader.open(MessageType.revoke, body);
        this.core.revokes(this.#reader, nowMs);
        return;
      case MessageType.refuse:
        this.#reader.open(MessageType.refuse, body);
        this.core.refusals(this.#reader, nowMs);
        return;
      case MessageType.rebuild: {
        const request = codec.rebuildRequest.decode(body);
        this.core.rebuild(this.ranges.rebuild(request), nowMs);
        return;
      }
      case MessageType.coordEvent:
        this.#coordination?.received(body);
        return;
      default:
        throw new SextantError('PROTOCOL', `lock server ${server} sent message type ${type}`);
    }
  }

  #up(server: string): void {
    this.core.serverUp(server);
  }

  #tick(): void {
    this.core.tick(this.world.clock.monotonicMs());
    if (this.core.errorNow() !== undefined) return;
    for (const { rpc } of this.#links.all) {
      if (!isSextantError(rpc.lastError, 'FENCED')) continue;
      this.core.lose(new SextantError('LEASE_LOST', rpc.lastError.message));
      return;
    }
    const leftMs = this.core.leaseEndMs - this.core.nowMs;
    if (leftMs < 2 * TICK_MS) {
      this.#endTimer?.cancel();
      this.#endTimer = this.world.timers.after(Math.max(1, leftMs), () => this.#alive());
    }
    this.#refreshMap();
    this.#tickTimer = this.world.timers.after(TICK_MS, () => this.#tick());
  }

  /** While a server that owns groups cannot be reached, somebody else may be about to own them. */
  #refreshMap(): void {
    const nowMs = this.world.clock.monotonicMs();
    if (this.#fetchingMap || nowMs - this.#mapMs < MAP_MS || this.core.error !== undefined) return;
    if (this.#mapMs > -Infinity && !this.#ownerAway()) return;
    this.#mapMs = nowMs;
    this.#fetchingMap = true;
    void this.#fetchMap().finally(() => (this.#fetchingMap = false));
  }

  #ownerAway(): boolean {
    for (const { id, rpc } of this.#links.all) {
      if (rpc.state === 'down' && id !== undefined && this.core.groups.owns(id)) return true;
    }
    return this.core.groups.moving;
  }

  async #fetchMap(): Promise<void> {
    try {
      const options = { deadlineMs: 2000, tryMs: 500, signal: this.lost };
      const { body } = await this.#leader.call(MessageType.groups, codec.EMPTY_JSON, options);
      const map = codec.groupMap.decode(body);
      if (this.core.error !== undefined) return;
      if (map.version > this.core.groups.version) this.#links.setServers(map.servers);
      this.core.learnMap(map);
    } catch (error) {
      this.world.log.debug('no map of the lock groups', { error: String(error) });
    }
  }

  #renewLater(sentMs: number): void {
    const { leaseMs } = this.core;
    let everyMs = leaseMs / 3;
    if (this.#recovery !== undefined) everyMs = Math.min(everyMs, RECOVERY_POLL_MS);
    const inMs = Math.max(0, sentMs + everyMs - this.world.clock.monotonicMs());
    this.#renewTimer = this.world.timers.after(inMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    if (!this.#alive() || this.core.error !== undefined) return;
    let sentMs = this.world.clock.monotonicMs();
    const { token, clock, leaseMs, leaseEndMs } = this.core;
    const tryMs = Math.max(100, leaseMs / 8);
    try {
      const answer = await this.#leader.call(
        MessageType.renew,
        codec.renewRequest.encode({ token, clock }),
        {
          deadlineMs: Math.max(tryMs, leaseEndMs - sentMs),
          tryMs,
          signal: this.lost,
        },
      );
      sentMs = answer.sentMs;
      const renewed = codec.renewAnswer.decode(answer.body);
      this.core.renewed(sentMs, renewed.leaseMs, this.world.clock.monotonicMs());
      if (this.core.error !== undefined) return;
      this.core.fenceEpoch = Math.max(this.core.fenceEpoch, renewed.fenceEpoch);
      if (renewed.mapVersion > this.core.groups.version) this.#mapStale();
      this.#recovery?.take(renewed.recoveries);
    } catch (error) {
      if (this.core.error !== undefined) return;
      if (error instanceof SextantError && error.remedy !== 'retry') {
        this.core.lose(
          new SextantError('LEASE_LOST', `the lease is not renewed: ${error.message}`, {
            cause: error,
          }),
        );
        return;
      }
      this.world.log.warn('no renewal of the lease yet', { error: String(error) });
      sentMs = this.world.clock.monotonicMs() - this.core.leaseMs / 4;
    }
    this.#renewLater(sentMs);
  }

  async #leaderCall(type: number, body: Uint8Array): Promise<Uint8Array> {
    const options = { deadlineMs: CALL_MS, tryMs: CALL_MS / 10, signal: this.lost };
    try {
      return (await this.#leader.call(type, body, options)).body;
    } catch (error) {
      if (this.core.error !== undefined) this.#check();
      throw error;
    }
  }

  #callServer(
    server: string,
    type: number,
    body: Uint8Array,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<Uint8Array> {
    const link = this.#links.find(server);
    if (link !== undefined) return link.rpc.call(type, body, options);
    return Promise.reject(new SextantError('DISCONNECTED', `no lock server ${server}`));
  }

  async #close(): Promise<void> {
    const { token, clock, error } = this.core;
    if (error !== undefined) return;
    const leftMs = this.leaseLeftMs();
    this.core.lose(new SextantError('CLOSED', 'the clerk is closed'));
    try {
      await this.#leader.call(
        MessageType.closeClerk,
        codec.closeClerkRequest.encode({ token, clock }),
        { deadlineMs: Math.max(1, Math.min(CLOSE_MS, leftMs)), tryMs: 1000 },
      );
    } catch (cause) {
      this.world.log.warn('closing was not answered', { token, error: String(cause) });
    }
    this.#links.close();
  }

  #stopTimers(): void {
    this.#tickTimer?.cancel();
    this.#endTimer?.cancel();
    this.#renewTimer?.cancel();
    this.#retryTimer?.cancel();
  }
}

function revokedLock({ lock, revocation, keep }: FlushTask): RevokedLock {
  return {
    id: lock.id,
    mode: modeOf(lock.aspect, lock.level),
    keep: keep === 0 ? undefined : modeOf(lock.aspect, keep),
    cause: revocation.cause,
  };
}
