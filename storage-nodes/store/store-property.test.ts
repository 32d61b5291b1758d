/**
 * A store against a model by definition, under random work, crashes at any disk call, power cuts that tear
 * writes, and full disks. Journal files of 16 KiB turn over all the time.
 */
import { expect, test } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { PAGE_BYTES } from '#core/ids.js';
import { decodeBoxcar, sliceBoxcar } from '#core/redo/boxcar.js';
import {
  boxcarOf,
  Crash,
  makeBench,
  modelPage,
  Mortal,
  openStore,
  segmentKey,
  segmentOf,
  type Bench,
  type MiniSegment,
  type ModelRecord,
  type Reopened,
} from './store.test-helper.js';

const PAGES = 10;

class ModelGroup {
  readonly key: number;
  readonly pg: number;
  boxcars: Uint8Array[] = [];
  tail = 0;
  acknowledged = 0;
  pgmrpl = 0;
  foldLimit = 0;
  pageLsns: number[] = Array.from({ length: PAGES }, () => 0);
  constructor(pg: number) {
    this.pg = pg;
    this.key = segmentKey(pg);
  }
}

class Driver {
  readonly bench: Bench;
  readonly groups = [new ModelGroup(0), new ModelGroup(3)];
  mortal = new Mortal();
  open: Reopened;
  nextLsn = 1;
  crashes = 0;
  diskFulls = 0;
  folded = 0;
  acknowledged = new Map<string, string>();
  pending: [string, string][] = [];
  uncommitted: { group: ModelGroup; location: number; bytes: Uint8Array }[] = [];

  constructor(seed: number) {
    this.bench = makeBench(seed);
    this.open = openStore(this.bench, this.mortal);
  }

  segment(group: ModelGroup): MiniSegment {
    return segmentOf(this.open.store, this.open.segments, group.key);
  }

  makeBoxcar(group: ModelGroup): Uint8Array {
    const { random } = this.bench;
    const records: ModelRecord[] = [];
    for (let n = 1 + random.below(5); n > 0; n--) {
      const pageNo = random.below(PAGES);
      const prev = group.pageLsns[pageNo];
      const lsn = this.nextLsn++;
      const isFormat = prev === 0 || random.below(20) === 0;
      const data = random.bytes(8 + random.below(random.below(5) === 0 ? 600 : 60));
      records.push({
        lsn,
        pageNo,
        prevPageLsn: prev,
        isFormat,
        offset: 9 + random.below(7000),
        data,
      });
      group.pageLsns[pageNo] = lsn;
    }
    const boxcar = boxcarOf(group.pg, group.tail, records);
    group.boxcars.push(boxcar);
    group.tail = this.nextLsn - 1;
    return boxcar;
  }

  append(): void {
    const { random } = this.bench;
    const group = this.groups[random.below(this.groups.length)];
    const made = [this.makeBoxcar(group)];
    if (random.below(4) === 0) made.unshift(this.makeBoxcar(group));
    if (made.length === 2) made.reverse();
    // Sometimes out of order, sometimes one of them twice.
    if (random.below(3) === 0) made.reverse();
    if (random.below(8) === 0) made.push(made[0]);
    for (const bytes of made) {
      const location = this.open.store.appendBoxcar(group.key, bytes);
      this.uncommitted.push({ group, location, bytes });
    }
  }

  appendState(): void {
    const { random } = this.bench;
    const key = `key${random.below(6)}`;
    const value = random.below(5) === 0 ? '' : 'v'.repeat(random.below(300)) + random.u32();
    this.open.store.appendState(key, new TextEncoder().encode(value));
    this.pending.push([key, value]);
  }

  commit(): void {
    this.open.store.commit();
    for (const [key, value] of this.pending) setOrDelete(this.acknowledged, key, value);
    this.pending = [];
    for (const { group, location, bytes } of this.uncommitted) {
      this.segment(group).take(location, bytes);
    }
    this.uncommitted = [];
    for (const group of this.groups) group.acknowledged = this.segment(group).scl;
  }

  setLimits(): void {
    const { random } = this.bench;
    for (const group of this.groups) {
      const span = group.acknowledged - group.foldLimit;
      group.foldLimit += random.below(span + 1);
      group.pgmrpl += random.below(group.foldLimit - group.pgmrpl + 1);
      this.open.store.setLimits(group.key, group.foldLimit, group.pgmrpl);
    }
  }

  check(): void {
    const { random } = this.bench;
    const group = this.groups[random.below(this.groups.length)];
    const { scl } = this.segment(group);
    const page = new Uint8Array(PAGE_BYTES);
    for (let i = 0; i < 3; i++) {
      const pageNo = random.below(PAGES);
      const readPoint = group.pgmrpl + random.below(scl - group.pgmrpl + 1);
      this.open.store.readPage(group.key, pageNo, readPoint, page, 0);
      expect(Buffer.compare(page, modelPage(group.boxcars, pageNo, readPoint))).toBe(0);
    }
    const after = random.below(scl + 1);
    const log = this.open.store.readLog(group.key, after, scl, 1e9);
    if (log === null) expect(after).toBeLessThan(group.pgmrpl);
    else expect(lsnsOf(log)).toEqual(lsnsOf(group.boxcars).filter((n) => n > after && n <= scl));
  }

