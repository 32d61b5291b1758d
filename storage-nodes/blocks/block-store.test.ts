/**
 * The register store against a naive map: random writes, bulk and small, tombstones, snapshots, merges, late fences, crashes
 * at any disk call with power cuts that tear writes, and journal files of 64 KiB that turn over all the time.
 */
import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import type { SimRandom } from '#core/world/simulated/random.js';
import { Region, registerBytes } from '../protocol/block-geometry.js';
import { RunKind } from '../protocol/codec-blocks.js';
import { NodeStore } from '../store/node-store.js';
import { Crash, diskWorld, makeBench, Mortal, type Bench } from '../store/store.test-helper.js';
import { ANY_EPOCH, type BlockStore } from './block-store.js';
import { VersionMerger } from './version-merger.js';

const DISK = 3;
const REGISTERS = 40;
const OPTIONS = { journalFileBytes: 128 * 1024, journalBytesMax: 256 * 1024 };

interface Version {
  readonly epoch: number;
  readonly clock: number;
  readonly token: number;
  /** -1: given back. */
  readonly fill: number;
}

function open(bench: Bench, mortal = new Mortal()): NodeStore {
  const store = new NodeStore(diskWorld(bench, mortal), '/data', OPTIONS);
  store.recover({
    boxcar: () => {},
    state: () => {},
    damage: (what) => {
      throw new Error(what);
    },
  });
  return store;
}

function lookUp(blocks: BlockStore, region: Region, index: number, epoch = ANY_EPOCH): string {
  const entry = blocks.index.find(DISK, region, index, epoch);
  const kind = blocks.kindOf(entry);
  if (kind === RunKind.none) return 'none';
  const tag = `${blocks.index.clock[entry]}.${blocks.index.token[entry]}`;
  if (kind === RunKind.bad) return `${tag} bad`;
  if (kind === RunKind.tombstone) return `${tag} -1`;
  const size = registerBytes(region);
  const bytes = new Uint8Array(size);
  if (!blocks.load(entry, bytes, 0)) return `${tag} bad`;
  return bytes.every((byte) => byte === bytes[0]) ? `${tag} ${bytes[0]}` : `${tag} mixed`;
}

function put(
  blocks: BlockStore,
  region: Region,
  index: number,
  count: number,
  clock: number,
  fill: number,
  options: { token?: number; epoch?: number; inline?: boolean } = {},
): number {
  const { token = 1, epoch = 1, inline = true } = options;
  const bytes = fill < 0 ? undefined : new Uint8Array(count * registerBytes(region)).fill(fill);
  const superseded: never[] = [];
  blocks.put(DISK, region, epoch, index, count, clock, token, bytes, 0, inline, superseded);
  return superseded.length;
}

class Model {
  readonly bench: Bench;
  readonly random: SimRandom;
  mortal = new Mortal();
  store: NodeStore;
  merger: VersionMerger;
  epoch = 1;
  snapshots: number[] = [];
  clock = 0;
  crashes = 0;
  /** `region/index` -> versions by epoch, ascending; durable, and not yet. */
  durable = new Map<string, Version[]>();
  pending: { key: string; version: Version; forced: boolean }[] = [];

  constructor(seed: number) {
    this.bench = makeBench(seed);
    this.random = this.bench.random.fork('model');
    this.store = open(this.bench, this.mortal);
    this.merger = new VersionMerger(this.blocks);
  }

  get blocks(): BlockStore {
    return this.store.blocks;
  }

  static newest(versions: readonly Version[] | undefined): Version | undefined {
    return versions?.at(-1);
  }

  static with(versions: readonly Version[] | undefined, version: Version): Version[] {
    return [...(versions ?? []).filter((v) => v.epoch < version.epoch), version];
  }

  /** All pending applied. */
  now(): Map<string, Version[]> {
    const all = new Map(this.durable);
    for (const { key, version } of this.pending) all.set(key, Model.with(all.get(key), version));
    return all;
  }

