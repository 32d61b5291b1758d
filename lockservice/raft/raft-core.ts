/**
 * Raft: a group of servers agrees on one log of commands (Ongaro and Ousterhout 2014; Ongaro's thesis for pre-vote,
 * read-index, check-quorum, hand-over and changes of one member). The core: no I/O, clock or randomness. Methods take what
 * happens; `take` gives what is to be done, in this order:
 *
 * ```
 *   early (appends of a leader: they promise nothing about its own disk)
 *   hard state, snapshot, entries -> durable; then `persisted`
 *   messages (votes, answers)
 *   committed -> the state machine; reads and changes -> their callers
 * ```
 *
 * | role \ event | timeout      | preVotesWon | votesWon | leaderSeen | higherTerm | quorumLost | removed  | told      |
 * |--------------|--------------|-------------|----------|------------|------------|------------|----------|-----------|
 * | follower     | preCandidate | -           | -        | follower   | follower   | -          | -        | candidate |
 * | preCandidate | preCandidate | candidate   | -        | follower   | follower   | -          | -        | candidate |
 * | candidate    | preCandidate | -           | leader   | follower   | follower   | -          | -        | candidate |
 * | leader       | -            | -           | -        | -          | follower   | follower   | follower | -         |
 *
 * timeout: nothing heard of a leader for a random time within `electionMs`. A pre-candidate asks whether it would be elected
 * and raises no term; who has heard from a leader within `electionMs[0]` says no, and ignores real candidates too, unless
 * the leader told them to stand. quorumLost: no majority has answered the leader for `electionMs[1]`.
 *
 * - RAFT-1 At most one leader is elected in a term.
 * - RAFT-2 A leader never overwrites or cuts its log, it appends.
 * - RAFT-3 Two logs with an entry of the same index and term are the same up to there.
 * - RAFT-4 What is committed is in the logs of all leaders of later terms.
 * - RAFT-5 No two servers apply different commands at one index.
 * - RAFT-6 A read is served at an index that covers everything committed before it was asked for.
 */
import { assert, unreachable } from '#core/assert.js';
import { crc32c } from '#core/bytes/crc32c.js';
import { SextantError } from '#core/errors.js';
import { Configs } from './configs.js';
import {
  COMMAND_BYTES_MAX,
  EntryKind,
  makeSnapshot,
  type Entry,
  type RaftMember,
  type RaftSnapshot,
} from './entry.js';
import { NO_FAULTS, type RaftFaults } from './faults.js';
import {
  Leadership,
  type LeaderContext,
  type MemberChange,
  type RaftLimits,
  type ReadOutcome,
} from './leadership.js';
import { RaftLog } from './log.js';
import type {
  Append,
  PreVote,
  PreVoteAnswer,
  RaftMessage,
  SnapshotChunk,
  StandNow,
  Vote,
  VoteAnswer,
} from './messages.js';

export type CoreRole = 'follower' | 'preCandidate' | 'candidate' | 'leader';
export type RoleEvent =
  | 'timeout'
  | 'preVotesWon'
  | 'votesWon'
  | 'leaderSeen'
  | 'higherTerm'
  | 'quorumLost'
  | 'removed'
  | 'told';

/** The table above. */
const NEXT: Record<CoreRole, Record<RoleEvent, CoreRole | undefined>> = {
  follower: {
    timeout: 'preCandidate',
    preVotesWon: undefined,
    votesWon: undefined,
    leaderSeen: 'follower',
    higherTerm: 'follower',
    quorumLost: undefined,
    removed: undefined,
    told: 'candidate',
  },
  preCandidate: {
    timeout: 'preCandidate',
    preVotesWon: 'candidate',
    votesWon: undefined,
    leaderSeen: 'follower',
    higherTerm: 'follower',
    quorumLost: undefined,
    removed: undefined,
    told: 'candidate',
  },
  candidate: {
    timeout: 'preCandidate',
    preVotesWon: undefined,
    votesWon: 'leader',
    leaderSeen: 'follower',
    higherTerm: 'follower',
    quorumLost: undefined,
    removed: undefined,
    told: 'candidate',
  },
  leader: {
    timeout: undefined,
    preVotesWon: undefined,
    votesWon: undefined,
    leaderSeen: undefined,
    higherTerm: 'follower',
    quorumLost: 'follower',
    removed: 'follower',
    told: undefined,
  },
};

export interface HardState {
  readonly term: number;
  /** '' for none. */
  readonly vote: string;
}

