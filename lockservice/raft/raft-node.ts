/**
 * One member of a Raft group, running: feeds the core with messages, time and requests, and carries out what it asks for.
 *
 * ```
 *   receive, propose, readIndex, timer ... -> core          all of one turn of the event loop together
 *   end of the turn:  early appends out -> one append and one fdatasync -> answers and votes out -> apply -> callers
 * ```
 *
 * A leader's appends leave before its own fdatasync, so that the followers' disks work at the same time as its own; it counts
 * itself only when its own is done. Everything else leaves after what it promises is durable.
 *
 * DISK_FULL keeps what is to be written and tries again; meanwhile nothing is answered, so a leader loses its office. Any other
 * failure of the disk or of the state machine is final: `failure` is set, `onFailed` called, everybody who waits is told.
 */
import { isSextantError, SextantError } from '#core/errors.js';
import type { Timer, World } from '#core/world/world.js';
import {
  checkId,
  checkMembers,
  COMMAND_BYTES_MAX,
  EntryKind,
  type Entry,
  type RaftMember,
} from './entry.js';
import { NO_FAULTS, type RaftFaults } from './faults.js';
import type { MemberChange, RaftLimits } from './leadership.js';
import { decodeRaftMessage, encodeRaftMessage } from './messages.js';
import { notLeader, RaftCore, type CoreRole, type Envelope, type RaftReady } from './raft-core.js';
import { RaftStorage } from './raft-storage.js';

export type { RaftMember } from './entry.js';
export type { MemberChange } from './leadership.js';

/** Deterministic: equal commands in equal order give equal states everywhere. What `apply` throws ends the node. */
export interface StateMachine {
  /** The result goes to who proposed the command, when that was here. */
  apply(index: number, command: Uint8Array): unknown;
  /** The whole state; the bytes must not change afterwards. */
  snapshot(): Uint8Array;
  restore(snapshot: Uint8Array): void;
  /** A configuration is committed; also called at start with the one known then. */
  onConfig?(members: readonly RaftMember[], index: number): void;
}

/** May lose, repeat and reorder; must not call back within `send`, nor throw. */
export interface RaftTransport {
  send(to: RaftMember, message: Uint8Array): void;
}

export interface RaftOptions {
  readonly id: string;
  readonly folder: string;
  /** The same at all founders of a new group; empty: joins a group that exists. A folder in use has its own. */
  readonly initialMembers: readonly RaftMember[];
  /** Which cluster the folder belongs to. */
  readonly cluster?: string;
  readonly heartbeatMs?: number;
  /** Election timeouts are spread over this range; the lower bound is at least three heartbeats. */
  readonly electionMs?: readonly [number, number];
  /** A snapshot is taken after so many applied entries, */
  readonly snapshotEntries?: number;
  /** or when the log in memory has so many bytes. */
  readonly snapshotBytes?: number;
  /** Entries that are kept behind a snapshot, for followers that are a little late. */
  readonly trailingEntries?: number;
  readonly logFileBytes?: number;
  /** Proposals, and reads, that may wait; more are OVERLOADED. */
  readonly waitingMax?: number;
  readonly waitingBytesMax?: number;
  /** Of the core, for tests: sizes of appends and chunks. */
  readonly limits?: Partial<RaftLimits>;
  readonly faults?: RaftFaults;
}

export type RaftRole = 'follower' | 'candidate' | 'leader';

interface Waiting {
  readonly term: number;
  readonly bytes: number;
  readonly resolve: (done: { index: number; result: unknown }) => void;
  readonly reject: (error: Error) => void;
}

interface WaitingRead {
  readonly term: number;
  readonly resolve: (index: number) => void;
  readonly reject: (error: Error) => void;
}