  /** A power cut, and what a volume's recovery does after it: what is not in the chain is annulled. */
  reopen(): void {
    this.crashes++;
    this.folded += this.open.store.stats.foldedPages;
    this.bench.disk.faults.quotaBytes = 2 ** 40;
    this.bench.disk.powerCut();
    this.mortal = new Mortal();
    this.uncommitted = [];
    for (const group of this.groups) group.pgmrpl = Math.min(group.pgmrpl, group.acknowledged);
    this.open = openStore(this.bench, this.mortal);
    expect(this.open.damage).toEqual([]);
    this.checkStates();
    for (const group of this.groups) {
      const { scl } = this.segment(group);
      expect(scl).toBeGreaterThanOrEqual(group.acknowledged);
      const ends = [0, ...group.boxcars.map((boxcar) => decodeBoxcar(boxcar).lastLsn)];
      expect(ends).toContain(scl);
      group.boxcars = group.boxcars.filter((boxcar) => decodeBoxcar(boxcar).lastLsn <= scl);
      this.annul(group);
      this.open.store.setLimits(group.key, group.foldLimit, group.pgmrpl);
    }
    this.nextLsn += 100;
    this.open.store.commit();
    for (let i = 0; i < 4; i++) this.check();
  }

  /** Recovery settles on a point at or below this segment's SCL: everything above is annulled. */
  annul(group: ModelGroup): void {
    const { random } = this.bench;
    const segment = this.segment(group);
    const lowest = Math.max(group.foldLimit, group.pgmrpl);
    const isLower = random.below(2) === 0;
    const point = isLower ? lowest + random.below(segment.scl - lowest + 1) : segment.scl;
    group.boxcars = group.boxcars
      .map((boxcar) => sliceBoxcar(boxcar, 0, point))
      .filter((boxcar) => boxcar.length > 0);
    const last = group.boxcars.at(-1);
    group.tail = last === undefined ? 0 : decodeBoxcar(last).lastLsn;
    for (let pageNo = 0; pageNo < PAGES; pageNo++) {
      const page = modelPage(group.boxcars, pageNo, point);
      group.pageLsns[pageNo] = new DataView(page.buffer).getUint32(0, true);
    }
    segment.scl = group.tail;
    segment.held.length = 0;
    group.acknowledged = group.tail;
    this.open.store.truncate(group.key, point);
  }

  /** What was acknowledged, plus some of what was queued after it, in order. */
  checkStates(): void {
    const found = sorted(this.open.states);
    const state = new Map(this.acknowledged);
    const possible = [sorted(state)];
    for (const [key, value] of this.pending) {
      setOrDelete(state, key, value);
      possible.push(sorted(state));
    }
    expect(possible).toContainEqual(found);
    this.acknowledged = new Map(this.open.states);
    this.pending = [];
  }

  async step(): Promise<void> {
    const { random } = this.bench;
    const dice = random.below(20);
    if (dice < 7) this.append();
    else if (dice < 9) this.appendState();
    else if (dice < 13) this.commit();
    else if (dice < 14) this.setLimits();
    else if (dice < 18) await this.open.store.work(random.unit());
    else if (dice < 19) this.check();
    else if (random.below(3) === 0) this.mortal.dieAt = this.mortal.calls + 1 + random.below(40);
    else if (random.below(4) === 0) {
      const { disk } = this.bench;
      const isFull = disk.faults.quotaBytes < 2 ** 40;
      disk.faults.quotaBytes = isFull ? 2 ** 40 : disk.usedBytes + random.below(20_000);
    }
  }

  async run(steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      try {
        await this.step();
      } catch (error) {
        if (isSextantError(error, 'DISK_FULL')) this.diskFulls++;
        else if (error instanceof Crash || !this.mortal.alive) this.reopen();
        else throw error;
      }
    }
    this.reopen();
  }
}

function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function setOrDelete(map: Map<string, string>, key: string, value: string): void {
  if (value === '') map.delete(key);
  else map.set(key, value);
}

function lsnsOf(boxcars: readonly Uint8Array[]): number[] {
  return boxcars.flatMap((boxcar) => {
    const { firstLsn, lastLsn } = decodeBoxcar(boxcar);
    // LSNs of the model's boxcars are dense.
    return Array.from({ length: lastLsn - firstLsn + 1 }, (_, i) => firstLsn + i);
  });
}

const SEEDS = Number(process.env['STORE_SEEDS'] ?? 12);
const FIRST = Number(process.env['STORE_FIRST_SEED'] ?? 1);
const totals = { folded: 0, floor: 0, diskFulls: 0 };
for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
  test(`random work with crashes, seed ${seed}`, async () => {
    const driver = new Driver(seed);
    await driver.run(600);
    expect(driver.crashes).toBeGreaterThan(1);
    totals.folded += driver.folded;
    for (const group of driver.groups) totals.floor += driver.open.store.floor(group.key);
    totals.diskFulls += driver.diskFulls;
  });
}

test('the seeds above met folding, freed journal files and full disks', () => {
  expect(totals.folded).toBeGreaterThan(0);
  expect(totals.floor).toBeGreaterThan(0);
  expect(totals.diskFulls).toBeGreaterThan(0);
});
