/**
 * What a node does when nobody waits: makes points durable so that folding may go on, lets the store work
 * in small pieces, and fetches pages whose checksum failed. It yields to the foreground.
 */
import type { Timer } from '#core/world/world.js';
import { encodeReadPage } from '../protocol/codec-binary.js';
import { MessageType } from '../protocol/messages.js';
import type { SegmentHost } from './segment-host.js';
import type { StorageNode } from './storage-node.js';

const POINTS_EVERY_MS = 100;
/** The foreground counts as busy for so long after a request. */
const BUSY_MS = 20;
const IDLE_PAUSE_MS = 100;
/** After a while in which there was nothing to do. */
const IDLE_PAUSE_MS_MAX = 1000;
const BUSY_PAUSE_MS = 10;
const REPAIR_CALL_MS = 2000;

export class Housekeeping {
  readonly #node: StorageNode;
  #points: Timer | undefined;
  #work: Timer | undefined;
  #running: Promise<void> | undefined;
  #lastForegroundMs = -BUSY_MS;
  /** Requests since the last piece of work. */
  #requests = 0;
  #closed = false;
  readonly #repairing = new Set<string>();

  constructor(node: StorageNode) {
    this.#node = node;
  }

  start(): void {
    this.#pointsLater();
    this.#workLater(0);
  }

  /** A request was served. */
  foreground(): void {
    this.#lastForegroundMs = this.#node.world.clock.monotonicMs();
    this.#requests++;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#points?.cancel();
    this.#work?.cancel();
    await this.#running;
  }

  #pointsLater(): void {
    const { timers, random } = this.#node.world;
    this.#points = timers.after(POINTS_EVERY_MS * (0.5 + random.unit()), () => {
      if (this.#closed) return;
      if (this.#node.state === 'up') {
        for (const host of this.#node.hosts.values()) {
          if (host.pointsMoved) this.#node.savePointsSoon(host);
        }
      }
      this.#pointsLater();
    });
  }

  #workLater(pauseMs: number): void {
    if (this.#closed) return;
    this.#work = this.#node.world.timers.after(pauseMs, () => {
      if (this.#closed) return;
      this.#running = this.#piece().then((pause) => this.#workLater(pause));
    });
  }

  /** How long to wait before the next piece. */
  async #piece(): Promise<number> {
    const { store, state, world } = this.#node;
    if (state !== 'up') return IDLE_PAUSE_MS;
    const quietMs = world.clock.monotonicMs() - this.#lastForegroundMs;
    const busy = quietMs < BUSY_MS;
    // What the foreground leaves: all of it when quiet, ever less the more requests came in meanwhile.
    const left = busy ? 1 / (1 + this.#requests / 16) : 1;
    this.#requests = 0;
    try {
      const did = await store.work(left);
      if (store.dirty && !this.#closed) this.#node.turn.schedule();
      this.#repair();
      this.#node.backPressure.look();
      if (!did) return Math.min(IDLE_PAUSE_MS_MAX, Math.max(IDLE_PAUSE_MS, quietMs / 4));
    } catch (error) {
      this.#node.backgroundFailed(error);
      return IDLE_PAUSE_MS;
    }
    return busy && !store.isPressed ? BUSY_PAUSE_MS : 0;
  }

  #repair(): void {
    for (const { segment, pageNo } of this.#node.store.stats.badPages.slice(0, 4)) {
      const name = `${segment}/${pageNo}`;
      const host = this.#node.hosts.get(segment);
      if (host === undefined || this.#repairing.has(name)) continue;
      this.#repairing.add(name);
      void this.#repairPage(host, pageNo).finally(() => this.#repairing.delete(name));
    }
  }

  /** The page as of this segment's own durable point, from whichever peer has it. */
  async #repairPage(host: SegmentHost, pageNo: number): Promise<void> {
    const { world, peers, store, turn, config } = this.#node;
    const { base } = host.saved;
    // In an idle group PGMRPL, a point of the whole volume, passes the group's own tail: peers refuse to read below it.
    const point = Math.max(base, host.segment.pgmrpl);
    const ids = new Set(host.segment.membership?.sets.flat() ?? []);
    const request = encodeReadPage({ ...host.address, pageNo, readPoint: point, pgTail: base });
    for (const id of ids) {
      if (id === config.id || this.#closed) continue;
      try {
        const image = await peers.call(id, MessageType.readPage, request, REPAIR_CALL_MS);
        if (this.#closed || image.length !== 8192) return;
        store.putPage(host.key, pageNo, image, base);
        turn.schedule();
        world.log.info('page repaired', { pageNo, from: id });
        return;
      } catch (error) {
        world.log.debug('page not repaired', { pageNo, from: id, error: String(error) });
      }
    }
  }
}
