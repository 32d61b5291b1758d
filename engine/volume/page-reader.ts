/**
 * Page reads: one page from one complete segment (rule 7), never from a quorum.
 *
 * ```
 *   best segment  |----- asked --------------- late ------------- x
 *   second best                                |---- asked -- answer: done
 * ```
 *
 * Candidates are up and have SCL >= the PG's tail at the read point, so any single one of them knows all
 * that was durable then (PAGE-2); the fastest is asked first. It is late after three times its usual
 * time; an error sends the read on at once. While a read runs, its read point holds PGMRPL back (PAGE-3).
 * Driver code.
 */
import { SextantError, isSextantError, type ErrorCode } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import type { Timer, World } from '#core/world/world.js';
import { encodeReadPage } from '#storage-nodes/protocol/codec-binary.js';
import { MessageType } from '#storage-nodes/protocol/messages.js';
import type { Faults } from './faults.js';
import type { NodeLink } from './node-link.js';
import type { WriterCore } from './writer-core.js';

const CALL_TIMEOUT_MS = 2000;
const PAUSE_MS = 10;

export interface PageReaderHooks {
  /** A segment refused our epoch (STALE_EPOCH) or lacks its list (NEED_RANGES). */
  refused(node: number, pg: number, code: ErrorCode): void;
  done(latencyMs: number): void;
}

export class PageReader {
  hedgedReads = 0;
  readonly #world: World;
  readonly #core: WriterCore;
  readonly #links: readonly NodeLink[];
  readonly #faults: Faults;
  readonly #hooks: PageReaderHooks;
  readonly #timeoutMs: number;

  constructor(
    world: World,
    core: WriterCore,
    links: readonly NodeLink[],
    faults: Faults,
    timeoutMs: number,
    hooks: PageReaderHooks,
  ) {
    this.#world = world;
    this.#core = core;
    this.#links = links;
    this.#faults = faults;
    this.#timeoutMs = timeoutMs;
    this.#hooks = hooks;
  }

