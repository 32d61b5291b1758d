/**
 * One segment: this node's copy of one protection group. It decides what joins the chain and what is
 * refused; it does no I/O.
 *
 * ```
 *   boxcar, gossip --> stale? newer? list missing? --> refused, changes nothing      (LOG-6, rule 13)
 *                        |
 *                        +-- backLink === SCL --> chain: journal it, SCL = its last LSN
 *                        +-- backLink  >  SCL --> held in memory, ask peers for the hole
 *                        +-- starts at or below SCL --> what is new of it is cut out (resends are cut differently)
 *
 *   seal, install, adopt: epoch and list together, held boxcars dropped, chain cut where a new range begins
 * ```
 *
 * `step` returns effects in the order in which they must be carried out. What stands before a
 * `reply` or an `acknowledge` must be durable before those leave the node.
 *
 * - LOG-2, LOG-3: SCL moves only together with a `chain` effect, and is told only by effects after it.
 * - LOG-5: records inside a known range never enter, and leave when the range becomes known.
 * - LOG-6: epochs, list and journaled VDL never go back.
 * - SEG-1: volumeEpoch >= listEpoch; boxcars and reads are served only when both are equal.
 * - SEG-2: SCL >= base, and base <= journaled VDL.
 */
import { assert, unreachable } from '#core/assert.js';
import { SextantError } from '#core/errors.js';
import type { Membership } from '#core/quorum/quorum-set.js';
import {
  BOXCAR_HEADER_BYTES,
  boxcarBytesAt,
  decodeBoxcar,
  sliceBoxcar,
} from '#core/redo/boxcar.js';
import type { BoxcarHeader } from '#core/redo/boxcar.js';
import { FLAG_CPL, RecordReader } from '#core/redo/record.js';
import type { Faults } from '../node/faults.js';
import { SclStatus } from '../protocol/messages.js';
import type {
  DecidedList,
  NodeAddress,
  Points,
  ReadPageRequest,
  SegmentAddress,
  StrikeRequest,
  TruncationRange,
} from '../protocol/messages.js';
import { ChainTail } from './chain-tail.js';
import type { LsnRun } from './chain-tail.js';
import { HeldBoxcars } from './held-boxcars.js';
import { newRanges, newestEpoch, rangeIn } from './ranges.js';
import type { SegmentEpochs, SegmentPoints } from './segment-state.js';

/** What a seal is answered with, save what the node adds about itself. */
export interface SealState {
  readonly scl: number;
  readonly journaledVdl: number;
  readonly pgTail: number;
  readonly records: readonly LsnRun[];
  readonly whole: boolean;
}

export type SegmentEvent =
  | { readonly type: 'boxcar'; readonly bytes: Uint8Array }
  | { readonly type: 'points'; readonly points: Points }
  /** Rule 9; the list is the one decided before this epoch. */
  | { readonly type: 'seal'; readonly list: DecidedList }
  /** Rule 13, from the engine, a peer or a register. `vdl` is durable. */
  | { readonly type: 'install'; readonly list: DecidedList; readonly vdl: number }
  | {
      readonly type: 'gossip';
      readonly boxcars: Uint8Array;
      readonly vdl: number;
      readonly peerScl: number;
    }
  /** Pages as of `point` are in the store and durable (rule 18). */
  | { readonly type: 'hydrated'; readonly point: number; readonly vdl: number }
  | { readonly type: 'strike'; readonly strike: StrikeRequest }
  /** No peer has what fills the hole. */
  | { readonly type: 'stuck' };

export type SegmentEffect =
  /** Append to the journal and, once durable, admit. */
  | { readonly type: 'chain'; readonly bytes: Uint8Array }
  | { readonly type: 'truncate'; readonly lsn: number }
  /** Drop all that the store has of this segment. */
  | { readonly type: 'forget' }
  | { readonly type: 'saveEpochs' }
  | { readonly type: 'savePoints' }
  /** After all of the above is durable: tell the engine the SCL. */
  | { readonly type: 'acknowledge' }
  | { readonly type: 'refuse'; readonly status: SclStatus; readonly detail: string }
  | { readonly type: 'sealed'; readonly state: SealState }
  /** There is a hole, or log that this segment lacks: gossip now. */
  | { readonly type: 'ask' };

const HELD_BYTES_MAX = 8 * 1024 * 1024;

