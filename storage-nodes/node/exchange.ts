/**
 * Log and pages between nodes: asks peers as the gossip and hydration cores say, and answers theirs.
 */
import { SextantError, isSextantError } from '#core/errors.js';
import type { Timer } from '#core/world/world.js';
import type { GossipEffect } from '../gossip/gossip.js';
import { hydrateEntry } from '../hydrate/hydration.js';
import type { HydrationEffect } from '../hydrate/hydration.js';
import * as json from '../protocol/codec-json.js';
import { MessageType } from '../protocol/messages.js';
import type {
  GossipAnswer,
  GossipRequest,
  HydrateRequest,
  SegmentAddress,
} from '../protocol/messages.js';
import { segmentKey } from './segment-host.js';
import type { SegmentHost } from './segment-host.js';
import type { StorageNode } from './storage-node.js';

const TICK_MS = 100;
const CALL_MS = 2000;
const ANSWER_BYTES_MAX = 1024 * 1024;

export class Exchange {
  readonly #node: StorageNode;
  #timer: Timer | undefined;
  #closed = false;

  constructor(node: StorageNode) {
    this.#node = node;
  }

  start(): void {
    this.#tickLater();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** Gossip for this segment now. */
  ask(host: SegmentHost, sources: readonly string[] = []): void {
    this.#gossip(host, host.gossip.step({ type: 'ask', nowMs: this.#nowMs(), sources }));
  }

  /** Throws NEED_RANGES when the caller is ahead of this node, which then asks it. */
  answerGossip(body: Uint8Array): Uint8Array {
    const request = json.gossipRequest.decode(body);
    const host = this.#meet(request, request.from);
    const { segment } = host;
    const answer: GossipAnswer = {
      scl: segment.scl,
      journaledVdl: segment.journaledVdl,
      listEpoch: segment.listEpoch,
      hydrate: false,
      knownGeneration: 0,
    };
    const newer = this.#isOlder(request, host) ? segment.decided() : undefined;
    if (newer !== undefined) return json.packBody(json.gossipAnswer, { ...answer, newer }, []);
    if (request.after >= host.admittedScl) return json.packBody(json.gossipAnswer, answer, []);
    const bytes = Math.min(request.maxBytes, ANSWER_BYTES_MAX);
    const boxcars =
      request.after < segment.logStart
        ? null
        : this.#node.store.readLog(host.key, request.after, host.admittedScl, bytes);
    const header = { ...answer, hydrate: boxcars === null };
    return json.packBody(json.gossipAnswer, header, boxcars ?? []);
  }

  /** Pages as of a pinned point. Throws NEED_RANGES, OUT_OF_RANGE when the pin is gone. */
  answerHydrate(body: Uint8Array): Uint8Array {
    const request = json.hydrateRequest.decode(body);
    const host = this.#meet(request, request.from);
    if (host.segment.doubtful) throw new SextantError('NOT_READY', 'this segment is damaged');
    if (this.#isOlder(request, host)) throw new SextantError('NEED_RANGES', 'gossip first');
    const nowMs = this.#nowMs();
    const point = host.pin(request.point, nowMs);
    if (point === undefined) throw new SextantError('OUT_OF_RANGE', 'hydration point is gone');
    const { store } = this.#node;
    host.setLimits(store, nowMs);
    const limit = Math.max(1, Math.floor(Math.min(request.maxBytes, ANSWER_BYTES_MAX) / 8196));
    const pages = store.pagesAfter(host.key, request.afterPage, point, limit);
    const payload: Uint8Array[] = [];
    for (const pageNo of pages) {
      const { entry, page } = hydrateEntry(pageNo);
      store.readPage(host.key, pageNo, point, entry, page);
      payload.push(entry);
    }
    const { listEpoch, journaledVdl } = host.segment;
    const done = pages.length < limit;
    const header = { point, pageCount: pages.length, done, listEpoch, journaledVdl };
    return json.packBody(json.hydrateAnswer, header, payload);
  }

  /** Both sides must be of one epoch; the one with the older list learns first (rules 9, 13). */
  #meet(request: SegmentAddress & { from: string; listEpoch: number }, from: string): SegmentHost {
    const host = this.#node.hosts.get(segmentKey(request.volume, request.pg));
    if (host === undefined || host.segment.volumeEpoch === 0) {
      throw new SextantError('NOT_READY', 'no such segment here');
    }
    const { segment } = host;
    const ahead =
      request.volumeEpoch > segment.volumeEpoch ||
      request.membershipEpoch > segment.membershipEpoch;
    const listAhead =
      request.volumeEpoch === segment.volumeEpoch && request.listEpoch > segment.listEpoch;
    if (ahead || listAhead) this.ask(host, [from]);
    if (ahead) throw new SextantError('NEED_RANGES', 'this node is behind the caller');
    return host;
  }

  #isOlder(request: SegmentAddress & { listEpoch: number }, host: SegmentHost): boolean {
    const { segment } = host;
    if (request.volumeEpoch < segment.volumeEpoch) return true;
    if (request.membershipEpoch < segment.membershipEpoch) return true;
    return request.listEpoch < segment.listEpoch && this.#node.faults.epochGate !== true;
  }