/** What was durable when the server started. */
export interface RaftDurable {
  readonly hardState: HardState;
  readonly snapshot: RaftSnapshot;
  /** From snapshot.index + 1 on. */
  readonly entries: readonly Entry[];
}

export interface RaftCoreOptions {
  readonly id: string;
  /** For the spread of election timeouts. */
  readonly seed: number;
  readonly limits?: Partial<RaftLimits>;
  readonly faults?: RaftFaults;
}

export interface Envelope {
  readonly to: string;
  readonly message: RaftMessage;
}

export interface RaftReady {
  readonly early: readonly Envelope[];
  readonly hardState: HardState | undefined;
  /** Replaces the log and the state machine's state. */
  readonly snapshot: RaftSnapshot | undefined;
  /** The first may have an index that was durable before: it and what followed it are replaced. */
  readonly entries: readonly Entry[];
  readonly messages: readonly Envelope[];
  readonly committed: readonly Entry[];
  readonly reads: readonly ReadOutcome[];
  readonly change: { readonly error: SextantError | undefined } | undefined;
}

export const DEFAULT_LIMITS: RaftLimits = {
  heartbeatMs: 100,
  electionMs: [500, 1000],
  entriesMax: 1024,
  appendBytesMax: 256 * 1024,
  inflightMax: 64,
  chunkBytes: 256 * 1024,
};
const APPLY_MAX = 1024;

interface Incoming {
  readonly from: string;
  readonly term: number;
  readonly chunk: SnapshotChunk;
  readonly data: Uint8Array;
  received: number;
}

export class RaftCore implements LeaderContext {
  readonly id: string;
  readonly limits: RaftLimits;
  readonly faults: RaftFaults;
  readonly log: RaftLog;
  readonly configs: Configs;
  term: number;
  vote: string;
  role: CoreRole = 'follower';
  /** As far as it knows. */
  leader: string | undefined = undefined;
  commitIndex: number;
  /** Given out to be applied. */
  appliedIndex: number;
  stableIndex: number;
  snapshot: RaftSnapshot;
  leadership: Leadership | undefined = undefined;
  #random: number;
  #electionDeadlineMs = -Infinity;
  #heardLeaderMs = -Infinity;
  /** Who has answered its (pre-)candidacy, and how. */
  #votes = new Map<string, boolean>();
  #outbox: Envelope[] = [];
  #hardDirty = false;
  /** Entries up to here were given out to be made durable. */
  #handedIndex: number;
  /** The last of `take`'s that `persisted` confirms. */
  #persisting: { readonly index: number; readonly term: number } | undefined = undefined;
  #installed: RaftSnapshot | undefined = undefined;
  #incoming: Incoming | undefined = undefined;
  #doneReads: ReadOutcome[] = [];
  /** Of the change that removed this leader. */
  #ended: RaftReady['change'] = undefined;

  constructor(options: RaftCoreOptions, durable: RaftDurable, nowMs: number) {
    this.id = options.id;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.faults = options.faults ?? NO_FAULTS;
    this.term = durable.hardState.term;
    this.vote = durable.hardState.vote;
    this.snapshot = durable.snapshot;
    const { index, term, members } = durable.snapshot;
    this.log = new RaftLog(index, term, durable.entries);
    this.configs = new Configs(index, members);
    for (const entry of durable.entries) this.configs.appended(entry);
    this.commitIndex = index;
    this.appliedIndex = index;
    this.stableIndex = this.log.lastIndex;
    this.#handedIndex = this.log.lastIndex;
    this.#random = options.seed | 0;
    assert(this.log.lastTerm <= this.term, 'the log has no term above the current one');
    // Alone it waits for nobody.
    if (this.configs.members.length > 1) this.#resetElection(nowMs);
  }

  get members(): readonly RaftMember[] {
    return this.configs.members;
  }

  get isLeader(): boolean {
    return this.role === 'leader';
  }

  /** When `tick` has something to do; Infinity: not before a message comes. */
  get deadlineMs(): number {
    if (this.leadership !== undefined) return this.leadership.nextHeartbeatMs;
    return this.configs.mayLead(this.id, this.commitIndex) ? this.#electionDeadlineMs : Infinity;
  }

  tick(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    const { leadership } = this;
    if (leadership === undefined) {
      this.#turn('timeout');
      this.#preCampaign(nowMs);
      return;
    }
    if (leadership.heardQuorum(nowMs)) {
      leadership.tick(nowMs);
    } else {
      this.#turn('quorumLost');
      this.#follow(this.term, undefined, nowMs);
    }
  }