interface WaitingChange {
  readonly term: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const FULL_RETRY_MS = 100;
const NOTHING = (): void => undefined;

export class RaftNode {
  /** Role or term have changed. */
  onRole: (role: RaftRole, term: number) => void = NOTHING;
  /** The node has ended by itself: disk or state machine failed. */
  onFailed: (error: Error) => void = NOTHING;
  /** For status and checkers: not to be changed. */
  readonly core: RaftCore;
  /** Why it has ended, when it has. */
  failure: Error | undefined = undefined;
  /** Applied by the state machine. */
  appliedIndex = 0;
  readonly id: string;
  readonly #world: World;
  readonly #options: RaftOptions;
  readonly #machine: StateMachine;
  readonly #transport: RaftTransport;
  readonly #storage: RaftStorage;
  readonly #addresses = new Map<string, string>();
  readonly #proposals = new Map<number, Waiting>();
  readonly #reads = new Map<number, WaitingRead>();
  readonly #waitingMax: number;
  readonly #waitingBytesMax: number;
  #change: WaitingChange | undefined = undefined;
  #waitingBytes = 0;
  #nextRead = 1;
  #scheduled = false;
  #timer: Timer | undefined = undefined;
  #timerMs = Infinity;
  /** What the disk had no room for yet, or what follows the early messages. */
  #unfinished: RaftReady | undefined = undefined;
  #diskFull = false;
  #toldRole: CoreRole = 'follower';
  #toldTerm = 0;

  private constructor(
    world: World,
    options: RaftOptions,
    machine: StateMachine,
    transport: RaftTransport,
    storage: RaftStorage,
    core: RaftCore,
  ) {
    this.id = options.id;
    this.#world = world;
    this.#options = options;
    this.#machine = machine;
    this.#transport = transport;
    this.#storage = storage;
    this.core = core;
    this.#waitingMax = options.waitingMax ?? 4096;
    this.#waitingBytesMax = options.waitingBytesMax ?? 32 * 1024 * 1024;
    this.#toldTerm = core.term;
  }

  /**
   * Locks the folder and recovers log and snapshot. Throws CONFIG, FOLDER_LOCKED, FOLDER_FOREIGN, CORRUPTION, DISK_FULL,
   * DISK_FAILED.
   */
  static open(
    world: World,
    options: RaftOptions,
    machine: StateMachine,
    transport: RaftTransport,
  ): RaftNode {
    const limits = checkOptions(options);
    const faults = options.faults ?? NO_FAULTS;
    const { storage, durable } = RaftStorage.open(world, {
      folder: options.folder,
      cluster: options.cluster ?? 'default',
      id: options.id,
      founders: options.initialMembers,
      logFileBytes: options.logFileBytes ?? 4 * 1024 * 1024,
      faults,
    });
    try {
      const coreOptions = { id: options.id, seed: world.random.u32(), limits, faults };
      const core = new RaftCore(coreOptions, durable, world.clock.monotonicMs());
      const node = new RaftNode(world, options, machine, transport, storage, core);
      const { index, members, data } = durable.snapshot;
      if (index > 0) machine.restore(data);
      node.appliedIndex = index;
      if (members.length > 0) machine.onConfig?.(members, index);
      node.#arm();
      return node;
    } catch (error) {
      storage.abandon();
      throw error;
    }
  }

  get role(): RaftRole {
    return publicRole(this.core.role);
  }

  /** Id of the leader as far as it knows. */
  get leader(): string | undefined {
    return this.core.leader;
  }

  get term(): number {
    return this.core.term;
  }

  get commitIndex(): number {
    return this.core.commitIndex;
  }

  /** As the last configuration in the log says, committed or not. */
  get members(): readonly RaftMember[] {
    return this.core.members;
  }

  /** Without those of a change that may still be undone. */
  get committedMembers(): readonly RaftMember[] {
    const { configs, commitIndex } = this.core;
    return configs.at(commitIndex).members;
  }

