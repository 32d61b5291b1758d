/**
 * For tests: a world of nothing but a simulated disk that can die at any disk call, boxcars by hand, and the
 * little of a segment core that a store needs around it (what follows the SCL is admitted, the rest waits).
 */
import { PAGE_BYTES } from '#core/ids.js';
import { BOXCAR_HEADER_BYTES, decodeBoxcar } from '#core/redo/boxcar.js';
import { BoxcarWriter } from '#core/redo/boxcar-writer.js';
import { apply } from '#core/redo/apply.js';
import { putFormat, putSet } from '#core/redo/edits.js';
import { FLAG_CPL, FLAG_FORMAT, RecordReader } from '#core/redo/record.js';
import { SimDisk } from '#core/world/simulated/sim-disk.js';
import { SimDiskView, type DiskUser } from '#core/world/simulated/sim-disk-view.js';
import { SimRandom } from '#core/world/simulated/random.js';
import type { Log, World } from '#core/world/world.js';
import { NodeStore } from './node-store.js';
import type { StoreOptions } from './store-core.js';

/** What a planned crash throws. */
export class Crash extends Error {}

/** Dies at the n-th disk call that moves bytes or syncs. */
export class Mortal implements DiskUser {
  readonly pid = 1;
  alive = true;
  calls = 0;
  dieAt = Number.POSITIVE_INFINITY;
  charge(): void {
    this.#tick();
  }
  syncing(moment: 'before' | 'after'): void {
    if (moment === 'after') this.#tick();
  }
  #tick(): void {
    if (++this.calls < this.dieAt || !this.alive) return;
    this.alive = false;
    throw new Crash('planned');
  }
}

const silent: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silent,
};

export interface Bench {
  readonly random: SimRandom;
  readonly disk: SimDisk;
}

export function makeBench(seed: number): Bench {
  const random = new SimRandom(seed);
  return { random, disk: new SimDisk(random.fork('disk')) };
}

/** A world with that disk; its clock moves 1 ms each time it is looked at. */
export function diskWorld(bench: Bench, user: DiskUser): World {
  let nowMs = 0;
  const refuse = (): never => {
    throw new Error('this world has a disk only');
  };
  return {
    disk: new SimDiskView(bench.disk, user),
    clock: { monotonicMs: () => nowMs++, wallMs: () => 0 },
    random: bench.random,
    timers: { after: refuse, turn: refuse, sleep: refuse },
    network: { listen: refuse, connect: refuse },
    log: silent,
  };
}

export interface ModelRecord {
  readonly lsn: number;
  readonly pageNo: number;
  readonly prevPageLsn: number;
  readonly isFormat: boolean;
  readonly offset: number;
  readonly data: Uint8Array;
}

const VOLUME = 1;

/** `records` ascending, as a boxcar of segment 1 * 2^32 + pg. */
export function boxcarOf(
  pg: number,
  backLink: number,
  records: readonly ModelRecord[],
): Uint8Array {
  const writer = new BoxcarWriter();
  const edits = new Uint8Array(16 * 1024);
  for (const record of records) {
    let at = 0;
    if (record.isFormat) at = putFormat(edits, at, 7);
    at = putSet(edits, at, record.offset, record.data, 0, record.data.length);
    const flags = FLAG_CPL | (record.isFormat ? FLAG_FORMAT : 0);
    writer.append(record.lsn, flags, record.pageNo, record.prevPageLsn, edits, 0, at);
  }
  return writer.finish({
    volume: VOLUME,
    pg,
    volumeEpoch: 1,
    membershipEpoch: 1,
    backLink,
    vdl: 0,
    pgmrpl: 0,
  });
}

export function segmentKey(pg: number): number {
  return VOLUME * 2 ** 32 + pg;
}

/** The page by definition: every record at or below `readPoint`, one after the other. */
export function modelPage(
  boxcars: readonly Uint8Array[],
  pageNo: number,
  readPoint: number,
): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES);
  const view = new DataView(page.buffer);
  const reader = new RecordReader();
  for (const boxcar of boxcars) {
    const header = decodeBoxcar(boxcar);
    reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, header.firstLsn);
    while (reader.next()) {
      if (reader.pageNo === pageNo && reader.lsn <= readPoint) apply(page, view, 0, reader);
    }
  }
  return page;
}

/** As small as the store takes them, so that files turn over all the time. */
export const TINY: StoreOptions = {
  journalFileBytes: 16 * 1024,
  journalBytesMax: 48 * 1024,
  indexBytesMax: 16 * 1024,
  ripeBytes: 512,
  batchPages: 4,
  scrubIntervalMs: 10,
};

interface Held {
  readonly location: number;
  readonly bytes: Uint8Array;
}

/** One segment of a store, with a chain. */
export class MiniSegment {
  readonly store: NodeStore;
  readonly key: number;
  scl: number;
  readonly held: Held[] = [];

  constructor(store: NodeStore, key: number, scl: number) {
    this.store = store;
    this.key = key;
    this.scl = scl;
  }

  /** A durable boxcar, in any order. */
  take(location: number, boxcar: Uint8Array): void {
    this.held.push({ location, bytes: boxcar.slice() });
    for (let moved = true; moved;) {
      moved = false;
      for (let i = 0; i < this.held.length; i++) {
        const { location: at, bytes } = this.held[i];
        const header = decodeBoxcar(bytes);
        if (header.lastLsn <= this.scl) this.store.discard(this.key, at);
        else if (header.backLink <= this.scl) {
          this.store.admit(this.key, at, bytes);
          this.scl = header.lastLsn;
        } else continue;
        this.held.splice(i, 1);
        moved = true;
        break;
      }
    }
  }
}

export interface Reopened {
  readonly store: NodeStore;
  readonly segments: Map<number, MiniSegment>;
  readonly states: Map<string, string>;
  readonly damage: string[];
}

/** Opens a store and recovers it around MiniSegments. */
export function openStore(bench: Bench, user: DiskUser, options: StoreOptions = TINY): Reopened {
  const store = new NodeStore(diskWorld(bench, user), 'node', options);
  const segments = new Map<number, MiniSegment>();
  const states = new Map<string, string>();
  const damage: string[] = [];
  const lastFirst = new Map<number, number>();
  store.recover({
    damage: (description) => damage.push(description),
    state: (key, value) => states.set(key, new TextDecoder().decode(value)),
    boxcar: ({ segment, location, bytes }) => {
      const { firstLsn } = decodeBoxcar(bytes);
      if (firstLsn < (lastFirst.get(segment) ?? 0)) throw new Error('boxcars out of chain order');
      lastFirst.set(segment, firstLsn);
      segmentOf(store, segments, segment).take(location, bytes);
    },
  });
  return { store, segments, states, damage };
}

export function segmentOf(
  store: NodeStore,
  segments: Map<number, MiniSegment>,
  key: number,
): MiniSegment {
  let segment = segments.get(key);
  if (segment === undefined) {
    segment = new MiniSegment(store, key, store.floor(key));
    segments.set(key, segment);
  }
  return segment;
}
