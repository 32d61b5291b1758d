/** Hydration, damage found by scrubbing and reading, forgetting a segment, folding in a worker thread. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { PAGE_BYTES } from '#core/ids.js';
import { realWorld } from '#core/world/real/real-world.js';
import { folderInWorker, NodeStore } from './node-store.js';
import {
  boxcarOf,
  makeBench,
  modelPage,
  Mortal,
  openStore,
  segmentKey,
  segmentOf,
  TINY,
  type Bench,
  type ModelRecord,
  type Reopened,
} from './store.test-helper.js';

const KEY = segmentKey(0);
const OPTIONS = { ...TINY, journalBytesMax: 1e6, scrubIntervalMs: 0 };

/** `count` boxcars of one record each, round robin over `pages` pages, committed and admitted. */
function fill(opened: Reopened, count: number, pages: number): Uint8Array[] {
  const last = new Map<number, number>();
  const boxcars: Uint8Array[] = [];
  for (let lsn = 1; lsn <= count; lsn++) {
    const pageNo = lsn % pages;
    const prevPageLsn = last.get(pageNo) ?? 0;
    const data = new Uint8Array(100).fill(lsn);
    const record: ModelRecord = {
      lsn,
      pageNo,
      prevPageLsn,
      isFormat: prevPageLsn === 0,
      offset: 9 + ((lsn * 97) % 8000),
      data,
    };
    last.set(pageNo, lsn);
    boxcars.push(boxcarOf(0, lsn - 1, [record]));
    const location = opened.store.appendBoxcar(KEY, boxcars[lsn - 1]);
    opened.store.commit();
    segmentOf(opened.store, opened.segments, KEY).take(location, boxcars[lsn - 1]);
  }
  return boxcars;
}

async function rest(store: NodeStore): Promise<void> {
  for (let i = 0; i < 300; i++) await store.work(1);
}

function expectPage(store: NodeStore, boxcars: Uint8Array[], pageNo: number, at: number): void {
  const page = new Uint8Array(PAGE_BYTES);
  store.readPage(KEY, pageNo, at, page, 0);
  expect(Buffer.compare(page, modelPage(boxcars, pageNo, at)), `page ${pageNo}`).toBe(0);
}

async function foldedStore(bench: Bench): Promise<{ opened: Reopened; boxcars: Uint8Array[] }> {
  const opened = openStore(bench, new Mortal(), OPTIONS);
  const boxcars = fill(opened, 90, 6);
  opened.store.setLimits(KEY, 90, 90);
  await rest(opened.store);
  expect(opened.store.stats.unfolded(KEY)).toBeLessThan(90);
  return { opened, boxcars };
}

test('a rotten page is found by scrubbing, refused, and repaired by an image from a peer', async () => {
  const bench = makeBench(1);
  const { opened, boxcars } = await foldedStore(bench);
  const { store } = opened;
  const data = bench.disk.file('node/pages/pages.data');
  for (let slot = 0; slot * PAGE_BYTES < (data?.size ?? 0); slot++) {
    data?.flipBit((slot * PAGE_BYTES + 5000) * 8);
  }
  await rest(store);
  expect(store.stats.badPages.length).toBe(6);
  const page = new Uint8Array(PAGE_BYTES);
  expect(() => store.readPage(KEY, 3, 90, page, 0)).toThrow(/waits for repair/);
  const old = modelPage(boxcars, 3, 5);
  expect(() => store.putPage(KEY, 3, old, 5)).toThrow(/needs an image/);
  for (const { pageNo } of store.stats.badPages) {
    store.putPage(KEY, pageNo, modelPage(boxcars, pageNo, 90), 90);
  }
  store.commit();
  expect(store.stats.badPages).toEqual([]);
  bench.disk.faults.keepUnsynced = 0;
  bench.disk.powerCut();
  const again = openStore(bench, new Mortal(), OPTIONS);
  expect(again.damage).toEqual([]);
  for (let pageNo = 0; pageNo < 6; pageNo++) expectPage(again.store, boxcars, pageNo, 90);
});

test('a read finds rot by itself', async () => {
  const bench = makeBench(2);
  const { opened } = await foldedStore(bench);
  const data = bench.disk.file('node/pages/pages.data');
  for (let bit = 8000; bit < (data?.size ?? 0) * 8; bit += PAGE_BYTES * 8) data?.flipBit(bit);
  const page = new Uint8Array(PAGE_BYTES);
  expect(() => opened.store.readPage(KEY, 0, 90, page, 0)).toThrow(/fails its checksum/);
  expect(opened.store.stats.badPages).toEqual([{ segment: KEY, pageNo: 0 }]);
});

test('rot in the journal is found before a record is read or folded', async () => {
  for (const fold of [false, true]) {
    const bench = makeBench(3);
    const opened = openStore(bench, new Mortal(), OPTIONS);
    const { store } = opened;
    const boxcars = fill(opened, 40, 1);
    const file = bench.disk.file('node/journal/00000001.journal');
    const image = new Uint8Array(file?.size ?? 0);
    file?.read(image, 0, image.length, 0);
    // A bit of the data that the second record sets: its grammar stays good.
    const at = Buffer.from(image).indexOf(boxcars[1]!.subarray(-50));
    file?.flipBit((at + 20) * 8);
    const page = new Uint8Array(PAGE_BYTES);
    if (fold) {
      store.setLimits(KEY, 40, 40);
      await rest(store);
    } else expect(() => store.readPage(KEY, 0, 40, page, 0)).toThrow(/fails its checksum/);
    expect(store.stats.badPages).toEqual([{ segment: KEY, pageNo: 0 }]);
    store.putPage(KEY, 0, modelPage(boxcars, 0, 40), 40);
    store.commit();
    expect(store.stats.badPages).toEqual([]);
    expectPage(store, boxcars, 0, 40);
  }
});