  #nowMs(): number {
    return this.#node.world.clock.monotonicMs();
  }

  #tickLater(): void {
    const { timers, random } = this.#node.world;
    this.#timer = timers.after(TICK_MS * (0.5 + random.unit()), () => {
      if (this.#closed) return;
      this.#tick();
      this.#tickLater();
    });
  }

  #tick(): void {
    // What the engine may not send is not fetched from peers either.
    if (this.#node.state !== 'up' || this.#node.backPressure.refuses) return;
    const nowMs = this.#nowMs();
    for (const host of this.#node.hosts.values()) {
      if (host.segment.membership === undefined || host.hydration.active) continue;
      const jitter = this.#node.world.random.unit();
      this.#gossip(host, host.gossip.step({ type: 'tick', nowMs, jitter }));
    }
  }

  #gossip(host: SegmentHost, effects: readonly GossipEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'request') void this.#request(host, effect.to);
      else if (effect.type === 'hydrate') this.#hydrate(host, host.hydration.start(effect.from));
      else this.#node.apply(host, host.segment.step({ type: 'stuck' }), undefined);
    }
  }

  async #request(host: SegmentHost, to: string): Promise<void> {
    const { config, identity, peers } = this.#node;
    const request: GossipRequest = {
      ...host.address,
      from: config.id,
      generation: identity.generation,
      listEpoch: host.segment.listEpoch,
      after: host.segment.scl,
      maxBytes: ANSWER_BYTES_MAX,
    };
    let effects: GossipEffect[];
    try {
      const body = json.gossipRequest.encode(request);
      const answer = await peers.call(to, MessageType.gossip, body, CALL_MS);
      if (this.#closed) return;
      effects = this.#answered(host, request, answer);
    } catch (error) {
      if (this.#closed) return;
      if (isSextantError(error, 'CORRUPTION') || isSextantError(error, 'PROTOCOL')) {
        this.#node.world.log.warn('bad gossip', { from: to, error: error.message });
      }
      effects = host.gossip.step({ type: 'failed', nowMs: this.#nowMs(), behind: host.behind });
    }
    this.#gossip(host, effects);
  }

  #answered(host: SegmentHost, request: GossipRequest, answer: Uint8Array): GossipEffect[] {
    const { header, payload } = json.unpackBody(json.gossipAnswer, answer);
    const { segment } = host;
    const nowMs = this.#nowMs();
    const { address } = host;
    const moved =
      address.volumeEpoch !== request.volumeEpoch ||
      address.membershipEpoch !== request.membershipEpoch ||
      segment.listEpoch !== request.listEpoch;
    // What was asked for under another epoch or list is asked for again.
    if (moved || this.#node.state !== 'up') {
      const advanced = this.#node.state === 'up';
      return host.gossip.step({ type: 'answered', nowMs, advanced, behind: true, hydrate: false });
    }
    if (header.newer !== undefined) {
      this.#node.settle();
      const event = { type: 'install', list: header.newer, vdl: 0 } as const;
      this.#node.apply(host, segment.step(event), undefined);
      return host.gossip.step({
        type: 'answered',
        nowMs,
        advanced: true,
        behind: true,
        hydrate: false,
      });
    }
    host.peerScl = header.scl;
    const before = segment.scl;
    const event = {
      type: 'gossip',
      boxcars: payload,
      vdl: header.journaledVdl,
      peerScl: header.scl,
    } as const;
    const effects = segment.step(event);
    if (effects.length > 0 || segment.scl > before) this.#node.apply(host, effects, undefined);
    const advanced = segment.scl > before;
    const { behind } = host;
    return host.gossip.step({ type: 'answered', nowMs, advanced, behind, hydrate: header.hydrate });
  }

  #hydrate(host: SegmentHost, effects: readonly HydrationEffect[]): void {
    const { store, turn } = this.#node;
    for (const effect of effects) {
      switch (effect.type) {
        case 'request':
          void this.#requestPages(host, effect.to, effect.point, effect.afterPage);
          break;
        case 'put':
          this.#node.apply(host, host.segment.replaced(), undefined);
          store.putPage(host.key, effect.pageNo, effect.image, effect.point);
          turn.schedule();
          break;
        case 'finished': {
          // The pages first, then the claim to have them.
          this.#node.settle();
          const event = { type: 'hydrated', point: effect.point, vdl: effect.vdl } as const;
          this.#node.apply(host, host.segment.step(event), undefined);
          break;
        }
        case 'abandoned':
          break;
      }
    }
  }

  async #requestPages(
    host: SegmentHost,
    to: string,
    point: number,
    afterPage: number,
  ): Promise<void> {
    const asked = host.address;
    const request: HydrateRequest = {
      ...asked,
      from: this.#node.config.id,
      point,
      afterPage,
      maxBytes: ANSWER_BYTES_MAX,
      listEpoch: host.segment.listEpoch,
    };
    try {
      const body = json.hydrateRequest.encode(request);
      const answer = await this.#node.peers.call(to, MessageType.hydrate, body, CALL_MS * 5);
      if (this.#closed) return;
      const { header, payload } = json.unpackBody(json.hydrateAnswer, answer);
      const same =
        asked.volumeEpoch === host.segment.volumeEpoch &&
        request.listEpoch === host.segment.listEpoch;
      if (!same || this.#node.state !== 'up') throw new SextantError('NEED_RANGES', 'epoch moved');
      this.#hydrate(host, host.hydration.answer(header, payload, host.segment.scl));
    } catch (error) {
      if (this.#closed) return;
      this.#node.world.log.warn('hydration failed', { from: to, error: String(error) });
      host.hydration.abandon();
    }
  }
}
