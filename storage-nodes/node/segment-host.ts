/**
 * A segment with what the node keeps beside it: gossip and hydration state, the engine that hears its
 * SCL, what of it is durable, and the point that a hydrating peer holds.
 */
import type { RpcPeer } from '#core/rpc/server.js';
import { Gossip } from '../gossip/gossip.js';
import { Hydration } from '../hydrate/hydration.js';
import type { SegmentAddress, SegmentStatus } from '../protocol/messages.js';
import { Segment } from '../segment/segment.js';
import type { SegmentPoints } from '../segment/segment-state.js';
import type { SegmentKey, Store } from '../store/store.js';
import type { Faults } from './faults.js';

const PIN_MS = 30_000;
const NO_POINTS: SegmentPoints = { base: 0, vdl: 0, pgmrpl: 0, logStart: 0 };

export const segmentKey = (volume: number, pg: number): SegmentKey => volume * 0x1_0000_0000 + pg;

export class SegmentHost {
  readonly segment: Segment;
  readonly key: SegmentKey;
  readonly gossip = new Gossip();
  readonly hydration = new Hydration();
  /** Who hears the SCL: the last engine whose request passed the gate. */
  engine: RpcPeer | undefined = undefined;
  /** The engine is owed an SCL after the next commit. */
  acknowledge = false;
  saveEpochs = false;
  savePoints = false;
  /** `saved` has just become durable, and the store does not know yet. */
  limitsDue = false;
  /** End of the chain that the store has indexed. */
  admittedScl = 0;
  /** SCL as of the last commit: ahead of `admittedScl` until the admission right behind it. */
  durableScl = 0;
  /** Points as last made durable; folding stops at `saved.base` (rule 8). */
  saved: SegmentPoints = NO_POINTS;
  savedMs = 0;
  /** Highest SCL that a peer named. */
  peerScl = 0;
  readonly #faults: Faults;
  #pin = 0;
  #pinnedUntilMs = 0;

  constructor(volume: number, pg: number, whole: boolean, faults: Faults) {
    this.segment = new Segment(volume, pg, whole, faults);
    this.key = segmentKey(volume, pg);
    this.#faults = faults;
  }

  get address(): SegmentAddress {
    const { volume, pg, volumeEpoch, membershipEpoch } = this.segment;
    return { volume, pg, volumeEpoch, membershipEpoch };
  }

  /** Something of the store is lost: the segment starts from nothing, once a peer has something to start with. */
  doubt(): void {
    this.segment.doubt();
    this.saved = this.segment.points();
    this.saveEpochs = this.segment.membership !== undefined;
    this.savePoints = true;
  }

  get behind(): boolean {
    return this.segment.held > this.segment.scl || this.peerScl > this.segment.scl;
  }

  /** The point as of which pages are copied from here; held for a while after each request. */
  pin(asked: number, nowMs: number): number | undefined {
    const held = nowMs < this.#pinnedUntilMs ? this.#pin : 0;
    if (asked !== 0 && asked !== held) return undefined;
    // Several peers may hydrate at once: they share the first one's point while it is held.
    if (held === 0) this.#pin = this.saved.base;
    this.#pinnedUntilMs = nowMs + PIN_MS;
    return this.#pin;
  }

  /** Hands the durable points to the store. */
  setLimits(store: Store, nowMs: number): void {
    if (this.#faults.dropNeeded === true) {
      store.setLimits(this.key, this.saved.base, this.saved.base);
      return;
    }
    const pinned = nowMs < this.#pinnedUntilMs ? this.#pin : Number.MAX_SAFE_INTEGER;
    store.setLimits(this.key, this.saved.base, Math.min(this.saved.pgmrpl, pinned));
  }

  get pointsMoved(): boolean {
    const { segment, saved } = this;
    return segment.points().base > saved.base || segment.pgmrpl > saved.pgmrpl;
  }

  status(store: Store): SegmentStatus {
    const { segment, key } = this;
    return {
      ...this.address,
      listEpoch: segment.listEpoch,
      scl: segment.scl,
      held: segment.held,
      journaledVdl: segment.journaledVdl,
      pgmrpl: segment.pgmrpl,
      whole: segment.whole,
      unfoldedRecords: store.stats.unfolded(key),
      pages: store.stats.pages(key),
    };
  }
}
