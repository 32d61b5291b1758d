/**
 * The volume writer: gives out LSNs, gathers records into boxcars per protection group, and knows from
 * the segments' acknowledgements what is durable. No I/O: it hands everything to a `WriterPort`.
 *
 * ```
 *   append ... append(CPL)  wait(lsn)        onReport x 4                    onReport x 2
 *        |                      |                 |                               |
 *   LSN, PG boxcar         flushSoon -> flush -> PGCL -> VCL -> VDL -> waiters   history ends
 * ```
 *
 * | point | is                                                                  | moves by           |
 * |-------|---------------------------------------------------------------------|--------------------|
 * | SCL   | end of a segment's gap-free chain                                    | acknowledgements   |
 * | PGCL  | what a write quorum of SCLs has passed                               | `quorumPoint`      |
 * | VCL   | every record up to here is at or below its PG's PGCL                 | `LsnRuns.advance`  |
 * | VDL   | highest CPL at or below VCL                                          | `LsnQueue`         |
 *
 * When a boxcar is sent (rule 2): somebody waits for one of its records, or 64 KiB are gathered, and no
 * boxcar of its PG is short of its quorum. The quorum's acknowledgement is the clock; `flushSoon` only
 * puts together what one turn of the event loop brought.
 *
 * Invariants: LOG-1 (with the segments), LOG-4, LOG-6 (refusals change nothing but what is asked next).
 */
import { assert } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import { quorumPoint, readQuorum, type Membership } from '#core/quorum/quorum-set.js';
import { FLAG_CPL, RECORD_HEADER_BYTES } from '#core/redo/record.js';
import { SclStatus, type SclReport } from '#storage-nodes/protocol/messages.js';
import { newSetOnly, NO_FAULTS, type Faults } from './faults.js';
import { LsnQueue, LsnRuns } from './lsn-queue.js';
import { PgWriter, type BoxcarContext, type Member } from './pg-writer.js';
import { ReadPoints } from './read-points.js';
import { Waiters, type Done } from './waiters.js';

/** Gathered records of one PG that are sent without being waited for. */
export const GATHERED_BYTES_MAX = 64 * 1024;
export const LAL_BYTES = 64 * 1024 * 1024;

/** What the core asks of its driver. All calls are synchronous and must not call back into the core. */
export interface WriterPort {
  /** Hands a boxcar to a node's connection; false when it is down or its queue is full. */
  push(node: number, bytes: Uint8Array, crc: number): boolean;
  /** Call `flush` once at the end of this turn. */
  flushSoon(): void;
  /** A POINTS message to one segment. */
  points(node: number, pg: number, vdl: number, pgmrpl: number): void;
  /** Send INSTALL to the segment and call `installed` with its answer, or `installFailed`. */
  install(node: number, pg: number): void;
  /** Send STRIKE to the segment, again until it is answered (rule 19). */
  strike(node: number, pg: number, generation: number, pgcl: number): void;
  /** A node refused our epoch: look into the register, call `fail` when it was won by another. */
  suspect(node: number, pg: number, theirEpoch: number): void;
  /** A commit was acknowledged after so long. */
  committed(latencyMs: number): void;
}

/** What an opening leaves to its writer. */
export interface WriterStart {
  readonly volume: number;
  readonly epoch: number;
  readonly pagesPerPg: number;
  /** In LSNs. */
  readonly lal: number;
  readonly lalBytes?: number;
  /** End of the decided range: VCL and VDL; the first LSN is the next one (rule 14). */
  readonly vdl: number;
  readonly pgs: readonly { readonly membership: Membership; readonly tail: number }[];
  readonly nodes: readonly NodeId[];
  readonly faults?: Faults;
}

interface RoomWaiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class WriterCore implements BoxcarContext {
  readonly volume: number;
  readonly volumeEpoch: number;
  readonly pagesPerPg: number;
  readonly lal: number;
  readonly pgs: PgWriter[] = [];
  readonly readPoints = new ReadPoints();
  nextLsn: number;
  vcl: number;
  vdl: number;
  failure: Error | undefined = undefined;
  onVdl: (vdl: number) => void = () => {};
  onFailure: (error: Error) => void = () => {};

