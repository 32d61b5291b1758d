/**
 * An engine without SQL: opens the volume, reads every page, then clients edit random pages in MTRs and readers
 * read them, some as of a point that they hold, until it is fenced or killed. It never learns that it is thought dead.
 */
import { isSextantError, SextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { putFill, putFormat, putMove, putSet } from '#core/redo/edits.js';
import { FLAG_CPL, FLAG_FORMAT } from '#core/redo/record.js';
import { SimRandom } from '#core/world/simulated/random.js';
import type { World } from '#core/world/world.js';
import type { QuorumVolume } from '#engine/volume/quorum-volume.js';
import type { EngineView } from './checkers/checker.js';
import type { Cluster, SimEngine } from './cluster.js';
import type { ModelEdit } from './model.js';
import { openSimVolume } from './open.js';
import { PinnedReader } from './pinned-reader.js';
import { watchVolume } from './watch.js';

const EDIT_BYTES_MAX = 2048;
const PAGE_TYPE = 7;
/** Its engine's cache counts as fresh for a little less than others wait: clocks differ. */
const LEASE_SHARE = 0.98;

export class PageEngine implements SimEngine {
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #random: SimRandom;
  #volume: QuorumVolume | undefined;
  #view: EngineView | undefined;
  #stopped = false;
  settled = false;
  /** By page: the LSN of its newest version, durable or not. */
  readonly #lsns: number[] = [];
  readonly #edits = new Uint8Array(EDIT_BYTES_MAX);

  constructor(cluster: Cluster, world: World, name: string) {
    this.#cluster = cluster;
    this.#world = world;
    this.name = name;
    this.#random = new SimRandom(cluster.options.seed).fork(name);
  }

  get view(): EngineView | undefined {
    return this.#view;
  }

  get volume(): QuorumVolume | undefined {
    return this.#volume;
  }

  /** Clients stop after what they have begun; what nobody has waited for yet is waited for. */
  stop(): void {
    this.#stopped = true;
    const volume = this.#volume;
    this.settled = true;
    if (volume?.failure === undefined) volume?.wait(volume.nextLsn - 1, () => undefined);
  }

  async run(): Promise<void> {
    const cluster = this.#cluster;
    const volume = await openSimVolume(cluster, this.#world);
    this.#volume = volume;
    this.#view = watchVolume(cluster, this.name, volume);
    cluster.engine = this;
    try {
      await this.#serve(volume);
    } catch (error) {
      if (volume.failure === undefined) throw error;
    }
  }

  async #serve(volume: QuorumVolume): Promise<void> {
    const { options } = this.#cluster;
    const pages = volume.pageCapacity;
    for (let pageNo = 0; pageNo < pages; pageNo++) {
      this.#lsns[pageNo] = await this.#read(volume, pageNo);
    }
    const work: Promise<void>[] = [this.#answers(volume), this.#grow(volume)];
    for (let i = 0; i < options.clients; i++) work.push(this.#client(volume));
    for (let i = 0; i < options.readers; i++) work.push(this.#reader(volume));
    if (options.readers > 1) work.push(this.#pinnedReader(volume));
    await Promise.all(work);
  }

  /** Reads a page at VDL; gives its LSN. */
  async #read(volume: QuorumVolume, pageNo: number): Promise<number> {
    const page = new Uint8Array(PAGE_BYTES);
    await volume.readPage(pageNo, page, 0);
    return Number(new DataView(page.buffer).getBigUint64(0, true));
  }

  async #grow(volume: QuorumVolume): Promise<void> {
    const { pgCount, pagesPerPg } = this.#cluster.options;
    while (volume.pageCapacity < pgCount * pagesPerPg && !this.#stopped) {
      await this.#pause(5);
      const before = volume.pageCapacity;
      try {
        await volume.grow();
      } catch (error) {
        if (volume.failure !== undefined || !isRetry(error)) throw error;
      }
      for (let pageNo = before; pageNo < volume.pageCapacity; pageNo++) this.#lsns[pageNo] ??= 0;
    }
  }

  #pause(meanMs: number): Promise<void> {
    return this.#world.timers.sleep(this.#random.unit() * 2 * meanMs);
  }

  async #reader(volume: QuorumVolume): Promise<void> {
    while (!this.#stopped && volume.failure === undefined) {
      try {
        await this.#read(volume, this.#random.below(this.#lsns.length));
      } catch (error) {
        if (volume.failure !== undefined || !isRetry(error)) throw error;
      }
      await this.#pause(10);
    }
  }

  async #pinnedReader(volume: QuorumVolume): Promise<void> {
    while (!this.#stopped && volume.failure === undefined) {
      const reader = new PinnedReader(this.#cluster, this.#world, volume, this.#view as EngineView);
      for (let left = 6; left > 0 && !this.#stopped && volume.failure === undefined; left--) {
        await this.#pause(20);
        await reader.read(this.#random.below(6), this.#random.below(reader.pageCapacity));
      }
      reader.close();
      await this.#pause(20);
    }
  }

  /** Answers from the cache, as long as rule 26 allows. */
  async #answers(volume: QuorumVolume): Promise<void> {
    const cluster = this.#cluster;
    const leaseMs = cluster.options.leaseMs * LEASE_SHARE;
    const view = this.#view as EngineView;
    while (!this.#stopped && volume.failure === undefined) {
      if (volume.confirmedWithin(leaseMs)) {
        cluster.check((checker) => checker.answered?.(view, cluster));
      } else {
        try {
          await volume.confirm();
        } catch (error) {
          if (volume.failure !== undefined || !isRetry(error)) throw error;
        }
      }
      await this.#pause(8);
    }
  }

  async #client(volume: QuorumVolume): Promise<void> {
    const random = this.#random;
    const { mtrPagesMax } = this.#cluster.options;
    while (!this.#stopped) {
      const count = 1 + random.below(Math.min(mtrPagesMax, this.#lsns.length));
      if (!volume.hasRoom(count, count * EDIT_BYTES_MAX)) {
        await volume.whenRoom();
        continue;
      }
      const lsn = this.#append(volume, count);
      // Some MTRs are of transactions that nobody has committed yet: they ride along.
      if (random.chance(0.2) && !this.#stopped) continue;
      await committed(volume, lsn);
      this.#cluster.commits++;
      if (random.chance(0.3)) await this.#pause(5);
    }
  }

  /** One MTR over distinct pages; gives the LSN of its last record. */
  #append(volume: QuorumVolume, count: number): number {
    const pages = new Set<number>();
    while (pages.size < count) pages.add(this.#random.below(this.#lsns.length));
    let lsn = 0;
    let left = pages.size;
    for (const pageNo of pages) lsn = this.#record(volume, pageNo, --left === 0);
    return lsn;
  }

  #record(volume: QuorumVolume, pageNo: number, cpl: boolean): number {
    const before = this.#lsns[pageNo] as number;
    // Now and then a page is freed and formatted again (rule 28).
    const formats = before === 0 || this.#random.chance(0.03);
    const flags = (formats ? FLAG_FORMAT : 0) | (cpl ? FLAG_CPL : 0);
    const end = encode(this.#edits, this.#drawEdits(formats));
    const lsn = volume.append(pageNo, flags, before, this.#edits, 0, end);
    this.#lsns[pageNo] = lsn;
    return lsn;
  }

  #drawEdits(formats: boolean): ModelEdit[] {
    const random = this.#random;
    const edits: ModelEdit[] = formats ? [{ op: 'format', type: PAGE_TYPE }] : [];
    const count = 1 + random.below(2);
    for (let i = 0; i < count; i++) {
      const length = 1 + random.below(this.#cluster.options.valueBytesMax);
      const at = 9 + random.below(PAGE_BYTES - 9 - length);
      const kind = random.below(8);
      if (kind === 0) {
        edits.push({ op: 'move', to: at, from: 9 + random.below(PAGE_BYTES - 9 - length), length });
      } else if (kind === 1) {
        edits.push({ op: 'fill', at, length, byte: random.below(256) });
      } else edits.push({ op: 'set', at, bytes: random.bytes(length) });
    }
    return edits;
  }
}

function encode(target: Uint8Array, edits: readonly ModelEdit[]): number {
  let end = 0;
  for (const edit of edits) {
    if (edit.op === 'format') end = putFormat(target, end, edit.type);
    else if (edit.op === 'move') end = putMove(target, end, edit.to, edit.from, edit.length);
    else if (edit.op === 'fill') end = putFill(target, end, edit.at, edit.length, edit.byte);
    else end = putSet(target, end, edit.at, edit.bytes, 0, edit.bytes.length);
  }
  return end;
}

function committed(volume: QuorumVolume, lsn: number): Promise<void> {
  return new Promise((resolve, reject) => {
    volume.wait(lsn, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

function isRetry(error: unknown): boolean {
  return (
    error instanceof SextantError &&
    (error.remedy === 'retry' || isSextantError(error, 'CORRUPTION'))
  );
}