  write(): void {
    const { random } = this;
    const region = random.chance(0.3) ? Region.inodes : Region.data;
    const index = random.below(REGISTERS);
    const count = 1 + random.below(random.chance(0.3) ? 20 : 3);
    const older = random.chance(0.15);
    const clock = older ? 1 + random.below(this.clock + 1) : ++this.clock;
    this.clock = Math.max(this.clock, clock);
    const fill = random.chance(0.15) ? -1 : random.below(256);
    const token = 1 + random.below(2);
    const now = this.now();
    const wanted: { key: string; version: Version; forced: boolean }[] = [];
    let expected = 0;
    for (let i = 0; i < count; i++) {
      const key = `${region}/${index + i}`;
      const known = Model.newest(now.get(key));
      const order = known === undefined ? 1 : clock - known.clock || token - known.token;
      if (order < 0) expected++;
      if (order > 0) {
        wanted.push({ key, version: { epoch: this.epoch, clock, token, fill }, forced: false });
      }
    }
    const inline = random.chance(0.5);
    this.pending.push(...wanted);
    const superseded = put(this.blocks, region, index, count, clock, fill, {
      token,
      epoch: this.epoch,
      inline,
    });
    expect(superseded).toBe(expected);
  }

  /** As a node that learns late of a fence does. */
  force(): void {
    const key = `${Region.data}/${this.random.below(REGISTERS)}`;
    const known = Model.newest(this.now().get(key));
    if (known === undefined || known.epoch !== this.epoch || known.clock < 2) return;
    const version = { epoch: this.epoch, clock: known.clock - 1, token: 1, fill: 77 };
    this.pending.push({ key, version, forced: true });
    const bytes = new Uint8Array(4096).fill(77);
    const index = Number(key.split('/')[1]);
    this.blocks.force(DISK, Region.data, this.epoch, index, version.clock, 1, bytes, 0);
  }

  commit(): void {
    if (this.store.dirty) this.store.commit();
    this.durable = this.now();
    this.pending = [];
  }

  snapshot(): void {
    this.commit();
    if (this.snapshots.length < 3) {
      this.snapshots.push(this.epoch);
      this.epoch++;
    } else this.snapshots.splice(this.random.below(this.snapshots.length), 1);
    this.blocks.setSnapshots(DISK, this.snapshots, this.epoch);
    this.merger.restart();
  }

  crash(): void {
    this.crashes++;
    this.bench.disk.locks.clear();
    this.bench.disk.powerCut();
    this.mortal = new Mortal();
    this.store = open(this.bench, this.mortal);
    this.merger = new VersionMerger(this.blocks);
    this.blocks.setSnapshots(DISK, this.snapshots, this.epoch);
    this.merger.restart();
    this.#settle();
  }

  /** What was not acknowledged is there or not; from now on it is what it is. */
  #settle(): void {
    for (const key of new Set(this.pending.map((p) => p.key))) {
      const [region, index] = key.split('/').map(Number);
      const found = lookUp(this.blocks, region as Region, index);
      let versions = this.durable.get(key);
      const candidates: (Version[] | undefined)[] = [versions];
      for (const { version } of this.pending.filter((p) => p.key === key)) {
        versions = Model.with(versions, version);
        candidates.push(versions);
      }
      const match = candidates.find((c) => describe1(Model.newest(c)) === found);
      const texts = candidates.map((c) => describe1(Model.newest(c)));
      expect(match === undefined && !texts.includes(found) ? texts : [found]).toContain(found);
      if (match === undefined) this.durable.delete(key);
      else this.durable.set(key, match);
    }
    this.pending = [];
  }

  check(): void {
    const now = this.now();
    for (let index = 0; index < REGISTERS + 20; index++) {
      for (const region of [Region.inodes, Region.data] as const) {
        const versions = now.get(`${region}/${index}`);
        const where = `${region}/${index}`;
        expect(`${where} ${lookUp(this.blocks, region, index)}`).toBe(
          `${where} ${describe1(Model.newest(versions))}`,
        );
        for (const id of this.snapshots) {
          const then = versions?.filter((v) => v.epoch <= id);
          expect(`${where}@${id} ${lookUp(this.blocks, region, index, id)}`).toBe(
            `${where}@${id} ${describe1(Model.newest(then))}`,
          );
        }
      }
    }
  }

  async step(): Promise<void> {
    const dice = this.random.below(100);
    if (dice < 60) this.write();
    else if (dice < 75) this.commit();
    else if (dice < 78) this.force();
    else if (dice < 81) this.snapshot();
    else if (dice < 92) await this.store.work(1);
    else if (dice < 96) this.merger.piece();
    else if (dice < 98) this.mortal.dieAt = this.mortal.calls + 1 + this.random.below(30);
    else this.check();
  }
}

function describe1(version: Version | undefined): string {
  return version === undefined ? 'none' : `${version.clock}.${version.token} ${version.fill}`;
}