  readonly #port: WriterPort;
  readonly #faults: Faults;
  readonly #lalBytes: number;
  readonly #nodes: readonly NodeId[];
  readonly #runs: LsnRuns;
  readonly #cpls = new LsnQueue();
  readonly #waiters = new Waiters();
  #room: RoomWaiter[] = [];
  /** Records at or below it are waited for. */
  #wanted = 0;
  /** By PG. */
  #pgcl: Float64Array;
  #vdlTails: Float64Array;
  readonly #push: (node: number, bytes: Uint8Array, crc: number) => boolean;

  constructor(start: WriterStart, port: WriterPort) {
    this.volume = start.volume;
    this.volumeEpoch = start.epoch;
    this.pagesPerPg = start.pagesPerPg;
    this.lal = start.lal;
    this.#lalBytes = start.lalBytes ?? LAL_BYTES;
    this.vdl = start.vdl;
    this.vcl = start.vdl;
    this.nextLsn = start.vdl + 1;
    this.#nodes = start.nodes;
    this.#port = port;
    this.#push = (node, bytes, crc) => port.push(node, bytes, crc);
    this.#faults = start.faults ?? NO_FAULTS;
    this.#runs = new LsnRuns(start.vdl);
    this.#pgcl = new Float64Array(0);
    this.#vdlTails = new Float64Array(0);
    for (const pg of start.pgs) this.addPg(pg.membership, pg.tail);
  }

  get pgmrpl(): number {
    return this.readPoints.lowest(this.vdl);
  }

  get pageCapacity(): number {
    return this.pgs.length * this.pagesPerPg;
  }

  get inFlightRecords(): number {
    return this.nextLsn - 1 - this.vdl;
  }

  get inFlightBytes(): number {
    let bytes = 0;
    for (let i = 0; i < this.pgs.length; i++) bytes += this.pgs[i].bytesAbovePgcl;
    return bytes;
  }

  /** Something was sent that no quorum has yet, or is waited for. */
  get busy(): boolean {
    return this.#waiters.size > 0 || this.pgs.some((pg) => pg.waiting);
  }

  /** The PG's last LSN at or below VDL: what a segment must have to serve a read at VDL (rule 7). */
  tailAtVdl(pg: number): number {
    return this.#vdlTails[pg];
  }