export class Segment {
  readonly volume: number;
  readonly pg: number;
  volumeEpoch = 0;
  listEpoch = 0;
  membershipEpoch = 0;
  membership: Membership | undefined = undefined;
  ranges: readonly TruncationRange[] = [];
  peers: readonly NodeAddress[] = [];
  /** False: counts in no read quorum (rule 19). */
  whole: boolean;
  /** The store's content is damaged: kept, for who may salvage it, but never served; SCL is 0. */
  doubtful = false;
  /** End of the gap-free chain. */
  scl = 0;
  journaledVdl = 0;
  pgmrpl = 0;
  /** Log at and below it is not here. */
  logStart = 0;
  /** Set while the engine must be asked to send again what follows SCL. */
  resendAfter = 0;
  /** PGCL of the strike that may make this segment whole again. */
  #struckPgcl = -1;
  /** While recovering: end of what the store has without a gap. */
  #recovered = 0;
  readonly #tail = new ChainTail();
  readonly #held: HeldBoxcars;
  readonly #faults: Faults;
  readonly #reader = new RecordReader();

  constructor(
    volume: number,
    pg: number,
    whole: boolean,
    faults: Faults,
    heldBytesMax = HELD_BYTES_MAX,
  ) {
    this.volume = volume;
    this.pg = pg;
    this.whole = whole;
    this.#faults = faults;
    this.#held = new HeldBoxcars(heldBytesMax);
  }