test('a segment is forgotten, hydrated from pages and log, and survives a power cut', async () => {
  const bench = makeBench(3);
  const { opened, boxcars } = await foldedStore(bench);
  const { store } = opened;
  store.dropSegment(KEY);
  expect(store.stats.pages(KEY)).toBe(0);
  expect(store.readLog(KEY, 0, 90, 1e6)).toEqual([]);
  for (let pageNo = 0; pageNo < 6; pageNo++) {
    store.putPage(KEY, pageNo, modelPage(boxcars, pageNo, 60), 60);
  }
  store.commit();
  for (let lsn = 61; lsn <= 90; lsn++) {
    const location = store.appendBoxcar(KEY, boxcars[lsn - 1]);
    store.commit();
    store.admit(KEY, location, boxcars[lsn - 1]);
  }
  for (let pageNo = 0; pageNo < 6; pageNo++) expectPage(store, boxcars, pageNo, 90);
  expect(store.readLog(KEY, 59, 90, 1e6)).toBe(null);
  expect(store.readLog(KEY, 60, 90, 1e6)?.length).toBe(30);
  expect(store.pagesAfter(KEY, -1, 90, 4)).toEqual([0, 1, 2, 3]);
  expect(store.pagesAfter(KEY, 3, 90, 9)).toEqual([4, 5]);

  bench.disk.faults.keepUnsynced = 0;
  bench.disk.powerCut();
  const first: number[] = [];
  const again = openStore(bench, new Mortal(), OPTIONS);
  for (const held of segmentOf(again.store, again.segments, KEY).held) first.push(held.location);
  expect(first.length).toBe(30);
  for (const { location, bytes } of segmentOf(again.store, again.segments, KEY).held) {
    again.store.admit(KEY, location, bytes);
  }
  for (let pageNo = 0; pageNo < 6; pageNo++) expectPage(again.store, boxcars, pageNo, 90);
});

test('a failed sync is told at the next start, until something was committed', () => {
  const bench = makeBench(4);
  const { store } = openStore(bench, new Mortal(), OPTIONS);
  store.appendState('a', new Uint8Array([1]));
  bench.disk.faults.syncFails = 1;
  expect(() => store.commit()).toThrow(/failed/);
  bench.disk.faults.syncFails = 0;
  const again = openStore(bench, new Mortal(), OPTIONS);
  expect(again.damage.join()).toMatch(/ended with a failed sync/);
  again.store.appendState('damaged', new Uint8Array([1]));
  again.store.commit();
  expect(openStore(bench, new Mortal(), OPTIONS).damage).toEqual([]);
});

test('a damaged page index is damage', async () => {
  const bench = makeBench(5);
  const opened = openStore(bench, new Mortal(), { ...TINY, scrubIntervalMs: 0 });
  fill(opened, 300, 6);
  opened.store.setLimits(KEY, 300, 300);
  for (let round = 0; round < 40; round++) {
    opened.store.appendState('filler', new Uint8Array(4000));
    opened.store.commit();
    for (let i = 0; i < 10; i++) await opened.store.work(1);
  }
  expect(opened.store.floor(KEY)).toBeGreaterThan(0);
  const name = bench.disk.list('node/pages').find((file) => file.startsWith('index-'));
  expect(name).toBeDefined();
  bench.disk.file(`node/pages/${name}`)?.flipBit(40 * 8);
  expect(openStore(bench, new Mortal()).damage.join()).toMatch(/page index is damaged/);
});

const built = resolve('dist/storage-nodes/coalesce/fold-worker.js');
test('the worker thread folds to the same pages', async (context) => {
  if (!existsSync(built)) {
    console.log('skipped: dist/ is not built, and a worker thread does not run from TypeScript');
    context.skip();
  }
  const folder = mkdtempSync(join(tmpdir(), 'store-'));
  const world = realWorld({ log: 'silent' });
  const options = { ...OPTIONS, ripeBytes: 256, journalFileBytes: 256 * 1024 };
  const maker = folderInWorker(pathToFileURL(built).href);
  const store = new NodeStore(world, join(folder, 'node'), options, maker);
  try {
    store.recover({ damage: () => {}, state: () => {}, boxcar: () => {} });
    const opened = { store, segments: new Map(), states: new Map(), damage: [] };
    const boxcars = fill(opened, 120, 6);
    store.setLimits(KEY, 120, 110);
    while (store.stats.unfolded(KEY) > 10) {
      await store.work(1);
      await world.timers.sleep(1);
    }
    expect(store.stats.foldedPages).toBeGreaterThanOrEqual(6);
    for (let pageNo = 0; pageNo < 6; pageNo++) {
      expectPage(store, boxcars, pageNo, 110);
      expectPage(store, boxcars, pageNo, 120);
    }
  } finally {
    await store.close();
    rmSync(folder, { recursive: true });
  }
});