  /** The volume has grown by one PG, empty or with records up to `tail` from earlier epochs. */
  addPg(membership: Membership, tail: number): void {
    const pg = new PgWriter(this.pgs.length, membership, tail);
    pg.adopt(membership, (node) => this.#indexOf(node));
    pg.toldVdl = this.vdl;
    pg.toldPgmrpl = this.vdl;
    this.pgs.push(pg);
    this.#pgcl = extended(this.#pgcl, tail);
    this.#vdlTails = extended(this.#vdlTails, tail);
  }

  setMembership(pg: number, membership: Membership): void {
    this.pgs[pg].adopt(membership, (node) => this.#indexOf(node));
  }

  hasRoom(records: number, bytes: number): boolean {
    if (this.nextLsn - 1 + records > this.vdl + this.lal) return false;
    return this.inFlightBytes + bytes + records * RECORD_HEADER_BYTES <= this.#lalBytes;
  }

  whenRoom(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.#want(this.nextLsn - 1);
    return new Promise((resolve, reject) => this.#room.push({ resolve, reject }));
  }

  append(
    pageNo: number,
    flags: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): number {
    if (this.failure !== undefined) throw this.failure;
    const pgNo = Math.floor(pageNo / this.pagesPerPg);
    assert(pgNo < this.pgs.length, 'a page number is below pageCapacity');
    const pg = this.pgs[pgNo];
    if (pg.full) pg.close(this);
    const lsn = this.nextLsn++;
    pg.append(lsn, flags, pageNo, prevPageLsn, edits, start, end);
    this.#runs.append(lsn, pgNo);
    if ((flags & FLAG_CPL) !== 0) this.#cpls.push(lsn);
    if (pg.unsentBytes >= GATHERED_BYTES_MAX && !pg.waiting) this.#port.flushSoon();
    return lsn;
  }

  wait(lsn: number, nowMs: number, done: Done): void {
    if (this.failure !== undefined) return done(this.failure);
    if (lsn <= this.vdl) return done();
    assert(lsn < this.nextLsn, 'an LSN that is waited for was given out');
    this.#waiters.add(lsn, nowMs, done);
    this.#want(lsn);
  }

  #want(lsn: number): void {
    if (lsn <= this.#wanted) return;
    this.#wanted = lsn;
    for (let i = 0; i < this.pgs.length; i++) {
      if (this.#mayGo(this.pgs[i])) return this.#port.flushSoon();
    }
  }

  /** Rule 2. */
  #mayGo(pg: PgWriter): boolean {
    if (pg.unsentFirst === 0 || pg.waiting) return false;
    return pg.unsentFirst <= this.#wanted || pg.unsentBytes >= GATHERED_BYTES_MAX;
  }

  /** Sends every boxcar that may go. Call it at the end of a turn in which the core asked for it. */
  flush(nowMs: number): void {
    if (this.failure !== undefined) return;
    for (let i = 0; i < this.pgs.length; i++) {
      const pg = this.pgs[i];
      if (this.#mayGo(pg)) pg.send(this, nowMs, this.#push);
    }
  }

  /** What a segment says of itself, asked or not. */
  onReport(node: number, report: SclReport, nowMs: number): void {
    const pg = this.#pgOf(report);
    const member = pg?.byNode[node];
    if (pg === undefined || member === undefined || this.failure !== undefined) return;
    if (report.status !== SclStatus.ok && !this.#faults.has('refusalsCount')) {
      this.#refused(pg, member, report);
      return;
    }
    if (report.volumeEpoch !== this.volumeEpoch) {
      if (report.volumeEpoch > this.volumeEpoch) {
        this.#port.suspect(node, pg.pg, report.volumeEpoch);
      }
      return;
    }
    // Only with the planted fault does a refusal come this far.
    const scl = report.status === SclStatus.ok ? report.scl : pg.sentLast;
    this.#acknowledged(pg, member, report.generation, scl, report.held, nowMs);
    if (report.resendAfter !== 0) this.#asked(pg, member, report.resendAfter, nowMs);
    else if (member.behind) this.#resume(pg, member, nowMs);
  }

  /** Once what it was sent has arrived, or nothing came of it for a while. */
  #resume(pg: PgWriter, member: Member, nowMs: number): void {
    if (member.scl < member.sentThrough && nowMs - member.resentMs < ASK_AGAIN_MS) return;
    pg.resend(member, member.scl, nowMs, this.#push);
  }

  #pgOf(report: SclReport): PgWriter | undefined {
    return report.volume === this.volume ? this.pgs[report.pg] : undefined;
  }

  #acknowledged(
    pg: PgWriter,
    member: Member,
    generation: number,
    scl: number,
    held: number,
    nowMs: number,
  ): void {
    if (generation < member.generation) return;
    if (generation > member.generation) this.#strike(pg, member, generation);
    member.held = held;
    const claimed = this.#faults.has('ignoreHoles') ? Math.max(scl, held) : scl;
    // A hydrated segment's SCL is a point of the whole volume, at or below VDL: it can lie above the PG's tail.
    const counted = Math.min(claimed, pg.sentLast);
    if (counted > member.scl) {
      pg.acknowledge(member, counted);
      if (counted > pg.pgcl) this.#advance(pg, nowMs);
      pg.trim();
    }
    if (member.strikeTarget > 0 && member.scl >= member.strikeTarget) member.strikeTarget = 0;
  }

  /** Rule 19: the folder is not the one that gave the acknowledgements so far, so they are worth nothing. */
  #strike(pg: PgWriter, member: Member, generation: number): void {
    member.generation = generation;
    member.confirmedMs = -Infinity;
    if (!this.#faults.has('keepAcks')) {
      member.scl = 0;
      member.held = 0;
      member.ackedPosition = 0;
      // Otherwise the whole log counts as sent to it and not acknowledged.
      member.behind = pg.sentLast > 0;
    }
    member.strikeTarget = pg.pgcl;
    this.#port.strike(member.node, pg.pg, generation, pg.pgcl);
  }

  #advance(pg: PgWriter, nowMs: number): void {
    const point = this.#faults.size === 0 ? quorumPoint(pg.membership, pg.sclOf) : this.#faulty(pg);
    if (point <= pg.pgcl) return;
    pg.advance(point);
    this.#pgcl[pg.pg] = point;
    this.vcl = this.#runs.advance(this.vcl, this.#pgcl);
    const cpl = this.#cpls.dropThrough(this.vcl);
    const vdl = this.#faults.has('vdlAtVcl') ? this.vcl : cpl;
    if (vdl > this.vdl) this.#durable(vdl, nowMs);
    else this.#freeRoom();
    if (this.#mayGo(pg)) this.#port.flushSoon();
  }

  /** PGCL with faults planted. */
  #faulty(pg: PgWriter): number {
    if (this.#faults.has('writeQuorum3')) return thirdHighest(pg.members);
    const newOnly = this.#faults.has('writeNewOnly');
    return quorumPoint(newOnly ? newSetOnly(pg.membership) : pg.membership, pg.sclOf);
  }

  #durable(vdl: number, nowMs: number): void {
    this.vdl = vdl;
    this.#runs.dropThrough(vdl, this.#vdlTails);
    this.onVdl(vdl);
    const waiters = this.#waiters;
    while (waiters.first <= this.vdl && this.failure === undefined) {
      this.#port.committed(nowMs - waiters.firstSinceMs);
      waiters.take()();
    }
    this.#freeRoom();
  }