  /** Appends a command to the leader's log; says where. Throws NOT_LEADER, OUT_OF_RANGE. */
  propose(command: Uint8Array): { index: number; term: number } {
    this.#mustLead();
    if (command.length > COMMAND_BYTES_MAX) {
      throw new SextantError('OUT_OF_RANGE', `a command has at most ${COMMAND_BYTES_MAX} bytes`);
    }
    return { index: this.appendOwn(EntryKind.command, command), term: this.term };
  }

  /** `read` comes back in `reads` when it may be served. Throws NOT_LEADER. */
  read(read: number): void {
    this.#mustLead().read(read);
  }

  /** Its end comes back in `change`. Throws NOT_LEADER and what Leadership.startChange does. */
  changeMembers(change: MemberChange, nowMs: number): void {
    this.#mustLead().startChange(change, nowMs);
    this.#advanceCommit(nowMs);
  }

  /** Tells a member that has the whole log to stand; false when there is none. */
  handOver(): boolean {
    const heir = this.leadership?.heir();
    if (heir === undefined) return false;
    this.send(heir.id, { type: 'standNow', term: this.term });
    return true;
  }

  /** What the last `take` gave is durable. */
  persisted(nowMs: number): void {
    const done = this.#persisting;
    if (done === undefined) return;
    this.#persisting = undefined;
    // What was cut meanwhile, while the disk was full, does not count.
    if (this.log.termAt(done.index) !== done.term) return;
    this.stableIndex = Math.max(this.stableIndex, done.index);
    this.#advanceCommit(nowMs);
  }

  /** The state machine's state as of `index`, durable: the log keeps `trailing` entries up to there. */
  compacted(index: number, data: Uint8Array, trailing: number): RaftSnapshot {
    assert(
      index > this.snapshot.index && index <= this.appliedIndex,
      'a snapshot is of what is applied',
    );
    const snapshot = makeSnapshot(
      index,
      this.log.termAt(index),
      this.configs.at(index).members,
      data,
    );
    this.snapshot = snapshot;
    if (this.faults.snapshotLosesTail === true) {
      this.#resetLog(snapshot);
      return snapshot;
    }
    const base = Math.max(this.log.baseIndex, index - trailing);
    this.log.compactTo(base);
    this.configs.compactTo(base);
    return snapshot;
  }