  get held(): number {
    return Math.max(this.scl, this.#held.lastLsn);
  }

  /** PG tail at or below the journaled VDL. */
  get base(): number {
    return this.#tail.floorLsn;
  }

  step(event: SegmentEvent): SegmentEffect[] {
    const effects: SegmentEffect[] = [];
    switch (event.type) {
      case 'boxcar':
        this.#boxcar(event.bytes, effects);
        break;
      case 'points':
        this.#points(event.points, effects);
        break;
      case 'seal':
        this.#seal(event.list, effects);
        break;
      case 'install':
        this.#install(event.list, event.vdl, effects);
        break;
      case 'gossip':
        this.#gossip(event.boxcars, event.vdl, event.peerScl, effects);
        break;
      case 'hydrated':
        this.#hydrated(event.point, event.vdl, effects);
        break;
      case 'strike':
        this.#strike(event.strike, effects);
        break;
      case 'stuck':
        if (this.held > this.scl) {
          this.resendAfter = this.scl;
          effects.push({ type: 'acknowledge' });
        }
        break;
      default:
        unreachable(event);
    }
    assert(this.volumeEpoch >= this.listEpoch, 'SEG-1: the list is of this epoch or an older one');
    assert(this.scl >= this.base, 'SEG-2: the chain reaches its base');
    return effects;
  }

  /**
   * Whether a request that names these epochs is served: `ok`, `staleEpoch`, or `needRanges` when
   * this segment is behind or sealed (rule 13).
   */
  gate(address: SegmentAddress): SclStatus {
    if (this.#faults.takeStale === true && this.#isStale(address)) return SclStatus.ok;
    if (address.volumeEpoch < this.volumeEpoch) return SclStatus.staleEpoch;
    if (address.volumeEpoch > this.volumeEpoch) return SclStatus.needRanges;
    if (address.membershipEpoch < this.membershipEpoch) return SclStatus.staleEpoch;
    if (address.membershipEpoch > this.membershipEpoch) return SclStatus.needRanges;
    const installed = this.listEpoch === this.volumeEpoch || this.#faults.epochGate === true;
    return installed ? SclStatus.ok : SclStatus.needRanges;
  }

  #isStale(address: SegmentAddress): boolean {
    return address.volumeEpoch < this.volumeEpoch || address.membershipEpoch < this.membershipEpoch;
  }

  /** Rule 7. Throws STALE_EPOCH, NEED_RANGES, NOT_READY (SCL too low) or OUT_OF_RANGE. */
  checkRead(request: ReadPageRequest): void {
    if (this.doubtful) throw new SextantError('NOT_READY', 'this segment is damaged');
    const status = this.gate(request);
    if (status === SclStatus.staleEpoch)
      throw new SextantError('STALE_EPOCH', 'read of an older epoch');
    if (status !== SclStatus.ok)
      throw new SextantError('NEED_RANGES', 'list of this epoch not installed');
    if (this.scl < request.pgTail) {
      throw new SextantError('NOT_READY', `SCL ${this.scl} below the PG tail ${request.pgTail}`);
    }
    if (request.readPoint < this.pgmrpl) {
      throw new SextantError('OUT_OF_RANGE', `read point below PGMRPL ${this.pgmrpl}`);
    }
  }

  /** What a peer that is behind in epoch or list must adopt. */
  decided(): DecidedList | undefined {
    if (this.membership === undefined) return undefined;
    return {
      volumeEpoch: this.volumeEpoch,
      listEpoch: this.listEpoch,
      ranges: this.ranges,
      membership: this.membership,
      peers: this.peers,
    };
  }

  epochs(): SegmentEpochs {
    const { membership } = this;
    assert(membership !== undefined, 'epochs are saved after they were adopted');
    const { volumeEpoch, listEpoch, membershipEpoch, ranges, peers, whole, doubtful } = this;
    return { volumeEpoch, listEpoch, membershipEpoch, membership, ranges, peers, whole, doubtful };
  }

  points(): SegmentPoints {
    const base = this.#faults.foldAboveVdl === true ? this.scl : this.base;
    return { base, vdl: this.journaledVdl, pgmrpl: this.pgmrpl, logStart: this.logStart };
  }

  /**
   * At start, before the boxcars of the journal. Everything of the chain at or below `floor` is in the store,
   * though its boxcars may be gone.
   */
  restore(
    epochs: SegmentEpochs | undefined,
    points: SegmentPoints | undefined,
    floor: number,
  ): void {
    this.#recovered = floor;
    if (epochs !== undefined) {
      this.volumeEpoch = epochs.volumeEpoch;
      this.listEpoch = epochs.listEpoch;
      this.membershipEpoch = epochs.membershipEpoch;
      this.membership = epochs.membership;
      this.ranges = epochs.ranges;
      this.peers = epochs.peers;
      this.whole = epochs.whole;
      this.doubtful = epochs.doubtful ?? false;
    }
    if (points === undefined) return;
    this.scl = points.base;
    this.#tail.reset(points.base);
    this.journaledVdl = points.vdl;
    this.pgmrpl = points.pgmrpl;
    this.logStart = points.logStart;
  }

  /**
   * A boxcar found in the journal, in journal order. `admit`: index it; `cut`: index it, then forget what
   * lies above `lsn`; `drop`: it belongs to nothing. `broken`: what stood before it is missing (damage).
   */
  recover(bytes: Uint8Array): { verdict: 'admit' | 'cut' | 'drop' | 'broken'; lsn: number } {
    if (this.doubtful) return { verdict: 'drop', lsn: 0 };
    let header = decodeBoxcar(bytes);
    let kept = bytes;
    const range = rangeIn(this.ranges, header.firstLsn, header.lastLsn);
    if (range !== undefined && this.#faults.keepAnnulled !== true) {
      kept = sliceBoxcar(bytes, 0, range.after);
      if (kept.length === 0) return { verdict: 'drop', lsn: 0 };
      header = decodeBoxcar(kept);
    }
    const { firstLsn, lastLsn, backLink } = header;
    if (lastLsn <= this.#recovered) return { verdict: 'drop', lsn: 0 };
    const isNext = firstLsn <= this.#recovered || backLink === this.#recovered;
    const afterPages = backLink === this.logStart && backLink > this.#recovered;
    if (!isNext && !afterPages) return { verdict: 'broken', lsn: 0 };
    this.#recovered = lastLsn;
    if (lastLsn > this.scl) this.#extend(header, kept, this.scl, lastLsn);
    return { verdict: kept === bytes ? 'admit' : 'cut', lsn: lastLsn };
  }

  /** After recovery: something of the store is lost, nobody knows what. Epochs and VDL stand (LOG-6). */
  doubt(): void {
    this.doubtful = true;
    this.whole = false;
    this.scl = 0;
    this.logStart = 0;
    this.#tail.reset(0);
  }

  /** Something better than the doubtful content is there: effects to be carried out before it is stored. */
  replaced(): SegmentEffect[] {
    if (!this.doubtful) return [];
    this.doubtful = false;
    return [{ type: 'forget' }, { type: 'saveEpochs' }, { type: 'savePoints' }];
  }

  /** After the last boxcar. False: log is missing below SCL, which has been taken back to where it breaks off. */
  endRecovery(): boolean {
    const end = Math.max(this.#recovered, this.logStart);
    if (this.doubtful) this.doubt();
    if (this.doubtful || end >= this.scl) return true;
    this.scl = end;
    this.#tail.reset(end);
    return false;
  }

  #boxcar(bytes: Uint8Array, effects: SegmentEffect[]): void {
    const header = this.#decode(bytes, effects);
    if (header === undefined) return;
    const status = this.gate(header);
    if (status !== SclStatus.ok) {
      effects.push({ type: 'refuse', status, detail: '' });
      return;
    }
    if (
      !this.#faults.epochGate &&
      rangeIn(this.ranges, header.firstLsn, header.lastLsn) !== undefined
    ) {
      this.#corrupt('records inside a truncation range', effects);
      return;
    }
    this.#take(header, bytes, effects);
    this.pgmrpl = Math.max(this.pgmrpl, header.pgmrpl);
    effects.push({ type: 'acknowledge' });
  }

  #decode(bytes: Uint8Array, effects: SegmentEffect[]): BoxcarHeader | undefined {
    try {
      const header = decodeBoxcar(bytes);
      if (header.volume === this.volume && header.pg === this.pg) return header;
      this.#corrupt('boxcar of another protection group', effects);
    } catch (error) {
      this.#corrupt(error instanceof Error ? error.message : String(error), effects);
    }
    return undefined;
  }

  #corrupt(detail: string, effects: SegmentEffect[]): void {
    effects.push({ type: 'refuse', status: SclStatus.corrupt, detail });
  }

