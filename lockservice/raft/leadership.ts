/**
 * What a server does while it leads one term: replicates its log, counts what is committed, confirms reads, changes the
 * members. Made when it wins, dropped when it steps down; part of the core, no I/O.
 *
 * Reads: `read` -> waits for the no-op's commit -> the next `emit` gives all that wait one round and the commit index as it
 * is then -> a majority answers that round or a later one -> they are served at that index.
 *
 * Members change one at a time:
 *
 * ```
 *   add:    learner, gets the log -- caught up (a round within an election timeout) --> config entry appended --> committed
 *   remove:                                                                             config entry appended --> committed
 *                                                                  it was the leader itself: hands over, steps down
 * ```
 *
 * A change begins only when an entry of this term is committed (the no-op at the latest) and the configuration before is.
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import type { Configs } from './configs.js';
import { encodeMembers, EntryKind, type RaftMember, type RaftSnapshot } from './entry.js';
import type { RaftFaults } from './faults.js';
import type { RaftLog } from './log.js';
import type { AppendAnswer, RaftMessage, SnapshotAnswer } from './messages.js';
import { Peer } from './peer.js';

export interface RaftLimits {
  readonly heartbeatMs: number;
  readonly electionMs: readonly [number, number];
  /** Of one append. */
  readonly entriesMax: number;
  readonly appendBytesMax: number;
  /** Appends under way to one peer. */
  readonly inflightMax: number;
  readonly chunkBytes: number;
}

/** The core, as its leadership sees it. */
export interface LeaderContext {
  readonly id: string;
  readonly term: number;
  readonly log: RaftLog;
  readonly configs: Configs;
  readonly limits: RaftLimits;
  readonly faults: RaftFaults;
  readonly commitIndex: number;
  /** Durable here up to this index. */
  readonly stableIndex: number;
  readonly snapshot: RaftSnapshot;
  send(to: string, message: RaftMessage): void;
  appendOwn(kind: EntryKind, data: Uint8Array): number;
}

export interface MemberChange {
  readonly add?: RaftMember;
  readonly remove?: string;
}

export interface ReadOutcome {
  readonly read: number;
  readonly index: number;
}

interface Round {
  readonly round: number;
  readonly index: number;
  readonly reads: number[];
}

interface RunningChange {
  readonly add: RaftMember | undefined;
  readonly members: readonly RaftMember[];
  /** Of its config entry; 0: the learner is still catching up. */
  index: number;
  target: number;
  roundMs: number;
  progress: number;
  progressMs: number;
}

/** A learner that makes no progress for so many election timeouts is given up. */
const LEARNER_PATIENCE = 10;

export class Leadership {
  readonly peers = new Map<string, Peer>();
  /** Of the no-op that opens the term. */
  readonly firstIndex: number;
  nextHeartbeatMs: number;
  /** Outcome of the change of members that has ended since this was last taken. */
  ended: { readonly error: SextantError | undefined } | undefined = undefined;
  readonly #core: LeaderContext;
  #round = 0;
  #reads: number[] = [];
  #rounds: Round[] = [];
  #change: RunningChange | undefined = undefined;

  constructor(core: LeaderContext, nowMs: number) {
    this.#core = core;
    this.nextHeartbeatMs = nowMs + core.limits.heartbeatMs;
    const next = core.log.lastIndex + 1;
    for (const { id } of core.configs.members) {
      if (id !== core.id) this.peers.set(id, new Peer(id, next, nowMs));
    }
    this.firstIndex = core.appendOwn(EntryKind.noop, new Uint8Array(0));
  }

  get ownTermCommitted(): boolean {
    return this.#core.commitIndex >= this.firstIndex;
  }

  get changing(): boolean {
    return this.#change !== undefined;
  }

  read(read: number): void {
    this.#reads.push(read);
  }