  /** A message from another member; the bytes may be reused afterwards. Throws PROTOCOL: tell the sender, nobody else notices. */
  receive(from: string, message: Uint8Array): void {
    if (this.failure !== undefined) return;
    const decoded = decodeRaftMessage(message);
    checkId(from);
    if (decoded.address !== '') this.#learn(from, decoded.address);
    this.#schedule();
    this.core.receive(from, decoded.message, this.#nowMs());
  }

  /**
   * Resolves when the command was applied here. NOT_LEADER, OVERLOADED, OUT_OF_RANGE (too long), CLOSED, DISK_FAILED: it was not proposed.
   * CONFLICT: this server no longer leads, and the command may take effect yet or never. The bytes must not change.
   */
  propose(command: Uint8Array): Promise<{ index: number; result: unknown }> {
    return new Promise((resolve, reject) => {
      this.#mustRun();
      const bytes = command.length;
      const full =
        this.#proposals.size >= this.#waitingMax ||
        (this.#proposals.size > 0 && this.#waitingBytes + bytes > this.#waitingBytesMax);
      if (full && this.core.isLeader) {
        throw new SextantError('OVERLOADED', `${this.#proposals.size} proposals wait`);
      }
      const { index, term } = this.core.propose(command);
      this.#waitingBytes += bytes;
      this.#proposals.set(index, { term, bytes, resolve, reject });
      this.#schedule();
    });
  }

  /**
   * Resolves once this node is known to have led after the call began and has applied up to the index it returns: reads of the
   * state machine from then on are linearizable. NOT_LEADER, also when it loses leadership meanwhile; OVERLOADED, CLOSED.
   */
  readIndex(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#mustRun();
      if (this.#reads.size >= this.#waitingMax && this.core.isLeader) {
        throw new SextantError('OVERLOADED', `${this.#reads.size} reads wait`);
      }
      const read = this.#nextRead++;
      this.core.read(read);
      this.#reads.set(read, { term: this.core.term, resolve, reject });
      this.#schedule();
    });
  }