  /** Files a boxcar whose epochs were checked; records that the list annuls are not in it. */
  #take(header: BoxcarHeader, bytes: Uint8Array, effects: SegmentEffect[]): boolean {
    if (header.lastLsn <= this.scl) return true;
    if (header.backLink > this.scl) {
      if (!this.#held.add(header, bytes)) this.resendAfter = this.scl;
      effects.push({ type: 'ask' });
      return true;
    }
    if (!this.#chain(header, bytes, effects)) return false;
    for (;;) {
      const next = this.#held.takeReaching(this.scl);
      if (next === undefined) break;
      if (!this.#chain(next.header, next.bytes, effects)) break;
    }
    if (this.#held.count === 0) this.resendAfter = 0;
    this.#becomeWhole(effects);
    return true;
  }

  /** Appends what lies above SCL; false and a refusal when its links contradict the chain. */
  #chain(header: BoxcarHeader, bytes: Uint8Array, effects: SegmentEffect[]): boolean {
    let rest = bytes;
    let first = header;
    if (header.firstLsn <= this.scl) {
      rest = sliceBoxcar(bytes, this.scl, header.lastLsn);
      first = decodeBoxcar(rest);
    }
    if (first.backLink !== this.scl) {
      this.#corrupt(`links to ${first.backLink} where the chain ends at ${this.scl}`, effects);
      return false;
    }
    try {
      // What is journaled can be applied: the edits are checked here, not when a page is read.
      this.#extend(first, rest, this.scl, first.lastLsn);
    } catch (error) {
      this.#tail.truncate(this.scl);
      this.#corrupt(error instanceof Error ? error.message : String(error), effects);
      return false;
    }
    effects.push(...this.replaced(), { type: 'chain', bytes: rest });
    return true;
  }

  /** The chain grows by the records of `bytes` in (after, last]; it does not when their edits are CORRUPTION. */
  #extend(header: BoxcarHeader, bytes: Uint8Array, after: number, last: number): void {
    const vdl = Math.max(this.journaledVdl, header.vdl);
    const reader = this.#reader;
    reader.reset(bytes, BOXCAR_HEADER_BYTES, bytes.length, header.firstLsn);
    while (reader.next()) {
      if (reader.lsn <= after) continue;
      if (reader.lsn > last) break;
      this.#tail.push(reader.lsn, (reader.flags & FLAG_CPL) !== 0);
    }
    this.scl = last;
    this.#advanceVdl(vdl);
  }

  #advanceVdl(vdl: number): void {
    if (vdl <= this.journaledVdl && this.#tail.count === 0) return;
    this.journaledVdl = Math.max(this.journaledVdl, vdl);
    this.#tail.advance(this.journaledVdl);
  }

  #points(points: Points, effects: SegmentEffect[]): void {
    const status = this.gate(points);
    if (status !== SclStatus.ok) {
      effects.push({ type: 'refuse', status, detail: '' });
      return;
    }
    this.pgmrpl = Math.max(this.pgmrpl, points.pgmrpl);
    this.#advanceVdl(points.vdl);
  }