  appendAnswer(from: string, answer: AppendAnswer, nowMs: number): void {
    const peer = this.#heard(from, answer.round, nowMs);
    if (peer === undefined) return;
    const { log } = this.#core;
    if (answer.ok) {
      if (answer.index > log.lastIndex) {
        throw new SextantError('PROTOCOL', `${from} has entries that its leader has not`);
      }
      peer.matched(answer.index);
      if (peer.standing === 'learner') this.#learnerMoved(peer, nowMs);
      return;
    }
    // Refused: an answer to a message that overtook, or was overtaken by, others says nothing new.
    if (peer.state === 'snapshot' || answer.index <= peer.match) return;
    if (peer.state === 'replicate') {
      peer.probe(peer.match + 1);
    } else if (peer.next - 1 === answer.index) {
      const at = log.lastAtMost(Math.min(answer.hintIndex, answer.index - 1), answer.hintTerm);
      peer.probe(Math.min(at, answer.hintIndex) + 1);
    }
  }

  snapshotAnswer(from: string, answer: SnapshotAnswer, nowMs: number): void {
    const peer = this.#heard(from, answer.round, nowMs);
    if (peer?.snapshot?.index !== answer.index || peer.state !== 'snapshot') return;
    // The same again is a repeated answer: to send for each of them would double every chunk from there on.
    if (answer.offset === peer.offset) return;
    peer.offset = Math.min(answer.offset, peer.snapshot.data.length);
    // All of it is there: its installation is answered as an append; until then heartbeats ask.
    peer.waiting = peer.offset === peer.snapshot.data.length;
    if (peer.standing === 'learner') this.#learnerMoved(peer, nowMs);
  }

  /** Heartbeats, and what goes by time. */
  tick(nowMs: number): void {
    if (nowMs < this.nextHeartbeatMs) return;
    const { limits } = this.#core;
    this.nextHeartbeatMs = nowMs + limits.heartbeatMs;
    for (const peer of this.peers.values()) {
      peer.poke = true;
      peer.waiting = false;
      const silentMs = nowMs - peer.heardMs;
      if (peer.state === 'replicate' && silentMs > limits.electionMs[1]) peer.probe(peer.match + 1);
      if (peer.standing === 'leaving') this.#seeOff(peer, nowMs);
    }
    const change = this.#change;
    const patienceMs = LEARNER_PATIENCE * limits.electionMs[1];
    if (change?.index === 0 && nowMs - change.progressMs > patienceMs) {
      const id = change.add?.id ?? '';
      this.peers.delete(id);
      this.#endChange(new SextantError('TIMEOUT', `${id} does not catch up with the Raft group`));
    }
  }