  /**
   * Adds or removes one member; resolves when that is committed. One at a time: CONFLICT (retry) meanwhile. EXISTS, NOT_FOUND,
   * CONFIG; TIMEOUT: the new one did not catch up; NOT_LEADER; CONFLICT also when leadership was lost and the outcome is unknown.
   */
  changeMembers(change: MemberChange): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#mustRun();
      const { add } = change;
      if (add !== undefined)
        checkMembers([...this.core.members.filter((m) => m.id !== add.id), add]);
      this.core.changeMembers(change, this.#nowMs());
      if (add !== undefined) this.#learn(add.id, add.address);
      this.#change = { term: this.core.term, resolve, reject };
      this.#schedule();
    });
  }

  /** Asks a member with the whole log to lead instead; false when this one does not lead or nobody is fit. */
  handOver(): boolean {
    if (this.failure !== undefined || !this.core.handOver()) return false;
    this.#schedule();
    return true;
  }

  /** Ends; a leader asks another member to take over at once. */
  close(): void {
    if (this.failure !== undefined) return;
    try {
      this.#finish();
      if (this.core.handOver()) this.#finish();
    } catch (error) {
      if (isSextantError(error)) this.#world.log.warn('raft: unclean end', { error });
      else throw error;
    }
    const closed = new SextantError('CLOSED', `${this.id} has closed`);
    if (this.failure !== undefined) return;
    this.#end(closed);
    if (this.#unfinished === undefined) this.#storage.close();
    else this.#storage.abandon();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #nowMs(): number {
    return this.#world.clock.monotonicMs();
  }

  #mustRun(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  #learn(id: string, address: string): void {
    if (this.#addresses.size > 1024) this.#addresses.clear();
    this.#addresses.set(id, address);
  }

  /** One pass for everything of this turn. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#world.timers.turn(() => {
      this.#scheduled = false;
      this.#guard(() => this.#work(false));
    });
  }

  #guard(work: () => void): void {
    if (this.failure !== undefined) return;
    try {
      work();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** All that is to be done now, without waiting for the links to write. */
  #finish(): void {
    this.#work(true);
  }

  #work(atOnce: boolean): void {
    // A turn's early messages are out, what follows them is on its way; or the disk is full.
    if (this.#unfinished !== undefined && (!atOnce || !this.#complete(this.#unfinished))) {
      // That it leads no more is true before it is durable.
      if (!this.core.isLeader) this.#tellRole();
      return;
    }
    for (;;) {
      const ready = this.core.take();
      if (ready === undefined) break;
      this.#send(ready.early);
      if (ready.early.length > 0 && ready.entries.length > 0 && !atOnce) {
        // Links write when the callbacks of the turn are over; microtasks come right behind, and then the fdatasync.
        this.#unfinished = ready;
        queueMicrotask(() =>
          this.#guard(() => {
            if (this.#unfinished !== ready || !this.#complete(ready)) return;
            this.#work(false);
          }),
        );
        return;
      }
      if (!this.#complete(ready)) return;
    }
    this.#tellRole();
    this.#arm();
  }

  /** What follows the early messages; false: the disk is full, it is tried again. */
  #complete(ready: RaftReady): boolean {
    this.#unfinished = ready;
    try {
      this.#storage.persist(ready);
    } catch (error) {
      if (!isSextantError(error, 'DISK_FULL')) throw error;
      if (!this.#diskFull) this.#world.log.warn('raft: the disk is full', { error });
      this.#diskFull = true;
      this.#world.timers.after(FULL_RETRY_MS, () =>
        this.#guard(() => {
          if (this.#unfinished === ready && this.#complete(ready)) this.#work(false);
        }),
      );
      return false;
    }
    if (this.#diskFull) this.#world.log.warn('raft: the disk has room again');
    this.#diskFull = false;
    this.#unfinished = undefined;
    this.core.persisted(this.#nowMs());
    this.#send(ready.messages);
    this.#apply(ready);
    return true;
  }

  #send(envelopes: readonly Envelope[]): void {
    if (envelopes.length === 0) return;
    const own = this.#addressOf(this.id) ?? '';
    for (const { to, message } of envelopes) {
      const address = this.#addressOf(to);
      if (address === undefined) continue;
      this.#transport.send({ id: to, address }, encodeRaftMessage(message, own));
    }
  }

  #addressOf(id: string): string | undefined {
    const { members } = this.core;
    for (const member of members) if (member.id === id) return member.address;
    return this.#addresses.get(id);
  }

  #apply(ready: RaftReady): void {
    if (ready.snapshot !== undefined) {
      const { index, members, data } = ready.snapshot;
      this.#machine.restore(data);
      this.appliedIndex = index;
      this.#machine.onConfig?.(members, index);
      this.#world.log.info('raft: took a snapshot from the leader', { index });
    }
    for (const entry of ready.committed) this.#applyEntry(entry);
    for (const { read, index } of ready.reads) {
      const waiting = this.#reads.get(read);
      this.#reads.delete(read);
      waiting?.resolve(index);
    }
    if (ready.change !== undefined && this.#change !== undefined) {
      const { resolve, reject } = this.#change;
      this.#change = undefined;
      if (ready.change.error === undefined) resolve();
      else reject(ready.change.error);
    }
    this.#rejectStale();
    if (ready.committed.length > 0) this.#compact();
  }

  #applyEntry(entry: Entry): void {
    const { index, kind, data, term } = entry;
    let result: unknown;
    if (kind === EntryKind.command) result = this.#machine.apply(index, data);
    this.appliedIndex = index;
    if (kind === EntryKind.config) {
      this.#machine.onConfig?.(this.core.configs.at(index).members, index);
    }
    const waiting = this.#proposals.get(index);
    if (waiting === undefined) return;
    this.#forget(index, waiting);
    if (waiting.term === term) waiting.resolve({ index, result });
    else waiting.reject(lostLeadership(this.id));
  }

  #forget(index: number, waiting: Waiting): void {
    this.#proposals.delete(index);
    this.#waitingBytes -= waiting.bytes;
  }

  /** Who waits for a leadership that is over learns it. */
  #rejectStale(): void {
    const { core } = this;
    const stale = (term: number): boolean => !core.isLeader || term !== core.term;
    if (!core.isLeader || core.term !== this.#toldTerm) {
      for (const [index, waiting] of this.#proposals) {
        if (!stale(waiting.term)) continue;
        this.#forget(index, waiting);
        waiting.reject(lostLeadership(this.id));
      }
      for (const [read, waiting] of this.#reads) {
        if (!stale(waiting.term)) continue;
        this.#reads.delete(read);
        waiting.reject(notLeader(this.id, core.leader));
      }
    }
    if (this.#change !== undefined && stale(this.#change.term)) {
      this.#change.reject(lostLeadership(this.id));
      this.#change = undefined;
    }
  }

  #compact(): void {
    const { core } = this;
    const entries = this.appliedIndex - core.snapshot.index;
    const entriesMax = this.#options.snapshotEntries ?? 10_000;
    const bytesMax = Math.max(
      this.#options.snapshotBytes ?? 16 * 1024 * 1024,
      2 * core.snapshot.data.length,
    );
    const trailing = this.#options.trailingEntries ?? Math.min(1000, entriesMax >> 1);
    // What trails is in memory too: it must not make every entry a reason for a snapshot.
    if (entries < entriesMax && (core.log.bytes < bytesMax || entries <= trailing)) return;
    const snapshot = core.compacted(this.appliedIndex, this.#machine.snapshot(), trailing);
    try {
      this.#storage.saveSnapshot(snapshot);
    } catch (error) {
      // The log has all of it still; the next one is tried after as many entries again.
      if (!isSextantError(error, 'DISK_FULL')) throw error;
      this.#world.log.warn('raft: no room for a snapshot', { error });
    }
  }

  #tellRole(): void {
    const { role, term } = this.core;
    this.#rejectStale();
    if (publicRole(role) === publicRole(this.#toldRole) && term === this.#toldTerm) return;
    this.#toldRole = role;
    this.#toldTerm = term;
    this.#world.log.info('raft: role', { role, term, leader: this.core.leader });
    this.onRole(publicRole(role), term);
  }

  /** One timer at the core's next deadline. A deadline that moved away is looked at when the old one comes. */
  #arm(): void {
    const deadlineMs = this.core.deadlineMs;
    if (this.failure !== undefined || deadlineMs === Infinity) return;
    if (this.#timer !== undefined && this.#timerMs <= deadlineMs) return;
    this.#timer?.cancel();
    this.#timerMs = deadlineMs;
    const waitMs = Math.max(0, deadlineMs - this.#nowMs());
    this.#timer = this.#world.timers.after(waitMs, () => {
      this.#timer = undefined;
      this.#guard(() => {
        this.core.tick(this.#nowMs());
        this.#work(false);
        this.#arm();
      });
    });
  }

  #fail(error: unknown): void {
    if (this.failure !== undefined) return;
    const failure = error instanceof Error ? error : new Error(String(error));
    this.#world.log.error('raft: this member has ended', { error: failure });
    this.#end(failure);
    this.#storage.abandon();
    this.onFailed(failure);
  }

  #end(error: Error): void {
    this.failure = error;
    this.#timer?.cancel();
    for (const { reject } of this.#proposals.values()) reject(error);
    for (const { reject } of this.#reads.values()) reject(error);
    this.#change?.reject(error);
    this.#proposals.clear();
    this.#reads.clear();
    this.#change = undefined;
  }
}

