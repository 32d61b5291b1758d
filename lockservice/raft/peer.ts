/**
 * What a leader knows of one other server, and what it may send it.
 *
 * | state     | sends                                                     | leaves it                                   |
 * |-----------|-----------------------------------------------------------|---------------------------------------------|
 * | probe     | one append per answer or heartbeat: looks for the match     | answer ok -> replicate; gone from log -> snapshot |
 * | replicate | a window of appends without waiting                        | refused, or long unheard -> probe            |
 * | snapshot  | one chunk per answer or heartbeat                          | answer ok at or above it -> replicate         |
 */
import type { RaftSnapshot } from './entry.js';

export type PeerState = 'probe' | 'replicate' | 'snapshot';

export class Peer {
  readonly id: string;
  /** Gets the log but counts in no majority: it is to be a member, or it was one. */
  standing: 'member' | 'learner' | 'leaving' = 'member';
  state: PeerState = 'probe';
  /** Its log is the leader's up to here, durably. */
  match = 0;
  next: number;
  /** Last indexes of the appends with entries that are under way, in order. */
  inflight: number[] = [];
  /** A probe or a chunk is under way. */
  waiting = false;
  /** Must hear something now: a heartbeat, a new round, a new commit index. */
  poke = true;
  heardMs: number;
  /** Highest round that it has answered. */
  round = 0;
  snapshot: RaftSnapshot | undefined = undefined;
  offset = 0;
  /** Of one that leaves: the round whose answer shows that it knows, and when nobody waits for it any more. */
  leaveRound = 0;
  leaveMs = 0;

  constructor(id: string, next: number, nowMs: number) {
    this.id = id;
    this.next = next;
    this.heardMs = nowMs;
  }

  probe(next: number): void {
    this.state = 'probe';
    this.next = Math.max(next, this.match + 1);
    this.inflight = [];
    this.waiting = false;
    this.snapshot = undefined;
  }

  /** Its log matches up to `index`; false when that was known. */
  matched(index: number): boolean {
    while (this.inflight.length > 0 && this.inflight[0] <= index) this.inflight.shift();
    if (this.state === 'snapshot' && this.snapshot !== undefined && index < this.snapshot.index) {
      this.match = Math.max(this.match, index);
      return false;
    }
    const grew = index > this.match;
    if (grew) this.match = index;
    if (this.state !== 'replicate') {
      this.state = 'replicate';
      this.snapshot = undefined;
      this.inflight = [];
      this.next = this.match + 1;
      this.waiting = false;
    }
    this.next = Math.max(this.next, this.match + 1);
    return grew;
  }

  startSnapshot(snapshot: RaftSnapshot): void {
    this.state = 'snapshot';
    this.snapshot = snapshot;
    this.offset = 0;
    this.waiting = false;
    this.inflight = [];
  }
}