  #freeRoom(): void {
    if (this.#room.length === 0) return;
    const room = this.#room;
    this.#room = [];
    for (const waiter of room) waiter.resolve();
  }

  #refused(pg: PgWriter, member: Member, report: SclReport): void {
    switch (report.status) {
      case SclStatus.needRanges:
        this.lacksList(member.node, pg.pg);
        return;
      case SclStatus.staleEpoch:
        this.#port.suspect(member.node, pg.pg, report.volumeEpoch);
        return;
      case SclStatus.ok:
      case SclStatus.diskFull:
      case SclStatus.notReady:
      case SclStatus.corrupt:
        // `tick` sends again later.
        return;
    }
  }

  #asked(pg: PgWriter, member: Member, after: number, nowMs: number): void {
    // While one resend is on its way, every boxcar behind the hole makes the segment ask again.
    if (nowMs - member.resentMs < ASK_AGAIN_MS) return;
    pg.resend(member, after, nowMs, this.#push);
  }

  /** A segment has not installed the list of this epoch: nothing else before it has (rule 13). */
  lacksList(node: number, pgNo: number): void {
    const member = this.pgs[pgNo].byNode[node];
    if (member === undefined || member.installing || this.failure !== undefined) return;
    member.installing = true;
    member.behind = true;
    this.#port.install(node, pgNo);
  }

  installed(node: number, pgNo: number, scl: number, generation: number, nowMs: number): void {
    const pg = this.pgs[pgNo];
    const member = pg.byNode[node];
    if (member === undefined || this.failure !== undefined) return;
    member.installing = false;
    this.#acknowledged(pg, member, generation, scl, scl, nowMs);
    // INSTALL says VDL only; what is sent again says the rest, but this group may be idle from here on.
    if (member.scl >= pg.sentLast) this.#port.points(node, pgNo, this.vdl, this.pgmrpl);
    pg.resend(member, member.scl, nowMs, this.#push);
  }

  installFailed(node: number, pgNo: number): void {
    const member = this.pgs[pgNo].byNode[node];
    if (member !== undefined) member.installing = false;
  }

  /** What an opening knows of a segment; `generation` -1 when its folder must be struck first. */
  knows(node: number, pgNo: number, scl: number, generation: number): void {
    const pg = this.pgs[pgNo];
    const member = pg.byNode[node];
    if (member === undefined) return;
    member.generation = generation;
    member.scl = Math.min(scl, pg.sentLast);
    member.behind = false;
    // Nothing else makes it name its generation when it lacks nothing and nothing is written.
    if (generation < 0) this.lacksList(node, pgNo);
  }

  /**
   * A connection was made. INSTALL brings a node that slept up to date, tells the others whom to answer,
   * and its answer is the SCL from which to send again: acknowledgements may have died with the old link.
   */
  nodeUp(node: number): void {
    if (this.failure !== undefined) return;
    for (let i = 0; i < this.pgs.length; i++) {
      const pg = this.pgs[i];
      const member = pg.byNode[node];
      if (member === undefined) continue;
      if (member.strikeTarget > 0) {
        this.#port.strike(node, i, member.generation, member.strikeTarget);
      }
      this.lacksList(node, i);
    }
  }

  /** Sends again what is overdue. Call it every 50 ms or so while `lagging`. */
  tick(nowMs: number): void {
    if (this.failure !== undefined) return;
    for (let i = 0; i < this.pgs.length; i++) {
      const pg = this.pgs[i];
      for (let k = 0; k < pg.members.length; k++) {
        const member = pg.members[k];
        if (pg.resendIsDue(member, nowMs)) pg.resend(member, member.scl, nowMs, this.#push);
      }
    }
  }

  /** Some member lacks something that was sent. */
  get lagging(): boolean {
    for (let i = 0; i < this.pgs.length; i++) {
      const pg = this.pgs[i];
      for (let k = 0; k < pg.members.length; k++) {
        if (pg.members[k].scl < pg.sentLast) return true;
      }
    }
    return false;
  }

  /**
   * Segments that hold records at or below VDL or PGMRPL and have not heard so: they may not fold them yet (rule
   * 8, PAGE-3), and an idle group's log that nobody may drop keeps the journals of all six from being freed.
   */
  get pointsDue(): boolean {
    const { pgmrpl } = this;
    for (let i = 0; i < this.pgs.length; i++) if (this.#pointsDue(i, pgmrpl)) return true;
    return false;
  }

  #pointsDue(pgNo: number, pgmrpl: number): boolean {
    const pg = this.pgs[pgNo];
    const tail = this.#vdlTails[pgNo];
    return pg.toldVdl < tail || (pg.toldPgmrpl < tail && pg.toldPgmrpl < pgmrpl);
  }

  sendPoints(): void {
    const { vdl, pgmrpl } = this;
    for (let i = 0; i < this.pgs.length; i++) {
      const pg = this.pgs[i];
      if (!this.#pointsDue(i, pgmrpl)) continue;
      pg.toldVdl = vdl;
      pg.toldPgmrpl = pgmrpl;
      for (const member of pg.members) this.#port.points(member.node, i, vdl, pgmrpl);
    }
  }

  /** A request of this epoch, sent at `sentMs`, was carried out by the segment. */
  confirmed(node: number, pgNo: number, sentMs: number): void {
    const member = this.pgs[pgNo].byNode[node];
    if (member !== undefined && sentMs > member.confirmedMs) member.confirmedMs = sentMs;
  }

  /**
   * Rule 26: when the newest request was sent of which a read quorum of some PG is known to have carried
   * it out or a later one; -Infinity for never.
   *
   * A later writer opens only T after it has sealed a write quorum of every PG, and a read quorum meets
   * every write quorum; so while this is at most T ago there is no later writer. (The rule says write
   * quorum; a read quorum is enough, and lets an engine that has lost a zone and one node go on reading,
   * as rule 15 wants.)
   */
  get confirmedMs(): number {
    let latest = -Infinity;
    for (const pg of this.pgs) {
      for (const { confirmedMs: since } of pg.members) {
        if (since <= latest) continue;
        const has = (id: NodeId): boolean => (pg.member(id)?.confirmedMs ?? -Infinity) >= since;
        if (readQuorum(pg.membership, has)) latest = since;
      }
    }
    return latest;
  }

  /** The volume is dead for this engine: everybody who waits learns why. */
  fail(error: Error): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.onFailure(error);
    while (this.#waiters.size > 0) this.#waiters.take()(error);
    const room = this.#room;
    this.#room = [];
    for (const waiter of room) waiter.reject(error);
  }

  #indexOf(node: NodeId): number {
    const index = this.#nodes.indexOf(node);
    if (index < 0)
      throw new SextantError('CONFIG', `the volume has a node without address: ${node}`);
    return index;
  }
}

const ASK_AGAIN_MS = 50;

function extended(values: Float64Array, value: number): Float64Array {
  const longer = new Float64Array(values.length + 1);
  longer.set(values);
  longer[values.length] = value;
  return longer;
}

/** The planted fault `writeQuorum3`. */
function thirdHighest(members: readonly Member[]): number {
  return members.map((member) => member.scl).toSorted((a, b) => b - a)[2];
}