function publicRole(role: CoreRole): RaftRole {
  return role === 'preCandidate' ? 'candidate' : role;
}

function lostLeadership(id: string): SextantError {
  return new SextantError(
    'CONFLICT',
    `${id} no longer leads: whether this takes effect is unknown`,
  );
}

function checkOptions(options: RaftOptions): Partial<RaftLimits> {
  checkId(options.id);
  checkMembers(options.initialMembers);
  const {
    initialMembers,
    heartbeatMs = 100,
    electionMs = [500, 1000],
    snapshotEntries = 1,
  } = options;
  const refuse = (why: string): never => {
    throw new SextantError('CONFIG', `Raft options of ${options.id}: ${why}`);
  };
  if (initialMembers.length > 0 && !initialMembers.some(({ id }) => id === options.id)) {
    refuse('a founder of the group must be among its initial members');
  }
  if (!(heartbeatMs > 0)) refuse('heartbeatMs must be positive');
  if (!(electionMs[0] >= 3 * heartbeatMs) || !(electionMs[1] > electionMs[0])) {
    refuse('electionMs must be a range from at least three heartbeats up');
  }
  if (!(snapshotEntries >= 1)) refuse('snapshotEntries must be at least 1');
  if (COMMAND_BYTES_MAX < (options.limits?.chunkBytes ?? 1)) refuse('chunkBytes is too large');
  return { ...options.limits, heartbeatMs, electionMs };
}
