/**
 * The writer's side of one protection group: the boxcar that fills, the boxcars sent and kept, and what
 * each member has.
 *
 * ```
 *            kept for laggards      above PGCL: kept     gathered
 *   sent  | b b b b b b b b b b | b  (one group at a time) |  ready, open
 *                          PGCL ^                  sentLast ^          tail ^
 * ```
 *
 * - A boxcar's bytes are never used again once it was handed to a connection: links send them later.
 * - Everything above PGCL is kept, and below it up to HISTORY_BYTES_MAX of what some member still lacks;
 *   a member that needs older ones is filled by gossip (rule 5).
 * - PGCL never goes back, even when acknowledgements are struck (rule 19): what it covered was durable.
 */
import { crc32c } from '#core/bytes/crc32c.js';
import type { NodeId } from '#core/ids.js';
import { members, type Membership } from '#core/quorum/quorum-set.js';
import { BoxcarWriter } from '#core/redo/boxcar-writer.js';
import { sliceBoxcar } from '#core/redo/boxcar.js';

/** A boxcar that fills up while its PG waits for a quorum is closed here, and the next one begins. */
export const BOXCAR_BYTES_MAX = 1024 * 1024;
export const HISTORY_BYTES_MAX = 8 * 1024 * 1024;
/** Bytes that one node may have received and not yet acknowledged, per PG; past it, it is a laggard. */
export const UNACKNOWLEDGED_BYTES_MAX = 16 * 1024 * 1024;
/** Bytes that one resend sends at most; the next one goes from the SCL that it leads to. */
const RESEND_BYTES_MAX = 2 * 1024 * 1024;
const RESEND_AFTER_MS = 200;
const RESEND_AFTER_MS_MAX = 3200;

export interface Boxcar {
  readonly first: number;
  readonly last: number;
  readonly backLink: number;
  readonly bytes: Uint8Array;
  /** CRC-32C of all bytes: computed once for the frames to all members. */
  readonly crc: number;
  /** When it was first sent; every acknowledgement that covers it was given later. */
  sentMs: number;
  /** All boxcar bytes of the PG up to and with this one. */
  readonly endPosition: number;
}

/** What the writer knows of a member's segment. */
export class Member {
  readonly node: number;
  readonly id: NodeId;
  /** Highest SCL that counts as acknowledged in this epoch. */
  scl = 0;
  held = 0;
  /** Of the folder whose acknowledgements count; -1 before the first. */
  generation = -1;
  sentThrough = 0;
  sentPosition = 0;
  ackedPosition = 0;
  /** Not all that was sent to others was sent to it: resume from its SCL. So begins who is not known yet. */
  behind = true;
  /** It lacks the list of this epoch; INSTALL is on its way. */
  installing = false;
  /** Not 0: STRIKE was sent and SCL has not been seen at or above this since (rule 19). */
  strikeTarget = 0;
  confirmedMs = -Infinity;
  resentMs = -Infinity;
  resendAfterMs = RESEND_AFTER_MS;

  constructor(node: number, id: NodeId) {
    this.node = node;
    this.id = id;
  }
}

export interface BoxcarContext {
  readonly volume: number;
  readonly volumeEpoch: number;
  readonly vdl: number;
  readonly pgmrpl: number;
}

/** Hands bytes to a node's connection; false when it is down or its queue is full. */
export type PushBoxcar = (node: number, bytes: Uint8Array, crc: number) => boolean;

export class PgWriter {
  readonly pg: number;
  membership: Membership;
  members: Member[] = [];
  /** By node index; undefined: not a member. */
  byNode: (Member | undefined)[] = [];
  /** Of every record given out, sent or not. */
  tail: number;
  sentLast: number;
  pgcl: number;
  /** VDL that its segments have been told of. */
  toldVdl = 0;
  toldPgmrpl = 0;
  /** First LSN not sent yet, or 0. */
  unsentFirst = 0;
  unsentBytes = 0;
  /** Bytes kept because they are above PGCL. */
  bytesAbovePgcl = 0;
  boxcarsSent = 0;
  boxcarsResent = 0;
  bytesEncoded = 0;
  readonly sclOf: (node: NodeId) => number;