  /** Rejects with NO_QUORUM after the time-out, CORRUPTION when every copy is bad, or why the volume died. */
  async read(pageNo: number, target: Uint8Array, base: number): Promise<void> {
    const core = this.#core;
    if (core.failure !== undefined) throw core.failure;
    const startMs = this.#world.clock.monotonicMs();
    const readPoint = core.vdl;
    core.readPoints.add(readPoint);
    try {
      const read = new PageRead(this, pageNo, readPoint);
      target.set(await read.run(startMs + this.#timeoutMs), base);
    } finally {
      core.readPoints.remove(readPoint);
    }
    this.#hooks.done(this.#world.clock.monotonicMs() - startMs);
  }

  get world(): World {
    return this.#world;
  }

  get core(): WriterCore {
    return this.#core;
  }

  /** The fastest segment that may serve the read and was not asked yet, or -1. */
  candidate(pg: number, tail: number, asked: ReadonlySet<number>): number {
    let best = -1;
    let bestMs = Infinity;
    for (const member of this.#core.pgs[pg].members) {
      const link = this.#links[member.node];
      if (!link.up || asked.has(member.node) || member.installing) continue;
      if (member.scl < tail && !this.#faults.has('readAnywhere')) continue;
      const estimateMs = link.readEstimateMs;
      if (estimateMs < bestMs) {
        best = member.node;
        bestMs = estimateMs;
      }
    }
    return best;
  }

  minScl(tail: number): number {
    return this.#faults.has('readAnywhere') ? 0 : tail;
  }

  /** Asks one segment. */
  async ask(node: number, pg: number, request: Uint8Array): Promise<Uint8Array> {
    const link = this.#links[node];
    const sentMs = this.#world.clock.monotonicMs();
    link.readsInFlight++;
    let took = 1;
    try {
      const page = await link.call(MessageType.readPage, request, CALL_TIMEOUT_MS);
      if (page.length !== PAGE_BYTES) throw new SextantError('PROTOCOL', 'a page has 8192 bytes');
      this.#core.confirmed(node, pg, sentMs);
      return page;
    } catch (error) {
      took = 2;
      if (isSextantError(error)) this.#hooks.refused(node, pg, error.code);
      throw error;
    } finally {
      link.readsInFlight--;
      link.measured((this.#world.clock.monotonicMs() - sentMs) * took);
    }
  }

  /** Whether the segment of PG 0 serves requests of this epoch (rule 26). */
  async ping(node: number): Promise<boolean> {
    const core = this.#core;
    const request = encodeReadPage({
      volume: core.volume,
      pg: 0,
      volumeEpoch: core.volumeEpoch,
      membershipEpoch: core.pgs[0].membership.epoch,
      pageNo: 0,
      readPoint: core.vdl,
      pgTail: 0,
    });
    try {
      await this.ask(node, 0, request);
      return true;
    } catch (error) {
      // Epochs are checked before read points.
      return isSextantError(error, 'OUT_OF_RANGE');
    }
  }

  lateMs(node: number): number {
    return this.#links[node].readLateMs;
  }
}

/** One read with its attempts. */
class PageRead {
  readonly #reader: PageReader;
  readonly #pg: number;
  readonly #tail: number;
  readonly #request: Uint8Array;
  readonly #asked = new Set<number>();
  #running = 0;
  #lastError: unknown;
  #late: Timer | undefined;
  #settled = false;
  #resolve: (page: Uint8Array) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(reader: PageReader, pageNo: number, readPoint: number) {
    const core = reader.core;
    this.#reader = reader;
    this.#pg = Math.floor(pageNo / core.pagesPerPg);
    if (this.#pg >= core.pgs.length) {
      throw new SextantError('OUT_OF_RANGE', `page ${pageNo} is outside the volume`);
    }
    this.#tail = core.tailAtVdl(this.#pg);
    this.#request = encodeReadPage({
      volume: core.volume,
      pg: this.#pg,
      volumeEpoch: core.volumeEpoch,
      membershipEpoch: core.pgs[this.#pg].membership.epoch,
      pageNo,
      readPoint,
      pgTail: reader.minScl(this.#tail),
    });
  }

  async run(deadlineMs: number): Promise<Uint8Array> {
    const { world, core } = this.#reader;
    const page = new Promise<Uint8Array>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const deadline = world.timers.after(deadlineMs - world.clock.monotonicMs(), () => {
      const cause = this.#lastError;
      this.#end(() =>
        this.#reject(
          new SextantError('NO_QUORUM', `no segment of PG ${this.#pg} answered in time`, { cause }),
        ),
      );
    });
    this.#next(core.failure);
    try {
      return await page;
    } finally {
      deadline.cancel();
      this.#late?.cancel();
    }
  }

  #end(how: () => void): void {
    if (this.#settled) return;
    this.#settled = true;
    how();
  }

  /** Asks the next candidate; when none is left and none runs, starts over after a pause. */
  #next(failure: Error | undefined): void {
    if (this.#settled) return;
    if (failure !== undefined) {
      this.#end(() => this.#reject(failure));
      return;
    }
    const reader = this.#reader;
    const node = reader.candidate(this.#pg, this.#tail, this.#asked);
    if (node >= 0) {
      this.#ask(node);
      return;
    }
    if (this.#running > 0) return;
    if (isSextantError(this.#lastError, 'CORRUPTION')) {
      this.#end(() => this.#reject(this.#lastError));
      return;
    }
    this.#asked.clear();
    reader.world.timers.after(PAUSE_MS, () => this.#next(reader.core.failure));
  }

  #ask(node: number): void {
    const reader = this.#reader;
    this.#asked.add(node);
    this.#running++;
    this.#late?.cancel();
    this.#late = reader.world.timers.after(reader.lateMs(node), () => {
      if (this.#settled || reader.candidate(this.#pg, this.#tail, this.#asked) < 0) return;
      reader.hedgedReads++;
      this.#next(reader.core.failure);
    });
    reader.ask(node, this.#pg, this.#request).then(
      (page) => {
        this.#running--;
        this.#end(() => this.#resolve(page));
      },
      (error: unknown) => {
        this.#running--;
        this.#lastError = error;
        this.#next(reader.core.failure);
      },
    );
  }
}