  /** A message from another server. Throws PROTOCOL when it makes no sense; log and commits are as before then. */
  receive(from: string, message: RaftMessage, nowMs: number): void {
    switch (message.type) {
      case 'preVote':
        this.#preVote(from, message, nowMs);
        return;
      case 'preVoteAnswer':
        this.#preVoteAnswer(from, message, nowMs);
        return;
      case 'vote':
        this.#vote(from, message, nowMs);
        return;
      case 'voteAnswer':
        this.#voteAnswer(from, message, nowMs);
        return;
      case 'append':
        if (this.#fromLeader(from, message, nowMs)) this.#append(from, message);
        return;
      case 'snapshot':
        if (this.#fromLeader(from, message, nowMs)) this.#chunk(from, message);
        return;
      case 'appendAnswer':
      case 'snapshotAnswer':
        if (this.#overtaken(message.term, nowMs) || message.term < this.term) return;
        if (message.type === 'appendAnswer') this.leadership?.appendAnswer(from, message, nowMs);
        else this.leadership?.snapshotAnswer(from, message, nowMs);
        this.#advanceCommit(nowMs);
        this.#takeReads();
        return;
      case 'standNow':
        this.#standNow(from, message, nowMs);
        return;
      default:
        unreachable(message);
    }
  }

  /** All that is to be done now, in the order of the head comment; undefined: nothing. */
  take(): RaftReady | undefined {
    const { leadership } = this;
    let early: Envelope[] = [];
    const messages = this.#outbox;
    if (leadership !== undefined) {
      this.#outbox = early;
      leadership.emit();
      this.#takeReads();
    }
    this.#outbox = [];
    const hardState = this.#hardDirty ? { term: this.term, vote: this.vote } : undefined;
    this.#hardDirty = false;
    if (hardState !== undefined && early.length > 0) {
      // A term that is not durable must not be known to others.
      messages.push(...early);
      early = [];
    }
    const snapshot = this.#installed;
    this.#installed = undefined;
    const entries = this.log.slice(this.#handedIndex + 1, Infinity, Infinity);
    this.#handedIndex = this.log.lastIndex;
    const { lastIndex: index, lastTerm: term } = this.log;
    if (entries.length > 0 || snapshot !== undefined) this.#persisting = { index, term };
    const committed = this.#takeCommitted();
    const reads = this.#doneReads;
    this.#doneReads = [];
    const change = this.#ended ?? leadership?.ended;
    this.#ended = undefined;
    if (leadership !== undefined) leadership.ended = undefined;
    const sends = early.length + messages.length;
    const does = entries.length + committed.length + reads.length + sends;
    if (does === 0 && hardState === undefined && snapshot === undefined && change === undefined) {
      return undefined;
    }
    return { early, hardState, snapshot, entries, messages, committed, reads, change };
  }

  /** Part of LeaderContext. */
  send(to: string, message: RaftMessage): void {
    this.#outbox.push({ to, message });
  }

  /** Part of LeaderContext. */
  appendOwn(kind: EntryKind, data: Uint8Array): number {
    const entry = { index: this.log.lastIndex + 1, term: this.term, kind, data };
    this.log.append(entry);
    this.configs.appended(entry);
    return entry.index;
  }

  #mustLead(): Leadership {
    if (this.leadership !== undefined) return this.leadership;
    throw notLeader(this.id, this.leader);
  }

  #turn(event: RoleEvent): void {
    const next = NEXT[this.role][event];
    assert(next !== undefined, `a ${this.role} knows no ${event}`);
    this.role = next;
  }

  #nextRandom(): number {
    // mulberry32
    this.#random = (this.#random + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#random ^ (this.#random >>> 15), 1 | this.#random);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  #resetElection(nowMs: number): void {
    const [min, max] = this.limits.electionMs;
    this.#electionDeadlineMs = nowMs + min + (max - min) * this.#nextRandom();
  }

  /** Whether a leader was heard so lately that nobody else should be elected. */
  #hasLeader(nowMs: number): boolean {
    return this.isLeader || nowMs - this.#heardLeaderMs < this.limits.electionMs[0];
  }