async function run(seed: number): Promise<Model> {
  const model = new Model(seed);
  for (let i = 0; i < 400; i++) {
    try {
      await model.step();
    } catch (error) {
      if (model.mortal.alive) throw error;
      if (!(error instanceof Crash) && !isSextantError(error)) throw error;
      model.crash();
      model.check();
    }
  }
  if (!model.mortal.alive) model.crash();
  model.mortal.dieAt = Number.POSITIVE_INFINITY;
  model.commit();
  await model.store.close();
  model.store = open(model.bench);
  model.blocks.setSnapshots(DISK, model.snapshots, model.epoch);
  model.check();
  await model.store.close();
  return model;
}

describe('register store', () => {
  it('is a map, whatever dies', async () => {
    let crashes = 0;
    for (let seed = 1; seed <= 12; seed++) {
      try {
        crashes += (await run(seed)).crashes;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect(crashes).toBeGreaterThan(12);
  });

  it('takes no older tag, and an equal one again', () => {
    const store = open(makeBench(1));
    expect(put(store.blocks, Region.data, 5, 1, 9, 1)).toBe(0);
    expect(put(store.blocks, Region.data, 5, 1, 9, 2)).toBe(0);
    expect(put(store.blocks, Region.data, 4, 3, 8, 3)).toBe(1);
    expect(lookUp(store.blocks, Region.data, 5)).toBe('9.1 1');
    expect(lookUp(store.blocks, Region.data, 6)).toBe('8.1 3');
  });

  it('gives the space of what was replaced back, after the commit', () => {
    const store = open(makeBench(2));
    for (let clock = 1; clock <= 20; clock++) {
      put(store.blocks, Region.data, 0, 16, clock, clock, { inline: false });
      store.commit();
    }
    expect(store.blocks.bytesUsed).toBe(65_536);
    put(store.blocks, Region.data, 0, 16, 21, -1);
    store.commit();
    expect(store.blocks.bytesUsed).toBe(0);
  });

  it('gives the space of a snapshot back when it goes', () => {
    const store = open(makeBench(3));
    const { blocks } = store;
    put(blocks, Region.data, 0, 16, 1, 1, { inline: false });
    blocks.setSnapshots(DISK, [1], 2);
    put(blocks, Region.data, 0, 8, 2, 2, { inline: false, epoch: 2 });
    store.commit();
    expect(blocks.bytesUsed).toBe(24 * 4096);
    expect(lookUp(blocks, Region.data, 3, 1)).toBe('1.1 1');
    blocks.setSnapshots(DISK, [], 2);
    const merger = new VersionMerger(blocks);
    merger.restart();
    while (merger.piece()) store.commit();
    store.commit();
    expect(blocks.bytesUsed).toBe(16 * 4096);
    expect(lookUp(blocks, Region.data, 3)).toBe('2.1 2');
    expect(lookUp(blocks, Region.data, 12)).toBe('1.1 1');
    expect(blocks.index.rowCount).toBe(1);
  });

  it('has no vote on a register that fails its checksum, and takes it again', async () => {
    const bench = makeBench(4);
    const store = open(bench);
    put(store.blocks, Region.data, 0, 4, 7, 7, { inline: false });
    put(store.blocks, Region.data, 20, 1, 7, 7);
    store.commit();
    const file = bench.disk.file('data/blocks/blocks.data');
    file?.flipBit(2 * 4096 * 8 + 5);
    expect(lookUp(store.blocks, Region.data, 2)).toBe('7.1 bad');
    expect(lookUp(store.blocks, Region.data, 3)).toBe('7.1 7');
    expect(put(store.blocks, Region.data, 2, 1, 6, 6)).toBe(1);
    expect(put(store.blocks, Region.data, 2, 1, 7, 7)).toBe(0);
    expect(lookUp(store.blocks, Region.data, 2)).toBe('7.1 7');
    await store.close();
  });

  it('frees journal files, and starts from the index on disk', async () => {
    const bench = makeBench(5);
    const store = open(bench);
    for (let clock = 1; clock <= 300; clock++) {
      put(store.blocks, Region.data, clock % 37, 1, clock, clock % 256);
      store.commit();
      await store.work(1);
    }
    for (let i = 0; i < 200; i++) await store.work(1);
    expect(bench.disk.list('data/blocks')).toContainEqual(expect.stringMatching(/^index-/));
    expect(store.stats.journalBytes).toBeLessThan(400 * 1024);
    await store.close();
    const again = open(bench);
    for (let i = 1; i < 37; i++) {
      const clock = 300 - ((300 - i) % 37);
      expect(lookUp(again.blocks, Region.data, clock % 37)).toBe(`${clock}.1 ${clock % 256}`);
    }
    await again.close();
  });
});