  readonly #writer = new BoxcarWriter();
  #openBackLink: number;
  #ready: Boxcar[] = [];
  #sent: Boxcar[] = [];
  /** Index into `sent` of the first boxcar above PGCL. */
  #above = 0;
  #historyBytes = 0;
  readonly #scls = new Map<NodeId, Member>();

  constructor(pg: number, membership: Membership, tail: number) {
    this.pg = pg;
    this.membership = membership;
    this.tail = tail;
    this.sentLast = tail;
    this.pgcl = tail;
    this.#openBackLink = tail;
    this.sclOf = (node) => this.#scls.get(node)?.scl ?? 0;
  }

  member(id: NodeId): Member | undefined {
    return this.#scls.get(id);
  }

  /** Takes over a membership: those who stay keep what they acknowledged, new ones start from nothing. */
  adopt(membership: Membership, indexOf: (node: NodeId) => number): void {
    this.membership = membership;
    this.members = [];
    this.byNode = [];
    const before = new Map(this.#scls);
    this.#scls.clear();
    for (const id of members(membership)) {
      const node = indexOf(id);
      const member = before.get(id) ?? new Member(node, id);
      this.members.push(member);
      this.#scls.set(id, member);
      this.byNode[node] = member;
    }
  }

  append(
    lsn: number,
    flags: number,
    pageNo: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (this.unsentFirst === 0) this.unsentFirst = lsn;
    const writer = this.#writer;
    const before = writer.recordCount === 0 ? 0 : writer.byteLength;
    writer.append(lsn, flags, pageNo, prevPageLsn, edits, start, end);
    const grown = writer.byteLength - before;
    this.unsentBytes += grown;
    this.bytesAbovePgcl += grown;
    this.tail = lsn;
  }

  /** The open boxcar is as large as one may get: close it before the next record. */
  get full(): boolean {
    return this.#writer.byteLength >= BOXCAR_BYTES_MAX;
  }

  close(context: BoxcarContext): void {
    const first = this.#writer.firstLsn;
    const bytes = this.#writer.finish({
      volume: context.volume,
      pg: this.pg,
      volumeEpoch: context.volumeEpoch,
      membershipEpoch: this.membership.epoch,
      backLink: this.#openBackLink,
      vdl: context.vdl,
      pgmrpl: context.pgmrpl,
    });
    this.bytesEncoded += bytes.length;
    this.#ready.push({
      first,
      last: this.tail,
      backLink: this.#openBackLink,
      bytes,
      crc: crc32c(bytes),
      sentMs: 0,
      endPosition: this.bytesEncoded,
    });
    this.#openBackLink = this.tail;
  }

  /** A boxcar is short of its quorum: the next one waits (rule 2). */
  get waiting(): boolean {
    return this.sentLast > this.pgcl;
  }

  /** Sends all that was gathered to every member that is not behind. */
  send(context: BoxcarContext, nowMs: number, push: PushBoxcar): void {
    if (this.#writer.recordCount > 0) this.close(context);
    for (let i = 0; i < this.#ready.length; i++) {
      const boxcar = this.#ready[i];
      boxcar.sentMs = nowMs;
      this.#sent.push(boxcar);
      this.boxcarsSent++;
      for (let k = 0; k < this.members.length; k++) this.#sendTo(this.members[k], boxcar, push);
    }
    this.toldVdl = context.vdl;
    this.toldPgmrpl = context.pgmrpl;
    this.sentLast = this.tail;
    this.#ready.length = 0;
    this.unsentFirst = 0;
    this.unsentBytes = 0;
  }

  #sendTo(member: Member, boxcar: Boxcar, push: PushBoxcar): void {
    if (member.behind) return;
    const unacknowledged = boxcar.endPosition - Math.max(member.ackedPosition, 0);
    if (
      member.installing ||
      unacknowledged > UNACKNOWLEDGED_BYTES_MAX ||
      !push(member.node, boxcar.bytes, boxcar.crc)
    ) {
      member.behind = true;
      return;
    }
    member.sentThrough = boxcar.last;
    member.sentPosition = boxcar.endPosition;
  }

  /** Sends again what follows `after`, as far as it is kept; a hole before it is left to gossip. */
  resend(member: Member, after: number, nowMs: number, push: PushBoxcar): void {
    if (member.installing) return;
    member.resentMs = nowMs;
    let bytesSent = 0;
    for (let i = this.#firstAbove(after); i < this.#sent.length; i++) {
      const boxcar = this.#sent[i];
      if (bytesSent > 0 && bytesSent + boxcar.bytes.length > RESEND_BYTES_MAX) {
        member.behind = true;
        return;
      }
      const partial = boxcar.first <= after;
      const bytes = partial ? sliceBoxcar(boxcar.bytes, after, boxcar.last) : boxcar.bytes;
      if (!push(member.node, bytes, partial ? crc32c(bytes) : boxcar.crc)) {
        member.behind = true;
        return;
      }
      bytesSent += bytes.length;
      this.boxcarsResent++;
      member.sentThrough = Math.max(member.sentThrough, boxcar.last);
      member.sentPosition = Math.max(member.sentPosition, boxcar.endPosition);
    }
    member.behind = false;
  }

  /** Whether a member that says nothing should be sent its records again; each time it takes twice as long. */
  resendIsDue(member: Member, nowMs: number): boolean {
    if (member.scl >= this.sentLast || this.#sent.length === 0 || member.installing) return false;
    const boxcar = this.#sent[Math.min(this.#firstAbove(member.scl), this.#sent.length - 1)];
    if (nowMs - Math.max(boxcar.sentMs, member.resentMs) < member.resendAfterMs) return false;
    member.resendAfterMs = Math.min(member.resendAfterMs * 2, RESEND_AFTER_MS_MAX);
    return true;
  }

  /** The member has acknowledged `scl`, more than before. */
  acknowledge(member: Member, scl: number): void {
    member.scl = scl;
    member.resendAfterMs = RESEND_AFTER_MS;
    for (let i = this.#sent.length - 1; i >= 0; i--) {
      const boxcar = this.#sent[i];
      if (boxcar.last > scl) continue;
      if (boxcar.sentMs > member.confirmedMs) member.confirmedMs = boxcar.sentMs;
      if (boxcar.endPosition > member.ackedPosition) member.ackedPosition = boxcar.endPosition;
      return;
    }
  }

  /** PGCL has moved: what it covers is history now. */
  advance(pgcl: number): void {
    this.pgcl = pgcl;
    while (this.#above < this.#sent.length && this.#sent[this.#above].last <= pgcl) {
      const bytes = this.#sent[this.#above].bytes.length;
      this.bytesAbovePgcl -= bytes;
      this.#historyBytes += bytes;
      this.#above++;
    }
  }

  /** Drops history that nobody needs or that is past its bound. */
  trim(): void {
    let lowest = Infinity;
    for (let i = 0; i < this.members.length; i++) {
      if (this.members[i].scl < lowest) lowest = this.members[i].scl;
    }
    let drop = 0;
    while (drop < this.#above) {
      const boxcar = this.#sent[drop];
      if (boxcar.last > lowest && this.#historyBytes <= HISTORY_BYTES_MAX) break;
      this.#historyBytes -= boxcar.bytes.length;
      drop++;
    }
    if (drop === 0) return;
    if (drop === this.#sent.length) this.#sent.length = 0;
    else this.#sent.splice(0, drop);
    this.#above -= drop;
  }

  #firstAbove(after: number): number {
    let low = 0;
    let high = this.#sent.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sent[middle].last > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