  #preCampaign(nowMs: number): void {
    this.leader = undefined;
    this.#votes = new Map([[this.id, true]]);
    this.#resetElection(nowMs);
    if (this.#won()) {
      this.#turn('preVotesWon');
      this.#campaign(nowMs, false);
      return;
    }
    const { lastIndex, lastTerm } = this.log;
    this.#sendAll({ type: 'preVote', term: this.term + 1, lastIndex, lastTerm });
  }

  #campaign(nowMs: number, told: boolean): void {
    this.leader = undefined;
    this.term++;
    this.vote = this.id;
    this.#hardDirty = true;
    this.#votes = new Map([[this.id, true]]);
    this.#resetElection(nowMs);
    if (this.#won()) {
      this.#lead(nowMs);
      return;
    }
    const { lastIndex, lastTerm } = this.log;
    this.#sendAll({ type: 'vote', term: this.term, lastIndex, lastTerm, told });
  }

  #lead(nowMs: number): void {
    this.#turn('votesWon');
    this.leader = this.id;
    this.#incoming = undefined;
    this.leadership = new Leadership(this, nowMs);
  }

  #won(): boolean {
    return this.configs.majority((id) => this.#votes.get(id) === true);
  }

  #sendAll(message: RaftMessage): void {
    for (const { id } of this.configs.members) if (id !== this.id) this.send(id, message);
  }

  /** The role was turned to follower. */
  #follow(term: number, leader: string | undefined, nowMs: number): void {
    assert(this.role === 'follower', 'who follows is a follower');
    if (this.leadership !== undefined) {
      this.leadership = undefined;
      this.#doneReads = [];
      this.#resetElection(nowMs);
    }
    if (term > this.term) {
      this.term = term;
      this.vote = '';
      this.#hardDirty = true;
      this.#incoming = undefined;
    }
    this.leader = leader;
  }

  /** A message shows a higher term: this server follows whoever leads it. */
  #overtaken(term: number, nowMs: number): boolean {
    if (term <= this.term) return false;
    this.#turn('higherTerm');
    this.#follow(term, undefined, nowMs);
    return true;
  }

  #upToDate(candidate: PreVote | Vote): boolean {
    if (this.faults.voteForShorter === true) return true;
    const { lastIndex, lastTerm } = this.log;
    if (candidate.lastTerm !== lastTerm) return candidate.lastTerm > lastTerm;
    return candidate.lastIndex >= lastIndex;
  }

  #preVote(from: string, message: PreVote, nowMs: number): void {
    const granted = message.term > this.term && !this.#hasLeader(nowMs) && this.#upToDate(message);
    const term = granted ? message.term : this.term;
    this.send(from, { type: 'preVoteAnswer', term, granted });
  }

  #preVoteAnswer(from: string, message: PreVoteAnswer, nowMs: number): void {
    if (!message.granted && this.#overtaken(message.term, nowMs)) return;
    if (this.role !== 'preCandidate') return;
    if (message.granted && message.term !== this.term + 1) return;
    this.#votes.set(from, message.granted);
    if (!this.#won()) return;
    this.#turn('preVotesWon');
    this.#campaign(nowMs, false);
  }

  #vote(from: string, message: Vote, nowMs: number): void {
    if (message.term > this.term) {
      if (!message.told && this.#hasLeader(nowMs)) return;
      this.#overtaken(message.term, nowMs);
    }
    const free = this.vote === '' || this.vote === from || this.faults.voteTwice === true;
    const granted = message.term === this.term && free && this.#upToDate(message);
    if (granted) {
      if (this.vote !== from) {
        this.vote = from;
        this.#hardDirty = true;
      }
      this.#resetElection(nowMs);
    }
    this.send(from, { type: 'voteAnswer', term: this.term, granted });
  }

  #voteAnswer(from: string, message: VoteAnswer, nowMs: number): void {
    if (this.#overtaken(message.term, nowMs)) return;
    if (this.role !== 'candidate' || message.term !== this.term) return;
    this.#votes.set(from, message.granted);
    if (this.#won()) this.#lead(nowMs);
  }

  #standNow(from: string, message: StandNow, nowMs: number): void {
    if (message.term !== this.term || this.leader !== from || this.isLeader) return;
    if (!this.configs.has(this.id)) return;
    this.#turn('told');
    this.#campaign(nowMs, true);
  }

  /** Follows who speaks as leader of this term or a later one; false, and an answer, when it is of an older one. */
  #fromLeader(from: string, message: Append | SnapshotChunk, nowMs: number): boolean {
    const { term, round } = message;
    if (term < this.term) {
      this.#answer(from, round, false, 0, 0, 0);
      return false;
    }
    if (term === this.term) {
      if (this.isLeader || (this.leader !== undefined && this.leader !== from)) {
        throw new SextantError('PROTOCOL', `${from} leads term ${term} beside ${this.leader}`);
      }
      this.#turn('leaderSeen');
    } else {
      this.#turn('higherTerm');
    }
    this.#follow(term, from, nowMs);
    this.#heardLeaderMs = nowMs;
    this.#resetElection(nowMs);
    return true;
  }

  #answer(
    to: string,
    round: number,
    ok: boolean,
    index: number,
    hintIndex: number,
    hintTerm: number,
  ): void {
    const { term } = this;
    this.send(to, { type: 'appendAnswer', term, round, ok, index, hintIndex, hintTerm });
  }

  #append(from: string, message: Append): void {
    const { log } = this;
    const { previousIndex, previousTerm, entries, round } = message;
    const lastNew = previousIndex + entries.length;
    if (previousIndex < this.commitIndex && lastNew <= this.commitIndex) {
      // All of it is committed here: it matches.
      this.#answer(from, round, true, this.commitIndex, 0, 0);
      return;
    }
    if (previousIndex >= log.baseIndex && log.termAt(previousIndex) !== previousTerm) {
      const index = Math.max(
        log.lastAtMost(Math.min(previousIndex, log.lastIndex), previousTerm),
        this.commitIndex,
      );
      this.#answer(from, round, false, previousIndex, index, log.termAt(index));
      return;
    }
    const first = this.#firstNew(entries);
    for (let i = first; i < entries.length; i++) this.#accept(entries[i]);
    if (this.faults.truncateAlways === true && log.lastIndex > lastNew) {
      this.#truncateFrom(Math.max(lastNew, this.commitIndex) + 1);
    }
    this.#answer(from, round, true, lastNew, 0, 0);
    const commit = Math.min(message.commit, lastNew);
    if (commit > this.commitIndex) this.commitIndex = commit;
  }

  /** Where `entries` begin to say something that the log does not. Throws PROTOCOL when they contradict a commit. */
  #firstNew(entries: readonly Entry[]): number {
    for (let i = 0; i < entries.length; i++) {
      const { index, term } = entries[i];
      if (index <= this.log.baseIndex || this.log.termAt(index) === term) continue;
      if (index <= this.commitIndex) {
        throw new SextantError('PROTOCOL', `entry ${index} is committed with another term`);
      }
      return i;
    }
    return entries.length;
  }

  #accept(entry: Entry): void {
    if (entry.index <= this.log.lastIndex) this.#truncateFrom(entry.index);
    this.log.append(entry);
    this.configs.appended(entry);
  }

  #truncateFrom(index: number): void {
    if (index > this.log.lastIndex) return;
    assert(index > this.commitIndex, 'RAFT-4: nothing committed is cut');
    this.log.truncateFrom(index);
    this.configs.truncatedFrom(index);
    this.#handedIndex = Math.min(this.#handedIndex, index - 1);
    this.stableIndex = Math.min(this.stableIndex, index - 1);
  }

  #chunk(from: string, chunk: SnapshotChunk): void {
    const { index, round, lastTerm } = chunk;
    if (index <= this.commitIndex) {
      this.#answer(from, round, true, this.commitIndex, 0, 0);
      return;
    }
    const incoming = this.#collect(from, chunk);
    if (incoming.received < chunk.totalBytes) {
      const { term } = this;
      this.send(from, { type: 'snapshotAnswer', term, round, index, offset: incoming.received });
      return;
    }
    this.#incoming = undefined;
    if (crc32c(incoming.data) !== chunk.crc) {
      this.send(from, { type: 'snapshotAnswer', term: this.term, round, index, offset: 0 });
      return;
    }
    if (this.log.termAt(index) === lastTerm && this.faults.snapshotLosesTail !== true) {
      // The log reaches that far already: what follows it may be part of a commit.
      this.commitIndex = index;
    } else {
      const snapshot = makeSnapshot(index, lastTerm, chunk.members, incoming.data);
      this.snapshot = snapshot;
      this.#installed = snapshot;
      this.#resetLog(snapshot);
      this.commitIndex = index;
      this.appliedIndex = index;
    }
    this.#answer(from, round, true, index, 0, 0);
  }

  #collect(from: string, chunk: SnapshotChunk): Incoming {
    let incoming = this.#incoming;
    const same =
      incoming?.from === from &&
      incoming.term === this.term &&
      incoming.chunk.index === chunk.index &&
      incoming.chunk.crc === chunk.crc &&
      incoming.chunk.totalBytes === chunk.totalBytes;
    if (incoming === undefined || !same) {
      const data = new Uint8Array(chunk.totalBytes);
      incoming = { from, term: this.term, chunk, data, received: 0 };
      this.#incoming = incoming;
    }
    if (chunk.offset === incoming.received) {
      incoming.data.set(chunk.data, chunk.offset);
      incoming.received += chunk.data.length;
    }
    return incoming;
  }

  #resetLog(snapshot: RaftSnapshot): void {
    this.log.reset(snapshot.index, snapshot.term);
    this.configs.reset(snapshot.index, snapshot.members);
    this.#handedIndex = snapshot.index;
    this.stableIndex = Math.min(this.stableIndex, snapshot.index);
  }

  #advanceCommit(nowMs: number): void {
    const { leadership } = this;
    if (leadership === undefined) return;
    const index = leadership.committable();
    if (index <= this.commitIndex) return;
    this.commitIndex = index;
    if (!leadership.committed()) return;
    // It has removed itself: the others hear of the commit, the best of them stands at once.
    leadership.emit();
    this.handOver();
    this.#ended = leadership.ended;
    this.#turn('removed');
    this.#follow(this.term, undefined, nowMs);
  }

  #takeReads(): void {
    if (this.leadership === undefined) return;
    for (const outcome of this.leadership.confirmed()) this.#doneReads.push(outcome);
  }

  #takeCommitted(): Entry[] {
    const count = Math.min(this.commitIndex - this.appliedIndex, APPLY_MAX);
    const committed = count > 0 ? this.log.slice(this.appliedIndex + 1, count, Infinity) : [];
    this.appliedIndex += committed.length;
    return committed;
  }
}

export function notLeader(id: string, leader: string | undefined): SextantError {
  const known = leader === undefined ? '' : `: leader=${leader}`;
  return new SextantError('NOT_LEADER', `${id} does not lead the group${known}`);
}