  #seal(list: DecidedList, effects: SegmentEffect[]): void {
    this.#refuseOlder(list);
    const open = this.volumeEpoch === list.volumeEpoch && this.listEpoch === this.volumeEpoch;
    if (open && !this.#faults.noSeal) {
      throw new SextantError('STALE_EPOCH', `epoch ${list.volumeEpoch} is open: its seal is over`);
    }
    if (!this.#faults.noSeal) {
      const kept = this.#faults.sealNoList === true ? { ...list, ranges: this.ranges } : list;
      this.#adopt(kept, Math.min(newestEpoch(kept.ranges), list.volumeEpoch), effects);
    }
    // The VDL that the answer names is journaled by then (rule 9).
    effects.push({ type: 'savePoints' });
    effects.push({
      type: 'sealed',
      state: {
        scl: this.scl,
        journaledVdl: this.journaledVdl,
        pgTail: this.base,
        records: this.#tail.runs(),
        whole: this.whole,
      },
    });
  }

  #install(list: DecidedList, vdl: number, effects: SegmentEffect[]): void {
    this.#refuseOlder(list);
    this.#adopt(list, list.listEpoch, effects);
    this.#advanceVdl(vdl);
    effects.push({ type: 'savePoints' }, { type: 'acknowledge' }, { type: 'ask' });
  }

  #refuseOlder(list: DecidedList): void {
    if (list.volumeEpoch < this.volumeEpoch) {
      throw new SextantError('STALE_EPOCH', `volume epoch is ${this.volumeEpoch}`);
    }
    if (list.membership.epoch < this.membershipEpoch) {
      throw new SextantError('STALE_EPOCH', `membership epoch is ${this.membershipEpoch}`);
    }
  }

  /** Epoch and list in one step; the chain is cut where the first new range begins. */
  #adopt(list: DecidedList, listEpoch: number, effects: SegmentEffect[]): void {
    const added = newRanges(this.ranges, list.ranges);
    const cut = added.reduce((lowest, range) => Math.min(lowest, range.after), this.scl);
    if (cut < this.base) {
      throw new SextantError('PROTOCOL', `a range annuls LSNs up to the durable ${this.base}`);
    }
    if (list.volumeEpoch > this.volumeEpoch) {
      this.#held.clear();
      this.resendAfter = 0;
      this.#struckPgcl = -1;
    }
    this.volumeEpoch = list.volumeEpoch;
    this.listEpoch = Math.max(this.listEpoch, listEpoch);
    this.membershipEpoch = list.membership.epoch;
    this.membership = list.membership;
    if (list.peers.length > 0) this.peers = list.peers;
    effects.push({ type: 'saveEpochs' });
    if (added.length === 0) return;
    this.ranges = list.ranges;
    this.#held.clear();
    if (cut >= this.scl || this.#faults.keepAnnulled === true) return;
    this.scl = this.#tail.truncate(cut);
    effects.push({ type: 'truncate', lsn: cut });
  }

  #gossip(boxcars: Uint8Array, vdl: number, peerScl: number, effects: SegmentEffect[]): void {
    const before = this.scl;
    for (let at = 0; at < boxcars.length;) {
      const length = boxcarBytesAt(boxcars, at);
      if (!this.#gossiped(boxcars.subarray(at, at + length), effects)) break;
      at += length;
    }
    this.#advanceVdl(vdl);
    if (this.#faults.earlyWhole === true && this.scl >= peerScl) this.#setWhole(effects);
    if (this.scl > before) effects.push({ type: 'acknowledge' });
  }

  /** The sender may have an older list: what ours annuls is cut off (rule 13). */
  #gossiped(bytes: Uint8Array, effects: SegmentEffect[]): boolean {
    let header = this.#decode(bytes, effects);
    if (header === undefined) return false;
    const range = rangeIn(this.ranges, header.firstLsn, header.lastLsn);
    let kept = bytes;
    if (range !== undefined && this.#faults.epochGate !== true) {
      kept = sliceBoxcar(bytes, 0, range.after);
      if (kept.length === 0) return true;
      header = decodeBoxcar(kept);
    }
    return this.#take(header, kept, effects);
  }

  #hydrated(point: number, vdl: number, effects: SegmentEffect[]): void {
    assert(vdl >= point, 'a hydration point lies at or below a VDL');
    if (point > this.scl) {
      this.scl = point;
      this.logStart = point;
      this.#tail.reset(point);
      this.#advanceVdl(vdl);
      this.#becomeWhole(effects);
    }
    effects.push({ type: 'savePoints' }, { type: 'acknowledge' }, { type: 'ask' });
  }

  #strike(strike: StrikeRequest, effects: SegmentEffect[]): void {
    const status = this.gate(strike);
    if (status === SclStatus.staleEpoch)
      throw new SextantError('STALE_EPOCH', 'strike of an older epoch');
    if (status !== SclStatus.ok) throw new SextantError('NEED_RANGES', 'list not installed');
    if (this.whole) return;
    this.#struckPgcl = strike.pgcl;
    this.#becomeWhole(effects);
    if (!this.whole) effects.push({ type: 'ask' });
  }

  #becomeWhole(effects: SegmentEffect[]): void {
    if (this.whole || this.#struckPgcl < 0 || this.scl < this.#struckPgcl) return;
    this.#setWhole(effects);
  }

  #setWhole(effects: SegmentEffect[]): void {
    if (this.whole) return;
    this.whole = true;
    effects.push({ type: 'saveEpochs' });
  }
}
