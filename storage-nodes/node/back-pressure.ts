/**
 * What a node does about an engine that is faster than its background work: it looks slow, as the store's `holdMs`
 * says, and the quorum of the other nodes hides it as long as they keep up.
 *
 * ```
 *   commit --> holdMs = 0        acknowledged at once
 *          --> holdMs > 0        the SCL waits: one timer, one report for all that comes meanwhile
 *   boxcar --> holdMs = Infinity refused as with a full disk, never journaled; nor is anything fetched by gossip
 *   piece of work ends, holdMs < Infinity: whoever was refused is asked to send again what follows the SCL
 * ```
 *
 * Only acknowledgements of records wait. Seals, installs, reads and registers do not: an opening is not slower.
 */
import type { Timer } from '#core/world/world.js';
import { HOLD_MS_MAX } from '../coalesce/policy.js';
import type { SegmentHost } from './segment-host.js';
import type { StorageNode } from './storage-node.js';

/** Timers may fire a little early. */
const EARLY_MS = 1;

export class BackPressure {
  /** Acknowledgements that have waited, boxcars that were refused. */
  heldCount = 0;
  refusedCount = 0;
  readonly #node: StorageNode;
  readonly #isOff: boolean;
  /** When the SCL of a segment may be told. */
  readonly #dueMs = new Map<SegmentHost, number>();
  readonly #refused = new Set<SegmentHost>();
  #timer: Timer | undefined;

  constructor(node: StorageNode) {
    this.#node = node;
    this.#isOff = node.faults.noBackPressure === true;
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** Boxcars are not taken now. */
  get refuses(): boolean {
    return this.#node.store.holdMs === Infinity && !this.#isOff;
  }

  refused(host: SegmentHost | undefined): void {
    this.refusedCount++;
    if (host === undefined || this.#refused.has(host)) return;
    if (this.#refused.size === 0) {
      this.#node.world.log.warn('background work is far behind: not taking boxcars');
    }
    this.#refused.add(host);
  }

  /** After a piece of background work: is there room for those who were refused? */
  look(): void {
    if (this.#refused.size === 0 || this.refuses) return;
    this.#node.world.log.info('taking boxcars again');
    for (const host of this.#refused) {
      host.segment.resendAfter = host.segment.scl;
      this.#node.acknowledgeSoon(host);
    }
    this.#refused.clear();
  }

  /** Whether the segment's SCL, which is durable, waits. Not to be asked while `holdMs` is 0. */
  holds(host: SegmentHost): boolean {
    if (this.#isOff) return false;
    const { world, store } = this.#node;
    const nowMs = world.clock.monotonicMs();
    const dueMs = this.#dueMs.get(host);
    if (dueMs === undefined) {
      this.heldCount++;
      const waitMs = Math.min(store.holdMs, HOLD_MS_MAX);
      this.#dueMs.set(host, nowMs + waitMs);
      this.#timer ??= world.timers.after(waitMs, () => this.#release());
      return true;
    }
    if (dueMs > nowMs + EARLY_MS) return true;
    this.#dueMs.delete(host);
    return false;
  }

  #release(): void {
    this.#timer = undefined;
    const { world } = this.#node;
    const nowMs = world.clock.monotonicMs();
    let nextMs = Infinity;
    for (const [host, dueMs] of this.#dueMs) {
      if (dueMs > nowMs + EARLY_MS) nextMs = Math.min(nextMs, dueMs);
      else if (host.acknowledge) this.#node.acknowledgeSoon(host);
      else this.#dueMs.delete(host);
    }
    if (nextMs < Infinity) {
      this.#timer = world.timers.after(nextMs - nowMs, () => this.#release());
    }
  }
}