  /** Whether a majority has answered within the last election timeout (check-quorum). */
  heardQuorum(nowMs: number): boolean {
    const since = nowMs - this.#core.limits.electionMs[1];
    return this.#core.configs.majority(
      (id) => id === this.#core.id || (this.peers.get(id)?.heardMs ?? -Infinity) >= since,
    );
  }

  /** The highest index that may be committed now: on a majority, and of this term (Raft, figure 8). */
  committable(): number {
    const core = this.#core;
    const index = core.configs.majorityValue((id) =>
      id === core.id ? core.stableIndex : (this.peers.get(id)?.match ?? 0),
    );
    const own = core.log.termAt(index) === core.term || core.faults.commitOldTerm === true;
    return own ? Math.max(index, core.commitIndex) : core.commitIndex;
  }

  /** The core's commit index has moved: everybody is to know. True: this leader has removed itself. */
  committed(): boolean {
    for (const peer of this.peers.values()) peer.poke = true;
    const core = this.#core;
    const change = this.#change;
    if (change !== undefined && change.index > 0 && core.commitIndex >= change.index) {
      this.#endChange(undefined);
    }
    return core.commitIndex >= core.configs.index && !core.configs.has(core.id);
  }

  /** Sends what there is to send, and begins a round for the reads that wait. */
  emit(): void {
    const core = this.#core;
    if (this.#reads.length > 0 && this.ownTermCommitted) {
      if (core.faults.oldRoundConfirms !== true || this.#round === 0) this.#round++;
      this.#rounds.push({ round: this.#round, index: core.commitIndex, reads: this.#reads });
      this.#reads = [];
      for (const peer of this.peers.values()) peer.poke = true;
    }
    for (const peer of this.peers.values()) this.#emitTo(peer);
  }

  /** Reads whose round a majority has answered. */
  confirmed(): ReadOutcome[] {
    if (this.#rounds.length === 0) return [];
    const core = this.#core;
    const round =
      core.faults.noReadIndex === true
        ? this.#round
        : core.configs.majorityValue((id) =>
            id === core.id ? this.#round : (this.peers.get(id)?.round ?? 0),
          );
    const outcomes: ReadOutcome[] = [];
    let done = 0;
    for (; done < this.#rounds.length && this.#rounds[done].round <= round; done++) {
      const { index, reads } = this.#rounds[done];
      for (const read of reads) outcomes.push({ read, index });
    }
    this.#rounds.splice(0, done);
    return outcomes;
  }

  /** Throws CONFIG, EXISTS, NOT_FOUND or CONFLICT (retry), having changed nothing. */
  startChange({ add, remove }: MemberChange, nowMs: number): void {
    const core = this.#core;
    const { members } = core.configs;
    if ((add === undefined) === (remove === undefined)) {
      throw new SextantError('CONFIG', 'a change adds one member or removes one');
    }
    const busy = this.#change !== undefined || core.configs.index > core.commitIndex;
    if (busy && core.faults.twoChanges !== true) {
      throw new SextantError('CONFLICT', 'another change of members is under way', {
        remedy: 'retry',
      });
    }
    if (!this.ownTermCommitted && core.faults.changeBeforeNoop !== true) {
      throw new SextantError(
        'CONFLICT',
        'the leader is new: no entry of its term is committed yet',
      );
    }
    if (add !== undefined) {
      this.#startAdd(add, nowMs);
      return;
    }
    if (!members.some((member) => member.id === remove)) {
      throw new SextantError('NOT_FOUND', `${remove} is not a member of the Raft group`);
    }
    if (members.length === 1) throw new SextantError('CONFIG', 'the last member cannot be removed');
    const left = members.filter((member) => member.id !== remove);
    this.#change = newChange(undefined, left, nowMs);
    this.#appendConfig(this.#change, nowMs);
  }

  /** The member to hand over to: one that has the whole log, the longest heard of last; undefined: none has. */
  heir(): Peer | undefined {
    const { log, configs } = this.#core;
    let best: Peer | undefined;
    for (const peer of this.peers.values()) {
      if (!configs.has(peer.id) || peer.match !== log.lastIndex) continue;
      if (best === undefined || peer.heardMs > best.heardMs) best = peer;
    }
    return best;
  }

  #startAdd(add: RaftMember, nowMs: number): void {
    const { configs, log } = this.#core;
    if (configs.has(add.id)) {
      throw new SextantError('EXISTS', `${add.id} is a member of the Raft group`);
    }
    const change = newChange(add, [...configs.members, add], nowMs);
    change.target = log.lastIndex;
    this.#change = change;
    const peer = new Peer(add.id, log.lastIndex + 1, nowMs);
    peer.standing = 'learner';
    this.peers.set(add.id, peer);
  }

  #learnerMoved(peer: Peer, nowMs: number): void {
    const change = this.#change;
    if (change?.add?.id !== peer.id || change.index > 0) return;
    const { log, limits } = this.#core;
    const progress = peer.match + peer.offset;
    if (progress !== change.progress) {
      change.progress = progress;
      change.progressMs = nowMs;
    }
    if (peer.match < change.target) return;
    if (nowMs - change.roundMs <= limits.electionMs[0] || peer.match === log.lastIndex) {
      this.#appendConfig(change, nowMs);
      return;
    }
    change.target = log.lastIndex;
    change.roundMs = nowMs;
  }

  #appendConfig(change: RunningChange, nowMs: number): void {
    const { configs, limits, id: self } = this.#core;
    change.index = this.#core.appendOwn(EntryKind.config, encodeMembers(change.members));
    assert(configs.index === change.index, 'a configuration counts from when it is appended');
    for (const peer of this.peers.values()) {
      if (configs.has(peer.id)) {
        peer.standing = 'member';
      } else if (peer.standing === 'member') {
        // It still gets the log until it knows that it is out.
        peer.standing = 'leaving';
        peer.leaveMs = nowMs + LEARNER_PATIENCE * limits.electionMs[1];
      }
    }
    for (const { id } of configs.members) assert(id === self || this.peers.has(id), 'known peers');
  }

  #endChange(error: SextantError | undefined): void {
    this.#change = undefined;
    this.ended = { error };
  }

  #seeOff(peer: Peer, nowMs: number): void {
    const { configs, commitIndex } = this.#core;
    if (commitIndex >= configs.index && peer.match >= configs.index) {
      // The next answer follows a message that carried this commit index.
      if (peer.leaveRound === 0) peer.leaveRound = ++this.#round;
      else if (peer.round >= peer.leaveRound) this.peers.delete(peer.id);
    }
    if (nowMs >= peer.leaveMs) this.peers.delete(peer.id);
  }

  #heard(from: string, round: number, nowMs: number): Peer | undefined {
    const peer = this.peers.get(from);
    if (peer === undefined) return undefined;
    if (round > this.#round) {
      throw new SextantError('PROTOCOL', `${from} answers a round that never began`);
    }
    peer.heardMs = nowMs;
    peer.round = Math.max(peer.round, round);
    return peer;
  }

  #emitTo(peer: Peer): void {
    const { log, limits, snapshot } = this.#core;
    while (peer.state !== 'snapshot') {
      if (peer.next <= log.baseIndex) {
        peer.startSnapshot(snapshot);
        break;
      }
      if (peer.state === 'probe' ? peer.waiting : peer.inflight.length >= limits.inflightMax) break;
      const entries = log.slice(peer.next, limits.entriesMax, limits.appendBytesMax);
      if (entries.length === 0) break;
      this.#append(peer, entries);
      if (peer.state === 'probe') {
        peer.waiting = true;
      } else {
        peer.next += entries.length;
        peer.inflight.push(peer.next - 1);
      }
    }
    if (peer.state === 'snapshot') this.#emitChunk(peer);
    if (peer.poke) this.#append(peer, []);
  }

  #append(peer: Peer, entries: ReturnType<RaftLog['slice']>): void {
    const { log, term, commitIndex: commit } = this.#core;
    // While it gets a snapshot there is nothing known to build on: index 0 always matches.
    const previousIndex = peer.state === 'snapshot' ? 0 : peer.next - 1;
    const previousTerm = peer.state === 'snapshot' ? 0 : log.termAt(previousIndex);
    assert(previousTerm >= 0, 'an append builds on an entry that the log has');
    const round = this.#round;
    peer.poke = false;
    this.#core.send(peer.id, {
      type: 'append',
      term,
      round,
      previousIndex,
      previousTerm,
      commit,
      entries,
    });
  }

  #emitChunk(peer: Peer): void {
    const { snapshot, offset } = peer;
    if (peer.waiting || snapshot === undefined) return;
    const { index, term: lastTerm, members, crc, data } = snapshot;
    peer.waiting = true;
    peer.poke = false;
    this.#core.send(peer.id, {
      type: 'snapshot',
      term: this.#core.term,
      round: this.#round,
      index,
      lastTerm,
      totalBytes: data.length,
      crc,
      offset,
      members,
      data: data.subarray(offset, offset + this.#core.limits.chunkBytes),
    });
  }
}

function newChange(
  add: RaftMember | undefined,
  members: readonly RaftMember[],
  nowMs: number,
): RunningChange {
  return {
    add,
    members,
    index: 0,
    target: 0,
    roundMs: nowMs,
    progress: 0,
    progressMs: nowMs,
  };
}
