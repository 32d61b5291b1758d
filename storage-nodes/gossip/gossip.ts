/**
 * When a segment asks which peer for log (rule 5 of storage nodes: gossip fills holes). One request at
 * a time; peers in turn, so that a dead one costs one time-out a round.
 *
 * ```
 *            ask, or tick when due            answered, advanced      --> again, the same peer
 *   idle ------------------------> asking --> answered, no progress   --> behind: next peer at once, until all were tried
 *                                         --> failed                  --> next peer
 *   all tried in vain while behind: `stuck` (the engine is asked to resend), then wait
 * ```
 */
export type GossipEvent =
  | { readonly type: 'tick'; readonly nowMs: number; readonly jitter: number }
  /** A hole, or log known to be missing; `sources` are asked first when given. */
  | { readonly type: 'ask'; readonly nowMs: number; readonly sources?: readonly string[] }
  | {
      readonly type: 'answered';
      readonly nowMs: number;
      readonly advanced: boolean;
      /** The segment knows that it lacks log: a hole, or the peer's SCL is higher. */
      readonly behind: boolean;
      readonly hydrate: boolean;
    }
  | { readonly type: 'failed'; readonly nowMs: number; readonly behind: boolean };

export type GossipEffect =
  | { readonly type: 'request'; readonly to: string }
  | { readonly type: 'hydrate'; readonly from: string }
  | { readonly type: 'stuck' };

export interface GossipOptions {
  readonly intervalMs: number;
  /** After a round in vain while behind. */
  readonly behindMs: number;
}

export const GOSSIP_DEFAULTS: GossipOptions = { intervalMs: 1000, behindMs: 50 };

export class Gossip {
  readonly #options: GossipOptions;
  #peers: readonly string[] = [];
  #sources: readonly string[] = [];
  #asking = '';
  #turn = 0;
  #tried = 0;
  #dueMs = 0;
  #urgent = false;

  constructor(options: GossipOptions = GOSSIP_DEFAULTS) {
    this.#options = options;
  }

  /** Who can be asked, without this node itself. */
  setPeers(peers: readonly string[], start: number): void {
    if (peers.length === this.#peers.length && peers.every((id, i) => id === this.#peers[i]))
      return;
    this.#peers = peers;
    this.#turn = peers.length === 0 ? 0 : start % peers.length;
  }

  /** The peer that was asked and has not answered; empty when none. */
  get asking(): string {
    return this.#asking;
  }

  step(event: GossipEvent): GossipEffect[] {
    switch (event.type) {
      case 'ask':
        this.#urgent = true;
        this.#tried = 0;
        if (event.sources !== undefined && event.sources.length > 0) this.#sources = event.sources;
        return this.#next(event.nowMs);
      case 'tick':
        if (this.#dueMs === 0) this.#dueMs = event.nowMs + this.#options.intervalMs * event.jitter;
        if (event.nowMs < this.#dueMs) return [];
        this.#dueMs = event.nowMs + this.#options.intervalMs * (0.5 + event.jitter);
        this.#tried = 0;
        this.#urgent = true;
        return this.#next(event.nowMs);
      case 'answered':
        return this.#answered(event);
      case 'failed':
        this.#asking = '';
        this.#turn++;
        return this.#after(event.nowMs, event.behind);
    }
  }

  #answered(event: GossipEvent & { type: 'answered' }): GossipEffect[] {
    const from = this.#asking;
    this.#asking = '';
    if (event.hydrate && !event.advanced) return [{ type: 'hydrate', from }];
    if (event.advanced) {
      this.#tried = 0;
      if (!event.behind) return this.#rest();
      this.#urgent = true;
    } else {
      this.#turn++;
    }
    return this.#after(event.nowMs, event.behind);
  }

  #rest(): GossipEffect[] {
    this.#urgent = false;
    this.#sources = [];
    return [];
  }

  /** Goes on while behind; gives up for a while when nobody could help. */
  #after(nowMs: number, behind: boolean): GossipEffect[] {
    if (!behind) return this.#rest();
    this.#urgent = true;
    if (this.#tried < this.#candidates().length) return this.#next(nowMs);
    this.#rest();
    this.#dueMs = nowMs + this.#options.behindMs;
    return [{ type: 'stuck' }];
  }

  #candidates(): readonly string[] {
    const sources = this.#sources.filter((id) => this.#peers.includes(id));
    return sources.length > 0 ? sources : this.#peers;
  }

  #next(nowMs: number): GossipEffect[] {
    const candidates = this.#candidates();
    if (this.#asking !== '' || !this.#urgent || candidates.length === 0) return [];
    this.#tried++;
    this.#urgent = false;
    this.#asking = candidates[this.#turn % candidates.length] as string;
    this.#dueMs = Math.max(this.#dueMs, nowMs + this.#options.behindMs);
    return [{ type: 'request', to: this.#asking }];
  }
}
